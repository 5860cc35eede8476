//! Forwarding: the tower stack that finds an endpoint for a request, and each attempt at one.
//!
//! An attempt is driven in one way whichever protocol the endpoint speaks ([`attempt`]). What differs is behind [`protocol::Protocol`],
//! one file each: how a connection is had and a request begun on it.

mod attempt;
mod h1;
mod h2;
mod interim;
mod opening;
mod protocol;
pub(crate) mod request;
mod retry;
mod silence;
pub(crate) mod stack;
pub(crate) mod sub_request;
pub(crate) mod tunnel;
