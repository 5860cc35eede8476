//! Where the same attack goes for comparison: a process beside the proxy that accepts, reads and discards.
//!
//! It does what costs the machine, and nothing else: a request for `/large` gets it, as far as it is read, one for
//! `/idle` gets a word and may stay, and all others are closed after a second, the timeout that the proxy has.
//!
//! It is this test program once more, started with an environment variable that selects the sink. A process of its own has descriptors of its
//! own, as the proxy has, and does not share our locks.

use std::io::{BufRead, BufReader, Write};
use std::net::SocketAddr;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::trial::{ENDPOINT_SENDS, LARGE};

const ROLE: &str = "LBPROXY_ABUSE_SINK";
const MARK: &str = "sink at ";

/// A running sink; it ends with us.
pub(crate) struct Sink {
    child: Child,
    _stdin: ChildStdin,
    pub(crate) address: SocketAddr,
}

impl Sink {
    pub(crate) fn start() -> Self {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "sink::accepts_reads_and_discards", "--nocapture"])
            .env(ROLE, "1")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let stdin = child.stdin.take().unwrap();
        let said = BufReader::new(child.stdout.take().unwrap()).lines().map_while(Result::ok);
        // The harness may have begun the line with the name of the test.
        let address = said.into_iter().find_map(|line| line.split_once(MARK)?.1.parse().ok()).unwrap();
        Self { child, _stdin: stdin, address }
    }
}

impl Drop for Sink {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// No test, but the sink; nothing unless asked to be it.
#[test]
fn accepts_reads_and_discards() {
    if std::env::var_os(ROLE).is_none() {
        return;
    }
    let _ = rlimit::increase_nofile_limit(rlimit::INFINITY);
    // The parent holds the other end; when it closes, the sink exits.
    std::thread::spawn(|| {
        let _ = std::io::stdin().lines().count();
        std::process::exit(0);
    });
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        writeln!(std::io::stdout(), "{MARK}{address}").unwrap();
        let large = Arc::new(vec![b'x'; LARGE]);
        loop {
            let Ok((stream, _)) = listener.accept().await else { continue };
            tokio::spawn(take(stream, Arc::clone(&large)));
        }
    });
}

/// As long as the proxy's timeouts here.
const STAY: Duration = Duration::from_secs(1);

async fn take(mut stream: TcpStream, large: Arc<Vec<u8>>) {
    let mut piece = [0; 2048];
    let Ok(Ok(first)) = timeout(STAY, stream.read(&mut piece)).await else { return };
    let is_for = |path: &str| piece[..first].starts_with(format!("GET {path} ").as_bytes());
    if is_for("/idle") {
        if stream.write_all(b"HTTP/1.1 204 No Content\r\n\r\n").await.is_ok() {
            while matches!(stream.read(&mut piece).await, Ok(n) if n > 0) {}
        }
    } else if is_for("/large") {
        // About what the proxy lets the kernel take.
        let _ = socket2::SockRef::from(&stream).set_send_buffer_size(ENDPOINT_SENDS);
        let _ = timeout(STAY, stream.write_all(&large)).await;
        // What was not taken must not wait in the kernel.
        let _ = socket2::SockRef::from(&stream).set_linger(Some(Duration::ZERO));
    } else {
        let _ = timeout(STAY, async { while matches!(stream.read(&mut piece).await, Ok(n) if n > 0) {} }).await;
    }
}
