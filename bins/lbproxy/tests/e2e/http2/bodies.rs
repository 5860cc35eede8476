//! Bodies: large ones both ways, trailers, `Expect`, retries, early responses, and flow control.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http::HeaderMap;

use super::peer::{push, read, read_body, settled};
use super::{Caller, proxy, run};
use crate::support::{Endpoint, Gate, Message, Wire, text, wait_until};
use crate::with_one_and_four_workers;

with_one_and_four_workers!(
    bodies_pass_in_both_directions,
    an_upload_waits_for_a_slow_endpoint,
    an_answer_waits_for_a_slow_client,
    a_kept_body_is_sent_again,
    an_endpoint_may_answer_early,
    what_comes_after_an_early_answer_is_taken,
    continue_is_sent_when_the_endpoint_sends_it,
    what_a_stream_says_by_its_end_a_head_of_http1_says_by_a_length,
    a_get_whose_stream_stays_open_is_not_held_for_long,
    a_client_that_does_not_end_its_request_has_no_endpoint_blamed,
);

fn bodies_pass_in_both_directions(workers: usize) {
    let endpoint = Endpoint::answering(|message| {
        let trailers: Vec<_> = message.body.trailers.iter().map(|(name, value)| format!("{name}={value}")).collect();
        let framing = if message.head.has("content-length") { "length" } else { "chunked" };
        let said = format!("{} {framing} {}", message.body.data.len(), trailers.join(","));
        format!("HTTP/1.1 200 OK\r\nX-Said: {said}\r\nContent-Length: {}\r\n\r\n{}", 3_000_000, "y".repeat(3_000_000))
    });
    let proxy = proxy(workers, &endpoint.at(), "", "", "");
    run(async {
        let mut caller = Caller::connect(proxy.web()).await;
        let large = vec![b'x'; 2_000_000];
        let request = caller.request("POST", "/chunked").body(()).unwrap();
        let mut trailers = HeaderMap::new();
        trailers.insert("x-sum", "7".parse().unwrap());
        let answer = caller.send(request, &[&large, b"end"], Some(trailers)).await;
        assert_eq!((answer.header("x-said"), answer.body.len()), ("2000003 chunked x-sum=7", 3_000_000));
        let request = caller.request("POST", "/length").header("content-length", "2000000").body(()).unwrap();
        let answer = caller.send(request, &[&large], None).await;
        assert_eq!((answer.header("x-said"), answer.body.len()), ("2000000 length", 3_000_000));
        assert_eq!(answer.reset, None);
    });
    let line = proxy.access_of("/length");
    assert_eq!((&line["bytes_in"], &line["bytes_out"]), (&2_000_000.into(), &3_000_000.into()), "{line}");
}

fn an_upload_waits_for_a_slow_endpoint(workers: usize) {
    let gate = Gate::default();
    let held = gate.clone();
    let endpoint = Endpoint::on_head(move |wire: &mut Wire, head| {
        held.wait();
        let body = wire.read_request_body(&head)?;
        wire.write(text(200, &body.data.len().to_string()))
    });
    let proxy = proxy(workers, &endpoint.at(), "", "body_limit = \"1GiB\"", "");
    run(async {
        let mut caller = Caller::connect(proxy.web()).await;
        let request = caller.request("POST", "/").body(()).unwrap();
        let (response, mut body) = caller.begin(request, false).await;
        let piece = Bytes::from(vec![0; 256 * 1024]);
        // What the sockets of both sides and our windows hold; then the client has to wait.
        let mut sent = 0u64;
        while let Ok(pushed) =
            tokio::time::timeout(Duration::from_millis(500), push(&mut body, piece.clone(), false)).await
        {
            pushed.unwrap();
            sent += piece.len() as u64;
            assert!(sent < 64 << 20, "the upload continues without a reader");
        }
        assert!(proxy.resident_bytes() < 96 << 20);
        gate.open();
        // The piece that was given up half way was taken in part: what counts is that the rest flows again.
        push(&mut body, piece.clone(), true).await.unwrap();
        let answer = read(response).await;
        assert!(answer.text().parse::<u64>().unwrap() >= sent + piece.len() as u64, "{answer:?}");
    });
}

fn an_answer_waits_for_a_slow_client(workers: usize) {
    const PIECE: usize = 64 * 1024;
    let accepted = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&accepted);
    let endpoint = Endpoint::on_head(move |wire: &mut Wire, _| {
        wire.write(format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", 1024 * PIECE))?;
        for _ in 0..1024 {
            wire.write(vec![b'x'; PIECE])?;
            count.fetch_add(PIECE, Ordering::SeqCst);
        }
        Ok(())
    });
    let proxy = proxy(workers, &endpoint.at(), "", "", "");
    run(async {
        let mut caller = Caller::connect(proxy.web()).await;
        let request = caller.request("GET", "/").body(()).unwrap();
        let (response, _) = caller.begin(request, true).await;
        let response = response.await.unwrap();
        // Not read, and so not released: 64 KiB of window, and what sockets hold.
        let last = settled(|| accepted.load(Ordering::SeqCst)).await;
        assert!(last < 32 << 20, "{last} bytes were taken from the endpoint for a client that reads nothing");
        assert!(proxy.resident_bytes() < 64 << 20);
        let answer = super::peer::read_body(response).await;
        assert_eq!((answer.body.len(), answer.reset), (1024 * PIECE, None));
    });
}

fn a_kept_body_is_sent_again(workers: usize) {
    let tries = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&tries);
    let respond = move |message: &Message| match counted.fetch_add(1, Ordering::SeqCst) {
        0 => text(503, "busy"),
        _ => text(200, &format!("{}", message.body.data.len())),
    };
    let endpoints = [Endpoint::answering(respond.clone()), Endpoint::answering(respond)];
    let both = endpoints.each_ref().map(Endpoint::at).join("\", \"");
    let route = "retry = { on = [\"503\"], attempts = 2 }";
    let proxy = proxy(workers, &both, "", route, "");
    run(async {
        let mut caller = Caller::connect(proxy.web()).await;
        let request = caller.request("PUT", "/again").body(()).unwrap();
        let answer = caller.send(request, &[&[1; 20_000], &[2; 3]], None).await;
        assert_eq!((answer.status, answer.text().as_str()), (200, "20003"));
    });
    assert_eq!(proxy.access_of("/again")["attempts"], 2);
}

fn an_endpoint_may_answer_early(workers: usize) {
    let endpoint = Endpoint::on_head(|wire: &mut Wire, _| {
        wire.write("HTTP/1.1 403 Forbidden\r\nConnection: close\r\nContent-Length: 2\r\n\r\nno")
    });
    let proxy = proxy(workers, &endpoint.at(), "", "", "");
    run(async {
        let mut caller = Caller::connect(proxy.web()).await;
        let request = caller.request("POST", "/").body(()).unwrap();
        let (response, mut body) = caller.begin(request, false).await;
        push(&mut body, Bytes::from_static(b"part"), false).await.unwrap();
        let answer = read(response).await;
        assert_eq!((answer.status, answer.text().as_str(), answer.reset), (403, "no", None));
        // A client that pauses gets a reset without an error after a while.
        let reason = std::future::poll_fn(|cx| body.poll_reset(cx)).await.unwrap();
        assert_eq!(reason, h2::Reason::NO_ERROR);
        let request = caller.request("GET", "/next").body(()).unwrap();
        assert_eq!(caller.ask(request).await.status, 403, "the connection goes on");
    });
}

fn what_comes_after_an_early_answer_is_taken(workers: usize) {
    let endpoint = Endpoint::on_head(|wire: &mut Wire, _| {
        wire.write("HTTP/1.1 403 Forbidden\r\nConnection: close\r\nContent-Length: 2\r\n\r\nno")
    });
    let routes = "[[route]]\npath = \"/ours\"\nrespond = { status = 429 }\n";
    let proxy = proxy(workers, &endpoint.at(), "", "", routes);
    run(async {
        let mut caller = Caller::connect(proxy.web()).await;
        for (path, status) in [("/", 403), ("/ours", 429)] {
            let request = caller.request("POST", path).body(()).unwrap();
            let (response, mut body) = caller.begin(request, false).await;
            assert_eq!(read(response).await.status, status);
            // More than the window of a stream, 256 KiB: it is opened further, and the stream is not reset.
            push(&mut body, Bytes::from(vec![b'x'; 600_000]), true).await.unwrap();
        }
        assert_eq!(caller.ask(caller.request("GET", "/ours").body(()).unwrap()).await.status, 429);
    });
}

fn continue_is_sent_when_the_endpoint_sends_it(workers: usize) {
    let endpoint = Endpoint::on_head(|wire: &mut Wire, head| {
        assert_eq!(head.header("expect"), Some("100-continue"));
        wire.write("HTTP/1.1 100 Continue\r\n\r\n")?;
        let body = wire.read_request_body(&head)?;
        wire.write(text(200, &body.data.len().to_string()))
    });
    let proxy = proxy(workers, &endpoint.at(), "", "", "");
    run(async {
        let mut caller = Caller::connect(proxy.web()).await;
        let request = caller.request("PUT", "/").header("expect", "100-continue").body(()).unwrap();
        let (mut response, mut body) = caller.begin(request, false).await;
        let told = std::future::poll_fn(|cx| response.poll_informational(cx)).await.unwrap().unwrap();
        assert_eq!(told.status().as_u16(), 100);
        push(&mut body, Bytes::from_static(b"body"), true).await.unwrap();
        assert_eq!(read(response).await.text(), "4");

        let request = caller.request("GET", "/").header("expect", "100-continue").body(()).unwrap();
        let (mut response, _) = caller.begin(request, true).await;
        let told = std::future::poll_fn(|cx| response.poll_informational(cx)).await.unwrap().unwrap();
        assert_eq!(told.status().as_u16(), 100, "without a body as well");
        assert_eq!(read(response).await.text(), "0");
    });
    wait_until("the endpoint's requests", || endpoint.requests() == 2);
}

fn what_a_stream_says_by_its_end_a_head_of_http1_says_by_a_length(workers: usize) {
    let endpoint = Endpoint::answering(|request| {
        let [length, coding] = ["content-length", "transfer-encoding"].map(|name| request.header(name).unwrap_or("-"));
        text(200, &format!("{length} {coding} {}", request.text()))
    });
    let proxy = proxy(workers, &endpoint.at(), "", "", "");
    run(async {
        let mut caller = Caller::connect(proxy.web()).await;
        for (method, nothing) in [
            ("POST", "0 - "),
            ("PUT", "0 - "),
            ("PATCH", "0 - "),
            ("GET", "- - "),
            ("DELETE", "- - "),
            ("OPTIONS", "- - "),
            ("PROPFIND", "- - "),
        ] {
            let request = || caller.request(method, "/").body(()).unwrap();
            let (with_head, later) = (request(), request());
            let answer = read(caller.begin(with_head, true).await.0).await;
            assert_eq!(answer.text(), nothing, "{method}: END_STREAM on HEADERS");
            let (response, mut body) = caller.begin(later, false).await;
            push(&mut body, Bytes::new(), true).await.unwrap();
            let answer = read(response).await.text();
            // Of a POST the end may come too late to be known.
            let is_late = answer == "- chunked " && nothing == "0 - ";
            assert!(answer == nothing || is_late, "{method}: an empty DATA with END_STREAM: {answer:?}");
            let request = caller.request(method, "/").body(()).unwrap();
            let answer = caller.send(request, &[b"bo", b"dy"], None).await;
            assert_eq!(answer.text(), "- chunked body", "{method}");
            let request = caller.request(method, "/").header("content-length", "4").body(()).unwrap();
            let answer = caller.send(request, &[b"body"], None).await;
            assert_eq!(answer.text(), "4 - body", "{method}");
        }
    });
}

fn a_get_whose_stream_stays_open_is_not_held_for_long(workers: usize) {
    let endpoint = Endpoint::on_head(|wire: &mut Wire, head| {
        assert_eq!(head.header("transfer-encoding"), Some("chunked"));
        wire.write("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")?;
        wire.write_chunk("first word")?;
        let body = wire.read_request_body(&head)?;
        wire.write_chunk(body.data)?;
        wire.write_chunk("")
    });
    let proxy = proxy(workers, &endpoint.at(), "", "", "");
    run(async {
        let mut caller = Caller::connect(proxy.web()).await;
        let request = caller.request("GET", "/").body(()).unwrap();
        let (response, mut body) = caller.begin(request, false).await;
        let response = response.await.unwrap();
        push(&mut body, Bytes::from_static(b", last word"), true).await.unwrap();
        assert_eq!(read_body(response).await.text(), "first word, last word");
    });
}

fn a_client_that_does_not_end_its_request_has_no_endpoint_blamed(workers: usize) {
    let endpoint = Endpoint::named("app");
    let proxy = proxy(workers, &endpoint.at(), "", "timeout.total = \"300ms\"", "");
    run(async {
        let mut caller = Caller::connect(proxy.web()).await;
        for method in ["GET", "POST"] {
            let request = caller.request(method, "/").body(()).unwrap();
            let (response, _open) = caller.begin(request, false).await;
            assert_eq!(read(response).await.status, 504, "{method}");
        }
    });
    assert_eq!(proxy.endpoint("app", &endpoint.at())["failures"], 0);
}
