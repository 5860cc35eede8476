//! A request on its way to an endpoint, and the response on its way back: what the protocols have in common.

use std::task::{Context, Poll};
use std::time::Duration;

use super::AttemptError;
use crate::downstream::{BodyFailure, Client, Frame, RequestBody};
use crate::message::{RequestHead, ResponseHead};
use crate::rules::cause::Cause;
use crate::wire::h1::HeadLimits;

/// A request that is being sent, up to its final response head.
pub(crate) trait Call {
    /// Sends as much as both sides allow; ready when nothing is left to send, or the endpoint takes no more.
    fn poll_upload(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BodyFailure>>;

    /// How far the upload is.
    fn progress(&self) -> Progress;

    /// What the call waits for, once the upload can go no further.
    fn waits_for(&self) -> WaitsFor;

    /// The next response head, interim or final.
    fn poll_head(&mut self, cx: &mut Context<'_>, asked: &Asked<'_>) -> Poll<Result<ResponseHead, AttemptError>>;

    /// Ready after this long without [`restart_timer`](Self::restart_timer).
    fn poll_timer(&mut self, cx: &mut Context<'_>, after: Duration) -> Poll<()>;

    /// Something moved.
    fn restart_timer(&mut self);
}

/// What a response head is read by.
pub(crate) struct Asked<'a> {
    pub(crate) head: &'a RequestHead,
    pub(crate) client: &'a Client,
    pub(crate) limits: HeadLimits,
}

/// Bytes that an upload has sent to the endpoint and received from the client, and whether it has ended.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Progress {
    pub(crate) sent: u64,
    pub(crate) received: u64,
    pub(crate) is_done: bool,
}

impl Progress {
    pub(super) fn new(sent: u64, body: Option<&RequestBody>, is_done: bool) -> Self {
        Self { sent, received: body.map_or(0, RequestBody::received), is_done }
    }
}

/// What keeps a call from going on.
pub(crate) enum WaitsFor {
    Response,
    Endpoint,
    Client,
}

impl WaitsFor {
    /// When everything received of the body was sent on. A client that waits for a 100 sends nothing before it.
    pub(super) fn more_of(body: Option<&RequestBody>) -> Self {
        match body {
            Some(body) if !body.is_held_back() => Self::Client,
            _ => Self::Response,
        }
    }
}

/// A response body that is being received from an endpoint.
pub(crate) trait BodySource: Send {
    /// The next part; `None` is the end. After an error there is nothing more.
    ///
    /// At most about `room` bytes are read at once from a connection that carries one request at a time.
    fn poll_frame(&mut self, cx: &mut Context<'_>, room: usize) -> Poll<Option<Result<Frame, Cause>>>;

    /// Bytes read that [`poll_frame`](Self::poll_frame) has not returned yet.
    fn unread(&self) -> usize;

    /// Sends on what the client still uploads; whether any of it moved.
    ///
    /// # Errors
    /// The upload failed on the client's side, so that the endpoint would wait for the rest in vain.
    fn poll_upload(&mut self, cx: &mut Context<'_>) -> Result<bool, Cause>;

    /// What was wrong with the body, once [`poll_frame`](Self::poll_frame) has failed; `None` if the cause says everything.
    fn broken(&self) -> Option<&str>;

    /// Whether all of it was received.
    fn is_complete(&self) -> bool;
}
