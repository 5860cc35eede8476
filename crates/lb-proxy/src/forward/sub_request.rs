//! Requests of our own to a cluster, for the sake of a client's request: does an authentication service let it in, what does a
//! page look like.
//!
//! Such a request takes the way of any other below the filters: policy, health, queue, retries, HTTP/1 or HTTP/2. It belongs to the
//! client's request: it has its origin and its id, and ends with it. Head and body of the response are read whole, up to a limit and
//! within a time, because what is decided by half an answer is decided wrongly.
//!
//! Not here: responses that are streamed to the client, which are the client's own requests.

use std::future::poll_fn;
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use lb_core::End;
use lb_tower::Expiry;
use tokio::time::{Instant, timeout_at};
use tower_service::Service;

use super::request;
use super::stack::{RouteStacks, refusal_of};
use crate::downstream::Frame;
use crate::exchange::{Body, Exchange, Response};
use crate::message::{Edits, RequestHead, ResponseHead};
use crate::net::timer::far;
use crate::rules::cause::Cause;

/// How much of a body is asked for at once.
const READ: usize = 64 * 1024;

/// A request of our own.
pub(crate) struct SubRequest {
    exchange: Exchange,
    within: Duration,
    /// Longest body of a response, bytes.
    body_limit: usize,
}

/// Its response, whole.
#[derive(Debug)]
pub(crate) struct SubResponse {
    pub(crate) head: ResponseHead,
    pub(crate) body: Bytes,
}

/// Why there is none.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct SubFailure {
    pub(crate) cause: Cause,
    /// More on the cause, for the log.
    pub(crate) detail: Option<String>,
}

impl SubRequest {
    /// A request to the cluster at this position of the configuration, which must be one of
    /// [`OwnRequests`](lb_config::OwnRequests): to another one it fails with [`Cause::Internal`].
    ///
    /// Head and body agree on the length ([`RequestHead::compose`]). The answer comes within this time or fails, and its body is at
    /// most so long.
    pub(crate) fn new(
        client: &Exchange,
        cluster: usize,
        (head, edits, body): (RequestHead, Edits, &Bytes),
        within: Duration,
        body_limit: usize,
    ) -> Self {
        let mut exchange =
            Exchange::internal(client.client.connection(), &client.snapshot, client.listener, head, body);
        exchange.origin = client.origin;
        exchange.id = client.id.clone();
        exchange.edits = edits;
        exchange.route = client.snapshot.shared.own_route(cluster);
        request::prepare(&mut exchange);
        Self { exchange, within, body_limit }
    }

    /// Sends it, and reads the response whole. Holds nothing of the client's request but its connection; dropped, it is given up.
    ///
    /// # Errors
    /// No endpoint has answered, or not wholly, or not in time, or at too great a length. Any status is an answer.
    pub(crate) async fn send(self) -> Result<SubResponse, SubFailure> {
        let deadline = far(Instant::now(), self.within);
        let exchange = Arc::new(self.exchange);
        let response = head_of(&exchange, deadline, self.within).await?;
        let endpoint = exchange.trace.attempts().last_name().to_owned();
        match timeout_at(deadline, whole(response, self.body_limit)).await {
            Ok(read) => read.map_err(|(cause, why)| SubFailure { cause, detail: Some(joined(&endpoint, why)) }),
            Err(_) => Err(SubFailure { cause: Cause::TotalTimeout, detail: Some(endpoint) }),
        }
    }
}

/// Has an endpoint answer.
async fn head_of(exchange: &Arc<Exchange>, deadline: Instant, within: Duration) -> Result<Box<Response>, SubFailure> {
    let internal = |why: &str| SubFailure { cause: Cause::Internal, detail: Some(why.to_owned()) };
    let stacks = exchange.snapshot.stacks.downcast_ref::<RouteStacks>();
    let route = exchange.route.ok_or_else(|| internal("no route of our own"))?;
    let call =
        stacks.and_then(|stacks| stacks.of(route)).map(|mut stack| stack.call(request::request(exchange, route)));
    let call = call.ok_or_else(|| internal("no stack"))?;
    let mut call = Box::pin(timeout_at(deadline, call));
    let answered = call.as_mut().await;
    // An endpoint that is waited for when the time is over has failed.
    let over = answered.is_err().then(|| Expiry::begin(within));
    drop(call);
    drop(over);
    let failed = |cause, detail| {
        let endpoint = exchange.trace.attempts().last_name().to_owned();
        SubFailure { cause, detail: Some(joined(&endpoint, detail)).filter(|text| !text.is_empty()) }
    };
    match answered {
        Ok(Ok(response)) => Ok(response),
        Ok(Err(error)) => {
            let (cause, detail, _) = refusal_of(&error);
            Err(failed(cause, detail))
        }
        Err(_) => Err(failed(Cause::TotalTimeout, None)),
    }
}

fn joined(endpoint: &str, why: Option<String>) -> String {
    match why {
        Some(why) if endpoint.is_empty() => why,
        Some(why) => format!("{endpoint}: {why}"),
        None => endpoint.to_owned(),
    }
}

/// Reads the body to its end.
async fn whole(mut response: Box<Response>, limit: usize) -> Result<SubResponse, (Cause, Option<String>)> {
    let held = response.held.take();
    let ended = |end| {
        if let Some(held) = held {
            held.end(end);
        }
    };
    if let Body::Tunnel(_) = response.body {
        ended(End::UpstreamAborted);
        return Err((Cause::InvalidResponse, Some("unexpected_switch".to_owned())));
    }
    let mut body = pin!(&mut response.body);
    let mut read = BytesMut::new();
    loop {
        let frame = poll_fn(|cx| match body.poll_upload(cx) {
            Ok(_) => body.poll_frame(cx, READ),
            Err(cause) => Poll::Ready(Some(Err(cause))),
        });
        match frame.await {
            Some(Ok(Frame::Data(data))) if read.len() + data.len() > limit => {
                ended(End::Cancelled);
                return Err((Cause::ResponseTooLarge, Some(format!("its body is longer than {limit} bytes"))));
            }
            Some(Ok(Frame::Data(data))) => read.extend_from_slice(&data),
            Some(Ok(Frame::Trailers(_))) => {}
            Some(Err(cause)) => {
                ended(End::UpstreamAborted);
                return Err((cause, body.broken().map(str::to_owned)));
            }
            None => break,
        }
    }
    ended(End::Completed);
    Ok(SubResponse { head: response.head.clone(), body: read.freeze() })
}
