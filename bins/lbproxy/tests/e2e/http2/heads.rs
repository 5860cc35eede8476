//! Request heads: what is forwarded, and what is refused.

use super::raw::{self, END_HEADERS, END_STREAM, HEADERS, RST_STREAM};
use super::{Caller, Raw, proxy, run};
use crate::support::Endpoint;
use crate::with_one_and_four_workers;

with_one_and_four_workers!(
    an_http1_endpoint_is_told_what_http2_said,
    heads_beyond_the_limits_are_refused_and_the_connection_goes_on,
    what_can_be_read_in_two_ways_is_refused,
    what_the_protocol_library_would_hide_is_a_400,
    a_fragment_is_refused_in_every_encoding,
    trailers_are_malformed_in_every_encoding,
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

/// Sends a request of one block, and gives the status of the answer: 200 or 400, or 0 for a stream reset with PROTOCOL_ERROR.
#[track_caller]
fn status_of(raw: &mut Raw, stream: u32, block: &[u8]) -> u16 {
    raw.send(HEADERS, END_STREAM | END_HEADERS, stream, block);
    outcome_of(raw, stream)
}

#[track_caller]
fn outcome_of(raw: &mut Raw, stream: u32) -> u16 {
    let is_it = |frame: &raw::Frame| frame.stream == stream && matches!(frame.kind, RST_STREAM | HEADERS);
    let answer = std::iter::from_fn(|| raw.frame()).find(is_it).expect("an answer or a reset");
    match (answer.kind, answer.payload.first()) {
        (RST_STREAM, _) if answer.reason() == 1 => 0,
        // By the static table.
        (HEADERS, Some(0x88)) => 200,
        (HEADERS, Some(0x8c)) => 400,
        _ => panic!("neither an answer nor a reset: {answer:?}"),
    }
}

/// What a request begins with: `:method: GET`, `:scheme: http`, `:authority: a`.
const GET: &[u8] = &[0x82, 0x86, 0x01, 1, b'a'];
/// `/a#b`, plain and in Huffman's code, each with its length; and a path without a fragment.
const PLAIN: &[u8] = b"\x04/a#b";
const CODED: &[u8] = &[0x84, 0x60, 0x7f, 0xf5, 0x1f];
const CLEAN: &[u8] = b"\x04/a/b";
/// `:path` likewise.
const NAME: &[u8] = b"\x05:path";
const CODED_NAME: &[u8] = &[0x84, 0xb9, 0x58, 0xd3, 0x3f];

/// Blocks of a connection of their own, behind what each request begins with, and the status of each.
type Story = Vec<(Vec<u8>, u16)>;

/// RFC 7541 §6: a field is indexed or a literal, its name indexed or not, in the static or in the dynamic table.
fn a_fragment_is_refused_in_every_encoding(workers: usize) {
    let endpoint = Endpoint::named("app");
    let proxy = proxy(workers, &endpoint.at(), "", "", "");
    let large = |name: u8| [&[0x40, 1, name, 0x7f, 0x89, 0x1b][..], &[b'x'; 3592]].concat();
    let added = |path: &[u8]| [&[0x44], path].concat();
    let mut stories: Vec<(String, Story)> = Vec::new();
    for (value, status) in [(PLAIN, 400), (CODED, 400), (CLEAN, 200)] {
        for name in [&[0x04][..], &[0x05], &[0x14], &[0x44], &[0x45]] {
            stories.push((format!("a static name: {name:?}"), vec![([name, value].concat(), status)]));
        }
        for (first, name) in [(0x00, NAME), (0x10, NAME), (0x40, NAME), (0x00, CODED_NAME), (0x40, CODED_NAME)] {
            stories.push((format!("a name: {first}"), vec![([&[first], name, value].concat(), status)]));
        }
        let field = [&[0x44], value].concat();
        stories.push(("an entry".to_owned(), vec![(field, status), (vec![0xbe], status), (vec![0xbe], status)]));
        for before in [&[0x44][..], &[&[0x40], NAME].concat(), &[&[0x40], CODED_NAME].concat()] {
            for name in [&[0x0f, 47][..], &[0x1f, 47], &[0x7e]] {
                let story = vec![([before, CLEAN].concat(), 200), ([name, value].concat(), status)];
                stories.push((format!("a dynamic name: {before:?}, {name:?}"), story));
            }
        }
    }
    let mut story = |what: &str, blocks: &[(&[u8], u16)]| {
        stories.push((what.to_owned(), blocks.iter().map(|(block, status)| (block.to_vec(), *status)).collect()));
    };
    let (clean, plain) = (&*added(CLEAN), &*added(PLAIN));
    let renamed = &*[&[0x7e], PLAIN].concat();
    story("an entry named by an entry", &[(clean, 200), (renamed, 400), (&[0xbe], 400), (&[0xbf], 200)]);
    let emptied = &*[&[0x20, 0x3f, 0xe1, 0x1f], GET, clean].concat();
    story("after the table was emptied", &[(plain, 400), (emptied, 200), (renamed, 400), (&[0xbf], 200)]);
    let evicting = &*[clean, &large(b'x')].concat();
    let second = &*[&[0x7f, 0x00], PLAIN].concat();
    story("after evictions", &[(plain, 400), (evicting, 200), (evicting, 200), (&[0xbf], 200), (second, 400)]);
    // Room for two such entries: of two that were added behind it, the one of the fragment is gone.
    let small = &*[&[0x3f, 0x39], GET, plain].concat();
    story(
        "in a small table",
        &[(small, 400), (clean, 200), (&[0xbf], 400), (clean, 200), (&[0xbf], 200), (renamed, 400)],
    );
    let behind = &*[&[0x40, 1, b'x', 0], plain].concat();
    story("behind another field", &[(behind, 0), (&[0xbe], 400), (renamed, 400)]);
    let behind = &*[&[0x40, 1, b'x', 0], clean].concat();
    story("named behind another field", &[(behind, 0), (&[0xbe], 200), (renamed, 400)]);
    for (what, blocks) in stories {
        let mut raw = Raw::connect(proxy.web());
        for ((block, status), stream) in blocks.iter().zip((1..).step_by(2)) {
            // A change of the table's size comes first.
            let is_resized = matches!(block.first(), Some(0x20..0x40));
            let block = if is_resized { block.clone() } else { [GET, block].concat() };
            assert_eq!(status_of(&mut raw, stream, &block), *status, "{what}, stream {stream}");
        }
    }
    // More padding than a symbol could need would be another spelling of a name, if it were one.
    let mut raw = Raw::connect(proxy.web());
    let padded = [GET, &[0x00, 0x85], &CODED_NAME[1..], &[0xff], PLAIN].concat();
    raw.send(HEADERS, END_STREAM | END_HEADERS, 1, &padded);
    assert!(raw.rest().iter().any(|frame| frame.kind == raw::GO_AWAY), "the connection is closed over it");
    let seen = endpoint.messages();
    assert!(seen.iter().all(|message| message.head.target() == "/a/b"), "{seen:?}");
}

/// RFC 9113 §8.1: trailers have no pseudo-header field.
fn trailers_are_malformed_in_every_encoding(workers: usize) {
    let endpoint = Endpoint::named("app");
    let proxy = proxy(workers, &endpoint.at(), "", "", "");
    // `:method: POST`, and a path that goes into the table.
    let head = [&[0x83][..], &GET[1..], &[0x44], CLEAN].concat();
    let other = &[0x40, 5, b'x', b'-', b's', b'u', b'm', 1, b'1'][..];
    let ask = |raw: &mut Raw, stream: u32, trailers: &[u8]| {
        raw.send(HEADERS, END_HEADERS, stream, &head);
        raw.send(raw::DATA, 0, stream, b"hi");
        raw.send(HEADERS, END_HEADERS | END_STREAM, stream, trailers);
        outcome_of(raw, stream)
    };
    let fields = [
        ("indexed", vec![0xbe]),
        ("a dynamic name", [&[0x0f, 47], CLEAN].concat()),
        ("a dynamic name, never indexed", [&[0x1f, 47], CLEAN].concat()),
        ("a dynamic name, added", [&[0x7e], CLEAN].concat()),
        ("a name", [&[0x00], NAME, CLEAN].concat()),
        ("a coded name", [&[0x40], CODED_NAME, CLEAN].concat()),
    ];
    for (what, field) in fields {
        let mut raw = Raw::connect(proxy.web());
        assert_eq!(ask(&mut raw, 1, other), 200, "{what}");
        assert_eq!(ask(&mut raw, 3, &field), 0, "{what}");
        // `x-sum` is behind the path by now, and its name is as good as before.
        let index = if field[0] & 0x40 != 0 { 65 } else { 64 };
        assert_eq!(ask(&mut raw, 5, &[0x0f, index - 15, 1, b'1']), 200, "{what}");
    }
    // What trailers add is in the table of heads.
    let mut raw = Raw::connect(proxy.web());
    assert_eq!(ask(&mut raw, 1, &[&[0x44], PLAIN].concat()), 0);
    assert_eq!(status_of(&mut raw, 3, &[GET, &[0xbe]].concat()), 400);
    assert_eq!(status_of(&mut raw, 5, &[GET, &[0x04], CLEAN].concat()), 200);
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
