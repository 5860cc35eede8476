//! One attempt, from its pick until both bodies have ended.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use lb_core::{Class, Clock, End, Mono, SystemClock};
use lb_policy::{Endpoint, Ticket, Uid};

use super::observe::{Attempt, Finish};
use crate::expiry::Expiry;
use crate::trail::LastAttempt;

/// Told what becomes of every attempt. Metrics and outlier detection hang here.
///
/// For each attempt, in this order and each exactly once: `on_pick`, `on_head`, `on_end`; an attempt dropped on its
/// way is reported as cancelled. It is called on the request path, so it must be quick. Everything defaults to doing
/// nothing; two of them make a pair, and `None` is nothing too.
///
/// ```
/// use std::sync::Arc;
/// use std::time::Duration;
///
/// use lb_core::{Class, Mono};
/// use lb_policy::Endpoint;
/// use lb_tower::Events;
///
/// #[derive(Clone)]
/// struct Slow;
///
/// impl<S> Events<S> for Slow {
///     fn on_head(&self, endpoint: &Arc<Endpoint<S>>, class: Class, elapsed: Duration, _now: Mono) {
///         if elapsed > Duration::from_secs(1) {
///             eprintln!("{} took {elapsed:?} to answer {}", endpoint.identity(), class.name());
///         }
///     }
/// }
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` does not take the events of attempts",
    note = "give a `Passive`, an implementation of `Events<S>` that is `Clone`, a pair of those, or `()`"
)]
pub trait Events<S>: Clone {
    /// Whether the times it is given matter to it. Where nothing asks for the time, a balance does not read the clock, and
    /// `now` and `elapsed` are zero. Default: they do.
    fn needs_time(&self) -> bool {
        true
    }

    /// No endpoint could take a request.
    fn on_refused(&self, now: Mono) {
        let _ = now;
    }

    /// An attempt starts at this endpoint.
    fn on_pick(&self, endpoint: &Arc<Endpoint<S>>, now: Mono) {
        let _ = (endpoint, now);
    }

    /// Its response head came, or it is certain that none will, `elapsed` after the pick.
    fn on_head(&self, endpoint: &Arc<Endpoint<S>>, class: Class, elapsed: Duration, now: Mono) {
        let _ = (endpoint, class, elapsed, now);
    }

    /// It is over, `elapsed` after the pick. `class` is what `on_head` was told; an attempt that failed before its head ends as
    /// [`End::UpstreamAborted`], so whoever counts failures must look at both.
    fn on_end(&self, endpoint: &Arc<Endpoint<S>>, class: Class, end: End, elapsed: Duration, now: Mono) {
        let _ = (endpoint, class, end, elapsed, now);
    }
}

impl<S> Events<S> for () {
    fn needs_time(&self) -> bool {
        false
    }
}

impl<S, A: Events<S>, B: Events<S>> Events<S> for (A, B) {
    fn needs_time(&self) -> bool {
        self.0.needs_time() || self.1.needs_time()
    }

    fn on_refused(&self, now: Mono) {
        self.0.on_refused(now);
        self.1.on_refused(now);
    }

    fn on_pick(&self, endpoint: &Arc<Endpoint<S>>, now: Mono) {
        self.0.on_pick(endpoint, now);
        self.1.on_pick(endpoint, now);
    }

    fn on_head(&self, endpoint: &Arc<Endpoint<S>>, class: Class, elapsed: Duration, now: Mono) {
        self.0.on_head(endpoint, class, elapsed, now);
        self.1.on_head(endpoint, class, elapsed, now);
    }

    fn on_end(&self, endpoint: &Arc<Endpoint<S>>, class: Class, end: End, elapsed: Duration, now: Mono) {
        self.0.on_end(endpoint, class, end, elapsed, now);
        self.1.on_end(endpoint, class, end, elapsed, now);
    }
}

/// Shared, for what would be dear to clone for each attempt.
impl<S, A: Events<S>> Events<S> for Arc<A> {
    fn needs_time(&self) -> bool {
        (**self).needs_time()
    }

    fn on_refused(&self, now: Mono) {
        (**self).on_refused(now);
    }

    fn on_pick(&self, endpoint: &Arc<Endpoint<S>>, now: Mono) {
        (**self).on_pick(endpoint, now);
    }

    fn on_head(&self, endpoint: &Arc<Endpoint<S>>, class: Class, elapsed: Duration, now: Mono) {
        (**self).on_head(endpoint, class, elapsed, now);
    }

    fn on_end(&self, endpoint: &Arc<Endpoint<S>>, class: Class, end: End, elapsed: Duration, now: Mono) {
        (**self).on_end(endpoint, class, end, elapsed, now);
    }
}

impl<S, A: Events<S>> Events<S> for Option<A> {
    fn needs_time(&self) -> bool {
        self.as_ref().is_some_and(Events::needs_time)
    }

    fn on_refused(&self, now: Mono) {
        if let Some(inner) = self {
            inner.on_refused(now);
        }
    }

    fn on_pick(&self, endpoint: &Arc<Endpoint<S>>, now: Mono) {
        if let Some(inner) = self {
            inner.on_pick(endpoint, now);
        }
    }

    fn on_head(&self, endpoint: &Arc<Endpoint<S>>, class: Class, elapsed: Duration, now: Mono) {
        if let Some(inner) = self {
            inner.on_head(endpoint, class, elapsed, now);
        }
    }

    fn on_end(&self, endpoint: &Arc<Endpoint<S>>, class: Class, end: End, elapsed: Duration, now: Mono) {
        if let Some(inner) = self {
            inner.on_end(endpoint, class, end, elapsed, now);
        }
    }
}

/// An attempt's slot at its endpoint, with the clock to say when it ended.
///
/// [`end`](Self::end) says how; a bare drop reports [`End::Cancelled`], and before the response head also
/// [`Class::Cancelled`], or [`Class::Timeout`] where its time is over ([`Expiry`]). Either way the slot is given back once.
#[must_use = "dropping it ends the attempt as cancelled"]
pub struct Guard<S, C: Clock = SystemClock, V: Events<S> = ()> {
    // None only once `finish` has run, after which nobody can reach it: `end` takes the guard, and else it is dropped.
    ticket: Option<Ticket<S>>,
    class: Option<Class>,
    clock: C,
    events: V,
    /// Some part of the balance uses the time.
    is_timed: bool,
}

impl<S, C: Clock, V: Events<S>> Guard<S, C, V> {
    /// The attempt starts; its time runs since the pick.
    pub(crate) fn start(ticket: Ticket<S>, clock: C, events: V, is_timed: bool) -> Self {
        events.on_pick(ticket.endpoint(), ticket.started());
        Self { ticket: Some(ticket), class: None, clock, events, is_timed }
    }

    fn now(&self) -> Mono {
        if self.is_timed { self.clock.now() } else { Mono::ZERO }
    }

    /// Where the request went.
    #[must_use]
    pub fn endpoint(&self) -> &Arc<Endpoint<S>> {
        self.ticket.as_ref().expect("only `end` and drop take the ticket").endpoint()
    }

    /// What the response head was; `None` before it.
    #[must_use]
    pub fn class(&self) -> Option<Class> {
        self.class
    }

    /// The attempt has ended; the slot is free again.
    pub fn end(mut self, end: End) {
        self.close(end);
    }

    /// The response head came. Reported once.
    pub(crate) fn head(&mut self, class: Class) {
        let now = self.now();
        self.report_head(class, now);
    }

    /// There will be no response head: the attempt is over.
    pub(crate) fn fail(mut self, class: Class) {
        let now = self.now();
        self.conclude(class, now);
    }

    fn conclude(&mut self, class: Class, now: Mono) {
        self.report_head(class, now);
        let Some(ticket) = self.ticket.take() else { return };
        let end = if class.is_failure() { End::UpstreamAborted } else { End::Cancelled };
        // The ticket is only dropped: its head has taught everything there was to learn.
        let elapsed = now.saturating_since(ticket.started());
        self.events.on_end(ticket.endpoint(), class, end, elapsed, now);
    }

    fn report_head(&mut self, class: Class, now: Mono) {
        if self.class.is_some() {
            return;
        }
        let Some(ticket) = &mut self.ticket else { return };
        self.class = Some(class);
        ticket.on_head(class, now);
        self.events.on_head(ticket.endpoint(), class, now.saturating_since(ticket.started()), now);
    }

    fn close(&mut self, end: End) {
        if self.ticket.is_none() {
            return;
        }
        let now = self.now();
        self.report_head(Class::Cancelled, now);
        let (Some(ticket), Some(class)) = (self.ticket.take(), self.class) else { return };
        self.events.on_end(ticket.endpoint(), class, end, now.saturating_since(ticket.started()), now);
        ticket.on_end(end, now);
    }
}

impl<S, C: Clock, V: Events<S>> Attempt for Guard<S, C, V> {
    fn uid(&self) -> Uid {
        self.endpoint().uid()
    }

    fn name(&self) -> &Arc<str> {
        &self.endpoint().identity().name
    }

    fn affinity(&self) -> u64 {
        self.endpoint().affinity()
    }
}

impl<S, C: Clock, V: Events<S>> Finish for Guard<S, C, V> {
    fn finish(self, end: End) {
        self.end(end);
    }

    fn on_head(&mut self, class: Class) {
        self.head(class);
    }
}

impl<S, C: Clock, V: Events<S>> Drop for Guard<S, C, V> {
    fn drop(&mut self) {
        if let (None, Some(ticket)) = (self.class, &self.ticket)
            && Expiry::is_over()
        {
            LastAttempt::At { uid: ticket.endpoint().uid(), class: Class::Timeout }.note();
            if Expiry::blames(|| self.clock.now().saturating_since(ticket.started())) {
                let now = self.now();
                self.conclude(Class::Timeout, now);
            }
        }
        self.close(End::Cancelled);
    }
}

impl<S, C: Clock, V: Events<S>> fmt::Debug for Guard<S, C, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let endpoint = self.ticket.as_ref().map(|ticket| ticket.endpoint().identity());
        f.debug_struct("Guard").field("endpoint", &endpoint).field("class", &self.class).finish_non_exhaustive()
    }
}
