//! A reqwest client over several endpoints, with health and retries.
//!
//! ```no_run
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! use lb_tower::client::reqwest::ReqwestClient;
//!
//! let client = ReqwestClient::of(&reqwest::Client::new(), ["http://10.0.0.1:3000", "http://10.0.0.2:3000"])?;
//! let request = reqwest::Request::new(reqwest::Method::GET, "http://app/orders".parse()?);
//! println!("{}", client.execute(request).await?.text().await?);
//! # Ok(())
//! # }
//! ```

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use lb_core::Class;
use lb_policy::{Cluster, Identity, PeakEwma, Policy};
use reqwest::{Body, Client, Request, Response, ResponseBuilderExt, Url};
use tower::util::BoxCloneSyncService;
use tower::{ServiceBuilder, ServiceExt};
use tower_service::Service;

use super::ClientError;
use crate::balance::{Attempt, Classified, ClassifyError};
use crate::http::{RetryHttp, is_idempotent, outcome};
use crate::retry::{Pushback, RetryPolicy, Verdict};
use crate::{Balance, Passive, PassiveRule, RetryLayer};

/// Sends requests to one origin: the service that an endpoint carries. Path and query of a request are kept.
#[derive(Clone, Debug)]
pub struct ReqwestEndpoint<S = Client> {
    inner: S,
    origin: Url,
}

impl<S> ReqwestEndpoint<S> {
    /// To this origin, `http://10.0.0.1:3000`; its path is ignored.
    pub const fn new(inner: S, origin: Url) -> Self {
        Self { inner, origin }
    }
}

crate::inner::inner_access!(ReqwestEndpoint<S>);

impl<S: Service<Request>> Service<Request> for ReqwestEndpoint<S> {
    type Response = S::Response;
    type Error = S::Error;
    type Future = S::Future;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut request: Request) -> S::Future {
        let mut url = self.origin.clone();
        url.set_path(request.url().path());
        url.set_query(request.url().query());
        *request.url_mut() = url;
        self.inner.call(request)
    }
}

/// By status and gRPC code; the attempt ends with the body. The body is boxed once more.
impl<G: Attempt + Send + Sync + 'static> Classified<G> for Response {
    type Guarded = Self;

    fn class(&self) -> Class {
        Class::Status(self.status().as_u16())
    }

    fn guard(self, guard: G) -> Self {
        let url = self.url().clone();
        let response = http::Response::<Body>::from(self).guard(guard);
        let (mut parts, body) = response.into_parts();
        if let Ok(with_url) = http::Response::builder().url(url).body(()) {
            parts.extensions.extend(with_url.into_parts().0.extensions);
        }
        http::Response::from_parts(parts, Body::wrap(body)).into()
    }
}

/// As for `http` requests; a request whose body is a stream is sent once.
impl<K, E> RetryPolicy<Request, Response, E> for RetryHttp<K>
where
    K: ClassifyError<E>,
{
    fn save(&self, request: &Request) -> Option<Request> {
        request.try_clone()
    }

    fn verdict(&self, saved: &mut Request, result: &Result<Response, E>) -> Verdict {
        let class = |result: &Result<Response, E>| match result {
            Ok(response) => Class::Status(response.status().as_u16()),
            Err(error) => self.class_of_error(error),
        };
        self.verdict_of(is_idempotent(saved.method()), || class(result))
    }

    fn pushback(&self, result: &Result<Response, E>) -> Pushback {
        result.as_ref().map_or(Pushback::None, |response| outcome::pushback_in(response.headers()))
    }
}

/// A client over several endpoints. Requests are sent to the picked endpoint whatever their URL's origin is.
///
/// Requests that may be sent again are, as [`RetryHttp`] says and within a budget; endpoints that keep failing are ejected for a while.
#[derive(Clone)]
pub struct ReqwestClient {
    inner: BoxCloneSyncService<Request, Response, ClientError>,
}

impl ReqwestClient {
    /// A client over these origins, by [`PeakEwma`].
    ///
    /// # Errors
    /// A text that is no URL.
    pub fn of<'a>(client: &Client, origins: impl IntoIterator<Item = &'a str>) -> Result<Self, BadOrigin> {
        Ok(Self::over(&Self::cluster(client, origins)?, PeakEwma::default()))
    }

    /// The cluster of these origins, for members with weights or one that changes.
    ///
    /// # Errors
    /// A text that is no URL.
    pub fn cluster<'a>(
        client: &Client,
        origins: impl IntoIterator<Item = &'a str>,
    ) -> Result<Cluster<ReqwestEndpoint>, BadOrigin> {
        let endpoints = origins.into_iter().map(|origin| {
            let url: Url = origin.parse().map_err(|_| BadOrigin(origin.to_owned()))?;
            let name = url.host_str().map(|host| format!("{host}:{}", url.port_or_known_default().unwrap_or_default()));
            let name = name.ok_or_else(|| BadOrigin(origin.to_owned()))?;
            Ok((Identity::literal(name), ReqwestEndpoint::new(client.clone(), url)))
        });
        Ok(super::cluster(endpoints.collect::<Result<Vec<_>, BadOrigin>>()?))
    }

    /// A client over this cluster, by this policy, with the default retries and outlier detection.
    pub fn over<P: Policy>(cluster: &Cluster<ReqwestEndpoint>, policy: P) -> Self {
        let passive = Passive::new(cluster.clone(), PassiveRule::default(), ());
        let balance = Balance::builder(cluster.selector(policy)).events(passive).build();
        let stack = ServiceBuilder::new().layer(RetryLayer::new(RetryHttp::new())).service(balance);
        Self { inner: BoxCloneSyncService::new(ServiceExt::<Request>::map_err(stack, ClientError::new)) }
    }

    /// Sends a request.
    ///
    /// # Errors
    /// There is no response; an answer of whatever status is one.
    ///
    /// # Panics
    /// Outside a tokio runtime.
    pub async fn execute(&self, request: Request) -> Result<Response, ClientError> {
        self.inner.clone().oneshot(request).await
    }
}

impl fmt::Debug for ReqwestClient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ReqwestClient").finish_non_exhaustive()
    }
}

/// A text that is no origin.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is no origin; expected a URL such as http://10.0.0.1:3000")]
pub struct BadOrigin(String);

type BoxFuture<T> = Pin<Box<dyn Future<Output = T> + Send>>;

impl Service<Request> for ReqwestClient {
    type Response = Response;
    type Error = ClientError;
    type Future = BoxFuture<Result<Response, ClientError>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), ClientError>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request) -> Self::Future {
        self.inner.call(request)
    }
}
