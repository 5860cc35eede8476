//! tokio's timer, where there is one.
//!
//! A library that is polled outside a tokio runtime must not panic because of a limit that its user never set. So waits that the
//! layers add by default ask for a timer here, and go on without the wait if there is none.

use std::time::Duration;

use tokio::runtime::Handle;
use tokio::time::Sleep;

/// A timer; none outside a tokio runtime.
///
/// # Panics
/// The runtime was built without `enable_time`.
pub(crate) fn sleep(duration: Duration) -> Option<Sleep> {
    Handle::try_current().is_ok().then(|| tokio::time::sleep(duration))
}
