//! The client's side of one request, whatever protocol carries it.

use std::sync::Arc;
use std::task::{Context, Poll};

use lb_core::Mono;
use tokio::time::Instant;

use super::{ClientConnection, Downstream, Intake, Stream};
use crate::message::{Edits, Framing, ResponseHead};
use crate::upstream::{Bound, Connection, Upstream};
use crate::wire::h1;

/// Where a request came from, and its answer goes: a whole HTTP/1 connection, or one stream of an HTTP/2 connection.
#[derive(Clone)]
pub(crate) enum Client {
    Http1(Downstream),
    Http2(Stream),
}

impl Client {
    /// Its connection, which other requests may share.
    pub(crate) fn connection(&self) -> &ClientConnection {
        match self {
            Self::Http1(downstream) => downstream.connection(),
            Self::Http2(stream) => stream.connection(),
        }
    }

    /// A request begins, with this body.
    pub(crate) fn begin(&self, intake: Intake) {
        match self {
            Self::Http1(downstream) => {
                let mut io = downstream.lock();
                io.answer = None;
                io.intake = intake;
            }
            Self::Http2(_) => self.expect(intake),
        }
    }

    /// What is to come of a body.
    pub(crate) fn expect(&self, intake: Intake) {
        match self {
            Self::Http1(downstream) => downstream.lock().intake = intake,
            Self::Http2(stream) => stream.lock().expect(intake),
        }
    }

    pub(super) fn intake<T>(&self, read: impl FnOnce(&mut Intake) -> T) -> T {
        match self {
            Self::Http1(downstream) => read(&mut downstream.lock().intake),
            Self::Http2(stream) => read(&mut stream.lock().intake),
        }
    }

    /// Bytes of the body received so far.
    pub(crate) fn received(&self) -> u64 {
        self.intake(|intake| intake.received)
    }

    /// Whether a 100 is to be passed on: the client asked for one, and this is the first. To be asked once for each.
    pub(crate) fn takes_continue(&self) -> bool {
        self.intake(Intake::take_continue)
    }

    /// How much of an answer may be read ahead of the client. One connection of HTTP/1 has one buffer, of limited size.
    pub(crate) fn room(&self) -> usize {
        match self {
            Self::Http1(_) => usize::MAX,
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
        }
    }

    /// What makes a pick in this cluster prefer the endpoint that the client has a connection of its own to.
    pub(crate) fn bound_in(&self, cluster: &str) -> Option<u64> {
        match self {
            Self::Http1(downstream) => downstream.bound_in(cluster),
            Self::Http2(_) => None,
        }
    }

    /// That connection, if it is one to this endpoint and still good.
    pub(crate) fn take_bound(&self, upstream: &Arc<Upstream>, now: Mono) -> Option<Box<Connection>> {
        match self {
            Self::Http1(downstream) => downstream.take_bound(upstream, now),
            Self::Http2(_) => None,
        }
    }

    /// Leaves such a connection to the client; one that can have none has it closed.
    pub(crate) fn keep_bound(&self, bound: Bound) {
        match self {
            Self::Http1(downstream) => downstream.keep_bound(bound),
            Self::Http2(_) => drop(bound),
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
        }
    }
}
