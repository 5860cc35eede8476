//! One side of a tunnel: a connection, or an HTTP/2 stream, whose windows then say how much is carried at a time.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::{Buf, BytesMut};
use h2::{RecvStream, SendStream};
use tokio::io::AsyncWrite;

use super::Stream;
use super::queue::{Piece, Queue};

const READ: usize = 16 * 1024;

/// One side of a tunnel, as the other one sees it.
pub(crate) trait Side {
    /// Reads what there is behind what `into` holds; 0 is the end.
    fn poll_read(&mut self, cx: &mut Context<'_>, into: &mut BytesMut) -> Poll<io::Result<usize>>;
    /// Writes some of what `from` holds, and takes it out.
    fn poll_write(&mut self, cx: &mut Context<'_>, from: &mut BytesMut) -> Poll<io::Result<usize>>;
    /// Has what was written leave, whether or not more comes.
    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>>;
    /// Passes the end on.
    fn poll_end(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>>;
    /// Ready when it broke although nothing is read or written.
    fn poll_broken(&mut self, cx: &mut Context<'_>) -> Poll<()>;
}

impl Side for Stream {
    fn poll_read(&mut self, cx: &mut Context<'_>, into: &mut BytesMut) -> Poll<io::Result<usize>> {
        if self.poll_readable(cx)?.is_pending() {
            // An idle tunnel holds no buffer.
            *into = BytesMut::new();
            return Poll::Pending;
        }
        into.reserve(READ);
        self.poll_read_into(cx, into)
    }

    fn poll_write(&mut self, cx: &mut Context<'_>, from: &mut BytesMut) -> Poll<io::Result<usize>> {
        let n = ready!(AsyncWrite::poll_write(Pin::new(self), cx, from))?;
        from.advance(n);
        Poll::Ready(Ok(n))
    }

    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        AsyncWrite::poll_flush(Pin::new(self), cx)
    }

    fn poll_end(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        AsyncWrite::poll_shutdown(Pin::new(self), cx)
    }

    fn poll_broken(&mut self, _: &mut Context<'_>) -> Poll<()> {
        Poll::Pending
    }
}

/// Both directions of an HTTP/2 stream.
pub(crate) struct StreamSide<'a> {
    pub(crate) send: &'a mut SendStream<Piece>,
    pub(crate) receive: &'a mut RecvStream,
    /// Taken out of `receive`, and not yet passed on.
    pub(crate) taken: &'a mut usize,
    pub(crate) queue: &'a Arc<Queue>,
}

impl Side for StreamSide<'_> {
    fn poll_read(&mut self, cx: &mut Context<'_>, into: &mut BytesMut) -> Poll<io::Result<usize>> {
        // A caller that reads on has passed on what was read before. Fails for a stream that has ended, whose window is of no
        // interest any more.
        let _ = self.receive.flow_control().release_capacity(std::mem::take(self.taken));
        loop {
            let Poll::Ready(piece) = self.receive.poll_data(cx) else {
                *into = BytesMut::new();
                return Poll::Pending;
            };
            let Some(piece) = piece else { return Poll::Ready(Ok(0)) };
            let piece = piece.map_err(io::Error::other)?;
            *self.taken += piece.len();
            if !piece.is_empty() {
                into.extend_from_slice(&piece);
                return Poll::Ready(Ok(piece.len()));
            }
        }
    }

    fn poll_write(&mut self, cx: &mut Context<'_>, from: &mut BytesMut) -> Poll<io::Result<usize>> {
        let most = ready!(self.queue.poll_room(cx)).min(from.len());
        self.send.reserve_capacity(most);
        let mut room = self.send.capacity();
        while room == 0 {
            room = match ready!(self.send.poll_capacity(cx)) {
                Some(room) => room.map_err(io::Error::other)?,
                None => return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into())),
            };
        }
        let part = from.split_to(room.min(most)).freeze();
        let n = part.len();
        self.send.send_data(Piece::new(part, self.queue), false).map_err(io::Error::other)?;
        Poll::Ready(Ok(n))
    }

    fn poll_flush(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_end(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(self.send.send_data(Piece::empty(), true).map_err(io::Error::other))
    }

    fn poll_broken(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        self.send.poll_reset(cx).map(drop)
    }
}
