//! A shutdown in which everything can finish.

use std::io::ErrorKind;
use std::net::{SocketAddr, TcpStream};
use std::time::Instant;

use rustix::process::Signal;

use crate::support::{Client, Endpoint, Gate, Proxy, Wire, config, get, wait_until};
use crate::{Held, app, with_one_and_four_workers};

with_one_and_four_workers!(
    what_runs_is_finished_and_nothing_new_begins,
    an_interrupt_is_an_order_to_stop_too,
    a_request_on_a_connection_just_made_is_answered,
    a_successor_can_take_the_port_while_requests_finish,
);

fn is_refused(address: SocketAddr) -> bool {
    TcpStream::connect(address).is_err_and(|error| error.kind() == ErrorKind::ConnectionRefused)
}

/// `/events` sends one event, and a last one when the gate opens; `/upload` says how much came.
fn streaming(gate: &Gate) -> Endpoint {
    let gate = gate.clone();
    Endpoint::on_head(move |wire: &mut Wire, head| {
        if head.target() == "/events" {
            wire.write("HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n")?;
            wire.write_chunk("data: first\n\n")?;
            gate.wait();
            wire.write_chunk("data: last\n\n")?;
            return wire.write_chunk("");
        }
        let length = wire.read_request_body(&head)?.data.len().to_string();
        wire.write(format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{length}", length.len()))
    })
}

fn what_runs_is_finished_and_nothing_new_begins(workers: usize) {
    let held = Held::named("late");
    let streaming = streaming(&held.gate);
    let routes = format!(
        "grace = \"1h\"\n[[route]]\npath = \"/\"\ncluster = \"app\"\n[[route]]\npath = \"~^/(events|upload)$\"\ncluster = \"streaming\"\n\
         [cluster.app]\nendpoints = [\"{}\"]\n[cluster.streaming]\nendpoints = [\"{}\"]\n",
        held.at(),
        streaming.at()
    );
    let proxy = Proxy::start(&config(workers, &routes));
    let web = proxy.web();
    let mut idle = Client::connect(web);
    idle.get("/");
    let mut running = held.ask(Client::connect(web), "/held");
    let mut events = Client::connect(web);
    events.send("GET /events HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_eq!(events.read_head().unwrap().unwrap().status(), 200);
    assert_eq!(events.read_chunk().unwrap().unwrap(), b"data: first\n\n");
    let mut upload = Client::connect(web);
    upload.send("POST /upload HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\nhalf.");
    wait_until("the upload to arrive", || streaming.requests() == 2);
    assert_eq!(proxy.ask_admin("/healthz").status(), 200);

    let start = Instant::now();
    proxy.signal(Signal::TERM);
    assert!(idle.is_closed_silently(), "an idle connection closes at once");
    wait_until("new connections to be refused", || is_refused(web));
    let health = proxy.ask_admin("/healthz");
    assert_eq!((health.status(), health.text().as_str()), (503, "shutting down\n"));
    assert_eq!(proxy.endpoint("app", &held.at())["in_flight"], 1, "the admin listener still tells");

    upload.send("rest!");
    let answer = upload.answer("POST");
    assert_eq!((answer.status(), answer.text().as_str(), answer.head.says_close()), (200, "10", true));
    held.gate.open();
    let answer = running.answer("GET");
    assert_eq!((answer.status(), answer.text().as_str(), answer.head.says_close()), (200, "late", true));
    assert_eq!(events.read_chunk().unwrap().unwrap(), b"data: last\n\n");
    assert_eq!(events.read_chunk().unwrap(), None);
    drop((running, events, upload));
    let exit = proxy.ended(start);
    assert_eq!(exit.code, Some(0), "{:#?}", exit.log);
    assert!(exit.log.iter().any(|line| line.contains("stopped: every request was finished")), "{:#?}", exit.log);
    for path in ["/held", "/events", "/upload"] {
        let lines = exit.access(|line| line["path"] == path && line["status"] == 200 && line["cause"].is_null());
        assert_eq!(lines.len(), 1, "{path}: {:#?}", exit.stdout);
    }
}

fn an_interrupt_is_an_order_to_stop_too(workers: usize) {
    let held = Held::named("late");
    let proxy = Proxy::start(&config(workers, &app(&[&held.at()], "")));
    let mut running = held.ask(Client::connect(proxy.web()), "/held");
    let start = Instant::now();
    proxy.signal(Signal::INT);
    proxy.wait_log("stopping: no new connections; requests have 30s to finish, a second signal ends at once");
    held.gate.open();
    assert_eq!(running.answer("GET").text(), "late");
    drop(running);
    assert_eq!(proxy.ended(start).code, Some(0));
}

fn a_request_on_a_connection_just_made_is_answered(workers: usize) {
    let endpoint = Endpoint::named("done");
    let proxy = Proxy::start(&config(workers, &app(&[&endpoint.at()], "")));
    let mut clients: Vec<_> = (0..40).map(|_| Client::connect(proxy.web())).collect();
    let mut silent = Client::connect(proxy.web());
    for client in &mut clients {
        client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    }
    let start = Instant::now();
    proxy.signal(Signal::TERM);
    for client in &mut clients {
        assert_eq!(client.answer("GET").text(), "done");
    }
    drop(clients);
    assert!(silent.is_closed_silently(), "silent clients do not delay the shutdown");
    let exit = proxy.ended(start);
    assert_eq!(exit.code, Some(0), "{:#?}", exit.log);
    assert!(exit.took.as_secs() < 10, "{:?}", exit.took);
}

fn a_successor_can_take_the_port_while_requests_finish(workers: usize) {
    let (held, new) = (Held::named("old"), Endpoint::named("new"));
    let old = Proxy::start(&config(workers, &app(&[&held.at()], "")));
    let web = old.web();
    let mut running = held.ask(Client::connect(web), "/held");
    let start = Instant::now();
    old.signal(Signal::TERM);
    wait_until("new connections to be refused", || is_refused(web));
    let text = config(workers, &app(&[&new.at()], ""));
    let successor = Proxy::start(
        &text.replace("name = \"web\"\naddress = \"127.0.0.1:0\"", &format!("name = \"web\"\naddress = \"{web}\"")),
    );
    assert_eq!(get(web, "/").text(), "new");
    held.gate.open();
    assert_eq!(running.answer("GET").text(), "old");
    drop(running);
    assert_eq!(old.ended(start).code, Some(0));
    assert_eq!(get(successor.web(), "/").text(), "new");
}
