//! Attacks by connections that are held open, and get a little now and then.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use socket2::{Domain, SockRef, Socket, Type};

use crate::answers::status;
use crate::requests::secured;
use crate::trial::{LARGE, Target, Trial};

/// Between two looks at connections.
const TICK: Duration = Duration::from_millis(20);
/// Each connection is looked at, and gets a little, every so many ticks. In as many all of them are opened: what is done
/// to all at once shows how fast the machine is, and not whether a connection is stalled.
const TURNS: usize = 10;
/// How long a phase is followed by a wait for the first that is thrown out.
const PATIENCE: Duration = Duration::from_secs(5);

/// So many connections that begin with `first` and get `drip` now and then. Whoever is thrown out comes again.
struct Held {
    connections: usize,
    first: &'static [u8],
    drip: &'static [u8],
    /// Reads what comes; otherwise it is left where it is, in as little room as can be had.
    reads: bool,
}

struct Line {
    stream: TcpStream,
    read: Vec<u8>,
}

impl Held {
    fn open(&self, at: SocketAddr) -> io::Result<Line> {
        let socket = Socket::new(Domain::for_address(at), Type::STREAM, None)?;
        if !self.reads {
            socket.set_recv_buffer_size(2048)?;
        }
        socket.connect(&at.into())?;
        // No port of ours is left in TIME_WAIT.
        socket.set_linger(Some(Duration::ZERO))?;
        socket.set_nonblocking(true)?;
        let mut stream = TcpStream::from(socket);
        stream.write_all(self.first)?;
        Ok(Line { stream, read: Vec::new() })
    }

    fn attack(&self, target: &Target<'_>) {
        let mut turns: [Vec<Line>; TURNS] = Default::default();
        target.begin();
        let mut patience = None;
        let mut over = 0;
        for turn in (0..TURNS).cycle() {
            let lines = &mut turns[turn];
            if target.is_over() {
                // One that was opened late has not had its time.
                let until = *patience.get_or_insert_with(|| Instant::now() + PATIENCE);
                if over > 0 || Instant::now() >= until {
                    return;
                }
            } else {
                while lines.len() < self.connections / TURNS {
                    match self.open(target.at) {
                        Ok(line) => lines.push(line),
                        Err(error) => return target.answers.note(format!("cannot connect: {error}")),
                    }
                }
            }
            lines.retain_mut(|line| {
                let is_over = self.drip_into(line);
                if is_over {
                    over += 1;
                    target.answers.note(status(&line.read));
                }
                !is_over
            });
            std::thread::sleep(TICK);
        }
    }

    /// Whether the other side has closed it.
    fn drip_into(&self, line: &mut Line) -> bool {
        if !self.drip.is_empty() {
            // A connection that is closed says so when it is read.
            let _ = line.stream.write(self.drip);
        }
        if !self.reads {
            return SockRef::from(&line.stream).take_error().is_ok_and(|error| error.is_some());
        }
        let mut piece = [0; 1024];
        loop {
            match line.stream.read(&mut piece) {
                Ok(0) => return true,
                Ok(n) => line.read.extend_from_slice(&piece[..n]),
                Err(error) => return error.kind() != ErrorKind::WouldBlock,
            }
        }
    }
}

fn try_held(trial: &Trial, held: &Held, bytes_a_connection: u64) {
    trial.run(held.connections as u64 * bytes_a_connection, &|target| held.attack(target));
}

/// A head is kept in the buffer that it is read into, 4 KiB for a small one, beside what a connection costs, and has
/// `head_timeout` to come whole.
#[test]
fn slow_heads_are_answered_408() {
    let trial = Trial::new("slow heads", "");
    let first = b"GET / HTTP/1.1\r\nHost: a\r\n";
    try_held(&trial, &Held { connections: 500, first, drip: b"X-A: b\r\n", reads: true }, 16 << 10);
    trial.expect_answer("408");
    trial.expect_metric("lbproxy_requests_total", &["code=\"408\""]);
}

/// Each has a connection to an endpoint as well, and a buffer for either.
#[test]
fn slow_bodies_are_answered_408() {
    let trial = Trial::new("slow bodies", "");
    let first = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000\r\n\r\nx";
    try_held(&trial, &Held { connections: 200, first, drip: b"", reads: true }, 32 << 10);
    trial.expect_answer("408");
    trial.expect_metric("lbproxy_requests_total", &["code=\"408\""]);
}

/// What was read of an answer and not taken is one piece, of 256 KiB at most; and a piece is no more than that while it
/// moves from one buffer to the next.
pub(crate) const PIECE: u64 = 256 << 10;

#[test]
fn readers_that_do_not_read_are_cut() {
    const { assert!(LARGE > 8 << 20) };
    let trial = Trial::new("slow readers", "");
    let first = b"GET /large HTTP/1.1\r\nHost: a\r\n\r\n";
    try_held(&trial, &Held { connections: 50, first, drip: b"", reads: false }, PIECE);
    trial.expect_answer("closed");
    trial.proxy.wait_access(|line| line["path"] == "/large" && line["cause"] == "idle_timeout");
}

/// The first part of a handshake and nothing more: rustls keeps what is to be agreed on.
#[test]
fn handshakes_that_do_not_end_are_closed() {
    let directory = tempfile::tempdir().unwrap();
    let trial = Trial::new("unfinished handshakes", &secured(directory.path()));
    // The head of a record that announces 512 octets, and no more.
    let first = b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03";
    try_held(&trial, &Held { connections: 500, first, drip: b"\x00", reads: true }, 16 << 10);
    trial.expect_answer("closed");
    trial.expect_metric("lbproxy_tls_handshakes_total", &["result=\"timeout\""]);
}
