//! Further attempts, within a budget.
//!
//! The simple answer, "try again up to three times", turns a slow minute into an outage: every layer multiplies the
//! load just when there is no capacity for it. Three things bound it here. The [`RetryPolicy`] says what may be sent
//! twice at all; a [`RetryBudget`] shared by everybody who calls the same cluster keeps retries to a share of the
//! traffic; attempts and time are limited per request. Attempts that cannot have loaded anybody (a refused
//! connection) are free.
//!
//! Between attempts it pauses: twice as long at most before each, and anywhere below that, so that what failed together does not
//! come back together ("full jitter"). An attempt after a refused connection does not wait, since it goes elsewhere. Where an
//! answer says when to come back ([`Pushback`]), that counts.
//!
//! What this does not do: it buffers no bodies. What a further attempt needs is for the policy to save before the
//! first one, and a policy that cannot save it says so by saving nothing.
//!
//! ```text
//!          answer to be returned, or no further attempt allowed
//!         ┌──────────────────────────────────────────────────────▶ return it
//!  Call ──┤
//!         └─▶ Pause ─▶ Ready ─▶ Call      the previous answer is kept until the next attempt has one
//! ```

mod backoff;
mod future;

use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use lb_core::{Class, Clock, SystemClock};
use lb_ratelimit::{Ratio, RetryBudget};
use tower_layer::Layer;
use tower_service::Service;

pub use self::backoff::Backoff;
pub use self::future::RetryFuture;
use crate::clock::system_clock;
use crate::inner::inner_access;
use crate::seeds::Seeds;
use crate::trail::LastAttempt;

/// What may be tried again, and with what.
///
/// Which endpoints were tried needs no care: the layer keeps them from the next pick itself.
///
/// ```
/// use lb_tower::{LastAttempt, RetryPolicy, Verdict};
///
/// /// Repeats lookups, which change nothing, once the connection broke.
/// #[derive(Clone, Copy)]
/// struct Lookups;
///
/// #[derive(Clone)]
/// struct Lookup(String);
///
/// impl<Res, Err> RetryPolicy<Lookup, Res, Err> for Lookups {
///     fn save(&self, lookup: &Lookup) -> Option<Lookup> {
///         Some(lookup.clone())
///     }
///
///     fn verdict(&self, _saved: &mut Lookup, result: &Result<Res, Err>) -> Verdict {
///         match (result, LastAttempt::read().class()) {
///             (Err(_), Some(class)) => Verdict::Retry { free: class == lb_core::Class::ConnectError, class },
///             _ => Verdict::Return,
///         }
///     }
/// }
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` is no retry policy for a `{Req}` that is answered by a `Result<{Res}, {Err}>`",
    label = "cannot say which of these requests may be sent again",
    note = "`RetryHttp` and `RetryGrpc` need an `http::Request` whose body can be sent twice: put a `ReplayLayer` above the retry",
    note = "for other requests implement `RetryPolicy`"
)]
pub trait RetryPolicy<Req, Res, Err> {
    /// What a further attempt would need; `None` if this request must never be sent twice. Asked once, before the
    /// first attempt, and only where more than one is allowed.
    fn save(&self, request: &Req) -> Option<Req>;

    /// Whether this answer calls for another attempt. How the attempt fared, [`LastAttempt::read`] says.
    fn verdict(&self, saved: &mut Req, result: &Result<Res, Err>) -> Verdict;

    /// Whether this error says that nobody is left to be tried. Nothing was sent then, so it counts as no attempt, and
    /// an earlier answer is a better one. Default: what the balancer below reports.
    fn is_exhausted(&self, error: &Err) -> bool {
        let _ = error;
        LastAttempt::read().is_no_endpoint()
    }

    /// What the answer says about when to come back. Default: nothing.
    fn pushback(&self, result: &Result<Res, Err>) -> Pushback {
        let _ = result;
        Pushback::None
    }

    /// Whether the endpoint that gave this answer may be asked again at once, where nobody else is left: it has certainly
    /// not acted on the request. Such an attempt counts as any other. Default: none may.
    fn may_return(&self, result: &Result<Res, Err>) -> bool {
        let _ = result;
        false
    }

    /// Forgets which endpoints were tried, for another round through them. Default: does nothing.
    fn forget_tried(&self, saved: &mut Req) {
        let _ = saved;
    }
}

/// What an answer says about when to come back.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Pushback {
    /// Nothing: the pause is that of the [`Backoff`].
    #[default]
    None,
    /// Not before this time has passed.
    After(Duration),
    /// Not at all.
    Never,
}

/// What a [`RetryPolicy`] makes of an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Verdict {
    /// It is the answer.
    Return,
    /// Another attempt should be made.
    Retry {
        /// It draws nothing from the budget: the failed attempt cannot have loaded the endpoint.
        free: bool,
        /// What the failed attempt was, for [`RetryEvents::on_retry`].
        class: Class,
    },
}

/// Told about retries as they happen, for counters and logs. Everything defaults to doing nothing.
#[diagnostic::on_unimplemented(note = "give an implementation of `RetryEvents` that is `Clone`, or `()`")]
pub trait RetryEvents: Clone {
    /// Attempt number `attempt` (2 is the first retry) starts, because the one before it was of this class.
    fn on_retry(&self, class: Class, attempt: u32) {
        let _ = (class, attempt);
    }

    /// A retry was called for and is not made.
    fn on_give_up(&self, reason: GiveUp) {
        let _ = reason;
    }
}

impl RetryEvents for () {}

/// Why no further attempt is made although one was called for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum GiveUp {
    /// All attempts are used up.
    Attempts,
    /// It would start too late.
    Time,
    /// The budget is used up.
    Budget,
    /// Every endpoint was tried.
    Exhausted,
    /// The answer forbids it, or asks for a longer pause than is allowed.
    Pushback,
}

impl GiveUp {
    /// The word for it in logs and metrics.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Attempts => "attempts",
            Self::Time => "time",
            Self::Budget => "budget",
            Self::Exhausted => "exhausted",
            Self::Pushback => "pushback",
        }
    }
}

/// Makes [`Retry`] services. All services of one layer, and their clones, share its budget.
#[derive(Clone, Debug)]
pub struct RetryLayer<P, C = SystemClock, V = ()> {
    policy: P,
    limits: Limits,
    budget: Option<Arc<RetryBudget>>,
    clock: C,
    events: V,
}

impl<P> RetryLayer<P> {
    /// Three attempts in all, without a limit of time, with the pauses of [`Backoff::default`], within a budget of a fifth of the
    /// requests or ten retries a second, whichever is more, and [`system_clock`].
    ///
    /// Outside a tokio runtime it makes no pauses.
    pub fn new(policy: P) -> Self {
        let backoff = Backoff::default();
        let limits = Limits { attempts: 3, within: None, backoff, max_pushback: Duration::from_secs(1) };
        let budget = Some(default_budget());
        Self { policy, limits, budget, clock: system_clock(), events: () }
    }
}

impl<P, C, V> RetryLayer<P, C, V> {
    /// Attempts in all, the first included; default 3. One switches retries off; zero is taken as one.
    #[must_use]
    pub fn attempts(mut self, attempts: u32) -> Self {
        self.limits.attempts = attempts.max(1);
        self
    }

    /// No attempt starts later than this after the first; default `None`, no limit.
    ///
    /// It also changes what happens when every endpoint was tried: with a limit of time the tried ones are forgotten
    /// and, after the interval, everything starts over, for as long as attempts and time last. Without one the
    /// previous answer is returned.
    ///
    /// The answer that is kept meanwhile keeps what it holds, such as the slot of an endpoint that serves one at a time.
    #[must_use]
    pub fn within(mut self, within: Option<Duration>) -> Self {
        self.limits.within = within;
        self
    }

    /// The pauses before further attempts; default [`Backoff::default`].
    ///
    /// When no endpoint is left to be tried, the pause is at least 10 ms whatever this says, since trying again at once
    /// would only burn the processor.
    #[must_use]
    pub fn backoff(mut self, backoff: Backoff) -> Self {
        self.limits.backoff = backoff;
        self
    }

    /// Mean pause before a further attempt, the same before each: [`Backoff::even`].
    #[must_use]
    pub fn interval(self, interval: Duration) -> Self {
        self.backoff(Backoff::even(interval))
    }

    /// The longest pause that an answer may ask for ([`Pushback::After`]); default 1 s. If it asks for more, it is returned.
    #[must_use]
    pub fn max_pushback(mut self, max: Duration) -> Self {
        self.limits.max_pushback = max;
        self
    }

    /// Bounds retries to a share of all requests; `None` is no bound. Default: 20 % and at least ten a second. Share it among all that call one
    /// cluster, and with the [`Hedge`](crate::Hedge) below ([`HedgeLayer::shared_budget`](crate::HedgeLayer::shared_budget)).
    #[must_use]
    pub fn budget(mut self, budget: Option<Arc<RetryBudget>>) -> Self {
        self.budget = budget;
        self
    }

    /// Tells the time; default [`system_clock`]. All that share a budget must be told the same time.
    #[must_use]
    pub fn clock<D>(self, clock: D) -> RetryLayer<P, D, V> {
        let Self { policy, limits, budget, events, .. } = self;
        RetryLayer { policy, limits, budget, clock, events }
    }

    /// Is told about retries.
    #[must_use]
    pub fn events<W>(self, events: W) -> RetryLayer<P, C, W> {
        let Self { policy, limits, budget, clock, .. } = self;
        RetryLayer { policy, limits, budget, clock, events }
    }
}

impl<P: Clone, S: Clone, C: Clone, V: Clone> Layer<S> for RetryLayer<P, C, V> {
    type Service = Retry<P, S, C, V>;

    fn layer(&self, inner: S) -> Self::Service {
        let Self { policy, limits, budget, clock, events } = self.clone();
        let spare = Mutex::new(inner.clone());
        Retry { inner, shared: Arc::new(Shared { policy, limits, budget, clock, events, seeds: Seeds::new(), spare }) }
    }
}

/// Makes further attempts through clones of its inner service. See [`RetryLayer`] for the options.
#[derive(Debug)]
pub struct Retry<P, S, C = SystemClock, V = ()> {
    inner: S,
    shared: Arc<Shared<P, S, C, V>>,
}

inner_access!(Retry<P, S, C, V>);

impl<P, S: Clone, C, V> Clone for Retry<P, S, C, V> {
    fn clone(&self) -> Self {
        Self { inner: self.inner.clone(), shared: Arc::clone(&self.shared) }
    }
}

impl<P, S, C, V, Req> Service<Req> for Retry<P, S, C, V>
where
    P: RetryPolicy<Req, S::Response, S::Error>,
    S: Service<Req> + Clone,
    C: Clock,
    V: RetryEvents,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = RetryFuture<P, S, Req, C, V>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Req) -> Self::Future {
        let Shared { policy, limits, budget, clock, .. } = &*self.shared;
        let saved = if limits.attempts > 1 { policy.save(&request) } else { None };
        let now = if budget.is_some() || saved.is_some() { clock.now() } else { lb_core::Mono::ZERO };
        if let Some(budget) = budget {
            budget.on_request(now);
        }
        let Some(saved) = saved else { return RetryFuture::once(self.inner.call(request)) };
        let future = self.inner.call(request);
        RetryFuture::new(future, saved, Arc::clone(&self.shared), now)
    }
}

#[derive(Clone, Copy, Debug)]
struct Limits {
    attempts: u32,
    within: Option<Duration>,
    backoff: Backoff,
    max_pushback: Duration,
}

#[derive(Debug)]
struct Shared<P, S, C, V> {
    policy: P,
    limits: Limits,
    budget: Option<Arc<RetryBudget>>,
    clock: C,
    events: V,
    seeds: Seeds,
    /// Cloned for each further attempt, and made ready then; the service that was called keeps what it has learned,
    /// request after request. Behind a lock, since many services cannot be cloned by two threads at once.
    spare: Mutex<S>,
}

impl<P, S: Clone, C, V> Shared<P, S, C, V> {
    fn spare(&self) -> S {
        self.spare.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// Finagle's default: 20 % of the requests, and at least ten a second.
pub(crate) fn default_budget() -> Arc<RetryBudget> {
    Arc::new(RetryBudget::new(Ratio::default(), 10))
}

#[cfg(test)]
mod tests;
