//! Accept: a connection becomes a task of this worker, or of a less busy one.
//!
//! The kernel deals connections out by a hash, blind to how long each lives; with long-lived connections one worker
//! can end up with most of them. A worker that has more than twice as many as the least busy one hands new ones over.

use std::io;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use futures_util::FutureExt;
use lb_config::ListenAddress;
use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};
use tokio_util::sync::CancellationToken;

use crate::net::Stream;
use crate::observe::metrics::ListenerMetrics;
use crate::stage::http;
use crate::worker::{Command, Counted, Worker};

/// Below this many connections a worker keeps what it gets.
const HAND_OVER_FROM: usize = 8;
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

    async fn accept(&self) -> io::Result<Stream> {
        match self {
            Self::Tcp(listener) => {
                let (stream, _) = listener.accept().await?;
                // Heads and small bodies leave in one write; waiting for more would only add delay.
                stream.set_nodelay(true)?;
                Ok(Stream::Tcp(stream))
            }
            Self::Unix(listener) => Ok(Stream::Unix(listener.accept().await?.0)),
        }
    }
}

/// Accepts until told to stop, and then what the kernel had already queued.
pub(crate) async fn accept(socket: Socket, address: ListenAddress, worker: Arc<Worker>, stop: CancellationToken) {
    let listening = match Listening::new(socket) {
        Ok(listening) => listening,
        Err(error) => {
            tracing::error!("listener {} cannot accept: {error}", crate::show(&address));
            return;
        }
    };
    loop {
        let accepted = tokio::select! {
            biased;
            accepted = listening.accept() => accepted,
            () = stop.cancelled() => break,
        };
        match accepted {
            Ok(stream) => place(stream, &address, &worker, &stop),
            Err(error) if is_of_the_connection(&error) => {}
            Err(error) => {
                tracing::error!("listener {} cannot accept: {error}; trying again", crate::show(&address));
                tokio::time::sleep(REST).await;
            }
        }
    }
    while let Some(Ok(stream)) = listening.accept().now_or_never() {
        start(stream, &address, &worker, &stop);
    }
}

/// An error of one connection, which went away before it was accepted; the listener is fine.
fn is_of_the_connection(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionReset, Interrupted};
    matches!(error.kind(), ConnectionAborted | ConnectionReset | Interrupted)
        // EPROTO and EPERM (a firewall's verdict) concern the connection as well.
        || matches!(error.raw_os_error(), Some(71 | 1))
}

/// Serves a connection here, or hands it to a worker that has less than half as many.
fn place(stream: Stream, address: &ListenAddress, worker: &Arc<Worker>, stop: &CancellationToken) {
    let mine = worker.connections.load(Ordering::Relaxed);
    if mine < HAND_OVER_FROM {
        return start(stream, address, worker, stop);
    }
    let workers = worker.shared.workers();
    let least = workers.iter().min_by_key(|other| other.worker.connections.load(Ordering::Relaxed));
    match least {
        Some(other) if other.worker.connections.load(Ordering::Relaxed) * 2 < mine => {
            let Ok(socket) = detach(stream) else { return };
            // A worker that ended meanwhile drops the connection, as it drops its own.
            let _ = other.commands.send(Command::Take(Accepted { socket, address: address.clone() }));
        }
        _ => start(stream, address, worker, stop),
    }
}

fn detach(stream: Stream) -> io::Result<AcceptedSocket> {
    Ok(match stream {
        Stream::Tcp(stream) => AcceptedSocket::Tcp(stream.into_std()?),
        Stream::Unix(stream) => AcceptedSocket::Unix(stream.into_std()?),
    })
}

/// Serves a connection that another worker accepted.
pub(crate) fn adopt(accepted: Accepted, worker: &Arc<Worker>, stop: &CancellationToken) {
    let stream = match accepted.socket {
        AcceptedSocket::Tcp(socket) => TcpStream::from_std(socket).map(Stream::Tcp),
        AcceptedSocket::Unix(socket) => UnixStream::from_std(socket).map(Stream::Unix),
    };
    match stream {
        Ok(stream) => start(stream, &accepted.address, worker, stop),
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
    fn new(address: &ListenAddress, worker: &Arc<Worker>) -> Option<Self> {
        let snapshot = worker.snapshot.load();
        let listener = snapshot.shared.listener(address)?;
        let listener = Arc::clone(&snapshot.shared.listeners[listener].metrics);
        listener.on_connect();
        Some(Self { _counted: Counted::connection(worker), listener })
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.listener.on_disconnect();
    }
}

fn start(stream: Stream, address: &ListenAddress, worker: &Arc<Worker>, stop: &CancellationToken) {
    let peer = stream.peer_addr();
    let Some(admitted) = worker.shared.admit(&worker.snapshot.load().shared.config.limits, peer.map(|p| p.ip())) else {
        return;
    };
    let Some(open) = Open::new(address, worker) else { return };
    let (address, worker, stop) = (address.clone(), Arc::clone(worker), stop.clone());
    tokio::spawn(async move {
        let _held = (admitted, open);
        let serving = http::serve(stream, peer, address, Arc::clone(&worker), stop);
        let served = AssertUnwindSafe(serving).catch_unwind().await;
        if served.is_err() {
            // The panic's message has already been logged by the hook; here it is counted, and ends here.
            worker.shared.metrics.on_panic();
        }
    });
}
