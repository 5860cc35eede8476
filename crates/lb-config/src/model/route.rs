//! `[[route]]`: which requests it takes, what becomes of them, and everything else about them.
//!
//! A key that is an option of a route is a row of [`RouteOptions`], and nothing else in this crate.

use std::sync::Arc;

use crate::language::diagnostic::Report;
use crate::language::source::Span;
use crate::language::suggest::nearest;
use crate::language::tree::{self, Entry, Node};
use crate::language::values::address::Network;
use crate::language::values::http::{self, HostPattern, PathPattern, ValuePattern};
use crate::model::auth::{Auth, AuthForm, cluster_spans};
use crate::model::compress::{Compress, CompressForm};
use crate::model::concurrency::Concurrency;
use crate::model::errors::{ErrorPages, ErrorPagesForm};
use crate::model::files::ServeFiles;
use crate::model::forwarded::{Forwarded, ForwardedForm};
use crate::model::headers::{Headers, header_name_once};
use crate::model::maintenance::{Maintenance, MaintenanceForm};
use crate::model::networks::{Anyone, NetworkList};
use crate::model::policy::{Policy, PolicyForm};
use crate::model::rate_limit::{self, RateLimit, RateLimits};
use crate::model::redirect::{Redirect, RedirectForm};
use crate::model::respond::Respond;
use crate::model::retry::{Retries, Retry};
use crate::model::sticky::Sticky;
use crate::model::timeout::Timeouts;
use crate::model::upgrade::{Upgrade, UpgradeForm};
use crate::table::block::{Block, Keys, Table, block};
use crate::table::convert::{self, list};
use crate::table::fields::Fields;
use crate::table::form::{Form, Later, Maybe, Off, Or, Size, Unlimited, form};
use crate::table::item::{Item, Items, Writer, fields, text, texts};
use crate::table::section::Default::{Unset, Value};
use crate::table::section::{Key, Kind, Section, joined, key, length};

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
    /// Positions in [`Config::listeners`](crate::Config::listeners); empty is all.
    pub listeners: Vec<usize>,
}

/// What becomes of a matched request.
#[derive(Clone, Debug, PartialEq)]
pub enum Action {
    /// Forward to the cluster at this position of [`Config::clusters`](crate::Config::clusters).
    Cluster(usize),
    /// Redirect.
    Redirect(Redirect),
    /// A fixed answer.
    Respond(Respond),
    /// Files of a directory.
    Files(ServeFiles),
}

block! {
    /// Everything about a route but its match and its action.
    #[derive(Clone, Debug, PartialEq)]
    pub struct RouteOptions = SECTION;
    policy: Option<Policy> => Maybe<PolicyForm>, Unset("the cluster's"),
        "How an endpoint is chosen, in place of the cluster's policy.";
    timeout: Timeouts => Table<Timeouts>, Value("{}"), "Timeouts.";
    retry: Option<Retry> => Retries, Value("{}"), "Retries; \"off\" is short for { attempts = 1 }.";
    sticky: Option<Sticky> => Or<Off, Table<Sticky>>, Value("\"off\""), "Affinity by a signed cookie.";
    rate_limits as "rate_limit": Vec<RateLimit> => RateLimits, Value("\"off\""),
        "Rate limit per key, or a list of them, of which a request is charged to all or to none.";
    concurrency: Option<Concurrency> => Or<Off, Table<Concurrency>>, Value("\"off\""), "Requests at once.";
    auth: Vec<Auth> => AuthForm, Value("\"off\""),
        "Who is let in: one way to find out, or a list of ways which all must let the request pass.";
    allow: Option<Vec<Network>> => Or<Anyone, NetworkList>, Value("\"any\""),
        "Client networks that are served, all others get 403; \"any\" is every client.";
    deny: Vec<Network> => NetworkList, Value("[]"), "Client networks that get 403, also those of `allow`.";
    headers: Headers => Table<Headers>, Value("{}"), "Edits of headers.";
    forwarded: Forwarded => ForwardedForm, Value("{}"),
        "Which forwarding headers are written; a word is short for { headers = \"word\" }.";
    upgrade: Upgrade => UpgradeForm, Value("\"any\""),
        "Protocols that a request may switch to by `Upgrade`, such as [\"websocket\"].";
    body_limit: Option<u64> => Later<Or<Unlimited, Size<u64, 1>>>, Unset("`limits.request_body`"),
        "A request's body; beyond it, 413. \"none\" is no limit.";
    access_log: bool => AccessLogForm, Value("\"on\""), "Whether its requests are in the access log.";
    compress: Option<Compress> => CompressForm, Value("\"off\""),
        "Compression of responses; \"on\" is short for {}.";
    errors: ErrorPages => ErrorPagesForm, Value("{}"),
        "Error pages by status; `intercept = true` replaces responses of endpoints as well.";
    maintenance: Option<Maintenance> => MaintenanceForm, Value("false"),
        "Out of service: 503 with `Retry-After`; a table lets some clients through.";
    [reserved] "satisfy", "Networks or a login: either lets a client in.",
        "a route without `auth` for the networks, and `allow` there; the route with `auth` below it";
    [reserved] "cors", "Cross-origin requests.", "let the application answer preflights; its fields are passed on";
    [reserved] "buffer", "Buffering of request bodies.", "bodies are streamed; `body_limit` bounds them";
    [reserved] "limit_rate", "A response's speed.", "let the application pace what it sends; responses pass as they come";
    [reserved] "cache", "Caching of responses.",
        "let the application or a cache behind lbproxy do it; responses pass unchanged";
}

/// What a route that forwards nothing has no use for.
const OF_FORWARDING: [&str; 7] = ["policy", "timeout", "retry", "sticky", "concurrency", "forwarded", "upgrade"];

form! {
    /// `"on"` or `"off"`, also as a boolean.
    AccessLogForm: bool = Kind::Any(&[Kind::Bool, Kind::Word(&["on", "off"])]);
    read: |report, node| match node.value {
        crate::language::tree::Value::Bool(on) => Some(on),
        _ => convert::word(report, node, &[("on", true), ("off", false), ("true", true), ("false", false)]),
    },
    show: |on, _| text(if *on { "on" } else { "off" }),
}

const SECTION: Section =
    Section::new("route", "[[route]]", "A rule that maps a request to an action; the most specific match wins.");

pub(crate) const ROUTE: Section = Section { keys: &KEYS, ..SECTION };

const KEYS: [Key; length(PARTS)] = joined(PARTS);
const PARTS: &[&[Key]] = &[MATCH, ACTION, RouteOptions::SECTION.keys];

const MATCH: &[Key] = &[
    key("name", Kind::Text, Unset("written from its match"), "Its name in logs and metrics."),
    key(
        "hosts",
        Kind::List(&Kind::Text),
        Value("[]"),
        "Hosts it takes, \"example.com\" or \"*.example.com\"; none means any.",
    ),
    key(
        "path",
        Kind::Text,
        Value("\"/\""),
        "A prefix by whole segments (\"/api/\"), an exact path (\"=/x\") or a regex (\"~^/v[0-9]+/\").",
    ),
    key("methods", Kind::List(&Kind::Text), Value("[]"), "Methods it takes, in capitals; none means any."),
    key(
        "headers_match",
        Kind::Map(&Kind::Text),
        Value("{}"),
        "Headers that must be there with this value, or matching this regex (\"~regex\").",
    ),
    key("listeners", Kind::List(&Kind::Text), Value("[]"), "Names of the listeners it holds for; none means all."),
];

const ACTION: &[Key] = &[
    key("cluster", Kind::Text, Unset("none"), "Action: forward to this cluster."),
    key(
        "redirect",
        RedirectForm::KIND,
        Unset("none"),
        "Action: redirect. \"https\" is a 301 to the same host, path and query under https.",
    ),
    key("respond", <Table<Respond>>::KIND, Unset("none"), "Action: a fixed answer."),
    key("files", <Table<ServeFiles>>::KIND, Unset("none"), "Action: serve the files of a directory."),
];

/// The keys of which a route has exactly one.
pub(crate) const ACTIONS: [&str; 4] = ["cluster", "redirect", "respond", "files"];

/// A route as written: names not yet resolved.
pub(crate) struct RouteWritten {
    /// The route's own name, if it has one.
    pub(crate) name: Option<String>,
    /// The name of the site it belongs to, if that has one.
    pub(crate) site: Option<String>,
    /// Where it begins.
    pub(crate) span: Span,
    pub(crate) name_span: Span,
    pub(crate) path: String,
    pub(crate) matcher: Match,
    pub(crate) listeners: Vec<(String, Span)>,
    pub(crate) action: ActionWritten,
    /// Complete but for a `body_limit` that was left out and the name of the rate limit.
    pub(crate) options: RouteOptions,
    /// Where `auth` names clusters, in its order.
    pub(crate) auth_clusters: Vec<Span>,
    /// Whether `body_limit` was written.
    pub(crate) has_body_limit: bool,
    /// Where the rate limits were written.
    pub(crate) rate_limits: Vec<Span>,
}

/// An action whose cluster is still a name.
pub(crate) enum ActionWritten {
    Cluster(String, Span),
    Redirect(Redirect),
    Respond(Respond),
    Files(ServeFiles),
}

impl ActionWritten {
    /// The name of the cluster it forwards to.
    pub(crate) fn cluster(&self) -> Option<&str> {
        match self {
            Self::Cluster(name, _) => Some(name),
            Self::Redirect(_) | Self::Respond(_) | Self::Files(_) => None,
        }
    }
}

/// A route as a node, and the name of the site it belongs to, if that has one.
pub(crate) type RouteNode = (Node, Option<String>);

/// Every route that could be read; `false` if one could not.
pub(crate) fn routes(report: &mut Report, nodes: &[RouteNode]) -> (Vec<RouteWritten>, bool) {
    let read: Vec<_> = nodes.iter().map(|(node, site)| route(report, node, site.as_deref())).collect();
    let whole = read.iter().all(Option::is_some);
    (read.into_iter().flatten().collect(), whole)
}

fn route(report: &mut Report, node: &Node, site: Option<&str>) -> Option<RouteWritten> {
    let fields = Fields::open(report, node, &ROUTE)?;
    let name = fields.maybe(report, "name", convert::name);
    let hosts =
        fields.get(report, "hosts", list(|report, node| convert::read(report, node, "a host", http::host_pattern)));
    let path = fields.get(report, "path", |report, node| {
        let pattern = convert::read(report, node, http::PATH, http::path_pattern)?;
        Some((pattern, node.text().unwrap_or_default().to_owned()))
    });
    let methods = fields.get(report, "methods", list(method));
    let headers = fields.get(report, "headers_match", headers_match);
    let listeners =
        fields.get(report, "listeners", list(|report, node| Some((convert::text(report, node)?, node.span))));
    let action = action(report, &fields);
    let options = RouteOptions::take(report, &fields);
    let options = match &action {
        Some(ActionWritten::Redirect(_) | ActionWritten::Respond(_) | ActionWritten::Files(_)) => {
            warn_of_idle_options(report, &fields);
            options.and_then(|_| without_idle_options(report, node))
        }
        _ => options,
    };
    let name_span = fields.value_span("name");
    let rate_limits = fields.entry("rate_limit").map(|entry| rate_limit::spans(&entry.node)).unwrap_or_default();
    let auth_clusters = fields.entry("auth").map(|entry| cluster_spans(&entry.node)).unwrap_or_default();
    let has_body_limit = fields.entry("body_limit").is_some();
    fields.done();
    let (path, path_text) = path?;
    Some(RouteWritten {
        name: name?,
        site: site.map(str::to_owned),
        span: node.span,
        name_span,
        path: path_text,
        matcher: Match { hosts: hosts?, path, methods: methods?, headers: headers?, listeners: Vec::new() },
        listeners: listeners?,
        action: action?,
        options: options?,
        auth_clusters,
        has_body_limit,
        rate_limits,
    })
}

fn method(report: &mut Report, node: &Node) -> Option<Arc<str>> {
    const KNOWN: [&str; 9] = ["GET", "HEAD", "POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "CONNECT"];
    let method = convert::read(report, node, "a method", http::method)?;
    if !KNOWN.contains(&&*method)
        && let Some(near) = nearest(&method, KNOWN)
    {
        report
            .warning(node.span, format!("{} is an unusual method", node.shown()))
            .help(format!("did you mean \"{near}\"?"));
    }
    Some(method)
}

fn headers_match(report: &mut Report, node: &Node) -> Option<Vec<(Arc<str>, ValuePattern)>> {
    let mut seen: Vec<(Arc<str>, Span)> = Vec::new();
    convert::map(report, node, "a table of header names and values", |report, entry| {
        let name = header_name_once(report, entry, &mut seen);
        let value = convert::read(report, &entry.node, "a value, or a \"~regex\"", http::value_pattern);
        Some((Arc::from(name?.to_ascii_lowercase()), value?))
    })
}

/// The one action: its own comes before an inherited one.
fn action(report: &mut Report, fields: &Fields<'_>) -> Option<ActionWritten> {
    let all = ACTIONS.into_iter().filter_map(|key| fields.entry(key)).collect::<Vec<_>>();
    let own: Vec<&Entry> = all.iter().copied().filter(|entry| !entry.inherited).collect();
    let candidates = if own.is_empty() { all } else { own };
    match candidates.as_slice() {
        [] => {
            let slipped = ACTIONS.into_iter().any(|key| fields.is_meant(key));
            if !slipped {
                report
                    .error(fields.span, "the route does nothing")
                    .expected("one of `cluster`, `redirect`, `respond`, `files`")
                    .help("write cluster = \"NAME\" to forward to [cluster.NAME]");
            }
            None
        }
        [one] => one_action(report, one),
        [first, second, ..] => {
            report
                .error(second.key_span, format!("the route has two actions, `{}` and `{}`", first.key, second.key))
                .expected("one of `cluster`, `redirect`, `respond`, `files`")
                .related("the other one", first.key_span);
            None
        }
    }
}

fn one_action(report: &mut Report, entry: &Entry) -> Option<ActionWritten> {
    let node = &entry.node;
    match entry.key.as_str() {
        "cluster" => Some(ActionWritten::Cluster(convert::text(report, node)?, node.span)),
        "redirect" => RedirectForm::read(report, node).map(ActionWritten::Redirect),
        "respond" => Respond::read(report, node).map(ActionWritten::Respond),
        _ => ServeFiles::read(report, node).map(ActionWritten::Files),
    }
}

/// The options of a route that writes none; `None` never, since each default is a value of its key.
pub(crate) fn unwritten_options() -> Option<RouteOptions> {
    let (mut unread, table) = (Report::unread(), tree::Table { entries: Vec::new() });
    let fields = Fields::of(&mut unread, &table, Span::NOWHERE, &ROUTE);
    RouteOptions::take(&mut unread, &fields)
}

/// The options as if those of forwarding had not been written or inherited, so that nothing downstream acts on them.
fn without_idle_options(report: &Report, node: &Node) -> Option<RouteOptions> {
    let mut table = node.table()?.clone();
    table.entries.retain(|entry| !OF_FORWARDING.contains(&entry.key.as_str()));
    // What is wrong has been reported with the route itself.
    let mut unread = report.unread_beside();
    let fields = Fields::of(&mut unread, &table, node.span, &ROUTE);
    RouteOptions::take(&mut unread, &fields)
}

fn warn_of_idle_options(report: &mut Report, fields: &Fields<'_>) {
    for key in OF_FORWARDING {
        if let Some(entry) = fields.entry(key).filter(|entry| !entry.inherited) {
            report.warning(entry.key_span, format!("`{key}` has no effect on a route that forwards nothing"));
        }
    }
}

impl Route {
    /// Every key with its value; `listeners` and `clusters` are the names that its positions stand for.
    pub(crate) fn items(&self, writer: &Writer<'_>, listeners: &[&str], clusters: &[&str]) -> Items {
        let mut all = fields! { "name": text(&self.name) };
        all.extend(self.matcher.items(writer, listeners));
        all.push(match &self.action {
            Action::Cluster(at) => ("cluster".into(), text(clusters.get(*at).copied().unwrap_or_default())),
            Action::Redirect(redirect) => ("redirect".into(), Item::Table(redirect.items(writer))),
            Action::Respond(respond) => ("respond".into(), Item::Table(respond.items(writer))),
            Action::Files(files) => ("files".into(), Item::Table(files.items(writer))),
        });
        let (of_forwarding, others): (Items, Items) =
            self.options.items(writer).into_iter().partition(|(key, _)| OF_FORWARDING.contains(&key.as_str()));
        if let Action::Cluster(_) = self.action {
            all.extend(of_forwarding);
        }
        all.extend(others);
        all
    }
}

impl Match {
    fn items(&self, writer: &Writer<'_>, listeners: &[&str]) -> Items {
        let path = match &self.path {
            PathPattern::Prefix(path) if path.is_empty() => "/".to_owned(),
            PathPattern::Prefix(path) => path.to_string(),
            PathPattern::Exact(path) => format!("={path}"),
            PathPattern::Regex(regex) => format!("~{regex}"),
        };
        let headers = self.headers.iter().map(|(name, value)| {
            let value = match value {
                ValuePattern::Exact(value) => value.to_string(),
                ValuePattern::Regex(regex) => format!("~{regex}"),
            };
            (name.to_string(), writer.free(&value))
        });
        fields! {
            "hosts": texts(self.hosts.iter().map(ToString::to_string)),
            "path": text(&path),
            "methods": texts(&self.methods),
            "headers_match": Item::Table(headers.collect()),
            "listeners": texts(self.listeners.iter().filter_map(|at| listeners.get(*at))),
        }
    }
}
