//! What is done with a client's connection once its listener has accepted it.

use std::sync::Arc;

use crate::downstream::ClientConnection;
use crate::net::{Stream, Timer};
use crate::worker::shutdown::Shutdown;
use crate::worker::state::{Stacks, Worker};

pub(crate) mod admin;
pub(crate) mod http;

/// A client's connection, ready for its first byte: behind PROXY header and TLS, and within the limits.
pub(crate) struct Opened {
    pub(crate) stream: Stream,
    pub(crate) connection: ClientConnection,
    /// The snapshot that it was accepted with.
    pub(crate) stacks: Arc<Stacks>,
    /// Where its listener stands in that snapshot.
    pub(crate) listener: usize,
    pub(crate) worker: Arc<Worker>,
    pub(crate) shutdown: Shutdown,
    /// Has counted the time since the handshake began, if there was one.
    pub(crate) timer: Timer,
}

/// What the connections of a worker's listener are for. Another protocol is another arm, with a room beside [`http`]. The
/// [`admin`] listener is none: it must answer when the workers are at their limits, and so has a loop of its own.
#[derive(Clone, Copy)]
pub(crate) enum Service {
    Http,
}

impl Service {
    /// Serves a connection to its end.
    pub(crate) fn serve(self, opened: Opened) -> impl Future<Output = ()> + Send {
        match self {
            Self::Http => http::serve(opened),
        }
    }
}
