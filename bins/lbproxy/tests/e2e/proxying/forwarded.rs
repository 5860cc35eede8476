//! The forwarding headers to the endpoint, and which peers are trusted.

use crate::support::{Client, Endpoint, Head, Proxy, config};
use crate::with_one_and_four_workers;

with_one_and_four_workers!(
    headers_of_an_untrusted_peer_are_replaced,
    headers_of_a_trusted_proxy_are_kept,
    the_route_decides_which_headers_are_written,
    a_request_has_one_id_on_every_side,
);

/// `web` trusts no peer, `behind` trusts loopback.
fn proxy(workers: usize, endpoint: &Endpoint, route: &str) -> Proxy {
    Proxy::start(&config(
        workers,
        &format!(
            "[[route]]\ncluster = \"app\"\n{route}\n[cluster.app]\nendpoints = [\"{}\"]\n\
             [[listener]]\nname = \"behind\"\naddress = \"127.0.0.2:0\"\ntrusted_proxies = [\"127.0.0.0/8\"]\n",
            endpoint.at()
        ),
    ))
}

/// What the endpoint saw of a request with these headers.
fn told(proxy: &Proxy, endpoint: &Endpoint, listener: &str, headers: &str) -> Head {
    let request = format!("GET / HTTP/1.1\nHost: example.test\n{headers}");
    assert_eq!(Client::connect(proxy.listener(listener)).ask(&request).status(), 200);
    endpoint.last().head
}

const CLAIMS: &str = "X-Forwarded-For: 203.0.113.9\nX-Forwarded-Proto: https\nX-Forwarded-Host: other.test\n\
                      X-Forwarded-Port: 444\nX-Real-IP: 203.0.113.9\nForwarded: for=203.0.113.9;proto=https\n\
                      X_Forwarded_For: 203.0.113.9\nX-Forwarded-User: root\nProxy: evil";

fn headers_of_an_untrusted_peer_are_replaced(workers: usize) {
    let endpoint = Endpoint::named("ok");
    let proxy = proxy(workers, &endpoint, "");
    let port = proxy.web().port().to_string();
    let seen = told(&proxy, &endpoint, "web", CLAIMS);
    for (name, value) in [
        ("X-Forwarded-For", Some("127.0.0.1")),
        ("X-Forwarded-Proto", Some("http")),
        ("X-Forwarded-Host", Some("example.test")),
        ("X-Forwarded-Port", Some(&*port)),
        ("X-Real-IP", Some("127.0.0.1")),
        ("Forwarded", None),
        ("X_Forwarded_For", None),
        ("X-Forwarded-User", None),
        ("Proxy", None),
    ] {
        assert_eq!(seen.header(name), value, "{name}");
    }
    assert_eq!(proxy.access_of("/")["client"], "127.0.0.1");
}

fn headers_of_a_trusted_proxy_are_kept(workers: usize) {
    let endpoint = Endpoint::named("ok");
    let proxy = proxy(workers, &endpoint, "");
    let seen = told(&proxy, &endpoint, "behind", CLAIMS);
    for (name, value) in [
        ("X-Forwarded-For", "203.0.113.9, 127.0.0.1"),
        ("X-Forwarded-Proto", "https"),
        ("X-Forwarded-Host", "other.test"),
        ("X-Forwarded-Port", "444"),
        ("X-Real-IP", "203.0.113.9"),
        ("X-Forwarded-User", "root"),
    ] {
        assert_eq!(seen.header(name), Some(value), "{name}");
    }
    assert_eq!(proxy.access_of("/")["client"], "203.0.113.9");
    // The last address that is not a proxy of ours, not the first, which a client can write.
    let seen = told(&proxy, &endpoint, "behind", "X-Forwarded-For: 1.1.1.1, 198.51.100.7, 127.0.0.9");
    assert_eq!(seen.header("X-Real-IP"), Some("198.51.100.7"));
}

fn the_route_decides_which_headers_are_written(workers: usize) {
    let endpoint = Endpoint::named("ok");
    let rfc = "for=127.0.0.1;host=\"example.test\";proto=http";
    for (forwarded, list, rfc, host) in [
        ("\"x-forwarded\"", Some("127.0.0.1"), None, "example.test"),
        ("\"rfc7239\"", None, Some(rfc), "example.test"),
        ("\"both\"", Some("127.0.0.1"), Some(rfc), "example.test"),
        ("\"off\"", None, None, "example.test"),
        ("{ host = \"endpoint\" }", Some("127.0.0.1"), None, &*endpoint.at()),
    ] {
        let proxy = proxy(workers, &endpoint, &format!("forwarded = {forwarded}"));
        let seen = told(&proxy, &endpoint, "web", CLAIMS);
        assert_eq!(seen.header("X-Forwarded-For"), list, "{forwarded}");
        assert_eq!(
            seen.header("Forwarded").map(|text| text.replace("host=example.test", "host=\"example.test\"")).as_deref(),
            rfc,
            "{forwarded}"
        );
        assert_eq!(seen.header("Host"), Some(host), "{forwarded}");
    }
}

fn a_request_has_one_id_on_every_side(workers: usize) {
    let endpoint = Endpoint::named("ok");
    let proxy = proxy(workers, &endpoint, "headers.response.set = { X-Request-Id = \"{request_id}\" }");
    let id = |head: &Head| head.header("X-Request-Id").unwrap().to_owned();
    let mut client = Client::connect(proxy.web());
    let mut seen = Vec::new();
    for path in ["/a", "/b"] {
        let answer = client.ask(&format!("GET {path} HTTP/1.1\nX-Request-Id: forged"));
        let ours = id(&endpoint.last().head);
        assert_eq!(id(&answer.head), ours);
        assert_eq!(proxy.access_of(path)["request_id"], ours);
        assert!(ours.len() == 20 && ours != "forged", "{ours}");
        seen.push(ours);
    }
    assert!(seen[0] < seen[1], "they sort by time: {seen:?}");
    assert_eq!(
        id(&told(&proxy, &endpoint, "behind", "X-Request-Id: 7b2c-1")),
        "7b2c-1",
        "a trusted proxy's id is kept"
    );
}
