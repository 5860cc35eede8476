//! The status page: what each endpoint is doing, and why.
//!
//! "Why does this endpoint get no traffic?" has many answers: an order, a check, an ejection, a name that does not
//! resolve. `/status` shows the reason, since when, and the result of the last check.
//!
//! The engine implements [`StatusSource`]; the admin listener calls it for `/status`, and `/metrics` takes its gauges
//! from the same answer. [`observed`] turns an endpoint's eligibility word into the page's words.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use lb_core::{Axis, EndpointState};
use lb_policy::{Queue, QueueReport};
use serde::Serialize;
use serde::ser::{SerializeMap, Serializer};

use super::timestamp::rfc3339;

/// The source of the status. Called for each request of `/status` and `/metrics`, off the workers; may allocate.
pub trait StatusSource: Send + Sync + 'static {
    /// The current status.
    fn status(&self) -> Status;

    /// Adds the keys that have used most of each rate limit. Reads all tables: some milliseconds for each 10 MiB.
    fn add_top_keys(&self, status: &mut Status) {
        let _ = status;
    }
}

/// The whole page.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Status {
    /// Of lbproxy.
    pub version: &'static str,
    /// Number of the configuration in force.
    pub generation: u64,
    /// Since the process started.
    #[serde(rename = "uptime_s", serialize_with = "seconds")]
    pub uptime: Duration,
    /// Limits in effect.
    pub limits: LimitsStatus,
    /// Rate limits by name.
    #[serde(serialize_with = "rate_limits_by_name")]
    pub rate_limits: Vec<RateLimitStatus>,
    /// Limits on requests at once, by name.
    #[serde(serialize_with = "concurrency_by_name")]
    pub concurrency: Vec<ConcurrencyStatus>,
    /// Requests a second, over the last ten to twenty seconds.
    pub requests_per_s: f64,
    /// How long requests took in that time, from their first byte to the last of the response; `null` if there were none.
    #[serde(rename = "response_ms")]
    pub response: Option<ResponseTimes>,
    /// Listeners in the order of the file.
    #[serde(serialize_with = "listeners_by_name")]
    pub listeners: Vec<ListenerStatus>,
    /// The certificates that listeners show.
    pub certificates: Vec<CertificateStatus>,
    /// Clusters in the order of the file.
    #[serde(serialize_with = "by_name")]
    pub clusters: Vec<ClusterStatus>,
}

/// Response times, milliseconds, interpolated within the buckets of the metrics: within about a third.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ResponseTimes {
    /// Half of them were within it.
    #[serde(rename = "p50")]
    pub p50_ms: f64,
    /// 99 of a hundred were within it.
    #[serde(rename = "p99")]
    pub p99_ms: f64,
}

/// One listener.
#[derive(Clone, Debug, Default, Serialize)]
pub struct ListenerStatus {
    /// Its name, the key on the page.
    #[serde(skip)]
    pub name: Arc<str>,
    /// As configured.
    pub address: String,
    /// It speaks TLS.
    pub tls: bool,
    /// Client connections open.
    pub connections: u64,
    /// Requests since the process started, or since the listener came.
    pub requests: u64,
    /// Requests a second, over the last ten to twenty seconds.
    pub requests_per_s: f64,
    /// How long they took in that time; `null` if there were none.
    #[serde(rename = "response_ms")]
    pub response: Option<ResponseTimes>,
}

/// One certificate of a listener.
#[derive(Clone, Debug, Serialize)]
pub struct CertificateStatus {
    /// The listener that shows it.
    #[serde(serialize_with = "text")]
    pub listener: Arc<str>,
    /// The names it is for.
    pub names: Vec<String>,
    /// Until when it holds.
    #[serde(serialize_with = "instant")]
    pub valid_until: SystemTime,
    /// Whole days until then; negative once it has expired.
    pub days_left: i64,
}

impl CertificateStatus {
    /// A certificate as it stands `now`.
    #[must_use]
    pub fn new(listener: Arc<str>, names: Vec<String>, valid_until: SystemTime, now: SystemTime) -> Self {
        const DAY: i64 = 86_400;
        let seconds = match valid_until.duration_since(now) {
            Ok(left) => i64::try_from(left.as_secs()).unwrap_or(i64::MAX),
            Err(over) => -i64::try_from(over.duration().as_secs()).unwrap_or(i64::MAX) - 1,
        };
        Self { listener, names, valid_until, days_left: seconds.div_euclid(DAY) }
    }
}

/// Limits in effect, which may be smaller than the file says, and how they are used.
#[derive(Clone, Debug, Default, Serialize)]
pub struct LimitsStatus {
    /// Maximum of client connections.
    pub connections: usize,
    /// Maximum of connections to endpoints.
    pub endpoint_connections: usize,
    /// Connections to endpoints that there are, idle ones included.
    pub endpoint_connections_open: usize,
    /// Requests refused for want of one.
    pub endpoint_connections_refused: u64,
}

/// One rate limit.
#[derive(Clone, Debug, Default, Serialize)]
pub struct RateLimitStatus {
    /// Its name, the key on the page.
    #[serde(skip)]
    pub name: Arc<str>,
    /// Keys that have used some of their quota; of a large table an estimate.
    pub keys: u64,
    /// Keys that there is memory for.
    pub max_keys: u64,
    /// Keys forgotten before their quota was whole again, for want of memory.
    pub evicted: u64,
    /// Requests of new keys that found no place, and were counted by network.
    pub crowded: u64,
    /// The keys that have used most, those that were refused first; only where they were asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub top: Option<Vec<TopKey>>,
}

/// A key of a rate limit.
#[derive(Clone, Debug, Serialize)]
pub struct TopKey {
    /// A hash under a secret of this process: the table keeps no key in the clear.
    pub key: String,
    /// Whether it was refused since it last had its whole quota.
    pub refused: bool,
    /// When it has its whole quota again.
    pub full_after_s: f64,
}

/// One limit on requests at once.
#[derive(Clone, Debug, Default, Serialize)]
pub struct ConcurrencyStatus {
    /// Its name, the key on the page.
    #[serde(skip)]
    pub name: Arc<str>,
    /// The limit now.
    pub limit: u32,
    /// Why it is that.
    pub why: String,
    /// Requests that have a place; `null` for a limit of each key.
    pub in_flight: Option<u32>,
    /// Requests that wait for one.
    pub waiting: usize,
    /// Requests that have waited.
    pub waited: u64,
    /// Requests that got none.
    pub refused: u64,
}

/// One cluster.
#[derive(Clone, Debug, Default, Serialize)]
pub struct ClusterStatus {
    /// Its name, the key on the page.
    #[serde(skip)]
    pub name: Arc<str>,
    /// The name of its policy.
    pub policy: &'static str,
    /// Its routes by name, with the policy each picks by: the cluster's, or one of its own.
    #[serde(serialize_with = "by_route")]
    pub routes: Vec<(Arc<str>, &'static str)>,
    /// Health is being ignored, because too few of its endpoints are well.
    pub panic: bool,
    /// Picks made while it was, since the cluster came.
    pub panic_picks: u64,
    /// Requests waiting for a slot.
    pub queue: QueueStatus,
    /// Its endpoints in the order of the file, resolved addresses in ascending order.
    pub endpoints: Vec<EndpointStatus>,
}

/// The queue of a cluster.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub struct QueueStatus {
    /// How many wait.
    pub length: usize,
    /// How many may.
    pub size: usize,
    /// What became of requests since the process started.
    #[serde(flatten, serialize_with = "queue_report")]
    pub report: QueueReport,
}

impl QueueStatus {
    /// How a queue stands.
    #[must_use]
    pub fn of(queue: &Queue) -> Self {
        Self { length: queue.len(), size: queue.size(), report: queue.report() }
    }
}

/// One endpoint: a configured address and what it resolved to.
#[derive(Clone, Debug, Serialize)]
pub struct EndpointStatus {
    /// As configured.
    #[serde(serialize_with = "text")]
    pub address: Arc<str>,
    /// As resolved; `null` while the name does not resolve.
    pub resolved: Option<String>,
    /// Whether new requests may go there, `max_in_flight` apart.
    pub eligible: bool,
    /// What it is doing.
    pub state: State,
    /// Why it is not simply up; `null` if it is.
    pub reason: Option<String>,
    /// Since when it is in this state.
    #[serde(serialize_with = "instant")]
    pub since: SystemTime,
    /// Requests sent and not finished.
    pub in_flight: u32,
    /// Attempts in all.
    pub requests: u64,
    /// Attempts that failed.
    pub failures: u64,
    /// Attempts a second, over the last ten to twenty seconds.
    pub requests_per_s: f64,
    /// How long its response heads took in that time, or were waited for until a timeout, all addresses of the name together;
    /// `null` if there were none.
    #[serde(rename = "response_ms")]
    pub response: Option<ResponseTimes>,
    /// The result of the last active check; `null` if none was made.
    pub last_check: Option<LastCheck>,
    /// The results of those before it, at most four, the latest first.
    pub earlier_checks: Vec<LastCheck>,
    /// How often checks or traffic have taken it out while nothing else did, in the last hour; 64 at most.
    pub flaps: usize,
    /// How often outlier detection has ejected it since it joined.
    pub ejections: u64,
    /// How long it will at least be in this state: until its ejection or cool-down is over, or until its next check.
    /// `null` if nothing is waited for.
    #[serde(rename = "wait_s", serialize_with = "span")]
    pub wait: Option<Duration>,
    /// What came of its last 20 attempts, a letter each, the latest last; see [`lb_health::Recent`].
    pub outcomes: String,
}

/// The outcome of one active check.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct LastCheck {
    /// Whether it passed.
    pub ok: bool,
    /// `status 200`, `connect_refused`, `timeout after 5s`, …
    pub detail: String,
    /// How long it took.
    #[serde(rename = "ms", serialize_with = "millis")]
    pub took: Duration,
    /// When it ended.
    #[serde(serialize_with = "instant")]
    pub at: SystemTime,
}

/// What an endpoint is doing, in one word.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// Taking its full share.
    Up,
    /// Taking a growing share (slow start).
    Warming,
    /// Active checks fail.
    Down,
    /// Configured, ordered, or by weight zero: no new requests, sticky ones go on.
    Drain,
    /// Ordered: nothing at all.
    Maintenance,
    /// Its name does not resolve.
    Unresolved,
    /// What found it says that it cannot serve.
    NotReady,
    /// Outlier detection has ejected it for a while.
    Ejected,
    /// Its breaker is open.
    Breaker,
    /// It asked for less: others are picked first.
    Cooling,
    /// It answers nothing: one request at a time until it does.
    Suspected,
    /// Its ejection is over: one request at a time until three have succeeded.
    Probation,
    /// No longer a member.
    Removed,
    /// Refused for a reason of the embedder's own.
    Other,
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

impl State {
    /// The state of an endpoint that these axes keep from new requests.
    ///
    /// Of several reasons the one that an operator would have to lift first names the state: what people ordered comes
    /// before what is a fact, and that before what we observed.
    ///
    /// | set                 | state         |
    /// |---------------------|---------------|
    /// | removed             | `removed`     |
    /// | maintenance         | `maintenance` |
    /// | drain, ordered too  | `drain`       |
    /// | unresolved          | `unresolved`  |
    /// | not ready           | `not_ready`   |
    /// | check               | `down`        |
    /// | ejected             | `ejected`     |
    /// | breaker             | `breaker`     |
    /// | other               | `other`       |
    /// | weight zero         | `drain`       |
    /// | cool-down           | `cooling`     |
    /// | none                | `up`          |
    #[must_use]
    pub fn of(reasons: &[Axis]) -> Self {
        let words = [
            (Axis::Removed, Self::Removed),
            (Axis::Maintenance, Self::Maintenance),
            (Axis::DrainOrdered, Self::Drain),
            (Axis::Drain, Self::Drain),
            (Axis::Unresolved, Self::Unresolved),
            (Axis::NotReady, Self::NotReady),
            (Axis::Check, Self::Down),
            (Axis::Ejected, Self::Ejected),
            (Axis::Breaker, Self::Breaker),
            (Axis::Other, Self::Other),
            (Axis::WeightZero, Self::Drain),
            (Axis::CoolDown, Self::Cooling),
        ];
        words.into_iter().find_map(|(axis, word)| reasons.contains(&axis).then_some(word)).unwrap_or(Self::Up)
    }

    /// Its name.
    pub(crate) const fn word(self) -> &'static str {
        match self {
            Self::Up => "up",
            Self::Warming => "warming",
            Self::Down => "down",
            Self::Drain => "drain",
            Self::Maintenance => "maintenance",
            Self::Unresolved => "unresolved",
            Self::NotReady => "not_ready",
            Self::Ejected => "ejected",
            Self::Breaker => "breaker",
            Self::Cooling => "cooling",
            Self::Suspected => "suspected",
            Self::Probation => "probation",
            Self::Removed => "removed",
            Self::Other => "other",
        }
    }
}

/// The word for an endpoint's state ([`State::of`]; `warming` in place of `up` in its slow start), and all its reasons (`drain, check`),
/// none if it is up.
#[must_use]
pub fn observed(state: &EndpointState, is_warming: bool) -> (State, Option<String>) {
    // Read once, so that word and reasons agree.
    let reasons: Vec<Axis> = state.reasons().collect();
    let names: Vec<&str> = reasons.iter().map(|axis| axis.name()).collect();
    match State::of(&reasons) {
        State::Up if is_warming => (State::Warming, Some("slow_start".to_owned())),
        State::Up => (State::Up, None),
        word => (word, Some(names.join(", "))),
    }
}

/// The reason on the page: `why`, if what led to the state is known, or in any case more than the state's own word.
#[must_use]
pub fn explained(state: State, reason: Option<String>, why: Option<String>) -> Option<String> {
    why.or_else(|| {
        let reason = reason?;
        Some(match state {
            State::Unresolved if reason == state.word() => "its name does not resolve".to_owned(),
            State::NotReady if reason == state.word() => "its source says that it cannot serve".to_owned(),
            State::Drain if reason == state.word() => "by the configuration".to_owned(),
            State::Drain if reason == Axis::DrainOrdered.name() => "by an operator's order".to_owned(),
            State::Maintenance if reason == state.word() => "by an operator's order".to_owned(),
            _ => reason,
        })
    })
}

impl Status {
    /// The page as JSON, indented for reading with `curl`.
    #[must_use]
    pub fn to_json(&self) -> Vec<u8> {
        // The types hold neither maps with other keys than strings nor failing serializers.
        let mut out = serde_json::to_vec_pretty(self).unwrap_or_default();
        out.push(b'\n');
        out
    }
}

fn by_name<S: Serializer>(clusters: &[ClusterStatus], serializer: S) -> Result<S::Ok, S::Error> {
    let mut map = serializer.serialize_map(Some(clusters.len()))?;
    for cluster in clusters {
        map.serialize_entry(&*cluster.name, cluster)?;
    }
    map.end()
}

fn concurrency_by_name<S: Serializer>(limits: &[ConcurrencyStatus], serializer: S) -> Result<S::Ok, S::Error> {
    let mut map = serializer.serialize_map(Some(limits.len()))?;
    for limit in limits {
        map.serialize_entry(&*limit.name, limit)?;
    }
    map.end()
}

fn listeners_by_name<S: Serializer>(listeners: &[ListenerStatus], serializer: S) -> Result<S::Ok, S::Error> {
    let mut map = serializer.serialize_map(Some(listeners.len()))?;
    for listener in listeners {
        map.serialize_entry(&*listener.name, listener)?;
    }
    map.end()
}

fn rate_limits_by_name<S: Serializer>(limits: &[RateLimitStatus], serializer: S) -> Result<S::Ok, S::Error> {
    let mut map = serializer.serialize_map(Some(limits.len()))?;
    for limit in limits {
        map.serialize_entry(&*limit.name, limit)?;
    }
    map.end()
}

fn queue_report<S: Serializer>(report: &QueueReport, serializer: S) -> Result<S::Ok, S::Error> {
    let mut map = serializer.serialize_map(None)?;
    map.serialize_entry("served", &report.served)?;
    map.serialize_entry("timed_out", &report.timed_out)?;
    map.serialize_entry("refused", &report.refused)?;
    map.end()
}

fn by_route<S: Serializer>(routes: &[(Arc<str>, &str)], serializer: S) -> Result<S::Ok, S::Error> {
    let mut map = serializer.serialize_map(Some(routes.len()))?;
    for (route, policy) in routes {
        map.serialize_entry(&**route, policy)?;
    }
    map.end()
}

fn text<S: Serializer>(text: &Arc<str>, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(text)
}

fn seconds<S: Serializer>(span: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_u64(span.as_secs())
}

fn span<S: Serializer>(span: &Option<Duration>, serializer: S) -> Result<S::Ok, S::Error> {
    match span {
        Some(span) => serializer.serialize_f64(span.as_millis() as f64 / 1e3),
        None => serializer.serialize_none(),
    }
}

fn millis<S: Serializer>(span: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_f64(span.as_micros() as f64 / 1e3)
}

fn instant<S: Serializer>(at: &SystemTime, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&rfc3339(*at))
}

#[cfg(test)]
mod tests {
    use std::time::UNIX_EPOCH;

    use lb_core::InFlightLimit;
    use serde_json::{Value, json};

    use super::*;

    #[test]
    fn the_page_has_the_shape_of_the_contract() {
        let at = UNIX_EPOCH + Duration::from_secs(1_735_689_600);
        let last_check = LastCheck {
            ok: false,
            detail: "status 500".to_owned(),
            took: Duration::from_micros(1_500),
            at: at + Duration::from_millis(1),
        };
        let endpoint = EndpointStatus {
            address: "n8n-1:5678".into(),
            resolved: Some("10.0.0.1:5678".to_owned()),
            eligible: false,
            state: State::Down,
            reason: Some("check".to_owned()),
            since: at,
            in_flight: 2,
            requests: 10,
            failures: 3,
            requests_per_s: 0.5,
            response: Some(ResponseTimes { p50_ms: 1.25, p99_ms: 40.0 }),
            last_check: Some(last_check.clone()),
            earlier_checks: vec![last_check],
            flaps: 4,
            ejections: 1,
            wait: Some(Duration::from_millis(1_500)),
            outcomes: "225t".to_owned(),
        };
        let fresh = EndpointStatus {
            resolved: None,
            reason: None,
            response: None,
            last_check: None,
            wait: None,
            ..endpoint.clone()
        };
        let queue = Queue::default();
        let queue = QueueStatus { length: 2, size: 9, ..QueueStatus::of(&queue) };
        let status = Status {
            version: "1.2.3",
            generation: 7,
            uptime: Duration::from_millis(61_900),
            requests_per_s: 12.5,
            response: None,
            listeners: vec![ListenerStatus {
                name: "web".into(),
                address: "0.0.0.0:443".to_owned(),
                tls: true,
                connections: 3,
                requests: 99,
                requests_per_s: 12.5,
                response: Some(ResponseTimes { p50_ms: 1.0, p99_ms: 2.0 }),
            }],
            certificates: vec![CertificateStatus::new(
                "web".into(),
                vec!["a.test".to_owned()],
                at + Duration::from_secs(2 * 86_400 + 1),
                at,
            )],
            limits: LimitsStatus {
                connections: 9_000,
                endpoint_connections: 8_000,
                endpoint_connections_open: 70,
                endpoint_connections_refused: 6,
            },
            rate_limits: vec![RateLimitStatus {
                name: "logins".into(),
                keys: 5,
                max_keys: 655_356,
                evicted: 2,
                crowded: 3,
                top: Some(vec![TopKey { key: "00ff".to_owned(), refused: true, full_after_s: 1.5 }]),
            }],
            concurrency: vec![ConcurrencyStatus {
                name: "hooks".into(),
                limit: 37,
                why: "requests take 1.0ms with few in flight".to_owned(),
                in_flight: Some(30),
                waiting: 1,
                waited: 5,
                refused: 2,
            }],
            clusters: vec![
                ClusterStatus {
                    name: "zeta".into(),
                    policy: "p2c",
                    routes: vec![("/".into(), "p2c"), ("hooks".into(), "ip_hash")],
                    panic: true,
                    panic_picks: 5,
                    queue,
                    endpoints: vec![endpoint, fresh],
                },
                ClusterStatus { name: "alpha".into(), policy: "first", ..ClusterStatus::default() },
            ],
        };
        let text = String::from_utf8(status.to_json()).unwrap();
        assert!(text.find("zeta") < text.find("alpha"), "the order of the file");
        let page: Value = serde_json::from_str(&text).unwrap();
        let endpoint = json!({
            "address": "n8n-1:5678", "resolved": "10.0.0.1:5678", "eligible": false, "state": "down",
            "reason": "check", "since": "2025-01-01T00:00:00.000Z", "in_flight": 2, "requests": 10, "failures": 3,
            "requests_per_s": 0.5, "response_ms": { "p50": 1.25, "p99": 40.0 },
            "last_check": { "ok": false, "detail": "status 500", "ms": 1.5, "at": "2025-01-01T00:00:00.001Z" },
            "earlier_checks": [{ "ok": false, "detail": "status 500", "ms": 1.5, "at": "2025-01-01T00:00:00.001Z" }],
            "flaps": 4, "ejections": 1, "wait_s": 1.5, "outcomes": "225t",
        });
        let mut fresh = endpoint.clone();
        for key in ["resolved", "reason", "response_ms", "last_check", "wait_s"] {
            fresh[key] = Value::Null;
        }
        assert_eq!(
            page,
            json!({
                "version": "1.2.3", "generation": 7, "uptime_s": 61, "requests_per_s": 12.5, "response_ms": null,
                "listeners": {
                    "web": {
                        "address": "0.0.0.0:443", "tls": true, "connections": 3, "requests": 99,
                        "requests_per_s": 12.5, "response_ms": { "p50": 1.0, "p99": 2.0 },
                    },
                },
                "certificates": [{
                    "listener": "web", "names": ["a.test"], "valid_until": "2025-01-03T00:00:01.000Z", "days_left": 2,
                }],
                "limits": {
                    "connections": 9_000, "endpoint_connections": 8_000,
                    "endpoint_connections_open": 70, "endpoint_connections_refused": 6,
                },
                "rate_limits": { "logins": { "keys": 5, "max_keys": 655_356, "evicted": 2, "crowded": 3,
                    "top": [{ "key": "00ff", "refused": true, "full_after_s": 1.5 }] } },
                "concurrency": { "hooks": {
                    "limit": 37, "why": "requests take 1.0ms with few in flight", "in_flight": 30, "waiting": 1, "waited": 5, "refused": 2
                } },
                "clusters": {
                    "zeta": {
                        "policy": "p2c", "routes": { "/": "p2c", "hooks": "ip_hash" },
                        "panic": true, "panic_picks": 5,
                        "queue": { "length": 2, "size": 9, "served": 0, "timed_out": 0, "refused": 0 },
                        "endpoints": [endpoint, fresh],
                    },
                    "alpha": {
                        "policy": "first", "routes": {}, "panic": false, "panic_picks": 0,
                        "queue": { "length": 0, "size": 0, "served": 0, "timed_out": 0, "refused": 0 },
                        "endpoints": [],
                    },
                },
            })
        );
    }

    #[test]
    fn orders_name_the_state_before_observations() {
        let state = EndpointState::new(InFlightLimit::NONE);
        assert_eq!(observed(&state, false), (State::Up, None));
        assert_eq!(observed(&state, true), (State::Warming, Some("slow_start".to_owned())));
        for (axis, word, reason) in [
            (Axis::WeightZero, State::Drain, "weight_zero"),
            (Axis::Check, State::Down, "weight_zero, check"),
            (Axis::Unresolved, State::Unresolved, "weight_zero, unresolved, check"),
            (Axis::Drain, State::Drain, "drain, weight_zero, unresolved, check"),
            (Axis::Maintenance, State::Maintenance, "drain, weight_zero, maintenance, unresolved, check"),
        ] {
            state.set(axis, true);
            assert_eq!(observed(&state, true), (word, Some(reason.to_owned())));
        }
    }

    #[test]
    fn a_reason_says_more_than_the_state() {
        let text = |text: &str| Some(text.to_owned());
        let why = text("3 failures in 30s, the last a reset");
        assert_eq!(explained(State::Ejected, text("ejected"), why.clone()), why);
        assert_eq!(explained(State::Unresolved, text("unresolved"), None), text("its name does not resolve"));
        assert_eq!(explained(State::Drain, text("drain"), None), text("by the configuration"));
        assert_eq!(explained(State::Drain, text("drain_ordered"), None), text("by an operator's order"));
        assert_eq!(explained(State::Drain, text("weight_zero"), None), text("weight_zero"));
        assert_eq!(explained(State::Up, None, None), None);
    }

    #[test]
    fn the_last_day_of_a_certificate_is_day_zero() {
        let at = |seconds| UNIX_EPOCH + Duration::from_secs(seconds);
        let days = |until, now| CertificateStatus::new("web".into(), vec![], at(until), at(now)).days_left;
        assert_eq!((days(86_400, 0), days(86_399, 0), days(5, 5), days(5, 6), days(0, 86_401)), (1, 0, 0, -1, -2));
    }

    #[test]
    fn every_reason_has_a_name() {
        for axis in Axis::ALL {
            let state = EndpointState::new(InFlightLimit::NONE);
            state.set(axis, true);
            let (word, reason) = observed(&state, false);
            assert_ne!(word, State::Up, "{}", axis.name());
            assert_eq!(reason.as_deref(), Some(axis.name()));
        }
    }

    #[test]
    fn states_have_the_same_name_in_logs_and_on_the_page() {
        for state in
            [State::Up, State::Warming, State::Down, State::Drain, State::Breaker, State::Suspected, State::Probation]
        {
            assert_eq!(serde_json::to_value(state).unwrap(), state.to_string());
        }
    }
}
