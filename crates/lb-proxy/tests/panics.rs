//! What a bug costs: one connection.
//!
//! Nothing that a client or an endpoint can send is known to make the proxy panic, so the bug is brought along: a log that panics when it
//! is told of a limited request, in the midst of serving it.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fmt;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use lb_config::{Config, ListenAddress};
use lb_proxy::Engine;
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Metadata, Subscriber};

/// What was logged.
static LOG: Mutex<Vec<String>> = Mutex::new(Vec::new());

struct Buggy;

struct Words(String);

impl Visit for Words {
    fn record_debug(&mut self, _: &Field, value: &dyn fmt::Debug) {
        self.0 += &format!("{value:?} ");
    }
}

impl Subscriber for Buggy {
    fn enabled(&self, _: &Metadata<'_>) -> bool {
        true
    }

    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn event(&self, event: &Event<'_>) {
        let mut words = Words(String::new());
        event.record(&mut words);
        let is_bug = words.0.contains("limiting requests");
        log().push(words.0);
        assert!(!is_bug, "told of a limited request");
    }

    fn enter(&self, _: &Id) {}

    fn exit(&self, _: &Id) {}
}

fn log() -> std::sync::MutexGuard<'static, Vec<String>> {
    LOG.lock().unwrap_or_else(PoisonError::into_inner)
}

fn connect(address: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    stream
}

/// The status of the answer, or that there is none.
fn ask(stream: &mut TcpStream, path: &str) -> Option<u16> {
    stream.write_all(format!("GET {path} HTTP/1.1\r\nHost: a\r\n\r\n").as_bytes()).ok()?;
    let mut answer = Vec::new();
    while !answer.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        stream.read_exact(&mut byte).ok()?;
        answer.push(byte[0]);
    }
    std::str::from_utf8(answer.get(9..12)?).ok()?.parse().ok()
}

#[test]
fn a_panic_costs_one_connection_is_counted_and_logged_and_the_worker_serves_on() {
    tracing::subscriber::set_global_default(Buggy).unwrap();
    let text = "workers = 1\nlog.access = \"off\"\n[[listener]]\naddress = \"127.0.0.1:0\"\n\
                [[route]]\npath = \"/limited\"\nrate_limit = { rate = \"1/h\" }\ncluster = \"empty\"\n\
                [[route]]\nrespond = { status = 204 }\n[cluster.empty]\nendpoints = []\n";
    let config = Config::parse(text, &|_| None).unwrap_or_else(|errors| panic!("{errors}")).config;
    let engine = Engine::start(config).unwrap();
    let [(_, ListenAddress::Tcp(address))] = engine.listeners()[..] else { panic!("one listener") };
    let mut bystander = connect(address);
    assert_eq!(ask(&mut bystander, "/"), Some(204));

    let mut victim = connect(address);
    assert_eq!(ask(&mut victim, "/limited"), Some(503));
    let mut victim = connect(address);
    assert_eq!(ask(&mut victim, "/limited"), None, "the bug has struck");

    assert_eq!(ask(&mut bystander, "/"), Some(204), "the same worker has only lost the other connection");
    assert_eq!(ask(&mut connect(address), "/"), Some(204));
    let metrics = engine.metrics().encode(&engine.status());
    assert!(metrics.contains("\nlbproxy_panics_total 1\n"), "{metrics}");
    let lost = format!(
        "panic while serving a connection, connection closed client={} panic=told of a limited request",
        victim.local_addr().unwrap()
    );
    assert!(log().iter().any(|line| line.contains(&lost)), "{:?}", log());
    drop(bystander);
    // The connection is given back, and with it its request: nothing is left to be cut.
    let start = Instant::now();
    assert_eq!(engine.shutdown(Duration::from_secs(20)), 0);
    assert!(start.elapsed() < Duration::from_secs(10));
}
