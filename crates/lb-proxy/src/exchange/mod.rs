//! An exchange: one request and its response, from the head to the line in the access log.

mod body;
mod connection_cache;
mod request;
mod response;
pub(crate) mod trace;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use lb_core::Mono;
use tokio::time::Instant;

use crate::downstream::{BodyOwner, Client, ClientConnection, Internal};
use crate::message::{Edits, RequestHead, Trailers};
use crate::net::clock;
use crate::rules::forwarded::{ForwardedHeaderCache, Origin};
use crate::rules::grpc;
use crate::rules::limit_headers::Told;
use crate::rules::request_id::RequestId;
use crate::rules::sticky::AffinityHint;
use crate::rules::template::Facts;
use crate::rules::trailers::RequestTrailers;
use crate::runtime::gates::Place;
use crate::runtime::snapshot::{ListenerRuntime, RouteRuntime, WorkerSnapshot};

pub(crate) use body::{Body, BodySource};
pub(crate) use connection_cache::ConnectionCache;
pub(crate) use request::Request;
pub(crate) use response::Response;
use trace::Trace;

/// One request and its response: what is known from the start, and what the stages found.
pub(crate) struct Exchange {
    pub(crate) snapshot: Arc<WorkerSnapshot>,
    pub(crate) listener: usize,
    /// Where its route stands in the snapshot, once it is known.
    pub(crate) route: Option<usize>,
    pub(crate) head: RequestHead,
    /// Edits of the head that do not depend on the endpoint.
    pub(crate) edits: Edits,
    pub(crate) origin: Origin,
    pub(crate) id: RequestId,
    pub(crate) started: Instant,
    /// The same on the scale on which spans cost less.
    pub(crate) began: Mono,
    pub(crate) client: Client,
    /// What the client is to be told of the limits on its request, where they tell anything.
    pub(crate) limits_told: Option<Box<Told>>,
    /// Its places among the requests at once, until its end.
    pub(crate) places: Vec<Place>,
    /// The endpoint that the client's cookie names.
    pub(crate) affinity_hint: Option<AffinityHint>,
    /// The endpoint that the client has a connection of its own to, for the policy's `preferred`.
    pub(crate) bound_affinity: Option<u64>,
    /// What a hashing policy hashes.
    pub(crate) hash_key: Option<Bytes>,
    /// Other exchanges run on its client's connection at the same time.
    pub(crate) is_multiplexed: bool,
    /// Who authentication has let in.
    pub(crate) user: Option<Arc<str>>,
    pub(crate) is_grpc: bool,
    /// How long the client of a gRPC call waits.
    pub(crate) grpc_timeout: Option<Duration>,
    pub(crate) trace: Trace,
    /// Headers about the client as its connection's last request had them, until this one has its own.
    pub(crate) forwarded_cache: ForwardedHeaderCache,
}

impl Exchange {
    /// `is_multiplexed`: other exchanges run on its client's connection at the same time.
    pub(crate) fn new(
        client: Client,
        is_multiplexed: bool,
        origin: Origin,
        snapshot: &Arc<WorkerSnapshot>,
        listener: usize,
        head: RequestHead,
    ) -> Self {
        let id = RequestId::of(&head, &origin, clock::unix_ms(), fastrand::u64(..));
        let is_grpc = grpc::is_call(&head);
        Self {
            snapshot: Arc::clone(snapshot),
            listener,
            route: None,
            edits: Edits::new(),
            origin,
            id,
            started: clock::now(),
            began: clock::mono(),
            client,
            limits_told: None,
            places: Vec::new(),
            affinity_hint: None,
            bound_affinity: None,
            hash_key: None,
            is_multiplexed,
            user: None,
            is_grpc,
            grpc_timeout: if is_grpc { grpc::timeout(&head) } else { None },
            head,
            trace: Trace::default(),
            forwarded_cache: ForwardedHeaderCache::default(),
        }
    }

    /// A request of the proxy's own, which counts as one of this connection's: a sub-request, or one that is only explained or
    /// tested. It needs no socket, and takes the same way as others.
    pub(crate) fn internal(
        connection: &Arc<ClientConnection>,
        snapshot: &Arc<WorkerSnapshot>,
        listener: usize,
        head: RequestHead,
        body: &Bytes,
    ) -> Self {
        let origin = Origin::new(connection.facts(), &snapshot.shared.listeners[listener].trusted, &head);
        let client = Client::Internal(Arc::new(Internal::new(connection, body)));
        Self::new(client, true, origin, snapshot, listener, head)
    }

    /// Its client's connection.
    pub(crate) fn connection(&self) -> &ClientConnection {
        self.client.connection()
    }

    /// Whether it is for a host that the connection is not for.
    pub(crate) fn is_misdirected(&self) -> bool {
        // A request without a host, or with one that is none, finds a route or an answer of its own.
        self.connection().is_misdirected(|| std::str::from_utf8(self.head.host_name()?).ok())
    }

    pub(crate) fn listener(&self) -> &ListenerRuntime {
        &self.snapshot.shared.listeners[self.listener]
    }

    /// The route it takes, once that is known.
    pub(crate) fn route(&self) -> Option<&RouteRuntime> {
        self.snapshot.shared.routes.get(self.route?).map(|route| &**route)
    }

    /// Whether its route passes on an offer to switch to this protocol.
    pub(crate) fn may_upgrade_to(&self, protocol: &[u8]) -> bool {
        self.route().is_some_and(|route| route.options.upgrade.allows(protocol))
    }

    /// What templates may ask for, before an endpoint is known.
    pub(crate) fn facts<'a>(&'a self, route: Option<&'a RouteRuntime>) -> Facts<'a> {
        Facts {
            head: &self.head,
            origin: &self.origin,
            request_id: self.id.as_bytes(),
            route: route.map_or("", |route| &route.name),
            cluster: route.and_then(RouteRuntime::cluster).map_or("", |cluster| &cluster.name),
            endpoint: "",
            user: self.user.as_deref().unwrap_or_default(),
        }
    }
}

impl BodyOwner for Exchange {
    fn client(&self) -> &Client {
        &self.client
    }

    fn upstream_trailers(&self, trailers: Trailers) -> Option<Trailers> {
        let route = self.route()?;
        let asks_for_certificates = self.connection().certificate_lines().is_some();
        let is_trusted = self.origin.is_trusted;
        let (edits, own) = (&*route.request_headers, &self.edits);
        RequestTrailers { is_trusted, asks_for_certificates, edits, own }.apply(trailers)
    }
}
