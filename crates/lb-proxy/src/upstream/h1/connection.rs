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
/// Dropped with a request on it, or when it is one too many, it is reset: whoever closes first in order has its port taken for
/// a minute (TIME_WAIT), and nobody reads what would be lost. One that rests, or that the endpoint closed, closes in order.
pub(crate) struct Connection {
    pub(crate) stream: Stream,
    pub(crate) read: BytesMut,
    pub(crate) timer: Timer,
    pub(crate) parser: ResponseParser,
    read_size: ReadSize,
    /// What it was made with.
    tls: Option<Arc<UpstreamTls>>,
    born: Mono,
    idle_since: Mono,
    /// Requests sent on it, the current one included.
    requests: u64,
    /// Interim responses to the current request.
    pub(crate) interim: u32,
    /// It has rested, so that the endpoint may have closed it meanwhile.
    has_rested: bool,
    /// What is dropped now closes in order.
    pub(crate) closes_in_order: bool,
    /// It began with a PROXY header, and belongs to the client that this named.
    pub(in crate::upstream) is_introduced: bool,
    /// It carries no further request.
    is_last_request: bool,
    /// The endpoint may have tied a login to it: it belongs to the client that sent its requests.
    pub(crate) is_bound: bool,
    /// How long the endpoint said it keeps an idle connection, less a second.
    advertised: Option<Duration>,
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
            born: now,
            idle_since: now,
            requests: 0,
            interim: 0,
            has_rested: false,
            closes_in_order: false,
            is_introduced: false,
            is_last_request: false,
            is_bound: false,
            advertised: None,
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

    /// Counts a request and forgets the waits of the one before.
    pub(crate) fn begin(&mut self) {
        self.requests += 1;
        self.interim = 0;
        self.closes_in_order = false;
        self.timer.clear();
    }

    /// Whether it was kept for this request, so that the endpoint may have closed it meanwhile.
    pub(crate) fn is_reused(&self) -> bool {
        self.has_rested
    }

    /// Takes note of `Keep-Alive: timeout=N`. A second less: the request must arrive before the endpoint's timer.
    pub(crate) fn advertise(&mut self, told: Duration) {
        self.advertised = Some(told.saturating_sub(Duration::from_secs(1)));
    }

    /// This request is its last.
    pub(super) fn close_after_response(&mut self) {
        self.is_last_request = true;
    }

    /// Reads once, no more than about `most`; `Ok(0)` is the end of the stream.
    pub(crate) fn poll_fill(&mut self, cx: &mut Context<'_>, most: usize) -> Poll<io::Result<usize>> {
        if self.stream.poll_readable(cx)?.is_pending() {
            if self.read.is_empty() {
                self.read_size.release(&mut self.read);
            }
            return Poll::Pending;
        }
        let read_size = self.read_size.at_most(most);
        let room = read_size.make_room(&mut self.read);
        let polled = self.stream.poll_read_into(cx, &mut self.read);
        if let Poll::Ready(Ok(n)) = polled {
            self.read_size.on_read(n, room);
            if most < usize::MAX {
                // What is read may wait for long, and is counted by its length.
                read_size.fit(&mut self.read);
            }
            self.closes_in_order |= n == 0;
        }
        polled
    }

    /// Whether the next request would begin where the last response ended.
    pub(in crate::upstream) fn is_at_rest(&self) -> bool {
        !self.is_last_request && self.read.is_empty()
    }

    /// Whether it may carry another request after this one.
    pub(in crate::upstream) fn may_rest(&self, limits: &lb_config::KeepAlive, now: Mono) -> bool {
        self.is_at_rest() && self.requests < limits.requests.get() && now.saturating_since(self.born) < limits.age
    }

    /// Whether it has rested for less than this, and than the endpoint said.
    pub(in crate::upstream) fn rests_within(&self, longest: Duration, now: Mono) -> bool {
        let keep_for = self.advertised.map_or(longest, |told| told.min(longest));
        now.saturating_since(self.idle_since) < keep_for
    }

    /// Since when it rests.
    pub(in crate::upstream) fn idle_since(&self) -> Mono {
        self.idle_since
    }

    pub(in crate::upstream) fn rest(&mut self, now: Mono) {
        self.has_rested = true;
        // One that was made for a request which went away has nothing to put in order.
        self.closes_in_order = self.requests > 0;
        self.idle_since = now;
        self.read_size.release(&mut self.read);
        self.timer.clear();
    }

    /// Whether a resting connection may still be used. Readable means closed, or speaking out of turn; either way done.
    pub(in crate::upstream) fn is_fresh(&self, limits: &lb_config::KeepAlive, now: Mono) -> bool {
        self.rests_within(limits.timeout, now)
            && now.saturating_since(self.born) < limits.age
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
