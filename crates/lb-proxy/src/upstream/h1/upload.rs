//! A request being written to an HTTP/1 connection, as fast as both sides allow.

use std::task::{Context, Poll, ready};

use crate::downstream::BodyWriter;
use crate::downstream::{BodyFailure, Frame, RequestBody, WriteBuffer};
use crate::message::Framing;
use crate::net::Stream;
use crate::upstream::call::{Progress, WaitsFor};

/// A request being written to an endpoint.
pub(crate) struct Upload {
    out: WriteBuffer,
    /// `None` once the body has ended.
    body: Option<RequestBody>,
    writer: BodyWriter,
    /// The endpoint takes no more. Not fatal: it may have answered already.
    is_broken: bool,
}

impl Upload {
    /// A request whose head is in `out` and says that the body has this framing.
    pub(crate) fn new(out: WriteBuffer, framing: Framing, body: Option<RequestBody>) -> Self {
        Self { out, body, writer: BodyWriter::new(framing == Framing::Chunked), is_broken: false }
    }

    /// Whether all of it was written, or no more of it will be.
    pub(crate) fn is_done(&self) -> bool {
        self.is_broken || (self.body.is_none() && self.out.is_empty())
    }

    /// Whether the endpoint takes no more.
    pub(crate) fn is_broken(&self) -> bool {
        self.is_broken
    }

    pub(crate) fn progress(&self) -> Progress {
        Progress::new(self.out.written, self.body.as_ref(), self.is_done())
    }

    /// What the upload waits for.
    pub(super) fn waits_for(&self) -> WaitsFor {
        if !self.out.is_empty() && !self.is_broken {
            WaitsFor::Endpoint
        } else {
            WaitsFor::more_of(self.body.as_ref().filter(|_| !self.is_broken))
        }
    }

    /// Writes as much as both sides allow; ready when nothing is left to write, or the endpoint takes no more.
    pub(crate) fn poll(&mut self, cx: &mut Context<'_>, stream: &mut Stream) -> Poll<Result<(), BodyFailure>> {
        loop {
            let client_is_slow = self.fill(cx)?;
            if self.is_broken {
                return Poll::Ready(Ok(()));
            }
            if ready!(self.out.poll_write_to(cx, stream)).is_err() {
                self.is_broken = true;
                return Poll::Ready(Ok(()));
            }
            let Some(body) = &self.body else { return Poll::Ready(Ok(())) };
            body.on_gone_but(0);
            if client_is_slow {
                return Poll::Pending;
            }
        }
    }

    /// Queues a part of the body that was received. Only with room in the write buffer.
    pub(crate) fn push(&mut self, frame: Frame) {
        self.writer.push(&mut self.out, frame);
    }

    /// Queues what the client has sent, as far as there is room; whether more must come from the client.
    fn fill(&mut self, cx: &mut Context<'_>) -> Result<bool, BodyFailure> {
        while let Some(body) = &mut self.body
            && self.out.has_room()
        {
            match body.poll_frame(cx) {
                Poll::Ready(Some(Ok(frame))) => self.push(frame),
                Poll::Ready(Some(Err(failure))) => return Err(failure),
                Poll::Ready(None) => {
                    self.writer.end(&mut self.out);
                    self.body = None;
                }
                Poll::Pending => return Ok(true),
            }
        }
        Ok(false)
    }
}
