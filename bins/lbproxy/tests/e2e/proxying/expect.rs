//! `Expect: 100-continue`: the endpoint alone decides whether the body is sent.

use crate::failures::forwarding;
use crate::support::{Client, Endpoint, Wire, last_text, wait_until};
use crate::with_one_and_four_workers;

with_one_and_four_workers!(
    the_endpoint_decides_whether_the_body_is_sent,
    a_100_is_passed_on_without_a_body_too_and_none_is_made_up,
    an_endpoint_that_says_nothing_is_what_is_waited_for,
);

const REQUEST: &str = "HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 4\r\n\r\n";

fn the_endpoint_decides_whether_the_body_is_sent(workers: usize) {
    let endpoint = Endpoint::on_head(|wire: &mut Wire, head| {
        assert_eq!(head.header("Expect"), Some("100-continue"));
        match head.target() {
            "/asks" => {
                assert!(wire.buffer.is_empty(), "the body came before it was asked for");
                wire.write("HTTP/1.1 100 Continue\r\n\r\n")?;
                let body = wire.read_exactly(4)?;
                wire.write(last_text(200, &String::from_utf8_lossy(&body)))
            }
            "/refuses" => {
                wire.write("HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\n\r\nno")?;
                assert_eq!(wire.read_to_end()?, b"", "a refused body is not sent");
                Ok(())
            }
            // Never says anything of it, or too late to matter.
            target => {
                let body = wire.read_exactly(4)?;
                if target == "/eager" {
                    wire.write("HTTP/1.1 100 Continue\r\n\r\n")?;
                }
                wire.write(last_text(200, &String::from_utf8_lossy(&body)))
            }
        }
    });
    let proxy = forwarding(workers, &endpoint.at(), "");

    let mut client = Client::connect(proxy.web());
    client.send(format!("POST /asks {REQUEST}"));
    assert_eq!(client.read_head().unwrap().unwrap().first, "HTTP/1.1 100 Continue");
    client.send("body");
    assert_eq!(client.answer("POST").text(), "body");

    let mut client = Client::connect(proxy.web());
    client.send(format!("POST /refuses {REQUEST}"));
    let head = client.read_head().unwrap().unwrap();
    assert_eq!(head.status(), 403, "no 100 before it");
    assert_eq!(client.read_exactly(2).unwrap(), b"no");
    // Whether a body or another request comes next is ambiguous, so the connection ends.
    client.finish();
    assert!(client.is_closed_silently());
    wait_until("the endpoint's connection to be closed", || endpoint.open() == 0);

    let mut client = Client::connect(proxy.web());
    client.send(format!("POST /silent {REQUEST}"));
    // Its own patience is over.
    client.send("late");
    assert_eq!(client.read_head().unwrap().unwrap().status(), 200, "no 100, since the endpoint sent none");
    assert_eq!(client.read_exactly(4).unwrap(), b"late");

    // Whoever does not wait for it need not, and the endpoint has the body as soon as it is there.
    let mut client = Client::connect(proxy.web());
    client.send(format!("POST /eager {REQUEST}soon"));
    assert_eq!(client.answer("POST").text(), "soon");
    assert_eq!(endpoint.requests(), 4);
}

fn a_100_is_passed_on_without_a_body_too_and_none_is_made_up(workers: usize) {
    let endpoint = Endpoint::on_head(|wire: &mut Wire, head| {
        let length = head.header("Content-Length").map_or(0, |length| length.parse().unwrap());
        match head.target() {
            // As Node does.
            "/asks" => wire.write("HTTP/1.1 100 Continue\r\nX-By: endpoint\r\n\r\n")?,
            "/asks-twice" => wire.write("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 100 Continue\r\n\r\n")?,
            _ => {}
        }
        wire.read_exactly(length)?;
        wire.write(last_text(200, head.header("Expect").unwrap_or("none")))
    });
    let proxy = forwarding(workers, &endpoint.at(), "");
    let heads = |request: String| {
        let mut client = Client::connect(proxy.web());
        client.send(request);
        let first = client.read_head().unwrap().unwrap();
        if first.status() != 100 {
            return (None, client.read_exactly(first.header("Content-Length").unwrap().parse().unwrap()).unwrap());
        }
        let last = client.read_head().unwrap().unwrap();
        assert_eq!(last.status(), 200, "one 100");
        let length = last.header("Content-Length").unwrap().parse().unwrap();
        (Some(first), client.read_exactly(length).unwrap())
    };
    for method in ["GET", "POST"] {
        for framing in ["", "Content-Length: 0\r\n"] {
            let ask =
                |path| heads(format!("{method} {path} HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\n{framing}\r\n"));
            let (interim, body) = ask("/asks");
            assert_eq!(interim.unwrap().header("X-By"), Some("endpoint"), "{method} {framing:?}");
            assert_eq!(body, b"100-continue");
            assert!(ask("/asks-twice").0.is_some());
            assert!(ask("/silent").0.is_none(), "{method} {framing:?}");
        }
    }
    // A client that did not ask may take a 100 for the answer. One of HTTP/1.0 cannot ask.
    let unasked = heads("GET /asks HTTP/1.1\r\nHost: a\r\n\r\n".into());
    assert_eq!((unasked.0.is_none(), unasked.1.as_slice()), (true, &b"none"[..]));
    for framing in ["\r\n", "Content-Length: 4\r\n\r\nbody"] {
        let old = heads(format!("POST /asks HTTP/1.0\r\nHost: a\r\nExpect: 100-continue\r\n{framing}"));
        assert_eq!((old.0.is_none(), old.1.as_slice()), (true, &b"none"[..]));
    }
}

fn an_endpoint_that_says_nothing_is_what_is_waited_for(workers: usize) {
    let endpoint = Endpoint::on_head(|wire: &mut Wire, _| wire.read_to_end().map(drop));
    let proxy =
        forwarding(workers, &endpoint.at(), "timeout = { response = \"300ms\", idle = \"15s\" }\nretry = \"off\"");
    let mut client = Client::connect(proxy.web());
    client.send(format!("POST /waits {REQUEST}"));
    assert_eq!(client.answer("POST").status(), 504);
    assert!(client.is_closed_silently(), "whether a body comes cannot be told");
    assert_eq!(proxy.access_of("/waits")["cause"], "response_timeout");
}
