//! An endpoint that refuses connections.

use super::{forwarding, is_logged};
use crate::support::{Client, Refusing};
use crate::with_one_and_four_workers;

with_one_and_four_workers!(a_refused_connection_is_a_502_with_its_cause);

fn a_refused_connection_is_a_502_with_its_cause(workers: usize) {
    let refusing = Refusing::new();
    let proxy = forwarding(workers, &refusing.address.to_string(), "");
    let mut client = Client::connect(proxy.web());
    let answer = client.get("/refused");
    assert_eq!(answer.status(), 502, "{answer:?}");
    assert!(!answer.text().contains("127.0.0.1"), "the client learns nothing of endpoints: {}", answer.text());
    let line = is_logged(&proxy, "/refused", 502, "connect_refused");
    assert!(answer.text().contains(line["request_id"].as_str().unwrap()), "{line} {}", answer.text());
    assert_eq!(line["endpoint"], refusing.address.to_string());
    assert_eq!(line["attempts"], 1, "there was no other endpoint: {line}");
    // The client's connection is as good as before, after discarded bodies too.
    assert_eq!(client.ask("POST /body HTTP/1.1\nContent-Length: 0").status(), 502);
    client.send("POST /body HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\nbodyGET /next HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_eq!(client.answer("POST").status(), 502);
    assert_eq!(client.answer("GET").status(), 502);
    is_logged(&proxy, "/next", 502, "connect_refused");
}
