//! The clients: each a thread that asks at its pace, and tells what became of each request.

use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rustls::ClientConfig;

use crate::raw::{self, DATA, END_HEADERS, END_STREAM, GO_AWAY, HEADERS, RST_STREAM, Raw};
use crate::scene::Scene;
use crate::support::{Client, Wire};

/// Requests on one connection. Resumptions, handshakes and closes belong to the load.
const PER_CONNECTION: usize = 100;
/// Streams at once on a connection of HTTP/2.
const STREAMS: usize = 4;
const BODY: [u8; 1024] = [b'x'; 1024];
/// `:status: 200` in the static table of HPACK (RFC 7541, appendix A).
const STATUS_200: u8 = 0x88;

/// What one thread asks over.
#[derive(Clone)]
enum Kind {
    Kept,
    Fresh,
    Tls(Arc<ClientConfig>),
    H2,
    H2Tls(Arc<ClientConfig>),
}

impl Kind {
    fn name(&self) -> &'static str {
        match self {
            Self::Kept => "HTTP/1 kept",
            Self::Fresh => "HTTP/1 closed",
            Self::Tls(_) => "HTTP/1 over TLS",
            Self::H2 => "HTTP/2",
            Self::H2Tls(_) => "HTTP/2 over TLS",
        }
    }

    /// Requests it has under way at once.
    fn at_once(&self) -> usize {
        if matches!(self, Self::H2 | Self::H2Tls(_)) { STREAMS } else { 1 }
    }
}

/// Clients at work.
pub(crate) struct Crowd {
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<()>>,
}

#[derive(Default)]
struct Shared {
    stop: AtomicBool,
    done: AtomicUsize,
    /// The time from one request of a thread to its next, nanoseconds; 0 is no pause.
    pause: AtomicU64,
    report: Mutex<Report>,
}

/// What became of the requests.
#[derive(Default)]
pub(crate) struct Report {
    by_kind: BTreeMap<&'static str, usize>,
    pub(crate) failures: Vec<String>,
}

impl Report {
    pub(crate) fn answered(&self) -> usize {
        self.by_kind.values().sum()
    }

    /// Whether every kind of client had answers.
    pub(crate) fn is_complete(&self) -> bool {
        self.by_kind.len() == 5
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} requests answered, {} failed; {:?}", self.answered(), self.failures.len(), self.by_kind)?;
        self.failures.iter().take(20).try_for_each(|failure| write!(f, "\n  {failure}"))
    }
}

impl Crowd {
    pub(crate) fn start(scene: &Scene) -> Self {
        let (tls, h2_tls) = (Kind::Tls(scene.client("http/1.1")), Kind::H2Tls(scene.client("h2")));
        let kinds = [Kind::Kept, Kind::Kept, Kind::Fresh, tls.clone(), tls, Kind::H2, h2_tls];
        let shared = Arc::new(Shared::default());
        let threads = kinds.map(|kind| {
            let at = if matches!(kind, Kind::Tls(_) | Kind::H2Tls(_)) { scene.secured() } else { scene.plain() };
            let shared = Arc::clone(&shared);
            std::thread::spawn(move || shared.work(&kind, at))
        });
        Self { shared, threads: threads.into() }
    }

    /// Requests that are over.
    pub(crate) fn requests(&self) -> usize {
        self.shared.done.load(Ordering::Relaxed)
    }

    /// From now on so many requests a second, all threads together.
    pub(crate) fn pace(&self, a_second: f64) {
        let pause = self.threads.len() as f64 / a_second.max(1.0);
        self.shared.pause.store((pause * 1e9) as u64, Ordering::Relaxed);
    }

    pub(crate) fn stop(self) -> Report {
        self.shared.stop.store(true, Ordering::Relaxed);
        for thread in self.threads {
            thread.join().expect("a client does not panic");
        }
        std::mem::take(&mut *self.shared.report.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Shared {
    fn work(&self, kind: &Kind, at: SocketAddr) {
        let mut next = Instant::now();
        let mut turn = 0;
        let begun = Instant::now();
        while !self.stop.load(Ordering::Relaxed) {
            let mut left = PER_CONNECTION;
            let served = connected(kind, at).and_then(|mut line| {
                while left > 0 && !self.stop.load(Ordering::Relaxed) {
                    let pause = Duration::from_nanos(self.pause.load(Ordering::Relaxed));
                    // Late is late: nothing is made up for.
                    next = (next + pause * kind.at_once() as u32).max(Instant::now());
                    std::thread::sleep(next.saturating_duration_since(Instant::now()));
                    let refused = line.ask(turn)?;
                    turn += 1;
                    left -= kind.at_once().min(left);
                    self.note(kind, refused.map(|said| format!("{said} after {:?}", begun.elapsed())));
                    if matches!(kind, Kind::Fresh) {
                        break;
                    }
                }
                Ok(())
            });
            if let Err(error) = served {
                self.note(kind, Some(format!("{error} after {:?}", begun.elapsed())));
            }
        }
    }

    fn note(&self, kind: &Kind, failure: Option<String>) {
        let mut report = self.report.lock().unwrap_or_else(PoisonError::into_inner);
        match failure {
            None => *report.by_kind.entry(kind.name()).or_default() += kind.at_once(),
            Some(said) => report.failures.push(format!("{}: {said}", kind.name())),
        }
        self.done.fetch_add(kind.at_once(), Ordering::Relaxed);
    }
}

/// An open connection.
enum Line {
    One(Wire, bool),
    Many(Raw, u32),
}

fn connected(kind: &Kind, at: SocketAddr) -> io::Result<Line> {
    let wire = match kind {
        Kind::Tls(config) | Kind::H2Tls(config) => Client::try_tls(at, "a.test", config)?.into_wire(),
        _ => Wire::new(TcpStream::connect(at)?),
    };
    Ok(match kind {
        Kind::H2 | Kind::H2Tls(_) => Line::Many(Raw::over(wire), 1),
        _ => Line::One(wire, matches!(kind, Kind::Fresh)),
    })
}

impl Line {
    /// Asks once, or as many times as there are streams; what went wrong, if something did.
    fn ask(&mut self, turn: usize) -> io::Result<Option<String>> {
        match self {
            Self::One(wire, closes) => ask_one(wire, *closes, turn),
            Self::Many(raw, first) => ask_many(raw, first, turn),
        }
    }
}

/// Which request it is this time: method and path. PUT has a body, and may be retried as GET may.
fn request(turn: usize) -> (&'static str, &'static str) {
    match turn % 8 {
        1 | 5 => ("PUT", "/put"),
        3 => ("GET", "/slow"),
        _ => ("GET", "/get"),
    }
}

fn ask_one(wire: &mut Wire, closes: bool, turn: usize) -> io::Result<Option<String>> {
    let (method, path) = request(turn);
    let close = if closes { "Connection: close\r\n" } else { "" };
    let length = if method == "PUT" { format!("Content-Length: {}\r\n", BODY.len()) } else { String::new() };
    let mut message = format!("{method} {path} HTTP/1.1\r\nHost: a.test\r\n{close}{length}\r\n").into_bytes();
    if method == "PUT" {
        message.extend_from_slice(&BODY);
    }
    wire.write(message)?;
    let answer = wire.read_response(method)?;
    let is_good = answer.status() == 200 && answer.body.is_whole;
    Ok((!is_good).then(|| format!("{method} {path}: {:?} {}", answer.head, answer.text())))
}

fn ask_many(raw: &mut Raw, first: &mut u32, turn: usize) -> io::Result<Option<String>> {
    for at in 0..STREAMS {
        let stream = *first + 2 * at as u32;
        let (method, path) = request(turn + at);
        let fields = [(":method", method), (":scheme", "http"), (":authority", "a.test"), (":path", path)];
        let ends = if method == "PUT" { 0 } else { END_STREAM };
        raw.try_send(HEADERS, ends | END_HEADERS, stream, &raw::block(&fields))?;
        if method == "PUT" {
            raw.try_send(DATA, END_STREAM, stream, &BODY)?;
        }
    }
    *first += 2 * STREAMS as u32;
    let mut left = STREAMS;
    while left > 0 {
        let frame = raw.frame().ok_or(io::ErrorKind::UnexpectedEof)?;
        match frame.kind {
            HEADERS if !frame.payload.contains(&STATUS_200) => return Ok(Some(format!("{frame:?}"))),
            RST_STREAM | GO_AWAY => return Ok(Some(format!("{frame:?}"))),
            HEADERS | DATA if frame.flags & END_STREAM != 0 => left -= 1,
            _ => {}
        }
    }
    Ok(None)
}
