//! Compression of responses: each encoding, decoded by its library and by curl; streams stay live; trailers, failures and lengths hold.

use std::io::Read;
use std::process::Command;

use http::HeaderMap;

use crate::http2::{Caller, H2Endpoint, run};
use crate::support::{Client, Endpoint, Gate, Proxy, config, wait_until};
use crate::with_one_and_four_workers;

with_one_and_four_workers!(
    every_encoding_is_read_back_as_it_was,
    an_event_is_with_its_client_before_the_next_one,
    trailers_follow_a_compressed_body,
    a_compressed_response_that_breaks_looks_cut,
);

/// A proxy that compresses what this endpoint answers.
#[track_caller]
fn compressing(workers: usize, at: &str, compress: &str, cluster: &str) -> Proxy {
    let rest = format!(
        "[[route]]\ncluster = \"app\"\ncompress = {compress}\n[cluster.app]\nendpoints = [\"{at}\"]\n{cluster}\n"
    );
    Proxy::start(&config(workers, &rest))
}

/// What of it can be decoded.
fn decoded(encoding: &str, bytes: &[u8]) -> Vec<u8> {
    let mut reader: Box<dyn Read> = match encoding {
        "gzip" => Box::new(flate2::read::GzDecoder::new(bytes)),
        "br" => Box::new(brotli::Decompressor::new(bytes, 4096)),
        "zstd" => Box::new(zstd::stream::read::Decoder::new(bytes).unwrap()),
        _ => panic!("{encoding}"),
    };
    let (mut out, mut buffer) = (Vec::new(), vec![0; 64 << 10]);
    while let Ok(read @ 1..) = reader.read(&mut buffer) {
        out.extend_from_slice(&buffer[..read]);
    }
    out
}

/// Text of so many octets that is not all the same.
fn prose(len: usize) -> String {
    let mut text = String::new();
    for line in 0.. {
        if text.len() >= len {
            break;
        }
        text.push_str(&format!("{line}: the square of it is {}\n", line * line));
    }
    text.truncate(len);
    text
}

fn every_encoding_is_read_back_as_it_was(workers: usize) {
    let text = prose(1 << 20);
    let endpoint = Endpoint::answering(|message| {
        let size = message.head.target().rsplit('/').next().unwrap().parse().unwrap();
        let text = prose(size);
        format!(
            "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nETag: \"1\"\r\nAccept-Ranges: bytes\r\nContent-Length: {}\r\n\r\n{text}",
            text.len()
        )
    });
    let proxy = compressing(workers, &endpoint.at(), "\"on\"", "");
    let mut client = Client::connect(proxy.web());
    for (accept, encoding) in
        [("gzip", "gzip"), ("br, gzip", "br"), ("gzip, br, zstd", "zstd"), ("gzip;q=1, br;q=0.1", "gzip")]
    {
        for size in [1024, 100_000, 1 << 20] {
            let answer = client.ask(&format!("GET /{size} HTTP/1.1\nAccept-Encoding: {accept}"));
            assert_eq!((answer.status(), answer.header("Content-Encoding")), (200, Some(encoding)), "{size}");
            assert!(answer.body.data.len() < size, "{encoding}: {} of {size}", answer.body.data.len());
            assert!(decoded(encoding, &answer.body.data) == text.as_bytes()[..size], "{encoding}, {size}");
            for (name, value) in [
                ("Vary", Some("Accept-Encoding")),
                ("ETag", Some("W/\"1\"")),
                ("Accept-Ranges", None),
                ("Content-Length", None),
            ] {
                assert_eq!(answer.header(name), value, "{name}");
            }
        }
        let answer = client.ask(&format!("HEAD /100000 HTTP/1.1\nAccept-Encoding: {accept}"));
        assert_eq!((answer.header("Content-Encoding"), answer.header("Content-Length")), (Some(encoding), None));
    }
    let answer = client.ask("GET /1024 HTTP/1.1");
    assert_eq!(
        (answer.text().len(), answer.header("Content-Encoding"), answer.header("Vary")),
        (1024, None, Some("Accept-Encoding"))
    );
    let answer = client.ask("GET /1023 HTTP/1.1\nAccept-Encoding: gzip");
    assert_eq!((answer.text().len(), answer.header("Content-Encoding"), answer.header("Vary")), (1023, None, None));
    // Without chunks, a client of HTTP/1.0 sees the end by the end of the connection.
    let mut old = Client::connect(proxy.web());
    let answer = old.ask("GET /100000 HTTP/1.0\nAccept-Encoding: gzip");
    assert!(decoded("gzip", &answer.body.data) == text.as_bytes()[..100_000]);

    run(async {
        let mut caller = Caller::connect(proxy.web()).await;
        for encoding in ["gzip", "br", "zstd"] {
            let request = caller.request("GET", "/1048576").header("accept-encoding", encoding).body(()).unwrap();
            let answer = caller.ask(request).await;
            assert_eq!((answer.status, answer.header("content-encoding")), (200, encoding));
            assert_eq!(answer.header("content-length"), "");
            assert!(decoded(encoding, &answer.body) == text.as_bytes(), "{encoding}");
        }
    });
    curl(&proxy, &text);
    assert!(proxy.metric("lbproxy_compressed_responses_total", &[]) >= 16.0);
}

/// Debian's curl decodes it too.
#[expect(clippy::print_stderr, reason = "a skip is loud")]
fn curl(proxy: &Proxy, text: &str) {
    let Ok(version) = Command::new("curl").arg("--version").output() else {
        assert!(std::env::var_os("LBPROXY_REQUIRE_PEERS").is_none(), "there is no curl");
        eprintln!("SKIPPED: there is no curl");
        return;
    };
    let version = String::from_utf8_lossy(&version.stdout).into_owned();
    for (encoding, feature) in [("gzip", "libz"), ("br", "brotli"), ("zstd", "zstd")] {
        if !version.contains(feature) {
            eprintln!("SKIPPED: this curl has no {feature}");
            continue;
        }
        let url = format!("http://{}/1048576", proxy.web());
        let accept = format!("Accept-Encoding: {encoding}");
        let got =
            Command::new("curl").args(["-sS", "--compressed", "--noproxy", "*", "-H", &accept, &url]).output().unwrap();
        assert!(
            got.status.success() && got.stdout == text.as_bytes(),
            "{encoding}: {}",
            String::from_utf8_lossy(&got.stderr)
        );
    }
}

fn an_event_is_with_its_client_before_the_next_one(workers: usize) {
    for encoding in ["gzip", "br", "zstd"] {
        let gates: Vec<Gate> = (0..3).map(|_| Gate::default()).collect();
        let opened = gates.clone();
        let endpoint = Endpoint::on_head(move |wire, _| {
            wire.write("HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n")?;
            for (at, gate) in gates.iter().enumerate() {
                wire.write_chunk(format!("data: {at}\n\n"))?;
                gate.wait();
            }
            wire.write("0\r\n\r\n")
        });
        let proxy = compressing(workers, &endpoint.at(), "\"on\"", "");
        let mut client = Client::connect(proxy.web());
        client.send(format!("GET / HTTP/1.1\r\nHost: a\r\nAccept-Encoding: {encoding}\r\n\r\n"));
        let head = client.read_head().unwrap().unwrap();
        assert_eq!(head.header("Content-Encoding"), Some(encoding));
        let (mut wire, mut expected) = (Vec::new(), String::new());
        for (at, gate) in opened.iter().enumerate() {
            expected.push_str(&format!("data: {at}\n\n"));
            // The endpoint says nothing more until this has arrived.
            while decoded(encoding, &wire) != expected.as_bytes() {
                wire.extend(client.read_chunk().unwrap().expect("not the end"));
            }
            gate.open();
        }
        while let Some(chunk) = client.read_chunk().unwrap() {
            wire.extend(chunk);
        }
        assert_eq!(decoded(encoding, &wire), expected.as_bytes());
    }
}

fn trailers_follow_a_compressed_body(workers: usize) {
    let text = prose(50_000);
    let body = text.clone();
    let endpoint = Endpoint::answering(move |_| {
        format!(
            "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nTransfer-Encoding: chunked\r\n\r\n{:x}\r\n{body}\r\n0\r\nX-Sum: 1\r\n\r\n",
            body.len()
        )
    });
    let proxy = compressing(workers, &endpoint.at(), "\"on\"", "");
    let mut client = Client::connect(proxy.web());
    for _ in 0..2 {
        let answer = client.ask("GET / HTTP/1.1\nAccept-Encoding: gzip\nTE: trailers");
        assert!(answer.body.is_whole && decoded("gzip", &answer.body.data) == text.as_bytes());
        assert_eq!(answer.body.trailers, [("X-Sum".to_owned(), "1".to_owned())]);
    }
    let body = text.clone();
    run(async {
        let mut caller = Caller::connect(proxy.web()).await;
        let request = caller.request("GET", "/").header("accept-encoding", "br").body(()).unwrap();
        let answer = caller.ask(request).await;
        assert!(decoded("br", &answer.body) == body.as_bytes());
        assert_eq!(answer.trailer("x-sum"), "1");
    });
    // From an endpoint of HTTP/2.
    let body = text.clone();
    let endpoint = H2Endpoint::answering(move |_, _, _| {
        let response = http::Response::builder().header("content-type", "text/plain").body(()).unwrap();
        let mut trailers = HeaderMap::new();
        trailers.insert("x-sum", "2".parse().unwrap());
        (response, bytes::Bytes::copy_from_slice(body.as_bytes()), Some(trailers))
    });
    let proxy =
        compressing(workers, &endpoint.at(), "{ encodings = [\"zstd\"], level = \"best\" }", "protocol = \"h2\"");
    run(async {
        let mut caller = Caller::connect(proxy.web()).await;
        let request = caller.request("GET", "/").header("accept-encoding", "*").body(()).unwrap();
        let answer = caller.ask(request).await;
        assert_eq!(answer.header("content-encoding"), "zstd");
        assert!(decoded("zstd", &answer.body) == text.as_bytes());
        assert_eq!(answer.trailer("x-sum"), "2");
    });
}

fn a_compressed_response_that_breaks_looks_cut(workers: usize) {
    let endpoint = Endpoint::on_head(move |wire, _| {
        wire.write("HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 100000\r\n\r\nthe beginning")?;
        Err(std::io::ErrorKind::Other.into())
    });
    let proxy = compressing(workers, &endpoint.at(), "\"on\"", "");
    let mut client = Client::connect(proxy.web());
    client.send("GET /cut HTTP/1.1\r\nHost: a\r\nAccept-Encoding: gzip\r\n\r\n");
    let head = client.read_head().unwrap().unwrap();
    assert_eq!(head.header("Content-Encoding"), Some("gzip"));
    let body = client.read_response_body(&head, "GET");
    assert!(body.is_err() || !body.unwrap().is_whole, "a cut response does not look whole");
    wait_until("the line of it", || proxy.has_logged("/cut"));
    assert_eq!(proxy.access_of("/cut")["cause"], "upstream_aborted");
    run(async {
        let mut caller = Caller::connect(proxy.web()).await;
        let request = caller.request("GET", "/cut").header("accept-encoding", "gzip").body(()).unwrap();
        assert!(caller.ask(request).await.reset.is_some());
    });
}
