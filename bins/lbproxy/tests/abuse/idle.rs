//! Ten thousand connections that send one request and then idle.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use socket2::SockRef;

use crate::trial::{Target, Trial};

const CONNECTIONS: usize = 10_000;
/// What is there before these is the beginning: room that the warm-up has left is full by then.
const FEW: usize = 1_000;
/// So many are opened, and wait for their answers, at once.
const AT_ONCE: usize = 100;
/// What one costs: its task with the stage it is at, its socket in the reactor, a timer. It has no buffer.
const BYTES: u64 = 4_608;

/// Connections that have asked once and were answered.
fn opened(at: SocketAddr) -> io::Result<Vec<TcpStream>> {
    let mut streams = Vec::new();
    for _ in 0..AT_ONCE {
        let mut stream = TcpStream::connect(at)?;
        // No port of ours is left in TIME_WAIT.
        SockRef::from(&stream).set_linger(Some(Duration::ZERO))?;
        stream.set_read_timeout(Some(Duration::from_secs(10)))?;
        stream.write_all(b"GET /idle HTTP/1.1\r\nHost: a\r\n\r\n")?;
        streams.push(stream);
    }
    for stream in &mut streams {
        let _ = stream.read(&mut [0; 1024])?;
        stream.set_nonblocking(true)?;
    }
    Ok(streams)
}

/// Opens them all and holds them. `look` is called when only the first thousand are open, and when all are.
fn attack(target: &Target<'_>, look: impl Fn(usize)) {
    let mut streams = Vec::new();
    while streams.len() < CONNECTIONS {
        match opened(target.at) {
            Ok(more) => streams.extend(more),
            Err(error) => {
                target.answers.note(format!("cannot open: {error}"));
                break;
            }
        }
        if streams.len() == FEW {
            look(FEW);
        }
    }
    look(CONNECTIONS);
    target.begin();
    while !target.is_over() {
        std::thread::sleep(Duration::from_millis(20));
    }
    let is_open = |mut stream: &TcpStream| matches!(stream.read(&mut [0; 1024]), Err(error) if error.kind() == ErrorKind::WouldBlock);
    target.answers.note(if streams.iter().all(is_open) { "all stay" } else { "some are closed" });
}

#[test]
#[allow(clippy::print_stderr, reason = "whoever runs the tests should know what was measured, and what not")]
fn ten_thousand_connections_cost_little() {
    let may_open = rlimit::increase_nofile_limit(rlimit::INFINITY).unwrap_or_default();
    if may_open < CONNECTIONS as u64 + 2_000 {
        assert!(!crate::is_required(), "this process may open {may_open} files only (see `ulimit -Hn`)");
        return eprintln!("skipped: this process may open {may_open} files only (see `ulimit -Hn`)");
    }
    // As many to endpoints as to clients would take more files than the gate's machine allows.
    let trial = Trial::limited("ten thousand idle", "", ", connections = 10200, endpoint_connections = 300");
    let held = Mutex::new(Vec::new());
    trial.run(CONNECTIONS as u64 * BYTES, &|target| {
        let is_control = target.at != trial.proxy.web();
        attack(target, |open| {
            if !is_control {
                held.lock().unwrap_or_else(PoisonError::into_inner).push((open, trial.proxy.resident_bytes()));
            }
        });
    });
    trial.expect_answer("all stay");
    assert_eq!(trial.answers.all().len(), 1, "{:?}", trial.answers.all());

    // The first round: in others, room that was used before is used again.
    let held = held.into_inner().unwrap_or_else(PoisonError::into_inner);
    let [(FEW, few), (CONNECTIONS, all), ..] = held[..] else { panic!("{held:?}") };
    let each = all.saturating_sub(few) / (CONNECTIONS - FEW) as u64;
    eprintln!("{each} bytes each");
    assert!(each <= BYTES, "{each} bytes each");
}
