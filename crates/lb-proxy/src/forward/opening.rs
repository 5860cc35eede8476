//! Opening: what can be told of a request's body before its head is written to an endpoint of HTTP/1.
//!
//! There the head says how the body ends. A stream of HTTP/2 ends with its head or at any time later, and need not say
//! how long it will be; written as it stands, its request would have no length where endpoints ask for one (411 for a
//! POST), or `Transfer-Encoding: chunked` where they expect no body (a GET, of which some clients send the end in a
//! frame of its own). So a body of unknown length is looked into before the head is written: where it is over already,
//! the head says so.

use std::future::{Future, poll_fn};
use std::task::Poll;
use std::time::Duration;

use crate::downstream::{BodyFailure, Frame, RequestBody};
use crate::exchange::Request;
use crate::message::{Framing, Method, Version};
use crate::net::Timer;

/// How long the end of a body of unknown length is waited for where the method has no use for one. It comes right
/// behind the head; a client that really sends one shows that by its first piece.
const END_WITHIN: Duration = Duration::from_secs(1);

/// A request's body as the endpoint is to see it.
pub(crate) struct Opening {
    /// How it is framed.
    pub(crate) framing: Framing,
    /// Received already.
    pub(crate) first: Option<Frame>,
    /// What is still to come.
    pub(crate) body: Option<RequestBody>,
}

impl Opening {
    /// What the request's own head says.
    ///
    /// RFC 9110 §8.6: a method that anticipates a body says so where there is none. A client of HTTP/1 has said what it
    /// wanted to.
    pub(crate) fn announced(request: &Request) -> Self {
        let head = &request.visit.head;
        let framing = match head.framing() {
            Framing::None if head.version() == Version::Http2 && anticipates_body(head.method()) => Framing::Length(0),
            framing => framing,
        };
        Self { framing, first: None, body: request.body.clone() }
    }

    /// Whether that may say less than there is to know.
    pub(crate) fn is_vague(request: &Request) -> bool {
        let head = &request.visit.head;
        head.version() == Version::Http2 && head.framing() == Framing::Chunked
    }

    /// Whether it may take a while to find out more.
    pub(crate) fn has_to_wait(request: &Request) -> bool {
        Self::is_vague(request) && !anticipates_body(request.visit.head.method())
    }

    /// Looks for the end of a body of unknown length. Boxed: few requests need it.
    ///
    /// # Errors
    /// What is wrong with the body.
    pub(crate) fn found(request: &Request) -> impl Future<Output = Result<Self, BodyFailure>> + Send + use<'_> {
        Box::pin(Self::find(request))
    }

    async fn find(request: &Request) -> Result<Self, BodyFailure> {
        let announced = Self::announced(request);
        let Some(mut body) = announced.body else { return Ok(announced) };
        let is_optional = !anticipates_body(request.visit.head.method());
        let may_wait = is_optional && !body.is_held_back();
        let mut timer = Timer::new();
        request.visit.trace.set_waits_for_client(true);
        let first = poll_fn(|cx| match body.poll_frame(cx) {
            Poll::Ready(frame) => Poll::Ready(Some(frame)),
            Poll::Pending if may_wait => timer.poll_after(cx, END_WITHIN).map(|()| None),
            Poll::Pending => Poll::Ready(None),
        })
        .await;
        request.visit.trace.set_waits_for_client(false);
        Ok(match first {
            None => Self { framing: announced.framing, first: None, body: Some(body) },
            Some(Some(frame)) => Self { framing: announced.framing, first: Some(frame?), body: Some(body) },
            Some(None) => {
                let framing = if is_optional { Framing::None } else { Framing::Length(0) };
                Self { framing, first: None, body: None }
            }
        })
    }
}

/// Methods whose meaning lies in their body.
fn anticipates_body(method: Method<'_>) -> bool {
    matches!(method, Method::Post | Method::Put | Method::Patch)
}
