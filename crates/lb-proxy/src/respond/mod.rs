//! Respond: the one way in which a response leaves, whatever protocol the client speaks.
//!
//! What a response says and when it is given up is decided here: edits, `Date`, framing, deadlines, the status of a gRPC call,
//! and how the attempt's in-flight slot ends. How it is written is the [`ResponseSink`]'s: a connection of HTTP/1, a stream of
//! HTTP/2.
//!
//! Nothing is buffered beyond one read: the endpoint is read again when the client has taken what was read before. A response
//! that breaks after its head is aborted in the way of its protocol, so that no client takes a cut response for a whole one; what
//! was received before is passed on first.

mod body;
mod limits;
mod sink;

use std::future::poll_fn;
use std::task::Poll;
use std::time::Duration;

use lb_core::{Class, End};

pub(crate) use body::ResponseBody;
use limits::Limits;
pub(crate) use sink::ResponseSink;

use crate::downstream::Gone;
use crate::exchange::{Body, Exchange, Response};
use crate::forward::tunnel;
use crate::message::{Edits, Framing, Method, ResponseHead, name};
use crate::net::{Timer, clock};
use crate::outcome::{self, After, CutBy, Outcome, Unread};
use crate::rules::answer::Answer;
use crate::rules::cause::Cause;
use crate::rules::grpc;
use crate::rules::request_id::RequestId;
use crate::worker::state::Worker;

/// How writing ended, and why if it was cut.
type Written = (End, Option<Cause>);

/// Longest pause while a response of our own is written.
const OWN_RESPONSE_IDLE: Duration = Duration::from_secs(60);

/// Writes a response; how that ended. `timer` is the connection's or the stream's, and counts nothing afterwards.
pub(crate) async fn respond(
    sink: &mut impl ResponseSink,
    timer: &mut Timer,
    exchange: &Exchange,
    mut response: Box<Response>,
) -> Outcome {
    let is_own = response.is_own();
    if is_own {
        date(&mut response.edits);
    }
    if let Body::Tunnel(_) = response.body {
        return Box::pin(tunnel(sink, timer, exchange, response)).await;
    }
    if !is_own {
        date_if_missing(&response.head, &mut response.edits);
    }
    if exchange.has_no_body(&response.head) {
        response.framing = Framing::None;
    }
    let begun = sink.begin(exchange, &response);
    response.edits = Edits::new();
    let held = response.held.take();
    if let Err(cause) = begun {
        if let Some(held) = held {
            held.end(End::Cancelled);
        }
        let detail = response.detail.filter(|_| response.cause == Some(cause));
        return Outcome { after: After::Gone, detail, ..Outcome::of(cause) };
    }
    timer.clear();
    let limits = Limits::of(exchange, &response.head, is_own);
    let mut body = ResponseBody::take(&mut response, exchange, timer);
    let (end, broke) = poll_fn(|cx| {
        // It reads from the client itself: so before the sink is asked, which may lock the client's connection.
        body.poll_upload(cx);
        match sink.poll_body(cx, &mut body) {
            Poll::Ready(Ok(())) => Poll::Ready(body.ended()),
            Poll::Ready(Err(Gone)) => Poll::Ready((End::ClientGone, Some(Cause::ClientClosed))),
            Poll::Pending => limits.poll(cx, body.timer, sink.is_blocked()),
        }
    })
    .await;
    let (grpc_status, broken) = (body.grpc_status(), body.detail());
    body.timer.clear();
    drop(body);
    if let Some(held) = held {
        // An endpoint that says so at the very end has failed no less. Where its head said so, that was counted.
        let has_failed = held.class() == Some(Class::Status(200)) && grpc_status.is_some_and(grpc::is_failure);
        held.end(if has_failed && end == End::Completed { End::UpstreamAborted } else { end });
    }
    if end != End::Completed {
        // An abort takes back what was queued: it is passed on first, as far as the client has room for it.
        tokio::task::yield_now().await;
    }
    let after = sink.end(end);
    Outcome {
        status: response.head.status(),
        bytes_out: sink.sent(),
        cause: broke.or(response.cause),
        detail: broken.or(response.detail),
        after,
        grpc_status,
        cut_by: broke.map(|cause| CutBy::of(end, cause)),
    }
}

/// Passes on that another protocol is spoken, and carries bytes both ways from then on.
async fn tunnel(
    sink: &mut impl ResponseSink,
    timer: &mut Timer,
    exchange: &Exchange,
    response: Box<Response>,
) -> Outcome {
    let Response { head, edits, body, held, .. } = *response;
    let Body::Tunnel(upstream) = body else { return Outcome::client_gone() };
    let Some(status) = sink.begin_tunnel(&head, &edits) else { return Outcome::client_gone() };
    let idle = exchange.route().map_or(OWN_RESPONSE_IDLE, |route| route.options.timeout.tunnel);
    let carried = tunnel::carry(&exchange.client, upstream, timer, idle).await;
    if let Some(held) = held {
        held.end(carried.end);
    }
    let after = sink.end_tunnel(&carried);
    // A tunnel on which nothing moves ends as the configuration says, which is no failure of the endpoint's.
    let cause = carried.idle.then_some(Cause::IdleTimeout);
    let cut_by = cause.map(|_| CutBy::Client);
    Outcome { status, bytes_out: carried.to_client, cause, detail: None, after, grpc_status: None, cut_by }
}

/// Answers what was no request, counts and logs it.
pub(crate) fn refuse(sink: &mut impl ResponseSink, worker: &Worker, unread: &Unread<'_>) {
    let id = RequestId::new(clock::unix_ms(), fastrand::u64(..));
    let answer = Answer::new(unread.cause);
    let stacks = worker.in_force();
    let listener = stacks.snapshot.shared.listeners.iter().position(|listener| listener.name == unread.listener.name);
    let page = listener.and_then(|listener| stacks.chains.page_of_unread(listener, unread.cause.status()));
    let reply = match page {
        Some(page) => answer.write_as(page.content_type(), page.body_of_unread(id.as_str()), id.as_str(), Method::Get),
        None => answer.write(id.as_str(), Method::Get),
    };
    let mut edits = Edits::new();
    unread.listener.response_headers.apply_unread(&mut edits);
    date(&mut edits);
    let bytes_out = reply.body.len() as u64;
    sink.refuse(reply, &edits);
    outcome::close_unread(worker, unread, &id, bytes_out);
}

/// Our own responses have a date (RFC 9110 §6.6.1).
fn date(edits: &mut Edits) {
    // A date is made of characters that any value may hold.
    let _ = edits.set(name::DATE, clock::http_date());
}

/// A response that came without a date gets the time it came at (RFC 9110 §6.6.1), unless the route removes dates.
fn date_if_missing(head: &ResponseHead, edits: &mut Edits) {
    if head.header(name::DATE).is_none() && edits.added_value(&name::DATE).is_none() && !edits.is_removed(&name::DATE) {
        let _ = edits.put_new(name::DATE, &clock::http_date());
    }
}
