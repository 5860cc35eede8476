//! Another attempt, where that is safe.

use std::io;

use super::balancing;
use crate::support::{Client, Endpoint, Proxy, Refusing, Wire, get, post, text, wait_until};
use crate::with_one_and_four_workers;

with_one_and_four_workers!(
    a_refused_connection_is_tried_elsewhere_whatever_the_method,
    a_broken_connection_is_tried_elsewhere_unless_that_could_do_it_twice,
    a_status_is_tried_elsewhere_where_the_route_says_so,
    a_body_too_large_to_keep_is_not_sent_again,
    a_body_half_sent_is_sent_again_from_the_start,
    a_body_that_waits_for_leave_waits_through_a_retry,
    an_endpoint_that_hangs_is_left_for_another_where_the_route_says_so,
    retries_stay_within_their_budget,
    a_closed_kept_connection_is_not_a_failure,
);

/// A route that asks the first endpoint first, so that every request meets the one that fails.
fn after(workers: usize, failing: &str, healthy: &Endpoint, retry: &str) -> Proxy {
    // Every request is to meet the one that fails.
    let cluster = "health.passive = \"off\"";
    balancing(
        workers,
        &format!("policy = \"first\"\n{retry}"),
        &format!("[\"{failing}\", \"{}\"]", healthy.at()),
        cluster,
    )
}

/// Reads a whole request and hangs up.
fn hang_up(wire: &mut Wire, _: &std::sync::Arc<crate::support::Seen>) -> io::Result<()> {
    if let Some(head) = wire.read_head()? {
        wire.read_request_body(&head)?;
    }
    Ok(())
}

fn a_refused_connection_is_tried_elsewhere_whatever_the_method(workers: usize) {
    let (refusing, healthy) = (Refusing::new(), Endpoint::named("ok"));
    let proxy = after(workers, &refusing.address.to_string(), &healthy, "");
    assert_eq!(get(proxy.web(), "/get").text(), "ok");
    let line = proxy.access_of("/get");
    assert_eq!((&line["attempts"], &line["endpoint"]), (&2.into(), &healthy.at().into()), "{line}");
    let body = "x".repeat(200_000);
    let answer = post(proxy.web(), "/post", &body);
    assert_eq!(answer.text(), "ok", "nothing of it was sent, so nothing can happen twice");
    assert_eq!(healthy.last().body.data, body.as_bytes());
}

fn a_broken_connection_is_tried_elsewhere_unless_that_could_do_it_twice(workers: usize) {
    let (breaking, healthy) = (Endpoint::scripted(hang_up), Endpoint::named("ok"));
    let proxy = after(workers, &breaking.at(), &healthy, "");
    for method in ["GET", "HEAD", "OPTIONS", "PUT", "DELETE"] {
        let answer = Client::connect(proxy.web()).ask(&format!("{method} /{method} HTTP/1.1\nContent-Length: 0"));
        assert_eq!(answer.status(), 200, "{method}");
        assert_eq!(proxy.access_of(&format!("/{method}"))["attempts"], 2, "{method}");
    }
    let before = healthy.requests();
    for method in ["POST", "PATCH"] {
        let answer = Client::connect(proxy.web()).ask(&format!("{method} /{method} HTTP/1.1\nContent-Length: 0"));
        assert_eq!(answer.status(), 502, "{method}: the endpoint may have acted on it");
    }
    assert_eq!(healthy.requests(), before);

    let proxy = after(workers, &breaking.at(), &healthy, "retry = { unsafe_methods = true }");
    assert_eq!(post(proxy.web(), "/forced", "payload").text(), "ok", "the operator's word");
    assert_eq!(healthy.last().text(), "payload");
    let mut client = Client::connect(proxy.web());
    client.send("POST /chunked HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n");
    client.write_chunk("chunked ").unwrap();
    client.write_chunk("payload").unwrap();
    client.write_chunk("").unwrap();
    assert_eq!(client.answer("POST").text(), "ok");
    assert_eq!(healthy.last().text(), "chunked payload");
}

fn a_status_is_tried_elsewhere_where_the_route_says_so(workers: usize) {
    let sick = Endpoint::answering(|request| match request.head.target() {
        "/500" => text(500, "broken"),
        _ => text(503, "sick"),
    });
    let healthy = Endpoint::named("ok");
    let proxy = after(workers, &sick.at(), &healthy, "retry = { on = [\"503\"] }");
    assert_eq!(get(proxy.web(), "/").text(), "ok");
    assert_eq!(get(proxy.web(), "/500").text(), "broken", "not listed");
    assert_eq!(post(proxy.web(), "/", "x").text(), "sick", "a POST is not replayed");
    // If all endpoints answer so, the response is the endpoint's own.
    let also_sick = Endpoint::answering(|_| text(503, "sick, too"));
    let proxy = after(workers, &sick.at(), &also_sick, "retry = { on = [\"503\"], attempts = 5 }");
    let answer = get(proxy.web(), "/sick");
    assert_eq!((answer.status(), answer.text().starts_with("sick")), (503, true), "{answer:?}");
    let line = proxy.access_of("/sick");
    assert_eq!(line["cause"], serde_json::Value::Null, "{line}");
    assert!(proxy.metric("lbproxy_retries_total", &[]) >= 1.0);
}

fn a_body_too_large_to_keep_is_not_sent_again(workers: usize) {
    let (breaking, healthy) = (Endpoint::scripted(hang_up), Endpoint::named("ok"));
    let proxy = after(workers, &breaking.at(), &healthy, "retry = { body_limit = \"1KiB\" }");
    let put = |size: usize| {
        let mut client = Client::connect(proxy.web());
        client.send(format!("PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: {size}\r\n\r\n"));
        client.send(vec![b'x'; size]);
        client.answer("PUT")
    };
    assert_eq!(put(1024).text(), "ok");
    assert_eq!(healthy.last().body.data.len(), 1024);
    assert_eq!(put(1025).status(), 502);
    assert_eq!(healthy.requests(), 1);
}

fn a_body_half_sent_is_sent_again_from_the_start(workers: usize) {
    let breaking = Endpoint::on_head(|wire: &mut Wire, _| wire.read_exactly(10_000).map(drop));
    let healthy = Endpoint::named("ok");
    let proxy = after(workers, &breaking.at(), &healthy, "");
    for framing in ["Content-Length: 20000", "Transfer-Encoding: chunked"] {
        let before = breaking.requests();
        let mut client = Client::connect(proxy.web());
        client.send(format!("PUT / HTTP/1.1\r\nHost: a\r\n{framing}\r\n\r\n"));
        let chunked = framing.contains("chunked");
        for half in [[b'a'; 10_000], [b'b'; 10_000]] {
            if chunked {
                client.write_chunk(half).unwrap();
            } else {
                client.send(half);
            }
            wait_until("the first endpoint to break off", || breaking.requests() > before && breaking.open() == 0);
        }
        if chunked {
            client.write_chunk("").unwrap();
        }
        assert_eq!(client.answer("PUT").text(), "ok", "{framing}");
        let body = healthy.last().body.data;
        assert_eq!((body.len(), body[9_999], body[10_000]), (20_000, b'a', b'b'), "{framing}");
    }
}

fn a_body_that_waits_for_leave_waits_through_a_retry(workers: usize) {
    let healthy = Endpoint::on_head(|wire: &mut Wire, _| {
        assert!(wire.buffer.is_empty());
        wire.write("HTTP/1.1 100 Continue\r\n\r\n")?;
        let body = wire.read_exactly(4)?;
        wire.write(text(200, &String::from_utf8_lossy(&body)))
    });
    let (refusing, breaking) = (Refusing::new(), Endpoint::on_head(|_, _| Ok(())));
    for first in [refusing.address.to_string(), breaking.at()] {
        let proxy = after(workers, &first, &healthy, "");
        let mut client = Client::connect(proxy.web());
        client.send("PUT / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 4\r\n\r\n");
        assert_eq!(client.read_head().unwrap().unwrap().status(), 100);
        client.send("body");
        let head = client.read_head().unwrap().unwrap();
        assert_eq!(head.status(), 200, "one leave, and then the answer");
        assert_eq!(client.read_exactly(4).unwrap(), b"body");
    }
}

fn an_endpoint_that_hangs_is_left_for_another_where_the_route_says_so(workers: usize) {
    let hanging = Endpoint::on_head(|wire: &mut Wire, _| wire.read_to_end().map(drop));
    let healthy = Endpoint::named("ok");
    let timeout = "timeout = { response = \"1s\" }";
    let proxy = after(workers, &hanging.at(), &healthy, &format!("{timeout}\nretry = {{ on = [\"timeout\"] }}"));
    assert_eq!(get(proxy.web(), "/").text(), "ok");
    assert_eq!(post(proxy.web(), "/posted", "x").status(), 504, "the endpoint may still be acting on it");
    let proxy = after(workers, &hanging.at(), &healthy, timeout);
    assert_eq!(get(proxy.web(), "/").status(), 504, "not listed by default");
    // The total time holds for all attempts together.
    let also_hanging = Endpoint::on_head(|wire: &mut Wire, _| wire.read_to_end().map(drop));
    let bounded = "timeout = { response = \"1s\", total = \"1500ms\" }\nretry = { on = [\"timeout\"] }";
    let proxy = after(workers, &hanging.at(), &also_hanging, bounded);
    assert_eq!(get(proxy.web(), "/both").status(), 504);
    let line = proxy.access_of("/both");
    assert_eq!((&line["cause"], &line["attempts"]), (&"total_timeout".into(), &2.into()), "{line}");
}

fn retries_stay_within_their_budget(workers: usize) {
    let [a, b] = [(); 2].map(|()| Endpoint::answering(|_| text(503, "sick")));
    let proxy = after(workers, &a.at(), &b, "retry = { on = [\"503\"], attempts = 2, budget = \"10%\" }");
    let start = std::time::Instant::now();
    let mut client = Client::connect(proxy.web());
    for _ in 0..400 {
        assert_eq!(client.get("/").status(), 503);
    }
    let seconds = start.elapsed().as_secs_f64();
    let retries = proxy.metric("lbproxy_retries_total", &[]);
    // A tenth of the requests, or the floor of ten a second with what a ten-second window saves up of it: no storm.
    let most = 40.0 + 10.0 * (seconds + 10.0);
    assert!((10.0..=most).contains(&retries), "{retries} retries in {seconds} s, at most {most}");
    assert_eq!((a.requests() + b.requests()) as f64, 400.0 + retries);
}

fn a_closed_kept_connection_is_not_a_failure(workers: usize) {
    // Answers one request and closes without `Connection: close`, as soon as the next one comes.
    let endpoint = Endpoint::scripted(|wire, seen| {
        let Some(head) = wire.read_head()? else { return Ok(()) };
        seen.note(crate::support::Message { head, ..Default::default() });
        wire.write(text(200, "once"))?;
        wire.fill().map(drop)
    });
    let proxy = balancing(workers, "retry = \"off\"", &format!("[\"{}\"]", endpoint.at()), "");
    let mut client = Client::connect(proxy.web());
    for n in 1..=5 {
        assert_eq!(client.get("/").text(), "once", "request {n}");
        assert_eq!(endpoint.requests(), n);
    }
}
