//! Request heads: what the endpoint is told, and what is refused.

use super::raw::{self, END_HEADERS, END_STREAM, HEADERS, RST_STREAM};
use super::{Caller, Raw, proxy, run};
use crate::support::Endpoint;
use crate::with_one_and_four_workers;

with_one_and_four_workers!(
    an_http1_endpoint_is_told_what_http2_said,
    heads_beyond_the_limits_are_refused_and_the_connection_goes_on,
    what_can_be_read_in_two_ways_is_refused,
    what_the_protocol_library_would_hide_is_a_400,
    pseudo_headers_and_padded_values_in_trailers_are_malformed,
    stickiness_and_edits_hold,
);

fn an_http1_endpoint_is_told_what_http2_said(workers: usize) {
    let endpoint = Endpoint::named("app");
    let proxy = proxy(workers, &endpoint.at(), "", "", "");
    run(async {
        let mut caller = Caller::connect(proxy.web()).await;
        let request = caller
            .request("GET", "/path?q=%20")
            .header("cookie", "a=1")
            .header("cookie", "b=2; c=3")
            .header("te", "trailers")
            .header("x-forwarded-for", "203.0.113.9")
            .header("x-own", "1");
        assert_eq!(caller.ask(request.body(()).unwrap()).await.text(), "app");
    });
    let head = endpoint.last().head;
    assert_eq!(head.first, "GET /path?q=%20 HTTP/1.1");
    assert_eq!(head.header("cookie"), Some("a=1; b=2; c=3"), "crumbs are one again");
    assert_eq!(head.header("host"), Some(&*format!("a:{}", proxy.web().port())));
    assert_eq!((head.header("te"), head.header("connection")), (Some("trailers"), Some("TE")));
    assert_eq!((head.header("x-forwarded-for"), head.header("x-forwarded-proto")), (Some("127.0.0.1"), Some("http")));
    assert_eq!(head.header("x-own"), Some("1"));
    let line = proxy.access_of("/path");
    assert_eq!(head.header("x-request-id").unwrap(), line["request_id"], "{line}");
}

fn heads_beyond_the_limits_are_refused_and_the_connection_goes_on(workers: usize) {
    let endpoint = Endpoint::named("app");
    let top = "limits = { request_head = \"4KiB\", headers = 20, uri = \"1KiB\" }";
    let proxy = proxy(workers, &endpoint.at(), top, "body_limit = \"1KiB\"", "");
    run(async {
        let mut caller = Caller::connect(proxy.web()).await;
        let long = format!("/{}", "x".repeat(1100));
        assert_eq!(caller.get(&long).await.status, 414);
        let request = caller.request("GET", "/large").header("x-large", "x".repeat(4096));
        assert_eq!(caller.ask(request.body(()).unwrap()).await.status, 431);
        let request = caller.request("GET", "/huge").header("x-large", "x".repeat(12_000));
        assert_eq!(caller.ask(request.body(()).unwrap()).await.status, 431);
        let many = (0..20).fold(caller.request("GET", "/many"), |all, n| all.header(format!("x-{n}"), "1"));
        assert_eq!(caller.ask(many.body(()).unwrap()).await.status, 431);
        let request = caller.request("POST", "/announced").header("content-length", "1025");
        assert_eq!(caller.send(request.body(()).unwrap(), &[&[0; 1025]], None).await.status, 413);
        let request = caller.request("POST", "/unannounced");
        assert_eq!(caller.send(request.body(()).unwrap(), &[&[0; 1024], &[0]], None).await.status, 413);
        assert_eq!(caller.get("/fine").await.text(), "app");
    });
    assert_eq!(proxy.access_of("/announced")["cause"], "body_too_large");
    assert_eq!(proxy.access_of("/unannounced")["cause"], "body_too_large");
    proxy.wait_access(|line| line["status"] == 414);
}

fn what_can_be_read_in_two_ways_is_refused(workers: usize) {
    let endpoint = Endpoint::named("app");
    let proxy = proxy(workers, &endpoint.at(), "", "", "");
    let good = raw::get_fields("/");
    let with = |more: &[(&'static str, &'static str)]| [&good[..], more].concat();
    let without_path = good[..3].to_vec();
    let path = |path: &'static str| [&without_path[..], &[(":path", path)]].concat();
    let refused: [(&str, Vec<(&str, &str)>); 27] = [
        ("connection", with(&[("connection", "close")])),
        ("transfer-encoding", with(&[("transfer-encoding", "chunked")])),
        ("keep-alive", with(&[("keep-alive", "1")])),
        ("proxy-connection", with(&[("proxy-connection", "x")])),
        ("upgrade", with(&[("upgrade", "websocket")])),
        ("te", with(&[("te", "gzip")])),
        ("upper case", with(&[("X-Upper", "1")])),
        ("a line break", with(&[("x-a", "b\r\nc: d")])),
        ("a pseudo-header behind", with(&[("x-a", "b"), (":path", "/other")])),
        ("an unknown pseudo-header", [&good[..], &[(":own", "1")]].concat()),
        ("no path", good[..3].to_vec()),
        ("no method", good[1..].to_vec()),
        ("an empty path", [&good[..3], &[(":path", "")]].concat()),
        ("two paths", [&good[..], &[(":path", "/2")]].concat()),
        // As HTTP/1 has it.
        ("a space before a value", with(&[("x-a", " b")])),
        ("a tab before a value", with(&[("x-a", "\tb")])),
        ("a space after a value", with(&[("x-a", "b ")])),
        ("a value of spaces", with(&[("x-a", " ")])),
        (
            "another scheme",
            [&[(":method", "GET"), (":scheme", "ftp"), (":authority", "a"), (":path", "/")][..]].concat(),
        ),
        ("one host twice", with(&[("host", "a"), ("host", "a")])),
        ("one host twice and no authority", [&good[..2], &good[3..], &[("host", "a"), ("host", "a")]].concat()),
        ("an empty host", [&good[..2], &good[3..], &[("host", "")]].concat()),
        ("no host", [&good[..2], &good[3..]].concat()),
        ("one length twice", with(&[("content-length", "0"), ("content-length", "0")])),
        ("a relative path", path("a")),
        ("a star for GET", path("*")),
        ("a backslash", path("/a\\b")),
    ];
    for (what, fields) in refused {
        let mut raw = Raw::connect(proxy.web());
        raw.send(HEADERS, END_STREAM | END_HEADERS, 1, &raw::block(&fields));
        let refused =
            std::iter::from_fn(|| raw.frame()).find(|frame| matches!(frame.kind, RST_STREAM | raw::GO_AWAY | HEADERS));
        let refused = refused.unwrap_or_else(|| panic!("{what}: closed without a word"));
        assert!(refused.kind != HEADERS || refused.payload != block_of_200(), "{what}: {refused:?}");
        if refused.kind == HEADERS {
            proxy.wait_access(|line| line["status"] == 400);
        }
    }
    assert_eq!(endpoint.requests(), 0, "nothing of it reached the endpoint");
    run(async {
        let mut caller = Caller::connect(proxy.web()).await;
        let request = caller.request("GET", "/conflict").header("host", "b");
        assert_eq!(caller.ask(request.body(()).unwrap()).await.status, 400);
        let request = caller.request("GET", "/same").header("host", format!("a:{}", proxy.web().port()));
        assert_eq!(caller.ask(request.body(()).unwrap()).await.status, 200);
        let request = caller.request("POST", "/long").header("content-length", "3");
        let answer = caller.send(request.body(()).unwrap(), &[b"four"], None).await;
        assert!(answer.reset.is_some() || answer.status == 400, "more than was announced: {answer:?}");
        let request = http::Request::builder().method("CONNECT").uri("a:443").body(()).unwrap();
        assert_eq!(caller.ask(request).await.status, 501);
    });
    assert_eq!(endpoint.messages().iter().filter(|m| m.head.target() != "/same").count(), 0);
}

/// As HTTP/1 has it, and the connection goes on.
fn what_the_protocol_library_would_hide_is_a_400(workers: usize) {
    const METHOD: u8 = 0x82;
    const HTTP: u8 = 0x86;
    const PATH: u8 = 0x84;
    /// `host: a`, by the static table's name.
    const HOST: &[u8] = &[0x0f, 0x17, 1, b'a'];
    let endpoint = Endpoint::named("app");
    let proxy = proxy(workers, &endpoint.at(), "", "", "");
    let head = |more: &[u8]| [&[METHOD, HTTP, 0x01, 1, b'a'][..], more].concat();
    let mut raw = Raw::connect(proxy.web());
    let mut stream = 1;
    let mut ask = |block: &[u8], cut: usize| {
        let (first, rest) = block.split_at(cut.min(block.len()));
        raw.send(HEADERS, END_STREAM | if rest.is_empty() { END_HEADERS } else { 0 }, stream, first);
        if !rest.is_empty() {
            raw.send(raw::CONTINUATION, END_HEADERS, stream, rest);
        }
        let is_it = |frame: &raw::Frame| frame.stream == stream && matches!(frame.kind, RST_STREAM | HEADERS);
        let answer = std::iter::from_fn(|| raw.frame()).find(is_it).expect("an answer");
        stream += 2;
        assert_eq!(answer.kind, HEADERS, "{answer:?}");
        // `:status: 200` and `:status: 400` by the static table.
        match answer.payload.first() {
            Some(0x88) => 200,
            Some(0x8c) => 400,
            other => panic!("neither: {other:?}"),
        }
    };
    let plain = head(&[0x04, 4, b'/', b'a', b'/', b'b']);
    let fragment = head(&[0x04, 4, b'/', b'a', b'#', b'b']);
    assert_eq!((ask(&plain, 99), ask(&fragment, 99)), (200, 400));
    assert_eq!((ask(&plain, 9), ask(&fragment, 9)), (200, 400), "cut within the path");
    // `/a#b` in Huffman's code, and the field goes into the table, from which it comes again.
    assert_eq!(ask(&head(&[0x44, 0x84, 0x60, 0x7f, 0xf5, 0x1f]), 99), 400);
    assert_eq!(ask(&head(&[0xbe]), 99), 400);
    assert_eq!(ask(&head(&[PATH, 0x40, 3, b'x', b'-', b'a', 1, b'#']), 99), 200);
    assert_eq!(ask(&head(&[0xbf]), 99), 400, "one place further");
    let scheme = |scheme: &[u8], path: &[u8]| [&[METHOD, 0x06, scheme.len() as u8], scheme, path, HOST].concat();
    assert_eq!((ask(&scheme(b"http", &[PATH]), 99), ask(&scheme(b"ftp", &[PATH]), 99)), (200, 400));
    assert_eq!(ask(&head(&[PATH]), 99), 200);
    // Whatever a client's own encoder makes of them: characters whose codes look much like that of `#`.
    run(async {
        let mut caller = Caller::connect(proxy.web()).await;
        for path in ["/!!!", "/'+|~$@[]?!?()&&;'+", "/%23?%23%23", "/\u{fffd}\u{10ffff}?\u{7ff}"] {
            assert_eq!(caller.get(path).await.status, 200, "{path}");
        }
    });
    let logged = proxy.terminate().access(|line| line["status"] == 400);
    assert_eq!(logged.len(), 6, "{logged:?}");
    assert!(logged.iter().all(|line| line["cause"] == "bad_request: bad_target"), "{logged:?}");
    assert_eq!(endpoint.requests(), 9);
}

/// `:status: 200` by the static table.
fn block_of_200() -> Vec<u8> {
    vec![0x88]
}

fn stickiness_and_edits_hold(workers: usize) {
    let endpoint = Endpoint::named("app");
    let route = "sticky = { cookie = \"affinity\" }\nheaders.request = { set = { X-Env = \"prod\" } }\n\
                 headers.response = { set = { X-Frame-Options = \"DENY\" } }";
    let proxy = proxy(workers, &endpoint.at(), "", route, "");
    run(async {
        let mut caller = Caller::connect(proxy.web()).await;
        let answer = caller.get("/").await;
        assert_eq!(answer.header("x-frame-options"), "DENY");
        let cookie = answer.header("set-cookie").split(';').next().unwrap().to_owned();
        assert!(cookie.starts_with("affinity="), "{cookie}");
        let request = caller.request("GET", "/").header("cookie", "x=y").header("cookie", cookie);
        assert_eq!(caller.ask(request.body(()).unwrap()).await.header("set-cookie"), "", "the cookie is known");
    });
    assert_eq!(endpoint.last().head.header("x-env"), Some("prod"));
}

/// RFC 9113 §8.1: a stream error, and the endpoint does not take what came of the request for the whole.
fn pseudo_headers_and_padded_values_in_trailers_are_malformed(workers: usize) {
    let endpoint = Endpoint::named("app");
    let proxy = proxy(workers, &endpoint.at(), "", "", "");
    let mut head = raw::get_fields("/");
    head[0] = (":method", "POST");
    let plain = raw::block(&[("x-sum", "1")]);
    let mut raw = Raw::connect(proxy.web());
    let mut ask = |stream: u32, trailers: &[u8]| {
        raw.send(HEADERS, END_HEADERS, stream, &raw::block(&head));
        raw.send(raw::DATA, 0, stream, b"hi");
        raw.send(HEADERS, END_HEADERS | END_STREAM, stream, trailers);
        let is_it = |frame: &raw::Frame| frame.stream == stream && matches!(frame.kind, RST_STREAM | HEADERS);
        std::iter::from_fn(|| raw.frame()).find(is_it).expect("an answer or a reset")
    };
    assert_eq!(ask(1, &plain).payload.first(), block_of_200().first());
    // By name, by the static table (`:path: /`), and behind another field, where it is out of place in a head too.
    for (stream, trailers) in
        [(3, raw::block(&[(":path", "/x")])), (5, vec![0x84]), (7, [&plain[..], &[0x83]].concat())]
    {
        let frame = ask(stream, &trailers);
        assert_eq!((frame.kind, frame.reason()), (RST_STREAM, 1), "PROTOCOL_ERROR: {frame:?}");
    }
    let frame = ask(9, &raw::block(&[("x-sum", "1 ")]));
    assert_ne!(frame.payload.first(), block_of_200().first(), "{frame:?}");
    // The connection goes on.
    assert_eq!(ask(11, &plain).payload.first(), block_of_200().first());
    let logged =
        proxy.terminate().access(|line| line["cause"].as_str().is_some_and(|cause| cause.starts_with("bad_request")));
    assert_eq!(logged.len(), 3, "one the library refuses itself: {logged:?}");
    assert_eq!(endpoint.requests(), 2);
}
