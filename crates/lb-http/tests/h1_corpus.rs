//! Every story of the corpus, whole and byte by byte; and each is a fuzz seed.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod corpus;

use std::collections::HashSet;
use std::path::Path;

use bytes::BytesMut;
use corpus::{CHUNKED, CHUNKED_RESPONSES, Case, REQUESTS, RESPONSES, Verdict};
use lb_http::message::Framing;
use lb_http::wire::h1::{Answering, BodyDecoder, Cause, HeadLimits, RequestParser, ResponseParser, Step};

/// A parser's result for one delivery, where `Waits` asks for the next.
type Outcome = Result<Option<Framing>, Cause>;

/// Delivers a message in pieces of `size` and returns the verdict.
fn head(bytes: &[u8], size: usize, mut parse: impl FnMut(&mut BytesMut) -> Outcome) -> (Verdict, Option<Cause>) {
    let mut buf = BytesMut::new();
    let mut given = 0;
    for piece in bytes.chunks(size) {
        buf.extend_from_slice(piece);
        given += piece.len();
        match parse(&mut buf) {
            Err(cause) => return (Verdict::Refused(cause.status(), cause.name()), Some(cause)),
            Ok(None) => {}
            Ok(Some(framing)) => {
                let left = buf.len() + bytes.len() - given;
                return (if left == 0 { Verdict::Head(framing) } else { Verdict::HeadThen(framing, left) }, None);
            }
        }
    }
    (Verdict::Waits, None)
}

fn request(bytes: &[u8], size: usize) -> Verdict {
    let mut parser = RequestParser::new();
    let limits = HeadLimits::default();
    head(bytes, size, |buf| parser.parse(buf, &limits).map(|h| h.map(|h| h.framing())).map_err(|e| e.cause())).0
}

fn response(bytes: &[u8], size: usize) -> Verdict {
    let mut parser = ResponseParser::new();
    let limits = HeadLimits::response();
    let parse = |buf: &mut BytesMut| {
        let head = parser.parse(buf, Answering::Other, &limits);
        head.map(|h| h.map(|h| h.framing())).map_err(|e| e.cause())
    };
    head(bytes, size, parse).0
}

/// The verdict on a chunked body, and its data. The data is leaked: it lives as long as a test.
fn chunked(mut decoder: BodyDecoder, bytes: &[u8], size: usize) -> Verdict {
    let (mut buf, mut data, mut given) = (BytesMut::new(), Vec::new(), 0);
    for piece in bytes.chunks(size) {
        buf.extend_from_slice(piece);
        given += piece.len();
        loop {
            match decoder.decode(&mut buf) {
                Err(error) => return Verdict::Refused(error.status(), error.name()),
                Ok(Step::Data(piece)) => data.extend_from_slice(&piece),
                Ok(Step::Trailers(trailers)) => assert!(!trailers.is_empty()),
                Ok(Step::End) => {
                    let text = String::from_utf8(data).unwrap();
                    return Verdict::Body(text.leak(), buf.len() + bytes.len() - given);
                }
                Ok(Step::NeedMore) => break,
            }
        }
    }
    Verdict::Waits
}

fn check(cases: &[Case], verdict: impl Fn(&[u8], usize) -> Verdict) {
    let mut wrong = Vec::new();
    for case in cases {
        for size in [case.bytes.len(), 1, 2, 3, 7] {
            let said = verdict(case.bytes, size);
            if said != case.verdict {
                wrong.push(format!(
                    "{} ({}) in pieces of {size}: {said:?}, not {:?}",
                    case.name, case.story, case.verdict
                ));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn requests_get_the_verdict_of_their_story_however_they_are_split() {
    check(REQUESTS, request);
}

#[test]
fn responses_get_the_verdict_of_their_story_however_they_are_split() {
    check(RESPONSES, response);
}

#[test]
fn chunked_bodies_get_the_expected_verdict_for_every_split() {
    check(CHUNKED, |bytes, size| chunked(BodyDecoder::new(Framing::Chunked), bytes, size));
    check(CHUNKED_RESPONSES, |bytes, size| chunked(BodyDecoder::of_response(Framing::Chunked), bytes, size));
}

#[test]
fn a_valid_request_body_parses_identically_in_a_response() {
    let accepted = CHUNKED.iter().filter(|case| matches!(case.verdict, Verdict::Body(..)));
    let cases: Vec<_> = accepted.cloned().collect();
    check(&cases, |bytes, size| chunked(BodyDecoder::of_response(Framing::Chunked), bytes, size));
}

#[test]
fn what_we_accept_httparse_accepts_too() {
    for case in REQUESTS.iter().filter(|c| matches!(c.verdict, Verdict::Head(_) | Verdict::HeadThen(..))) {
        let mut headers = [httparse::EMPTY_HEADER; 100];
        let verdict = httparse::Request::new(&mut headers).parse(case.bytes);
        assert!(verdict.is_ok_and(|status| status.is_complete()), "{}", case.name);
    }
    for case in RESPONSES.iter().filter(|c| matches!(c.verdict, Verdict::Head(_) | Verdict::HeadThen(..))) {
        let mut headers = [httparse::EMPTY_HEADER; 100];
        let verdict = httparse::Response::new(&mut headers).parse(case.bytes);
        assert!(verdict.is_ok_and(|status| status.is_complete()), "{}", case.name);
    }
}

/// The seeds are written by `LBPROXY_WRITE_SEEDS=1 cargo test -p lb-http --test h1_corpus`.
#[test]
fn every_story_is_a_fuzz_seed() {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/corpus");
    if !corpus.exists() {
        return; // The crate was unpacked alone, without the repository around it.
    }
    let check = |target: &str, name: &str, bytes: &[u8]| {
        let path = corpus.join(target).join(name);
        if std::env::var_os("LBPROXY_WRITE_SEEDS").is_some() {
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(&path, bytes).unwrap();
        }
        assert_eq!(std::fs::read(&path).ok().as_deref(), Some(bytes), "{}", path.display());
    };
    // The split target reads which codec is meant, and six lengths to cut the input in.
    let mut names = HashSet::new();
    for (target, codec, cases) in [
        ("h1_request", 0, REQUESTS),
        ("h1_response", 2, RESPONSES),
        ("h1_chunked", 6, CHUNKED),
        ("h1_chunked", 7, CHUNKED_RESPONSES),
    ] {
        for case in cases {
            assert!(names.insert((target, case.name)), "{target}: {} is there twice", case.name);
            check(target, case.name, case.bytes);
            if !matches!(case.verdict, Verdict::Refused(..)) {
                let seed = [&[codec, 1, 2, 3, 5, 8, 13], case.bytes].concat();
                check("h1_split", &format!("{target}_{}", case.name), &seed);
            }
        }
    }
}
