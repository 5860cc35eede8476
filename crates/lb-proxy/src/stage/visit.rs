//! Visit: one request, from its head to its line in the access log.
//!
//! It carries what is known from the start (who asks, through which listener, under which snapshot) and walks the
//! stages: route, limit, select and send (one tower stack), reply. Every way out ends in [`outcome::close`], where the
//! request is counted and logged.

use std::future::poll_fn;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use bytes::Bytes;
use lb_core::End;
use tokio::time::Instant;
use tower_service::Service;

use crate::downstream::{Client, HALF_CLOSE_GRACE, Intake};
use crate::exchange::{Body, Request, Response, Trace};
use crate::forward::stack::{self, StackError};
use crate::framing::BodyWriter;
use crate::message::{Edits, Framing, Method, RequestHead, ResponseHead, Trailers, Version, name};
use crate::net::clock;
use crate::rules::answer::Answer;
use crate::rules::cause::Cause;
use crate::rules::forwarded::{Origin, Told};
use crate::rules::grpc;
use crate::rules::reply::Reply as OwnReply;
use crate::rules::request_id::RequestId;
use crate::rules::sticky::Stuck;
use crate::rules::template::Facts;
use crate::rules::trailers::RequestTrailers;
use crate::runtime::snapshot::{ListenerRuntime, RouteRuntime, WorkerSnapshot};
use crate::stage::http::Session;
use crate::stage::outcome::{self, CutBy, Outcome, Running, Unread};
use crate::stage::reply::Reply;
use crate::stage::route::{self, Routed};
use crate::stage::tls::Secured;
use crate::stage::{limit, tunnel};
use crate::wire::h1;
use crate::worker::state::{Stacks, Worker};

/// Longest pause while an answer of our own is written.
pub(crate) const OWN_ANSWER_IDLE: Duration = Duration::from_secs(60);

/// What becomes of the connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum After {
    /// The next request may follow.
    Keep,
    /// The next request may follow what is left of this one's body.
    Drain,
    /// Close, once the client had the time to read the answer.
    Close,
    /// Reset.
    Abort,
    /// The client is gone.
    Gone,
}

/// One request.
pub(crate) struct Visit {
    pub(crate) snapshot: Arc<WorkerSnapshot>,
    pub(crate) listener: usize,
    /// Where its route stands in the snapshot, once it is known.
    pub(crate) route: Option<usize>,
    pub(crate) head: RequestHead,
    /// Edits of the head that do not depend on the endpoint.
    pub(crate) edits: Edits,
    pub(crate) origin: Origin,
    pub(crate) id: RequestId,
    pub(crate) started: Instant,
    pub(crate) client: Client,
    /// What the TLS handshake made known.
    pub(crate) secured: Option<Arc<Secured>>,
    /// What the client's cookie says.
    pub(crate) stuck: Option<Stuck>,
    /// The endpoint that the client has a connection of its own to, for the policy's `preferred`.
    pub(crate) bound: Option<u64>,
    /// What a hashing policy hashes.
    pub(crate) key: Option<Bytes>,
    pub(crate) worker: usize,
    /// Who connected, and where; nobody and nowhere on a Unix socket.
    pub(crate) peer: Option<SocketAddr>,
    pub(crate) local: Option<SocketAddr>,
    /// It runs beside others of its client's connection.
    pub(crate) is_one_of_many: bool,
    /// It is a gRPC call, and this is how long its client waits.
    pub(crate) is_grpc: bool,
    pub(crate) patience: Option<Duration>,
    pub(crate) trace: Trace,
}

/// Whose request it is, and by which way it came.
pub(crate) struct Caller {
    pub(crate) client: Client,
    pub(crate) worker: usize,
    pub(crate) origin: Origin,
    pub(crate) secured: Option<Arc<Secured>>,
    pub(crate) peer: Option<SocketAddr>,
    pub(crate) local: Option<SocketAddr>,
    /// It runs beside others of its client's connection.
    pub(crate) is_one_of_many: bool,
}

/// A response and what is to be remembered of how it came about.
pub(crate) struct Outgoing {
    pub(crate) response: Response,
    pub(crate) edits: Edits,
    pub(crate) cause: Option<Cause>,
    /// More on the cause, for the log.
    pub(crate) detail: Option<String>,
}

impl Outgoing {
    fn own(reply: OwnReply, cause: Option<Cause>, detail: Option<String>) -> Self {
        let response = Response { head: reply.head, body: Body::Full(reply.body), held: None };
        Self { response, edits: Edits::new(), cause, detail }
    }
}

impl Visit {
    fn new(caller: Caller, snapshot: Arc<WorkerSnapshot>, listener: usize, head: RequestHead) -> Self {
        let Caller { client, worker, origin, secured, peer, local, is_one_of_many } = caller;
        let id = RequestId::of(&head, &origin, clock::unix_ms(), fastrand::u64(..));
        let is_grpc = grpc::is_call(&head);
        Self {
            snapshot,
            listener,
            route: None,
            edits: Edits::new(),
            origin,
            id,
            started: clock::now(),
            client,
            secured,
            stuck: None,
            bound: None,
            key: None,
            worker,
            peer,
            local,
            is_one_of_many,
            is_grpc,
            patience: if is_grpc { grpc::timeout(&head) } else { None },
            head,
            trace: Trace::default(),
        }
    }

    /// Whether it is for a host that the connection is not for.
    pub(crate) fn is_misdirected(&self) -> bool {
        let Some(secured) = &self.secured else { return false };
        // A request without a host, or with one that is none, finds a route or an answer of its own.
        let host = self.head.host_name().and_then(|host| std::str::from_utf8(host).ok());
        host.is_some_and(|host| secured.is_misdirected(host))
    }

    pub(crate) fn listener(&self) -> &ListenerRuntime {
        &self.snapshot.shared.listeners[self.listener]
    }

    /// The route it takes, once that is known.
    pub(crate) fn route(&self) -> Option<&RouteRuntime> {
        self.snapshot.shared.routes.get(self.route?).map(|route| &**route)
    }

    /// The request's trailers as the endpoint is to have them; `None` if none are left.
    pub(crate) fn upstream_trailers(&self, trailers: Trailers) -> Option<Trailers> {
        let route = self.route()?;
        let asks_for_certificates = self.secured.as_ref().is_some_and(|secured| secured.client.is_some());
        let is_trusted = self.origin.is_trusted;
        RequestTrailers { is_trusted, asks_for_certificates, edits: &route.request_headers }.apply(trailers)
    }

    /// Whether its route passes on an offer to switch to this protocol.
    pub(crate) fn may_upgrade_to(&self, protocol: &[u8]) -> bool {
        self.route().is_some_and(|route| route.options.upgrade.allows(protocol))
    }

    /// What templates may ask for, before an endpoint is known.
    pub(crate) fn facts<'a>(&'a self, route: Option<&'a RouteRuntime>) -> Facts<'a> {
        Facts {
            head: &self.head,
            origin: &self.origin,
            request_id: self.id.as_bytes(),
            route: route.map_or("", |route| &route.name),
            cluster: route.and_then(RouteRuntime::cluster).map_or("", |cluster| &cluster.name),
            endpoint: "",
        }
    }

    /// The edits of the response that the route makes, or the listener where no route took the request.
    pub(crate) fn edit_response(&self, edits: &mut Edits) {
        let route = self.route();
        let rules = route.map_or(&self.listener().response_headers, |route| &route.response_headers);
        if rules.is_empty() {
            return;
        }
        let attempts = self.trace.attempts();
        let endpoint = attempts.last_name();
        rules.apply(&Facts { endpoint, ..self.facts(route) }, edits);
    }

    /// An answer that the configuration asks for, or the failure to give it.
    pub(crate) fn own(&self, reply: Result<OwnReply, Cause>) -> Outgoing {
        match reply {
            Ok(reply) => Outgoing::own(reply, None, None),
            Err(cause) => self.refusal(cause, None),
        }
    }

    /// Our answer to a failure.
    pub(crate) fn refusal(&self, cause: Cause, detail: Option<String>) -> Outgoing {
        self.answer(Answer::new(cause), cause, detail)
    }

    /// This answer to a failure.
    pub(crate) fn answer(&self, answer: Answer<'_>, cause: Cause, detail: Option<String>) -> Outgoing {
        let reply = match self.is_grpc {
            true => answer.write_grpc(self.id.as_str()),
            false => answer.write(self.id.as_str(), self.head.method()),
        };
        Outgoing::own(reply, Some(cause), detail)
    }
}

/// Serves one request.
pub(crate) async fn serve(
    session: &mut Session,
    worker: &Worker,
    stacks: &Stacks,
    listener: usize,
    head: RequestHead,
) -> After {
    let origin = session.origin(&stacks.snapshot.shared, listener, &head);
    let caller = Caller {
        client: Client::Http1(session.downstream.clone()),
        worker: worker.index,
        origin,
        secured: session.secured.clone(),
        peer: session.peer,
        local: session.local,
        is_one_of_many: false,
    };
    let (visit, next) = prepare(worker, caller, &mut session.told, Arc::clone(&stacks.snapshot), listener, head);
    let running = Running::new(worker, visit);
    let visit = &*running.visit;
    let outgoing = match next {
        Next::Answer(outgoing) => Some(outgoing),
        Next::Forward(request) => obtain(visit, stacks, request).await,
    };
    let after = match outgoing {
        Some(outgoing) => send(session, worker, visit, outgoing).await,
        None => outcome::close(worker, visit, &Outcome::client_gone()),
    };
    running.ended(after)
}

/// What is next for a request that has been routed.
pub(crate) enum Next {
    Forward(Request),
    Answer(Box<Outgoing>),
}

/// Everything up to the first wait. Not `async`: what lives here takes no room while an endpoint is waited for.
pub(crate) fn prepare(
    worker: &Worker,
    caller: Caller,
    told: &mut Option<Box<Told>>,
    snapshot: Arc<WorkerSnapshot>,
    listener: usize,
    head: RequestHead,
) -> (Arc<Visit>, Next) {
    let mut visit = Visit::new(caller, snapshot, listener, head);
    visit.client.begin(Intake::new(visit.head.framing(), None, 0, visit.head.expects_continue()));
    let route = match route::route(&visit) {
        Routed::Matched(route) => route,
        Routed::Answer(outgoing) => return (Arc::new(visit), Next::Answer(outgoing)),
    };
    visit.route = Some(route);
    let answer =
        visit.route().and_then(|route| limited(worker, &visit, route).or_else(|| route::own_answer(&visit, route)));
    if let Some(outgoing) = answer {
        return (Arc::new(visit), Next::Answer(outgoing));
    }
    if let Err(cause) = limit::keep_to_upgrades(&mut visit) {
        let outgoing = Box::new(visit.refusal(cause, Some("upgrade_not_allowed".to_owned())));
        return (Arc::new(visit), Next::Answer(outgoing));
    }
    match limit::admit(&visit, told) {
        Ok(admitted) => {
            (visit.edits, visit.stuck, visit.key) = admitted;
            let cluster = visit.route().and_then(RouteRuntime::cluster);
            visit.bound = cluster.and_then(|cluster| visit.client.bound_in(&cluster.name));
            let visit = Arc::new(visit);
            (Arc::clone(&visit), Next::Forward(limit::request(visit, route)))
        }
        Err(cause) => {
            let outgoing = Box::new(visit.refusal(cause, None));
            (Arc::new(visit), Next::Answer(outgoing))
        }
    }
}

/// Our answer to a request that the limit of its route refuses.
fn limited(worker: &Worker, visit: &Visit, route: &RouteRuntime) -> Option<Box<Outgoing>> {
    let retry_after = limit::refused_for(visit, route)?;
    outcome::on_limited(worker, visit, route);
    let mut answer = Answer::new(Cause::RateLimited).retry_after(retry_after);
    if let Some(limit) = &route.options.rate_limit {
        answer = answer.status(limit.status);
    }
    Some(Box::new(visit.answer(answer, Cause::RateLimited, None)))
}

/// Answers what was no request.
pub(crate) fn refuse(
    session: &Session,
    worker: &Worker,
    listener: &ListenerRuntime,
    cause: Cause,
    detail: Option<&'static str>,
) -> After {
    let started = clock::now();
    let id = RequestId::new(clock::unix_ms(), fastrand::u64(..));
    let answer = Answer::new(cause).write(id.as_str(), Method::Get);
    let mut edits = Edits::new();
    listener.response_headers.apply_unread(&mut edits);
    date(&mut edits);
    let mut io = session.downstream.lock();
    h1::encode_response(io.out.front(), &answer.head, &edits, answer.framing, h1::Connection::Close);
    let bytes_out = answer.body.len() as u64;
    io.out.push(answer.body, b"");
    let unread = Unread {
        peer: session.peer,
        listener,
        id: &id,
        cause,
        detail,
        beginning: h1::Beginning::of(&io.read),
        elapsed: clock::now() - started,
        bytes_out,
    };
    outcome::close_unread(worker, &unread);
    After::Close
}

/// Finds an endpoint and waits for its response head; `None` when the client has gone meanwhile.
pub(crate) async fn obtain(visit: &Visit, stacks: &Stacks, request: Request) -> Option<Box<Outgoing>> {
    let stack = visit.route().and_then(|route| Some((route, stacks.of(route.index)?)));
    let Some((route, call)) = stack.map(|(route, mut stack)| (route, stack.call(request))) else {
        return Some(Box::new(visit.refusal(Cause::Internal, None)));
    };
    let mut call = pin!(call);
    let watch_from = visit.started + HALF_CLOSE_GRACE;
    let result = poll_fn(|cx| {
        if let Poll::Ready(result) = call.as_mut().poll(cx) {
            return Poll::Ready(Some(result));
        }
        visit.client.poll_gone(cx, watch_from).map(|()| None)
    })
    .await;
    Some(Box::new(match result? {
        Ok(response) => returned(visit, route, response),
        Err(error) => failed(visit, &error),
    }))
}

/// An endpoint's response, with the edits that the route makes to it.
fn returned(visit: &Visit, route: &RouteRuntime, response: Response) -> Outgoing {
    let mut edits = Edits::new();
    if let (Some(sticky), Some(held)) = (&route.sticky, &response.held) {
        let affinity = held.endpoint().affinity();
        if sticky.is_due(visit.stuck, affinity) {
            sticky.write(affinity, clock::unix_ms() / 1000, &mut edits);
        }
    }
    Outgoing { response, edits, cause: None, detail: None }
}

fn failed(visit: &Visit, error: &StackError) -> Outgoing {
    let (cause, detail, retry_after) = stack::refusal_of(error);
    let mut answer = Answer::new(cause);
    if let Some(after) = retry_after {
        answer = answer.retry_after(after);
    }
    visit.answer(answer, cause, detail)
}

/// Writes a response and settles what follows it.
async fn send(session: &mut Session, worker: &Worker, visit: &Visit, mut outgoing: Box<Outgoing>) -> After {
    let route = visit.route();
    if outgoing.cause == Some(Cause::ClientClosed) {
        return outcome::close(worker, visit, &Outcome::client_gone());
    }
    visit.edit_response(&mut outgoing.edits);
    let is_own = outgoing.response.held.is_none();
    if is_own {
        date(&mut outgoing.edits);
    }
    if let Body::Tunnel(_) = outgoing.response.body {
        return Box::pin(tunnel(session, worker, visit, outgoing)).await;
    }
    let Response { head, body, held } = outgoing.response;
    if !is_own {
        date_where_missing(&head, &mut outgoing.edits);
    }
    let cause = outgoing.cause;
    let framing = framing_for(visit, &head, &body);
    let keep = may_keep(session, visit, framing, is_own, cause);
    let (keep, body_before) = {
        let mut io = session.downstream.lock();
        let keep = keep && (is_own || may_drain(&io.intake, &head));
        h1::encode_response(io.out.front(), &head, &outgoing.edits, framing, connection_for(visit, &head, keep));
        let body_before = io.out.written + io.out.front().len() as u64;
        io.answer = Some((head.status(), body_before));
        (keep, body_before)
    };
    drop(outgoing.edits);
    session.timer.clear();
    let is_stream = head.header(name::CONTENT_TYPE).is_some_and(|kind| kind.starts_with(b"text/event-stream"));
    let timeouts = route.filter(|_| !is_own).map(|route| &route.options.timeout);
    let mut reply = Reply {
        downstream: &session.downstream,
        body: if framing.is_empty() { Body::Empty } else { body },
        edits: route.map(|route| &route.response_headers),
        writer: BodyWriter::new(framing == Framing::Chunked),
        timer: &mut session.timer,
        idle: timeouts.map_or(OWN_ANSWER_IDLE, |timeouts| timeouts.idle),
        deadline: timeouts
            .and_then(|timeouts| timeouts.total)
            .filter(|_| !is_stream)
            .map(|total| visit.started + total),
        watch_from: visit.started + HALF_CLOSE_GRACE,
        ended: false,
        broken: None,
    };
    let (end, broke) = poll_fn(|cx| reply.poll(cx)).await;
    let broken = reply.body.broken().map(str::to_owned);
    drop(reply);
    session.timer.clear();
    if let Some(held) = held {
        held.end(end);
    }
    let (is_complete, bytes_out) = {
        let io = session.downstream.lock();
        (io.intake.is_complete(), io.out.written.saturating_sub(body_before))
    };
    let after = match end {
        End::Completed if keep && is_complete => After::Keep,
        End::Completed if keep => After::Drain,
        End::Completed => After::Close,
        // A client that seems to be gone may have gone only half way.
        End::ClientGone | End::UpstreamAborted | End::Cancelled => After::Abort,
    };
    let detail = broken.or(outgoing.detail);
    let cut_by = broke.map(|cause| CutBy::of(end, cause));
    let (status, cause) = (head.status(), broke.or(cause));
    let outcome = Outcome { status, bytes_out, cause, detail, after, grpc_status: None, cut_by };
    outcome::close(worker, visit, &outcome)
}

/// Our own responses have a date (RFC 9110 §6.6.1).
pub(crate) fn date(edits: &mut Edits) {
    // A date is made of characters that any value may hold.
    let _ = edits.set(name::DATE, clock::http_date());
}

/// A response that came without a date gets the time it came at (RFC 9110 §6.6.1), unless the route removes dates.
pub(crate) fn date_where_missing(head: &ResponseHead, edits: &mut Edits) {
    if head.header(name::DATE).is_none() && edits.added_value(&name::DATE).is_none() && !edits.is_removed(&name::DATE) {
        let _ = edits.put_new(name::DATE, &clock::http_date());
    }
}

/// How the body is framed for this client.
fn framing_for(visit: &Visit, head: &ResponseHead, body: &Body) -> Framing {
    let has_none = visit.head.method() == Method::Head || matches!(head.status(), 204 | 304);
    match body {
        _ if has_none => Framing::None,
        Body::Full(bytes) => Framing::Length(bytes.len() as u64),
        _ => match head.framing() {
            Framing::Chunked | Framing::Close if visit.head.version() == Version::Http10 => Framing::Close,
            Framing::Chunked | Framing::Close => Framing::Chunked,
            // HTTP/2 ends the stream where there is no body; an HTTP/1 client would wait for the connection to end.
            Framing::None => Framing::Length(0),
            framing => framing,
        },
    }
}

/// Whether another request may follow on the client's connection.
fn may_keep(session: &Session, visit: &Visit, framing: Framing, is_own: bool, cause: Option<Cause>) -> bool {
    visit.head.keep_alive()
        && framing != Framing::Close
        && !session.stopping.is_said()
        && cause.is_none_or(|cause| !cause.closes())
        // The rest of a request that we have answered ourselves is not worth waiting for.
        && (!is_own || session.downstream.lock().has_whole_body())
}

/// Whether the request has arrived, or the client may as well send the rest of it, to be thrown away once the endpoint
/// has answered. It may not where the endpoint says that it closes: whoever still sends should hear of it. Nor where the
/// client was not asked for the body, since what it then does is its own choice.
fn may_drain(intake: &Intake, head: &ResponseHead) -> bool {
    intake.is_complete() || (head.keep_alive() && !intake.is_held_back())
}

fn connection_for(visit: &Visit, head: &ResponseHead, keep: bool) -> h1::Connection {
    match (keep, visit.head.version()) {
        (false, _) => h1::Connection::Close,
        (true, Version::Http10) => h1::Connection::KeepAlive,
        // A 426 says what to ask for (RFC 9110 §15.5.22), as far as that would be passed on.
        (true, _) if head.upgrade().is_some_and(|protocol| visit.may_upgrade_to(protocol)) => h1::Connection::Upgrade,
        (true, _) => h1::Connection::Implicit,
    }
}

/// Passes a 101 on and carries bytes both ways from then on.
async fn tunnel(session: &mut Session, worker: &Worker, visit: &Visit, outgoing: Box<Outgoing>) -> After {
    let Response { head, body, held } = outgoing.response;
    let Body::Tunnel(upstream) = body else { return After::Abort };
    {
        let mut io = session.downstream.lock();
        h1::encode_response(io.out.front(), &head, &outgoing.edits, Framing::None, h1::Connection::Upgrade);
        io.answer = Some((head.status(), io.out.written));
    }
    let idle = visit.route().map_or(OWN_ANSWER_IDLE, |route| route.options.timeout.tunnel);
    let carried = tunnel::carry(&visit.client, upstream, &mut session.timer, idle).await;
    if let Some(held) = held {
        held.end(carried.end);
    }
    session.downstream.lock().intake.received = carried.from_client;
    let cause = carried.idle.then_some(Cause::IdleTimeout);
    let (bytes_out, after) = (carried.to_client, After::Gone);
    // A tunnel on which nothing moves ends as the configuration says: no failure of anybody's.
    let cut_by = cause.map(|_| CutBy::Client);
    let outcome = Outcome { status: 101, bytes_out, cause, detail: None, after, grpc_status: None, cut_by };
    outcome::close(worker, visit, &outcome)
}
