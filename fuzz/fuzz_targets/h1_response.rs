//! Any bytes as responses, to each kind of request. What is accepted, httparse accepts and reads alike; what is sent
//! on reads back as the same response.
#![no_main]

use bytes::BytesMut;
use lb_fuzz::responses;
use lb_http::message::{Edits, Framing, ResponseHead};
use lb_http::wire::h1::{Answering, Connection, HeadLimits, encode_response};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| {
    for answering in [Answering::Other, Answering::Head, Answering::Connect, Answering::Upgrade] {
        for head in responses(&[input], answering, &HeadLimits::response()).0 {
            agrees_with_httparse(&head);
            reads_back(&head, answering);
        }
    }
});

fn agrees_with_httparse(head: &ResponseHead) {
    let mut headers = [httparse::EMPTY_HEADER; 200];
    let mut theirs = httparse::Response::new(&mut headers);
    let status = theirs.parse(head.as_bytes()).expect("a stricter parser accepted it");
    assert_eq!(status, httparse::Status::Complete(head.as_bytes().len()));
    assert_eq!(theirs.code, Some(head.status()));
    assert!(theirs.headers.iter().map(|h| (h.name.as_bytes(), h.value)).eq(head.iter()));
}

fn reads_back(head: &ResponseHead, answering: Answering) {
    let mut wire = BytesMut::new();
    encode_response(&mut wire, head, &Edits::new(), head.framing(), Connection::Upgrade);
    let limits = HeadLimits { bytes: usize::MAX, headers: usize::MAX, uri: 0 };
    let (sent, end) = responses(&[&wire], answering, &limits);
    assert_eq!((sent.len(), end), (1, Ok(Vec::new())), "{wire:?}");
    assert_eq!((sent[0].status(), sent[0].reason()), (head.status(), head.reason()));
    assert_eq!((sent[0].framing(), sent[0].upgrade()), (head.framing(), head.upgrade()));
    if head.framing() != Framing::Chunked {
        assert_eq!(sent[0].content_length(), head.content_length());
    }
}
