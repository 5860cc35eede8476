//! A connection that belongs to one client.
//!
//! What an endpoint ties to a connection, such as an NTLM login, must not be used for another client: see [`crate::rules::login`].
//! So such a connection never comes into the endpoint's pool. It is kept apart, for the next request of that client to the cluster,
//! which prefers this endpoint; and it ends with the client's connection. The limits of `keep_alive` on requests and age are for what
//! is shared: a login that they cut would have to be made again, also halfway through a handshake.
//!
//! Towards the limit of connections it is an idle one like others, and may be closed like them: any client can have one, since a
//! word in a header is enough. So the endpoint owns the connection, and the client's connection holds its number.
//!
//! A client has at most one. Clients of HTTP/2 have none, since one connection of theirs may carry the requests of many users if it
//! comes from another proxy: a connection bound by such a request closes after it.

use std::sync::Arc;

use lb_core::Mono;

use super::Connection;
use crate::downstream::Client;
use crate::upstream::Upstream;

/// A client's claim to a reserved connection, which closes when this is dropped.
pub(crate) struct Bound {
    endpoint: Arc<Upstream>,
    worker: usize,
    number: u64,
    /// The cluster in which it was picked, and its affinity there.
    cluster: Arc<str>,
    affinity: u64,
}

impl Bound {
    /// Reserves a connection; `None`, and it closes, if it may carry no further request.
    pub(crate) fn new(
        endpoint: &Arc<Upstream>,
        worker: usize,
        cluster: Arc<str>,
        affinity: u64,
        connection: Box<Connection>,
        now: Mono,
    ) -> Option<Self> {
        let number = endpoint.checkin_reserved(worker, connection, now)?;
        Some(Self { endpoint: Arc::clone(endpoint), worker, number, cluster, affinity })
    }

    /// The value by which a pick in this cluster prefers the endpoint that the client has a connection of its own to.
    pub(crate) fn affinity_in(client: &Client, cluster: &str) -> Option<u64> {
        let slot = client.slot()?.borrow();
        let bound = slot.as_ref()?.downcast_ref::<Self>()?;
        (*bound.cluster == *cluster).then_some(bound.affinity)
    }

    /// The client's own connection to this endpoint, if it has one that is still good.
    pub(crate) fn take(client: &Client, endpoint: &Arc<Upstream>, now: Mono) -> Option<Box<Connection>> {
        let is_to = |bound: &Self| Arc::ptr_eq(&bound.endpoint, endpoint);
        let mut slot = client.slot()?.borrow_mut();
        let bound = slot.take_if(|kept| kept.downcast_ref().is_some_and(is_to))?;
        bound.downcast::<Self>().ok()?.into_connection(now)
    }

    /// Leaves the connection to the client, in place of the one it may have. It closes if the client can have none.
    pub(super) fn keep(self, client: &Client) {
        if let Some(slot) = client.slot() {
            *slot.borrow_mut() = Some(Box::new(self));
        }
    }

    /// The connection, if it has not been evicted and the endpoint still keeps it.
    fn into_connection(self, now: Mono) -> Option<Box<Connection>> {
        let (mut connection, timeout) = self.endpoint.checkout_reserved(self.worker, self.number)?;
        if connection.is_idle_within(timeout, now) && connection.stream.is_quiet() {
            return Some(connection);
        }
        connection.stream.notify_close();
        None
    }
}

impl Drop for Bound {
    fn drop(&mut self) {
        if let Some((mut connection, _)) = self.endpoint.checkout_reserved(self.worker, self.number) {
            // Clients may end these as often as they like: none must cost a port.
            connection.closes_in_order = false;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::{SocketAddr, TcpListener};
    use std::num::NonZeroU64;
    use std::time::Duration;

    use lb_config::{Endpoint, EndpointAddress, KeepAlive};

    use super::super::ReservedConnections;
    use super::*;
    use crate::net::clock;
    use crate::observe::metrics::Metrics;
    use lb_discovery::Address;

    fn keep_alive(timeout: Duration) -> KeepAlive {
        KeepAlive { idle: 0, timeout, requests: NonZeroU64::MIN, age: Duration::from_secs(1) }
    }

    fn upstream(at: SocketAddr, keep_alive: &KeepAlive) -> Arc<Upstream> {
        let metrics = Metrics::new(1).series().endpoint("app", "a");
        let configured = Endpoint::at(EndpointAddress::Ip(at));
        Arc::new(Upstream::new(&configured, Some(Address::Ip(at)), keep_alive, metrics, 1, Arc::default()))
    }

    async fn bound(endpoint: &Arc<Upstream>, now: Mono) -> Option<Bound> {
        let connection = endpoint.connect(Duration::from_secs(20), None).await.unwrap();
        Bound::new(endpoint, 0, Arc::from("app"), 1, connection, now)
    }

    #[tokio::test]
    async fn idle_for_a_minute_or_as_long_as_other_connections() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        for (timeout, longest) in [(4, 60), (60, 60), (300, 300)] {
            let limits = keep_alive(Duration::from_secs(timeout));
            let endpoint = upstream(listener.local_addr().unwrap(), &limits);
            let now = clock::mono();
            let (before, after) = (Duration::from_secs(longest - 1), Duration::from_secs(longest));
            let first = bound(&endpoint, now).await.unwrap();
            assert!(first.into_connection(now.saturating_add(before)).is_some(), "{timeout}");
            let second = bound(&endpoint, now).await.unwrap();
            assert!(second.into_connection(now.saturating_add(after)).is_none(), "{timeout}");

            let mut reserved = ReservedConnections::default();
            let mut connection = endpoint.connect(Duration::from_secs(20), None).await.unwrap();
            connection.on_idle(now);
            reserved.checkin(connection);
            reserved.reap(&limits, now.saturating_add(before));
            assert_eq!(reserved.iter().count(), 1, "{timeout}");
            reserved.reap(&limits, now.saturating_add(after));
            assert_eq!(reserved.iter().count(), 0, "{timeout}: without a request of its client");
        }
    }

    #[tokio::test]
    async fn evicted_like_other_connections_longest_idle_first() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let endpoint = upstream(listener.local_addr().unwrap(), &keep_alive(Duration::from_secs(4)));
        let now = clock::mono();
        let later = now.saturating_add(Duration::from_millis(1));
        let (first, second) = (bound(&endpoint, now).await.unwrap(), bound(&endpoint, later).await.unwrap());
        let mut idle = Vec::new();
        endpoint.idle_since(&mut idle);
        assert_eq!(idle, [now, later]);
        endpoint.close_idle_since(now);
        assert_eq!(endpoint.share().room().open(), 1);
        assert!(first.into_connection(later).is_none() && second.into_connection(later).is_some());
    }

    #[tokio::test]
    async fn closed_with_its_client_and_with_its_endpoint() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let endpoint = upstream(listener.local_addr().unwrap(), &keep_alive(Duration::from_secs(4)));
        let now = clock::mono();
        drop(bound(&endpoint, now).await.unwrap());
        assert_eq!(endpoint.share().room().open(), 0, "the client has left");
        let held = bound(&endpoint, now).await.unwrap();
        endpoint.close();
        assert_eq!(endpoint.share().room().open(), 0, "the endpoint is gone");
        assert!(held.into_connection(now).is_none() && bound(&endpoint, now).await.is_none());
        assert_eq!(endpoint.share().room().open(), 0);
    }
}
