//! A limit on requests at once that finds its own height.
//!
//! A fixed [`Concurrency`](crate::Concurrency) limit is right for one machine, one version and one mix of requests. Here the limit learns from how long requests
//! take: it grows while answers come as fast as ever, and falls when they slow down or are lost, by one of the rules of
//! [`lb_ratelimit::adaptive`]. Above it requests are refused at once.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};

use lb_core::{Class, Clock, Mono, SystemClock};
use lb_ratelimit::adaptive::{Limit, Sample};
use lb_ratelimit::{Concurrency, Permit};
use pin_project_lite::pin_project;
use tower_layer::Layer;
use tower_service::Service;

use crate::clock::system_clock;
use crate::concurrency::ConcurrencyError;
use crate::inner::inner_access;
use crate::result_class::{ByResult, ClassifyResult};

/// Makes [`Adaptive`] services. All services of one layer, and their clones, share one limit.
///
/// ```
/// # use std::convert::Infallible;
/// use lb_ratelimit::adaptive::{Vegas, VegasConfig};
/// use lb_tower::AdaptiveLayer;
/// use tower::{ServiceBuilder, service_fn};
///
/// let service = ServiceBuilder::new()
///     .layer(AdaptiveLayer::new(Vegas::new(VegasConfig::default(), 7)))
///     .service(service_fn(|n: u32| async move { Ok::<_, Infallible>(n) }));
/// # drop(service);
/// ```
#[derive(Debug)]
pub struct AdaptiveLayer<L, K = ByResult, C = SystemClock> {
    shared: Arc<Shared<L, C>>,
    classify: K,
}

#[derive(Debug)]
struct Shared<L, C> {
    limit: Mutex<L>,
    concurrency: Arc<Concurrency>,
    clock: C,
}

impl<L: Limit> AdaptiveLayer<L> {
    /// Learns by this rule; results are classified by [`ByResult`].
    #[must_use]
    pub fn new(limit: L) -> Self {
        let concurrency = Concurrency::new(limit.limit());
        let shared = Shared { limit: Mutex::new(limit), concurrency, clock: system_clock() };
        Self { shared: Arc::new(shared), classify: ByResult }
    }
}

impl<L, K, C> AdaptiveLayer<L, K, C> {
    /// What results are losses: a timeout, and the statuses 429 and 503 by which a service says that it is too much.
    #[must_use]
    pub fn classify<M>(self, classify: M) -> AdaptiveLayer<L, M, C> {
        AdaptiveLayer { shared: self.shared, classify }
    }

    /// The limit now, and the requests under way.
    #[must_use]
    pub fn concurrency(&self) -> &Arc<Concurrency> {
        &self.shared.concurrency
    }
}

impl<L: Limit, K> AdaptiveLayer<L, K> {
    /// The same rule from its start, by this clock; default [`system_clock`].
    #[must_use]
    pub fn clock<D>(limit: L, classify: K, clock: D) -> AdaptiveLayer<L, K, D> {
        let concurrency = Concurrency::new(limit.limit());
        AdaptiveLayer { shared: Arc::new(Shared { limit: Mutex::new(limit), concurrency, clock }), classify }
    }
}

impl<L, K: Clone, C> Clone for AdaptiveLayer<L, K, C> {
    fn clone(&self) -> Self {
        Self { shared: Arc::clone(&self.shared), classify: self.classify.clone() }
    }
}

impl<S, L, K: Clone, C> Layer<S> for AdaptiveLayer<L, K, C> {
    type Service = Adaptive<S, L, K, C>;

    fn layer(&self, inner: S) -> Self::Service {
        Adaptive { inner, shared: Arc::clone(&self.shared), classify: self.classify.clone() }
    }
}

/// Refuses requests above a limit that learns. See [`AdaptiveLayer`].
#[derive(Debug)]
pub struct Adaptive<S, L, K = ByResult, C = SystemClock> {
    inner: S,
    shared: Arc<Shared<L, C>>,
    classify: K,
}

inner_access!(Adaptive<S, L, K, C>);

impl<S: Clone, L, K: Clone, C> Clone for Adaptive<S, L, K, C> {
    fn clone(&self) -> Self {
        Self { inner: self.inner.clone(), shared: Arc::clone(&self.shared), classify: self.classify.clone() }
    }
}

impl<L: Limit, C: Clock> Shared<L, C> {
    /// Learns from a request that has ended. One that was cancelled teaches nothing.
    fn learn(&self, started: Mono, in_flight: u32, class: Class) {
        if class == Class::Cancelled {
            return;
        }
        let dropped = matches!(class, Class::Timeout | Class::Busy(_) | Class::Status(429 | 503));
        let rtt = self.clock.now().saturating_since(started);
        let sample = Sample { started, rtt, in_flight, dropped };
        let mut limit = self.limit.lock().unwrap_or_else(PoisonError::into_inner);
        self.concurrency.set_limit(limit.on_sample(&sample, fastrand::u64(..)));
    }
}

impl<S, L, K, C, Req> Service<Req> for Adaptive<S, L, K, C>
where
    S: Service<Req>,
    L: Limit,
    K: ClassifyResult<S::Response, S::Error> + Clone,
    C: Clock,
{
    type Response = S::Response;
    type Error = ConcurrencyError<S::Error>;
    type Future = AdaptiveFuture<S::Future, L, K, C>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.inner.poll_ready(cx).map_err(ConcurrencyError::Inner)
    }

    fn call(&mut self, request: Req) -> Self::Future {
        let concurrency = &self.shared.concurrency;
        let Some(permit) = concurrency.try_acquire() else {
            return AdaptiveFuture { state: State::Shed { limit: concurrency.limit() } };
        };
        let started = self.shared.clock.now();
        let shared = Arc::clone(&self.shared);
        let future = self.inner.call(request);
        AdaptiveFuture { state: State::Call { future, permit, started, shared, classify: self.classify.clone() } }
    }
}

pin_project! {
    /// The response future of [`Adaptive`].
    #[must_use = "futures do nothing unless polled"]
    pub struct AdaptiveFuture<F, L, K, C> {
        #[pin]
        state: State<F, L, K, C>,
    }
}

pin_project! {
    #[project = StateProj]
    enum State<F, L, K, C> {
        // The call before the permit: it is under way until it is gone.
        Call { #[pin] future: F, permit: Permit, started: Mono, shared: Arc<Shared<L, C>>, classify: K },
        Shed { limit: u32 },
        Done,
    }
}

impl<F, L, K, C, T, E> Future for AdaptiveFuture<F, L, K, C>
where
    F: Future<Output = Result<T, E>>,
    L: Limit,
    K: ClassifyResult<T, E>,
    C: Clock,
{
    type Output = Result<T, ConcurrencyError<E>>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut state = self.project().state;
        let result = match state.as_mut().project() {
            StateProj::Call { future, permit, started, shared, classify } => {
                let result = ready!(future.poll(cx));
                shared.learn(*started, permit.in_flight(), classify.class(&result));
                result.map_err(ConcurrencyError::Inner)
            }
            StateProj::Shed { limit } => Err(ConcurrencyError::Shed { limit: *limit }),
            StateProj::Done => return Poll::Pending,
        };
        state.set(State::Done);
        Poll::Ready(result)
    }
}

impl<F, L, K, C> fmt::Debug for AdaptiveFuture<F, L, K, C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AdaptiveFuture").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use futures_util::FutureExt;
    use lb_ratelimit::adaptive::{Aimd, AimdConfig};

    use super::*;
    use crate::TokioClock;
    use crate::testing::{Answer, Ask, Mock};

    #[tokio::test(start_paused = true)]
    async fn it_falls_when_requests_are_lost_and_refuses_above() {
        let mock = Mock::new('a');
        let layer = AdaptiveLayer::clock(Aimd::new(AimdConfig::default()), ByResult, TokioClock::new());
        let mut service = layer.layer(mock.clone());
        let before = layer.concurrency().limit();
        mock.answers(&[Answer::Fail(Class::Timeout)]);
        for _ in 0..100 {
            let _ = service.call(Ask::default()).await;
            tokio::time::advance(Duration::from_secs(1)).await;
        }
        let after = layer.concurrency().limit();
        assert!(after <= before, "{before} {after}");
        mock.answers(&[Answer::Never]);
        let mut held: Vec<_> = (0..after).map(|_| Box::pin(service.call(Ask::default()))).collect();
        assert!(held.iter_mut().all(|call| call.now_or_never().is_none()));
        let refused = service.call(Ask::default()).await;
        assert!(matches!(refused, Err(ConcurrencyError::Shed { limit }) if limit == after));
        drop(held);
        assert_eq!(layer.concurrency().in_flight(), 0);
    }
}
