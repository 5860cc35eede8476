//! The HTTP engine of lbproxy: listeners, routes, upstream connections, forwarding.
#![forbid(unsafe_code)]

pub mod drivers;
pub mod message;
pub mod observe;
pub mod rules;
pub mod wire;
