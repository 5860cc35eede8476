//! The answers we give when there is no other.
//!
//! They are short and plain: whoever reads one is a person with `curl` or a program that looks at the status. Each
//! names the request's id, which is what a user can report and an operator can look up, and nothing of what goes on
//! behind us; the log has the cause. They are not to be cached, since a 404 or 405 may be by default and would outlive
//! the route that is missing (RFC 9111 §4.2.2).
//!
//! A 429 and a 503 say when to come back, in whole seconds rounded up and never zero: a client that was told "in 0
//! seconds" is a client in a loop.
//!
//! A route's edits of response headers are not applied here but where they are for every response.
//!
//! Cost: one head, one body of under a hundred bytes.

use std::time::Duration;

use bytes::Bytes;

use super::cause::Cause;
use super::grpc;
use super::reply::Reply;
use super::text::Text;
use crate::message::{Method, ResponseHead, name};

/// An answer of ours, before it is written.
#[derive(Clone, Copy, Debug)]
pub struct Answer<'a> {
    cause: Cause,
    status: u16,
    retry_after: Option<Duration>,
    allow: Option<&'a str>,
}

impl<'a> Answer<'a> {
    /// The answer that a cause leads to, with the status of the table.
    #[must_use]
    pub const fn new(cause: Cause) -> Self {
        Self { cause, status: cause.status(), retry_after: None, allow: None }
    }

    /// With another status, as `rate_limit.status` may ask. What is no final status stays as it was.
    #[must_use]
    pub const fn status(mut self, status: u16) -> Self {
        if matches!(status, 200..=599) {
            self.status = status;
        }
        self
    }

    /// With the time after which a further request may pass. Without, a 429 or 503 says one second.
    #[must_use]
    pub const fn retry_after(mut self, after: Duration) -> Self {
        self.retry_after = Some(after);
        self
    }

    /// With the methods that the path has: the value of `Allow`, which a 405 must have.
    #[must_use]
    pub const fn allow(mut self, methods: &'a str) -> Self {
        self.allow = Some(methods);
        self
    }

    /// Writes it for a request with this id and method. What could not be read as a request is taken for a GET.
    #[must_use]
    pub fn write(&self, request_id: &str, method: Method<'_>) -> Reply {
        let mut head = ResponseHead::build(self.status).header("Cache-Control", "no-store");
        if let Some(seconds) = self.retry_seconds() {
            head = head.header(name::RETRY_AFTER, Text::<20>::of(seconds).as_bytes());
        }
        if let Some(methods) = self.allow {
            head = head.header("Allow", methods);
        }
        head = head.header(name::X_REQUEST_ID, request_id);
        let body = format!("{} {}\nrequest_id: {request_id}\n", self.status, self.cause.text());
        Reply::new(head, self.status, "text/plain; charset=utf-8", Bytes::from(body), method)
            .unwrap_or_else(|_| Reply::bare(self.status, method))
    }

    /// As [`write`](Self::write), for a gRPC call.
    pub(crate) fn write_grpc(&self, request_id: &str) -> Reply {
        grpc::answer(self.status, self.cause, request_id)
    }

    fn retry_seconds(&self) -> Option<u64> {
        let stated = self.retry_after.map(|after| after.as_secs().saturating_add(u64::from(after.subsec_nanos() > 0)));
        match (self.status, self.cause) {
            (429 | 503, _) | (_, Cause::RateLimited) => Some(stated.unwrap_or(1).max(1)),
            _ => stated.map(|seconds| seconds.max(1)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::Framing;

    #[test]
    fn an_answer_names_the_request_and_not_what_is_behind_us() {
        let reply = Answer::new(Cause::ConnectRefused).write("01abc", Method::Get);
        assert_eq!(reply.head.status(), 502);
        assert_eq!(&*reply.body, b"502 the service cannot be reached\nrequest_id: 01abc\n");
        assert_eq!(reply.framing, Framing::Length(reply.body.len() as u64));
        assert_eq!(reply.head.header("X-Request-Id"), Some(&b"01abc"[..]));
        assert_eq!(reply.head.header("Cache-Control"), Some(&b"no-store"[..]));
        assert_eq!(reply.head.header("Content-Type"), Some(&b"text/plain; charset=utf-8"[..]));
        assert_eq!(reply.head.header("Retry-After"), None);
    }

    #[test]
    fn head_gets_the_length_and_no_body() {
        let get = Answer::new(Cause::NoRoute).write("x", Method::Get);
        let head = Answer::new(Cause::NoRoute).write("x", Method::Head);
        assert!(head.body.is_empty() && head.framing == Framing::None);
        assert_eq!(head.head.content_length(), Some(get.body.len() as u64));
    }

    #[test]
    fn a_refusal_says_when_to_come_back_and_never_at_once() {
        let retry = |answer: Answer<'_>| {
            let reply = answer.write("x", Method::Get);
            reply.head.header("Retry-After").map(|value| String::from_utf8_lossy(value).into_owned())
        };
        let limited = Answer::new(Cause::RateLimited);
        for (after, expected) in [(0, "1"), (1, "1"), (1_000, "1"), (1_001, "2"), (90_000, "90")] {
            assert_eq!(
                retry(limited.retry_after(Duration::from_millis(after))).as_deref(),
                Some(expected),
                "{after} ms"
            );
        }
        assert_eq!(retry(limited).as_deref(), Some("1"));
        assert_eq!(retry(limited.status(503)).as_deref(), Some("1"));
        assert_eq!(retry(limited.status(403)).as_deref(), Some("1"), "a limit is a limit whatever its status");
        assert_eq!(retry(Answer::new(Cause::NoEndpoint)).as_deref(), Some("1"));
        assert_eq!(retry(Answer::new(Cause::ResponseTimeout)), None);
        assert_eq!(retry(limited.retry_after(Duration::MAX)).as_deref(), Some("18446744073709551615"));
    }

    #[test]
    fn a_405_lists_the_methods() {
        let reply = Answer::new(Cause::MethodNotAllowed).allow("GET, HEAD").write("x", Method::Put);
        assert_eq!((reply.head.status(), reply.head.header("Allow")), (405, Some(&b"GET, HEAD"[..])));
    }

    #[test]
    fn every_cause_can_be_written_and_no_status_is_interim() {
        for cause in Cause::ALL {
            let reply = Answer::new(cause).write("x", Method::Get);
            assert_eq!(reply.head.status(), cause.status());
            assert!(reply.body.starts_with(cause.status().to_string().as_bytes()));
        }
        assert_eq!(Answer::new(Cause::RateLimited).status(100).write("x", Method::Get).head.status(), 429);
        assert!(Answer::new(Cause::RateLimited).status(204).write("x", Method::Get).body.is_empty());
        assert_eq!(
            Answer::new(Cause::NoRoute).write("bad\nid", Method::Get).head.status(),
            404,
            "an id is no reason to fail"
        );
    }
}
