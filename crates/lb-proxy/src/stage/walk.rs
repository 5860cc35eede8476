//! Walk: one request through the stages: route, limit, the tower stack that finds an endpoint, and the response.
//!
//! Every way out ends in [`outcome::close`], where the request is counted and logged.

use std::future::poll_fn;
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use lb_tower::Expiry;
use tokio::time::timeout;
use tower_service::Service;

use crate::downstream::{Client, ClientConnection, HALF_CLOSE_GRACE, RequestBodyState};
use crate::exchange::Exchange;
use crate::exchange::{Request, Response};
use crate::forward::stack::{self, StackError};
use crate::message::RequestHead;
use crate::net::{Timer, clock};
use crate::rules::answer::Answer;
use crate::rules::cause::Cause;
use crate::rules::forwarded::{ForwardedHeaderCache, Origin};
use crate::runtime::snapshot::{RouteRuntime, Snapshot, WorkerSnapshot};
use crate::stage::limit;
use crate::stage::outcome::{self, After, Outcome, Running};
use crate::stage::respond::{ResponseSink, respond};
use crate::stage::route::{self, Routed};
use crate::upstream::Bound;
use crate::worker::state::{Stacks, Worker};

/// The shortest `grpc-timeout` that counts against an endpoint when it fires: a shorter one says more about the client.
const MIN_CHARGED_TIMEOUT: Duration = Duration::from_secs(1);

/// What stays the same for the requests of a connection, as long as its client is not a proxy that we trust.
#[derive(Default)]
pub(crate) struct ConnectionCache {
    /// Where requests come from, under the snapshot of this generation.
    origin: Option<(u64, Origin)>,
    forwarded: Option<Box<ForwardedHeaderCache>>,
}

impl ConnectionCache {
    /// Where a request comes from.
    fn origin(&mut self, of: &ClientConnection, snapshot: &Snapshot, listener: usize, head: &RequestHead) -> Origin {
        if let Some((generation, origin)) = &self.origin
            && *generation == snapshot.generation
        {
            return *origin;
        }
        let origin = Origin::new(of.arrival(), &snapshot.listeners[listener].trusted, head);
        self.origin = (!origin.is_trusted).then_some((snapshot.generation, origin));
        origin
    }
}

/// What is next for a request that has been routed.
pub(crate) enum Next {
    Forward(Request),
    Answer(Box<Response>),
}

/// Everything up to the first wait. Not `async`: what lives here takes no room while an endpoint is waited for.
///
/// `is_multiplexed`: other exchanges run on the client's connection at the same time.
pub(crate) fn prepare(
    worker: &Worker,
    client: Client,
    is_multiplexed: bool,
    cache: &mut ConnectionCache,
    snapshot: &Arc<WorkerSnapshot>,
    listener: usize,
    head: RequestHead,
) -> (Arc<Exchange>, Next) {
    let origin = cache.origin(client.connection(), &snapshot.shared, listener, &head);
    let mut exchange = Exchange::new(client, is_multiplexed, origin, snapshot, listener, head);
    exchange.client.begin(RequestBodyState::new(exchange.head.framing(), None, 0, exchange.head.expects_continue()));
    let route = match route::route(&exchange) {
        Routed::Matched(route) => route,
        Routed::Answer(response) => return (Arc::new(exchange), Next::Answer(response)),
    };
    exchange.route = Some(route);
    let answer = exchange
        .route()
        .and_then(|route| limited(worker, &exchange, route).or_else(|| route::own_answer(&exchange, route)));
    if let Some(response) = answer {
        return (Arc::new(exchange), Next::Answer(response));
    }
    if let Err(cause) = limit::keep_to_upgrades(&mut exchange) {
        let response = exchange.refusal(cause, Some("upgrade_not_allowed".to_owned()));
        return (Arc::new(exchange), Next::Answer(response));
    }
    match limit::admit(&exchange, &mut cache.forwarded) {
        Ok(admitted) => {
            (exchange.edits, exchange.affinity_hint, exchange.hash_key) = admitted;
            let cluster = exchange.route().and_then(RouteRuntime::cluster);
            exchange.bound_affinity = cluster.and_then(|cluster| Bound::affinity_in(&exchange.client, &cluster.name));
            let exchange = Arc::new(exchange);
            (Arc::clone(&exchange), Next::Forward(limit::request(exchange, route)))
        }
        Err(cause) => {
            let response = exchange.refusal(cause, None);
            (Arc::new(exchange), Next::Answer(response))
        }
    }
}

/// Our answer to a request that the limit of its route refuses.
fn limited(worker: &Worker, exchange: &Exchange, route: &RouteRuntime) -> Option<Box<Response>> {
    let retry_after = limit::refused_for(exchange, route)?;
    outcome::on_limited(worker, exchange, route);
    let mut answer = Answer::new(Cause::RateLimited).retry_after(retry_after);
    if let Some(limit) = &route.options.rate_limit {
        answer = answer.status(limit.status);
    }
    Some(exchange.answer(answer, Cause::RateLimited, None))
}

/// Serves a request that has been prepared; what becomes of the connection.
pub(crate) async fn serve(
    sink: &mut impl ResponseSink,
    timer: &mut Timer,
    worker: &Worker,
    stacks: &Stacks,
    (exchange, next): (Arc<Exchange>, Next),
) -> After {
    let running = Running::new(worker, exchange);
    let exchange = &*running.exchange;
    let response = match (next, exchange.grpc_timeout) {
        (Next::Answer(response), _) => Some(response),
        (Next::Forward(request), None) => obtain(exchange, stacks, request).await,
        (Next::Forward(request), Some(grpc_timeout)) => {
            Box::pin(obtain_within(grpc_timeout, exchange, stacks, request)).await
        }
    };
    let outcome = match response {
        Some(response) => respond(sink, timer, exchange, response).await,
        None => Outcome::client_gone(),
    };
    // What the client gives up after it has begun is given up at the same price.
    sink.on_end(outcome.cause != Some(Cause::ClientClosed));
    let after = outcome::close(worker, exchange, &outcome);
    running.ended(after)
}

/// As [`obtain`], for a client that waits no longer than this.
async fn obtain_within(
    grpc_timeout: Duration,
    exchange: &Exchange,
    stacks: &Stacks,
    request: Request,
) -> Option<Box<Response>> {
    let mut call = Box::pin(timeout(grpc_timeout, obtain(exchange, stacks, request)));
    let obtained = call.as_mut().await;
    // Or clients could have endpoints ejected that take no longer than they always do.
    let over = (obtained.is_err() && grpc_timeout >= MIN_CHARGED_TIMEOUT).then(|| Expiry::begin(grpc_timeout));
    drop(call);
    drop(over);
    obtained.unwrap_or_else(|_| Some(exchange.refusal(Cause::TotalTimeout, Some("grpc-timeout".to_owned()))))
}

/// Finds an endpoint and waits for its response head; `None` when the client has gone meanwhile.
async fn obtain(exchange: &Exchange, stacks: &Stacks, request: Request) -> Option<Box<Response>> {
    let stack = exchange.route().and_then(|route| Some((route, stacks.of(route.index)?)));
    let Some((route, call)) = stack.map(|(route, mut stack)| (route, stack.call(request))) else {
        return Some(exchange.refusal(Cause::Internal, None));
    };
    let mut call = pin!(call);
    let watch_from = exchange.started + HALF_CLOSE_GRACE;
    let result = poll_fn(|cx| {
        if let Poll::Ready(result) = call.as_mut().poll(cx) {
            return Poll::Ready(Some(result));
        }
        exchange.client.poll_gone(cx, watch_from).map(|()| None)
    })
    .await;
    Some(match result? {
        Ok(response) => returned(exchange, route, response),
        Err(error) => failed(exchange, &error),
    })
}

/// An endpoint's response, with the edits that the route makes to it.
fn returned(exchange: &Exchange, route: &RouteRuntime, mut response: Box<Response>) -> Box<Response> {
    if let (Some(sticky), Some(held)) = (&route.sticky, &response.held) {
        let affinity = held.endpoint().affinity();
        if sticky.is_due(exchange.affinity_hint, affinity) {
            sticky.write(affinity, clock::unix_ms() / 1000, &mut response.edits);
        }
    }
    response
}

fn failed(exchange: &Exchange, error: &StackError) -> Box<Response> {
    let (cause, detail, retry_after) = stack::refusal_of(error);
    let mut answer = Answer::new(cause);
    if let Some(after) = retry_after {
        answer = answer.retry_after(after);
    }
    exchange.answer(answer, cause, detail)
}
