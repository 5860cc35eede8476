//! The body of a response, as it is read for the client.

use std::task::{Context, Poll};

use lb_core::End;

use super::Written;
use crate::downstream::Frame;
use crate::exchange::{Body, Exchange, Response};
use crate::net::Timer;
use crate::rules::cause::Cause;
use crate::rules::headers::HeaderRules;
use crate::rules::{grpc, trailers};

/// The body of a response, as sinks read it.
pub(crate) struct ResponseBody<'a> {
    body: Body,
    /// The route's edits of the response, which hold for trailers too.
    edits: Option<&'a HeaderRules>,
    pub(super) timer: &'a mut Timer,
    is_over: bool,
    /// Why it ended before its time.
    broken: Option<Cause>,
    /// The status of a gRPC call, from head or trailers.
    grpc_status: Option<u8>,
    is_grpc: bool,
}

impl<'a> ResponseBody<'a> {
    /// The body of a response that is about to be written; none if the response has no body.
    pub(super) fn take(response: &mut Response, exchange: &'a Exchange, timer: &'a mut Timer) -> Self {
        let is_empty = response.framing.is_empty();
        Self {
            body: if is_empty { Body::Empty } else { std::mem::replace(&mut response.body, Body::Empty) },
            edits: exchange.route().map(|route| &*route.response_headers),
            timer,
            is_over: is_empty,
            broken: None,
            grpc_status: if exchange.is_grpc { grpc::ending(&response.head) } else { None },
            is_grpc: exchange.is_grpc,
        }
    }

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
    pub(super) fn poll_upload(&mut self, cx: &mut Context<'_>) {
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

    /// The status of a gRPC call, once it is known.
    pub(super) fn grpc_status(&self) -> Option<u8> {
        self.grpc_status
    }

    /// What was wrong with it, if the cause does not say everything.
    pub(super) fn detail(&self) -> Option<String> {
        self.body.broken().map(str::to_owned)
    }

    /// How it ended, once nothing more will come.
    pub(super) fn ended(&self) -> Written {
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
