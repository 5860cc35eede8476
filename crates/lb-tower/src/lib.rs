//! Load balancing for any tower service: axum, tonic, hyper, reqwest or one of your own.
//!
//! Give each endpoint the service that reaches it, and a [`Balance`] sends every request to the right one. With an observer of failures
//! beside it and a retry above, one endpoint that fails is neither asked again nor noticed by clients:
//!
#![cfg_attr(feature = "http", doc = "```")]
#![cfg_attr(not(feature = "http"), doc = "```ignore")]
//! use std::convert::Infallible;
//! use http::{Request, Response};
//! use lb_core::Clock;
//! use lb_policy::{Cluster, Member, PeakEwma, Update};
//! use lb_tower::http::RetryHttp;
//! use lb_tower::{Balance, Passive, PassiveRule, RetryLayer, TimeoutLayer, system_clock, watch_fn};
//! use tower::{ServiceBuilder, ServiceExt, service_fn};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
//! // Each endpoint carries the service that reaches it: a client, a channel, or here a function.
//! let members = ["app-1:3000", "app-2:3000", "app-3:3000"].map(|name| {
//!     let greet = move |_: Request<String>| async move {
//!         Ok::<_, Infallible>(Response::new(format!("{name} says hello")))
//!     };
//!     Member::new(name, service_fn(greet))
//! });
//! let cluster = Cluster::new("app");
//! cluster.apply(Update::Reset(members.into()), system_clock().now());
//!
//! // Three failures within 30 s eject an endpoint for 3 s and longer, but never the last one.
//! let watch = watch_fn(|endpoint, what| eprintln!("endpoint {endpoint} is {what}"));
//! let passive = Passive::new(cluster.clone(), PassiveRule::default(), watch);
//! let service = ServiceBuilder::new()
//!     .layer(TimeoutLayer::new(Some(std::time::Duration::from_secs(5))))
//!     .layer(RetryLayer::new(RetryHttp::new()))
//!     .service(Balance::builder(cluster.selector(PeakEwma::default())).events(passive).build());
//!
//! let response = service.oneshot(Request::new(String::from("hello"))).await?;
//! assert!(response.status().is_success());
//! # Ok(())
//! # }
//! ```
//!
//! What counts as a failure is known without being told: HTTP statuses, gRPC statuses in the response head and in trailers, and errors by
//! their causes ([`ByResponse`], [`ByCause`]). A response type that does not say how it fared does not compile: a balancer that takes
//! every answer for a success sends the traffic to the endpoint that fails fastest.
//!
//! **Why not tower's own `Balance`?** It chooses in `poll_ready`, before it has seen the request. So it can neither hash a key nor keep a
//! client at its endpoint nor avoid the endpoint that has just failed; and what it found ready may be gone when the request comes. It
//! boxes its errors, and is not `Clone`, so that sharing it takes a `Buffer`. [`Balance`] is always ready and **picks in the call**; the
//! picked service's own readiness is awaited inside the response future, and one that is not ready counts as full: another is drawn.
//! Policies, health and limits come from lb-policy, lb-health and lb-ratelimit; this crate joins them and adds the waiting.
//!
//! | layer | what it does | its refusal |
//! |---|---|---|
//! | [`RateLimit`] | so many requests a second for each key | [`RateLimitError::Limited`] |
//! | [`Concurrency`], [`Adaptive`] | so many requests at once; as many as go fast | [`ConcurrencyError::Shed`] |
//! | [`Breaker`] | no requests to a service that fails, but a few that test it | [`BreakerError::Open`] |
//! | `http::Deadline` | the time that the client allows | [`TimeoutError::Elapsed`] |
//! | `http::Replay` | keeps the request body for further attempts | |
//! | [`Timeout`] | the time to the response head, of all attempts | [`TimeoutError::Elapsed`] |
//! | [`Retry`] | further attempts elsewhere, within a budget, with pauses | the best answer there was |
//! | [`Timeout`] | the same of each attempt | |
//! | [`Hedge`] | a second copy of a request that takes long, within a budget | the first answer there is |
//! | [`Balance`] | an endpoint for each request, and a place in its cluster's queue | [`Error::NoEndpoint`], [`Error::Queue`] |
//! | [`Passive`] | ejects endpoints that keep failing (not a layer: events of a `Balance`) | |
//!
//! Stack them in this order; each also works alone, over any service. Each is generic over requests and responses, clones cheaply,
//! nests its error in a type of its own, and is switched off by a value where it is optional. Its futures are `Send` when those
//! inside are. What an attempt holds goes back when it ends or is dropped, whatever the way. A call allocates nothing in `Balance`, and once
//! in `Retry`; a wait allocates its timer.
//!
//! **Time.** Instants are read from a [`Clock`](lb_core::Clock), by default [`system_clock`]; whatever is shared (a cluster, a
//! table of limits, a budget) must be given the same one's. A `Balance` reads it only if its policy or its events use the time. Waiting uses tokio's timer.
//! Outside a tokio runtime a balance does not wait, a retry does not pause, and a timeout or hedge that needs its timer panics, as stated there.
//! No layer starts a task.
//!
//! **Features.** None is on by default, each only adds. `http`: `http` requests and responses, gRPC among them, in `lb_tower::http`.
//! `hyper-util`, `reqwest`, `tonic`: clients ready made, in `lb_tower::client`, and their errors in [`ByCause`]. `axum`: limits by the address of
//! an axum connection. `tracing`, `metrics`: an [`Observer`] each. `discover`: a cluster fed by a tower `Discover`.
#![forbid(unsafe_code)]

/// The examples of the guide are compiled.
#[cfg(all(
    doctest,
    feature = "axum",
    feature = "hyper-util",
    feature = "metrics",
    feature = "reqwest",
    feature = "tonic",
    feature = "tracing"
))]
#[doc = include_str!("../guide.md")]
struct Guide;

mod adaptive;
mod balance;
mod breaker;
mod cause;
#[cfg(any(feature = "hyper-util", feature = "reqwest", feature = "tonic"))]
pub mod client;
mod clock;
mod concurrency;
#[cfg(feature = "discover")]
mod discover;
mod expiry;
mod hedge;
#[cfg(feature = "http")]
pub mod http;
mod inner;
mod locked;
mod observer;
mod passive;
mod rate_limit;
mod result_class;
mod retry;
mod seeds;
#[cfg(test)]
mod stack_tests;
#[cfg(test)]
mod testing;
mod timeout;
mod timer;
mod trail;

pub use adaptive::{Adaptive, AdaptiveFuture, AdaptiveLayer};
pub use balance::{
    AsReset, Attempt, Balance, BalanceBuilder, BalanceFuture, ByResponse, Classified, ClassifyError, Error, Events,
    Finish, Guard, Immediate, Inspect, KeyFn, Observe, Plain, QueueError, by_key,
};
pub use breaker::{Breaker, BreakerError, BreakerFuture, BreakerLayer};
pub use cause::ByCause;
pub use clock::{TokioClock, system_clock};
pub use concurrency::{Admission, Concurrency, ConcurrencyError, ConcurrencyFuture, ConcurrencyLayer, Keep, UntilHead};
#[cfg(feature = "discover")]
pub use discover::{Follow, Found};
pub use expiry::Expiry;
pub use hedge::{Hedge, HedgeAfter, HedgeEvents, HedgeFuture, HedgeLayer, HedgePolicy};
pub use locked::Locked;
#[cfg(feature = "metrics")]
pub use observer::MetricsObserver;
#[cfg(feature = "tracing")]
pub use observer::TracingObserver;
pub use observer::{Observed, Observer};
pub use passive::{Passive, PassiveRule, Transition, Watch, watch_fn};
pub use rate_limit::{Everyone, Key, KeyOf, RateLimit, RateLimitError, RateLimitFuture, RateLimitLayer, key_fn};
pub use result_class::{ByResult, ClassifyResult};
pub use retry::{Backoff, GiveUp, Pushback, Retry, RetryEvents, RetryFuture, RetryLayer, RetryPolicy, Verdict};
pub use timeout::{Timeout, TimeoutError, TimeoutFuture, TimeoutLayer};
pub use trail::LastAttempt;
