//! What all workers share: counters of connections, metrics, the access log.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use lb_config::{Limits, ListenAddress};
use lb_core::{Clock, Mono, SystemClock};
use lb_ratelimit::{ClientKey, Keyed, Quota};

use crate::events::{self, Event, Events};
use crate::net::descriptors::Shares;
use crate::observe::access_log::AccessLog;
use crate::observe::app_log::LimitLog;
use crate::observe::event_log::EventLog;
use crate::observe::failure_log::FailureLog;
use crate::observe::metrics::{Metrics, RefusedConnection};
use crate::observe::once_a_second::OnceASecond;
use crate::runtime::snapshot::Snapshot;
use crate::upstream::Room;

/// Requests that the connections of one client address (IPv6 by /64) may give up before their answer, at once, and a
/// second on top; on each connection every one that is answered allows for one more. A page that is left cancels a few
/// dozen. Who cancels without end has found that a request costs us more than it costs to cancel it (CVE-2023-44487); and
/// who opens a connection for every few hundred is the same client.
const CANCELS: u64 = 500;
const CANCELS_PER_SECOND: u64 = 50;
/// Of 16 000 addresses. Where more cancel at a time, the one that is closest to its full allowance is forgotten.
const CANCELS_MEMORY: usize = 256 * 1024;

/// Shared by all workers, for the life of the process.
pub(crate) struct Shared {
    pub(crate) clock: SystemClock,
    pub(crate) metrics: Arc<Metrics>,
    /// What happens to the proxy as a whole.
    pub(crate) events: Arc<Events>,
    pub(crate) access_log: AccessLog,
    pub(crate) limit_log: Arc<LimitLog>,
    /// Of clients whose connections were ended.
    pub(crate) abuse_log: LimitLog,
    /// Of listeners that cannot accept, over all of them.
    pub(crate) accept_log: OnceASecond,
    /// Of requests that failed.
    pub(crate) failure_log: FailureLog,
    /// Requests given up before their answer, by client: see [`CANCELS`].
    cancels: Keyed,
    connections: AtomicUsize,
    /// How many client connections there may be.
    max_connections: AtomicUsize,
    /// Of connections to endpoints.
    pub(crate) room: Arc<Room>,
    /// The second in which a refusal was last logged, of each kind.
    refusal_logged: [AtomicU64; RefusedConnection::ALL.len()],
    /// Connections of each client; used only where they are limited.
    by_client: Mutex<HashMap<ClientKey, usize, ahash::RandomState>>,
}

/// A client connection within the limits; makes room when dropped.
pub(crate) struct ConnectionPermit {
    shared: Arc<Shared>,
    client: Option<ClientKey>,
}

/// Why a connection is closed before its first request.
pub(crate) enum Refusal {
    /// There are too many.
    Full,
    /// This client has too many.
    Client(IpAddr),
    /// The listener does not serve this client's network.
    Denied(IpAddr),
    /// It should have begun with a PROXY header.
    Unproxied {
        /// Who connected.
        peer: Option<SocketAddr>,
        /// What is wrong.
        why: String,
    },
}

impl Shared {
    pub(crate) fn new(metrics: Arc<Metrics>, access_log: AccessLog) -> Self {
        Self {
            clock: lb_tower::system_clock(),
            events: Arc::new(Events::new(vec![Box::new(EventLog), Box::new(Arc::clone(&metrics))])),
            metrics,
            access_log,
            limit_log: Arc::default(),
            abuse_log: LimitLog::new(),
            accept_log: OnceASecond::default(),
            failure_log: FailureLog::default(),
            cancels: Keyed::new(
                Quota::per_second(CANCELS_PER_SECOND).with_burst(CANCELS),
                CANCELS_MEMORY,
                [fastrand::u64(..), fastrand::u64(..)],
            ),
            connections: AtomicUsize::new(0),
            max_connections: AtomicUsize::new(usize::MAX),
            room: Arc::default(),
            refusal_logged: [const { AtomicU64::new(u64::MAX) }; RefusedConnection::ALL.len()],
            by_client: Mutex::default(),
        }
    }

    pub(crate) fn now(&self) -> Mono {
        self.clock.now()
    }

    /// A stream was refused: the heads of its connection's requests take as much as they may.
    pub(crate) fn on_heads(&self, client: Option<IpAddr>, most: usize) {
        self.abuse_log.on_heads(client, most, self.now());
    }

    /// Whether this client may give up one more request, over all its connections. Clients on Unix sockets have no address,
    /// and are one.
    pub(crate) fn may_cancel(&self, client: Option<IpAddr>) -> bool {
        let key = client.map(ClientKey::new);
        self.cancels.check(key.as_ref().map_or(&[], ClientKey::as_bytes), self.now()).is_pass()
    }

    /// How many it may give up now.
    pub(crate) fn cancels_left(&self, client: Option<IpAddr>) -> u64 {
        let key = client.map(ClientKey::new);
        self.cancels.remaining(key.as_ref().map_or(&[], ClientKey::as_bytes), self.now())
    }

    /// A client's HTTP/2 connection was ended for what it did.
    pub(crate) fn on_abuse(&self, client: Option<IpAddr>, what: &'static str) {
        self.metrics.on_http2_abuse();
        self.abuse_log.on_abuse(client, what, self.now());
    }

    /// Counts a connection that is closed before its first request, and emits it once a second for each reason.
    pub(crate) fn on_refused(&self, address: &ListenAddress, snapshot: &Snapshot, refusal: &Refusal) {
        let kind = refusal.kind();
        let Some(position) = snapshot.listener(address) else { return };
        let listener = &snapshot.listeners[position];
        listener.metrics.on_refused(kind);
        let second = self.now().as_millis() / 1000;
        if self.refusal_logged[kind as usize].swap(second, Ordering::Relaxed) == second {
            return;
        }
        let refusal = match refusal {
            Refusal::Full => events::Refusal::Full { max: self.max_connections() },
            Refusal::Client(client) => {
                let max = snapshot.config.limits.connections_per_client;
                events::Refusal::Client { client: *client, max: max.map_or(0, std::num::NonZeroUsize::get) }
            }
            Refusal::Denied(client) => events::Refusal::Denied { client: *client },
            Refusal::Unproxied { peer, why } => events::Refusal::Unproxied { peer: *peer, why: why.clone() },
        };
        self.events.emit(Event::Refused { listener: Arc::clone(&listener.name), refusal });
    }

    /// Puts limits in effect, for so many clusters. Connections beyond them stay.
    pub(crate) fn set_shares(&self, shares: &Shares, clusters: usize) {
        self.max_connections.store(shares.connections, Ordering::Relaxed);
        self.room.set_max(shares.endpoint_connections, clusters);
    }

    /// How many client connections there may be.
    pub(crate) fn max_connections(&self) -> usize {
        self.max_connections.load(Ordering::Relaxed)
    }

    /// Lets a connection in, or says that it is one too many.
    pub(crate) fn admit(self: &Arc<Self>) -> Option<ConnectionPermit> {
        if self.connections.fetch_add(1, Ordering::AcqRel) >= self.max_connections() {
            self.connections.fetch_sub(1, Ordering::AcqRel);
            return None;
        }
        Some(ConnectionPermit { shared: Arc::clone(self), client: None })
    }
}

impl Refusal {
    const fn kind(&self) -> RefusedConnection {
        match self {
            Self::Full => RefusedConnection::Limit,
            Self::Client(_) => RefusedConnection::ClientLimit,
            Self::Denied(_) => RefusedConnection::Denied,
            Self::Unproxied { .. } => RefusedConnection::ProxyProtocol,
        }
    }
}

impl ConnectionPermit {
    /// Tells whose connection it is, once that is known; whether that client may have another one.
    pub(crate) fn is_within(&mut self, limits: &Limits, client: IpAddr) -> bool {
        let Some(most) = limits.connections_per_client else { return true };
        let client = ClientKey::new(client);
        let mut by_client = self.shared.by_client.lock().unwrap_or_else(PoisonError::into_inner);
        let count = by_client.entry(client).or_default();
        if *count >= most.get() {
            return false;
        }
        *count += 1;
        self.client = Some(client);
        true
    }
}

impl Drop for ConnectionPermit {
    fn drop(&mut self) {
        self.shared.connections.fetch_sub(1, Ordering::AcqRel);
        let Some(client) = self.client else { return };
        let mut by_client = self.shared.by_client.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = by_client.get_mut(&client) {
            *count -= 1;
            if *count == 0 {
                by_client.remove(&client);
            }
        }
    }
}
