//! The client's side of a request of HTTP/2: its stream.

use std::sync::Arc;
use std::task::{Context, Poll, ready};

use h2::Reason;
use lb_core::End;

use super::shared::Shared;
use crate::downstream::{Frame, Gone, Stream};
use crate::exchange::{Exchange, Response};
use crate::forward::tunnel::Carried;
use crate::message::{Edits, Framing, ResponseHead, Trailers};
use crate::net::queue::{Piece, Queue};
use crate::outcome::After;
use crate::respond::{ResponseBody, ResponseSink};
use crate::rules::cause::Cause;
use crate::rules::reply::Reply;

/// Writes the response of one request to a stream.
pub(crate) struct Http2Sink<'a> {
    stream: &'a Stream,
    shared: &'a Shared,
    /// What of the response waits to be written.
    queue: Arc<Queue>,
    /// Received, and waiting for the client's window.
    piece: Piece,
    /// Received, to be sent last.
    trailers: Option<Trailers>,
}

impl<'a> Http2Sink<'a> {
    pub(crate) fn new(stream: &'a Stream, shared: &'a Shared) -> Self {
        Self { stream, shared, queue: stream.lock().queue(), piece: Piece::empty(), trailers: None }
    }

    fn poll_pass_on(&mut self, cx: &mut Context<'_>, body: &mut ResponseBody<'_>) -> Poll<Result<(), Gone>> {
        loop {
            if !self.piece.is_empty() {
                let is_last = self.trailers.is_none() && body.is_complete();
                let before = self.piece.len();
                let sent = self.stream.lock().poll_send(cx, &mut self.piece, is_last);
                if self.piece.len() != before {
                    body.on_taken();
                }
                ready!(sent)?;
                if is_last {
                    return Poll::Ready(Ok(()));
                }
            }
            if body.is_over() {
                return Poll::Ready(Ok(()));
            }
            let room = self.queue.poll_room(cx);
            // The stream's lock is not held here: an upload that still runs takes it.
            let polled = match room {
                Poll::Ready(room) => body.poll_frame(cx, room),
                Poll::Pending => Poll::Pending,
            };
            self.queue.on_unread(body.unread());
            match ready!(polled) {
                Some(Frame::Data(piece)) => self.piece = Piece::new(piece, &self.queue),
                Some(Frame::Trailers(trailers)) => self.trailers = Some(trailers),
                None if body.is_broken() => {}
                None => return Poll::Ready(self.stream.lock().end(self.trailers.as_ref())),
            }
        }
    }
}

impl ResponseSink for Http2Sink<'_> {
    fn begin(&mut self, _: &Exchange, response: &Response) -> Result<(), Cause> {
        let parts = response.head.to_parts(&response.edits, response.framing);
        let mut state = self.stream.lock();
        let begun = match parts {
            _ if state.is_malformed() => Err(response.cause.unwrap_or(Cause::BadRequest)),
            Ok(parts) => state.answer(parts, response.framing.is_empty()).map_err(|_| Cause::ClientClosed),
            Err(_) => Err(Cause::InvalidResponse),
        };
        if begun.is_err() {
            state.reset(Reason::INTERNAL_ERROR);
        }
        begun
    }

    fn poll_body(&mut self, cx: &mut Context<'_>, body: &mut ResponseBody<'_>) -> Poll<Result<(), Gone>> {
        match self.poll_pass_on(cx, body) {
            Poll::Pending => self.stream.lock().poll_reset(cx).map(|()| Err(Gone)),
            passed => passed,
        }
    }

    fn is_blocked(&self) -> bool {
        !self.piece.is_empty()
    }

    fn end(&mut self, end: End) -> After {
        match end {
            End::Completed => {}
            // Both sides agree that it is not whole.
            End::ClientGone => self.stream.lock().reset(Reason::CANCEL),
            End::UpstreamAborted | End::Cancelled => self.stream.lock().reset(Reason::INTERNAL_ERROR),
        }
        After::Keep
    }

    fn sent(&self) -> u64 {
        self.stream.lock().written()
    }

    fn begin_tunnel(&mut self, head: &ResponseHead, edits: &Edits) -> Option<u16> {
        let mut parts = head.to_parts(edits, Framing::None).ok()?;
        parts.status = http::StatusCode::OK;
        parts.headers.remove(http::header::SEC_WEBSOCKET_ACCEPT);
        self.stream.lock().answer(parts, false).ok()?;
        Some(http::StatusCode::OK.as_u16())
    }

    fn end_tunnel(&mut self, carried: &Carried) -> After {
        let mut state = self.stream.lock();
        state.on_carried(carried.from_client, carried.to_client);
        if !carried.is_whole {
            // As a connection is reset (RFC 8441 §5).
            state.reset(Reason::CANCEL);
        }
        After::Keep
    }

    fn refuse(&mut self, reply: Reply, edits: &Edits) {
        if let Ok(parts) = reply.head.to_parts(edits, reply.framing) {
            // Fails for a client that is gone, and has no use for it.
            let _ = self.stream.lock().answer_whole(parts, reply.body);
        }
    }

    fn on_end(&mut self, answered: bool) {
        self.shared.on_end(answered);
    }
}
