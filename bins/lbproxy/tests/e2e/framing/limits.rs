//! What is too large or too many.

use super::{guarded, is_cut, is_refused};
use crate::support::{Client, get, post};
use crate::with_one_and_four_workers;

with_one_and_four_workers!(what_is_too_large_is_refused_with_its_status);

fn what_is_too_large_is_refused_with_its_status(workers: usize) {
    let (proxy, endpoint) = guarded(workers);
    let refused =
        |name: &str, request: String, status| is_refused(&proxy, &endpoint, name, request.replace('|', "\r\n"), status);
    refused("a long target", format!("GET /{} HTTP/1.1|Host: a||", "a".repeat(512)), 414);
    refused("a target that does not end", format!("GET /{}", "a".repeat(4096)), 414);
    refused("a large head", format!("GET / HTTP/1.1|Host: a|X-A: {}||", "a".repeat(2048)), 431);
    refused("a line that does not end", format!("GET / HTTP/1.1|Host: a|X-A: {}", "a".repeat(4096)), 431);
    refused("many headers", format!("GET / HTTP/1.1|Host: a|{}|", "X: y|".repeat(10)), 431);
    refused("a method that does not end", "A".repeat(600), 501);
    refused("a length that is too long", "POST / HTTP/1.1|Host: a|Content-Length: 1025||".to_owned(), 413);
    let expecting = "POST / HTTP/1.1|Host: a|Content-Length: 1025|Expect: 100-continue||";
    refused("a body announced and held back", expecting.to_owned(), 413);

    // What fits exactly passes.
    assert_eq!(get(proxy.web(), &format!("/{}", "a".repeat(511))).status(), 200);
    assert_eq!(
        Client::connect(proxy.web()).ask(&format!("GET / HTTP/1.1\nHost: a\n{}", "X: y\n".repeat(9))).status(),
        200
    );
    assert_eq!(post(proxy.web(), "/", &"a".repeat(1024)).status(), 200);
    assert_eq!(endpoint.last().body.data.len(), 1024);

    let chunked = format!("POST / HTTP/1.1|Host: a|Transfer-Encoding: chunked||400|{}|1|a|0||", "a".repeat(1024));
    is_cut(&proxy, &endpoint, "chunks beyond the limit", chunked.replace('|', "\r\n"), 413);
    let fitting = format!("POST / HTTP/1.1|Host: a|Transfer-Encoding: chunked||400|{}|0||", "a".repeat(1024));
    let mut client = Client::connect(proxy.web());
    client.send(fitting.replace('|', "\r\n"));
    assert_eq!(client.answer("POST").status(), 200);
}
