//! Towards the endpoints: their connections, kept and made.

mod bound;
mod connection;
mod eviction;
mod multiplexed;
mod outliers;
mod pool;
mod room;
mod service;
mod strays;

pub(crate) use bound::Bound;
pub(crate) use connection::Connection;
pub(crate) use eviction::admit;
pub(crate) use multiplexed::Lease;
pub(crate) use outliers::{EjectionReporter, Outliers};
pub(crate) use pool::Upstream;
pub(crate) use room::{Full, Room, Share};
pub(crate) use service::EndpointService;
pub(crate) use strays::Entrusted;
