//! A worker's loop: one thread, one single-threaded runtime, its share of every listener, its own upstream connections.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use lb_config::ListenAddress;
use tokio::sync::mpsc::UnboundedReceiver;
use tokio::task::JoinHandle;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::listen::accept;
use crate::net::socket::Socket;
use crate::upstream::Upstream;
use crate::worker::shutdown::Shutdown;
use crate::worker::state::{Command, Worker};

/// How often idle upstream connections are looked through.
const REAP_EVERY: Duration = Duration::from_secs(1);

/// Serves until a command to stop.
pub(crate) async fn run(worker: Arc<Worker>, mut commands: UnboundedReceiver<Command>) {
    let mut listening: HashMap<ListenAddress, Listening> = HashMap::new();
    let mut reap = tokio::time::interval(REAP_EVERY);
    reap.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            command = commands.recv() => match command {
                Some(Command::Listen(address, socket)) => {
                    let stop = worker.stopping.child();
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
                        tracing::warn!("cannot change the backlog of listener {}: {error}", crate::show(&address));
                    }
                }
                Some(Command::Take(accepted)) => {
                    // Its listener may have just been removed; it is served all the same, and then closed.
                    let stop = listening.get(&accepted.address).map_or_else(triggered, |listening| listening.stop.clone());
                    accept::accept_handed_over(accepted, &worker, &stop);
                }
                Some(Command::Stop(deadline, hurry, done)) => {
                    listening.values().for_each(|listening| listening.stop.trigger());
                    for (_, listening) in listening.drain() {
                        listening.end().await;
                    }
                    // From here on others keep what they would have handed over; what they did is served.
                    commands.close();
                    while let Some(command) = commands.recv().await {
                        if let Command::Take(accepted) = command {
                            accept::accept_handed_over(accepted, &worker, &worker.stopping);
                        }
                    }
                    let cut = finish(&worker, deadline, &hurry).await;
                    for_each_upstream(&worker, |upstream| upstream.close_idle(worker.index));
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
    stop: Shutdown,
    accepting: JoinHandle<()>,
    /// Its socket once more, for what may change while it listens.
    same: Option<Socket>,
}

impl Listening {
    /// Stops accepting. What the kernel has queued is taken first.
    async fn end(self) {
        // The socket closes with its last owner, and that must be who accepts.
        drop(self.same);
        self.stop.trigger();
        let _ = self.accepting.await;
    }
}

fn triggered() -> Shutdown {
    let stop = Shutdown::new();
    stop.trigger();
    stop
}

/// Lets what runs finish; the number of requests that did not by the deadline, or when there was no more time.
async fn finish(worker: &Worker, deadline: Instant, hurry: &CancellationToken) -> usize {
    worker.stopping.trigger();
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
    for cluster in &worker.in_force().snapshot.shared.clusters {
        for endpoint in cluster.members.endpoints().iter() {
            with(&endpoint.value().upstream);
        }
    }
}
