//! One worker's idle connections that belong to one client each: see [`Bound`](super::Bound).

use std::collections::BTreeMap;
use std::time::Duration;

use lb_config::KeepAlive;
use lb_core::Mono;

use super::Connection;

/// How long one is kept idle, unless `keep_alive.timeout` is longer. About as long as a client's connection by default: with much less,
/// each page that is read at leisure would cost a login; with more, idle clients would hold connections.
pub(super) const IDLE_TIMEOUT: Duration = Duration::from_secs(60);

/// One worker's idle connections to an endpoint that belong to one client each.
#[derive(Default)]
pub(in crate::upstream) struct ReservedConnections {
    /// By number.
    connections: BTreeMap<u64, Box<Connection>>,
    next: u64,
}

impl ReservedConnections {
    /// How long one is kept.
    pub(in crate::upstream) fn idle_timeout(limits: &KeepAlive) -> Duration {
        limits.timeout.max(IDLE_TIMEOUT)
    }

    /// Adds one; its number.
    pub(in crate::upstream) fn checkin(&mut self, connection: Box<Connection>) -> u64 {
        let number = self.next;
        self.next += 1;
        self.connections.insert(number, connection);
        number
    }

    pub(in crate::upstream) fn checkout(&mut self, number: u64) -> Option<Box<Connection>> {
        self.connections.remove(&number)
    }

    pub(in crate::upstream) fn iter(&self) -> impl Iterator<Item = &Connection> {
        self.connections.values().map(|connection| &**connection)
    }

    /// Closes those for which this is not so.
    pub(in crate::upstream) fn retain(&mut self, mut stays: impl FnMut(&mut Connection) -> bool) {
        self.connections.retain(|_, connection| stays(connection));
    }

    /// Closes those that were idle too long or that the endpoint closed.
    pub(in crate::upstream) fn reap(&mut self, limits: &KeepAlive, now: Mono) {
        let timeout = Self::idle_timeout(limits);
        self.retain(|connection| {
            let stays = connection.is_idle_within(timeout, now) && !connection.stream.is_readable();
            if !stays {
                connection.stream.notify_close();
            }
            stays
        });
    }
}
