//! The state of a request body on a client's connection or stream: what has come of it, and what is kept of it.

use bytes::{Bytes, BytesMut};
use tokio::time::Instant;

use super::kept::Kept;
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
pub(crate) struct RequestBodyState {
    pub(super) decoder: Option<BodyDecoder>,
    pub(super) failure: Option<BodyFailure>,
    pub(super) trailers: Option<Trailers>,
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

impl RequestBodyState {
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

    /// A body that has been received, all of which is kept.
    pub(super) fn whole(body: &Bytes) -> Self {
        let mut kept = Kept::new(body.len() as u64);
        let received = body.len() as u64;
        if !body.is_empty() {
            kept.push(body);
        }
        Self { received, kept, ..Self::none() }
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
    pub(super) fn kept_at(&mut self, position: u64) -> Option<Result<Bytes, BodyFailure>> {
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
