//! What runs beside the requests: active checks and discovery.
//!
//! Drivers own tasks, sockets and timers and none of the decisions: those are made by `lb-health` and by whoever
//! receives their results. They run on the control runtime, so that a thousand checks never delay a request. Each is
//! told the whole wanted state at start and at every reload, keeps what did not change, and stops what is gone.

mod ask;
pub mod checks;
pub(crate) mod discovery;
mod places;
mod probe;
mod programs;
mod verdict;

use std::sync::Arc;

use lb_discovery::Address;

/// Which endpoint: the key of all that is learned about it.
///
/// Two clusters never share a verdict by accident, and an address that two configured names resolve to is two endpoints.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Identity {
    /// Its cluster's name.
    pub cluster: Arc<str>,
    /// Its address as configured.
    pub endpoint: Arc<str>,
    /// Its address as resolved.
    pub address: Address,
}
