//! A limit on the time to the response head.
//!
//! The layer bounds everything below it: placed above [`Retry`](crate::Retry) it is the total time of all attempts,
//! placed on an endpoint's own service it is the time of one. It ends with the response head; how long a body may
//! take is for whoever reads the body. An attempt that waits for its head when the time is over counts as a timeout of its
//! endpoint, see [`Expiry`].

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use pin_project_lite::pin_project;
use tokio::time::Sleep;
use tower_layer::Layer;
use tower_service::Service;

use crate::expiry::Expiry;
use crate::inner::inner_access;
use crate::trail::LastAttempt;

/// Bounds the time from the first look for an answer to the response head.
///
/// A call that is answered at once, or has no limit, needs no timer.
///
/// # Panics
/// A call with a limit that is not answered at once panics outside a tokio runtime with a timer: to go on without a limit
/// that was asked for would be worse.
#[derive(Clone, Copy, Debug)]
pub struct Timeout<S> {
    inner: S,
    limit: Option<Duration>,
}

impl<S> Timeout<S> {
    /// At most `limit` from call to head; `None` is no limit.
    ///
    /// Zero fails every request that is not answered at once.
    pub const fn new(inner: S, limit: Option<Duration>) -> Self {
        Self { inner, limit }
    }
}

inner_access!(Timeout<S>);

impl<S, Req> Service<Req> for Timeout<S>
where
    S: Service<Req>,
{
    type Response = S::Response;
    type Error = TimeoutError<S::Error>;
    type Future = TimeoutFuture<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.inner.poll_ready(cx).map_err(TimeoutError::Inner)
    }

    fn call(&mut self, request: Req) -> Self::Future {
        TimeoutFuture::new(self.inner.call(request), self.limit)
    }
}

/// Makes [`Timeout`]s.
#[derive(Clone, Copy, Debug)]
pub struct TimeoutLayer {
    limit: Option<Duration>,
}

impl TimeoutLayer {
    /// At most `limit` from call to head; `None` is no limit.
    #[must_use]
    pub const fn new(limit: Option<Duration>) -> Self {
        Self { limit }
    }
}

impl<S> Layer<S> for TimeoutLayer {
    type Service = Timeout<S>;

    fn layer(&self, inner: S) -> Timeout<S> {
        Timeout::new(inner, self.limit)
    }
}

/// Why a [`Timeout`] failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TimeoutError<E> {
    /// The time was over before the response head; the call was dropped.
    #[error("no response head in time")]
    Elapsed,
    /// The service inside failed.
    #[error(transparent)]
    Inner(E),
}

pin_project! {
    /// The response future of [`Timeout`].
    #[derive(Debug)]
    #[must_use = "futures do nothing unless polled"]
    pub struct TimeoutFuture<F> {
        // None once it is over: what it holds (slots, connections) goes back at once, not when somebody drops us.
        #[pin]
        inner: Option<F>,
        limit: Option<Duration>,
        // None until the first look finds no answer. Boxed, so that a call without a limit carries no room for it.
        sleep: Option<Pin<Box<Sleep>>>,
    }
}

impl<F> TimeoutFuture<F> {
    pub(crate) fn new(inner: F, limit: Option<Duration>) -> Self {
        Self { inner: Some(inner), limit, sleep: None }
    }
}

impl<F, T, E> Future for TimeoutFuture<F>
where
    F: Future<Output = Result<T, E>>,
{
    type Output = Result<T, TimeoutError<E>>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut this = self.project();
        let Some(inner) = this.inner.as_mut().as_pin_mut() else { return Poll::Pending };
        // The answer first: one that is there when the time is over still counts.
        if let Poll::Ready(result) = inner.poll(cx) {
            this.inner.set(None);
            return Poll::Ready(result.map_err(TimeoutError::Inner));
        }
        let Some(limit) = *this.limit else { return Poll::Pending };
        let sleep = this.sleep.get_or_insert_with(|| Box::pin(tokio::time::sleep(limit)));
        ready!(sleep.as_mut().poll(cx));
        LastAttempt::clear();
        let over = Expiry::begin(limit);
        this.inner.set(None);
        drop(over);
        if LastAttempt::read() == LastAttempt::Unknown {
            LastAttempt::TimedOut.note();
        }
        Poll::Ready(Err(TimeoutError::Elapsed))
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use tokio::time::{Instant, sleep};
    use tower::{ServiceExt, service_fn};

    use super::*;

    fn answers_after(delay: Duration) -> impl Service<(), Response = u8, Error = Infallible> {
        service_fn(move |()| async move {
            sleep(delay).await;
            Ok(7)
        })
    }

    #[tokio::test(start_paused = true)]
    async fn it_fails_at_the_limit_and_not_before() {
        let start = Instant::now();
        let limit = Some(Duration::from_secs(2));
        let late = Timeout::new(answers_after(Duration::from_secs(3)), limit).oneshot(()).await;
        assert_eq!(late, Err(TimeoutError::Elapsed));
        assert_eq!(start.elapsed(), Duration::from_secs(2));
        assert_eq!(Timeout::new(answers_after(Duration::from_secs(1)), limit).oneshot(()).await, Ok(7));
    }

    #[tokio::test(start_paused = true)]
    async fn an_answer_that_is_there_at_the_limit_counts() {
        let second = Duration::from_secs(1);
        assert_eq!(Timeout::new(answers_after(second), Some(second)).oneshot(()).await, Ok(7));
    }

    #[test]
    fn without_a_limit_no_timer_is_needed() {
        let ready = Timeout::new(service_fn(|()| async { Ok::<_, Infallible>(7) }), None).oneshot(());
        assert_eq!(futures_util::FutureExt::now_or_never(ready), Some(Ok(7)));
    }

    #[tokio::test(start_paused = true)]
    async fn what_the_call_holds_is_given_back_when_the_time_is_over() {
        let held = std::sync::Arc::new(());
        let inner = held.clone();
        let service = service_fn(move |()| {
            let inner = inner.clone();
            async move {
                std::future::pending::<()>().await;
                drop(inner);
                Ok::<_, Infallible>(7)
            }
        });
        let mut service = Timeout::new(service, Some(Duration::from_secs(1)));
        let mut late = std::pin::pin!(service.call(()));
        assert_eq!(late.as_mut().await, Err(TimeoutError::Elapsed));
        assert_eq!(std::sync::Arc::strong_count(&held), 2, "ours and the service's, not the call's");
    }
}
