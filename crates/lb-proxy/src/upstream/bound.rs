//! A connection that belongs to one client.
//!
//! What an endpoint ties to a connection, such as an NTLM login, must be nobody else's: see [`crate::rules::login`].
//! So such a connection never comes into the endpoint's pool. It rests with the client's connection, for that client's
//! next request to the cluster, which prefers this endpoint; and it ends with the client's connection. The limits of
//! `keep_alive` are for what is shared: a login that they cut would have to be made again, in the middle of itself too.
//!
//! A client has one at a time. Clients of HTTP/2 have none, since one connection of theirs may carry the requests of
//! many users, where it comes from another proxy: what was bound by a request of theirs closes after it.

use std::sync::Arc;

use lb_core::Mono;

use super::{Connection, Upstream};

/// A connection at rest that one client alone may use.
pub(crate) struct Bound {
    home: Arc<Upstream>,
    /// The cluster in which it was picked, and its affinity there.
    cluster: Arc<str>,
    affinity: u64,
    connection: Box<Connection>,
}

impl Bound {
    /// Puts a connection down; `None`, and it closes, where the endpoint has sent more than was asked for.
    pub(crate) fn new(
        home: &Arc<Upstream>,
        cluster: Arc<str>,
        affinity: u64,
        mut connection: Box<Connection>,
        now: Mono,
    ) -> Option<Self> {
        if !connection.is_at_rest() {
            connection.stream.part();
            return None;
        }
        connection.rest(now);
        // It ends when the client likes, and may do so often.
        connection.closes_in_order = false;
        Some(Self { home: Arc::clone(home), cluster, affinity, connection })
    }

    /// What makes a pick in this cluster prefer its endpoint.
    pub(crate) fn affinity_in(&self, cluster: &str) -> Option<u64> {
        (*self.cluster == *cluster).then_some(self.affinity)
    }

    /// Whether it is one to this endpoint.
    pub(crate) fn is_to(&self, upstream: &Arc<Upstream>) -> bool {
        Arc::ptr_eq(&self.home, upstream)
    }

    /// The connection, if the endpoint still keeps it.
    pub(crate) fn into_connection(self, now: Mono) -> Option<Box<Connection>> {
        let Self { home, mut connection, .. } = self;
        if connection.is_made_with(home.tls().as_ref()) && connection.is_kept_by_endpoint(now) {
            return Some(connection);
        }
        connection.stream.part();
        None
    }
}
