//! The request body, on its way from the client to an endpoint.
//!
//! It is read when the endpoint can take it, never ahead. On a route that may retry, what has been read is kept up to
//! a cap, so that another attempt can send it again; beyond the cap the body is streamed once and cannot be retried.

use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;

use super::body_state::{BodyFailure, Frame, RequestBodyState};
use super::{Client, Io};
use crate::message::Trailers;
use crate::wire::h1::Step;

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
        self.body(|body| body.is_replayable())
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
        self.body(|body| body.is_held_back())
    }

    /// The next part; `None` is the end.
    pub(crate) fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame, BodyFailure>>> {
        if let Some(kept) = self.body(|body| body.kept_at(self.position)) {
            self.position += kept.as_ref().map_or(0, |piece| piece.len() as u64);
            return Poll::Ready(Some(kept.map(Frame::Data)));
        }
        let received = match self.owner.client() {
            Client::Http1(downstream) => poll_receive(&mut downstream.lock(), cx),
            Client::Http2(stream) => stream.lock().poll_receive(cx),
            Client::Internal(_) => Poll::Ready(None),
        };
        Poll::Ready(match ready!(received) {
            Some(Ok(piece)) => {
                self.position += piece.len() as u64;
                Some(Ok(Frame::Data(piece)))
            }
            Some(Err(failure)) => Some(Err(failure)),
            None if std::mem::replace(&mut self.is_past_trailers, true) => None,
            None => {
                let trailers = self.body(|body| body.trailers.clone());
                let trailers = trailers.and_then(|trailers| self.owner.upstream_trailers(trailers));
                trailers.map(|trailers| Ok(Frame::Trailers(trailers)))
            }
        })
    }

    fn body<T>(&self, read: impl FnOnce(&mut RequestBodyState) -> T) -> T {
        self.owner.client().body(read)
    }
}

/// The next piece of payload from the connection.
fn poll_receive(io: &mut Io, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, BodyFailure>>> {
    if let Some(failure) = io.body.failure {
        return Poll::Ready(Some(Err(failure)));
    }
    loop {
        let Some(decoder) = &mut io.body.decoder else { return Poll::Ready(None) };
        let failure = match decoder.decode(&mut io.read) {
            Ok(Step::Data(piece)) => return Poll::Ready(Some(io.body.accept(piece))),
            Ok(Step::Trailers(trailers)) => {
                io.body.trailers = Some(trailers);
                continue;
            }
            Ok(Step::End) => {
                io.body.end(None);
                continue;
            }
            Ok(Step::NeedMore) => match ready!(io.poll_fill(cx)) {
                Ok(n) if n > 0 => continue,
                _ => BodyFailure::ClientGone,
            },
            Err(error) => BodyFailure::Malformed(error),
        };
        return Poll::Ready(Some(Err(io.body.fail(failure))));
    }
}
