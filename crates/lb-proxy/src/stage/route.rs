//! Route: which rule of the configuration takes the request.

use crate::exchange::visit::Visit;
use crate::rules::answer::Answer;
use crate::rules::cause::Cause;
use crate::rules::forwarded::Scheme;
use crate::rules::{redirect, router};
use crate::runtime::snapshot::{Deed, RouteRuntime};
use crate::stage::outgoing::Outgoing;

/// What is to become of a request.
pub(crate) enum Routed {
    /// The route at this place takes it.
    Matched(usize),
    /// None does; this is our answer.
    Answer(Box<Outgoing>),
}

/// Finds the route.
pub(crate) fn route(visit: &Visit) -> Routed {
    let shared = &visit.snapshot.shared;
    if visit.is_misdirected() {
        return Routed::Answer(Box::new(visit.refusal(Cause::Misdirected, None)));
    }
    // Behind a trusted proxy that ended TLS the client is where it should be.
    let redirects = visit.listener().redirect_https && visit.origin.scheme == Scheme::Http;
    let routed = match redirects {
        true if visit.head.is_connect() => router::Routed::NotFound,
        true => shared.router.route_named(visit.listener, &visit.head),
        false if visit.head.is_connect() => {
            return Routed::Answer(Box::new(visit.refusal(Cause::NotImplemented, None)));
        }
        false => shared.router.route(visit.listener, &visit.head),
    };
    Routed::Answer(Box::new(match routed {
        router::Routed::Matched(index) => return Routed::Matched(index),
        _ if redirects => visit.own(redirect::write_https(&visit.head, &visit.origin, shared.https_port)),
        router::Routed::MethodNotAllowed { allow } => {
            let answer = Answer::new(Cause::MethodNotAllowed).allow(&allow);
            visit.answer(answer, Cause::MethodNotAllowed, None)
        }
        router::Routed::NotFound => {
            if tracing::enabled!(tracing::Level::DEBUG) {
                log_what_there_is(visit);
            }
            visit.refusal(Cause::NoRoute, None)
        }
        router::Routed::BadPath(error) => visit.refusal(Cause::BadPath, Some(error.to_string())),
    }))
}

/// Our own answer where the route asks for one; `None` where an endpoint is to answer.
pub(crate) fn own_answer(visit: &Visit, route: &RouteRuntime) -> Option<Box<Outgoing>> {
    let shared = &visit.snapshot.shared;
    let answer = match &route.deed {
        Deed::Forward(_) => return None,
        Deed::Redirect(redirect) => {
            let pattern = &shared.config.routes[route.index].matcher.path;
            redirect::write(redirect, pattern, &visit.facts(Some(route)), shared.https_port)
        }
        // A header that outgrew all measure.
        Deed::Respond(responder) => responder.write(&visit.facts(Some(route))).map_err(|_| Cause::Internal),
    };
    Some(Box::new(visit.own(answer)))
}

/// The usual reason of a 404 is a route with `hosts`, asked by another name or by address.
#[cold]
fn log_what_there_is(visit: &Visit) {
    /// Hosts that one line lists.
    const LISTED: usize = 20;
    let config = &visit.snapshot.shared.config;
    let mut hosts: Vec<String> = Vec::new();
    for matcher in config.routes.iter().map(|route| &route.matcher) {
        if matcher.listeners.is_empty() || matcher.listeners.contains(&visit.listener) {
            hosts.extend(matcher.hosts.iter().map(ToString::to_string));
            if matcher.hosts.is_empty() {
                hosts.push("any host".to_owned());
            }
        }
    }
    hosts.sort_unstable();
    hosts.dedup();
    let more = hosts.len().saturating_sub(LISTED);
    hosts.truncate(LISTED);
    let more = if more > 0 { format!(" and {more} more") } else { String::new() };
    tracing::debug!(
        "no route host={} path={} listener={}: its routes are for {}{more}",
        visit.head.host_name().unwrap_or_default().escape_ascii(),
        visit.head.path().escape_ascii(),
        visit.listener().name,
        hosts.join(", ")
    );
}
