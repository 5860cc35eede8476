//! One attempt at one endpoint, up to the response head: the same for every protocol.
//!
//! The body follows the head as fast as the endpoint takes it, while the response is already being waited for, since an endpoint may
//! answer early.
//!
//! An endpoint may have closed a connection just as we wrote on it. Then nothing has failed: if the request may be repeated, or nothing
//! of it was processed, it is sent again on another connection to the same endpoint. Such a sending is no retry and does not draw
//! from the budget: a closed connection is no sign of overload, and there is at most one for each connection that the endpoint
//! closes. It happens as often as the route's `retry.attempts` allows, and once at least. What an endpoint refuses
//! (`REFUSED_STREAM`) is left to the retry layer.

use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use lb_core::Class;

use super::h1::Http1;
use super::h2::Http2;
use super::interim::Interim;
use super::protocol::{Attempt, Protocol};
use super::silence::{self, HeadWait, Over};
use crate::exchange::{Request, Response};
use crate::message::ResponseHead;
use crate::rules::cause::Cause;
use crate::runtime::snapshot::response_limits;
use crate::upstream::{Asked, AttemptError, Call, EndpointService, Upstream, WaitsFor};

/// How often a request may be sent in all if connections end under it, even if the route retries nothing.
const MIN_SENDINGS: u32 = 2;

impl tower_service::Service<Request> for EndpointService {
    type Response = Box<Response>;
    type Error = AttemptError;
    type Future = Pin<Box<dyn Future<Output = Result<Box<Response>, AttemptError>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), AttemptError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request) -> Self::Future {
        let endpoint = Arc::clone(&self.upstream);
        // A future for each protocol, so that HTTP/1 does not pay for the size of the other one.
        match endpoint.is_http2() {
            false => Box::pin(send::<Http1>(endpoint, self.affinity, request)),
            true => Box::pin(send::<Http2>(endpoint, self.affinity, request)),
        }
    }
}

async fn send<P: Protocol>(
    endpoint: Arc<Upstream>,
    affinity: u64,
    request: Request,
) -> Result<Box<Response>, AttemptError> {
    let attempt = Attempt { endpoint: &endpoint, affinity, request: &request };
    let trace = &request.exchange.trace;
    trace.on_attempt(&endpoint);
    let _witness = trace.witness();
    // Sends the request until a connection does not end under it.
    let mut protocol = P::new(attempt);
    loop {
        match send_once(&mut protocol, attempt).await {
            Err(error) => {
                let is_last = resend(&error, attempt.request).ok_or(error)?;
                protocol.on_resend(is_last);
                attempt.request.exchange.trace.on_attempt(attempt.endpoint);
            }
            response => return response,
        }
    }
}

/// Counts that the request is sent to the same endpoint again, and whether for the last time. `None` if it may not be.
fn resend(error: &AttemptError, request: &Request) -> Option<bool> {
    if !error.may_resend(request.is_repeatable(), request.is_replayable()) {
        return None;
    }
    let attempts = request.route().options.retry.as_ref().map_or(1, |retry| retry.attempts.get());
    let max = attempts.max(MIN_SENDINGS);
    Some(request.exchange.trace.resend(max)? == max)
}

/// Sends the request once.
async fn send_once<P: Protocol>(protocol: &mut P, attempt: Attempt<'_>) -> Result<Box<Response>, AttemptError> {
    let exchange = &attempt.request.exchange;
    let mut call = protocol.begin(attempt).await?;
    let (mut interim, mut wait) = (Interim::default(), HeadWait::default());
    let head = poll_fn(|cx| poll_head(cx, &mut call, attempt, &mut interim, &mut wait)).await?;
    exchange.trace.on_head();
    let body = P::body(call, &head, attempt).ok_or_else(|| AttemptError::new(Class::Cancelled, Cause::Internal))?;
    Ok(Response::of_endpoint(head, body))
}

/// Sends what can be sent and reads until the final response head.
fn poll_head(
    cx: &mut Context<'_>,
    call: &mut impl Call,
    attempt: Attempt<'_>,
    interim: &mut Interim,
    wait: &mut HeadWait,
) -> Poll<Result<ResponseHead, AttemptError>> {
    let request = attempt.request;
    let exchange = &request.exchange;
    let asked = Asked {
        head: &exchange.head,
        client: &exchange.client,
        limits: response_limits(&exchange.snapshot.shared.config.limits),
    };
    loop {
        let before = call.progress();
        if let Poll::Ready(Err(failure)) = call.poll_upload(cx) {
            return Poll::Ready(Err(failure.into()));
        }
        if before != call.progress() {
            call.restart_timer();
            wait.restart();
        }
        match call.poll_head(cx, &asked) {
            Poll::Ready(Ok(head)) if head.is_interim() => {
                interim.pass_on(&head, exchange)?;
                call.restart_timer();
                wait.restart();
            }
            Poll::Ready(head) => return Poll::Ready(head),
            Poll::Pending => break,
        }
    }
    let waits_for = call.waits_for();
    exchange.trace.set_waits_for_client(matches!(waits_for, WaitsFor::Client));
    let timeouts = &request.route().options.timeout;
    let (after, class, cause) = match waits_for {
        WaitsFor::Response => {
            return wait.poll(cx, call, attempt, timeouts.response).map(|over| {
                let (class, cause) = (Class::Timeout, Cause::ResponseTimeout);
                Err(if over == Over::Silent { silence::gave_up(class, cause) } else { AttemptError::new(class, cause) })
            });
        }
        WaitsFor::Endpoint => (timeouts.idle, Class::Timeout, Cause::IdleTimeout),
        WaitsFor::Client => (timeouts.idle, Class::Cancelled, Cause::UploadTimeout),
    };
    call.poll_timer(cx, after).map(|()| Err(AttemptError::new(class, cause)))
}
