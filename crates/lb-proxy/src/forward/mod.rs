//! Forwarding: the tower stack that finds an endpoint for a request, and each attempt at one.

pub(crate) mod attempt;
mod opening;
pub(crate) mod stack;
