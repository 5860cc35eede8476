//! Why a balanced request failed.

use std::error::Error as StdError;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use lb_core::Class;
use lb_policy::{PickError, QueueFull, Uid};

use crate::cause::{ByCause, ClassifyError, chain_of};

/// Why a balanced request got no response head.
///
/// It is an [`Error`](StdError) whatever `E` is, tower's `BoxError` included, so `?` takes it. Its text names the endpoint
/// and has the text of the service's error; its [`source`](StdError::source) is the cause of that, so that a chain prints each
/// cause once. For an `E` that is neither boxed, nor an [`std::io::Error`], nor an error of a client whose feature is enabled, match on
/// [`Endpoint`](Self::Endpoint) to get at the causes.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Error<E> {
    /// No endpoint could take it; nothing was sent.
    NoEndpoint(PickError),
    /// Every endpoint that could take it was full, and the cluster's queue did not help; nothing was sent.
    Queue(QueueError),
    /// The endpoint's service failed.
    Endpoint {
        /// Which endpoint; for [`Tried`](lb_policy::Tried).
        uid: Uid,
        /// The address as it was configured.
        name: Arc<str>,
        /// The error of its service.
        source: E,
    },
}

impl<E> Error<E> {
    /// Whether no endpoint could take the request: nothing was sent.
    #[must_use]
    pub const fn is_no_endpoint(&self) -> bool {
        matches!(self, Self::NoEndpoint(_) | Self::Queue(_))
    }

    /// Whether the same request may be sent again whatever its method: certainly none of it was sent. [`ByCause`] judges the
    /// service's error.
    #[must_use]
    pub fn is_retryable(&self) -> bool
    where
        E: 'static,
    {
        match self {
            Self::NoEndpoint(_) | Self::Queue(_) => true,
            Self::Endpoint { source, .. } => ByCause.class(source) == Class::ConnectError,
        }
    }

    /// The name of the endpoint that failed, as configured, if one was picked.
    #[must_use]
    pub fn endpoint(&self) -> Option<&str> {
        if let Self::Endpoint { name, .. } = self { Some(name) } else { None }
    }

    /// The endpoint that failed, if one was picked.
    #[must_use]
    pub const fn uid(&self) -> Option<Uid> {
        match self {
            Self::NoEndpoint(_) | Self::Queue(_) => None,
            Self::Endpoint { uid, .. } => Some(*uid),
        }
    }
}

impl<E> From<PickError> for Error<E> {
    fn from(error: PickError) -> Self {
        Self::NoEndpoint(error)
    }
}

impl<E> From<QueueError> for Error<E> {
    fn from(error: QueueError) -> Self {
        Self::Queue(error)
    }
}

impl<E: fmt::Display> fmt::Display for Error<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoEndpoint(error) => error.fmt(f),
            Self::Queue(error) => error.fmt(f),
            Self::Endpoint { name, source, .. } => write!(f, "{name}: {source}"),
        }
    }
}

impl<E: fmt::Debug + fmt::Display + 'static> StdError for Error<E> {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        match self {
            Self::NoEndpoint(error) => error.source(),
            Self::Queue(error) => error.source(),
            // Its text is in ours.
            Self::Endpoint { source, .. } => chain_of(source)?.source(),
        }
    }
}

/// Why waiting for a full cluster did not help.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum QueueError {
    /// As many as may wait already.
    #[error(transparent)]
    Full(#[from] QueueFull),
    /// No slot came free in time.
    #[error("queue_timeout: after {within:?}")]
    TimedOut {
        /// How long it was to wait at most.
        within: Duration,
    },
}

#[cfg(test)]
mod tests {
    use std::io;

    use super::*;

    type BoxError = Box<dyn StdError + Send + Sync>;

    #[derive(Debug, thiserror::Error)]
    #[error("client error")]
    struct Client(#[source] io::Error);

    fn failed<E>(source: E) -> Error<E> {
        let cluster = crate::testing::cluster_of([()]);
        let endpoint = Arc::clone(&cluster.endpoints()[0]);
        Error::Endpoint { uid: endpoint.uid(), name: Arc::clone(&endpoint.identity().name), source }
    }

    fn chain(error: &dyn StdError) -> String {
        let mut text = error.to_string();
        let mut cause = error.source();
        while let Some(error) = cause {
            text = format!("{text} | {error}");
            cause = error.source();
        }
        text
    }

    /// The question mark takes it, whatever the service's error is.
    fn asked(error: Error<BoxError>) -> Result<(), BoxError> {
        Err(error)?
    }

    #[test]
    fn a_boxed_error_can_be_asked_and_each_cause_is_printed_once() {
        let refused = || Client(io::ErrorKind::ConnectionRefused.into());
        let error = asked(failed(refused().into())).unwrap_err();
        assert_eq!(chain(&*error), "a: client error | connection refused");
        let error: BoxError = failed(io::Error::other("boom")).into();
        assert_eq!(chain(&*error), "a: boom");
    }

    #[test]
    fn it_says_which_endpoint_and_whether_anything_was_sent() {
        let refused = failed(io::Error::from(io::ErrorKind::ConnectionRefused));
        assert_eq!((refused.endpoint(), refused.is_retryable()), (Some("a"), true));
        let reset = failed(io::Error::from(io::ErrorKind::ConnectionReset));
        assert_eq!((reset.endpoint(), reset.is_retryable()), (Some("a"), false));
        let empty = Error::<io::Error>::from(PickError::Empty);
        assert_eq!((empty.endpoint(), empty.is_retryable()), (None, true));
    }
}
