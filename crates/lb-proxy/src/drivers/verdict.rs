//! What an active check found.

use std::time::Duration;

/// What one check found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// Whether it passed.
    pub ok: bool,
    /// `status 200 from /healthz`, `connected`, `connect_refused`, `timeout after 5s`, …
    pub detail: String,
    /// From the start to the connection or the response head.
    pub took: Duration,
    /// This machine could not ask, for want of what `detail` says: the check tells nothing about the endpoint.
    pub is_void: bool,
}
