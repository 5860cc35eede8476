//! Scripted endpoints behind the proxy, which misbehave on request.

use std::collections::HashMap;
use std::io;
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;

use rustls::{ServerConfig, ServerConnection, StreamOwned};
use socket2::{Domain, Socket, Type};

use super::DEADLINE;
use super::link::Link;
use super::message::{Head, Message};
use super::wire::Wire;

/// What an endpoint does with a connection. The connection closes when it returns.
type Script = dyn Fn(&mut Wire, &Arc<Seen>) -> io::Result<()> + Send + Sync;

/// A listening endpoint.
pub(crate) struct Endpoint {
    /// Where it listens, also while it is stopped.
    pub(crate) address: SocketAddr,
    seen: Arc<Seen>,
    script: Arc<Script>,
    /// Speaks TLS.
    tls: Option<Arc<ServerConfig>>,
    running: Option<Running>,
    /// Bound and never listening, so that no other process gets the port while we are stopped.
    _guard: Socket,
}

/// What an endpoint saw, over all its starts.
#[derive(Default)]
pub(crate) struct Seen {
    connections: AtomicUsize,
    open: AtomicUsize,
    requests: AtomicUsize,
    bytes: AtomicU64,
    messages: Mutex<Vec<Message>>,
}

struct Running {
    stopping: Arc<AtomicBool>,
    /// The open connections, by number.
    streams: Arc<Mutex<HashMap<usize, TcpStream>>>,
    thread: JoinHandle<()>,
}

impl Seen {
    /// Takes note of a request.
    pub(crate) fn note(&self, message: Message) {
        lock(&self.messages).push(message);
        self.requests.fetch_add(1, Ordering::SeqCst);
    }
}

impl Endpoint {
    /// An endpoint that does this with every connection.
    pub(crate) fn scripted(script: impl Fn(&mut Wire, &Arc<Seen>) -> io::Result<()> + Send + Sync + 'static) -> Self {
        Self::made(None, script)
    }

    /// As [`answering`](Self::answering), behind TLS.
    pub(crate) fn secured(tls: ServerConfig, respond: impl Fn(&Message) -> String + Send + Sync + 'static) -> Self {
        Self::made(Some(Arc::new(tls)), move |wire, seen| serve(wire, seen, &respond))
    }

    /// As [`scripted`](Self::scripted), behind TLS.
    pub(crate) fn secured_script(
        tls: ServerConfig,
        script: impl Fn(&mut Wire, &Arc<Seen>) -> io::Result<()> + Send + Sync + 'static,
    ) -> Self {
        Self::made(Some(Arc::new(tls)), script)
    }

    fn made(
        tls: Option<Arc<ServerConfig>>,
        script: impl Fn(&mut Wire, &Arc<Seen>) -> io::Result<()> + Send + Sync + 'static,
    ) -> Self {
        let guard = bound(SocketAddr::from(([127, 0, 0, 1], 0)));
        let address = address_of(&guard);
        let mut endpoint =
            Self { address, seen: Arc::default(), script: Arc::new(script), tls, running: None, _guard: guard };
        endpoint.start();
        endpoint
    }

    /// An endpoint that reads each request whole and writes what `respond` says, a complete response. The connection
    /// is kept unless the response says `Connection: close`.
    pub(crate) fn answering(respond: impl Fn(&Message) -> String + Send + Sync + 'static) -> Self {
        Self::scripted(move |wire, seen| serve(wire, seen, &respond))
    }

    /// An endpoint that answers every request with its name.
    pub(crate) fn named(name: &'static str) -> Self {
        Self::answering(move |_| text(200, name))
    }

    /// An endpoint whose first request head is handed to `script` together with the connection. Each connection is for
    /// one request; a response to a POST should announce the close, or the next request meets it.
    pub(crate) fn on_head(script: impl Fn(&mut Wire, Head) -> io::Result<()> + Send + Sync + 'static) -> Self {
        Self::scripted(move |wire, seen| {
            let Some(head) = wire.read_head()? else { return Ok(()) };
            seen.note(Message { head: head.clone(), ..Message::default() });
            script(wire, head)
        })
    }

    /// Its address as the configuration writes it.
    pub(crate) fn at(&self) -> String {
        self.address.to_string()
    }

    /// Connections accepted so far.
    pub(crate) fn connections(&self) -> usize {
        self.seen.connections.load(Ordering::SeqCst)
    }

    /// Connections open now.
    pub(crate) fn open(&self) -> usize {
        self.seen.open.load(Ordering::SeqCst)
    }

    /// Requests read so far.
    pub(crate) fn requests(&self) -> usize {
        self.seen.requests.load(Ordering::SeqCst)
    }

    /// Every request read so far.
    pub(crate) fn messages(&self) -> Vec<Message> {
        lock(&self.seen.messages).clone()
    }

    /// The last request read.
    #[track_caller]
    pub(crate) fn last(&self) -> Message {
        self.messages().pop().expect("a request came")
    }

    /// Stops listening and breaks every connection. The port stays ours, and refuses.
    pub(crate) fn stop(&mut self) {
        let Some(running) = self.running.take() else { return };
        running.stopping.store(true, Ordering::SeqCst);
        // Wakes the thread that accepts.
        let _ = TcpStream::connect(self.address);
        running.thread.join().expect("the endpoint's thread ends");
        for stream in lock(&running.streams).drain().map(|(_, stream)| stream) {
            let _ = stream.shutdown(Shutdown::Both);
        }
    }

    /// Listens again, on the same port.
    pub(crate) fn start(&mut self) {
        if self.running.is_some() {
            return;
        }
        let socket = bound(self.address);
        socket.listen(1024).expect("a bound socket");
        let listener = TcpListener::from(socket);
        let (stopping, streams) = (Arc::new(AtomicBool::new(false)), Arc::new(Mutex::new(HashMap::new())));
        let thread = {
            let (stopping, streams) = (Arc::clone(&stopping), Arc::clone(&streams));
            let (seen, script, tls) = (Arc::clone(&self.seen), Arc::clone(&self.script), self.tls.clone());
            std::thread::spawn(move || {
                while let Ok((stream, _)) = listener.accept() {
                    if stopping.load(Ordering::SeqCst) {
                        return;
                    }
                    let number = seen.connections.fetch_add(1, Ordering::SeqCst);
                    lock(&streams).insert(number, stream.try_clone().expect("a socket"));
                    seen.open.fetch_add(1, Ordering::SeqCst);
                    let (streams, seen, script) = (Arc::clone(&streams), Arc::clone(&seen), Arc::clone(&script));
                    let tls = tls.clone();
                    std::thread::spawn(move || {
                        let mut wire = match tls {
                            None => Wire::new(stream),
                            Some(tls) => {
                                let connection = ServerConnection::new(tls).expect("a configuration");
                                Wire::new(Link::Server(Box::new(StreamOwned::new(connection, stream))))
                            }
                        };
                        // What goes wrong on a connection shows at its other end.
                        let _ = script(&mut wire, &seen);
                        // Closed when the last of the two is.
                        lock(&streams).remove(&number);
                        drop(wire);
                        seen.open.fetch_sub(1, Ordering::SeqCst);
                    });
                }
            })
        };
        self.running = Some(Running { stopping, streams, thread });
    }
}

impl Drop for Endpoint {
    fn drop(&mut self) {
        self.stop();
    }
}

fn serve(wire: &mut Wire, seen: &Arc<Seen>, respond: &(impl Fn(&Message) -> String + ?Sized)) -> io::Result<()> {
    while let Some(head) = wire.read_head()? {
        let body = wire.read_request_body(&head)?;
        seen.bytes.fetch_add(body.data.len() as u64, Ordering::SeqCst);
        let message = Message { head, body };
        if !message.body.is_whole {
            return Ok(());
        }
        seen.note(message.clone());
        let response = respond(&message);
        wire.write(&response)?;
        if Head::parse(response.split("\r\n\r\n").next().unwrap_or_default().as_bytes()).says_close() {
            return Ok(());
        }
    }
    Ok(())
}

/// A response with a text.
pub(crate) fn text(status: u16, body: &str) -> String {
    let length = body.len();
    format!("HTTP/1.1 {status} Whatever\r\nContent-Type: text/plain\r\nContent-Length: {length}\r\n\r\n{body}")
}

/// As [`text`], from an endpoint that closes the connection after it, and says so.
pub(crate) fn last_text(status: u16, body: &str) -> String {
    text(status, body).replacen("\r\n", "\r\nConnection: close\r\n", 1)
}

/// A port that belongs to us and refuses connections.
pub(crate) struct Refusing {
    _socket: Socket,
    /// The address.
    pub(crate) address: SocketAddr,
}

impl Refusing {
    /// Takes a port.
    pub(crate) fn new() -> Self {
        let socket = bound(SocketAddr::from(([127, 0, 0, 1], 0)));
        let address = address_of(&socket);
        Self { _socket: socket, address }
    }
}

/// A gate that blocks its waiters until it is opened, permanently.
#[derive(Clone, Default)]
pub(crate) struct Gate {
    shared: Arc<(Mutex<bool>, Condvar)>,
}

impl Gate {
    /// Releases all waiters.
    pub(crate) fn open(&self) {
        *lock(&self.shared.0) = true;
        self.shared.1.notify_all();
    }

    /// Waits until it is open.
    pub(crate) fn wait(&self) {
        let open = lock(&self.shared.0);
        // Longer than any wait of the test that opens it.
        let waited = self.shared.1.wait_timeout_while(open, 5 * DEADLINE, |open| !*open);
        drop(waited.unwrap_or_else(PoisonError::into_inner));
    }
}

fn bound(address: SocketAddr) -> Socket {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, None).expect("a socket");
    // Connections of the last start may still be in TIME_WAIT.
    socket.set_reuse_address(true).expect("a socket");
    socket.bind(&address.into()).expect("the port is ours");
    socket
}

fn address_of(socket: &Socket) -> SocketAddr {
    socket.local_addr().ok().and_then(|address| address.as_socket()).expect("a bound socket")
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
