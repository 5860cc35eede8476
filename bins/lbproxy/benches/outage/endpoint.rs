//! Scripted endpoints that change what they do while they are asked.
//!
//! The endpoints of the tests serve one scenario each; these change over, keep their port while they do, and cost little,
//! since dozens of them share one thread with the load.

use std::cell::RefCell;
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::{Duration, Instant};

use socket2::SockRef;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::watch;
use tokio::task::{JoinHandle, spawn_local};
use tokio::time::sleep;

use crate::programs::Ports;

/// What active checks ask for.
pub(crate) const CHECK_PATH: &str = "/healthz";

/// How long a request takes at an endpoint that is well; 20 times that is more than the second that counts as slow.
pub(crate) const SERVICE_TIME: Duration = Duration::from_millis(60);
const SLOW_SERVICE_TIME: Duration = Duration::from_millis(1_200);

/// What an endpoint does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mode {
    /// Answers 200 after [`SERVICE_TIME`].
    Well,
    /// The process is gone: open connections are reset, new ones refused.
    Down,
    /// The process is stopped: connections are established, and answered when it runs again.
    Stopped,
    /// The machine is gone: neither a SYN nor a request is answered.
    Unreachable,
    /// 500 to every request; checks pass.
    Fails,
    /// 500 to every other request, at random; checks pass.
    FailsHalf,
    /// Everything, checks included, takes 20 times as long.
    Slow,
    /// Accepts, reads, and closes without an answer.
    Closes,
    /// 429 with `Retry-After` to every other request, at random; checks pass.
    BusyHalf,
    /// Closes in the middle of the body; checks pass.
    Cuts,
}

/// A scripted endpoint; it ends when dropped.
pub(crate) struct Endpoint {
    mode: watch::Sender<Mode>,
    requests: Rc<RefCell<Vec<Instant>>>,
    listening: JoinHandle<()>,
}

impl Endpoint {
    /// Listens, unless it is down, at a port that is ours for as long as the `Ports` live.
    pub(crate) fn start(address: SocketAddr, mode: Mode) -> Self {
        let (sender, receiver) = watch::channel(mode);
        let requests = Rc::new(RefCell::new(Vec::new()));
        // Listens before this returns, so that no proxy is refused by an endpoint that is well.
        let listener = (mode != Mode::Down).then(|| listen(address).expect("the port is ours"));
        let listening = spawn_local(accept(address, listener, receiver, Rc::clone(&requests)));
        Self { mode: sender, requests, listening }
    }

    /// So many of them, at ports of their own.
    pub(crate) fn start_all(ports: &Ports, mode: impl Fn(usize) -> Mode) -> Vec<Self> {
        (0..ports.count()).map(|number| Self::start(ports.at(number), mode(number))).collect()
    }

    /// Changes over, open connections included.
    pub(crate) fn turn(&self, mode: Mode) {
        self.mode.send_replace(mode);
    }

    /// When it read each request, checks left out.
    pub(crate) fn requests(&self) -> Vec<Instant> {
        self.requests.borrow().clone()
    }
}

impl Drop for Endpoint {
    fn drop(&mut self) {
        self.listening.abort();
    }
}

const BACKLOG: u32 = 1024;

fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = TcpSocket::new_v4()?;
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

async fn accept(
    address: SocketAddr,
    mut listener: Option<TcpListener>,
    mut mode: watch::Receiver<Mode>,
    requests: Rc<RefCell<Vec<Instant>>>,
) {
    loop {
        let now = *mode.borrow_and_update();
        if now == Mode::Down {
            listener = None;
        } else if listener.is_none() {
            listener = Some(listen(address).expect("the port is ours"));
        }
        let changed = match &listener {
            None => mode.changed().await,
            Some(listener) if now == Mode::Unreachable => drop_syns(listener, address, &mut mode).await,
            Some(listener) => tokio::select! {
                changed = mode.changed() => changed,
                accepted = listener.accept() => {
                    if let Ok((stream, _)) = accepted {
                        spawn_local(serve(stream, mode.clone(), Rc::clone(&requests)));
                    }
                    Ok(())
                }
            },
        };
        if changed.is_err() {
            return;
        }
    }
}

/// Has the kernel drop every SYN until the mode changes: the backlog is cut to nothing and then filled.
async fn drop_syns(
    listener: &TcpListener,
    address: SocketAddr,
    mode: &mut watch::Receiver<Mode>,
) -> Result<(), watch::error::RecvError> {
    let socket = SockRef::from(listener);
    socket.listen(0).expect("it listens");
    // Its backlog of nothing holds one connection.
    let filling = TcpSocket::new_v4().expect("a socket").connect(address);
    let filling = tokio::time::timeout(Duration::from_secs(1), filling).await;
    let changed = mode.changed().await;
    socket.listen(BACKLOG as i32).expect("it listens");
    drop(filling);
    changed
}

async fn serve(mut stream: TcpStream, mut mode: watch::Receiver<Mode>, requests: Rc<RefCell<Vec<Instant>>>) {
    let mut dies = mode.clone();
    let is_dead = dies.wait_for(|mode| *mode == Mode::Down);
    tokio::select! {
        _ = is_dead => {
            // Dropped, the socket would say FIN where it has read all, and a dead process's kernel RST to what comes.
            let _ = SockRef::from(&stream).set_linger(Some(Duration::ZERO));
        }
        // What goes wrong on a connection shows at its other end.
        _ = answer(&mut stream, &mut mode, &requests) => {}
    }
}

async fn answer(
    stream: &mut TcpStream,
    mode: &mut watch::Receiver<Mode>,
    requests: &RefCell<Vec<Instant>>,
) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let mut head = Vec::new();
    loop {
        head.clear();
        while !head.ends_with(b"\r\n\r\n") {
            if stream.read_buf(&mut head).await? == 0 {
                return Ok(());
            }
        }
        let text = String::from_utf8_lossy(&head);
        let is_check = text.split(' ').nth(1) == Some(CHECK_PATH);
        if !is_check {
            requests.borrow_mut().push(Instant::now());
        }
        let now = *mode
            .wait_for(|mode| !matches!(mode, Mode::Stopped | Mode::Unreachable))
            .await
            .map_err(io::Error::other)?;
        if now == Mode::Closes {
            return Ok(());
        }
        sleep(if now == Mode::Slow { SLOW_SERVICE_TIME } else { SERVICE_TIME }).await;
        let is_last = text.contains(" HTTP/1.0\r\n") || text.to_ascii_lowercase().contains("\r\nconnection: close\r\n");
        stream.write_all(response(now, is_check, is_last).as_bytes()).await?;
        if is_last || (now == Mode::Cuts && !is_check) {
            return Ok(());
        }
    }
}

fn response(mode: Mode, is_check: bool, is_last: bool) -> String {
    let (status, headers, length) = match mode {
        _ if is_check => ("200 OK", "", 2),
        Mode::Fails => ("500 Internal Server Error", "", 2),
        Mode::FailsHalf if fastrand::bool() => ("500 Internal Server Error", "", 2),
        Mode::BusyHalf if fastrand::bool() => ("429 Too Many Requests", "Retry-After: 1\r\n", 2),
        Mode::Cuts => ("200 OK", "", 2_000),
        _ => ("200 OK", "", 2),
    };
    let close = if is_last { "Connection: close\r\n" } else { "" };
    format!("HTTP/1.1 {status}\r\nContent-Type: text/plain\r\n{headers}{close}Content-Length: {length}\r\n\r\nok")
}
