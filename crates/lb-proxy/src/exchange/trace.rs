//! The attempts of one request, as the log shows them.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use atomic_refcell::{AtomicRefCell, AtomicRefMut};
use lb_core::Mono;
use lb_tower::Expiry;

use crate::net::clock;
use crate::upstream::Upstream;

/// The attempts of one request, for the log.
#[derive(Default)]
pub(crate) struct Trace {
    attempts: AtomicRefCell<Attempts>,
    /// The current attempt waits for the client to send more.
    waits_for_client: AtomicBool,
}

/// See [`Trace::witness`].
pub(crate) struct Witness<'a>(&'a Trace);

impl Drop for Witness<'_> {
    fn drop(&mut self) {
        if self.0.waits_for_client.load(Ordering::Relaxed) {
            Expiry::pardon();
        }
    }
}

#[derive(Default)]
pub(crate) struct Attempts {
    /// How often the request was sent, or an attempt to send it was made.
    pub(crate) count: u32,
    /// Of these, how often it was sent to the same endpoint again, on another connection.
    resent: u32,
    pub(crate) last: Option<Last>,
}

/// The last attempt.
pub(crate) struct Last {
    pub(crate) endpoint: Arc<Upstream>,
    since: Mono,
    /// How long its response head took, if it came.
    pub(crate) took: Option<Duration>,
}

impl Trace {
    /// Whether the current attempt waits for the client to send more.
    pub(crate) fn set_waits_for_client(&self, waits: bool) {
        self.waits_for_client.store(waits, Ordering::Relaxed);
    }

    /// Kept by an attempt until its response head: if the attempt is dropped on a timeout while it waits for the client, the timeout
    /// does not count against the endpoint.
    pub(crate) fn witness(&self) -> Witness<'_> {
        Witness(self)
    }

    /// An attempt at this endpoint begins.
    pub(crate) fn on_attempt(&self, endpoint: &Arc<Upstream>) {
        self.set_waits_for_client(false);
        let mut attempts = self.attempts();
        attempts.count += 1;
        attempts.last = Some(Last { endpoint: Arc::clone(endpoint), since: clock::mono(), took: None });
    }

    /// Counts that the request is sent to the same endpoint once more, at most `max` times in all; which time that is. `None` if
    /// it may not be.
    pub(crate) fn resend(&self, max: u32) -> Option<u32> {
        let mut attempts = self.attempts();
        let next = attempts.resent + 2;
        (next <= max).then(|| {
            attempts.resent += 1;
            next
        })
    }

    /// Its response head came.
    pub(crate) fn on_head(&self) {
        if let Some(last) = &mut self.attempts().last {
            last.took = Some(clock::mono().saturating_since(last.since));
        }
    }

    /// Drop the borrow before the next await.
    pub(crate) fn attempts(&self) -> AtomicRefMut<'_, Attempts> {
        self.attempts.borrow_mut()
    }
}

impl Attempts {
    /// The name of the endpoint of the last attempt; empty if there was none.
    pub(crate) fn last_name(&self) -> &str {
        self.last.as_ref().map_or("", |last| &last.endpoint.name)
    }
}
