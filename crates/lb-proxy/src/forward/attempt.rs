//! Send: one attempt at one endpoint, up to the response head.
//!
//! A connection is leased from the endpoint's own pool or made. The head is written once; the body follows as fast as
//! the endpoint takes it, while the response is already being waited for, since an endpoint may answer early.
//!
//! A kept connection may have been closed by the endpoint just as we wrote on it. That is nobody's failure: where the
//! request may be repeated, or nothing of it was written, it is sent again on another connection to the same endpoint, at
//! no cost to the budget: as often as the route's `retry.attempts` has it, and once at least.

use std::borrow::Cow;
use std::future::{Future, poll_fn};
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::BytesMut;
use lb_core::Class;

use crate::downstream::{BodyFailure, Incoming, Outbox};
use crate::exchange::{Body, Owner, Request, Response, UpstreamBody};
use crate::forward::opening::Opening;
use crate::message::{Edits, ResponseHead, Version, upgrade};
use crate::net::{Shortage, clock};
use crate::rules::cause::Cause;
use crate::rules::template::Facts;
use crate::rules::{forwarded, login};
use crate::runtime::snapshot::{RouteRuntime, response_limits};
use crate::stage::tunnel::{ConnectionTunnel, Tunnel};
use crate::stage::visit::Visit;
use crate::tls;
use crate::upstream::h1::upload::{Upload, UploadError, WaitsFor};
use crate::upstream::h2::call as multiplex;
use crate::upstream::{self, Connection, EndpointService, Entrusted, Full, Upstream};
use crate::wire::h1::{self, Answering};
use crate::wire::proxy_protocol::{self, Said};

/// Interim responses before a final one. Each is passed on and begins the wait anew, so without an end to them an
/// endpoint could hold a request, and fill our memory, for ever.
pub(crate) const MOST_INTERIM: u32 = 64;

/// A request that met a connection's end may be sent so often in all, even where the route retries nothing.
const LEAST_SENDINGS: u32 = 2;

/// Why an attempt gave no response.
#[derive(Debug)]
pub(crate) struct SendError {
    pub(crate) class: Class,
    pub(crate) cause: Cause,
    /// More on the cause, for the log.
    pub(crate) detail: Option<String>,
    /// Nothing of the request reached the endpoint.
    pub(crate) unsent: bool,
    /// A kept connection turned out to be closed.
    pub(crate) stale: bool,
    /// Another endpoint may do better, though this one has not failed.
    pub(crate) elsewhere: bool,
}

/// A request is to be sent to the same endpoint once more.
pub(crate) struct Resend {
    /// There will be no other time.
    pub(crate) is_last: bool,
}

impl SendError {
    pub(crate) fn new(class: Class, cause: Cause) -> Self {
        Self { class, cause, detail: None, unsent: false, stale: false, elsewhere: false }
    }

    /// Whether it is sent again on another connection to the same endpoint, at no cost to the budget: nobody has failed.
    /// Counts it.
    pub(crate) fn resend(&self, request: &Request) -> Option<Resend> {
        let is_safe = request.may_repeat() || (self.unsent && request.is_replayable());
        if !self.stale || !is_safe {
            return None;
        }
        let attempts = request.route().options.retry.as_ref().map_or(1, |retry| retry.attempts.get());
        let most = attempts.max(LEAST_SENDINGS);
        let next = request.visit.trace.resend(most)?;
        Some(Resend { is_last: next == most })
    }

    /// Whether the endpoint itself declined without having acted: it may be asked again where nobody else is left.
    pub(crate) fn has_declined(&self) -> bool {
        self.cause == Cause::NotProcessed && !self.stale
    }

    /// This machine lacked something: that says nothing about the endpoint, and most often another attempt would lack it
    /// as well.
    fn short(shortage: Shortage) -> Self {
        let detail = Some(shortage.to_string());
        let elsewhere = shortage.is_of_one_destination();
        let cause = if shortage == Shortage::Permission { Cause::LocalPermission } else { Cause::LocalResources };
        Self { detail, elsewhere, ..Self::new(Class::Cancelled, cause) }
    }

    /// There may be no more connections. That says nothing about the endpoint either.
    #[cold]
    fn full(full: Full, upstream: &Upstream) -> Self {
        upstream.share().room().on_refused();
        let detail = Some(full.to_string());
        Self { unsent: true, detail, ..Self::new(Class::Cancelled, Cause::EndpointConnections) }
    }

    /// Why no connection could be made.
    pub(crate) fn connecting(error: &io::Error, upstream: &Upstream) -> Self {
        if let Some(full) = Full::of(error) {
            return Self::full(full, upstream);
        }
        if let Some(shortage) = Shortage::of(error) {
            return Self { unsent: true, ..Self::short(shortage) };
        }
        if let Some((cause, why)) = tls::cause(error) {
            return Self { unsent: true, detail: Some(why), ..Self::new(Class::ConnectError, cause) };
        }
        let cause = match error.kind() {
            io::ErrorKind::ConnectionRefused | io::ErrorKind::NotFound => Cause::ConnectRefused,
            io::ErrorKind::TimedOut => Cause::ConnectTimeout,
            _ => Cause::ConnectFailed,
        };
        let detail = (cause == Cause::ConnectFailed).then(|| error.to_string());
        Self { unsent: true, detail, ..Self::new(Class::ConnectError, cause) }
    }
}

impl tower_service::Service<Request> for EndpointService {
    type Response = Response;
    type Error = SendError;
    type Future = Pin<Box<dyn Future<Output = Result<Response, SendError>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), SendError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request) -> Self::Future {
        Box::pin(send(Arc::clone(&self.upstream), self.affinity, request))
    }
}

async fn send(upstream: Arc<Upstream>, affinity: u64, request: Request) -> Result<Response, SendError> {
    request.visit.trace.on_attempt(&upstream);
    let _witness = request.visit.trace.witness();
    if upstream.is_http2() {
        return multiplex::send(&upstream, &request).await;
    }
    if request.visit.is_one_of_many {
        admit(&upstream, &request.visit)?;
    }
    // A client that gives up while the end of its body is waited for must not have cost a connection.
    let mut opening = match Opening::has_to_wait(&request) {
        true => Some(Box::new(Opening::found(&request).await?)),
        false => None,
    };
    let mut connection = match kept(&upstream, &request) {
        Some(connection) => connection,
        None => connect(&upstream, &request).await?,
    };
    loop {
        match attempt(&upstream, affinity, connection, &request, opening.take()).await {
            // Only a kept connection can be stale, so this comes round once.
            Err(error) => {
                error.resend(&request).ok_or(error)?;
                request.visit.trace.on_attempt(&upstream);
                connection = connect(&upstream, &request).await?;
            }
            response => return response,
        }
    }
}

/// A connection that is there already: the client's own, if it has one, or one of the endpoint's pool.
fn kept(upstream: &Arc<Upstream>, request: &Request) -> Option<Box<Connection>> {
    let now = clock::mono();
    let bound = request.visit.bound.and_then(|_| request.visit.client.take_bound(upstream, now));
    bound.or_else(|| {
        // A body may outgrow what is kept of it, and then cannot be sent again either.
        let only_chance = request.body.is_some() || !request.may_repeat();
        upstream.take(request.visit.connection().worker, only_chance, now)
    })
}

/// Makes a connection.
async fn connect(upstream: &Arc<Upstream>, request: &Request) -> Result<Box<Connection>, SendError> {
    let limit = request.route().options.timeout.connect;
    let introduction = upstream.proxy_protocol().map(|version| introduction(version, &request.visit));
    admit(upstream, &request.visit)?;
    let made = upstream.make(request.visit.connection().worker, limit, introduction).await;
    made.map_err(|error| SendError::connecting(&error, upstream))
}

/// Whether a request may have another connection, or, where it is one of many, a connection at all.
pub(crate) fn admit(upstream: &Upstream, visit: &Visit) -> Result<(), SendError> {
    let clusters = &visit.snapshot.shared.clusters;
    let admitted = upstream::admit(upstream.share(), visit.is_one_of_many, |each| {
        for cluster in clusters {
            cluster.members.endpoints().iter().for_each(|endpoint| each(&endpoint.value().upstream));
        }
    });
    admitted.map_err(|full| SendError::full(full, upstream))
}

/// Who the client is, for an endpoint that reads PROXY headers. A client on a Unix socket has no address.
#[cold]
fn introduction(version: proxy_protocol::Version, visit: &Visit) -> BytesMut {
    let said = match (visit.connection().peer, visit.connection().local) {
        (Some(from), Some(to)) => {
            // A listener on `[::]` sees IPv4 within IPv6.
            let [from, to] = [from, to].map(|end| SocketAddr::new(end.ip().to_canonical(), end.port()));
            Said::Client { from, to }
        }
        _ => Said::Nothing,
    };
    let mut header = BytesMut::new();
    proxy_protocol::write(&mut header, version, said);
    header
}

impl Request {
    pub(crate) fn route(&self) -> &RouteRuntime {
        &self.visit.snapshot.shared.routes[self.route]
    }

    /// Whose a connection becomes to which an endpoint of this affinity ties a login.
    fn owner(&self, affinity: u64) -> Owner {
        let cluster = self.route().cluster().map_or_else(|| Arc::from(""), |cluster| Arc::clone(&cluster.name));
        Owner { client: self.visit.client.clone(), cluster, affinity }
    }

    /// Whether it may be sent a second time although an endpoint may have acted on the first.
    pub(crate) fn may_repeat(&self) -> bool {
        let forced = self.route().options.retry.as_ref().is_some_and(|retry| retry.unsafe_methods);
        (forced || self.visit.head.method().is_idempotent()) && self.is_replayable()
    }

    /// Whether its body can be had from the start once more.
    pub(crate) fn is_replayable(&self) -> bool {
        self.body.as_ref().is_none_or(Incoming::is_replayable)
    }
}

async fn attempt(
    upstream: &Arc<Upstream>,
    affinity: u64,
    mut connection: Box<Connection>,
    request: &Request,
    opening: Option<Box<Opening>>,
) -> Result<Response, SendError> {
    connection.begin();
    connection.is_bound |= login::has_credentials(&request.visit.head);
    let opening = match opening {
        Some(opening) => *opening,
        None if Opening::is_vague(request) => Opening::found(request).await?,
        None => Opening::announced(request),
    };
    let mut upload = upload(request, upstream, opening);
    let changes = !request.visit.head.method().is_safe();
    let mut entrusted = Entrusted::new(upstream, connection);
    let head = poll_fn(|cx| {
        let Some(connection) = &mut entrusted.connection else { return Poll::Pending };
        let polled = poll_head(cx, connection, &mut upload, request);
        entrusted.is_owed = changes && upload.is_done();
        polled
    })
    .await?;
    let Some(mut connection) = entrusted.connection.take() else {
        return Err(SendError::new(Class::Cancelled, Cause::Internal));
    };
    connection.timer.clear();
    request.visit.trace.on_head();
    let asked = &request.visit.head;
    if head.status() == 101 {
        if let Some(mismatch) = upgrade::mismatch(asked, &head) {
            let detail = Some(mismatch.to_owned());
            return Err(SendError { detail, ..SendError::new(Class::InvalidResponse, Cause::InvalidResponse) });
        }
        // What passes from now on is nothing that we could judge.
        connection.closes_in_order = true;
        let upload = (!upload.is_done()).then_some(upload);
        let tunnel = ConnectionTunnel { connection, upload };
        return Ok(Response { head, body: Body::Tunnel(Tunnel::Connection(Box::new(tunnel))), held: None });
    }
    if asked.upgrade().is_some() && !asked.framing().is_empty() {
        // An endpoint may have taken the body for the first bytes of the protocol that it then declined.
        connection.retire();
    }
    if let Some(told) = head.keep_alive_timeout() {
        connection.advertise(told);
    }
    connection.is_bound |= login::is_challenge(&head);
    let owner = connection.is_bound.then(|| Box::new(request.owner(affinity)));
    let upload = (!upload.is_done()).then_some(upload);
    let body =
        UpstreamBody::new(&head, connection, upload, Arc::clone(upstream), request.visit.connection().worker, owner);
    let body = if body.is_complete() { Body::Empty } else { Body::Upstream(Box::new(body)) };
    Ok(Response { head, body, held: None })
}

/// Sends what can be sent and reads until the final response head.
fn poll_head(
    cx: &mut Context<'_>,
    connection: &mut Connection,
    upload: &mut Upload,
    request: &Request,
) -> Poll<Result<ResponseHead, SendError>> {
    let timeouts = &request.route().options.timeout;
    loop {
        let before = upload.progress();
        let was_done = upload.is_done();
        if let Poll::Ready(Err(UploadError::Client(failure))) = upload.poll(cx, &mut connection.stream) {
            return Poll::Ready(Err(failure.into()));
        }
        if before != upload.progress() || was_done != upload.is_done() {
            connection.timer.clear();
        }
        match next_head(connection, &request.visit) {
            Ok(Some(head)) if head.is_interim() => {
                connection.interim += 1;
                if connection.interim > MOST_INTERIM {
                    let detail = Some("too_many_interim".to_owned());
                    let error = SendError::new(Class::InvalidResponse, Cause::InvalidResponse);
                    return Poll::Ready(Err(SendError { detail, ..error }));
                }
                on_interim(&head, &request.visit);
                connection.timer.clear();
                continue;
            }
            Ok(Some(head)) => return Poll::Ready(Ok(head)),
            Ok(None) => {}
            Err(error) => return Poll::Ready(Err(error)),
        }
        match connection.poll_fill(cx, request.visit.client.room()) {
            Poll::Ready(Ok(n)) if n > 0 => continue,
            Poll::Ready(read) => {
                // In TLS 1.3 an endpoint refuses our certificate only after the handshake.
                if let Some((cause, why)) = read.as_ref().err().and_then(tls::cause) {
                    let error = SendError::new(Class::Reset, cause);
                    return Poll::Ready(Err(SendError { detail: Some(why), ..error }));
                }
                if let Some(shortage) = read.as_ref().err().and_then(Shortage::of) {
                    return Poll::Ready(Err(SendError::short(shortage)));
                }
                let stale = connection.is_reused() && connection.read.is_empty();
                let unsent = stale && upload.progress().0 == 0;
                return Poll::Ready(Err(SendError { stale, unsent, ..SendError::new(Class::Reset, Cause::Reset) }));
            }
            Poll::Pending => {}
        }
        let waits_for = upload.waits_for();
        request.visit.trace.set_waits_for_client(matches!(waits_for, WaitsFor::Client));
        let (span, error) = match waits_for {
            WaitsFor::Response => (timeouts.response, SendError::new(Class::Timeout, Cause::ResponseTimeout)),
            WaitsFor::Endpoint => (timeouts.idle, SendError::new(Class::Timeout, Cause::IdleTimeout)),
            WaitsFor::Client => (timeouts.idle, SendError::new(Class::Cancelled, Cause::UploadTimeout)),
        };
        return connection.timer.poll_after(cx, span).map(|()| Err(error));
    }
}

fn next_head(connection: &mut Connection, visit: &Visit) -> Result<Option<ResponseHead>, SendError> {
    if connection.read.is_empty() {
        return Ok(None);
    }
    let limits = response_limits(&visit.snapshot.shared.config.limits);
    let parsed = connection.parser.parse(&mut connection.read, Answering::from(&visit.head), &limits);
    parsed.map_err(|error| {
        let detail = Some(error.name().to_owned());
        SendError { detail, ..SendError::new(Class::InvalidResponse, Cause::of_response(error.cause())) }
    })
}

/// Passes a 1xx on to a client that can understand it.
///
/// A 100 is passed on where it was asked for, with or without a body, and none is made up: whether and when the body
/// may come is between the client and the endpoint, which saw the same `Expect`. Only one is, since each attempt may
/// earn another.
pub(crate) fn on_interim(head: &ResponseHead, visit: &Visit) {
    let is_due = match head.status() {
        100 => visit.client.takes_continue(),
        _ => visit.head.version() != Version::Http10,
    };
    if is_due {
        // What a route takes out of its responses does not come before them either.
        let mut edits = Edits::new();
        if let Some(rules) = visit.route().map(|route| &route.response_headers) {
            let taken = head.iter().enumerate().filter(|(_, (name, _))| rules.takes_out(name));
            taken.for_each(|(index, _)| edits.drop_at(index));
        }
        visit.client.on_interim(head, &edits);
    }
}

impl From<BodyFailure> for SendError {
    fn from(failure: BodyFailure) -> Self {
        let (cause, detail) = match failure {
            BodyFailure::ClientGone => (Cause::ClientClosed, None),
            BodyFailure::Malformed(error) => (Cause::of_request(error.cause()), Some(error.name().to_owned())),
            BodyFailure::TooLarge => (Cause::BodyTooLarge, None),
            // Whoever asked for another attempt made sure that the body was kept.
            BodyFailure::NotKept => (Cause::Internal, None),
        };
        Self { detail, ..Self::new(Class::Cancelled, cause) }
    }
}

/// What is different about the head for this endpoint.
pub(crate) fn edits_for<'a>(request: &'a Request, upstream: &Upstream) -> Cow<'a, Edits> {
    let (visit, route) = (&request.visit, request.route());
    // HTTP/1.0 needs no host, and HTTP/1.1 does; many endpoints refuse an empty one.
    let lacks_host = visit.head.host().is_none() && !visit.edits.sets_host();
    if !route.edits_differ_by_endpoint && !lacks_host {
        return Cow::Borrowed(&visit.edits);
    }
    let mut edits = visit.edits.clone();
    if !route.options.forwarded.preserve_host || lacks_host {
        forwarded::set_host(&upstream.configured, upstream.tls().is_some(), &mut edits);
    }
    if route.edits_differ_by_endpoint {
        route.request_headers.apply(&Facts { endpoint: &upstream.name, ..visit.facts(Some(route)) }, &mut edits);
    }
    Cow::Owned(edits)
}

/// Begins with the head as this endpoint is to see it.
fn upload(request: &Request, upstream: &Upstream, opening: Opening) -> Upload {
    let head = &request.visit.head;
    let Opening { framing, first, body } = opening;
    let connection = if head.upgrade().is_some() { h1::Connection::Upgrade } else { h1::Connection::Implicit };
    let mut out = Outbox::default();
    h1::encode_request(out.front(), head, &edits_for(request, upstream), framing, connection);
    let mut upload = Upload::new(out, framing, body, &request.visit);
    if let Some(frame) = first {
        upload.push(frame);
    }
    upload
}
