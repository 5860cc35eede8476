//! The threads of workers.

use std::sync::Arc;
use std::thread::JoinHandle;

use tokio::sync::mpsc::{self, UnboundedSender};

use super::worker_loop;
use crate::error::EngineError;
use crate::filters::Chains;
use crate::runtime::snapshot::Snapshot;
use crate::worker::shared::Shared;
use crate::worker::state::{Worker, WorkerHandle};

/// Starts a worker. One that panics is reported to `failures`.
pub(super) fn start(
    index: usize,
    shared: &Arc<Shared>,
    snapshot: &Arc<Snapshot>,
    chains: &Arc<Chains>,
    failures: &UnboundedSender<String>,
) -> Result<(WorkerHandle, JoinHandle<()>), EngineError> {
    let worker = Arc::new(Worker::new(index, Arc::clone(shared), snapshot, chains));
    let (commands, orders) = mpsc::unbounded_channel();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(EngineError::Thread)?;
    let (mine, failures) = (Arc::clone(&worker), failures.clone());
    let thread = std::thread::Builder::new()
        .name(format!("worker-{index}"))
        .spawn(move || {
            let guard = WorkerGuard { index, report: Some(failures) };
            runtime.block_on(worker_loop::run(mine, orders));
            guard.disarm();
        })
        .map_err(EngineError::Thread)?;
    Ok((WorkerHandle { worker, commands }, thread))
}

/// Reports a worker that ends without a command to stop.
struct WorkerGuard {
    index: usize,
    report: Option<UnboundedSender<String>>,
}

impl WorkerGuard {
    fn disarm(mut self) {
        self.report = None;
    }
}

impl Drop for WorkerGuard {
    fn drop(&mut self) {
        if let Some(report) = self.report.take() {
            // The receiver is gone once the process ends.
            let _ = report.send(format!("worker {} died; the log has its panic", self.index));
        }
    }
}
