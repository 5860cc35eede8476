//! Http2: a client connection on which many requests run at once.
//!
//! ```text
//!             ┌─▶ stream ─▶ (a task of its own: exchange, reply)
//!  connection ┼─▶ stream ─▶ …
//!             └─▶ idle for too long, shutting down, abusive, or gone: closed
//! ```
//!
//! The connection's own task reads frames, deals out streams and writes what they queue. It ends when the client closes
//! it, when nothing has run for the idle time, or when the client asks for more work than requests are: see [`Cork`]
//! and [`Shared::on_end`]. A shutdown tells the client to open no more streams, and waits for those that run.
//!
//! Windows: a stream may be 256 KiB ahead of the endpoint that takes its body, which is 20 Mbit/s over 100 ms, and a
//! connection 1 MiB in all. What else a client can make us hold, heads, bodies kept for another attempt and answers that it
//! does not read, is bounded over all its streams by the connection's [`Account`].
//!
//! [`Cork`]: crate::net::cork

use std::future::poll_fn;
use std::net::SocketAddr;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::BytesMut;
use futures_util::FutureExt;
use h2::Reason;
use h2::server::{Connection, SendResponse};
use lb_config::Limits;

use super::shared::{Running, Shared};
use super::stream;
use crate::downstream::ClientConnection;
use crate::net::account::Account;
use crate::net::clock::Turn;
use crate::net::cork::{self, Cork, Drain};
use crate::net::queue::{self, Piece};
use crate::net::{Stream, Timer};
use crate::observe::app_log;
use crate::runtime::snapshot::ListenerRuntime;
use crate::wire::h2::PREFACE;
use crate::worker::shutdown::Shutdown;
use crate::worker::state::{Stacks, Worker};

/// Streams of one connection at a time. As nginx; browsers use a few dozen, and RFC 9113 asks for no less than 100.
const STREAMS: u32 = 128;
const STREAM_WINDOW: u32 = 256 * 1024;
const CONNECTION_WINDOW: u32 = 1024 * 1024;
/// Streams that the client reset before we had so much as looked at them.
const RESET_UNSEEN: usize = 64;
/// Streams that we had to reset because the client broke the protocol on them.
const RESET_ERRORS: usize = 256;

/// How long a client may take to read why its connection ends.
const GOAWAY_TIMEOUT: Duration = Duration::from_secs(1);

/// A connection that has just begun.
pub(crate) struct Start {
    pub(crate) stream: Stream,
    /// Read already: the preface, or the beginning of it.
    pub(crate) read: BytesMut,
    pub(crate) connection: Arc<ClientConnection>,
    pub(crate) stacks: Arc<Stacks>,
    pub(crate) listener: usize,
    pub(crate) worker: Arc<Worker>,
    pub(crate) stop: Shutdown,
}

/// Serves a connection to its end.
pub(crate) async fn serve(start: Start) {
    let Start { stream, read, connection, stacks, listener, worker, stop } = start;
    let limits = stacks.snapshot.shared.config.limits.clone();
    let is_of_many = is_of_many(&stacks.snapshot.shared.listeners[listener], connection.peer);
    let (cork, mut drain) = cork::cork(stream, read, PREFACE.len(), false);
    let account = Account::new(limits.request_head_bytes);
    let shared = Arc::new(Shared::new(worker, connection, account, drain.watch(), is_of_many));
    let streams = match is_of_many {
        true => STREAMS,
        false => streams_for(shared.worker.shared.cancels_left(shared.connection.ip())),
    };
    let mut timer = Timer::new();
    let mut shaking = std::pin::pin!(builder(&limits, streams).handshake::<_, Piece>(cork));
    let begun = poll_fn(|cx| {
        let shaken = shaking.as_mut().poll(cx);
        // A connection that breaks here is nobody's loss, and the library will see it.
        let _ = drain.poll(cx);
        match shaken {
            Poll::Ready(result) => Poll::Ready(result.ok()),
            Poll::Pending => timer.poll_after(cx, limits.head_timeout).map(|()| None),
        }
    });
    let Some(connection) = begun.await else { return };
    let mut driver =
        Driver { connection, drain, timer, shared, stacks, listener, limits, is_first: true, is_leaving: false };
    let mut stopping = std::pin::pin!(stop.triggered());
    let end = poll_fn(|cx| {
        if !driver.is_leaving && stopping.as_mut().poll(cx).is_ready() {
            driver.leave();
        }
        driver.poll(cx)
    })
    .await;
    driver.end(end).await;
}

/// Whether a connection carries requests of many clients.
fn is_of_many(listener: &ListenerRuntime, peer: Option<SocketAddr>) -> bool {
    peer.is_none_or(|peer| listener.trusted.contains(peer.ip().to_canonical()))
}

/// Streams of a connection at a time, for a client that may give up so many requests. All that are open may be given up
/// at once, before that can be seen; one that has spent its allowance goes on with a request at a time.
fn streams_for(cancels_left: u64) -> u32 {
    u32::try_from(cancels_left).unwrap_or(STREAMS).clamp(1, STREAMS)
}

fn builder(limits: &Limits, streams: u32) -> h2::server::Builder {
    // The library counts 32 octets more for each header than we do, and answers what is beyond without a word to us:
    // what is just beyond our limit is to be ours to refuse and to log.
    let head = 2 * limits.request_head_bytes + 32 * limits.headers;
    let mut builder = h2::server::Builder::new();
    builder
        .max_concurrent_streams(streams)
        .enable_connect_protocol()
        .initial_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_header_list_size(u32::try_from(head).unwrap_or(u32::MAX))
        .max_send_buffer_size(queue::MOST)
        .max_pending_accept_reset_streams(RESET_UNSEEN)
        .max_local_error_reset_streams(Some(RESET_ERRORS));
    builder
}

struct Driver {
    connection: Connection<Cork, Piece>,
    drain: Drain,
    timer: Timer,
    shared: Arc<Shared>,
    /// The last snapshot that knows the listener, and the listener's position in it.
    stacks: Arc<Stacks>,
    listener: usize,
    limits: Limits,
    is_first: bool,
    /// The client was told to open no more streams.
    is_leaving: bool,
}

/// Why a connection is over.
enum Ended {
    /// It was closed in order, or broke.
    Closed,
    /// Nothing ran for too long.
    Idle,
    /// The client did what no client does; what it was.
    Abuse(&'static str),
}

impl Driver {
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Ended> {
        let over = loop {
            match self.connection.poll_accept(cx) {
                Poll::Ready(Some(Ok((request, respond)))) => self.start(request, respond),
                Poll::Ready(Some(Err(error))) => break Some(ended_by(&error)),
                Poll::Ready(None) => break Some(Ended::Closed),
                Poll::Pending => break None,
            }
        };
        if let Some(over) = over {
            return Poll::Ready(over);
        }
        if self.drain.is_flooded() {
            return Poll::Ready(Ended::Abuse("frame_flood"));
        }
        if self.shared.is_abusive() {
            return Poll::Ready(Ended::Abuse("rapid_reset"));
        }
        if let Poll::Ready(Err(_)) = self.drain.poll(cx) {
            return Poll::Ready(Ended::Closed);
        }
        self.poll_idle(cx)
    }

    fn poll_idle(&mut self, cx: &mut Context<'_>) -> Poll<Ended> {
        let is_idle = self.shared.is_idle();
        let limit = match (self.is_leaving, self.is_first) {
            (true, _) => GOAWAY_TIMEOUT,
            (false, true) => self.limits.head_timeout,
            (false, false) => self.limits.idle_timeout,
        };
        loop {
            if !is_idle {
                self.timer.clear();
            }
            match self.timer.poll_after(cx, limit) {
                Poll::Ready(()) if is_idle => return Poll::Ready(Ended::Idle),
                Poll::Ready(()) => {}
                Poll::Pending => return Poll::Pending,
            }
        }
    }

    fn start(&mut self, request: http::Request<h2::RecvStream>, respond: SendResponse<Piece>) {
        self.is_first = false;
        // Now, and not in the task: until it runs, many more may come.
        self.shared.worker.catch_up(&self.shared.connection.address, &mut self.stacks, &mut self.listener);
        let Some(arrived) = stream::read(&self.shared, &self.stacks, self.listener, request, respond) else { return };
        let running = Running::new(&self.shared);
        // Boxed, since the runtime moves what it is given eight times.
        tokio::spawn(Box::pin(async move {
            let shared = &running.shared;
            let serving = Turn::new(stream::serve(shared, arrived));
            if let Err(panic) = AssertUnwindSafe(serving).catch_unwind().await {
                shared.worker.shared.metrics.on_panic();
                app_log::panicked("stream", shared.connection.peer, &*panic);
            }
        }));
    }

    /// Tells the client to open no more streams. Those that it opened before it heard of that are served.
    fn leave(&mut self) {
        self.is_leaving = true;
        self.timer.clear();
        self.connection.graceful_shutdown();
    }

    /// Says farewell where there is something to say, and closes.
    async fn end(mut self, ended: Ended) {
        match ended {
            Ended::Closed => {}
            Ended::Idle => self.connection.abrupt_shutdown(Reason::NO_ERROR),
            Ended::Abuse(what) => {
                self.connection.abrupt_shutdown(Reason::ENHANCE_YOUR_CALM);
                self.shared.worker.shared.on_abuse(self.shared.connection.ip(), what);
            }
        }
        self.timer.clear();
        let mut is_closed = false;
        poll_fn(|cx| {
            if !is_closed {
                is_closed = self.connection.poll_closed(cx).is_ready();
            }
            match self.drain.poll(cx) {
                Poll::Ready(Ok(())) if is_closed => return Poll::Ready(()),
                Poll::Ready(Err(_)) => return Poll::Ready(()),
                _ => {}
            }
            self.timer.poll_after(cx, GOAWAY_TIMEOUT)
        })
        .await;
    }
}

/// Whether what the library refused was a mistake, or more than that.
fn ended_by(error: &h2::Error) -> Ended {
    if error.is_library() && error.reason() == Some(Reason::ENHANCE_YOUR_CALM) {
        Ended::Abuse("protocol_flood")
    } else {
        Ended::Closed
    }
}
