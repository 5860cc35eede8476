//! Endpoints that break off in the middle of a response: the truncated part must not look complete.

use super::{forwarding, is_logged};
use crate::support::{Client, Endpoint, Wire};
use crate::with_one_and_four_workers;

with_one_and_four_workers!(a_truncated_response_is_never_made_to_look_complete);

fn a_truncated_response_is_never_made_to_look_complete(workers: usize) {
    let endpoint = Endpoint::on_head(|wire: &mut Wire, head| {
        let (framing, part) = match head.target() {
            "/length" => ("Content-Length: 100\r\n", "half"),
            "/chunked" | "/chunked-to-1.0" => ("Transfer-Encoding: chunked\r\n", "4\r\nhalf\r\n"),
            "/in-a-chunk" => ("Transfer-Encoding: chunked\r\n", "8\r\nhalf"),
            "/in-the-trailers" => ("Transfer-Encoding: chunked\r\n", "4\r\nhalf\r\n0\r\nX-A: b\r\n"),
            "/bad-chunk" => ("Transfer-Encoding: chunked\r\n", "4\r\nhalf\r\nzz\r\n"),
            "/reset" => {
                wire.reset_on_close();
                ("", "half")
            }
            other => panic!("{other}"),
        };
        wire.write(format!("HTTP/1.1 200 OK\r\n{framing}\r\n{part}"))
    });
    let proxy = forwarding(workers, &endpoint.at(), "");
    for (path, cause) in [
        ("/length", "upstream_aborted"),
        ("/chunked", "upstream_aborted"),
        ("/in-a-chunk", "upstream_aborted"),
        ("/in-the-trailers", "upstream_aborted"),
        ("/bad-chunk", "invalid_response: bad_chunk_size"),
    ] {
        let answer = Client::connect(proxy.web()).get(path);
        assert_eq!((answer.status(), answer.body.is_whole), (200, false), "{path}: {answer:?}");
        assert_eq!(answer.text(), "half", "{path}: what came is passed on");
        let line = is_logged(&proxy, path, 200, cause);
        assert_eq!(line["attempts"], 1, "no other attempt once the head was sent: {line}");
    }
    // Where only the end of the connection ends the body, only a reset tells.
    for (path, version) in [("/chunked-to-1.0", "1.0"), ("/reset", "1.0")] {
        let mut client = Client::connect(proxy.web());
        client.send(format!("GET {path} HTTP/{version}\r\nHost: a\r\n\r\n"));
        assert_eq!(client.read_head().unwrap().unwrap().status(), 200, "{path}");
        let error = client.read_to_end().expect_err(path);
        assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset, "{path}");
    }
    // A response that the end of the connection ends is whole.
    drop(endpoint);
    let endpoint = Endpoint::on_head(|wire: &mut Wire, _| wire.write("HTTP/1.1 200 OK\r\n\r\nuntil the end"));
    let proxy = forwarding(workers, &endpoint.at(), "");
    let answer = Client::connect(proxy.web()).get("/");
    assert_eq!((answer.text().as_str(), answer.body.is_whole), ("until the end", true), "{answer:?}");
    assert_eq!(proxy.access_of("/")["cause"], serde_json::Value::Null);
}
