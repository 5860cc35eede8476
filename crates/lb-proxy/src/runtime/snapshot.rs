//! The configuration in force, as the request path reads it.
//!
//! A [`Snapshot`] is immutable, numbered and published in one swap; a request holds one to its end. What must outlive a
//! change (members and what was learned of them, limiter cells, upstream connections, counters) is shared between
//! successive snapshots, keyed by identity.

use std::any::Any;
use std::collections::HashMap;
use std::sync::Arc;

use lb_config::{self as valid, Config, ListenAddress, RouteOptions};
use lb_core::Mono;
use lb_policy::{Cluster, Endpoint, Selector, Zone};
use lb_ratelimit::{Keyed, RetryBudget};

use crate::observe::metrics::{ListenerMetrics, RouteMetrics};
use crate::observe::status::{self, State};
use crate::rules::headers::HeaderRules;
use crate::rules::networks::{Access, Networks};
use crate::rules::router::Router;
use crate::runtime::gates::Gates;
use crate::runtime::placement::ZonedPolicy;
use crate::tls::Terminator;
use crate::upstream::{EndpointService, Outliers};
use crate::wire::h1::HeadLimits;

/// The configuration in force.
pub(crate) struct Snapshot {
    pub(crate) generation: u64,
    pub(crate) config: Arc<Config>,
    pub(crate) router: Router,
    pub(crate) listeners: Vec<ListenerRuntime>,
    pub(crate) by_address: HashMap<ListenAddress, usize, ahash::RandomState>,
    /// Those of the configuration, and after them one for each cluster that gets requests of our own, which no client's request takes.
    pub(crate) routes: Vec<Arc<RouteRuntime>>,
    pub(crate) clusters: Vec<Arc<ClusterRuntime>>,
    /// The tables of rate limits, by name.
    pub(crate) rate_limits: Vec<(Arc<str>, Arc<Keyed>)>,
    /// Limits on requests at once.
    pub(crate) gates: Gates,
    /// Where `redirect = "https"` sends clients.
    pub(crate) https_port: u16,
}

impl Snapshot {
    /// The position of the listener with this configured address; `None` once a reload has removed it.
    pub(crate) fn listener(&self, address: &ListenAddress) -> Option<usize> {
        self.by_address.get(address).copied()
    }

    /// Where the route of our own requests to this cluster stands in [`routes`](Self::routes); `None` for a cluster that the
    /// configuration has us ask nothing.
    pub(crate) fn own_route(&self, cluster: usize) -> Option<usize> {
        let position = self.config.own_requests.clusters.binary_search(&cluster).ok()?;
        Some(self.config.routes.len() + position)
    }
}

/// A listener, as a request sees it.
pub(crate) struct ListenerRuntime {
    pub(crate) name: Arc<str>,
    pub(crate) redirect_https: bool,
    /// TLS, as read with this snapshot.
    pub(crate) tls: Option<Arc<Terminator>>,
    pub(crate) trusted: Networks,
    /// Whose connections begin with a PROXY header, if anybody's do.
    pub(crate) proxied: Option<Networks>,
    /// Whom it serves, if not everybody.
    pub(crate) access: Option<Access>,
    pub(crate) metrics: Arc<ListenerMetrics>,
    /// Of requests that no route takes.
    pub(crate) unrouted: Arc<RouteMetrics>,
    /// Edits of answers that no route made.
    pub(crate) response_headers: Arc<HeaderRules>,
}

/// A route with everything it refers to.
pub(crate) struct RouteRuntime {
    pub(crate) name: Arc<str>,
    /// Where it forwards to; `None` where it answers itself.
    pub(crate) cluster: Option<Arc<ClusterRuntime>>,
    pub(crate) options: RouteOptions,
    pub(crate) request_headers: Arc<HeaderRules>,
    pub(crate) response_headers: Arc<HeaderRules>,
    /// Host or headers towards the endpoint depend on which endpoint it is.
    pub(crate) edits_differ_by_endpoint: bool,
    /// What the policy hashes, where it does.
    pub(crate) key: Option<HashKey>,
    /// Picks its endpoints: the same one for all workers, so that turns are shared. `None` where it does not forward.
    pub(crate) selector: Option<Selector<ZonedPolicy, EndpointService>>,
    pub(crate) budget: Option<Arc<RetryBudget>>,
    /// One a listener.
    pub(crate) metrics: Vec<Arc<RouteMetrics>>,
}

/// What a hashing policy hashes.
pub(crate) enum HashKey {
    ClientIp,
    Text(valid::Template),
}

impl RouteRuntime {
    /// The cluster it forwards to.
    pub(crate) fn cluster(&self) -> Option<&Arc<ClusterRuntime>> {
        self.cluster.as_ref()
    }

    /// The name of the policy it picks by: its own, or its cluster's; empty if it picks nobody.
    pub(crate) fn policy_name(&self) -> &'static str {
        let policy = self.options.policy.as_ref().or_else(|| Some(&self.cluster()?.config.policy));
        policy.map_or("", |policy| policy.kind.name())
    }
}

/// A cluster: its members are shared with the snapshots before and after.
pub(crate) struct ClusterRuntime {
    pub(crate) name: Arc<str>,
    pub(crate) config: valid::Cluster,
    pub(crate) members: Cluster<EndpointService>,
    pub(crate) passive: Option<Outliers>,
    /// Where this proxy is, if that matters.
    pub(crate) zone: Option<Zone>,
}

impl ClusterRuntime {
    /// The state of an endpoint, and its reason where it is not simply up.
    pub(crate) fn observed(&self, endpoint: &Endpoint<EndpointService>, now: Mono) -> (State, Option<String>) {
        let is_warming = self.members.warming_share(endpoint, now).is_some();
        match status::observed(endpoint.state(), is_warming) {
            (State::Up | State::Warming, _) if endpoint.state().is_throttled() => {
                let chronicle = &endpoint.value().upstream.chronicle;
                match chronicle.suspected_for() {
                    Some(why) => (State::Suspected, Some(why)),
                    None => {
                        let why = "its ejection is over; it gets one request at a time until three have succeeded";
                        (State::Probation, Some(why.to_owned()))
                    }
                }
            }
            observed => observed,
        }
    }
}

/// A snapshot as the requests of one worker refer to it. Each worker has one of its own, so that the count of its references,
/// which every request changes, is written by that worker only.
pub(crate) struct WorkerSnapshot {
    pub(crate) shared: Arc<Snapshot>,
    /// The worker's stacks for its routes, by which an exchange can send a further request. Only the room that makes them knows
    /// their type.
    pub(crate) stacks: Arc<dyn Any + Send + Sync>,
}

/// The limits on the head of a request.
pub(crate) fn request_limits(limits: &valid::Limits) -> HeadLimits {
    HeadLimits { bytes: limits.request_head_bytes, headers: limits.headers, uri: limits.uri_bytes }
}

/// The limits on the head of a response.
pub(crate) fn response_limits(limits: &valid::Limits) -> HeadLimits {
    HeadLimits { bytes: limits.response_head_bytes, headers: limits.response_headers, uri: 0 }
}
