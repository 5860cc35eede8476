//! The response of an exchange: an endpoint's, or our own.

use bytes::Bytes;

use super::{Body, Exchange};
use crate::message::{Edits, Framing, Method, ResponseHead};
use crate::rules::accept;
use crate::rules::answer::Answer;
use crate::rules::cause::Cause;
use crate::rules::reply::Reply;
use crate::upstream::InFlightGuard;

/// A response, before it is written.
pub(crate) struct Response {
    pub(crate) head: ResponseHead,
    /// What is to be different about the head.
    pub(crate) edits: Edits,
    pub(crate) body: Body,
    /// How the body ends, as far as that does not depend on the request's method and the client's protocol. Whatever changes the
    /// body's length changes this as well.
    pub(crate) framing: Framing,
    /// The in-flight slot of its endpoint; our own responses hold none.
    pub(crate) held: Option<InFlightGuard>,
    /// A service gave it in place of the endpoint.
    pub(crate) is_of_service: bool,
    /// The failure that it answers; `None` for an endpoint's, and for what the configuration asks for.
    pub(crate) cause: Option<Cause>,
    /// More on the cause, for the log.
    pub(crate) detail: Option<String>,
}

impl Response {
    /// A response of an endpoint. Boxed, since layers pass it on by value.
    pub(crate) fn of_endpoint(head: ResponseHead, body: Body) -> Box<Self> {
        let framing = head.framing();
        Box::new(Self {
            head,
            edits: Edits::new(),
            body,
            framing,
            held: None,
            is_of_service: false,
            cause: None,
            detail: None,
        })
    }

    /// A response of our own.
    fn own(reply: Reply, cause: Option<Cause>, detail: Option<String>) -> Box<Self> {
        let Reply { head, body, .. } = reply;
        let framing = Framing::Length(body.len() as u64);
        Box::new(Self {
            head,
            edits: Edits::new(),
            body: Body::Full(body),
            framing,
            held: None,
            is_of_service: false,
            cause,
            detail,
        })
    }

    /// A response that a service gave in place of the endpoint, for this cause.
    pub(crate) fn of_service(head: ResponseHead, body: Bytes, cause: Cause) -> Box<Self> {
        let framing = Framing::Length(body.len() as u64);
        let (body, cause) = (Body::Full(body), Some(cause));
        Box::new(Self {
            head,
            edits: Edits::new(),
            body,
            framing,
            held: None,
            is_of_service: true,
            cause,
            detail: None,
        })
    }

    /// Whether neither an endpoint nor a service in its place gave it.
    pub(crate) fn is_own(&self) -> bool {
        self.held.is_none() && !self.is_of_service
    }
}

impl Exchange {
    /// Whether a response with this head has no body, whatever the head says.
    pub(crate) fn has_no_body(&self, head: &ResponseHead) -> bool {
        self.head.method() == Method::Head || matches!(head.status(), 204 | 304)
    }

    /// A response that the configuration asks for, or the failure to give it.
    pub(crate) fn own(&self, reply: Result<Reply, Cause>) -> Box<Response> {
        match reply {
            Ok(reply) => Response::own(reply, None, None),
            Err(cause) => self.refusal(cause, None),
        }
    }

    /// Our response to a failure.
    pub(crate) fn refusal(&self, cause: Cause, detail: Option<String>) -> Box<Response> {
        self.answer(Answer::new(cause), cause, detail)
    }

    /// This response to a failure.
    pub(crate) fn answer(&self, answer: Answer<'_>, cause: Cause, detail: Option<String>) -> Box<Response> {
        let reply = match self.is_grpc {
            true => answer.write_grpc(self.id.as_str()),
            false if accept::prefers_json(&self.head) => answer.write_json(self.id.as_str(), self.head.method()),
            false => answer.write(self.id.as_str(), self.head.method()),
        };
        Response::own(reply, Some(cause), detail)
    }
}
