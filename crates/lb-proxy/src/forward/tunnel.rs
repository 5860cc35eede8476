//! A tunnel: after a 101 both sides speak another protocol, and bytes are carried until both have ended.
//!
//! Each direction ends on its own: when one side has said its last byte, that end is passed on, and the other direction
//! goes on. A tunnel in which nothing moves in either direction for the route's `tunnel` time is closed.
//!
//! A request that has a body ends first: what the client sends behind it is the tunnel's, and what the endpoint sends
//! meanwhile is passed on.
//!
//! Either side is a connection, or a stream of HTTP/2 (RFC 8441), whose windows then say how much is carried at a time.

use std::future::poll_fn;
use std::io;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::BytesMut;
use lb_core::End;

use crate::downstream::Client;
use crate::net::Timer;
use crate::net::side::Side;
use crate::upstream::Tunnel;

/// One direction.
#[derive(Default)]
struct Pipe {
    /// What came before is through.
    begun: bool,
    waiting: BytesMut,
    ended: bool,
    closed: bool,
    carried: u64,
}

impl Pipe {
    fn begin(waiting: BytesMut, ended: bool) -> Self {
        Self { begun: true, waiting, ended, ..Self::default() }
    }

    /// Carries what there is. Ready once the end was passed on.
    fn poll(&mut self, cx: &mut Context<'_>, from: &mut dyn Side, to: &mut dyn Side) -> Poll<io::Result<()>> {
        if !self.begun {
            return Poll::Pending;
        }
        while !self.closed {
            while !self.waiting.is_empty() {
                let n = ready!(to.poll_write(cx, &mut self.waiting))?;
                if n == 0 {
                    return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
                }
                self.carried += n as u64;
            }
            if self.ended {
                ready!(to.poll_end(cx))?;
                self.closed = true;
                break;
            }
            // Behind TLS what was accepted may still wait. It leaves whether or not more comes.
            let _ = to.poll_flush(cx)?;
            self.ended = ready!(from.poll_read(cx, &mut self.waiting))? == 0;
        }
        Poll::Ready(Ok(()))
    }
}

/// Both directions.
struct Pipes {
    up: Pipe,
    down: Pipe,
}

impl Pipes {
    /// Carries what there is. Ready when there is no more to carry: whether both ends were passed on.
    fn poll(&mut self, cx: &mut Context<'_>, client: &mut dyn Side, endpoint: &mut dyn Side) -> Poll<bool> {
        let sent = self.up.poll(cx, client, endpoint);
        let received = self.down.poll(cx, endpoint, client);
        match (sent, received) {
            (Poll::Ready(Ok(())), Poll::Ready(Ok(()))) => Poll::Ready(true),
            // A write fails for the side written to, but which call failed does not tell which side broke.
            (Poll::Ready(Err(_)), _) | (_, Poll::Ready(Err(_))) => Poll::Ready(false),
            _ if client.poll_broken(cx).is_ready() || endpoint.poll_broken(cx).is_ready() => Poll::Ready(false),
            _ => Poll::Pending,
        }
    }

    fn carried(&self) -> u64 {
        self.up.carried + self.down.carried
    }
}

/// What a tunnel carried, and how it ended.
pub(crate) struct Carried {
    pub(crate) from_client: u64,
    pub(crate) to_client: u64,
    pub(crate) end: End,
    pub(crate) idle: bool,
    /// Both ends were passed on.
    pub(crate) is_whole: bool,
}

/// Carries bytes both ways until both sides have ended, one breaks, or nothing moved for `idle`.
pub(crate) async fn carry(client: &Client, mut upstream: Tunnel, timer: &mut Timer, idle: Duration) -> Carried {
    // The head that accepts the tunnel goes first, then what the endpoint sent behind it.
    let (mut first, written) = client.take_unwritten();
    let head_bytes = first.len() as u64;
    let behind = upstream.take_read();
    if first.is_empty() {
        first = behind;
    } else {
        first.extend_from_slice(&behind);
    }
    let mut pipes = Pipes { up: Pipe::default(), down: Pipe::begin(first, false) };
    // Bytes of the request's body, which were the client's as well.
    let mut body = 0;
    timer.clear();
    let (is_whole, idle) = poll_fn(|cx| {
        let before = (pipes.carried(), upstream.request_progress());
        if !pipes.up.begun
            && let Poll::Ready(went) = upstream.poll_request(cx)
        {
            body = client.received();
            if !went {
                return Poll::Ready((false, false));
            }
            let (read, ended) = client.take_read();
            pipes.up = Pipe::begin(read, ended);
        }
        let polled = upstream.side(|endpoint| client.with_side(|side| pipes.poll(cx, side, endpoint)));
        if let Poll::Ready(is_whole) = polled.unwrap_or(Poll::Ready(false)) {
            return Poll::Ready((is_whole, false));
        }
        if (pipes.carried(), upstream.request_progress()) != before {
            timer.clear();
            // For the log, should the tunnel be cut. Until it begins, the body is counted where it is received.
            let down = pipes.down.carried.saturating_sub(head_bytes);
            let up = if pipes.up.begun { body + pipes.up.carried } else { client.received() };
            client.on_carried(up, written + down);
        }
        timer.poll_after(cx, idle).map(|()| (false, true))
    })
    .await;
    let to_client = pipes.down.carried.saturating_sub(head_bytes);
    let from_client = if pipes.up.begun { body + pipes.up.carried } else { client.received() };
    Carried { from_client, to_client, end: End::Completed, idle, is_whole }
}
