//! The admin listener: its socket, and the connections that it has room for. What it answers is [`serve::admin`](crate::serve::admin).
//!
//! It has a loop of its own, on the control runtime: it must answer when the workers are at their limits.

use std::fs;
use std::io;
use std::net::SocketAddr;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use lb_config::ListenAddress;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::places::{LastActivity, Places, Spare};
use crate::net::socket::{Listening, Socket};
use crate::net::{Shortage, bind, clock, descriptors};
use crate::observe::once_a_second::OnceASecond;
use crate::serve::admin::{self, AdminState, Client};

/// Concurrent clients that get a 403; each holds its slot for at most a second.
const MAX_REJECTED: usize = 4;

const STRANGER_WAIT: Duration = Duration::from_secs(1);

/// A bound admin listener.
pub(crate) struct Admin {
    socket: Socket,
    actual: ListenAddress,
    /// Of a Unix socket.
    file: Option<SocketFile>,
}

impl Admin {
    /// Binds the address. A Unix socket is made with mode 660; one that a dead process left behind is replaced.
    ///
    /// # Errors
    /// The address is in use or not ours to bind.
    pub(crate) fn bind(address: &ListenAddress) -> io::Result<Self> {
        let (actual, mut sockets) = bind::bind(address, 1, None, Some(0o660))?;
        let file = match address {
            ListenAddress::Tcp(_) => None,
            ListenAddress::Unix(path) => Some(SocketFile::new(path)?),
        };
        let socket = sockets.pop().ok_or(io::ErrorKind::AddrNotAvailable)?;
        Ok(Self { socket, actual, file })
    }

    /// The TCP address bound, with the port that the kernel chose for port 0.
    #[must_use]
    pub(crate) fn local_addr(&self) -> Option<SocketAddr> {
        match &self.actual {
            ListenAddress::Tcp(address) => Some(*address),
            ListenAddress::Unix(_) => None,
        }
    }

    /// Serves until `stop`, then lets requests that run finish for up to five seconds.
    ///
    /// # Errors
    /// The listener cannot be handed to the runtime. A connection's error ends only that connection.
    pub(crate) async fn serve(self, state: Arc<AdminState>, stop: CancellationToken) -> io::Result<()> {
        let listening = Listening::new(self.socket)?;
        accept_loop(&listening, &state, &stop).await;
        // Not before: until now the socket is in use.
        drop(self.file);
        Ok(())
    }
}

async fn accept_loop(listening: &Listening, state: &Arc<AdminState>, stop: &CancellationToken) {
    let mut connections = JoinSet::new();
    let mut places = Places::new(descriptors::admin_places(descriptors::limit()));
    let strangers = Arc::new(Semaphore::new(MAX_REJECTED));
    let mut spare = Spare::default();
    let log = OnceASecond::default();
    spare.refill();
    loop {
        tokio::select! {
            accepted = listening.accept() => match accepted.map(|(stream, peer)| (stream, Client::new(peer))) {
                Ok((stream, client)) if state.may_come(client).is_ok() => {
                    places.make_room(client.address());
                    let last_activity = LastActivity::now();
                    let again = last_activity.clone();
                    let serving =
                        admin::serve(stream, client, Arc::clone(state), stop.clone(), move || again.touch());
                    places.take(client.address(), last_activity, connections.spawn(serving));
                }
                Ok((stream, client)) => {
                    let Ok(place) = Arc::clone(&strangers).try_acquire_owned() else { continue };
                    let serving = admin::serve(stream, client, Arc::clone(state), stop.clone(), || {});
                    connections.spawn(async move {
                        // Told why, or gone: neither is news.
                        drop(tokio::time::timeout(STRANGER_WAIT, serving).await);
                        drop(place);
                    });
                }
                // There is one again, and the client still waits.
                Err(error)
                    if Shortage::of(&error).is_some_and(|lacked| !lacked.is_of_one_destination()) && spare.give() => {}
                Err(error) => {
                    if let Some(unsaid) = log.due(clock::mono()) {
                        let why = Shortage::of(&error).map_or_else(|| error.to_string(), |lacked| lacked.to_string());
                        tracing::warn!("admin listener: cannot accept: {why}{unsaid}");
                    }
                    places.shrink();
                    // Asking again at once would only spin.
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
            },
            Some(ended) = connections.join_next_with_id() => {
                places.leave(ended.map_or_else(|error| error.id(), |(id, ())| id));
                spare.refill();
            }
            () = stop.cancelled() => break,
        }
    }
    while connections.join_next().await.is_some() {}
}

/// The socket's file, removed at the end if it is still the one that we made.
struct SocketFile {
    path: PathBuf,
    inode: (u64, u64),
}

impl SocketFile {
    fn new(path: &Path) -> io::Result<Self> {
        let found = fs::symlink_metadata(path)?;
        Ok(Self { path: path.to_owned(), inode: (found.dev(), found.ino()) })
    }
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        if fs::symlink_metadata(&self.path).is_ok_and(|found| (found.dev(), found.ino()) == self.inode) {
            // Nothing is lost if it stays: the next start replaces it.
            drop(fs::remove_file(&self.path));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
    use tokio::net::{TcpStream, UnixStream};

    use super::*;
    use crate::serve::admin::HEAD_TIMEOUT;
    use crate::serve::admin::tests::state;

    async fn exchange(mut stream: impl AsyncRead + AsyncWrite + Unpin, request: &str) -> String {
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        answer
    }

    fn tcp() -> (Admin, SocketAddr) {
        let admin = Admin::bind(&ListenAddress::Tcp("127.0.0.1:0".parse().unwrap())).unwrap();
        let address = admin.local_addr().unwrap();
        (admin, address)
    }

    #[tokio::test]
    async fn it_serves_over_tcp_and_stops_when_told() {
        let (admin, address) = tcp();
        let stop = CancellationToken::new();
        let serving = tokio::spawn(admin.serve(state(vec![]), stop.clone()));
        let get = format!("GET /healthz HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
        let answer = exchange(TcpStream::connect(address).await.unwrap(), &get).await;
        assert!(answer.starts_with("HTTP/1.1 200 OK\r\n") && answer.ends_with("\r\n\r\nhealthy\n"), "{answer}");
        let head = format!("HEAD /status HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
        let answer = exchange(TcpStream::connect(address).await.unwrap(), &head).await;
        assert!(answer.ends_with("\r\n\r\n"), "{answer}");
        let get = get.replace("/healthz", "/status");
        let answer = exchange(TcpStream::connect(address).await.unwrap(), &get).await;
        assert!(answer.contains("\"generation\": 7"), "{answer}");
        // An idle kept-alive connection does not hold up the end.
        let _idle = TcpStream::connect(address).await.unwrap();
        stop.cancel();
        serving.await.unwrap().unwrap();
        assert!(TcpStream::connect(address).await.is_err());
    }

    /// The clock is the runtime's own and jumps to the next timer when nothing else happens.
    #[tokio::test(start_paused = true)]
    async fn a_slow_client_is_let_go() {
        let (admin, address) = tcp();
        let stop = CancellationToken::new();
        let serving = tokio::spawn(admin.serve(state(vec![]), stop.clone()));
        let began = tokio::time::Instant::now();
        let answer = exchange(TcpStream::connect(address).await.unwrap(), "GET /healthz HTTP/1.1\r\nHo").await;
        assert!(!answer.contains("healthy"), "{answer}");
        assert!(began.elapsed() <= HEAD_TIMEOUT + Duration::from_secs(1), "{:?}", began.elapsed());
        stop.cancel();
        serving.await.unwrap().unwrap();
    }

    #[tokio::test]
    async fn a_unix_socket_has_its_mode_and_is_gone_at_the_end() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("admin.sock");
        // A dead process's socket: bound, then closed without being removed.
        drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
        let address = ListenAddress::Unix(path.clone());
        let admin = Admin::bind(&address).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o660);
        let taken = Admin::bind(&address).err().expect("in use");
        assert_eq!(taken.kind(), io::ErrorKind::AddrInUse);
        let stop = CancellationToken::new();
        let serving = tokio::spawn(admin.serve(state(vec![]), stop.clone()));
        let get = "GET /healthz HTTP/1.1\r\nHost: lb\r\nConnection: close\r\n\r\n";
        let answer = exchange(UnixStream::connect(&path).await.unwrap(), get).await;
        assert!(answer.ends_with("healthy\n"), "{answer}");
        stop.cancel();
        serving.await.unwrap().unwrap();
        assert!(!path.exists());
    }

    #[test]
    fn a_file_that_is_no_socket_is_left_alone() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("precious");
        fs::write(&path, "text").unwrap();
        assert!(Admin::bind(&ListenAddress::Unix(path.clone())).is_err());
        assert_eq!(fs::read_to_string(path).unwrap(), "text");
    }

    #[tokio::test]
    async fn silent_connections_keep_no_other_client_from_an_answer() {
        let (admin, address) = tcp();
        let stop = CancellationToken::new();
        let serving = tokio::spawn(admin.serve(state(vec![]), stop.clone()));
        let mut silent = Vec::new();
        for _ in 0..2 * descriptors::admin_places(descriptors::limit()) {
            silent.push(TcpStream::connect(address).await.unwrap());
        }
        let get = "GET /healthz HTTP/1.1\r\nConnection: close\r\n\r\n";
        let answer = exchange(TcpStream::connect(address).await.unwrap(), get).await;
        assert!(answer.ends_with("healthy\n"), "{answer}");
        // The first ones had to leave.
        assert_eq!(silent[0].read(&mut [0; 16]).await.unwrap_or(0), 0);
        stop.cancel();
        serving.await.unwrap().unwrap();
    }
}
