//! Joining the parts: names become positions, and what only shows across parts is checked.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

use crate::language::diagnostic::Report;
use crate::language::source::Span;
use crate::language::suggest::{nearest, one_of};
use crate::language::values::address::ListenAddress;
use crate::language::values::http::{HostPattern, PathPattern};
use crate::model::auth::{Auth, ForwardAuth};
use crate::model::cluster::{Cluster, ClusterWritten};
use crate::model::config::{Config, Global, OwnRequests};
use crate::model::listener::{Listener, ListenerWritten};
use crate::model::rate_limit::{self, RateLimit};
use crate::model::route::{Action, ActionWritten, Match, Route, RouteWritten, unwritten_options};
use crate::model::site::SiteWritten;
use crate::reach;

/// The start of the main file, for what is missing altogether.
const START: Span = Span { file: 0, start: 0, end: 0 };

pub(crate) fn link(
    report: &mut Report,
    global: Option<Global>,
    (mut listeners, listeners_whole): (Vec<ListenerWritten>, bool),
    (clusters, clusters_whole): (Vec<ClusterWritten>, bool),
    cluster_names: &[String],
    (sites, sites_whole): (Vec<SiteWritten>, bool),
    (routes, routes_whole): (Vec<RouteWritten>, bool),
) -> Option<Config> {
    let routes_whole = routes_whole && sites_whole;
    check_listeners(report, &listeners, global.as_ref());
    crate::sites::check(report, &sites);
    crate::sites::place_certificates(report, (&mut listeners, listeners_whole), (&sites, sites_whole));
    check_clusters(report, &clusters);
    if listeners.is_empty() && listeners_whole {
        report
            .error(START, "there is no listener")
            .expected("at least one [[listener]]")
            .help("add [[listener]] and below it address = \"0.0.0.0:80\"");
    }
    if routes.is_empty() && routes_whole && listeners.iter().any(|listener| !listener.listener.redirect_https) {
        report
            .error(START, "there is no route: every request would get a 404")
            .expected("at least one [[route]] or [[site]]")
            .help("add [[route]] and below it cluster = \"NAME\"");
    }
    let names: Vec<Arc<str>> = listeners.iter().map(|listener| Arc::clone(&listener.listener.name)).collect();
    let mut linker = Linker { report, listeners: &listeners, listener_names: &names, listeners_whole, cluster_names };
    let linked: Vec<Option<(Route, RouteWritten)>> = routes.into_iter().map(|route| linker.route(route)).collect();
    let linked = linked.into_iter().collect::<Option<Vec<_>>>();
    if let Some(linked) = &linked {
        check_names(report, linked);
        check_ties(report, linked, &listeners);
        reach::warn_of_hidden(report, linked);
        reach::warn_of_bypassed(report, linked);
        check_unused(report, linked, &clusters, clusters_whole && routes_whole);
    }
    let Global { networks, workers, grace, zone, admin, log, limits, errors } = global?;
    let mut routes = unique_names(linked?);
    for (route, written) in &mut routes {
        if !written.has_body_limit {
            route.options.body_limit = limits.request_body_bytes;
        }
        rate_limit::name_after(&mut route.options.rate_limits, &route.name);
    }
    let of_routes = routes.iter().map(|(route, written)| (&route.options.rate_limits, &written.rate_limits));
    let of_listeners = listeners.iter().map(|written| (&written.listener.rate_limits, &written.rate_limits));
    let of_clusters = clusters.iter().map(|written| (&written.cluster.rate_limits, &written.rate_limits));
    check_limits(report, of_routes.chain(of_listeners).chain(of_clusters));
    if !(listeners_whole && clusters_whole && routes_whole) {
        return None;
    }
    let own_requests = OwnRequests { clusters: own_requests_to(&routes), options: unwritten_options()? };
    Some(Config {
        workers,
        grace,
        networks,
        zone,
        admin,
        log,
        limits,
        errors,
        listeners: listeners.into_iter().map(|written| written.listener).collect(),
        routes: routes.into_iter().map(|(route, _)| route).collect(),
        clusters: clusters.into_iter().map(|written| written.cluster).collect::<Vec<Cluster>>(),
        own_requests,
    })
}

/// The services that a route asks.
fn services(route: &Route) -> impl Iterator<Item = &ForwardAuth> {
    route.options.auth.iter().filter_map(|auth| match auth {
        Auth::Forward(forward) => Some(forward),
        Auth::Basic(_) | Auth::Jwt(_) => None,
    })
}

/// The clusters that lbproxy itself sends requests to.
fn own_requests_to(routes: &[(Route, RouteWritten)]) -> Vec<usize> {
    let mut clusters: Vec<usize> =
        routes.iter().flat_map(|(route, _)| services(route)).map(|service| service.cluster).collect();
    clusters.sort_unstable();
    clusters.dedup();
    clusters
}

/// Names are unique, and two sockets cannot be bound to one address.
fn check_listeners(report: &mut Report, listeners: &[ListenerWritten], global: Option<&Global>) {
    for (at, listener) in listeners.iter().enumerate() {
        for earlier in &listeners[..at] {
            if collide(&listener.listener.address, &earlier.listener.address) {
                let (mine, theirs) = (&listener.listener.address, &earlier.listener.address);
                report
                    .error(listener.address_span, format!("`{mine}` cannot be bound beside `{theirs}`"))
                    .related("the other listener", earlier.address_span);
            } else if listener.listener.address == earlier.listener.address {
                // Port 0. A reload knows a listener again by its address.
                let address = &listener.listener.address;
                report
                    .error(listener.address_span, format!("two listeners on `{address}` cannot be distinguished"))
                    .help("give one of them a port, or another address of this machine")
                    .related("the other listener", earlier.address_span);
            } else if listener.listener.name == earlier.listener.name {
                report
                    .error(listener.name_span, format!("two listeners are named `{}`", listener.listener.name))
                    .related("the other one", earlier.name_span);
            }
        }
        let admin = global.and_then(|global| global.admin.as_ref());
        if let Some(admin) = admin.filter(|admin| collide(&listener.listener.address, &admin.address)) {
            let (mine, theirs) = (&listener.listener.address, &admin.address);
            report.error(
                listener.address_span,
                format!("`{mine}` cannot be bound beside the admin listener's `{theirs}`"),
            );
        }
    }
}

/// Whether the kernel would refuse the second of the two. Port 0 is another port each time. An IPv4 and an IPv6
/// wildcard are let pass, since a listener on `[::]` is IPv6 only.
fn collide(a: &ListenAddress, b: &ListenAddress) -> bool {
    match (a, b) {
        (ListenAddress::Tcp(a), ListenAddress::Tcp(b)) => {
            let family = matches!((a.ip(), b.ip()), (IpAddr::V4(_), IpAddr::V4(_)) | (IpAddr::V6(_), IpAddr::V6(_)));
            let overlap = a.ip() == b.ip() || a.ip().is_unspecified() || b.ip().is_unspecified();
            a.port() != 0 && a.port() == b.port() && family && overlap
        }
        (ListenAddress::Unix(a), ListenAddress::Unix(b)) => a == b,
        _ => false,
    }
}

/// One file cannot name a cluster twice, but two files can.
fn check_clusters(report: &mut Report, clusters: &[ClusterWritten]) {
    for (at, cluster) in clusters.iter().enumerate() {
        if let Some(earlier) = clusters[..at].iter().find(|earlier| earlier.cluster.name == cluster.cluster.name) {
            report
                .error(cluster.name_span, format!("two clusters are named `{}`", cluster.cluster.name))
                .related("the other one", earlier.name_span);
        }
    }
}

struct Linker<'a> {
    report: &'a mut Report,
    listeners: &'a [ListenerWritten],
    listener_names: &'a [Arc<str>],
    listeners_whole: bool,
    cluster_names: &'a [String],
}

impl Linker<'_> {
    /// Resolves the names in a route. Its own name is still what was written, or empty.
    fn route(&mut self, mut written: RouteWritten) -> Option<(Route, RouteWritten)> {
        let listeners: Vec<Option<usize>> =
            written.listeners.iter().map(|(name, span)| self.listener(name, *span)).collect();
        let action = match &written.action {
            ActionWritten::Cluster(name, span) => self.cluster(name, *span).map(Action::Cluster),
            ActionWritten::Redirect(redirect) => Some(Action::Redirect(redirect.clone())),
            ActionWritten::Respond(respond) => Some(Action::Respond(respond.clone())),
            ActionWritten::Files(files) => Some(Action::Files(files.clone())),
        };
        let mut matcher = std::mem::take(&mut written.matcher);
        matcher.listeners = listeners.into_iter().collect::<Option<Vec<_>>>()?;
        if matcher.listeners.is_empty() {
            reach::warn_if_redirected(self.report, &written, &matcher, self.listeners);
        }
        let name = written.name.clone().unwrap_or_default().into();
        let mut options = written.options.clone();
        let services = options.auth.iter_mut().filter_map(Auth::service);
        let resolved: Vec<Option<()>> = services
            .zip(&written.auth_clusters)
            .map(|(service, span)| self.cluster(&service.cluster_name, *span).map(|cluster| service.cluster = cluster))
            .collect();
        resolved.into_iter().collect::<Option<Vec<_>>>()?;
        Some((Route { name, matcher, action: action?, options }, written))
    }

    fn listener(&mut self, name: &str, span: Span) -> Option<usize> {
        let found = self.listener_names.iter().position(|known| **known == *name);
        // Where a listener could not be read, its name is not known to be missing.
        if found.is_none() && self.listeners_whole {
            let known = self.listener_names.iter().map(|name| &**name);
            unknown_name(self.report, span, "listener", name, known);
        }
        found
    }

    fn cluster(&mut self, name: &str, span: Span) -> Option<usize> {
        let found = self.cluster_names.iter().position(|known| known == name);
        if found.is_none() {
            unknown_name(self.report, span, "cluster", name, self.cluster_names.iter().map(String::as_str));
        }
        found
    }
}

fn unknown_name<'n>(
    report: &mut Report,
    span: Span,
    what: &str,
    name: &str,
    known: impl Iterator<Item = &'n str> + Clone,
) {
    let listed: Vec<String> = known.clone().take(20).map(|name| format!("`{name}`")).collect();
    let problem = report.error(span, format!("there is no {what} `{}`", name.escape_debug()));
    match (listed.is_empty(), what) {
        (true, "cluster") => problem.help(format!("add [cluster.{name}] with its `endpoints`")),
        (true, _) => problem,
        (false, _) => problem.expected(one_of(&listed)),
    };
    if let Some(near) = nearest(name, known) {
        problem.help(format!("did you mean `{near}`?"));
    }
}

/// Names that were given are unique, since logs and metrics use them.
fn check_names(report: &mut Report, routes: &[(Route, RouteWritten)]) {
    let mut seen: BTreeMap<&str, Span> = BTreeMap::new();
    for (_, written) in routes {
        let Some(name) = &written.name else { continue };
        if let Some(first) = seen.get(name.as_str()) {
            report.error(written.name_span, format!("two routes are named `{name}`")).related("the other one", *first);
        } else {
            seen.insert(name, written.name_span);
        }
    }
}

/// Names for the routes that have none: written from the match, numbered where that is not enough.
fn unique_names(routes: Vec<(Route, RouteWritten)>) -> Vec<(Route, RouteWritten)> {
    let mut taken: Vec<Arc<str>> = routes.iter().map(|(route, _)| Arc::clone(&route.name)).collect();
    routes
        .into_iter()
        .map(|(mut route, written)| {
            if written.name.is_none() {
                let base = described(&route.matcher, written.site.as_deref(), &written.path);
                let mut numbered = (2..).map(|number| format!("{base}#{number}"));
                let mut name = base.clone();
                while taken.iter().any(|taken| **taken == *name) {
                    name = numbered.next().unwrap_or_default();
                }
                route.name = name.into();
                taken.push(Arc::clone(&route.name));
            }
            (route, written)
        })
        .collect()
}

/// `example.com/api/`, `example.com+1/api/@POST`, `/@x-env`; of a site with a name, `shop/api/`.
fn described(matcher: &Match, site: Option<&str>, path: &str) -> String {
    let host = match matcher.hosts.first() {
        _ if site.is_some() => site.unwrap_or_default(),
        None => "",
        Some(HostPattern::Exact(host)) => host,
        Some(HostPattern::Wildcard(host)) => &format!("*{host}"),
    };
    let more = match matcher.hosts.len() {
        _ if site.is_some() => String::new(),
        0 | 1 => String::new(),
        hosts => format!("+{}", hosts - 1),
    };
    let methods: Vec<&str> = matcher.methods.iter().map(|method| &**method).collect();
    let headers: Vec<&str> = matcher.headers.iter().map(|(name, _)| &**name).collect();
    let mut name = format!("{host}{more}{path}");
    for named in [methods.join(","), headers.join(",")].into_iter().filter(|named| !named.is_empty()) {
        name.push('@');
        name.push_str(&named);
    }
    // A regex may hold spaces; a name in a log line may not.
    name.chars().map(|char| if char.is_whitespace() || char.is_control() { '_' } else { char }).take(200).collect()
}

/// Two routes with equal precedence are an error: one of them would never be used.
fn check_ties(report: &mut Report, routes: &[(Route, RouteWritten)], listeners: &[ListenerWritten]) {
    let mut by_path: BTreeMap<(u8, &str), Vec<usize>> = BTreeMap::new();
    for (at, (route, _)) in routes.iter().enumerate() {
        by_path.entry(path_key(&route.matcher.path)).or_default().push(at);
    }
    for group in by_path.values() {
        for (position, later) in group.iter().enumerate() {
            let earlier = group[..position].iter().find(|earlier| tied(&routes[**earlier].0, &routes[*later].0));
            if let Some(earlier) = earlier {
                let place = shared_listener(&routes[*earlier].0, &routes[*later].0, listeners);
                report
                    .error(routes[*later].1.span, format!("another route takes the same requests{place}"))
                    .help("give one of them another host, path, method or header, or take it out")
                    .related("the other one", routes[*earlier].1.span);
            }
        }
    }
}

fn path_key(path: &PathPattern) -> (u8, &str) {
    match path {
        PathPattern::Exact(path) => (0, path),
        PathPattern::Regex(regex) => (1, regex.as_str()),
        PathPattern::Prefix(path) => (2, path),
    }
}

fn tied(a: &Route, b: &Route) -> bool {
    let (a, b) = (&a.matcher, &b.matcher);
    let headers = |of: &Match, other: &Match| of.headers.iter().all(|header| other.headers.contains(header));
    overlap(&a.hosts, &b.hosts)
        && overlap(&a.methods, &b.methods)
        && headers(a, b)
        && headers(b, a)
        && (a.listeners.is_empty() || b.listeners.is_empty() || overlap(&a.listeners, &b.listeners))
}

/// Whether both name the same thing, or both name nothing.
fn overlap<T: PartialEq>(a: &[T], b: &[T]) -> bool {
    if a.is_empty() || b.is_empty() { a.is_empty() && b.is_empty() } else { a.iter().any(|one| b.contains(one)) }
}

fn shared_listener(a: &Route, b: &Route, listeners: &[ListenerWritten]) -> String {
    let (a, b) = (&a.matcher.listeners, &b.matcher.listeners);
    let shared = a.iter().find(|at| b.is_empty() || b.contains(at)).or_else(|| b.first().filter(|_| a.is_empty()));
    let listener: Option<&Listener> = shared.and_then(|at| listeners.get(*at)).map(|written| &written.listener);
    listener.map_or_else(String::new, |listener| format!(" on the listener `{}`", listener.name))
}

fn check_unused(report: &mut Report, routes: &[(Route, RouteWritten)], clusters: &[ClusterWritten], whole: bool) {
    if !whole {
        return;
    }
    let of_routes = routes.iter().filter_map(|(_, written)| written.action.cluster());
    let of_services = routes.iter().flat_map(|(route, _)| services(route)).map(|service| &*service.cluster_name);
    let names: Vec<&str> = of_routes.chain(of_services).collect();
    for cluster in clusters {
        if !names.contains(&&*cluster.cluster.name) {
            report.warning(cluster.name_span, format!("no route uses the cluster `{}`", cluster.cluster.name));
        }
    }
}

/// Limits of one name share their count, so they must count the same thing.
fn check_limits<'a>(report: &mut Report, parts: impl Iterator<Item = (&'a Vec<RateLimit>, &'a Vec<Span>)>) {
    let mut seen: BTreeMap<&str, (&RateLimit, Span)> = BTreeMap::new();
    for (limit, span) in parts.flat_map(|(limits, spans)| limits.iter().zip(spans)) {
        match seen.get(&*limit.name) {
            Some((first, first_span)) if !limit.counts_as(first) => {
                report
                    .error(*span, format!("rate limits named `{}` must have the same rate and key", limit.name))
                    .expected("the same `key`, `rate`, `burst`, `algorithm`, `quotas` and `memory`, or another `name`")
                    .related("the other one", *first_span);
            }
            Some(_) => {}
            None => {
                seen.insert(&limit.name, (limit, *span));
            }
        }
    }
}
