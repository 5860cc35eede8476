//! The vocabulary of load balancing, shared by every other crate of the workspace.
//!
//! The problem: selection, health and limits must agree on what an endpoint is, what time it is and what became of a
//! request, yet must not import one another. This crate holds only the types they share: [`Mono`] time and the
//! [`Clock`] that reads it, [`Weight`], [`EndpointState`] with its one eligibility word, and the [`Class`] and
//! [`End`] of a request, and [`grpc`]'s codes. It has no dependencies, starts no task and reads no clock unless asked to.
#![forbid(unsafe_code)]

mod endpoint;
pub mod grpc;
mod outcome;
mod protocol;
mod time;
mod weight;

pub use endpoint::{Acquire, Axis, EndpointState, Ignored, InFlightLimit};
pub use outcome::{Class, End};
pub use protocol::{is_never_upgraded_to, is_same_protocol};
pub use time::{Clock, ManualClock, Mono, SystemClock};
pub use weight::Weight;
