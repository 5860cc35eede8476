//! The end of an exchange, in the metrics and logs.

use std::net::SocketAddr;
use std::time::Duration;

use super::{After, CutBy, Outcome};
use crate::exchange::Exchange;
use crate::message::name;
use crate::net::clock;
use crate::observe::access_log::Record;
use crate::observe::failure_log::Failure;
use crate::rules::cause::Cause;
use crate::rules::request_id::RequestId;
use crate::runtime::snapshot::{ListenerRuntime, RouteRuntime};
use crate::wire::h1::Beginning;
use crate::worker::state::Worker;

/// Counts and logs a request.
pub(crate) fn close(worker: &Worker, exchange: &Exchange, outcome: &Outcome) -> After {
    let route = exchange.route();
    let elapsed = clock::mono().saturating_since(exchange.began);
    let attempts = exchange.trace.attempts();
    let last = attempts.last.as_ref();
    let metrics = route.map_or(&exchange.listener().unrouted, |route| &route.metrics[exchange.listener]);
    metrics.on_request(last.map(|last| &*last.endpoint.metrics), outcome.status, elapsed);
    if let Some(cause) = outcome.cause {
        let failure = Failure {
            cause,
            detail: outcome.detail.as_deref(),
            status: outcome.status,
            is_cut: outcome.cut_by.is_some(),
            is_of_the_client: outcome.cut_by.map_or(cause.is_of_the_client(), |by| by == CutBy::Client),
            listener: &exchange.listener().name,
            route: route.map(|route| &route.name),
            cluster: route.and_then(RouteRuntime::cluster).map(|cluster| &cluster.name),
            endpoint: last.map(|last| &last.endpoint.label),
            request_id: exchange.id.as_str(),
        };
        worker.shared.failure_log.on_failure(&failure, worker.shared.now());
    }
    let log = &worker.access_log;
    if log.is_on() && route.is_none_or(|route| route.options.access_log) {
        let cause = outcome.cause.map(|cause| described(cause, outcome.detail.as_deref()));
        log.log(&Record {
            time: clock::wall(),
            client: exchange.origin.arrival.peer.map(|_| exchange.origin.client),
            user: exchange.user.as_deref(),
            method: exchange.head.method().as_bytes(),
            path: exchange.head.path(),
            query: exchange.head.query(),
            status: outcome.status,
            bytes_in: exchange.client.received(),
            bytes_out: outcome.bytes_out,
            duration: elapsed,
            upstream: last.and_then(|last| last.took),
            listener: &exchange.listener().name,
            route: route.map(|route| &*route.name),
            cluster: route.and_then(RouteRuntime::cluster).map(|cluster| &*cluster.name),
            endpoint: last.map(|last| &*last.endpoint.label),
            attempts: attempts.count,
            cause: cause.as_deref(),
            request_id: exchange.id.as_bytes(),
            protocol: exchange.head.version().name(),
            grpc_status: outcome.grpc_status,
            user_agent: exchange.head.header(name::USER_AGENT),
            referer: exchange.head.header("Referer"),
        });
    }
    outcome.after
}

/// What could not be read as a request.
pub(crate) struct Unread<'a> {
    pub(crate) peer: Option<SocketAddr>,
    pub(crate) listener: &'a ListenerRuntime,
    pub(crate) cause: Cause,
    pub(crate) detail: Option<&'a str>,
    /// What was read of it.
    pub(crate) beginning: Beginning<'a>,
}

/// Counts and logs what could not be read as a request; it was answered under this id, with a body of so many bytes.
pub(crate) fn close_unread(worker: &Worker, unread: &Unread<'_>, id: &RequestId, bytes_out: u64) {
    let Unread { listener, cause, detail, beginning, .. } = *unread;
    let status = cause.status();
    listener.unrouted.on_request(None, status, Duration::ZERO);
    let failure = Failure {
        cause,
        detail,
        status,
        is_cut: false,
        is_of_the_client: cause.is_of_the_client(),
        listener: &listener.name,
        route: None,
        cluster: None,
        endpoint: None,
        request_id: id.as_str(),
    };
    worker.shared.failure_log.on_failure(&failure, worker.shared.now());
    let log = &worker.access_log;
    if log.is_on() {
        log.log(&Record {
            time: clock::wall(),
            client: unread.peer.map(|peer| peer.ip().to_canonical()),
            user: None,
            method: beginning.method,
            path: beginning.path,
            query: beginning.query,
            status,
            bytes_in: 0,
            bytes_out,
            duration: Duration::ZERO,
            upstream: None,
            listener: &listener.name,
            route: None,
            cluster: None,
            endpoint: None,
            attempts: 0,
            cause: Some(&described(cause, detail)),
            request_id: id.as_bytes(),
            protocol: beginning.protocol,
            grpc_status: None,
            user_agent: None,
            referer: None,
        });
    }
}

fn described(cause: Cause, detail: Option<&str>) -> String {
    match detail {
        Some(detail) => format!("{cause}: {detail}"),
        None => cause.to_string(),
    }
}
