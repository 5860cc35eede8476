//! What became of a request.
//!
//! One attempt is reported twice: its [`Class`] when the response head arrives (or fails to), and its [`End`] when
//! both bodies have ended. An hour of server-sent events is thus one success after 20 ms and an hour of in-flight,
//! not an hour of latency.

/// The result of an attempt, up to its response head.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Class {
    /// A response head with this status.
    Status(u16),
    /// A response head with this status, by which a well endpoint asks for less; see [`of_response`](Self::of_response).
    Busy(u16),
    /// No connection was made; nothing was sent.
    ConnectError,
    /// The connection broke before the response head.
    Reset,
    /// The response head came too late.
    Timeout,
    /// What came was not a response of the protocol.
    InvalidResponse,
    /// It ended for a reason that is no evidence about the endpoint: the client gave up, or the caller's own machine
    /// could make no connection.
    Cancelled,
}

impl Class {
    /// A response head: [`Busy`](Self::Busy) for 429 (as which gRPC's RESOURCE_EXHAUSTED counts too), and for 503 that says when to
    /// come again (`Retry-After`, gRPC's push-back); else [`Status`](Self::Status). A 503 without that may be anything.
    #[must_use]
    pub const fn of_response(status: u16, says_when: bool) -> Self {
        if status == 429 || (status == 503 && says_when) { Self::Busy(status) } else { Self::Status(status) }
    }

    /// The status of the response head, if there was one.
    #[must_use]
    pub const fn status(self) -> Option<u16> {
        match self {
            Self::Status(code) | Self::Busy(code) => Some(code),
            _ => None,
        }
    }

    /// Whether the request failed at the endpoint: no response head, or a status of 500 and above. A cancelled attempt did not fail.
    #[must_use]
    pub const fn is_failure(self) -> bool {
        match self {
            Self::Status(code) | Self::Busy(code) => code >= 500,
            Self::ConnectError | Self::Reset | Self::Timeout | Self::InvalidResponse => true,
            Self::Cancelled => false,
        }
    }

    /// Its name in logs and metrics: `5xx`, `connect_error`, …
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Status(100..=199) | Self::Busy(100..=199) => "1xx",
            Self::Status(200..=299) | Self::Busy(200..=299) => "2xx",
            Self::Status(300..=399) | Self::Busy(300..=399) => "3xx",
            Self::Status(400..=499) | Self::Busy(400..=499) => "4xx",
            Self::Status(_) | Self::Busy(_) => "5xx",
            Self::ConnectError => "connect_error",
            Self::Reset => "reset",
            Self::Timeout => "timeout",
            Self::InvalidResponse => "invalid_response",
            Self::Cancelled => "cancelled",
        }
    }
}

/// How an attempt ended, once both of its bodies had ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum End {
    /// Both bodies ended as they should.
    Completed,
    /// The endpoint broke off after its response head.
    UpstreamAborted,
    /// The client went away.
    ClientGone,
    /// Dropped by us before it ended.
    Cancelled,
}
