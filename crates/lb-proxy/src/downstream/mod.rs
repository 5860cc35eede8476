//! Towards the client: one connection, its request bodies and what waits to be written; for HTTP/2 one stream; for a request of
//! our own, neither.
//!
//! Reading and writing go through one cell that only the connection's own task ever borrows, one poll at a time. It is
//! never borrowed twice and never across a suspension; it lets the request body travel down the stack, and be cloned
//! for a retry, while the response is written on the same socket.

mod body_state;
mod body_writer;
mod client;
mod connection;
mod internal;
mod kept;
mod request_body;
mod stream;
mod write_buffer;

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use atomic_refcell::{AtomicRefCell, AtomicRefMut};
use bytes::BytesMut;
use tokio::io::AsyncWrite;
use tokio::time::Instant;

pub(crate) use body_state::{BodyFailure, Frame, RequestBodyState};
pub(crate) use body_writer::BodyWriter;
pub(crate) use client::Client;
pub(crate) use connection::{ClientConnection, Slot, TlsFacts};
pub(crate) use internal::Internal;
pub(crate) use request_body::{BodyOwner, RequestBody};
pub(crate) use stream::{Gone, Stream};
pub(crate) use write_buffer::WriteBuffer;

use crate::net::Stream as Socket;
use crate::net::buffers::ReadSize;
use crate::net::clock;

/// An end of the client's stream this soon after its request is taken for a client that has said all it had to say and
/// waits for the answer; a later one for a client that has given up.
pub(crate) const HALF_CLOSE_GRACE: Duration = Duration::from_secs(1);
/// How much of pipelined requests is read while an earlier one is being answered.
const READ_AHEAD: usize = 16 * 1024;

/// A client connection, shared between the task that serves it and the request body it hands out.
#[derive(Clone)]
pub(crate) struct Downstream {
    shared: Arc<Shared>,
}

struct Shared {
    connection: Arc<ClientConnection>,
    io: AtomicRefCell<Io>,
}

/// What is in the cell.
pub(crate) struct Io {
    pub(crate) stream: Socket,
    /// Read, not yet used.
    pub(crate) read: BytesMut,
    read_size: ReadSize,
    /// Waits to be written.
    pub(crate) out: WriteBuffer,
    /// The request body being received.
    pub(crate) body: RequestBodyState,
    /// The client has sent its last byte.
    pub(crate) ended: bool,
    /// Status of the answer that is being sent, and how much will have been written before its body.
    pub(crate) answer: Option<(u16, u64)>,
}

impl Downstream {
    pub(crate) fn new(stream: Socket, connection: ClientConnection) -> Self {
        let io = Io {
            stream,
            read: BytesMut::new(),
            read_size: ReadSize::new(),
            out: WriteBuffer::default(),
            body: RequestBodyState::none(),
            ended: false,
            answer: None,
        };
        let connection = Arc::new(connection);
        Self { shared: Arc::new(Shared { connection, io: AtomicRefCell::new(io) }) }
    }

    /// The connection with its socket and what was read from it, for another protocol. `None` while a request still holds it.
    pub(crate) fn into_parts(self) -> Option<(Arc<ClientConnection>, Socket, BytesMut)> {
        let Shared { connection, io, .. } = Arc::into_inner(self.shared)?;
        let io = io.into_inner();
        Some((connection, io.stream, io.read))
    }

    pub(crate) fn connection(&self) -> &Arc<ClientConnection> {
        &self.shared.connection
    }

    pub(crate) fn lock(&self) -> AtomicRefMut<'_, Io> {
        self.shared.io.borrow_mut()
    }
}

impl Io {
    /// Reads once; `Ok(0)` is the end of the stream. An idle connection keeps no buffer.
    pub(crate) fn poll_fill(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        if self.ended {
            return Poll::Ready(Ok(0));
        }
        if self.stream.poll_readable(cx)?.is_pending() {
            if self.read.is_empty() {
                self.read_size.release(&mut self.read);
            }
            return Poll::Pending;
        }
        let room = self.read_size.make_room(&mut self.read);
        let polled = self.stream.poll_read_into(cx, &mut self.read);
        if let Poll::Ready(Ok(n)) = polled {
            self.ended = n == 0;
            self.read_size.on_read(n, room);
        }
        polled
    }

    /// Tells the client that nothing more will come.
    pub(crate) fn poll_shutdown(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }

    /// Whether the whole request has arrived. What has arrived of its body is thrown away.
    pub(crate) fn has_whole_body(&mut self) -> bool {
        self.body.discard(&mut self.read)
    }

    /// Ready when the client is gone, for a time in which nothing is expected of it. Never ready while its request is
    /// still arriving.
    ///
    /// A client may close its side for writing as soon as it has sent its request, and still wait for the answer. One
    /// that gives up closes later. So an end that comes before `since`, or soon after the last byte of the request's
    /// body, is taken for the former.
    pub(crate) fn poll_gone(&mut self, cx: &mut Context<'_>, since: Instant) -> Poll<()> {
        while self.body.is_complete() && !self.ended && self.read.len() < READ_AHEAD {
            match self.poll_fill(cx) {
                Poll::Ready(Ok(0)) if self.is_half_close(since) => {}
                Poll::Ready(Ok(0) | Err(_)) => return Poll::Ready(()),
                Poll::Ready(Ok(_)) => {}
                Poll::Pending => return Poll::Pending,
            }
        }
        Poll::Pending
    }

    fn is_half_close(&self, since: Instant) -> bool {
        let now = clock::now();
        now < since || self.body.ended_at.is_some_and(|ended| now < ended + HALF_CLOSE_GRACE)
    }

    /// Bytes that moved towards the client, in a measure of its own: it only tells whether the client reads.
    pub(crate) fn moved(&self) -> u64 {
        self.out.written + self.stream.pushed()
    }

    /// Writes what waits; ready when nothing does.
    pub(crate) fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.out.poll_write_to(cx, &mut self.stream)
    }
}
