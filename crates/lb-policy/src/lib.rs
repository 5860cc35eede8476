//! Load-balancing selection policies: exact, lock-free, free of clocks and runtimes.
//!
//! The problem: to say, for every request, which endpoint should serve it. The simple answer, a list and a counter, fails as soon
//! as endpoints differ, fall ill, fill up, come and go while requests run, or must keep their clients; and an answer that
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
//! What this crate does not do: judge health (it is told, through [`Cluster::set`]), limit, retry, keep time for those who wait
//! (it keeps their [`Queue`]), or open connections.
#![forbid(unsafe_code)]

mod alias;
mod bounded;
mod built_in;
mod c3;
mod cluster;
mod cluster_state;
#[cfg(feature = "conformance")]
pub mod conformance;
mod cx;
mod endpoint;
mod entropy;
mod error;
mod fewest;
mod first;
mod hash;
mod hashing;
mod identity;
mod index;
mod ip_hash;
mod ladder;
mod latency;
mod least_request;
mod least_time;
mod ledger;
mod load_report;
mod maglev;
mod memento;
mod orca;
mod p2c;
mod peak_ewma;
mod policy;
mod prequal;
mod probe_pool;
mod queue;
mod random;
mod rendezvous;
mod ring_hash;
mod round_robin;
mod selector;
mod signals;
mod slow_start;
mod static_stride;
mod subset;
#[cfg(test)]
mod testing;
mod ticket;
mod tiers;
mod turns;
mod view;
mod zone_aware;

pub use bounded::BoundedLoad;
pub use built_in::{BadPolicy, BuiltIn, BuiltInTable};
pub use c3::{C3, C3Table};
pub use cluster::{Cluster, LastEligible};
pub use cluster_state::{Generation, Update};
pub use cx::{PickCx, Tried};
pub use endpoint::{Endpoint, Member, affinity_of};
pub use entropy::Entropy;
pub use error::{Census, PickError};
pub use first::{First, FirstTable};
pub use hash::{Hash, HashTable};
pub use identity::{Identity, Uid, Zone};
pub use index::Index;
pub use ip_hash::{IpHash, IpHashTable};
pub use least_request::{LeastRequest, LeastRequestTable};
pub use least_time::{LeastTime, LeastTimeTable};
pub use load_report::LoadReport;
pub use maglev::{Maglev, MaglevTable};
pub use memento::{Memento, MementoTable};
pub use orca::{Orca, OrcaTable};
pub use p2c::{P2c, P2cTable};
pub use peak_ewma::{PeakEwma, PeakEwmaTable};
pub use policy::{Candidate, Policy, Table};
pub use prequal::{Prequal, PrequalTable};
pub use probe_pool::{Probe, ProbePool, ProbeTuning};
pub use queue::{Left, Place, Queue, QueueFull, QueueReport};
pub use random::{Random, RandomTable};
pub use rendezvous::{Rendezvous, RendezvousTable};
pub use ring_hash::{RingHash, RingHashTable};
pub use round_robin::{RoundRobin, RoundRobinFrom, RoundRobinTable};
pub use selector::{Reader, Selector};
pub use signals::{Learning, Signals};
pub use slow_start::SlowStart;
pub use static_stride::{StaticStride, StaticStrideTable};
pub use subset::{deterministic_subset, rendezvous_subset};
pub use ticket::Ticket;
pub use tiers::{PanicMode, Spill};
pub use view::View;
pub use zone_aware::{ZoneAware, ZoneAwareTable};
