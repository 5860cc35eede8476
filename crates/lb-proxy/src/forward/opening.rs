//! The framing of a request's body, as far as it is known before the head is written to an HTTP/1 endpoint.
//!
//! In HTTP/1 the head declares how the body ends. An HTTP/2 stream ends with its head or at any time later, and need not declare a
//! length. Its request, translated as it stands, would lack a length where endpoints require one (411 for a POST), or have
//! `Transfer-Encoding: chunked` where they expect no body (a GET, of which some clients send the end in a frame of its own). So a
//! body of unknown length is polled before the head is written: if it has ended already, the head declares that.

use std::future::{Future, poll_fn};
use std::task::Poll;
use std::time::Duration;

use crate::downstream::{BodyFailure, Frame, RequestBody};
use crate::exchange::Request;
use crate::message::{Framing, Method, Version};
use crate::net::Timer;

/// The time to wait for the end of a body of unknown length if the method does not anticipate a body. The end comes right behind the
/// head; a client that does send a body sends its first piece.
const END_TIMEOUT: Duration = Duration::from_secs(1);

/// A request's body as the endpoint is to receive it.
pub(crate) struct Opening {
    /// How it is framed.
    pub(crate) framing: Framing,
    /// Received already.
    pub(crate) first: Option<Frame>,
    /// What is still to come.
    pub(crate) body: Option<RequestBody>,
}

impl Opening {
    /// The framing that the request's own head declares.
    ///
    /// RFC 9110 §8.6: a request whose method anticipates a body has `Content-Length: 0` if there is none. The framing of an HTTP/1
    /// client is kept as it is.
    pub(crate) fn announced(request: &Request) -> Self {
        let head = &request.exchange.head;
        let framing = match head.framing() {
            Framing::None if head.version() == Version::Http2 && anticipates_body(head.method()) => Framing::Length(0),
            framing => framing,
        };
        Self { framing, first: None, body: request.body.clone() }
    }

    /// Whether the head leaves open if there is a body.
    pub(crate) fn is_vague(request: &Request) -> bool {
        let head = &request.exchange.head;
        head.version() == Version::Http2 && head.framing() == Framing::Chunked
    }

    /// Whether finding out may take a while.
    pub(crate) fn has_to_wait(request: &Request) -> bool {
        Self::is_vague(request) && !anticipates_body(request.exchange.head.method())
    }

    /// Polls for the end of a body of unknown length. Boxed: few requests need it.
    ///
    /// # Errors
    /// The body is invalid, or cannot be received.
    pub(crate) fn found(request: &Request) -> impl Future<Output = Result<Self, BodyFailure>> + Send + use<'_> {
        Box::pin(Self::find(request))
    }

    async fn find(request: &Request) -> Result<Self, BodyFailure> {
        let announced = Self::announced(request);
        let Some(mut body) = announced.body else { return Ok(announced) };
        let is_optional = !anticipates_body(request.exchange.head.method());
        let may_wait = is_optional && !body.is_held_back();
        let mut timer = Timer::new();
        request.exchange.trace.set_waits_for_client(true);
        let first = poll_fn(|cx| match body.poll_frame(cx) {
            Poll::Ready(frame) => Poll::Ready(Some(frame)),
            Poll::Pending if may_wait => timer.poll_after(cx, END_TIMEOUT).map(|()| None),
            Poll::Pending => Poll::Ready(None),
        })
        .await;
        request.exchange.trace.set_waits_for_client(false);
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

/// Methods that anticipate a body.
fn anticipates_body(method: Method<'_>) -> bool {
    matches!(method, Method::Post | Method::Put | Method::Patch)
}
