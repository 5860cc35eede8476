//! Clients that speak HTTP/1.0.

use crate::failures::forwarding;
use crate::support::{Client, Endpoint, exchange, text};
use crate::with_one_and_four_workers;

with_one_and_four_workers!(old_clients_get_what_they_understand);

fn old_clients_get_what_they_understand(workers: usize) {
    let endpoint = Endpoint::answering(|request| match request.head.target() {
        "/chunked" => {
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nbody\r\n0\r\nX-Trailer: a\r\n\r\n".to_owned()
        }
        _ => text(200, "body"),
    });
    let proxy = forwarding(workers, &endpoint.at(), "");
    // The connection ends with the answer, in which nothing is chunked.
    for path in ["/chunked", "/length"] {
        let answer = exchange(proxy.web(), format!("GET {path} HTTP/1.0\r\nHost: a\r\n\r\n"));
        assert!(answer.starts_with("HTTP/1.1 200 ") && answer.ends_with("\r\n\r\nbody"), "{answer}");
        assert!(!answer.to_ascii_lowercase().contains("transfer-encoding"), "{answer}");
    }
    assert_eq!(endpoint.last().head.first, "GET /length HTTP/1.1");
    // No host at all: HTTP/1.1 needs one, and the endpoint has a name.
    let answer = exchange(proxy.web(), "GET /hostless HTTP/1.0\r\n\r\n");
    assert!(answer.ends_with("body"), "{answer}");
    assert_eq!(endpoint.last().header("Host"), Some(&*endpoint.at()));
    // Kept where that is asked for, and possible.
    let mut client = Client::connect(proxy.web());
    for _ in 0..3 {
        let answer = client.ask("GET /length HTTP/1.0\nConnection: keep-alive");
        assert_eq!((answer.text().as_str(), answer.header("Connection")), ("body", Some("keep-alive")));
    }
    let answer = client.ask("GET /chunked HTTP/1.0\nConnection: keep-alive");
    assert_eq!((answer.text().as_str(), answer.header("Connection")), ("body", Some("close")));
    // They cannot wait for a 100.
    let mut client = Client::connect(proxy.web());
    client.send("POST /length HTTP/1.0\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 4\r\n\r\nsent");
    let head = client.read_head().unwrap().unwrap();
    assert_eq!(head.status(), 200);
    assert_eq!(endpoint.last().text(), "sent");
}
