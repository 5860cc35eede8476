//! A request body being sent on an HTTP/2 stream, as fast as both sides allow.

use std::sync::Arc;
use std::task::{Context, Poll, ready};

use h2::SendStream;

use crate::downstream::{BodyFailure, Frame, RequestBody};
use crate::message::Trailers;
use crate::net::queue::{Piece, Queue};
use crate::upstream::call::{Progress, WaitsFor};

/// A request body being sent to an endpoint.
pub(super) struct Upload {
    pub(super) send: SendStream<Piece>,
    /// Bytes that wait, here and in the h2 crate.
    pub(super) queue: Arc<Queue>,
    /// `None` once the body has ended.
    body: Option<RequestBody>,
    /// Received from the client, and waiting for the endpoint's window.
    piece: Piece,
    trailers: Option<Trailers>,
    moved: u64,
}

impl Upload {
    pub(super) fn new(send: SendStream<Piece>, body: Option<RequestBody>) -> Self {
        Self { send, queue: Queue::new(None), body, piece: Piece::empty(), trailers: None, moved: 0 }
    }

    pub(super) fn is_done(&self) -> bool {
        self.body.is_none() && self.piece.is_empty()
    }

    pub(super) fn progress(&self) -> Progress {
        Progress::new(self.moved, self.body.as_ref(), self.is_done())
    }

    pub(super) fn waits_for(&self) -> WaitsFor {
        if self.piece.is_empty() { WaitsFor::more_of(self.body.as_ref()) } else { WaitsFor::Endpoint }
    }

    /// Sends as much as both sides allow; ready when nothing is left to send, or the endpoint takes no more.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BodyFailure>> {
        let polled = self.advance(cx);
        if let Some(body) = &self.body {
            // The client may wait for what leaves later: its window opens then.
            self.queue.wake_when_less(cx);
            body.on_gone_but(self.queue.held());
        }
        polled
    }

    fn advance(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BodyFailure>> {
        loop {
            while !self.piece.is_empty() {
                self.send.reserve_capacity(self.piece.len());
                let mut room = self.send.capacity();
                if room == 0 {
                    room = match ready!(self.send.poll_capacity(cx)) {
                        Some(Ok(room)) => room,
                        Some(Err(_)) | None => return Poll::Ready(self.broken()),
                    };
                }
                let part = self.piece.take_front(room);
                self.moved += part.len() as u64;
                if self.send.send_data(part, false).is_err() {
                    return Poll::Ready(self.broken());
                }
            }
            let Some(body) = &mut self.body else { return Poll::Ready(Ok(())) };
            match ready!(body.poll_frame(cx)).transpose()? {
                Some(Frame::Data(piece)) => self.piece = Piece::new(piece, &self.queue),
                Some(Frame::Trailers(trailers)) => self.trailers = Some(trailers),
                None => {
                    self.body = None;
                    // Fails if the endpoint takes no more; its response tells why.
                    let _ = match &self.trailers {
                        Some(trailers) => self.send.send_trailers(trailers.to_headers()),
                        None => self.send.send_data(Piece::empty(), true),
                    };
                }
            }
        }
    }

    /// The endpoint takes no more. Not fatal: it may have answered already.
    fn broken(&mut self) -> Result<(), BodyFailure> {
        self.body = None;
        self.piece = Piece::empty();
        Ok(())
    }
}
