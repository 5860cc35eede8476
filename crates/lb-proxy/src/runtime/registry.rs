//! What outlives a configuration: clusters' members, upstream connections, limiter cells, budgets, turns.
//!
//! Every snapshot is built here. Building one is a diff by identity: what the new configuration names again is taken
//! over as it is, what it does not is forgotten.

use std::sync::Arc;

use lb_config::Config;
use lb_core::{Clock, SystemClock};
use lb_discovery::Listing;
use rand::Rng;

use super::clusters::{ClusterState, Given};
use super::headers::Headers;
use super::kept::Kept;
use super::limiters::Limiters;
use super::orders::{Order, Orders};
use super::routes::{Budgets, Routes};
use super::snapshot::{ListenerRuntime, Snapshot};
use crate::drivers::checks::Target;
use crate::error::EngineError;
use crate::events::Events;
use crate::observe::metrics::Metrics;
use crate::rules::networks::{Access, Networks};
use crate::rules::router::Router;
use crate::tls::Loaded;
use crate::upstream::Room;

/// What outlives a configuration.
pub(crate) struct Registry {
    clock: SystemClock,
    metrics: Arc<Metrics>,
    events: Arc<Events>,
    /// Of connections to endpoints.
    room: Arc<Room>,
    workers: usize,
    generation: u64,
    clusters: Kept<Arc<str>, ClusterState>,
    orders: Orders,
    limiters: Limiters,
    budgets: Budgets,
    /// Signs cookies of routes without a secret of their own; cookies then live as long as the process.
    sticky_secret: [u8; 32],
    /// Spreads limiter keys over their tables, unknown to clients.
    seed: [u64; 2],
}

impl Registry {
    pub(crate) fn new(
        clock: SystemClock,
        metrics: Arc<Metrics>,
        events: Arc<Events>,
        room: Arc<Room>,
        workers: usize,
    ) -> Self {
        let mut sticky_secret = [0; 32];
        rand::rng().fill_bytes(&mut sticky_secret);
        Self {
            clock,
            metrics,
            events,
            room,
            workers,
            generation: 0,
            clusters: Kept::default(),
            orders: Orders::default(),
            limiters: Limiters::default(),
            budgets: Budgets::default(),
            sticky_secret,
            seed: [rand::rng().next_u64(), rand::rng().next_u64()],
        }
    }

    /// The tables of this configuration's rate limits: those in force where they are the same, and new ones. Nothing changes.
    ///
    /// # Errors
    /// There is not as much memory.
    pub(crate) fn limiters(&self, config: &Config) -> Result<Limiters, EngineError> {
        self.limiters.next(config, self.seed, self.clock.now())
    }

    /// Makes this configuration the one in force, as far as members, limits and routes go, with endpoints where
    /// `resolved` says that they are, and `tls` for each listener. The snapshot is to be published by the caller. Nothing of it can
    /// fail: what could, the arguments say, was made before.
    pub(crate) fn build(
        &mut self,
        config: Arc<Config>,
        resolved: &[Listing],
        tls: Loaded,
        limiters: Limiters,
        headers: &Headers,
        https_port: u16,
    ) -> Arc<Snapshot> {
        self.generation += 1;
        self.limiters = limiters;
        self.limiters.gates().configure(&config);
        let now = self.clock.now();
        let metrics = Arc::clone(&self.metrics);
        let mut series = metrics.series();
        let clusters: Vec<_> = config
            .clusters
            .iter()
            .zip(&tls.clusters)
            .map(|(cluster, tls)| {
                let made = || ClusterState::new(cluster, tls, &self.room, self.workers);
                let state = self.clusters.name(Arc::clone(&cluster.name), made);
                let found = resolved.iter().find(|it| it.cluster == cluster.name);
                let given =
                    Given { tls, zone: config.zone.as_ref(), found, orders: &self.orders, events: &self.events };
                state.configure(cluster, &given, now, &mut series)
            })
            .collect();
        self.clusters.end_round().iter().for_each(ClusterState::retire);
        let listeners: Vec<_> = config
            .listeners
            .iter()
            .zip(tls.listeners)
            .zip(&headers.listeners)
            .map(|((listener, tls), response_headers)| ListenerRuntime {
                response_headers: Arc::clone(response_headers),
                tls,
                name: Arc::clone(&listener.name),
                redirect_https: listener.redirect_https,
                trusted: Networks::new(&listener.trusted_proxies),
                proxied: listener.proxy_protocol.as_deref().map(Networks::new),
                access: Access::new(listener.allow.as_deref(), &listener.deny),
                metrics: series.listener(&listener.name),
                unrouted: series.route(&listener.name, "", None, &[]),
            })
            .collect();
        let routes = Routes { config: &config, clusters: &mut self.clusters, budgets: &mut self.budgets };
        let routes = routes.build(headers, &clusters, &mut series);
        series.publish(self.generation);
        let by_address =
            config.listeners.iter().enumerate().map(|(index, listener)| (listener.address.clone(), index)).collect();
        Arc::new(Snapshot {
            generation: self.generation,
            router: Router::new(&config),
            listeners,
            by_address,
            routes,
            clusters,
            rate_limits: self.limiters.by_name(),
            gates: self.limiters.gates().clone(),
            https_port,
            config,
        })
    }

    /// Signs cookies of routes without a secret of their own.
    pub(crate) fn sticky_secret(&self) -> &[u8; 32] {
        &self.sticky_secret
    }

    /// All endpoints with active checks.
    pub(crate) fn check_targets(&self) -> Vec<Target> {
        self.clusters.values().flat_map(ClusterState::check_targets).collect()
    }

    /// Gives an order about an endpoint, wherever its name leads, or takes it back. It holds for endpoints that are yet to
    /// come. Returns whether there is one of this name now.
    pub(crate) fn order(&mut self, cluster: &str, endpoint: &str, order: Option<Order>) -> bool {
        self.orders.set(cluster, endpoint, order);
        let now = self.clock.now();
        self.clusters.get_mut(cluster).is_some_and(|state| state.on_order(endpoint, &self.orders, now))
    }

    /// Takes over what a cluster's sources list now.
    pub(crate) fn on_listing(&mut self, listing: &Listing) {
        let now = self.clock.now();
        if let Some(state) = self.clusters.get_mut(&listing.cluster) {
            state.on_listing(listing, &self.orders, &self.metrics, now);
        }
    }
}

#[cfg(test)]
mod tests {
    use lb_core::{Axis, Mono, Weight};
    use lb_discovery::{Found, List};
    use lb_policy::Cluster;

    use super::super::placement;
    use super::*;
    use crate::upstream::EndpointService;

    /// A registry, and the members of the cluster `app` after each of its configurations.
    struct Bench {
        registry: Registry,
        members: Option<Cluster<EndpointService>>,
        config: Option<Arc<Config>>,
        /// What sources have found when a configuration is put in force.
        sources: Vec<Listing>,
    }

    impl Bench {
        fn new() -> Self {
            let registry =
                Registry::new(lb_tower::system_clock(), Arc::new(Metrics::new(2)), Arc::default(), Arc::default(), 1);
            Self { registry, members: None, sources: Vec::new(), config: None }
        }

        /// Puts these lines of the cluster in force.
        fn apply(&mut self, lines: &str) {
            let text = format!(
                "listener = [{{ address = \"127.0.0.1:0\" }}]\nroute = [{{ cluster = \"app\" }}]\n[cluster.app]\n{lines}"
            );
            let config = Config::parse(&text, &|_| None).unwrap_or_else(|errors| panic!("{errors}")).config;
            let snapshot = {
                let tls = crate::tls::Store::default().load(&config, &Events::default()).unwrap();
                let limiters = self.registry.limiters(&config).unwrap();
                let headers = Headers::new(&config).unwrap();
                self.registry.build(Arc::new(config), &self.sources, tls, limiters, &headers, 443)
            };
            self.members = Some(snapshot.clusters[0].members.clone());
            self.config = Some(Arc::clone(&snapshot.config));
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
            let now = self.registry.clock.now();
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
            let selector = state.selector(&bench.config.unwrap().clusters[0].policy);
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
            let text = bench.registry.metrics.encode(&crate::observe::status::Status::default());
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
