//! A request and its response, as the stages between `limit` and `outcome` see them.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use atomic_refcell::{AtomicRefCell, AtomicRefMut};
use bytes::Bytes;
use lb_core::Mono;
use lb_policy::Tried;
use lb_tower::Expiry;

use crate::downstream::{Client, Frame, Incoming};
use crate::forward::attempt::SendError;
use crate::forward::stack::Held;
use crate::message::{Framing, ResponseHead};
use crate::net::clock;
use crate::rules::cause::Cause;
use crate::stage::tunnel::Tunnel;
use crate::stage::visit::Visit;
use crate::upstream::h1::upload::{Upload, UploadError};
use crate::upstream::h2::call::StreamBody;
use crate::upstream::{Bound, Connection, Upstream};
use crate::wire::h1::{BodyDecoder, Step};

/// What is remembered of the attempts, for the log.
#[derive(Default)]
pub(crate) struct Trace {
    attempts: AtomicRefCell<Attempts>,
    /// The attempt at hand can only go on once the client has sent more.
    waits_for_client: AtomicBool,
}

/// See [`Trace::witness`].
pub(crate) struct Witness<'a>(&'a Trace);

impl Drop for Witness<'_> {
    fn drop(&mut self) {
        if self.0.waits_for_client.load(Ordering::Relaxed) {
            Expiry::pardon();
        }
    }
}

#[derive(Default)]
pub(crate) struct Attempts {
    /// How often the request was sent, or was to be.
    pub(crate) count: u32,
    /// How often of these to an endpoint that had not acted on it, on another connection.
    resent: u32,
    pub(crate) last: Option<Last>,
}

/// The last attempt.
pub(crate) struct Last {
    pub(crate) endpoint: Arc<Upstream>,
    since: Mono,
    /// How long its response head took, if it came.
    pub(crate) took: Option<Duration>,
}

impl Trace {
    /// Whether the attempt at hand can only go on once the client has sent more.
    pub(crate) fn set_waits_for_client(&self, waits: bool) {
        self.waits_for_client.store(waits, Ordering::Relaxed);
    }

    /// To be kept by an attempt until its response head: where the attempt is dropped because its time is over while it waits for its
    /// client, its endpoint is not to blame.
    pub(crate) fn witness(&self) -> Witness<'_> {
        Witness(self)
    }

    /// An attempt at this endpoint begins.
    pub(crate) fn on_attempt(&self, endpoint: &Arc<Upstream>) {
        self.set_waits_for_client(false);
        let mut attempts = self.attempts();
        attempts.count += 1;
        attempts.last = Some(Last { endpoint: Arc::clone(endpoint), since: clock::mono(), took: None });
    }

    /// Whether the request may be sent to the same endpoint once more, of so many times in all: which one that is.
    pub(crate) fn resend(&self, most: u32) -> Option<u32> {
        let mut attempts = self.attempts();
        let next = attempts.resent + 2;
        (next <= most).then(|| {
            attempts.resent += 1;
            next
        })
    }

    /// Its response head came.
    pub(crate) fn on_head(&self) {
        if let Some(last) = &mut self.attempts().last {
            last.took = Some(clock::mono().saturating_since(last.since));
        }
    }

    /// To be let go of before the request goes on.
    pub(crate) fn attempts(&self) -> AtomicRefMut<'_, Attempts> {
        self.attempts.borrow_mut()
    }
}

impl Attempts {
    /// The name of the endpoint of the last attempt; empty if there was none.
    pub(crate) fn last_name(&self) -> &str {
        self.last.as_ref().map_or("", |last| &last.endpoint.name)
    }
}

/// A request below the router. Clones send the same request again.
#[derive(Clone)]
pub(crate) struct Request {
    pub(crate) visit: Arc<Visit>,
    /// Where its route stands in the visit's snapshot.
    pub(crate) route: usize,
    pub(crate) body: Option<Incoming>,
    /// Boxed, since most requests try one endpoint, and all of them would carry the room for more.
    pub(crate) tried: Option<Box<Tried>>,
}

/// A response, before it is written.
pub(crate) struct Response {
    pub(crate) head: ResponseHead,
    pub(crate) body: Body,
    /// The in-flight slot of its endpoint; our own answers hold none.
    pub(crate) held: Option<Held>,
}

/// The body of a response.
pub(crate) enum Body {
    Empty,
    /// One of our own.
    Full(Bytes),
    /// Streamed from an endpoint.
    Upstream(Box<UpstreamBody>),
    /// The same, over HTTP/2.
    Stream(Box<StreamBody>),
    /// Not a body: the endpoint agreed to another protocol.
    Tunnel(Tunnel),
}

impl Body {
    /// The next part; `None` is the end. After an error there is nothing more.
    ///
    /// Of a connection, at most `room` bytes are read at once.
    pub(crate) fn poll_frame(&mut self, cx: &mut Context<'_>, room: usize) -> Poll<Option<Result<Frame, Cause>>> {
        match self {
            Self::Empty | Self::Tunnel(_) => Poll::Ready(None),
            Self::Full(bytes) if bytes.is_empty() => Poll::Ready(None),
            Self::Full(bytes) => Poll::Ready(Some(Ok(Frame::Data(std::mem::take(bytes))))),
            Self::Upstream(body) => body.poll_frame(cx, room),
            Self::Stream(body) => body.poll_frame(cx),
        }
    }

    /// What was read of it, and not yet taken.
    pub(crate) fn unread(&self) -> usize {
        match self {
            Self::Upstream(body) => body.connection.as_ref().map_or(0, |connection| connection.read.len()),
            Self::Empty | Self::Full(_) | Self::Stream(_) | Self::Tunnel(_) => 0,
        }
    }

    /// Sends on what the client still uploads to the endpoint that answers; tells whether any of it moved.
    ///
    /// # Errors
    /// The upload broke off on the client's side, so that the endpoint would wait for the rest in vain.
    pub(crate) fn poll_upload(&mut self, cx: &mut Context<'_>) -> Result<bool, Cause> {
        match self {
            Self::Empty | Self::Tunnel(_) | Self::Full(_) => Ok(false),
            Self::Upstream(body) => body.poll_upload(cx),
            Self::Stream(body) => body.poll_upload(cx),
        }
    }

    /// What was wrong with what the endpoint sent, once [`poll_frame`](Self::poll_frame) has failed; `None` where the
    /// cause says all.
    pub(crate) fn broken(&self) -> Option<&str> {
        match self {
            Self::Empty | Self::Tunnel(_) | Self::Full(_) => None,
            Self::Upstream(body) => body.broken,
            Self::Stream(body) => body.broken(),
        }
    }

    /// Whether nothing is left of it.
    pub(crate) fn is_complete(&self) -> bool {
        match self {
            Self::Empty | Self::Tunnel(_) => true,
            Self::Full(bytes) => bytes.is_empty(),
            Self::Upstream(body) => body.is_complete(),
            Self::Stream(body) => body.is_complete(),
        }
    }
}

/// Whose a connection is that the endpoint may have tied a login to: the client's, for this endpoint of this cluster.
pub(crate) struct Owner {
    pub(crate) client: Client,
    pub(crate) cluster: Arc<str>,
    pub(crate) affinity: u64,
}

impl Owner {
    fn keep(self, home: &Arc<Upstream>, worker: usize, connection: Box<Connection>) {
        let Self { client, cluster, affinity } = self;
        if let Some(bound) = Bound::new(home, worker, cluster, affinity, connection, clock::mono()) {
            client.keep_bound(bound);
        }
    }
}

/// A body being received from an endpoint, with the connection it comes over.
pub(crate) struct UpstreamBody {
    pub(crate) framing: Framing,
    /// `None` once all of it was received.
    decoder: Option<BodyDecoder>,
    connection: Option<Box<Connection>>,
    /// The rest of a request body that the endpoint answered before it had all of it.
    upload: Option<Upload>,
    /// Both sides agree to use the connection again.
    keep: bool,
    home: Arc<Upstream>,
    worker: usize,
    /// Whose the connection is, where it is not for everybody.
    owner: Option<Box<Owner>>,
    /// What was wrong with it.
    broken: Option<&'static str>,
}

impl UpstreamBody {
    pub(crate) fn new(
        head: &ResponseHead,
        connection: Box<Connection>,
        upload: Option<Upload>,
        home: Arc<Upstream>,
        worker: usize,
        owner: Option<Box<Owner>>,
    ) -> Self {
        let framing = head.framing();
        let decoder = (!framing.is_empty()).then(|| BodyDecoder::of_response(framing));
        let keep = head.keep_alive();
        let mut body =
            Self { framing, decoder, connection: Some(connection), upload, keep, home, worker, owner, broken: None };
        if body.decoder.is_none() {
            body.on_end();
        }
        body
    }

    /// Whether all of it was received.
    pub(crate) fn is_complete(&self) -> bool {
        self.decoder.is_none()
    }

    /// The next part; `None` is the end as the framing has it. After an error there is nothing more.
    pub(crate) fn poll_frame(&mut self, cx: &mut Context<'_>, room: usize) -> Poll<Option<Result<Frame, Cause>>> {
        loop {
            let (Some(decoder), Some(connection)) = (&mut self.decoder, &mut self.connection) else {
                return Poll::Ready(None);
            };
            match decoder.decode(&mut connection.read) {
                Ok(Step::Data(piece)) => {
                    // Who knows that it was the last one can say so with it.
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

    /// Sends on what the client still uploads; tells whether any of it moved.
    ///
    /// # Errors
    /// The upload broke off on the client's side, so that the endpoint would wait for the rest in vain.
    pub(crate) fn poll_upload(&mut self, cx: &mut Context<'_>) -> Result<bool, Cause> {
        let (Some(upload), Some(connection)) = (&mut self.upload, &mut self.connection) else { return Ok(false) };
        let before = upload.progress();
        match upload.poll(cx, &mut connection.stream) {
            Poll::Pending => return Ok(upload.progress() != before),
            Poll::Ready(Ok(())) => {}
            // An endpoint that has answered need not take the rest; its connection is just not used again.
            Poll::Ready(Err(UploadError::Endpoint)) => self.keep = false,
            Poll::Ready(Err(UploadError::Client(failure))) => return Err(self.fail(SendError::from(failure).cause)),
        }
        self.upload = None;
        Ok(true)
    }

    fn on_end(&mut self) {
        self.decoder = None;
        if let Some(connection) = self.connection.take()
            && self.keep
            && self.upload.is_none()
        {
            match self.owner.take() {
                None => self.home.put(self.worker, connection, clock::mono()),
                Some(owner) => owner.keep(&self.home, self.worker, connection),
            }
        }
    }

    fn fail(&mut self, cause: Cause) -> Cause {
        self.connection = None;
        cause
    }
}
