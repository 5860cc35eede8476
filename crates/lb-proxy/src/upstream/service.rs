//! What a cluster's members are: endpoints that requests can be sent to.
//!
//! Only the type is here, so that snapshots and clusters can name it; how a request is sent is decided above, where requests are known.

use std::sync::Arc;

use super::Upstream;

/// Sends requests to one endpoint.
#[derive(Clone)]
pub(crate) struct EndpointService {
    pub(crate) upstream: Arc<Upstream>,
    /// The value by which a pick prefers this endpoint.
    pub(crate) affinity: u64,
}
