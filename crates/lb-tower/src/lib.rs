//! Load balancing as tower layers.
//!
//! The problem: a service has several endpoints, and each request should go to the right one, once, within limits, and
//! again elsewhere if that fails and may be repeated. tower's own `Balance` cannot: it chooses in `poll_ready`, before it
//! has seen the request. So it can neither hash a key nor keep a client at its endpoint nor avoid the endpoint that has
//! just failed; and what it found ready may be gone when the request comes. It also boxes its errors, and a service that
//! is not `Clone` cannot be shared.
//!
//! Here [`Balance`] is always ready and **picks in the call**, with the request at hand. The picked service's own
//! readiness is awaited inside the response future; one that is not ready counts as full, and another is drawn. Policies,
//! health and limits come from lb-policy, lb-health and lb-ratelimit; this crate joins them and adds the waiting.
//!
#![cfg_attr(feature = "http", doc = "```")]
#![cfg_attr(not(feature = "http"), doc = "```ignore")]
//! use std::convert::Infallible;
//! use http::{Request, Response};
//! use lb_core::Clock;
//! use lb_policy::{Cluster, Identity, Member, PeakEwma, Update};
//! use lb_tower::http::{HttpBody, RetryHttp, SkipTried};
//! use lb_tower::{Balance, Passive, PassiveRule, RetryLayer, TimeoutLayer, Transition, system_clock};
//! use tower::{ServiceBuilder, ServiceExt, service_fn};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! // Each endpoint carries the service that reaches it: a client, a channel, or here a function.
//! let members = ["app-1:3000", "app-2:3000", "app-3:3000"].map(|name| {
//!     let greet = move |_: Request<String>| async move { Ok::<_, Infallible>(Response::new(format!("{name} says hello"))) };
//!     Member::new(Identity::literal(name), service_fn(greet))
//! });
//! let cluster = Cluster::new("app");
//! cluster.apply(Update::Reset(members.into()), system_clock().now());
//!
//! // Three failures within 30 s eject an endpoint for 3 s and longer, but never the last one. Call `passive.tick` now and then.
//! let passive = Passive::new(cluster.clone(), PassiveRule::default(), |endpoint: &Identity, what: Transition| {
//!     eprintln!("endpoint {endpoint} is {what}");
//! });
//! let balance = Balance::builder(cluster.selector(PeakEwma::default()))
//!     .inspect(SkipTried)
//!     .observe(HttpBody::new())
//!     .events(passive.clone())
//!     .build();
//! let service = ServiceBuilder::new()
//!     .layer(TimeoutLayer::new(Some(std::time::Duration::from_secs(5))))
//!     .layer(RetryLayer::new(RetryHttp::new()).attempts(3))
//!     .service(balance);
//!
//! let response = service.oneshot(Request::new(String::from("hello"))).await?;
//! assert!(response.status().is_success());
//! # Ok(())
//! # }
//! ```
//!
//! | layer | what it does | its refusal |
//! |---|---|---|
//! | [`RateLimit`] | so many requests a second for each key | [`RateLimitError::Limited`] |
//! | [`Concurrency`] | so many requests at once | [`ConcurrencyError::Shed`] |
//! | [`Timeout`] | the time to the response head | [`TimeoutError::Elapsed`] |
//! | [`Retry`] | further attempts, within a budget | the best answer there was |
//! | [`Hedge`] | a second copy of a request that takes long, within a budget | the first answer there is |
//! | [`Balance`] | an endpoint for each request, and a place in its cluster's queue | [`Error::NoEndpoint`], [`Error::Queue`] |
//! | [`Passive`] | ejects endpoints that keep failing (not a layer: events of a `Balance`) | |
//!
//! Stack them in this order. Each is generic over requests and responses, clones cheaply, nests its error in a type of
//! its own and boxes nothing; where it is optional, it is switched off by a value. Its futures are `Send` when those
//! inside are. What an attempt holds goes back when it ends or is dropped, whatever the way.
//!
//! **Time.** Instants are told by a [`Clock`](lb_core::Clock), [`system_clock`] unless you say otherwise; whatever is shared (a cluster, a
//! table of limits, a budget) must be told the same one's. Waiting uses tokio's timer, and only where a limit of time or
//! a pause is set. No layer starts a task.
//!
//! **Features.** None is on by default. `http`: keys, observers and retry rules for `http` requests, in `lb_tower::http`.
//! `discover`: a cluster fed by a tower `Discover`.
#![forbid(unsafe_code)]

mod balance;
mod clock;
mod concurrency;
#[cfg(feature = "discover")]
mod discover;
mod expiry;
mod hedge;
#[cfg(feature = "http")]
pub mod http;
mod passive;
mod rate_limit;
mod retry;
mod seeds;
#[cfg(test)]
mod stack_tests;
#[cfg(test)]
mod testing;
mod timeout;

pub use balance::{
    AsReset, Attempt, Balance, BalanceBuilder, BalanceFuture, ClassifyError, Error, Events, Finish, Guard, Immediate,
    Inspect, Observe, Plain, QueueError,
};
pub use clock::{TokioClock, system_clock};
pub use concurrency::{Admission, Concurrency, ConcurrencyError, ConcurrencyFuture, ConcurrencyLayer, Keep, UntilHead};
#[cfg(feature = "discover")]
pub use discover::Follow;
pub use expiry::Expiry;
pub use hedge::{Hedge, HedgeAfter, HedgeEvents, HedgeFuture, HedgeLayer, HedgePolicy};
pub use passive::{Passive, PassiveRule, Transition, Watch};
pub use rate_limit::{Everyone, Key, RateLimit, RateLimitError, RateLimitFuture, RateLimitLayer};
pub use retry::{GiveUp, Retry, RetryEvents, RetryFuture, RetryLayer, RetryPolicy, Verdict};
pub use timeout::{Timeout, TimeoutError, TimeoutFuture, TimeoutLayer};
