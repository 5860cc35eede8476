//! Health state machines for load balancing: active checks, outlier detection, breaker, slow start.
//!
//! The problem: whether an endpoint may be sent requests follows from probes, from real traffic and from time, and each
//! of them can be wrong in its own way. Mixed into the code that sends probes and requests, the rules cannot be tested, and
//! one of them undoes what another decided. Here each is a state machine without IO: it is told events and
//! the time, and answers with what changed. The caller turns that into bits of the endpoint's
//! [`EndpointState`](lb_core::EndpointState), one axis each.
//!
//! | for | use | its axis |
//! |---|---|---|
//! | probes: `rise` and `fall` | [`RiseFall`], [`Intervals`] | `Check` |
//! | real failures within a window | [`Outlier`] with [`FailureSet`] and the cluster's [`EjectionCap`] | `Ejected` |
#![forbid(unsafe_code)]

mod check;
mod ejection_cap;
mod failure_set;
#[cfg(all(test, loom))]
mod model;
mod outlier;
mod sync;

pub use check::{Initial, Intervals, RiseFall, Thresholds, Transition};
pub use ejection_cap::{EjectionCap, may_eject};
pub use failure_set::FailureSet;
pub use outlier::{Ejection, Growth, OnFailure, Outlier};
