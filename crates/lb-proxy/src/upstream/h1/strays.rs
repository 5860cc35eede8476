//! What goes on for a moment after its request has gone away.
//!
//! A client that gives up costs it a frame, and us what was begun for it. Where that is a connection to an endpoint, and
//! we close it first, its port stays taken for a minute (TIME_WAIT); there are some 28 000 for each endpoint. So what a
//! request leaves behind is used by the next one, or costs no port:
//!
//! - A connection that was still being made is made all the same, and rests in the pool.
//! - One with a request on it is of no more use, since nobody can tell that request from the next. It is reset: see
//!   [`Connection`]. A reset takes back what has not left yet, so one with a whole request that changes something waits
//!   until that has had the time to arrive.
//!
//! Both are bounded, as a client can give up faster than either ends; what is beyond ends at once.

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
const MOST: usize = 64;
/// How long a request has to arrive once all of it was written.
const ARRIVAL: Duration = Duration::from_millis(100);

type UnderWay = Pin<Box<dyn Future<Output = io::Result<Box<Connection>>> + Send>>;

/// A connection being made for a request.
pub(crate) struct Making {
    upstream: Arc<Upstream>,
    worker: usize,
    under_way: Option<UnderWay>,
    /// The next request may use it as well.
    is_for_anybody: bool,
}

impl Future for Making {
    type Output = io::Result<Box<Connection>>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let Some(under_way) = &mut self.under_way else { return Poll::Pending };
        let made = ready!(under_way.as_mut().poll(cx));
        self.under_way = None;
        Poll::Ready(made)
    }
}

impl Drop for Making {
    fn drop(&mut self) {
        let Some(under_way) = self.under_way.take().filter(|_| self.is_for_anybody) else { return };
        let (upstream, worker) = (Arc::clone(&self.upstream), self.worker);
        self.upstream.go_on(async move {
            if let Ok(connection) = under_way.await {
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
        endpoint.go_on(async move {
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
    /// Makes a connection as [`connect`](Self::connect) does. Where who asked goes away first, it is kept for the next one.
    pub(crate) fn make(self: &Arc<Self>, worker: usize, limit: Duration, introduction: Option<BytesMut>) -> Making {
        let is_for_anybody = introduction.is_none();
        let upstream = Arc::clone(self);
        let under_way = Box::pin(async move { upstream.connect(limit, introduction).await });
        Making { upstream: Arc::clone(self), worker, under_way: Some(under_way), is_for_anybody }
    }

    /// Has this go on without its request, unless too much does already.
    fn go_on(self: &Arc<Self>, work: impl Future<Output = ()> + Send + 'static) {
        let count = self.strays.fetch_add(1, Ordering::Relaxed);
        let stray = Stray(Arc::clone(self));
        // None while the worker ends, as everything does then.
        if let Some(runtime) = Handle::try_current().ok().filter(|_| count < MOST) {
            runtime.spawn(async move {
                work.await;
                drop(stray);
            });
        }
    }
}
