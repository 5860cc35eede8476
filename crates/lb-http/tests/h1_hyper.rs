//! What we accept, hyper parses identically: it serves our clients' requests and asks for our endpoints' responses over a pipe, and sees
//! the same messages, one after the other, with the same bodies. Where it refuses what we accept, the case is listed;
//! and so is what we refuse and it, or httparse, accepts.
#![allow(clippy::disallowed_types, reason = "no request path")]
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod corpus;

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::fmt::Write as _;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use corpus::{CHUNKED, CHUNKED_RESPONSES, Case, REQUESTS, RESPONSES, Verdict};
use http_body_util::{BodyExt, Empty};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use lb_http::message::{Framing, RequestHead, ResponseHead, Version};
use lb_http::wire::h1::{Answering, BodyDecoder, HeadLimits, RequestParser, ResponseParser, Step};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::{Index, select};
use tokio::io::AsyncWriteExt;

/// Headers by name in lower case.
type Headers = BTreeMap<String, Vec<Vec<u8>>>;

/// A parsed message: first line, headers by name, body.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Seen {
    first: (String, String, Option<String>),
    version: http::Version,
    headers: Headers,
    body: Vec<u8>,
}

/// Before a chunked body.
const CHUNKED_HEAD: &[u8] = b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n";

/// The same from an endpoint.
const CHUNKED_ANSWER: &[u8] = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";

/// How a reader came to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    /// It waits for more.
    Waits,
    /// It refuses what comes next.
    Refuses,
    /// The connection ends with the last message.
    Closes,
}

fn by_name<'a>(headers: impl Iterator<Item = (&'a [u8], &'a [u8])>) -> Headers {
    let mut all = Headers::new();
    for (name, value) in headers {
        all.entry(String::from_utf8_lossy(name).to_ascii_lowercase()).or_default().push(value.to_vec());
    }
    all
}

/// The whole body at the front of `buf`, or why there is none.
fn body(buf: &mut BytesMut, mut decoder: BodyDecoder) -> Result<Vec<u8>, End> {
    let mut data = Vec::new();
    loop {
        match decoder.decode(buf) {
            Ok(Step::Data(piece)) => data.extend_from_slice(&piece),
            Ok(Step::Trailers(_)) => {}
            Ok(Step::End) => return Ok(data),
            Ok(Step::NeedMore) => return Err(End::Waits),
            Err(_) => return Err(End::Refuses),
        }
    }
}

fn our_request(head: &RequestHead, body: Vec<u8>) -> Seen {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let path = if head.path().is_empty() { b"/" } else { head.path() };
    Seen {
        first: (head.method().to_string(), text(path), head.query().map(text)),
        version: if head.version() == Version::Http10 { http::Version::HTTP_10 } else { http::Version::HTTP_11 },
        headers: by_name(head.iter()),
        body,
    }
}

/// The whole requests in these bytes, as we read them.
fn our_requests(bytes: &[u8]) -> (Vec<Seen>, End) {
    let (mut parser, mut buf, mut seen) = (RequestParser::new(), BytesMut::from(bytes), Vec::new());
    loop {
        let head = match parser.parse(&mut buf, &HeadLimits::default()) {
            Ok(Some(head)) if head.is_connect() => return (seen, End::Closes),
            Ok(Some(head)) => head,
            Ok(None) => return (seen, End::Waits),
            Err(_) => return (seen, End::Refuses),
        };
        match body(&mut buf, BodyDecoder::new(head.framing())) {
            Ok(body) => seen.push(our_request(&head, body)),
            Err(end) => return (seen, end),
        }
        if !head.keep_alive() {
            return (seen, End::Closes);
        }
    }
}

/// Runs on a clock that jumps when nothing is left to do.
fn until_idle<T>(run: impl Future<Output = T>) -> Option<T> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
    runtime.block_on(async { tokio::time::timeout(Duration::from_secs(1), run).await.ok() })
}

/// The whole requests in these bytes, as hyper reads them.
fn their_requests(bytes: &[u8]) -> (Vec<Seen>, End) {
    let seen: Arc<Mutex<Vec<Seen>>> = Arc::default();
    let serve = {
        let seen = Arc::clone(&seen);
        move |request: http::Request<Incoming>| {
            let seen = Arc::clone(&seen);
            async move {
                let (head, body) = request.into_parts();
                // A body that is not whole makes no request.
                if let Ok(body) = body.collect().await {
                    let first =
                        (head.method.to_string(), head.uri.path().to_owned(), head.uri.query().map(str::to_owned));
                    let headers = head.headers.iter().map(|(name, value)| (name.as_str().as_bytes(), value.as_bytes()));
                    let (headers, body) = (by_name(headers), body.to_bytes().to_vec());
                    seen.lock().unwrap().push(Seen { first, version: head.version, headers, body });
                }
                Ok::<_, Infallible>(http::Response::new(Empty::<Bytes>::new()))
            }
        }
    };
    let (mut client, server) = tokio::io::duplex(1 << 20);
    let ended = until_idle(async {
        client.write_all(bytes).await.unwrap();
        hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(server), service_fn(serve)).await
    });
    let end = match ended {
        None => End::Waits,
        Some(Ok(())) => End::Closes,
        Some(Err(_)) => End::Refuses,
    };
    let seen = seen.lock().unwrap().clone();
    (seen, end)
}

/// Whether hyper's types can hold what we accept: `http` takes fewer characters in a path than browsers send.
fn is_within_http(seen: &Seen) -> bool {
    let target = match &seen.first.2 {
        Some(query) => format!("{}?{query}", seen.first.1),
        None => seen.first.1.clone(),
    };
    target == "*" || http::uri::PathAndQuery::try_from(target).is_ok()
}

/// Everything that we accept, they parse identically, except what they refuse for a known reason.
fn agrees(bytes: &[u8]) -> Result<(), String> {
    let (ours, our_end) = our_requests(bytes);
    let (theirs, their_end) = their_requests(bytes);
    for (ours, theirs) in ours.iter().zip(&theirs) {
        if ours != theirs {
            return Err(format!("we read {ours:?}, and hyper {theirs:?}"));
        }
    }
    match ours.get(theirs.len()) {
        Some(refused) if is_within_http(refused) => {
            return Err(format!("hyper {their_end:?} where we read {refused:?}"));
        }
        Some(_) => {}
        // What we refuse is not compared, but neither parser may see a message where the other one waits.
        None if theirs.len() > ours.len() && our_end == End::Waits => {
            return Err(format!("we wait where hyper reads {:?}", theirs.last()));
        }
        None => {}
    }
    Ok(())
}

fn our_response(bytes: &[u8]) -> Result<(ResponseHead, Vec<u8>), End> {
    let (mut parser, mut buf) = (ResponseParser::new(), BytesMut::from(bytes));
    loop {
        let head = match parser.parse(&mut buf, Answering::Other, &HeadLimits::response()) {
            Ok(Some(head)) if head.is_interim() => continue,
            Ok(Some(head)) => head,
            Ok(None) => return Err(End::Waits),
            Err(_) => return Err(End::Refuses),
        };
        return match head.framing() {
            // Whatever comes until the end.
            Framing::Close => Ok((head, buf.to_vec())),
            framing => body(&mut buf, BodyDecoder::of_response(framing)).map(|body| (head, body)),
        };
    }
}

/// Status, headers and body, as hyper reads them after a GET; none if it refuses them.
fn their_response(bytes: &[u8]) -> Option<(u16, Headers, Vec<u8>)> {
    let (client, mut server) = tokio::io::duplex(1 << 20);
    until_idle(async {
        let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(client)).await.ok()?;
        let asking = async {
            let request = http::Request::get("/").header("host", "a").body(Empty::<Bytes>::new()).unwrap();
            let (head, body) = sender.send_request(request).await.ok()?.into_parts();
            let headers =
                by_name(head.headers.iter().map(|(name, value)| (name.as_str().as_bytes(), value.as_bytes())));
            Some((head.status.as_u16(), headers, body.collect().await.ok()?.to_bytes().to_vec()))
        };
        let answering = async {
            server.write_all(bytes).await.ok();
            server.shutdown().await.ok();
            // Read, so that the request can be written.
            tokio::io::copy(&mut server, &mut tokio::io::sink()).await.ok();
        };
        let (answer, _, ()) = tokio::join!(asking, connection, answering);
        answer
    })?
}

fn responses_agree(bytes: &[u8]) -> Result<(), String> {
    let Ok((head, body)) = our_response(bytes) else { return Ok(()) };
    if head.status() == 101 {
        return Ok(());
    }
    let Some(theirs) = their_response(bytes) else { return Ok(()) };
    // RFC 9112 §6.3 has any coding but chunked last until the connection closes; hyper goes by it also where the coding
    // is `identity` and there is a length. We send on what both read, and close the connection.
    let is_identity = head.header("transfer-encoding").is_some_and(|coding| coding.eq_ignore_ascii_case(b"identity"));
    let ours = (head.status(), by_name(head.iter()), body);
    if is_identity && !head.keep_alive() && theirs.2.starts_with(&ours.2) {
        return Ok(());
    }
    if ours == theirs { Ok(()) } else { Err(format!("we read {ours:?}, and hyper {theirs:?}")) }
}

/// The bytes of a case with what its sender would send next, so that it is whole.
fn completed(case: &Case) -> Vec<u8> {
    let (framing, left) = match case.verdict {
        Verdict::Head(framing) => (framing, 0),
        Verdict::HeadThen(framing, left) => (framing, left),
        _ => return case.bytes.to_vec(),
    };
    let rest = match framing {
        Framing::Length(length) => vec![b'x'; length as usize - left],
        Framing::Chunked => b"0\r\n\r\n".to_vec(),
        _ => Vec::new(),
    };
    [case.bytes, &rest].concat()
}

#[test]
fn every_accepted_case_parses_identically_in_hyper() {
    let wrong: Vec<_> = REQUESTS
        .iter()
        .filter_map(|case| agrees(&completed(case)).err().map(|why| format!("{}: {why}", case.name)))
        .chain(CHUNKED.iter().filter_map(|case| {
            let bytes = [CHUNKED_HEAD, case.bytes].concat();
            agrees(&bytes).err().map(|why| format!("{}: {why}", case.name))
        }))
        .chain(
            RESPONSES
                .iter()
                .filter_map(|case| responses_agree(&completed(case)).err().map(|why| format!("{}: {why}", case.name))),
        )
        .chain(CHUNKED_RESPONSES.iter().filter_map(|case| {
            let bytes = [CHUNKED_ANSWER, case.bytes].concat();
            responses_agree(&bytes).err().map(|why| format!("{}: {why}", case.name))
        }))
        .collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    let read: usize = REQUESTS.iter().map(|case| their_requests(&completed(case)).0.len()).sum();
    let accepted =
        REQUESTS.iter().filter(|case| matches!(case.verdict, Verdict::Head(_) | Verdict::HeadThen(..))).count();
    assert!(accepted > 30 && read >= accepted - 2, "hyper has read {read} of {accepted}: the comparison says nothing");
    let ours =
        RESPONSES.iter().filter(|case| our_response(&completed(case)).is_ok_and(|(head, _)| head.status() != 101));
    let both = ours.clone().filter(|case| their_response(&completed(case)).is_some()).count();
    assert!(both + 4 >= ours.clone().count() && both > 10, "hyper has read {both} of {}", ours.count());
}

/// The table in `docs/http1.md` is written by `LBPROXY_WRITE_LIST=1 cargo test -p lb-http --test h1_hyper`.
#[test]
fn the_list_of_requests_that_only_we_refuse_is_complete() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/http1.md");
    if !path.exists() {
        return; // The crate was unpacked alone, without the repository around it.
    }
    let mut rows = String::new();
    for case in REQUESTS.iter().chain(CHUNKED) {
        let Verdict::Refused(status, cause) = case.verdict else { continue };
        let who = laxer(case, cause);
        if !who.is_empty() {
            let (name, story) = (case.name, case.story);
            writeln!(rows, "| `{name}` | {story} | {status} `{cause}` | {} |", who.join(", ")).unwrap();
        }
    }
    let page = std::fs::read_to_string(&path).unwrap();
    let head = "|---|---|---|---|\n";
    let (before, listed) = page.split_once(head).expect("a table");
    if std::env::var_os("LBPROXY_WRITE_LIST").is_some() {
        std::fs::write(&path, format!("{before}{head}{rows}")).unwrap();
    } else {
        assert_eq!(listed, rows, "see the comment above");
    }
}

/// The parsers that accept what we refuse.
fn laxer(case: &'static Case, cause: &str) -> Vec<&'static str> {
    let is_chunked = CHUNKED.iter().any(|chunked| std::ptr::eq(chunked, case));
    let mut who = Vec::new();
    let mut headers = [httparse::EMPTY_HEADER; 100];
    let mut request = httparse::Request::new(&mut headers);
    // It only takes lines apart; it does not determine where a message ends or its target host.
    if !is_chunked && LEXICAL.contains(&cause) && request.parse(case.bytes).is_ok_and(|status| status.is_complete()) {
        who.push("httparse");
    }
    let bytes = if is_chunked {
        [CHUNKED_HEAD, case.bytes].concat()
    } else {
        // Whatever body it thinks there is.
        [case.bytes, b"0\r\n\r\n", &[b'x'; 600]].concat()
    };
    if !their_requests(&bytes).0.is_empty() {
        who.push("hyper");
    }
    who
}

/// Causes that a line alone can give.
const LEXICAL: [&str; 11] = [
    "bad_request_line",
    "bad_method",
    "bad_target",
    "bad_version",
    "method_too_long",
    "bare_lf",
    "bare_cr",
    "obs_fold",
    "bad_header_name",
    "bad_header_value",
    "space_before_colon",
];

/// A story with a few things done to it.
fn damaged(cases: &'static [Case]) -> impl Strategy<Value = Vec<u8>> {
    const PIECES: &[&[u8]] = &[
        b"\r",
        b"\n",
        b"\r\n",
        b" ",
        b"\t",
        b":",
        b",",
        b";",
        b"\0",
        b"\xc3\xa9",
        b"0",
        b"9",
        b"f",
        b"-",
        b"x",
        b"/",
        b"#",
        b"Content-Length: 3\r\n",
        b"Transfer-Encoding: chunked\r\n",
        b"Connection: close\r\n",
        b"X-A: 1\r\n",
        b"HTTP/1.0",
        b"0\r\n\r\n",
        b"GET /next HTTP/1.1\r\nHost: a\r\n\r\n",
    ];
    let edit = (any::<Index>(), 0..3usize, select(PIECES));
    (select(cases), vec(edit, 0..4)).prop_map(|(case, edits)| {
        let mut bytes = completed(&case);
        for (at, removed, piece) in edits {
            let at = at.index(bytes.len() + 1);
            let end = (at + removed).min(bytes.len());
            bytes.splice(at..end, piece.iter().copied());
        }
        bytes
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn accepted_requests_parse_identically_in_hyper(bytes in damaged(REQUESTS)) {
        prop_assert_eq!(agrees(&bytes), Ok(()), "{:?}", Bytes::from(bytes.clone()));
    }

    #[test]
    fn accepted_chunked_bodies_parse_identically_in_hyper(bytes in damaged(CHUNKED)) {
        let bytes = [CHUNKED_HEAD, &bytes].concat();
        prop_assert_eq!(agrees(&bytes), Ok(()), "{:?}", Bytes::from(bytes.clone()));
    }

    #[test]
    fn accepted_chunked_responses_parse_identically_in_hyper(bytes in damaged(CHUNKED_RESPONSES)) {
        let bytes = [CHUNKED_ANSWER, &bytes].concat();
        prop_assert_eq!(responses_agree(&bytes), Ok(()), "{:?}", Bytes::from(bytes.clone()));
    }

    #[test]
    fn accepted_responses_parse_identically_in_hyper(bytes in damaged(RESPONSES)) {
        prop_assert_eq!(responses_agree(&bytes), Ok(()), "{:?}", Bytes::from(bytes.clone()));
    }
}
