//! What waits to be written: a head, a piece of body, what closes the piece.
//!
//! Small pieces are copied behind the head, so that a small response is one write of one buffer. A large piece is
//! written from where it lies, together with the bytes around it.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes, BytesMut};
use tokio::io::AsyncWrite;

use crate::net::buffers;

/// A piece up to this size is copied: cheaper than a second slice in the system call.
const COPY_AT_MOST: usize = 8 * 1024;

/// A buffer that grew beyond this is not kept for others.
const KEEP_AT_MOST: usize = 16 * 1024;

/// An output queue of at most one large piece.
#[derive(Default)]
pub(crate) struct WriteBuffer {
    /// Heads, small pieces and chunk sizes, in order.
    front: BytesMut,
    /// A large piece, after `front`.
    piece: Bytes,
    /// What follows `piece`.
    tail: &'static [u8],
    /// Bytes written so far, over the life of the connection.
    pub(crate) written: u64,
}

impl WriteBuffer {
    /// Where heads and small pieces are written.
    pub(crate) fn front(&mut self) -> &mut BytesMut {
        if self.front.capacity() == 0 {
            self.front = buffers::take();
        }
        &mut self.front
    }

    /// Whether another piece may be queued now.
    pub(crate) fn has_room(&self) -> bool {
        self.piece.is_empty() && self.tail.is_empty() && self.front.len() < 64 * 1024
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.front.is_empty() && self.piece.is_empty() && self.tail.is_empty()
    }

    /// Queues a piece of body and the static bytes that close it. Only with [`has_room`](Self::has_room).
    pub(crate) fn push(&mut self, piece: Bytes, tail: &'static [u8]) {
        // The size of a chunk may have come before it, and have used up what room there was.
        debug_assert!(self.piece.is_empty() && self.tail.is_empty());
        if piece.len() <= COPY_AT_MOST {
            let front = self.front();
            front.extend_from_slice(&piece);
            front.extend_from_slice(tail);
        } else {
            self.piece = piece;
            self.tail = tail;
        }
    }

    /// Writes until nothing waits, neither here nor in the stream.
    pub(crate) fn poll_write_to<W: AsyncWrite + Unpin>(
        &mut self,
        cx: &mut Context<'_>,
        stream: &mut W,
    ) -> Poll<io::Result<()>> {
        while !self.is_empty() {
            let polled = if self.piece.is_empty() && self.tail.is_empty() {
                Pin::new(&mut *stream).poll_write(cx, &self.front)
            } else {
                let slices = [IoSlice::new(&self.front), IoSlice::new(&self.piece), IoSlice::new(self.tail)];
                Pin::new(&mut *stream).poll_write_vectored(cx, &slices)
            };
            let written = ready!(polled)?;
            if written == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.advance(written);
        }
        Pin::new(stream).poll_flush(cx)
    }

    fn advance(&mut self, mut written: usize) {
        self.written += written as u64;
        let n = written.min(self.front.len());
        let is_small = self.front.capacity() <= KEEP_AT_MOST;
        self.front.advance(n);
        if self.front.is_empty() {
            // An idle connection keeps no buffer.
            let front = std::mem::take(&mut self.front);
            if is_small {
                buffers::give(front);
            }
        }
        written -= n;
        let n = written.min(self.piece.len());
        self.piece.advance(n);
        if self.piece.is_empty() {
            self.piece = Bytes::new();
        }
        written -= n;
        self.tail = &self.tail[written..];
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Takes a given number of bytes at each write.
    struct Trickle {
        got: Vec<u8>,
        step: usize,
    }

    impl AsyncWrite for Trickle {
        fn poll_write(mut self: Pin<&mut Self>, _: &mut Context<'_>, data: &[u8]) -> Poll<io::Result<usize>> {
            let n = data.len().min(self.step);
            self.got.extend_from_slice(&data[..n]);
            Poll::Ready(Ok(n))
        }
        fn poll_write_vectored(
            mut self: Pin<&mut Self>,
            _: &mut Context<'_>,
            slices: &[IoSlice<'_>],
        ) -> Poll<io::Result<usize>> {
            let all: Vec<u8> = slices.iter().flat_map(|slice| slice.iter().copied()).collect();
            let n = all.len().min(self.step);
            self.got.extend_from_slice(&all[..n]);
            Poll::Ready(Ok(n))
        }
        fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }
        fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }
    }

    proptest! {
        #[test]
        fn every_byte_is_written_once_and_in_order(
            pieces in proptest::collection::vec((0usize..20_000, any::<bool>()), 1..6),
            step in 1usize..9_000,
        ) {
            let mut buffer = WriteBuffer::default();
            let mut expected = Vec::new();
            let mut sink = Trickle { got: Vec::new(), step };
            let mut cx = Context::from_waker(std::task::Waker::noop());
            for (index, (len, tailed)) in pieces.into_iter().enumerate() {
                buffer.front().extend_from_slice(b"size:");
                expected.extend_from_slice(b"size:");
                let piece = Bytes::from(vec![index as u8; len]);
                let tail: &'static [u8] = if tailed { b"\r\n" } else { b"" };
                expected.extend_from_slice(&piece);
                expected.extend_from_slice(tail);
                buffer.push(piece, tail);
                if !buffer.has_room() || index % 2 == 0 {
                    prop_assert!(buffer.poll_write_to(&mut cx, &mut sink).is_ready());
                }
            }
            prop_assert!(buffer.poll_write_to(&mut cx, &mut sink).is_ready());
            prop_assert!(buffer.is_empty());
            prop_assert_eq!(buffer.written, expected.len() as u64);
            prop_assert!(sink.got == expected);
        }
    }
}
