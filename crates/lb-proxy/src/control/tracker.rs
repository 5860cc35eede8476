//! The state of every endpoint, and since when; the status that is made of it.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, OnceLock};
use std::time::{Instant, SystemTime};

use arc_swap::ArcSwapOption;
use lb_core::{Axis, EndpointState};
use lb_policy::Endpoint;

use super::lock;
use crate::drivers::checks::Checks;
use crate::events::{Event, Subject};
use crate::observe::cells::Histogram;
use crate::observe::rates::{Rates, Reading, Since};
use crate::observe::status::{
    self, CertificateStatus, ClusterStatus, ConcurrencyStatus, EndpointStatus, LimitsStatus, ListenerStatus,
    QueueStatus, RateLimitStatus, ResponseTimes, State, Status, StatusSource, TopKey,
};
use crate::runtime::snapshot::{ClusterRuntime, Snapshot};
use crate::worker::shared::Shared;

/// What is known of every endpoint, and since when.
pub(super) struct StatusTracker {
    pub(super) shared: Arc<Shared>,
    started: Instant,
    pub(super) snapshot: ArcSwapOption<Snapshot>,
    panicking: Mutex<HashMap<Arc<str>, bool>>,
    pub(super) checks: OnceLock<Arc<Checks>>,
    rates: Mutex<Rates>,
}

/// What the configuration, a source or an operator says. Nothing reports these changes when they are made.
const DECLARED: [Axis; 5] = [Axis::Drain, Axis::WeightZero, Axis::NotReady, Axis::DrainOrdered, Axis::Maintenance];

fn declared(state: &EndpointState) -> u8 {
    (0..).zip(DECLARED).map(|(bit, axis)| u8::from(state.is_set(axis)) << bit).sum()
}

impl StatusTracker {
    pub(super) fn new(shared: Arc<Shared>) -> Self {
        Self {
            shared,
            started: Instant::now(),
            snapshot: ArcSwapOption::empty(),
            panicking: Mutex::default(),
            checks: OnceLock::new(),
            rates: Mutex::default(),
        }
    }

    pub(super) fn on_tick(&self) {
        let Some(snapshot) = self.snapshot.load_full() else { return };
        let now = self.shared.now();
        self.shared.failure_log.flush(now);
        let at = SystemTime::now();
        for cluster in &snapshot.clusters {
            match &cluster.passive {
                Some(passive) => passive.tick(now),
                None => cluster.members.maintain(now),
            }
            self.report_panic(cluster);
            let silence = cluster.config.health.passive.as_ref().and_then(|passive| passive.silence);
            for endpoint in cluster.members.endpoints().iter() {
                let upstream = &endpoint.value().upstream;
                upstream.usual.learn(&upstream.metrics, endpoint.state(), silence);
                if (endpoint.state().is_set(Axis::Ejected) || endpoint.state().is_throttled())
                    && let (Some(checks), Some(identity)) =
                        (self.checks.get(), endpoint.value().upstream.identity(&cluster.name))
                {
                    // A check that passes ends the ejection, one that fails confirms the suspicion.
                    checks.suspect(&identity);
                }
                let (state, _) = cluster.observed(endpoint, now);
                upstream.chronicle.see(state, at);
                let changed = upstream.chronicle.see_declared(declared(endpoint.state()));
                if changed != 0 {
                    self.report_declared(cluster, endpoint, changed);
                }
            }
        }
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

    fn report_declared(&self, cluster: &ClusterRuntime, endpoint: &Endpoint<impl Sized>, changed: u8) {
        let all: Vec<Axis> = endpoint.state().reasons().collect();
        for (bit, axis) in (0..).zip(DECLARED) {
            if changed & 1 << bit == 0 {
                continue;
            }
            let identity = endpoint.identity();
            let resolved = (identity.name != identity.address).then(|| identity.address.to_string());
            let (cluster, endpoint) = (Arc::clone(&cluster.name), Arc::clone(&identity.name));
            let endpoint = Subject { cluster, endpoint, resolved };
            let others = all.iter().copied().filter(|other| *other != axis).collect();
            self.shared.events.emit(Event::Declared { endpoint, axis, on: all.contains(&axis), others });
        }
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

/// How many keys of a rate limit the status shows.
const TOP_KEYS: usize = 10;

impl StatusSource for StatusTracker {
    fn status(&self) -> Status {
        let Some(snapshot) = self.snapshot.load_full() else { return Status::default() };
        let now = self.shared.now();
        let at = SystemTime::now();
        let rates = lock(&self.rates);
        let since = rates.since(now);
        let clusters = snapshot.clusters.iter().map(|cluster| {
            let endpoints = cluster.members.endpoints();
            let endpoints = endpoints.iter().map(|endpoint| {
                let state = endpoint.state();
                let (word, reason) = cluster.observed(endpoint, now);
                let upstream = &endpoint.value().upstream;
                let report = upstream.identity(&cluster.name).and_then(|identity| self.checks.get()?.report(&identity));
                let chronicle = &upstream.chronicle;
                // A state that no tick has seen yet has begun just now, for whoever looks again as well.
                let in_state_since = chronicle.see(word, at);
                let why = match word {
                    State::Down => report.as_ref().and_then(|report| report.why.clone()),
                    State::Ejected => chronicle.ejected_for(),
                    State::Cooling => chronicle.cooling_for(),
                    _ => None,
                };
                let wait = match word {
                    State::Down => report.as_ref().map(|report| report.next_in),
                    State::Ejected | State::Cooling => cluster
                        .passive
                        .as_ref()
                        .and_then(|passive| passive.out_until(endpoint.uid(), now))
                        .map(|until| until.saturating_since(now)),
                    _ => None,
                };
                let (last_check, earlier_checks) =
                    report.map_or_else(Default::default, |report| (report.last, report.earlier.into()));
                let key = (Arc::clone(&cluster.name), endpoint.uid());
                let name = (Arc::clone(&cluster.name), Arc::clone(&upstream.name));
                let attempts = since.attempts(&key, state.requests());
                EndpointStatus {
                    address: Arc::clone(&upstream.name),
                    resolved: upstream.address.as_ref().map(ToString::to_string),
                    eligible: state.is_eligible(),
                    state: word,
                    reason: status::explained(word, reason, why),
                    since: in_state_since,
                    in_flight: state.in_flight(),
                    requests: state.requests(),
                    failures: state.failures(),
                    requests_per_s: since.rate(attempts),
                    response: ResponseTimes::of(&since.endpoint(&name, &upstream.metrics.durations())),
                    last_check,
                    earlier_checks,
                    flaps: chronicle.flaps(now),
                    ejections: chronicle.ejections(),
                    wait,
                    outcomes: chronicle.outcomes.read(state.requests()),
                }
            });
            let queue = QueueStatus::of(cluster.members.queue());
            let routes = snapshot.routes[..snapshot.config.routes.len()]
                .iter()
                .filter(|route| route.cluster().is_some_and(|it| it.name == cluster.name));
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
            connections: self.shared.max_connections(),
            endpoint_connections: room.max(),
            endpoint_connections_open: room.open(),
            endpoint_connections_refused: room.refused(),
        };
        let rate_limits = snapshot.rate_limits.iter().map(|(name, table)| RateLimitStatus {
            name: Arc::clone(name),
            keys: table.live(now),
            max_keys: table.capacity(),
            evicted: table.evicted_live(),
            crowded: table.crowded(),
            top: None,
        });
        let concurrency = snapshot.gates.states().map(|gate| ConcurrencyStatus {
            name: gate.name,
            limit: gate.limit,
            why: gate.why,
            in_flight: gate.in_flight,
            waiting: gate.waiting,
            waited: gate.waited,
            refused: gate.refused,
        });
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
            rate_limits: rate_limits.collect(),
            concurrency: concurrency.collect(),
            requests_per_s: since.rate(added.as_ref().map_or(0, |added| added.count)),
            response: added.as_ref().and_then(ResponseTimes::of),
            listeners,
            certificates: certificates.collect(),
            clusters,
        }
    }

    fn add_top_keys(&self, status: &mut Status) {
        let Some(snapshot) = self.snapshot.load_full() else { return };
        let now = self.shared.now();
        for limit in &mut status.rate_limits {
            let Some((_, table)) = snapshot.rate_limits.iter().find(|(name, _)| *name == limit.name) else { continue };
            let top = table.heaviest(TOP_KEYS, now).into_iter().map(|heavy| TopKey {
                key: format!("{:016x}", heavy.key),
                refused: heavy.is_refused,
                full_after_s: (heavy.full_after.as_secs_f64() * 1e3).round() / 1e3,
            });
            limit.top = Some(top.collect());
        }
    }
}
