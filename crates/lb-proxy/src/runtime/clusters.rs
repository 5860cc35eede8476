//! A cluster over its configurations: its members and what was learned of them, its connections, turns and addresses.

use std::collections::HashMap;
use std::num::NonZeroU16;
use std::sync::Arc;

use lb_config::{self as valid, Condition, LocalZone};
use lb_core::{Axis, InFlightLimit, Mono, Weight};
use lb_discovery::Listing;
use lb_health::{CoolDownConfig, Ejection, FailureSet, Growth};
use lb_policy::{
    BuiltIn, Cluster, Identity, Member, PanicMode, Selector, SlowStart, Spill, Update, ZoneAware, affinity_of,
};
use lb_tower::{Passive, PassiveRule};

use super::endpoints::{Endpoints, Listed};
use super::kept::Kept;
use super::orders::Orders;
use super::placement::{self, ZoneNames, ZonedPolicy, Zoning};
use super::snapshot::ClusterRuntime;
use crate::drivers::checks::Target;
use crate::events::Events;
use crate::observe::metrics::{EndpointMetrics, Metrics, Series};
use crate::tls::ClusterSettings;
use crate::upstream::{EjectionReporter, EndpointService, Outliers, Room, Share, Upstream};

/// What outlives a configuration of one cluster.
pub(super) struct ClusterState {
    workers: usize,
    members: Cluster<EndpointService>,
    upstreams: Kept<Identity, Arc<Upstream>>,
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

/// What a cluster's configuration does not say itself.
pub(super) struct Given<'a> {
    pub(super) tls: &'a ClusterSettings,
    /// Where this proxy is.
    pub(super) zone: Option<&'a LocalZone>,
    /// What sources have found.
    pub(super) found: Option<&'a Listing>,
    pub(super) orders: &'a Orders,
    /// Where ejections are reported.
    pub(super) events: &'a Arc<Events>,
}

impl ClusterState {
    /// A cluster without endpoints.
    pub(super) fn new(config: &valid::Cluster, tls: &ClusterSettings, room: &Arc<Room>, workers: usize) -> Self {
        Self {
            workers,
            members: Cluster::new(Arc::clone(&config.name)),
            upstreams: Kept::default(),
            selectors: Vec::new(),
            zones: ZoneNames::default(),
            local_zone: None,
            endpoints: Endpoints::default(),
            share: Arc::new(Share::of(room)),
            config: config.clone(),
            tls: tls.clone(),
            metrics: HashMap::new(),
            passive: None,
        }
    }

    /// Puts a configuration in force, with the endpoints that sources have found.
    pub(super) fn configure(
        &mut self,
        config: &valid::Cluster,
        given: &Given<'_>,
        now: Mono,
        series: &mut Series<'_>,
    ) -> Arc<ClusterRuntime> {
        self.config = config.clone();
        self.tls = given.tls.clone();
        self.local_zone = given.zone.cloned();
        given.found.into_iter().for_each(|found| self.endpoints.learn(found));
        let sources = given.found.into_iter().flat_map(|found| found.lists.iter().map(|list| &list.source));
        self.endpoints.adopt(config, sources);
        let listed = self.endpoints.listed(config);
        let names = config.endpoints.iter().chain(listed.iter().map(|it| &it.endpoint)).map(|it| &it.name);
        self.metrics = names.map(|name| (Arc::clone(name), series.endpoint(&config.name, name))).collect();
        // Before `apply`, so that endpoints added by this configuration warm up by it.
        self.members.set_slow_start(config.slow_start.map(SlowStart::new));
        self.members.set_queue(config.queue.size, config.queue.timeout);
        self.apply(given.orders, now);
        self.members.set_panic_mode(panic_mode(config.panic_threshold), now);
        self.members.set_spill(config.spill.map_or(Spill::WhenExhausted, Spill::Overprovisioned), now);
        self.update_outliers(given.events, now);
        Arc::new(ClusterRuntime {
            name: Arc::clone(&config.name),
            config: config.clone(),
            members: self.members.clone(),
            passive: self.passive.clone(),
            zone: self.zoning().map(|zoning| zoning.local),
        })
    }

    /// Takes over what its sources list now.
    pub(super) fn on_listing(&mut self, listing: &Listing, orders: &Orders, metrics: &Metrics, now: Mono) {
        self.endpoints.learn(listing);
        self.measure(metrics);
        self.apply(orders, now);
    }

    /// Puts the orders about an endpoint in force, wherever its name leads; whether there is one of this name.
    pub(super) fn on_order(&self, endpoint: &str, orders: &Orders, now: Mono) -> bool {
        let mut is_known = false;
        for known in self.members.endpoints().iter().filter(|known| *known.identity().name == *endpoint) {
            is_known = true;
            for (axis, on) in orders.axes(&self.config.name, &known.identity().name) {
                self.members.set(known.uid(), axis, on, now);
            }
        }
        is_known
    }

    /// The cluster is gone: closes its connections.
    pub(super) fn retire(&self) {
        self.upstreams.values().for_each(|upstream| upstream.close());
    }

    /// Its endpoints with active checks.
    pub(super) fn check_targets(&self) -> Vec<Target> {
        let Some(check) = &self.config.health.active else { return Vec::new() };
        let check = Arc::new(check.clone());
        let target = |upstream: &Arc<Upstream>| {
            let endpoint = upstream.identity(&self.config.name)?;
            Some(Target {
                endpoint,
                check: Arc::clone(&check),
                metrics: Arc::clone(&upstream.metrics),
                tls: upstream.tls(),
            })
        };
        self.upstreams.values().filter_map(target).collect()
    }

    /// Drops the turns of policies that no route uses any more.
    pub(super) fn forget_policies(&mut self, used: &[&valid::Policy]) {
        self.selectors.retain(|(policy, ..)| used.contains(&policy));
    }

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
    fn apply(&mut self, orders: &Orders, now: Mono) {
        let mut members = Vec::new();
        let listed = self.endpoints.listed(&self.config);
        let places: Vec<_> = listed.iter().map(|it| (placement::tier(&it.endpoint), it.identity.to_string())).collect();
        let used = placement::used(self.config.subset.as_ref(), &places);
        for (it, _) in listed.into_iter().zip(used).filter(|(_, used)| *used) {
            let Listed { endpoint, identity, address, is_one_of_several, is_ready } = it;
            let upstream = Arc::clone(self.upstreams.name(identity.clone(), || {
                Arc::new(Upstream::new(
                    &endpoint,
                    address.clone(),
                    &self.config.keep_alive,
                    Arc::clone(&self.metrics[&endpoint.name]),
                    self.workers,
                    Arc::clone(&self.share),
                ))
            }));
            upstream.set_keep_alive(&self.config.keep_alive);
            upstream.set_http2(self.config.http2);
            upstream.set_proxy_protocol(self.config.proxy_protocol);
            upstream.set_tls(self.tls.to(&self.config, &endpoint));
            let affinity = if is_one_of_several {
                affinity_of(&format!("{}|{}", identity.name, identity.address))
            } else {
                affinity_of(&identity.name)
            };
            let limit = endpoint.max_in_flight.map_or(InFlightLimit::NONE, |most| InFlightLimit::new(most.get()));
            let member = Member::new(identity, EndpointService { upstream, affinity });
            let member = member.weight(Weight::new(endpoint.weight)).limit(limit).affinity(affinity);
            let member = member.axis(Axis::Unresolved, address.is_none()).axis(Axis::Drain, endpoint.drain);
            let mut member = member.axis(Axis::NotReady, !is_ready);
            member.axes.extend(orders.axes(&self.config.name, &endpoint.name));
            let zone = endpoint.zone.as_deref().map(|zone| self.zones.number(zone));
            members.push(member.priority(placement::tier(&endpoint)).zone(zone));
        }
        self.members.apply(Update::Reset(members), now);
        self.upstreams.end_round().iter().for_each(|upstream| upstream.close());
    }

    /// How endpoints are told apart by zone; none if they are not.
    fn zoning(&mut self) -> Option<Zoning> {
        let local = self.local_zone.as_ref()?;
        Some(Zoning::new(local, &self.config.endpoints, |name| self.zones.number(name)))
    }

    /// Takes over the rule by which real traffic ejects; no ejection outlives it.
    fn update_outliers(&mut self, events: &Arc<Events>, now: Mono) {
        let old = self.passive.take();
        self.passive = match (&self.config.health.passive, old) {
            (Some(config), Some(old)) => {
                old.set_max_ejected((config.max_ejected * 100.0) as u8);
                old.set_rule(passive_rule(config), now);
                Some(old)
            }
            (Some(config), None) => {
                let (name, members) = (Arc::clone(&self.config.name), self.members.clone());
                let reporter = EjectionReporter::new(name, members, Arc::clone(events));
                let max = (config.max_ejected * 100.0) as u8;
                Some(Passive::with_cap(self.members.clone(), passive_rule(config), max, reporter))
            }
            (None, Some(old)) => {
                old.close(now);
                None
            }
            (None, None) => None,
        };
    }

    /// The selector of this policy: the same one for all routes and workers, so that turns are shared.
    pub(super) fn selector(&mut self, policy: &valid::Policy) -> Selector<ZonedPolicy, EndpointService> {
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
    let cool_down = config.cool_down.map(|base| CoolDownConfig { base, ..CoolDownConfig::default() });
    PassiveRule { ejection, failures, cool_down, ..PassiveRule::default() }
}
