//! The HTTP engine of lbproxy: listeners, routes, upstream connections, forwarding.
#![forbid(unsafe_code)]

pub mod auth;
mod control;
mod downstream;
pub mod drivers;
mod engine;
mod error;
pub mod events;
mod exchange;
mod filters;
mod forward;
mod listen;
mod net;
pub mod observe;
mod outcome;
mod respond;
mod route;
pub mod rules;
mod runtime;
mod serve;
pub mod tls;
mod upstream;
mod worker;

use lb_http::{message, wire};

pub use engine::{Engine, ForceShutdown, validate};
pub use error::EngineError;
pub use rules::page::PageError;
pub use runtime::orders::Order;
pub use runtime::pages::inspect as inspect_pages;

/// An address as the configuration writes it.
#[must_use]
pub fn show(address: &lb_config::ListenAddress) -> String {
    match address {
        lb_config::ListenAddress::Tcp(address) => address.to_string(),
        lb_config::ListenAddress::Unix(path) => format!("unix:{}", path.display()),
    }
}
