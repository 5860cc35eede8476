//! The client's side of a request that the proxy makes itself: there is no socket, and the body is known.

use std::sync::Arc;

use atomic_refcell::AtomicRefCell;
use bytes::Bytes;

use super::{ClientConnection, RequestBodyState};

/// A request without a client's socket: a sub-request, or one that is only explained or tested.
pub(crate) struct Internal {
    connection: Arc<ClientConnection>,
    pub(super) body: AtomicRefCell<RequestBodyState>,
}

impl Internal {
    /// A request that counts as one of this connection, with this body.
    pub(crate) fn new(connection: &Arc<ClientConnection>, body: &Bytes) -> Self {
        let body = AtomicRefCell::new(RequestBodyState::whole(body));
        Self { connection: Arc::clone(connection), body }
    }

    pub(super) fn connection(&self) -> &Arc<ClientConnection> {
        &self.connection
    }
}
