//! The future in which all sources run.

use std::pin::Pin;
use std::sync::Arc;

use futures_util::stream::{FuturesUnordered, StreamExt};
use tokio::sync::mpsc;

use crate::sink::Shared;

/// A source that runs until it is aborted.
pub(crate) type Job = Pin<Box<dyn Future<Output = ()> + Send>>;

/// Runs the sources of a [`Discovery`](crate::Discovery), once its future does.
pub struct Driver {
    shared: Arc<Shared>,
    starting: mpsc::UnboundedReceiver<Job>,
}

impl Driver {
    pub(crate) fn new(shared: Arc<Shared>, starting: mpsc::UnboundedReceiver<Job>) -> Self {
        Self { shared, starting }
    }

    /// Runs sources and publishes their lists, until the [`Discovery`](crate::Discovery) is dropped.
    pub async fn run(mut self) {
        let mut running = FuturesUnordered::new();
        loop {
            // In this order, so that what several sources report at the same time is published together.
            tokio::select! {
                biased;
                started = self.starting.recv() => match started {
                    Some(job) => running.push(job),
                    None => return,
                },
                Some(()) = running.next(), if !running.is_empty() => {}
                () = self.shared.changed.notified() => self.shared.publish(),
            }
        }
    }
}
