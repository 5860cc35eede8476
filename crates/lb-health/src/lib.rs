//! Health state machines for load balancing: active checks, outlier detection, breakers, back-pressure.
//!
//! The problem: whether an endpoint may be sent requests follows from probes, from real traffic and from time, and each
//! of them can be wrong in its own way. Mixed into the code that sends probes and requests, the rules cannot be tested,
//! and one of them undoes what another decided. Here each is a state machine without IO: it is told events and the
//! time, and answers with what changed. The caller turns that into bits of the endpoint's
//! [`EndpointState`](lb_core::EndpointState), one axis each.
//!
//! | for | use | its axis |
//! |---|---|---|
//! | active checks: `rise`, `fall`, intervals | [`Schedule`] of [`RiseFall`] and [`Intervals`], [`FairShare`] | `Check` |
//! | what gRPC's health service says | [`ServingStatus`] | `Check` |
//! | real failures within a window | [`Outlier`] with [`FailureSet`] and the cluster's [`EjectionCap`] | `Ejected` |
//! | failing more than the others do | [`Comparison`] over [`History`] | `Ejected` |
//! | failure rates, with careful tests | [`Breaker`] | `Breaker` |
//! | an endpoint that hangs | [`Silence`] with [`Patience`] | throttled |
//! | one that asks for less | [`CoolDown`] | `CoolDown` |
//! | what came of the last requests, for people | [`Recent`] | |
//! | the rules of nginx and HAProxy | [`MaxFails`], [`Observe`], [`AgentAnswer`] | |
#![forbid(unsafe_code)]

mod breaker;
mod chance;
mod check;
mod comparison;
mod cool_down;
mod ejection;
mod ejection_cap;
mod failure_set;
mod fair_share;
mod grpc;
mod history;
mod jitter;
#[cfg(all(test, loom))]
mod model;
mod modes;
mod outlier;
mod recent;
mod schedule;
mod silence;
mod sync;
mod window;

pub use breaker::{Admission, Breaker, BreakerChange, BreakerConfig, BreakerState};
pub use check::{Initial, Intervals, RiseFall, Thresholds, Transition};
pub use comparison::{Comparison, Evidence, Judgement, Seen};
pub use cool_down::{CoolDown, CoolDownConfig};
pub use ejection::{Ejection, Growth, OnFailure};
pub use ejection_cap::{EjectionCap, may_eject};
pub use failure_set::FailureSet;
pub use fair_share::FairShare;
pub use grpc::ServingStatus;
pub use history::{History, LookBack};
pub use modes::{AgentAnswer, AgentState, MaxFails, Observe, OnError};
pub use outlier::Outlier;
pub use recent::Recent;
pub use schedule::Schedule;
pub use silence::{Patience, Silence, Wait};
pub use window::{Counts, Window};
