//! The end: what runs is finished, what waits is closed, and the exit code tells.

use std::io::ErrorKind;
use std::net::TcpStream;
use std::time::{Duration, Instant};

use rustix::process::Signal;

use crate::support::{
    Client, Endpoint, Gate, Proxy, SWITCHED, WEBSOCKET, Wire, config, text, until_refused, wait_until,
};
use crate::with_one_and_four_workers;

with_one_and_four_workers!(
    what_runs_is_finished_and_what_waits_is_closed,
    new_requests_on_old_connections_get_connection_close,
    an_idle_proxy_ends_at_once,
    requests_beyond_the_grace_period_are_aborted_and_logged,
    a_second_signal_ends_at_once,
    a_tunnel_holds_the_end_up_for_the_grace_period_only,
    a_stop_under_load_fails_no_request_that_was_taken,
);

/// A proxy before an endpoint that answers `/slow` once the gate is open.
fn gated(workers: usize, grace: &str) -> (Proxy, Endpoint, Gate) {
    let gate = Gate::default();
    let endpoint = {
        let gate = gate.clone();
        Endpoint::on_head(move |wire: &mut Wire, head| match head.target() {
            "/slow" => {
                gate.wait();
                wire.write(text(200, "finished"))
            }
            "/streaming" => {
                wire.write("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nfirst\r\n")?;
                gate.wait();
                wire.write("4\r\nlast\r\n0\r\n\r\n")
            }
            "/ws" => {
                wire.write(SWITCHED)?;
                wire.read_to_end().map(drop)
            }
            _ => wire.write(text(200, "ok")),
        })
    };
    let at = endpoint.at();
    let rest = format!("grace = \"{grace}\"\n[[route]]\ncluster = \"app\"\n[cluster.app]\nendpoints = [\"{at}\"]\n");
    (Proxy::start(&config(workers, &rest)), endpoint, gate)
}

fn what_runs_is_finished_and_what_waits_is_closed(workers: usize) {
    let (proxy, endpoint, gate) = gated(workers, "20s");
    let mut idle: Vec<_> = (0..4).map(|_| Client::connect(proxy.web())).collect();
    for client in &mut idle {
        assert_eq!(client.get("/").status(), 200);
    }
    let mut slow = Client::connect(proxy.web());
    slow.send("GET /slow HTTP/1.1\r\nHost: a\r\n\r\n");
    let mut streaming = Client::connect(proxy.web());
    streaming.send("GET /streaming HTTP/1.1\r\nHost: a\r\n\r\n");
    streaming.read_through(b"first\r\n").unwrap();
    wait_until("both to be in flight", || endpoint.open() == 2);

    let (web, admin) = (proxy.web(), proxy.admin());
    proxy.signal(Signal::TERM);
    for mut client in idle {
        assert!(client.is_closed_silently(), "an idle connection is closed");
    }
    wait_until(
        "the port to be closed",
        || matches!(TcpStream::connect(web), Err(error) if error.kind() == ErrorKind::ConnectionRefused),
    );
    let health = Client::connect(admin).ask("GET /healthz HTTP/1.1\nHost: localhost");
    assert_eq!(health.status(), 503, "health checks see the shutdown: {health:?}");
    gate.open();
    let answer = slow.answer("GET");
    assert_eq!((answer.text().as_str(), answer.head.says_close()), ("finished", true), "{answer:?}");
    assert_eq!(streaming.read_to_end().unwrap(), b"4\r\nlast\r\n0\r\n\r\n");
    assert!(slow.is_closed_silently());
    let exit = proxy.ended(Instant::now());
    assert!(exit.took < Duration::from_secs(4), "answered clients do not delay the shutdown: {:?}", exit.took);
    assert_eq!(exit.code, Some(0), "{:#?}", exit.log);
    assert_eq!(exit.access(|line| line["path"] == "/slow").len(), 1, "the last lines of the log are written");
}

fn new_requests_on_old_connections_get_connection_close(workers: usize) {
    let (proxy, endpoint, gate) = gated(workers, "20s");
    let mut client = Client::connect(proxy.web());
    // Two requests at once: the second has arrived before the end is ordered, so it is answered.
    client.send("GET /slow HTTP/1.1\r\nHost: a\r\n\r\nGET /second HTTP/1.1\r\nHost: a\r\n\r\n");
    wait_until("the first to be in flight", || endpoint.open() == 1);
    proxy.signal(Signal::TERM);
    proxy.wait_log("stopping");
    gate.open();
    assert_eq!(client.answer("GET").text(), "finished");
    let exit = proxy.ended(Instant::now());
    assert_eq!(exit.code, Some(0), "{:#?}", exit.log);
}

fn an_idle_proxy_ends_at_once(workers: usize) {
    let (proxy, _endpoint, _gate) = gated(workers, "20s");
    assert_eq!(Client::connect(proxy.web()).get("/").status(), 200);
    let exit = proxy.terminate();
    assert_eq!(exit.code, Some(0));
    assert!(exit.took < Duration::from_secs(10), "{:?}", exit.took);
    assert!(exit.log.last().is_some_and(|line| line.contains("stopped")), "{:#?}", exit.log);
    // By Ctrl-C as well.
    let (proxy, _endpoint, _gate) = gated(workers, "20s");
    proxy.signal(Signal::INT);
    assert_eq!(proxy.ended(Instant::now()).code, Some(0));
}

fn requests_beyond_the_grace_period_are_aborted_and_logged(workers: usize) {
    let (proxy, endpoint, _gate) = gated(workers, "300ms");
    let mut clients: Vec<_> = ["/slow", "/slow", "/streaming"]
        .into_iter()
        .map(|path| {
            let mut client = Client::connect(proxy.web());
            client.send(format!("GET {path} HTTP/1.1\r\nHost: a\r\n\r\n"));
            client
        })
        .collect();
    clients[2].read_through(b"first\r\n").unwrap();
    wait_until("all to be in flight", || endpoint.open() == 3);
    let exit = proxy.terminate();
    assert_eq!(exit.code, Some(4), "{:#?}", exit.log);
    assert!(exit.took >= Duration::from_millis(290), "{:?}", exit.took);
    assert!(exit.log.iter().any(|line| line.contains("requests cut: 3")), "{:#?}", exit.log);
    for mut client in clients {
        assert!(client.is_closed_silently(), "nothing that could be taken for an answer");
    }
}

fn a_second_signal_ends_at_once(workers: usize) {
    let (proxy, endpoint, _gate) = gated(workers, "20s");
    let mut client = Client::connect(proxy.web());
    client.send("GET /slow HTTP/1.1\r\nHost: a\r\n\r\n");
    wait_until("it to be in flight", || endpoint.open() == 1);
    proxy.signal(Signal::TERM);
    proxy.wait_log("stopping");
    let start = Instant::now();
    proxy.signal(Signal::TERM);
    let exit = proxy.ended(start);
    assert_eq!(exit.code, Some(4), "{:#?}", exit.log);
    assert!(exit.took < Duration::from_secs(10), "{:?}", exit.took);
}

fn a_tunnel_holds_the_end_up_for_the_grace_period_only(workers: usize) {
    let (proxy, _endpoint, _gate) = gated(workers, "300ms");
    let mut client = Client::connect(proxy.web());
    client.send(format!("GET /ws HTTP/1.1\r\nHost: a\r\n{WEBSOCKET}\r\n"));
    assert_eq!(client.read_head().unwrap().unwrap().status(), 101);
    let exit = proxy.terminate();
    assert_eq!(exit.code, Some(4), "{:#?}", exit.log);
    assert!(exit.log.iter().any(|line| line.contains("requests cut: 1")), "{:#?}", exit.log);
}

fn a_stop_under_load_fails_no_request_that_was_taken(workers: usize) {
    let endpoint = Endpoint::named("ok");
    let rest = format!("[[route]]\ncluster = \"app\"\n[cluster.app]\nendpoints = [\"{}\"]\n", endpoint.at());
    for _ in 0..3 {
        let proxy = Proxy::start(&config(workers, &rest));
        let clients = until_refused(proxy.web(), 8);
        let before = endpoint.requests();
        wait_until("the load to run", || endpoint.requests() > before + 100);
        let exit = proxy.terminate();
        assert_eq!(exit.code, Some(0), "{:#?}", exit.log);
        // One of them may have had no turn; together they had every answer but those under way.
        let answered: usize = clients.into_iter().map(|it| it.join().unwrap().expect("no request fails")).sum();
        assert!(answered > 90, "{answered}");
    }
}
