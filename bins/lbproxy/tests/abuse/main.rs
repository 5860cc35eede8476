//! Abuse: attacks by hostile clients, how each ends, and its effect on other clients.
//!
//! While an attack runs, a well-behaved client asks at a fixed low rate. What counts is not how long its requests take but
//! how much longer than while the same attack goes to another target: a **sink** beside the proxy, a process of its own
//! that accepts, reads and discards. The machine's load from making the attack is then the same in both. Control and
//! attack take turns, two rounds of them or more, and the medians of the rounds are compared, see [`trial::Trial`].
//!
//! Each attack also says what the offender is to get (408, 431, GOAWAY, a closed connection), where an operator sees it,
//! and how much memory it may cost at most. Every request of the well-behaved client must succeed.
//!
//! What a single connection can hold is tried apart, state by state, in [`memory`].
//!
//! A phase takes 1.2 seconds, or as many as `LBPROXY_ABUSE_SECONDS` says: `cargo test -p lbproxy --test abuse -- --nocapture`
//! prints the figures, `--release` those of what is shipped. It sleeps: what it measures is time that passes.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod answers;
mod frames;
mod given_up;
mod held;
mod idle;
mod latency;
mod memory;
mod paced;
mod requests;
mod sink;
mod slowhttptest;
mod trial;

#[path = "../e2e/http2/raw.rs"]
#[allow(dead_code, reason = "written for other scenarios as well")]
mod raw;

#[path = "../support/mod.rs"]
#[allow(dead_code, unused_imports, reason = "the harness serves several test targets")]
mod support;

/// Whether what cannot be tried is a failure.
fn is_required() -> bool {
    std::env::var_os("LBPROXY_REQUIRE_PEERS").is_some_and(|it| it == "1")
}
