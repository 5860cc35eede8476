//! A simulator that runs the production policies in virtual time and puts what they do beside what was published.
//!
//! The problem: whether a policy is right cannot be seen from its picks one by one, only from what happens to thousands of
//! requests that wait for each other. A load test answers that slowly, differently each time, and for one machine. A model written
//! for the purpose answers quickly, but about itself and not about the code that ships.
//!
//! So here time is a number, an hour of traffic takes seconds, and the balancer is no model: the very
//! [`Cluster`](lb_policy::Cluster), [`Selector`](lb_policy::Selector) and [`Ticket`](lb_policy::Ticket) that serve real requests,
//! with the time and the random numbers given to them. The endpoints are models: servers with
//! a queue ([`Fifo`]), machines whose cores are shared ([`Sharing`]).
//!
//! A run is a function of its seed. Every entity (arrivals, each endpoint's service times, each client's picks) draws from a
//! stream of its own, so that changing a policy does not change what the others see. Logarithms come from the platform's
//! library; runs repeat bit for bit on one platform, and within rounding on another.
//!
//! What this does not do: sockets, protocols, CPU costs of the proxy. It computes where requests go and how long they wait there.
#![forbid(unsafe_code)]

mod client;
mod fifo;
mod histogram;
pub mod pictures;
mod queue;
mod report;
mod seed;
mod sharing;
mod stats;
mod svg;
pub mod tables;

pub use client::{Client, endpoint_name, members};
pub use fifo::Fifo;
pub use histogram::Histogram;
pub use queue::EventQueue;
pub use report::{Judge, Report, Row, Unit};
pub use seed::{Seed, Stream, later};
pub use sharing::{Place, Sharing};

pub use stats::{Effort, Estimate};
