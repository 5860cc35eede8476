//! Connections: how they begin, rest and end.

use rustix::process::Signal;

use super::peer::read;
use super::raw::{GO_AWAY, PING, SETTINGS};
use super::{Caller, Raw, proxy, run};
use crate::support::{Client, Endpoint, Gate, config, text, wait_until};
use crate::with_one_and_four_workers;

with_one_and_four_workers!(
    a_shutdown_lets_streams_finish,
    a_reload_that_removes_the_listener_lets_streams_finish,
    an_idle_connection_is_closed_with_a_goaway,
    what_only_begins_like_http2_is_http1,
);

/// An endpoint that answers when the gate opens.
fn held(gate: &Gate) -> Endpoint {
    let gate = gate.clone();
    Endpoint::answering(move |_| {
        gate.wait();
        text(200, "whole")
    })
}

fn a_shutdown_lets_streams_finish(workers: usize) {
    let gate = Gate::default();
    let endpoint = held(&gate);
    let proxy = proxy(workers, &endpoint.at(), "", "", "");
    run(async {
        let mut caller = Caller::connect(proxy.web()).await;
        let mut idle = Raw::connect(proxy.web());
        idle.until(SETTINGS);
        let request = caller.request("GET", "/running").body(()).unwrap();
        let (response, _) = caller.begin(request, true).await;
        while endpoint.requests() == 0 && endpoint.open() == 0 {
            tokio::time::sleep(std::time::Duration::from_millis(2)).await;
        }
        proxy.signal(Signal::TERM);
        assert_eq!(idle.until(GO_AWAY).reason(), 0, "an idle connection gets GOAWAY");
        gate.open();
        let answer = read(response).await;
        assert_eq!((answer.text().as_str(), answer.reset), ("whole", None));
        let Caller { send, connection, .. } = caller;
        drop(send);
        connection.await.unwrap().expect("an end in order");
    });
    let exit = proxy.ended(std::time::Instant::now());
    assert_eq!(exit.code, Some(0), "{:#?}", exit.log);
}

fn a_reload_that_removes_the_listener_lets_streams_finish(workers: usize) {
    let gate = Gate::default();
    let endpoint = held(&gate);
    let mut proxy = proxy(workers, &endpoint.at(), "", "", "");
    let other =
        config(workers, &format!("[[route]]\ncluster = \"app\"\n[cluster.app]\nendpoints = [\"{}\"]\n", endpoint.at()));
    run(async {
        let mut caller = Caller::connect(proxy.web()).await;
        let request = caller.request("GET", "/running").body(()).unwrap();
        let (response, _) = caller.begin(request, true).await;
        while endpoint.open() == 0 {
            tokio::time::sleep(std::time::Duration::from_millis(2)).await;
        }
        proxy.reload(
            &other.replace("name = \"web\"\naddress = \"127.0.0.1:0\"", "name = \"other\"\naddress = \"127.0.0.2:0\""),
        );
        gate.open();
        assert_eq!(read(response).await.text(), "whole");
        let Caller { send, connection, .. } = caller;
        drop(send);
        connection.await.unwrap().expect("an end in order");
    });
}

fn an_idle_connection_is_closed_with_a_goaway(workers: usize) {
    let endpoint = Endpoint::named("app");
    let proxy = proxy(workers, &endpoint.at(), "limits = { idle_timeout = \"1s\", head_timeout = \"2s\" }", "", "");
    let mut silent = Raw::connect(proxy.web());
    assert_eq!(silent.until(GO_AWAY).reason(), 0);
    let mut used = Raw::connect(proxy.web());
    used.get(1, "/");
    used.send(PING, 0, 0, &[7; 8]);
    let frames = used.rest();
    assert!(frames.iter().any(|frame| frame.kind == PING && frame.payload == [7; 8]), "{frames:?}");
    assert_eq!(frames.last().map(|frame| (frame.kind, frame.reason())), Some((GO_AWAY, 0)), "{frames:?}");
    // A preface that never becomes whole is a head that came too slowly.
    let mut slow = Client::connect(proxy.web());
    slow.send("PRI * HTTP/2.0\r\n");
    assert_eq!(slow.read_head().unwrap().unwrap().status(), 408);
    wait_until("no connection", || proxy.metric("lbproxy_connections", &["web"]) == 0.0);
}

fn what_only_begins_like_http2_is_http1(workers: usize) {
    let endpoint = Endpoint::named("app");
    let proxy = proxy(workers, &endpoint.at(), "", "", "");
    assert_eq!(Client::connect(proxy.web()).ask("POST / HTTP/1.1\nHost: a\nContent-Length: 0").text(), "app");
    let mut client = Client::connect(proxy.web());
    client.send("PR");
    client.send("OPFIND / HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_eq!(client.read_head().unwrap().unwrap().status(), 200);
    let mut client = Client::connect(proxy.web());
    client.send("PRI * HTTP/2.0\r\nHost: a\r\n\r\n");
    assert!(client.read_head().unwrap().unwrap().status() >= 400);
}
