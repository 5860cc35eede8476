//! Load-balancing selection policies: exact, lock-free, free of clocks and runtimes.
//!
//! The problem: to choose, for every request, the endpoint that should serve it. The simple answer, a list and a counter, fails as soon
//! as endpoints differ, fail, fill up, come and go while requests run, or must keep their clients; and an answer that
//! takes a lock becomes the bottleneck it was meant to relieve.
//!
//! Here a [`Cluster`] keeps the members and what was learned about them, a [`Policy`] builds a [`Table`] over them (cold: may
//! allocate), and a [`Selector`] picks from it (hot: no lock, no allocation, no clock). A pick yields a [`Ticket`]: the slot in flight
//! at the endpoint, given back when it is dropped.
//!
//! ```
//! use lb_core::{Class, End, Mono};
//! use lb_policy::{Cluster, Entropy, Identity, Member, PickCx, RoundRobin, Update};
//!
//! let cluster = Cluster::new("app");
//! let members = ["10.0.0.1:80", "10.0.0.2:80"].map(|address| Member::new(Identity::literal(address), ()));
//! cluster.apply(Update::Reset(members.into()), Mono::ZERO);
//!
//! let selector = cluster.selector(RoundRobin);
//! let mut entropy = Entropy::seeded(1);
//! let mut ticket = selector.pick(&mut PickCx::new(Mono::ZERO, &mut entropy))?;
//! assert_eq!(&*ticket.endpoint().identity().address, "10.0.0.1:80");
//!
//! ticket.on_head(Class::Status(200), Mono::from_millis(12));
//! ticket.on_end(End::Completed, Mono::from_millis(15));
//! # Ok::<(), lb_policy::PickError>(())
//! ```
//!
//! The feature `conformance` adds the suite that every policy here passes, for policies from elsewhere.
//!
//! What this crate does not do: judge health (verdicts come in through [`Cluster::set`]), limit, retry, keep time for waiting
//! requests (it keeps their [`Queue`]), or open connections.
#![forbid(unsafe_code)]

mod algorithms;
mod catalog;
mod cluster;
#[cfg(feature = "conformance")]
pub mod conformance;
mod context;
mod endpoint;
mod entropy;
mod error;
mod estimate;
mod explain;
mod hashing;
mod identity;
mod index;
mod options;
mod policy;
mod signals;
mod subset;
#[cfg(test)]
mod testing;
mod witness;

pub use algorithms::bounded::BoundedLoad;
pub use algorithms::zone_aware::{ZoneAware, ZoneAwareTable};
pub use catalog::*;
pub use cluster::queue::{Queue, QueueExit, QueueFull, QueueReport, QueueTicket};
pub use cluster::selector::{Reader, Selector};
pub use cluster::slow_start::SlowStart;
pub use cluster::state::{Generation, Update};
pub use cluster::ticket::Ticket;
pub use cluster::tiers::{PanicMode, Spill};
pub use cluster::view::View;
pub use cluster::{Cluster, LastEligible};
pub use context::{PickCx, Tried};
pub use endpoint::{Endpoint, Member, affinity_of};
pub use entropy::Entropy;
pub use error::{EndpointCounts, PickError};
pub use estimate::load_report::LoadReport;
pub use estimate::probe_pool::{Probe, ProbePool, ProbeTuning};
pub use explain::{ConsideredEndpoint, Explanation};
pub use identity::{Identity, Uid, Zone};
pub use index::Index;
pub use options::{KeyUse, OptionInfo, PolicyInfo, Unit};
pub use policy::{Candidate, Policy, Table};
pub use signals::{Learning, Signals};
pub use subset::{deterministic_subset, rendezvous_subset};
pub use witness::{Explaining, Live, Step, Witness};
