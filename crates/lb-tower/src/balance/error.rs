//! Why a balanced request failed.

use std::sync::Arc;

use std::time::Duration;

use lb_policy::{PickError, QueueFull, Uid};

/// Why a balanced request got no response head.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Error<E> {
    /// Nobody could take it; nothing was sent.
    #[error(transparent)]
    NoEndpoint(#[from] PickError),
    /// Everybody who could take it was full, and the cluster's queue did not help; nothing was sent.
    #[error(transparent)]
    Queue(#[from] QueueError),
    /// The endpoint's service failed.
    #[error("{name}: {source}")]
    Endpoint {
        /// Which endpoint; for [`Tried`](lb_policy::Tried).
        uid: Uid,
        /// The address as it was configured.
        name: Arc<str>,
        /// What its service said.
        source: E,
    },
}

impl<E> Error<E> {
    /// Whether nobody could take the request: nothing was sent.
    #[must_use]
    pub const fn is_no_endpoint(&self) -> bool {
        matches!(self, Self::NoEndpoint(_) | Self::Queue(_))
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
