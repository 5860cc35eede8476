//! Rules of other balancers, with their oddities, for those who bring their configuration along and compare.

mod agent;
mod max_fails;
mod observe;

pub use agent::{AgentAnswer, AgentState};
pub use max_fails::MaxFails;
pub use observe::{Observe, OnError};
