//! Respond: the one way in which a response leaves, whatever protocol the client speaks.
//!
//! What a response says and when it is given up is decided here: edits, `Date`, framing, deadlines, the status of a gRPC call,
//! and how the attempt's in-flight slot ends. How it is written is the [`ResponseSink`]'s: a connection of HTTP/1, a stream of
//! HTTP/2.
//!
//! Nothing is buffered beyond one read: the endpoint is read again when the client has taken what was read before. A response
//! that breaks after its head is aborted in the way of its protocol, so that no client takes a cut response for a whole one; what
//! was received before is passed on first.

use std::future::poll_fn;
use std::task::{Context, Poll};
use std::time::Duration;

use lb_core::{Class, End};
use tokio::time::Instant;

use crate::downstream::{Frame, Gone};
use crate::exchange::Exchange;
use crate::exchange::{Body, Response};
use crate::message::{Edits, Framing, Method, ResponseHead, name};
use crate::net::timer::far;
use crate::net::{Timer, clock};
use crate::rules::answer::Answer;
use crate::rules::cause::Cause;
use crate::rules::headers::HeaderRules;
use crate::rules::reply::Reply as OwnReply;
use crate::rules::request_id::RequestId;
use crate::rules::{grpc, trailers};
use crate::stage::outcome::{self, After, CutBy, Outcome, Unread};
use crate::stage::tunnel::{self, Carried};
use crate::worker::state::Worker;

/// Longest pause while a response of our own is written.
const OWN_RESPONSE_IDLE: Duration = Duration::from_secs(60);

/// The client's side of one request: where its response goes.
pub(crate) trait ResponseSink {
    /// Begins a response.
    ///
    /// # Errors
    /// Why the client cannot have it.
    fn begin(&mut self, exchange: &Exchange, response: &Response) -> Result<(), Cause>;

    /// Passes on what the body has, as far as the client takes it. Ready when all of it was taken, or as much as came before
    /// it broke.
    fn poll_body(&mut self, cx: &mut Context<'_>, body: &mut Source<'_>) -> Poll<Result<(), Gone>>;

    /// Whether the client has to take more before more can be read.
    fn is_blocked(&self) -> bool;

    /// Ends a response that has begun, and makes sure that a cut one does not look whole; what becomes of the connection.
    fn end(&mut self, end: End) -> After;

    /// Bytes of the response's body written so far, framing included where it is part of the body.
    fn sent(&self) -> u64;

    /// Begins to carry another protocol: the status that says so, `None` if the client is gone.
    fn begin_tunnel(&mut self, head: &ResponseHead, edits: &Edits) -> Option<u16>;

    /// Ends a tunnel.
    fn end_tunnel(&mut self, carried: &Carried) -> After;

    /// Answers what was no request, with a response that ends the exchange.
    fn refuse(&mut self, reply: OwnReply, edits: &Edits);

    /// The request ended: `answered`, or given up by the client before.
    fn on_end(&mut self, answered: bool) {
        let _ = answered;
    }
}

/// The body of a response, as sinks read it.
pub(crate) struct Source<'a> {
    body: Body,
    /// The route's edits of the response, which hold for trailers too.
    edits: Option<&'a HeaderRules>,
    timer: &'a mut Timer,
    is_over: bool,
    /// Why it ended before its time.
    broken: Option<Cause>,
    /// The status of a gRPC call, from head or trailers.
    grpc_status: Option<u8>,
    is_grpc: bool,
}

impl Source<'_> {
    /// The next part, reading about `room` bytes at most; `None` once nothing more comes: see [`is_broken`](Self::is_broken).
    pub(crate) fn poll_frame(&mut self, cx: &mut Context<'_>, room: usize) -> Poll<Option<Frame>> {
        while !self.is_over {
            let Poll::Ready(frame) = self.body.poll_frame(cx, room) else { return Poll::Pending };
            self.timer.clear();
            match frame {
                Some(Ok(Frame::Trailers(received))) => {
                    let Some(kept) = trailers::of_response(self.edits, received) else { continue };
                    if self.is_grpc {
                        self.grpc_status = grpc::ended(&kept);
                    }
                    return Poll::Ready(Some(Frame::Trailers(kept)));
                }
                Some(Ok(frame)) => return Poll::Ready(Some(frame)),
                Some(Err(cause)) => self.fail(cause),
                None => self.is_over = true,
            }
        }
        Poll::Ready(None)
    }

    /// Sends on the rest of an upload that the endpoint answered early. It goes on whether the client reads or not.
    fn poll_upload(&mut self, cx: &mut Context<'_>) {
        if self.is_over {
            return;
        }
        match self.body.poll_upload(cx) {
            Ok(false) => {}
            Ok(true) => self.timer.clear(),
            Err(cause) => self.fail(cause),
        }
    }

    fn fail(&mut self, cause: Cause) {
        self.broken = Some(cause);
        self.is_over = true;
    }

    /// The client took some of it.
    pub(crate) fn on_taken(&mut self) {
        self.timer.clear();
    }

    /// Whether nothing more will come.
    pub(crate) fn is_over(&self) -> bool {
        self.is_over
    }

    /// Whether it ended before its time.
    pub(crate) fn is_broken(&self) -> bool {
        self.broken.is_some()
    }

    /// Whether what came last was the end, unless trailers came before.
    pub(crate) fn is_complete(&self) -> bool {
        self.broken.is_none() && self.body.is_complete()
    }

    /// Bytes read that [`poll_frame`](Self::poll_frame) has not returned yet.
    pub(crate) fn unread(&self) -> usize {
        self.body.unread()
    }

    /// How it ended, once nothing more will come.
    fn ended(&self) -> Written {
        let end = match self.broken {
            None => End::Completed,
            Some(Cause::ClientClosed) => End::ClientGone,
            Some(Cause::UpstreamAborted | Cause::InvalidResponse) => End::UpstreamAborted,
            // The request's own fault: too large, malformed.
            Some(_) => End::Cancelled,
        };
        (end, self.broken)
    }
}

/// How writing ended, and why if it was cut.
type Written = (End, Option<Cause>);

/// When a response is given up.
struct Limits {
    /// Longest pause on either side.
    idle: Duration,
    /// When the whole request must be over.
    deadline: Option<Instant>,
}

impl Limits {
    /// Those of the route, for a response of an endpoint. A stream of server-sent events has no deadline, but a gRPC call keeps
    /// the one that its client set.
    fn of(exchange: &Exchange, head: &ResponseHead, is_own: bool) -> Self {
        let Some(route) = exchange.route().filter(|_| !is_own) else {
            return Self { idle: OWN_RESPONSE_IDLE, deadline: None };
        };
        let timeouts = &route.options.timeout;
        let is_stream = head.header(name::CONTENT_TYPE).is_some_and(|kind| kind.starts_with(b"text/event-stream"));
        let total = timeouts.total.filter(|_| !is_stream).into_iter().chain(exchange.grpc_timeout).min();
        Self { idle: timeouts.idle, deadline: total.map(|total| far(exchange.started, total)) }
    }

    fn poll(&self, cx: &mut Context<'_>, timer: &mut Timer, client_is_slow: bool) -> Poll<Written> {
        if timer.poll_after(cx, self.idle).is_ready() {
            // A client that stopped reading may start again: what was cut must not look whole to it, and must not wait
            // in the kernel for it either.
            let end = if client_is_slow { End::Cancelled } else { End::UpstreamAborted };
            return Poll::Ready((end, Some(Cause::IdleTimeout)));
        }
        match self.deadline {
            Some(deadline) => timer.poll_until(cx, deadline).map(|()| (End::Cancelled, Some(Cause::TotalTimeout))),
            None => Poll::Pending,
        }
    }
}

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
    if has_no_body(exchange, &response.head) {
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
    let is_empty = response.framing.is_empty();
    let mut source = Source {
        body: if is_empty { Body::Empty } else { std::mem::replace(&mut response.body, Body::Empty) },
        edits: exchange.route().map(|route| &*route.response_headers),
        timer,
        is_over: is_empty,
        broken: None,
        grpc_status: if exchange.is_grpc { grpc::ending(&response.head) } else { None },
        is_grpc: exchange.is_grpc,
    };
    let (end, broke) = poll_fn(|cx| {
        // It reads from the client itself: so before the sink is asked, which may lock the client's connection.
        source.poll_upload(cx);
        match sink.poll_body(cx, &mut source) {
            Poll::Ready(Ok(())) => Poll::Ready(source.ended()),
            Poll::Ready(Err(Gone)) => Poll::Ready((End::ClientGone, Some(Cause::ClientClosed))),
            Poll::Pending => limits.poll(cx, source.timer, sink.is_blocked()),
        }
    })
    .await;
    let grpc_status = source.grpc_status;
    let broken = source.body.broken().map(str::to_owned);
    source.timer.clear();
    drop(source);
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
    let reply = Answer::new(unread.cause).write(id.as_str(), Method::Get);
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

/// Whether the response has no body, whatever its head says.
pub(crate) fn has_no_body(exchange: &Exchange, head: &ResponseHead) -> bool {
    exchange.head.method() == Method::Head || matches!(head.status(), 204 | 304)
}
