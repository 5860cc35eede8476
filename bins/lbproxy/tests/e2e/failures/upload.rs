//! Uploads and answers that cross.

use bytes::Bytes;
use h2::Reason;

use super::forwarding;
use crate::http2::{Caller, push, read, run};
use crate::support::{Client, Endpoint, Wire, get, wait_until};
use crate::with_one_and_four_workers;

with_one_and_four_workers!(
    an_early_refusal_reaches_a_client_that_is_still_sending,
    a_client_that_is_answered_early_may_ask_again,
    what_follows_a_body_that_is_none_is_no_request,
    both_directions_flow_at_the_same_time,
    a_body_that_grows_too_large_ends_both_sides,
    a_connection_whose_upload_broke_is_not_used_again,
);

/// More than the kernel's buffers on the way hold.
const LARGE: usize = 48 << 20;

fn an_early_refusal_reaches_a_client_that_is_still_sending(workers: usize) {
    let endpoint = Endpoint::on_head(|wire: &mut Wire, _| {
        wire.write("HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\nConnection: close\r\n\r\nno")?;
        wire.finish();
        // Reads on, as a careful program does, so that no reset overtakes the response.
        wire.read_to_end().map(drop)
    });
    let proxy = forwarding(workers, &endpoint.at(), "");
    let mut client = Client::connect(proxy.web());
    client.send(format!("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: {LARGE}\r\n\r\n"));
    client.send(vec![b'a'; LARGE / 2]);
    let answer = client.answer("POST");
    assert_eq!((answer.status(), answer.text().as_str()), (403, "no"));
    // Or the client would ask again, and find the connection closed.
    assert!(answer.head.says_close());
    // The rest is taken and thrown away, so that no reset destroys the answer on its way; then the end.
    let _ = client.write(vec![b'a'; LARGE / 2]);
    client.finish();
    assert!(client.is_closed_silently());
}

/// Answers as soon as it has a head; keeps the connection of an upload, of which it reads the rest.
fn hasty() -> Endpoint {
    Endpoint::on_head(|wire: &mut Wire, head| {
        let end = if head.method() == "GET" { "Connection: close\r\n" } else { "" };
        wire.write(format!("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n{end}\r\nok"))?;
        if end.is_empty() { wire.read_to_end().map(drop) } else { Ok(()) }
    })
}

fn a_client_that_is_answered_early_may_ask_again(workers: usize) {
    let endpoint = hasty();
    let proxy = forwarding(workers, &endpoint.at(), "");
    let mut client = Client::connect(proxy.web());
    let half = vec![b'a'; LARGE / 2];
    for framing in [format!("Content-Length: {LARGE}"), "Transfer-Encoding: chunked".to_owned()] {
        let is_chunked = framing.starts_with("Transfer");
        let send_half = |client: &mut Client| if is_chunked { client.write_chunk(&half) } else { client.write(&half) };
        client.send(format!("POST / HTTP/1.1\r\nHost: a\r\n{framing}\r\n\r\n"));
        send_half(&mut client).unwrap();
        let answer = client.answer("POST");
        assert_eq!((answer.status(), answer.text().as_str()), (200, "ok"));
        assert!(!answer.head.says_close());
        // It got no reset, so it sends the rest before the next request.
        send_half(&mut client).unwrap();
        if is_chunked {
            client.write_chunk("").unwrap();
        }
        assert_eq!(client.get("/again").text(), "ok");
    }
}

fn what_follows_a_body_that_is_none_is_no_request(workers: usize) {
    let endpoint = hasty();
    let proxy = forwarding(workers, &endpoint.at(), "");
    let mut client = Client::connect(proxy.web());
    client.send("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n");
    assert_eq!(client.answer("POST").text(), "ok");
    client.send("no length\r\n0\r\n\r\nGET /again HTTP/1.1\r\nHost: a\r\n\r\n");
    assert!(client.is_closed_silently());
    assert_eq!(endpoint.requests(), 1);
}

fn both_directions_flow_at_the_same_time(workers: usize) {
    let piece = vec![b'x'; 64 * 1024];
    let endpoint = Endpoint::on_head(move |wire: &mut Wire, _| {
        // Sends it all while the client does not read, and takes the upload meanwhile.
        let mut other = Wire::new(wire.stream.try_clone()?);
        let piece = piece.clone();
        let sending = std::thread::spawn(move || {
            other.write(format!("HTTP/1.1 200 OK\r\nContent-Length: {LARGE}\r\n\r\n"))?;
            (0..LARGE / piece.len()).try_for_each(|_| other.write(&piece))
        });
        wire.skip(LARGE as u64)?;
        sending.join().expect("no panic")
    });
    let proxy = forwarding(workers, &endpoint.at(), "timeout = { idle = \"3s\" }");
    let mut client = Client::connect(proxy.web());
    client.send(format!("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: {LARGE}\r\n\r\n"));
    client.send(vec![b'a'; LARGE]);
    let answer = client.answer("POST");
    assert_eq!((answer.status(), answer.body.is_whole, answer.body.data.len()), (200, true, LARGE));
}

fn a_body_that_grows_too_large_ends_both_sides(workers: usize) {
    let endpoint = Endpoint::on_head(|wire: &mut Wire, head| {
        if head.target() == "/answered" {
            wire.write("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nfirst\r\n")?;
        }
        wire.read_to_end().map(drop)
    });
    let proxy = forwarding(workers, &endpoint.at(), "body_limit = \"100KiB\"");
    let mut client = Client::connect(proxy.web());
    client.send("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n");
    let _ = client.write_chunk(vec![b'a'; 200 * 1024]);
    let answer = client.answer("POST");
    assert_eq!(answer.status(), 413, "{answer:?}");
    wait_until("the endpoint's connection to be closed", || endpoint.open() == 0);
    // After the head all that can be done is to break off.
    let mut client = Client::connect(proxy.web());
    client.send("POST /answered HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n");
    client.read_through(b"first\r\n").unwrap();
    let _ = client.write_chunk(vec![b'a'; 200 * 1024]);
    assert!(client.is_closed_silently());
    wait_until("the endpoint's connections to be closed", || endpoint.open() == 0);
}

/// Or the rest of a body that was announced, and never sent, would be taken from the next request.
fn a_connection_whose_upload_broke_is_not_used_again(workers: usize) {
    // Answers before it has the body, and would keep the connection.
    let endpoint = Endpoint::on_head(|wire: &mut Wire, _| wire.write("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"));
    let proxy = forwarding(workers, &endpoint.at(), "");
    let mut client = Client::connect(proxy.web());
    client.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\nhalf!");
    assert_eq!(client.answer("POST").status(), 200);
    drop(client);
    wait_until("the endpoint's connection to be closed", || endpoint.open() == 0);
    assert_eq!(get(proxy.web(), "/after-http1").status(), 200);
    assert_eq!((endpoint.last().head.target(), endpoint.connections()), ("/after-http1", 2));
    run(async {
        let mut caller = Caller::connect(proxy.web()).await;
        let request = caller.request("POST", "/").header("content-length", 10).body(()).unwrap();
        let (response, mut body) = caller.begin(request, false).await;
        push(&mut body, Bytes::from_static(b"half!"), false).await.unwrap();
        assert_eq!(read(response).await.status, 200);
        body.send_reset(Reason::CANCEL);
        assert_eq!(caller.get("/after-http2").await.status, 200);
    });
    let head = endpoint.last().head;
    assert_eq!((head.method(), head.target()), ("GET", "/after-http2"));
}
