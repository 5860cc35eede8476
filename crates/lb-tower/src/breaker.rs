//! A breaker over any service: while it fails, requests are refused at once, and a few test whether it works again.
//!
//! Outlier detection ([`Passive`](crate::Passive)) judges endpoints among others. A service that stands alone, such as the only database
//! or a whole cluster, has no others: to it belongs a breaker, which spares it requests that would fail and callers the wait for
//! them. The state machine is [`lb_health::Breaker`].

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use lb_core::{Class, Clock, SystemClock};
use lb_health::{Admission, Breaker as Machine, BreakerConfig, BreakerState};
use pin_project_lite::pin_project;
use tower_layer::Layer;
use tower_service::Service;

use crate::clock::system_clock;
use crate::inner::inner_access;
use crate::result_class::{ByResult, ClassifyResult};

/// Makes [`Breaker`]s. All services of one layer, and their clones, share one state.
///
/// ```
/// # use std::convert::Infallible;
/// use lb_tower::BreakerLayer;
/// use tower::{ServiceBuilder, service_fn};
///
/// let service = ServiceBuilder::new()
///     .layer(BreakerLayer::new(lb_health::BreakerConfig::default()))
///     .service(service_fn(|n: u32| async move { Ok::<_, Infallible>(n) }));
/// # drop(service);
/// ```
#[derive(Clone, Debug)]
pub struct BreakerLayer<K = ByResult, C = SystemClock> {
    shared: Arc<Shared<C>>,
    classify: K,
}

#[derive(Debug)]
struct Shared<C> {
    machine: Mutex<Machine>,
    clock: C,
}

impl BreakerLayer {
    /// Opens and closes as this says; results are classified by [`ByResult`].
    #[must_use]
    pub fn new(config: BreakerConfig) -> Self {
        let shared = Shared { machine: Mutex::new(Machine::new(config)), clock: system_clock() };
        Self { shared: Arc::new(shared), classify: ByResult }
    }
}

impl<K, C: Clone> BreakerLayer<K, C> {
    /// What results are failures: a closure from `&Result<Res, Err>` to [`Class`], or `http::ByStatus`.
    #[must_use]
    pub fn classify<L>(self, classify: L) -> BreakerLayer<L, C> {
        BreakerLayer { shared: self.shared, classify }
    }

    /// The clock; default [`system_clock`].
    #[must_use]
    pub fn clock<D>(self, clock: D) -> BreakerLayer<K, D> {
        let machine = Mutex::new(self.shared.lock().clone());
        BreakerLayer { shared: Arc::new(Shared { machine, clock }), classify: self.classify }
    }
}

impl<K, C> BreakerLayer<K, C> {
    /// Whether requests flow.
    #[must_use]
    pub fn state(&self) -> BreakerState {
        self.shared.lock().state()
    }
}

impl<S, K: Clone, C> Layer<S> for BreakerLayer<K, C> {
    type Service = Breaker<S, K, C>;

    fn layer(&self, inner: S) -> Self::Service {
        Breaker { inner, shared: Arc::clone(&self.shared), classify: self.classify.clone() }
    }
}

/// Refuses requests while what it calls fails. See [`BreakerLayer`].
#[derive(Debug)]
pub struct Breaker<S, K = ByResult, C = SystemClock> {
    inner: S,
    shared: Arc<Shared<C>>,
    classify: K,
}

inner_access!(Breaker<S, K, C>);

impl<S: Clone, K: Clone, C> Clone for Breaker<S, K, C> {
    fn clone(&self) -> Self {
        Self { inner: self.inner.clone(), shared: Arc::clone(&self.shared), classify: self.classify.clone() }
    }
}

impl<C> Shared<C> {
    /// The machine is consistent between its methods, so a poisoned lock is taken as it is.
    fn lock(&self) -> MutexGuard<'_, Machine> {
        self.machine.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<C: Clock> Shared<C> {
    /// Admits a request, or says how long not to come back.
    fn admit(&self) -> Result<Admission, Duration> {
        let now = self.clock.now();
        let mut machine = self.lock();
        let _ = machine.on_timer(now);
        machine
            .try_admit(now)
            .ok_or_else(|| machine.next_deadline().map_or(Duration::ZERO, |until| until.saturating_since(now)))
    }

    fn report(&self, admission: Admission, class: Class) {
        let mut machine = self.lock();
        if class == Class::Cancelled {
            machine.on_cancelled(admission);
        } else {
            let _ = machine.on_result(admission, !class.is_failure(), self.clock.now(), fastrand::u64(..));
        }
    }
}

impl<S, K, C, Req> Service<Req> for Breaker<S, K, C>
where
    S: Service<Req>,
    K: ClassifyResult<S::Response, S::Error> + Clone,
    C: Clock,
{
    type Response = S::Response;
    type Error = BreakerError<S::Error>;
    type Future = BreakerFuture<S::Future, K, C>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.inner.poll_ready(cx).map_err(BreakerError::Inner)
    }

    fn call(&mut self, request: Req) -> Self::Future {
        let state = match self.shared.admit() {
            Err(retry_after) => State::Refused { retry_after },
            Ok(admission) => State::Call {
                future: self.inner.call(request),
                probe: Probe { shared: Arc::clone(&self.shared), admission: Some(admission) },
                classify: self.classify.clone(),
            },
        };
        BreakerFuture { state }
    }
}

/// Why a [`Breaker`] failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BreakerError<E> {
    /// It is open, or half-open with as many tests under way as may be; nothing was sent.
    #[error("breaker open, retry after {retry_after:?}")]
    Open {
        /// When it tests again; zero where it does so now.
        retry_after: Duration,
    },
    /// The service inside failed.
    #[error(transparent)]
    Inner(E),
}

/// A request that was admitted; dropped without a report it was cancelled.
#[derive(Debug)]
struct Probe<C> {
    shared: Arc<Shared<C>>,
    admission: Option<Admission>,
}

impl<C> Drop for Probe<C> {
    fn drop(&mut self) {
        if let Some(admission) = self.admission.take() {
            self.shared.lock().on_cancelled(admission);
        }
    }
}

pin_project! {
    /// The response future of [`Breaker`].
    #[must_use = "futures do nothing unless polled"]
    pub struct BreakerFuture<F, K, C> {
        #[pin]
        state: State<F, K, C>,
    }
}

pin_project! {
    #[project = StateProj]
    enum State<F, K, C> {
        Call { #[pin] future: F, probe: Probe<C>, classify: K },
        Refused { retry_after: Duration },
    }
}

impl<F, K, C, T, E> Future for BreakerFuture<F, K, C>
where
    F: Future<Output = Result<T, E>>,
    K: ClassifyResult<T, E>,
    C: Clock,
{
    type Output = Result<T, BreakerError<E>>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match self.project().state.project() {
            StateProj::Call { future, probe, classify } => {
                let result = ready!(future.poll(cx));
                if let Some(admission) = probe.admission.take() {
                    probe.shared.report(admission, classify.class(&result));
                }
                Poll::Ready(result.map_err(BreakerError::Inner))
            }
            StateProj::Refused { retry_after } => Poll::Ready(Err(BreakerError::Open { retry_after: *retry_after })),
        }
    }
}

impl<F, K, C> fmt::Debug for BreakerFuture<F, K, C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BreakerFuture").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;
    use lb_core::ManualClock;

    use super::*;
    use crate::testing::{Answer, Ask, Mock};

    fn send<S: Service<Ask>>(service: &mut S) -> Option<Result<S::Response, S::Error>> {
        service.call(Ask::default()).now_or_never()
    }

    #[test]
    fn it_refuses_while_the_service_fails_and_tests_with_one_request() {
        let (mock, clock) = (Mock::new('a'), ManualClock::new());
        let config = BreakerConfig { consecutive: 3, ..BreakerConfig::default() };
        let layer = BreakerLayer::new(config).clock(clock.clone());
        let mut service = layer.layer(mock.clone());
        mock.answers(&[Answer::Fail(Class::Reset)]);
        for _ in 0..3 {
            assert!(matches!(send(&mut service.clone()), Some(Err(BreakerError::Inner(Class::Reset)))));
        }
        assert_eq!(layer.state(), BreakerState::Open);
        let Some(Err(BreakerError::Open { retry_after })) = send(&mut service) else { panic!("it is open") };
        assert!(retry_after > Duration::ZERO);
        assert_eq!(mock.calls(), 3, "nothing is sent");
        // A test that is under way keeps the others out; dropped, it proves nothing and frees its place.
        clock.advance(retry_after);
        mock.answers(&[Answer::Never]);
        let mut test = Box::pin(service.call(Ask::default()));
        assert!(test.as_mut().now_or_never().is_none());
        assert!(matches!(send(&mut service), Some(Err(BreakerError::Open { .. }))));
        drop(test);
        mock.answers(&[Answer::Ok]);
        // Rounds of 1, 2, 4 and 8 requests close it.
        for _ in 0..15 {
            assert!(matches!(send(&mut service), Some(Ok('a'))));
        }
        assert_eq!(layer.state(), BreakerState::Closed);
    }

    #[test]
    fn what_says_nothing_about_the_service_does_not_open_it() {
        let mock = Mock::new('a');
        mock.answers(&[Answer::Fail(Class::Cancelled)]);
        let layer = BreakerLayer::new(BreakerConfig { consecutive: 1, ..BreakerConfig::default() });
        let mut service = layer.layer(mock);
        for _ in 0..5 {
            let _ = send(&mut service);
        }
        assert_eq!(layer.state(), BreakerState::Closed);
    }
}
