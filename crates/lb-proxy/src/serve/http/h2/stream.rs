//! One request of an HTTP/2 connection, walked through the same stages as those of HTTP/1.
//!
//! What differs is at both ends: the head comes taken apart, and the answer goes out as frames, as fast as the client's
//! windows allow. What breaks after the head resets the stream, so that no client takes a cut response for a whole one.

use std::future::poll_fn;
use std::sync::{Arc, PoisonError};
use std::task::Poll;

use h2::ext::Protocol;
use h2::server::SendResponse;
use h2::{Reason, RecvStream};

use super::super::{LINGER, LINGER_BYTES, LINGER_IDLE, walk};
use super::shared::Shared;
use super::sink::Http2Sink;
use crate::downstream::{Client, Stream};
use crate::message::{Framing, RequestHead, websocket};
use crate::net::account::HeadRoom;
use crate::net::queue::Piece;
use crate::net::{Timer, clock};
use crate::outcome::Unread;
use crate::respond;
use crate::rules::cause::Cause;
use crate::runtime::snapshot::{ListenerRuntime, request_limits};
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
    let limits = request_limits(&stacks.snapshot.shared.config.limits);
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
                shared.worker.shared.on_heads(shared.connection.ip(), shared.account.heads.max());
                return None;
            }
        },
        Err((cause, detail)) => Err(Box::new(Refused { parts, cause, detail })),
    };
    // Only what has a body has trailers.
    let watch = (!receive.is_end_stream()).then(|| shared.watch());
    let stream = Stream::new(&shared.connection, receive, respond, &shared.account, watch);
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
    let unread = Unread {
        peer: shared.connection.peer,
        listener,
        cause: refused.cause,
        detail: Some(refused.detail),
        beginning: Beginning::of_parts(&refused.parts),
    };
    respond::refuse(&mut Http2Sink::new(stream, shared), &shared.worker, &unread);
}

async fn run(shared: &Shared, stream: &Stream, stacks: &Stacks, listener: usize, head: RequestHead) {
    let prepared = {
        let mut cache = shared.cache.lock().unwrap_or_else(PoisonError::into_inner);
        let client = Client::Http2(stream.clone());
        walk::prepare(stacks, client, shared.has_others(), &mut cache, listener, head)
    };
    let mut sink = Http2Sink::new(stream, shared);
    // What becomes of the stream was said to the library below.
    let _ = walk::serve(&mut sink, &mut Timer::new(), &shared.worker, stacks, prepared).await;
}
