//! An HTTP client over several endpoints, with health and retries, over hyper-util's.
//!
//! ```no_run
//! # async fn example() -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
//! use bytes::Bytes;
//! use http_body_util::Full;
//! use lb_tower::client::http::HttpClient;
//!
//! let client = HttpClient::<Full<Bytes>>::of(["http://10.0.0.1:3000", "http://10.0.0.2:3000"])?;
//! let response = client.request(http::Request::get("/orders").body(Full::default())?).await?;
//! # drop(response);
//! # Ok(())
//! # }
//! ```

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::uri::InvalidUri;
use http::{Request, Response};
use http_body::Body;
use http_body_util::BodyExt;
use http_body_util::combinators::UnsyncBoxBody;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use lb_policy::{Cluster, Identity, PeakEwma, Policy};
use tower::util::BoxCloneSyncService;
use tower::{ServiceBuilder, ServiceExt};
use tower_service::Service;

use super::{BoxError, ClientError};
use crate::http::{Origin, ReplayBody, ReplayLayer, RetryHttp};
use crate::{Balance, Passive, PassiveRule, RetryLayer};

/// A response's body.
pub type ResponseBody = UnsyncBoxBody<Bytes, BoxError>;

/// What an endpoint of an [`HttpClient`] carries.
pub type HttpEndpoint<B> = Origin<Client<HttpConnector, ReplayBody<B>>>;

/// A client over several endpoints, for plain HTTP/1. Requests are sent to the picked endpoint whatever their URI's authority is.
///
/// Requests that may be sent again are, as [`RetryHttp`] says and within a budget; endpoints that keep failing are ejected for a while. A call costs
/// two boxes. For TLS, HTTP/2 or other options put the same together over a client of your own: [`Origin`].
pub struct HttpClient<B> {
    inner: BoxCloneSyncService<Request<B>, Response<ResponseBody>, ClientError>,
}

impl<B> HttpClient<B>
where
    B: Body<Data = Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
{
    /// A client over these origins, by [`PeakEwma`]; they share a pool of connections.
    ///
    /// # Errors
    /// A text that is no origin.
    pub fn of<'a>(origins: impl IntoIterator<Item = &'a str>) -> Result<Self, InvalidUri> {
        Ok(Self::over(&Self::cluster(origins)?, PeakEwma::default()))
    }

    /// The cluster of these origins, for members with weights or one that changes.
    ///
    /// # Errors
    /// A text that is no origin.
    pub fn cluster<'a>(origins: impl IntoIterator<Item = &'a str>) -> Result<Cluster<HttpEndpoint<B>>, InvalidUri> {
        let client = Client::builder(TokioExecutor::new()).pool_timer(TokioTimer::new()).build_http();
        let origins = origins.into_iter().map(|origin| Origin::new(client.clone(), origin));
        let origins = origins.collect::<Result<Vec<_>, _>>()?;
        Ok(super::cluster(origins.into_iter().map(|origin| (Identity::literal(origin.authority()), origin))))
    }

    /// A client over this cluster, by this policy, with the default retries and outlier detection.
    pub fn over<P: Policy>(cluster: &Cluster<HttpEndpoint<B>>, policy: P) -> Self {
        let passive = Passive::new(cluster.clone(), PassiveRule::default(), ());
        let balance = Balance::builder(cluster.selector(policy)).events(passive).build();
        let retry = RetryLayer::new(RetryHttp::new());
        let stack = ServiceBuilder::new().layer(ReplayLayer::new()).layer(retry).service(balance);
        let boxed = |response: Response<_>| {
            response.map(|body: crate::http::GuardedBody<_, _>| body.map_err(Into::into).boxed_unsync())
        };
        let stack = ServiceExt::<Request<B>>::map_response(stack, boxed);
        Self { inner: BoxCloneSyncService::new(ServiceExt::<Request<B>>::map_err(stack, ClientError::new)) }
    }

    /// Sends a request.
    ///
    /// # Errors
    /// There is no response; an answer of whatever status is one.
    ///
    /// # Panics
    /// Outside a tokio runtime.
    pub async fn request(&self, request: Request<B>) -> Result<Response<ResponseBody>, ClientError> {
        self.inner.clone().oneshot(request).await
    }
}

impl<B> Clone for HttpClient<B> {
    fn clone(&self) -> Self {
        Self { inner: self.inner.clone() }
    }
}

impl<B> fmt::Debug for HttpClient<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HttpClient").finish_non_exhaustive()
    }
}

type BoxFuture<T> = Pin<Box<dyn Future<Output = T> + Send>>;

impl<B> Service<Request<B>> for HttpClient<B> {
    type Response = Response<ResponseBody>;
    type Error = ClientError;
    type Future = BoxFuture<Result<Response<ResponseBody>, ClientError>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), ClientError>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        self.inner.call(request)
    }
}
