//! Programs of the distribution on both sides of the real binary: curl as a client, nginx and HAProxy before us and
//! behind us, each set up as people set it up.
//!
//! Where one is missing its tests are skipped, with a note; with `LBPROXY_REQUIRE_PEERS=1` they fail.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod bad_deploy;
mod curl;
mod haproxy;
mod nginx;
mod nginx_before;
mod nginx_behind;

#[path = "../support/mod.rs"]
#[allow(dead_code, unused_imports, unused_macros, reason = "the harness serves several test targets")]
mod support;

use std::process::{Command, Stdio};

/// Whether there is such a program; where not, says so, or fails where it must be there.
#[track_caller]
fn is_there(program: &str, version: &str) -> bool {
    let mut command = Command::new(program);
    let command = command.arg(version).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    if command.status().is_ok_and(|status| status.success()) {
        return true;
    }
    let required = std::env::var_os("LBPROXY_REQUIRE_PEERS").is_some_and(|it| it == "1");
    assert!(!required, "{program} is not installed");
    // Not by a macro, whose output is kept from whoever runs a test that passes.
    let _ = std::io::Write::write_fmt(&mut std::io::stderr(), format_args!("skipped: {program} is not installed\n"));
    false
}
