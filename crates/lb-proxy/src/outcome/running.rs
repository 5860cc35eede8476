//! An exchange that is being served.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::{After, CutBy, Outcome, close};
use crate::exchange::Exchange;
use crate::rules::cause::Cause;
use crate::worker::state::Worker;

/// A request that is being served. Dropped before its end it was cut short, by the end of the process or by a panic:
/// that too is counted and logged, and what the client has of the answer must not look like the whole.
pub(crate) struct Running<'a> {
    worker: &'a Worker,
    pub(crate) exchange: Arc<Exchange>,
    is_over: bool,
}

impl<'a> Running<'a> {
    pub(crate) fn new(worker: &'a Worker, exchange: Arc<Exchange>) -> Self {
        worker.requests.fetch_add(1, Ordering::Relaxed);
        Self { worker, exchange, is_over: false }
    }

    /// It ended, and was counted.
    pub(crate) fn ended(mut self, after: After) -> After {
        self.is_over = true;
        after
    }
}

impl Drop for Running<'_> {
    fn drop(&mut self) {
        let worker = self.worker;
        worker.requests.fetch_sub(1, Ordering::Relaxed);
        if self.is_over {
            return;
        }
        let cause = if worker.stopping.is_triggered() { Cause::ShuttingDown } else { Cause::Internal };
        let begun = self.exchange.client.cut();
        let (status, bytes_out) = begun.unwrap_or((cause.status(), 0));
        let outcome = Outcome { status, bytes_out, cut_by: begun.map(|_| CutBy::Service), ..Outcome::of(cause) };
        close(worker, &self.exchange, &outcome);
    }
}
