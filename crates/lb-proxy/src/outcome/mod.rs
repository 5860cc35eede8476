//! Outcome: how a request ended, counted and logged once.
//!
//! Attempts are counted apart from requests: see [`AttemptEvents`](crate::upstream::AttemptEvents). [`close`] counts and logs the
//! request as the client saw it.

mod record;
mod running;

use lb_core::End;

pub(crate) use record::{Unread, close, close_unread};
pub(crate) use running::Running;

use crate::rules::cause::Cause;

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

/// How a request ended.
pub(crate) struct Outcome {
    pub(crate) status: u16,
    /// Bytes of the response's body, framing included.
    pub(crate) bytes_out: u64,
    pub(crate) cause: Option<Cause>,
    pub(crate) detail: Option<String>,
    pub(crate) after: After,
    /// How a gRPC call ended, if that is known.
    pub(crate) grpc_status: Option<u8>,
    /// The response, or the tunnel, broke off after it had begun; by whom.
    pub(crate) cut_by: Option<CutBy>,
}

/// Who had a response end before its time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum CutBy {
    /// The client: it left, sent nonsense, or read no more.
    Client,
    /// The endpoint, or we.
    Service,
}

impl CutBy {
    /// Of a response that ended like this, for this cause.
    pub(crate) fn of(end: End, cause: Cause) -> Self {
        // Without a byte either way it depends on who was waited for.
        let was_client = cause.is_of_the_client() || (cause == Cause::IdleTimeout && end != End::UpstreamAborted);
        if was_client { Self::Client } else { Self::Service }
    }
}

impl Outcome {
    /// The client went away before there was an answer.
    pub(crate) fn client_gone() -> Self {
        Self { after: After::Gone, ..Self::of(Cause::ClientClosed) }
    }

    /// There was no answer.
    pub(crate) fn of(cause: Cause) -> Self {
        let status = cause.status();
        Self {
            status,
            bytes_out: 0,
            cause: Some(cause),
            detail: None,
            after: After::Abort,
            grpc_status: None,
            cut_by: None,
        }
    }
}
