//! One request of an HTTP/2 connection, walked through the same stages as those of HTTP/1.
//!
//! What differs is at both ends: the head comes taken apart, and the answer goes out as frames, as fast as the client's
//! windows allow. What breaks after the head resets the stream, so that no client takes a cut response for a whole one.

use std::future::poll_fn;
use std::sync::{Arc, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use h2::ext::Protocol;
use h2::server::SendResponse;
use h2::{Reason, RecvStream};
use lb_core::{Class, End};
use lb_tower::Expiry;
use tokio::time::{Instant, timeout};

use crate::downstream::{Client, Frame, Gone, Stream};
use crate::exchange::{Body, Response};
use crate::message::{Edits, Framing, Method, RequestHead, Trailers, websocket};
use crate::net::account::HeadRoom;
use crate::net::queue::{Piece, Queue};
use crate::net::timer::far;
use crate::net::{Timer, clock};
use crate::rules::answer::Answer;
use crate::rules::cause::Cause;
use crate::rules::forwarded::{Arrival, Origin};
use crate::rules::grpc;
use crate::rules::headers::HeaderRules;
use crate::rules::request_id::RequestId;
use crate::rules::trailers;
use crate::runtime::snapshot::ListenerRuntime;
use crate::stage::http::{LINGER, LINGER_BYTES, LINGER_IDLE, head_limits};
use crate::stage::http2::Shared;
use crate::stage::outcome::{self, CutBy, Outcome, Running, Unread};
use crate::stage::reply::Written;
use crate::stage::tunnel;
use crate::stage::visit::{self, After, Caller, Next, OWN_ANSWER_IDLE, Outgoing, Visit};
use crate::wire::h1::{self, Beginning, HeadError};
use crate::worker::state::Stacks;

/// A request whose head has come.
pub(crate) struct Arrived {
    stream: Stream,
    stacks: Arc<Stacks>,
    listener: usize,
    head: Result<(RequestHead, HeadRoom), Box<Refused>>,
}

/// What was no request, and why not.
struct Refused {
    parts: http::request::Parts,
    cause: Cause,
    detail: &'static str,
}

/// Reads the head of a request, and lets go of the form in which it came. `None` for a stream that is not served: what
/// the heads of its connection may take is taken, so it is refused, and may be asked for again.
pub(crate) fn read(
    shared: &Shared,
    stacks: &Arc<Stacks>,
    listener: usize,
    request: http::Request<RecvStream>,
    mut respond: SendResponse<Piece>,
) -> Option<Arrived> {
    let (parts, receive) = request.into_parts();
    let limits = head_limits(&stacks.snapshot.shared.config.limits);
    let head = match parts.extensions.get::<Protocol>() {
        _ if shared.take_refused(receive.stream_id().as_u32()) => Err(why(h1::Cause::BadTarget.into())),
        None => RequestHead::from_parts_within(&parts, framing_of(&parts, &receive), &limits).map_err(why),
        Some(protocol) if protocol.as_str() == websocket::NAME => {
            RequestHead::from_websocket(&parts, &limits, &websocket::key(fastrand::u128(..))).map_err(why)
        }
        Some(_) => Err((Cause::NotImplemented, "unknown_protocol")),
    };
    let head = match head {
        Ok(head) => match HeadRoom::take(&shared.account, head.footprint()) {
            Some(room) => Ok((head, room)),
            None => {
                respond.send_reset(Reason::REFUSED_STREAM);
                let client = shared.peer.map(|peer| peer.ip());
                shared.worker.shared.on_heads(client, shared.account.heads.most());
                return None;
            }
        },
        Err((cause, detail)) => Err(Box::new(Refused { parts, cause, detail })),
    };
    // Only what has a body has trailers.
    let watch = (!receive.is_end_stream()).then(|| shared.watch());
    let stream = Stream::new(receive, respond, &shared.account, watch);
    Some(Arrived { stream, stacks: Arc::clone(stacks), listener, head })
}

fn why(error: HeadError) -> (Cause, &'static str) {
    (Cause::of_request(error.cause()), error.name())
}

/// Serves one stream to its end.
pub(crate) async fn serve(shared: &Shared, arrived: Arrived) {
    let Arrived { stream, stacks, listener, head } = arrived;
    match head {
        Ok((head, room)) => {
            Box::pin(run(shared, &stream, &stacks, listener, head)).await;
            drop(room);
        }
        Err(refused) => refuse(shared, &stacks.snapshot.shared.listeners[listener], &stream, &refused),
    }
    drain(&stream).await;
}

/// Throws away the rest of a request that was answered early. Once it is let go of, the library resets the stream
/// (NO_ERROR), as it may (RFC 9113 §8.1); but a client that still sends may then lose the answer that it has: curl 7.88
/// reports an error, as Chrome has done, and one cannot know how fast the answer was read. So, as on a connection of
/// HTTP/1, it is let to finish, within limits.
async fn drain(stream: &Stream) {
    if stream.lock().is_whole() {
        return;
    }
    stream.lock().release(0);
    let until = clock::now() + LINGER;
    let mut left = LINGER_BYTES;
    let mut timer = Timer::new();
    poll_fn(|cx| {
        loop {
            match stream.lock().poll_discard(cx) {
                Poll::Ready(Some(n)) if n as u64 <= left => left -= n as u64,
                Poll::Ready(_) => return Poll::Ready(()),
                Poll::Pending => break,
            }
            timer.clear();
        }
        match timer.poll_after(cx, LINGER_IDLE) {
            Poll::Ready(()) => Poll::Ready(()),
            Poll::Pending => timer.poll_until(cx, until),
        }
    })
    .await;
}

/// How the library below will end the body: it holds the client to the length that it announced.
fn framing_of(parts: &http::request::Parts, receive: &RecvStream) -> Framing {
    if receive.is_end_stream() {
        return Framing::None;
    }
    let length = parts.headers.get(http::header::CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse().ok());
    length.map_or(Framing::Chunked, Framing::Length)
}

/// Answers what was no request.
fn refuse(shared: &Shared, listener: &ListenerRuntime, stream: &Stream, refused: &Refused) {
    let started = clock::now();
    let id = RequestId::new(clock::unix_ms(), fastrand::u64(..));
    let answer = Answer::new(refused.cause).write(id.as_str(), Method::Get);
    let mut edits = Edits::new();
    listener.response_headers.apply_unread(&mut edits);
    visit::date(&mut edits);
    let bytes_out = answer.body.len() as u64;
    if let Ok(parts) = answer.head.to_parts(&edits, answer.framing) {
        // Fails for a client that is gone, and has no use for it.
        let _ = stream.lock().answer_whole(parts, answer.body);
    }
    let unread = Unread {
        peer: shared.peer,
        listener,
        id: &id,
        cause: refused.cause,
        detail: Some(refused.detail),
        beginning: Beginning::of_parts(&refused.parts),
        elapsed: started.elapsed(),
        bytes_out,
    };
    outcome::close_unread(&shared.worker, &unread);
}

/// A `grpc-timeout` of less than this that fires says more about the client than about the endpoint.
const PATIENT: Duration = Duration::from_secs(1);

async fn run(shared: &Shared, stream: &Stream, stacks: &Stacks, listener: usize, head: RequestHead) {
    let worker = &shared.worker;
    let arrival = Arrival {
        peer: shared.peer.map(|peer| peer.ip()),
        is_tls: shared.secured.is_some(),
        port: shared.local.map_or(0, |local| local.port()),
    };
    let caller = Caller {
        client: Client::Http2(stream.clone()),
        worker: worker.index,
        origin: Origin::new(arrival, &stacks.snapshot.shared.listeners[listener].trusted, &head),
        secured: shared.secured.clone(),
        peer: shared.peer,
        local: shared.local,
        is_one_of_many: shared.has_others(),
    };
    let (visit, next) = {
        let mut told = shared.told.lock().unwrap_or_else(PoisonError::into_inner);
        visit::prepare(worker, caller, &mut told, Arc::clone(&stacks.snapshot), listener, head)
    };
    let running = Running::new(worker, visit);
    let visit = &*running.visit;
    let outgoing = match next {
        Next::Answer(outgoing) => Some(outgoing),
        Next::Forward(request) => match visit.patience {
            None => visit::obtain(visit, stacks, request).await,
            Some(patience) => {
                let mut call = Box::pin(timeout(patience, visit::obtain(visit, stacks, request)));
                let obtained = call.as_mut().await;
                // Or clients could have endpoints ejected that take no longer than they always do.
                let over = (obtained.is_err() && patience >= PATIENT).then(|| Expiry::begin(patience));
                drop(call);
                drop(over);
                obtained.unwrap_or_else(|_| {
                    Some(Box::new(visit.refusal(Cause::TotalTimeout, Some("grpc-timeout".to_owned()))))
                })
            }
        },
    };
    let after = match outgoing {
        Some(outgoing) if outgoing.cause != Some(Cause::ClientClosed) => {
            let outcome = send(stream, visit, outgoing).await;
            // What was begun is given up at the same price.
            shared.on_end(outcome.cause != Some(Cause::ClientClosed));
            outcome::close(worker, visit, &outcome)
        }
        _ => {
            shared.on_end(false);
            outcome::close(worker, visit, &Outcome::client_gone())
        }
    };
    running.ended(after);
}

/// Writes a response; how that ended.
async fn send(stream: &Stream, visit: &Visit, mut outgoing: Box<Outgoing>) -> Outcome {
    let route = visit.route();
    let is_tunnel = matches!(outgoing.response.body, Body::Tunnel(_));
    if visit.head.upgrade().is_some() && !is_tunnel && matches!(outgoing.response.head.status(), 200..=299) {
        // To this client a 2xx says that the tunnel is open.
        outgoing = Box::new(visit.refusal(Cause::InvalidResponse, Some("no_upgrade".to_owned())));
    }
    visit.edit_response(&mut outgoing.edits);
    let is_own = outgoing.response.held.is_none();
    if is_own {
        visit::date(&mut outgoing.edits);
    }
    if is_tunnel {
        return Box::pin(tunnel(stream, visit, outgoing)).await;
    }
    let Response { head, body, held } = outgoing.response;
    if !is_own {
        visit::date_where_missing(&head, &mut outgoing.edits);
    }
    let status = head.status();
    let framing = framing_for(visit, status, &body, head.framing());
    let begun = match head.to_parts(&outgoing.edits, framing) {
        _ if stream.lock().is_malformed() => Err(outgoing.cause.unwrap_or(Cause::BadRequest)),
        Ok(parts) => stream.lock().answer(parts, framing.is_empty()).map_err(|_| Cause::ClientClosed),
        Err(_) => Err(Cause::InvalidResponse),
    };
    let cause = outgoing.cause;
    drop(outgoing.edits);
    if let Err(cause) = begun {
        stream.lock().reset(Reason::INTERNAL_ERROR);
        if let Some(held) = held {
            held.end(End::Cancelled);
        }
        let detail = outgoing.detail.filter(|_| outgoing.cause == Some(cause));
        return Outcome { after: After::Gone, detail, ..Outcome::of(cause) };
    }
    let mut grpc_status = if visit.is_grpc { grpc::ending(&head) } else { None };
    let is_stream = head.header("content-type").is_some_and(|kind| kind.starts_with(b"text/event-stream"));
    let timeouts = route.filter(|_| !is_own).map(|route| &route.options.timeout);
    let mut timer = Timer::new();
    let mut reply = Reply {
        stream,
        queue: stream.lock().queue(),
        body: if framing.is_empty() { Body::Empty } else { body },
        piece: Piece::empty(),
        edits: route.map(|route| &route.response_headers),
        trailers: None,
        timer: &mut timer,
        idle: timeouts.map_or(OWN_ANSWER_IDLE, |timeouts| timeouts.idle),
        deadline: timeouts
            .and_then(|timeouts| timeouts.total)
            .filter(|_| !is_stream)
            .into_iter()
            .chain(visit.patience.filter(|_| !is_own))
            .min()
            .map(|total| far(visit.started, total)),
        ended: framing.is_empty(),
    };
    let (end, broke) = poll_fn(|cx| reply.poll(cx)).await;
    if visit.is_grpc
        && let Some(trailers) = &reply.trailers
    {
        grpc_status = grpc::ended(trailers);
    }
    let broken = reply.body.broken().map(str::to_owned);
    drop(reply);
    if let Some(held) = held {
        // An endpoint that says so at the very end has failed no less. Where its head said so, that was counted.
        let has_failed = held.class() == Some(Class::Status(200)) && grpc_status.is_some_and(grpc::is_failure);
        held.end(if has_failed && end == End::Completed { End::UpstreamAborted } else { end });
    }
    if end != End::Completed {
        // A reset takes back what was queued. What came is passed on first, as far as the client has room for it.
        tokio::task::yield_now().await;
    }
    let mut exchange = stream.lock();
    match end {
        End::Completed => {}
        // Both sides agree that it is not whole.
        End::ClientGone => exchange.reset(Reason::CANCEL),
        End::UpstreamAborted | End::Cancelled => exchange.reset(Reason::INTERNAL_ERROR),
    }
    let bytes_out = exchange.written();
    let detail = broken.or(outgoing.detail);
    let cut_by = broke.map(|cause| CutBy::of(end, cause));
    let cause = broke.or(cause);
    Outcome { status, bytes_out, cause, detail, after: After::Keep, grpc_status, cut_by }
}

/// Opens the stream for another protocol and carries bytes both ways from then on.
async fn tunnel(stream: &Stream, visit: &Visit, outgoing: Box<Outgoing>) -> Outcome {
    let Response { head, body, held } = outgoing.response;
    let begun = head.to_parts(&outgoing.edits, Framing::None).ok().and_then(|mut parts| {
        parts.status = http::StatusCode::OK;
        parts.headers.remove(http::header::SEC_WEBSOCKET_ACCEPT);
        stream.lock().answer(parts, false).ok()
    });
    let (Some(()), Body::Tunnel(upstream)) = (begun, body) else { return Outcome::client_gone() };
    let idle = visit.route().map_or(OWN_ANSWER_IDLE, |route| route.options.timeout.tunnel);
    let carried = tunnel::carry(&visit.client, upstream, &mut Timer::new(), idle).await;
    if let Some(held) = held {
        held.end(carried.end);
    }
    let mut exchange = stream.lock();
    exchange.on_carried(carried.from_client, carried.to_client);
    if !carried.is_whole {
        // As a connection is reset (RFC 8441 §5).
        exchange.reset(Reason::CANCEL);
    }
    let cause = carried.idle.then_some(Cause::IdleTimeout);
    let cut_by = cause.map(|_| CutBy::Client);
    Outcome { status: 200, bytes_out: carried.to_client, cause, after: After::Keep, cut_by, ..Outcome::client_gone() }
}

/// What is known of the body's length.
fn framing_for(visit: &Visit, status: u16, body: &Body, framing: Framing) -> Framing {
    match body {
        _ if visit.head.method() == Method::Head || matches!(status, 204 | 304) => Framing::None,
        Body::Full(bytes) => Framing::Length(bytes.len() as u64),
        Body::Empty => {
            if framing == Framing::None {
                Framing::None
            } else {
                Framing::Length(0)
            }
        }
        _ => framing,
    }
}

/// A response body on its way to the client, its head already queued.
struct Reply<'a> {
    stream: &'a Stream,
    /// What waits of it.
    queue: Arc<Queue>,
    body: Body,
    /// Received, and waiting for the client's window.
    piece: Piece,
    /// The route's edits of the response, which hold for trailers too.
    edits: Option<&'a HeaderRules>,
    /// Received, to be sent last.
    trailers: Option<Trailers>,
    timer: &'a mut Timer,
    /// Longest pause on either side.
    idle: Duration,
    /// When the whole request must be over.
    deadline: Option<Instant>,
    ended: bool,
}

impl Reply<'_> {
    /// Ready when the last frame was queued, or nothing more can be done.
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Written> {
        match self.advance(cx) {
            Ok(()) if self.ended => return Poll::Ready((End::Completed, None)),
            Ok(()) => {}
            Err(cause) => return Poll::Ready((end_of(cause), Some(cause))),
        }
        if self.stream.lock().poll_reset(cx).is_ready() {
            return Poll::Ready((End::ClientGone, Some(Cause::ClientClosed)));
        }
        if self.timer.poll_after(cx, self.idle).is_ready() {
            let end = if self.piece.is_empty() { End::UpstreamAborted } else { End::Cancelled };
            return Poll::Ready((end, Some(Cause::IdleTimeout)));
        }
        match self.deadline {
            Some(deadline) => self.timer.poll_until(cx, deadline).map(|()| (End::Cancelled, Some(Cause::TotalTimeout))),
            None => Poll::Pending,
        }
    }

    /// Moves both bodies: the rest of an upload that was answered early goes on whether the client reads or not.
    fn advance(&mut self, cx: &mut Context<'_>) -> Result<(), Cause> {
        if !self.ended && self.body.poll_upload(cx)? {
            self.timer.clear();
        }
        while !self.ended {
            if !self.piece.is_empty() {
                let is_last = self.is_last();
                let before = self.piece.len();
                let sent = self.stream.lock().poll_send(cx, &mut self.piece, is_last);
                if self.piece.len() != before {
                    self.timer.clear();
                }
                match sent {
                    Poll::Ready(Ok(())) => self.ended = is_last,
                    Poll::Ready(Err(Gone)) => return Err(Cause::ClientClosed),
                    Poll::Pending => return Ok(()),
                }
                continue;
            }
            let queue = &self.queue;
            // The stream's lock is not held here: an upload that still runs takes it.
            let polled = queue.poll_room(cx).map(|room| self.body.poll_frame(cx, room));
            queue.on_unread(self.body.unread());
            let frame = match polled {
                Poll::Ready(Poll::Ready(frame)) => frame.transpose()?,
                _ => return Ok(()),
            };
            self.timer.clear();
            match frame {
                Some(Frame::Data(piece)) => self.piece = Piece::new(piece, &self.queue),
                Some(Frame::Trailers(received)) => self.trailers = trailers::of_response(self.edits, received),
                None => {
                    self.stream.lock().end(self.trailers.as_ref()).map_err(|Gone| Cause::ClientClosed)?;
                    self.ended = true;
                }
            }
        }
        Ok(())
    }

    /// Whether nothing follows the piece at hand.
    fn is_last(&self) -> bool {
        self.trailers.is_none() && self.body.is_complete()
    }
}

fn end_of(cause: Cause) -> End {
    match cause {
        Cause::ClientClosed => End::ClientGone,
        Cause::UpstreamAborted | Cause::InvalidResponse => End::UpstreamAborted,
        // The request's own fault: too large, malformed.
        _ => End::Cancelled,
    }
}
