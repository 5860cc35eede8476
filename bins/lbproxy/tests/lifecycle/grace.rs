//! A shutdown in which not everything finishes.

use std::io::ErrorKind;
use std::time::{Duration, Instant};

use rustix::process::Signal;
use serde_json::Value;

use crate::support::{Client, Endpoint, Gate, Proxy, SWITCHED, WEBSOCKET, Wire, config, wait_until};
use crate::{app, with_one_and_four_workers};

with_one_and_four_workers!(
    what_outlasts_the_grace_period_is_cut_visibly_counted_and_logged,
    a_second_signal_ends_at_once,
    a_tunnel_is_cut_at_the_end_of_the_grace_period,
);

/// `/part` and `/part-to-1.0` answer with a part and go on for ever; others are never answered.
fn endless(gate: &Gate) -> Endpoint {
    let gate = gate.clone();
    Endpoint::on_head(move |wire: &mut Wire, head| {
        if head.target().starts_with("/part") {
            wire.write("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\npart\r\n")?;
        }
        if head.target() == "/ws" {
            wire.write(SWITCHED)?;
        }
        gate.wait();
        Ok(())
    })
}

fn proxy(workers: usize, endpoint: &Endpoint, grace: &str) -> Proxy {
    Proxy::start(&config(workers, &format!("grace = \"{grace}\"\n{}", app(&[&endpoint.at()], ""))))
}

/// The only line of the access log for a path.
#[track_caller]
fn access(stdout: &[String], path: &str) -> Value {
    let lines = stdout.iter().map(|line| serde_json::from_str::<Value>(line).unwrap());
    let mut found: Vec<_> = lines.filter(|line| line["path"] == path).collect();
    assert_eq!(found.len(), 1, "{path}: {stdout:#?}");
    found.remove(0)
}

#[track_caller]
fn expect_log(log: &[String], part: &str) {
    assert!(log.iter().any(|line| line.contains(part)), "{part}: {log:#?}");
}

fn what_outlasts_the_grace_period_is_cut_visibly_counted_and_logged(workers: usize) {
    let gate = Gate::default();
    let endpoint = endless(&gate);
    let proxy = proxy(workers, &endpoint, "300ms");
    let web = proxy.web();
    let mut waiting = Client::connect(web);
    waiting.send("GET /waiting HTTP/1.1\r\nHost: a\r\n\r\n");
    wait_until("the request to arrive", || endpoint.requests() == 1);
    let mut chunked = Client::connect(web);
    chunked.send("GET /part HTTP/1.1\r\nHost: a\r\n\r\n");
    chunked.read_through(b"part\r\n").unwrap();
    let mut plain = Client::connect(web);
    plain.send("GET /part-to-1.0 HTTP/1.0\r\nHost: a\r\n\r\n");
    plain.read_through(b"part").unwrap();
    let mut upload = Client::connect(web);
    upload.send("POST /upload HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\n\r\nhalf");
    wait_until("the upload to arrive", || endpoint.requests() == 4);

    let start = Instant::now();
    proxy.signal(Signal::TERM);
    let exit = proxy.ended(start);
    assert_eq!(exit.code, Some(4), "{:#?}", exit.log);
    assert!(exit.took >= Duration::from_millis(300), "{:?}", exit.took);
    expect_log(&exit.log, "stopped: the grace period of 300ms is over; requests cut: 4");

    assert!(waiting.is_closed_silently());
    assert!(upload.is_closed_silently());
    assert!(chunked.is_closed_silently(), "the last chunk did not come");
    // Where only the end of the connection ends the body, only a reset tells that this was not the end.
    assert_eq!(plain.read_to_end().unwrap_err().kind(), ErrorKind::ConnectionReset);

    for (path, status) in [("/waiting", 503), ("/upload", 503), ("/part", 200), ("/part-to-1.0", 200)] {
        let line = access(&exit.stdout, path);
        assert_eq!((&line["status"], &line["cause"]), (&status.into(), &"shutting_down".into()), "{line}");
        assert_eq!(line["endpoint"], endpoint.at(), "{line}");
    }
    gate.open();
}

fn a_second_signal_ends_at_once(workers: usize) {
    for (first, second) in [(Signal::TERM, Signal::TERM), (Signal::INT, Signal::INT), (Signal::TERM, Signal::INT)] {
        let gate = Gate::default();
        let endpoint = endless(&gate);
        let proxy = proxy(workers, &endpoint, "1h");
        let mut waiting = Client::connect(proxy.web());
        waiting.send("GET /waiting HTTP/1.1\r\nHost: a\r\n\r\n");
        wait_until("the request to arrive", || endpoint.requests() == 1);
        proxy.signal(first);
        proxy.wait_log("stopping: ");
        // Other orders come too late.
        proxy.signal(Signal::HUP);
        proxy.signal(Signal::USR1);
        wait_until("the shutdown to begin", || proxy.ask_admin("/healthz").status() == 503);
        let start = Instant::now();
        proxy.signal(second);
        let exit = proxy.ended(start);
        assert_eq!(exit.code, Some(4), "{:#?}", exit.log);
        assert!(exit.took < Duration::from_secs(10), "{:?}", exit.took);
        expect_log(&exit.log, "stopped at once by a second signal; requests cut: 1");
        assert!(waiting.is_closed_silently());
        assert_eq!(access(&exit.stdout, "/waiting")["cause"], "shutting_down", "the last lines are written");
        gate.open();
    }
}

fn a_tunnel_is_cut_at_the_end_of_the_grace_period(workers: usize) {
    let gate = Gate::default();
    let endpoint = endless(&gate);
    let proxy = proxy(workers, &endpoint, "200ms");
    let mut client = Client::connect(proxy.web());
    client.send(format!("GET /ws HTTP/1.1\r\nHost: a\r\n{WEBSOCKET}\r\n"));
    assert_eq!(client.read_head().unwrap().unwrap().status(), 101);
    let start = Instant::now();
    proxy.signal(Signal::TERM);
    let exit = proxy.ended(start);
    assert_eq!(exit.code, Some(4), "{:#?}", exit.log);
    expect_log(&exit.log, "requests cut: 1");
    assert!(client.is_closed_silently());
    let line = access(&exit.stdout, "/ws");
    assert_eq!((&line["status"], &line["cause"]), (&101.into(), &"shutting_down".into()), "{line}");
    gate.open();
}
