//! Promises that hold for any input: splits do not matter, what goes out reads back as what it was, and nothing that
//! we accept is refused by a laxer parser.
//!
//! Inputs are the corpus, damaged: bytes that parsers care about, put in, over or in place of what was there. Purely
//! random bytes would never get past the first line.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod corpus;

use bytes::{Bytes, BytesMut};
use corpus::{CHUNKED, CHUNKED_RESPONSES, Case, REQUESTS, RESPONSES};
use lb_http::message::{Edits, Framing, RequestHead, ResponseHead, TargetForm, Version};
use lb_http::wire::h1::{
    Answering, BodyDecoder, CHUNK_SUFFIX, Cause, ChunkPrefix, Connection, HeadLimits, RequestParser, ResponseParser,
    Step, encode_chunk, encode_last_chunk, encode_request, encode_response,
};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::{Index, select};

/// What parsers stumble over.
const PIECES: &[&[u8]] = &[
    b"\r",
    b"\n",
    b"\r\n",
    b"\r\n\r\n",
    b" ",
    b"\t",
    b":",
    b",",
    b";",
    b"=",
    b"\0",
    b"\x7f",
    b"\xe9",
    b"0",
    b"9",
    b"f",
    b"-",
    b"+",
    b"x",
    b"_",
    b"/",
    b"#",
    b"\\",
    b"@",
    b"[",
    b"\"",
    b"Host: b\r\n",
    b"Content-Length: 3\r\n",
    b"Transfer-Encoding: chunked\r\n",
    b"Connection: close, x\r\n",
    b"Upgrade: a\r\n",
    b"X-A: 1\r\n",
    b"X-A:\r\n",
    b"TE: trailers\r\n",
    b"Expect: 100-continue\r\n",
    b"HTTP/1.0",
    b"HTTP/1.1",
    b"GET http://h/ HTTP/1.1\r\n",
    b"0\r\n\r\n",
];

/// Room for the larger limits to be met too.
const LIMITS: HeadLimits = HeadLimits { bytes: 200, headers: 4, uri: 24 };

/// A message of the corpus with up to five things done to it, and places to cut it at.
fn damaged(cases: &'static [Case]) -> impl Strategy<Value = (Vec<u8>, Vec<Index>)> {
    let edit = (any::<Index>(), 0..3usize, select(PIECES));
    (select(cases), vec(edit, 0..5), vec(any::<Index>(), 0..6)).prop_map(|(case, edits, cuts)| {
        let mut bytes = case.bytes.to_vec();
        for (at, removed, piece) in edits {
            let at = at.index(bytes.len() + 1);
            let end = (at + removed).min(bytes.len());
            bytes.splice(at..end, piece.iter().copied());
        }
        (bytes, cuts)
    })
}

/// The pieces of a message between cuts.
fn cut<'a>(bytes: &'a [u8], cuts: &[Index]) -> Vec<&'a [u8]> {
    let mut at: Vec<usize> = cuts.iter().map(|cut| cut.index(bytes.len() + 1)).collect();
    at.extend([0, bytes.len()]);
    at.sort_unstable();
    at.windows(2).map(|w| &bytes[w[0]..w[1]]).collect()
}

fn one_by_one(bytes: &[u8]) -> Vec<&[u8]> {
    bytes.chunks(1).collect()
}

/// Everything a parser made of a stream of messages: their heads, then an error or what was left.
type Heads<T> = (Vec<T>, Result<Vec<u8>, Cause>);

fn heads<T>(pieces: &[&[u8]], mut parse: impl FnMut(&mut BytesMut) -> Result<Option<T>, Cause>) -> Heads<T> {
    let (mut buf, mut heads) = (BytesMut::new(), Vec::new());
    for piece in pieces {
        buf.extend_from_slice(piece);
        loop {
            match parse(&mut buf) {
                Ok(Some(head)) => heads.push(head),
                Ok(None) => break,
                Err(cause) => return (heads, Err(cause)),
            }
        }
    }
    (heads, Ok(buf.to_vec()))
}

fn requests(pieces: &[&[u8]], limits: &HeadLimits) -> Heads<RequestHead> {
    let mut parser = RequestParser::new();
    heads(pieces, |buf| parser.parse(buf, limits).map_err(|e| e.cause()))
}

fn responses(pieces: &[&[u8]], answering: Answering, limits: &HeadLimits) -> Heads<ResponseHead> {
    let mut parser = ResponseParser::new();
    heads(pieces, |buf| parser.parse(buf, answering, limits).map_err(|e| e.cause()))
}

/// A request head as all of its accessors see it.
fn seen(head: &RequestHead) -> impl PartialEq + std::fmt::Debug + use<> {
    let headers: Vec<_> = head.iter().map(|(n, v)| (n.to_vec(), v.to_vec())).collect();
    let line =
        (head.method().to_string(), head.target().to_vec(), head.path().to_vec(), head.query().map(<[u8]>::to_vec));
    let flags = (head.keep_alive(), head.expects_continue(), head.accepts_trailers(), head.is_connect());
    let host = (head.host().map(<[u8]>::to_vec), head.upgrade().map(<[u8]>::to_vec), head.scheme());
    (headers, line, host, head.version(), head.framing(), flags, head.as_bytes().clone())
}

fn seen_response(head: &ResponseHead) -> impl PartialEq + std::fmt::Debug + use<> {
    let headers: Vec<_> = head.iter().map(|(n, v)| (n.to_vec(), v.to_vec())).collect();
    let line = (head.status(), head.reason().to_vec(), head.version());
    let rest = (head.framing(), head.keep_alive(), head.keep_alive_timeout(), head.content_length());
    (headers, line, rest, head.upgrade().map(<[u8]>::to_vec), head.as_bytes().clone())
}

/// What a decoder made of a body: data, trailers, and how it ended (what was left, waiting, or an error).
type Body = (Vec<u8>, Vec<(Vec<u8>, Vec<u8>)>, Result<Option<Vec<u8>>, Cause>);

fn body(pieces: &[&[u8]], framing: Framing) -> Body {
    decoded(pieces, BodyDecoder::new(framing))
}

fn decoded(pieces: &[&[u8]], mut decoder: BodyDecoder) -> Body {
    let (mut buf, mut data, mut trailers) = (BytesMut::new(), Vec::new(), Vec::new());
    let mut ended = false;
    for piece in pieces {
        buf.extend_from_slice(piece);
        while !ended {
            match decoder.decode(&mut buf) {
                Ok(Step::Data(piece)) => {
                    assert!(!piece.is_empty());
                    data.extend_from_slice(&piece);
                }
                Ok(Step::Trailers(t)) => trailers.extend(t.iter().map(|(n, v)| (n.to_vec(), v.to_vec()))),
                Ok(Step::End) => ended = true,
                Ok(Step::NeedMore) => break,
                Err(error) => return (data, trailers, Err(error.cause())),
            }
        }
    }
    (data, trailers, Ok(ended.then(|| buf.to_vec())))
}

/// The headers that must come out of the encoder for a request, worked out the slow way.
fn forwarded(head: &RequestHead) -> Vec<(Vec<u8>, Vec<u8>)> {
    const HOP: [&str; 8] = [
        "connection",
        "keep-alive",
        "proxy-connection",
        "te",
        "transfer-encoding",
        "upgrade",
        "content-length",
        "host",
    ];
    // Of the names that the corpus holds, these are meant for the end of the way whatever `Connection` says.
    const KEPT: [&str; 5] = ["cookie", "expect", "x-forwarded-for", "sec-websocket-key", "sec-websocket-version"];
    let nominated: Vec<Vec<u8>> = head
        .headers("connection")
        .flat_map(|value| value.split(|&b| b == b','))
        .map(|element| element.trim_ascii().to_ascii_lowercase())
        .filter(|element| !KEPT.iter().any(|kept| kept.as_bytes() == element))
        .collect();
    head.iter()
        .map(|(n, v)| (n.to_ascii_lowercase(), v.to_vec()))
        .filter(|(n, _)| !HOP.iter().any(|hop| hop.as_bytes() == n) && !nominated.contains(n))
        // From an HTTP/1.0 client it is ignored (RFC 9110 §10.1.1), and so not passed on.
        .filter(|(n, _)| head.version() != Version::Http10 || n != b"expect")
        .collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1500, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn splits_do_not_change_requests((bytes, cuts) in damaged(REQUESTS), tight in any::<bool>()) {
        let limits = if tight { LIMITS } else { HeadLimits::default() };
        let (whole, end) = requests(&[&bytes], &limits);
        let whole: Vec<_> = whole.iter().map(seen).collect();
        for pieces in [cut(&bytes, &cuts), one_by_one(&bytes)] {
            let (split, split_end) = requests(&pieces, &limits);
            let split: Vec<_> = split.iter().map(seen).collect();
            prop_assert_eq!(&whole, &split);
            prop_assert_eq!(&end, &split_end);
        }
    }

    #[test]
    fn splits_do_not_change_responses((bytes, cuts) in damaged(RESPONSES), tight in any::<bool>(),
        answering in select(&[Answering::Head, Answering::Connect, Answering::Upgrade, Answering::Other][..])) {
        let limits = if tight { LIMITS } else { HeadLimits::response() };
        let (whole, end) = responses(&[&bytes], answering, &limits);
        let whole: Vec<_> = whole.iter().map(seen_response).collect();
        for pieces in [cut(&bytes, &cuts), one_by_one(&bytes)] {
            let (split, split_end) = responses(&pieces, answering, &limits);
            let split: Vec<_> = split.iter().map(seen_response).collect();
            prop_assert_eq!(&whole, &split);
            prop_assert_eq!(&end, &split_end);
        }
    }

    #[test]
    fn splits_do_not_change_bodies((bytes, cuts) in damaged(CHUNKED),
        framing in select(&[Framing::Chunked, Framing::Chunked, Framing::Length(7), Framing::Close][..])) {
        let whole = body(&[&bytes], framing);
        prop_assert_eq!(&whole, &body(&cut(&bytes, &cuts), framing));
        prop_assert_eq!(&whole, &body(&one_by_one(&bytes), framing));
    }

    #[test]
    fn splits_do_not_change_bodies_of_responses((bytes, cuts) in damaged(CHUNKED_RESPONSES)) {
        let read = |pieces: &[&[u8]]| decoded(pieces, BodyDecoder::of_response(Framing::Chunked));
        let whole = read(&[&bytes]);
        prop_assert_eq!(&whole, &read(&cut(&bytes, &cuts)));
        prop_assert_eq!(&whole, &read(&one_by_one(&bytes)));
    }

    #[test]
    fn chunks_valid_in_a_request_parse_identically_in_a_response((bytes, _) in damaged(CHUNKED)) {
        let strict = body(&[&bytes], Framing::Chunked);
        if strict.2.is_ok() {
            prop_assert_eq!(&strict, &decoded(&[&bytes], BodyDecoder::of_response(Framing::Chunked)));
        }
    }

    #[test]
    fn accepted_requests_parse_identically_in_httparse((bytes, _) in damaged(REQUESTS)) {
        for head in requests(&[&bytes], &HeadLimits::default()).0 {
            let mut headers = [httparse::EMPTY_HEADER; 100];
            let mut theirs = httparse::Request::new(&mut headers);
            let status = theirs.parse(head.as_bytes()).expect("accepted");
            prop_assert_eq!(status, httparse::Status::Complete(head.as_bytes().len()));
            prop_assert_eq!(theirs.method.unwrap().as_bytes(), head.method().as_bytes());
            prop_assert_eq!(theirs.path.unwrap().as_bytes(), head.target());
            let theirs: Vec<_> = theirs.headers.iter().map(|h| (h.name.as_bytes(), h.value)).collect();
            prop_assert_eq!(theirs, head.iter().collect::<Vec<_>>());
        }
    }

    #[test]
    fn accepted_responses_parse_identically_in_httparse((bytes, _) in damaged(RESPONSES)) {
        for head in responses(&[&bytes], Answering::Other, &HeadLimits::response()).0 {
            let mut headers = [httparse::EMPTY_HEADER; 200];
            let mut theirs = httparse::Response::new(&mut headers);
            let status = theirs.parse(head.as_bytes()).expect("accepted");
            prop_assert_eq!(status, httparse::Status::Complete(head.as_bytes().len()));
            prop_assert_eq!(theirs.code, Some(head.status()));
            let theirs: Vec<_> = theirs.headers.iter().map(|h| (h.name.as_bytes(), h.value)).collect();
            prop_assert_eq!(theirs, head.iter().collect::<Vec<_>>());
        }
    }

    #[test]
    fn a_request_reads_back_as_it_was_sent((bytes, _) in damaged(REQUESTS),
        connection in select(&[Connection::Implicit, Connection::Close, Connection::Upgrade, Connection::KeepAlive][..])) {
        for head in requests(&[&bytes], &HeadLimits::default()).0 {
            let mut wire = BytesMut::new();
            let mut edits = Edits::new();
            if head.host().is_none() {
                // As the proxy does: a path goes with a host.
                edits.set("host", "endpoint").unwrap();
            }
            encode_request(&mut wire, &head, &edits, head.framing(), connection);
            let (sent, end) = requests(&[&wire], &HeadLimits { bytes: usize::MAX, headers: 200, uri: usize::MAX });
            prop_assert_eq!(end, Ok(Vec::new()));
            prop_assert_eq!(sent.len(), 1);
            let sent = &sent[0];
            prop_assert_eq!(sent.method(), head.method());
            prop_assert_eq!((sent.path(), sent.query()), (head.path(), head.query()));
            prop_assert_eq!(sent.host(), head.host().or(Some(b"endpoint")));
            prop_assert_eq!(sent.framing(), head.framing());
            prop_assert_eq!(sent.keep_alive(), connection != Connection::Close);
            prop_assert_eq!(sent.upgrade().is_some(), connection == Connection::Upgrade && head.upgrade().is_some());
            prop_assert_eq!(sent.target_form() == TargetForm::Absolute, false);
            prop_assert_eq!(forwarded(sent), forwarded(&head));
        }
    }

    #[test]
    fn a_response_reads_back_as_it_was_sent((bytes, _) in damaged(RESPONSES)) {
        for head in responses(&[&bytes], Answering::Other, &HeadLimits::response()).0 {
            let mut wire = BytesMut::new();
            encode_response(&mut wire, &head, &Edits::new(), head.framing(), Connection::Implicit);
            let (sent, end) = responses(&[&wire], Answering::Other, &HeadLimits { bytes: 1 << 20, headers: 300, uri: 0 });
            prop_assert_eq!(end, Ok(Vec::new()));
            prop_assert_eq!(sent.len(), 1);
            prop_assert_eq!((sent[0].status(), sent[0].reason()), (head.status(), head.reason()));
            prop_assert_eq!(sent[0].framing(), head.framing());
            prop_assert_eq!(sent[0].content_length(), head.content_length());
        }
    }

    #[test]
    fn chunks_read_back_as_they_were_sent(pieces in vec(vec(any::<u8>(), 0..600), 0..8), copied in any::<bool>(),
        cuts in vec(any::<Index>(), 0..6)) {
        let mut wire = BytesMut::new();
        for piece in &pieces {
            if copied {
                encode_chunk(&mut wire, piece);
            } else if let Some(prefix) = ChunkPrefix::new(piece.len()) {
                wire.extend_from_slice(prefix.as_bytes());
                wire.extend_from_slice(piece);
                wire.extend_from_slice(CHUNK_SUFFIX);
            }
        }
        encode_last_chunk(&mut wire, None);
        wire.extend_from_slice(b"next");
        let (data, trailers, end) = body(&cut(&wire, &cuts), Framing::Chunked);
        prop_assert_eq!(data, pieces.concat());
        prop_assert!(trailers.is_empty());
        prop_assert_eq!(end, Ok(Some(b"next".to_vec())));
    }

    #[test]
    fn edits_do_what_a_list_would_do(changes in vec((0..3u8, select(&["X-A", "x-a", "X-B", "x_a", "Host"][..]), 0..9u8), 0..12)) {
        let mut buf = BytesMut::from("GET / HTTP/1.1\r\nHost: h\r\nX-A: r\r\nX_A: s\r\nx-a: t\r\nX-B:u\r\n\r\n");
        let head = RequestParser::new().parse(&mut buf, &HeadLimits::default()).unwrap().unwrap();
        let mut list: Vec<(String, String)> =
            [("host", "h"), ("x-a", "r"), ("x-a", "s"), ("x-a", "t"), ("x-b", "u")].map(|(n, v)| (n.into(), v.into())).into();
        let mut edits = Edits::new();
        for (change, name, value) in changes {
            let (folded, value) = (name.to_lowercase().replace('_', "-"), value.to_string());
            let accepted = match change {
                0 => edits.remove(name),
                1 => edits.set(name, &value),
                _ => edits.append(name, &value),
            };
            prop_assert_eq!(accepted.is_ok(), name != "Host" || change == 1);
            if accepted.is_err() {
                continue;
            }
            if change != 2 {
                list.retain(|(n, _)| *n != folded);
            }
            if change != 0 {
                list.push((folded, value));
            }
        }
        let mut wire = BytesMut::new();
        encode_request(&mut wire, &head, &edits, Framing::None, Connection::Implicit);
        let sent = RequestParser::new().parse(&mut wire, &HeadLimits::default()).unwrap().unwrap();
        let text = |b: &[u8]| String::from_utf8(b.to_vec()).unwrap();
        let sent: Vec<_> = sent.iter().map(|(n, v)| (text(n).to_lowercase().replace('_', "-"), text(v))).collect();
        prop_assert_eq!(sent, list);
    }

    #[test]
    fn conversion_and_codec_agree((bytes, _) in damaged(REQUESTS)) {
        for head in requests(&[&bytes], &HeadLimits::default()).0 {
            let Ok(parts) = head.to_parts(&Edits::new(), head.framing(), None) else { continue };
            let Ok(back) = RequestHead::from_parts(&parts, head.framing()) else { continue };
            prop_assert_eq!(back.method(), head.method());
            prop_assert_eq!(back.host(), head.host());
            prop_assert_eq!(back.framing(), head.framing());
            let sorted = |mut headers: Vec<(Vec<u8>, Vec<u8>)>| { headers.sort(); headers };
            prop_assert_eq!(sorted(forwarded(&back)), sorted(forwarded(&head)));
        }
    }
}

#[test]
fn data_is_handed_out_without_a_copy() {
    let mut buf = BytesMut::from("5\r\nhello\r\n0\r\n\r\n");
    let start = buf.as_ptr() as usize;
    let Step::Data(data) = BodyDecoder::new(Framing::Chunked).decode(&mut buf).unwrap() else { panic!("no data") };
    assert_eq!(data, Bytes::from_static(b"hello"));
    assert_eq!(data.as_ptr() as usize, start + 3);
}

#[test]
fn tiny_chunks_with_extensions_are_not_read_for_ever() {
    // Framing costs 104 bytes a chunk, of which 16 and twice the data are free. After the size line of chunk k (its
    // last CRLF is still to come) 86k - 2 is more than 16384 from k = 191 on.
    let chunk = format!("1;{}\r\na\r\n", "x".repeat(98));
    let mut wire = chunk.repeat(1000).into_bytes();
    wire.extend_from_slice(b"0\r\n\r\n");
    let (data, _, end) = body(&[&wire], Framing::Chunked);
    assert_eq!(end, Err(Cause::ChunkOverhead));
    assert_eq!(data.len(), 190);

    // Without extensions they are: some programs write every byte by itself.
    let mut wire = "1\r\na\r\n".repeat(50_000).into_bytes();
    wire.extend_from_slice(b"0\r\n\r\n");
    assert_eq!(body(&[&wire], Framing::Chunked).0.len(), 50_000);
}

#[test]
fn trailers_are_limited_in_number_and_size() {
    let trailers = |count: usize, len: usize| {
        let line = format!("X: {}\r\n", "v".repeat(len));
        body(&[format!("0\r\n{}\r\n", line.repeat(count)).as_bytes()], Framing::Chunked).2
    };
    assert_eq!(trailers(64, 1), Ok(Some(Vec::new())));
    assert_eq!(trailers(65, 1), Err(Cause::TrailersTooLarge));
    assert_eq!(trailers(1, 8192 - 7), Ok(Some(Vec::new())));
    assert_eq!(trailers(1, 8192 - 6), Err(Cause::TrailersTooLarge));
}

#[test]
fn heads_of_any_size_up_to_their_limit_are_read() {
    // Past twenty headers the index leaves its inline space; past 255 bytes a name's tag wraps.
    let mut text = String::from("GET / HTTP/1.1\r\nHost: a\r\n");
    for i in 0..99 {
        text.push_str(&format!("X-{i}: {i}\r\n"));
    }
    let head = requests(&[format!("{text}\r\n").as_bytes()], &HeadLimits::default()).0.remove(0);
    assert_eq!(head.header("x-98"), Some(&b"98"[..]));
    let long = "n".repeat(300);
    let text = format!("GET / HTTP/1.1\r\nHost: a\r\n{long}: 1\r\n\r\n");
    let head = requests(&[text.as_bytes()], &HeadLimits::default()).0.remove(0);
    assert_eq!(head.header(long.as_str()), Some(&b"1"[..]));
    let text = format!("GET / HTTP/1.1\r\nHost: a\r\n{}: 1\r\n\r\n", "n".repeat(70_000));
    let limits = HeadLimits { bytes: usize::MAX, ..HeadLimits::default() };
    assert_eq!(requests(&[text.as_bytes()], &limits).1, Err(Cause::HeadTooLarge));
}
