//! Clients ready made: balancing, retries within a budget and outlier detection over the client library of your choice.
//!
//! | feature | client | takes |
//! |---|---|---|
//! | `tonic` | [`grpc`] | what generated gRPC clients send |
//! | `hyper-util` | [`http`] | `http::Request` of any body |
//! | `reqwest` | [`reqwest`] | `reqwest::Request` |
//!
//! Each is one type that can be named, cloned and sent, for the state of an axum application. What they are made of is public: where one
//! of them does not fit, put together another.

#[cfg(feature = "tonic")]
pub mod grpc;
#[cfg(feature = "hyper-util")]
pub mod http;
#[cfg(feature = "reqwest")]
pub mod reqwest;

use std::error::Error as StdError;
use std::fmt;

use lb_core::Clock;
use lb_policy::{Cluster, Identity, Member, Update};

use crate::balance::Error;
use crate::clock::system_clock;

type BoxError = Box<dyn StdError + Send + Sync>;

/// Why a client has no response.
#[derive(Debug)]
pub struct ClientError {
    endpoint: Option<String>,
    is_retryable: bool,
    source: BoxError,
}

impl ClientError {
    /// The endpoint that failed last, as it was configured; `None` if there was none.
    #[must_use]
    pub fn endpoint(&self) -> Option<&str> {
        self.endpoint.as_deref()
    }

    /// Whether the same request may be sent again whatever its method: certainly none of it was sent.
    #[must_use]
    pub const fn is_retryable(&self) -> bool {
        self.is_retryable
    }

    fn new<E>(error: Error<E>) -> Self
    where
        E: fmt::Debug + fmt::Display + Send + Sync + 'static,
    {
        Self {
            endpoint: error.endpoint().map(str::to_owned),
            is_retryable: error.is_retryable(),
            source: Box::new(error),
        }
    }
}

impl fmt::Display for ClientError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.source.fmt(f)
    }
}

impl StdError for ClientError {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.source.source()
    }
}

/// A cluster of these endpoints, each with its service.
fn cluster<S: Send + Sync + 'static>(services: impl IntoIterator<Item = (Identity, S)>) -> Cluster<S> {
    let members = services.into_iter().map(|(identity, service)| Member::new(identity, service));
    let cluster = Cluster::new("client");
    cluster.apply(Update::Reset(members.collect()), system_clock().now());
    cluster
}
