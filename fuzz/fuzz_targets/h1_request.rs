//! Any bytes as requests. What is accepted, httparse accepts and reads alike; what is sent on reads back as the same
//! request, and as one.
#![no_main]

use bytes::BytesMut;
use lb_fuzz::requests;
use lb_http::message::{Edits, RequestHead, TargetForm, name};
use lb_http::wire::h1::{Connection, HeadLimits, encode_request};
use libfuzzer_sys::fuzz_target;

const NO_LIMITS: HeadLimits = HeadLimits { bytes: usize::MAX, headers: usize::MAX, uri: usize::MAX };

fuzz_target!(|input: &[u8]| {
    for head in requests(&[input], &HeadLimits::default()).0 {
        agrees_with_httparse(&head);
        reads_back(&head, &Edits::new());
        let mut edits = Edits::new();
        edits.set(name::X_FORWARDED_FOR, "192.0.2.1").expect("a valid edit");
        edits.remove("x-a").expect("a valid edit");
        edits.append("x-b", "1").expect("a valid edit");
        let sent = reads_back(&head, &edits);
        assert_eq!(sent.headers(name::X_FORWARDED_FOR).collect::<Vec<_>>(), [b"192.0.2.1"]);
        assert!(sent.header("x_forwarded_for").is_none() && sent.header("X-A").is_none());
        if let Ok(parts) = head.to_parts(&edits, head.framing(), None) {
            // A nominated header may come back that was not written, never the other way round.
            assert!(parts.headers.get("transfer-encoding").is_none() && parts.headers.get("connection").is_none());
        }
    }
});

fn agrees_with_httparse(head: &RequestHead) {
    let mut headers = [httparse::EMPTY_HEADER; 100];
    let mut theirs = httparse::Request::new(&mut headers);
    let status = theirs.parse(head.as_bytes()).expect("a stricter parser accepted it");
    assert_eq!(status, httparse::Status::Complete(head.as_bytes().len()));
    assert_eq!(theirs.path.map(str::as_bytes), Some(head.target()));
    assert!(theirs.headers.iter().map(|h| (h.name.as_bytes(), h.value)).eq(head.iter()));
}

fn reads_back(head: &RequestHead, edits: &Edits) -> RequestHead {
    let mut wire = BytesMut::new();
    let mut edits = edits.clone();
    if head.host().is_none() {
        // As the proxy does: a path goes with a host.
        edits.set(name::HOST, "endpoint").expect("a valid edit");
    }
    encode_request(&mut wire, head, &edits, head.framing(), Connection::Implicit);
    let (mut sent, end) = requests(&[&wire], &NO_LIMITS);
    assert_eq!((sent.len(), end), (1, Ok(Vec::new())), "{wire:?}");
    let sent = sent.remove(0);
    assert_eq!(sent.method(), head.method());
    assert_eq!((sent.path(), sent.query()), (head.path(), head.query()));
    assert_eq!(sent.host(), head.host().or(Some(b"endpoint")));
    assert_eq!(sent.framing(), head.framing());
    assert_ne!(sent.target_form(), TargetForm::Absolute);
    assert_eq!(sent.headers(name::HOST).count(), 1);
    assert!(sent.upgrade().is_none() && sent.keep_alive());
    sent
}
