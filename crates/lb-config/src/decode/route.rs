//! Routes: what they match and what becomes of it.

use std::sync::Arc;

use crate::keys::{REDIRECT, RESPOND, ROUTE};
use crate::language::diagnostic::Report;
use crate::language::source::Span;
use crate::language::suggest::nearest;
use crate::language::template::{Part, Template, Variable};
use crate::language::tree::{Entry, Node};
use crate::language::values::http::ValuePattern;
use crate::language::values::{Wrong, http};
use crate::valid::{Match, Redirect, RedirectTo, Respond, RouteOptions, Syntax};

use super::options::{self, header_name_once};
use crate::table::convert::{self, Moment, list};
use crate::table::fields::Fields;

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
    /// Complete but for `body_limit` and the name of the rate limit.
    pub(crate) options: RouteOptions,
    /// `None`: takes the limit that holds for every listener.
    pub(crate) body_limit: Option<Option<u64>>,
    /// Where the rate limit was written, and whether it has a name of its own.
    pub(crate) rate_limit: Option<(Span, bool)>,
}

/// An action whose cluster is still a name.
pub(crate) enum ActionWritten {
    Cluster(String, Span),
    Redirect(Redirect),
    Respond(Respond),
}

impl ActionWritten {
    /// The name of the cluster it forwards to.
    pub(crate) fn cluster(&self) -> Option<&str> {
        match self {
            Self::Cluster(name, _) => Some(name),
            Self::Redirect(_) | Self::Respond(_) => None,
        }
    }
}

/// The keys of which a route has exactly one.
pub(crate) const ACTIONS: [&str; 3] = ["cluster", "redirect", "respond"];

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
    let options = options::options(report, &fields);
    let body_limit = fields.maybe_size_or_none(report, "body_limit");
    let options = match &action {
        Some(ActionWritten::Redirect(_) | ActionWritten::Respond(_)) => {
            warn_of_idle_options(report, &fields);
            options.zip(without_idle_options(node)).map(|(options, defaults)| RouteOptions {
                policy: defaults.policy,
                timeout: defaults.timeout,
                retry: defaults.retry,
                sticky: defaults.sticky,
                forwarded: defaults.forwarded,
                upgrade: defaults.upgrade,
                ..options
            })
        }
        _ => options,
    };
    let name_span = fields.entry("name").map_or(fields.span, |entry| entry.node.span);
    let rate_limit = fields.entry("rate_limit").map(|entry| {
        let named = entry.node.table().is_some_and(|table| table.find("name").is_some());
        (entry.node.span, named)
    });
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
        body_limit: body_limit?,
        rate_limit,
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

/// The one action: what the route says itself comes before what it inherited.
fn action(report: &mut Report, fields: &Fields<'_>) -> Option<ActionWritten> {
    let all = ACTIONS.into_iter().filter_map(|key| fields.entry(key)).collect::<Vec<_>>();
    let own: Vec<&Entry> = all.iter().copied().filter(|entry| !entry.inherited).collect();
    let candidates = if own.is_empty() { all } else { own };
    match candidates.as_slice() {
        [] => {
            let slipped = ACTIONS.into_iter().any(|key| fields.is_meant(key));
            if !fields.has("files") && !slipped {
                report
                    .error(fields.span, "the route does nothing")
                    .expected("one of `cluster`, `redirect`, `respond`")
                    .help("write cluster = \"NAME\" to forward to [cluster.NAME]");
            }
            None
        }
        [one] => one_action(report, one),
        [first, second, ..] => {
            report
                .error(second.key_span, format!("the route has two actions, `{}` and `{}`", first.key, second.key))
                .expected("one of `cluster`, `redirect`, `respond`")
                .related("the other one", first.key_span);
            None
        }
    }
}

fn one_action(report: &mut Report, entry: &Entry) -> Option<ActionWritten> {
    let node = &entry.node;
    match entry.key.as_str() {
        "cluster" => Some(ActionWritten::Cluster(convert::text(report, node)?, node.span)),
        "redirect" => redirect(report, node).map(ActionWritten::Redirect),
        _ => respond(report, node).map(ActionWritten::Respond),
    }
}

fn redirect(report: &mut Report, node: &Node) -> Option<Redirect> {
    const SHORT: &str = "\"https\", or a table with `to`";
    match node.text() {
        Some("https") => return Some(Redirect { to: RedirectTo::Https, status: 301 }),
        Some(text) => {
            let error = Wrong::new("is no redirect", SHORT);
            convert::wrong(report, node, error.help(format!("write {{ to = \"{text}\" }}")));
            return None;
        }
        None => {}
    }
    let fields = Fields::open(report, node, &REDIRECT)?;
    let to = fields.get(report, "to", redirect_to);
    let status = fields.get(report, "status", |report, node| {
        let status = convert::integer::<u16>(report, node, (300, 399))?;
        if !matches!(status, 301 | 302 | 303 | 307 | 308) {
            convert::wrong(report, node, Wrong::new("is no redirect", "301, 302, 303, 307 or 308"));
            return None;
        }
        Some(status)
    });
    fields.done();
    Some(Redirect { to: to?, status: status? })
}

fn redirect_to(report: &mut Report, node: &Node) -> Option<RedirectTo> {
    const EXPECTED: &str = "a path (\"/new/\"), a URL (\"https://example.com/\") or a text with `{variables}`";
    if node.text() == Some("https") {
        return Some(RedirectTo::Https);
    }
    let text = convert::read(report, node, EXPECTED, |text| http::header_value(text).map(|()| text.to_owned()))?;
    let template = convert::template(Moment::Answered)(report, node)?;
    if template.variables().next().is_some() || text.contains("://") {
        // What `{path}` and `{uri}` begin with is seen to when they are filled in.
        let is_path = matches!(template.parts.first(), Some(Part::Variable(Variable::Path | Variable::Uri)));
        return (is_path || options::leads_somewhere(report, node, &template))
            .then_some(RedirectTo::Template(template));
    }
    if !text.starts_with('/') {
        convert::wrong(report, node, Wrong::new("is neither a path nor a URL", EXPECTED));
        return None;
    }
    if text.contains(['?', '#']) {
        let error = Wrong::new("has a query or fragment, and a path keeps the request's own", EXPECTED);
        convert::wrong(report, node, error.help("write the whole URL: \"{scheme}://{host}/…\""));
        return None;
    }
    convert::read(report, node, EXPECTED, http::target).map(RedirectTo::Path)
}

fn respond(report: &mut Report, node: &Node) -> Option<Respond> {
    let fields = Fields::open(report, node, &RESPOND)?;
    let status = fields.integer::<u16>(report, "status");
    let body = fields.get(report, "body", convert::template(Moment::Answered));
    let content_type = fields.get(report, "content_type", |report, node| {
        let text = convert::text(report, node)?;
        http::header_value(&text).map_err(|error| convert::wrong(report, node, error)).ok()?;
        Some(text)
    });
    let headers = fields.get(report, "headers", respond_headers);
    let body_span = fields.entry("body").map(|entry| entry.key_span);
    let type_span = fields.entry("content_type").map_or(node.span, |entry| entry.node.span);
    fields.done();
    let (status, body, content_type) = (status?, body?, content_type?);
    if let Some(variable) = body.variables().find(|variable| variable.is_free_text())
        && Syntax::of(&content_type).is_none()
    {
        report
            .error(type_span, format!("`{{{variable}}}` cannot be made harmless in a body of this type"))
            .expected("text/plain, or a type of HTML, XML, JSON or JavaScript, in which what clients write is escaped")
            .related("the body", body_span.unwrap_or(node.span));
        return None;
    }
    if matches!(status, 204 | 205 | 304) && !body.is_empty() {
        report.error(body_span.unwrap_or(node.span), format!("a {status} has no body"));
        return None;
    }
    Some(Respond { status, body, content_type: content_type.into(), headers: headers? })
}

fn respond_headers(report: &mut Report, node: &Node) -> Option<Vec<(Arc<str>, Template)>> {
    let mut seen = Vec::new();
    convert::map(report, node, "a table of header names and values", |report, entry| {
        let name = header_name_once(report, entry, &mut seen);
        let value = options::header_template(Moment::Answered)(report, &entry.node);
        let name = name?;
        options::may_edit(report, entry, &name)?;
        options::may_lead(report, &entry.node, &name, value.as_ref())?;
        if name.eq_ignore_ascii_case("content-type") {
            report.error(entry.key_span, "the type is written once").help("write `content_type` beside `body`");
            return None;
        }
        Some((name, value?))
    })
}

/// What a route that forwards nothing has no use for.
const IDLE: [&str; 6] = ["policy", "timeout", "retry", "sticky", "forwarded", "upgrade"];

/// The options as if none of those had been written or inherited, so that nothing downstream acts on them.
fn without_idle_options(node: &Node) -> Option<RouteOptions> {
    let mut table = node.table()?.clone();
    table.entries.retain(|entry| !IDLE.contains(&entry.key.as_str()));
    // What is wrong has been reported with the route itself.
    let mut unheard = Report::unread();
    let fields = Fields::of(&mut unheard, &table, node.span, &ROUTE);
    options::options(&mut unheard, &fields)
}

fn warn_of_idle_options(report: &mut Report, fields: &Fields<'_>) {
    for key in IDLE {
        if let Some(entry) = fields.entry(key).filter(|entry| !entry.inherited) {
            report.warning(entry.key_span, format!("`{key}` has no effect on a route that forwards nothing"));
        }
    }
}
