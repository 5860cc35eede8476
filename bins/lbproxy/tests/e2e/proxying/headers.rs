//! Headers that are for one connection only stay on it; all others arrive as they were sent.

use crate::failures::forwarding;
use crate::support::{Client, Endpoint};
use crate::with_one_and_four_workers;

with_one_and_four_workers!(headers_for_one_connection_stay_on_it, all_other_headers_arrive_as_they_were_sent);

fn headers_for_one_connection_stay_on_it(workers: usize) {
    let endpoint = Endpoint::answering(|_| {
        "HTTP/1.1 200 OK\r\nConnection: X-Hop, keep-alive\r\nX-Hop: 1\r\nKeep-Alive: timeout=60\r\n\
         Proxy-Connection: keep-alive\r\nX-Kept: 1\r\nContent-Length: 0\r\n\r\n"
            .to_owned()
    });
    let proxy = forwarding(workers, &endpoint.at(), "");
    let answer = Client::connect(proxy.web()).ask(
        "GET / HTTP/1.1\nHost: a\nConnection: X-Mine, Cookie, X-Forwarded-For, keep-alive\nX-Mine: 1\nCookie: kept=1\n\
         Keep-Alive: timeout=5\nProxy-Connection: keep-alive\nTE: gzip, trailers\nUpgrade: websocket\nX-Kept: 1",
    );
    for gone in ["Connection", "X-Hop", "Keep-Alive", "Proxy-Connection", "Upgrade"] {
        assert!(!answer.head.has(gone), "{gone}: {answer:?}");
    }
    assert_eq!(answer.header("X-Kept"), Some("1"));
    let seen = endpoint.last();
    for gone in ["X-Mine", "Keep-Alive", "Proxy-Connection", "Upgrade"] {
        assert!(!seen.head.has(gone), "{gone}: {seen:?}");
    }
    assert_eq!(seen.header("Connection").map(str::to_ascii_lowercase).as_deref(), Some("te"));
    assert_eq!(seen.header("TE"), Some("trailers"));
    assert_eq!(seen.header("X-Kept"), Some("1"));
    assert_eq!(seen.header("Cookie"), Some("kept=1"), "what is for the end of the way cannot be nominated away");
    assert_eq!(seen.header("X-Forwarded-For"), Some("127.0.0.1"));
}

fn all_other_headers_arrive_as_they_were_sent(workers: usize) {
    let endpoint = Endpoint::answering(|_| {
        "HTTP/1.1 299 Quite Fine\r\nset-cookie: a=1\r\nSet-Cookie: b=2\r\nX-UTF8: gr\u{fc}n\r\nServer: theirs\r\n\
         Date: Tue, 01 Jan 2030 00:00:00 GMT\r\nX-Empty:\r\nVia: 1.0 inner\r\nContent-Length: 0\r\n\r\n"
            .to_owned()
    });
    let proxy = forwarding(workers, &endpoint.at(), "");
    let answer = Client::connect(proxy.web()).ask(
        "GET /path?q=%20&x HTTP/1.1\nhOST: Example.test:8080\nX-Two: 1\nX-Two: 2\nx-lower:   padded  \nX-Empty:\n\
         Authorization: Basic eDp5\nX-UTF8: gr\u{fc}n\nUser-Agent: probe/1 (a; b)",
    );
    assert_eq!(answer.head.first, "HTTP/1.1 299 Quite Fine");
    assert_eq!(answer.head.all("Set-Cookie"), ["a=1", "b=2"]);
    assert_eq!(answer.header("X-UTF8"), Some("gr\u{fc}n"));
    assert_eq!(answer.header("Server"), Some("theirs"));
    assert_eq!(answer.header("Date"), Some("Tue, 01 Jan 2030 00:00:00 GMT"));
    assert_eq!(answer.header("X-Empty"), Some(""));
    assert_eq!(answer.header("Via"), Some("1.0 inner"));
    let seen = endpoint.last().head;
    assert_eq!(seen.first, "GET /path?q=%20&x HTTP/1.1");
    assert_eq!(seen.header("Host"), Some("Example.test:8080"));
    assert_eq!(seen.all("X-Two"), ["1", "2"]);
    assert_eq!(seen.header("x-lower"), Some("padded"));
    assert_eq!(seen.header("X-Empty"), Some(""));
    assert_eq!(seen.header("Authorization"), Some("Basic eDp5"));
    assert_eq!(seen.header("X-UTF8"), Some("gr\u{fc}n"));
    assert_eq!(seen.header("User-Agent"), Some("probe/1 (a; b)"));
    assert!(seen.headers.iter().any(|(name, _)| name == "x-lower"), "names keep their spelling: {seen:?}");
}
