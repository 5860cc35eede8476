//! tower layers for load balancing: balance, rate limit, retry.
#![forbid(unsafe_code)]

mod balance;
mod clock;
#[cfg(feature = "http")]
pub mod http;
mod passive;
mod rate_limit;
mod retry;
mod seeds;
#[cfg(test)]
mod testing;
mod timeout;

pub use balance::{
    AsReset, Attempt, Balance, BalanceBuilder, BalanceFuture, ClassifyError, Error, Events, Guard, Immediate, Inspect,
    Observe, Plain,
};
pub use clock::{TokioClock, system_clock};
pub use passive::{Passive, PassiveRule, Transition, Watch};
pub use rate_limit::{Everyone, Key, RateLimit, RateLimitError, RateLimitFuture, RateLimitLayer};
pub use retry::{GiveUp, Retry, RetryEvents, RetryFuture, RetryLayer, RetryPolicy, Verdict};
pub use timeout::{Timeout, TimeoutError, TimeoutFuture, TimeoutLayer};
