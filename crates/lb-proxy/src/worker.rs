//! A worker: one thread, one single-threaded runtime, its share of every listener, its own upstream connections.
//!
//! Nothing on the request path is shared between workers but the endpoints' atomics and the limiters' cells, so a
//! worker never waits for another one. What the control thread wants of a worker arrives as a [`Command`]; the
//! snapshot in force is published beside them and is seen by the next request.

use std::collections::HashMap;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use arc_swap::ArcSwap;
use lb_config::ListenAddress;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender};
use tokio::sync::{Notify, oneshot};
use tokio::task::JoinHandle;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::observe::access_log::AccessWriter;
use crate::shared::Shared;
use crate::snapshot::WorkerSnapshot;
use crate::stage::accept::{self, Accepted, Socket};

/// How often idle upstream connections are looked through.
const REAP_EVERY: Duration = Duration::from_secs(1);

/// What the connections of one worker share.
pub(crate) struct Worker {
    pub(crate) index: usize,
    pub(crate) shared: Arc<Shared>,
    pub(crate) snapshot: ArcSwap<WorkerSnapshot>,
    /// Cancelled when the worker is to finish.
    pub(crate) stopping: CancellationToken,
    pub(crate) access_log: AccessWriter,
    /// Client connections open.
    pub(crate) connections: AtomicUsize,
    /// Requests being served, tunnels included.
    pub(crate) requests: AtomicUsize,
    pub(crate) quiet: Notify,
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
                    let stop = worker.stopping.child_token();
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
                    let stop = listening.get(accepted.address()).map_or_else(cancelled, |listening| listening.stop.clone());
                    accept::adopt(accepted, &worker, &stop);
                }
                Some(Command::Stop(deadline, hurry, done)) => {
                    listening.values().for_each(|listening| listening.stop.cancel());
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
    stop: CancellationToken,
    accepting: JoinHandle<()>,
    /// Its socket once more, for what may change while it listens.
    same: Option<Socket>,
}

impl Listening {
    /// Stops accepting. What the kernel has queued is taken first.
    async fn end(self) {
        // The socket closes with its last owner, and that must be who accepts.
        drop(self.same);
        self.stop.cancel();
        let _ = self.accepting.await;
    }
}

fn cancelled() -> CancellationToken {
    let token = CancellationToken::new();
    token.cancel();
    token
}

/// Lets what runs finish; the number of requests that did not by the deadline, or when there was no more time.
async fn finish(worker: &Worker, deadline: Instant, hurry: &CancellationToken) -> usize {
    worker.stopping.cancel();
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
    for cluster in &worker.snapshot.load().shared.clusters {
        for endpoint in cluster.members.endpoints().iter() {
            endpoint.value().upstream.reap(worker.index, now);
        }
    }
}

/// Counts something for as long as it lives.
pub(crate) struct Counted {
    worker: Arc<Worker>,
    which: fn(&Worker) -> &AtomicUsize,
}

impl Counted {
    pub(crate) fn connection(worker: &Arc<Worker>) -> Self {
        Self::new(worker, |worker| &worker.connections)
    }

    pub(crate) fn request(worker: &Arc<Worker>) -> Self {
        Self::new(worker, |worker| &worker.requests)
    }

    pub(crate) fn worker(&self) -> &Worker {
        &self.worker
    }

    fn new(worker: &Arc<Worker>, which: fn(&Worker) -> &AtomicUsize) -> Self {
        which(worker).fetch_add(1, Ordering::AcqRel);
        Self { worker: Arc::clone(worker), which }
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        if (self.which)(&self.worker).fetch_sub(1, Ordering::AcqRel) == 1 {
            self.worker.quiet.notify_waiters();
        }
    }
}
