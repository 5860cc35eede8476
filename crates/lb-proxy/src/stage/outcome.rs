//! Outcome: what became of a request, told once to everybody who counts.
//!
//! Attempts are told apart from requests. [`Watch`] hears of every attempt at an endpoint (for its histogram and for
//! outlier detection); [`close`] counts and logs the request as the client saw it.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use lb_core::{Class, Mono};
use lb_policy::Endpoint;
use lb_tower::{Events, RetryEvents};

use crate::message::name;
use crate::net::clock;
use crate::observe::access_log::Record;
use crate::observe::metrics::RouteMetrics;
use crate::rules::cause::Cause;
use crate::rules::request_id::RequestId;
use crate::snapshot::{RouteRuntime, WorkerSnapshot};
use crate::stage::send::Send;
use crate::stage::visit::{After, Visit};
use crate::worker::Worker;

/// Hears of every attempt of a route.
#[derive(Clone)]
pub(crate) struct Watch {
    /// Of the first listener: retries are counted for the route, whichever listener it was reached by.
    pub(crate) route: Arc<RouteMetrics>,
}

impl Events<Send> for Watch {
    fn on_head(&self, endpoint: &Arc<Endpoint<Send>>, class: Class, elapsed: Duration, _now: Mono) {
        if class != Class::Cancelled {
            endpoint.value().upstream.metrics.on_head(elapsed);
        }
    }
}

impl RetryEvents for Watch {
    fn on_retry(&self, _class: Class, _attempt: u32) {
        self.route.on_retry();
    }
}

/// How a request ended.
pub(crate) struct Outcome {
    pub(crate) status: u16,
    /// Bytes of the response's body, framing included.
    pub(crate) bytes_out: u64,
    pub(crate) cause: Option<Cause>,
    pub(crate) detail: Option<String>,
    pub(crate) after: After,
    /// How a gRPC call ended, if that is known.
    pub(crate) grpc_status: Option<u8>,
}

impl Outcome {
    /// The client went away before there was an answer.
    pub(crate) fn client_gone() -> Self {
        Self { after: After::Gone, ..Self::of(Cause::ClientClosed) }
    }

    /// There was no answer.
    pub(crate) fn of(cause: Cause) -> Self {
        let status = cause.status();
        Self { status, bytes_out: 0, cause: Some(cause), detail: None, after: After::Abort, grpc_status: None }
    }
}

/// A request that is being served. Dropped before its end it was cut short, by the end of the process or by a panic:
/// that too is counted and logged, and what the client has of the answer must not look like the whole.
pub(crate) struct Running<'a> {
    worker: &'a Worker,
    pub(crate) visit: Arc<Visit>,
    is_over: bool,
}

impl<'a> Running<'a> {
    pub(crate) fn new(worker: &'a Worker, visit: Arc<Visit>) -> Self {
        worker.requests.fetch_add(1, Ordering::Relaxed);
        Self { worker, visit, is_over: false }
    }

    /// It ended, and was counted.
    pub(crate) fn ended(mut self, after: After) -> After {
        self.is_over = true;
        after
    }
}

impl Drop for Running<'_> {
    fn drop(&mut self) {
        let worker = self.worker;
        worker.requests.fetch_sub(1, Ordering::Relaxed);
        if self.is_over {
            return;
        }
        let cause = if worker.stopping.is_said() { Cause::ShuttingDown } else { Cause::Internal };
        let (status, bytes_out) = self.visit.client.cut().unwrap_or((cause.status(), 0));
        let outcome = Outcome { status, bytes_out, ..Outcome::of(cause) };
        close(worker, &self.visit, &outcome);
    }
}

/// A rate limit refused the request.
pub(crate) fn on_limited(worker: &Worker, visit: &Visit, route: &RouteRuntime) {
    route.metrics[visit.listener].on_rate_limited();
    let client = visit.origin.arrival.peer.map(|_| visit.origin.client);
    let shared = &worker.shared;
    shared.limit_log.on_limited(client, &route.name, shared.now());
}

/// Counts and logs a request.
pub(crate) fn close(worker: &Worker, visit: &Visit, outcome: &Outcome) -> After {
    let route = visit.route();
    let elapsed = clock::now() - visit.started;
    let attempts = visit.trace.attempts();
    let last = attempts.last.as_ref();
    let metrics = route.map_or(&visit.listener().unrouted, |route| &route.metrics[visit.listener]);
    metrics.on_request(last.map(|last| &*last.endpoint.metrics), outcome.status, elapsed);
    let log = &worker.access_log;
    if log.is_on() && route.is_none_or(|route| route.options.access_log) {
        let cause = outcome.cause.map(|cause| described(cause, outcome.detail.as_deref()));
        log.log(&Record {
            time: clock::wall(),
            client: visit.origin.arrival.peer.map(|_| visit.origin.client),
            method: visit.head.method().as_bytes(),
            path: visit.head.path(),
            query: visit.head.query(),
            status: outcome.status,
            bytes_in: visit.client.received(),
            bytes_out: outcome.bytes_out,
            duration: elapsed,
            upstream: last.and_then(|last| last.took),
            listener: &visit.listener().name,
            route: route.map(|route| &*route.name),
            cluster: route.and_then(RouteRuntime::cluster).map(|cluster| &*cluster.name),
            endpoint: last.map(|last| &*last.endpoint.label),
            attempts: attempts.count,
            cause: cause.as_deref(),
            request_id: visit.id.as_bytes(),
            protocol: visit.head.version().name(),
            grpc_status: outcome.grpc_status,
            user_agent: visit.head.header(name::USER_AGENT),
            referer: visit.head.header("Referer"),
        });
    }
    outcome.after
}

/// Counts and logs what could not be read as a request.
pub(crate) fn close_unread(
    worker: &Worker,
    peer: Option<SocketAddr>,
    snapshot: &WorkerSnapshot,
    listener: usize,
    id: &RequestId,
    (cause, detail): (Cause, Option<&str>),
    elapsed: Duration,
) {
    let listener = &snapshot.shared.listeners[listener];
    listener.unrouted.on_request(None, cause.status(), elapsed);
    let log = &worker.access_log;
    if log.is_on() {
        log.log(&Record {
            time: clock::wall(),
            client: peer.map(|peer| peer.ip().to_canonical()),
            method: b"",
            path: b"",
            query: None,
            status: cause.status(),
            bytes_in: 0,
            bytes_out: 0,
            duration: elapsed,
            upstream: None,
            listener: &listener.name,
            route: None,
            cluster: None,
            endpoint: None,
            attempts: 0,
            cause: Some(&described(cause, detail)),
            request_id: id.as_bytes(),
            protocol: "",
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
