//! Where a response goes, whatever protocol the client speaks.

use std::task::{Context, Poll};

use lb_core::End;

use super::ResponseBody;
use crate::downstream::Gone;
use crate::exchange::{Exchange, Response};
use crate::forward::tunnel::Carried;
use crate::message::{Edits, ResponseHead};
use crate::outcome::After;
use crate::rules::cause::Cause;
use crate::rules::reply::Reply;

/// The client's side of one request: where its response goes.
pub(crate) trait ResponseSink {
    /// Begins a response.
    ///
    /// # Errors
    /// Why the client cannot have it.
    fn begin(&mut self, exchange: &Exchange, response: &Response) -> Result<(), Cause>;

    /// Passes on what the body has, as far as the client takes it. Ready when all of it was taken, or as much as came before
    /// it broke.
    fn poll_body(&mut self, cx: &mut Context<'_>, body: &mut ResponseBody<'_>) -> Poll<Result<(), Gone>>;

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
    fn refuse(&mut self, reply: Reply, edits: &Edits);

    /// The request ended: `answered`, or given up by the client before.
    fn on_end(&mut self, answered: bool) {
        let _ = answered;
    }
}
