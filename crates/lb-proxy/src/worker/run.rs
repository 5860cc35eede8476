//! A worker: one thread, one single-threaded runtime, its share of every listener, its own upstream connections.
//!
//! Nothing on the request path is shared between workers but the endpoints' atomics and the limiters' cells, so a
//! worker never waits for another one. What the control thread wants of a worker arrives as a [`Command`]; the
//! snapshot in force is published beside them and is seen by the next request.

use std::collections::HashMap;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use arc_swap::ArcSwap;
use lb_config::ListenAddress;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender};
use tokio::sync::{Notify, oneshot};
use tokio::task::JoinHandle;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::observe::access_log::AccessWriter;
use crate::runtime::snapshot::WorkerSnapshot;
use crate::stage::accept::{self, Accepted, Socket};
use crate::upstream::Upstream;
use crate::worker::shared::Shared;
use crate::worker::shutdown::Stop;

/// How often idle upstream connections are looked through.
const REAP_EVERY: Duration = Duration::from_secs(1);

/// What the connections of one worker share.
pub(crate) struct Worker {
    pub(crate) index: usize,
    pub(crate) shared: Arc<Shared>,
    pub(crate) snapshot: ArcSwap<WorkerSnapshot>,
    /// The number of the snapshot in force. Whoever holds the one of that number need not load it.
    generation: AtomicU64,
    /// Said when the worker is to finish.
    pub(crate) stopping: Stop,
    pub(crate) access_log: AccessWriter,
    /// Client connections open.
    pub(crate) connections: AtomicUsize,
    /// Requests being served, tunnels included.
    pub(crate) requests: AtomicUsize,
    pub(crate) quiet: Notify,
}

impl Worker {
    pub(crate) fn new(index: usize, shared: Arc<Shared>, snapshot: WorkerSnapshot) -> Self {
        Self {
            index,
            access_log: shared.access_log.writer(),
            shared,
            generation: snapshot.shared.generation.into(),
            snapshot: ArcSwap::from_pointee(snapshot),
            stopping: Stop::new(),
            connections: 0.into(),
            requests: 0.into(),
            quiet: Notify::new(),
        }
    }

    /// Puts a snapshot in force.
    pub(crate) fn publish(&self, snapshot: WorkerSnapshot) {
        let generation = snapshot.shared.generation;
        self.snapshot.store(Arc::new(snapshot));
        self.generation.store(generation, Ordering::Release);
    }

    /// The snapshot in force, unless it is this one.
    pub(crate) fn newer(&self, than: &WorkerSnapshot) -> Option<Arc<WorkerSnapshot>> {
        // The time between the two stores of `publish` is before the change.
        let is_newer = self.generation.load(Ordering::Acquire) != than.shared.generation;
        is_newer.then(|| self.snapshot.load_full())
    }
}

/// An order to a worker.
pub(crate) enum Command {
    /// Accept on this socket.
    Listen(ListenAddress, Socket),
    /// Stop accepting there, and say when that is so. Connections finish their request and close.
    Unlisten(ListenAddress, oneshot::Sender<()>),
    /// The kernel shall queue as many connections there; `None` for as many as it allows.
    Backlog(ListenAddress, Option<NonZeroU32>),
    /// A connection that another worker had no room for.
    Take(Accepted),
    /// Stop accepting, finish what runs until the deadline or until this is cancelled, answer how many requests were cut.
    Stop(Instant, CancellationToken, oneshot::Sender<usize>),
}

/// What the control thread keeps of a worker.
pub(crate) struct WorkerHandle {
    pub(crate) worker: Arc<Worker>,
    pub(crate) commands: UnboundedSender<Command>,
}

/// Serves until told to stop.
pub(crate) async fn run(worker: Arc<Worker>, mut commands: UnboundedReceiver<Command>) {
    let mut listening: HashMap<ListenAddress, Listening> = HashMap::new();
    let mut reap = tokio::time::interval(REAP_EVERY);
    reap.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            command = commands.recv() => match command {
                Some(Command::Listen(address, socket)) => {
                    let stop = worker.stopping.below();
                    let same = socket.try_clone().ok();
                    let accepting = accept::accept(socket, address.clone(), Arc::clone(&worker), stop.clone());
                    listening.insert(address, Listening { stop, accepting: tokio::spawn(accepting), same });
                }
                Some(Command::Unlisten(address, done)) => {
                    if let Some(listening) = listening.remove(&address) {
                        listening.end().await;
                    }
                    // A reload that does not wait any more needs no answer.
                    let _ = done.send(());
                }
                Some(Command::Backlog(address, backlog)) => {
                    let same = listening.get(&address).and_then(|listening| listening.same.as_ref());
                    if let Some(Err(error)) = same.map(|socket| socket.set_backlog(backlog)) {
                        tracing::warn!("listener {} keeps its backlog: {error}", crate::show(&address));
                    }
                }
                Some(Command::Take(accepted)) => {
                    // Its listener may have just been removed; it is served all the same, and then closed.
                    let stop = listening.get(accepted.address()).map_or_else(said, |listening| listening.stop.clone());
                    accept::adopt(accepted, &worker, &stop);
                }
                Some(Command::Stop(deadline, hurry, done)) => {
                    listening.values().for_each(|listening| listening.stop.say());
                    for (_, listening) in listening.drain() {
                        listening.end().await;
                    }
                    // From here on others keep what they would have handed over; what they did is served.
                    commands.close();
                    while let Some(command) = commands.recv().await {
                        if let Command::Take(accepted) = command {
                            accept::adopt(accepted, &worker, &worker.stopping);
                        }
                    }
                    let cut = finish(&worker, deadline, &hurry).await;
                    for_each_upstream(&worker, |upstream| upstream.part(worker.index));
                    // Nobody waits for the count where the control thread is gone already.
                    let _ = done.send(cut);
                    return;
                }
                None => return,
            },
            _ = reap.tick() => reap_idle(&worker),
        }
    }
}

/// A listener of this worker.
struct Listening {
    stop: Stop,
    accepting: JoinHandle<()>,
    /// Its socket once more, for what may change while it listens.
    same: Option<Socket>,
}

impl Listening {
    /// Stops accepting. What the kernel has queued is taken first.
    async fn end(self) {
        // The socket closes with its last owner, and that must be who accepts.
        drop(self.same);
        self.stop.say();
        let _ = self.accepting.await;
    }
}

fn said() -> Stop {
    let stop = Stop::new();
    stop.say();
    stop
}

/// Lets what runs finish; the number of requests that did not by the deadline, or when there was no more time.
async fn finish(worker: &Worker, deadline: Instant, hurry: &CancellationToken) -> usize {
    worker.stopping.say();
    let quiet = async {
        loop {
            let notified = worker.quiet.notified();
            if worker.connections.load(Ordering::Acquire) == 0 {
                return;
            }
            notified.await;
        }
    };
    tokio::select! {
        () = quiet => 0,
        () = tokio::time::sleep_until(deadline) => worker.requests.load(Ordering::Acquire),
        () = hurry.cancelled() => worker.requests.load(Ordering::Acquire),
    }
}

fn reap_idle(worker: &Worker) {
    let now = Instant::now();
    for_each_upstream(worker, |upstream| upstream.reap(worker.index, now));
}

fn for_each_upstream(worker: &Worker, mut with: impl FnMut(&Upstream)) {
    for cluster in &worker.snapshot.load().shared.clusters {
        for endpoint in cluster.members.endpoints().iter() {
            with(&endpoint.value().upstream);
        }
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
