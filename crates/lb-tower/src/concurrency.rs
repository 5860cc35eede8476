//! A limit on requests at once, whose refusal is immediate.
//!
//! tower's own limit makes requests wait in `poll_ready`, each connection its own queue without end or deadline. Here who
//! finds no room is refused in `call`, early enough to answer with something useful. The permit is held until the
//! *response* is over, not its head: a download that runs for an hour is one of so many for an hour.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use lb_core::End;
use lb_ratelimit::{Concurrency as Limit, Permit};
use pin_project_lite::pin_project;
use tower_layer::Layer;
use tower_service::Service;

use crate::balance::Finish;
use crate::inner::inner_access;

/// Decides where a request's admission lives until its response is over.
pub trait Keep<Res> {
    /// The response with whatever keeps the admission.
    type Output;

    /// Puts the admission into the response, or drops it.
    fn keep(&self, response: Res, admission: Admission) -> Self::Output;
}

/// For protocols whose response is complete with its head: the permit is given back there.
#[derive(Clone, Copy, Debug, Default)]
pub struct UntilHead;

impl<Res> Keep<Res> for UntilHead {
    type Output = Res;

    fn keep(&self, response: Res, admission: Admission) -> Res {
        drop(admission);
        response
    }
}

/// One of the requests that were let in, until it is dropped.
#[derive(Debug)]
#[must_use = "a request is in for as long as its admission is held"]
pub struct Admission {
    // None where there is no limit.
    _permit: Option<Permit>,
}

impl Finish for Admission {
    fn finish(self, _end: End) {}
}

/// Refuses requests while as many as may be are under way. See [`ConcurrencyLayer`].
#[derive(Clone, Debug)]
pub struct Concurrency<S, K = UntilHead> {
    inner: S,
    limit: Option<Arc<Limit>>,
    keep: K,
}

inner_access!(Concurrency<S, K>);

impl<S, K, Req> Service<Req> for Concurrency<S, K>
where
    S: Service<Req>,
    K: Keep<S::Response> + Clone,
{
    type Response = K::Output;
    type Error = ConcurrencyError<S::Error>;
    type Future = ConcurrencyFuture<S::Future, K>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.inner.poll_ready(cx).map_err(ConcurrencyError::Inner)
    }

    fn call(&mut self, request: Req) -> Self::Future {
        let permit = match &self.limit {
            None => None,
            Some(limit) => match limit.try_acquire() {
                Some(permit) => Some(permit),
                None => return ConcurrencyFuture { state: State::Shed { limit: limit.limit() } },
            },
        };
        let future = self.inner.call(request);
        let admission = Admission { _permit: permit };
        ConcurrencyFuture { state: State::Call { future, admission, keep: self.keep.clone() } }
    }
}

/// Makes [`Concurrency`] services that share one limit.
#[derive(Clone, Debug)]
pub struct ConcurrencyLayer<K = UntilHead> {
    limit: Option<Arc<Limit>>,
    keep: K,
}

impl ConcurrencyLayer {
    /// Admits as many at once as this limit says; `None` is no limit.
    #[must_use]
    pub const fn new(limit: Option<Arc<Limit>>) -> Self {
        Self { limit, keep: UntilHead }
    }
}

impl<K> ConcurrencyLayer<K> {
    /// Says where admissions live; default [`UntilHead`].
    #[must_use]
    pub fn keep<L>(self, keep: L) -> ConcurrencyLayer<L> {
        ConcurrencyLayer { limit: self.limit, keep }
    }
}

impl<S, K: Clone> Layer<S> for ConcurrencyLayer<K> {
    type Service = Concurrency<S, K>;

    fn layer(&self, inner: S) -> Self::Service {
        Concurrency { inner, limit: self.limit.clone(), keep: self.keep.clone() }
    }
}

/// Why a [`Concurrency`] failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ConcurrencyError<E> {
    /// As many as may be are under way; nothing was sent.
    #[error("concurrency limit reached: {limit} requests in flight")]
    Shed {
        /// The limit that was reached.
        limit: u32,
    },
    /// The service inside failed.
    #[error(transparent)]
    Inner(E),
}

pin_project! {
    /// The response future of [`Concurrency`].
    #[must_use = "futures do nothing unless polled"]
    pub struct ConcurrencyFuture<F, K> {
        #[pin]
        state: State<F, K>,
    }
}

pin_project! {
    #[project = StateProj]
    #[project_replace = StateOwn]
    enum State<F, K> {
        // The call before the admission: it is under way until it is gone.
        Call { #[pin] future: F, admission: Admission, keep: K },
        Shed { limit: u32 },
        Done,
    }
}

impl<F, K, T, E> Future for ConcurrencyFuture<F, K>
where
    F: Future<Output = Result<T, E>>,
    K: Keep<T>,
{
    type Output = Result<K::Output, ConcurrencyError<E>>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut state = self.project().state;
        let result = match state.as_mut().project() {
            StateProj::Call { future, .. } => Some(ready!(future.poll(cx))),
            StateProj::Shed { .. } => None,
            StateProj::Done => return Poll::Pending,
        };
        match (state.project_replace(State::Done), result) {
            (StateOwn::Call { admission, keep, .. }, Some(result)) => {
                Poll::Ready(result.map(|response| keep.keep(response, admission)).map_err(ConcurrencyError::Inner))
            }
            (StateOwn::Shed { limit }, _) => Poll::Ready(Err(ConcurrencyError::Shed { limit })),
            _ => Poll::Pending,
        }
    }
}

impl<F, K> fmt::Debug for ConcurrencyFuture<F, K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ConcurrencyFuture").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;
    use crate::testing::{Answer, Ask, Mock};

    /// Keeps the admission in the response.
    #[derive(Clone, Copy)]
    struct Hold;

    impl Keep<char> for Hold {
        type Output = (char, Admission);

        fn keep(&self, response: char, admission: Admission) -> Self::Output {
            (response, admission)
        }
    }

    #[test]
    fn who_finds_no_room_is_refused_at_once_and_room_comes_back_with_the_response() {
        let limit = Limit::new(2);
        let layer = ConcurrencyLayer::new(Some(Arc::clone(&limit))).keep(Hold);
        // Services of one layer share the limit.
        let (mut first, mut second) = (layer.layer(Mock::new('a')), layer.layer(Mock::new('b')));
        let a = first.call(Ask::default()).now_or_never().unwrap().unwrap();
        let b = second.call(Ask::default()).now_or_never().unwrap().unwrap();
        assert_eq!((a.0, b.0, limit.in_flight()), ('a', 'b', 2));
        let refused = first.call(Ask::default()).now_or_never().unwrap();
        assert!(matches!(refused, Err(ConcurrencyError::Shed { limit: 2 })));
        drop(a);
        assert!(second.call(Ask::default()).now_or_never().unwrap().is_ok());
        drop(b);
        assert_eq!(limit.in_flight(), 0);
    }

    #[test]
    fn no_path_leaks_a_permit() {
        let limit = Limit::new(1);
        let mock = Mock::new('a');
        let mut service = ConcurrencyLayer::new(Some(Arc::clone(&limit))).layer(mock.clone());
        assert!(service.call(Ask::default()).now_or_never().unwrap().is_ok());
        assert_eq!(limit.in_flight(), 0, "until the head");
        mock.answers(&[Answer::Fail(lb_core::Class::Reset)]);
        let failed = service.call(Ask::default()).now_or_never().unwrap();
        assert!(matches!(failed, Err(ConcurrencyError::Inner(lb_core::Class::Reset))));
        mock.answers(&[Answer::Never]);
        let mut dropped = Box::pin(service.call(Ask::default()));
        assert!(dropped.as_mut().now_or_never().is_none());
        assert_eq!(limit.in_flight(), 1);
        drop(dropped);
        assert_eq!(limit.in_flight(), 0);
    }

    #[test]
    fn without_a_limit_everybody_is_let_in() {
        let mut service = ConcurrencyLayer::new(None).keep(Hold).layer(Mock::new('a'));
        let held: Vec<_> = (0..100).map(|_| service.call(Ask::default()).now_or_never().unwrap()).collect();
        assert!(held.iter().all(Result::is_ok));
    }
}
