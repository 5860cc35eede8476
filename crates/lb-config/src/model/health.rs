//! `health`: active checks and outlier detection of a cluster's endpoints.

use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use crate::language::diagnostic::Report;
use crate::language::tree::{self, Entry, Node};
use crate::language::values::status::{self, Condition};
use crate::language::values::{ValueError, http};
use crate::model::proxy_protocol::ProxyProtocol;
use crate::table::block::{Block, Keys, Table, block};
use crate::table::convert::{self, list};
use crate::table::fields::Fields;
use crate::table::form::{Bool, Failure, Form, Int, List, Maybe, Off, Or, Share, Time, form, words};
use crate::table::item::{Item, Items, Writer, in_order, text, texts};
use crate::table::section::Default::{Unset, Value};
use crate::table::section::{Kind, Section};

block! {
    /// How it is known which endpoints are healthy.
    #[derive(Clone, Debug, Default, PartialEq)]
    pub struct Health =
        Section::new("health", "`health`", "How it is determined which endpoints are healthy.")
            .example("health = { active = { path = \"/healthz\" } }");
    active: Option<ActiveCheck> => Or<Off, ActiveForm>, Value("\"off\""), "Probes that lbproxy sends.";
    passive: Option<PassiveHealth> => Or<Off, Table<PassiveHealth>>, Value("{}"),
        "Outlier detection: judging by real traffic; \"off\" judges by checks alone.";
}

impl Block for Health {}

/// Active checks of a cluster's endpoints.
#[derive(Clone, Debug, PartialEq)]
pub struct ActiveCheck {
    /// What is asked.
    pub probe: Probe,
    /// Ask this port instead of the endpoint's.
    pub port: Option<u16>,
    /// From the start of one check to the next, while the endpoint is up.
    pub interval: Duration,
    /// The same for an endpoint that has been down for a minute; `None` is `interval`.
    pub interval_down: Option<Duration>,
    /// Each interval is longer or shorter by up to this share of it.
    pub jitter: f64,
    /// A check that takes longer has failed.
    pub timeout: Duration,
    /// Passing checks that bring an endpoint up.
    pub rise: NonZeroU32,
    /// Failing checks that take it down.
    pub fall: NonZeroU32,
    /// Whether an endpoint counts as up before its first check.
    pub initial_up: bool,
    /// The cluster's: a check sends a header that names the proxy itself as the source (v2 `LOCAL`).
    pub proxy_protocol: Option<ProxyProtocol>,
    /// The cluster's [`http2`](crate::Cluster::http2).
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

block! {
    /// The keys of active checks as they are written.
    struct Written =
        Section::new("active", "`health.active`", "Active checks of every endpoint.")
            .example("health.active = { path = \"/healthz\" }");
    path: Arc<str> => Target, Value("\"/\""), "The request path.";
    method: Arc<str> => Method, Value("\"GET\""), "The request method.";
    host: Option<Arc<str>> => Maybe<Host>, Unset("the endpoint's address"), "The `Host` of the probe.";
    port: Option<u16> => Maybe<Int<u16, 1, 65_535>>, Unset("the endpoint's"), "Probe this port instead.";
    interval: Duration => Time, Value("\"4s\""), "From the start of one check to the start of the next.";
    interval_down: Option<Duration> => Maybe<Time>, Unset("`interval`"), "The same for an endpoint that has been down for a minute.";
    jitter: f64 => Share, Value("\"10%\""), "Each interval is shorter or longer by up to this share, by chance; at most 50%.";
    timeout: Duration => Time, Value("\"2s\""), "A check that takes longer has failed.";
    expect: Vec<(u16, u16)> => Expect, Value("[\"2xx\", \"3xx\"]"), "Statuses that pass.";
    rise: NonZeroU32 => Int<NonZeroU32, 1, 1_000>, Value("2"), "Passing checks in a row that bring an endpoint up.";
    fall: NonZeroU32 => Int<NonZeroU32, 1, 1_000>, Value("3"), "Failing checks in a row that take it down.";
    tcp: bool => Bool, Value("false"), "Only connect; no request is sent.";
    initial_up as "initial": bool => Initial, Value("\"up\""), "What an endpoint counts as before its first check.";
    [reserved] "grpc", "A gRPC health check.", "check a `path` whose status is the answer, or write tcp = true";
    [reserved] "body", "A text that the answer must contain.",
        "check a `path` whose status is the answer, or write tcp = true";
    [reserved] "command", "A command in place of a request.",
        "check a `path` whose status is the answer, or write tcp = true";
}

const MAX_JITTER: f64 = 0.5;

/// The keys of an HTTP probe, which have no meaning beside `tcp`.
const OF_HTTP: [&str; 4] = ["path", "method", "host", "expect"];

impl Block for Written {
    fn check(mut self, report: &mut Report, fields: &Fields<'_>) -> Option<Self> {
        // Only where it was written: with an interval of a second, the default timeout is no mistake.
        if let Some(entry) = fields.entry("timeout")
            && self.timeout > self.interval
        {
            report.warning(entry.node.span, "a check may take longer than the interval between two");
        }
        if self.jitter > MAX_JITTER {
            report
                .error(fields.value_span("jitter"), "this is too much: checks would follow one another at once")
                .expected("at most 50%");
            return None;
        }
        if self.tcp {
            self.tcp = is_tcp(report, fields)?;
        }
        Some(self)
    }
}

/// Whether `tcp = true` holds beside the keys of an HTTP probe: what was inherited gives way to what was written.
fn is_tcp(report: &mut Report, fields: &Fields<'_>) -> Option<bool> {
    let tcp_inherited = fields.entry("tcp").is_some_and(|entry| entry.inherited);
    let asked = OF_HTTP.into_iter().filter_map(|key| fields.entry(key));
    let own: Vec<&Entry> = asked.filter(|entry| !entry.inherited).collect();
    match own.first() {
        Some(_) if tcp_inherited => Some(false),
        Some(entry) => {
            let message = format!("`{}` has no meaning where `tcp = true`: nothing is asked for", entry.key);
            report.error(entry.key_span, message).help("leave one of the two out");
            None
        }
        None => Some(true),
    }
}

/// Active checks of a cluster.
pub(crate) struct ActiveForm;

impl Form for ActiveForm {
    type Value = ActiveCheck;
    const KIND: Kind = <Table<Written>>::KIND;

    fn read(report: &mut Report, node: &Node) -> Option<ActiveCheck> {
        let Written {
            path,
            method,
            host,
            port,
            interval,
            interval_down,
            jitter,
            timeout,
            expect,
            rise,
            fall,
            tcp,
            initial_up,
        } = Written::read(report, node)?;
        let probe = if tcp { Probe::Tcp } else { Probe::Http { path, method, host, expect } };
        // The last two are the cluster's, which is not known here.
        let (proxy_protocol, http2) = (None, false);
        Some(ActiveCheck {
            probe,
            port,
            interval,
            interval_down,
            jitter,
            timeout,
            rise,
            fall,
            initial_up,
            proxy_protocol,
            http2,
        })
    }

    fn show(value: &ActiveCheck, writer: &Writer<'_>) -> Option<Item> {
        let ActiveCheck { port, interval, interval_down, jitter, timeout, rise, fall, initial_up, .. } = *value;
        let (tcp, path, method, host, expect) = match value.probe.clone() {
            Probe::Tcp => (true, "".into(), "".into(), None, Vec::new()),
            Probe::Http { path, method, host, expect } => (false, path, method, host, expect),
        };
        let written = Written {
            path,
            method,
            host,
            port,
            interval,
            interval_down,
            jitter,
            timeout,
            expect,
            rise,
            fall,
            tcp,
            initial_up,
        };
        let written = written.items(writer);
        let is_left_out = |key: &str| if tcp { OF_HTTP.contains(&key) } else { key == "tcp" };
        let shown: Items = written.into_iter().filter(|(key, _)| !is_left_out(key)).collect();
        Some(Item::Table(in_order(shown, &["tcp", "path", "method", "host", "expect"])))
    }
}

words! {
    /// Whether an endpoint is up before its first check.
    struct Initial: bool;
    "up" => true, "down" => false
}

form! {
    /// A request target.
    Target: Arc<str> = Kind::Text;
    read: |report, node| convert::read(report, node, "a path", http::target),
    show: |path, writer| writer.free(path),
}

form! {
    /// A method.
    Method: Arc<str> = Kind::Text;
    read: |report, node| convert::read(report, node, "a method", http::method),
    show: |method, _| text(method),
}

form! {
    /// A host, with or without a port.
    Host: Arc<str> = Kind::Text;
    read: probe_host,
    show: |host, writer| writer.free(host),
}

form! {
    /// Statuses, one or a list of them.
    Expect: Vec<(u16, u16)> = Kind::Any(&[Kind::Status, Kind::List(&Kind::Status)]);
    read: expect,
    show: |ranges, _| texts(ranges.iter().map(|range| status::show_range(*range))),
}

fn probe_host(report: &mut Report, node: &Node) -> Option<Arc<str>> {
    const EXPECTED: &str = "a host such as \"example.com\", with or without a port";
    convert::read(report, node, EXPECTED, |text| {
        let visible = |byte: u8| byte.is_ascii_graphic() && !b"/?#@\\\"".contains(&byte);
        if text.is_empty() || !text.bytes().all(visible) {
            return Err(ValueError::new("is not a host", EXPECTED));
        }
        Ok(text.into())
    })
}

fn expect(report: &mut Report, node: &Node) -> Option<Vec<(u16, u16)>> {
    if !matches!(node.value, tree::Value::List(_)) {
        return convert::statuses(report, node).map(|range| vec![range]);
    }
    let ranges = list(convert::statuses)(report, node)?;
    if ranges.is_empty() {
        report.error(node.span, "no status would pass").expected("at least one status");
        return None;
    }
    Some(ranges)
}

block! {
    /// Outlier detection by real traffic.
    #[derive(Clone, Debug, PartialEq)]
    pub struct PassiveHealth =
        Section::new(
            "passive",
            "`health.passive`",
            "Outlier detection; it never ejects the last eligible endpoint of a cluster.",
        )
        .example("health.passive = { failures = 3 }");
    failures: NonZeroU32 => Int<NonZeroU32, 1, 65_535>, Value("3"), "Failures within the window that eject.";
    window: Duration => Time, Value("\"30s\""), "The window.";
    eject_for: Duration => Time, Value("\"3s\""), "How long the first ejection lasts; repeated ones last longer.";
    on: Vec<Condition> => List<Failure<400>>, Value("[\"connect_error\", \"reset\", \"timeout\", \"5xx\"]"),
        "What counts as a failure.";
    silence: Option<Duration> => Or<Off, Time>, Value("\"1s\""),
        "How long an endpoint may answer nothing, at the least, before it gets one request at a time.";
    cool_down: Option<Duration> => Or<Off, Time>, Value("\"1s\""),
        "How long an endpoint that answers 429, or 503 with `Retry-After`, is picked last, unless it says.";
    max_ejected: f64 => Share, Value("\"100%\""),
        "The most endpoints that are ejected at once; one always may be, and the last one never is.";
}

impl Block for PassiveHealth {
    fn check(self, report: &mut Report, fields: &Fields<'_>) -> Option<Self> {
        if self.on.is_empty() {
            let problem = report.error(fields.value_span("on"), "nothing would count as a failure");
            problem.help("leave `on` out, or write passive = \"off\"");
            return None;
        }
        Some(self)
    }
}
