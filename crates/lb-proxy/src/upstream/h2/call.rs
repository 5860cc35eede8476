//! A request on an HTTP/2 stream, up to the final response head.
//!
//! HTTP/1 can only guess whether an endpoint has acted on a request that failed. Here it is certain: not if the endpoint refused the
//! stream or left it out of its GOAWAY (RFC 9113 §8.7).

use std::future::poll_fn;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use h2::client::ResponseFuture;
use h2::ext::Protocol;
use h2::{Reason, RecvStream};
use lb_core::Class;

use super::Lease;
use super::body::StreamBody;
use super::upload::Upload;
use crate::downstream::{BodyFailure, RequestBody};
use crate::message::{Edits, Framing, RequestHead, ResponseHead, websocket};
use crate::net::Timer;
use crate::net::queue::Piece;
use crate::rules::cause::Cause;
use crate::upstream::AttemptError;
use crate::upstream::call::{Asked, BodySource, Progress, WaitsFor};
use crate::upstream::tunnel::{StreamTunnel, Tunnel};

/// A request on an HTTP/2 stream.
pub(crate) struct Call {
    lease: Lease,
    response: ResponseFuture,
    /// Set with the final response head.
    receive: Option<RecvStream>,
    stream: u32,
    upload: Upload,
    timer: Timer,
    /// An extended CONNECT: it asks for a WebSocket (RFC 8441).
    connects: bool,
}

impl Call {
    /// Sends the head of a request.
    pub(crate) async fn new(
        lease: Lease,
        head: &RequestHead,
        edits: &Edits,
        scheme: &str,
        body: Option<RequestBody>,
    ) -> Result<Self, AttemptError> {
        let mut parts = head.to_parts(edits, head.framing(), Some(scheme)).map_err(|error| {
            // A target that HTTP/1 allows and the http crate's types do not.
            let detail = Some(error.to_string());
            AttemptError { detail, ..AttemptError::new(Class::Cancelled, Cause::BadRequest) }
        })?;
        let mut sender = lease.sender();
        let connects = websocket::is_asked_properly(head) && sender.is_extended_connect_protocol_enabled();
        if connects {
            parts.method = http::Method::CONNECT;
            parts.extensions.insert(Protocol::from_static(websocket::NAME));
            parts.headers.remove(http::header::SEC_WEBSOCKET_KEY);
        }
        let sent = match poll_fn(|cx| sender.poll_ready(cx)).await {
            Ok(()) => sender.send_request(http::Request::from_parts(parts, ()), body.is_none() && !connects),
            Err(error) => Err(error),
        };
        let (response, send) = sent.map_err(|error| {
            // The connection has ended, or is about to: nothing of the request has left.
            lease.discard();
            let detail = Some(error.to_string());
            let error = AttemptError::new(Class::ConnectError, Cause::NotProcessed);
            AttemptError { is_unsent: true, is_stale: true, detail, ..error }
        })?;
        let stream = response.stream_id().as_u32();
        let upload = Upload::new(send, body);
        Ok(Self { lease, response, receive: None, stream, upload, timer: Timer::new(), connects })
    }

    /// The tunnel that the endpoint has agreed to.
    pub(crate) fn into_tunnel(self) -> Option<Tunnel> {
        let Upload { send, queue, .. } = self.upload;
        let tunnel = StreamTunnel { send, queue, receive: self.receive?, taken: 0, _lease: self.lease };
        Some(Tunnel::Stream(Box::new(tunnel)))
    }

    /// The body that follows the head; `None` if it is empty and nothing is left of the upload.
    pub(crate) fn into_body(mut self, head: &ResponseHead) -> Option<Box<dyn BodySource>> {
        if self.connects {
            // The endpoint has declined, and need not wait for more. Fails if it has ended the stream.
            let _ = self.upload.send.send_data(Piece::empty(), true);
        }
        let upload = (!self.upload.is_done()).then_some(self.upload);
        if head.framing() == Framing::None && upload.is_none() {
            return None;
        }
        Some(Box::new(StreamBody::new(self.receive?, upload, self.lease)))
    }

    /// What the failure of a stream before its response means.
    fn failed(&self, error: &h2::Error) -> AttemptError {
        let is_refused = error.is_remote() && error.is_reset() && error.reason() == Some(Reason::REFUSED_STREAM);
        if is_refused || (error.is_go_away() && error.is_remote() && self.lease.is_left_out(self.stream)) {
            // Not processed by the endpoint: safe to send again.
            let detail = Some(if is_refused { "REFUSED_STREAM" } else { "left out of its GOAWAY" }.to_owned());
            let error = AttemptError::new(Class::ConnectError, Cause::NotProcessed);
            return AttemptError { is_unsent: true, is_stale: !is_refused, detail, ..error };
        }
        let detail = error.reason().map(|reason| reason.to_string());
        if error.is_library() && error.is_reset() {
            return AttemptError { detail, ..AttemptError::new(Class::InvalidResponse, Cause::InvalidResponse) };
        }
        // The endpoint may have closed the connection before the request came.
        let is_stale = !error.is_reset() && self.lease.is_reused();
        if !error.is_reset() {
            self.lease.discard();
        }
        AttemptError { is_stale, detail, ..AttemptError::new(Class::Reset, Cause::Reset) }
    }
}

impl crate::upstream::Call for Call {
    fn poll_upload(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BodyFailure>> {
        self.upload.poll(cx)
    }

    fn progress(&self) -> Progress {
        self.upload.progress()
    }

    fn waits_for(&self) -> WaitsFor {
        self.upload.waits_for()
    }

    fn poll_head(&mut self, cx: &mut Context<'_>, asked: &Asked<'_>) -> Poll<Result<ResponseHead, AttemptError>> {
        match Pin::new(&mut self.response).poll_informational(cx) {
            Poll::Ready(Some(Ok(interim))) => return Poll::Ready(interim_head(interim, asked)),
            Poll::Ready(Some(Err(error))) => return Poll::Ready(Err(self.failed(&error))),
            Poll::Ready(None) | Poll::Pending => {}
        }
        let response = ready!(Pin::new(&mut self.response).poll(cx)).map_err(|error| self.failed(&error))?;
        self.lease.on_head();
        let (parts, receive) = response.into_parts();
        let head = if self.connects && parts.status.is_success() {
            ResponseHead::switching(&parts, asked.head, &asked.limits)
        } else {
            ResponseHead::from_parts_within(&parts, framing_of(&parts, &receive), &asked.limits)
        };
        self.receive = Some(receive);
        Poll::Ready(head.map_err(AttemptError::from))
    }

    fn poll_timer(&mut self, cx: &mut Context<'_>, after: Duration) -> Poll<()> {
        self.timer.poll_after(cx, after)
    }

    fn restart_timer(&mut self) {
        self.timer.clear();
    }
}

fn interim_head(interim: http::Response<()>, asked: &Asked<'_>) -> Result<ResponseHead, AttemptError> {
    let (parts, ()) = interim.into_parts();
    if parts.status == http::StatusCode::SWITCHING_PROTOCOLS {
        // HTTP/2 has no 101 (RFC 9113 §8.6).
        return Err(AttemptError::invalid(Cause::InvalidResponse, "unexpected_switch"));
    }
    Ok(ResponseHead::from_parts_within(&parts, Framing::None, &asked.limits)?)
}

/// How the body will end. The h2 crate holds the endpoint to the length that it announced.
fn framing_of(parts: &http::response::Parts, receive: &RecvStream) -> Framing {
    if receive.is_end_stream() {
        return Framing::None;
    }
    let length = parts.headers.get(http::header::CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse().ok());
    length.map_or(Framing::Chunked, Framing::Length)
}
