//! Further attempts, within a budget.
//!
//! The simple answer, "try again up to three times", turns a slow minute into an outage: every layer multiplies the
//! load just when there is no capacity for it. Three things bound it here. The [`RetryPolicy`] says what may be sent
//! twice at all; a [`RetryBudget`] shared by everybody who calls the same cluster keeps retries to a share of the
//! traffic; attempts and time are limited per request. Attempts that cannot have loaded anybody (a refused
//! connection) are free.
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

mod future;

use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use lb_core::{Class, Clock, SystemClock};
use lb_ratelimit::RetryBudget;
use tower_layer::Layer;
use tower_service::Service;

pub use self::future::RetryFuture;
use crate::clock::system_clock;
use crate::seeds::Seeds;

/// What may be tried again, and with what.
pub trait RetryPolicy<Req, Res, Err> {
    /// What a further attempt would need; `None` if this request must never be sent twice. Asked once, before the
    /// first attempt, and only where more than one is allowed.
    fn save(&self, request: &Req) -> Option<Req>;

    /// Whether this answer calls for another attempt. If it does, mark on `saved` which endpoint was tried, so that
    /// the next pick excludes it.
    fn verdict(&self, saved: &mut Req, result: &Result<Res, Err>) -> Verdict;

    /// Whether this error says that nobody is left to be tried. Nothing was sent then, so it counts as no attempt, and
    /// an earlier answer is a better one. Default: no error says so.
    fn is_exhausted(&self, error: &Err) -> bool {
        let _ = error;
        false
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

/// What a [`RetryPolicy`] makes of an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
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
    /// Three attempts in all, no limit of time, no pause between them, no budget, [`system_clock`].
    ///
    /// Give it a [`budget`](Self::budget) unless something else bounds the load.
    pub fn new(policy: P) -> Self {
        Self { policy, limits: Limits::DEFAULT, budget: None, clock: system_clock(), events: () }
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

    /// Mean pause before a further attempt; each is drawn evenly from half of it to one and a half of it, so that
    /// requests that failed together do not come back together. Default zero: at once.
    ///
    /// When nobody is left to be tried, the pause is at least 10 ms whatever the interval, since trying again at once
    /// would only burn the processor.
    #[must_use]
    pub fn interval(mut self, interval: Duration) -> Self {
        self.limits.interval = interval;
        self
    }

    /// Bounds retries to a share of all requests; default `None`, no bound. Share it among all who call one cluster.
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
    interval: Duration,
}

impl Limits {
    const DEFAULT: Self = Self { attempts: 3, within: None, interval: Duration::ZERO };
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

#[cfg(test)]
mod tests;
