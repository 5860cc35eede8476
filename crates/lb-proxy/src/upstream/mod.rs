//! Towards the endpoints: their connections, kept and made.

mod connection;
mod multiplexed;
mod pool;

pub(crate) use connection::Connection;
pub(crate) use multiplexed::Lease;
pub(crate) use pool::Upstream;
