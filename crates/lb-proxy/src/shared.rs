//! What all workers share: counters of connections, metrics, the access log.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use lb_config::Limits;
use lb_core::{Clock, Mono, SystemClock};

use crate::observe::access_log::AccessLog;
use crate::observe::app_log::LimitLog;
use crate::observe::metrics::Metrics;
use crate::worker::WorkerHandle;

/// Shared by all workers, for the life of the process.
pub(crate) struct Shared {
    pub(crate) clock: SystemClock,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) access_log: AccessLog,
    pub(crate) limit_log: LimitLog,
    workers: OnceLock<Vec<WorkerHandle>>,
    connections: AtomicUsize,
    /// The second in which it was last logged that there are too many.
    full_logged: AtomicU64,
    /// Connections of each client; used only where they are limited.
    by_client: Mutex<HashMap<IpAddr, usize, ahash::RandomState>>,
}

/// A client connection within the limits; makes room when dropped.
pub(crate) struct Admitted {
    shared: Arc<Shared>,
    client: Option<IpAddr>,
}

impl Shared {
    pub(crate) fn new(metrics: Arc<Metrics>, access_log: AccessLog) -> Self {
        Self {
            clock: lb_tower::system_clock(),
            metrics,
            access_log,
            limit_log: LimitLog::new(),
            workers: OnceLock::new(),
            connections: AtomicUsize::new(0),
            full_logged: AtomicU64::new(u64::MAX),
            by_client: Mutex::default(),
        }
    }

    pub(crate) fn now(&self) -> Mono {
        self.clock.now()
    }

    pub(crate) fn workers(&self) -> &[WorkerHandle] {
        self.workers.get().map_or(&[], Vec::as_slice)
    }

    pub(crate) fn set_workers(&self, workers: Vec<WorkerHandle>) {
        // Set once, at start.
        let _ = self.workers.set(workers);
    }

    fn on_full(&self, most: usize) {
        let second = self.now().as_millis() / 1000;
        if self.full_logged.swap(second, Ordering::Relaxed) != second {
            tracing::warn!("limits.connections = {most} is reached; new connections are closed");
        }
    }

    /// Lets a connection in, or says that it is one too many.
    pub(crate) fn admit(self: &Arc<Self>, limits: &Limits, client: Option<IpAddr>) -> Option<Admitted> {
        if self.connections.fetch_add(1, Ordering::AcqRel) >= limits.connections.get() {
            self.connections.fetch_sub(1, Ordering::AcqRel);
            self.on_full(limits.connections.get());
            return None;
        }
        let mut admitted = Admitted { shared: Arc::clone(self), client: None };
        if let (Some(most), Some(client)) = (limits.connections_per_client, client.map(|ip| ip.to_canonical())) {
            let mut by_client = self.by_client.lock().unwrap_or_else(PoisonError::into_inner);
            let count = by_client.entry(client).or_default();
            if *count >= most.get() {
                return None;
            }
            *count += 1;
            admitted.client = Some(client);
        }
        Some(admitted)
    }
}

impl Drop for Admitted {
    fn drop(&mut self) {
        self.shared.connections.fetch_sub(1, Ordering::AcqRel);
        let Some(client) = self.client else { return };
        let mut by_client = self.shared.by_client.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = by_client.get_mut(&client) {
            *count -= 1;
            if *count == 0 {
                by_client.remove(&client);
            }
        }
    }
}
