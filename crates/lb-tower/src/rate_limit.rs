//! A limit on requests per key.
//!
//! Requests above the limit are refused at once, never delayed: a queue in front of a limit only turns refusals into
//! timeouts. The refusal says when to come back.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use lb_core::{Clock, SystemClock};
use lb_ratelimit::{Keyed, Verdict};
use pin_project_lite::pin_project;
use tower_layer::Layer;
use tower_service::Service;

use crate::clock::system_clock;
use crate::inner::inner_access;

/// Which bucket a request counts for. A closure from a request to the bytes of the key, in a `Vec` or borrowed, is one by [`key_fn`].
///
/// ```
/// use lb_tower::Key;
///
/// struct Job {
///     tenant: String,
/// }
///
/// #[derive(Clone)]
/// struct ByTenant;
///
/// impl Key<Job> for ByTenant {
///     fn key<'a>(&'a self, job: &'a Job, _buffer: &'a mut Vec<u8>) -> Option<&'a [u8]> {
///         Some(job.tenant.as_bytes())
///     }
/// }
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` gives no key for a `{Req}`",
    note = "give a closure: `key_fn(|request: &MyRequest| Some(request.tenant.clone()))`, or implement `Key<{Req}>`"
)]
pub trait Key<Req> {
    /// The bytes of the key, borrowed from the request or written into `buffer`, which is empty and keeps its memory
    /// between requests. `None`: the request is not counted and always passes.
    fn key<'a>(&'a self, request: &'a Req, buffer: &'a mut Vec<u8>) -> Option<&'a [u8]>;
}

/// What a closure says is the key; [`key_fn`] makes it.
#[derive(Clone, Copy, Debug)]
pub struct KeyOf<F>(F);

/// The key that this closure gives, if any.
///
/// ```
/// # struct Job { tenant: String }
/// let by_tenant = lb_tower::key_fn(|job: &Job| Some(job.tenant.clone()));
/// ```
pub const fn key_fn<Req, K: AsRef<[u8]>, F: Fn(&Req) -> Option<K>>(key: F) -> KeyOf<F> {
    KeyOf(key)
}

impl<F, K, Req> Key<Req> for KeyOf<F>
where
    F: Fn(&Req) -> Option<K>,
    K: AsRef<[u8]>,
{
    fn key<'a>(&'a self, request: &'a Req, buffer: &'a mut Vec<u8>) -> Option<&'a [u8]> {
        buffer.extend_from_slice((self.0)(request)?.as_ref());
        Some(buffer)
    }
}

/// One bucket for all requests together.
#[derive(Clone, Copy, Debug, Default)]
pub struct Everyone;

impl<Req> Key<Req> for Everyone {
    fn key<'a>(&'a self, _request: &'a Req, _buffer: &'a mut Vec<u8>) -> Option<&'a [u8]> {
        Some(&[])
    }
}

/// Refuses requests of keys that have used up their quota. See [`RateLimitLayer`].
#[derive(Debug)]
pub struct RateLimit<S, K, C = SystemClock> {
    inner: S,
    limit: Option<Limit<K, C>>,
    buffer: Vec<u8>,
}

inner_access!(RateLimit<S, K, C>);

impl<S: Clone, K: Clone, C: Clone> Clone for RateLimit<S, K, C> {
    fn clone(&self) -> Self {
        Self { inner: self.inner.clone(), limit: self.limit.clone(), buffer: Vec::new() }
    }
}

impl<S, K, C, Req> Service<Req> for RateLimit<S, K, C>
where
    S: Service<Req>,
    K: Key<Req>,
    C: Clock,
{
    type Response = S::Response;
    type Error = RateLimitError<S::Error>;
    type Future = RateLimitFuture<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.inner.poll_ready(cx).map_err(RateLimitError::Inner)
    }

    fn call(&mut self, request: Req) -> Self::Future {
        let state = match self.verdict(&request) {
            Verdict::Pass => State::Call { future: self.inner.call(request) },
            Verdict::Refuse { retry_after } => State::Refused { retry_after },
        };
        RateLimitFuture { state }
    }
}

impl<S, K, C: Clock> RateLimit<S, K, C> {
    fn verdict<Req>(&mut self, request: &Req) -> Verdict
    where
        K: Key<Req>,
    {
        let Some(Limit { limiter, key, clock }) = &self.limit else { return Verdict::Pass };
        self.buffer.clear();
        match key.key(request, &mut self.buffer) {
            Some(key) => limiter.check(key, clock.now()),
            None => Verdict::Pass,
        }
    }
}

/// Makes [`RateLimit`]s that share one table of keys.
#[derive(Clone, Debug)]
pub struct RateLimitLayer<K, C = SystemClock> {
    limit: Option<Limit<K, C>>,
}

impl<K> RateLimitLayer<K> {
    /// Limits each key by this table. Keep the table where it outlives a reload, and nobody's count starts anew. Share it only among
    /// layers with the same kind of key: an address is four or eight bytes, which a header can hold as well.
    pub fn new(key: K, limiter: Arc<Keyed>) -> Self {
        Self { limit: Some(Limit { limiter, key, clock: system_clock() }) }
    }
}

impl<K, C> RateLimitLayer<K, C> {
    /// Tells the time; default [`system_clock`]. All that share a table must be told the same time.
    #[must_use]
    pub fn clock<D>(self, clock: D) -> RateLimitLayer<K, D> {
        RateLimitLayer { limit: self.limit.map(|Limit { limiter, key, .. }| Limit { limiter, key, clock }) }
    }

    /// Limits nothing and reads no clock.
    #[must_use]
    pub const fn disabled() -> Self {
        Self { limit: None }
    }
}

impl<S, K: Clone, C: Clone> Layer<S> for RateLimitLayer<K, C> {
    type Service = RateLimit<S, K, C>;

    fn layer(&self, inner: S) -> Self::Service {
        RateLimit { inner, limit: self.limit.clone(), buffer: Vec::new() }
    }
}

/// Why a [`RateLimit`] failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RateLimitError<E> {
    /// Its key has used up its quota; nothing was sent and nothing counted.
    #[error("rate limited, retry after {retry_after:?}")]
    Limited {
        /// When it would pass if nobody else of its key came. Never zero.
        retry_after: Duration,
    },
    /// The service inside failed.
    #[error(transparent)]
    Inner(E),
}

pin_project! {
    /// The response future of [`RateLimit`].
    #[must_use = "futures do nothing unless polled"]
    pub struct RateLimitFuture<F> {
        #[pin]
        state: State<F>,
    }
}

pin_project! {
    #[project = StateProj]
    enum State<F> {
        Call { #[pin] future: F },
        Refused { retry_after: Duration },
    }
}

impl<F, T, E> Future for RateLimitFuture<F>
where
    F: Future<Output = Result<T, E>>,
{
    type Output = Result<T, RateLimitError<E>>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match self.project().state.project() {
            StateProj::Call { future } => future.poll(cx).map_err(RateLimitError::Inner),
            StateProj::Refused { retry_after } => {
                Poll::Ready(Err(RateLimitError::Limited { retry_after: *retry_after }))
            }
        }
    }
}

impl<F> fmt::Debug for RateLimitFuture<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RateLimitFuture").finish_non_exhaustive()
    }
}

#[derive(Clone, Debug)]
struct Limit<K, C> {
    limiter: Arc<Keyed>,
    key: K,
    clock: C,
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use futures_util::FutureExt;
    use lb_core::ManualClock;
    use lb_ratelimit::Quota;
    use tower::service_fn;

    use super::*;

    #[derive(Clone)]
    struct FirstByte;

    impl Key<&'static str> for FirstByte {
        fn key<'a>(&'a self, request: &'a &'static str, buffer: &'a mut Vec<u8>) -> Option<&'a [u8]> {
            assert!(buffer.is_empty(), "the buffer is handed over empty");
            buffer.push(*request.as_bytes().first()?);
            Some(buffer)
        }
    }

    fn call<S>(service: &mut S, request: &'static str) -> Result<S::Response, S::Error>
    where
        S: Service<&'static str>,
    {
        service.call(request).now_or_never().expect("answers at once")
    }

    #[test]
    fn each_key_has_its_own_quota_and_a_refusal_says_when_to_come_back() {
        let clock = ManualClock::new();
        // One a second and one early: two at once.
        let limiter = Arc::new(Keyed::new(Quota::per_second(1).with_burst(1), 4_096, [1, 2]));
        let layer = RateLimitLayer::new(FirstByte, limiter).clock(clock.clone());
        let mut service = layer.layer(service_fn(|_| async { Ok::<_, Infallible>(()) }));
        // Clones share the table.
        let mut other = service.clone();
        assert_eq!(call(&mut service, "a"), Ok(()));
        assert_eq!(call(&mut other, "a"), Ok(()));
        let second = Duration::from_secs(1);
        assert_eq!(call(&mut service, "a"), Err(RateLimitError::Limited { retry_after: second }));
        assert_eq!(call(&mut service, "b"), Ok(()));
        assert_eq!(call(&mut service, ""), Ok(()), "no key, no count");
        clock.advance(second);
        assert_eq!(call(&mut other, "a"), Ok(()));
    }

    #[test]
    fn a_disabled_limit_lets_everything_pass() {
        let layer = RateLimitLayer::<FirstByte>::disabled();
        let mut service = layer.layer(service_fn(|_| async { Err::<(), _>("inner") }));
        for _ in 0..1_000 {
            assert_eq!(call(&mut service, "a"), Err(RateLimitError::Inner("inner")));
        }
    }
}
