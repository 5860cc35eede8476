//! `health`: active checks and outlier detection of a cluster's endpoints.

use std::fmt;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use regex::Regex;

use crate::language::diagnostic::Report;
use crate::language::tree::{self, Entry, Node};
use crate::language::values::status::{self, Condition};
use crate::language::values::{ValueError, http};
use crate::model::headers::{header_name_once, may_edit};
use crate::model::proxy_protocol::ProxyProtocol;
use crate::table::block::{Block, Keys, Table, block};
use crate::table::convert::{self, list};
use crate::table::fields::Fields;
use crate::table::form::{Bool, Failure, Form, Int, List, Maybe, Off, Or, Share, Time, form, words};
use crate::table::item::{Item, Items, Writer, bare, in_order, text, texts};
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
#[derive(Clone, Debug, PartialEq)]
pub enum Probe {
    /// A TCP connection.
    Tcp {
        /// What is sent; default nothing.
        send: Option<Arc<str>>,
        /// What must come back; default nothing: a connection is enough.
        receive: Option<TextPattern>,
    },
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
        /// Further headers, names in lower case.
        headers: Vec<(Arc<str>, Arc<str>)>,
        /// What the body must contain.
        body: Option<TextPattern>,
    },
    /// A call of gRPC's health service.
    Grpc {
        /// The service that is asked for; empty for the whole endpoint.
        service: Arc<str>,
        /// `:authority`; default: the endpoint as configured.
        host: Option<Arc<str>>,
        /// Further headers, names in lower case.
        headers: Vec<(Arc<str>, Arc<str>)>,
    },
    /// A program on this machine.
    Command {
        /// Its path or name, and its arguments.
        command: Vec<Arc<str>>,
    },
}

/// A text to look for.
#[derive(Clone, Debug)]
pub enum TextPattern {
    /// This text, anywhere.
    Contains(Arc<str>),
    /// A regular expression, found anywhere unless anchored.
    Regex(Regex),
}

impl TextPattern {
    /// Whether it is in these bytes; what is not UTF-8 in them is in no text.
    #[must_use]
    pub fn is_in(&self, bytes: &[u8]) -> bool {
        let text = String::from_utf8_lossy(bytes);
        match self {
            Self::Contains(part) => text.contains(&**part),
            Self::Regex(regex) => regex.is_match(&text),
        }
    }
}

/// As it is written: a regular expression after `~`.
impl fmt::Display for TextPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Contains(part) => f.write_str(part),
            Self::Regex(regex) => write!(f, "~{regex}"),
        }
    }
}

/// Regular expressions are equal if their text is.
impl PartialEq for TextPattern {
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Contains(a), Self::Contains(b)) => a == b,
            (Self::Regex(a), Self::Regex(b)) => a.as_str() == b.as_str(),
            _ => false,
        }
    }
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
    headers: Vec<(Arc<str>, Arc<str>)> => CheckHeaders, Value("{}"), "Further headers of the request, a value each.";
    body: Option<TextPattern> => Maybe<Pattern>, Unset("any"),
        "What the first 64KiB of the response body must contain: a text, or a regex after `~`.";
    grpc: Option<Arc<str>> => Grpc, Value("false"),
        "Call gRPC's health service (`grpc.health.v1`): `true` for the whole endpoint, or the name of a service.";
    tcp: bool => Bool, Value("false"), "Only connect; no request is sent.";
    send: Option<Arc<str>> => Maybe<Free>, Unset("nothing"), "With `tcp`: send this text.";
    receive: Option<TextPattern> => Maybe<Pattern>, Unset("nothing"),
        "With `tcp`: what the first 64KiB received must contain: a text, or a regex after `~`.";
    command: Vec<Arc<str>> => List<Argument>, Value("[]"),
        "Run a program and its arguments instead; exit status 0 passes. `LBPROXY_ENDPOINT` is the address in its environment.";
    initial_up as "initial": bool => Initial, Value("\"up\""), "What an endpoint counts as before its first check.";
    [reserved] "agent", "The address of an agent that answers in HAProxy's words.", "check a `path`, or write command = [\"…\"]";
}

/// What a check asks.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Asks {
    Http,
    Grpc,
    Tcp,
    Command,
}

impl Asks {
    /// The keys of other kinds, which have no meaning for this one.
    const fn foreign(self) -> &'static [&'static str] {
        match self {
            Self::Http => &["send", "receive"],
            Self::Grpc => &["path", "method", "expect", "body", "send", "receive"],
            Self::Tcp => &["path", "method", "host", "expect", "headers", "body"],
            Self::Command => &["path", "method", "host", "port", "expect", "headers", "body", "send", "receive"],
        }
    }

    /// Why they have none.
    const fn reason(self) -> &'static str {
        match self {
            Self::Http => "without `tcp = true`: a request is sent",
            Self::Grpc => "where `grpc` is set: the call is always the same",
            Self::Tcp => "where `tcp = true`: nothing is asked for",
            Self::Command => "where `command` is set: the program asks",
        }
    }
}

const MAX_JITTER: f64 = 0.5;

/// Pauses of garbage collectors and lost packets take as long.
const SHORT: Duration = Duration::from_millis(300);

impl Block for Written {
    fn check(mut self, report: &mut Report, fields: &Fields<'_>) -> Option<Self> {
        // Only where it was written: with an interval of a second, the default timeout is no mistake.
        if let Some(entry) = fields.entry("timeout")
            && self.timeout > self.interval
        {
            report.warning(entry.node.span, "a check may take longer than the interval between two");
        }
        if let (Some(entry), Some(down)) = (fields.entry("interval_down"), self.interval_down)
            && down < self.interval
        {
            report
                .warning(entry.node.span, "an endpoint that is down is checked more often than one that is up")
                .help("for its first minute it is checked each second in any case");
        }
        if fields.entry("fall").is_some() && self.fall == NonZeroU32::MIN && self.timeout < SHORT {
            report
                .warning(fields.value_span("fall"), "a single check that is slow or lost takes an endpoint out")
                .help("write a longer `timeout`, or fall = 2");
        }
        if self.jitter > MAX_JITTER {
            report
                .error(fields.value_span("jitter"), "this is too much: checks would follow one another at once")
                .expected("at most 50%");
            return None;
        }
        if &*self.method == "HEAD"
            && let Some(entry) = fields.entry("body")
        {
            report.error(entry.key_span, "the response to `HEAD` has no body").help("leave one of the two out");
            return None;
        }
        let asks = self.asks(report, fields)?;
        self.tcp = asks == Asks::Tcp;
        if asks != Asks::Grpc {
            self.grpc = None;
        }
        if asks != Asks::Command {
            self.command.clear();
        }
        Some(self)
    }
}

impl Written {
    /// What it asks: what was inherited gives way to what was written.
    fn asks(&self, report: &mut Report, fields: &Fields<'_>) -> Option<Asks> {
        let kinds = [
            ("grpc", Asks::Grpc, self.grpc.is_some()),
            ("tcp", Asks::Tcp, self.tcp),
            ("command", Asks::Command, !self.command.is_empty()),
        ];
        let set: Vec<(&Entry, Asks)> = kinds
            .into_iter()
            .filter(|kind| kind.2)
            .filter_map(|(key, kind, _)| Some((fields.entry(key)?, kind)))
            .collect();
        let own: Vec<&(&Entry, Asks)> = set.iter().filter(|(entry, _)| !entry.inherited).collect();
        if let [(first, _), (second, _), ..] = own[..] {
            let message = format!("`{}` and `{}`: a check asks one thing", first.key, second.key);
            report.error(second.key_span, message).help("leave one of the two out");
            return None;
        }
        let written = |key: &&'static str| fields.entry(key).filter(|entry| !entry.inherited);
        let asks = match (own.first(), set.first()) {
            (Some((_, asks)), _) => *asks,
            // Inherited, and what was written has no meaning for it.
            (None, Some((_, asks))) if !asks.foreign().iter().any(|key| written(key).is_some()) => *asks,
            _ => Asks::Http,
        };
        if let Some(entry) = asks.foreign().iter().find_map(written) {
            let message = format!("`{}` has no meaning {}", entry.key, asks.reason());
            let help = if asks == Asks::Http { "write tcp = true" } else { "leave one of the two out" };
            report.error(entry.key_span, message).help(help);
            return None;
        }
        Some(asks)
    }
}

/// Active checks of a cluster.
pub(crate) struct ActiveForm;

impl Form for ActiveForm {
    type Value = ActiveCheck;
    const KIND: Kind = <Table<Written>>::KIND;

    fn read(report: &mut Report, node: &Node) -> Option<ActiveCheck> {
        let written = Written::read(report, node)?;
        let Written { port, interval, interval_down, jitter, timeout, rise, fall, initial_up, .. } = written;
        let Written { path, method, host, expect, headers, body, send, receive, .. } = written;
        let probe = match (written.grpc, written.tcp, written.command) {
            (Some(service), ..) => Probe::Grpc { service, host, headers },
            (None, true, _) => Probe::Tcp { send, receive },
            (None, false, command) if !command.is_empty() => Probe::Command { command },
            _ => Probe::Http { path, method, host, expect, headers, body },
        };
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
        let mut written = Written {
            path: "".into(),
            method: "".into(),
            host: None,
            port,
            interval,
            interval_down,
            jitter,
            timeout,
            expect: Vec::new(),
            rise,
            fall,
            headers: Vec::new(),
            body: None,
            grpc: None,
            tcp: false,
            send: None,
            receive: None,
            command: Vec::new(),
            initial_up,
        };
        let asks = match value.probe.clone() {
            Probe::Tcp { send, receive } => {
                (written.tcp, written.send, written.receive) = (true, send, receive);
                Asks::Tcp
            }
            Probe::Http { path, method, host, expect, headers, body } => {
                (written.path, written.method, written.host, written.expect) = (path, method, host, expect);
                (written.headers, written.body) = (headers, body);
                Asks::Http
            }
            Probe::Grpc { service, host, headers } => {
                (written.grpc, written.host, written.headers) = (Some(service), host, headers);
                Asks::Grpc
            }
            Probe::Command { command } => {
                written.command = command;
                Asks::Command
            }
        };
        let kind = match asks {
            Asks::Http => "",
            Asks::Grpc => "grpc",
            Asks::Tcp => "tcp",
            Asks::Command => "command",
        };
        let is_left_out =
            |key: &str| (["grpc", "tcp", "command"].contains(&key) && key != kind) || asks.foreign().contains(&key);
        let shown: Items = written.items(writer).into_iter().filter(|(key, _)| !is_left_out(key)).collect();
        let order =
            ["tcp", "grpc", "command", "send", "receive", "path", "method", "host", "headers", "expect", "body"];
        Some(Item::Table(in_order(shown, &order)))
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

form! {
    /// A text to look for.
    Pattern: TextPattern = Kind::Text;
    read: pattern,
    show: |pattern, writer| writer.free(&pattern.to_string()),
}

form! {
    /// Any text.
    Free: Arc<str> = Kind::Text;
    read: |report, node| convert::text(report, node).map(Into::into),
    show: |free, writer| writer.free(free),
}

form! {
    /// A program, or one of its arguments.
    Argument: Arc<str> = Kind::Text;
    read: argument,
    show: |argument, writer| writer.free(argument),
}

form! {
    /// `true`, or the name of a service.
    Grpc: Option<Arc<str>> = Kind::Any(&[Kind::Bool, Kind::Text]);
    read: grpc,
    show: |service, writer| match service.as_deref() {
        None => bare(false),
        Some("") => bare(true),
        Some(service) => writer.free(service),
    },
}

form! {
    /// Headers of a check.
    CheckHeaders: Vec<(Arc<str>, Arc<str>)> = Kind::Map(&Kind::Text);
    read: check_headers,
    show: |headers, writer| {
        Item::Table(headers.iter().map(|(name, value)| (name.to_string(), writer.free(value))).collect())
    },
}

fn pattern(report: &mut Report, node: &Node) -> Option<TextPattern> {
    const EXPECTED: &str = "a text, or a regex after `~`";
    convert::read(report, node, EXPECTED, |text| match text.strip_prefix('~') {
        Some(pattern) => http::regex(pattern).map(TextPattern::Regex),
        None if text.is_empty() => Err(ValueError::new("is in every text", EXPECTED)),
        None => Ok(TextPattern::Contains(text.into())),
    })
}

fn argument(report: &mut Report, node: &Node) -> Option<Arc<str>> {
    const EXPECTED: &str = "a program or an argument";
    convert::read(report, node, EXPECTED, |text| match text {
        "" => Err(ValueError::new("is empty", EXPECTED)),
        text if text.contains('\0') => Err(ValueError::new("has a NUL in it", EXPECTED)),
        text => Ok(text.into()),
    })
}

fn grpc(report: &mut Report, node: &Node) -> Option<Option<Arc<str>>> {
    const EXPECTED: &str = "`true`, or the name of a service such as \"shop.Cart\"";
    if let tree::Value::Bool(on) = node.value {
        return Some(on.then(|| "".into()));
    }
    convert::read(report, node, EXPECTED, |text| match text {
        "" => Err(ValueError::new("is no service", EXPECTED).help("write `true` for the whole endpoint")),
        text if text.chars().any(|char| char.is_whitespace() || char.is_control()) => {
            Err(ValueError::new("is no service", EXPECTED))
        }
        text => Ok(Some(text.into())),
    })
}

fn check_headers(report: &mut Report, node: &Node) -> Option<Vec<(Arc<str>, Arc<str>)>> {
    let mut seen = Vec::new();
    convert::map(report, node, "a table of header names and values", |report, entry| {
        let name = header_name_once(report, entry, &mut seen);
        let value = convert::read(report, &entry.node, "a header's value", |text| {
            http::header_value(text).map(|()| Arc::<str>::from(text))
        });
        let name = name?;
        may_edit(report, entry, &name)?;
        if name.eq_ignore_ascii_case("host") {
            report.error(entry.key_span, "a request has one `Host`").help("write `host` beside `headers`");
            return None;
        }
        Some((name.to_ascii_lowercase().into(), value?))
    })
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
