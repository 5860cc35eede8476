//! Load balancing in one crate: everything of [`policy`], [`health`], [`ratelimit`] and [`tower`], with their shared vocabulary in [`core`].
//!
//! What most programs use is here at the top. The modules are the crates `lb-core`, `lb-policy`, `lb-health`, `lb-ratelimit` and `lb-tower`,
//! whole and under one version, so that nobody has to keep five of them equal.
//!
//! ```
//! use lbkit::{Balance, Cluster, Immediate, Member, P2c, Update, now};
//! use tower::{ServiceExt, service_fn};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
//! let cluster = Cluster::new("app");
//! let members = ["app-1", "app-2"].map(|name| {
//!     Member::new(name, service_fn(move |n: u32| async move { Ok::<_, std::io::Error>(format!("{name}: {n}")) }))
//! });
//! cluster.apply(Update::Reset(members.into()), now());
//! let balance = Balance::builder(cluster.selector(P2c)).observe(Immediate::new()).build();
//! assert!(balance.oneshot(7).await?.ends_with(": 7"));
//! # Ok(())
//! # }
//! ```
//!
//! | you want to | look at |
//! |---|---|
//! | call gRPC servers, HTTP servers | `client` (features `grpc`, `http`, `reqwest`) |
//! | balance a service of your own | [`Balance`], and the table of layers in [`tower`] |
//! | choose a policy | [`policy`]; each type says when to use it |
//! | write a policy | [`policy::Policy`], and `policy::conformance` (feature `conformance`) to test it |
//! | limit your clients | [`RateLimit`], `http::HttpRateLimitLayer` (features `http`, `axum`) |
//! | know why a request went there | [`Balance::explain`] |
#![forbid(unsafe_code)]

pub use lb_core as core;
pub use lb_health as health;
pub use lb_policy as policy;
pub use lb_ratelimit as ratelimit;
pub use lb_tower as tower;

#[cfg(any(feature = "http", feature = "grpc", feature = "reqwest"))]
pub use lb_tower::client;
#[cfg(any(feature = "http", feature = "grpc", feature = "reqwest", feature = "axum"))]
pub use lb_tower::http;

pub use lb_core::{Clock, Mono};
pub use lb_policy::{
    BuiltIn, Cluster, Identity, LeastRequest, Maglev, Member, P2c, PeakEwma, Random, Rendezvous, RingHash, RoundRobin,
    Update,
};
pub use lb_ratelimit::{Quota, RetryBudget};
pub use lb_tower::{
    AdaptiveLayer, Balance, BreakerLayer, ConcurrencyLayer, HedgeLayer, Immediate, Passive, PassiveRule, RateLimit,
    RateLimitLayer, RetryLayer, TimeoutLayer, by_key, system_clock, watch_fn,
};

/// The time that layers go by unless they are given another clock: what [`Cluster::apply`] and its like ask for.
#[must_use]
pub fn now() -> Mono {
    system_clock().now()
}
