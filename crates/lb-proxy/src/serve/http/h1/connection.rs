//! Http: a client connection, one request after the other.
//!
//! ```text
//!  head ──▶ exchange ──▶ keep ──▶ head …
//!   │          │  ├────▶ drain: the rest of a request that was answered early is thrown away, then head …
//!   │          │  └────▶ close: the rest of the request is read and thrown away for a while, then the socket closes
//!   │          └───────▶ abort: the socket is reset, so that nobody takes a cut response for a whole one
//!   └── idle for too long, shutting down, or gone: closed
//! ```

use std::future::poll_fn;
use std::task::{Context, Poll};
use std::time::Duration;

use lb_config::Limits;

use super::super::{LINGER, LINGER_BYTES, LINGER_IDLE, h2, walk};
use super::sink::Http1Sink;
use crate::downstream::{Client, Downstream};
use crate::exchange::ConnectionCache;
use crate::message::RequestHead;
use crate::net::{Timer, clock};
use crate::outcome::{After, Unread};
use crate::respond;
use crate::rules::cause::Cause;
use crate::runtime::snapshot::{ListenerRuntime, request_limits};
use crate::serve::Opened;
use crate::wire::h1;
use crate::wire::h2::PREFACE;
use crate::worker::shutdown::ShutdownWatch;
use crate::worker::state::{Stacks, Worker};

/// How long a shutdown waits for the first request of a connection that was just accepted.
const FIRST_REQUEST_GRACE: Duration = Duration::from_secs(1);

/// A client connection.
struct Session {
    downstream: Downstream,
    timer: Timer,
    scanner: h1::RequestParser,
    cache: ConnectionCache,
    /// Ready when the listener or the worker is to end.
    stopping: ShutdownWatch,
    /// The wait for the first request has been cut short, because of `stopping`.
    is_hurried: bool,
}

/// What came of waiting for a request.
enum Next {
    Head(RequestHead),
    /// What came was no request, or came too slowly; why, and more on it for the log.
    Refused(Cause, Option<&'static str>),
    Close,
    /// The client begins to speak HTTP/2.
    Http2,
}

/// Serves a connection to its end, also one that turns out to speak HTTP/2.
pub(in crate::serve) async fn serve(opened: Opened) {
    let Opened { stream, connection, mut stacks, mut listener, worker, shutdown, timer } = opened;
    let mut session = Session {
        downstream: Downstream::new(stream, connection),
        timer,
        scanner: h1::RequestParser::new(),
        cache: ConnectionCache::default(),
        stopping: ShutdownWatch::new(shutdown),
        is_hurried: false,
    };
    let mut is_first = true;
    let speaks_http2 = session.downstream.lock().stream.alpn() == Some(b"h2");
    loop {
        let limits = &stacks.snapshot.shared.config.limits;
        let mut refused = false;
        let after = match poll_fn(|cx| session.poll_next(cx, limits, is_first, speaks_http2)).await {
            Next::Close => return session.part(),
            Next::Http2 => {
                let Session { downstream, stopping, .. } = session;
                let Some((connection, stream, read)) = downstream.into_parts() else { return };
                let stop = stopping.into_shutdown();
                let start = h2::Start { stream, read, connection, stacks, listener, worker, stop };
                return Box::pin(h2::serve(start)).await;
            }
            // The boxes keep what a request needs out of the size of an idle connection.
            Next::Head(head) => {
                worker.catch_up(&session.downstream.connection().address, &mut stacks, &mut listener);
                Box::pin(session.serve(&worker, &stacks, listener, head)).await
            }
            Next::Refused(cause, detail) => {
                refused = true;
                session.refuse(&worker, &stacks.snapshot.shared.listeners[listener], cause, detail)
            }
        };
        match after {
            After::Keep => is_first = false,
            After::Drain if session.drain().await => is_first = false,
            After::Drain => return session.linger().await,
            After::Close if refused || session.has_unread() => return session.linger().await,
            // Whatever the client sent was read, so that the close is an orderly end.
            After::Close => return session.part(),
            After::Abort => return session.downstream.lock().stream.reset_on_close(),
            After::Gone => return,
        }
    }
}

/// Whether this is, or may become, what an HTTP/2 connection begins with.
fn is_preface(read: &[u8]) -> bool {
    // Most methods differ in the first letter.
    let known = read.len().min(PREFACE.len());
    known > 0 && read.get(..known) == PREFACE.get(..known)
}

impl Session {
    /// Serves one request.
    async fn serve(&mut self, worker: &Worker, stacks: &Stacks, listener: usize, head: RequestHead) -> After {
        let client = Client::Http1(self.downstream.clone());
        let prepared = walk::prepare(stacks, client, false, &mut self.cache, listener, head);
        let mut sink = Http1Sink::new(&self.downstream, &self.stopping);
        walk::serve(&mut sink, &mut self.timer, worker, stacks, prepared).await
    }

    /// Answers what was no request.
    fn refuse(&self, worker: &Worker, listener: &ListenerRuntime, cause: Cause, detail: Option<&str>) -> After {
        // Nothing more is read as a request.
        let read = std::mem::take(&mut self.downstream.lock().read);
        let mut sink = Http1Sink::new(&self.downstream, &self.stopping);
        let unread = Unread {
            peer: self.downstream.connection().peer,
            listener,
            cause,
            detail,
            beginning: h1::Beginning::of(&read),
        };
        respond::refuse(&mut sink, worker, &unread);
        After::Close
    }

    fn poll_next(&mut self, cx: &mut Context<'_>, limits: &Limits, is_first: bool, agreed: bool) -> Poll<Next> {
        let is_tls = self.downstream.connection().tls.is_some();
        let io = &mut *self.downstream.lock();
        loop {
            // TLS has agreed on a protocol; without it, who knows that we speak HTTP/2 just begins.
            let is_preface = is_first && !is_tls && is_preface(&io.read);
            if agreed || (is_preface && io.read.len() >= PREFACE.len()) {
                return Poll::Ready(Next::Http2);
            }
            if !io.read.is_empty() && !is_preface {
                match self.scanner.parse(&mut io.read, &request_limits(limits)) {
                    Ok(Some(head)) => {
                        self.timer.clear();
                        return Poll::Ready(Next::Head(head));
                    }
                    Ok(None) => {}
                    Err(error) => {
                        return Poll::Ready(Next::Refused(Cause::of_request(error.cause()), Some(error.name())));
                    }
                }
            }
            let was_empty = io.read.is_empty();
            match io.poll_fill(cx) {
                Poll::Ready(Ok(n)) if n > 0 => {
                    // The handshake's time and the first head's are one.
                    if was_empty && !(is_first && is_tls) {
                        self.timer.clear();
                    }
                    continue;
                }
                Poll::Ready(_) => return Poll::Ready(Next::Close),
                Poll::Pending => {}
            }
            let is_idle = io.read.is_empty();
            let mut limit = if is_idle && !is_first { limits.idle_timeout } else { limits.head_timeout };
            if is_idle && self.stopping.poll(cx).is_ready() {
                if !is_first {
                    return Poll::Ready(Next::Close);
                }
                limit = limit.min(FIRST_REQUEST_GRACE);
                if !std::mem::replace(&mut self.is_hurried, true) {
                    // The longer wait that has begun counts no more.
                    self.timer.clear();
                }
            }
            return self.timer.poll_after(cx, limit).map(|()| match is_idle {
                true => Next::Close,
                false => Next::Refused(Cause::HeadTimeout, None),
            });
        }
    }

    /// Whether the client sent, or is still sending, what nobody has read.
    fn has_unread(&self) -> bool {
        let io = self.downstream.lock();
        !io.read.is_empty() || !io.body.is_complete() || (!io.ended && io.stream.is_readable())
    }

    /// Throws away the rest of a request that was answered early; whether the next may follow. A client was not told
    /// that the connection ends and so may use it again, once it has sent all of this request.
    async fn drain(&mut self) -> bool {
        let until = clock::now() + LINGER;
        let mut left = LINGER_BYTES;
        self.timer.clear();
        let drained = poll_fn(|cx| {
            let io = &mut *self.downstream.lock();
            while !io.has_whole_body() {
                if io.body.failure().is_some() {
                    return Poll::Ready(false);
                }
                match io.poll_fill(cx) {
                    Poll::Ready(Ok(n)) if n > 0 && n as u64 <= left => left -= n as u64,
                    Poll::Ready(_) => return Poll::Ready(false),
                    Poll::Pending => {
                        let late = self.timer.poll_after(cx, LINGER_IDLE).is_ready();
                        let over = late || self.timer.poll_until(cx, until).is_ready();
                        return if over { Poll::Ready(false) } else { Poll::Pending };
                    }
                }
                self.timer.clear();
            }
            Poll::Ready(true)
        })
        .await;
        self.timer.clear();
        drained
    }

    /// Closes in good order.
    fn part(self) {
        self.downstream.lock().stream.notify_close();
    }

    /// Lets the client read our answer before the connection closes.
    async fn linger(mut self) {
        let until = clock::now() + LINGER;
        let mut left = LINGER_BYTES;
        self.timer.clear();
        poll_fn(|cx| {
            let io = &mut *self.downstream.lock();
            if io.poll_flush(cx)?.is_pending() || io.poll_shutdown(cx)?.is_pending() {
                return self.timer.poll_after(cx, LINGER_IDLE).map(Ok);
            }
            loop {
                io.read.clear();
                match io.poll_fill(cx)? {
                    Poll::Ready(0) => return Poll::Ready(Ok(())),
                    Poll::Ready(n) if n as u64 > left => return Poll::Ready(Ok(())),
                    Poll::Ready(n) => {
                        left -= n as u64;
                        self.timer.clear();
                    }
                    Poll::Pending => break,
                }
            }
            if self.timer.poll_after(cx, LINGER_IDLE).is_ready() {
                return Poll::Ready(Ok::<(), std::io::Error>(()));
            }
            self.timer.poll_until(cx, until).map(Ok)
        })
        .await
        // An error means that the client is gone, which is what was being waited for.
        .unwrap_or_default();
    }
}
