//! The client's side of a request of HTTP/1: its connection.

use std::task::{Context, Poll};

use lb_core::End;

use crate::downstream::BodyWriter;
use crate::downstream::{Downstream, Gone, HALF_CLOSE_GRACE, RequestBodyState, WriteBuffer};
use crate::exchange::{Exchange, Response};
use crate::forward::tunnel::Carried;
use crate::message::{Edits, Framing, ResponseHead, Version};
use crate::net::clock;
use crate::outcome::After;
use crate::respond::{ResponseBody, ResponseSink};
use crate::rules::cause::Cause;
use crate::rules::reply::Reply;
use crate::wire::h1;
use crate::worker::shutdown::ShutdownWatch;

/// Writes the response of one request to a connection.
pub(crate) struct Http1Sink<'a> {
    downstream: &'a Downstream,
    stopping: &'a ShutdownWatch,
    writer: BodyWriter,
    /// Another request may follow.
    keep: bool,
    /// How much was written before the body.
    body_from: u64,
    /// From when on an end of the client's stream means that it is gone.
    watch_from: tokio::time::Instant,
    is_blocked: bool,
}

impl<'a> Http1Sink<'a> {
    /// `stopping` is triggered when the connection is to end.
    pub(crate) fn new(downstream: &'a Downstream, stopping: &'a ShutdownWatch) -> Self {
        Self {
            downstream,
            stopping,
            writer: BodyWriter::new(false),
            keep: false,
            body_from: 0,
            watch_from: clock::now() + HALF_CLOSE_GRACE,
            is_blocked: false,
        }
    }

    /// Whether another request may follow on the connection.
    fn may_keep(&self, exchange: &Exchange, response: &Response, framing: Framing) -> bool {
        exchange.head.keep_alive()
            && framing != Framing::Close
            && !self.stopping.is_triggered()
            && response.cause.is_none_or(|cause| !cause.closes())
            // The rest of a request that we have answered ourselves is not worth waiting for.
            && (!response.is_own() || self.downstream.lock().has_whole_body())
    }

    /// Queues what the endpoint has sent, as far as there is room; tells whether it ran dry.
    fn fill(&mut self, cx: &mut Context<'_>, out: &mut WriteBuffer, body: &mut ResponseBody<'_>) -> bool {
        while !body.is_over() && out.has_room() {
            match body.poll_frame(cx, usize::MAX) {
                Poll::Ready(Some(frame)) => self.writer.push(out, frame),
                Poll::Ready(None) if body.is_broken() => {}
                Poll::Ready(None) => self.writer.end(out),
                Poll::Pending => return true,
            }
        }
        false
    }
}

impl ResponseSink for Http1Sink<'_> {
    fn begin(&mut self, exchange: &Exchange, response: &Response) -> Result<(), Cause> {
        let framing = framing_in_http1(exchange, response);
        let keep = self.may_keep(exchange, response, framing);
        let mut io = self.downstream.lock();
        self.keep = keep && (response.is_own() || may_drain(&io.body, &response.head));
        let connection = connection_for(exchange, &response.head, self.keep);
        h1::encode_response(io.out.front(), &response.head, &response.edits, framing, connection);
        self.body_from = io.out.written + io.out.front().len() as u64;
        io.answer = Some((response.head.status(), self.body_from));
        self.writer = BodyWriter::new(framing == Framing::Chunked);
        Ok(())
    }

    fn poll_body(&mut self, cx: &mut Context<'_>, body: &mut ResponseBody<'_>) -> Poll<Result<(), Gone>> {
        let io = &mut *self.downstream.lock();
        loop {
            let dry = self.fill(cx, &mut io.out, body);
            let before = io.moved();
            let flushed = io.poll_flush(cx);
            if io.moved() != before {
                body.on_taken();
            }
            self.is_blocked = flushed.is_pending();
            match flushed {
                Poll::Ready(Ok(())) if body.is_over() => return Poll::Ready(Ok(())),
                Poll::Ready(Ok(())) if !dry => {}
                Poll::Ready(Ok(())) => return io.poll_gone(cx, self.watch_from).map(|()| Err(Gone)),
                Poll::Ready(Err(_)) => return Poll::Ready(Err(Gone)),
                Poll::Pending => return Poll::Pending,
            }
        }
    }

    fn is_blocked(&self) -> bool {
        self.is_blocked
    }

    fn end(&mut self, end: End) -> After {
        match end {
            End::Completed if !self.keep => After::Close,
            End::Completed if self.downstream.lock().body.is_complete() => After::Keep,
            End::Completed => After::Drain,
            // A client that seems to be gone may have gone only half way.
            End::ClientGone | End::UpstreamAborted | End::Cancelled => After::Abort,
        }
    }

    fn sent(&self) -> u64 {
        self.downstream.lock().out.written.saturating_sub(self.body_from)
    }

    fn begin_tunnel(&mut self, head: &ResponseHead, edits: &Edits) -> Option<u16> {
        let mut io = self.downstream.lock();
        h1::encode_response(io.out.front(), head, edits, Framing::None, h1::Connection::Upgrade);
        io.answer = Some((head.status(), io.out.written));
        Some(head.status())
    }

    fn end_tunnel(&mut self, carried: &Carried) -> After {
        self.downstream.lock().body.received = carried.from_client;
        After::Gone
    }

    fn refuse(&mut self, reply: Reply, edits: &Edits) {
        let mut io = self.downstream.lock();
        h1::encode_response(io.out.front(), &reply.head, edits, reply.framing, h1::Connection::Close);
        io.out.push(reply.body, b"");
    }
}

/// How the body is framed for a client of this version of HTTP/1.
fn framing_in_http1(exchange: &Exchange, response: &Response) -> Framing {
    match response.framing {
        _ if exchange.has_no_body(&response.head) => Framing::None,
        Framing::Chunked | Framing::Close if exchange.head.version() == Version::Http10 => Framing::Close,
        Framing::Chunked | Framing::Close => Framing::Chunked,
        // HTTP/2 ends the stream where there is no body; an HTTP/1 client would wait for the connection to end.
        Framing::None => Framing::Length(0),
        framing => framing,
    }
}

/// Whether the request has arrived, or the client may as well send the rest of it, to be thrown away once the endpoint
/// has answered. It may not where the endpoint says that it closes: a client that still sends should learn of that. Nor where
/// the client was not asked for the body, since what it then does is its own choice.
fn may_drain(body: &RequestBodyState, head: &ResponseHead) -> bool {
    body.is_complete() || (head.keep_alive() && !body.is_held_back())
}

fn connection_for(exchange: &Exchange, head: &ResponseHead, keep: bool) -> h1::Connection {
    match (keep, exchange.head.version()) {
        (false, _) => h1::Connection::Close,
        (true, Version::Http10) => h1::Connection::KeepAlive,
        // A 426 says what to ask for (RFC 9110 §15.5.22), as far as that would be passed on.
        (true, _) if head.upgrade().is_some_and(|protocol| exchange.may_upgrade_to(protocol)) => {
            h1::Connection::Upgrade
        }
        (true, _) => h1::Connection::Implicit,
    }
}
