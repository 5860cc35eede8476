//! What one connection holds, in each state that a client can bring it to and leave it in.
//!
//! A number of connections is brought to the state, and the process is looked at until it stands still. It may hold what
//! `docs/abuse.md` says for each of them, beside the slack that the allocator gets. Each number is large enough for a
//! connection that holds twice as much to be noticed.

use std::fmt::Write as _;
use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use aws_lc_rs::digest::{SHA1_FOR_LEGACY_USE_ONLY, digest};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use socket2::{Domain, SockRef, Socket, Type};

use crate::raw::*;
use crate::support::{Endpoint, Gate, Proxy, config, get};
use crate::trial::{ENDPOINT_SENDS, SLACK, alone};

const KIB: u64 = 1024;
/// A state is reached when nothing more is taken and held for so long.
const STILL: Duration = Duration::from_millis(700);
const LOOK_EVERY: Duration = Duration::from_millis(20);
/// Longer than any state takes to be reached.
const PATIENCE: Duration = Duration::from_secs(60);

/// Streams of a connection, as many as may run at once.
const STREAMS: u32 = 128;
const ACK: u8 = 1;
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// The largest window there is.
const WIDE: u32 = (1 << 31) - 1;
/// Connections of HTTP/2 that are tried at once.
const CONNECTIONS: usize = 16;

/// What `docs/abuse.md` says of a connection of HTTP/2, in KiB: request heads, request bodies, responses, and the streams
/// themselves.
const HEADS: u64 = 1024;
const WINDOW: u64 = 1024;
const RESPONSES: u64 = 2 * (512 + 128 * 4);
/// A piece on its way to the client of each tunnel; those from it are within its window.
const TUNNELS: u64 = 128 * 16;
/// What an endpoint that speaks HTTP/2 may be ahead of its clients.
const HTTP2_WINDOWS: u64 = 128 * 64;
const BASE: u64 = 128 * 8;

/// A proxy, and endpoints that hang, or answer at length.
struct Scene {
    proxy: Proxy,
    gate: Gate,
    _endpoints: [Endpoint; 3],
}

impl Scene {
    fn new() -> Self {
        let gate = Gate::default();
        let endpoints = [endpoint(&gate), http2_endpoint(false), http2_endpoint(true)];
        let rest = format!(
            "limits = {{ head_timeout = \"60s\" }}\n\
             [[route]]\ncluster = \"app\"\nbody_limit = \"1GiB\"\n\
             [[route]]\npath = \"/two/hang\"\ncluster = \"hangs\"\n\
             [[route]]\npath = \"/two/large\"\ncluster = \"answers\"\n\
             [cluster.app]\nendpoints = [\"{}\"]\n\
             [cluster.hangs]\nprotocol = \"h2\"\nendpoints = [\"{}\"]\n\
             [cluster.answers]\nprotocol = \"h2\"\nendpoints = [\"{}\"]\n",
            endpoints[0].at(),
            endpoints[1].at(),
            endpoints[2].at()
        );
        let proxy = Proxy::start(&config(2, &rest));
        // Buffers and pages that any traffic makes.
        for _ in 0..50 {
            assert_eq!(get(proxy.web(), "/").status(), 200);
        }
        Self { proxy, gate, _endpoints: endpoints }
    }

    /// Brings so many connections to the state that `bytes` lead to, and holds the process to `kib` for each.
    #[track_caller]
    #[allow(clippy::print_stderr, reason = "the figures are half of the purpose")]
    fn expect(&self, name: &str, connections: usize, opened: impl Fn(SocketAddr) -> TcpStream, bytes: &[u8], kib: u64) {
        let before = self.proxy.resident_bytes();
        let mut lines: Vec<_> = (0..connections).map(|_| (opened(self.proxy.web()), 0)).collect();
        let (begun, mut most, mut moved) = (Instant::now(), before, Instant::now());
        while moved.elapsed() < STILL && begun.elapsed() < PATIENCE {
            for (stream, sent) in &mut lines {
                match stream.write(&bytes[*sent..]) {
                    Ok(n) if n > 0 => (*sent, moved) = (*sent + n, Instant::now()),
                    Ok(_) => {}
                    // Whoever is thrown out holds nothing.
                    Err(error) if error.kind() != ErrorKind::WouldBlock => *sent = bytes.len(),
                    Err(_) => {}
                }
            }
            let now = self.proxy.resident_bytes();
            if now > most + 64 * KIB {
                moved = Instant::now();
            }
            most = most.max(now);
            std::thread::sleep(LOOK_EVERY);
        }
        let open = self.proxy.metric("lbproxy_connections", &[]);
        assert!(open >= connections as f64, "{name}: {open} connections are left");
        let (more, bound) = (most - before, connections as u64 * kib * KIB + SLACK);
        eprintln!("{name}: {} KiB each of {connections}, of {kib}", more / KIB / connections as u64);
        assert!(
            more <= bound,
            "{name}: {} KiB more of {}, {connections} times {kib} and slack",
            more / KIB,
            bound / KIB
        );
        drop(lines);
        assert_eq!(self.proxy.metric("lbproxy_panics_total", &[]), 0.0);
    }
}

impl Drop for Scene {
    fn drop(&mut self) {
        self.gate.open();
    }
}

/// Tries one state of a connection of HTTP/1, with a proxy of its own: memory that one state leaves behind another takes.
#[track_caller]
fn http1(name: &str, connections: usize, bytes: &[u8], kib: u64) {
    let opened = |at| {
        let stream = connected(at);
        stream.set_nonblocking(true).unwrap();
        stream
    };
    Scene::new().expect(name, connections, opened, bytes, kib);
}

/// The same of HTTP/2, with windows of this size for what the client takes.
#[track_caller]
fn http2(name: &str, window: u32, bytes: &[u8], kib: u64) {
    Scene::new().expect(name, CONNECTIONS, |at| begun(at, window).unwrap(), bytes, kib);
}

/// A connection whose client has little room for what comes.
fn connected(at: SocketAddr) -> TcpStream {
    let socket = Socket::new(Domain::for_address(at), Type::STREAM, None).unwrap();
    socket.set_recv_buffer_size(2048).unwrap();
    socket.connect(&at.into()).unwrap();
    socket.set_linger(Some(Duration::ZERO)).unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    socket.into()
}

/// Hangs, answers at length, or becomes a tunnel that is filled and not read.
fn endpoint(gate: &Gate) -> Endpoint {
    let gate = gate.clone();
    let large = vec![b'x'; 4 << 20];
    Endpoint::scripted(move |wire, _| {
        SockRef::from(&*wire.stream).set_send_buffer_size(ENDPOINT_SENDS)?;
        while let Some(head) = wire.read_head()? {
            let length = match head.target() {
                "/hang" => {
                    gate.wait();
                    return Ok(());
                }
                "/tunnel" => {
                    let accept = websocket_accept(head.header("sec-websocket-key").unwrap_or_default());
                    wire.write(format!(
                        "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\
                         Sec-WebSocket-Accept: {accept}\r\n\r\n"
                    ))?;
                    wire.write(&large)?;
                    gate.wait();
                    return Ok(());
                }
                "/large" => large.len(),
                "/middling" => 21_000,
                _ => 2,
            };
            wire.write(format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n"))?;
            wire.write(&large[..length])?;
        }
        Ok(())
    })
}

/// The answer to a key (RFC 6455 §4.2.2).
fn websocket_accept(key: &str) -> String {
    let text = format!("{key}258EAFA5-E914-47DA-95CA-C5AB0DC85B11");
    STANDARD.encode(digest(&SHA1_FOR_LEGACY_USE_ONLY, text.as_bytes()))
}

/// An endpoint of HTTP/2 that takes requests, and hangs or answers as far as its windows allow.
fn http2_endpoint(answers: bool) -> Endpoint {
    Endpoint::scripted(move |wire, _| {
        wire.read_exactly(PREFACE.len())?;
        // SETTINGS_MAX_CONCURRENT_STREAMS: 4096.
        wire.write(frame(SETTINGS, 0, 0, &[0, 3, 0, 0, 0x10, 0]))?;
        loop {
            let head = wire.read_exactly(9)?;
            let payload = wire.read_exactly(u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize)?;
            let stream = u32::from_be_bytes([head[5], head[6], head[7], head[8]]);
            match (head[3], head[4] & ACK) {
                (SETTINGS, 0) => wire.write(frame(SETTINGS, ACK, 0, &[]))?,
                (PING, 0) => wire.write(frame(PING, ACK, 0, &payload))?,
                (HEADERS, _) if answers => {
                    // `:status: 200`, and as much as the windows hold that the proxy gives.
                    wire.write(frame(HEADERS, END_HEADERS, stream, &[0x88]))?;
                    (0..4).try_for_each(|_| wire.write(frame(DATA, 0, stream, &[b'x'; 16_000])))?;
                }
                _ => {}
            }
        }
    })
}

/// A connection of HTTP/2 whose client lets each stream send this much, all of them together without end, and reads no more
/// once it knows the proxy's windows.
fn begun(at: SocketAddr, window: u32) -> std::io::Result<TcpStream> {
    let mut stream = connected(at);
    stream.write_all(PREFACE)?;
    stream.write_all(&frame(SETTINGS, 0, 0, &[&[0, 4][..], &window.to_be_bytes()].concat()))?;
    stream.write_all(&frame(WINDOW_UPDATE, 0, 0, &(WIDE - 65_535).to_be_bytes()))?;
    loop {
        let mut head = [0; 9];
        stream.read_exact(&mut head)?;
        let mut payload = vec![0; u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize];
        stream.read_exact(&mut payload)?;
        if head[3] == WINDOW_UPDATE {
            break;
        }
    }
    stream.write_all(&frame(SETTINGS, ACK, 0, &[]))?;
    stream.set_nonblocking(true)?;
    Ok(stream)
}

/// Requests on all streams, with these fields each.
fn requests(path: &str, more: impl Fn(u32) -> Vec<u8>) -> Vec<u8> {
    let head = |n| frame(HEADERS, END_STREAM | END_HEADERS, 2 * n + 1, &[block(&get_fields(path)), more(n)].concat());
    (0..STREAMS).flat_map(head).collect()
}

/// Heads of 31 KiB that take nine octets each: a repeated field is sent as its index in the table.
fn unfolding(path: &str) -> Vec<u8> {
    requests(path, |n| {
        let mut fields = Vec::new();
        if n == 0 {
            // A literal with indexing (RFC 7541 §6.2.1): the first entry of the dynamic table, number 62.
            fields.push(0x40);
            fields.extend_from_slice(&block(&[("x", &"y".repeat(3_900))])[1..]);
        }
        fields.resize(fields.len() + 8 - usize::from(n == 0), 0x80 | 62);
        fields
    })
}

/// The same, sent in full.
fn in_full(path: &str) -> Vec<u8> {
    let mut all = Vec::new();
    for n in 0..STREAMS {
        let mut fields = block(&get_fields(path));
        (0..8).for_each(|k| fields.extend(block(&[("x", &format!("{n} {k} {}", "z".repeat(3_800)))])));
        let (first, rest) = fields.split_at(16_000);
        all.extend(frame(HEADERS, END_STREAM, 2 * n + 1, first));
        all.extend(frame(CONTINUATION, END_HEADERS, 2 * n + 1, rest));
    }
    all
}

/// Bodies of one octet, with trailers of 7 KiB that take a few octets each.
fn unfolding_trailers(path: &str) -> Vec<u8> {
    let fields = block(&[(":method", "POST"), (":scheme", "http"), (":authority", "a"), (":path", path)]);
    let heads = (0..STREAMS).flat_map(|n| frame(HEADERS, END_HEADERS, 2 * n + 1, &fields));
    let bodies = (0..STREAMS).flat_map(|n| {
        let trailers = match n {
            0 => [&[0x40][..], &block(&[("x", &"y".repeat(3_600))])[1..], &[0x80 | 62]].concat(),
            _ => vec![0x80 | 62; 2],
        };
        let trailers = frame(HEADERS, END_STREAM | END_HEADERS, 2 * n + 1, &trailers);
        [frame(DATA, 0, 2 * n + 1, b"u"), trailers].concat()
    });
    heads.chain(bodies).collect()
}

/// Request bodies on all streams, of this many octets each.
fn uploads(path: &str, octets: usize) -> Vec<u8> {
    let fields = block(&[(":method", "POST"), (":scheme", "http"), (":authority", "a"), (":path", path)]);
    let heads = (0..STREAMS).flat_map(|n| frame(HEADERS, END_HEADERS, 2 * n + 1, &fields));
    heads.chain((0..STREAMS).flat_map(|n| frame(DATA, 0, 2 * n + 1, &vec![b'u'; octets]))).collect()
}

#[test]
fn heads_of_http1_cost_what_they_are_long() {
    let _alone = alone();
    let half = format!("GET / HTTP/1.1\r\nHost: a\r\nX: {}", "y".repeat(30_000));
    http1("half a head of 30 000 octets", 500, half.as_bytes(), 64);
    let tiny = format!("GET / HTTP/1.1\r\nHost: a\r\n{}", "a: b\r\n".repeat(97));
    http1("half a head of 98 lines", 1000, tiny.as_bytes(), 16);
}

#[test]
fn bodies_of_http1_cost_a_buffer_on_either_side_and_what_is_kept() {
    let _alone = alone();
    let upload =
        [&b"POST /hang HTTP/1.1\r\nHost: a\r\nContent-Length: 4194304\r\n\r\n"[..], &vec![b'u'; 4 << 20]].concat();
    http1("an upload that is not taken", 100, &upload, 384);
    let mut chunks = String::from("POST /hang HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n");
    (0..65_000).for_each(|_| chunks.push_str("1\r\na\r\n"));
    http1("65 000 chunks of one octet", 50, chunks.as_bytes(), 384);
    let mut trailers =
        String::from("POST /hang HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\n");
    (0..60).for_each(|n| write!(trailers, "x-{n}: {}\r\n", "y".repeat(100)).unwrap());
    http1("half a trailer section", 300, trailers.as_bytes(), 64);
}

#[test]
fn responses_of_http1_that_are_not_read_cost_one_piece() {
    let _alone = alone();
    http1("a download that is not read", 100, b"GET /large HTTP/1.1\r\nHost: a\r\n\r\n", 320);
    let tunnel = "GET /tunnel HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
                  Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
    let tunnel = [tunnel.as_bytes(), &vec![b'u'; 4 << 20]].concat();
    http1("a tunnel that neither side reads", 100, &tunnel, 96);
}

#[test]
fn heads_of_http2_have_one_limit_for_all_streams() {
    let _alone = alone();
    let kib = HEADS + BASE;
    http2("heads that unfold, answers that are not read", 0, &unfolding("/"), kib);
    http2("heads that unfold, no answers", 0, &unfolding("/hang"), kib);
    // Until they are counted, as many as one read gives are there in the form in which they came.
    http2("heads in full", WIDE, &in_full("/hang"), kib + HEADS);
    http2("heads that unfold, to HTTP/2", WIDE, &unfolding("/two/hang"), kib + HEADS);
}

#[test]
fn bodies_of_http2_have_one_limit_for_all_streams() {
    let _alone = alone();
    let kib = WINDOW + RESPONSES + BASE;
    http2("trailers that unfold", WIDE, &unfolding_trailers("/hang"), HEADS + WINDOW + BASE);
    http2("uploads that are not taken", WIDE, &uploads("/hang", 8_000), kib);
    http2("uploads that are not taken, to HTTP/2", WIDE, &uploads("/two/hang", 8_000), kib);
}

#[test]
fn responses_of_http2_have_one_limit_for_all_streams() {
    let _alone = alone();
    let asked = |path| requests(path, |_| Vec::new());
    http2("downloads with wide windows", WIDE, &asked("/large"), RESPONSES + BASE);
    http2("downloads without windows", 0, &asked("/large"), RESPONSES + BASE);
    http2("downloads that stop before their end", 20_480, &asked("/middling"), RESPONSES + BASE);
    http2("downloads from HTTP/2", 0, &asked("/two/large"), HTTP2_WINDOWS + RESPONSES + BASE);
}

#[test]
fn tunnels_of_http2_have_one_limit_for_all_streams() {
    let _alone = alone();
    let mut fields = vec![(":method", "CONNECT"), (":protocol", "websocket")];
    fields.extend([(":scheme", "http"), (":authority", "a"), (":path", "/tunnel"), ("sec-websocket-version", "13")]);
    let heads = (0..STREAMS).flat_map(|n| frame(HEADERS, END_HEADERS, 2 * n + 1, &block(&fields)));
    http2("tunnels that are not read", 0, &heads.collect::<Vec<_>>(), TUNNELS + WINDOW + RESPONSES + BASE);
}
