//! Programs that speak HTTP/2, on both sides of the real binary: gRPC's own library for Python, curl, h2load.
//!
//! Where one is missing its tests are skipped, with a note; with `LBPROXY_REQUIRE_PEERS=1` they fail.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod command_line;
mod grpc;

#[path = "../node/program.rs"]
mod program;
#[path = "../node/python.rs"]
mod python;
#[path = "../support/mod.rs"]
#[allow(dead_code, unused_imports, unused_macros, reason = "the harness serves several test targets")]
mod support;

use std::path::PathBuf;

use support::{Authority, config};
use tempfile::TempDir;

/// Where the programs in Python are, below `tests`.
const PYTHON_PROGRAMS: &str = "http2_peers";

/// Says why a test is not run, or fails where it must be.
#[track_caller]
pub(crate) fn skip(why: &str) {
    let required = std::env::var_os("LBPROXY_REQUIRE_PEERS").is_some_and(|it| it == "1");
    assert!(!required, "{why}");
    // Not by a macro, whose output is captured in passing tests.
    let _ = std::io::Write::write_fmt(&mut std::io::stderr(), format_args!("skipped: {why}\n"));
}

/// An authority, and a directory with its certificate, one for `a.test` and one for `127.0.0.1`.
pub(crate) struct Certificates {
    directory: TempDir,
}

impl Certificates {
    pub(crate) fn new() -> Self {
        let (authority, directory) = (Authority::new(), tempfile::tempdir().unwrap());
        authority.issue(&["a.test"]).write(directory.path(), "listener");
        authority.issue(&["127.0.0.1"]).write(directory.path(), "endpoint");
        std::fs::write(directory.path().join("ca.pem"), authority.pem()).unwrap();
        Self { directory }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// What makes the listener of a configuration one with TLS.
    pub(crate) fn listener(&self) -> String {
        let (cert, key) = (self.path("listener.pem"), self.path("listener.key"));
        format!("tls.certificates = [{{ cert = \"{}\", key = \"{}\" }}]\n", cert.display(), key.display())
    }
}

/// A configuration of two workers, with TLS where there are certificates.
pub(crate) fn configured(rest: &str, secured: Option<&Certificates>) -> String {
    config(2, rest) + &secured.map(Certificates::listener).unwrap_or_default()
}
