//! A gRPC client over several endpoints, with health and retries.
//!
//! tonic's own `Channel::balance_list` sends to every endpoint that accepts connections: one of three that says `UNAVAILABLE` fails a third of
//! the calls for as long as it does. Here such a call is sent again elsewhere, and the endpoint ejected after three.
//!
//! ```no_run
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! use lb_tower::client::grpc::GrpcChannel;
//!
//! let channel = GrpcChannel::of(["http://10.0.0.1:50051", "http://10.0.0.2:50051", "http://10.0.0.3:50051"])?;
//! // let client = GreeterClient::new(channel);
//! # Ok(())
//! # }
//! ```

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::{Request, Response};
use http_body::Body as HttpBody;
use lb_policy::{Cluster, Identity, PeakEwma, Policy};
use tonic::body::Body;
use tonic::transport::{Channel, Endpoint};
use tower::util::BoxCloneSyncService;
use tower::{ServiceBuilder, ServiceExt};
use tower_service::Service;

use super::{BoxError, ClientError};
use crate::http::{ReplayLayer, RetryGrpc};
use crate::{Balance, Passive, PassiveRule, RetryLayer};

/// A channel over several endpoints, in place of a tonic [`Channel`]: give it to a generated client.
///
/// Calls that the picked endpoint has not served are sent to another one, within a budget and as [`RetryGrpc`] says; endpoints that keep failing
/// are ejected for a while. A call costs two boxes.
#[derive(Clone)]
pub struct GrpcChannel {
    inner: BoxCloneSyncService<Request<Body>, Response<Body>, ClientError>,
}

impl GrpcChannel {
    /// A channel over these endpoints, by [`PeakEwma`]. Each connects when it is first used, and again when its connection is lost.
    ///
    /// # Errors
    /// A text that is no URI.
    ///
    /// # Panics
    /// Outside a tokio runtime: tonic's channels need one.
    pub fn of<E>(endpoints: impl IntoIterator<Item = E>) -> Result<Self, BadEndpoint>
    where
        E: TryInto<Endpoint>,
        E::Error: Into<BoxError>,
    {
        let endpoints =
            endpoints.into_iter().map(|endpoint| endpoint.try_into().map_err(|error| BadEndpoint(error.into())));
        Ok(Self::over(&Self::cluster(endpoints.collect::<Result<Vec<_>, BadEndpoint>>()?), PeakEwma::default()))
    }

    /// The cluster of these endpoints, for members with weights or one that changes. Names are those of the endpoints' URIs.
    ///
    /// # Panics
    /// Outside a tokio runtime: tonic's channels need one.
    pub fn cluster(endpoints: impl IntoIterator<Item = Endpoint>) -> Cluster<GrpcEndpoint> {
        let services = endpoints.into_iter().map(|endpoint| {
            let authority = endpoint.uri().authority().map_or("unix", |authority| authority.as_str());
            (Identity::literal(authority), GrpcEndpoint::new(endpoint.connect_lazy()))
        });
        super::cluster(services)
    }

    /// A channel over this cluster, by this policy, with the default retries and outlier detection.
    pub fn over<P: Policy>(cluster: &Cluster<GrpcEndpoint>, policy: P) -> Self {
        Self::with_retry(cluster, policy, RetryLayer::new(RetryGrpc::new()))
    }

    /// The same with these retries.
    pub fn with_retry<P: Policy>(cluster: &Cluster<GrpcEndpoint>, policy: P, retry: RetryLayer<RetryGrpc>) -> Self {
        let passive = Passive::new(cluster.clone(), PassiveRule::default(), ());
        let balance = Balance::builder(cluster.selector(policy)).events(passive).build();
        let stack = ServiceBuilder::new().layer(ReplayLayer::new()).layer(retry).service(balance);
        let stack = ServiceExt::<Request<Body>>::map_response(stack, |response: Response<_>| response.map(Body::new));
        let stack = ServiceExt::<Request<Body>>::map_err(stack, ClientError::new);
        Self { inner: BoxCloneSyncService::new(stack) }
    }
}

impl fmt::Debug for GrpcChannel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("GrpcChannel").finish_non_exhaustive()
    }
}

type BoxFuture<T> = Pin<Box<dyn Future<Output = T> + Send>>;

impl Service<Request<Body>> for GrpcChannel {
    type Response = Response<Body>;
    type Error = ClientError;
    type Future = BoxFuture<Result<Response<Body>, ClientError>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), ClientError>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        self.inner.call(request)
    }
}

/// Something that is no endpoint of a channel.
#[derive(Debug, thiserror::Error)]
#[error("not a gRPC endpoint, expected a URI such as http://10.0.0.1:50051")]
pub struct BadEndpoint(#[source] BoxError);

/// A tonic channel to one endpoint, which takes requests of any body.
#[derive(Clone, Debug)]
pub struct GrpcEndpoint<S = Channel> {
    inner: S,
}

impl<S> GrpcEndpoint<S> {
    /// Over this channel.
    pub const fn new(inner: S) -> Self {
        Self { inner }
    }
}

crate::inner::inner_access!(GrpcEndpoint<S>);

impl<S, B> Service<Request<B>> for GrpcEndpoint<S>
where
    S: Service<Request<Body>>,
    B: HttpBody<Data = Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = S::Future;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<B>) -> S::Future {
        self.inner.call(request.map(Body::new))
    }
}
