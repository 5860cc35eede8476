//! Work that goes on for a moment after its request was dropped.
//!
//! Giving up costs a client one frame. If that leaves a connection to an endpoint that we close first, its port stays taken for a
//! minute (TIME_WAIT); there are some 28 000 for each endpoint. So what a dropped request leaves behind is used by the next one, or
//! costs no port:
//!
//! - A connection that was still being made is made all the same, and goes to the pool.
//! - One with a request on it is of no more use, since the response to that request would be taken for the next one's. It is reset: see
//!   [`Connection`]. A reset discards what has not left yet, so if the whole of a request was written that changes something, the
//!   reset waits until the request has had the time to arrive.
//!
//! Both are bounded, as a client can give up faster than either ends; beyond the bound, the work ends at once.

use std::future::{Future, poll_fn};
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::BytesMut;
use tokio::runtime::Handle;
use tokio::time::timeout;

use super::Connection;
use crate::net::clock;
use crate::upstream::Upstream;

/// Strays of one endpoint at a time.
const MAX_STRAYS: usize = 64;
/// The time a request has to arrive once all of it was written.
const ARRIVAL: Duration = Duration::from_millis(100);

type Connecting = Pin<Box<dyn Future<Output = io::Result<Box<Connection>>> + Send>>;

/// A connection being made for a request.
pub(crate) struct Making {
    upstream: Arc<Upstream>,
    worker: usize,
    connecting: Option<Connecting>,
    /// Any request may use it.
    is_shareable: bool,
}

impl Future for Making {
    type Output = io::Result<Box<Connection>>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let Some(connecting) = &mut self.connecting else { return Poll::Pending };
        let made = ready!(connecting.as_mut().poll(cx));
        self.connecting = None;
        Poll::Ready(made)
    }
}

impl Drop for Making {
    fn drop(&mut self) {
        let Some(connecting) = self.connecting.take().filter(|_| self.is_shareable) else { return };
        let (upstream, worker) = (Arc::clone(&self.upstream), self.worker);
        self.upstream.spawn_stray(async move {
            if let Ok(connection) = connecting.await {
                upstream.checkin(worker, connection, clock::mono());
            }
        });
    }
}

/// A connection with a request on it, until the response head.
pub(super) struct Entrusted {
    /// `None` once it was released.
    lent: Option<(Arc<Upstream>, Box<Connection>)>,
    /// All of the request was written, and its method is not safe.
    pub(super) is_owed: bool,
}

impl Entrusted {
    pub(super) fn new(endpoint: &Arc<Upstream>, connection: Box<Connection>) -> Self {
        Self { lent: Some((Arc::clone(endpoint), connection)), is_owed: false }
    }

    pub(super) fn connection(&mut self) -> Option<&mut Connection> {
        self.lent.as_mut().map(|(_, connection)| &mut **connection)
    }

    /// The connection and its endpoint, once the response head has come.
    pub(super) fn release(&mut self) -> Option<(Arc<Upstream>, Box<Connection>)> {
        let (endpoint, mut connection) = self.lent.take()?;
        connection.timer.clear();
        Some((endpoint, connection))
    }
}

impl Drop for Entrusted {
    fn drop(&mut self) {
        let Some((endpoint, mut connection)) = self.lent.take().filter(|_| self.is_owed) else { return };
        endpoint.spawn_stray(async move {
            // The response, or the end of the connection, comes after the request has arrived.
            let answer = poll_fn(|cx| connection.poll_fill(cx, usize::MAX).map(drop));
            let _ = timeout(ARRIVAL, answer).await;
        });
    }
}

/// Counts a stray for as long as it lives.
struct Stray(Arc<Upstream>);

impl Drop for Stray {
    fn drop(&mut self) {
        self.0.strays.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Upstream {
    /// Makes a connection as [`connect`](Self::connect) does. If the returned future is dropped first, the connection is kept for the
    /// next request.
    pub(crate) fn make(self: &Arc<Self>, worker: usize, limit: Duration, proxy_header: Option<BytesMut>) -> Making {
        let is_shareable = proxy_header.is_none();
        let upstream = Arc::clone(self);
        let connecting = Box::pin(async move { upstream.connect(limit, proxy_header).await });
        Making { upstream: Arc::clone(self), worker, connecting: Some(connecting), is_shareable }
    }

    /// Spawns work that goes on without its request, unless there is too much already.
    fn spawn_stray(self: &Arc<Self>, work: impl Future<Output = ()> + Send + 'static) {
        let count = self.strays.fetch_add(1, Ordering::Relaxed);
        let stray = Stray(Arc::clone(self));
        // None while the worker ends, as everything does then.
        if let Some(runtime) = Handle::try_current().ok().filter(|_| count < MAX_STRAYS) {
            runtime.spawn(async move {
                work.await;
                drop(stray);
            });
        }
    }
}
