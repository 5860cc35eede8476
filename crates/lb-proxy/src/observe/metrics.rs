//! Metrics: handles that the request path raises without looking anything up.
//!
//! The usual way, a map from labels to a counter, hashes five strings for every request. Here a configuration's series
//! are known when it is loaded, since labels come from the file and never from a request. So the engine resolves a
//! handle for each listener, route and endpoint once a snapshot, and a request costs a few relaxed additions to cells
//! that its thread has for itself: one for its code, two each for the route's and the endpoint's durations.
//!
//! How the engine uses it:
//!
//! ```text
//! let metrics = Metrics::new(workers);
//! // for every snapshot, at start and at reload:
//! let mut series = metrics.series();
//! let web  = series.listener("web");                                  // Arc<ListenerMetrics>
//! let a    = series.endpoint("n8n", "n8n-1:5678");                    // Arc<EndpointMetrics>, one a configured address
//! let api  = series.route("web", "api", Some("n8n"), &[a.clone()]);   // Arc<RouteMetrics>, one a listener and route
//! let none = series.route("web", "", None, &[]);                      // for requests that no route takes
//! series.publish(generation);                  // what was not named again disappears from `/metrics`
//! // for an endpoint that joins and leaves between two generations:
//! let b    = metrics.endpoint("n8n", "web-2");                        // in `/metrics` and known to the cluster's routes at once
//! metrics.forget("n8n", "web-2");
//! // for every connection, attempt and request:
//! web.on_connect(); web.on_disconnect();
//! a.on_head(elapsed);                          // an attempt's response head has come
//! api.on_request(Some(&a), 200, elapsed);      // the response is through; `None` for our own answers
//! ```
//!
//! A series that survives a reload keeps its counts, also those of requests that still hold the old snapshot; one that
//! is dropped and comes back later begins at zero, which Prometheus takes for a restart. There are as many series as
//! the file says: (listener × route × endpoints of its cluster × codes seen).
//!
//! `in_flight` and `endpoint_eligible` are not counted here but read from the
//! [`StatusSource`](super::status::StatusSource) when `/metrics` is asked for, so that they cannot drift from what
//! selection sees.

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwapOption;

use super::cells::{Codes, Count, Durations, Histogram, Sharded};
use super::status::State;
use super::transitions::Transition;
use crate::events::{Event, Subscriber};

/// All metrics of the process.
#[derive(Debug)]
pub struct Metrics {
    threads: usize,
    current: Mutex<Arc<Named>>,
    next_endpoint: AtomicU32,
    pub(super) generation: AtomicU64,
    panics: AtomicU64,
    http2_abuse: AtomicU64,
    compressed: AtomicU64,
    compressed_cheaper: AtomicU64,
    compression_skipped: AtomicU64,
    access_log_dropped: Arc<AtomicU64>,
}

/// The series of one generation, by their labels.
#[derive(Clone, Debug, Default)]
pub(super) struct Named {
    pub(super) listeners: BTreeMap<Arc<str>, Arc<ListenerMetrics>>,
    /// By cluster and configured address.
    pub(super) endpoints: BTreeMap<(Arc<str>, Arc<str>), Arc<EndpointMetrics>>,
    /// By listener and route.
    pub(super) routes: BTreeMap<(Arc<str>, Arc<str>), Arc<RouteCells>>,
    /// By listener, route and cluster (empty for none): a route that changes its cluster starts new answers.
    pub(super) answers: BTreeMap<AnswerKey, Arc<RouteMetrics>>,
}

type AnswerKey = (Arc<str>, Arc<str>, Arc<str>);

/// Handles for a new generation, resolved one by one and then published. Nothing changes until then.
#[derive(Debug)]
pub struct Series<'a> {
    metrics: &'a Metrics,
    old: Arc<Named>,
    new: Named,
}

/// Counts of one listener.
#[derive(Debug)]
pub struct ListenerMetrics {
    open: Sharded<Count>,
    handshakes: [Sharded<Count>; Handshake::ALL.len()],
    refused: [AtomicU64; RefusedConnection::ALL.len()],
}

/// Why a connection was closed before its first request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RefusedConnection {
    /// There were too many.
    Limit,
    /// Its client had too many.
    ClientLimit,
    /// It did not begin with the PROXY header that it should have begun with.
    ProxyProtocol,
    /// Its client is of a network that the listener does not serve.
    Denied,
}

impl RefusedConnection {
    /// Every reason.
    pub const ALL: [Self; 4] = [Self::Limit, Self::ClientLimit, Self::ProxyProtocol, Self::Denied];

    /// Its name in `/metrics`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Limit => "limit",
            Self::ClientLimit => "client_limit",
            Self::ProxyProtocol => "proxy_protocol",
            Self::Denied => "denied",
        }
    }
}

/// How a TLS handshake with a client ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Handshake {
    /// Well, with a certificate and a signature.
    Full,
    /// Well, by taking up an earlier session.
    Resumed,
    /// The two could not agree: version, cipher suite, a client certificate, or what came was no TLS.
    Failed,
    /// The client took too long.
    TimedOut,
    /// The client left before it was done, as probes of the port do.
    Gone,
}

impl Handshake {
    /// All of them, in the order of the type.
    pub const ALL: [Self; 5] = [Self::Full, Self::Resumed, Self::Failed, Self::TimedOut, Self::Gone];

    /// Its label.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Full => "full",
            Self::Resumed => "resumed",
            Self::Failed => "failed",
            Self::TimedOut => "timeout",
            Self::Gone => "gone",
        }
    }
}

/// Counts of one configured endpoint, whatever addresses it resolves to.
#[derive(Debug)]
pub struct EndpointMetrics {
    /// Never given twice.
    id: u32,
    pub(super) endpoint: Arc<str>,
    pub(super) durations: Sharded<Durations>,
    pub(super) checks_passed: AtomicU64,
    pub(super) checks_failed: AtomicU64,
    pub(super) ejections: AtomicU64,
    /// By the states before and after, and the reason.
    pub(super) transitions: Mutex<BTreeMap<(State, State, &'static str), u64>>,
}

/// Counts of one route on one listener with one cluster.
#[derive(Debug)]
pub struct RouteMetrics {
    cells: Arc<RouteCells>,
    /// Our own answers: no endpoint.
    pub(super) own: Arc<Sharded<Codes>>,
    /// Ascending by endpoint id.
    pairs: Box<[Pair]>,
    /// Of endpoints that joined after this was made, ascending as well. Read only where `pairs` lacks the endpoint.
    late: ArcSwapOption<Vec<Pair>>,
    threads: usize,
}

/// What a route counts whatever its cluster.
#[derive(Debug)]
pub(super) struct RouteCells {
    pub(super) durations: Sharded<Durations>,
    pub(super) retries: Sharded<Count>,
    pub(super) denied: Sharded<Count>,
    pub(super) rate_limited: Sharded<Count>,
    pub(super) rate_passed: Sharded<Count>,
    pub(super) rate_delayed: Sharded<Count>,
    pub(super) rate_would_limit: Sharded<Count>,
}

/// Answers of one endpoint to one route.
#[derive(Clone, Debug)]
pub(super) struct Pair {
    id: u32,
    pub(super) endpoint: Arc<str>,
    /// Made at the first answer: most routes of a large file see few requests. Shared between generations, so that a
    /// request of an old snapshot still counts.
    pub(super) codes: Arc<OnceLock<Sharded<Codes>>>,
}

impl Pair {
    fn new(endpoint: &EndpointMetrics) -> Self {
        Self { id: endpoint.id, endpoint: Arc::clone(&endpoint.endpoint), codes: Arc::default() }
    }

    fn count(&self, code: u16, threads: usize) {
        self.codes.get_or_init(|| Sharded::new(threads)).mine().count(code);
    }
}

impl Named {
    /// The answers of every route to this cluster, whatever its listener.
    fn routes_to(&self, cluster: &str) -> impl Iterator<Item = &Arc<RouteMetrics>> {
        self.answers.iter().filter(move |((.., of), _)| **of == *cluster).map(|(_, route)| route)
    }
}

impl Metrics {
    /// Metrics for about this many threads that count; more share cells, which costs time but no counts.
    #[must_use]
    pub fn new(threads: usize) -> Self {
        Self {
            threads,
            current: Mutex::default(),
            next_endpoint: AtomicU32::new(0),
            generation: AtomicU64::new(0),
            panics: AtomicU64::new(0),
            http2_abuse: AtomicU64::new(0),
            compressed: AtomicU64::new(0),
            compressed_cheaper: AtomicU64::new(0),
            compression_skipped: AtomicU64::new(0),
            access_log_dropped: Arc::default(),
        }
    }

    /// Begins the series of a new generation. Take one at a time: of two that overlap the later publication wins.
    #[must_use]
    pub fn series(&self) -> Series<'_> {
        Series { metrics: self, old: self.named(), new: Named::default() }
    }

    /// The endpoint of this name, whenever it joins: a new one is in `/metrics` at once, and a pair of it with every route to
    /// its cluster. Not while a new generation is being made, which would not know of it.
    ///
    /// Costs O(series) if it is new.
    pub fn endpoint(&self, cluster: &str, endpoint: &str) -> Arc<EndpointMetrics> {
        let key: (Arc<str>, Arc<str>) = (cluster.into(), endpoint.into());
        let mut current = self.lock();
        if let Some(known) = current.endpoints.get(&key) {
            return Arc::clone(known);
        }
        let made = self.make_endpoint(endpoint);
        let named = Arc::make_mut(&mut current);
        named.endpoints.insert(key, Arc::clone(&made));
        named.routes_to(cluster).for_each(|route| route.join(&made));
        made
    }

    /// An endpoint of this name has left for good: it disappears from `/metrics`.
    pub fn forget(&self, cluster: &str, endpoint: &str) {
        let mut current = self.lock();
        let named = Arc::make_mut(&mut current);
        if let Some(gone) = named.endpoints.remove(&(cluster.into(), endpoint.into())) {
            named.routes_to(cluster).for_each(|route| route.leave(gone.id));
        }
    }

    fn make_endpoint(&self, endpoint: &str) -> Arc<EndpointMetrics> {
        Arc::new(EndpointMetrics {
            id: self.next_endpoint.fetch_add(1, Ordering::Relaxed),
            endpoint: endpoint.into(),
            durations: Sharded::new(self.threads),
            checks_passed: AtomicU64::new(0),
            checks_failed: AtomicU64::new(0),
            ejections: AtomicU64::new(0),
            transitions: Mutex::default(),
        })
    }

    /// A panic cost a connection.
    pub fn on_panic(&self) {
        self.panics.fetch_add(1, Ordering::Relaxed);
    }

    /// A client's HTTP/2 connection was ended for what it did: a flood of frames, or of requests given up at once.
    pub fn on_http2_abuse(&self) {
        self.http2_abuse.fetch_add(1, Ordering::Relaxed);
    }

    /// A response is compressed; whether at a cheaper level than configured.
    pub fn on_compressed(&self, is_cheaper: bool) {
        self.compressed.fetch_add(1, Ordering::Relaxed);
        if is_cheaper {
            self.compressed_cheaper.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// A response that its client would have had compressed goes as it is.
    pub fn on_compression_skipped(&self) {
        self.compression_skipped.fetch_add(1, Ordering::Relaxed);
    }

    /// The count of lines that the access log lost, for [`AccessLog::start`](super::access_log::AccessLog::start).
    #[must_use]
    pub fn access_log_dropped(&self) -> Arc<AtomicU64> {
        Arc::clone(&self.access_log_dropped)
    }

    /// The counters without labels: the name in `/metrics`, the help, the count.
    pub(super) fn counters(&self) -> [(&'static str, &'static str, u64); 6] {
        let value = |count: &AtomicU64| count.load(Ordering::Relaxed);
        [
            ("panics", "Panics while serving a connection", value(&self.panics)),
            ("http2_abuse", "HTTP/2 connections closed for abuse", value(&self.http2_abuse)),
            ("compressed_responses", "Responses compressed", value(&self.compressed)),
            (
                "compressed_responses_cheaper",
                "Of them, those at the fastest level since the worker was busy",
                value(&self.compressed_cheaper),
            ),
            (
                "compression_skipped",
                "Responses not compressed since the worker was too busy, or encoders had all the memory they may have",
                value(&self.compression_skipped),
            ),
            ("access_log_dropped", "Access log lines lost", value(&self.access_log_dropped)),
        ]
    }

    /// How long requests took, by listener, whatever their route.
    pub(crate) fn by_listener(&self) -> HashMap<Arc<str>, Histogram> {
        let mut sums: HashMap<Arc<str>, Histogram> = HashMap::new();
        for ((listener, _), cells) in &self.named().routes {
            let read = cells.durations.read();
            match sums.get_mut(listener) {
                Some(sum) => sum.add(&read),
                None => drop(sums.insert(Arc::clone(listener), read)),
            }
        }
        sums
    }

    pub(super) fn named(&self) -> Arc<Named> {
        Arc::clone(&self.lock())
    }

    fn lock(&self) -> MutexGuard<'_, Arc<Named>> {
        self.current.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Counts the transitions of endpoints.
impl Subscriber for Arc<Metrics> {
    fn on_event(&self, event: &Event) {
        let Some(transition) = Transition::of(event) else { return };
        let key = (Arc::clone(&transition.endpoint.cluster), Arc::clone(&transition.endpoint.endpoint));
        if let Some(known) = self.named().endpoints.get(&key) {
            known.on_transition(&transition);
            if let Event::Ejected { .. } = event {
                known.on_ejection();
            }
        }
    }
}

impl Series<'_> {
    /// The listener of this name.
    pub fn listener(&mut self, name: &str) -> Arc<ListenerMetrics> {
        let made = self.new.listeners.entry(name.into()).or_insert_with(|| match self.old.listeners.get(name) {
            Some(survivor) => Arc::clone(survivor),
            None => Arc::new(ListenerMetrics {
                open: Sharded::new(self.metrics.threads),
                handshakes: std::array::from_fn(|_| Sharded::new(self.metrics.threads)),
                refused: Default::default(),
            }),
        });
        Arc::clone(made)
    }

    /// The endpoint of this cluster with this configured address. The same address named twice is one series.
    pub fn endpoint(&mut self, cluster: &str, endpoint: &str) -> Arc<EndpointMetrics> {
        let key: (Arc<str>, Arc<str>) = (cluster.into(), endpoint.into());
        let made = self.new.endpoints.entry(key.clone()).or_insert_with(|| match self.old.endpoints.get(&key) {
            Some(survivor) => Arc::clone(survivor),
            None => self.metrics.make_endpoint(endpoint),
        });
        Arc::clone(made)
    }

    /// All endpoints of this cluster that this generation has so far.
    #[must_use]
    pub fn endpoints(&self, cluster: &str) -> Vec<Arc<EndpointMetrics>> {
        let from: (Arc<str>, Arc<str>) = (cluster.into(), "".into());
        let all = self.new.endpoints.range(from..).take_while(|((of, _), _)| **of == *cluster);
        all.map(|(_, endpoint)| Arc::clone(endpoint)).collect()
    }

    /// The route of this name on this listener, with the endpoints of its cluster. `None` and no endpoints for a route
    /// that answers by itself; an empty name for requests that no route takes. Asked for twice, the first holds.
    pub fn route(
        &mut self,
        listener: &str,
        route: &str,
        cluster: Option<&str>,
        endpoints: &[Arc<EndpointMetrics>],
    ) -> Arc<RouteMetrics> {
        let threads = self.metrics.threads;
        let (listener, route): (Arc<str>, Arc<str>) = (listener.into(), route.into());
        let key = (Arc::clone(&listener), Arc::clone(&route), Arc::from(cluster.unwrap_or_default()));
        if let Some(made) = self.new.answers.get(&key) {
            return Arc::clone(made);
        }
        let names = (listener, route);
        let cells = self.new.routes.entry(names.clone()).or_insert_with(|| match self.old.routes.get(&names) {
            Some(survivor) => Arc::clone(survivor),
            None => Arc::new(RouteCells {
                durations: Sharded::new(threads),
                retries: Sharded::new(threads),
                denied: Sharded::new(threads),
                rate_limited: Sharded::new(threads),
                rate_passed: Sharded::new(threads),
                rate_delayed: Sharded::new(threads),
                rate_would_limit: Sharded::new(threads),
            }),
        });
        let cells = Arc::clone(cells);
        let old = self.old.answers.get(&key);
        let made = Arc::new(RouteMetrics {
            cells,
            own: old.map_or_else(|| Arc::new(Sharded::new(threads)), |old| Arc::clone(&old.own)),
            pairs: pairs(endpoints, old.map(|old| &**old)),
            late: ArcSwapOption::empty(),
            threads,
        });
        self.new.answers.insert(key, Arc::clone(&made));
        made
    }

    /// Makes these the series of `/metrics`, and `generation` the one in force.
    pub fn publish(self, generation: u64) {
        *self.metrics.lock() = Arc::new(self.new);
        self.metrics.generation.store(generation, Ordering::Relaxed);
    }
}

fn pairs(endpoints: &[Arc<EndpointMetrics>], old: Option<&RouteMetrics>) -> Box<[Pair]> {
    let survivors = old.map(RouteMetrics::all_pairs).unwrap_or_default();
    let survivors: HashMap<u32, Pair> = survivors.into_iter().map(|pair| (pair.id, pair)).collect();
    let mut pairs: Vec<Pair> = endpoints
        .iter()
        .map(|endpoint| survivors.get(&endpoint.id).cloned().unwrap_or_else(|| Pair::new(endpoint)))
        .collect();
    pairs.sort_by_key(|pair| pair.id);
    pairs.dedup_by_key(|pair| pair.id);
    pairs.into()
}

impl ListenerMetrics {
    /// A client connected.
    pub fn on_connect(&self) {
        self.open.add(1);
    }

    /// A client's connection ended. Any thread may say so.
    pub fn on_disconnect(&self) {
        self.open.add(1u64.wrapping_neg());
    }

    /// A connection was closed before its first request.
    pub fn on_refused(&self, why: RefusedConnection) {
        self.refused[why as usize].fetch_add(1, Ordering::Relaxed);
    }

    /// How many were, for this reason.
    #[must_use]
    pub fn refused(&self, why: RefusedConnection) -> u64 {
        self.refused[why as usize].load(Ordering::Relaxed)
    }

    /// A TLS handshake ended.
    pub fn on_handshake(&self, result: Handshake) {
        self.handshakes[result as usize].add(1);
    }

    /// TLS handshakes that ended like this.
    #[must_use]
    pub fn handshakes(&self, result: Handshake) -> u64 {
        self.handshakes[result as usize].sum()
    }

    /// Connections open now.
    #[must_use]
    pub fn connections(&self) -> u64 {
        // A shard may be read before a connection opened and another after it closed.
        u64::try_from(self.open.sum().cast_signed()).unwrap_or(0)
    }
}

impl EndpointMetrics {
    /// How long response heads took.
    pub(crate) fn durations(&self) -> Histogram {
        self.durations.read()
    }

    /// An attempt's response head came after this time, or was not waited for any longer.
    pub fn on_head(&self, elapsed: Duration) {
        self.durations.mine().observe(elapsed);
    }

    /// An active check ended.
    pub fn on_check(&self, passed: bool) {
        let count = if passed { &self.checks_passed } else { &self.checks_failed };
        count.fetch_add(1, Ordering::Relaxed);
    }

    fn on_transition(&self, transition: &Transition<'_>) {
        let mut transitions = self.transitions.lock().unwrap_or_else(PoisonError::into_inner);
        *transitions.entry((transition.from, transition.to, transition.reason)).or_default() += 1;
    }

    /// Its transitions so far: from, to, the reason, and how often.
    pub(super) fn transitions(&self) -> Vec<(State, State, &'static str, u64)> {
        let transitions = self.transitions.lock().unwrap_or_else(PoisonError::into_inner);
        transitions.iter().map(|(&(from, to, reason), &count)| (from, to, reason, count)).collect()
    }

    /// Outlier detection ejected it.
    pub fn on_ejection(&self) {
        self.ejections.fetch_add(1, Ordering::Relaxed);
    }
}

impl RouteMetrics {
    /// A request ended with this code after this time; `None` if the answer was our own. An endpoint that the route does not
    /// know is counted as none.
    pub fn on_request(&self, endpoint: Option<&EndpointMetrics>, code: u16, elapsed: Duration) {
        match endpoint {
            None => self.own.mine().count(code),
            Some(endpoint) => match self.pair(endpoint.id) {
                Some(pair) => pair.count(code, self.threads),
                None => self.count_late(endpoint.id, code),
            },
        }
        self.cells.durations.mine().observe(elapsed);
    }

    #[cold]
    fn count_late(&self, id: u32, code: u16) {
        let late = self.late.load();
        let late = late.as_deref().map_or(&[][..], Vec::as_slice);
        match late.binary_search_by_key(&id, |pair| pair.id).ok().and_then(|at| late.get(at)) {
            Some(pair) => pair.count(code, self.threads),
            None => self.own.mine().count(code),
        }
    }

    /// An endpoint has joined the cluster. One call at a time, as for [`leave`](Self::leave).
    fn join(&self, endpoint: &EndpointMetrics) {
        let mut late = self.late.load_full().map_or_else(Vec::new, |late| late.to_vec());
        late.push(Pair::new(endpoint));
        self.late.store(Some(Arc::new(late)));
    }

    fn leave(&self, id: u32) {
        let Some(late) = self.late.load_full() else { return };
        let left: Vec<Pair> = late.iter().filter(|pair| pair.id != id).cloned().collect();
        self.late.store((!left.is_empty()).then(|| Arc::new(left)));
    }

    /// All pairs, those of endpoints that joined later included.
    pub(super) fn all_pairs(&self) -> Vec<Pair> {
        let late = self.late.load();
        self.pairs.iter().chain(late.iter().flat_map(|late| late.iter())).cloned().collect()
    }

    /// An attempt beyond the first began.
    pub fn on_retry(&self) {
        self.cells.retries.add(1);
    }

    /// A request was denied for its client's network.
    pub fn on_denied(&self) {
        self.cells.denied.add(1);
    }

    /// A rate limit refused a request.
    pub fn on_rate_limited(&self) {
        self.cells.rate_limited.add(1);
    }

    /// A rate limit let a request pass, at once or later.
    pub fn on_rate_limit_passed(&self) {
        self.cells.rate_passed.add(1);
    }

    /// A rate limit holds a request back.
    pub fn on_rate_delayed(&self) {
        self.cells.rate_delayed.add(1);
    }

    /// A rate limit in a dry run would have refused a request.
    pub fn on_rate_would_limit(&self) {
        self.cells.rate_would_limit.add(1);
    }

    fn pair(&self, id: u32) -> Option<&Pair> {
        // Endpoints made together have ids in a row, so the guess is nearly always right.
        let guess = id.wrapping_sub(self.pairs.first()?.id) as usize;
        match self.pairs.get(guess) {
            Some(pair) if pair.id == id => Some(pair),
            _ => self.pairs.get(self.pairs.binary_search_by_key(&id, |pair| pair.id).ok()?),
        }
    }
}

#[cfg(test)]
mod tests;
