//! A connection that belongs to one client.
//!
//! What an endpoint ties to a connection, such as an NTLM login, must be nobody else's: see [`crate::rules::login`].
//! So such a connection never comes into the endpoint's pool. It rests apart, for the next request of that client to the
//! cluster, which prefers this endpoint; and it ends with the client's connection. The limits of `keep_alive` on requests
//! and age are for what is shared: a login that they cut would have to be made again, in the middle of itself too.
//!
//! To the room that there is, it is an idle connection like others, and gives way like them: any client can have one, since
//! a word in a header is enough. So the endpoint owns it, and the client's connection holds the number.
//!
//! A client has one at a time. Clients of HTTP/2 have none, since one connection of theirs may carry the requests of
//! many users, where it comes from another proxy: what was bound by a request of theirs closes after it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use lb_config::KeepAlive;
use lb_core::Mono;

use super::Connection;
use crate::upstream::Upstream;

/// How long one rests, unless `keep_alive.timeout` is longer. About as long as a client's connection does by default: with
/// much less, each page that is read at leisure would cost a login; with more, clients that ask for nothing would hold room.
const IDLE: Duration = Duration::from_secs(60);

/// A client's claim to a connection that rests apart. When dropped, that closes.
pub(crate) struct Bound {
    home: Arc<Upstream>,
    worker: usize,
    number: u64,
    /// The cluster in which it was picked, and its affinity there.
    cluster: Arc<str>,
    affinity: u64,
}

impl Bound {
    /// Puts a connection down; `None`, and it closes, where it may carry no other request.
    pub(crate) fn new(
        home: &Arc<Upstream>,
        worker: usize,
        cluster: Arc<str>,
        affinity: u64,
        connection: Box<Connection>,
        now: Mono,
    ) -> Option<Self> {
        let number = home.checkin_reserved(worker, connection, now)?;
        Some(Self { home: Arc::clone(home), worker, number, cluster, affinity })
    }

    /// What makes a pick in this cluster prefer its endpoint.
    pub(crate) fn affinity_in(&self, cluster: &str) -> Option<u64> {
        (*self.cluster == *cluster).then_some(self.affinity)
    }

    /// Whether it is one to this endpoint.
    pub(crate) fn is_to(&self, upstream: &Arc<Upstream>) -> bool {
        Arc::ptr_eq(&self.home, upstream)
    }

    /// The connection, if it has not given way and the endpoint still keeps it.
    pub(crate) fn into_connection(self, now: Mono) -> Option<Box<Connection>> {
        let (mut connection, longest) = self.home.checkout_reserved(self.worker, self.number)?;
        if connection.rests_within(longest, now) && connection.stream.is_quiet() {
            return Some(connection);
        }
        connection.stream.part();
        None
    }
}

impl Drop for Bound {
    fn drop(&mut self) {
        if let Some((mut connection, _)) = self.home.checkout_reserved(self.worker, self.number) {
            // It ends when the client likes, and may do so often: none is to cost a port.
            connection.closes_in_order = false;
        }
    }
}

/// One worker's connections to an endpoint that rest and belong to a client each.
#[derive(Default)]
pub(in crate::upstream) struct ReservedConnections {
    /// By number.
    connections: BTreeMap<u64, Box<Connection>>,
    next: u64,
}

impl ReservedConnections {
    /// How long one rests.
    pub(in crate::upstream) fn longest(limits: &KeepAlive) -> Duration {
        limits.timeout.max(IDLE)
    }

    /// Takes one in; its number.
    pub(in crate::upstream) fn put(&mut self, connection: Box<Connection>) -> u64 {
        let number = self.next;
        self.next += 1;
        self.connections.insert(number, connection);
        number
    }

    pub(in crate::upstream) fn take(&mut self, number: u64) -> Option<Box<Connection>> {
        self.connections.remove(&number)
    }

    pub(in crate::upstream) fn iter(&self) -> impl Iterator<Item = &Connection> {
        self.connections.values().map(|connection| &**connection)
    }

    /// Closes those of which this is not so.
    pub(in crate::upstream) fn retain(&mut self, mut stays: impl FnMut(&mut Connection) -> bool) {
        self.connections.retain(|_, connection| stays(connection));
    }

    /// Closes what has rested too long or was closed by the endpoint.
    pub(in crate::upstream) fn reap(&mut self, limits: &KeepAlive, now: Mono) {
        let longest = Self::longest(limits);
        self.retain(|connection| {
            let stays = connection.rests_within(longest, now) && !connection.stream.is_readable();
            if !stays {
                connection.stream.part();
            }
            stays
        });
    }
}

#[cfg(test)]
mod tests {
    use std::net::{SocketAddr, TcpListener};
    use std::num::NonZeroU64;

    use lb_config::{Endpoint, EndpointAddress};

    use super::*;
    use crate::net::clock;
    use crate::observe::metrics::Metrics;
    use lb_discovery::Address;

    fn keep_alive(timeout: Duration) -> KeepAlive {
        KeepAlive { idle: 0, timeout, requests: NonZeroU64::MIN, age: Duration::from_secs(1) }
    }

    fn upstream(at: SocketAddr, keep_alive: &KeepAlive) -> Arc<Upstream> {
        let metrics = Metrics::new(1).series().endpoint("app", "a");
        let endpoint = Endpoint::at(EndpointAddress::Ip(at));
        Arc::new(Upstream::new(&endpoint, Some(Address::Ip(at)), keep_alive, metrics, 1, Arc::default()))
    }

    async fn bound(home: &Arc<Upstream>, now: Mono) -> Option<Bound> {
        let connection = home.connect(Duration::from_secs(20), None).await.unwrap();
        Bound::new(home, 0, Arc::from("app"), 1, connection, now)
    }

    #[tokio::test]
    async fn one_rests_for_a_minute_or_as_long_as_others_may() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        for (timeout, longest) in [(4, 60), (60, 60), (300, 300)] {
            let limits = keep_alive(Duration::from_secs(timeout));
            let home = upstream(listener.local_addr().unwrap(), &limits);
            let now = clock::mono();
            let (before, after) = (Duration::from_secs(longest - 1), Duration::from_secs(longest));
            let first = bound(&home, now).await.unwrap();
            assert!(first.into_connection(now.saturating_add(before)).is_some(), "{timeout}");
            let second = bound(&home, now).await.unwrap();
            assert!(second.into_connection(now.saturating_add(after)).is_none(), "{timeout}");

            let mut apart = ReservedConnections::default();
            let mut connection = home.connect(Duration::from_secs(20), None).await.unwrap();
            connection.rest(now);
            apart.put(connection);
            apart.reap(&limits, now.saturating_add(before));
            assert_eq!(apart.iter().count(), 1, "{timeout}");
            apart.reap(&limits, now.saturating_add(after));
            assert_eq!(apart.iter().count(), 0, "{timeout}: without a request of its client");
        }
    }

    #[tokio::test]
    async fn one_gives_way_as_others_do_and_the_longest_rest_first() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let home = upstream(listener.local_addr().unwrap(), &keep_alive(Duration::from_secs(4)));
        let now = clock::mono();
        let later = now.saturating_add(Duration::from_millis(1));
        let (first, second) = (bound(&home, now).await.unwrap(), bound(&home, later).await.unwrap());
        let mut idle = Vec::new();
        home.idle_since(&mut idle);
        assert_eq!(idle, [now, later]);
        home.close_idle_since(now);
        assert_eq!(home.share().room().open(), 1);
        assert!(first.into_connection(later).is_none() && second.into_connection(later).is_some());
    }

    #[tokio::test]
    async fn none_rests_without_its_client_or_its_endpoint() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let home = upstream(listener.local_addr().unwrap(), &keep_alive(Duration::from_secs(4)));
        let now = clock::mono();
        drop(bound(&home, now).await.unwrap());
        assert_eq!(home.share().room().open(), 0, "the client has left");
        let held = bound(&home, now).await.unwrap();
        home.retire();
        assert_eq!(home.share().room().open(), 0, "the endpoint is gone");
        assert!(held.into_connection(now).is_none() && bound(&home, now).await.is_none());
        assert_eq!(home.share().room().open(), 0);
    }
}
