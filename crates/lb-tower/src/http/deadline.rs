//! Deadlines that travel with requests.
//!
//! A client that waits for two seconds and no longer says so, in `grpc-timeout` or in a header that was agreed on. A server that does not read it works for
//! clients that have gone; and one that passes it on unchanged, after it has waited a second itself, allows its endpoint a second
//! too much. So the time is read once, bounds everything below, and each attempt carries what is left of it then.
//!
//! ```text
//!  Deadline: reads, bounds ──▶ Retry ──▶ SendDeadline: writes what is left ──▶ Balance
//! ```

use std::task::{Context, Poll};
use std::time::Duration;

use http::Request;
use http::header::{HeaderName, HeaderValue};
use lb_core::grpc;
use tokio::time::Instant;
use tower_layer::Layer;
use tower_service::Service;

use crate::inner::inner_access;
use crate::timeout::{TimeoutError, TimeoutFuture};

const GRPC_TIMEOUT: HeaderName = HeaderName::from_static("grpc-timeout");

/// How a time is written.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Format {
    Grpc,
    Millis(HeaderName),
}

impl Format {
    fn read<B>(&self, request: &Request<B>) -> Option<Duration> {
        match self {
            Self::Grpc => grpc::parse_timeout(request.headers().get(GRPC_TIMEOUT)?.as_bytes()),
            Self::Millis(name) => {
                let millis = request.headers().get(name)?.to_str().ok()?.trim().parse().ok()?;
                Some(Duration::from_millis(millis))
            }
        }
    }

    fn write<B>(&self, request: &mut Request<B>, left: Duration) {
        let (name, text) = match self {
            Self::Grpc => (GRPC_TIMEOUT, grpc::format_timeout(left)),
            Self::Millis(name) => (name.clone(), left.as_millis().to_string()),
        };
        if let Ok(value) = HeaderValue::try_from(text) {
            request.headers_mut().insert(name, value);
        }
    }
}

/// Until when a request's answer is of use, in its extensions.
#[derive(Clone, Debug)]
struct Until(Instant, Format);

/// Makes [`Deadline`]s.
#[derive(Clone, Debug)]
pub struct DeadlineLayer {
    format: Format,
    max: Option<Duration>,
}

impl DeadlineLayer {
    /// By gRPC's `grpc-timeout`.
    #[must_use]
    pub const fn grpc() -> Self {
        Self { format: Format::Grpc, max: None }
    }

    /// By this header, in whole milliseconds.
    #[must_use]
    pub const fn millis(header: HeaderName) -> Self {
        Self { format: Format::Millis(header), max: None }
    }

    /// The longest time, for requests that ask for more or say nothing; default none.
    #[must_use]
    pub const fn max(mut self, max: Duration) -> Self {
        self.max = Some(max);
        self
    }
}

impl<S> Layer<S> for DeadlineLayer {
    type Service = Deadline<S>;

    fn layer(&self, inner: S) -> Deadline<S> {
        Deadline { inner, format: self.format.clone(), max: self.max }
    }
}

/// Bounds a request by the time that its client allows. See [`DeadlineLayer`].
///
/// # Panics
/// As [`Timeout`](crate::Timeout), for requests with a time.
#[derive(Clone, Debug)]
pub struct Deadline<S> {
    inner: S,
    format: Format,
    max: Option<Duration>,
}

inner_access!(Deadline<S>);

impl<S, B> Service<Request<B>> for Deadline<S>
where
    S: Service<Request<B>>,
{
    type Response = S::Response;
    type Error = TimeoutError<S::Error>;
    type Future = TimeoutFuture<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.inner.poll_ready(cx).map_err(TimeoutError::Inner)
    }

    fn call(&mut self, mut request: Request<B>) -> Self::Future {
        let limit = match (self.format.read(&request), self.max) {
            (Some(asked), Some(max)) => Some(asked.min(max)),
            (asked, max) => asked.or(max),
        };
        if let Some(until) = limit.and_then(|limit| Instant::now().checked_add(limit)) {
            request.extensions_mut().insert(Until(until, self.format.clone()));
        }
        TimeoutFuture::new(self.inner.call(request), limit)
    }
}

/// Makes [`SendDeadline`]s.
#[derive(Clone, Copy, Debug, Default)]
pub struct SendDeadlineLayer;

impl<S> Layer<S> for SendDeadlineLayer {
    type Service = SendDeadline<S>;

    fn layer(&self, inner: S) -> SendDeadline<S> {
        SendDeadline { inner }
    }
}

/// Writes into each attempt what is left of the time that a [`Deadline`] above has read, in the same header. Place it below the retry.
#[derive(Clone, Copy, Debug)]
pub struct SendDeadline<S> {
    inner: S,
}

inner_access!(SendDeadline<S>);

impl<S, B> Service<Request<B>> for SendDeadline<S>
where
    S: Service<Request<B>>,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = S::Future;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut request: Request<B>) -> S::Future {
        if let Some(Until(until, format)) = request.extensions().get::<Until>().cloned() {
            format.write(&mut request, until.saturating_duration_since(Instant::now()));
        }
        self.inner.call(request)
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use http::Response;
    use tokio::time::sleep;
    use tower::{ServiceBuilder, ServiceExt, service_fn};

    use super::*;

    /// What the endpoint reads, after the request has waited so long above it.
    async fn reads(layer: DeadlineLayer, name: &'static str, value: Option<&str>, wait: Duration) -> Option<String> {
        let delay = service_fn(move |request: Request<()>| async move {
            let text = request.headers().get(name).map(|value| value.to_str().unwrap().to_owned());
            Ok::<_, Infallible>(Response::new(text))
        });
        let below = SendDeadlineLayer.layer(delay);
        let waits = service_fn(move |request| async move {
            sleep(wait).await;
            below.oneshot(request).await
        });
        let mut request = Request::new(());
        if let Some(value) = value {
            request.headers_mut().insert(name, value.parse().unwrap());
        }
        let stack = ServiceBuilder::new().layer(layer).service(waits);
        stack.oneshot(request).await.map_or(Some("elapsed".into()), Response::into_body)
    }

    #[tokio::test(start_paused = true)]
    async fn an_attempt_is_told_what_is_left() {
        let second = Duration::from_secs(1);
        let grpc = |value| reads(DeadlineLayer::grpc(), "grpc-timeout", value, second);
        assert_eq!(grpc(Some("3S")).await.as_deref(), Some("2000000u"));
        assert_eq!(grpc(Some("500m")).await.as_deref(), Some("elapsed"));
        assert_eq!(grpc(None).await, None);
        assert_eq!(grpc(Some("soon")).await.as_deref(), Some("soon"), "not read, not written");
        let header = HeaderName::from_static("x-timeout-ms");
        let layer = DeadlineLayer::millis(header).max(Duration::from_millis(2_500));
        assert_eq!(reads(layer.clone(), "x-timeout-ms", Some("60000"), second).await.as_deref(), Some("1500"));
        assert_eq!(reads(layer, "x-timeout-ms", None, second).await.as_deref(), Some("1500"));
    }
}
