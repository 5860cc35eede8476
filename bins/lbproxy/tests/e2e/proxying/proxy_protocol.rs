//! Connections that begin with a PROXY header.

use std::time::{Duration, Instant};

use crate::support::{Client, Endpoint, Proxy, config};
use crate::with_one_and_four_workers;

with_one_and_four_workers!(
    the_client_is_the_one_that_the_header_names,
    a_header_may_come_in_pieces_and_with_the_request,
    a_header_without_an_address_keeps_the_connections_own,
    a_listed_peer_without_a_header_is_closed,
    unlisted_peers_cannot_set_an_address,
    connections_are_limited_by_the_client_that_the_header_names,
    a_header_that_does_not_come_is_not_waited_for,
);

const V2: &[u8] = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0f\xcb\0\x71\x09\xc0\0\x02\x02\x1f\x90\0\x50\x04\0\0";
const LOCAL: &[u8] = b"\r\n\r\n\0\r\nQUIT\n\x20\0\0\0";

/// A proxy whose listener expects headers from these networks.
fn expecting(workers: usize, networks: &str, limits: &str, endpoint: &Endpoint) -> Proxy {
    let rest = format!("{limits}\n[[route]]\ncluster = \"app\"\n[cluster.app]\nendpoints = [\"{}\"]\n", endpoint.at());
    Proxy::start(&(config(workers, &rest) + &format!("proxy_protocol = [{networks}]\n")))
}

fn ours(workers: usize, endpoint: &Endpoint) -> Proxy {
    expecting(workers, "\"127.0.0.0/8\"", "", endpoint)
}

/// A connection that begins with this.
fn behind(proxy: &Proxy, header: impl AsRef<[u8]>) -> Client {
    let mut client = Client::connect(proxy.web());
    client.send(header);
    client
}

fn forwarded_for(endpoint: &Endpoint) -> String {
    endpoint.last().head.header("X-Forwarded-For").unwrap_or_default().to_owned()
}

fn the_client_is_the_one_that_the_header_names(workers: usize) {
    let endpoint = Endpoint::named("a");
    let proxy = ours(workers, &endpoint);
    for (header, client, path) in [
        (&b"PROXY TCP4 203.0.113.9 192.0.2.2 8080 80\r\n"[..], "203.0.113.9", "/v1"),
        (b"PROXY TCP6 2001:db8::9 ::1 8080 80\r\n", "2001:db8::9", "/v1-6"),
        (V2, "203.0.113.9", "/v2"),
    ] {
        let mut connection = behind(&proxy, header);
        for _ in 0..2 {
            assert_eq!(connection.get(path).status(), 200);
            assert_eq!(forwarded_for(&endpoint), client);
        }
        assert_eq!(proxy.access_of(path)["client"], client);
    }
}

fn a_header_may_come_in_pieces_and_with_the_request(workers: usize) {
    let endpoint = Endpoint::named("a");
    let proxy = ours(workers, &endpoint);
    let mut whole = V2.to_vec();
    whole.extend(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_eq!(behind(&proxy, &whole).answer("GET").status(), 200);
    let mut client = Client::connect(proxy.web());
    for piece in whole.chunks(5) {
        client.send(piece);
    }
    assert_eq!((client.answer("GET").status(), forwarded_for(&endpoint).as_str()), (200, "203.0.113.9"));
}

fn a_header_without_an_address_keeps_the_connections_own(workers: usize) {
    let endpoint = Endpoint::named("a");
    let proxy = ours(workers, &endpoint);
    for header in [&b"PROXY UNKNOWN 1 2 3\r\n"[..], LOCAL] {
        assert_eq!(behind(&proxy, header).get("/").status(), 200);
        assert_eq!(forwarded_for(&endpoint), "127.0.0.1");
    }
}

fn a_listed_peer_without_a_header_is_closed(workers: usize) {
    let endpoint = Endpoint::named("a");
    let proxy = ours(workers, &endpoint);
    for bytes in [&b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"[..], b"PROXY TCP4 1.2.3.4 1.2.3.4 1\r\n", b"\x16\x03\x01\x02"] {
        let mut client = Client::connect(proxy.web());
        let _ = client.write(bytes);
        assert!(client.is_closed_silently(), "{bytes:?}");
    }
    // A connection without data (a port check) is no error.
    let mut looking = Client::connect(proxy.web());
    looking.finish();
    drop(looking);
    proxy.wait_log("listener=web: no PROXY header");
    assert_eq!(proxy.metric("lbproxy_connections_refused_total", &["web", "proxy_protocol"]), 3.0);
    assert_eq!(endpoint.requests(), 0);
}

fn unlisted_peers_cannot_set_an_address(workers: usize) {
    let endpoint = Endpoint::named("a");
    let proxy = expecting(workers, "\"192.0.2.0/24\"", "", &endpoint);
    for header in [&b"PROXY TCP4 203.0.113.9 192.0.2.2 8080 80\r\n"[..], V2] {
        let mut client = behind(&proxy, header);
        client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
        assert_eq!(client.answer("GET").status(), 400);
    }
    assert_eq!(Client::connect(proxy.web()).get("/").status(), 200, "a direct client is one as well");
    assert_eq!((endpoint.requests(), forwarded_for(&endpoint).as_str()), (1, "127.0.0.1"));
}

fn connections_are_limited_by_the_client_that_the_header_names(workers: usize) {
    let endpoint = Endpoint::named("a");
    let proxy = expecting(workers, "\"127.0.0.1\"", "limits.connections_per_client = 1", &endpoint);
    let from = |address: &str| behind(&proxy, format!("PROXY TCP6 {address} ::1 1 2\r\n"));
    let mut first = from("2001:db8:0:1::1");
    assert_eq!(first.get("/").status(), 200);
    assert_eq!(from("2001:db8:0:2::1").get("/").status(), 200, "another client");
    assert!(from("2001:db8:0:1::2").is_closed_silently(), "another address of the same client");
    proxy.wait_log("per-client connection limit reached client=2001:db8:0:1::2 listener=web");
    assert_eq!(first.get("/").status(), 200);
}

fn a_header_that_does_not_come_is_not_waited_for(workers: usize) {
    let endpoint = Endpoint::named("a");
    let proxy = expecting(workers, "\"127.0.0.1\"", "limits.head_timeout = \"200ms\"", &endpoint);
    for start in ["", "PROXY TCP4 1.2"] {
        let began = Instant::now();
        assert!(behind(&proxy, start).is_closed_silently());
        assert!(began.elapsed() >= Duration::from_millis(150), "{:?}", began.elapsed());
    }
    proxy.wait_log("no PROXY header within 200ms");
}
