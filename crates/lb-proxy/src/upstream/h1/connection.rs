//! One connection to an endpoint.

use std::io;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::BytesMut;
use lb_core::Mono;

use crate::net::buffers::ReadSize;
use crate::net::{Stream, Timer};
use crate::tls::UpstreamTls;
use crate::upstream::room::Place;
use crate::wire::h1::ResponseParser;

/// An established connection and what has been read from it but not used.
///
/// Dropped with a request on it, or when it is one too many, it is reset: the side that closes first in order has its port taken for
/// a minute (TIME_WAIT), and what a reset loses is read by nothing. An idle one, or one that the endpoint closed, closes in order.
pub(crate) struct Connection {
    pub(crate) stream: Stream,
    pub(crate) read: BytesMut,
    pub(crate) timer: Timer,
    pub(crate) parser: ResponseParser,
    read_size: ReadSize,
    /// The settings that it was made with.
    tls: Option<Arc<UpstreamTls>>,
    created_at: Mono,
    idle_since: Mono,
    /// Requests sent on it, the current one included.
    requests: u64,
    /// It was idle before the current request, so that the endpoint may have closed it meanwhile.
    was_idle: bool,
    /// Dropped now, it closes in order.
    pub(crate) closes_in_order: bool,
    /// It began with a PROXY header, and belongs to the client that the header named.
    pub(in crate::upstream) sent_proxy_header: bool,
    /// It carries no further request.
    is_last_request: bool,
    /// The endpoint may have tied a login to it: it belongs to the client that sent its requests.
    pub(crate) is_bound: bool,
    /// How long the endpoint keeps an idle connection by its own account, less a second.
    advertised_timeout: Option<Duration>,
    _place: Place,
}

impl Connection {
    pub(in crate::upstream) fn new(stream: Stream, place: Place, tls: Option<Arc<UpstreamTls>>, now: Mono) -> Self {
        Self {
            stream,
            read: BytesMut::new(),
            timer: Timer::new(),
            parser: ResponseParser::new(),
            read_size: ReadSize::new(),
            tls,
            created_at: now,
            idle_since: now,
            requests: 0,
            was_idle: false,
            closes_in_order: false,
            sent_proxy_header: false,
            is_last_request: false,
            is_bound: false,
            advertised_timeout: None,
            _place: place,
        }
    }

    /// Whether these are the settings that it was made with.
    pub(in crate::upstream) fn is_made_with(&self, tls: Option<&Arc<UpstreamTls>>) -> bool {
        match (&self.tls, tls) {
            (None, None) => true,
            (Some(mine), Some(theirs)) => Arc::ptr_eq(mine, theirs),
            _ => false,
        }
    }

    /// A request begins.
    pub(crate) fn begin(&mut self) {
        self.requests += 1;
        self.closes_in_order = false;
        self.timer.clear();
    }

    /// Whether it was idle before this request, so that the endpoint may have closed it meanwhile.
    pub(super) fn is_reused(&self) -> bool {
        self.was_idle
    }

    /// Takes note of `Keep-Alive: timeout=N`. A second less: the request must arrive before the endpoint's timer.
    pub(super) fn set_advertised_timeout(&mut self, timeout: Duration) {
        self.advertised_timeout = Some(timeout.saturating_sub(Duration::from_secs(1)));
    }

    /// This request is its last.
    pub(super) fn close_after_response(&mut self) {
        self.is_last_request = true;
    }

    /// Reads once, no more than about `max` bytes; `Ok(0)` is the end of the stream.
    pub(super) fn poll_fill(&mut self, cx: &mut Context<'_>, max: usize) -> Poll<io::Result<usize>> {
        if self.stream.poll_readable(cx)?.is_pending() {
            if self.read.is_empty() {
                self.read_size.release(&mut self.read);
            }
            return Poll::Pending;
        }
        let read_size = self.read_size.at_most(max);
        let room = read_size.make_room(&mut self.read);
        let polled = self.stream.poll_read_into(cx, &mut self.read);
        if let Poll::Ready(Ok(n)) = polled {
            self.read_size.on_read(n, room);
            if max < usize::MAX {
                // What was read may wait for long, and is counted by its length.
                read_size.fit(&mut self.read);
            }
            self.closes_in_order |= n == 0;
        }
        polled
    }

    /// Whether the next request would begin where the last response ended.
    pub(in crate::upstream) fn is_between_requests(&self) -> bool {
        !self.is_last_request && self.read.is_empty()
    }

    /// Whether it may be kept for another request.
    pub(in crate::upstream) fn can_idle(&self, limits: &lb_config::KeepAlive, now: Mono) -> bool {
        self.is_between_requests()
            && self.requests < limits.requests.get()
            && now.saturating_since(self.created_at) < limits.age
    }

    /// Whether it has been idle for less than this, and less than the endpoint advertised.
    pub(in crate::upstream) fn is_idle_within(&self, max: Duration, now: Mono) -> bool {
        let keep_for = self.advertised_timeout.map_or(max, |advertised| advertised.min(max));
        now.saturating_since(self.idle_since) < keep_for
    }

    /// Since when it has been idle.
    pub(in crate::upstream) fn idle_since(&self) -> Mono {
        self.idle_since
    }

    pub(in crate::upstream) fn on_idle(&mut self, now: Mono) {
        self.was_idle = true;
        // A connection that has carried no request loses nothing by a reset.
        self.closes_in_order = self.requests > 0;
        self.idle_since = now;
        self.read_size.release(&mut self.read);
        self.timer.clear();
    }

    /// Whether an idle connection may still be used. Readable means that it was closed, or that the endpoint sent what was not asked for.
    pub(in crate::upstream) fn is_fresh(&self, limits: &lb_config::KeepAlive, now: Mono) -> bool {
        self.is_idle_within(limits.timeout, now)
            && now.saturating_since(self.created_at) < limits.age
            && !self.stream.is_readable()
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        if self.closes_in_order {
            self.stream.close_in_order();
        }
    }
}
