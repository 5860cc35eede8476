//! From the tree to the valid model, one file per part of the language.
//!
//! Decoding goes on after a mistake, so that one load reports them all; a part that is wrong becomes `None` and the
//! whole becomes `None` with it.

mod cluster;
mod global;
mod listener;
mod options;
mod placement;
mod route;
mod site;
mod tls;

pub(crate) use crate::table::convert::mismatch;
pub(crate) use crate::table::fields::Fields;
pub(crate) use cluster::{ClusterWritten, clusters};
pub(crate) use global::{Global, global};
pub(crate) use listener::{ListenerWritten, listeners};
pub(crate) use route::{ActionWritten, RouteNode, RouteWritten, routes};
pub(crate) use site::{SiteWritten, sites};
