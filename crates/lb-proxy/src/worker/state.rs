//! What a worker holds: the snapshot in force with tower stacks of its own, and its counts of connections and requests.
//!
//! Nothing on the request path is shared between workers but the endpoints' atomics and the limiters' cells, so a worker never
//! waits for another one. What the engine or another worker wants of it arrives as a [`Command`]; the snapshot in force is
//! published beside them and is seen by the next request.

use std::num::NonZeroU32;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock, Weak};

use arc_swap::ArcSwap;
use atomic_refcell::AtomicRefMut;
use lb_config::ListenAddress;
use tokio::sync::mpsc::UnboundedSender;
use tokio::sync::{Notify, oneshot};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::shared::Shared;
use super::shutdown::Shutdown;
use crate::filters::Chains;
use crate::forward::stack::{RouteStacks, Stack};
use crate::net::socket::{AcceptedSocket, Socket};
use crate::observe::access_log::AccessWriter;
use crate::runtime::snapshot::{Snapshot, WorkerSnapshot};

/// What the connections of one worker share.
pub(crate) struct Worker {
    pub(crate) index: usize,
    pub(crate) shared: Arc<Shared>,
    stacks: ArcSwap<Stacks>,
    /// The number of the snapshot in force: a connection that holds the snapshot of that number need not load it.
    generation: AtomicU64,
    /// Triggered when the worker is to finish.
    pub(crate) stopping: Shutdown,
    pub(crate) access_log: AccessWriter,
    /// Client connections open.
    pub(crate) connections: AtomicUsize,
    /// Requests being served, tunnels included.
    pub(crate) requests: AtomicUsize,
    pub(crate) quiet: Notify,
    /// All workers, for connections that are handed over. The engine owns them.
    workers: OnceLock<Weak<[WorkerHandle]>>,
}

impl Worker {
    pub(crate) fn new(index: usize, shared: Arc<Shared>, snapshot: &Arc<Snapshot>, chains: &Arc<Chains>) -> Self {
        Self {
            index,
            access_log: shared.access_log.writer(),
            shared,
            generation: snapshot.generation.into(),
            stacks: ArcSwap::from_pointee(Stacks::new(snapshot, chains)),
            stopping: Shutdown::new(),
            connections: 0.into(),
            requests: 0.into(),
            quiet: Notify::new(),
            workers: OnceLock::new(),
        }
    }

    /// Puts a snapshot in force, with its filters.
    pub(crate) fn publish(&self, snapshot: &Arc<Snapshot>, chains: &Arc<Chains>) {
        self.stacks.store(Arc::new(Stacks::new(snapshot, chains)));
        self.generation.store(snapshot.generation, Ordering::Release);
    }

    /// The snapshot in force, with its stacks.
    pub(crate) fn in_force(&self) -> Arc<Stacks> {
        self.stacks.load_full()
    }

    /// Goes over to the snapshot in force: a reload may have come while the connection was idle. A reload that removed the
    /// listener does not affect requests that have arrived already: they keep the last snapshot that knows it.
    pub(crate) fn catch_up(&self, address: &ListenAddress, stacks: &mut Arc<Stacks>, listener: &mut usize) {
        // The time between the two stores of `publish` is before the change.
        if self.generation.load(Ordering::Acquire) == stacks.snapshot.shared.generation {
            return;
        }
        let current = self.in_force();
        if let Some(position) = current.snapshot.shared.listener(address) {
            (*stacks, *listener) = (current, position);
        }
    }

    /// Makes the other workers known to this one. Once, at start.
    pub(crate) fn introduce(&self, workers: &Arc<[WorkerHandle]>) {
        let _ = self.workers.set(Arc::downgrade(workers));
    }

    /// All workers; `None` before they are known, and once the engine is gone.
    pub(crate) fn workers(&self) -> Option<Arc<[WorkerHandle]>> {
        self.workers.get()?.upgrade()
    }
}

/// A snapshot, its filters, and this worker's tower stacks for its routes.
pub(crate) struct Stacks {
    pub(crate) snapshot: Arc<WorkerSnapshot>,
    pub(crate) chains: Arc<Chains>,
    by_route: Arc<RouteStacks>,
}

impl Stacks {
    fn new(snapshot: &Arc<Snapshot>, chains: &Arc<Chains>) -> Self {
        let by_route = Arc::new(RouteStacks::new(&snapshot.routes));
        let stacks = Arc::clone(&by_route) as _;
        Self {
            by_route,
            snapshot: Arc::new(WorkerSnapshot { shared: Arc::clone(snapshot), stacks }),
            chains: Arc::clone(chains),
        }
    }

    /// The stack of a route. Only this worker borrows it, for the length of a call.
    pub(crate) fn of(&self, route: usize) -> Option<AtomicRefMut<'_, Stack>> {
        self.by_route.of(route)
    }
}

/// An order to a worker.
pub(crate) enum Command {
    /// Accept on this socket.
    Listen(ListenAddress, Socket),
    /// Shutdown accepting there, and answer when that is done. Connections finish their request and close.
    Unlisten(ListenAddress, oneshot::Sender<()>),
    /// The kernel shall queue as many connections there; `None` for as many as it allows.
    Backlog(ListenAddress, Option<NonZeroU32>),
    /// A connection that another worker had no room for.
    Take(Accepted),
    /// Shutdown accepting, finish what runs until the deadline or until this is cancelled, answer how many requests were cut.
    Stop(Instant, CancellationToken, oneshot::Sender<usize>),
}

/// A worker, and the way to give it orders.
pub(crate) struct WorkerHandle {
    pub(crate) worker: Arc<Worker>,
    pub(crate) commands: UnboundedSender<Command>,
}

/// An accepted connection on its way to the worker that is to serve it.
pub(crate) struct Accepted {
    pub(crate) socket: AcceptedSocket,
    pub(crate) address: ListenAddress,
    /// So that the worker that is to have it counts it from now on, and not only when it comes to it.
    _counted: Counted,
}

impl Accepted {
    pub(crate) fn new(socket: AcceptedSocket, address: ListenAddress, worker: &Arc<Worker>) -> Self {
        Self { socket, address, _counted: Counted::new(worker) }
    }
}

/// Counts a client connection for as long as it lives.
pub(crate) struct Counted(Arc<Worker>);

impl Counted {
    pub(crate) fn new(worker: &Arc<Worker>) -> Self {
        worker.connections.fetch_add(1, Ordering::AcqRel);
        Self(Arc::clone(worker))
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        if self.0.connections.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.0.quiet.notify_waiters();
        }
    }
}
