//! A second copy of a request that takes long.
//!
//! Where one answer in a hundred is slow for no reason of its own (a pause, a packet lost), a request sent again elsewhere
//! after the time that most answers take turns the worst latencies into ordinary ones, at the price of a few per cent
//! more load (Dean and Barroso, "The Tail at Scale", 2013). Done without bounds it doubles the load the moment everything
//! is slow, which is when there is no capacity for it. So every copy draws on a budget, and only requests that may
//! be sent twice have one.
//!
//! ```text
//!  first ───────────────┬───────── answer ──▶ returned, the other one is dropped
//!        after a delay  │
//!                 second└───────── answer ──▶ the same
//! ```
//!
//! A copy that fails while the original is under way is replaced by another one at once, as in gRPC (A6): otherwise one dead endpoint would
//! take the hedge from every request whose copy meets it.
//!
//! What this does not do: it does not retry. An original that fails before its copy was sent is the answer, and of two
//! failures it is the original's; put a [`Retry`](crate::Retry) above.

mod future;
mod latencies;

use std::fmt;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use lb_core::{Clock, SystemClock};
use lb_ratelimit::RetryBudget;
use tower_layer::Layer;
use tower_service::Service;

pub use self::future::HedgeFuture;
use self::latencies::Latencies;
use crate::clock::system_clock;
use crate::inner::inner_access;
use crate::retry::default_budget;
use crate::trail::LastAttempt;

/// What may be sent twice. That a copy goes elsewhere than the original, the layer sees to itself.
///
/// ```
/// use lb_tower::HedgePolicy;
///
/// #[derive(Clone, Copy)]
/// struct Lookups;
///
/// #[derive(Clone)]
/// struct Lookup(String);
///
/// impl<Res, Err> HedgePolicy<Lookup, Res, Err> for Lookups {
///     fn copy(&self, lookup: &mut Lookup) -> Option<Lookup> {
///         Some(lookup.clone())
///     }
/// }
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` is no hedge policy for a `{Req}` that is answered by a `Result<{Res}, {Err}>`",
    label = "cannot say which of these requests may be sent twice",
    note = "`HedgeHttp` needs an `http::Request` whose body can be sent twice: put a `ReplayLayer` above the hedge",
    note = "for other requests implement `HedgePolicy`"
)]
pub trait HedgePolicy<Req, Res, Err> {
    /// A copy to be sent elsewhere if the original takes long; `None` if it must be sent once only. Also asked for a copy of a
    /// copy.
    fn copy(&self, request: &mut Req) -> Option<Req>;

    /// Whether this ends the race. While the other one is still under way, what does not is put aside. Default: every
    /// `Ok` does.
    fn is_answer(&self, result: &Result<Res, Err>) -> bool {
        result.is_ok()
    }

    /// Whether this error says that there was no endpoint for the copy, so that it has cost nothing. Default: what the balancer below reports.
    fn is_exhausted(&self, error: &Err) -> bool {
        let _ = error;
        LastAttempt::read().is_no_endpoint()
    }
}

/// Told about copies as they happen. Everything defaults to doing nothing.
#[diagnostic::on_unimplemented(note = "give an implementation of `HedgeEvents` that is `Clone`, or `()`")]
pub trait HedgeEvents: Clone {
    /// A copy is sent.
    fn on_hedge(&self) {}

    /// The copy's answer was the first.
    fn on_copy_won(&self) {}
}

impl HedgeEvents for () {}

/// When a copy is sent.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub enum HedgeAfter {
    /// After this time.
    Delay(Duration),
    /// After the time in which this share of answers comes, 0 to 1, as measured: 0.95 sends about 5 % more requests.
    /// The measure is good to an eighth, follows some thousand answers, and is not used before there are 64.
    ///
    /// An answer that came from a copy counts from the start of its original. Truly slow answers are thus not fully seen,
    /// which makes copies earlier rather than later; the budget bounds that.
    Percentile(f64),
}

/// Makes [`Hedge`] services. All services of one layer, and their clones, share its budget.
///
/// # Panics
/// A call that may be hedged panics outside a tokio runtime: the delay needs its timer.
#[derive(Clone, Debug)]
pub struct HedgeLayer<P, C = SystemClock, V = ()> {
    policy: P,
    after: HedgeAfter,
    max_copies: u32,
    budget: Arc<RetryBudget>,
    counts_requests: bool,
    clock: C,
    events: V,
}

impl<P> HedgeLayer<P> {
    /// Sends copies `after` so long, at most two for a request, of which one at a time, within a budget of a fifth of the requests or ten
    /// copies a second, whichever is more.
    pub fn new(policy: P, after: HedgeAfter) -> Self {
        let (budget, clock) = (default_budget(), system_clock());
        Self { policy, after, max_copies: 2, budget, counts_requests: true, clock, events: () }
    }
}

impl<P, C, V> HedgeLayer<P, C, V> {
    /// Bounds copies by this budget, and counts requests on it: a budget that no other layer counts on.
    #[must_use]
    pub fn budget(mut self, budget: Arc<RetryBudget>) -> Self {
        (self.budget, self.counts_requests) = (budget, true);
        self
    }

    /// Bounds copies by the budget of a [`Retry`](crate::Retry) above, which counts the requests: retries and copies together stay within it.
    #[must_use]
    pub fn shared_budget(mut self, budget: Arc<RetryBudget>) -> Self {
        (self.budget, self.counts_requests) = (budget, false);
        self
    }

    /// Copies of a request, those that replace failed ones included; default 2. Zero switches hedging off.
    #[must_use]
    pub fn max_copies(mut self, max: u32) -> Self {
        self.max_copies = max;
        self
    }

    /// Tells the time; default [`system_clock`]. All that share a budget must be told the same time.
    #[must_use]
    pub fn clock<D>(self, clock: D) -> HedgeLayer<P, D, V> {
        let Self { policy, after, max_copies, budget, counts_requests, events, .. } = self;
        HedgeLayer { policy, after, max_copies, budget, counts_requests, clock, events }
    }

    /// Is told about copies.
    #[must_use]
    pub fn events<W>(self, events: W) -> HedgeLayer<P, C, W> {
        let Self { policy, after, max_copies, budget, counts_requests, clock, .. } = self;
        HedgeLayer { policy, after, max_copies, budget, counts_requests, clock, events }
    }
}

impl<P: Clone, S, C: Clone, V: Clone> Layer<S> for HedgeLayer<P, C, V> {
    type Service = Hedge<P, S, C, V>;

    fn layer(&self, inner: S) -> Self::Service {
        let Self { policy, after, max_copies, budget, counts_requests, clock, events } = self.clone();
        let after = match after {
            HedgeAfter::Delay(delay) => After::Delay(delay),
            HedgeAfter::Percentile(share) => After::Percentile(Box::new(Latencies::new(share))),
        };
        let shared = Shared { policy, after, max_copies, budget, counts_requests, clock, events };
        Hedge { inner, shared: Arc::new(shared) }
    }
}

/// Sends a copy of what takes long through a clone of its inner service. See [`HedgeLayer`] for the options.
pub struct Hedge<P, S, C = SystemClock, V = ()> {
    inner: S,
    shared: Arc<Shared<P, C, V>>,
}

inner_access!(Hedge<P, S, C, V>);

impl<P, S: Clone, C, V> Clone for Hedge<P, S, C, V> {
    fn clone(&self) -> Self {
        Self { inner: self.inner.clone(), shared: Arc::clone(&self.shared) }
    }
}

impl<P, S: fmt::Debug, C, V> fmt::Debug for Hedge<P, S, C, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Hedge").field("inner", &self.inner).finish_non_exhaustive()
    }
}

impl<P, S, C, V, Req> Service<Req> for Hedge<P, S, C, V>
where
    P: HedgePolicy<Req, S::Response, S::Error>,
    S: Service<Req> + Clone,
    C: Clock,
    V: HedgeEvents,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = HedgeFuture<P, S, Req, C, V>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut request: Req) -> Self::Future {
        let Shared { policy, after, max_copies, budget, counts_requests, clock, .. } = &*self.shared;
        let now = clock.now();
        if *counts_requests {
            budget.on_request(now);
        }
        let delay = after.delay().filter(|_| *max_copies > 0);
        let hedge = delay.and_then(|delay| Some((delay, policy.copy(&mut request)?)));
        // The clone is made ready when it is needed; the original keeps what it has learned, request after request.
        let spare = self.inner.clone();
        let first = self.inner.call(request);
        HedgeFuture::new(first, hedge, spare, Arc::clone(&self.shared), now)
    }
}

struct Shared<P, C, V> {
    policy: P,
    after: After,
    max_copies: u32,
    budget: Arc<RetryBudget>,
    counts_requests: bool,
    clock: C,
    events: V,
}

enum After {
    Delay(Duration),
    Percentile(Box<Latencies>),
}

impl After {
    /// How long to wait; `None` as long as nobody knows.
    fn delay(&self) -> Option<Duration> {
        match self {
            Self::Delay(delay) => Some(*delay),
            Self::Percentile(latencies) => latencies.percentile(),
        }
    }
}

#[cfg(test)]
mod tests;
