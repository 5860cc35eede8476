//! The codec as its callers use it: parse, decode, edit, encode, parse again.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use bytes::BytesMut;
use lb_http::message::{
    Edits, Framing, InvalidField, Line, Method, RequestHead, ResponseHead, TargetForm, Trailers, Version, name,
};
use lb_http::wire::h1::{
    Answering, BodyDecoder, Cause, ChunkPrefix, Connection, HeadLimits, RequestParser, ResponseParser, Step,
    encode_chunk, encode_last_chunk, encode_request, encode_response,
};

fn request(text: &str) -> RequestHead {
    let mut buf = BytesMut::from(text);
    let head = RequestParser::new().parse(&mut buf, &HeadLimits::default()).expect("valid").expect("complete");
    assert!(buf.is_empty(), "left over: {buf:?}");
    head
}

fn refused(text: impl AsRef<[u8]>) -> Cause {
    let mut buf = BytesMut::from(text.as_ref());
    RequestParser::new().parse(&mut buf, &HeadLimits::default()).expect_err("refused").cause()
}

fn response(text: &str, answering: Answering) -> ResponseHead {
    let mut buf = BytesMut::from(text);
    let limits = HeadLimits::response();
    let head = ResponseParser::new().parse(&mut buf, answering, &limits).expect("valid").expect("complete");
    assert!(buf.is_empty(), "left over: {buf:?}");
    head
}

fn encoded(head: &RequestHead, edits: &Edits, framing: Framing, connection: Connection) -> String {
    let mut dst = BytesMut::new();
    encode_request(&mut dst, head, edits, framing, connection);
    String::from_utf8(dst.to_vec()).unwrap()
}

fn answered(head: &ResponseHead, edits: &Edits, framing: Framing, connection: Connection) -> String {
    let mut dst = BytesMut::new();
    encode_response(&mut dst, head, edits, framing, connection);
    String::from_utf8(dst.to_vec()).unwrap()
}

#[test]
fn a_request_is_read_into_its_parts() {
    let head = request(
        "POST /a/b?c=d HTTP/1.1\r\nHost: Example.com:8080\r\nCookie: a=1; b = 2 ;c\r\ncookie: d=\"4\"; a=9\r\n\
         Content-Length: 3\r\nX-Empty:\r\nX-Spaces: \t v w \t\r\n\r\n",
    );
    assert_eq!(head.method(), Method::Post);
    assert_eq!(head.target(), b"/a/b?c=d");
    assert_eq!(head.target_form(), TargetForm::Origin);
    assert_eq!(head.path(), b"/a/b");
    assert_eq!(head.query(), Some(&b"c=d"[..]));
    assert_eq!(head.host(), Some(&b"Example.com:8080"[..]));
    assert_eq!(head.host_name(), Some(&b"Example.com"[..]));
    assert_eq!(head.authority().unwrap().port, Some(8080));
    assert_eq!(head.version(), Version::Http11);
    assert_eq!(head.framing(), Framing::Length(3));
    assert!(head.keep_alive());
    assert_eq!(head.cookie(b"a"), Some(&b"1"[..]));
    assert_eq!(head.cookie(b"b"), Some(&b"2"[..]));
    assert_eq!(head.cookie(b"c"), None);
    assert_eq!(head.cookie(b"d"), Some(&b"\"4\""[..]));
    assert_eq!(head.header("x-empty"), Some(&b""[..]));
    assert_eq!(head.header("X-SPACES"), Some(&b"v w"[..]));
    assert_eq!(head.header("x-none"), None);
    assert_eq!(head.headers("Cookie").count(), 2);
    assert_eq!(head.iter().len(), 6);
}

#[test]
fn pipelined_requests_come_off_one_by_one() {
    let one = "GET /1 HTTP/1.1\r\nHost: a\r\n\r\n";
    let mut buf = BytesMut::from(format!("\r\n{one}\r\n{}GET", one.replace("GET /1", "GET /2")).as_str());
    let mut parser = RequestParser::new();
    let limits = HeadLimits::default();
    assert_eq!(parser.parse(&mut buf, &limits).unwrap().unwrap().path(), b"/1");
    assert_eq!(parser.parse(&mut buf, &limits).unwrap().unwrap().path(), b"/2");
    assert!(!parser.has_begun());
    assert!(parser.parse(&mut buf, &limits).unwrap().is_none());
    assert!(parser.has_begun());
}

#[test]
fn empty_lines_alone_are_no_begun_request() {
    let mut buf = BytesMut::from("\r\n\r\n");
    let mut parser = RequestParser::new();
    assert!(parser.parse(&mut buf, &HeadLimits::default()).unwrap().is_none());
    assert!(!parser.has_begun());
    buf.extend_from_slice(b"\r\n\r\n");
    assert!(parser.parse(&mut buf, &HeadLimits::default()).unwrap().is_none());
    buf.extend_from_slice(b"\r\n");
    assert_eq!(parser.parse(&mut buf, &HeadLimits::default()).unwrap_err().cause(), Cause::BadRequestLine);
}

#[test]
fn an_absolute_target_wins_over_host() {
    let head = request("GET http://b.example:81?x HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_eq!((head.host(), head.path(), head.query()), (Some(&b"b.example:81"[..]), &b"/"[..], Some(&b"x"[..])));
    assert_eq!(head.scheme(), Some("http"));
    let text = encoded(&head, &Edits::new(), Framing::None, Connection::Implicit);
    assert_eq!(text, "GET /?x HTTP/1.1\r\nHost: b.example:81\r\n\r\n");
    let options = request("OPTIONS http://b HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_eq!(options.path(), b"*");
    let text = encoded(&options, &Edits::new(), Framing::None, Connection::Implicit);
    assert_eq!(text, "OPTIONS * HTTP/1.1\r\nHost: b\r\n\r\n");
}

#[test]
fn keep_alive_follows_version_and_options() {
    let keeps = |version: &str, connection: &str| {
        request(&format!("GET / HTTP/{version}\r\nHost: a\r\n{connection}\r\n")).keep_alive()
    };
    assert!(keeps("1.1", ""));
    assert!(!keeps("1.0", ""));
    assert!(!keeps("1.1", "Connection: Close\r\n"));
    assert!(keeps("1.0", "Connection: Keep-Alive\r\n"));
    assert!(!keeps("1.0", "Connection: keep-alive\r\nConnection: foo, close\r\n"));
    assert!(!keeps("1.0", "Proxy-Connection: keep-alive\r\n"));
}

#[test]
fn an_upgrade_needs_nomination_and_one_protocol() {
    let upgrade = |rest: &str| {
        let head = request(&format!("GET / HTTP/1.1\r\nHost: a\r\n{rest}\r\n"));
        head.upgrade().map(|u| String::from_utf8(u.to_vec()).unwrap())
    };
    assert_eq!(upgrade("Connection: keep-alive, Upgrade\r\nUpgrade: websocket\r\n").as_deref(), Some("websocket"));
    assert_eq!(upgrade("Upgrade: websocket\r\n"), None);
    assert_eq!(upgrade("Connection: upgrade\r\nUpgrade: tcp\r\nContent-Length: 1\r\n").as_deref(), Some("tcp"));
    assert_eq!(
        upgrade("Connection: upgrade\r\nUpgrade: tcp\r\nTransfer-Encoding: chunked\r\n").as_deref(),
        Some("tcp")
    );
    assert_eq!(upgrade("Connection: upgrade\r\nUpgrade: websocket, foo\r\n"), None);
    assert_eq!(upgrade("Connection: upgrade\r\nUpgrade: a\r\nUpgrade: b\r\n"), None);
    assert_eq!(upgrade("Connection: upgrade, http2-settings\r\nUpgrade: h2c\r\nHTTP2-Settings: x\r\n"), None);
    assert_eq!(upgrade("Connection: upgrade\r\nUpgrade: TLS/1.3\r\n"), None);
}

#[test]
fn connection_headers_stay_behind() {
    let head = request(
        "GET / HTTP/1.1\r\nHost: a\r\nConnection: X-Secret, Authorization, close\r\nKeep-Alive: timeout=9\r\n\
         Proxy-Connection: x\r\nTE: trailers, deflate\r\nUpgrade: foo\r\nX-Secret: 1\r\nx-secret: 2\r\n\
         Authorization: b\r\nX-Kept: 3\r\n\r\n",
    );
    let text = encoded(&head, &Edits::new(), Framing::Length(0), Connection::KeepAlive);
    assert_eq!(
        text,
        "GET / HTTP/1.1\r\nHost: a\r\nAuthorization: b\r\nX-Kept: 3\r\nContent-Length: 0\r\nTE: trailers\r\n\
         Connection: keep-alive, TE\r\n\r\n"
    );
}

#[test]
fn unusual_whitespace_is_normalized() {
    let head = request("GET / HTTP/1.1\r\nHost:a\r\nA:  b\r\nC: d \r\nE: f\r\n\r\n");
    let text = encoded(&head, &Edits::new(), Framing::None, Connection::Implicit);
    assert_eq!(text, "GET / HTTP/1.1\r\nHost: a\r\nA: b\r\nC: d\r\nE: f\r\n\r\n");
}

#[test]
fn edits_apply_in_their_order() {
    let head = request("GET / HTTP/1.1\r\nHost: a\r\nX-A: 1\r\nX_A: 2\r\nX-B: 3\r\nX-C: 4\r\n\r\n");
    let mut edits = Edits::new();
    assert!(edits.is_empty());
    edits.append("X-A", "gone").unwrap();
    edits.set("x-a", "5").unwrap();
    edits.append("X-B", "6").unwrap();
    edits.remove("X-C").unwrap();
    edits.append_line(&Line::new("X-D", "7").unwrap());
    edits.set_line(&Line::new("X-D", "8").unwrap());
    let text = encoded(&head, &edits, Framing::None, Connection::Implicit);
    assert_eq!(text, "GET / HTTP/1.1\r\nHost: a\r\nX-B: 3\r\nx-a: 5\r\nX-B: 6\r\nX-D: 8\r\n\r\n");
    assert_eq!(edits.request_header(&head, "X-A"), Some(&b"5"[..]));
    assert_eq!(edits.request_header(&head, "X-B"), Some(&b"3"[..]));
    assert_eq!(edits.request_header(&head, "X-C"), None);
    assert_eq!(edits.request_header(&head, "X-D"), Some(&b"8"[..]));
}

#[test]
fn edits_may_set_host_and_target() {
    let head = request("GET http://b/ HTTP/1.1\r\nHost: a\r\n\r\n");
    let mut edits = Edits::new();
    edits.set(name::HOST, "c:1").unwrap();
    edits.set_target(&b"/new?x"[..]).unwrap();
    let text = encoded(&head, &edits, Framing::None, Connection::Close);
    assert_eq!(text, "GET /new?x HTTP/1.1\r\nHost: c:1\r\nConnection: close\r\n\r\n");
}

#[test]
fn edits_refuse_what_would_break_the_head() {
    let mut edits = Edits::new();
    for value in ["a\r\nb", "a\nb", "a\0", "\u{7f}"] {
        assert_eq!(edits.set("X-A", value), Err(InvalidField::Value), "{value:?}");
    }
    for name in ["", "a b", "a:", "ä", "a\r\n", &"x".repeat(257)] {
        assert_eq!(edits.append(name, "v"), Err(InvalidField::Name), "{name:?}");
    }
    for name in ["content-length", "Transfer-Encoding", "transfer_encoding", "connection", "TE", "upgrade"] {
        assert_eq!(edits.set(name, "v"), Err(InvalidField::Reserved), "{name:?}");
        assert_eq!(edits.remove(name), Err(InvalidField::Reserved), "{name:?}");
    }
    assert_eq!(edits.append("Host", "v"), Err(InvalidField::Reserved));
    assert_eq!(edits.remove("Host"), Err(InvalidField::Reserved));
    for target in ["", "a", "/a b", "/a\r\n", "/\u{7f}", "/a#b"] {
        assert_eq!(edits.set_target(target.as_bytes().to_vec()), Err(InvalidField::Target), "{target:?}");
    }
    assert!(edits.is_empty());
    assert_eq!(Line::new("TE", "x"), Err(InvalidField::Reserved));
}

#[test]
fn a_request_without_host_is_sent_with_an_empty_one() {
    let head = request("GET / HTTP/1.0\r\n\r\n");
    assert_eq!((head.host(), head.keep_alive()), (None, false));
    let text = encoded(&head, &Edits::new(), Framing::None, Connection::Implicit);
    assert_eq!(text, "GET / HTTP/1.1\r\nHost: \r\n\r\n");
    let head = request("OPTIONS * HTTP/1.1\r\nHost:\r\n\r\n");
    assert_eq!((head.host(), head.host_name()), (None, None));
    let head = request("GET http://b/ HTTP/1.1\r\nHost:\r\n\r\n");
    assert_eq!(head.host(), Some(&b"b"[..]));
}

#[test]
fn limits_are_met_exactly() {
    let text = "GET /abc HTTP/1.1\r\nHost: a\r\nB: c\r\n\r\n";
    let parse = |limits: HeadLimits| {
        RequestParser::new().parse(&mut BytesMut::from(text), &limits).map(|head| head.is_some()).map_err(|e| e.cause())
    };
    let fits = HeadLimits { bytes: text.len(), headers: 2, uri: 4 };
    assert_eq!(parse(fits), Ok(true));
    assert_eq!(parse(HeadLimits { bytes: text.len() - 1, ..fits }), Err(Cause::HeadTooLarge));
    assert_eq!(parse(HeadLimits { headers: 1, ..fits }), Err(Cause::TooManyHeaders));
    assert_eq!(parse(HeadLimits { uri: 3, ..fits }), Err(Cause::UriTooLong));
}

#[test]
fn a_long_target_is_refused_before_its_line_ends() {
    let mut parser = RequestParser::new();
    let mut buf = BytesMut::from("GET /");
    buf.extend_from_slice(&[b'a'; 8191]);
    assert!(parser.parse(&mut buf, &HeadLimits::default()).unwrap().is_none());
    buf.extend_from_slice(b"a");
    let error = parser.parse(&mut buf, &HeadLimits::default()).unwrap_err();
    assert_eq!((error.cause(), error.status(), error.name()), (Cause::UriTooLong, 414, "uri_too_long"));
}

#[test]
fn garbage_is_refused_at_its_first_byte() {
    assert_eq!(refused(b"\x16"), Cause::BadRequestLine);
    assert_eq!(refused(b"G\0"), Cause::BadRequestLine);
    assert_eq!(refused(b"Ge"), Cause::BadMethod);
    assert_eq!(refused("A".repeat(25)), Cause::MethodTooLong);
}

#[test]
fn a_response_is_framed_by_its_request() {
    let framing = |text: &str, answering| response(text, answering).framing();
    let length = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n";
    assert_eq!(framing(length, Answering::Other), Framing::Length(5));
    assert_eq!(framing(length, Answering::Head), Framing::None);
    assert_eq!(framing(length, Answering::Connect), Framing::None);
    let chunked = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
    assert_eq!(framing(chunked, Answering::Other), Framing::Chunked);
    assert_eq!(framing("HTTP/1.1 200 OK\r\n\r\n", Answering::Other), Framing::Close);
    assert_eq!(framing("HTTP/1.1 404 No\r\nContent-Length: 5\r\n\r\n", Answering::Connect), Framing::Length(5));
    for status in [100, 103, 204, 304] {
        let text = format!("HTTP/1.1 {status} X\r\nContent-Length: 5\r\n\r\n");
        assert_eq!(framing(&text, Answering::Other), Framing::None, "{status}");
    }
}

#[test]
fn a_response_says_whether_its_connection_goes_on() {
    let goes_on = |text: &str| response(text, Answering::Other).keep_alive();
    assert!(goes_on("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"));
    assert!(!goes_on("HTTP/1.1 200 OK\r\n\r\n"));
    assert!(!goes_on("HTTP/1.0 200 OK\r\nContent-Length: 0\r\n\r\n"));
    assert!(goes_on("HTTP/1.0 200 OK\r\nContent-Length: 0\r\nConnection: keep-alive\r\n\r\n"));
    assert!(!goes_on("HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"));
    assert!(goes_on("HTTP/1.1 204 No\r\nContent-Length: 0\r\n\r\n"));
    assert!(!goes_on("HTTP/1.1 204 No\r\nContent-Length: 1\r\n\r\n"));
    let timeout = |value: &str| {
        response(&format!("HTTP/1.1 204 No\r\nKeep-Alive: {value}\r\n\r\n"), Answering::Other)
            .keep_alive_timeout()
            .map(|t| t.as_secs())
    };
    assert_eq!(timeout("timeout=5, max=100"), Some(5));
    assert_eq!(timeout("max=100,timeout=5"), Some(5));
    assert_eq!(timeout("timeout=-5"), None);
    assert_eq!(timeout("timeout=99999999999"), Some(u64::from(u32::MAX)));
}

#[test]
fn a_missing_reason_is_tolerated_and_its_space_written() {
    for text in ["HTTP/1.1 299\r\n\r\n", "HTTP/1.1 299 \r\n\r\n"] {
        let head = response(text, Answering::Other);
        assert_eq!((head.status(), head.reason()), (299, &b""[..]));
        let text = answered(&head, &Edits::new(), Framing::Length(1), Connection::Implicit);
        assert_eq!(text, "HTTP/1.1 299 \r\nContent-Length: 1\r\n\r\n");
    }
}

#[test]
fn lengths_without_a_body_go_to_head_and_304_only() {
    let head = response("HTTP/1.1 200 OK\r\nContent-Length: 5\r\nETag: x\r\n\r\n", Answering::Head);
    let text = answered(&head, &Edits::new(), Framing::None, Connection::Implicit);
    assert_eq!(text, "HTTP/1.1 200 OK\r\nETag: x\r\nContent-Length: 5\r\n\r\n");
    let head = response("HTTP/1.1 204 No\r\nContent-Length: 0\r\n\r\n", Answering::Other);
    assert_eq!(answered(&head, &Edits::new(), Framing::None, Connection::Implicit), "HTTP/1.1 204 No\r\n\r\n");
    let head = response("HTTP/1.1 200 OK\r\n\r\n", Answering::Other);
    let text = answered(&head, &Edits::new(), Framing::Close, Connection::Implicit);
    assert_eq!(text, "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n");
}

#[test]
fn a_switch_needs_an_offer() {
    let text = "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n";
    let head = response(text, Answering::Upgrade);
    assert_eq!((head.upgrade(), head.is_interim()), (Some(&b"websocket"[..]), false));
    let text = answered(&head, &Edits::new(), Framing::None, Connection::Upgrade);
    assert_eq!(text, "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n");
    let mut buf = BytesMut::from(text.as_str());
    let error = ResponseParser::new().parse(&mut buf, Answering::Other, &HeadLimits::response()).unwrap_err();
    assert_eq!(error.cause(), Cause::UnexpectedSwitch);
}

#[test]
fn interim_responses_come_one_by_one() {
    let mut buf = BytesMut::from(
        "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\nHTTP/1.1 200 OK\r\n\r\n",
    );
    let mut parser = ResponseParser::new();
    let mut statuses = Vec::new();
    loop {
        let head = parser.parse(&mut buf, Answering::Other, &HeadLimits::response()).unwrap().unwrap();
        statuses.push(head.status());
        if !head.is_interim() {
            break;
        }
    }
    assert_eq!(statuses, [100, 103, 200]);
}

#[test]
fn own_answers_are_built_and_written() {
    let head = ResponseHead::build(503).header("Retry-After", "1").length(4).finish().unwrap();
    assert_eq!((head.status(), head.framing(), head.reason()), (503, Framing::Length(4), &b"Service Unavailable"[..]));
    assert_eq!(head.header("retry-after"), Some(&b"1"[..]));
    let text = answered(&head, &Edits::new(), head.framing(), Connection::Close);
    let expected =
        "HTTP/1.1 503 Service Unavailable\r\nRetry-After: 1\r\nContent-Length: 4\r\nConnection: close\r\n\r\n";
    assert_eq!(text, expected);
    assert_eq!(ResponseHead::build(200).header("X", "a\r\nb").finish().unwrap_err(), InvalidField::Value);
    assert_eq!(ResponseHead::build(200).header("Upgrade", "a").finish().unwrap_err(), InvalidField::Reserved);
    assert_eq!(ResponseHead::build(20).finish().unwrap().status(), 500);
}

fn decode(framing: Framing, text: &str) -> (String, Vec<(String, String)>, Result<String, Cause>) {
    let mut buf = BytesMut::from(text);
    let mut decoder = BodyDecoder::new(framing);
    let (mut data, mut trailers) = (String::new(), Vec::new());
    let owned = |b: &[u8]| String::from_utf8(b.to_vec()).unwrap();
    loop {
        match decoder.decode(&mut buf) {
            Ok(Step::Data(piece)) => data.push_str(&owned(&piece)),
            Ok(Step::Trailers(t)) => trailers.extend(t.iter().map(|(n, v)| (owned(n), owned(v)))),
            Ok(Step::End) => return (data, trailers, Ok(owned(&buf))),
            Ok(Step::NeedMore) => {
                return (data, trailers, decoder.on_eof().map(|()| owned(&buf)).map_err(|e| e.cause()));
            }
            Err(error) => return (data, trailers, Err(error.cause())),
        }
    }
}

#[test]
fn bodies_end_by_their_framing() {
    let ended = |framing, text| decode(framing, text);
    assert_eq!(ended(Framing::None, "next"), (String::new(), vec![], Ok("next".into())));
    assert_eq!(ended(Framing::Length(0), "next"), (String::new(), vec![], Ok("next".into())));
    assert_eq!(ended(Framing::Length(3), "abcnext"), ("abc".into(), vec![], Ok("next".into())));
    assert_eq!(ended(Framing::Length(5), "abc"), ("abc".into(), vec![], Err(Cause::Truncated)));
    assert_eq!(ended(Framing::Close, "abc"), ("abc".into(), vec![], Ok(String::new())));
    let chunked = "3;x=\"y\"\r\nabc\r\n0A\r\n0123456789\r\n0\r\n\r\nnext";
    assert_eq!(ended(Framing::Chunked, chunked), ("abc0123456789".into(), vec![], Ok("next".into())));
    assert_eq!(ended(Framing::Chunked, "3\r\nabc\r\n0\r\n"), ("abc".into(), vec![], Err(Cause::Truncated)));
}

#[test]
fn trailers_come_last_without_those_that_may_not() {
    let text = "1\r\na\r\n0\r\nX-Sum: 1\r\nset-cookie: a\r\nX-B: 2\r\n\r\nnext";
    let (data, trailers, rest) = decode(Framing::Chunked, text);
    let expected = [("X-Sum", "1"), ("X-B", "2")].map(|(n, v)| (n.to_owned(), v.to_owned()));
    assert_eq!((data.as_str(), trailers, rest), ("a", expected.to_vec(), Ok("next".into())));
}

#[test]
fn chunks_are_written_as_they_are_read() {
    assert!(ChunkPrefix::new(0).is_none());
    assert_eq!(ChunkPrefix::new(1).unwrap().as_bytes(), b"1\r\n");
    assert_eq!(ChunkPrefix::new(0x1a2b).unwrap().as_bytes(), b"1a2b\r\n");
    assert_eq!(ChunkPrefix::new(usize::MAX).unwrap().as_bytes(), b"ffffffffffffffff\r\n");
    let mut dst = BytesMut::new();
    encode_chunk(&mut dst, b"hello");
    encode_chunk(&mut dst, b"");
    encode_last_chunk(&mut dst, None);
    assert_eq!(&dst[..], b"5\r\nhello\r\n0\r\n\r\n");
}

#[test]
fn trailers_are_written_as_they_are_read() {
    let mut buf = BytesMut::from("0\r\nX-A: 1\r\nX-B:2\r\n\r\n");
    let Ok(Step::Trailers(trailers)) = BodyDecoder::new(Framing::Chunked).decode(&mut buf) else {
        panic!("no trailers")
    };
    let mut dst = BytesMut::new();
    encode_last_chunk(&mut dst, Some(&trailers));
    assert_eq!(&dst[..], b"0\r\nX-A: 1\r\nX-B: 2\r\n\r\n");
}

#[test]
fn heads_are_converted_from_and_to_the_http_crate() {
    let parts = http::Request::post("https://example.com/a?b")
        .version(http::Version::HTTP_2)
        .header("cookie", "a=1")
        .header("cookie", "b=2")
        .header("content-length", "99")
        .header("te", "trailers")
        .body(())
        .unwrap()
        .into_parts()
        .0;
    let head = RequestHead::from_parts(&parts, Framing::Chunked).unwrap();
    assert_eq!((head.version(), head.framing(), head.target()), (Version::Http2, Framing::Chunked, &b"/a?b"[..]));
    assert_eq!((head.host(), head.header("cookie")), (Some(&b"example.com"[..]), Some(&b"a=1; b=2"[..])));
    assert_eq!(head.header("content-length"), None);
    let mut edits = Edits::new();
    edits.set("x-a", "1").unwrap();
    edits.remove("cookie").unwrap();
    let back = head.to_parts(&edits, Framing::Length(7), Some("https")).unwrap();
    assert_eq!(back.uri.to_string(), "https://example.com/a?b");
    assert_eq!(back.version, http::Version::HTTP_2);
    let mut headers: Vec<_> = back.headers.iter().map(|(n, v)| format!("{n}: {}", v.to_str().unwrap())).collect();
    headers.sort();
    assert_eq!(headers, ["content-length: 7", "te: trailers", "x-a: 1"]);
    let back = head.to_parts(&Edits::new(), Framing::None, None).unwrap();
    assert_eq!((back.uri.to_string().as_str(), &back.headers["host"]), ("/a?b", &"example.com".parse().unwrap()));

    let differs = http::Request::get("https://a/").header("host", "b").body(()).unwrap().into_parts().0;
    assert_eq!(RequestHead::from_parts(&differs, Framing::None).unwrap_err().cause(), Cause::BadHost);
}

#[test]
fn responses_are_converted_from_and_to_the_http_crate() {
    let parts = http::Response::builder()
        .status(404)
        .header("x-a", "1")
        .header("connection", "close")
        .body(())
        .unwrap()
        .into_parts()
        .0;
    let head = ResponseHead::from_parts(&parts, Framing::Length(2)).unwrap();
    assert_eq!((head.status(), head.framing(), head.keep_alive()), (404, Framing::Length(2), true));
    let back = head.to_parts(&Edits::new(), Framing::Chunked).unwrap();
    assert_eq!(back.status, 404);
    let headers: Vec<_> = back.headers.keys().map(http::HeaderName::as_str).collect();
    assert_eq!(headers, ["x-a"]);
}

#[test]
fn trailers_are_converted_from_and_to_the_http_crate() {
    let mut headers = http::HeaderMap::new();
    headers.append("grpc-status", "0".parse().unwrap());
    headers.append("set-cookie", "a=b".parse().unwrap());
    let trailers = Trailers::from_headers(&headers).unwrap().unwrap();
    headers.remove("set-cookie");
    assert_eq!(trailers.to_headers(), headers);
    assert!(Trailers::from_headers(&http::HeaderMap::new()).unwrap().is_none());
    headers.append("content-length", "5".parse().unwrap());
    assert_eq!(Trailers::from_headers(&headers).unwrap_err().cause(), Cause::ForbiddenTrailer);
}
