//! The client's side of one request, whatever protocol carries it.

use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::BytesMut;
use tokio::time::Instant;

use super::{ClientConnection, Downstream, Internal, RequestBodyState, Slot, Stream};
use crate::message::{Edits, Framing, ResponseHead};
use crate::net::side::Side;
use crate::wire::h1;

/// Where a request came from, and its response goes.
#[derive(Clone)]
pub(crate) enum Client {
    /// A whole connection of HTTP/1.
    Http1(Downstream),
    /// One stream of an HTTP/2 connection.
    Http2(Stream),
    /// The proxy itself: see [`Internal`].
    Internal(Arc<Internal>),
}

impl Client {
    /// Its connection, which other requests may share.
    pub(crate) fn connection(&self) -> &Arc<ClientConnection> {
        match self {
            Self::Http1(downstream) => downstream.connection(),
            Self::Http2(stream) => stream.connection(),
            Self::Internal(internal) => internal.connection(),
        }
    }

    /// A request begins, with this body.
    pub(crate) fn begin(&self, body: RequestBodyState) {
        match self {
            Self::Http1(downstream) => {
                let mut io = downstream.lock();
                io.answer = None;
                io.body = body;
            }
            Self::Http2(_) | Self::Internal(_) => self.expect(body),
        }
    }

    /// What is to come of a body.
    pub(crate) fn expect(&self, body: RequestBodyState) {
        match self {
            Self::Http1(downstream) => downstream.lock().body = body,
            Self::Http2(stream) => stream.lock().expect(body),
            // All of it is known, and none is to come.
            Self::Internal(_) => {}
        }
    }

    pub(super) fn body<T>(&self, read: impl FnOnce(&mut RequestBodyState) -> T) -> T {
        match self {
            Self::Http1(downstream) => read(&mut downstream.lock().body),
            Self::Http2(stream) => read(&mut stream.lock().body),
            Self::Internal(internal) => read(&mut internal.body.borrow_mut()),
        }
    }

    /// Bytes of the body received so far.
    pub(crate) fn received(&self) -> u64 {
        self.body(|body| body.received)
    }

    /// Whether a 100 is to be passed on: the client asked for one, and this is the first. To be asked once for each.
    pub(crate) fn takes_continue(&self) -> bool {
        self.body(RequestBodyState::take_continue)
    }

    /// How much of an answer may be read ahead of the client. One connection of HTTP/1 has one buffer, of limited size.
    pub(crate) fn room(&self) -> usize {
        match self {
            Self::Http1(_) | Self::Internal(_) => usize::MAX,
            Self::Http2(stream) => stream.lock().room(),
        }
    }

    /// Ready when the client is gone, while an answer is being waited for. What waits to be written leaves meanwhile.
    pub(crate) fn poll_gone(&self, cx: &mut Context<'_>, watch_from: Instant) -> Poll<()> {
        match self {
            Self::Http1(downstream) => {
                let mut io = downstream.lock();
                match io.poll_flush(cx) {
                    Poll::Ready(Err(_)) => Poll::Ready(()),
                    _ => io.poll_gone(cx, watch_from),
                }
            }
            Self::Http2(stream) => stream.lock().poll_reset(cx),
            Self::Internal(_) => Poll::Pending,
        }
    }

    /// What an endpoint's connection may be kept in for this client alone; `None` for a client that can have none, since its
    /// connection may carry the requests of many users.
    pub(crate) fn slot(&self) -> Option<&Slot> {
        match self {
            Self::Http1(downstream) => Some(&downstream.connection().slot),
            Self::Http2(_) | Self::Internal(_) => None,
        }
    }

    /// Tells the client of a 1xx.
    pub(crate) fn on_interim(&self, head: &ResponseHead, edits: &Edits) {
        match self {
            Self::Http1(downstream) => {
                let mut io = downstream.lock();
                h1::encode_response(io.out.front(), head, edits, Framing::None, h1::Connection::Implicit);
            }
            Self::Http2(stream) => stream.lock().on_interim(head, edits),
            Self::Internal(_) => {}
        }
    }

    /// Makes sure that the client does not take what it has of the answer for the whole: status and bytes of what it
    /// has, `None` if no answer has begun.
    pub(crate) fn cut(&self) -> Option<(u16, u64)> {
        match self {
            Self::Http1(downstream) => {
                let io = downstream.lock();
                let (status, body_from) = io.answer?;
                io.stream.reset_on_close();
                Some((status, io.out.written.saturating_sub(body_from)))
            }
            Self::Http2(stream) => stream.lock().cut(),
            Self::Internal(_) => None,
        }
    }

    /// A tunnel begins: what waits to be written before it, and how much has been written.
    pub(crate) fn take_unwritten(&self) -> (BytesMut, u64) {
        match self {
            Self::Http1(downstream) => {
                let mut io = downstream.lock();
                (std::mem::take(io.out.front()), io.out.written)
            }
            Self::Http2(_) | Self::Internal(_) => (BytesMut::new(), 0),
        }
    }

    /// What was read behind the request, which is a tunnel's, and whether the client has sent its last byte.
    pub(crate) fn take_read(&self) -> (BytesMut, bool) {
        match self {
            Self::Http1(downstream) => {
                let mut io = downstream.lock();
                (std::mem::take(&mut io.read), io.ended)
            }
            Self::Http2(_) => (BytesMut::new(), false),
            Self::Internal(_) => (BytesMut::new(), true),
        }
    }

    /// Reads and writes as one side of a tunnel. `None` if the client is gone.
    pub(crate) fn with_side<T>(&self, carry: impl FnOnce(&mut dyn Side) -> T) -> Option<T> {
        match self {
            Self::Http1(downstream) => Some(carry(&mut downstream.lock().stream)),
            Self::Http2(stream) => stream.lock().ways().map(|mut ways| carry(&mut ways)),
            Self::Internal(_) => None,
        }
    }

    /// A tunnel has carried this much so far: `up` from the client, `down` to it, with what was written before.
    pub(crate) fn on_carried(&self, up: u64, down: u64) {
        match self {
            Self::Http1(downstream) => {
                let mut io = downstream.lock();
                (io.body.received, io.out.written) = (up, down);
            }
            Self::Http2(stream) => stream.lock().on_carried(up, down),
            Self::Internal(_) => {}
        }
    }
}
