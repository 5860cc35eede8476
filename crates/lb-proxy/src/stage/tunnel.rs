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
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Buf, BytesMut};
use h2::{RecvStream, SendStream};
use lb_core::End;
use tokio::io::AsyncWrite;

use crate::downstream::Client;
use crate::net::queue::{Piece, Queue};
use crate::net::{Stream, Timer};
use crate::upstream::h1::upload::Upload;
use crate::upstream::{Connection, Lease};

const READ: usize = 16 * 1024;

/// The endpoint's end of a tunnel.
pub(crate) enum Tunnel {
    Connection(Box<ConnectionTunnel>),
    Stream(Box<StreamTunnel>),
}

/// A connection whose endpoint has agreed to another protocol.
pub(crate) struct ConnectionTunnel {
    pub(crate) connection: Box<Connection>,
    /// What is left of the request that asked for it. Until all of that was sent, the client cannot speak the other
    /// protocol (RFC 9110 §7.8), while the endpoint may already.
    pub(crate) upload: Option<Upload>,
}

/// A stream that an endpoint has opened for another protocol.
pub(crate) struct StreamTunnel {
    pub(crate) send: SendStream<Piece>,
    pub(crate) queue: Arc<Queue>,
    pub(crate) receive: RecvStream,
    pub(crate) taken: usize,
    /// Its place on the connection.
    pub(crate) _lease: Lease,
}

impl Tunnel {
    /// What was read behind the 101.
    fn take_read(&mut self) -> BytesMut {
        match self {
            Self::Connection(tunnel) => std::mem::take(&mut tunnel.connection.read),
            Self::Stream(_) => BytesMut::new(),
        }
    }

    /// Sends what is left of the request. Ready once there is nothing left: whether it all went.
    fn poll_request(&mut self, cx: &mut Context<'_>) -> Poll<bool> {
        let Self::Connection(tunnel) = self else { return Poll::Ready(true) };
        let Some(upload) = &mut tunnel.upload else { return Poll::Ready(true) };
        let went = ready!(upload.poll(cx, &mut tunnel.connection.stream)).is_ok();
        tunnel.upload = None;
        Poll::Ready(went)
    }

    /// How much of the request was received and sent, while it is being sent.
    fn request_progress(&self) -> u64 {
        match self {
            Self::Connection(tunnel) => tunnel.upload.as_ref().map_or(0, |upload| {
                let (sent, received) = upload.progress();
                sent + received
            }),
            Self::Stream(_) => 0,
        }
    }
}

/// One side of a tunnel, as the other one sees it.
trait Side {
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

/// Both ways of a stream of HTTP/2.
pub(crate) struct Ways<'a> {
    pub(crate) send: &'a mut SendStream<Piece>,
    pub(crate) receive: &'a mut RecvStream,
    /// Taken out of `receive`, and not yet passed on.
    pub(crate) taken: &'a mut usize,
    pub(crate) queue: &'a Arc<Queue>,
}

impl Side for Ways<'_> {
    fn poll_read(&mut self, cx: &mut Context<'_>, into: &mut BytesMut) -> Poll<io::Result<usize>> {
        // Whoever reads on has passed on what was read before. Fails for a stream that has ended, whose window is of no
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

impl Tunnel {
    fn side<T>(&mut self, with: impl FnOnce(&mut dyn Side) -> T) -> T {
        match self {
            Self::Connection(tunnel) => with(&mut tunnel.connection.stream),
            Self::Stream(stream) => {
                let StreamTunnel { send, queue, receive, taken, .. } = &mut **stream;
                with(&mut Ways { send, receive, taken, queue })
            }
        }
    }
}

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
    let mut first = upstream.take_read();
    let (head_bytes, written) = match client {
        Client::Http1(downstream) => {
            let mut io = downstream.lock();
            // The 101 goes first, then what the endpoint sent behind it.
            let mut head = std::mem::take(io.out.front());
            let head_bytes = head.len() as u64;
            head.extend_from_slice(&first);
            first = head;
            (head_bytes, io.out.written)
        }
        Client::Http2(_) => (0, 0),
    };
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
            pipes.up = match client {
                Client::Http1(downstream) => {
                    let mut io = downstream.lock();
                    Pipe::begin(std::mem::take(&mut io.read), io.ended)
                }
                Client::Http2(_) => Pipe::begin(BytesMut::new(), false),
            };
        }
        let polled = upstream.side(|endpoint| match client {
            Client::Http1(downstream) => pipes.poll(cx, &mut downstream.lock().stream, endpoint),
            Client::Http2(stream) => match stream.lock().ways() {
                Some(mut ways) => pipes.poll(cx, &mut ways, endpoint),
                None => Poll::Ready(false),
            },
        });
        if let Poll::Ready(is_whole) = polled {
            return Poll::Ready((is_whole, false));
        }
        if (pipes.carried(), upstream.request_progress()) != before {
            timer.clear();
            // For the log, should the tunnel be cut. Until it begins, the body is counted where it is received.
            let down = pipes.down.carried.saturating_sub(head_bytes);
            let up = if pipes.up.begun { body + pipes.up.carried } else { client.received() };
            match client {
                Client::Http1(downstream) => {
                    let mut io = downstream.lock();
                    (io.intake.received, io.out.written) = (up, written + down);
                }
                Client::Http2(stream) => stream.lock().on_carried(up, down),
            }
        }
        timer.poll_after(cx, idle).map(|()| (false, true))
    })
    .await;
    let to_client = pipes.down.carried.saturating_sub(head_bytes);
    let from_client = if pipes.up.begun { body + pipes.up.carried } else { client.received() };
    Carried { from_client, to_client, end: End::Completed, idle, is_whole }
}
