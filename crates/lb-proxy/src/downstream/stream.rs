//! One stream of an HTTP/2 connection: a request with its body, and the way back.
//!
//! Windows open as the body is taken, and it is taken when the endpoint can have it, so that a slow endpoint stops the
//! upload and nothing piles up here.

use std::sync::Arc;
use std::task::{Context, Poll, ready};

use atomic_refcell::{AtomicRefCell, AtomicRefMut};
use bytes::Bytes;
use h2::server::SendResponse;
use h2::{Reason, RecvStream, SendStream};

use super::ClientConnection;
use super::body_state::{BodyFailure, RequestBodyState};
use crate::message::{Edits, Framing, ResponseHead, Trailers, has_outer_space};
use crate::net::account::{Account, HeadRoom};
use crate::net::cork::Drain;
use crate::net::queue::{self, Piece, Queue};
use crate::net::side::StreamSide;
use crate::wire::h1;

/// A stream, shared between the task that serves it and the request body it hands out.
#[derive(Clone)]
pub(crate) struct Stream {
    shared: Arc<Shared>,
}

struct Shared {
    connection: Arc<ClientConnection>,
    state: AtomicRefCell<StreamState>,
}

/// What is in the cell.
pub(crate) struct StreamState {
    /// The request body being received.
    pub(crate) body: RequestBodyState,
    receive: RecvStream,
    /// Taken of the body, and not yet on its way: the client's window opens by this much later.
    taken: usize,
    respond: SendResponse<Piece>,
    /// What of the answer waits.
    queue: Arc<Queue>,
    account: Arc<Account>,
    trailers_room: Option<HeadRoom>,
    /// What is seen of the connection's frames, where there is a body.
    watch: Option<Drain>,
    /// It is to be reset with PROTOCOL_ERROR, whatever it is answered (RFC 9113 §8.1.1).
    is_malformed: bool,
    /// Once the answer has begun: its status, the way for its body, and how much of that was handed over.
    answer: Option<Answer>,
}

struct Answer {
    status: u16,
    send: SendStream<Piece>,
    written: u64,
}

impl Stream {
    pub(crate) fn new(
        connection: &Arc<ClientConnection>,
        receive: RecvStream,
        respond: SendResponse<Piece>,
        account: &Arc<Account>,
        watch: Option<Drain>,
    ) -> Self {
        let account = Arc::clone(account);
        let queue = Queue::new(Some(Arc::clone(&account)));
        let state = StreamState {
            body: RequestBodyState::none(),
            receive,
            taken: 0,
            respond,
            queue,
            account,
            trailers_room: None,
            watch,
            is_malformed: false,
            answer: None,
        };
        let connection = Arc::clone(connection);
        Self { shared: Arc::new(Shared { connection, state: AtomicRefCell::new(state) }) }
    }

    pub(crate) fn connection(&self) -> &Arc<ClientConnection> {
        &self.shared.connection
    }

    pub(crate) fn lock(&self) -> AtomicRefMut<'_, StreamState> {
        self.shared.state.borrow_mut()
    }
}

impl StreamState {
    /// What is to come of the body.
    pub(super) fn expect(&mut self, mut body: RequestBodyState) {
        if !body.is_complete() {
            body.kept.count_in(Arc::clone(&self.account));
        }
        self.body = body;
    }

    /// How much of the answer may be read now; a little at least.
    pub(super) fn room(&self) -> usize {
        self.queue.room().max(queue::LEAST)
    }

    /// What of the answer waits.
    pub(crate) fn queue(&self) -> Arc<Queue> {
        Arc::clone(&self.queue)
    }

    /// The next piece of payload.
    pub(super) fn poll_receive(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, BodyFailure>>> {
        if let Some(failure) = self.body.failure() {
            return Poll::Ready(Some(Err(failure)));
        }
        loop {
            if self.body.is_complete() {
                return Poll::Ready(None);
            }
            let failure = match ready!(self.receive.poll_data(cx)) {
                // A length that was announced is enforced by the library below.
                Some(Ok(piece)) if piece.is_empty() => continue,
                Some(Ok(piece)) => {
                    self.taken += piece.len();
                    return Poll::Ready(Some(self.body.accept(piece)));
                }
                Some(Err(error)) => failure_of(&error),
                None => match ready!(self.receive.poll_trailers(cx)) {
                    Ok(Some(_)) if self.has_pseudo_trailers() => {
                        self.is_malformed = true;
                        BodyFailure::Malformed(h1::Cause::ForbiddenTrailer.into())
                    }
                    Ok(Some(trailers)) if trailers.values().any(has_outer_space) => {
                        BodyFailure::Malformed(h1::Cause::BadHeaderValue.into())
                    }
                    Ok(trailers) => match trailers.as_ref().map(Trailers::from_headers).transpose() {
                        Ok(trailers) if !self.has_room_for(trailers.as_ref().and_then(Option::as_ref)) => {
                            BodyFailure::Malformed(h1::Cause::TrailersTooLarge.into())
                        }
                        Ok(trailers) => {
                            self.body.end(trailers.flatten());
                            continue;
                        }
                        Err(error) => BodyFailure::Malformed(error),
                    },
                    Err(error) => failure_of(&error),
                },
            };
            return Poll::Ready(Some(Err(self.body.fail(failure))));
        }
    }

    /// Takes room for trailers. The heads of the connection's requests may have taken all that there is.
    fn has_room_for(&mut self, trailers: Option<&Trailers>) -> bool {
        let Some(trailers) = trailers else { return true };
        self.trailers_room = HeadRoom::take(&self.account, trailers.footprint());
        self.trailers_room.is_some()
    }

    /// Whether all of the request has come, or no more will.
    pub(crate) fn is_whole(&self) -> bool {
        self.receive.is_end_stream()
    }

    /// All that was taken of the body but this much has gone on: the client may send as much again.
    pub(crate) fn release(&mut self, waiting: usize) {
        let gone = self.taken.saturating_sub(waiting);
        if gone > 0 {
            self.taken -= gone;
            // Fails for a stream that has ended, whose window is of no interest any more.
            let _ = self.receive.flow_control().release_capacity(gone);
        }
    }

    /// Throws away what comes of the body: how much that was, `None` at its end.
    pub(crate) fn poll_discard(&mut self, cx: &mut Context<'_>) -> Poll<Option<usize>> {
        let Some(Ok(piece)) = ready!(self.receive.poll_data(cx)) else { return Poll::Ready(None) };
        self.taken += piece.len();
        self.release(0);
        Poll::Ready(Some(piece.len()))
    }

    pub(super) fn on_interim(&mut self, head: &ResponseHead, edits: &Edits) {
        if let Ok(parts) = head.to_parts(edits, Framing::None) {
            // Fails for a client that is gone, as will be seen.
            let _ = self.respond.send_informational(http::Response::from_parts(parts, ()));
        }
    }

    /// Whether there was a pseudo-header field in the trailers, which the library does not tell.
    fn has_pseudo_trailers(&self) -> bool {
        self.watch.as_ref().is_some_and(|watch| watch.take_malformed(self.receive.stream_id().as_u32()))
    }

    /// Ready when the client has given the stream up, or its connection is gone.
    pub(crate) fn poll_reset(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        match &mut self.answer {
            Some(answer) => answer.send.poll_reset(cx).map(drop),
            None => self.respond.poll_reset(cx).map(drop),
        }
    }

    /// Begins the answer. With `ends` there is nothing but the head.
    ///
    /// # Errors
    /// The stream is not open any more.
    pub(crate) fn answer(&mut self, head: http::response::Parts, ends: bool) -> Result<(), h2::Error> {
        let status = head.status.as_u16();
        let send = self.respond.send_response(http::Response::from_parts(head, ()), ends)?;
        self.answer = Some(Answer { status, send, written: 0 });
        Ok(())
    }

    /// Gives the whole of a short answer.
    ///
    /// # Errors
    /// The stream is not open any more.
    pub(crate) fn answer_whole(&mut self, head: http::response::Parts, body: Bytes) -> Result<(), h2::Error> {
        self.answer(head, false)?;
        let body = Piece::new(body, &self.queue);
        self.answer.as_mut().map_or(Ok(()), |answer| answer.send.send_data(body, true))
    }

    /// Hands over as much of `piece` as the client's windows allow; ready when that is all of it. `is_last` is for the
    /// end of the piece.
    ///
    /// # Errors
    /// The stream is not open any more.
    pub(crate) fn poll_send(
        &mut self,
        cx: &mut Context<'_>,
        piece: &mut Piece,
        is_last: bool,
    ) -> Poll<Result<(), Gone>> {
        let Some(answer) = &mut self.answer else { return Poll::Ready(Err(Gone)) };
        while !piece.is_empty() {
            answer.send.reserve_capacity(piece.len());
            let mut room = answer.send.capacity();
            if room == 0 {
                room = match ready!(answer.send.poll_capacity(cx)) {
                    Some(Ok(room)) => room,
                    Some(Err(_)) | None => return Poll::Ready(Err(Gone)),
                };
            }
            let part = piece.take_front(room);
            answer.written += part.len() as u64;
            answer.send.send_data(part, is_last && piece.is_empty()).map_err(|_| Gone)?;
        }
        Poll::Ready(Ok(()))
    }

    /// Ends the answer, with trailers if there are any.
    ///
    /// # Errors
    /// The stream is not open any more.
    pub(crate) fn end(&mut self, trailers: Option<&Trailers>) -> Result<(), Gone> {
        let Some(answer) = &mut self.answer else { return Err(Gone) };
        match trailers {
            Some(trailers) => answer.send.send_trailers(trailers.to_headers()),
            None => answer.send.send_data(Piece::empty(), true),
        }
        .map_err(|_| Gone)
    }

    /// The stream as it is once another protocol is spoken on it; `None` before the answer.
    pub(crate) fn ways(&mut self) -> Option<StreamSide<'_>> {
        let send = &mut self.answer.as_mut()?.send;
        Some(StreamSide { send, receive: &mut self.receive, taken: &mut self.taken, queue: &self.queue })
    }

    /// A tunnel has carried this much, from the client and to it.
    pub(crate) fn on_carried(&mut self, up: u64, down: u64) {
        self.body.received = up;
        if let Some(answer) = &mut self.answer {
            answer.written = down;
        }
    }

    /// Bytes of the answer's body handed over so far.
    pub(crate) fn written(&self) -> u64 {
        self.answer.as_ref().map_or(0, |answer| answer.written)
    }

    /// Whether the request turned out to be none, so that there is nothing to answer.
    pub(crate) fn is_malformed(&self) -> bool {
        self.is_malformed
    }

    /// Breaks the stream off, so that what was sent is not taken for the whole.
    pub(crate) fn reset(&mut self, reason: Reason) {
        let reason = if self.is_malformed { Reason::PROTOCOL_ERROR } else { reason };
        match &mut self.answer {
            Some(answer) => answer.send.send_reset(reason),
            None => self.respond.send_reset(reason),
        }
    }

    pub(super) fn cut(&mut self) -> Option<(u16, u64)> {
        let answer = self.answer.as_mut()?;
        answer.send.send_reset(Reason::INTERNAL_ERROR);
        Some((answer.status, answer.written))
    }
}

/// The stream is not open any more.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Gone;

/// What a broken request body means.
fn failure_of(error: &h2::Error) -> BodyFailure {
    // Whatever our side of the connection refused was wrong with the request: a length that does not hold, for one.
    if error.is_library() && error.is_reset() {
        BodyFailure::Malformed(h1::Cause::BadLength.into())
    } else {
        BodyFailure::ClientGone
    }
}
