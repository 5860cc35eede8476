//! An endpoint: its address and its connections.
//!
//! Connections belong to the endpoint, not to a table keyed by authority: they are closed with it. Each worker has a pool of its own,
//! last in, first out, so that a quiet hour lets the surplus age out. The pools are behind mutexes that as a rule only their own
//! worker locks, which costs a few nanoseconds and keeps request futures `Send`.

use std::io;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwapOption;
use bytes::BytesMut;
use lb_config::{Endpoint, EndpointAddress, KeepAlive};
use lb_core::Mono;
use lb_discovery::Address;
use socket2::SockRef;
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpSocket, UnixStream};
use tokio::time::Instant;

use super::Connection;
use super::chronicle::Chronicle;
use super::h1::ReservedConnections;
use super::h2::Http2Connections;
use super::room::{Place, Share};
use super::usual::Usual;
use crate::drivers::Identity;
use crate::net::{self, Stream, clock};
use crate::observe::metrics::EndpointMetrics;
use crate::tls::UpstreamTls;
use crate::wire::proxy_protocol::Version;

/// The connection used last on top. Boxed, as each is handed on some eight times a request.
type Stack = Vec<Box<Connection>>;

/// One worker's idle connections.
struct IdlePool {
    stack: Stack,
    /// Those that belong to one client each.
    reserved: ReservedConnections,
    /// The endpoint was removed: no connection is checked in any more.
    is_closed: bool,
    keep_alive: KeepAlive,
    /// A copy of [`Upstream::tls`]: a checkin has this lock anyway.
    tls: Option<Arc<UpstreamTls>>,
}

impl IdlePool {
    fn new(keep_alive: KeepAlive) -> Self {
        Self { stack: Stack::new(), reserved: ReservedConnections::default(), is_closed: false, keep_alive, tls: None }
    }

    /// All idle connections.
    fn iter(&self) -> impl Iterator<Item = &Connection> {
        self.stack.iter().map(|connection| &**connection).chain(self.reserved.iter())
    }

    /// Closes those for which this is not so.
    fn retain(&mut self, mut stays: impl FnMut(&mut Connection) -> bool) {
        self.stack.retain_mut(|connection| stays(connection));
        self.reserved.retain(stays);
    }
}

/// One endpoint: its address and its connections.
pub(crate) struct Upstream {
    /// As configured.
    pub(crate) name: Arc<str>,
    /// As configured, and as resolved where that is not the same; for the log.
    pub(crate) label: Arc<str>,
    pub(crate) configured: EndpointAddress,
    pub(crate) metrics: Arc<EndpointMetrics>,
    /// What has happened to it lately.
    pub(crate) chronicle: Chronicle,
    /// How it usually answers.
    pub(crate) usual: Usual,
    /// As resolved; `None` for a name that has not resolved yet.
    pub(crate) address: Option<Address>,
    /// The PROXY header that connections begin with: its version, or 0.
    proxy_protocol: AtomicU8,
    /// How it is reached by TLS; `None` in the clear.
    tls: ArcSwapOption<UpstreamTls>,
    idle: Box<[Mutex<IdlePool>]>,
    /// Whether it speaks HTTP/2, and then its connections.
    is_http2: AtomicBool,
    http2: Box<[Mutex<Http2Connections>]>,
    /// Its cluster's share of the connections to all endpoints.
    share: Arc<Share>,
    /// Work that goes on although its request was dropped.
    pub(super) strays: AtomicUsize,
}

impl Upstream {
    pub(crate) fn new(
        endpoint: &Endpoint,
        address: Option<Address>,
        keep_alive: &KeepAlive,
        metrics: Arc<EndpointMetrics>,
        workers: usize,
        share: Arc<Share>,
    ) -> Self {
        Self {
            label: match address.as_ref().map(ToString::to_string) {
                Some(resolved) if resolved != *endpoint.name => format!("{} ({resolved})", endpoint.name).into(),
                _ => Arc::clone(&endpoint.name),
            },
            name: Arc::clone(&endpoint.name),
            configured: endpoint.address.clone(),
            metrics,
            chronicle: Chronicle::default(),
            usual: Usual::default(),
            address,
            idle: (0..workers).map(|_| Mutex::new(IdlePool::new(keep_alive.clone()))).collect(),
            proxy_protocol: AtomicU8::new(0),
            tls: ArcSwapOption::empty(),
            is_http2: AtomicBool::new(false),
            http2: (0..workers).map(|_| Mutex::default()).collect(),
            share,
            strays: AtomicUsize::new(0),
        }
    }

    /// Its identity in the drivers; `None` while it has no address.
    pub(crate) fn identity(&self, cluster: &Arc<str>) -> Option<Identity> {
        let address = self.address.clone()?;
        Some(Identity { cluster: Arc::clone(cluster), endpoint: Arc::clone(&self.name), address })
    }

    pub(crate) fn set_keep_alive(&self, keep_alive: &KeepAlive) {
        for worker in 0..self.idle.len() {
            self.idle_pool(worker).keep_alive.clone_from(keep_alive);
        }
    }

    pub(crate) fn set_proxy_protocol(&self, version: Option<lb_config::ProxyProtocol>) {
        let number = match version {
            None => 0,
            Some(lb_config::ProxyProtocol::V1) => 1,
            Some(lb_config::ProxyProtocol::V2) => 2,
        };
        self.proxy_protocol.store(number, Ordering::Relaxed);
    }

    /// Which PROXY header connections begin with.
    pub(crate) fn proxy_protocol(&self) -> Option<Version> {
        match self.proxy_protocol.load(Ordering::Relaxed) {
            0 => None,
            1 => Some(Version::V1),
            _ => Some(Version::V2),
        }
    }

    /// How new connections are made from now on. Those made in another way are closed once they are idle.
    pub(crate) fn set_tls(&self, tls: Option<UpstreamTls>) {
        let is_like = match (&*self.tls.load(), &tls) {
            (None, None) => true,
            (Some(old), Some(new)) => old.is_like(new),
            _ => false,
        };
        if is_like {
            return;
        }
        let tls = tls.map(Arc::new);
        for worker in 0..self.idle.len() {
            self.idle_pool(worker).tls.clone_from(&tls);
        }
        self.tls.store(tls);
        self.close_all();
    }

    /// Which protocol it speaks. Connections of the other one are closed once they are idle.
    pub(crate) fn set_http2(&self, http2: bool) {
        if self.is_http2.swap(http2, Ordering::Relaxed) != http2 {
            self.close_all();
        }
    }

    /// Whether it speaks HTTP/2.
    pub(crate) fn is_http2(&self) -> bool {
        self.is_http2.load(Ordering::Relaxed)
    }

    /// The HTTP/2 connections of this worker.
    pub(super) fn http2(&self, worker: usize) -> MutexGuard<'_, Http2Connections> {
        self.http2[worker].lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn keep_alive(&self, worker: usize) -> KeepAlive {
        self.idle_pool(worker).keep_alive.clone()
    }

    /// How it is reached by TLS; `None` in the clear.
    pub(crate) fn tls(&self) -> Option<Arc<UpstreamTls>> {
        self.tls.load_full()
    }

    /// Closes the idle connections and keeps none from now on: the endpoint was removed. Requests on it, and with them their
    /// snapshots, may last for hours.
    pub(crate) fn close(&self) {
        for worker in 0..self.idle.len() {
            let mut pool = self.idle_pool(worker);
            pool.keep_alive.idle = 0;
            pool.is_closed = true;
        }
        self.close_all();
    }

    /// Closes a worker's idle connections in order. What the end of the process closes would be reset.
    pub(crate) fn close_idle(&self, worker: usize) {
        self.idle_pool(worker).retain(|_| false);
        self.http2(worker).clear();
    }

    /// Closes idle connections, and sends no more requests on those that are not idle.
    fn close_all(&self) {
        (0..self.idle.len()).for_each(|worker| self.close_idle(worker));
    }

    fn idle_pool(&self, worker: usize) -> MutexGuard<'_, IdlePool> {
        // A panic cannot leave a stack half changed: pushes and pops are single steps.
        self.idle[worker].lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The idle connection used last, if one is still good. `is_only_chance`: the request cannot be sent again on another
    /// connection, so that a system call to detect a close that came just now is worth its cost.
    pub(crate) fn checkout(&self, worker: usize, is_only_chance: bool, now: Mono) -> Option<Box<Connection>> {
        let IdlePool { stack, keep_alive: limits, .. } = &mut *self.idle_pool(worker);
        if stack.is_empty() {
            return None;
        }
        if self.proxy_protocol().is_some() {
            // They were made before connections had to begin with a PROXY header.
            stack.clear();
        }
        while let Some(mut connection) = stack.pop() {
            if connection.is_fresh(limits, now) && (!is_only_chance || connection.stream.is_quiet()) {
                return Some(connection);
            }
            connection.stream.notify_close();
        }
        None
    }

    /// Keeps a connection for the next request, or closes it if it may not be kept.
    pub(crate) fn checkin(&self, worker: usize, mut connection: Box<Connection>, now: Mono) {
        let IdlePool { stack, keep_alive: limits, tls, .. } = &mut *self.idle_pool(worker);
        let is_current = connection.is_made_with(tls.as_ref());
        if limits.idle == 0
            || connection.sent_proxy_header
            || connection.is_bound
            || !is_current
            || !connection.can_idle(limits, now)
        {
            connection.stream.notify_close();
            return;
        }
        connection.on_idle(now);
        if stack.len() >= limits.idle {
            // One too many, as after a burst: there may be as many of these as of requests.
            stack.remove(0).closes_in_order = false;
        }
        stack.push(connection);
    }

    /// Keeps a connection for one client, or closes it if it may not be kept; the number to check it out by.
    pub(super) fn checkin_reserved(&self, worker: usize, mut connection: Box<Connection>, now: Mono) -> Option<u64> {
        let IdlePool { reserved, is_closed, tls, .. } = &mut *self.idle_pool(worker);
        if *is_closed || !connection.is_made_with(tls.as_ref()) || !connection.is_between_requests() {
            connection.stream.notify_close();
            return None;
        }
        connection.on_idle(now);
        Some(reserved.checkin(connection))
    }

    /// The connection of this number, if it has not been closed, and its idle timeout.
    pub(super) fn checkout_reserved(&self, worker: usize, number: u64) -> Option<(Box<Connection>, Duration)> {
        let IdlePool { reserved, keep_alive, .. } = &mut *self.idle_pool(worker);
        Some((reserved.checkout(number)?, ReservedConnections::idle_timeout(keep_alive)))
    }

    /// Closes connections that were idle too long or that the endpoint closed. For a tick of each worker.
    pub(crate) fn reap(&self, worker: usize, now: Instant) {
        let limits = self.keep_alive(worker);
        self.http2(worker).reap(&limits, now);
        let now = clock::mono();
        let mut pool = self.idle_pool(worker);
        pool.reserved.reap(&limits, now);
        pool.stack.retain_mut(|connection| {
            let is_fresh = connection.is_fresh(&limits, now);
            if !is_fresh {
                connection.stream.notify_close();
            }
            is_fresh
        });
    }

    /// The share that its connections count towards.
    pub(crate) fn share(&self) -> &Share {
        &self.share
    }

    /// Since when each idle connection of all workers has been idle.
    pub(super) fn idle_since(&self, into: &mut Vec<Mono>) {
        for worker in 0..self.idle.len() {
            into.extend(self.idle_pool(worker).iter().map(Connection::idle_since));
        }
    }

    /// Closes the connections that have been idle since then, or longer.
    pub(super) fn close_idle_since(&self, until: Mono) {
        for worker in 0..self.idle.len() {
            self.idle_pool(worker).retain(|connection| {
                let stays = connection.idle_since() > until;
                if !stays {
                    // There may be as many of these as of requests: none must cost a port.
                    connection.closes_in_order = false;
                    connection.stream.notify_close();
                }
                stays
            });
        }
    }

    /// Closes the HTTP/2 connections without requests.
    pub(super) fn close_idle_http2(&self) {
        for worker in 0..self.idle.len() {
            self.http2(worker).close_idle();
        }
    }

    /// Makes a new connection, which begins with this PROXY header. One that begins with a header carries a single request, that of
    /// the client it names.
    pub(crate) async fn connect(&self, limit: Duration, proxy_header: Option<BytesMut>) -> io::Result<Box<Connection>> {
        let tls = self.tls();
        let sent_proxy_header = proxy_header.is_some();
        let (stream, place) = self.open(limit, proxy_header, tls.as_ref()).await?;
        let mut connection = Box::new(Connection::new(stream, place, tls, clock::mono()));
        connection.sent_proxy_header = sent_proxy_header;
        Ok(connection)
    }

    /// Opens a connection, for whichever protocol.
    pub(super) async fn open(
        &self,
        limit: Duration,
        proxy_header: Option<BytesMut>,
        tls: Option<&Arc<UpstreamTls>>,
    ) -> io::Result<(Stream, Place)> {
        let place = self.share.enter()?;
        let connecting = async {
            let mut stream = match &self.address {
                Some(Address::Ip(address)) => {
                    let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
                    socket.set_nodelay(true)?;
                    let options = SockRef::from(&socket);
                    options.set_tcp_keepalive(&net::keep_alive())?;
                    // Dropped at any time it is reset, and leaves no port in TIME_WAIT, unless `close_in_order` was called.
                    options.set_linger(Some(Duration::ZERO))?;
                    net::limit_unsent(&options);
                    let connected = socket.connect(*address).await;
                    Stream::Tcp(connected.map_err(|error| net::shortage::distinct(error, *address))?)
                }
                Some(Address::Unix(path)) => Stream::Unix(UnixStream::connect(path).await?),
                // Never eligible; only panic mode or an operator's mistake could pick it.
                None => return Err(io::ErrorKind::AddrNotAvailable.into()),
            };
            if let Some(proxy_header) = &proxy_header {
                stream.write_all(proxy_header).await?;
            }
            match tls {
                None => io::Result::Ok(stream),
                Some(tls) => Stream::to_tls(stream, tls).await,
            }
        };
        let made = tokio::time::timeout(limit, connecting).await;
        Ok((made.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))?, place))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::observe::metrics::Metrics;

    #[tokio::test]
    async fn connections_to_endpoints_are_probed_when_nothing_moves() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let keep_alive = KeepAlive {
            idle: 1,
            timeout: Duration::from_secs(4),
            requests: std::num::NonZeroU64::MIN,
            age: Duration::from_secs(60),
        };
        let metrics = Metrics::new(1).series().endpoint("app", "a");
        let endpoint = Endpoint::at(EndpointAddress::Ip(address));
        let upstream = Upstream::new(&endpoint, Some(Address::Ip(address)), &keep_alive, metrics, 1, Arc::default());
        let connection = upstream.connect(Duration::from_secs(20), None).await.unwrap();
        let Stream::Tcp(stream) = &connection.stream else { panic!("tcp") };
        assert!(SockRef::from(stream).keepalive().unwrap());
    }
}
