//! HTTP towards clients: reading requests and writing responses, in each of its versions. What becomes of a request in between is the
//! same for all of them.

use std::time::Duration;

mod h1;
mod h2;
mod walk;

pub(super) use h1::serve;

/// How long, and how much of, a request that was answered early is read before the connection closes. Closing at once
/// would reset it, and a client that is still sending would never see the answer.
const LINGER: Duration = Duration::from_secs(30);
const LINGER_IDLE: Duration = Duration::from_secs(5);
const LINGER_BYTES: u64 = 64 * 1024 * 1024;
