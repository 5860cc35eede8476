//! Request heads that no two parsers agree on.

use super::{guarded, is_refused};
use crate::support::get;
use crate::with_one_and_four_workers;

with_one_and_four_workers!(ambiguous_heads_are_refused);

fn ambiguous_heads_are_refused(workers: usize) {
    let (proxy, endpoint) = guarded(workers);
    let cases: &[(&str, &str, u16)] = &[
        ("both lengths", "POST / HTTP/1.1|Host: a|Content-Length: 4|Transfer-Encoding: chunked||0||", 400),
        ("both, the other way", "POST / HTTP/1.1|Host: a|Transfer-Encoding: chunked|Content-Length: 4||0||", 400),
        ("two lengths", "POST / HTTP/1.1|Host: a|Content-Length: 4|Content-Length: 5||aaaa", 400),
        ("one length twice", "POST / HTTP/1.1|Host: a|Content-Length: 4|Content-Length: 4||aaaa", 400),
        ("a list of lengths", "POST / HTTP/1.1|Host: a|Content-Length: 4, 4||aaaa", 400),
        ("a signed length", "POST / HTTP/1.1|Host: a|Content-Length: +4||aaaa", 400),
        ("a negative length", "POST / HTTP/1.1|Host: a|Content-Length: -1||", 400),
        ("an endless length", "POST / HTTP/1.1|Host: a|Content-Length: 99999999999999999999||", 400),
        ("an empty length", "POST / HTTP/1.1|Host: a|Content-Length: ||", 400),
        ("chunked twice", "POST / HTTP/1.1|Host: a|Transfer-Encoding: chunked|Transfer-Encoding: chunked||0||", 400),
        ("chunked not last", "POST / HTTP/1.1|Host: a|Transfer-Encoding: chunked, gzip||0||", 400),
        ("a coding unknown", "POST / HTTP/1.1|Host: a|Transfer-Encoding: gzip, chunked||0||", 501),
        ("nearly chunked", "POST / HTTP/1.1|Host: a|Transfer-Encoding: xchunked||0||", 400),
        ("chunked in 1.0", "POST / HTTP/1.0|Host: a|Transfer-Encoding: chunked||0||", 400),
        ("a look-alike", "POST / HTTP/1.1|Host: a|Transfer_Encoding: chunked||0||", 400),
        ("a folded line", "GET / HTTP/1.1|Host: a|X-A: b| c: d||", 400),
        ("a fold first", "GET / HTTP/1.1| Host: a||", 400),
        ("a space before the colon", "GET / HTTP/1.1|Host: a|Content-Length : 4||aaaa", 400),
        ("no colon", "GET / HTTP/1.1|Host: a|nonsense||", 400),
        ("no name", "GET / HTTP/1.1|Host: a|: b||", 400),
        ("bare LF", "GET / HTTP/1.1|Host: a\nX-A: b||", 400),
        ("bare LF at the end", "GET / HTTP/1.1|Host: a\n\n", 400),
        ("bare CR", "GET / HTTP/1.1|Host: a|X-A: b\rContent-Length: 4||", 400),
        ("NUL in a value", "GET / HTTP/1.1|Host: a|X-A: b\0c||", 400),
        ("NUL in the target", "GET /\0 HTTP/1.1|Host: a||", 400),
        ("two hosts", "GET / HTTP/1.1|Host: a|Host: b||", 400),
        ("no host", "GET / HTTP/1.1|X-A: b||", 400),
        ("an empty host", "GET / HTTP/1.1|Host:||", 400),
        ("an empty host in 1.0", "GET / HTTP/1.0|Host:||", 400),
        ("a host with a path", "GET / HTTP/1.1|Host: a/b||", 400),
        ("a host with a user", "GET / HTTP/1.1|Host: u@a||", 400),
        ("lower case", "get / HTTP/1.1|Host: a||", 400),
        ("two spaces", "GET  / HTTP/1.1|Host: a||", 400),
        ("a tab", "GET\t/ HTTP/1.1|Host: a||", 400),
        ("no version", "GET /|Host: a||", 400),
        ("version 2.0", "GET / HTTP/2.0|Host: a||", 505),
        ("version 0.9", "GET / HTTP/0.9|Host: a||", 505),
        ("no such version", "GET / HTTP/1.x|Host: a||", 400),
        ("another protocol", "GET / ICY/1.1|Host: a||", 400),
        ("a fragment", "GET /a#b HTTP/1.1|Host: a||", 400),
        ("a relative target", "GET a HTTP/1.1|Host: a||", 400),
        ("a star for GET", "GET * HTTP/1.1|Host: a||", 400),
        ("a nominated host", "GET / HTTP/1.1|Host: a|Connection: host||", 400),
        ("a nominated length", "POST / HTTP/1.1|Host: a|Content-Length: 4|Connection: content-length||aaaa", 400),
        ("CONNECT", "CONNECT a:443 HTTP/1.1|Host: a:443||", 501),
        ("CONNECT with a body", "CONNECT a:443 HTTP/1.1|Host: a:443|Content-Length: 4||aaaa", 400),
        ("an expectation", "POST / HTTP/1.1|Host: a|Expect: the-unexpected|Content-Length: 4||aaaa", 417),
        ("TLS", "\x16\x03\x01\x02\0\x01\0\x01\u{fc}\x03\x03||", 400),
    ];
    for (name, request, status) in cases {
        is_refused(&proxy, &endpoint, name, request.replace('|', "\r\n").as_bytes(), *status);
    }
    assert_eq!(get(proxy.web(), "/").text(), "reached");
}
