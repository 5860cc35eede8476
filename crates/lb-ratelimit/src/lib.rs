//! Rate limits, concurrency limits and retry budgets in bounded memory, without IO.
//!
//! The problem: a limit sits on the path of every request, is shared by all workers, and must neither let more pass
//! than it says nor grow with the number of clients an attacker can invent. A map of counters behind a lock fails at
//! all three. Here each limit is a pure state machine: the caller brings the time, nothing is read from a clock,
//! no task sweeps in the background, and the shared ones are single atomics whose swap is check and debit at once.
//!
//! | for | use |
//! |---|---|
//! | several limits on one request | [`charge_all`] |
//! | requests a second, one bucket | [`Limiter`] |
//! | the same for each client, in a fixed amount of memory, by any [`Rule`] | [`Keyed`], with [`ClientKey`] |
//! | retries as a share of requests | [`RetryBudget`] |
//! | so many at once | [`Concurrency`], fixed or moved by one of [`adaptive`]; for each key, [`KeyedConcurrency`] |
//! | waiting for one of them | [`WaitQueue`] |
//! | nginx's `limit_req` with its delays | [`LeakyBucket`] |
//! | HAProxy's `http_req_rate` | [`Frequency`], and [`SlidingWindow`] as a limit |
//! | so many in any period, exactly; in each fixed one | [`SlidingLog`]; [`FixedWindow`] |
//!
//! Each rule by itself is an [`Algorithm`]: a pure function of a key's state, a cost and the time. [`Gcra`] is the token bucket,
//! with cost, refund and peek.
#![forbid(unsafe_code)]

pub mod adaptive;
mod budget;
mod claims;
mod client_key;
mod concurrency;
mod decision;
mod fixed_window;
mod frequency;
mod gcra;
mod keyed;
mod keyed_concurrency;
mod leaky_bucket;
mod lines;
#[cfg(all(test, loom))]
mod model;
mod sliding_log;
mod sliding_window;
mod sync;
mod wait_queue;

pub use budget::{Ratio, RetryBudget};
pub use claims::{Claim, Refusal, charge_all, charge_all_telling};
pub use client_key::ClientKey;
pub use concurrency::{Concurrency, Permit};
pub use decision::{Algorithm, Decision, whole_seconds};
pub use fixed_window::{FixedWindow, WindowCount};
pub use frequency::Frequency;
pub use gcra::{Gcra, Limiter, Quota, Tat, Verdict};
pub use keyed::{Heavy, Key, Keyed, NoMemory, Rule};
pub use keyed_concurrency::{KeyPermit, KeyedConcurrency, Refused};
pub use leaky_bucket::{LeakyBucket, Level, Shaped};
pub use sliding_log::{Log, SlidingLog};
pub use sliding_window::SlidingWindow;
pub use wait_queue::{CLASSES, Order, Shed, WaitQueue, WaitQueueConfig, Waiting};
