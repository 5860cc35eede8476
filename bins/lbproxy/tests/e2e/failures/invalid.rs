//! Endpoints that do not answer in HTTP, or hang up instead.

use std::io;
use std::sync::{Arc, Mutex};

use super::forwarding;
use crate::support::{Client, Endpoint, Wire};
use crate::with_one_and_four_workers;

with_one_and_four_workers!(what_is_no_response_is_a_502);

fn what_is_no_response_is_a_502(workers: usize) {
    let large = format!("HTTP/1.1 200 OK|X: {}||", "a".repeat(1 << 20));
    let cases: &[(&str, &str)] = &[
        ("hello", "invalid_response"),
        ("|", "invalid_response"),
        ("HTTP/0.9 200 OK||", "invalid_response"),
        ("HTTP/1.1 2000 OK||", "invalid_response"),
        ("HTTP/1.1 099 No||", "invalid_response"),
        ("HTTP/1.1 200 OK|Content-Length: 2|Content-Length: 3||abc", "invalid_response"),
        ("HTTP/1.1 200 OK|Content-Length: 2, 3||abc", "invalid_response"),
        ("HTTP/1.1 200 OK|Transfer-Encoding: chunked|Transfer-Encoding: chunked||0||", "invalid_response"),
        ("HTTP/1.1 200 OK|Transfer-Encoding: gzip, chunked||0||", "invalid_response"),
        ("HTTP/1.1 200 OK|X-A: b| folded||", "invalid_response"),
        ("HTTP/1.1 200 OK|X-A : b||", "invalid_response"),
        ("HTTP/1.1 200 OK|X-A: b\rX-B: c||", "invalid_response"),
        ("HTTP/1.1 200 OK|X-A: b\0c||", "invalid_response"),
        ("HTTP/1.1 101 Switching Protocols|Upgrade: websocket|Connection: upgrade||", "invalid_response"),
        (&large, "response_too_large"),
        ("", "reset"),
        ("HTTP/1.1 200 OK|Content-Len", "reset"),
        ("HTTP/1.1 100 Continue||", "reset"),
    ];
    let says = Arc::new(Mutex::new(Vec::new()));
    let endpoint = {
        let says = Arc::clone(&says);
        Endpoint::on_head(move |wire: &mut Wire, _| -> io::Result<()> {
            let says = says.lock().unwrap().clone();
            wire.write(says)
        })
    };
    let proxy = forwarding(workers, &endpoint.at(), "retry = \"off\"");
    let mut client = Client::connect(proxy.web());
    for (at, (bytes, cause)) in cases.iter().enumerate() {
        *says.lock().unwrap() = bytes.replace('|', "\r\n").into_bytes();
        let answer = client.get(&format!("/{at}"));
        let shown = bytes.get(..60).unwrap_or(bytes);
        assert_eq!(answer.status(), 502, "{shown:?} {cause}: {answer:?}");
        assert!(!answer.head.has("X-A") && !answer.head.has("Upgrade"), "{shown:?}: {answer:?}");
    }
    let exit = proxy.terminate();
    for (at, (bytes, cause)) in cases.iter().enumerate() {
        let [line] = &exit.access(|line| line["path"] == format!("/{at}"))[..] else { panic!("one line for {at}") };
        let logged = line["cause"].as_str().unwrap();
        assert_eq!(logged.split(':').next(), Some(*cause), "{:?}: {line}", bytes.get(..60).unwrap_or(bytes));
    }
}
