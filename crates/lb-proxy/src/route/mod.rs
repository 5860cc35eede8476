//! Route: which rule of the configuration takes the request.

use crate::exchange::{Exchange, Response};
use crate::rules::answer::Answer;
use crate::rules::cause::Cause;
use crate::rules::forwarded::Scheme;
use crate::rules::{redirect, router};

/// What is to become of a request.
pub(crate) enum Routed {
    /// The route at this place takes it.
    Matched(usize),
    /// None does; this is our answer.
    Answer(Box<Response>),
}

/// Finds the route.
pub(crate) fn route(exchange: &Exchange) -> Routed {
    let shared = &exchange.snapshot.shared;
    if exchange.is_misdirected() {
        return Routed::Answer(exchange.refusal(Cause::Misdirected, None));
    }
    // Behind a trusted proxy that ended TLS the client is where it should be.
    let redirects = exchange.listener().redirect_https && exchange.origin.scheme == Scheme::Http;
    let routed = match redirects {
        true if exchange.head.is_connect() => router::Routed::NotFound,
        true => shared.router.route_named(exchange.listener, &exchange.head),
        false if exchange.head.is_connect() => {
            return Routed::Answer(exchange.refusal(Cause::NotImplemented, None));
        }
        false => shared.router.route(exchange.listener, &exchange.head),
    };
    Routed::Answer(match routed {
        router::Routed::Matched(index) => return Routed::Matched(index),
        _ if redirects => exchange.own(redirect::write_https(&exchange.head, &exchange.origin, shared.https_port)),
        router::Routed::MethodNotAllowed { allow } => {
            let answer = Answer::new(Cause::MethodNotAllowed).allow(&allow);
            exchange.answer(answer, Cause::MethodNotAllowed, None)
        }
        router::Routed::NotFound => {
            if tracing::enabled!(tracing::Level::DEBUG) {
                log_what_there_is(exchange);
            }
            exchange.refusal(Cause::NoRoute, None)
        }
        router::Routed::BadPath(error) => exchange.refusal(Cause::BadPath, Some(error.to_string())),
    })
}

/// The usual reason of a 404 is a route with `hosts`, asked by another name or by address.
#[cold]
fn log_what_there_is(exchange: &Exchange) {
    /// Hosts that one line lists.
    const LISTED: usize = 20;
    let config = &exchange.snapshot.shared.config;
    let mut hosts: Vec<String> = Vec::new();
    for matcher in config.routes.iter().map(|route| &route.matcher) {
        if matcher.listeners.is_empty() || matcher.listeners.contains(&exchange.listener) {
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
        exchange.head.host_name().unwrap_or_default().escape_ascii(),
        exchange.head.path().escape_ascii(),
        exchange.listener().name,
        hosts.join(", ")
    );
}
