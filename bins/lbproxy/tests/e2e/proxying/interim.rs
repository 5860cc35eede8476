//! Responses before the response.

use crate::failures::forwarding;
use crate::support::{Client, Endpoint, Gate, Wire, exchange, text, wait_until};
use crate::with_one_and_four_workers;

with_one_and_four_workers!(early_hints_arrive_early, interim_responses_without_end_are_cut_off);

fn early_hints_arrive_early(workers: usize) {
    let gate = Gate::default();
    let endpoint = {
        let gate = gate.clone();
        Endpoint::on_head(move |wire: &mut Wire, _| {
            wire.write(
                "HTTP/1.1 102 Processing\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </a.css>; rel=preload\r\n\
                 X-Secret: 1\r\nX-Set: 2\r\n\r\n",
            )?;
            gate.wait();
            wire.write(text(200, "final"))
        })
    };
    let proxy =
        forwarding(workers, &endpoint.at(), "headers.response = { set = { X-Set = \"1\" }, remove = [\"X-Secret\"] }");
    let mut client = Client::connect(proxy.web());
    client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_eq!(client.read_head().unwrap().unwrap().status(), 102);
    let hints = client.read_head().unwrap().unwrap();
    assert_eq!((hints.status(), hints.header("Link")), (103, Some("</a.css>; rel=preload")));
    assert!(!hints.has("X-Set") && !hints.has("X-Secret") && !hints.has("Content-Length"), "{hints:?}");
    gate.open();
    let answer = client.answer("GET");
    assert_eq!((answer.text().as_str(), answer.header("X-Set")), ("final", Some("1")));
    // HTTP/1.0 knows none of these.
    let answer = exchange(proxy.web(), "GET / HTTP/1.0\r\nHost: a\r\n\r\n");
    assert!(answer.starts_with("HTTP/1.1 200 ") && answer.ends_with("final"), "{answer}");
}

fn interim_responses_without_end_are_cut_off(workers: usize) {
    let endpoint = Endpoint::on_head(|wire: &mut Wire, head| {
        let interim = if head.target() == "/hints" {
            "HTTP/1.1 103 Early Hints\r\nX-A: b\r\n\r\n"
        } else {
            "HTTP/1.1 100 Continue\r\n\r\n"
        };
        loop {
            wire.write(interim)?;
        }
    });
    let proxy = forwarding(workers, &endpoint.at(), "retry = \"off\"");
    for path in ["/hints", "/continue"] {
        let mut client = Client::connect(proxy.web());
        client.send(format!("GET {path} HTTP/1.1\r\nHost: a\r\n\r\n"));
        let mut hints = 0;
        let last = loop {
            match client.read_head().unwrap().unwrap() {
                head if head.status() == 103 => hints += 1,
                head => break head,
            }
        };
        assert_eq!((last.status(), hints), (502, if path == "/hints" { 64 } else { 0 }));
        assert_eq!(proxy.access_of(path)["cause"], "invalid_response: too_many_interim");
    }
    wait_until("the endpoint's connections to be closed", || endpoint.open() == 0);
}
