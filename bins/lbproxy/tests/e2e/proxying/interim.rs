//! Responses before the response.

use crate::failures::forwarding;
use crate::support::{Client, Endpoint, Gate, Wire, exchange, text};
use crate::with_one_and_four_workers;

with_one_and_four_workers!(early_hints_arrive_early);

fn early_hints_arrive_early(workers: usize) {
    let gate = Gate::default();
    let endpoint = {
        let gate = gate.clone();
        Endpoint::on_head(move |wire: &mut Wire, _| {
            wire.write(
                "HTTP/1.1 102 Processing\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </a.css>; rel=preload\r\n\r\n",
            )?;
            gate.wait();
            wire.write(text(200, "final"))
        })
    };
    let proxy = forwarding(workers, &endpoint.at(), "headers.response.set = { X-Set = \"1\" }");
    let mut client = Client::connect(proxy.web());
    client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_eq!(client.read_head().unwrap().unwrap().status(), 102);
    let hints = client.read_head().unwrap().unwrap();
    assert_eq!((hints.status(), hints.header("Link")), (103, Some("</a.css>; rel=preload")));
    assert!(!hints.has("X-Set") && !hints.has("Content-Length"), "{hints:?}");
    gate.open();
    let answer = client.answer("GET");
    assert_eq!((answer.text().as_str(), answer.header("X-Set")), ("final", Some("1")));
    // HTTP/1.0 knows none of these.
    let answer = exchange(proxy.web(), "GET / HTTP/1.0\r\nHost: a\r\n\r\n");
    assert!(answer.starts_with("HTTP/1.1 200 ") && answer.ends_with("final"), "{answer}");
}
