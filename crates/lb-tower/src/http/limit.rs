//! A rate limit for servers, which answers by itself.
//!
//! [`RateLimit`](crate::RateLimit) is for any service, so its refusal is an error that the server must turn into a response, and its key says
//! nothing about where it comes from. In a server both are known: a request above the limit is answered 429 with `Retry-After`, all
//! responses say how much is left, and a request without a key, which means that the layer is wired wrongly, is refused with the reason instead of
//! passing uncounted.

use std::future::Future;
use std::hash::{BuildHasher, RandomState};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use http::header::{HeaderName, HeaderValue, RETRY_AFTER};
use http::{Request, Response, StatusCode};
use lb_core::{Clock, SystemClock};
use lb_ratelimit::{Keyed, Quota, Verdict};
use pin_project_lite::pin_project;
use tower_layer::Layer;
use tower_service::Service;

use super::keys::ByClient;
use crate::clock::system_clock;
use crate::inner::inner_access;
use crate::rate_limit::Key;

const RATE_LIMIT: HeaderName = HeaderName::from_static("ratelimit");
const RATE_LIMIT_POLICY: HeaderName = HeaderName::from_static("ratelimit-policy");

/// What happens to a request that has no key.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum NoKey {
    /// It is answered 500, with the reason in the body: it is not known how to tell clients apart.
    #[default]
    Refuse,
    /// It passes and is not counted: for keys that only some requests have, such as a header.
    Pass,
}

/// Makes [`HttpRateLimit`] services, which share one table of keys.
///
/// Responses have `RateLimit` and `RateLimit-Policy` (draft-ietf-httpapi-ratelimit-headers-10), refusals also `Retry-After`.
#[derive(Clone, Debug)]
pub struct HttpRateLimitLayer<K = ByClient, C = SystemClock> {
    shared: Arc<Shared<K, C>>,
}

#[derive(Debug)]
struct Shared<K, C> {
    key: K,
    limiter: Arc<Keyed>,
    no_key: NoKey,
    policy: HeaderValue,
    clock: C,
}

impl HttpRateLimitLayer {
    /// So much for each client, by the address of its connection: IPv4 by address, IPv6 by /64. The address is axum's `ConnectInfo<SocketAddr>` (feature `axum`,
    /// and an application served by `into_make_service_with_connect_info::<SocketAddr>()`), or a [`ClientAddr`](super::ClientAddr) in the
    /// request's extensions, as behind a trusted proxy.
    ///
    /// The table takes 10 MiB, of which the system provides what is used, and its seed is random.
    ///
    /// # Panics
    /// The system has not as much memory.
    #[must_use]
    pub fn per_client(quota: Quota) -> Self {
        Self::new(quota, ByClient)
    }
}

impl<K> HttpRateLimitLayer<K> {
    /// So much for each key.
    ///
    /// # Panics
    /// The system has not the 10 MiB of memory of the table.
    #[must_use]
    pub fn new(quota: Quota, key: K) -> Self {
        let seed = [0, 1].map(|word: u64| RandomState::new().hash_one(word));
        Self::with_table(Arc::new(Keyed::new(quota, Keyed::DEFAULT_MEMORY_BYTES, seed)), key)
    }

    /// By this table, which may outlive the layer.
    #[must_use]
    pub fn with_table(limiter: Arc<Keyed>, key: K) -> Self {
        let policy = policy_of(&limiter.rule().quota());
        Self { shared: Arc::new(Shared { key, limiter, no_key: NoKey::Refuse, policy, clock: system_clock() }) }
    }
}

impl<K: Clone, C: Clone> HttpRateLimitLayer<K, C> {
    /// What happens to requests without a key; default [`NoKey::Refuse`].
    #[must_use]
    pub fn no_key(self, no_key: NoKey) -> Self {
        let Shared { key, limiter, policy, clock, .. } = &*self.shared;
        let (key, limiter, policy, clock) = (key.clone(), Arc::clone(limiter), policy.clone(), clock.clone());
        Self { shared: Arc::new(Shared { key, limiter, no_key, policy, clock }) }
    }

    /// The clock; default [`system_clock`]. All that share a table must be given the same one.
    #[must_use]
    pub fn clock<D>(self, clock: D) -> HttpRateLimitLayer<K, D> {
        let Shared { key, limiter, no_key, policy, .. } = &*self.shared;
        let (key, limiter, no_key, policy) = (key.clone(), Arc::clone(limiter), *no_key, policy.clone());
        HttpRateLimitLayer { shared: Arc::new(Shared { key, limiter, no_key, policy, clock }) }
    }
}

impl<S, K, C> Layer<S> for HttpRateLimitLayer<K, C> {
    type Service = HttpRateLimit<S, K, C>;

    fn layer(&self, inner: S) -> Self::Service {
        HttpRateLimit { inner, shared: Arc::clone(&self.shared), buffer: Vec::new() }
    }
}

/// Answers requests of keys that have used up their quota. See [`HttpRateLimitLayer`].
#[derive(Debug)]
pub struct HttpRateLimit<S, K = ByClient, C = SystemClock> {
    inner: S,
    shared: Arc<Shared<K, C>>,
    buffer: Vec<u8>,
}

inner_access!(HttpRateLimit<S, K, C>);

impl<S: Clone, K, C> Clone for HttpRateLimit<S, K, C> {
    fn clone(&self) -> Self {
        Self { inner: self.inner.clone(), shared: Arc::clone(&self.shared), buffer: Vec::new() }
    }
}

impl<S, K, C, B, D> Service<Request<B>> for HttpRateLimit<S, K, C>
where
    S: Service<Request<B>, Response = Response<D>>,
    K: Key<Request<B>>,
    C: Clock,
    D: From<String>,
{
    type Response = Response<D>;
    type Error = S::Error;
    type Future = HttpRateLimitFuture<S::Future, D>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let Shared { key, limiter, no_key, policy, clock } = &*self.shared;
        self.buffer.clear();
        let Some(key) = key.key(&request, &mut self.buffer) else {
            let state = match no_key {
                NoKey::Pass => State::Call { future: self.inner.call(request), headers: None },
                NoKey::Refuse => State::Refused { response: Some(without_key()) },
            };
            return HttpRateLimitFuture { state };
        };
        let now = clock.now();
        let state = match limiter.check(key, now) {
            Verdict::Pass => {
                let left = left(limiter.remaining(key, now), limiter.full_after(key, now));
                State::Call { future: self.inner.call(request), headers: Some((left, policy.clone())) }
            }
            Verdict::Refuse { retry_after } => State::Refused { response: Some(refused(retry_after, policy)) },
        };
        HttpRateLimitFuture { state }
    }
}

pin_project! {
    /// The response future of [`HttpRateLimit`].
    #[must_use = "futures do nothing unless polled"]
    pub struct HttpRateLimitFuture<F, D> {
        #[pin]
        state: State<F, D>,
    }
}

pin_project! {
    #[project = StateProj]
    enum State<F, D> {
        Call { #[pin] future: F, headers: Option<(HeaderValue, HeaderValue)> },
        Refused { response: Option<Response<D>> },
    }
}

impl<F, D, E> Future for HttpRateLimitFuture<F, D>
where
    F: Future<Output = Result<Response<D>, E>>,
{
    type Output = Result<Response<D>, E>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match self.project().state.project() {
            StateProj::Call { future, headers } => future.poll(cx).map_ok(|mut response| {
                if let Some((left, policy)) = headers.take() {
                    response.headers_mut().insert(RATE_LIMIT, left);
                    response.headers_mut().insert(RATE_LIMIT_POLICY, policy);
                }
                response
            }),
            StateProj::Refused { response } => {
                response.take().map_or(Poll::Pending, |response| Poll::Ready(Ok(response)))
            }
        }
    }
}

impl<F, D> std::fmt::Debug for HttpRateLimitFuture<F, D> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("HttpRateLimitFuture").finish_non_exhaustive()
    }
}

fn refused<D: From<String>>(retry_after: Duration, policy: &HeaderValue) -> Response<D> {
    let seconds = seconds_up(retry_after);
    let mut response = Response::new(D::from(format!("rate limit exceeded, retry after {seconds} s\n")));
    *response.status_mut() = StatusCode::TOO_MANY_REQUESTS;
    let headers = response.headers_mut();
    headers.insert(RETRY_AFTER, HeaderValue::from(seconds));
    headers.insert(RATE_LIMIT, left(0, retry_after));
    headers.insert(RATE_LIMIT_POLICY, policy.clone());
    response
}

fn without_key<D: From<String>>() -> Response<D> {
    let text = "rate limit: the request has no key, so it cannot be counted; for limits by client serve the application \
                with connect info, or put a ClientAddr into the request's extensions\n";
    let mut response = Response::new(D::from(text.to_owned()));
    *response.status_mut() = StatusCode::INTERNAL_SERVER_ERROR;
    response
}

/// How many requests would pass now, and when more will.
fn left(remaining: u64, after: Duration) -> HeaderValue {
    header(format!("\"default\";r={remaining};t={}", seconds_up(after)))
}

/// At most so many requests in so many seconds: those of a period, and those that may come early.
fn policy_of(quota: &Quota) -> HeaderValue {
    let most = quota.requests.get().saturating_add(quota.burst);
    header(format!("\"default\";q={most};w={}", seconds_up(quota.period).max(1)))
}

fn header(text: String) -> HeaderValue {
    HeaderValue::try_from(text).expect("letters, digits and punctuation")
}

fn seconds_up(time: Duration) -> u64 {
    time.as_secs().saturating_add(u64::from(time.subsec_nanos() > 0))
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use futures_util::FutureExt;
    use lb_core::ManualClock;
    use tower::service_fn;

    use super::*;
    use crate::http::{ByHeader, ClientAddr};

    type Texts = Response<String>;

    fn send<S>(service: &mut S, client: Option<&str>) -> Texts
    where
        S: Service<Request<()>, Response = Texts, Error = Infallible>,
    {
        let mut request = Request::new(());
        if let Some(client) = client {
            request.extensions_mut().insert(ClientAddr::new(client.parse().unwrap()));
        }
        service.call(request).now_or_never().unwrap().unwrap()
    }

    fn header_of(response: &Texts, name: &str) -> String {
        response.headers().get(name).map_or(String::new(), |value| value.to_str().unwrap().to_owned())
    }

    fn serve(_: Request<()>) -> std::future::Ready<Result<Texts, Infallible>> {
        std::future::ready(Ok(Response::new(String::from("served"))))
    }

    #[test]
    fn it_answers_by_itself_and_says_how_much_is_left() {
        let clock = ManualClock::new();
        // One each two seconds, and one early.
        let quota = Quota::new(1, Duration::from_secs(2)).with_burst(1);
        let mut service = HttpRateLimitLayer::per_client(quota).clock(clock.clone()).layer(service_fn(serve));
        let first = send(&mut service, Some("192.0.2.1"));
        assert_eq!((first.status(), first.body().as_str()), (StatusCode::OK, "served"));
        assert_eq!(header_of(&first, "ratelimit"), "\"default\";r=1;t=2");
        assert_eq!(header_of(&first, "ratelimit-policy"), "\"default\";q=2;w=2");
        assert_eq!(header_of(&send(&mut service, Some("192.0.2.1")), "ratelimit"), "\"default\";r=0;t=4");
        let refused = send(&mut service.clone(), Some("192.0.2.1"));
        assert_eq!(refused.status(), StatusCode::TOO_MANY_REQUESTS);
        assert_eq!(
            (header_of(&refused, "retry-after"), header_of(&refused, "ratelimit")),
            ("2".into(), "\"default\";r=0;t=2".into())
        );
        assert_eq!(send(&mut service, Some("192.0.2.2")).status(), StatusCode::OK, "another client");
        clock.advance(Duration::from_secs(2));
        assert_eq!(send(&mut service, Some("192.0.2.1")).status(), StatusCode::OK);
    }

    #[test]
    fn a_request_without_a_key_does_not_pass_uncounted() {
        let layer = HttpRateLimitLayer::per_client(Quota::per_second(1));
        let answer = send(&mut layer.layer(service_fn(serve)), None);
        assert_eq!(answer.status(), StatusCode::INTERNAL_SERVER_ERROR);
        assert!(answer.body().contains("no key"), "{}", answer.body());
        let by_token = HttpRateLimitLayer::new(Quota::per_second(1), ByHeader(HeaderName::from_static("x-token")));
        let mut open = by_token.no_key(NoKey::Pass).layer(service_fn(serve));
        assert!((0..5).all(|_| send(&mut open, None).status() == StatusCode::OK));
    }
}
