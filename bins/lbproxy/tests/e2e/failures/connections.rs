//! Limits on connections, and connections that wait for nothing.

use std::time::{Duration, Instant};

use crate::support::{Client, Endpoint, Proxy, config, wait_until};
use crate::with_one_and_four_workers;

with_one_and_four_workers!(
    connections_beyond_the_limit_are_closed_at_once,
    connections_of_one_client_are_limited,
    an_idle_connection_is_closed,
);

fn limited(workers: usize, endpoint: &Endpoint, limits: &str) -> Proxy {
    Proxy::start(&config(
        workers,
        &format!(
            "limits = {{ {limits} }}\n[[route]]\ncluster = \"app\"\n[cluster.app]\nendpoints = [\"{}\"]\n",
            endpoint.at()
        ),
    ))
}

/// Keeps two connections at work, and sees that a third one finds no room until one of them goes.
fn two_and_no_third(proxy: &Proxy) {
    let mut first = Client::connect(proxy.web());
    let mut second = Client::connect(proxy.web());
    assert_eq!((first.get("/").status(), second.get("/").status()), (200, 200));
    for _ in 0..5 {
        let mut third = Client::connect(proxy.web());
        let _ = third.write("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
        assert!(third.is_closed_silently(), "no room, no answer");
    }
    assert_eq!((first.get("/").status(), second.get("/").status()), (200, 200), "existing connections stay");
    drop(first);
    wait_until("room for another", || {
        let mut third = Client::connect(proxy.web());
        let _ = third.write("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
        third.read_head().is_ok_and(|head| head.is_some())
    });
}

fn connections_beyond_the_limit_are_closed_at_once(workers: usize) {
    let endpoint = Endpoint::named("in");
    let proxy = limited(workers, &endpoint, "connections = 2");
    two_and_no_third(&proxy);
    proxy.wait_log("connection limit reached (limits.connections = 2), closing new connections listener=web");
    assert!(proxy.metric("lbproxy_connections_refused_total", &["web", "\"limit\""]) >= 5.0);
    assert_eq!(proxy.ask_admin("/healthz").status(), 200, "the admin listener has its own");
}

fn connections_of_one_client_are_limited(workers: usize) {
    let endpoint = Endpoint::named("in");
    let proxy = limited(workers, &endpoint, "connections_per_client = 2");
    two_and_no_third(&proxy);
    proxy.wait_log("per-client connection limit reached client=127.0.0.1 listener=web connections=2");
    assert!(proxy.metric("lbproxy_connections_refused_total", &["web", "client_limit"]) >= 5.0);
}

fn an_idle_connection_is_closed(workers: usize) {
    let endpoint = Endpoint::named("in");
    let proxy = limited(workers, &endpoint, "idle_timeout = \"3s\"");
    let mut client = Client::connect(proxy.web());
    for _ in 0..2 {
        let start = Instant::now();
        assert_eq!(client.get("/").status(), 200);
        assert!(client.is_silent_for(Duration::from_millis(100)), "closed after {:?}", start.elapsed());
    }
    let start = Instant::now();
    assert!(client.is_closed_silently());
    assert!(start.elapsed() >= Duration::from_millis(2_000), "closed after {:?}", start.elapsed());
}
