//! The control thread: what must be done, but not on the request path.
//!
//! One thread with a runtime of its own resolves names, runs active checks, ends ejections, and serves the admin
//! listener. It must answer when the workers are at their limits, so it shares nothing with them but the atomics.

use std::collections::HashMap;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak};
use std::time::{Duration, Instant, SystemTime};

use arc_swap::ArcSwapOption;
use lb_config::{Config, ListenAddress};
use lb_core::Axis;
use lb_discovery::{Discovery, Listing, Resolver};
use lb_policy::Uid;
use tokio::runtime::Handle;
use tokio_util::sync::CancellationToken;

use crate::descriptors;
use crate::drivers::Identity;
use crate::drivers::checks::{Checks, NetProber, Targets};
use crate::drivers::discovery::{self, LocalLookup, PutInForce};
use crate::error::EngineError;
use crate::observe::admin::{Access, Admin, AdminState};
use crate::observe::cells::Histogram;
use crate::observe::event::Event;
use crate::observe::rates::{Rates, Reading, Since};
use crate::observe::status::{
    self, CertificateStatus, ClusterStatus, EndpointStatus, LimitsStatus, ListenerStatus, QueueStatus, ResponseTimes,
    State, Status, StatusSource,
};
use crate::runtime::orders::Order;
use crate::runtime::registry::Registry;
use crate::runtime::snapshot::{ClusterRuntime, Snapshot, response_limits};
use crate::wire::h1::HeadLimits;
use crate::worker::shared::Shared;

/// How often ejections end, tables catch up, and states are looked at for `since`.
const TICK: Duration = Duration::from_millis(100);
/// How long a configuration waits for its names: long enough for a resolver that works, short enough not to hold up a
/// start, or a reload, for one that does not.
const FIRST_ROUND: Duration = Duration::from_secs(2);

/// The control thread.
pub(crate) struct Control {
    runtime: Handle,
    stop: CancellationToken,
    thread: Option<std::thread::JoinHandle<()>>,
    discovery: Discovery,
    resolver: Resolver,
    checks: Arc<Checks>,
    registry: Arc<Mutex<Registry>>,
    watch: Arc<Watched>,
    admin: Mutex<Option<RunningAdmin>>,
    admin_state: Arc<AdminState>,
}

/// The admin listener of a configuration that is to be taken over.
pub(crate) enum NextAdmin {
    /// None is wanted.
    None,
    /// The one that runs.
    Same,
    /// A new one, and the address as configured.
    Bound(Admin, ListenAddress),
}

struct RunningAdmin {
    configured: ListenAddress,
    actual: ListenAddress,
    stop: CancellationToken,
}

impl Control {
    pub(crate) fn start(shared: &Arc<Shared>, registry: &Arc<Mutex<Registry>>) -> io::Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let handle = runtime.handle().clone();
        let stop = CancellationToken::new();
        let watch = Arc::new(Watched::new(Arc::clone(shared)));
        let prober = {
            let registry = Arc::clone(registry);
            let limits_of = Arc::downgrade(&watch);
            NetProber::with_tls(move |endpoint| lock(&registry).tls_to(&endpoint.cluster, &endpoint.endpoint))
                .with_limits(move || {
                    let snapshot = limits_of.upgrade().and_then(|watch| watch.snapshot.load_full());
                    snapshot.map_or(HeadLimits::response(), |snapshot| response_limits(&snapshot.config.limits))
                })
        };
        let at_once = descriptors::checks_at_once(descriptors::limit());
        let verdicts = Verdicts { watch: Arc::downgrade(&watch) };
        let checks = Arc::new(Checks::new(handle.clone(), prober, verdicts, at_once));
        // Set here and not by `Watched::new`, because the driver tells the watch its verdicts.
        let _ = watch.checks.set(Arc::clone(&checks));
        let (discovery, driver) = {
            let (registry, checks) = (Arc::clone(registry), Arc::clone(&checks));
            let put = move |listing: &Listing| {
                let mut registry = lock(&registry);
                registry.on_listing(listing);
                checks.apply(registry.check_targets());
            };
            Discovery::new(PutInForce { put, events: Arc::clone(&shared.events) })
        };
        handle.spawn(driver.run());
        let (ticking, until) = (Arc::clone(&watch), stop.clone());
        let thread = std::thread::Builder::new().name("control".to_owned()).spawn(move || {
            runtime.block_on(async {
                let mut tick = tokio::time::interval(TICK);
                tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
                loop {
                    tokio::select! {
                        _ = tick.tick() => ticking.on_tick(),
                        () = until.cancelled() => return,
                    }
                }
            });
            // A lookup may hang in the system's resolver; nobody waits for it any more.
            runtime.shutdown_background();
        })?;
        let source: Arc<dyn StatusSource> = Arc::clone(&watch) as _;
        Ok(Self {
            runtime: handle,
            stop,
            thread: Some(thread),
            discovery,
            resolver: Resolver::new(LocalLookup),
            checks,
            registry: Arc::clone(registry),
            admin: Mutex::new(None),
            admin_state: Arc::new(AdminState::new(Arc::clone(&shared.metrics), source, Access::default())),
            watch,
        })
    }

    /// Takes over a snapshot: what is resolved and checked, and where the admin listener is.
    pub(crate) fn adopt(&self, snapshot: &Arc<Snapshot>, admin: NextAdmin) {
        self.adopt_admin(&snapshot.config, admin);
        self.watch.snapshot.store(Some(Arc::clone(snapshot)));
        let known = self.apply_sources(&snapshot.config);
        let mut registry = lock(&self.registry);
        for listing in &known {
            registry.on_listing(listing);
        }
        // Under the registry's lock, so that no older list can come after a newer one.
        self.checks.apply(registry.check_targets());
        drop(registry);
        self.watch.on_tick();
    }

    /// Where the endpoints of a configuration are that is to be taken over. Waits a moment for names that nobody has
    /// asked for yet, so that the first requests find endpoints. Until it is adopted, the clusters in force keep what
    /// they have.
    pub(crate) fn look_up(&self, config: &Config) -> Vec<Listing> {
        self.apply_sources(config);
        // A thread of its own, because the caller's may belong to a runtime, where blocking on one is refused.
        std::thread::scope(|scope| {
            scope.spawn(|| self.runtime.block_on(self.discovery.first_round(FIRST_ROUND)));
        });
        // Nothing is looked up again by this.
        self.apply_sources(config)
    }

    fn apply_sources(&self, config: &Config) -> Vec<Listing> {
        self.discovery.apply(discovery::sources(&config.clusters, &self.resolver))
    }

    /// Binds the admin listener of a configuration that is to be taken over, unless it is the one that runs.
    pub(crate) fn bind_admin(&self, config: &Config) -> Result<NextAdmin, EngineError> {
        let running = lock(&self.admin);
        let Some(wanted) = &config.admin else { return Ok(NextAdmin::None) };
        if running.as_ref().is_some_and(|running| running.configured == wanted.address) {
            return Ok(NextAdmin::Same);
        }
        let address = &wanted.address;
        let bound = Admin::bind(address);
        let admin = bound.map_err(|source| EngineError::Bind { address: crate::show(address), source })?;
        Ok(NextAdmin::Bound(admin, address.clone()))
    }

    fn adopt_admin(&self, config: &Config, next: NextAdmin) {
        let access =
            config.admin.as_ref().map(|admin| Access { allow: admin.allow.clone(), hosts: admin.hosts.clone() });
        self.admin_state.set_access(access.unwrap_or_default());
        let started = match next {
            NextAdmin::Same => return,
            NextAdmin::None => None,
            NextAdmin::Bound(admin, configured) => {
                let actual = admin.local_addr().map_or_else(|| configured.clone(), ListenAddress::Tcp);
                let stop = self.stop.child_token();
                let serving = admin.serve(Arc::clone(&self.admin_state), stop.clone());
                self.runtime.spawn(async move {
                    if let Err(error) = serving.await {
                        tracing::error!("the admin listener has ended: {error}");
                    }
                });
                Some(RunningAdmin { configured, actual, stop })
            }
        };
        if let Some(old) = std::mem::replace(&mut *lock(&self.admin), started) {
            old.stop.cancel();
        }
    }

    pub(crate) fn admin_address(&self) -> Option<ListenAddress> {
        lock(&self.admin).as_ref().map(|admin| admin.actual.clone())
    }

    /// Gives an order about an endpoint, or takes it back; returns whether there is one of this name.
    pub(crate) fn order(&self, cluster: &str, endpoint: &str, order: Option<Order>) -> bool {
        let is_known = lock(&self.registry).order(cluster, endpoint, order);
        let (cluster, endpoint) = (cluster.into(), endpoint.into());
        self.watch.shared.events.emit(Event::Ordered { cluster, endpoint, order: order.map(Order::axis) });
        is_known
    }

    pub(crate) fn status(&self) -> Status {
        self.watch.status()
    }

    pub(crate) fn on_shutdown(&self) {
        self.admin_state.set_stopping();
    }

    pub(crate) fn stop(&mut self) {
        self.stop.cancel();
        if let Some(thread) = self.thread.take() {
            // It has nothing to say that its log lines have not said.
            let _ = thread.join();
        }
    }
}

impl Drop for Control {
    fn drop(&mut self) {
        self.stop();
    }
}

/// What is known of every endpoint, and since when.
struct Watched {
    shared: Arc<Shared>,
    started: Instant,
    snapshot: ArcSwapOption<Snapshot>,
    states: Mutex<States>,
    panicking: Mutex<HashMap<Arc<str>, bool>>,
    checks: OnceLock<Arc<Checks>>,
    rates: Mutex<Rates>,
}

/// The state of every endpoint when it was last looked at, and since when it is so.
type States = HashMap<(Arc<str>, Uid), (State, SystemTime)>;

/// Passes the verdicts of active checks on to selection.
struct Verdicts {
    watch: Weak<Watched>,
}

impl Targets for Verdicts {
    fn on_checked(&self, endpoint: &Identity, is_up: bool) -> Vec<Axis> {
        self.set(endpoint, is_up).unwrap_or_default()
    }

    fn emit(&self, event: Event) {
        if let Some(watch) = self.watch.upgrade() {
            watch.shared.events.emit(event);
        }
    }

    fn on_result(&self, endpoint: &Identity, passed: bool, took: Duration) {
        let Some(watch) = self.watch.upgrade() else { return };
        let Some(snapshot) = watch.snapshot.load_full() else { return };
        let Some(cluster) = snapshot.clusters.iter().find(|cluster| cluster.name == endpoint.cluster) else { return };
        // Most of the time none is ejected, and thousands of checks a second need not look for their endpoint.
        let Some(passive) = cluster.passive.as_ref().filter(|passive| passive.ejected() > 0) else { return };
        let identity = lb_policy::Identity::new(Arc::clone(&endpoint.endpoint), endpoint.address.to_string());
        if let Some(uid) = cluster.members.uid_of(&identity) {
            let now = watch.shared.now();
            passive.on_check(uid, passed, now.saturating_sub(took), now);
        }
    }
}

impl Verdicts {
    fn set(&self, endpoint: &Identity, is_up: bool) -> Option<Vec<Axis>> {
        let watch = self.watch.upgrade()?;
        let snapshot = watch.snapshot.load_full()?;
        let cluster = snapshot.clusters.iter().find(|cluster| cluster.name == endpoint.cluster)?;
        let identity = lb_policy::Identity::new(Arc::clone(&endpoint.endpoint), endpoint.address.to_string());
        let uid = cluster.members.uid_of(&identity)?;
        cluster.members.set(uid, Axis::Check, !is_up, watch.shared.now());
        let members = cluster.members.endpoints();
        let known = members.iter().find(|known| known.uid() == uid)?;
        Some(known.state().reasons().filter(|&axis| axis != Axis::Check).collect())
    }
}

impl Watched {
    fn new(shared: Arc<Shared>) -> Self {
        Self {
            shared,
            started: Instant::now(),
            snapshot: ArcSwapOption::empty(),
            states: Mutex::default(),
            panicking: Mutex::default(),
            checks: OnceLock::new(),
            rates: Mutex::default(),
        }
    }

    fn on_tick(&self) {
        let Some(snapshot) = self.snapshot.load_full() else { return };
        let now = self.shared.now();
        self.shared.failure_log.flush(now);
        let at = SystemTime::now();
        let mut states = lock(&self.states);
        let mut seen = HashMap::with_capacity(states.len());
        for cluster in &snapshot.clusters {
            match &cluster.passive {
                Some(passive) => passive.tick(now),
                None => cluster.members.maintain(now),
            }
            self.report_panic(cluster);
            for endpoint in cluster.members.endpoints().iter() {
                if endpoint.state().is_set(Axis::Ejected)
                    && let (Some(checks), Some(identity)) =
                        (self.checks.get(), endpoint.value().upstream.identity(&cluster.name))
                {
                    // A check that passes ends the ejection.
                    checks.suspect(&identity);
                }
                let key = (Arc::clone(&cluster.name), endpoint.uid());
                let is_warming = cluster.members.warming_share(endpoint, now).is_some();
                let (state, _) = status::observed(endpoint.state(), is_warming);
                let since = match states.remove(&key) {
                    Some((same, since)) if same == state => since,
                    _ => at,
                };
                seen.insert(key, (state, since));
            }
        }
        *states = seen;
        drop(states);
        let mut rates = lock(&self.rates);
        if rates.is_due(now) {
            rates.take(now, self.reading(&snapshot));
        }
    }

    /// The counters as they stand.
    fn reading(&self, snapshot: &Snapshot) -> Reading {
        let mut reading = Reading { listeners: self.shared.metrics.by_listener(), ..Reading::default() };
        for cluster in &snapshot.clusters {
            for endpoint in cluster.members.endpoints().iter() {
                let upstream = &endpoint.value().upstream;
                let name = (Arc::clone(&cluster.name), Arc::clone(&upstream.name));
                reading.endpoints.entry(name).or_insert_with(|| upstream.metrics.durations());
                reading.attempts.insert((Arc::clone(&cluster.name), endpoint.uid()), endpoint.state().requests());
            }
        }
        reading
    }

    /// Every listener, and what was added to the durations of all of them together.
    fn listeners(&self, snapshot: &Snapshot, since: &Since<'_>) -> (Vec<ListenerStatus>, Option<Histogram>) {
        let totals = self.shared.metrics.by_listener();
        let mut sum: Option<Histogram> = None;
        let listeners = snapshot.listeners.iter().zip(&snapshot.config.listeners).map(|(listener, config)| {
            let total = totals.get(&listener.name);
            let added = total.map(|total| since.listener(&listener.name, total));
            let status = ListenerStatus {
                name: Arc::clone(&listener.name),
                address: config.address.to_string(),
                tls: listener.tls.is_some(),
                connections: listener.metrics.connections(),
                requests: total.map_or(0, |total| total.count),
                requests_per_s: since.rate(added.as_ref().map_or(0, |added| added.count)),
                response: added.as_ref().and_then(ResponseTimes::of),
            };
            if let Some(added) = added {
                match &mut sum {
                    Some(sum) => sum.add(&added),
                    None => sum = Some(added),
                }
            }
            status
        });
        let listeners = listeners.collect();
        (listeners, sum)
    }

    fn report_panic(&self, cluster: &ClusterRuntime) {
        let is_panicking = cluster.members.is_panicking();
        let was_panicking = lock(&self.panicking).insert(Arc::clone(&cluster.name), is_panicking).unwrap_or(false);
        if was_panicking == is_panicking {
            return;
        }
        let name = Arc::clone(&cluster.name);
        let (eligible, all) = (cluster.members.eligible_count(), cluster.members.len());
        let threshold = cluster.config.panic_threshold.filter(|_| eligible > 0);
        self.shared.events.emit(if is_panicking {
            Event::PanicBegan { cluster: name, eligible, all, threshold }
        } else {
            Event::PanicEnded { cluster: name, eligible, all }
        });
    }
}

impl StatusSource for Watched {
    fn status(&self) -> Status {
        let Some(snapshot) = self.snapshot.load_full() else { return Status::default() };
        let now = self.shared.now();
        let at = SystemTime::now();
        let rates = lock(&self.rates);
        let since = rates.since(now);
        let mut states = lock(&self.states);
        let clusters = snapshot.clusters.iter().map(|cluster| {
            let endpoints = cluster.members.endpoints();
            let endpoints = endpoints.iter().map(|endpoint| {
                let state = endpoint.state();
                let is_warming = cluster.members.warming_share(endpoint, now).is_some();
                let (word, reason) = status::observed(state, is_warming);
                let upstream = &endpoint.value().upstream;
                let report = upstream.identity(&cluster.name).and_then(|identity| self.checks.get()?.report(&identity));
                // A state that no tick has seen yet has begun just now, for whoever looks again as well.
                let seen = states.entry((Arc::clone(&cluster.name), endpoint.uid())).or_insert((word, at));
                if seen.0 != word {
                    *seen = (word, at);
                }
                let why = match word {
                    State::Down => report.as_ref().and_then(|report| report.why.clone()),
                    State::Ejected => upstream.ejected_for.load().as_deref().cloned(),
                    _ => None,
                };
                let key = (Arc::clone(&cluster.name), endpoint.uid());
                let name = (Arc::clone(&cluster.name), Arc::clone(&upstream.name));
                let attempts = since.attempts(&key, state.requests());
                EndpointStatus {
                    address: Arc::clone(&upstream.name),
                    resolved: upstream.address.as_ref().map(ToString::to_string),
                    eligible: state.is_eligible(),
                    state: word,
                    reason: status::explained(word, reason, why),
                    since: seen.1,
                    in_flight: state.in_flight(),
                    requests: state.requests(),
                    failures: state.failures(),
                    requests_per_s: since.rate(attempts),
                    response: ResponseTimes::of(&since.endpoint(&name, &upstream.metrics.durations())),
                    last_check: report.and_then(|report| report.last),
                }
            });
            let queue = QueueStatus::of(cluster.members.queue());
            let routes =
                snapshot.routes.iter().filter(|route| route.cluster().is_some_and(|it| it.name == cluster.name));
            ClusterStatus {
                name: Arc::clone(&cluster.name),
                policy: cluster.config.policy.kind.name(),
                routes: routes.map(|route| (Arc::clone(&route.name), route.policy_name())).collect(),
                panic: cluster.members.is_panicking(),
                panic_picks: cluster.members.panic_picks(),
                queue,
                endpoints: endpoints.collect(),
            }
        });
        let room = &self.shared.room;
        let limits = LimitsStatus {
            connections: self.shared.most_connections(),
            endpoint_connections: room.max(),
            endpoint_connections_open: room.open(),
            endpoint_connections_refused: room.refused(),
        };
        let (generation, uptime) = (snapshot.generation, self.started.elapsed());
        let clusters = clusters.collect();
        let certificates = snapshot.listeners.iter().flat_map(|listener| {
            let shown = listener.tls.iter().flat_map(|terminator| terminator.certificates());
            shown.map(|(names, until)| CertificateStatus::new(Arc::clone(&listener.name), names, until, at))
        });
        let (listeners, added) = self.listeners(&snapshot, &since);
        Status {
            version: env!("CARGO_PKG_VERSION"),
            generation,
            uptime,
            limits,
            requests_per_s: since.rate(added.as_ref().map_or(0, |added| added.count)),
            response: added.as_ref().and_then(ResponseTimes::of),
            listeners,
            certificates: certificates.collect(),
            clusters,
        }
    }
}

fn lock<T: ?Sized>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
