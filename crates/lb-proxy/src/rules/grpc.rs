//! What gRPC says in its own words: its deadline, its status, and answers that its clients understand.
//!
//! A call is a POST with the content type `application/grpc`, always answered with HTTP status 200; the result
//! is in `grpc-status`, in the trailers or, if the response is only a head, in that ("trailers-only"). So a proxy that
//! looks at HTTP statuses sees no failure, and if it answers 503, the client's library reports a peer that speaks no
//! gRPC.
//!
//! `application/grpc-web` is not meant: it has its status in the body, and comes from browsers that understand ours.

use std::time::Duration;

use lb_core::grpc;
pub use lb_core::grpc::is_failure;

use super::cause::Cause;
use super::reply::Reply;
use crate::message::{Framing, Method, RequestHead, ResponseHead, Trailers, Version, name};

const STATUS: &str = "grpc-status";

/// Codes of `grpc-status` that we write.
mod code {
    pub(super) const UNKNOWN: u8 = 2;
    pub(super) const DEADLINE_EXCEEDED: u8 = 4;
    pub(super) const PERMISSION_DENIED: u8 = 7;
    pub(super) const RESOURCE_EXHAUSTED: u8 = 8;
    pub(super) const UNIMPLEMENTED: u8 = 12;
    pub(super) const INTERNAL: u8 = 13;
    pub(super) const UNAVAILABLE: u8 = 14;
    pub(super) const UNAUTHENTICATED: u8 = 16;
}

/// Whether a request is a gRPC call. Over HTTP/1, which has none, what calls itself one is no more than a POST.
#[must_use]
pub fn is_call(head: &RequestHead) -> bool {
    head.version() == Version::Http2
        && head.method() == Method::Post
        && head.header(name::CONTENT_TYPE).is_some_and(grpc::is_content_type)
}

/// How long the client waits for the whole call, from `grpc-timeout`. `None` without one, or for one that is none.
#[must_use]
pub fn timeout(head: &RequestHead) -> Option<Duration> {
    grpc::parse_timeout(head.header("grpc-timeout")?)
}

/// The HTTP status that stands for what a response head says: its own, unless it ends a gRPC call without a body.
#[must_use]
pub fn status_of(head: &ResponseHead) -> u16 {
    // Asked of every response, and over HTTP/1 there is no gRPC.
    match head.status() {
        200 if head.version() == Version::Http2 => ending(head).map_or(200, grpc::http_status_of),
        status => status,
    }
}

/// The code of a call that its head ends.
#[must_use]
pub fn ending(head: &ResponseHead) -> Option<u8> {
    head.header(STATUS).filter(|_| head.header(name::CONTENT_TYPE).is_some_and(grpc::is_content_type)).map(grpc::code)
}

/// The code of a call that these trailers end.
#[must_use]
pub fn ended(trailers: &Trailers) -> Option<u8> {
    trailers.header(STATUS).map(grpc::code)
}

/// The code for an HTTP status of ours, as gRPC's own table for clients has it, but for what it is vague about.
const fn as_grpc(status: u16) -> u8 {
    match status {
        400 => code::INTERNAL,
        401 => code::UNAUTHENTICATED,
        403 => code::PERMISSION_DENIED,
        404 | 405 | 501 => code::UNIMPLEMENTED,
        408 | 504 => code::DEADLINE_EXCEEDED,
        413 | 414 | 431 => code::RESOURCE_EXHAUSTED,
        429 | 502 | 503 => code::UNAVAILABLE,
        _ => code::UNKNOWN,
    }
}

/// An answer of ours to a call: trailers only.
pub(crate) fn answer(status: u16, cause: Cause, request_id: &str) -> Reply {
    // A message has its own escapes (`%`), for which no text of ours gives cause.
    let head = ResponseHead::build(200)
        .header(name::CONTENT_TYPE, "application/grpc")
        .header(STATUS, as_grpc(status).to_string())
        .header("grpc-message", cause.text())
        .header(name::X_REQUEST_ID, request_id)
        .length(0)
        .finish();
    match head {
        Ok(head) => Reply { head, body: bytes::Bytes::new(), framing: Framing::Length(0) },
        Err(_) => Reply::bare(status, Method::Post),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::Edits;
    use crate::rules::testing::head;

    fn request(text: &str) -> RequestHead {
        let parts = head(text).to_parts(&Edits::new(), Framing::None, Some("http")).unwrap();
        RequestHead::from_parts(&parts, Framing::None).unwrap()
    }

    fn call(lines: &str) -> RequestHead {
        request(&format!("POST /s/m HTTP/1.1\nHost: a\n{lines}"))
    }

    #[test]
    fn a_call_is_a_post_of_its_type() {
        // Which types are gRPC's is tested where they are read, in lb-core.
        assert!(is_call(&call("Content-Type: application/grpc+proto")));
        assert!(!is_call(&call("Content-Type: application/json")) && !is_call(&call("X-A: b")));
        assert!(!is_call(&request("GET / HTTP/1.1\nHost: a\nContent-Type: application/grpc")));
        assert!(!is_call(&head("POST / HTTP/1.1\nHost: a\nContent-Type: application/grpc")), "HTTP/1");
    }

    #[test]
    fn a_timeout_is_read_from_its_header() {
        for (line, expected) in
            [("grpc-timeout: 250m", Some(Duration::from_millis(250))), ("grpc-timeout: 1s", None), ("X-A: b", None)]
        {
            assert_eq!(timeout(&call(line)), expected, "{line}");
        }
    }

    #[test]
    fn a_head_without_a_body_tells_how_the_call_ended() {
        let of = |status, kind: &str, grpc: Option<&str>| {
            let head = http::Response::builder().status(status).version(http::Version::HTTP_2);
            let head = head.header("content-type", kind);
            let head = grpc.into_iter().fold(head, |head, grpc| head.header("grpc-status", grpc));
            let parts = head.body(()).unwrap().into_parts().0;
            status_of(&ResponseHead::from_parts(&parts, Framing::None).unwrap())
        };
        assert_eq!(of(200, "application/grpc", Some("14")), 503);
        assert_eq!(of(200, "application/grpc+proto", Some("4")), 504);
        assert_eq!(of(200, "application/grpc", Some("0")), 200);
        assert_eq!(of(200, "application/grpc", Some("nonsense")), 500);
        assert_eq!(of(200, "application/grpc", None), 200, "the status is still to come");
        assert_eq!(of(200, "text/plain", Some("14")), 200, "no gRPC");
        assert_eq!(of(502, "application/grpc", Some("0")), 502);
        assert_eq!(of(200, "application/grpc", Some("12")), 404);
        let http1 = ResponseHead::build(200).header("content-type", "application/grpc").header("grpc-status", "14");
        assert_eq!(status_of(&http1.finish().unwrap()), 200, "HTTP/1");
    }

    #[test]
    fn our_answers_are_in_the_words_of_grpc() {
        for (cause, expected) in [
            (Cause::NoEndpoint, "14"),
            (Cause::ConnectRefused, "14"),
            (Cause::RateLimited, "14"),
            (Cause::ResponseTimeout, "4"),
            (Cause::TotalTimeout, "4"),
            (Cause::BodyTooLarge, "8"),
            (Cause::NoRoute, "12"),
            (Cause::BadRequest, "13"),
            (Cause::Internal, "2"),
        ] {
            let reply = answer(cause.status(), cause, "id1");
            assert_eq!(reply.head.status(), 200);
            assert_eq!(reply.head.header("grpc-status"), Some(expected.as_bytes()), "{cause}");
            assert_eq!(reply.head.header("grpc-message"), Some(cause.text().as_bytes()));
            assert_eq!(reply.head.header("x-request-id"), Some(&b"id1"[..]));
            assert!(reply.body.is_empty());
        }
        assert!(Cause::ALL.iter().all(|cause| !cause.text().contains('%')));
    }
}
