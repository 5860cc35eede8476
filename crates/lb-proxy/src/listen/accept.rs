//! Accept: a connection becomes a task of this worker, or of a less busy one.
//!
//! The kernel deals connections out by a hash, blind to how long each lives; with long-lived connections one worker
//! can end up with most of them. A worker that has more than twice as many as the least busy one hands new ones over.

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use futures_util::FutureExt;
use lb_config::ListenAddress;
use tokio::net::{TcpStream, UnixStream};
use tokio::sync::mpsc::error::SendError;
use tokio::time::Instant;

use super::{proxy_protocol, tls};
use crate::downstream::{ClientConnection, Slot};
use crate::net::Timer;
use crate::net::clock::Turn;
use crate::net::socket::{AcceptedSocket, Listening, Socket};
use crate::net::{Shortage, Stream};
use crate::observe::app_log;
use crate::observe::metrics::ListenerMetrics;
use crate::runtime::snapshot::Snapshot;
use crate::serve::{Opened, Service};
use crate::worker::shared::{ConnectionPermit, Refusal};
use crate::worker::shutdown::Shutdown;
use crate::worker::state::{Accepted, Command, Counted, Stacks, Worker};

/// Below this many connections a worker keeps what it gets: one against none is no difference worth the trouble.
const HAND_OVER_FROM: usize = 2;
/// How long handshakes that have begun may take when a listener ends: a round trip to most clients.
const HANDSHAKES: Duration = Duration::from_millis(100);
/// How often it is looked for those that are done.
const POLL_INTERVAL: Duration = Duration::from_millis(5);
/// Where nobody connected for so long, no handshake is waited for.
const RECENTLY: Duration = Duration::from_secs(1);
/// How long accepting rests when the process has run out of file descriptors.
const ACCEPT_BACKOFF: Duration = Duration::from_millis(100);

/// Accepts until told to stop, and then what the kernel had already queued.
pub(crate) async fn accept(socket: Socket, address: ListenAddress, worker: Arc<Worker>, stop: Shutdown) {
    let listening = match Listening::new(socket) {
        Ok(listening) => listening,
        Err(error) => {
            tracing::error!("listener {} cannot accept: {error}", crate::show(&address));
            return;
        }
    };
    let mut last: Option<Instant> = None;
    loop {
        let accepted = tokio::select! {
            biased;
            accepted = listening.accept() => accepted,
            () = stop.triggered() => break,
        };
        match accepted {
            Ok((stream, peer)) => {
                last = Some(Instant::now());
                dispatch(stream, peer, &address, &worker, &stop);
            }
            Err(error) if is_of_the_connection(&error) => {}
            Err(error) => {
                if let Some(unsaid) = worker.shared.accept_log.due(worker.shared.now()) {
                    let (address, why) = (crate::show(&address), told(&error));
                    tracing::error!("listener {address} cannot accept: {why}; connections wait{unsaid}");
                }
                tokio::time::sleep(ACCEPT_BACKOFF).await;
            }
        }
    }
    // The kernel is asked itself: of what came last the reactor has not heard yet, and a close would reset it.
    let Ok(socket) = listening.into_std() else { return };
    let is_deaf = socket.drop_new_syns();
    let is_busy = last.is_some_and(|last| last.elapsed() < RECENTLY);
    let until = if is_deaf && is_busy { Instant::now() + HANDSHAKES } else { Instant::now() };
    loop {
        match socket.queued() {
            Ok(socket) => {
                accept_handed_over(Accepted::new(socket, address.clone(), &worker), &worker, &stop);
            }
            Err(error) if is_of_the_connection(&error) => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock && Instant::now() < until => {
                tokio::time::sleep(POLL_INTERVAL).await;
            }
            Err(_) => return,
        }
    }
}

/// An error of one connection, which went away before it was accepted; the listener is fine.
fn is_of_the_connection(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionReset, Interrupted};
    matches!(error.kind(), ConnectionAborted | ConnectionReset | Interrupted)
        // EPROTO and EPERM (a firewall's verdict) concern the connection as well.
        || matches!(error.raw_os_error(), Some(71 | 1))
}

/// What an operator can do about it, where that is known.
fn told(error: &io::Error) -> String {
    Shortage::of(error).map_or_else(|| error.to_string(), |lacked| lacked.to_string())
}

/// Serves a connection here, or hands it to a worker that has less than half as many.
fn dispatch(stream: Stream, peer: Option<SocketAddr>, address: &ListenAddress, worker: &Arc<Worker>, stop: &Shutdown) {
    let mine = worker.connections.load(Ordering::Relaxed);
    if mine < HAND_OVER_FROM {
        return start(stream, peer, address, worker, stop);
    }
    let workers = worker.workers();
    let workers = workers.as_deref().unwrap_or_default();
    let least = workers.iter().min_by_key(|other| other.worker.connections.load(Ordering::Relaxed));
    match least {
        Some(other) if other.worker.connections.load(Ordering::Relaxed) * 2 < mine => {
            let Ok(socket) = into_std(stream) else { return };
            let accepted = Accepted::new(socket, address.clone(), &other.worker);
            let handed = other.commands.send(Command::Take(accepted));
            // The other one is stopping already.
            if let Err(SendError(Command::Take(accepted))) = handed {
                accept_handed_over(accepted, worker, stop);
            }
        }
        _ => start(stream, peer, address, worker, stop),
    }
}

fn into_std(stream: Stream) -> io::Result<AcceptedSocket> {
    Ok(match stream {
        Stream::Tcp(stream) => AcceptedSocket::Tcp(stream.into_std()?),
        Stream::Unix(stream) => AcceptedSocket::Unix(stream.into_std()?),
        // A handshake belongs to the worker that serves the connection.
        Stream::Tls(_) => return Err(io::ErrorKind::Unsupported.into()),
    })
}

/// Serves a connection that another worker accepted.
pub(crate) fn accept_handed_over(accepted: Accepted, worker: &Arc<Worker>, stop: &Shutdown) {
    let stream = match accepted.socket {
        AcceptedSocket::Tcp(socket) => TcpStream::from_std(socket).map(Stream::Tcp),
        AcceptedSocket::Unix(socket) => UnixStream::from_std(socket).map(Stream::Unix),
    };
    match stream {
        Ok(stream) => {
            let peer = stream.peer_addr();
            start(stream, peer, &accepted.address, worker, stop);
        }
        Err(error) => tracing::error!("failed to take over a connection from another worker: {error}"),
    }
}

/// A client connection, counted as open for as long as this lives.
struct Open {
    _counted: Counted,
    listener: Arc<ListenerMetrics>,
}

impl Open {
    fn new(listener: &Arc<ListenerMetrics>, worker: &Arc<Worker>) -> Self {
        listener.on_connect();
        Self { _counted: Counted::new(worker), listener: Arc::clone(listener) }
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.listener.on_disconnect();
    }
}

/// Whether the listener serves this client. One of a Unix socket counts as this machine.
fn is_served(
    client: Option<SocketAddr>,
    address: &ListenAddress,
    position: usize,
    snapshot: &Snapshot,
    worker: &Worker,
) -> bool {
    let Some(access) = &snapshot.listeners[position].access else { return true };
    let client = client.map_or(IpAddr::V4(Ipv4Addr::LOCALHOST), |client| client.ip().to_canonical());
    let is_denied = access.denies(client);
    if is_denied {
        worker.shared.on_refused(address, snapshot, &Refusal::Denied(client));
    }
    !is_denied
}

/// Whether the client may have this connection as well.
fn is_within(
    admitted: &mut ConnectionPermit,
    client: Option<SocketAddr>,
    address: &ListenAddress,
    snapshot: &Snapshot,
    worker: &Worker,
) -> bool {
    let Some(client) = client.map(|client| client.ip().to_canonical()) else { return true };
    let is_within = admitted.is_within(&snapshot.config.limits, client);
    if !is_within {
        worker.shared.on_refused(address, snapshot, &Refusal::Client(client));
    }
    is_within
}

fn start(stream: Stream, peer: Option<SocketAddr>, address: &ListenAddress, worker: &Arc<Worker>, stop: &Shutdown) {
    // The snapshot that knows the listener goes with the connection: the next reload may remove the listener before the
    // task has run once.
    let stacks = worker.in_force();
    let snapshot = &*stacks.snapshot.shared;
    // A reload may have removed the listener just now.
    let Some(position) = snapshot.listener(address) else { return };
    let listener = &snapshot.listeners[position];
    let is_proxied = proxy_protocol::is_expected(listener, peer);
    if !is_proxied && !is_served(peer, address, position, snapshot, worker) {
        return;
    }
    let Some(mut admitted) = worker.shared.admit() else {
        return worker.shared.on_refused(address, snapshot, &Refusal::Full);
    };
    if !is_proxied && !is_within(&mut admitted, peer, address, snapshot, worker) {
        return;
    }
    let open = Open::new(&listener.metrics, worker);
    let (address, worker, stop) = (address.clone(), Arc::clone(worker), stop.clone());
    // Boxed, since the runtime moves what it is given eight times before it comes to rest and is done with.
    tokio::spawn(Box::pin(async move {
        let mut held = (admitted, open);
        let (stream, peer) = if is_proxied {
            // Boxed, so that its room is given back when it is done.
            let identified = proxy_protocol::identify(stream, &address, &stacks.snapshot.shared, &worker.shared, &stop);
            let Some((stream, peer)) = Box::pin(identified).await else { return };
            if !is_served(peer, &address, position, &stacks.snapshot.shared, &worker)
                || !is_within(&mut held.0, peer, &address, &stacks.snapshot.shared, &worker)
            {
                return;
            }
            (stream, peer)
        } else {
            (stream, peer)
        };
        let serving = serve(stream, peer, address, position, stacks, Arc::clone(&worker), stop);
        if let Err(panic) = AssertUnwindSafe(Turn::new(serving)).catch_unwind().await {
            worker.shared.metrics.on_panic();
            app_log::panicked("connection", peer, &*panic);
        }
    }));
}

/// Serves a connection to its end, behind TLS where the listener has it.
async fn serve(
    stream: Stream,
    peer: Option<SocketAddr>,
    address: ListenAddress,
    position: usize,
    stacks: Arc<Stacks>,
    worker: Arc<Worker>,
    stop: Shutdown,
) {
    let mut timer = Timer::new();
    let snapshot = &*stacks.snapshot.shared;
    let listener = &snapshot.listeners[position];
    let local = stream.local_addr_of(&address);
    let (stream, tls) = match &listener.tls {
        None => (stream, None),
        Some(terminator) => {
            let limit = snapshot.config.limits.head_timeout;
            // Boxed, so that its room is given back when it is done.
            let handshake = tls::handshake(stream, terminator, listener, peer, &mut timer, limit, &stop);
            let Some((stream, facts)) = Box::pin(handshake).await else { return };
            (stream, Some(facts))
        }
    };
    let connection = ClientConnection { address, peer, local, tls, worker: worker.index, slot: Slot::default() };
    let opened = Opened { stream, connection, stacks, listener: position, worker, shutdown: stop, timer };
    Service::Http.serve(opened).await;
}
