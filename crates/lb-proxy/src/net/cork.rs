//! A socket whose writes are collected, and sent together.
//!
//! HTTP/2 puts many answers on one connection, and the library flushes after each frame that it does not copy. One
//! system call a frame is most of what HTTP/2 then costs. So writes go into a buffer, flushing does nothing, and the task
//! that drives the connection sends the buffer once all ready streams have been polled. This saves an eighth of a
//! request's cost (measured).
//!
//! On the way, frames are watched in both directions: see [`Walker`] and [`Budget`].

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use atomic_refcell::AtomicRefCell;
use bytes::{Buf, BytesMut};
use lb_core::Mono;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::Instant;

use super::{Stream, buffers};
use crate::wire::h2::{Budget, FrameHead, Walker};

/// From here on collecting ends and writing begins: the kernel takes no more in one piece either.
const COLLECT: usize = 64 * 1024;
/// A buffer that grew beyond this is not kept for others.
const KEEP_AT_MOST: usize = 16 * 1024;

/// Frames of no use that a peer may send at once, and a second on top. Those that come with uses are paid by them: a
/// frame of an answer allows for four, since some clients open two windows for each.
const OVERHEAD: u32 = 1_000;
const OVERHEAD_PER_SECOND: u32 = 100;
const EARNED_BY_FRAME: u32 = 4;

/// The library's end.
pub(crate) struct Cork {
    shared: Arc<AtomicRefCell<Corked>>,
}

/// The driver's end.
pub(crate) struct Drain {
    shared: Arc<AtomicRefCell<Corked>>,
    /// What was collected has waited for one turn.
    has_yielded: bool,
}

struct Corked {
    stream: Stream,
    /// Read before we were asked to.
    first: BytesMut,
    out: BytesMut,
    incoming: Walker,
    outgoing: Walker,
    overhead: Option<Budget>,
    is_flooded: bool,
    /// When anything last came.
    last_received: Instant,
    origin: Instant,
}

/// Both ends of a corked socket, of which `first` has been read already. With `preface`, so many octets come in before
/// the first frame; or go out, where we are the client. A client's overhead is limited; an endpoint's is not.
pub(crate) fn cork(stream: Stream, first: BytesMut, preface: usize, is_client: bool) -> (Cork, Drain) {
    let (skip_in, skip_out) = if is_client { (0, preface) } else { (preface, 0) };
    let now = Instant::now();
    let corked = Corked {
        stream,
        first,
        out: BytesMut::new(),
        incoming: if is_client { Walker::new(skip_in) } else { Walker::of_client(skip_in) },
        outgoing: Walker::new(skip_out),
        overhead: (!is_client).then(|| Budget::new(OVERHEAD, OVERHEAD_PER_SECOND, Mono::ZERO)),
        is_flooded: false,
        last_received: now,
        origin: now,
    };
    let shared = Arc::new(AtomicRefCell::new(corked));
    (Cork { shared: Arc::clone(&shared) }, Drain { shared, has_yielded: false })
}

impl Drain {
    /// Sends what was collected; ready when nothing is left. The first call after something was collected yields, so
    /// that other ready streams can add to it.
    pub(crate) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut corked = self.shared.borrow_mut();
        if corked.out.is_empty() {
            return Poll::Ready(Ok(()));
        }
        if !std::mem::replace(&mut self.has_yielded, true) {
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        ready!(corked.poll_write_out(cx, &[]))?;
        self.has_yielded = false;
        // Behind TLS, what was taken may not have left.
        ready!(Pin::new(&mut corked.stream).poll_flush(cx))?;
        Poll::Ready(Ok(()))
    }

    /// When anything last came.
    pub(crate) fn last_received(&self) -> Instant {
        self.shared.borrow_mut().last_received
    }

    /// The highest stream that the other side's GOAWAY says may have been acted upon; `None` before one.
    pub(crate) fn go_away(&self) -> Option<u32> {
        self.shared.borrow_mut().incoming.go_away()
    }

    /// Whether the trailers of this stream, all of which were read, were malformed. Says so once.
    pub(crate) fn take_malformed(&self, stream: u32) -> bool {
        self.shared.borrow_mut().incoming.take_malformed_trailers(stream)
    }

    /// Whether the head of this stream had a pseudo-header field that is refused: see [`Walker::take_malformed_head`].
    pub(crate) fn take_refused(&self, stream: u32) -> bool {
        self.shared.borrow_mut().incoming.take_malformed_head(stream)
    }

    /// Another handle to the same connection, for a task that does not drive it.
    pub(crate) fn watch(&self) -> Self {
        Self { shared: Arc::clone(&self.shared), has_yielded: false }
    }

    /// Whether the peer has exceeded the budget for useless frames.
    pub(crate) fn is_flooded(&self) -> bool {
        self.shared.borrow_mut().is_flooded
    }
}

impl Corked {
    /// Writes what was collected, and what of `more` the socket takes at the same time; ready with how much of that
    /// once the former is gone.
    fn poll_write_out(&mut self, cx: &mut Context<'_>, more: &[IoSlice<'_>]) -> Poll<io::Result<usize>> {
        loop {
            if self.out.is_empty() && !more.is_empty() {
                return Pin::new(&mut self.stream).poll_write_vectored(cx, more);
            }
            let mut slices = [IoSlice::new(&[]); 4];
            let all = std::iter::once(IoSlice::new(&self.out)).chain(more.iter().copied());
            let used = slices.iter_mut().zip(all).map(|(slot, slice)| *slot = slice).count();
            let slices = slices.get(..used).unwrap_or_default();
            let written = ready!(Pin::new(&mut self.stream).poll_write_vectored(cx, slices))?;
            if written == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            let of_out = written.min(self.out.len());
            let is_small = self.out.capacity() <= KEEP_AT_MOST;
            self.out.advance(of_out);
            if self.out.is_empty() {
                // An idle connection keeps no buffer.
                let out = std::mem::take(&mut self.out);
                if is_small {
                    buffers::give(out);
                }
                return Poll::Ready(Ok(written - of_out));
            }
        }
    }

    fn on_read(&mut self, bytes: &[u8]) {
        let now = Instant::now();
        self.last_received = now;
        let Some(budget) = &mut self.overhead else { return self.incoming.walk(bytes, |_| {}) };
        let (mut overhead, mut useful) = (0, 0);
        self.incoming.walk(bytes, |head: FrameHead| {
            let count = if head.is_overhead() { &mut overhead } else { &mut useful };
            *count += 1;
        });
        budget.earn(useful * EARNED_BY_FRAME);
        if overhead > 0
            && !budget.spend(overhead, Mono::ZERO.saturating_add(now.saturating_duration_since(self.origin)))
        {
            self.is_flooded = true;
        }
    }

    fn on_write(&mut self, bytes: &[u8]) {
        let Some(budget) = &mut self.overhead else { return };
        let mut useful = 0;
        self.outgoing.walk(bytes, |head| useful += u32::from(!head.is_overhead()));
        budget.earn(useful * EARNED_BY_FRAME);
    }
}

impl AsyncRead for Cork {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let mut corked = self.shared.borrow_mut();
        if corked.is_flooded {
            // Return to the driver, which ends the connection.
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        let before = buf.filled().len();
        if corked.first.is_empty() {
            ready!(Pin::new(&mut corked.stream).poll_read(cx, buf))?;
        } else {
            let taken = corked.first.len().min(buf.remaining());
            let first = corked.first.split_to(taken);
            buf.put_slice(&first);
            if corked.first.is_empty() {
                corked.first = BytesMut::new();
            }
        }
        corked.on_read(buf.filled().get(before..).unwrap_or_default());
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Cork {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, data: &[u8]) -> Poll<io::Result<usize>> {
        self.poll_write_vectored(cx, &[IoSlice::new(data)])
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let corked = &mut *self.shared.borrow_mut();
        let slices = slices.get(..slices.len().min(3)).unwrap_or_default();
        let wanted: usize = slices.iter().map(|slice| slice.len()).sum();
        let written = if corked.out.len() + wanted <= COLLECT {
            if corked.out.capacity() == 0 {
                corked.out = buffers::take();
            }
            if wanted > corked.out.capacity() - corked.out.len() {
                // Once: growing step by step would copy everything four times.
                corked.out.reserve(COLLECT - corked.out.len());
            }
            slices.iter().for_each(|slice| corked.out.extend_from_slice(slice));
            wanted
        } else {
            match ready!(corked.poll_write_out(cx, slices))? {
                // All that was collected is gone, and nothing of this: there is room now.
                0 if wanted > 0 => {
                    let part = slices.iter().find(|slice| !slice.is_empty()).map_or(&[][..], |slice| slice);
                    let part = part.get(..part.len().min(COLLECT)).unwrap_or_default();
                    corked.out.extend_from_slice(part);
                    part.len()
                }
                written => written,
            }
        };
        let mut left = written;
        for slice in slices {
            let taken = left.min(slice.len());
            corked.on_write(slice.get(..taken).unwrap_or_default());
            left -= taken;
        }
        Poll::Ready(Ok(written))
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    /// Nothing: the driver flushes.
    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let corked = &mut *self.shared.borrow_mut();
        if !corked.out.is_empty() {
            ready!(corked.poll_write_out(cx, &[]))?;
        }
        Pin::new(&mut corked.stream).poll_shutdown(cx)
    }
}
