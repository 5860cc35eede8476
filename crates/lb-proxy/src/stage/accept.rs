//! Accept: a connection becomes a task of this worker, or of a less busy one.
//!
//! The kernel deals connections out by a hash, blind to how long each lives; with long-lived connections one worker
//! can end up with most of them. A worker that has more than twice as many as the least busy one hands new ones over.

use std::any::Any;
use std::io;
use std::net::SocketAddr;
use std::num::NonZeroU32;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use futures_util::FutureExt;
use lb_config::ListenAddress;
#[cfg(target_os = "linux")]
use socket2::SockFilter;
use socket2::SockRef;
use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};
use tokio::sync::mpsc::error::SendError;
use tokio::time::Instant;

use crate::net::Timer;
use crate::net::clock::Turn;
use crate::net::{Shortage, Stream, bind};
use crate::observe::metrics::ListenerMetrics;
use crate::runtime::snapshot::WorkerSnapshot;
use crate::stage::{http, proxied, tls};
use crate::worker::run::{Command, Counted, Worker};
use crate::worker::shared::{Admitted, Refusal};
use crate::worker::shutdown::Stop;

/// Below this many connections a worker keeps what it gets: one against none is no difference worth the trouble.
const HAND_OVER_FROM: usize = 2;
/// How long handshakes that have begun may take when a listener ends: a round trip to most clients.
const HANDSHAKES: Duration = Duration::from_millis(100);
/// How often it is looked for those that are done.
const LOOK: Duration = Duration::from_millis(5);
/// Where nobody connected for so long, no handshake is waited for.
const RECENTLY: Duration = Duration::from_secs(1);
/// How long accepting rests when the process has run out of file descriptors.
const REST: Duration = Duration::from_millis(100);

/// A bound socket on its way to a worker.
pub(crate) enum Socket {
    Tcp(std::net::TcpListener),
    Unix(std::os::unix::net::UnixListener),
}

/// An accepted connection that is not registered with a runtime.
pub(crate) struct Accepted {
    socket: AcceptedSocket,
    address: ListenAddress,
    /// So that the worker that is to have it counts it from now on, and not only when it comes to it.
    _counted: Counted,
}

impl Accepted {
    pub(crate) fn address(&self) -> &ListenAddress {
        &self.address
    }
}

enum AcceptedSocket {
    Tcp(std::net::TcpStream),
    Unix(std::os::unix::net::UnixStream),
}

enum Listening {
    Tcp(TcpListener),
    Unix(UnixListener),
}

impl Listening {
    fn new(socket: Socket) -> io::Result<Self> {
        Ok(match socket {
            Socket::Tcp(socket) => Self::Tcp(TcpListener::from_std(socket)?),
            Socket::Unix(socket) => Self::Unix(UnixListener::from_std(socket)?),
        })
    }

    /// The next connection, and who it is from; nobody on a Unix socket.
    async fn accept(&self) -> io::Result<(Stream, Option<SocketAddr>)> {
        Ok(match self {
            Self::Tcp(listener) => {
                let (stream, peer) = listener.accept().await?;
                (Stream::Tcp(stream), Some(peer))
            }
            Self::Unix(listener) => (Stream::Unix(listener.accept().await?.0), None),
        })
    }

    fn into_std(self) -> io::Result<Socket> {
        Ok(match self {
            Self::Tcp(listener) => Socket::Tcp(listener.into_std()?),
            Self::Unix(listener) => Socket::Unix(listener.into_std()?),
        })
    }
}

impl Socket {
    /// The same socket, owned once more.
    pub(crate) fn try_clone(&self) -> io::Result<Self> {
        Ok(match self {
            Self::Tcp(socket) => Self::Tcp(socket.try_clone()?),
            Self::Unix(socket) => Self::Unix(socket.try_clone()?),
        })
    }

    /// Changes the length of the kernel's queue, by listening anew; what is in it stays.
    pub(crate) fn set_backlog(&self, backlog: Option<NonZeroU32>) -> io::Result<()> {
        let length = bind::backlog(backlog);
        match self {
            Self::Tcp(socket) => SockRef::from(socket).listen(length),
            Self::Unix(socket) => SockRef::from(socket).listen(length),
        }
    }

    /// Has the kernel drop requests for new connections, so that what is queued when nothing more comes is all there
    /// is: between the last accept and the close another one could be established, and would be reset. Who was not
    /// heard asks again within a second, and finds the port closed, or its next owner. Tells whether it does; elsewhere
    /// the gap stays.
    #[cfg(target_os = "linux")]
    fn deafen(&self) -> bool {
        /// Byte 13 of a TCP header has the flags; SYN without ACK asks for a connection.
        const DROP_SYN: [SockFilter; 5] = [
            SockFilter::new(0x30, 0, 0, 13),       // load the flags
            SockFilter::new(0x54, 0, 0, 0x12),     // and with SYN and ACK
            SockFilter::new(0x15, 0, 1, 0x02),     // unless it is SYN alone, skip one
            SockFilter::new(0x06, 0, 0, 0),        // drop
            SockFilter::new(0x06, 0, 0, u32::MAX), // keep
        ];
        match self {
            Self::Tcp(listener) => SockRef::from(listener).attach_filter(&DROP_SYN).is_ok(),
            Self::Unix(_) => false,
        }
    }

    #[cfg(not(target_os = "linux"))]
    fn deafen(&self) -> bool {
        false
    }

    /// The next connection that the kernel has queued, without waiting.
    fn queued(&self) -> io::Result<AcceptedSocket> {
        Ok(match self {
            Self::Tcp(listener) => {
                let (stream, _) = listener.accept()?;
                stream.set_nonblocking(true)?;
                AcceptedSocket::Tcp(stream)
            }
            Self::Unix(listener) => {
                let (stream, _) = listener.accept()?;
                stream.set_nonblocking(true)?;
                AcceptedSocket::Unix(stream)
            }
        })
    }
}

/// Accepts until told to stop, and then what the kernel had already queued.
pub(crate) async fn accept(socket: Socket, address: ListenAddress, worker: Arc<Worker>, stop: Stop) {
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
            () = stop.said() => break,
        };
        match accepted {
            Ok((stream, peer)) => {
                last = Some(Instant::now());
                place(stream, peer, &address, &worker, &stop);
            }
            Err(error) if is_of_the_connection(&error) => {}
            Err(error) => {
                if let Some(unsaid) = worker.shared.accept_log.due(worker.shared.now()) {
                    let (address, why) = (crate::show(&address), told(&error));
                    tracing::error!("listener {address} cannot accept: {why}; connections wait{unsaid}");
                }
                tokio::time::sleep(REST).await;
            }
        }
    }
    // The kernel is asked itself: of what came last the reactor has not heard yet, and a close would reset it.
    let Ok(socket) = listening.into_std() else { return };
    let is_deaf = socket.deafen();
    let is_busy = last.is_some_and(|last| last.elapsed() < RECENTLY);
    let until = if is_deaf && is_busy { Instant::now() + HANDSHAKES } else { Instant::now() };
    loop {
        match socket.queued() {
            Ok(socket) => {
                let accepted = Accepted { socket, address: address.clone(), _counted: Counted::new(&worker) };
                adopt(accepted, &worker, &stop);
            }
            Err(error) if is_of_the_connection(&error) => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock && Instant::now() < until => {
                tokio::time::sleep(LOOK).await;
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
fn place(stream: Stream, peer: Option<SocketAddr>, address: &ListenAddress, worker: &Arc<Worker>, stop: &Stop) {
    let mine = worker.connections.load(Ordering::Relaxed);
    if mine < HAND_OVER_FROM {
        return start(stream, peer, address, worker, stop);
    }
    let workers = worker.shared.workers();
    let least = workers.iter().min_by_key(|other| other.worker.connections.load(Ordering::Relaxed));
    match least {
        Some(other) if other.worker.connections.load(Ordering::Relaxed) * 2 < mine => {
            let Ok(socket) = detach(stream) else { return };
            let accepted = Accepted { socket, address: address.clone(), _counted: Counted::new(&other.worker) };
            let handed = other.commands.send(Command::Take(accepted));
            // The other one is stopping already.
            if let Err(SendError(Command::Take(accepted))) = handed {
                adopt(accepted, worker, stop);
            }
        }
        _ => start(stream, peer, address, worker, stop),
    }
}

fn detach(stream: Stream) -> io::Result<AcceptedSocket> {
    Ok(match stream {
        Stream::Tcp(stream) => AcceptedSocket::Tcp(stream.into_std()?),
        Stream::Unix(stream) => AcceptedSocket::Unix(stream.into_std()?),
        // A handshake belongs to the worker that serves the connection.
        Stream::Tls(_) => return Err(io::ErrorKind::Unsupported.into()),
    })
}

/// Serves a connection that another worker accepted.
pub(crate) fn adopt(accepted: Accepted, worker: &Arc<Worker>, stop: &Stop) {
    let stream = match accepted.socket {
        AcceptedSocket::Tcp(socket) => TcpStream::from_std(socket).map(Stream::Tcp),
        AcceptedSocket::Unix(socket) => UnixStream::from_std(socket).map(Stream::Unix),
    };
    match stream {
        Ok(stream) => {
            let peer = stream.peer_addr();
            start(stream, peer, &accepted.address, worker, stop);
        }
        Err(error) => tracing::error!("a connection handed over was lost: {error}"),
    }
}

/// A client connection, counted as open for as long as this lives.
struct Open {
    _counted: Counted,
    listener: Arc<ListenerMetrics>,
}

impl Open {
    /// `None` when the listener has just been removed.
    fn new(address: &ListenAddress, snapshot: &WorkerSnapshot, worker: &Arc<Worker>) -> Option<Self> {
        let listener = snapshot.shared.listener(address)?;
        let listener = Arc::clone(&snapshot.shared.listeners[listener].metrics);
        listener.on_connect();
        Some(Self { _counted: Counted::new(worker), listener })
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.listener.on_disconnect();
    }
}

/// Whether the client may have this connection as well.
fn is_within(
    admitted: &mut Admitted,
    client: Option<SocketAddr>,
    address: &ListenAddress,
    snapshot: &WorkerSnapshot,
    worker: &Worker,
) -> bool {
    let Some(client) = client.map(|client| client.ip().to_canonical()) else { return true };
    let is_within = admitted.is_within(&snapshot.shared.config.limits, client);
    if !is_within {
        worker.shared.on_refused(address, snapshot, &Refusal::Client(client));
    }
    is_within
}

fn start(stream: Stream, peer: Option<SocketAddr>, address: &ListenAddress, worker: &Arc<Worker>, stop: &Stop) {
    // The snapshot that knows the listener goes with the connection: the next reload may remove the listener before the
    // task has run once.
    let snapshot = worker.snapshot.load_full();
    let Some(mut admitted) = worker.shared.admit() else {
        return worker.shared.on_refused(address, &snapshot, &Refusal::Full);
    };
    let is_proxied = proxied::is_expected(&snapshot, address, peer);
    if !is_proxied && !is_within(&mut admitted, peer, address, &snapshot, worker) {
        return;
    }
    let Some(open) = Open::new(address, &snapshot, worker) else { return };
    let (address, worker, stop) = (address.clone(), Arc::clone(worker), stop.clone());
    // Boxed, since the runtime moves what it is given eight times before it comes to rest and is done with.
    tokio::spawn(Box::pin(async move {
        let mut held = (admitted, open);
        let (stream, peer) = if is_proxied {
            // Boxed, so that its room is given back when it is done.
            let identified = proxied::identify(stream, &address, &snapshot, &worker.shared, &stop);
            let Some((stream, peer)) = Box::pin(identified).await else { return };
            if !is_within(&mut held.0, peer, &address, &snapshot, &worker) {
                return;
            }
            (stream, peer)
        } else {
            (stream, peer)
        };
        let serving = serve(stream, peer, address, snapshot, Arc::clone(&worker), stop);
        if let Err(panic) = AssertUnwindSafe(Turn::new(serving)).catch_unwind().await {
            worker.shared.metrics.on_panic();
            let client = peer.map_or_else(|| "a Unix socket".to_owned(), |peer| peer.to_string());
            tracing::error!("a bug has cost a connection client={client}: {}", said_by(&*panic));
        }
    }));
}

/// The words of a panic. Where it happened, the process's panic hook has told.
pub(crate) fn said_by(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("a panic without words")
}

/// Serves a connection to its end, behind TLS where the listener has it.
async fn serve(
    stream: Stream,
    peer: Option<SocketAddr>,
    address: ListenAddress,
    snapshot: Arc<WorkerSnapshot>,
    worker: Arc<Worker>,
    stop: Stop,
) {
    let mut timer = Timer::new();
    let Some(position) = snapshot.shared.listener(&address) else { return };
    let listener = &snapshot.shared.listeners[position];
    let (stream, secured) = match &listener.tls {
        None => (stream, None),
        Some(terminator) => {
            let limit = snapshot.shared.config.limits.head_timeout;
            // Boxed, so that its room is given back when it is done.
            let shaking = tls::shake_hands(stream, terminator, listener, peer, &mut timer, limit, &stop);
            let Some((stream, secured)) = Box::pin(shaking).await else { return };
            (stream, Some(secured))
        }
    };
    http::serve(stream, peer, address, snapshot, worker, stop, (secured, timer)).await;
}
