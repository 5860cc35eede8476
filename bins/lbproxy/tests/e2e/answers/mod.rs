//! What the proxy says itself: refusals, redirects, fixed answers, logs, metrics, status.

mod access;
mod access_log;
mod admin;
mod compress;
mod error_pages;
mod failure_log;
mod files;
mod header_edits;
mod maintenance;
mod missing;
mod rate_limit;
mod redirect;
mod respond;

use crate::support::{Proxy, config};

/// A proxy with these routes, and no endpoint.
#[track_caller]
pub(crate) fn answering(workers: usize, rest: &str) -> Proxy {
    Proxy::start(&config(workers, rest))
}
