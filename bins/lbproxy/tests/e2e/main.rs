//! The real binary between raw sockets: what goes in on one side, and what comes out on the other.
//!
//! One scenario a file, each with one worker and with four. The endpoints and clients are scripted down to the byte,
//! because what matters happens where a polite library would not go.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod answers;
mod auth;
mod balance;
mod failures;
mod framing;
mod http2;
mod lifecycle;
mod policies;
mod proxying;
mod tls;

#[path = "../support/mod.rs"]
mod support;
