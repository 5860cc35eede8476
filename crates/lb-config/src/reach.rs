//! Routes that are valid, and that requests do not reach as one would think.

use crate::language::diagnostic::Report;
use crate::language::values::http::{HostPattern, PathPattern};
use crate::model::listener::{Listener, ListenerWritten};
use crate::model::route::{Action, Match, Route, RouteWritten};

/// Where a certificate authority looks for what certbot's webroot has (RFC 8555 §8.3), over plain HTTP.
const CHALLENGES: &str = "/.well-known/acme-challenge";

/// A listener that redirects to https asks only the routes that name it, so one without `listeners` may be reached from
/// nowhere, or not from where it must be.
pub(crate) fn warn_if_redirected(
    report: &mut Report,
    written: &RouteWritten,
    matcher: &Match,
    listeners: &[ListenerWritten],
) {
    let Some(redirecting) = listeners.iter().map(|it| &it.listener).find(|listener| redirects_all(listener)) else {
        return;
    };
    let help = format!("write listeners = [\"{}\"] in the route", redirecting.name);
    if listeners.iter().all(|written| redirects_all(&written.listener)) {
        report
            .warning(written.span, "no listener serves the route: each redirects what no route takes that names it")
            .help(help);
        return;
    }
    let is_challenge = match &matcher.path {
        PathPattern::Prefix(path) | PathPattern::Exact(path) => path.starts_with(CHALLENGES),
        PathPattern::Regex(_) => false,
    };
    if is_challenge {
        let message = format!(
            "the listener `{}` redirects before it asks this route, and certificate authorities ask there",
            redirecting.name
        );
        report.warning(written.span, message).help(help);
    }
}

/// Whether nothing that comes in here is over https, in the client's eyes.
fn redirects_all(listener: &Listener) -> bool {
    listener.redirect_https && listener.tls.is_none() && listener.trusted_proxies.is_empty()
}

/// An exact path looks as if it came before everything, but the host counts first: a route for a host that takes the
/// path as well hides one without hosts.
pub(crate) fn warn_of_hidden(report: &mut Report, routes: &[(Route, RouteWritten)]) {
    for (route, written) in routes {
        let PathPattern::Exact(path) = &route.matcher.path else { continue };
        if !route.matcher.hosts.is_empty() {
            continue;
        }
        let hides = |other: &Match| {
            let takes = match &other.path {
                PathPattern::Prefix(prefix) => {
                    path.strip_prefix(&**prefix).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
                }
                PathPattern::Regex(regex) => regex.is_match(path),
                // Of the same path, so its author knows.
                PathPattern::Exact(_) => false,
            };
            takes
                && meet(&route.matcher, other)
                && !other.hosts.is_empty()
                && other.methods.is_empty()
                && other.headers.is_empty()
        };
        if let Some((_, other)) = routes.iter().find(|(other, _)| hides(&other.matcher)) {
            report
                .warning(
                    written.span,
                    format!("`{path}` is only taken for other hosts: the host counts before the path"),
                )
                .help("write `hosts` here as well, if it is meant for them")
                .related("this route takes it for its hosts", other.span);
        }
    }
}

/// A route without hosts that refuses or limits requests by their path looks as if it held for every host. For a host with
/// routes of its own it holds only as far as none of them takes the path.
pub(crate) fn warn_of_bypassed(report: &mut Report, routes: &[(Route, RouteWritten)]) {
    for (guard, written) in routes.iter().filter(|(route, _)| is_guard(route)) {
        let covers = |other: &Match| match (&other.path, &guard.matcher.path) {
            (PathPattern::Prefix(wide), PathPattern::Prefix(path)) => {
                path.strip_prefix(&**wide).is_some_and(|rest| rest.starts_with('/'))
            }
            (PathPattern::Prefix(wide), PathPattern::Regex(_)) => wide.is_empty(),
            _ => false,
        };
        let bypasses = |other: &Match| {
            covers(other) && meet(&guard.matcher, other) && other.methods.is_empty() && other.headers.is_empty()
        };
        // A host with a route for this very path is one that its author has thought of.
        let has_own = |host: &HostPattern| {
            routes.iter().any(|(own, _)| own.matcher.hosts.contains(host) && own.matcher.path == guard.matcher.path)
        };
        let found = routes
            .iter()
            .filter(|(other, _)| bypasses(&other.matcher))
            .find_map(|(other, place)| Some((other.matcher.hosts.iter().find(|host| !has_own(host))?, place)));
        if let Some((host, other)) = found {
            let path = &written.path;
            report
                .warning(
                    written.span,
                    format!("`{path}` of `{host}` is not taken by this route: the host counts before the path"),
                )
                .help("write `hosts` here, or a route with this path for that host as well")
                .related("this route takes it for its hosts", other.span);
        }
    }
}

/// Whether a route refuses or limits what comes to a part of every host, or from some networks.
fn is_guard(route: &Route) -> bool {
    let refuses = matches!(&route.action, Action::Respond(respond) if respond.status >= 400);
    // Exact paths are looked after above, whatever the route does.
    let by_path = match &route.matcher.path {
        PathPattern::Prefix(path) => !path.is_empty(),
        PathPattern::Regex(_) => true,
        PathPattern::Exact(_) => false,
    };
    by_path
        && route.matcher.hosts.is_empty()
        && (refuses
            || !route.options.rate_limits.is_empty()
            || route.options.allow.is_some()
            || !route.options.deny.is_empty())
}

/// Whether some listener has both.
fn meet(a: &Match, b: &Match) -> bool {
    let (a, b) = (&a.listeners, &b.listeners);
    a.is_empty() || b.is_empty() || a.iter().any(|at| b.contains(at))
}
