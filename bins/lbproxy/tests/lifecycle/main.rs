//! The life of the real binary: start, reload, reopened logs, shutdown, and what each leaves behind.
//!
//! Each scenario runs with one worker and with four, and waits for events only. What a bug in one connection costs is
//! shown by `panics.rs` of lb-proxy: nothing that a client or an endpoint can send is known to make a connection's task panic.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod descriptors;
mod grace;
mod held;
mod logs;
mod reload;
mod shutdown;
mod start;
mod unix;

#[path = "../support/mod.rs"]
#[allow(dead_code, unused_imports, reason = "the harness serves several test targets")]
mod support;

use held::Held;

/// A route for everything to a cluster `app` of these endpoints, and further lines of the cluster.
fn app(endpoints: &[&str], rest: &str) -> String {
    format!("[[route]]\ncluster = \"app\"\n[cluster.app]\nendpoints = {endpoints:?}\n{rest}\n")
}
