//! `[[site]]`: hosts with their certificates and routes, which become ordinary routes and certificates of listeners.
//!
//! A site is a way of writing. What it has for a route is inherited by its routes as `[defaults.route]` is by all, and
//! goes before that; what it has of its own is checked here, against the other sites when the parts are joined.

use crate::language::diagnostic::Report;
use crate::language::inherit::inherit;
use crate::language::source::Span;
use crate::language::tree::{self, Entry, Node, Table};
use crate::language::values::http::{self, HostPattern};
use crate::model::certificate::{CERT, CERTIFICATE_EXPECTED, CertificateFiles, Certificates, KEY, PEM};
use crate::model::route::{ACTIONS, ROUTE, RouteNode};
use crate::table::convert::{self, list};
use crate::table::fields::Fields;
use crate::table::form::Form;
use crate::table::section::Default::{Unset, Value};
use crate::table::section::{Key, Kind, Section, joined, key, length};

/// What only a site has, or has in another sense than a route.
pub(crate) const SITE_OWN: &[Key] = &[
    key("name", Kind::Text, Unset("written from its hosts"), "Its name; names of its routes begin with it."),
    key(
        "hosts",
        Kind::List(&Kind::Text),
        Value("[]"),
        "Hosts of its routes, \"example.com\" or \"*.example.com\"; none means any.",
    ),
    key("listeners", Kind::List(&Kind::Text), Value("[]"), "Names of the listeners it holds for; none means all."),
    key(
        "tls",
        Kind::Table(&SITE_TLS),
        Unset("none"),
        "Certificates for its hosts, shown at those of its listeners that have `tls`.",
    ),
    key(
        "route",
        Kind::List(&Kind::Table(&ROUTE)),
        Value("[]"),
        "Its routes, [[site.route]]; without any, the site is one route itself.",
    ),
];

pub(crate) const SITE: Section = Section {
    keys: &KEYS,
    ..Section::new(
        "site",
        "[[site]]",
        "Hosts with everything that belongs to them. Its routes inherit every key of a route that it has.",
    )
};

const SITE_TLS: Section = Section {
    keys: &[
        key(
            "certificates",
            Certificates::KIND,
            Value("[]"),
            "Certificates; several for one name, such as ECDSA and RSA, are tried in this order.",
        ),
        CERT,
        KEY,
        PEM,
    ],
    ..Section::new("site_tls", "`site.tls`", "Certificates of a site.")
};

/// A site's own keys, then a route's others.
const KEYS: [Key; length(PARTS)] = joined(PARTS);
const PARTS: &[&[Key]] = &[SITE_OWN, ROUTE.keys];

/// What of a site is more than its routes.
pub(crate) struct SiteWritten {
    /// Its name, if it has one.
    pub(crate) name: Option<(String, Span)>,
    pub(crate) hosts: Vec<(HostPattern, Span)>,
    pub(crate) listeners: Vec<(String, Span)>,
    pub(crate) certificates: Vec<CertificateFiles>,
    pub(crate) tls_span: Option<Span>,
    pub(crate) span: Span,
}

/// Every site that could be read, `false` if one could not; and the routes of all of them.
pub(crate) fn sites(
    report: &mut Report,
    nodes: &[Node],
    defaults: &Table,
) -> ((Vec<SiteWritten>, bool), Vec<RouteNode>) {
    let mut routes = Vec::new();
    let read: Vec<_> = nodes.iter().map(|node| site(report, node, defaults, &mut routes)).collect();
    let whole = read.iter().all(Option::is_some);
    ((read.into_iter().flatten().collect(), whole), routes)
}

fn site(report: &mut Report, node: &Node, defaults: &Table, routes: &mut Vec<RouteNode>) -> Option<SiteWritten> {
    let fields = Fields::open(report, node, &SITE)?;
    let table = node.table()?;
    let name = fields.maybe(report, "name", |report, node| Some((convert::name(report, node)?, node.span)));
    let host = |report: &mut Report, node: &Node| {
        Some((convert::read(report, node, "a host", http::host_pattern)?, node.span))
    };
    let hosts = fields.get(report, "hosts", list(host));
    let listener = |report: &mut Report, node: &Node| Some((convert::text(report, node)?, node.span));
    let listeners = fields.get(report, "listeners", list(listener));
    let certificates = fields.maybe(report, "tls", |report, node| {
        let fields = Fields::open(report, node, &SITE_TLS)?;
        let certificates = Certificates::field(report, &fields, "certificates");
        fields.done();
        let certificates = certificates?;
        if certificates.is_empty() {
            report.error(node.span, "`tls` of a site names no certificate").expected(CERTIFICATE_EXPECTED);
            return None;
        }
        Some(certificates)
    });
    let tls_span = fields.entry("tls").map(|entry| entry.key_span);
    // Everything else is read with the routes.
    for key in SITE.built() {
        fields.entry(key.name);
    }
    fields.done();
    let (name, hosts, listeners) = (name?, hosts?, listeners?);
    let of = Inherited::new(table, defaults);
    match table.find("route").map(|entry| &entry.node) {
        None if ACTIONS.iter().any(|action| table.find(action).is_some()) => {
            let mut own = Table { entries: of.shared.clone() };
            of.add_place(&mut own);
            inherit(&mut own, defaults);
            routes
                .push((Node { span: node.span, value: tree::Value::Table(own) }, name.as_ref().map(|it| it.0.clone())));
        }
        None => {
            report
                .error(node.span, "the site does nothing")
                .expected("[[site.route]], or one of `cluster`, `redirect`, `respond`, `files` for all that comes")
                .help("write cluster = \"NAME\" to forward to [cluster.NAME]");
            return None;
        }
        Some(Node { value: tree::Value::List(nodes), .. }) => {
            for node in nodes {
                let mut node = node.clone();
                if let tree::Value::Table(own) = &mut node.value {
                    within(report, own, &hosts, &listeners);
                    of.add_place(own);
                    inherit(own, &of.base);
                }
                routes.push((node, name.as_ref().map(|it| it.0.clone())));
            }
        }
        Some(node) => {
            report.error(node.span, "`route` is a list of tables").help("write [[site.route]] with double brackets");
            return None;
        }
    }
    let certificates = certificates?.unwrap_or_default();
    Some(SiteWritten { name, hosts, listeners, certificates, tls_span, span: node.span })
}

/// What a site's routes get from it.
struct Inherited {
    /// The site's own entries that are a route's.
    shared: Vec<Entry>,
    /// The same with `[defaults.route]` below it.
    base: Table,
    hosts: Option<Entry>,
    listeners: Option<Entry>,
}

impl Inherited {
    fn new(site: &Table, defaults: &Table) -> Self {
        let is_shared = |entry: &&Entry| {
            ROUTE.find(&entry.key).is_some() && !["name", "hosts", "listeners"].contains(&entry.key.as_str())
        };
        let shared: Vec<Entry> = site.entries.iter().filter(is_shared).cloned().collect();
        let mut base = Table { entries: shared.clone() };
        let mut defaults = defaults.clone();
        // The nearer action counts; two inherited ones would contradict each other.
        if ACTIONS.iter().any(|action| base.find(action).is_some()) {
            defaults.entries.retain(|entry| !ACTIONS.contains(&entry.key.as_str()));
        }
        inherit(&mut base, &defaults);
        let own = |key: &str| site.find(key).map(|entry| Entry { inherited: true, ..entry.clone() });
        Self { shared, base, hosts: own("hosts"), listeners: own("listeners") }
    }

    /// The hosts and listeners of a route that names none.
    fn add_place(&self, route: &mut Table) {
        for (key, entry) in [("hosts", &self.hosts), ("listeners", &self.listeners)] {
            if let (None, Some(entry)) = (route.find(key), entry) {
                route.entries.push(entry.clone());
            }
        }
    }
}

/// A route may narrow the hosts and listeners of its site, not leave them.
fn within(report: &mut Report, route: &Table, hosts: &[(HostPattern, Span)], listeners: &[(String, Span)]) {
    let texts = |key: &str| {
        let nodes = match route.find(key).map(|entry| &entry.node.value) {
            Some(tree::Value::List(nodes)) => nodes.as_slice(),
            _ => &[],
        };
        nodes.iter().filter_map(|node| Some((node.text()?.to_owned(), node.span)))
    };
    for (text, span) in texts("hosts") {
        // One that is no host is reported with the route.
        let Ok(host) = http::host_pattern(&text) else { continue };
        if !hosts.is_empty() && !hosts.iter().any(|(of, _)| covers(of, &host)) {
            let site = hosts.first().map_or(span, |(_, span)| *span);
            report
                .error(span, format!("`{}` is no host of the site", text.escape_debug()))
                .help("add it to the `hosts` of the site, or write a [[route]] of its own")
                .related("the hosts of the site", site);
        }
    }
    for (text, span) in texts("listeners") {
        if !listeners.is_empty() && !listeners.iter().any(|(name, _)| *name == text) {
            let site = listeners.first().map_or(span, |(_, span)| *span);
            report
                .error(span, format!("`{}` is no listener of the site", text.escape_debug()))
                .help("add it to the `listeners` of the site, or write a [[route]] of its own")
                .related("the listeners of the site", site);
        }
    }
}

/// Whether every host that `inner` takes is one that `outer` takes.
fn covers(outer: &HostPattern, inner: &HostPattern) -> bool {
    match (outer, inner) {
        (HostPattern::Exact(outer), HostPattern::Exact(inner)) => outer == inner,
        (HostPattern::Exact(_), HostPattern::Wildcard(_)) => false,
        (HostPattern::Wildcard(tail), HostPattern::Exact(host) | HostPattern::Wildcard(host)) => {
            host.ends_with(&**tail) && (host.len() > tail.len() || outer == inner)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pattern_covers_what_it_takes() {
        let pattern = |text: &str| http::host_pattern(text).unwrap();
        for (outer, inner, expected) in [
            ("a.test", "a.test", true),
            ("a.test", "b.test", false),
            ("*.test", "a.test", true),
            ("*.test", "*.a.test", true),
            ("*.test", "*.test", true),
            ("*.a.test", "*.test", false),
            ("*.a.test", "a.test", false),
            ("a.test", "*.a.test", false),
        ] {
            assert_eq!(covers(&pattern(outer), &pattern(inner)), expected, "{outer} {inner}");
        }
    }
}
