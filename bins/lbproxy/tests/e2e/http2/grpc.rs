//! gRPC as it goes over the wire: statuses, deadlines, retries and streams.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::{HeaderMap, Request, Response};

use super::endpoint::{Asked, H2Endpoint};
use super::peer::{push, read};
use super::{Caller, proxy, run};
use crate::support::{Refusing, wait_until};
use crate::with_one_and_four_workers;

const H2: &str = "protocol = \"h2\"";

with_one_and_four_workers!(
    our_answers_are_trailers_only,
    a_deadline_ends_a_call,
    a_call_that_was_refused_is_tried_elsewhere,
    failing_calls_eject,
    messages_stream_both_ways,
    checks_call_the_health_service,
);

fn call(caller: &Caller, path: &str) -> http::request::Builder {
    caller.request("POST", path).header("content-type", "application/grpc").header("te", "trailers")
}

/// A message, framed.
fn message(text: &str) -> Bytes {
    [&[0][..], &(text.len() as u32).to_be_bytes(), text.as_bytes()].concat().into()
}

/// How a call ended.
fn ended(code: &str) -> HeaderMap {
    HeaderMap::from_iter([("grpc-status".parse().unwrap(), code.parse().unwrap())])
}

fn head(code: Option<&str>) -> Response<()> {
    let head = Response::builder().header("content-type", "application/grpc");
    code.into_iter().fold(head, |head, code| head.header("grpc-status", code)).body(()).unwrap()
}

fn our_answers_are_trailers_only(workers: usize) {
    let refusing = Refusing::new();
    let limits = "path = \"/s/\"\nbody_limit = \"10B\"";
    let proxy = proxy(workers, &refusing.address.to_string(), "", limits, H2);
    run(async {
        let mut caller = Caller::connect(proxy.web()).await;
        for (path, body, code) in [("/s/m", &b"short"[..], "14"), ("/none", b"", "12"), ("/s/large", &[0; 20], "8")] {
            let request = call(&caller, path).header("content-length", body.len()).body(()).unwrap();
            let (response, mut upload) = caller.begin(request, false).await;
            // Fails where the answer came first.
            let _ = push(&mut upload, Bytes::copy_from_slice(body), true).await;
            let answer = read(response).await;
            assert_eq!((answer.status, answer.header("grpc-status")), (200, code), "{path}: {answer:?}");
            assert_eq!(answer.header("content-type"), "application/grpc");
            assert!(!answer.header("grpc-message").is_empty() && answer.body.is_empty() && answer.trailers.is_none());
        }
        let request: Request<()> = caller.request("POST", "/s/plain").body(()).unwrap();
        assert_eq!(caller.send(request, &[b"x"], None).await.status, 502, "only gRPC calls get this response");
    });
    let line = proxy.access_of("/s/m");
    assert_eq!(
        (&line["cause"], &line["status"], &line["grpc_status"]),
        (&"connect_refused".into(), &200.into(), &14.into())
    );
    assert!(proxy.access_of("/s/plain").get("grpc_status").is_none());
}

fn a_deadline_ends_a_call(workers: usize) {
    let endpoint = H2Endpoint::serving(h2::server::Builder::new(), |mut asked: Asked| async move {
        if asked.request.uri().path() == "/begun" {
            let mut send = asked.respond.send_response(head(None), false).unwrap();
            push(&mut send, message("part"), false).await.unwrap();
            let _ = std::future::poll_fn(|cx| send.poll_reset(cx)).await;
        } else {
            let _ = std::future::poll_fn(|cx| asked.respond.poll_reset(cx)).await;
        }
    });
    let proxy = proxy(workers, &endpoint.at(), "", "", H2);
    run(async {
        let mut caller = Caller::connect(proxy.web()).await;
        let start = Instant::now();
        let request = call(&caller, "/silent").header("grpc-timeout", "2S").body(()).unwrap();
        let answer = caller.send(request, &[b""], None).await;
        assert_eq!((answer.status, answer.header("grpc-status")), (200, "4"), "{answer:?}");
        assert!(start.elapsed() >= Duration::from_secs(2));
        let request = call(&caller, "/begun").header("grpc-timeout", "2000000u").body(()).unwrap();
        let answer = caller.send(request, &[b""], None).await;
        assert!(answer.status == 200 && answer.reset.is_some(), "what has begun is broken off: {answer:?}");
    });
    assert_eq!(proxy.access_of("/silent")["cause"], "total_timeout: grpc-timeout");
    assert_eq!(proxy.access_of("/begun")["cause"], "total_timeout");
    wait_until("no attempt in flight", || proxy.endpoint("app", &endpoint.at())["in_flight"] == 0);
    assert_eq!(proxy.endpoint("app", &endpoint.at())["failures"], 1, "it answered one of them in time");
}

/// An endpoint that fails every call with this code, in the head or in the trailers, and counts them.
fn failing(code: &'static str, in_head: bool) -> (H2Endpoint, Arc<AtomicUsize>) {
    let calls = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&calls);
    let endpoint = H2Endpoint::answering(move |_, _, _| {
        counted.fetch_add(1, Ordering::SeqCst);
        match in_head {
            true => (head(Some(code)), Bytes::new(), None),
            false => (head(None), message("half"), Some(ended(code))),
        }
    });
    (endpoint, calls)
}

fn fine() -> H2Endpoint {
    H2Endpoint::answering(|_, _, _| (head(None), message("fine"), Some(ended("0"))))
}

fn a_call_that_was_refused_is_tried_elsewhere(workers: usize) {
    let (failing, calls) = failing("14", true);
    let fine = fine();
    let both = [failing.at(), fine.at()].join("\", \"");
    let route = "retry = { on = [\"503\"], unsafe_methods = true }";
    let proxy = proxy(workers, &both, "", route, H2);
    run(async {
        let mut caller = Caller::connect(proxy.web()).await;
        for _ in 0..6 {
            let request = call(&caller, "/s/m").body(()).unwrap();
            let answer = caller.send(request, &[&message("ask")], None).await;
            assert_eq!((answer.trailer("grpc-status"), &answer.body), ("0", &message("fine")), "{answer:?}");
        }
    });
    assert!(calls.load(Ordering::SeqCst) > 0);
}

fn failing_calls_eject(workers: usize) {
    for in_head in [true, false] {
        let (failing, _calls) = failing("14", in_head);
        let fine = fine();
        let both = [failing.at(), fine.at()].join("\", \"");
        let passive = format!("{H2}\nhealth.passive = {{ failures = 2, eject_for = \"60s\" }}");
        let proxy = proxy(workers, &both, "", "", &passive);
        run(async {
            let mut caller = Caller::connect(proxy.web()).await;
            for _ in 0..6 {
                let request = call(&caller, "/s/m").body(()).unwrap();
                caller.send(request, &[&message("ask")], None).await;
            }
        });
        assert_eq!(proxy.access_of("/s/m")["status"], 200);
        wait_until("the ejection", || proxy.metric("lbproxy_ejections_total", &[&failing.at()]) == 1.0);
        assert_eq!(proxy.metric("lbproxy_ejections_total", &[&fine.at()]), 0.0);
    }
}

fn messages_stream_both_ways(workers: usize) {
    // Answers each message before it takes the next.
    let endpoint = H2Endpoint::serving(h2::server::Builder::new(), |asked: Asked| async move {
        let Asked { request, mut respond, .. } = asked;
        let mut body = request.into_body();
        let mut send = respond.send_response(head(None), false).unwrap();
        while let Some(piece) = body.data().await {
            let piece = piece.unwrap();
            body.flow_control().release_capacity(piece.len()).unwrap();
            push(&mut send, piece, false).await.unwrap();
        }
        send.send_trailers(ended("0")).unwrap();
    });
    let proxy = proxy(workers, &endpoint.at(), "", "", H2);
    run(async {
        let mut caller = Caller::connect(proxy.web()).await;
        let request = call(&caller, "/s/chat").body(()).unwrap();
        let (response, mut upload) = caller.begin(request, false).await;
        let mut body = response.await.unwrap().into_body();
        for n in 0..20 {
            let sent = message(&format!("message {n}"));
            push(&mut upload, sent.clone(), false).await.unwrap();
            let mut got = Vec::new();
            while got.len() < sent.len() {
                let piece = body.data().await.unwrap().unwrap();
                body.flow_control().release_capacity(piece.len()).unwrap();
                got.extend_from_slice(&piece);
            }
            assert_eq!(got, sent, "before the next one is sent");
        }
        upload.send_data(Bytes::new(), true).unwrap();
        assert!(body.data().await.is_none());
        assert_eq!(body.trailers().await.unwrap().unwrap()["grpc-status"], "0");
    });
}

/// One service serves and another does not; a third is not known, and the whole endpoint says nothing.
fn checks_call_the_health_service(workers: usize) {
    let endpoint = H2Endpoint::answering(|parts, body, _| {
        let is_call = parts.method == "POST"
            && parts.uri.path() == "/grpc.health.v1.Health/Check"
            && parts.headers["content-type"] == "application/grpc"
            && parts.headers["te"] == "trailers"
            && parts.headers["x-token"] == "t";
        let framed = |message: &[u8]| Bytes::from([&[0, 0, 0, 0, message.len() as u8], message].concat());
        match &body[..] {
            _ if !is_call => (Response::builder().status(400).body(()).unwrap(), Bytes::new(), None),
            b"\0\0\0\0\x06\x0a\x04good" => (head(None), framed(&[8, 1]), Some(ended("0"))),
            b"\0\0\0\0\x05\x0a\x03bad" => (head(None), framed(&[8, 2]), Some(ended("0"))),
            b"\0\0\0\0\0" => (head(None), framed(&[]), Some(ended("0"))),
            _ => (head(Some("5")), Bytes::new(), None),
        }
    });
    for (asked, passes, detail) in [
        ("\"good\"", true, "SERVING for good"),
        ("\"bad\"", false, "NOT_SERVING for bad"),
        ("\"none\"", false, "grpc_status 5 for none"),
        ("true", false, "UNKNOWN"),
    ] {
        let check =
            format!("health.active = {{ grpc = {asked}, interval = \"50ms\", headers = {{ X-Token = \"t\" }} }}");
        let proxy = proxy(workers, &endpoint.at(), "", "", &format!("{H2}\n{check}"));
        wait_until("a check", || !proxy.endpoint("app", &endpoint.at())["last_check"].is_null());
        let last = &proxy.endpoint("app", &endpoint.at())["last_check"];
        assert_eq!((&last["ok"], &last["detail"]), (&passes.into(), &detail.into()), "{asked}");
    }
}
