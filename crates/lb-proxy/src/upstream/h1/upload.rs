//! Upload: a request on its way to an endpoint of HTTP/1, as fast as both sides allow.

use std::sync::Arc;
use std::task::{Context, Poll, ready};

use crate::downstream::{BodyFailure, Frame, Incoming, Outbox};
use crate::framing::BodyWriter;
use crate::message::Framing;
use crate::net::Stream;
use crate::stage::visit::Visit;

/// What keeps an attempt from going on.
pub(crate) enum WaitsFor {
    Response,
    Endpoint,
    Client,
}

impl WaitsFor {
    /// Where all that came of the body was sent on. A client that waits for a 100 is not the one to be waited for.
    pub(crate) fn more_of(body: Option<&Incoming>) -> Self {
        match body {
            Some(body) if !body.is_held_back() => Self::Client,
            _ => Self::Response,
        }
    }
}

/// Why an upload ended early.
pub(crate) enum UploadError {
    Client(BodyFailure),
    /// The endpoint takes no more. Not fatal: it may have answered already.
    Endpoint,
}

/// A request being written to an endpoint.
pub(crate) struct Upload {
    out: Outbox,
    /// `None` once the body has ended.
    body: Option<Incoming>,
    /// Whose body it is, if there is one.
    visit: Option<Arc<Visit>>,
    writer: BodyWriter,
    broken: bool,
}

impl Upload {
    /// A request whose head is in `out` and says that the body has this framing.
    pub(crate) fn new(out: Outbox, framing: Framing, body: Option<Incoming>, visit: &Arc<Visit>) -> Self {
        let visit = body.is_some().then(|| Arc::clone(visit));
        Self { out, body, visit, writer: BodyWriter::new(framing == Framing::Chunked), broken: false }
    }

    /// Whether all of it was written, or no more of it will be.
    pub(crate) fn is_done(&self) -> bool {
        self.broken || (self.body.is_none() && self.out.is_empty())
    }

    /// Bytes written to the endpoint, and received from the client: what tells whether it moves.
    pub(crate) fn progress(&self) -> (u64, u64) {
        (self.out.written, self.body.as_ref().map_or(0, Incoming::received))
    }

    /// What keeps it from going on.
    pub(crate) fn waits_for(&self) -> WaitsFor {
        if !self.out.is_empty() && !self.broken {
            WaitsFor::Endpoint
        } else {
            WaitsFor::more_of(self.body.as_ref().filter(|_| !self.broken))
        }
    }

    /// Writes as much as both sides allow; ready when there is nothing left to write.
    pub(crate) fn poll(&mut self, cx: &mut Context<'_>, stream: &mut Stream) -> Poll<Result<(), UploadError>> {
        loop {
            let client_is_slow = self.fill(cx).map_err(UploadError::Client)?;
            if self.broken {
                return Poll::Ready(Err(UploadError::Endpoint));
            }
            if ready!(self.out.poll_write_to(cx, stream)).is_err() {
                self.broken = true;
                return Poll::Ready(Err(UploadError::Endpoint));
            }
            let Some(body) = &self.body else { return Poll::Ready(Ok(())) };
            body.on_gone_but(0);
            if client_is_slow {
                return Poll::Pending;
            }
        }
    }

    /// Queues a part of the body that was received. Only with room in the outbox.
    pub(crate) fn push(&mut self, frame: Frame) {
        let frame = match frame {
            Frame::Data(piece) => Some(Frame::Data(piece)),
            Frame::Trailers(trailers) => {
                self.visit.as_ref().and_then(|visit| visit.upstream_trailers(trailers)).map(Frame::Trailers)
            }
        };
        if let Some(frame) = frame {
            self.writer.push(&mut self.out, frame);
        }
    }

    /// Queues what the client has sent, as far as there is room; tells whether it ran dry.
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
