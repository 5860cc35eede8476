//! Chunked bodies that no two parsers agree on.

use super::{guarded, is_cut};
use crate::support::{get, wait_until};
use crate::with_one_and_four_workers;

with_one_and_four_workers!(malformed_chunks_end_the_request);

fn malformed_chunks_end_the_request(workers: usize) {
    let (proxy, endpoint) = guarded(workers);
    let long_extension = format!("4;{}|aaaa|0||", "x".repeat(300));
    let cases: &[(&str, &str)] = &[
        ("no size", "|aaaa|0||"),
        ("0x", "0x4|aaaa|0||"),
        ("a sign", "+4|aaaa|0||"),
        ("a negative size", "-4|aaaa|0||"),
        ("a space before the size", " 4|aaaa|0||"),
        ("a space after the size", "4 |aaaa|0||"),
        ("an underscore", "1_0|aaaaaaaaaaaaaaaa|0||"),
        ("a size beyond measure", "FFFFFFFFFFFFFFFFF|aaaa|0||"),
        ("a size that wraps around", "10000000000000004|aaaa|0||"),
        ("a negative size in two's complement", "FFFFFFFFFFFFFFFF|aaaa|0||"),
        ("LF after the size", "4\naaaa|0||"),
        ("LF after the data", "4|aaaa\n0||"),
        ("CR alone after the size", "4\raaaa|0||"),
        ("data longer than its size", "4|aaaaa|0||"),
        ("data shorter than its size", "5|aaaa|0||"),
        ("a long extension", &long_extension),
        ("a semicolon and no extension", "4;|aaaa|0||"),
        ("an extension that is no token", "4;a@=b c|aaaa|0||"),
        ("an extension with an open quote", "4;a=\"b|aaaa|0||"),
        ("NUL in an extension", "4;a=\0|aaaa|0||"),
        ("LF in an extension", "4;a\n|aaaa|0||"),
        ("a length as trailer", "4|aaaa|0|Content-Length: 9||"),
        ("a coding as trailer", "4|aaaa|0|Transfer-Encoding: chunked||"),
        ("a host as trailer", "4|aaaa|0|Host: b||"),
        ("a folded trailer", "4|aaaa|0|X-A: b| c||"),
        ("a trailer without a colon", "4|aaaa|0|nonsense||"),
        ("LF at the end", "4|aaaa|0|\n"),
    ];
    for (name, body) in cases {
        let head = "POST /chunked HTTP/1.1|Host: a|Transfer-Encoding: chunked||";
        is_cut(&proxy, &endpoint, name, format!("{head}{body}").replace('|', "\r\n"), 400);
    }
    wait_until("the endpoint's connections to be closed", || endpoint.open() == 0);
    assert_eq!(get(proxy.web(), "/").text(), "reached");
    let logged = proxy.terminate().access(|line| line["path"] == "/chunked");
    assert_eq!(logged.len(), cases.len());
    for line in logged {
        assert_eq!(line["status"], 400);
        assert!(line["cause"].as_str().unwrap().starts_with("bad_request: "), "the log says what was wrong: {line}");
    }
}
