//! The race of a request with its copy.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use lb_core::{Clock, Mono};
use pin_project_lite::pin_project;
use tokio::time::Sleep;
use tower_service::Service;

use super::{After, HedgeEvents, HedgePolicy, Shared};

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
        // Until the copy is sent, or will not be.
        #[pin]
        delay: Option<Sleep>,
        copy: Option<Req>,
        inner: S,
        // What one of them said that is no answer, while the other is under way.
        aside: Option<Result<S::Response, S::Error>>,
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
        Self { first: Some(first), second: None, delay, copy, inner, aside: None, shared, started }
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
        let result = ready!(first.poll(cx));
        this.first.set(None);
        let is_answer = this.shared.policy.is_answer(&result);
        if is_answer {
            this.shared.record(*this.started);
        }
        if is_answer || this.second.is_none() {
            return Poll::Ready(result);
        }
        *this.aside = Some(result);
        Poll::Pending
    }

    fn poll_second(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<S::Response, S::Error>> {
        let mut this = self.project();
        let Some(second) = this.second.as_mut().as_pin_mut() else { return Poll::Pending };
        let result = ready!(second.poll(cx));
        this.second.set(None);
        let Shared { policy, budget, clock, events, .. } = &**this.shared;
        if policy.is_answer(&result) {
            this.shared.record(*this.started);
            events.on_copy_won();
            return Poll::Ready(result);
        }
        if matches!(&result, Err(error) if policy.is_exhausted(error)) {
            budget.refund(clock.now());
        }
        // Of two failures, that of the original.
        match this.aside.take() {
            Some(original) => Poll::Ready(original),
            None => Poll::Pending,
        }
    }

    /// Sends the copy when its time has come; ready if it has just been sent.
    fn poll_copy(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let mut this = self.project();
        let Some(delay) = this.delay.as_mut().as_pin_mut() else { return Poll::Pending };
        ready!(delay.poll(cx));
        let ready = ready!(this.inner.poll_ready(cx));
        this.delay.set(None);
        let Some(copy) = this.copy.take().filter(|_| ready.is_ok()) else { return Poll::Pending };
        let Shared { budget, clock, events, .. } = &**this.shared;
        if !budget.try_retry(clock.now()) {
            return Poll::Pending;
        }
        events.on_hedge();
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
