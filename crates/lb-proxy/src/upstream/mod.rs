//! Towards the endpoints: their connections, kept and made.

mod eviction;
pub(crate) mod h1;
pub(crate) mod h2;
mod outliers;
mod pool;
mod room;
mod service;

pub(crate) use eviction::admit;
pub(crate) use h1::{Bound, Connection, Entrusted};
pub(crate) use h2::Lease;
pub(crate) use outliers::{EjectionReporter, Outliers};
pub(crate) use pool::Upstream;
pub(crate) use room::{Full, Room, Share};
pub(crate) use service::EndpointService;
