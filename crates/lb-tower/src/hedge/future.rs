//! The race of a request with its copy.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use lb_core::{Clock, Mono};
use lb_policy::Tried;
use pin_project_lite::pin_project;
use tokio::time::Sleep;
use tower_service::Service;

use super::{After, HedgeEvents, HedgePolicy, Shared};
use crate::trail::{self, LastAttempt, Scope};

pin_project! {
    /// The response future of [`Hedge`](super::Hedge).
    #[must_use = "futures do nothing unless polled"]
    pub struct HedgeFuture<P, S, Req, C, V>
    where
        S: Service<Req>,
    {
        #[pin]
        first: Option<S::Future>,
        #[pin]
        second: Option<S::Future>,
        // Until the first copy is due.
        #[pin]
        delay: Option<Sleep>,
        // A copy is due: it is sent as soon as the service inside is ready.
        is_due: bool,
        // What the next copy is; none if there will be no further one.
        copy: Option<Req>,
        copies: u32,
        inner: S,
        // What one of them said that is no answer, while the other is under way.
        aside: Option<(LastAttempt, Result<S::Response, S::Error>)>,
        // Where original and copies went, as far as the balancer below reports it.
        tried: Tried,
        shared: Arc<Shared<P, C, V>>,
        started: Mono,
    }
}

impl<P, S: Service<Req>, Req, C, V> HedgeFuture<P, S, Req, C, V> {
    pub(super) fn new(
        first: S::Future,
        hedge: Option<(Duration, Req)>,
        inner: S,
        shared: Arc<Shared<P, C, V>>,
        started: Mono,
    ) -> Self {
        let (delay, copy) = hedge.unzip();
        let delay = delay.map(tokio::time::sleep);
        let (first, second, aside, tried) = (Some(first), None, None, Tried::new());
        Self { first, second, delay, is_due: false, copy, copies: 0, inner, aside, tried, shared, started }
    }
}

impl<P, S, Req, C, V> Future for HedgeFuture<P, S, Req, C, V>
where
    P: HedgePolicy<Req, S::Response, S::Error>,
    S: Service<Req>,
    C: Clock,
    V: HedgeEvents,
{
    type Output = Result<S::Response, S::Error>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        loop {
            if let Poll::Ready(result) = self.as_mut().poll_first(cx) {
                self.as_mut().end();
                return Poll::Ready(result);
            }
            if let Poll::Ready(result) = self.as_mut().poll_second(cx) {
                self.as_mut().end();
                return Poll::Ready(result);
            }
            ready!(self.as_mut().poll_copy(cx));
        }
    }
}

impl<P, S, Req, C, V> HedgeFuture<P, S, Req, C, V>
where
    P: HedgePolicy<Req, S::Response, S::Error>,
    S: Service<Req>,
    C: Clock,
    V: HedgeEvents,
{
    fn poll_first(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<S::Response, S::Error>> {
        let mut this = self.project();
        let Some(first) = this.first.as_mut().as_pin_mut() else { return Poll::Pending };
        let polled = poll_noting(first, this.tried, cx);
        let result = ready!(polled);
        this.first.set(None);
        let is_answer = this.shared.policy.is_answer(&result);
        if is_answer {
            this.shared.record(*this.started);
        }
        if is_answer || this.second.is_none() {
            return Poll::Ready(result);
        }
        *this.aside = Some((LastAttempt::read(), result));
        Poll::Pending
    }

    fn poll_second(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<S::Response, S::Error>> {
        let mut this = self.project();
        let Some(second) = this.second.as_mut().as_pin_mut() else { return Poll::Pending };
        let scope = Scope::enter(this.tried);
        let polled = poll_noting(second, this.tried, cx);
        drop(scope);
        let result = ready!(polled);
        this.second.set(None);
        let Shared { policy, budget, clock, events, .. } = &**this.shared;
        if policy.is_answer(&result) {
            this.shared.record(*this.started);
            events.on_copy_won();
            return Poll::Ready(result);
        }
        if matches!(&result, Err(error) if policy.is_exhausted(error)) {
            budget.refund(clock.now());
            // There is no endpoint for another one either.
            *this.copy = None;
        }
        // Of two failures, that of the original; otherwise the next copy takes the place of this one.
        *this.is_due = this.first.is_some();
        match this.aside.take() {
            Some((attempt, original)) => {
                attempt.note();
                Poll::Ready(original)
            }
            None => Poll::Pending,
        }
    }

    /// Sends a copy when its time has come; ready if it has just been sent.
    fn poll_copy(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let mut this = self.project();
        if let Some(delay) = this.delay.as_mut().as_pin_mut() {
            ready!(delay.poll(cx));
            this.delay.set(None);
            *this.is_due = true;
        }
        if !*this.is_due || this.copy.is_none() {
            return Poll::Pending;
        }
        let ready = ready!(this.inner.poll_ready(cx));
        *this.is_due = false;
        let Some(mut copy) = this.copy.take().filter(|_| ready.is_ok()) else { return Poll::Pending };
        let Shared { policy, max_copies, budget, clock, events, .. } = &**this.shared;
        if !budget.try_retry(clock.now()) {
            return Poll::Pending;
        }
        *this.copies += 1;
        if *this.copies < *max_copies {
            *this.copy = policy.copy(&mut copy);
        }
        events.on_hedge();
        let _scope = Scope::enter(this.tried);
        this.second.set(Some(this.inner.call(copy)));
        Poll::Ready(())
    }

    /// The race is over: what the loser holds goes back at once.
    fn end(self: Pin<&mut Self>) {
        let mut this = self.project();
        this.first.set(None);
        this.second.set(None);
        this.delay.set(None);
    }
}

/// Polls an attempt, and notes where it went.
fn poll_noting<F: Future>(attempt: Pin<&mut F>, tried: &mut Tried, cx: &mut Context<'_>) -> Poll<F::Output> {
    let _ = trail::take_pick();
    LastAttempt::clear();
    let polled = attempt.poll(cx);
    if let Some(uid) = trail::take_pick() {
        tried.push(uid);
    }
    polled
}

impl<P, C: Clock, V> Shared<P, C, V> {
    fn record(&self, started: Mono) {
        if let After::Percentile(latencies) = &self.after {
            latencies.record(self.clock.now().saturating_since(started));
        }
    }
}

impl<P, S: Service<Req>, Req, C, V> fmt::Debug for HedgeFuture<P, S, Req, C, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HedgeFuture").finish_non_exhaustive()
    }
}
