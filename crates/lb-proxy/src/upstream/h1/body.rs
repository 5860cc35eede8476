//! A response body on an HTTP/1 connection.

use std::sync::Arc;
use std::task::{Context, Poll, ready};

use super::upload::Upload;
use super::{Bound, Connection};
use crate::downstream::{Client, Frame};
use crate::message::{Framing, ResponseHead};
use crate::net::clock;
use crate::rules::cause::Cause;
use crate::upstream::call::BodySource;
use crate::upstream::{AttemptError, Upstream};
use crate::wire::h1::{BodyDecoder, Step};

/// The client that a connection belongs to because the endpoint may have tied a login to it.
pub(crate) struct Owner {
    pub(crate) client: Client,
    pub(crate) cluster: Arc<str>,
    pub(crate) affinity: u64,
}

impl Owner {
    fn keep(self, endpoint: &Arc<Upstream>, worker: usize, connection: Box<Connection>) {
        let Self { client, cluster, affinity } = self;
        if let Some(bound) = Bound::new(endpoint, worker, cluster, affinity, connection, clock::mono()) {
            bound.keep(&client);
        }
    }
}

/// A body being received from an endpoint, with the connection it comes over.
pub(super) struct ConnectionBody {
    framing: Framing,
    /// `None` once all of it was received.
    decoder: Option<BodyDecoder>,
    connection: Option<Box<Connection>>,
    /// The rest of a request body that the endpoint answered before it had all of it.
    upload: Option<Upload>,
    /// Both sides agree to use the connection again.
    keep: bool,
    endpoint: Arc<Upstream>,
    worker: usize,
    /// Set if only one client may use the connection.
    owner: Option<Box<Owner>>,
    /// What was wrong with it.
    broken: Option<&'static str>,
}

impl ConnectionBody {
    pub(super) fn new(
        head: &ResponseHead,
        connection: Box<Connection>,
        upload: Option<Upload>,
        endpoint: Arc<Upstream>,
        worker: usize,
        owner: Option<Box<Owner>>,
    ) -> Self {
        let framing = head.framing();
        let decoder = (!framing.is_empty()).then(|| BodyDecoder::of_response(framing));
        let keep = head.keep_alive();
        let mut body = Self {
            framing,
            decoder,
            connection: Some(connection),
            upload,
            keep,
            endpoint,
            worker,
            owner,
            broken: None,
        };
        if body.is_complete() {
            body.on_end();
        }
        body
    }

    fn on_end(&mut self) {
        self.decoder = None;
        let is_reusable = self.keep && self.upload.is_none();
        let Some(connection) = self.connection.take().filter(|_| is_reusable) else { return };
        match self.owner.take() {
            None => self.endpoint.checkin(self.worker, connection, clock::mono()),
            Some(owner) => owner.keep(&self.endpoint, self.worker, connection),
        }
    }

    fn fail(&mut self, cause: Cause) -> Cause {
        self.connection = None;
        cause
    }
}

impl BodySource for ConnectionBody {
    fn poll_frame(&mut self, cx: &mut Context<'_>, room: usize) -> Poll<Option<Result<Frame, Cause>>> {
        loop {
            let (Some(decoder), Some(connection)) = (&mut self.decoder, &mut self.connection) else {
                return Poll::Ready(None);
            };
            match decoder.decode(&mut connection.read) {
                Ok(Step::Data(piece)) => {
                    // Lets the writer mark this piece as the last one.
                    if decoder.is_done() {
                        self.on_end();
                    }
                    return Poll::Ready(Some(Ok(Frame::Data(piece))));
                }
                Ok(Step::Trailers(trailers)) => return Poll::Ready(Some(Ok(Frame::Trailers(trailers)))),
                Ok(Step::End) => {
                    self.on_end();
                    return Poll::Ready(None);
                }
                Ok(Step::NeedMore) => {}
                Err(error) => {
                    self.broken = Some(error.name());
                    return Poll::Ready(Some(Err(self.fail(Cause::InvalidResponse))));
                }
            }
            match ready!(connection.poll_fill(cx, room)) {
                Ok(0) if self.framing == Framing::Close => self.decoder = None,
                Ok(0) | Err(_) => return Poll::Ready(Some(Err(self.fail(Cause::UpstreamAborted)))),
                Ok(_) => {}
            }
        }
    }

    fn unread(&self) -> usize {
        self.connection.as_ref().map_or(0, |connection| connection.read.len())
    }

    fn poll_upload(&mut self, cx: &mut Context<'_>) -> Result<bool, Cause> {
        let (Some(upload), Some(connection)) = (&mut self.upload, &mut self.connection) else { return Ok(false) };
        let before = upload.progress();
        match upload.poll(cx, &mut connection.stream) {
            Poll::Pending => return Ok(upload.progress() != before),
            Poll::Ready(Ok(())) => {}
            Poll::Ready(Err(failure)) => return Err(self.fail(AttemptError::from(failure).cause)),
        }
        // An endpoint that has answered need not take the rest; its connection is not used again.
        self.keep &= !upload.is_broken();
        self.upload = None;
        Ok(true)
    }

    fn broken(&self) -> Option<&str> {
        self.broken
    }

    fn is_complete(&self) -> bool {
        self.decoder.is_none()
    }
}
