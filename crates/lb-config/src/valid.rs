//! The valid model: what a configuration means once every default is filled in and every reference is resolved.
//!
//! A value of these types is usable as it stands. References are indices into the same [`Config`], so nothing
//! downstream looks a name up again or re-reads options.

mod syntax;
mod tls;
mod upgrade;

use std::collections::BTreeMap;
use std::fmt;
use std::num::{NonZeroU32, NonZeroU64, NonZeroUsize};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use crate::language::template::Template;
use crate::language::values::address::{EndpointAddress, ListenAddress, Network};
use crate::language::values::http::{HostPattern, PathPattern, ValuePattern};
use crate::language::values::status::Condition;
use crate::model::policy::Policy;
pub use lb_core::{is_never_upgraded_to, is_same_protocol};
pub use syntax::Syntax;
pub use tls::{Alpn, CertificateFiles, CipherSuite, ClientAuth, ClusterTls, ListenerTls, TlsVersion};
pub use upgrade::Upgrade;

/// A whole configuration, valid and complete.
#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    /// Worker threads; `None` means one per core.
    pub workers: Option<NonZeroUsize>,
    /// How long a shutdown waits for what still runs.
    pub grace: Duration,
    /// Where this proxy is, if endpoints are to be told apart by zone.
    pub zone: Option<LocalZone>,
    /// The admin listener, if one is wanted.
    pub admin: Option<Admin>,
    /// Application and access log.
    pub log: Log,
    /// Limits that hold for every listener.
    pub limits: Limits,
    /// Listeners, in the order of the file.
    pub listeners: Vec<Listener>,
    /// Routes, in the order of the file.
    pub routes: Vec<Route>,
    /// Clusters by name; [`Action::Cluster`] holds the position in this list.
    pub clusters: Vec<Cluster>,
}

/// Where this proxy is, and how many like it there are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LocalZone {
    /// The zone of this proxy; never empty.
    pub name: Arc<str>,
    /// Proxies in each zone; empty means as many in each zone of a cluster's endpoints, and in this proxy's.
    pub proxies: BTreeMap<Arc<str>, u32>,
    /// Fewer endpoints than this are not told apart.
    pub minimum: usize,
}

/// The admin listener.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Admin {
    /// Where it listens.
    pub address: ListenAddress,
    /// Client networks that may use it; empty means loopback only (a Unix socket's mode decides there).
    pub allow: Vec<Network>,
    /// Names that a request's `Host` may have beside addresses and `localhost`.
    pub hosts: Vec<HostPattern>,
}

/// Application and access log.
#[derive(Clone, Debug, PartialEq)]
pub struct Log {
    /// Least severe level written.
    pub level: Level,
    /// Format of the application log on stderr.
    pub format: LogFormat,
    /// The access log; `None` is off.
    pub access: Option<AccessLog>,
}

/// Severity of the application log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[allow(missing_docs)]
pub enum Level {
    Error,
    Warn,
    Info,
    Debug,
    Trace,
}

/// Format of the application log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    /// One readable line an event.
    Text,
    /// One JSON object an event.
    Json,
}

/// The access log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AccessLog {
    /// The line's format.
    pub format: AccessFormat,
    /// Where lines go.
    pub to: AccessTarget,
}

/// Format of an access log line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AccessFormat {
    /// One readable line a request, with endpoint, times and cause; the default.
    Standard,
    /// The combined format of nginx and Apache.
    Combined,
    /// One JSON object a request.
    Json,
}

/// Where access log lines go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AccessTarget {
    /// Standard output.
    Stdout,
    /// A file, appended to; reopened on SIGUSR1 and on reload.
    File(PathBuf),
}

/// Limits that hold for every listener.
#[derive(Clone, Debug, PartialEq)]
pub struct Limits {
    /// Bytes of a request head, request line included. Beyond: 431.
    pub request_head_bytes: usize,
    /// Header lines of a request. Beyond: 431.
    pub headers: usize,
    /// Bytes of the request target. Beyond: 414.
    pub uri_bytes: usize,
    /// Bytes of a request body. Beyond: 413. `None` is no limit.
    pub request_body_bytes: Option<u64>,
    /// Bytes of a response head, status line included. Beyond: 502. Default 128 KiB: a login that sets 17 cookies of 4 KB
    /// has 68.
    pub response_head_bytes: usize,
    /// Header lines of a response. Beyond: 502. Default 500.
    pub response_headers: usize,
    /// Client connections in all. Beyond: closed at once. `None` is 20 000, or what the process's open files have room for.
    pub connections: Option<NonZeroUsize>,
    /// Connections to endpoints in all, idle ones included. Beyond: 503. `None` is as many as client connections and no less
    /// than 20 000, or what the process's open files have room for.
    pub endpoint_connections: Option<NonZeroUsize>,
    /// Client connections of one address, IPv6 by /64. Beyond: closed at once.
    pub connections_per_client: Option<NonZeroUsize>,
    /// Time for a request head to arrive whole. Beyond: 408.
    pub head_timeout: Duration,
    /// How long a client connection may wait for its next request.
    pub idle_timeout: Duration,
}

/// A bound address that accepts connections.
#[derive(Clone, Debug, PartialEq)]
pub struct Listener {
    /// Name in logs and metrics; default: the address.
    pub name: Arc<str>,
    /// Where it listens.
    pub address: ListenAddress,
    /// Answer every request with a 301 to https.
    pub redirect_https: bool,
    /// Networks whose `X-Forwarded-*` and `Forwarded` are believed.
    pub trusted_proxies: Vec<Network>,
    /// Permissions of a Unix socket; `None` leaves them to the umask.
    pub mode: Option<u32>,
    /// Networks whose connections begin with a PROXY protocol header; `None` is nobody's.
    pub proxy_protocol: Option<Vec<Network>>,
    /// Length of the kernel's accept queue; `None` is the system's largest.
    pub backlog: Option<NonZeroU32>,
    /// TLS; `None` speaks in the clear.
    pub tls: Option<ListenerTls>,
    /// Edits of the headers of answers that no route made.
    pub response_headers: HeaderEdits,
}

/// A rule that maps a request to an action.
#[derive(Clone, Debug, PartialEq)]
pub struct Route {
    /// Name in logs and metrics; default: written from its match, such as `example.com/api/`.
    pub name: Arc<str>,
    /// Which requests it takes.
    pub matcher: Match,
    /// What becomes of them.
    pub action: Action,
    /// Everything else about them.
    pub options: RouteOptions,
}

/// Which requests a route takes. Empty lists match everything.
#[derive(Clone, Debug, PartialEq, Default)]
pub struct Match {
    /// Host patterns.
    pub hosts: Vec<HostPattern>,
    /// The path.
    pub path: PathPattern,
    /// Methods, upper case.
    pub methods: Vec<Arc<str>>,
    /// Headers that must be there with this value.
    pub headers: Vec<(Arc<str>, ValuePattern)>,
    /// Positions in [`Config::listeners`]; empty is all.
    pub listeners: Vec<usize>,
}

/// What becomes of a matched request.
#[derive(Clone, Debug, PartialEq)]
pub enum Action {
    /// Forward to the cluster at this position of [`Config::clusters`].
    Cluster(usize),
    /// Redirect.
    Redirect(Redirect),
    /// A fixed answer.
    Respond(Respond),
}

/// A redirect.
#[derive(Clone, Debug, PartialEq)]
pub struct Redirect {
    /// Where to.
    pub to: RedirectTo,
    /// 301, 302, 303, 307 or 308.
    pub status: u16,
}

/// The target of a redirect.
#[derive(Clone, Debug, PartialEq)]
pub enum RedirectTo {
    /// The same host, path and query under https.
    Https,
    /// Replace the matched prefix by this path, keep the rest and the query.
    Path(Arc<str>),
    /// As written, variables filled in.
    Template(Template),
}

/// A fixed answer.
#[derive(Clone, Debug, PartialEq)]
pub struct Respond {
    /// The status.
    pub status: u16,
    /// The body.
    pub body: Template,
    /// Its type.
    pub content_type: Arc<str>,
    /// Further headers.
    pub headers: Vec<(Arc<str>, Template)>,
}

/// Everything about a route but its match and its action.
#[derive(Clone, Debug, PartialEq)]
pub struct RouteOptions {
    /// Overrides the cluster's policy.
    pub policy: Option<Policy>,
    /// Timeouts.
    pub timeout: Timeouts,
    /// Retries; `None` when `attempts = 1`.
    pub retry: Option<Retry>,
    /// Affinity by cookie.
    pub sticky: Option<Sticky>,
    /// Rate limit.
    pub rate_limit: Option<RateLimit>,
    /// Edits of the request's headers on the way to the endpoint.
    pub request_headers: HeaderEdits,
    /// Edits of the response's headers on the way to the client, on our own answers too.
    pub response_headers: HeaderEdits,
    /// Which forwarding headers are written.
    pub forwarded: Forwarded,
    /// Other protocols that requests may switch to.
    pub upgrade: Upgrade,
    /// Bytes of a request body; `None` is no limit. Defaults to [`Limits::request_body_bytes`].
    pub body_limit: Option<u64>,
    /// Whether requests of this route are in the access log.
    pub access_log: bool,
}

/// Timeouts of a route.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Timeouts {
    /// Connecting to an endpoint.
    pub connect: Duration,
    /// From the request's sending to the response head.
    pub response: Duration,
    /// Between bytes, in either direction.
    pub idle: Duration,
    /// The whole request, to the end of the response (to the head for upgrades and event streams).
    pub total: Option<Duration>,
    /// Idle time of an upgraded connection.
    pub tunnel: Duration,
}

/// Retries of a route.
#[derive(Clone, Debug, PartialEq)]
pub struct Retry {
    /// Failures and statuses that are tried again.
    pub on: Vec<Condition>,
    /// Attempts in all, the first included; at least 2.
    pub attempts: NonZeroU32,
    /// Start no attempt later than this after the first.
    pub within: Option<Duration>,
    /// Pause before a further attempt, jittered.
    pub interval: Duration,
    /// Retries as a share of the requests of the last ten seconds, 0..=1 (0.2 is 20 %).
    pub budget_ratio: f64,
    /// Try methods again that are not idempotent.
    pub unsafe_methods: bool,
    /// Largest body kept for another attempt, bytes.
    pub body_limit: u64,
}

/// Affinity by a signed cookie.
#[derive(Clone, PartialEq, Eq)]
pub struct Sticky {
    /// The cookie's name.
    pub cookie: Arc<str>,
    /// `Secure`.
    pub secure: bool,
    /// `HttpOnly`.
    pub http_only: bool,
    /// `SameSite`.
    pub same_site: Option<SameSite>,
    /// `Path`.
    pub path: Arc<str>,
    /// `Domain`.
    pub domain: Option<Arc<str>>,
    /// `Max-Age`; `None` is a session cookie.
    pub max_age: Option<Duration>,
    /// Signing secrets, newest first; empty means one made at start. Never printed.
    pub secrets: Vec<Arc<str>>,
}

/// Shows how many secrets there are, never what they are.
impl fmt::Debug for Sticky {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sticky")
            .field("cookie", &self.cookie)
            .field("secure", &self.secure)
            .field("http_only", &self.http_only)
            .field("same_site", &self.same_site)
            .field("path", &self.path)
            .field("domain", &self.domain)
            .field("max_age", &self.max_age)
            .field("secrets", &format_args!("{} redacted", self.secrets.len()))
            .finish()
    }
}

/// The cookie's `SameSite`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum SameSite {
    Strict,
    Lax,
    None,
}

/// A rate limit.
#[derive(Clone, Debug, PartialEq)]
pub struct RateLimit {
    /// Cells are shared between routes of the same name; default: the route's name.
    pub name: Arc<str>,
    /// What is counted.
    pub key: LimitKey,
    /// Requests a `period`.
    pub requests: NonZeroU64,
    /// The period of `requests`.
    pub period: Duration,
    /// Requests beyond the rate that pass at once.
    pub burst: u64,
    /// The status of a refusal.
    pub status: u16,
    /// Memory for cells, bytes.
    pub memory_bytes: u64,
}

/// What a rate limit counts by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LimitKey {
    /// The client's address; IPv6 by /64.
    ClientIp,
    /// Any text of the request.
    Template(Template),
}

/// Edits of headers, applied in the order remove, set, add.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct HeaderEdits {
    /// Names to take out, lower case.
    pub remove: Vec<Arc<str>>,
    /// Names with the one value they shall have.
    pub set: Vec<(Arc<str>, Template)>,
    /// Names with a further value.
    pub add: Vec<(Arc<str>, Template)>,
}

/// Which forwarding headers are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Forwarded {
    /// `X-Forwarded-For`, `-Proto`, `-Host`, `-Port` and `X-Real-IP`.
    pub x_forwarded: bool,
    /// `Forwarded` (RFC 7239).
    pub rfc7239: bool,
    /// Send the client's `Host` on (true) or the endpoint's address.
    pub preserve_host: bool,
}

/// A named set of interchangeable endpoints.
#[derive(Clone, Debug, PartialEq)]
pub struct Cluster {
    /// Its name.
    pub name: Arc<str>,
    /// How an endpoint is chosen.
    pub policy: Policy,
    /// The endpoints as configured; a name may resolve to several.
    pub endpoints: Vec<Endpoint>,
    /// TLS to the endpoints; see [`tls_to`](Self::tls_to).
    pub tls: Option<ClusterTls>,
    /// Whether the endpoints speak HTTP/2: by prior knowledge in the clear, by ALPN over TLS.
    pub http2: bool,
    /// The PROXY protocol header that connections to the endpoints begin with.
    pub proxy_protocol: Option<ProxyProtocol>,
    /// How often names are resolved again.
    pub dns_interval: Duration,
    /// Upstream connections kept.
    pub keep_alive: KeepAlive,
    /// Waiting while every eligible endpoint is full.
    pub queue: Queue,
    /// How long an endpoint that joins or recovers takes to come to its full share; `None` is at once.
    pub slow_start: Option<Duration>,
    /// Share of endpoints that pass their checks (0..=1), strictly below which failing checks are ignored; 0 never ignores health. `None`
    /// ignores health only where no endpoint is eligible.
    pub panic_threshold: Option<f64>,
    /// How far above its healthy share (at least 1) a priority goes before load spills to the next; `None` spills only what nobody
    /// of it can take.
    pub spill: Option<f64>,
    /// Which of very many endpoints this proxy uses; `None` is all.
    pub subset: Option<Subset>,
    /// Active checks.
    pub active: Option<ActiveCheck>,
    /// Outlier detection by real traffic.
    pub passive: Option<PassiveHealth>,
}

impl Cluster {
    /// How an endpoint of this cluster is reached by TLS: as the cluster says, by default if only the endpoint's address
    /// asks for it; `None` is in the clear.
    #[must_use]
    pub fn tls_to(&self, endpoint: &Endpoint) -> Option<ClusterTls> {
        self.tls.clone().or_else(|| endpoint.https.then(ClusterTls::default))
    }
}

/// Which endpoints a proxy uses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Subset {
    /// How many of each priority.
    pub size: NonZeroUsize,
    /// By what they are chosen.
    pub by: SubsetBy,
}

/// What tells this proxy from others like it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SubsetBy {
    /// A name; endpoints are chosen by rendezvous hashing.
    Name(Arc<str>),
    /// A number, from 0; endpoints are dealt out evenly.
    Number(u64),
}

/// One configured endpoint.
#[derive(Clone, Debug, PartialEq)]
pub struct Endpoint {
    /// As written, for logs, hash keys and sticky ids.
    pub name: Arc<str>,
    /// Where it is.
    pub address: EndpointAddress,
    /// Whether it was written with `https://`. See [`Cluster::tls_to`].
    pub https: bool,
    /// Share of traffic; 0 takes no new requests.
    pub weight: u16,
    /// Most requests at once.
    pub max_in_flight: Option<NonZeroU32>,
    /// The last tier: takes requests only while no endpoint that is not a backup can.
    pub backup: bool,
    /// Its tier among those that are no backups; lower ones first.
    pub priority: u8,
    /// Where it is.
    pub zone: Option<Arc<str>>,
    /// Takes no new requests, only sticky ones.
    pub drain: bool,
}

impl Endpoint {
    /// The endpoint at this address, everything else by default.
    #[must_use]
    pub fn at(address: EndpointAddress) -> Self {
        Self {
            name: address.to_string().into(),
            address,
            https: false,
            weight: 1,
            max_in_flight: None,
            backup: false,
            priority: 0,
            zone: None,
            drain: false,
        }
    }

    /// As [`at`](Self::at), reached by TLS whatever its cluster says.
    #[must_use]
    pub fn https_at(address: EndpointAddress) -> Self {
        Self { name: format!("https://{address}").into(), https: true, ..Self::at(address) }
    }
}

/// Upstream connections kept, per worker and endpoint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeepAlive {
    /// Idle connections kept; 0 closes each after its response.
    pub idle: usize,
    /// How long an idle one is kept.
    pub timeout: Duration,
    /// Requests a connection carries.
    pub requests: NonZeroU64,
    /// How old a connection gets.
    pub age: Duration,
}

/// A version of the PROXY protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProxyProtocol {
    /// A line of text.
    V1,
    /// A binary head.
    V2,
}

/// Waiting while every eligible endpoint is full.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Queue {
    /// Requests that may wait; 0 lets none wait.
    pub size: usize,
    /// How long each may wait.
    pub timeout: Duration,
}

/// Active checks of a cluster's endpoints.
#[derive(Clone, Debug, PartialEq)]
pub struct ActiveCheck {
    /// What is asked.
    pub probe: Probe,
    /// Ask this port instead of the endpoint's.
    pub port: Option<u16>,
    /// From the start of one check to the next.
    pub interval: Duration,
    /// A check that takes longer has failed.
    pub timeout: Duration,
    /// Passing checks that bring an endpoint up.
    pub rise: NonZeroU32,
    /// Failing checks that take it down.
    pub fall: NonZeroU32,
    /// Whether an endpoint counts as up before its first check.
    pub initial_up: bool,
    /// As the cluster's: a check says that it comes from us and no client.
    pub proxy_protocol: Option<ProxyProtocol>,
    /// The cluster's [`http2`](Cluster::http2).
    pub http2: bool,
}

/// What an active check asks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Probe {
    /// A TCP connection is enough.
    Tcp,
    /// An HTTP request.
    Http {
        /// Request target.
        path: Arc<str>,
        /// Method.
        method: Arc<str>,
        /// `Host`; default: the endpoint as configured.
        host: Option<Arc<str>>,
        /// Statuses that pass, as inclusive ranges.
        expect: Vec<(u16, u16)>,
    },
}

/// Outlier detection by real traffic.
#[derive(Clone, Debug, PartialEq)]
pub struct PassiveHealth {
    /// Failures within the window that eject.
    pub failures: NonZeroU32,
    /// The window.
    pub window: Duration,
    /// How long an ejection lasts.
    pub eject_for: Duration,
    /// What counts as a failure.
    pub on: Vec<Condition>,
}
