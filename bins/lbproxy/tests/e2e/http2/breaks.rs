//! What breaks: endpoints that stop half way, clients that go, and time that runs out.

use bytes::Bytes;
use h2::Reason;

use super::peer::{push, read};
use super::{Caller, proxy, run};
use crate::support::{Endpoint, Gate, Refusing, Wire, wait_until};
use crate::with_one_and_four_workers;

with_one_and_four_workers!(
    an_answer_cut_short_is_reset_and_never_ended,
    a_client_that_cancels_is_logged_and_its_attempt_dropped,
    a_client_that_goes_takes_all_its_requests_along,
    failures_have_their_statuses,
    a_client_that_stops_reading_is_given_up,
);

fn an_answer_cut_short_is_reset_and_never_ended(workers: usize) {
    let endpoint = Endpoint::on_head(|wire: &mut Wire, head| {
        let (framing, part) = match head.target() {
            "/length" => ("Content-Length: 100\r\n", "half"),
            "/chunked" => ("Transfer-Encoding: chunked\r\n", "4\r\nhalf\r\n"),
            _ => ("Transfer-Encoding: chunked\r\n", "4\r\nhalf\r\nzz\r\n"),
        };
        wire.write(format!("HTTP/1.1 200 OK\r\n{framing}\r\n{part}"))
    });
    let proxy = proxy(workers, &endpoint.at(), "", "", "");
    run(async {
        let mut caller = Caller::connect(proxy.web()).await;
        for path in ["/length", "/chunked", "/bad-chunk"] {
            let answer = caller.get(path).await;
            assert_eq!((answer.status, answer.reset), (200, Some(Reason::INTERNAL_ERROR)), "{path}: {answer:?}");
        }
    });
    for (path, cause) in [
        ("/length", "upstream_aborted"),
        ("/chunked", "upstream_aborted"),
        ("/bad-chunk", "invalid_response: bad_chunk_size"),
    ] {
        assert_eq!(proxy.access_of(path)["cause"], cause);
    }
}

fn a_client_that_cancels_is_logged_and_its_attempt_dropped(workers: usize) {
    let endpoint = Endpoint::on_head(|wire: &mut Wire, head| {
        if head.target() == "/after" {
            wire.write("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf")?;
        }
        wire.read_to_end().map(drop)
    });
    let proxy = proxy(workers, &endpoint.at(), "", "", "");
    run(async {
        let mut caller = Caller::connect(proxy.web()).await;
        let request = caller.request("GET", "/before").body(()).unwrap();
        let (response, mut body) = caller.begin(request, true).await;
        // Nothing is answered before the endpoint has the request.
        tokio::task::yield_now().await;
        while endpoint.requests() == 0 {
            tokio::time::sleep(std::time::Duration::from_millis(2)).await;
        }
        body.send_reset(Reason::CANCEL);
        drop(response);
        let request = caller.request("GET", "/after").body(()).unwrap();
        let (response, mut body) = caller.begin(request, true).await;
        let response = response.await.unwrap();
        body.send_reset(Reason::CANCEL);
        drop(response);
        let request = caller.request("POST", "/upload").body(()).unwrap();
        let (_response, mut body) = caller.begin(request, false).await;
        push(&mut body, Bytes::from_static(b"part"), false).await.unwrap();
        while endpoint.requests() < 3 {
            tokio::time::sleep(std::time::Duration::from_millis(2)).await;
        }
        body.send_reset(Reason::CANCEL);
        // Until the frames are out.
        while endpoint.open() > 0 {
            tokio::time::sleep(std::time::Duration::from_millis(2)).await;
        }
    });
    for (path, status) in [("/before", 499), ("/after", 200), ("/upload", 499)] {
        let line = proxy.access_of(path);
        assert_eq!((&line["status"], &line["cause"]), (&status.into(), &"client_closed".into()), "{line}");
    }
    wait_until("no attempt in flight", || proxy.endpoint("app", &endpoint.at())["in_flight"] == 0);
}

fn a_client_that_goes_takes_all_its_requests_along(workers: usize) {
    let endpoint = Endpoint::on_head(|wire: &mut Wire, _| wire.read_to_end().map(drop));
    let proxy = proxy(workers, &endpoint.at(), "", "", "");
    run(async {
        let mut caller = Caller::connect(proxy.web()).await;
        let mut waiting = Vec::new();
        for path in ["/1", "/2", "/3"] {
            let request = caller.request("GET", path).body(()).unwrap();
            waiting.push(caller.begin(request, true).await);
        }
        while endpoint.requests() < 3 {
            tokio::time::sleep(std::time::Duration::from_millis(2)).await;
        }
        caller.connection.abort();
    });
    wait_until("the endpoint's connections to close", || endpoint.open() == 0);
    for path in ["/1", "/2", "/3"] {
        assert_eq!(proxy.access_of(path)["status"], 499);
    }
    wait_until("no connection", || proxy.metric("lbproxy_connections", &["web"]) == 0.0);
}

fn failures_have_their_statuses(workers: usize) {
    let refusing = Refusing::new();
    let gate = Gate::default();
    let held = gate.clone();
    let endpoint = Endpoint::on_head(move |_: &mut Wire, _| {
        held.wait();
        Ok(())
    });
    let refused = proxy(workers, &refusing.address.to_string(), "", "", "");
    let slow = proxy(workers, &endpoint.at(), "", "timeout = { response = \"1s\" }", "");
    let total = proxy(workers, &endpoint.at(), "", "timeout = { total = \"1s\" }", "");
    run(async {
        for (proxy, status) in [(&refused, 502), (&slow, 504), (&total, 504)] {
            let mut caller = Caller::connect(proxy.web()).await;
            let answer = caller.get("/").await;
            assert_eq!(answer.status, status);
            assert!(answer.text().contains("request_id"), "{answer:?}");
            let request = caller.request("POST", "/upload").body(()).unwrap();
            let (response, mut body) = caller.begin(request, false).await;
            push(&mut body, Bytes::from_static(b"part"), true).await.unwrap();
            assert_eq!(read(response).await.status, status, "the connection goes on");
        }
    });
    gate.open();
    assert_eq!(refused.access_of("/")["cause"], "connect_refused");
    assert_eq!(slow.access_of("/")["cause"], "response_timeout");
    assert_eq!(total.access_of("/")["cause"], "total_timeout");
}

fn a_client_that_stops_reading_is_given_up(workers: usize) {
    let endpoint = Endpoint::answering(|_| {
        let length = 1 << 20;
        format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n{}", "x".repeat(length))
    });
    let proxy = proxy(workers, &endpoint.at(), "", "timeout = { idle = \"200ms\" }", "");
    run(async {
        let mut caller = Caller::connect(proxy.web()).await;
        let request = caller.request("GET", "/stalled").body(()).unwrap();
        let (response, mut body) = caller.begin(request, true).await;
        let _unread = response.await.unwrap();
        let reason = std::future::poll_fn(|cx| body.poll_reset(cx)).await.unwrap();
        assert_eq!(reason, Reason::INTERNAL_ERROR);
    });
    assert_eq!(proxy.access_of("/stalled")["cause"], "idle_timeout");
    wait_until("no attempt in flight", || proxy.endpoint("app", &endpoint.at())["in_flight"] == 0);
}
