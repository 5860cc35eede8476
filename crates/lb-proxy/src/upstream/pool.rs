//! An endpoint as the engine knows it: where it is, and its idle connections.
//!
//! Connections belong to the endpoint, not to a table keyed by authority: when the endpoint goes, they go. Each worker
//! has a stack of its own, last in, first out, so that a quiet hour lets the surplus age out. The stacks sit behind
//! mutexes that as a rule only their own worker takes, which costs a few nanoseconds and keeps request futures `Send`.

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
use super::h1::ReservedConnections;
use super::h2::Http2Connections;
use super::room::{Place, Share};
use crate::drivers::Identity;
use crate::net::{self, Stream, clock};
use crate::observe::metrics::EndpointMetrics;
use crate::tls::UpstreamTls;
use crate::wire::proxy_protocol::Version;

/// The connection used last on top. Boxed, as each is handed on some eight times a request.
type Stack = Vec<Box<Connection>>;

/// One worker's connections that nobody uses now.
struct Resting {
    stack: Stack,
    /// Those that belong to a client each.
    apart: ReservedConnections,
    /// The endpoint is gone: none of those is taken in any more.
    is_retired: bool,
    keep_alive: KeepAlive,
    /// As in [`Upstream`], and here once more: who puts a connection down has this lock anyway.
    tls: Option<Arc<UpstreamTls>>,
}

impl Resting {
    fn new(keep_alive: KeepAlive) -> Self {
        Self { stack: Stack::new(), apart: ReservedConnections::default(), is_retired: false, keep_alive, tls: None }
    }

    /// All that rest.
    fn iter(&self) -> impl Iterator<Item = &Connection> {
        self.stack.iter().map(|connection| &**connection).chain(self.apart.iter())
    }

    /// Closes those of which this is not so.
    fn retain(&mut self, mut stays: impl FnMut(&mut Connection) -> bool) {
        self.stack.retain_mut(|connection| stays(connection));
        self.apart.retain(stays);
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
    /// Why outlier detection ejected it the last time, for the status page.
    pub(crate) ejected_for: ArcSwapOption<String>,
    /// As resolved; `None` for a name that has not resolved yet.
    pub(crate) address: Option<Address>,
    /// The PROXY header that connections begin with: its version, or 0.
    proxy_protocol: AtomicU8,
    /// How it is reached by TLS; `None` in the clear.
    tls: ArcSwapOption<UpstreamTls>,
    idle: Box<[Mutex<Resting>]>,
    /// Whether it speaks HTTP/2, and then its connections.
    http2: AtomicBool,
    shared: Box<[Mutex<Http2Connections>]>,
    /// Its cluster's, of the connections to all endpoints.
    share: Arc<Share>,
    /// What goes on although its request has gone away.
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
            ejected_for: ArcSwapOption::empty(),
            address,
            idle: (0..workers).map(|_| Mutex::new(Resting::new(keep_alive.clone()))).collect(),
            proxy_protocol: AtomicU8::new(0),
            tls: ArcSwapOption::empty(),
            http2: AtomicBool::new(false),
            shared: (0..workers).map(|_| Mutex::default()).collect(),
            share,
            strays: AtomicUsize::new(0),
        }
    }

    /// What the drivers know it by; `None` while it is nowhere.
    pub(crate) fn identity(&self, cluster: &Arc<str>) -> Option<Identity> {
        let address = self.address.clone()?;
        Some(Identity { cluster: Arc::clone(cluster), endpoint: Arc::clone(&self.name), address })
    }

    pub(crate) fn set_keep_alive(&self, keep_alive: &KeepAlive) {
        for worker in 0..self.idle.len() {
            self.resting(worker).keep_alive.clone_from(keep_alive);
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

    /// How new connections are made from now on. Those made in another way are closed when they rest.
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
            self.resting(worker).tls.clone_from(&tls);
        }
        self.tls.store(tls);
        self.let_go();
    }

    /// Which protocol it speaks. Connections of the other one are closed when they rest.
    pub(crate) fn set_http2(&self, http2: bool) {
        if self.http2.swap(http2, Ordering::Relaxed) != http2 {
            self.let_go();
        }
    }

    /// Whether it speaks HTTP/2.
    pub(crate) fn is_http2(&self) -> bool {
        self.http2.load(Ordering::Relaxed)
    }

    /// The connections of this worker that carry many requests at once.
    pub(super) fn shared(&self, worker: usize) -> MutexGuard<'_, Http2Connections> {
        self.shared[worker].lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn keep_alive(&self, worker: usize) -> KeepAlive {
        self.resting(worker).keep_alive.clone()
    }

    /// How it is reached by TLS; `None` in the clear.
    pub(crate) fn tls(&self) -> Option<Arc<UpstreamTls>> {
        self.tls.load_full()
    }

    /// Closes the idle connections and keeps none from now on: the endpoint is gone. Requests that run on it, and with
    /// them its users' snapshots, may last for hours.
    pub(crate) fn retire(&self) {
        for worker in 0..self.idle.len() {
            let mut resting = self.resting(worker);
            resting.keep_alive.idle = 0;
            resting.is_retired = true;
        }
        self.let_go();
    }

    /// Closes in order what rests with a worker that ends; what the end of the process closes is reset.
    pub(crate) fn part(&self, worker: usize) {
        self.resting(worker).retain(|_| false);
        self.shared(worker).clear();
    }

    /// Closes what rests, and takes no more requests on what does not.
    fn let_go(&self) {
        (0..self.idle.len()).for_each(|worker| self.part(worker));
    }

    fn resting(&self, worker: usize) -> MutexGuard<'_, Resting> {
        // A panic cannot leave a stack half changed: pushes and pops are single steps.
        self.idle[worker].lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The idle connection used last, if one is still good. `only_chance`: the request cannot be sent again on another
    /// connection, so that it is worth a system call to know of a close that came just now.
    pub(crate) fn checkout(&self, worker: usize, only_chance: bool, now: Mono) -> Option<Box<Connection>> {
        let Resting { stack, keep_alive: limits, .. } = &mut *self.resting(worker);
        if stack.is_empty() {
            return None;
        }
        if self.proxy_protocol().is_some() {
            // They were made before connections had to begin with a header.
            stack.clear();
        }
        while let Some(mut connection) = stack.pop() {
            if connection.is_fresh(limits, now) && (!only_chance || connection.stream.is_quiet()) {
                return Some(connection);
            }
            connection.stream.part();
        }
        None
    }

    /// Keeps a connection for the next request, or closes it where it may not rest.
    pub(crate) fn checkin(&self, worker: usize, mut connection: Box<Connection>, now: Mono) {
        let Resting { stack, keep_alive: limits, tls, .. } = &mut *self.resting(worker);
        let is_current = connection.is_made_with(tls.as_ref());
        if limits.idle == 0
            || connection.is_introduced
            || connection.is_bound
            || !is_current
            || !connection.may_rest(limits, now)
        {
            connection.stream.part();
            return;
        }
        connection.rest(now);
        if stack.len() >= limits.idle {
            // One too many, as after a burst: there may be as many of these as of requests.
            stack.remove(0).closes_in_order = false;
        }
        stack.push(connection);
    }

    /// Keeps a connection for one client, or closes it where it may not rest; the number to take it by.
    pub(super) fn checkin_reserved(&self, worker: usize, mut connection: Box<Connection>, now: Mono) -> Option<u64> {
        let Resting { apart, is_retired, tls, .. } = &mut *self.resting(worker);
        if *is_retired || !connection.is_made_with(tls.as_ref()) || !connection.is_at_rest() {
            connection.stream.part();
            return None;
        }
        connection.rest(now);
        Some(apart.put(connection))
    }

    /// The connection of this number, if it has not been closed, and how long it may have rested.
    pub(super) fn checkout_reserved(&self, worker: usize, number: u64) -> Option<(Box<Connection>, Duration)> {
        let Resting { apart, keep_alive, .. } = &mut *self.resting(worker);
        Some((apart.take(number)?, ReservedConnections::longest(keep_alive)))
    }

    /// Closes what has rested too long or was closed by the endpoint. For a tick of each worker.
    pub(crate) fn reap(&self, worker: usize, now: Instant) {
        let limits = self.keep_alive(worker);
        self.shared(worker).reap(&limits, now);
        let now = clock::mono();
        let mut resting = self.resting(worker);
        resting.apart.reap(&limits, now);
        resting.stack.retain_mut(|connection| {
            let is_fresh = connection.is_fresh(&limits, now);
            if !is_fresh {
                connection.stream.part();
            }
            is_fresh
        });
    }

    /// The share that its connections are of.
    pub(crate) fn share(&self) -> &Share {
        &self.share
    }

    /// Since when each idle connection rests, of all workers.
    pub(super) fn idle_since(&self, into: &mut Vec<Mono>) {
        for worker in 0..self.idle.len() {
            into.extend(self.resting(worker).iter().map(Connection::idle_since));
        }
    }

    /// Closes the connections that have rested since then, or longer.
    pub(super) fn close_idle_since(&self, until: Mono) {
        for worker in 0..self.idle.len() {
            self.resting(worker).retain(|connection| {
                let stays = connection.idle_since() > until;
                if !stays {
                    // There may be as many of these as of requests: none is to cost a port.
                    connection.closes_in_order = false;
                    connection.stream.part();
                }
                stays
            });
        }
    }

    /// Closes the connections that carry many requests and have none now.
    pub(super) fn close_idle_shared(&self) {
        for worker in 0..self.idle.len() {
            self.shared(worker).close_idle();
        }
    }

    /// Makes a new connection, which begins with this PROXY header. One that does carries a single request: it was made in
    /// the name of one client.
    pub(crate) async fn connect(&self, limit: Duration, introduction: Option<BytesMut>) -> io::Result<Box<Connection>> {
        let tls = self.tls();
        let is_introduced = introduction.is_some();
        let (stream, place) = self.open(limit, introduction, tls.as_ref()).await?;
        let mut connection = Box::new(Connection::new(stream, place, tls, clock::mono()));
        connection.is_introduced = is_introduced;
        Ok(connection)
    }

    /// Opens a connection, for whichever protocol.
    pub(super) async fn open(
        &self,
        limit: Duration,
        introduction: Option<BytesMut>,
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
                    // Dropped at any time it is reset, and leaves no port in TIME_WAIT, until somebody says otherwise.
                    options.set_linger(Some(Duration::ZERO))?;
                    net::limit_unsent(&options);
                    let connected = socket.connect(*address).await;
                    Stream::Tcp(connected.map_err(|error| net::shortage::distinct(error, *address))?)
                }
                Some(Address::Unix(path)) => Stream::Unix(UnixStream::connect(path).await?),
                // Never eligible; only panic mode or an operator's mistake could bring a request here.
                None => return Err(io::ErrorKind::AddrNotAvailable.into()),
            };
            if let Some(introduction) = &introduction {
                stream.write_all(introduction).await?;
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
