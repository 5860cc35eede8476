//! The request body, on its way from the client to an endpoint.
//!
//! It is read when the endpoint can take it, never ahead. On a route that may retry, what has been read is kept up to
//! a cap, so that another attempt can send it again; beyond the cap the body is streamed once and cannot be retried.

use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::{Bytes, BytesMut};
use tokio::time::Instant;

use super::{Client, Io, kept::Kept};
use crate::message::{Framing, Trailers};
use crate::net::clock;
use crate::wire::h1::{BodyDecoder, BodyError, Step};

/// A part of a body.
pub(crate) enum Frame {
    Data(Bytes),
    Trailers(Trailers),
}

/// Why a request body could not be had.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum BodyFailure {
    /// The client closed its connection, or broke it.
    ClientGone,
    /// The framing was wrong.
    Malformed(BodyError),
    /// Longer than the route allows.
    TooLarge,
    /// Another attempt asked for what was no longer kept.
    NotKept,
}

/// The state of the request body on a connection.
pub(crate) struct Intake {
    decoder: Option<BodyDecoder>,
    failure: Option<BodyFailure>,
    trailers: Option<Trailers>,
    /// Bytes of payload received.
    pub(crate) received: u64,
    limit: u64,
    /// What is kept of it: all that came, or nothing.
    pub(super) kept: Kept,
    /// The client asked for a 100, and was sent none yet. Without a body too.
    awaits_continue: bool,
    /// When the last of it came; `None` where there was nothing to come.
    pub(super) ended_at: Option<Instant>,
}

impl Intake {
    /// No body.
    pub(crate) fn none() -> Self {
        Self {
            decoder: None,
            failure: None,
            trailers: None,
            received: 0,
            limit: u64::MAX,
            kept: Kept::default(),
            awaits_continue: false,
            ended_at: None,
        }
    }

    /// A body of this framing, of which at most `keep_at_most` bytes are kept for another attempt.
    pub(crate) fn new(framing: Framing, limit: Option<u64>, keep_at_most: u64, awaits_continue: bool) -> Self {
        if framing.is_empty() {
            return Self { awaits_continue, ..Self::none() };
        }
        Self {
            decoder: Some(BodyDecoder::new(framing)),
            limit: limit.unwrap_or(u64::MAX),
            kept: Kept::new(keep_at_most),
            awaits_continue,
            ..Self::none()
        }
    }

    /// Whether a 100 is to be sent, which it is once.
    pub(super) fn take_continue(&mut self) -> bool {
        std::mem::take(&mut self.awaits_continue)
    }

    /// Whether the client sends none of it, since it waits for a 100. One that did not wait for it does not any more.
    pub(crate) fn is_held_back(&self) -> bool {
        self.awaits_continue && self.received == 0
    }

    /// Whether all of it has been received.
    pub(crate) fn is_complete(&self) -> bool {
        self.decoder.is_none() && self.failure.is_none()
    }

    /// Whether an attempt can still send it from the start.
    pub(crate) fn is_replayable(&self) -> bool {
        self.kept.len() == self.received && self.failure.is_none()
    }

    /// What was received from this octet on; `None` where nothing was yet.
    fn kept_at(&mut self, position: u64) -> Option<Result<Bytes, BodyFailure>> {
        if position >= self.received {
            return None;
        }
        let is_kept = self.kept.len() == self.received;
        Some(self.kept.at(position).filter(|_| is_kept).ok_or(BodyFailure::NotKept))
    }

    /// Throws away what `read` has of the body; whether that was the rest of it.
    pub(super) fn discard(&mut self, read: &mut BytesMut) -> bool {
        while let Some(decoder) = &mut self.decoder {
            match decoder.decode(read) {
                Ok(Step::Data(_) | Step::Trailers(_)) => {}
                Ok(Step::End) => self.decoder = None,
                Ok(Step::NeedMore) => return false,
                Err(error) => {
                    self.fail(BodyFailure::Malformed(error));
                    return false;
                }
            }
        }
        self.failure.is_none()
    }

    /// Why no more of it can be had.
    pub(crate) fn failure(&self) -> Option<BodyFailure> {
        self.failure
    }

    /// No more of it can be had.
    pub(super) fn fail(&mut self, failure: BodyFailure) -> BodyFailure {
        self.failure = Some(failure);
        failure
    }

    /// All of it has been received.
    pub(super) fn end(&mut self, trailers: Option<Trailers>) {
        self.decoder = None;
        self.trailers = trailers.or(self.trailers.take());
        self.ended_at = Some(clock::now());
    }

    /// Counts a piece and keeps it where that was asked for; refuses what is beyond the limit.
    pub(super) fn accept(&mut self, piece: Bytes) -> Result<Bytes, BodyFailure> {
        let was_whole = self.kept.len() == self.received;
        self.received += piece.len() as u64;
        if self.received > self.limit {
            self.kept.clear();
            return Err(self.fail(BodyFailure::TooLarge));
        }
        if was_whole {
            self.kept.push(&piece);
        }
        Ok(piece)
    }
}

/// The request that a body belongs to.
pub(crate) trait BodyOwner: Send + Sync {
    /// The client that sends the body.
    fn client(&self) -> &Client;

    /// The trailers that the endpoint is to receive; `None` if none are left.
    fn upstream_trailers(&self, trailers: Trailers) -> Option<Trailers>;
}

/// A reader of the request body, as endpoints are to receive it, whichever protocol it arrives by. Clones made before the first read
/// each see the whole body, as far as it is kept.
#[derive(Clone)]
pub(crate) struct RequestBody {
    owner: Arc<dyn BodyOwner>,
    /// In octets.
    position: u64,
    is_past_trailers: bool,
}

impl RequestBody {
    pub(crate) fn new(owner: Arc<dyn BodyOwner>) -> Self {
        Self { owner, position: 0, is_past_trailers: false }
    }

    pub(crate) fn is_replayable(&self) -> bool {
        self.intake(|intake| intake.is_replayable())
    }

    /// Bytes of payload received so far.
    pub(crate) fn received(&self) -> u64 {
        self.owner.client().received()
    }

    /// All that was received but this much has gone on to the endpoint, and the client may send as much again. A connection
    /// of HTTP/1 needs no word: it is read when there is room.
    pub(crate) fn on_gone_but(&self, waiting: usize) {
        if let Client::Http2(stream) = self.owner.client() {
            stream.lock().release(waiting);
        }
    }

    /// Whether the client sends none of it, since it waits for a 100.
    pub(crate) fn is_held_back(&self) -> bool {
        self.intake(|intake| intake.is_held_back())
    }

    /// The next part; `None` is the end.
    pub(crate) fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame, BodyFailure>>> {
        if let Some(kept) = self.intake(|intake| intake.kept_at(self.position)) {
            self.position += kept.as_ref().map_or(0, |piece| piece.len() as u64);
            return Poll::Ready(Some(kept.map(Frame::Data)));
        }
        let received = match self.owner.client() {
            Client::Http1(downstream) => poll_receive(&mut downstream.lock(), cx),
            Client::Http2(stream) => stream.lock().poll_receive(cx),
        };
        Poll::Ready(match ready!(received) {
            Some(Ok(piece)) => {
                self.position += piece.len() as u64;
                Some(Ok(Frame::Data(piece)))
            }
            Some(Err(failure)) => Some(Err(failure)),
            None if std::mem::replace(&mut self.is_past_trailers, true) => None,
            None => {
                let trailers = self.intake(|intake| intake.trailers.clone());
                let trailers = trailers.and_then(|trailers| self.owner.upstream_trailers(trailers));
                trailers.map(|trailers| Ok(Frame::Trailers(trailers)))
            }
        })
    }

    fn intake<T>(&self, read: impl FnOnce(&mut Intake) -> T) -> T {
        self.owner.client().intake(read)
    }
}

/// The next piece of payload from the connection.
fn poll_receive(io: &mut Io, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, BodyFailure>>> {
    if let Some(failure) = io.intake.failure {
        return Poll::Ready(Some(Err(failure)));
    }
    loop {
        let Some(decoder) = &mut io.intake.decoder else { return Poll::Ready(None) };
        let failure = match decoder.decode(&mut io.read) {
            Ok(Step::Data(piece)) => return Poll::Ready(Some(io.intake.accept(piece))),
            Ok(Step::Trailers(trailers)) => {
                io.intake.trailers = Some(trailers);
                continue;
            }
            Ok(Step::End) => {
                io.intake.end(None);
                continue;
            }
            Ok(Step::NeedMore) => match ready!(io.poll_fill(cx)) {
                Ok(n) if n > 0 => continue,
                _ => BodyFailure::ClientGone,
            },
            Err(error) => BodyFailure::Malformed(error),
        };
        return Poll::Ready(Some(Err(io.intake.fail(failure))));
    }
}
