//! What an attempt does in the same way whichever protocol the endpoint speaks.

use std::io;
use std::time::{Duration, Instant};

use super::raw::{self, DATA, END_HEADERS, END_STREAM, HEADERS, RST_STREAM};
use super::upstream::{begin, until};
use super::{H2Endpoint, proxy};
use crate::support::{Client, Endpoint, Proxy, Wire, get, post, text, wait_until};
use crate::with_one_and_four_workers;

with_one_and_four_workers!(
    the_wait_for_a_response_begins_with_the_end_of_the_request,
    interim_responses_are_held_to_the_limits_of_heads,
    interim_responses_without_end_are_an_invalid_response,
    a_101_that_nothing_asked_for_is_an_invalid_response,
    refused_streams_draw_from_the_retry_budget,
);

const H1: &str = "protocol = \"http1\"";
const H2: &str = "protocol = \"h2\"";

/// An endpoint for each protocol that answers each request with these interim heads, and then with a 200.
fn hinting(hints: usize, interim: &'static str, encoded: &'static [u8]) -> [(Endpoint, &'static str); 2] {
    let http1 = Endpoint::on_head(move |wire: &mut Wire, _| {
        for _ in 0..hints {
            wire.write(interim)?;
        }
        wire.write(text(200, "final"))
    });
    let http2 = Endpoint::scripted(move |wire: &mut Wire, _| {
        begin(wire)?;
        loop {
            let stream = until(wire, HEADERS)?;
            for _ in 0..hints {
                wire.write(raw::frame(HEADERS, END_HEADERS, stream, encoded))?;
            }
            wire.write(final_of(stream))?;
        }
    });
    [(http1, H1), (http2, H2)]
}

fn final_of(stream: u32) -> Vec<u8> {
    [raw::frame(HEADERS, END_HEADERS, stream, &[0x88]), raw::frame(DATA, END_STREAM, stream, b"final")].concat()
}

/// Asks for `path`; the status of the final response, and the cause that is logged.
fn asked(proxy: &Proxy, path: &str) -> (u16, serde_json::Value) {
    let mut client = Client::connect(proxy.web());
    client.send(format!("GET {path} HTTP/1.1\r\nHost: a\r\n\r\n"));
    let status = loop {
        match client.read_head().unwrap().unwrap().status() {
            100..=199 => {}
            status => break status,
        }
    };
    (status, proxy.access_of(path)["cause"].clone())
}

fn interim_responses_are_held_to_the_limits_of_heads(workers: usize) {
    let three = "HTTP/1.1 103 Early Hints\r\nX-A: 1\r\nX-A: 2\r\nX-A: 3\r\n\r\n";
    let encoded = b"\x08\x03103\x00\x03x-a\x011\x00\x03x-a\x012\x00\x03x-a\x013";
    for (endpoint, protocol) in hinting(1, three, encoded) {
        let fitting = proxy(workers, &endpoint.at(), "limits.response_headers = 10", "retry = \"off\"", protocol);
        assert_eq!(asked(&fitting, "/fits"), (200, serde_json::Value::Null), "{protocol}");
        let strict = proxy(workers, &endpoint.at(), "limits.response_headers = 2", "retry = \"off\"", protocol);
        let (status, cause) = asked(&strict, "/many");
        assert_eq!(status, 502, "{protocol}");
        assert_eq!(cause, "response_too_large: too_many_headers", "{protocol}");
    }
}

fn interim_responses_without_end_are_an_invalid_response(workers: usize) {
    for (endpoint, protocol) in hinting(65, "HTTP/1.1 102 Processing\r\n\r\n", b"\x08\x03102") {
        let proxy = proxy(workers, &endpoint.at(), "", "retry = \"off\"", protocol);
        assert_eq!(asked(&proxy, "/endless"), (502, "invalid_response: too_many_interim".into()), "{protocol}");
    }
}

fn a_101_that_nothing_asked_for_is_an_invalid_response(workers: usize) {
    let switching = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: upgrade\r\n\r\n";
    for (endpoint, protocol) in hinting(1, switching, b"\x08\x03101") {
        let proxy = proxy(workers, &endpoint.at(), "", "retry = \"off\"", protocol);
        assert_eq!(get(proxy.web(), "/switch").status(), 502, "{protocol}");
        assert_eq!(proxy.access_of("/switch")["cause"], "invalid_response: unexpected_switch", "{protocol}");
    }
}

fn the_wait_for_a_response_begins_with_the_end_of_the_request(workers: usize) {
    // Longer than the wait for a response, and shorter than a client may pause.
    let pause = Duration::from_millis(1500);
    let http1 = Endpoint::named("whole");
    let http2 = H2Endpoint::answering(|_, _, _| (http::Response::new(()), "whole".into(), None));
    for (at, protocol) in [(http1.at(), H1), (http2.at(), H2)] {
        let timeouts = "timeout = { response = \"1s\", idle = \"30s\" }\nretry = \"off\"";
        let proxy = proxy(workers, &at, "", timeouts, protocol);
        let mut client = Client::connect(proxy.web());
        client.send("POST /slow HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n");
        client.write_chunk("all there is").unwrap();
        let start = Instant::now();
        wait_until("the client to go on", || start.elapsed() > pause);
        client.write_chunk("").unwrap();
        let answer = client.answer("POST");
        assert_eq!((answer.status(), answer.text().as_str()), (200, "whole"), "{protocol}");
    }
}

fn refused_streams_draw_from_the_retry_budget(workers: usize) {
    let refusing = [(); 2].map(|()| {
        Endpoint::scripted(|wire: &mut Wire, _| -> io::Result<()> {
            begin(wire)?;
            loop {
                let stream = until(wire, HEADERS)?;
                wire.write(raw::frame(RST_STREAM, 0, stream, &[0, 0, 0, 7]))?;
            }
        })
    });
    let both = refusing.each_ref().map(Endpoint::at).join("\", \"");
    let proxy = proxy(workers, &both, "", "retry = { attempts = 3, budget = \"10%\" }", H2);
    let start = Instant::now();
    for _ in 0..300 {
        assert_eq!(post(proxy.web(), "/", "abc").status(), 503);
    }
    let retries = proxy.metric("lbproxy_retries_total", &[]);
    // A tenth of the requests, or ten a second and what ten seconds save up of it; two for each request were it free.
    let max = 30.0 + 10.0 * (start.elapsed().as_secs_f64() + 10.0);
    assert!((10.0..=max).contains(&retries), "{retries} retries, at most {max}");
}
