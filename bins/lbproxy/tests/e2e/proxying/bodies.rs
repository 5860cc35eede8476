//! Bodies in either framing, in either direction, and responses without one.

use crate::failures::forwarding;
use crate::support::{Client, Endpoint, text};
use crate::with_one_and_four_workers;

with_one_and_four_workers!(
    bodies_arrive_as_they_were_sent,
    trailers_follow_their_body,
    responses_without_a_body_keep_the_connection,
);

fn bodies_arrive_as_they_were_sent(workers: usize) {
    // Answers with what it got, framed as the path says.
    let endpoint = Endpoint::answering(|request| {
        let body = request.text();
        if request.head.target() == "/chunked" && !body.is_empty() {
            let (a, b) = body.split_at(body.len() / 2);
            let chunk = |text: &str| {
                if text.is_empty() { String::new() } else { format!("{:x};ext=1\r\n{text}\r\n", text.len()) }
            };
            return format!("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n{}{}0\r\n\r\n", chunk(a), chunk(b));
        }
        text(200, &body)
    });
    let proxy = forwarding(workers, &endpoint.at(), "");
    let mut client = Client::connect(proxy.web());
    for size in [0, 1, 100, 8 * 1024, 70_000, 1 << 20] {
        let body: String = (0..size).map(|n| char::from(b'a' + (n % 23) as u8)).collect();
        for path in ["/length", "/chunked"] {
            client.send(format!("POST {path} HTTP/1.1\r\nHost: a\r\nContent-Length: {size}\r\n\r\n{body}"));
            let answer = client.answer("POST");
            assert!(answer.body.is_whole && answer.text() == body, "{size} {path}");
            let seen = endpoint.last();
            assert_eq!(seen.header("Content-Length"), Some(&*size.to_string()));
            assert!(!seen.head.has("Transfer-Encoding"));

            client.send(format!("POST {path} HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"));
            for piece in body.as_bytes().chunks(10_000) {
                client.write_chunk(piece).unwrap();
            }
            client.write_chunk("").unwrap();
            let answer = client.answer("POST");
            assert!(answer.body.is_whole && answer.text() == body, "{size} {path} chunked");
            let seen = endpoint.last();
            assert_eq!(seen.header("Transfer-Encoding"), Some("chunked"));
            assert!(!seen.head.has("Content-Length"));
        }
    }
    assert_eq!(endpoint.connections(), 1, "every body ended where it should");
}

fn trailers_follow_their_body(workers: usize) {
    let endpoint = Endpoint::answering(|_| {
        "HTTP/1.1 200 OK\r\nTrailer: X-Sum\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nbody\r\n0\r\nX-Sum: 42\r\nX-More: b\r\n\r\n"
            .to_owned()
    });
    let proxy = forwarding(workers, &endpoint.at(), "");
    let mut client = Client::connect(proxy.web());
    client.send(
        "POST / HTTP/1.1\r\nHost: a\r\nTE: trailers\r\nTransfer-Encoding: chunked\r\n\r\n\
         4\r\nbody\r\n0\r\nX-Checksum: 7\r\nAuthorization: forged\r\n\r\n",
    );
    let answer = client.answer("POST");
    let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    assert_eq!(answer.body.trailers, [pair("X-Sum", "42"), pair("X-More", "b")]);
    assert_eq!(answer.header("Trailer"), Some("X-Sum"));
    let seen = endpoint.last();
    assert_eq!(seen.header("TE"), Some("trailers"));
    assert_eq!(seen.body.trailers, [pair("X-Checksum", "7")], "what may not be a trailer is left out");
    assert_eq!(client.get("/again").text(), "body");
}

fn responses_without_a_body_keep_the_connection(workers: usize) {
    let endpoint = Endpoint::answering(|request| match (request.head.method(), request.head.target()) {
        ("HEAD", "/chunked") => "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n".to_owned(),
        ("HEAD", _) => "HTTP/1.1 200 OK\r\nContent-Length: 1234\r\nETag: \"x\"\r\n\r\n".to_owned(),
        (_, "/204") => "HTTP/1.1 204 No Content\r\n\r\n".to_owned(),
        (_, "/304") => "HTTP/1.1 304 Not Modified\r\nContent-Length: 1234\r\nETag: \"x\"\r\n\r\n".to_owned(),
        _ => text(200, "body"),
    });
    let proxy = forwarding(workers, &endpoint.at(), "");
    let mut client = Client::connect(proxy.web());
    for _ in 0..2 {
        let answer = client.ask("HEAD /length HTTP/1.1");
        assert_eq!((answer.header("Content-Length"), answer.header("ETag")), (Some("1234"), Some("\"x\"")));
        let answer = client.ask("HEAD /chunked HTTP/1.1");
        assert_eq!((answer.status(), answer.header("Content-Length")), (200, None));
        let answer = client.get("/204");
        assert_eq!(
            (answer.status(), answer.header("Content-Length"), answer.head.has("Transfer-Encoding")),
            (204, None, false)
        );
        let answer = client.get("/304");
        assert_eq!((answer.status(), answer.header("Content-Length")), (304, Some("1234")));
        assert_eq!(client.get("/").text(), "body");
    }
    assert_eq!(endpoint.connections(), 1);
    // Our own answers to HEAD have the length of the body that they do not have.
    let proxy = forwarding(workers, "127.0.0.1:1", "");
    let mut client = Client::connect(proxy.web());
    assert_eq!(client.ask("HEAD / HTTP/1.1").status(), 502);
    assert_eq!(client.get("/").status(), 502);
}
