//! The configuration in force: how it is built, and what a request sees of it.

mod clusters;
pub(crate) mod endpoints;
pub(crate) mod gates;
pub(crate) mod headers;
mod kept;
pub(crate) mod limiters;
pub(crate) mod orders;
pub(crate) mod pages;
pub(crate) mod placement;
pub(crate) mod registry;
mod routes;
pub(crate) mod snapshot;
