//! A request on an HTTP/1 connection, up to the final response head.
//!
//! The head is written once. The body follows as fast as the endpoint takes it, while the response is already being read, since an
//! endpoint may answer early.

use std::io;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use lb_core::Class;

use super::Connection;
use super::body::{ConnectionBody, Owner};
use super::strays::Entrusted;
use super::upload::Upload;
use crate::downstream::BodyFailure;
use crate::message::{RequestHead, ResponseHead, upgrade};
use crate::net::Shortage;
use crate::rules::cause::Cause;
use crate::rules::login;
use crate::tls;
use crate::upstream::call::{Asked, BodySource, Progress, WaitsFor};
use crate::upstream::tunnel::{ConnectionTunnel, Tunnel};
use crate::upstream::{AttemptError, Upstream};
use crate::wire::h1::Answering;

/// A request on an HTTP/1 connection.
pub(crate) struct Call {
    upload: Upload,
    entrusted: Entrusted,
    /// The request's method is not safe.
    changes: bool,
}

impl Call {
    /// Begins a request, whose head `upload` holds.
    pub(crate) fn new(endpoint: &Arc<Upstream>, connection: Box<Connection>, upload: Upload, changes: bool) -> Self {
        Self { upload, entrusted: Entrusted::new(endpoint, connection), changes }
    }

    /// The tunnel that a 101 opens.
    pub(crate) fn into_tunnel(mut self) -> Option<Tunnel> {
        let (_, mut connection) = self.entrusted.release()?;
        // What passes from now on cannot be judged.
        connection.closes_in_order = true;
        let upload = (!self.upload.is_done()).then_some(self.upload);
        Some(Tunnel::Connection(Box::new(ConnectionTunnel { connection, upload })))
    }

    /// The body that follows this head; `None` if it is empty and nothing is left of the upload.
    ///
    /// `owner`: the client that the connection belongs to from now on if a login is tied to it.
    pub(crate) fn into_body(
        mut self,
        asked: &RequestHead,
        head: &ResponseHead,
        worker: usize,
        owner: impl FnOnce() -> Owner,
    ) -> Option<Box<dyn BodySource>> {
        let (endpoint, mut connection) = self.entrusted.release()?;
        if asked.upgrade().is_some() && !asked.framing().is_empty() {
            // An endpoint may have taken the body for the first bytes of the protocol that it then declined.
            connection.close_after_response();
        }
        if let Some(timeout) = head.keep_alive_timeout() {
            connection.set_advertised_timeout(timeout);
        }
        if self.upload.is_broken() {
            connection.close_after_response();
        }
        connection.is_bound |= login::is_challenge(head);
        let owner = connection.is_bound.then(|| Box::new(owner()));
        let upload = (!self.upload.is_done()).then_some(self.upload);
        let body = ConnectionBody::new(head, connection, upload, endpoint, worker, owner);
        (!body.is_complete()).then(|| Box::new(body) as Box<dyn BodySource>)
    }
}

impl crate::upstream::Call for Call {
    fn poll_upload(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BodyFailure>> {
        let Some(connection) = self.entrusted.connection() else { return Poll::Pending };
        let polled = self.upload.poll(cx, &mut connection.stream);
        self.entrusted.is_owed = self.changes && self.upload.is_done();
        polled
    }

    fn progress(&self) -> Progress {
        self.upload.progress()
    }

    fn waits_for(&self) -> WaitsFor {
        self.upload.waits_for()
    }

    fn poll_head(&mut self, cx: &mut Context<'_>, asked: &Asked<'_>) -> Poll<Result<ResponseHead, AttemptError>> {
        let Some(connection) = self.entrusted.connection() else { return Poll::Pending };
        loop {
            if let Some(head) = next_head(connection, asked)? {
                return Poll::Ready(Ok(head));
            }
            match connection.poll_fill(cx, asked.client.room()) {
                Poll::Ready(Ok(n)) if n > 0 => {}
                Poll::Ready(read) => {
                    let error = ended(connection, &self.upload, read.as_ref().err());
                    return Poll::Ready(Err(error));
                }
                Poll::Pending => return Poll::Pending,
            }
        }
    }

    fn poll_timer(&mut self, cx: &mut Context<'_>, after: Duration) -> Poll<()> {
        match self.entrusted.connection() {
            Some(connection) => connection.timer.poll_after(cx, after),
            None => Poll::Pending,
        }
    }

    fn restart_timer(&mut self) {
        if let Some(connection) = self.entrusted.connection() {
            connection.timer.clear();
        }
    }
}

/// The next head of what was read; `None` if it is not complete.
fn next_head(connection: &mut Connection, asked: &Asked<'_>) -> Result<Option<ResponseHead>, AttemptError> {
    if connection.read.is_empty() {
        return Ok(None);
    }
    let head = connection.parser.parse(&mut connection.read, Answering::from(asked.head), &asked.limits)?;
    let Some(head) = head else { return Ok(None) };
    if head.status() == 101
        && let Some(mismatch) = upgrade::mismatch(asked.head, &head)
    {
        return Err(AttemptError::invalid(Cause::InvalidResponse, mismatch));
    }
    Ok(Some(head))
}

/// What a read that gave nothing means.
fn ended(connection: &Connection, upload: &Upload, error: Option<&io::Error>) -> AttemptError {
    // In TLS 1.3 an endpoint refuses our certificate only after the handshake.
    if let Some((cause, why)) = error.and_then(tls::cause) {
        return AttemptError { detail: Some(why), ..AttemptError::new(Class::Reset, cause) };
    }
    if let Some(shortage) = error.and_then(Shortage::of) {
        return AttemptError::short(shortage);
    }
    let is_stale = connection.is_reused() && connection.read.is_empty();
    let is_unsent = is_stale && upload.progress().sent == 0;
    AttemptError { is_stale, is_unsent, ..AttemptError::new(Class::Reset, Cause::Reset) }
}
