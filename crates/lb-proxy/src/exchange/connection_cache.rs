//! What the exchanges of a connection have in common.

use crate::downstream::ClientConnection;
use crate::message::RequestHead;
use crate::rules::forwarded::{ForwardedHeaderCache, Origin};
use crate::runtime::snapshot::Snapshot;

/// What stays the same for the requests of a connection, as long as its client is not a proxy that we trust.
#[derive(Default)]
pub(crate) struct ConnectionCache {
    /// Where requests come from, under the snapshot of this generation.
    origin: Option<(u64, Origin)>,
    pub(crate) forwarded: ForwardedHeaderCache,
}

impl ConnectionCache {
    /// Where a request comes from.
    pub(crate) fn origin(
        &mut self,
        of: &ClientConnection,
        snapshot: &Snapshot,
        listener: usize,
        head: &RequestHead,
    ) -> Origin {
        if let Some((generation, origin)) = &self.origin
            && *generation == snapshot.generation
        {
            return *origin;
        }
        let origin = Origin::new(of.facts(), &snapshot.listeners[listener].trusted, head);
        self.origin = (!origin.is_trusted).then_some((snapshot.generation, origin));
        origin
    }
}
