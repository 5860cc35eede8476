//! `[cluster.NAME]`: interchangeable endpoints, and how they are used.
//!
//! A key of a cluster is a row of [`Cluster`], and nothing else in this crate.

use std::sync::Arc;
use std::time::Duration;

use crate::language::diagnostic::Report;
use crate::language::source::Span;
use crate::language::tree::Entry;
use crate::language::values::address::EndpointAddress;
use crate::language::values::quantity;
use crate::model::cluster_tls::{ClusterTls, ClusterTlsForm};
use crate::model::concurrency::Concurrency;
use crate::model::endpoint::{Endpoint, Endpoints};
use crate::model::health::{ActiveCheck, Health, Probe};
use crate::model::keep_alive::KeepAlive;
use crate::model::maintenance::{Maintenance, MaintenanceForm};
use crate::model::policy::{Policy, PolicyForm};
use crate::model::proxy_protocol::{ProxyProtocol, ProxyProtocolForm};
use crate::model::queue::Queue;
use crate::model::rate_limit::{self, RateLimit, RateLimits};
use crate::model::subset::{Subset, SubsetForm};
use crate::table::block::{Keys, Table, block};
use crate::table::convert;
use crate::table::fields::Fields;
use crate::table::form::{Off, Or, Share, Time, form, word, words};
use crate::table::item::text;
use crate::table::section::Default::{Required, Value};
use crate::table::section::{Kind, Section};

block! {
    /// A named set of interchangeable endpoints.
    #[derive(Clone, Debug, PartialEq)]
    pub struct Cluster = Section::new("cluster", "[cluster]", "A named set of interchangeable endpoints.");
    policy: Policy => PolicyForm, Value("\"round_robin\""), "How an endpoint is chosen.";
    /// A name may resolve to several.
    endpoints: Vec<Endpoint> => Endpoints, Required, "The endpoints: addresses, or tables with further keys.";
    /// Whether it is HTTP/2: by prior knowledge in the clear, by ALPN over TLS.
    http2 as "protocol": bool => Protocol, Value("\"http1\""),
        "What the endpoints speak: HTTP/1.1, or HTTP/2 (without an upgrade), as gRPC does.";
    /// See [`tls_to`](Self::tls_to).
    tls: Option<ClusterTls> => Or<Off, ClusterTlsForm>, Value("\"off\""),
        "TLS to the endpoints, all of them; `https://` before an address does it for that one.";
    proxy_protocol: Option<ProxyProtocol> => ProxyProtocolForm, Value("\"off\""),
        "The PROXY protocol header that connections to the endpoints begin with.";
    dns_interval: Duration => Time, Value("\"10s\""),
        "How often names are resolved again; the last good answer is kept.";
    keep_alive: KeepAlive => Table<KeepAlive>, Value("{}"), "Connections kept to the endpoints, per worker.";
    queue: Queue => Table<Queue>, Value("{}"), "Waiting while every eligible endpoint has its `max_in_flight`.";
    rate_limits as "rate_limit": Vec<RateLimit> => RateLimits, Value("\"off\""),
        "Rate limit of all requests that are for it, or a list; charged together with the route's.";
    concurrency: Option<Concurrency> => Or<Off, Table<Concurrency>>, Value("\"off\""),
        "Requests at once, of all routes; a request that is tried again has one place.";
    slow_start: Option<Duration> => Or<Off, Time>, Value("\"off\""),
        "How long an endpoint that joins or recovers takes to come to its full share.";
    panic_threshold: Option<f64> => Or<Off, Share>, Value("\"off\""),
        "Share of endpoints that pass their checks, strictly below which failing checks are ignored; \"off\" ignores health only where no endpoint is eligible, \"0%\" never.";
    /// At least 1.
    spill: Option<f64> => Or<Exhausted, Factor>, Value("\"exhausted\""),
        "When load goes to the next priority: \"exhausted\" is when no endpoint of one can take it; a factor such as \"140%\" lets each carry its healthy share times that.";
    subset: Option<Subset> => Or<Off, SubsetForm>, Value("\"off\""), "Uses only some of very many endpoints.";
    health: Health => Table<Health>, Value("{}"), "Active checks and outlier detection.";
    maintenance: Option<Maintenance> => MaintenanceForm, Value("false"),
        "Out of service: its requests get 503 with `Retry-After`; a table lets some clients through.";
    [filled] name: Arc<str>, "Its name.";
}

impl Cluster {
    /// How an endpoint of this cluster is reached by TLS: as the cluster says, by default if only the endpoint's address
    /// has `https://`; `None` is in the clear.
    #[must_use]
    pub fn tls_to(&self, endpoint: &Endpoint) -> Option<ClusterTls> {
        self.tls.clone().or_else(|| endpoint.https.then(ClusterTls::default))
    }
}

words! {
    /// Whether it is HTTP/2.
    struct Protocol: bool;
    "http1" => false, "h2" => true
}

word! {
    /// `"exhausted"`.
    Exhausted = "exhausted";
}

form! {
    /// A factor as a share of at least `"100%"`.
    Factor: f64 = Kind::Share;
    read: |report, node| convert::read(report, node, quantity::FACTOR, quantity::factor),
    show: |factor, _| text(&quantity::show_share(*factor)),
}

/// A cluster and where it was written.
pub(crate) struct ClusterWritten {
    pub(crate) cluster: Cluster,
    pub(crate) name_span: Span,
    /// Where its rate limits were written.
    pub(crate) rate_limits: Vec<Span>,
}

/// Every cluster that could be read; `false` if one could not. A cluster that is wrong inside still keeps its name
/// in `names`, so that a route to it is not reported as a route to nowhere.
pub(crate) fn clusters(report: &mut Report, entries: &[Entry]) -> (Vec<ClusterWritten>, bool) {
    let read: Vec<_> = entries.iter().map(|entry| cluster(report, entry)).collect();
    let whole = read.iter().all(Option::is_some);
    (read.into_iter().flatten().collect(), whole)
}

fn cluster(report: &mut Report, entry: &Entry) -> Option<ClusterWritten> {
    let name = match convert::checked_name(&entry.key) {
        Ok(name) => Some(name),
        Err(error) => {
            let shown = entry.key.escape_debug();
            report.error(entry.key_span, format!("`{shown}` {}", error.what)).expected(error.expected);
            None
        }
    };
    if entry.node.table().is_none() && Cluster::SECTION.find(&entry.key).is_some() {
        report
            .error(entry.key_span, "a cluster needs a name before its keys")
            .help("write [cluster.NAME] and the keys below it");
        return None;
    }
    let fields = Fields::open(report, &entry.node, Cluster::SECTION)?;
    let cluster = Cluster::take(report, &fields);
    let rate_limits = fields.entry("rate_limit").map(|entry| rate_limit::spans(&entry.node)).unwrap_or_default();
    fields.done();
    let mut cluster = Cluster { name: name?.into(), ..cluster? };
    rate_limit::name_after(&mut cluster.rate_limits, &format!("cluster:{}", cluster.name));
    if let Some(active) = &mut cluster.health.active {
        active.proxy_protocol = cluster.proxy_protocol;
        active.http2 = cluster.http2;
    }
    check(report, entry, &cluster)?;
    advise(report, entry, &cluster);
    Some(ClusterWritten { cluster, name_span: entry.key_span, rate_limits })
}

/// What contradicts itself.
fn check(report: &mut Report, entry: &Entry, cluster: &Cluster) -> Option<()> {
    let nameless = |endpoint: &&Endpoint| matches!(endpoint.address, EndpointAddress::Unix(_));
    if let (Some(ClusterTls { server_name: None, verify: true, .. }), Some(endpoint)) =
        (&cluster.tls, cluster.endpoints.iter().find(nameless))
    {
        let message = format!("`{}` has no name that its certificate could be for", endpoint.name);
        report.error(spot(entry, "tls"), message).help("write `tls.server_name`");
        return None;
    }
    let is_grpc = |active: &ActiveCheck| matches!(active.probe, Probe::Grpc { .. });
    if !cluster.http2 && cluster.health.active.as_ref().is_some_and(is_grpc) {
        let message = "gRPC is spoken over HTTP/2, and this cluster's endpoints are asked by HTTP/1";
        report.error(spot(entry, "health"), message).help("write protocol = \"h2\"");
        return None;
    }
    if cluster.http2 && cluster.proxy_protocol.is_some() {
        let message = "a connection that names one client cannot carry the requests of many: `protocol = \"h2\"`";
        report
            .error(spot(entry, "proxy_protocol"), message)
            .help("leave one of the two out; `X-Forwarded-For` names the client of each request");
        return None;
    }
    Some(())
}

/// Where a key was written, or else the cluster's name.
fn spot(entry: &Entry, key: &str) -> Span {
    let found = entry.node.table().and_then(|table| table.find(key));
    found.map_or(entry.key_span, |entry| entry.key_span)
}

/// Where the first key of this path was written in the cluster itself, if the last one was.
fn written(entry: &Entry, path: &[&str]) -> Option<Span> {
    let mut node = &entry.node;
    let mut first = None;
    for key in path {
        let found = node.table()?.find(key).filter(|entry| !entry.inherited)?;
        first.get_or_insert(found.key_span);
        node = &found.node;
    }
    first
}

/// What works but is probably not meant.
fn advise(report: &mut Report, entry: &Entry, cluster: &Cluster) {
    let name = &cluster.name;
    let spot = |key: &str| spot(entry, key);
    if cluster.queue.size > 0 && cluster.endpoints.iter().all(|endpoint| endpoint.max_in_flight.is_none()) {
        report.warning(
            spot("queue"),
            format!("`queue` has no effect in `{name}`: without `max_in_flight` no endpoint is ever full"),
        );
    }
    if cluster.tls.as_ref().is_some_and(|tls| !tls.verify) {
        let message = format!("`tls.verify = false`: a man in the middle can impersonate the endpoints of `{name}`");
        report
            .warning(spot("tls"), message)
            .help("name their authority with `tls.ca`, or their name with `tls.server_name`");
    }
    if let Some(heads) = heads_of_the_only_tier(cluster)
        && heads > 1
        && cluster.panic_threshold.is_some_and(|share| f64::from(heads - 1) < share * f64::from(heads))
    {
        let message = format!(
            "with {heads} endpoints in `{name}`, a single one that fails its check is below `panic_threshold`: it then goes on \
             getting requests"
        );
        report
            .warning(spot("panic_threshold"), message)
            .help("leave it out: health is then ignored only where no endpoint is eligible");
    }
    if let Some(active) = &cluster.health.active {
        let is_unix = |endpoint: &Endpoint| matches!(endpoint.address, EndpointAddress::Unix(_));
        if active.port.is_some() && !cluster.endpoints.is_empty() && cluster.endpoints.iter().all(is_unix) {
            report.warning(
                spot("health"),
                format!("`health.active.port` has no effect in `{name}`: a Unix socket has no port"),
            );
        }
    }
    match cluster.endpoints.as_slice() {
        [] => {
            report
                .warning(spot("endpoints"), format!("the cluster `{name}` has no endpoint: every request gets a 503"));
        }
        // A name may resolve to several addresses; these are one for certain.
        [only] if !matches!(only.address, EndpointAddress::Name(..)) => {
            report.warning(
                spot("endpoints"),
                format!("the cluster `{name}` has a single endpoint: nothing takes over when it fails"),
            );
            if cluster.health.passive.is_some()
                && let Some(span) = written(entry, &["health", "passive"])
            {
                report.warning(
                    span,
                    format!("`health.passive` has no effect in `{name}`: the last endpoint is never ejected"),
                );
            }
        }
        [one, two] if [one, two].iter().all(|it| !matches!(it.address, EndpointAddress::Name(..))) => {
            if let (Some(_), Some(span)) = (&cluster.health.passive, written(entry, &["health", "passive"])) {
                report.warning(
                    span,
                    format!("with two endpoints in `{name}`, `health.passive` ejects one at a time: while both fail, both get requests"),
                );
            }
        }
        all if all.iter().all(|endpoint| endpoint.weight == 0) => {
            report.warning(
                spot("endpoints"),
                format!("every endpoint of `{name}` has weight 0: none takes new requests"),
            );
        }
        all if all.iter().all(|endpoint| endpoint.weight == 0 || endpoint.drain) => {
            report.warning(
                spot("endpoints"),
                format!("every endpoint of `{name}` drains or has weight 0: none takes new requests"),
            );
        }
        all if all.iter().all(|endpoint| endpoint.backup) => {
            report.warning(
                spot("endpoints"),
                format!("every endpoint of `{name}` is a backup: at least one endpoint must not be a backup"),
            );
        }
        _ => {}
    }
}

/// How many endpoints take new requests, if they are one tier: where there is another, that one takes the load.
fn heads_of_the_only_tier(cluster: &Cluster) -> Option<u32> {
    let serving = || cluster.endpoints.iter().filter(|endpoint| endpoint.weight > 0 && !endpoint.drain);
    let tier = |endpoint: &Endpoint| (endpoint.backup, endpoint.priority);
    let first = tier(serving().next()?);
    serving().all(|endpoint| tier(endpoint) == first).then(|| u32::try_from(serving().count()).unwrap_or(u32::MAX))
}
