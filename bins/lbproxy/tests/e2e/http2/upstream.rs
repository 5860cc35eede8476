//! Endpoints that speak HTTP/2: connections that are shared, full, left, refused and lost.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use h2::Reason;
use http::{HeaderMap, Response};

use super::endpoint::{Asked, H2Endpoint, answer, whole};
use super::peer::{push, read, settled};
use super::raw::{self, DATA, END_HEADERS, END_STREAM, GO_AWAY, HEADERS, PING, RST_STREAM, SETTINGS};
use super::{Caller, proxy, run};
use crate::support::{Client, Endpoint, Proxy, Wire, config, get, post, wait_until};
use crate::with_one_and_four_workers;

const H2: &str = "protocol = \"h2\"";

with_one_and_four_workers!(
    requests_pass_in_both_directions,
    requests_share_connections_until_they_are_full,
    clients_of_http1_reach_endpoints_of_http2,
    a_response_without_a_body_ends_for_clients_of_http1,
    a_length_given_twice_is_one_and_a_list_is_a_502,
    a_100_of_an_endpoint_is_passed_on,
    a_goaway_moves_requests_elsewhere,
    a_refused_stream_is_tried_elsewhere_whatever_its_method,
    a_request_left_out_by_several_goaways_is_served_in_the_end,
    who_is_left_out_every_time_is_a_503,
    a_refused_stream_is_retried_at_the_only_endpoint,
    an_endpoint_that_allows_no_streams_is_a_failed_connection,
    a_lowered_stream_limit_is_respected,
    a_connection_that_breaks_under_a_request_is_replaced,
    what_breaks_after_the_head_is_reset,
    a_client_that_cancels_cancels_at_the_endpoint,
    who_does_not_speak_http2_is_a_failed_connection,
    flow_control_reaches_through,
    an_upload_waits_for_a_slow_endpoint,
    checks_speak_http2,
    connections_are_limited_and_close,
    idle_connections_of_either_protocol_give_way_to_the_other,
);

fn echo() -> H2Endpoint {
    H2Endpoint::answering(|parts, body, trailers| {
        let headers = Response::builder()
            .status(200)
            .header("x-method", parts.method.as_str())
            .header("x-path", parts.uri.path_and_query().unwrap().as_str())
            .header("x-authority", parts.uri.authority().unwrap().as_str())
            .header("x-scheme", parts.uri.scheme_str().unwrap())
            .header("x-client", parts.headers["x-forwarded-for"].clone())
            .header("x-cookie", parts.headers.get("cookie").cloned().unwrap_or("".parse().unwrap()))
            .header("x-connection", usize::from(parts.headers.contains_key("connection")).to_string());
        let mut sums = HeaderMap::new();
        sums.insert("x-sum", body.len().into());
        if let Some(sum) = trailers.and_then(|trailers| trailers.get("x-sum")) {
            sums.insert("x-theirs", sum.clone());
        }
        (headers.body(()).unwrap(), body.clone(), Some(sums))
    })
}

fn requests_pass_in_both_directions(workers: usize) {
    let endpoint = echo();
    let proxy = proxy(workers, &endpoint.at(), "", "", H2);
    run(async {
        let mut caller = Caller::connect(proxy.web()).await;
        let request = caller.request("POST", "/a?b=c").header("cookie", "a=1").header("cookie", "b=2");
        let mut trailers = HeaderMap::new();
        trailers.insert("x-sum", "7".parse().unwrap());
        let large = vec![b'x'; 1_000_000];
        let answer = caller.send(request.body(()).unwrap(), &[&large, b"end"], Some(trailers)).await;
        assert_eq!((answer.status, answer.body.len(), answer.reset), (200, 1_000_003, None));
        assert_eq!((answer.trailer("x-sum"), answer.trailer("x-theirs")), ("1000003", "7"));
        assert_eq!((answer.header("x-method"), answer.header("x-path")), ("POST", "/a?b=c"));
        assert_eq!((answer.header("x-scheme"), answer.header("x-client")), ("http", "127.0.0.1"));
        assert_eq!(answer.header("x-authority"), format!("a:{}", proxy.web().port()));
        assert_eq!(answer.header("x-cookie"), "a=1; b=2");
        let request = caller.request("GET", "/empty").body(()).unwrap();
        let answer = caller.ask(request).await;
        assert_eq!((answer.body.len(), answer.trailer("x-sum")), (0, "0"));
    });
    assert_eq!(endpoint.requests(), 2);
}

/// An endpoint of which each connection carries two streams, and that answers all on request.
fn narrow(told: &Arc<tokio::sync::Semaphore>) -> H2Endpoint {
    let told = Arc::clone(told);
    let mut builder = h2::server::Builder::new();
    builder.max_concurrent_streams(2);
    H2Endpoint::serving(builder, move |mut asked: Asked| {
        let told = Arc::clone(&told);
        async move {
            let _told = told.acquire().await.unwrap();
            let body = Bytes::from(asked.connection.to_string());
            answer(&mut asked.respond, Response::new(()), body, None).await;
        }
    })
}

fn requests_share_connections_until_they_are_full(workers: usize) {
    let told = Arc::new(tokio::sync::Semaphore::new(0));
    let endpoint = narrow(&told);
    let proxy = proxy(workers, &endpoint.at(), "", "", H2);
    run(async {
        let mut caller = Caller::connect(proxy.web()).await;
        let mut waiting = Vec::new();
        for n in 0..5 {
            let request = caller.request("GET", &format!("/{n}")).body(()).unwrap();
            waiting.push(caller.begin(request, true).await.0);
        }
        while endpoint.requests() < 5 {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        assert_eq!(endpoint.connections(), 3, "two each");
        told.add_permits(100);
        for response in waiting {
            assert_eq!(read(response).await.status, 200);
        }
        // Now there is room.
        for _ in 0..20 {
            assert_eq!(caller.get("/more").await.status, 200);
        }
        assert_eq!(endpoint.connections(), 3);
    });
}

fn clients_of_http1_reach_endpoints_of_http2(workers: usize) {
    let endpoint = echo();
    let proxy = proxy(workers, &endpoint.at(), "", "", H2);
    let mut client = Client::connect(proxy.web());
    let answer = client.ask("POST /x HTTP/1.1\nHost: b.test\nConnection: x-own\nX-Own: 1\nContent-Length: 4\n\nbody");
    assert_eq!((answer.status(), answer.text().as_str()), (200, "body"));
    assert_eq!(answer.head.header("x-authority"), Some("b.test"));
    assert_eq!(answer.head.header("x-connection"), Some("0"));
    assert_eq!(answer.body.trailers, [("x-sum".to_owned(), "4".to_owned())]);
    let answer =
        client.ask("POST /x HTTP/1.1\nHost: a\nTransfer-Encoding: chunked\n\n3\r\nabc\r\n0\r\nX-Sum: 9\r\n\r\n");
    assert_eq!(answer.body.trailers, [("x-sum".to_owned(), "3".to_owned()), ("x-theirs".to_owned(), "9".to_owned())]);
    assert_eq!(client.ask("HEAD /x HTTP/1.1\nHost: a").status(), 200);
}

/// HTTP/2 says it by the end of the stream, HTTP/1 by a length: without one the client waits for the connection to end.
fn a_response_without_a_body_ends_for_clients_of_http1(workers: usize) {
    let endpoint = H2Endpoint::serving(h2::server::Builder::new(), |mut asked: Asked| async move {
        let status: u16 = asked.request.uri().path()[1..].parse().unwrap();
        let response = Response::builder().status(status).body(()).unwrap();
        answer(&mut asked.respond, response, Bytes::new(), None).await;
    });
    let proxy = proxy(workers, &endpoint.at(), "", "", H2);
    let mut client = Client::connect(proxy.web());
    for (status, length) in [(200, Some("0")), (404, Some("0")), (204, None), (304, None)] {
        let answer = client.get(&format!("/{status}"));
        assert_eq!((answer.status(), answer.head.header("content-length")), (status, length));
    }
    assert!(!client.ask("HEAD /200 HTTP/1.1").head.has("content-length"), "what GET would give is not known");
}

/// RFC 9110 §8.6: a recipient may refuse a list, and the protocol library does.
fn a_length_given_twice_is_one_and_a_list_is_a_502(workers: usize) {
    let endpoint = H2Endpoint::serving(h2::server::Builder::new(), |mut asked: Asked| async move {
        let lengths: &[&str] = if asked.request.uri().path() == "/twice" { &["2", "2"] } else { &["2, 2"] };
        let response = lengths.iter().fold(Response::builder(), |all, length| all.header("content-length", *length));
        answer(&mut asked.respond, response.body(()).unwrap(), Bytes::from("hi"), None).await;
    });
    let proxy = proxy(workers, &endpoint.at(), "", "", H2);
    let mut client = Client::connect(proxy.web());
    let answer = client.get("/twice");
    assert_eq!((answer.status(), answer.head.header("content-length"), answer.text().as_str()), (200, Some("2"), "hi"));
    assert_eq!(client.get("/list").status(), 502);
}

fn a_100_of_an_endpoint_is_passed_on(workers: usize) {
    let endpoint = H2Endpoint::serving(h2::server::Builder::new(), |asked| async move {
        let Asked { request, mut respond, .. } = asked;
        let (parts, body) = request.into_parts();
        if parts.uri.path() == "/asks" {
            respond.send_informational(Response::builder().status(100).body(()).unwrap()).unwrap();
        }
        let (body, _) = whole(body).await.unwrap();
        answer(&mut respond, Response::new(()), Bytes::from(body.len().to_string()), None).await;
    });
    let proxy = proxy(workers, &endpoint.at(), "", "", H2);
    let mut client = Client::connect(proxy.web());
    let mut heads = |method: &str, path: &str, framing: &str, body: &str| {
        client.send(format!("{method} {path} HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\n{framing}\r\n"));
        let first = (path == "/asks").then(|| client.read_head().unwrap().unwrap().status());
        client.send(body);
        let last = client.read_head().unwrap().unwrap();
        (first, last.status(), client.read_response_body(&last, method).unwrap().data)
    };
    assert_eq!(heads("POST", "/asks", "Content-Length: 4\r\n", "body"), (Some(100), 200, b"4".to_vec()));
    assert_eq!(heads("GET", "/asks", "", ""), (Some(100), 200, b"0".to_vec()));
    assert_eq!(heads("POST", "/silent", "Content-Length: 4\r\n", "body"), (None, 200, b"4".to_vec()));
    assert_eq!(heads("GET", "/silent", "", ""), (None, 200, b"0".to_vec()));
}

/// The other end of an HTTP/2 connection, frame by frame: reads until a frame of this kind; its stream.
pub(super) fn until(wire: &mut Wire, kind: u8) -> std::io::Result<u32> {
    loop {
        let head = wire.read_exactly(9)?;
        let payload = wire.read_exactly(u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize)?;
        if head[3] == PING && head[4] == 0 {
            wire.write(raw::frame(PING, 1, 0, &payload))?;
        }
        if head[3] == kind {
            return Ok(u32::from_be_bytes([head[5], head[6], head[7], head[8]]));
        }
    }
}

pub(super) fn begin(wire: &mut Wire) -> std::io::Result<()> {
    wire.read_exactly(24)?;
    wire.write(raw::frame(SETTINGS, 0, 0, &[]))?;
    wire.write(raw::frame(SETTINGS, 1, 0, &[]))
}

/// `200`, with this body.
fn ok(stream: u32, body: &[u8]) -> Vec<u8> {
    [raw::frame(HEADERS, END_HEADERS, stream, &[0x88]), raw::frame(DATA, END_STREAM, stream, body)].concat()
}

fn a_goaway_moves_requests_elsewhere(workers: usize) {
    let connections = AtomicUsize::new(0);
    let endpoint = Endpoint::scripted(move |wire: &mut Wire, _| {
        begin(wire)?;
        if connections.fetch_add(1, Ordering::SeqCst) == 0 {
            // Two requests are there; the second was not looked at, and the first is answered all the same.
            let first = until(wire, HEADERS)?;
            let second = until(wire, HEADERS)?;
            assert!(second > first);
            wire.write(raw::frame(GO_AWAY, 0, 0, &[first.to_be_bytes(), 0u32.to_be_bytes()].concat()))?;
            wire.write(ok(first, b"old"))?;
            return wire.read_to_end().map(drop);
        }
        loop {
            let stream = until(wire, HEADERS)?;
            wire.write(ok(stream, b"new"))?;
        }
    });
    let proxy = proxy(workers, &endpoint.at(), "", "", H2);
    run(async {
        let mut caller = Caller::connect(proxy.web()).await;
        let mut waiting = Vec::new();
        // Not idempotent, and without a retry in the configuration: no endpoint has processed it, so it is safe.
        for path in ["/1", "/2"] {
            let request = caller.request("POST", path).body(()).unwrap();
            let (response, mut body) = caller.begin(request, false).await;
            push(&mut body, Bytes::new(), true).await.unwrap();
            waiting.push(response);
        }
        let mut texts = Vec::new();
        for response in waiting {
            texts.push(read(response).await.text());
        }
        texts.sort();
        assert_eq!(texts, ["new", "old"]);
        assert_eq!(caller.get("/3").await.text(), "new", "no further request goes to the old connection");
    });
}

fn a_refused_stream_is_tried_elsewhere_whatever_its_method(workers: usize) {
    let refusing = Endpoint::scripted(|wire: &mut Wire, _| {
        begin(wire)?;
        loop {
            let stream = until(wire, HEADERS)?;
            wire.write(raw::frame(RST_STREAM, 0, stream, &[0, 0, 0, 7]))?;
        }
    });
    let other = echo();
    let both = [refusing.at(), other.at()].join("\", \"");
    let proxy = proxy(workers, &both, "", "retry = { on = [\"connect_error\"] }", H2);
    run(async {
        let mut caller = Caller::connect(proxy.web()).await;
        for n in 0..4 {
            let request = caller.request("POST", "/").body(()).unwrap();
            let answer = caller.send(request, &[b"body"], None).await;
            assert_eq!((answer.status, answer.text().as_str()), (200, "body"), "{n}");
        }
    });
    assert_eq!(other.requests(), 4);
}

/// An endpoint that answers so many streams of each connection, says GOAWAY and looks at no other.
fn leaving_after(answers: usize) -> Endpoint {
    Endpoint::scripted(move |wire: &mut Wire, _| {
        begin(wire)?;
        let mut last = 0;
        for _ in 0..answers {
            last = until(wire, HEADERS)?;
            wire.write(ok(last, b"fine"))?;
        }
        if answers == 0 {
            until(wire, HEADERS)?;
        }
        wire.write(raw::frame(GO_AWAY, 0, 0, &[last.to_be_bytes(), 0u32.to_be_bytes()].concat()))?;
        wire.read_to_end().map(drop)
    })
}

fn a_request_left_out_by_several_goaways_is_served_in_the_end(workers: usize) {
    for (answers, clients, retry, method) in
        [(3, 6, "", "POST"), (1, 2, "", "POST"), (1, 4, "retry = \"off\"", "DELETE")]
    {
        let endpoint = leaving_after(answers);
        let proxy = proxy(workers, &endpoint.at(), "", retry, H2);
        let web = proxy.web();
        std::thread::scope(|scope| {
            for _ in 0..clients {
                scope.spawn(move || {
                    let mut client = Client::connect(web);
                    for n in 0..20 {
                        // Without retries no body is kept.
                        let body = if method == "POST" { "Content-Length: 3\r\n\r\nabc" } else { "\r\n" };
                        client.send(format!("{method} /{n} HTTP/1.1\r\nHost: a\r\n{body}"));
                        assert_eq!(client.answer(method).status(), 200);
                    }
                });
            }
        });
    }
}

fn who_is_left_out_every_time_is_a_503(workers: usize) {
    for (retry, sendings) in [("", 3), ("retry = { attempts = 5 }", 5), ("retry = \"off\"", 2)] {
        let endpoint = leaving_after(0);
        let proxy = proxy(workers, &endpoint.at(), "", retry, H2);
        let answer = if sendings == 2 { get(proxy.web(), "/out") } else { post(proxy.web(), "/out", "abc") };
        assert_eq!(answer.status(), 503);
        let line = proxy.access_of("/out");
        assert_eq!(
            (&line["cause"], &line["attempts"]),
            (&"not_processed: left out of its GOAWAY".into(), &sendings.into())
        );
        assert_eq!(endpoint.connections(), sendings);
    }
}

fn a_refused_stream_is_retried_at_the_only_endpoint(workers: usize) {
    let requests = Arc::new(AtomicUsize::new(0));
    let seen = Arc::clone(&requests);
    let endpoint = Endpoint::scripted(move |wire: &mut Wire, _| {
        begin(wire)?;
        loop {
            let stream = until(wire, HEADERS)?;
            match seen.fetch_add(1, Ordering::SeqCst) {
                0 | 1 | 3.. => wire.write(raw::frame(RST_STREAM, 0, stream, &[0, 0, 0, 7]))?,
                2 => wire.write(ok(stream, b"at last"))?,
            }
        }
    });
    let proxy = proxy(workers, &endpoint.at(), "", "", H2);
    assert_eq!(post(proxy.web(), "/third", "abc").text(), "at last");
    assert_eq!(proxy.access_of("/third")["attempts"], 3);
    assert_eq!(post(proxy.web(), "/never", "abc").status(), 503);
    let line = proxy.access_of("/never");
    assert_eq!((&line["cause"], &line["attempts"]), (&"not_processed: REFUSED_STREAM".into(), &3.into()));
    assert_eq!(requests.load(Ordering::SeqCst), 6);
}

fn an_endpoint_that_allows_no_streams_is_a_failed_connection(workers: usize) {
    let endpoint = Endpoint::scripted(|wire: &mut Wire, _| {
        wire.read_exactly(24)?;
        wire.write(raw::frame(SETTINGS, 0, 0, &[0, 3, 0, 0, 0, 0]))?;
        wire.write(raw::frame(SETTINGS, 1, 0, &[]))?;
        until(wire, HEADERS).map(drop)
    });
    let proxy = proxy(workers, &endpoint.at(), "", "", H2);
    run(async {
        let mut caller = Caller::connect(proxy.web()).await;
        assert_eq!(caller.get("/none").await.status, 502);
    });
    // Had it been waited for, the cause would be a timeout.
    assert_eq!(proxy.access_of("/none")["cause"], "connect_failed: it allows no streams");
    assert!(endpoint.connections() <= 3, "{} connections", endpoint.connections());
}

fn a_lowered_stream_limit_is_respected(workers: usize) {
    let connections = AtomicUsize::new(0);
    let endpoint = Endpoint::scripted(move |wire: &mut Wire, _| {
        begin(wire)?;
        if connections.fetch_add(1, Ordering::SeqCst) == 0 {
            // One from now on, and that one is running.
            let first = until(wire, HEADERS)?;
            wire.write(raw::frame(SETTINGS, 0, 0, &[0, 3, 0, 0, 0, 1]))?;
            wire.write(raw::frame(PING, 0, 0, &[1; 8]))?;
            until(wire, PING)?;
            wire.write(
                [raw::frame(HEADERS, END_HEADERS, first, &[0x88]), raw::frame(DATA, 0, first, b"one")].concat(),
            )?;
            // A second stream would come before the end of this.
            let next = until(wire, RST_STREAM);
            return next.map(drop);
        }
        loop {
            let stream = until(wire, HEADERS)?;
            wire.write(ok(stream, b"other"))?;
        }
    });
    let proxy = proxy(workers, &endpoint.at(), "", "", H2);
    run(async {
        let mut caller = Caller::connect(proxy.web()).await;
        let request = caller.request("GET", "/first").body(()).unwrap();
        let (response, mut upload) = caller.begin(request, true).await;
        let response = response.await.unwrap();
        for n in 0..3 {
            assert_eq!(caller.get("/more").await.text(), "other", "{n}");
        }
        upload.send_reset(Reason::CANCEL);
        drop(response);
    });
    assert_eq!(endpoint.connections(), 2);
}

fn a_connection_that_breaks_under_a_request_is_replaced(workers: usize) {
    let connections = AtomicUsize::new(0);
    let endpoint = Endpoint::scripted(move |wire: &mut Wire, _| {
        begin(wire)?;
        let dies = connections.fetch_add(1, Ordering::SeqCst) == 0;
        for n in 0.. {
            let stream = until(wire, HEADERS)?;
            if dies && n > 0 {
                wire.reset_on_close();
                return Ok(());
            }
            wire.write(ok(stream, b"fine"))?;
        }
        Ok(())
    });
    let proxy = proxy(workers, &endpoint.at(), "", "", H2);
    run(async {
        let mut caller = Caller::connect(proxy.web()).await;
        for n in 0..4 {
            let answer = caller.get("/").await;
            assert_eq!((answer.status, answer.text().as_str()), (200, "fine"), "{n}: {answer:?}");
        }
    });
    assert_eq!(endpoint.connections(), 2);
}

fn what_breaks_after_the_head_is_reset(workers: usize) {
    let endpoint = H2Endpoint::serving(h2::server::Builder::new(), |mut asked: Asked| async move {
        let mut send = asked.respond.send_response(Response::new(()), false).unwrap();
        push(&mut send, Bytes::from_static(b"half"), false).await.unwrap();
        // Until it is out.
        tokio::time::sleep(Duration::from_millis(50)).await;
        send.send_reset(Reason::INTERNAL_ERROR);
    });
    let proxy = proxy(workers, &endpoint.at(), "", "", H2);
    run(async {
        let mut caller = Caller::connect(proxy.web()).await;
        let answer = caller.get("/broken").await;
        assert_eq!((answer.status, answer.text().as_str()), (200, "half"));
        assert_eq!(answer.reset, Some(Reason::INTERNAL_ERROR));
    });
    assert_eq!(proxy.access_of("/broken")["cause"], "upstream_aborted: unexpected internal error encountered");
    let answer = Client::connect(proxy.web()).get("/by-http1");
    assert_eq!((answer.text().as_str(), answer.body.is_whole), ("half", false));
}

fn a_client_that_cancels_cancels_at_the_endpoint(workers: usize) {
    let (sender, reasons) = std::sync::mpsc::channel();
    let endpoint = H2Endpoint::serving(h2::server::Builder::new(), move |mut asked: Asked| {
        let sender = sender.clone();
        async move {
            let reason = std::future::poll_fn(|cx| asked.respond.poll_reset(cx)).await;
            sender.send(reason.unwrap()).unwrap();
        }
    });
    let proxy = proxy(workers, &endpoint.at(), "", "", H2);
    run(async {
        let mut caller = Caller::connect(proxy.web()).await;
        let request = caller.request("GET", "/given-up").body(()).unwrap();
        let (response, mut body) = caller.begin(request, true).await;
        while endpoint.requests() == 0 {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        body.send_reset(Reason::CANCEL);
        drop(response);
        let told = tokio::task::spawn_blocking(move || reasons.recv().unwrap()).await.unwrap();
        assert_eq!(told, Reason::CANCEL);
    });
    assert_eq!(proxy.access_of("/given-up")["status"], 499);
    assert_eq!(endpoint.open(), 1, "the connection goes on");
}

fn who_does_not_speak_http2_is_a_failed_connection(workers: usize) {
    let endpoint = Endpoint::named("http1");
    let proxy = proxy(workers, &endpoint.at(), "", "timeout = { connect = \"2s\" }", H2);
    run(async {
        let mut caller = Caller::connect(proxy.web()).await;
        let request = caller.request("POST", "/").body(()).unwrap();
        assert_eq!(caller.send(request, &[b"body"], None).await.status, 502);
    });
    let cause = proxy.access_of("/")["cause"].as_str().unwrap().to_owned();
    assert!(cause.starts_with("connect_"), "{cause}");
}

fn flow_control_reaches_through(workers: usize) {
    const PIECE: usize = 64 * 1024;
    let sent = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&sent);
    let endpoint = H2Endpoint::serving(h2::server::Builder::new(), move |mut asked: Asked| {
        let count = Arc::clone(&count);
        async move {
            if asked.request.uri().path() == "/small" {
                return answer(&mut asked.respond, Response::new(()), Bytes::from_static(b"small"), None).await;
            }
            let mut send = asked.respond.send_response(Response::new(()), false).unwrap();
            for _ in 0..512 {
                push(&mut send, Bytes::from(vec![b'x'; PIECE]), false).await.unwrap();
                count.fetch_add(PIECE, Ordering::SeqCst);
            }
            send.send_data(Bytes::new(), true).unwrap();
        }
    });
    let proxy = proxy(workers, &endpoint.at(), "", "", H2);
    run(async {
        let mut slow = Caller::connect(proxy.web()).await;
        let request = slow.request("GET", "/large").body(()).unwrap();
        let (response, _) = slow.begin(request, true).await;
        let response = response.await.unwrap();
        let last = settled(|| sent.load(Ordering::SeqCst)).await;
        // The client's window, our buffers, and the window that we gave the endpoint; less than a megabyte in all.
        assert!(last < 1 << 20, "{last} bytes were taken from the endpoint for a client that reads nothing");
        let mut other = Caller::connect(proxy.web()).await;
        assert_eq!(other.get("/small").await.text(), "small", "others on the same connection are not held up");
        assert_eq!(super::peer::read_body(response).await.body.len(), 512 * PIECE);
    });
}

fn an_upload_waits_for_a_slow_endpoint(workers: usize) {
    const PIECE: usize = 64 * 1024;
    const PIECES: usize = 512;
    let read_on = Arc::new(tokio::sync::Semaphore::new(0));
    let told = Arc::clone(&read_on);
    // More for a connection than for a stream: otherwise the endpoint itself would have one stream stop all others.
    let mut builder = h2::server::Builder::new();
    builder.initial_connection_window_size(1 << 20);
    let endpoint = H2Endpoint::serving(builder, move |asked: Asked| {
        let told = Arc::clone(&told);
        async move {
            let Asked { request, mut respond, .. } = asked;
            if request.uri().path() == "/large" {
                let _told = told.acquire().await.unwrap();
            }
            let (data, _) = whole(request.into_body()).await.unwrap();
            answer(&mut respond, Response::new(()), Bytes::from(data.len().to_string()), None).await;
        }
    });
    let proxy = proxy(workers, &endpoint.at(), "", "", H2);
    run(async {
        let mut caller = Caller::connect(proxy.web()).await;
        let request = caller.request("POST", "/large").body(()).unwrap();
        let (response, mut upload) = caller.begin(request, false).await;
        let sent = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&sent);
        let uploading = tokio::spawn(async move {
            for n in 0..PIECES {
                push(&mut upload, Bytes::from(vec![b'x'; PIECE]), n + 1 == PIECES).await.unwrap();
                count.fetch_add(PIECE, Ordering::SeqCst);
            }
        });
        let last = settled(|| sent.load(Ordering::SeqCst)).await;
        // Our window for a stream, our buffers and the endpoint's window.
        assert!(last < 1 << 20, "{last} bytes were taken from the client for an endpoint that reads nothing");
        // A stream that is stuck takes no window from the others of its connection.
        let request = caller.request("POST", "/small").body(()).unwrap();
        assert_eq!(caller.send(request, &[&[b'y'; 300_000]], None).await.text(), "300000");
        read_on.add_permits(1);
        uploading.await.unwrap();
        assert_eq!(read(response).await.text(), (PIECES * PIECE).to_string());
    });
}

fn checks_speak_http2(workers: usize) {
    let endpoint = H2Endpoint::answering(|parts, _, _| {
        let ok = parts.uri.path() != "/healthz" || parts.headers["user-agent"] == "lbproxy-check";
        let response = Response::builder().status(if ok { 200 } else { 400 }).body(()).unwrap();
        (response, Bytes::from_static(b"fine"), None)
    });
    let check = "health.active = { path = \"/healthz\", interval = \"50ms\", initial = \"down\", rise = 1 }";
    let http1 = Endpoint::named("http1");
    let both = [endpoint.at(), http1.at()].join("\", \"");
    let proxy = proxy(workers, &both, "", "", &format!("{H2}\n{check}"));
    wait_until("the endpoint to be up", || proxy.endpoint("app", &endpoint.at())["state"] == "up");
    wait_until("a check to fail", || proxy.metric("lbproxy_checks_total", &["fail", &http1.at()]) > 0.0);
    assert_ne!(proxy.endpoint("app", &http1.at())["state"], "up");
}

fn connections_are_limited_and_close(workers: usize) {
    let endpoint = echo();
    let limits = format!("{H2}\nkeep_alive = {{ requests = 3, timeout = \"2s\" }}");
    let mut proxy = proxy(workers, &endpoint.at(), "", "", &limits);
    let ask = |proxy: &Proxy| {
        run(async {
            let mut caller = Caller::connect(proxy.web()).await;
            for _ in 0..7 {
                assert_eq!(caller.get("/").await.status, 200);
            }
        });
    };
    ask(&proxy);
    assert_eq!(endpoint.connections(), 3, "three requests each");
    wait_until("idle connections to be closed", || endpoint.open() == 0);
    ask(&proxy);
    // Without the endpoint, nothing is kept.
    let other = Endpoint::named("other");
    proxy.reload(&config(
        workers,
        &format!("[[route]]\ncluster = \"app\"\n[cluster.app]\nendpoints = [\"{}\"]\n", other.at()),
    ));
    wait_until("its connections to be closed", || endpoint.open() == 0);
    // An endpoint can also change what it speaks.
    assert_eq!(Client::connect(proxy.web()).get("/").text(), "other");
}

#[test]
fn a_body_of_an_endpoint_is_read_to_its_end() {
    // What the other scenarios rely on.
    let endpoint = echo();
    run(async {
        let mut caller = Caller::connect(endpoint.at().parse().unwrap()).await;
        let request = caller.request("POST", "/").header("x-forwarded-for", "x").body(()).unwrap();
        assert_eq!(caller.send(request, &[b"a", b"b"], None).await.text(), "ab");
        let request = caller.request("GET", "/").header("x-forwarded-for", "x").body(()).unwrap();
        let (response, _) = caller.begin(request, true).await;
        assert_eq!(whole(response.await.unwrap().into_body()).await.unwrap().0.len(), 0);
    });
}

fn idle_connections_of_either_protocol_give_way_to_the_other(workers: usize) {
    let (multiplexed, plain) = (echo(), Endpoint::named("plain"));
    let proxy = Proxy::start(&config(
        workers,
        &format!(
            "limits.endpoint_connections = 1\n[[route]]\ncluster = \"plain\"\n[[route]]\npath = \"/two\"\ncluster = \"two\"\n\
             [cluster.plain]\nendpoints = [\"{}\"]\n[cluster.two]\nprotocol = \"h2\"\nendpoints = [\"{}\"]\n",
            plain.at(),
            multiplexed.at()
        ),
    ));
    for _ in 0..3 {
        for path in ["/", "/two"] {
            // A connection of HTTP/2 that is to go does so in its own time.
            wait_until("room for the other protocol", || get(proxy.web(), path).status() == 200);
            assert_eq!(proxy.metric("lbproxy_endpoint_connections", &[]), 1.0);
        }
    }
}
