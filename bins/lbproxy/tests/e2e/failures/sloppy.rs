//! Endpoints that write HTTP badly and mean one thing: the client gets it, written as it should be.

use std::io;
use std::sync::{Arc, Mutex};

use super::forwarding;
use crate::support::{Client, Endpoint, Wire, get};
use crate::with_one_and_four_workers;

with_one_and_four_workers!(what_has_one_meaning_is_written_again_as_it_should_be);

/// What the endpoint sends, the framing that the client is to see, and whether the endpoint's connection is used again:
/// not where it is in doubt where the next response begins (RFC 9112 §6.3).
const CASES: &[(&str, Framing, bool)] = &[
    ("HTTP/1.1 200 OK|Content-Length: 2|Content-Length: 2||ok", Framing::Length, true),
    ("HTTP/1.1 200 OK|Content-Length: 2, 2||ok", Framing::Length, true),
    ("HTTP/1.1 200 OK|Content-Length: 9|Transfer-Encoding: chunked||2|ok|0||", Framing::Chunked, false),
    ("HTTP/1.1 200 OK|Transfer-Encoding: chunked|Content-Length: 9||2|ok|0||", Framing::Chunked, false),
    ("HTTP/1.1 200 OK|Transfer-Encoding: identity|Content-Length: 2||ok", Framing::Length, false),
    ("HTTP/1.1 200 OK\nContent-Length: 2\n\nok", Framing::Length, true),
    ("HTTP/1.1 200 OK\nX-A: b|Content-Length: 2|\nok", Framing::Length, true),
    ("HTTP/1.1 200 OK|Transfer-Encoding: chunked||2  |ok|0 ||", Framing::Chunked, true),
    ("HTTP/1.1 200 OK|Transfer-Encoding: chunked||2;|ok|0;a@=b c||", Framing::Chunked, true),
];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Framing {
    Length,
    Chunked,
}

fn what_has_one_meaning_is_written_again_as_it_should_be(workers: usize) {
    let says = Arc::new(Mutex::new(Vec::new()));
    let endpoint = {
        let says = Arc::clone(&says);
        Endpoint::scripted(move |wire: &mut Wire, seen| -> io::Result<()> {
            while let Some(head) = wire.read_head()? {
                seen.note(crate::support::Message { head, ..Default::default() });
                let says = says.lock().unwrap().clone();
                wire.write(says)?;
            }
            Ok(())
        })
    };
    for (bytes, framing, is_kept) in CASES {
        // One worker's pool a case: whether the second request comes over the first one's connection.
        let proxy = forwarding(workers, &endpoint.at(), "retry = \"off\"");
        *says.lock().unwrap() = bytes.replace('|', "\r\n").into_bytes();
        let before = endpoint.connections();
        let mut client = Client::connect(proxy.web());
        for _ in 0..2 {
            let answer = client.get("/");
            assert_eq!((answer.status(), answer.text().as_str()), (200, "ok"), "{bytes:?}: {answer:?}");
            assert!(answer.body.is_whole, "{bytes:?}");
            let lengths = answer.head.all("Content-Length");
            let codings = answer.head.all("Transfer-Encoding");
            match framing {
                Framing::Length => assert_eq!((lengths, codings), (vec!["2"], vec![]), "{bytes:?}"),
                Framing::Chunked => assert_eq!((lengths, codings), (vec![], vec!["chunked"]), "{bytes:?}"),
            }
        }
        assert_eq!(endpoint.connections() - before, if *is_kept { 1 } else { 2 }, "{bytes:?}");
    }
}

#[test]
fn a_length_beside_chunks_does_not_reach_a_client_that_asked_with_head() {
    let head = "HTTP/1.1 200 OK\r\nContent-Length: 9\r\nTransfer-Encoding: chunked\r\n\r\n";
    let endpoint = Endpoint::on_head(move |wire: &mut Wire, _| wire.write(head));
    let proxy = forwarding(1, &endpoint.at(), "");
    let answer = Client::connect(proxy.web()).ask("HEAD / HTTP/1.1");
    assert_eq!((answer.status(), answer.head.all("Content-Length").len()), (200, 0), "{answer:?}");
    assert_eq!(get(proxy.web(), "/").status(), 200);
}
