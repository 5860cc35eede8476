//! Clusters, endpoints and health.

use std::num::{NonZeroU32, NonZeroU64};
use std::path::PathBuf;

use crate::keys::{ACTIVE, CLUSTER, ENDPOINT, HEALTH, KEEP_ALIVE, PASSIVE, QUEUE};
use crate::language::diagnostic::Report;
use crate::language::source::Span;
use crate::language::tree::{Entry, Node};
use crate::language::values::address::EndpointAddress;
use crate::language::values::{Wrong, address, http, quantity};
use crate::valid::{ActiveCheck, Cluster, ClusterTls, Endpoint, KeepAlive, PassiveHealth, Probe, ProxyProtocol, Queue};

use super::placement::{subset, zone};
use super::tls;
use crate::model::policy::policy;
use crate::table::convert::{self, list, or_word};
use crate::table::fields::Fields;

/// A cluster and where it was written.
pub(crate) struct ClusterWritten {
    pub(crate) cluster: Cluster,
    pub(crate) name_span: Span,
}

/// Every cluster that could be read; `false` if one could not. A cluster that is wrong inside still keeps its name
/// in `names`, so that a route to it is not reported as a route to nowhere.
pub(crate) fn clusters(report: &mut Report, entries: &[Entry], directories: &[PathBuf]) -> (Vec<ClusterWritten>, bool) {
    let read: Vec<_> = entries.iter().map(|entry| cluster(report, entry, directories)).collect();
    let whole = read.iter().all(Option::is_some);
    (read.into_iter().flatten().collect(), whole)
}

fn cluster(report: &mut Report, entry: &Entry, directories: &[PathBuf]) -> Option<ClusterWritten> {
    let name = match convert::checked_name(&entry.key) {
        Ok(name) => Some(name),
        Err(error) => {
            let shown = entry.key.escape_debug();
            report.error(entry.key_span, format!("`{shown}` {}", error.what)).expected(error.expected);
            None
        }
    };
    if entry.node.table().is_none() && CLUSTER.find(&entry.key).is_some() {
        report
            .error(entry.key_span, "a cluster needs a name before its keys")
            .help("write [cluster.NAME] and the keys below it");
        return None;
    }
    let fields = Fields::open(report, &entry.node, &CLUSTER)?;
    let policy = fields.get(report, "policy", policy);
    let endpoints = fields.get(report, "endpoints", list(endpoint));
    let http2 = fields.word(report, "protocol", &[("http1", false), ("h2", true)]);
    let tls = fields.get(report, "tls", or_word("off", |report, node| tls::cluster_tls(report, node, directories)));
    let proxy_protocol = fields.word(
        report,
        "proxy_protocol",
        &[("off", None), ("v1", Some(ProxyProtocol::V1)), ("v2", Some(ProxyProtocol::V2))],
    );
    let dns_interval = fields.duration(report, "dns_interval");
    let keep_alive = fields.get(report, "keep_alive", keep_alive);
    let queue = fields.get(report, "queue", queue);
    let slow_start = fields.duration_or(report, "slow_start", "off");
    let panic_threshold = fields.get(report, "panic_threshold", or_word("off", convert::share));
    let factor = |report: &mut Report, node: &Node| convert::read(report, node, quantity::FACTOR, quantity::factor);
    let spill = fields.get(report, "spill", or_word("exhausted", factor));
    let subset = fields.get(report, "subset", or_word("off", subset));
    let health = fields.get(report, "health", health);
    fields.done();
    let endpoints = distinct(report, endpoints?);
    let (active, passive) = health?;
    let proxy_protocol = proxy_protocol?;
    let http2 = http2?;
    let active = active.map(|active| ActiveCheck { proxy_protocol, http2, ..active });
    let cluster = Cluster {
        name: name?.into(),
        policy: policy?,
        endpoints: endpoints?,
        tls: tls?,
        http2,
        proxy_protocol,
        dns_interval: dns_interval?,
        keep_alive: keep_alive?,
        queue: queue?,
        slow_start: slow_start?,
        panic_threshold: panic_threshold?,
        spill: spill?,
        subset: subset?,
        active,
        passive,
    };
    let nameless = |endpoint: &&Endpoint| matches!(endpoint.address, EndpointAddress::Unix(_));
    if let (Some(ClusterTls { server_name: None, verify: true, .. }), Some(endpoint)) =
        (&cluster.tls, cluster.endpoints.iter().find(nameless))
    {
        let spot = entry.node.table().and_then(|table| table.find("tls")).map_or(entry.key_span, |tls| tls.key_span);
        let message = format!("`{}` has no name that its certificate could be for", endpoint.name);
        report.error(spot, message).help("write `tls.server_name`");
        return None;
    }
    if cluster.http2 && cluster.proxy_protocol.is_some() {
        let key = "proxy_protocol";
        let spot = entry.node.table().and_then(|table| table.find(key)).map_or(entry.key_span, |entry| entry.key_span);
        let message = "a connection that names one client cannot carry the requests of many: `protocol = \"h2\"`";
        report
            .error(spot, message)
            .help("leave one of the two out; `X-Forwarded-For` names the client of each request");
        return None;
    }
    advise(report, entry, &cluster);
    Some(ClusterWritten { cluster, name_span: entry.key_span })
}

/// What works but is probably not meant.
fn advise(report: &mut Report, entry: &Entry, cluster: &Cluster) {
    let name = &cluster.name;
    let spot = |key: &str| {
        let found = entry.node.table().and_then(|table| table.find(key));
        found.map_or(entry.key_span, |entry| entry.key_span)
    };
    if cluster.queue.size > 0 && cluster.endpoints.iter().all(|endpoint| endpoint.max_in_flight.is_none()) {
        report.warning(
            spot("queue"),
            format!("`queue` has no effect in `{name}`: without `max_in_flight` no endpoint is ever full"),
        );
    }
    if cluster.tls.as_ref().is_some_and(|tls| !tls.verify) {
        let told = format!("`tls.verify = false`: anybody on the way can stand in for the endpoints of `{name}`");
        report
            .warning(spot("tls"), told)
            .help("name their authority with `tls.ca`, or their name with `tls.server_name`");
    }
    if let Some(heads) = heads_of_the_only_tier(cluster)
        && heads > 1
        && cluster.panic_threshold.is_some_and(|share| f64::from(heads - 1) < share * f64::from(heads))
    {
        let told = format!(
            "with {heads} endpoints in `{name}`, a single one that fails its check is below `panic_threshold`: it then goes on \
             getting requests"
        );
        report
            .warning(spot("panic_threshold"), told)
            .help("leave it out: health is then ignored only where no endpoint is eligible");
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
            if cluster.passive.is_some() {
                report.warning(
                    spot("health"),
                    format!("`health.passive` has no effect in `{name}`: the last endpoint is never ejected"),
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
                format!("every endpoint of `{name}` is a backup: there is nobody to stand in for"),
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

/// An endpoint and its place.
type Placed = (Endpoint, Span);

fn endpoint(report: &mut Report, node: &Node) -> Option<Placed> {
    let at = |report: &mut Report, node: &Node| {
        let (address, https) = convert::read(report, node, address::ENDPOINT, address::endpoint)?;
        Some(if https { Endpoint::https_at(address) } else { Endpoint::at(address) })
    };
    if node.text().is_some() {
        return Some((at(report, node)?, node.span));
    }
    let Some(table) = node.table() else {
        convert::mismatch(report, node, address::ENDPOINT);
        return None;
    };
    let fields = Fields::of(report, table, node.span, &ENDPOINT);
    let address = fields.get(report, "address", at);
    let weight = fields.integer(report, "weight");
    let max_in_flight = fields.integer_or::<u32>(report, "max_in_flight", "none");
    let backup = fields.get(report, "backup", convert::boolean);
    let drain = fields.get(report, "drain", convert::boolean);
    let priority = fields.integer(report, "priority");
    let zone = fields.get(report, "zone", zone);
    let priority_span = fields.entry("priority").map(|entry| entry.key_span);
    fields.done();
    if let (Some(span), Some(true)) = (priority_span, backup) {
        report.error(span, "a backup has no `priority`: it comes after all others").help("leave one of the two out");
        return None;
    }
    let endpoint = Endpoint {
        weight: weight?,
        max_in_flight: max_in_flight?.and_then(NonZeroU32::new),
        backup: backup?,
        drain: drain?,
        priority: priority?,
        zone: zone?,
        ..address?
    };
    Some((endpoint, node.span))
}

/// The same address twice would be two verdicts on one endpoint.
fn distinct(report: &mut Report, endpoints: Vec<Placed>) -> Option<Vec<Endpoint>> {
    let mut seen: Vec<Placed> = Vec::with_capacity(endpoints.len());
    let mut whole = true;
    for (endpoint, span) in endpoints {
        if let Some((_, first)) = seen.iter().find(|(known, _)| known.address == endpoint.address) {
            report
                .error(span, format!("the endpoint `{}` is listed twice", endpoint.name))
                .help("write it once, with a `weight`")
                .related("first here", *first);
            whole = false;
        }
        seen.push((endpoint, span));
    }
    whole.then(|| seen.into_iter().map(|(endpoint, _)| endpoint).collect())
}

fn keep_alive(report: &mut Report, node: &Node) -> Option<KeepAlive> {
    let fields = Fields::open(report, node, &KEEP_ALIVE)?;
    let idle = fields.integer(report, "idle");
    let timeout = fields.duration(report, "timeout");
    let requests = fields.integer::<u64>(report, "requests");
    let age = fields.duration(report, "age");
    fields.done();
    Some(KeepAlive { idle: idle?, timeout: timeout?, requests: NonZeroU64::new(requests?)?, age: age? })
}

fn queue(report: &mut Report, node: &Node) -> Option<Queue> {
    let fields = Fields::open(report, node, &QUEUE)?;
    let size = fields.integer(report, "size");
    let timeout = fields.duration(report, "timeout");
    fields.done();
    Some(Queue { size: size?, timeout: timeout? })
}

fn health(report: &mut Report, node: &Node) -> Option<(Option<ActiveCheck>, Option<PassiveHealth>)> {
    let fields = Fields::open(report, node, &HEALTH)?;
    let active = fields.get(report, "active", or_word("off", active));
    let passive = fields.get(report, "passive", or_word("off", passive));
    fields.done();
    Some((active?, passive?))
}

fn active(report: &mut Report, node: &Node) -> Option<ActiveCheck> {
    let fields = Fields::open(report, node, &ACTIVE)?;
    let tcp = fields.get(report, "tcp", convert::boolean);
    let http = http_probe(report, &fields);
    let port = fields.maybe_integer::<u16>(report, "port");
    let interval = fields.duration(report, "interval");
    let timeout = fields.duration(report, "timeout");
    // Only where it was written: whoever asks every second need not repeat that a check may take a second.
    if let (Some(entry), Some((timeout, interval))) = (fields.entry("timeout"), timeout.zip(interval))
        && timeout > interval
    {
        report.warning(entry.node.span, "a check may take longer than the interval between two");
    }
    let rise = fields.integer::<u32>(report, "rise");
    let fall = fields.integer::<u32>(report, "fall");
    let initial_up = fields.word(report, "initial", &[("up", true), ("down", false)]);
    let probe = probe(report, &fields, tcp?, http?);
    fields.done();
    Some(ActiveCheck {
        probe: probe?,
        port: port?,
        interval: interval?,
        timeout: timeout?,
        rise: NonZeroU32::new(rise?)?,
        fall: NonZeroU32::new(fall?)?,
        initial_up: initial_up?,
        // The cluster's, which is not known here.
        proxy_protocol: None,
        http2: false,
    })
}

fn http_probe(report: &mut Report, fields: &Fields<'_>) -> Option<Probe> {
    let path = fields.get(report, "path", |report, node| convert::read(report, node, "a path", http::target));
    let method = fields.get(report, "method", |report, node| convert::read(report, node, "a method", http::method));
    let host = fields.maybe(report, "host", probe_host);
    let expect = fields.get(report, "expect", expect);
    Some(Probe::Http { path: path?, method: method?, host: host?.map(Into::into), expect: expect? })
}

/// Either kind of probe: what was inherited gives way to what was written.
fn probe(report: &mut Report, fields: &Fields<'_>, tcp: bool, http: Probe) -> Option<Probe> {
    if !tcp {
        return Some(http);
    }
    let tcp_inherited = fields.entry("tcp").is_some_and(|entry| entry.inherited);
    let asked = ["path", "method", "host", "expect"].into_iter().filter_map(|key| fields.entry(key));
    let own: Vec<&Entry> = asked.filter(|entry| !entry.inherited).collect();
    match own.first() {
        Some(_) if tcp_inherited => Some(http),
        Some(entry) => {
            report
                .error(
                    entry.key_span,
                    format!("`{}` has no meaning where `tcp = true`: nothing is asked for", entry.key),
                )
                .help("leave one of the two out");
            None
        }
        None => Some(Probe::Tcp),
    }
}

fn probe_host(report: &mut Report, node: &Node) -> Option<String> {
    const EXPECTED: &str = "a host such as \"example.com\", with or without a port";
    convert::read(report, node, EXPECTED, |text| {
        let visible = |byte: u8| byte.is_ascii_graphic() && !b"/?#@\\\"".contains(&byte);
        if text.is_empty() || !text.bytes().all(visible) {
            return Err(Wrong::new("is not a host", EXPECTED));
        }
        Ok(text.to_owned())
    })
}

/// One status or a list of them; an empty list would pass nothing.
fn expect(report: &mut Report, node: &Node) -> Option<Vec<(u16, u16)>> {
    if !matches!(node.value, crate::language::tree::Value::List(_)) {
        return convert::statuses(report, node).map(|range| vec![range]);
    }
    let ranges = list(convert::statuses)(report, node)?;
    if ranges.is_empty() {
        report.error(node.span, "no status would pass").expected("at least one status");
        return None;
    }
    Some(ranges)
}

fn passive(report: &mut Report, node: &Node) -> Option<PassiveHealth> {
    let fields = Fields::open(report, node, &PASSIVE)?;
    let failures = fields.integer::<u32>(report, "failures");
    let window = fields.duration(report, "window");
    let eject_for = fields.duration(report, "eject_for");
    let on = fields.get(report, "on", list(convert::condition(400)));
    let on_span = fields.entry("on").map_or(fields.span, |entry| entry.node.span);
    fields.done();
    let on = on?;
    if on.is_empty() {
        report.error(on_span, "nothing would count as a failure").help("leave `on` out, or write passive = \"off\"");
        return None;
    }
    Some(PassiveHealth { failures: NonZeroU32::new(failures?)?, window: window?, eject_for: eject_for?, on })
}
