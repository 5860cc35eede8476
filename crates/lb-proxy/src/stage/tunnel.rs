//! A tunnel: after a 101 both sides speak another protocol, and bytes are carried until both have ended.
//!
//! Each direction ends on its own: when one side has said its last byte, that end is passed on, and the other direction
//! goes on. A tunnel in which nothing moves in either direction for the route's `tunnel` time is closed.

use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Buf, BytesMut};
use lb_core::End;
use tokio::io::AsyncWrite;

use crate::downstream::Downstream;
use crate::net::{Stream, Timer};
use crate::upstream::Connection;

const READ: usize = 16 * 1024;

/// One direction.
#[derive(Default)]
struct Pipe {
    waiting: BytesMut,
    ended: bool,
    closed: bool,
    carried: u64,
}

impl Pipe {
    fn new(waiting: BytesMut, ended: bool) -> Self {
        Self { waiting, ended, ..Self::default() }
    }

    /// Carries what there is. Ready once the end was passed on.
    fn poll(&mut self, cx: &mut Context<'_>, from: &mut Stream, to: &mut Stream) -> Poll<io::Result<()>> {
        while !self.closed {
            while !self.waiting.is_empty() {
                let n = ready!(Pin::new(&mut *to).poll_write(cx, &self.waiting))?;
                if n == 0 {
                    return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
                }
                self.carried += n as u64;
                self.waiting.advance(n);
            }
            if self.ended {
                ready!(Pin::new(&mut *to).poll_shutdown(cx))?;
                self.closed = true;
                break;
            }
            // Behind TLS what was accepted may still wait. It leaves whether or not more comes.
            let _ = Pin::new(&mut *to).poll_flush(cx)?;
            if from.poll_readable(cx)?.is_pending() {
                // An idle tunnel holds no buffer.
                self.waiting = BytesMut::new();
                return Poll::Pending;
            }
            self.waiting.reserve(READ);
            self.ended = ready!(from.poll_read_into(cx, &mut self.waiting))? == 0;
        }
        Poll::Ready(Ok(()))
    }
}

/// What a tunnel carried, and how it ended.
pub(crate) struct Carried {
    pub(crate) from_client: u64,
    pub(crate) to_client: u64,
    pub(crate) end: End,
    pub(crate) idle: bool,
}

/// Carries bytes both ways until both sides have ended, one breaks, or nothing moved for `idle`.
pub(crate) async fn carry(
    downstream: &Downstream,
    mut upstream: Connection,
    timer: &mut Timer,
    idle: Duration,
) -> Carried {
    let (head_bytes, written) = {
        let mut io = downstream.lock();
        (io.out.front().len() as u64, io.out.written)
    };
    let (mut up, mut down) = {
        let mut io = downstream.lock();
        let ended = io.ended;
        // The 101 goes first, then what the endpoint sent behind it.
        let mut first = std::mem::take(io.out.front());
        first.extend_from_slice(&std::mem::take(&mut upstream.read));
        (Pipe::new(std::mem::take(&mut io.read), ended), Pipe::new(first, false))
    };
    timer.clear();
    let (end, timed_out) = poll_fn(|cx| {
        let before = up.carried + down.carried;
        let (sent, received) = {
            let client = &mut downstream.lock().stream;
            (up.poll(cx, client, &mut upstream.stream), down.poll(cx, &mut upstream.stream, client))
        };
        match (sent, received) {
            (Poll::Ready(Ok(())), Poll::Ready(Ok(()))) => return Poll::Ready((End::Completed, false)),
            // A write fails for the side written to, but which call failed does not tell which side broke.
            (Poll::Ready(Err(_)), _) | (_, Poll::Ready(Err(_))) => return Poll::Ready((End::Completed, false)),
            _ => {}
        }
        if up.carried + down.carried != before {
            timer.clear();
            // For the log, should the tunnel be cut.
            let mut io = downstream.lock();
            io.intake.received = up.carried;
            io.out.written = written + down.carried.saturating_sub(head_bytes);
        }
        timer.poll_after(cx, idle).map(|()| (End::Completed, true))
    })
    .await;
    Carried { from_client: up.carried, to_client: down.carried.saturating_sub(head_bytes), end, idle: timed_out }
}
