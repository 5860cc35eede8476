//! Connections to an endpoint that carry many requests at once.
//!
//! Each worker has its own. A request goes to the connection with the fewest streams; if all have as many as the endpoint allows,
//! another one is made, once for all requests that wait for it. A connection is ready when the endpoint has answered a first ping:
//! by then its settings are known, and that it speaks HTTP/2 at all, before any request is sent on it. That costs one more round
//! trip a connection.
//!
//! A connection takes no more requests once it has had as many, or is as old, as `keep_alive` allows, or the endpoint has sent
//! GOAWAY; it closes when the last of its streams has ended. If requests wait and nothing is received, a ping is sent, and the
//! connection is closed without an answer. Pings are sent less and less often: gRPC's servers close connections that ping more than
//! every five minutes without need.
//!
//! Windows: 64 KiB a stream, which bounds what a slow client can make us hold: it may ask for 128 bodies at once and read none, and
//! a window once granted cannot be taken back. No bound of its own on a connection: streams belong to different clients, and a few
//! that do not read must not stop the others.

use std::future::{Future, poll_fn};
use std::io;
use std::pin::pin;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, Weak};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::BytesMut;
use h2::client::{Connection, SendRequest};
use h2::{Ping, PingPong};
use tokio::sync::watch;
use tokio::time::Instant;

use super::connections::{Failure, Http2Connection, Lease};
use crate::net::Timer;
use crate::net::cork::{self, Cork, Drain};
use crate::net::queue::{self, Piece};
use crate::tls::UpstreamTls;
use crate::upstream::Upstream;
use crate::upstream::room::Place;
use crate::wire::h2::PREFACE;

const STREAM_WINDOW: u32 = 64 * 1024;
const CONNECTION_WINDOW: u32 = (1 << 31) - 1;
/// The largest response head that the h2 crate accepts; `limits.response_head` applies below it.
const MAX_HEAD: u32 = 1024 * 1024;

/// A ping is sent if nothing was received for this long while requests wait: at first, and at most.
const PING_AFTER: Duration = Duration::from_secs(15);
const MAX_PING_AFTER: Duration = Duration::from_secs(330);
/// The time to answer a ping.
const PING_TIMEOUT: Duration = Duration::from_secs(10);
/// The time to write what is left when a connection has ended.
const FLUSH_TIMEOUT: Duration = Duration::from_secs(1);

impl Upstream {
    /// A place on a connection of this worker, which is made within `limit` if need be.
    ///
    /// # Errors
    /// None can be made.
    pub(crate) async fn lease(self: &Arc<Self>, worker: usize, limit: Duration) -> Result<Lease, Failure> {
        loop {
            let mut connecting = {
                let mut connections = self.http2(worker);
                let limits = self.keep_alive(worker);
                if let Some(lease) = connections.pick(&limits, self.tls().as_ref(), Instant::now()) {
                    return Ok(lease);
                }
                match &connections.connecting {
                    Some(connecting) => connecting.clone(),
                    None => {
                        let (done, connecting) = watch::channel(None);
                        connections.connecting = Some(connecting.clone());
                        // A task of its own, so that it goes on if the request that pinged_at first is dropped.
                        tokio::spawn(make(Arc::clone(self), worker, limit, done));
                        connecting
                    }
                }
            };
            let made = match connecting.wait_for(Option::is_some).await {
                Ok(made) => made.clone(),
                Err(_) => None,
            };
            let lost = || Failure::new(io::ErrorKind::ConnectionAborted.into());
            let connection = made.ok_or_else(lost)??;
            if connection.has_room() {
                return Ok(Lease::new(&connection));
            }
        }
    }
}

impl Upstream {
    /// A connection for this request alone; it closes after the request.
    ///
    /// # Errors
    /// It cannot be made.
    #[cold]
    pub(crate) async fn lease_alone(&self, limit: Duration) -> Result<Lease, Failure> {
        let (connection, driver) = Box::pin(begin(self, limit, self.tls(), true)).await.map_err(Failure::new)?;
        let owner = Arc::downgrade(&connection);
        tokio::spawn(async move { driver.run(&owner).await });
        Ok(Lease::new(&connection))
    }
}

/// Makes a connection and drives it to its end.
async fn make(
    upstream: Arc<Upstream>,
    worker: usize,
    limit: Duration,
    done: watch::Sender<Option<Result<Arc<Http2Connection>, Failure>>>,
) {
    let tls = upstream.tls();
    let made = begin(&upstream, limit, tls, false).await;
    let driver = {
        let mut connections = upstream.http2(worker);
        connections.connecting = None;
        match made {
            Ok((connection, driver)) => {
                // A removed endpoint keeps nothing: the requests that wait use the connection, and it closes after them.
                if upstream.keep_alive(worker).idle > 0 {
                    connections.connections.push(Arc::clone(&connection));
                }
                let owner = Arc::downgrade(&connection);
                // Fails if nothing waits any more.
                let _ = done.send(Some(Ok(connection)));
                Some((driver, owner))
            }
            Err(error) => {
                let _ = done.send(Some(Err(Failure::new(error))));
                None
            }
        }
    };
    // The task lives until its last stream ends, and the endpoint may be removed long before.
    drop((done, upstream));
    if let Some((driver, owner)) = driver {
        driver.run(&owner).await;
    }
}

/// Opens a connection, up to the endpoint's answer to a first ping. A connection for a single request leaves no port in TIME_WAIT, as
/// there may be many of those.
async fn begin(
    upstream: &Upstream,
    limit: Duration,
    tls: Option<Arc<UpstreamTls>>,
    is_single: bool,
) -> io::Result<(Arc<Http2Connection>, Driver)> {
    let until = Instant::now() + limit;
    let (stream, place) = upstream.open(limit, None, tls.as_ref()).await?;
    if !is_single {
        stream.close_in_order();
    }
    if tls.is_some() && stream.alpn() != Some(b"h2") {
        return Err(io::Error::other("it did not agree to HTTP/2"));
    }
    let (cork, mut drain) = cork::cork(stream, BytesMut::new(), PREFACE.len(), true);
    let (send, mut connection) = handshake(cork, &mut drain).await?;
    let mut pings = connection.ping_pong().ok_or_else(|| io::Error::other("no pings"))?;
    pings.send_ping(Ping::opaque()).map_err(io::Error::other)?;
    let mut timer = Timer::new();
    poll_fn(|cx| {
        if let Poll::Ready(ended) = pin!(&mut connection).poll(cx) {
            return Poll::Ready(Err(ended.err().map_or_else(|| io::ErrorKind::UnexpectedEof.into(), refused)));
        }
        if let Poll::Ready(pong) = pings.poll_pong(cx) {
            return Poll::Ready(pong.map(drop).map_err(refused));
        }
        if let Poll::Ready(Err(error)) = drain.poll(cx) {
            return Poll::Ready(Err(error));
        }
        timer.poll_until(cx, until).map(|()| Err(io::ErrorKind::TimedOut.into()))
    })
    .await?;
    if send.current_max_send_streams() == 0 {
        // Another one would be no better, and requests that wait for room would open one after the other.
        return Err(io::Error::other("it allows no streams"));
    }
    let now = Instant::now();
    let shared = Http2Connection {
        send: Mutex::new(send),
        watch: Mutex::new(drain.watch()),
        tls,
        created_at: now,
        running: AtomicUsize::new(0),
        requests: AtomicU64::new(0),
        since: Mutex::new(now),
        is_over: AtomicBool::new(false),
        has_answered: AtomicBool::new(false),
    };
    let driver = Driver { connection, drain, pings, timer, ping_after: PING_AFTER, pinged_at: None, _place: place };
    Ok((Arc::new(shared), driver))
}

type Made = (SendRequest<Piece>, Connection<Cork, Piece>);

async fn handshake(cork: Cork, drain: &mut Drain) -> io::Result<Made> {
    let mut builder = h2::client::Builder::new();
    builder
        .enable_push(false)
        .initial_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_header_list_size(MAX_HEAD)
        .max_send_buffer_size(queue::MOST);
    let mut handshake = pin!(builder.handshake::<_, Piece>(cork));
    poll_fn(|cx| {
        let polled = handshake.as_mut().poll(cx);
        // The h2 crate notices if the connection breaks here.
        let _ = drain.poll(cx);
        polled
    })
    .await
    .map_err(refused)
}

/// The error of an endpoint that does not speak HTTP/2, or closes during the handshake.
fn refused(error: h2::Error) -> io::Error {
    if error.is_io() {
        return error.into_io().unwrap_or_else(|| io::ErrorKind::ConnectionReset.into());
    }
    io::Error::other(format!("no HTTP/2: {error}"))
}

/// Drives a connection.
struct Driver {
    connection: Connection<Cork, Piece>,
    drain: Drain,
    pings: PingPong,
    timer: Timer,
    /// How long nothing may be received before a ping is sent.
    ping_after: Duration,
    /// When a ping was sent that has not been answered.
    pinged_at: Option<Instant>,
    _place: Place,
}

impl Driver {
    async fn run(mut self, owner: &Weak<Http2Connection>) {
        poll_fn(|cx| {
            if pin!(&mut self.connection).poll(cx).is_ready() || matches!(self.drain.poll(cx), Poll::Ready(Err(_))) {
                return Poll::Ready(());
            }
            self.poll_alive(cx, owner)
        })
        .await;
        if let Some(owner) = owner.upgrade() {
            owner.is_over.store(true, Ordering::Release);
        }
        let Self { connection, mut drain, mut timer, _place, .. } = self;
        // Ends its streams.
        drop(connection);
        timer.clear();
        poll_fn(|cx| match drain.poll(cx) {
            Poll::Ready(_) => Poll::Ready(()),
            Poll::Pending => timer.poll_after(cx, FLUSH_TIMEOUT),
        })
        .await;
    }

    /// Ready if the endpoint does not answer a ping.
    fn poll_alive(&mut self, cx: &mut Context<'_>, owner: &Weak<Http2Connection>) -> Poll<()> {
        loop {
            if let Poll::Ready(pong) = self.pings.poll_pong(cx) {
                if pong.is_err() {
                    return Poll::Ready(());
                }
                self.pinged_at = None;
            }
            let Some(owner) = owner.upgrade() else { return Poll::Pending };
            if owner.has_answered.swap(false, Ordering::Relaxed) {
                self.ping_after = PING_AFTER;
            }
            let (now, last_received) = (Instant::now(), self.drain.last_received());
            let is_idle = owner.running.load(Ordering::Relaxed) == 0;
            let mut due = match self.pinged_at {
                // Anything received counts as an answer.
                Some(pinged_at) => pinged_at.max(last_received) + PING_TIMEOUT,
                None => last_received.max(owner.since()) + self.ping_after,
            };
            if now >= due {
                match self.pinged_at {
                    Some(_) => return Poll::Ready(()),
                    // No request waits for it.
                    None if is_idle => due = now + self.ping_after,
                    None if self.pings.send_ping(Ping::opaque()).is_err() => return Poll::Ready(()),
                    None => {
                        self.pinged_at = Some(now);
                        self.ping_after = (self.ping_after * 4).min(MAX_PING_AFTER);
                        due = now + PING_TIMEOUT;
                    }
                }
            }
            if self.timer.poll_until(cx, due).is_pending() {
                return Poll::Pending;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU64;

    use lb_config::{Endpoint, EndpointAddress, KeepAlive};

    use super::*;
    use crate::observe::metrics::Metrics;
    use lb_discovery::Address;

    /// An endpoint that serves this connection until it has this many requests, and then falls silent; the task that keeps it from
    /// closing, and the endpoint.
    async fn silent_after(after: usize) -> (tokio::task::JoinHandle<impl Send>, Arc<Upstream>) {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let serving = tokio::spawn(async move {
            let mut served = h2::server::handshake(listener.accept().await.unwrap().0).await.unwrap();
            let mut requests = Vec::new();
            while requests.len() < after {
                requests.push(served.accept().await.unwrap().unwrap());
            }
            (served, requests)
        });
        let keep_alive = KeepAlive {
            idle: 1,
            timeout: Duration::from_secs(600),
            requests: NonZeroU64::MAX,
            age: Duration::from_secs(600),
        };
        let metrics = Metrics::new(1).series().endpoint("app", "a");
        let endpoint = Endpoint::at(EndpointAddress::Ip(address));
        (
            serving,
            Arc::new(Upstream::new(&endpoint, Some(Address::Ip(address)), &keep_alive, metrics, 1, Arc::default())),
        )
    }

    #[tokio::test]
    async fn an_endpoint_that_falls_silent_under_a_request_is_detected_by_a_ping() {
        let (serving, upstream) = silent_after(1).await;
        let lease = upstream.lease(0, Duration::from_secs(20)).await.unwrap();
        let mut sender = lease.sender().ready().await.unwrap();
        let request = http::Request::get("http://a/").body(()).unwrap();
        let (response, _) = sender.send_request(request, true).unwrap();
        let _silent = serving.await.unwrap();
        tokio::time::pause();
        let start = Instant::now();
        assert!(response.await.is_err());
        let took = start.elapsed();
        assert!((24..27).contains(&took.as_secs()), "15 s of silence and 10 s for an answer, not {took:?}");
    }
}
