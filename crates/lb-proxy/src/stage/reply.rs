//! Reply: writing a response to the client, as fast as both sides allow.
//!
//! Nothing is buffered beyond one read: the endpoint is read again when the client has taken what was read before. What
//! breaks after the head is made visible: the connection is reset, so that no client takes a cut response for a whole one.

use std::task::{Context, Poll};
use std::time::Duration;

use lb_core::End;
use tokio::time::Instant;

use crate::downstream::{Downstream, Frame, Outbox};
use crate::exchange::Body;
use crate::framing::BodyWriter;
use crate::net::Timer;
use crate::rules::cause::Cause;
use crate::rules::headers::HeaderRules;
use crate::rules::trailers;

/// A response body on its way to the client, its head already queued.
pub(crate) struct Reply<'a> {
    pub(crate) downstream: &'a Downstream,
    pub(crate) body: Body,
    /// The route's edits of the response, which hold for trailers too.
    pub(crate) edits: Option<&'a HeaderRules>,
    pub(crate) writer: BodyWriter,
    pub(crate) timer: &'a mut Timer,
    /// Longest pause on either side.
    pub(crate) idle: Duration,
    /// When the whole request must be over.
    pub(crate) deadline: Option<Instant>,
    /// From when on an end of the client's stream means that it is gone.
    pub(crate) watch_from: Instant,
    pub(crate) ended: bool,
    /// Why it ended before its time. What came until then is still passed on.
    pub(crate) broken: Option<Cause>,
}

/// How writing ended, and why where it was not as it should.
pub(crate) type Written = (End, Option<Cause>);

impl Reply<'_> {
    /// Ready when the last byte was taken by the kernel, or nothing more can be done.
    pub(crate) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Written> {
        loop {
            // It goes on whether the client reads or not, and reads from the client itself: so before that is locked.
            let uploaded = self.upload(cx);
            let mut io = self.downstream.lock();
            let dry = uploaded.and_then(|()| self.fill(cx, &mut io.out)).unwrap_or_else(|cause| {
                self.broken = Some(cause);
                self.ended = true;
                false
            });
            let before = io.moved();
            let flushed = io.poll_flush(cx);
            if io.moved() != before {
                self.timer.clear();
            }
            match flushed {
                Poll::Ready(Ok(())) if self.ended => return Poll::Ready((self.end(), self.broken)),
                Poll::Ready(Ok(())) if !dry => continue,
                Poll::Ready(Ok(())) => {
                    if io.poll_gone(cx, self.watch_from).is_ready() {
                        return Poll::Ready((End::ClientGone, Some(Cause::ClientClosed)));
                    }
                }
                Poll::Ready(Err(_)) => return Poll::Ready((End::ClientGone, Some(Cause::ClientClosed))),
                Poll::Pending => {}
            }
            drop(io);
            return self.poll_time(cx, flushed.is_pending());
        }
    }

    fn poll_time(&mut self, cx: &mut Context<'_>, client_is_slow: bool) -> Poll<Written> {
        if self.timer.poll_after(cx, self.idle).is_ready() {
            // A client that stopped reading may start again: what was cut must not look whole to it, and must not wait
            // in the kernel for it either.
            let end = if client_is_slow { End::Cancelled } else { End::UpstreamAborted };
            return Poll::Ready((end, Some(Cause::IdleTimeout)));
        }
        match self.deadline {
            Some(deadline) => self.timer.poll_until(cx, deadline).map(|()| (End::Cancelled, Some(Cause::TotalTimeout))),
            None => Poll::Pending,
        }
    }

    /// How it ended, once nothing more will come.
    fn end(&self) -> End {
        match self.broken {
            None => End::Completed,
            Some(Cause::ClientClosed) => End::ClientGone,
            Some(Cause::UpstreamAborted | Cause::InvalidResponse) => End::UpstreamAborted,
            // The request's own fault: too large, malformed.
            Some(_) => End::Cancelled,
        }
    }

    /// Sends on the rest of an upload that was answered early.
    fn upload(&mut self, cx: &mut Context<'_>) -> Result<(), Cause> {
        if !self.ended && self.body.poll_upload(cx)? {
            self.timer.clear();
        }
        Ok(())
    }

    /// Queues what the endpoint has sent, as far as there is room; tells whether it ran dry.
    fn fill(&mut self, cx: &mut Context<'_>, out: &mut Outbox) -> Result<bool, Cause> {
        while !self.ended && out.has_room() {
            let frame = match self.body.poll_frame(cx, usize::MAX) {
                Poll::Ready(frame) => frame.transpose()?,
                Poll::Pending => return Ok(true),
            };
            self.timer.clear();
            match frame {
                Some(Frame::Trailers(received)) => {
                    if let Some(kept) = trailers::of_response(self.edits, received) {
                        self.writer.push(out, Frame::Trailers(kept));
                    }
                }
                Some(frame) => self.writer.push(out, frame),
                None => {
                    self.writer.end(out);
                    self.ended = true;
                }
            }
        }
        Ok(false)
    }
}
