//! A response on its way to the client, an endpoint's or our own.

use crate::exchange::Exchange;
use crate::exchange::{Body, Response};
use crate::message::Edits;
use crate::rules::answer::Answer;
use crate::rules::cause::Cause;
use crate::rules::reply::Reply as OwnReply;

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

impl Exchange {
    /// A response that the configuration asks for, or the failure to give it.
    pub(crate) fn own(&self, reply: Result<OwnReply, Cause>) -> Outgoing {
        match reply {
            Ok(reply) => Outgoing::own(reply, None, None),
            Err(cause) => self.refusal(cause, None),
        }
    }

    /// Our response to a failure.
    pub(crate) fn refusal(&self, cause: Cause, detail: Option<String>) -> Outgoing {
        self.answer(Answer::new(cause), cause, detail)
    }

    /// This response to a failure.
    pub(crate) fn answer(&self, answer: Answer<'_>, cause: Cause, detail: Option<String>) -> Outgoing {
        let reply = match self.is_grpc {
            true => answer.write_grpc(self.id.as_str()),
            false => answer.write(self.id.as_str(), self.head.method()),
        };
        Outgoing::own(reply, Some(cause), detail)
    }
}
