//! The connections of one worker to one endpoint of HTTP/2, and places on them.

use std::io;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use h2::client::SendRequest;
use lb_config::KeepAlive;
use tokio::sync::watch;
use tokio::time::Instant;

use crate::net::clock;
use crate::net::cork::Drain;
use crate::net::queue::Piece;
use crate::tls::UpstreamTls;

/// The connections of one worker to one endpoint.
#[derive(Default)]
pub(in crate::upstream) struct Http2Connections {
    pub(super) connections: Vec<Arc<Http2Connection>>,
    pub(super) connecting: Option<Connecting>,
}

pub(super) type Connecting = watch::Receiver<Option<Result<Arc<Http2Connection>, Failure>>>;

/// Why a connection could not be made.
#[derive(Clone, Debug)]
pub(crate) struct Failure(Arc<io::Error>);

impl Failure {
    pub(super) fn new(error: io::Error) -> Self {
        Self(Arc::new(error))
    }

    pub(crate) fn error(&self) -> &io::Error {
        &self.0
    }
}

/// A connection that carries many requests.
pub(crate) struct Http2Connection {
    pub(super) send: Mutex<SendRequest<Piece>>,
    pub(super) watch: Mutex<Drain>,
    pub(super) tls: Option<Arc<UpstreamTls>>,
    pub(super) created_at: Instant,
    /// Requests in flight.
    pub(super) running: AtomicUsize,
    /// Requests sent in all.
    pub(super) requests: AtomicU64,
    /// When it became idle, or ceased to be.
    pub(super) since: Mutex<Instant>,
    /// It has ended.
    pub(super) is_over: AtomicBool,
    /// A response has come since this was last read.
    pub(super) has_answered: AtomicBool,
}

impl Http2Connection {
    /// Whether it takes further requests.
    pub(super) fn is_open(&self, limits: &KeepAlive, tls: Option<&Arc<UpstreamTls>>, now: Instant) -> bool {
        let is_current = match (&self.tls, tls) {
            (None, None) => true,
            (Some(mine), Some(theirs)) => Arc::ptr_eq(mine, theirs),
            _ => false,
        };
        is_current
            && !self.is_over.load(Ordering::Acquire)
            && self.requests.load(Ordering::Relaxed) < limits.requests.get()
            && now.saturating_duration_since(self.created_at) < limits.age
            && self.go_away().is_none()
    }

    pub(super) fn go_away(&self) -> Option<u32> {
        self.watch.lock().unwrap_or_else(PoisonError::into_inner).go_away()
    }

    pub(super) fn has_room(&self) -> bool {
        let max = self.sender().current_max_send_streams();
        self.running.load(Ordering::Relaxed) < max
    }

    pub(super) fn since(&self) -> Instant {
        *self.since.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// It becomes idle, or ceases to be.
    pub(super) fn on_change(&self) {
        *self.since.lock().unwrap_or_else(PoisonError::into_inner) = clock::now();
    }

    fn sender(&self) -> SendRequest<Piece> {
        self.send.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Http2Connections {
    /// Removes all connections: each closes when its last request ends.
    pub(in crate::upstream) fn clear(&mut self) {
        self.connections.clear();
    }

    /// Closes those that were idle too long.
    pub(in crate::upstream) fn reap(&mut self, limits: &KeepAlive, now: Instant) {
        self.connections.retain(|connection| {
            let since = connection.since();
            let is_idle = connection.running.load(Ordering::Relaxed) == 0;
            let is_stale = is_idle && (limits.idle == 0 || now.saturating_duration_since(since) >= limits.timeout);
            !is_stale && !connection.is_over.load(Ordering::Acquire)
        });
    }

    /// Closes those without requests.
    pub(in crate::upstream) fn close_idle(&mut self) {
        self.connections.retain(|connection| connection.running.load(Ordering::Relaxed) > 0);
    }

    pub(super) fn pick(&mut self, limits: &KeepAlive, tls: Option<&Arc<UpstreamTls>>, now: Instant) -> Option<Lease> {
        self.connections.retain(|connection| connection.is_open(limits, tls, now));
        let with_room = self.connections.iter().filter(|connection| connection.has_room());
        with_room.min_by_key(|connection| connection.running.load(Ordering::Relaxed)).map(Lease::new)
    }
}

/// A place on a connection, for one request.
pub(crate) struct Lease {
    connection: Arc<Http2Connection>,
}

impl Lease {
    pub(super) fn new(connection: &Arc<Http2Connection>) -> Self {
        if connection.running.fetch_add(1, Ordering::Relaxed) == 0 {
            connection.on_change();
        }
        connection.requests.fetch_add(1, Ordering::Relaxed);
        Self { connection: Arc::clone(connection) }
    }

    /// The handle that sends the request.
    pub(crate) fn sender(&self) -> SendRequest<Piece> {
        self.connection.sender()
    }

    /// Whether the endpoint's GOAWAY says that it has not acted on this stream.
    pub(super) fn is_left_out(&self, stream: u32) -> bool {
        self.connection.go_away().is_some_and(|last| stream > last)
    }

    /// Whether an earlier request went over the connection, so that the endpoint may have closed it meanwhile.
    pub(crate) fn is_reused(&self) -> bool {
        self.connection.requests.load(Ordering::Relaxed) > 1
    }

    /// A response head came.
    pub(crate) fn on_head(&self) {
        self.connection.has_answered.store(true, Ordering::Relaxed);
    }

    /// The connection can carry no more requests.
    pub(crate) fn discard(&self) {
        self.connection.is_over.store(true, Ordering::Release);
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        if self.connection.running.fetch_sub(1, Ordering::Relaxed) == 1 {
            self.connection.on_change();
        }
    }
}
