//! Multiplex: one attempt at one endpoint that speaks HTTP/2, up to the response head.
//!
//! The counterpart of `forward/attempt.rs`. What is certain here and only guessed there is whether the endpoint has
//! acted on a request that failed: a stream that it refused, or that its GOAWAY leaves out, it has not.

use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use h2::client::ResponseFuture;
use h2::ext::Protocol;
use h2::{Reason, RecvStream, SendStream};
use lb_core::Class;

use crate::downstream::{BodyFailure, Frame, Incoming};
use crate::exchange::{Body, Request, Response};
use crate::forward::attempt::{MOST_INTERIM, SendError, admit, edits_for, on_interim};
use crate::message::{Framing, ResponseHead, Trailers, websocket};
use crate::net::Timer;
use crate::net::queue::{Piece, Queue};
use crate::rules::cause::Cause;
use crate::rules::login;
use crate::runtime::snapshot::response_limits;
use crate::stage::tunnel::{StreamTunnel, Tunnel};
use crate::stage::visit::Visit;
use crate::upstream::h1::upload::WaitsFor;
use crate::upstream::{Full, Lease, Upstream};
use crate::wire::h1::HeadError;

/// Sends a request.
pub(crate) async fn send(upstream: &Arc<Upstream>, request: &Request) -> Result<Response, SendError> {
    let limit = request.route().options.timeout.connect;
    // What the endpoint may tie to the connection is to reach no other request.
    let mut alone = login::has_credentials(&request.visit.head);
    let lease = async |alone| match alone {
        false => upstream.lease(request.visit.connection().worker, limit).await,
        true => upstream.lease_alone(limit).await,
    };
    loop {
        let mut leased = lease(alone).await;
        if leased.as_ref().is_err_and(|failure| Full::of(failure.error()).is_some()) {
            admit(upstream, &request.visit)?;
            leased = lease(alone).await;
        }
        let lease = leased.map_err(|failure| SendError::connecting(failure.error(), upstream))?;
        match attempt(upstream, lease, request).await {
            Err(error) => {
                // An endpoint that says GOAWAY after a few requests leaves out whoever comes late on a connection: on
                // one of its own, the last time is no matter of luck.
                alone |= error.resend(request).ok_or(error)?.is_last;
                request.visit.trace.on_attempt(upstream);
            }
            response => return response,
        }
    }
}

async fn attempt(upstream: &Arc<Upstream>, lease: Lease, request: &Request) -> Result<Response, SendError> {
    let mut exchange = begin(upstream, lease, request).await?;
    let response = poll_fn(|cx| exchange.poll_head(cx, request)).await?;
    request.visit.trace.on_head();
    exchange.lease.on_head();
    let (parts, receive) = response.into_parts();
    let invalid = |error: HeadError| {
        let detail = Some(error.name().to_owned());
        SendError { detail, ..SendError::new(Class::InvalidResponse, Cause::of_response(error.cause())) }
    };
    let limits = response_limits(&request.visit.snapshot.shared.config.limits);
    if exchange.connects && parts.status.is_success() {
        let head = ResponseHead::switching(&parts, &request.visit.head, &limits).map_err(invalid)?;
        let Upload { send, queue, .. } = exchange.upload;
        let tunnel = StreamTunnel { send, queue, receive, taken: 0, _lease: exchange.lease };
        return Ok(Response { head, body: Body::Tunnel(Tunnel::Stream(Box::new(tunnel))), held: None });
    }
    if exchange.connects {
        // The endpoint has declined, and need not wait for more. Fails where it has ended the stream.
        let _ = exchange.upload.send.send_data(Piece::empty(), true);
    }
    let framing = framing_of(&parts, &receive);
    let head = ResponseHead::from_parts_within(&parts, framing, &limits).map_err(invalid)?;
    let upload = (!exchange.upload.is_done()).then_some(exchange.upload);
    let body = StreamBody { receive, upload, lease: Some(exchange.lease), is_past_data: false, broken: None };
    let body =
        if framing == Framing::None && body.upload.is_none() { Body::Empty } else { Body::Stream(Box::new(body)) };
    Ok(Response { head, body, held: None })
}

/// How the library below will end the body: it holds the endpoint to the length that it announced.
fn framing_of(parts: &http::response::Parts, receive: &RecvStream) -> Framing {
    if receive.is_end_stream() {
        return Framing::None;
    }
    let length = parts.headers.get(http::header::CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse().ok());
    length.map_or(Framing::Chunked, Framing::Length)
}

/// A request on its way.
struct Exchange {
    lease: Lease,
    response: ResponseFuture,
    stream: u32,
    upload: Upload,
    timer: Timer,
    interim: u32,
    /// It asks for a WebSocket, as HTTP/2 does.
    connects: bool,
}

/// Sends the head.
async fn begin(upstream: &Arc<Upstream>, lease: Lease, request: &Request) -> Result<Exchange, SendError> {
    let head = &request.visit.head;
    let scheme = if upstream.tls().is_some() { "https" } else { "http" };
    let edits = edits_for(request, upstream);
    let mut parts = head.to_parts(&edits, head.framing(), Some(scheme)).map_err(|error| {
        // A target that HTTP/1 lets pass and the library's types do not.
        let detail = Some(error.to_string());
        SendError { detail, ..SendError::new(Class::Cancelled, Cause::BadRequest) }
    })?;
    let mut sender = lease.sender();
    let connects = websocket::is_asked_properly(head) && sender.is_extended_connect_protocol_enabled();
    if connects {
        parts.method = http::Method::CONNECT;
        parts.extensions.insert(Protocol::from_static(websocket::NAME));
        parts.headers.remove(http::header::SEC_WEBSOCKET_KEY);
    }
    let body = request.body.clone();
    let sent = match poll_fn(|cx| sender.poll_ready(cx)).await {
        Ok(()) => sender.send_request(http::Request::from_parts(parts, ()), body.is_none() && !connects),
        Err(error) => Err(error),
    };
    let (response, send) = sent.map_err(|error| {
        // The connection ended, or is about to: nothing of the request has left.
        lease.discard();
        let detail = Some(error.to_string());
        SendError { unsent: true, stale: true, detail, ..SendError::new(Class::ConnectError, Cause::NotProcessed) }
    })?;
    let stream = response.stream_id().as_u32();
    let visit = body.is_some().then(|| Arc::clone(&request.visit));
    let upload = Upload { send, queue: Queue::new(None), body, visit, piece: Piece::empty(), trailers: None, moved: 0 };
    Ok(Exchange { lease, response, stream, upload, timer: Timer::new(), interim: 0, connects })
}

impl Exchange {
    /// Sends what can be sent and waits for the final response head.
    fn poll_head(
        &mut self,
        cx: &mut Context<'_>,
        request: &Request,
    ) -> Poll<Result<http::Response<RecvStream>, SendError>> {
        let timeouts = &request.route().options.timeout;
        loop {
            let before = self.upload.progress();
            if let Poll::Ready(Err(failure)) = self.upload.poll(cx) {
                return Poll::Ready(Err(failure.into()));
            }
            if before != self.upload.progress() {
                self.timer.clear();
            }
            match Pin::new(&mut self.response).poll_informational(cx) {
                Poll::Ready(Some(Ok(response))) => {
                    self.on_interim(response, request)?;
                    continue;
                }
                Poll::Ready(Some(Err(error))) => return Poll::Ready(Err(self.failed(&error))),
                Poll::Ready(None) | Poll::Pending => {}
            }
            if let Poll::Ready(response) = Pin::new(&mut self.response).poll(cx) {
                return Poll::Ready(response.map_err(|error| self.failed(&error)));
            }
            let waits_for = self.upload.waits_for();
            request.visit.trace.set_waits_for_client(matches!(waits_for, WaitsFor::Client));
            let (span, error) = match waits_for {
                WaitsFor::Response => (timeouts.response, SendError::new(Class::Timeout, Cause::ResponseTimeout)),
                WaitsFor::Endpoint => (timeouts.idle, SendError::new(Class::Timeout, Cause::IdleTimeout)),
                WaitsFor::Client => (timeouts.idle, SendError::new(Class::Cancelled, Cause::UploadTimeout)),
            };
            return self.timer.poll_after(cx, span).map(|()| Err(error));
        }
    }

    fn on_interim(&mut self, response: http::Response<()>, request: &Request) -> Result<(), SendError> {
        self.timer.clear();
        self.interim += 1;
        if self.interim > MOST_INTERIM {
            let detail = Some("too_many_interim".to_owned());
            return Err(SendError { detail, ..SendError::new(Class::InvalidResponse, Cause::InvalidResponse) });
        }
        if let Ok(head) = ResponseHead::from_parts(&response.into_parts().0, Framing::None) {
            on_interim(&head, &request.visit);
        }
        Ok(())
    }

    /// What a stream that failed before its response tells.
    fn failed(&self, error: &h2::Error) -> SendError {
        let detail = error.reason().map(|reason| reason.to_string());
        let is_refused = error.is_remote() && error.is_reset() && error.reason() == Some(Reason::REFUSED_STREAM);
        if is_refused || (error.is_go_away() && error.is_remote() && self.lease.is_left_out(self.stream)) {
            // As good as not sent.
            let detail = Some(if is_refused { "REFUSED_STREAM" } else { "left out of its GOAWAY" }.to_owned());
            let error = SendError::new(Class::ConnectError, Cause::NotProcessed);
            return SendError { unsent: true, stale: !is_refused, detail, ..error };
        }
        if error.is_library() && error.is_reset() {
            return SendError { detail, ..SendError::new(Class::InvalidResponse, Cause::InvalidResponse) };
        }
        // A connection that broke under a request may have been closed before that came.
        let stale = !error.is_reset() && self.lease.is_reused();
        if !error.is_reset() {
            self.lease.discard();
        }
        SendError { stale, detail, ..SendError::new(Class::Reset, Cause::Reset) }
    }
}

/// A request body being sent to an endpoint.
pub(crate) struct Upload {
    send: SendStream<Piece>,
    /// What waits of it, here and in the library.
    queue: Arc<Queue>,
    /// `None` once the body has ended.
    body: Option<Incoming>,
    /// Whose body it is, if there is one.
    visit: Option<Arc<Visit>>,
    /// Received from the client, and waiting for the endpoint's window.
    piece: Piece,
    trailers: Option<Trailers>,
    moved: u64,
}

impl Upload {
    fn is_done(&self) -> bool {
        self.body.is_none() && self.piece.is_empty()
    }

    fn progress(&self) -> (u64, u64) {
        (self.moved, self.body.as_ref().map_or(0, Incoming::received))
    }

    fn waits_for(&self) -> WaitsFor {
        if self.piece.is_empty() { WaitsFor::more_of(self.body.as_ref()) } else { WaitsFor::Endpoint }
    }

    /// Sends as much as both sides allow; ready when there is nothing left to send, or the endpoint takes no more.
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BodyFailure>> {
        let polled = self.advance(cx);
        if let Some(body) = &self.body {
            // What leaves later is to be heard of, since the client may wait for it.
            self.queue.wake_when_less(cx);
            body.on_gone_but(self.queue.held());
        }
        polled
    }

    fn advance(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BodyFailure>> {
        loop {
            while !self.piece.is_empty() {
                self.send.reserve_capacity(self.piece.len());
                let mut room = self.send.capacity();
                if room == 0 {
                    room = match ready!(self.send.poll_capacity(cx)) {
                        Some(Ok(room)) => room,
                        Some(Err(_)) | None => return Poll::Ready(self.broken()),
                    };
                }
                let part = self.piece.take_front(room);
                self.moved += part.len() as u64;
                if self.send.send_data(part, false).is_err() {
                    return Poll::Ready(self.broken());
                }
            }
            let Some(body) = &mut self.body else { return Poll::Ready(Ok(())) };
            match ready!(body.poll_frame(cx)).transpose()? {
                Some(Frame::Data(piece)) => self.piece = Piece::new(piece, &self.queue),
                Some(Frame::Trailers(trailers)) => {
                    self.trailers = self.visit.as_ref().and_then(|visit| visit.upstream_trailers(trailers));
                }
                None => {
                    self.body = None;
                    // Fails where the endpoint takes no more; its answer tells.
                    let _ = match &self.trailers {
                        Some(trailers) => self.send.send_trailers(trailers.to_headers()),
                        None => self.send.send_data(Piece::empty(), true),
                    };
                }
            }
        }
    }

    /// The endpoint takes no more. Not fatal: it may have answered already.
    fn broken(&mut self) -> Result<(), BodyFailure> {
        self.body = None;
        self.piece = Piece::empty();
        Ok(())
    }
}

/// A body being received from an endpoint.
pub(crate) struct StreamBody {
    receive: RecvStream,
    /// The rest of a request body that the endpoint answered before it had all of it.
    upload: Option<Upload>,
    /// `None` once all of it was received.
    lease: Option<Lease>,
    is_past_data: bool,
    /// What was wrong with it.
    broken: Option<String>,
}

impl StreamBody {
    /// What was wrong with it, once [`poll_frame`](Self::poll_frame) has failed.
    pub(crate) fn broken(&self) -> Option<&str> {
        self.broken.as_deref()
    }

    /// Whether all of it was received.
    pub(crate) fn is_complete(&self) -> bool {
        self.lease.is_none()
    }

    /// The next part; `None` is the end. After an error there is nothing more.
    pub(crate) fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame, Cause>>> {
        while self.lease.is_some() && !self.is_past_data {
            match ready!(self.receive.poll_data(cx)) {
                Some(Ok(piece)) => {
                    // Fails for a stream that has ended, whose window is of no interest any more.
                    let _ = self.receive.flow_control().release_capacity(piece.len());
                    // Who knows that it was the last one can say so with it.
                    if self.receive.is_end_stream() {
                        self.lease = None;
                    }
                    if !piece.is_empty() {
                        return Poll::Ready(Some(Ok(Frame::Data(piece))));
                    }
                }
                Some(Err(error)) => return Poll::Ready(Some(Err(self.failed(&error)))),
                None => self.is_past_data = true,
            }
        }
        if self.lease.is_none() {
            return Poll::Ready(None);
        }
        let trailers = ready!(self.receive.poll_trailers(cx));
        let trailers = match trailers {
            Ok(trailers) => trailers.as_ref().map(Trailers::from_headers).transpose(),
            Err(error) => return Poll::Ready(Some(Err(self.failed(&error)))),
        };
        self.lease = None;
        Poll::Ready(match trailers {
            Ok(trailers) => trailers.flatten().map(|trailers| Ok(Frame::Trailers(trailers))),
            Err(_) => {
                self.broken = Some("bad_trailers".to_owned());
                Some(Err(Cause::InvalidResponse))
            }
        })
    }

    /// Sends on what the client still uploads; tells whether any of it moved.
    ///
    /// # Errors
    /// The upload broke off on the client's side, so that the endpoint would wait for the rest in vain.
    pub(crate) fn poll_upload(&mut self, cx: &mut Context<'_>) -> Result<bool, Cause> {
        let Some(upload) = &mut self.upload else { return Ok(false) };
        let before = upload.progress();
        match upload.poll(cx) {
            Poll::Pending => return Ok(upload.progress() != before),
            Poll::Ready(Ok(())) => {}
            Poll::Ready(Err(failure)) => {
                self.lease = None;
                return Err(SendError::from(failure).cause);
            }
        }
        self.upload = None;
        Ok(true)
    }

    fn failed(&mut self, error: &h2::Error) -> Cause {
        self.lease = None;
        self.broken = error.reason().map(|reason| reason.description().to_owned());
        if error.is_library() && error.is_reset() { Cause::InvalidResponse } else { Cause::UpstreamAborted }
    }
}
