//! What a pick costs, in multiples of what cannot be avoided.
//!
//! The problem: nanoseconds of one machine say little about another, and on a busy machine little about this one. So
//! every figure stands beside [`F`](floor), an uncontended relaxed `fetch_add`, which is the least that any shared
//! turn-taking costs; both are measured in turns, batch by batch, and the figure is the median of the ratios. What
//! slows one of a pair slows both.
//!
//! The crate is the harness and the subjects, so that the peers which are heavy to build, in `benches/peers`, can be
//! measured in one run with ours. What it does not do: decide. A machine that runs other things gives a rough figure;
//! compare ratios, and medians of several runs.
#![forbid(unsafe_code)]

pub mod counts;
mod fleet;
mod layers;
mod policies;
mod rounds;
mod targets;
mod tower_peers;

pub use fleet::Shape;
pub use layers::{Layer, picker, subject, while_updating, with_two_threads};
pub use policies::{POLICIES, policy};
pub use rounds::{Measured, Subject, floor, measure};
pub use targets::Results;
pub use tower_peers::{lb_tower, tower_bare, tower_in_buffer};
