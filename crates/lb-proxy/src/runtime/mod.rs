//! The configuration in force: how it is built, and what a request sees of it.

pub(crate) mod build;
pub(crate) mod endpoints;
pub(crate) mod orders;
pub(crate) mod placement;
pub(crate) mod snapshot;
