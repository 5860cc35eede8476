//! Towards the endpoints: their connections, and requests on them.

mod call;
mod chronicle;
mod error;
mod eviction;
pub(crate) mod h1;
pub(crate) mod h2;
mod in_flight;
mod outliers;
mod pool;
mod room;
mod service;
mod tunnel;
mod usual;

pub(crate) use call::{Asked, BodySource, Call, WaitsFor};
pub(crate) use error::AttemptError;
pub(crate) use eviction::admit;
pub(crate) use h1::{Bound, Connection};
pub(crate) use h2::Lease;
pub(crate) use in_flight::{AttemptEvents, InFlightGuard, RetryCounter};
pub(crate) use outliers::{EjectionReporter, Outliers};
pub(crate) use pool::Upstream;
pub(crate) use room::{Full, Room, Share};
pub(crate) use service::EndpointService;
pub(crate) use tunnel::Tunnel;
