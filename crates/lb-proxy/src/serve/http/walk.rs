//! Walk: one exchange through the stages: route, filters, the tower stack that finds an endpoint, filters, and the response.
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

use crate::downstream::{Client, HALF_CLOSE_GRACE, RequestBodyState};
use crate::exchange::{Body, ConnectionCache, Exchange, Request, Response};
use crate::filters::{Passed, Step, Wait};
use crate::forward::request;
use crate::forward::stack::{self, StackError};
use crate::message::{RequestHead, Version};
use crate::net::Timer;
use crate::outcome::{self, After, Outcome, Running};
use crate::respond::{ResponseSink, respond};
use crate::route::{self, Routed};
use crate::rules::answer::Answer;
use crate::rules::cause::Cause;
use crate::worker::state::{Stacks, Worker};

/// The shortest `grpc-timeout` that counts against an endpoint when it fires: a shorter one says more about the client.
const MIN_CHARGED_TIMEOUT: Duration = Duration::from_secs(1);

/// What is next for a request whose head was read.
pub(crate) enum Next {
    Forward(Request),
    Answer(Box<Response>),
    /// A filter waits.
    Wait(Wait, Step),
}

/// Everything up to the first wait. Not `async`: what lives here takes no room while an endpoint is waited for.
///
/// `is_multiplexed`: other exchanges run on the client's connection at the same time.
pub(crate) fn prepare(
    stacks: &Stacks,
    client: Client,
    is_multiplexed: bool,
    cache: &mut ConnectionCache,
    listener: usize,
    head: RequestHead,
) -> (Arc<Exchange>, Next) {
    let snapshot = &stacks.snapshot;
    let origin = cache.origin(client.connection(), &snapshot.shared, listener, &head);
    let mut exchange = Exchange::new(client, is_multiplexed, origin, snapshot, listener, head);
    exchange.client.begin(RequestBodyState::new(exchange.head.framing(), None, 0, exchange.head.expects_continue()));
    match route::route(&exchange) {
        Routed::Matched(route) => exchange.route = Some(route),
        Routed::Answer(response) => {
            let refused = stacks.chains.on_unrouted(&mut exchange);
            return (Arc::new(exchange), Next::Answer(refused.unwrap_or(response)));
        }
    }
    exchange.forwarded_cache = std::mem::take(&mut cache.forwarded);
    let passed = stacks.chains.on_request(&mut exchange);
    cache.forwarded = std::mem::take(&mut exchange.forwarded_cache);
    if let Passed::All = passed {
        request::prepare(&mut exchange);
    }
    let exchange = Arc::new(exchange);
    let next = next(&exchange, passed);
    (exchange, next)
}

fn next(exchange: &Arc<Exchange>, passed: Passed) -> Next {
    match (passed, exchange.route) {
        (Passed::All, Some(route)) => Next::Forward(request::request(exchange, route)),
        (Passed::All, None) => Next::Answer(exchange.refusal(Cause::Internal, None)),
        (Passed::Answer(response), _) => Next::Answer(response),
        (Passed::Wait(wait, step), _) => Next::Wait(wait, step),
    }
}

/// Serves a request that has been prepared; what becomes of the connection.
pub(crate) async fn serve(
    sink: &mut impl ResponseSink,
    timer: &mut Timer,
    worker: &Worker,
    stacks: &Stacks,
    (exchange, next): (Arc<Exchange>, Next),
) -> After {
    let mut running = Running::new(worker, exchange);
    let response = match next {
        Next::Answer(response) => Some(response),
        Next::Forward(request) => forward(&running.exchange, stacks, request).await,
        // Boxed: few requests wait for a filter.
        Next::Wait(wait, step) => Box::pin(forward_later(&mut running, stacks, wait, step)).await,
    };
    let exchange = &*running.exchange;
    let outcome = match response {
        Some(mut response) if response.cause != Some(Cause::ClientClosed) => {
            if opens_no_tunnel(exchange, &response) {
                response = exchange.refusal(Cause::InvalidResponse, Some("no_upgrade".to_owned()));
            }
            stacks.chains.on_response(exchange, &mut response);
            respond(sink, timer, exchange, response).await
        }
        _ => Outcome::client_gone(),
    };
    // What the client gives up after it has begun is given up at the same price.
    sink.on_end(outcome.cause != Some(Cause::ClientClosed));
    let after = outcome::close(worker, exchange, &outcome);
    running.ended(after)
}

/// Has filters wait, and then pass or answer the request. `None` when the client has gone meanwhile.
async fn forward_later(
    running: &mut Running<'_>,
    stacks: &Stacks,
    mut wait: Wait,
    mut step: Step,
) -> Option<Box<Response>> {
    loop {
        let resume = {
            let exchange = &running.exchange;
            let watch_from = exchange.started + HALF_CLOSE_GRACE;
            poll_fn(|cx| match wait.as_mut().poll(cx) {
                Poll::Ready(resume) => Poll::Ready(Some(resume)),
                Poll::Pending => exchange.client.poll_gone(cx, watch_from).map(|()| None),
            })
            .await?
        };
        // Nothing else holds it before it is forwarded.
        let Some(exchange) = Arc::get_mut(&mut running.exchange) else {
            return Some(running.exchange.refusal(Cause::Internal, None));
        };
        let decided = resume(exchange);
        let passed = stacks.chains.resume(exchange, decided, step);
        if let Passed::All = passed {
            request::prepare(exchange);
        }
        match next(&running.exchange, passed) {
            Next::Answer(response) => return Some(response),
            Next::Forward(request) => return forward(&running.exchange, stacks, request).await,
            Next::Wait(further, at) => (wait, step) = (further, at),
        }
    }
}

/// Has an endpoint answer, within the time that a client of gRPC gives. `None` when the client has gone meanwhile.
async fn forward(exchange: &Exchange, stacks: &Stacks, request: Request) -> Option<Box<Response>> {
    match exchange.grpc_timeout {
        None => obtain(exchange, stacks, request).await,
        Some(timeout) => Box::pin(obtain_within(timeout, exchange, stacks, request)).await,
    }
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
    let Some(call) = stacks.of(request.route).map(|mut stack| stack.call(request)) else {
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
        Ok(response) => response,
        Err(error) => failed(exchange, &error),
    })
}

/// Whether an extended CONNECT is answered with a success and no tunnel, by an endpoint or by the route itself. To this client a 2xx says that the tunnel is
/// open (RFC 8441 §4).
fn opens_no_tunnel(exchange: &Exchange, response: &Response) -> bool {
    exchange.head.version() == Version::Http2
        && exchange.head.upgrade().is_some()
        && !matches!(response.body, Body::Tunnel(_))
        && matches!(response.head.status(), 200..=299)
}

fn failed(exchange: &Exchange, error: &StackError) -> Box<Response> {
    let (cause, detail, retry_after) = stack::refusal_of(error);
    let mut answer = Answer::new(cause);
    if let Some(after) = retry_after {
        answer = answer.retry_after(after);
    }
    exchange.answer(answer, cause, detail)
}
