//! Towards the endpoints: their connections, kept and made.

mod bound;
mod connection;
mod multiplexed;
mod pool;

pub(crate) use bound::Bound;
pub(crate) use connection::Connection;
pub(crate) use multiplexed::Lease;
pub(crate) use pool::Upstream;
