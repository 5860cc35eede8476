//! Programs of the distribution on both sides of the real binary: curl as a client, nginx and HAProxy before us and
//! behind us, each set up as people set it up.
//!
//! Where one is missing its tests are skipped, with a note; with `LBPROXY_REQUIRE_PEERS=1` they fail.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod bad_deploy;
mod curl;
mod files;
mod haproxy;
mod nginx_before;
mod nginx_behind;
#[path = "../../benches/outage/mod.rs"]
mod outage;
mod outages;
#[path = "../programs/mod.rs"]
mod programs;

#[path = "../support/mod.rs"]
#[allow(dead_code, unused_imports, unused_macros, reason = "the harness serves several test targets")]
mod support;
