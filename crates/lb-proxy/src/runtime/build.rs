//! What outlives a configuration: clusters' members, upstream connections, limiter cells, budgets, turns.
//!
//! Every snapshot is built here. Building one is a diff by identity: what the new configuration names again is taken
//! over as it is, what it does not is forgotten.

use std::collections::HashMap;
use std::sync::Arc;

use lb_config::{self as valid, Action, Condition, Config, LimitKey, LocalZone};
use std::num::NonZeroU16;

use lb_core::{Axis, InFlightLimit, Mono, Weight};
use lb_discovery::Listing;
use lb_health::{Ejection, FailureSet, Growth};
use lb_policy::{
    BuiltIn, Cluster, Identity, KeyUse, Member, PanicMode, Selector, SlowStart, Spill, Update, ZoneAware, affinity_of,
};
use lb_ratelimit::{Keyed, Quota, Ratio, RetryBudget};
use lb_tower::{Passive, PassiveRule};
use rand::Rng;

use crate::drivers::checks::Target;
use crate::error::EngineError;
use crate::observe::event::Events;
use crate::observe::metrics::{EndpointMetrics, Metrics, Series};
use crate::rules::headers::{HeaderError, HeaderRules};
use crate::rules::networks::Networks;
use crate::rules::respond::Responder;
use crate::rules::router::Router;
use crate::rules::sticky::StickyCookie;
use crate::runtime::endpoints::{Endpoints, Listed};
use crate::runtime::orders::{Order, Orders};
use crate::runtime::placement::{self, ZoneNames, ZonedPolicy, Zoning};
use crate::runtime::snapshot::{ClusterRuntime, Deed, HashKey, ListenerRuntime, RouteRuntime, Snapshot};
use crate::tls::{ClusterSettings, Loaded, UpstreamTls};
use crate::upstream::{EjectionReporter, EndpointService, Outliers, Share, Upstream};
use crate::worker::shared::Shared;

/// Retries that are always allowed, however little traffic there is.
const RETRIES_PER_SECOND: u32 = 10;

/// What outlives a configuration.
pub(crate) struct Registry {
    shared: Arc<Shared>,
    workers: usize,
    generation: u64,
    clusters: HashMap<Arc<str>, ClusterState>,
    orders: Orders,
    limiters: Vec<(LimiterId, Arc<Keyed>)>,
    budgets: HashMap<(Arc<str>, u64), Arc<RetryBudget>>,
    /// Signs cookies of routes without a secret of their own; cookies then live as long as the process.
    sticky_secret: [u8; 32],
    /// Spreads limiter keys over their tables, unknown to clients.
    seed: [u64; 2],
}

/// Name, key and memory of a limit: cells can be shared where these are the same.
type LimiterId = (Arc<str>, LimitKey, u64);

/// The tables of a configuration that is to be taken over.
pub(crate) struct Limiters(Vec<(LimiterId, Arc<Keyed>)>);

fn limiter_id(limit: &valid::RateLimit) -> LimiterId {
    (Arc::clone(&limit.name), limit.key.clone(), limit.memory_bytes)
}

struct ClusterState {
    members: Cluster<EndpointService>,
    upstreams: HashMap<Identity, Arc<Upstream>>,
    /// By policy as configured, so that turns go on where they were.
    selectors: Vec<(valid::Policy, Option<Zoning>, Selector<ZonedPolicy, EndpointService>)>,
    zones: ZoneNames,
    local_zone: Option<LocalZone>,
    endpoints: Endpoints,
    /// Of the connections to all endpoints.
    share: Arc<Share>,
    config: valid::Cluster,
    /// TLS to its endpoints, by what the cluster and what an endpoint's address says.
    tls: ClusterSettings,
    metrics: HashMap<Arc<str>, Arc<EndpointMetrics>>,
    passive: Option<Outliers>,
}

impl Registry {
    pub(crate) fn new(shared: Arc<Shared>, workers: usize) -> Self {
        let mut sticky_secret = [0; 32];
        rand::rng().fill_bytes(&mut sticky_secret);
        Self {
            shared,
            workers,
            generation: 0,
            clusters: HashMap::new(),
            orders: Orders::default(),
            limiters: Vec::new(),
            budgets: HashMap::new(),
            sticky_secret,
            seed: [rand::rng().next_u64(), rand::rng().next_u64()],
        }
    }

    /// The tables of this configuration's rate limits: those in force where they are the same, and new ones. Nothing changes.
    ///
    /// # Errors
    /// There is not as much memory.
    pub(crate) fn limiters(&self, config: &Config) -> Result<Limiters, EngineError> {
        let mut tables: Vec<(LimiterId, Arc<Keyed>)> = Vec::new();
        for route in &config.routes {
            let Some(limit) = &route.options.rate_limit else { continue };
            let id = limiter_id(limit);
            if tables.iter().any(|(known, _)| *known == id) {
                continue;
            }
            let quota = Quota::new(limit.rate.requests.get(), limit.rate.period).with_burst(limit.burst);
            let made = match self.limiters.iter().find(|(known, _)| *known == id) {
                Some((_, same)) if same.quota() == quota => Ok(Arc::clone(same)),
                Some((_, changed)) => changed.with_quota(quota, self.shared.now()).map(Arc::new),
                None => Keyed::try_new(quota, limit.memory_bytes as usize, self.seed).map(Arc::new),
            };
            let made = made.map_err(|source| EngineError::Memory { route: Arc::clone(&route.name), source })?;
            tables.push((id, made));
        }
        Ok(Limiters(tables))
    }

    /// Makes this configuration the one in force, as far as members, limits and routes go, with endpoints where
    /// `resolved` says that they are, and `tls` for each listener. The snapshot is to be published by the caller.
    ///
    /// # Errors
    /// A header that cannot be written; nothing has changed then.
    pub(crate) fn build(
        &mut self,
        config: Arc<Config>,
        resolved: &[Listing],
        tls: Loaded,
        limiters: Limiters,
        https_port: u16,
    ) -> Result<Arc<Snapshot>, HeaderError> {
        let rules = config
            .routes
            .iter()
            .map(|route| Rules::new(&config, route, &self.sticky_secret))
            .collect::<Result<_, _>>()?;
        let listener_rules = listener_rules(&config)?;
        self.generation += 1;
        self.limiters = limiters.0;
        let metrics = Arc::clone(&self.shared.metrics);
        let mut series = metrics.series();
        let clusters: Vec<_> = config
            .clusters
            .iter()
            .zip(&tls.clusters)
            .map(|(cluster, tls)| self.cluster(cluster, tls, config.zone.as_ref(), resolved, &mut series))
            .collect();
        self.clusters.retain(|name, state| {
            let stays = config.clusters.iter().any(|cluster| cluster.name == *name);
            if !stays {
                state.upstreams.values().for_each(|upstream| upstream.close());
            }
            stays
        });
        let listeners: Vec<_> = config
            .listeners
            .iter()
            .zip(tls.listeners)
            .zip(listener_rules)
            .map(|((listener, tls), response_headers)| ListenerRuntime {
                response_headers,
                tls,
                name: Arc::clone(&listener.name),
                redirect_https: listener.redirect_https,
                trusted: Networks::new(&listener.trusted_proxies),
                proxied: listener.proxy_protocol.as_deref().map(Networks::new),
                metrics: series.listener(&listener.name),
                unrouted: series.route(&listener.name, "", None, &[]),
            })
            .collect();
        let routes = self.routes(&config, rules, &clusters, &mut series);
        self.forget_policies(&config);
        series.publish(self.generation);
        let by_address =
            config.listeners.iter().enumerate().map(|(index, listener)| (listener.address.clone(), index)).collect();
        Ok(Arc::new(Snapshot {
            generation: self.generation,
            router: Router::new(&config),
            listeners,
            by_address,
            routes,
            clusters,
            https_port,
            config,
        }))
    }

    /// Whether [`build`](Self::build) would succeed.
    pub(crate) fn check(config: &Config) -> Result<(), HeaderError> {
        // No secret makes a cookie that cannot be written.
        listener_rules(config)?;
        config.routes.iter().try_for_each(|route| Rules::new(config, route, &[0; 32]).map(drop))
    }

    fn cluster(
        &mut self,
        config: &valid::Cluster,
        tls: &ClusterSettings,
        zone: Option<&LocalZone>,
        resolved: &[Listing],
        series: &mut Series<'_>,
    ) -> Arc<ClusterRuntime> {
        let now = self.shared.now();
        let state = self.clusters.entry(Arc::clone(&config.name)).or_insert_with(|| ClusterState {
            members: Cluster::new(Arc::clone(&config.name)),
            upstreams: HashMap::new(),
            selectors: Vec::new(),
            zones: ZoneNames::default(),
            local_zone: None,
            endpoints: Endpoints::default(),
            share: Arc::new(Share::of(&self.shared.room)),
            config: config.clone(),
            tls: tls.clone(),
            metrics: HashMap::new(),
            passive: None,
        });
        state.config = config.clone();
        state.tls = tls.clone();
        state.local_zone = zone.cloned();
        let listing = resolved.iter().find(|it| it.cluster == config.name);
        listing.into_iter().for_each(|it| state.endpoints.learn(it));
        let sources = listing.into_iter().flat_map(|it| it.lists.iter().map(|list| &list.source));
        state.endpoints.adopt(config, sources);
        let listed = state.endpoints.listed(config);
        let names = config.endpoints.iter().chain(listed.iter().map(|it| &it.endpoint)).map(|it| &it.name);
        state.metrics = names.map(|name| (Arc::clone(name), series.endpoint(&config.name, name))).collect();
        // First of all, so that who joins with this configuration warms up by it.
        state.members.set_slow_start(config.slow_start.map(SlowStart::new));
        state.members.set_queue(config.queue.size, config.queue.timeout);
        state.apply(&self.orders, self.workers, now);
        state.members.set_panic_mode(panic_mode(config.panic_threshold), now);
        state.members.set_spill(config.spill.map_or(Spill::WhenExhausted, Spill::Overprovisioned), now);
        state.judge(&self.shared.events, now);
        Arc::new(ClusterRuntime {
            name: Arc::clone(&config.name),
            config: config.clone(),
            members: state.members.clone(),
            passive: state.passive.clone(),
            zone: state.zoning().map(|zoning| zoning.local),
        })
    }

    fn routes(
        &mut self,
        config: &Arc<Config>,
        rules: Vec<Rules>,
        clusters: &[Arc<ClusterRuntime>],
        series: &mut Series<'_>,
    ) -> Vec<Arc<RouteRuntime>> {
        let old_budgets = std::mem::take(&mut self.budgets);
        config
            .routes
            .iter()
            .zip(rules)
            .enumerate()
            .map(|(index, (route, rules))| {
                let deed = match (&route.action, rules.responder) {
                    (Action::Cluster(position), _) => Deed::Forward(Arc::clone(&clusters[*position])),
                    (Action::Redirect(redirect), _) => Deed::Redirect(redirect.clone()),
                    (Action::Respond(_), Some(responder)) => Deed::Respond(responder),
                    (Action::Respond(_), None) => unreachable!("rules of a fixed answer have a responder"),
                };
                let cluster = match &deed {
                    Deed::Forward(cluster) => Some(cluster),
                    _ => None,
                };
                let endpoints = cluster.map(|cluster| series.endpoints(&cluster.name)).unwrap_or_default();
                let cluster_name = cluster.map(|cluster| &*cluster.name);
                let selector = cluster.and_then(|cluster| {
                    Some(self.clusters.get_mut(&cluster.name)?.selector(policy_of(route, cluster)))
                });
                let metrics = config
                    .listeners
                    .iter()
                    .map(|listener| series.route(&listener.name, &route.name, cluster_name, &endpoints))
                    .collect();
                Arc::new(RouteRuntime {
                    index,
                    name: Arc::clone(&route.name),
                    edits_differ_by_endpoint: rules.request_headers.uses_endpoint()
                        || !route.options.forwarded.preserve_host,
                    request_headers: rules.request_headers,
                    response_headers: rules.response_headers,
                    sticky: rules.sticky,
                    key: cluster.and_then(|cluster| hash_key(policy_of(route, cluster))),
                    selector,
                    limiter: route.options.rate_limit.as_ref().and_then(|limit| self.limiter(limit)),
                    budget: route.options.retry.as_ref().map(|retry| self.budget(&route.name, retry, &old_budgets)),
                    metrics,
                    options: route.options.clone(),
                    deed,
                })
            })
            .collect()
    }

    /// Drops the turns of policies that nobody asks for any more.
    fn forget_policies(&mut self, config: &Config) {
        for (position, cluster) in config.clusters.iter().enumerate() {
            let Some(state) = self.clusters.get_mut(&cluster.name) else { continue };
            let routes = config.routes.iter().filter(|route| route.action == Action::Cluster(position));
            let used: Vec<_> = routes.map(|route| route.options.policy.as_ref().unwrap_or(&cluster.policy)).collect();
            state.selectors.retain(|(policy, ..)| used.contains(&policy));
        }
    }

    fn limiter(&self, limit: &valid::RateLimit) -> Option<Arc<Keyed>> {
        let id = limiter_id(limit);
        self.limiters.iter().find(|(known, _)| *known == id).map(|(_, table)| Arc::clone(table))
    }

    fn budget(
        &mut self,
        route: &Arc<str>,
        retry: &valid::Retry,
        old: &HashMap<(Arc<str>, u64), Arc<RetryBudget>>,
    ) -> Arc<RetryBudget> {
        let millionths = (retry.budget_ratio * 1e6).round() as u32;
        let key = (Arc::clone(route), u64::from(millionths));
        let budget = match old.get(&key) {
            Some(same) => Arc::clone(same),
            None => Arc::new(RetryBudget::new(Ratio::millionths(millionths), RETRIES_PER_SECOND)),
        };
        self.budgets.insert(key, Arc::clone(&budget));
        budget
    }

    /// Everybody who is to be checked actively.
    pub(crate) fn to_check(&self) -> Vec<Target> {
        let mut targets = Vec::new();
        for state in self.clusters.values() {
            let Some(check) = &state.config.health.active else { continue };
            let check = Arc::new(check.clone());
            for upstream in state.upstreams.values() {
                let Some(endpoint) = upstream.identity(&state.config.name) else { continue };
                let metrics = Arc::clone(&upstream.metrics);
                targets.push(Target { endpoint, check: Arc::clone(&check), metrics });
            }
        }
        targets
    }

    /// How an endpoint is reached by TLS, where it is.
    pub(crate) fn tls_to(&self, cluster: &str, endpoint: &str) -> Option<Arc<UpstreamTls>> {
        let mut upstreams = self.clusters.get(cluster)?.upstreams.values();
        upstreams.find(|upstream| *upstream.name == *endpoint)?.tls()
    }

    /// Gives an order about an endpoint, wherever its name leads, or takes it back. It holds for endpoints that are yet to
    /// come. Returns whether there is one of this name now.
    pub(crate) fn order(&mut self, cluster: &str, endpoint: &str, order: Option<Order>) -> bool {
        self.orders.set(cluster, endpoint, order);
        let now = self.shared.now();
        let Some(state) = self.clusters.get(cluster) else { return false };
        let mut is_known = false;
        for known in state.members.endpoints().iter().filter(|known| *known.identity().name == *endpoint) {
            is_known = true;
            for (axis, on) in self.orders.axes(&state.config.name, &known.identity().name) {
                state.members.set(known.uid(), axis, on, now);
            }
        }
        is_known
    }

    /// Takes over what a cluster's sources list now.
    pub(crate) fn on_listing(&mut self, listing: &Listing) {
        let now = self.shared.now();
        if let Some(state) = self.clusters.get_mut(&listing.cluster) {
            state.endpoints.learn(listing);
            state.measure(&self.shared.metrics);
            state.apply(&self.orders, self.workers, now);
        }
    }
}

/// The parts of a route that can be wrong.
struct Rules {
    responder: Option<Responder>,
    request_headers: HeaderRules,
    response_headers: HeaderRules,
    sticky: Option<StickyCookie>,
}

/// The edits of each listener's own answers.
fn listener_rules(config: &Config) -> Result<Vec<HeaderRules>, HeaderError> {
    config.listeners.iter().map(|listener| HeaderRules::new(&listener.response_headers)).collect()
}

impl Rules {
    fn new(config: &Config, route: &valid::Route, sticky_secret: &[u8; 32]) -> Result<Self, HeaderError> {
        let responder = match &route.action {
            Action::Respond(respond) => Some(Responder::new(respond)?),
            _ => None,
        };
        let sticky = route.options.sticky.as_ref();
        // On other routes no cookie is set.
        let cluster = match route.action {
            Action::Cluster(position) => &*config.clusters[position].name,
            _ => "",
        };
        Ok(Self {
            responder,
            request_headers: HeaderRules::new(&route.options.headers.request)?,
            response_headers: HeaderRules::new(&route.options.headers.response)?,
            sticky: sticky.map(|sticky| StickyCookie::new(sticky, cluster, sticky_secret)).transpose()?,
        })
    }
}

impl ClusterState {
    /// Has metrics count the endpoints that are there now, and forget those that a source brought and took away.
    fn measure(&mut self, metrics: &Metrics) {
        let cluster = &self.config.name;
        let listed = self.endpoints.listed(&self.config);
        let names = self.config.endpoints.iter().chain(listed.iter().map(|it| &it.endpoint)).map(|it| &it.name);
        let named: HashMap<_, _> = names.map(|name| (Arc::clone(name), metrics.endpoint(cluster, name))).collect();
        self.metrics.keys().filter(|name| !named.contains_key(*name)).for_each(|gone| metrics.forget(cluster, gone));
        self.metrics = named;
    }

    /// Publishes the members that the configuration and its sources give.
    fn apply(&mut self, orders: &Orders, workers: usize, now: Mono) {
        let mut upstreams = HashMap::with_capacity(self.upstreams.len());
        let mut members = Vec::new();
        let listed = self.endpoints.listed(&self.config);
        let places: Vec<_> = listed.iter().map(|it| (placement::tier(&it.endpoint), it.identity.to_string())).collect();
        let used = placement::used(self.config.subset.as_ref(), &places);
        for (it, _) in listed.into_iter().zip(used).filter(|(_, used)| *used) {
            let Listed { endpoint, identity, address, is_one_of_several, is_ready } = it;
            let upstream = match self.upstreams.get(&identity) {
                Some(known) => Arc::clone(known),
                None => {
                    let metrics = Arc::clone(&self.metrics[&endpoint.name]);
                    Arc::new(Upstream::new(
                        &endpoint,
                        address.clone(),
                        &self.config.keep_alive,
                        metrics,
                        workers,
                        Arc::clone(&self.share),
                    ))
                }
            };
            upstream.set_keep_alive(&self.config.keep_alive);
            upstream.set_http2(self.config.http2);
            upstream.set_proxy_protocol(self.config.proxy_protocol);
            upstream.set_tls(self.tls.to(&self.config, &endpoint));
            let affinity = if is_one_of_several {
                affinity_of(&format!("{}|{}", identity.name, identity.address))
            } else {
                affinity_of(&identity.name)
            };
            upstreams.insert(identity.clone(), Arc::clone(&upstream));
            let limit = endpoint.max_in_flight.map_or(InFlightLimit::NONE, |most| InFlightLimit::new(most.get()));
            let member = Member::new(identity, EndpointService { upstream, affinity });
            let member = member.weight(Weight::new(endpoint.weight)).limit(limit).affinity(affinity);
            let member = member.axis(Axis::Unresolved, address.is_none()).axis(Axis::Drain, endpoint.drain);
            let mut member = member.axis(Axis::NotReady, !is_ready);
            member.axes.extend(orders.axes(&self.config.name, &endpoint.name));
            let zone = endpoint.zone.as_deref().map(|zone| self.zones.number(zone));
            members.push(member.priority(placement::tier(&endpoint)).zone(zone));
        }
        let old = std::mem::replace(&mut self.upstreams, upstreams);
        self.members.apply(Update::Reset(members), now);
        let gone = old.iter().filter(|(identity, _)| !self.upstreams.contains_key(identity));
        gone.for_each(|(_, upstream)| upstream.close());
    }

    /// How endpoints are told apart by zone; none if they are not.
    fn zoning(&mut self) -> Option<Zoning> {
        let local = self.local_zone.as_ref()?;
        Some(Zoning::new(local, &self.config.endpoints, |name| self.zones.number(name)))
    }

    /// Takes over the rule by which real traffic ejects; no ejection outlives it.
    fn judge(&mut self, events: &Arc<Events>, now: Mono) {
        let old = self.passive.take();
        self.passive = match (&self.config.health.passive, old) {
            (Some(config), Some(old)) => {
                old.set_rule(passive_rule(config), now);
                Some(old)
            }
            (Some(config), None) => {
                let (name, members) = (Arc::clone(&self.config.name), self.members.clone());
                let reporter = EjectionReporter::new(name, members, Arc::clone(events));
                Some(Passive::new(self.members.clone(), passive_rule(config), reporter))
            }
            (None, Some(old)) => {
                old.close(now);
                None
            }
            (None, None) => None,
        };
    }

    /// The selector of this policy: the same one for all routes and workers, so that turns are shared.
    fn selector(&mut self, policy: &valid::Policy) -> Selector<ZonedPolicy, EndpointService> {
        let zoning = self.zoning();
        self.selectors.retain(|(of, zones, _)| of != policy || *zones == zoning);
        if let Some((.., known)) = self.selectors.iter().find(|(of, ..)| of == policy) {
            return known.clone();
        }
        // A switch that is on stands for any value there is; the only one so far says where turns begin.
        let drawn = |name: &str, value: f64| {
            if policy.kind.is_switch(name) { value * rand::random::<f64>() } else { value }
        };
        let options = policy.options.iter().map(|(name, value)| (&**name, drawn(name, *value)));
        let built = BuiltIn::from_name(policy.kind.name(), options).unwrap_or_else(|error| {
            // Not reached: the configuration is checked by the same catalog.
            tracing::error!("policy of cluster {}: {error}; using round_robin", self.members.name());
            BuiltIn::default()
        });
        let near = match &zoning {
            Some(Zoning { origins, minimum, .. }) => ZoneAware::new(built, origins).minimum(*minimum),
            None => ZoneAware::new(built, &[]),
        };
        let selector = self.members.selector(near);
        self.selectors.push((policy.clone(), zoning, selector.clone()));
        selector
    }
}

fn panic_mode(threshold: Option<f64>) -> PanicMode {
    match threshold {
        None => PanicMode::NoneLeft,
        Some(0.0) => PanicMode::Never,
        Some(share) => PanicMode::Below(share),
    }
}

fn passive_rule(config: &valid::PassiveHealth) -> PassiveRule {
    let failures = config.on.iter().fold(FailureSet::EMPTY, |set, condition| match *condition {
        Condition::ConnectError => set.with_connect_error(),
        Condition::Reset => set.with_reset(),
        Condition::Timeout => set.with_timeout(),
        Condition::InvalidResponse => set.with_invalid_response(),
        Condition::Status { from, to } => set.with_statuses(from..=to),
    });
    let failures_needed = NonZeroU16::try_from(config.failures).unwrap_or(NonZeroU16::MAX);
    let longest = config.eject_for.saturating_mul(10);
    let ejection = Ejection {
        failures: failures_needed,
        window: config.window,
        eject_for: config.eject_for,
        growth: Growth::Linear { max: longest, forgive: longest },
        ..Ejection::default()
    };
    PassiveRule { ejection, failures, ..PassiveRule::default() }
}

fn policy_of<'a>(route: &'a valid::Route, cluster: &'a ClusterRuntime) -> &'a valid::Policy {
    route.options.policy.as_ref().unwrap_or(&cluster.config.policy)
}

fn hash_key(policy: &valid::Policy) -> Option<HashKey> {
    match (&policy.key, policy.kind.info().key) {
        (Some(text), _) => Some(HashKey::Text(text.clone())),
        (None, KeyUse::ClientAddress) => Some(HashKey::ClientIp),
        (None, _) => None,
    }
}

#[cfg(test)]
mod tests {
    use lb_discovery::{Found, List};

    use super::*;
    use crate::observe::access_log::AccessLog;

    /// A registry, and the members of the cluster `app` after each of its configurations.
    struct Bench {
        registry: Registry,
        members: Option<Cluster<EndpointService>>,
        /// What sources have found when a configuration is put in force.
        sources: Vec<Listing>,
    }

    impl Bench {
        fn new() -> Self {
            let metrics = Arc::new(Metrics::new(2));
            let access_log = AccessLog::start(None, metrics.access_log_dropped()).unwrap();
            let shared = Arc::new(Shared::new(metrics, access_log));
            Self { registry: Registry::new(shared, 1), members: None, sources: Vec::new() }
        }

        /// Puts these lines of the cluster in force.
        fn apply(&mut self, lines: &str) {
            let text = format!(
                "listener = [{{ address = \"127.0.0.1:0\" }}]\nroute = [{{ cluster = \"app\" }}]\n[cluster.app]\n{lines}"
            );
            let config = Config::parse(&text, &|_| None).unwrap_or_else(|errors| panic!("{errors}")).config;
            let snapshot = {
                let tls = crate::tls::Store::default().load(&config, &Events::default()).unwrap();
                {
                    let limiters = self.registry.limiters(&config).unwrap();
                    self.registry.build(Arc::new(config), &self.sources, tls, limiters, 443).unwrap()
                }
            };
            self.members = Some(snapshot.clusters[0].members.clone());
        }

        fn members(&self) -> &Cluster<EndpointService> {
            self.members.as_ref().unwrap()
        }

        /// Priority and whether it may be picked, of each member.
        fn eligible(&self) -> Vec<(u8, bool)> {
            let endpoints = self.members().endpoints();
            endpoints.iter().map(|endpoint| (endpoint.priority(), endpoint.state().is_eligible())).collect()
        }

        fn warming(&self) -> Vec<bool> {
            let now = self.registry.shared.now();
            let endpoints = self.members().endpoints();
            endpoints.iter().map(|endpoint| self.members().warming_share(endpoint, now).is_some()).collect()
        }
    }

    #[test]
    fn who_joins_a_running_cluster_warms_up_and_nobody_else() {
        let mut bench = Bench::new();
        bench.apply("slow_start = \"1h\"\nendpoints = [\"127.0.0.1:1\", \"127.0.0.1:2\"]");
        assert_eq!(bench.warming(), [false, false]);
        bench.apply("slow_start = \"1h\"\nendpoints = [\"127.0.0.1:1\", \"127.0.0.1:3\"]");
        assert_eq!(bench.warming(), [false, true]);
        bench.apply("endpoints = [\"127.0.0.1:1\", \"127.0.0.1:3\", \"127.0.0.1:4\"]");
        assert_eq!(bench.warming(), [false, false, false]);
    }

    #[test]
    fn endpoints_drain_and_stand_in_as_the_file_says_and_as_it_takes_back() {
        let mut bench = Bench::new();
        let drained =
            "endpoints = [{ address = \"127.0.0.1:1\", drain = true }, { address = \"127.0.0.1:2\", backup = true }]";
        bench.apply(drained);
        assert_eq!(bench.eligible(), [(0, false), (placement::BACKUP, true)]);
        bench.apply("endpoints = [\"127.0.0.1:1\", { address = \"127.0.0.1:2\", drain = true }]");
        assert_eq!(bench.eligible(), [(0, true), (0, false)]);
        // Who is remembered with an order to drain comes back without it.
        bench.apply("endpoints = [\"127.0.0.1:1\"]");
        bench.apply("endpoints = [\"127.0.0.1:1\", \"127.0.0.1:2\"]");
        assert_eq!(bench.eligible(), [(0, true), (0, true)]);
    }

    #[test]
    fn turns_begin_with_the_first_or_with_any() {
        use lb_policy::{Entropy, PickCx};
        let first = |policy: &str| {
            let mut bench = Bench::new();
            bench.apply(&format!("policy = {policy}\nendpoints = [\"127.0.0.1:1\", \"127.0.0.1:2\", \"127.0.0.1:3\"]"));
            let state = bench.registry.clusters.get_mut("app").unwrap();
            let configured = state.config.policy.clone();
            let selector = state.selector(&configured);
            let ticket = selector.pick(&mut PickCx::new(Mono::ZERO, &mut Entropy::seeded(1))).unwrap();
            ticket.endpoint().identity().name.to_string()
        };
        assert!((0..20).all(|_| first("\"round_robin\"") == "127.0.0.1:1"));
        for name in ["round_robin", "static_stride"] {
            let policy = format!("{{ name = \"{name}\", random_start = true }}");
            // All of sixty proxies begin with one endpoint of three by chance once in 3⁵⁹ times.
            let begun: std::collections::BTreeSet<_> = (0..60).map(|_| first(&policy)).collect();
            assert!(begun.len() > 1, "{name}: {begun:?}");
        }
    }

    #[test]
    fn tiers_zones_and_subsets_are_as_the_file_says() {
        let mut bench = Bench::new();
        bench.apply(
            "endpoints = [{ address = \"127.0.0.1:1\", priority = 2, zone = \"a\" }, { address = \"127.0.0.1:2\", zone = \"b\" },
             { address = \"127.0.0.1:3\", backup = true, zone = \"a\" }]",
        );
        let told = bench.members().endpoints().iter().map(|it| (it.priority(), it.zone())).collect::<Vec<_>>();
        let [(2, Some(a)), (0, Some(b)), (placement::BACKUP, Some(also_a))] = told[..] else { panic!("{told:?}") };
        assert!(a == also_a && a != b);
        let many: Vec<String> = (1..=40).map(|port| format!("\"127.0.0.1:{port}\"")).collect();
        let lines = format!("subset = {{ size = 7, client = \"me\" }}\nendpoints = [{}]", many.join(", "));
        bench.apply(&lines);
        let used = |bench: &Bench| bench.members().endpoints().iter().map(|it| it.uid()).collect::<Vec<_>>();
        let before = used(&bench);
        assert_eq!(before.len(), 7);
        bench.apply(&lines);
        assert_eq!(used(&bench), before);
    }

    /// What sources of the cluster `app` have found: each its name at 10.0.0.n:80.
    fn listing(sources: &[(&str, &[u8])]) -> Listing {
        let lists = sources.iter().map(|&(source, places)| {
            let at = |&last| Found::new(source, std::net::SocketAddr::from(([10, 0, 0, last], 80)));
            List { source: source.into(), found: places.iter().map(at).collect() }
        });
        Listing { cluster: "app".into(), lists: lists.collect() }
    }

    #[test]
    fn what_a_source_brings_itself_is_picked_and_counted_as_it_says_until_it_takes_it_away() {
        let mut bench = Bench::new();
        let mut brought = listing(&[("docker", &[1, 2, 3, 4])]);
        let found = &mut brought.lists[0].found;
        for (found, name) in found.iter_mut().zip(["web-1", "web-2", "web-3", "web-4"]) {
            found.name = name.into();
        }
        found[1].ready = false;
        found[2].terminating = true;
        (found[3].priority, found[3].weight) = (2, Weight::new(7));
        bench.sources = vec![brought.clone()];
        bench.apply("endpoints = [\"127.0.0.1:1\"]");
        assert_eq!(bench.eligible(), [(0, true), (0, true), (0, false), (0, false), (2, true)]);
        let weights: Vec<u16> = bench.members().endpoints().iter().map(|it| it.weight().value()).collect();
        assert_eq!(weights, [1, 1, 1, 1, 7]);
        let counted = |bench: &Bench| {
            let text = bench.registry.shared.metrics.encode(&crate::observe::status::Status::default());
            ["127.0.0.1:1", "web-1", "web-4", "web-5"].map(|name| text.contains(&format!("endpoint=\"{name}\"")))
        };
        assert_eq!(counted(&bench), [true, true, true, false]);
        brought.lists[0].found.truncate(1);
        brought.lists[0].found[0].name = "web-5".into();
        bench.registry.on_listing(&brought);
        assert_eq!(bench.eligible(), [(0, true), (0, true)]);
        assert_eq!(counted(&bench), [true, false, false, true]);
        bench.sources.clear();
        bench.apply("endpoints = [\"127.0.0.1:1\"]");
        assert_eq!((bench.eligible(), counted(&bench)), (vec![(0, true)], [true, false, false, false]));
    }

    #[test]
    fn an_order_holds_over_reloads_and_answers_until_it_is_taken_back() {
        let mut bench = Bench::new();
        let lines = "endpoints = [\"app:80\", \"127.0.0.1:1\"]";
        bench.apply(lines);
        bench.registry.on_listing(&listing(&[("app:80", &[1])]));
        assert!(bench.registry.order("app", "app:80", Some(Order::Drain)));
        let drained = [(0, false), (0, true)];
        assert_eq!(bench.eligible(), drained);
        bench.registry.on_listing(&listing(&[("app:80", &[1, 2])]));
        assert_eq!(bench.eligible(), [(0, false), (0, false), (0, true)], "wherever the name leads");
        bench.registry.on_listing(&listing(&[("app:80", &[2])]));
        bench.apply(lines);
        bench.apply("endpoints = [\"127.0.0.1:1\"]");
        bench.apply("endpoints = [{ address = \"app:80\", drain = true }, \"127.0.0.1:1\"]");
        bench.apply(lines);
        bench.registry.on_listing(&listing(&[("app:80", &[2])]));
        assert_eq!(bench.eligible(), drained, "a drain of the file comes and goes beside it");
        let state = Arc::clone(bench.members().endpoints()[0].state());
        assert!(state.is_eligible_for_sticky());
        assert!(bench.registry.order("app", "app:80", Some(Order::Maintenance)));
        assert_eq!(state.reasons().collect::<Vec<_>>(), [Axis::Maintenance], "one order at a time");
        assert!(bench.registry.order("app", "app:80", None));
        assert_eq!(bench.eligible(), [(0, true), (0, true)]);
    }

    #[test]
    fn an_order_may_come_before_its_endpoint() {
        let mut bench = Bench::new();
        assert!(!bench.registry.order("app", "127.0.0.1:2", Some(Order::Drain)));
        bench.apply("endpoints = [\"127.0.0.1:1\"]");
        assert!(!bench.registry.order("app", "127.0.0.1:2", Some(Order::Drain)));
        bench.apply("endpoints = [\"127.0.0.1:1\", \"127.0.0.1:2\"]");
        assert_eq!(bench.eligible(), [(0, true), (0, false)]);
    }

    #[test]
    fn a_name_that_drains_drains_wherever_it_leads() {
        let mut bench = Bench::new();
        bench.apply("endpoints = [{ address = \"app:80\", drain = true }, \"127.0.0.1:1\"]");
        assert_eq!(bench.eligible(), [(0, false), (0, true)]);
        bench.registry.on_listing(&listing(&[("app:80", &[1, 2])]));
        assert_eq!(bench.eligible(), [(0, false), (0, false), (0, true)]);
    }

    #[test]
    fn looking_up_for_the_next_configuration_takes_nothing_from_the_one_in_force() {
        let mut bench = Bench::new();
        bench.apply("endpoints = [\"old:80\"]");
        assert_eq!(bench.eligible(), [(0, false)]);
        bench.registry.on_listing(&listing(&[("old:80", &[1])]));
        bench.registry.on_listing(&listing(&[("new:80", &[2])]));
        assert_eq!(bench.eligible(), [(0, true)], "the old one is where it was");
        bench.apply("endpoints = [\"new:80\"]");
        assert_eq!(bench.eligible(), [(0, true)], "the new one is known already");
        bench.apply("endpoints = [\"old:80\"]");
        assert_eq!(bench.eligible(), [(0, false)], "what is not named is forgotten");
    }
}
