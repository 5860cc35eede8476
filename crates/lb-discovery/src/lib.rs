//! Endpoint discovery: where a cluster's endpoints are, from sources that may fail.
//!
//! The problem: endpoints come and go, and what knows about them (a name server, an orchestrator) fails now and then. A
//! source that reports single changes is wrong for good after one that was lost. So a [`Source`] is *level-triggered*:
//! it reports its whole list each time, and reporting the same list twice changes nothing. While it fails, its last good
//! list stays in force; if it ends or panics, it is started again with back-off.
//!
//! ```text
//! Source ── set(all) / failed(why) ──▶ EndpointSink ──▶ Supervisor ──▶ Observer::on_listing(the cluster's whole list)
//! ```
//!
//! | module | what it holds |
//! |---|---|
//! | `found` | an endpoint as a source reports it |
//! | `source` | the trait of sources, the reasons of their failures |
//! | `supervisor` | last good list, failures, age, restarts: pure, takes the time as an argument |
//! | `discovery` | runs the sources of many clusters and merges their lists |
//! | `fixed`, `dns` | the sources of this crate: static lists, names |
//!
//! Nothing here spawns a task: [`Discovery::new`] returns a [`Driver`] whose future the embedder runs where it wants. Only
//! DNS needs a tokio runtime, for its timers and for the system's resolver.
//!
//! ```
//! use std::sync::Arc;
//!
//! use lb_core::Mono;
//! use lb_discovery::{Discovery, Failure, Found, Listing, Observer, Sources, StaticList};
//! use lb_policy::{Cluster, Identity, Member, Update};
//!
//! /// Puts each list in force.
//! struct Members(Cluster<()>);
//!
//! impl Members {
//!     fn apply(&self, listing: &Listing) {
//!         let usable = listing.found().filter(|found| found.ready && !found.terminating);
//!         let members = usable.map(|found| {
//!             let identity = Identity::new(Arc::clone(&found.name), found.address.to_string());
//!             Member::new(identity, ()).weight(found.weight).priority(found.priority)
//!         });
//!         self.0.apply(Update::Reset(members.collect()), Mono::ZERO);
//!     }
//! }
//!
//! impl Observer for Members {
//!     fn on_listing(&self, listing: &Listing) {
//!         self.apply(listing);
//!     }
//!
//!     fn on_failure(&self, cluster: &str, source: &str, why: &Failure, _kept: &[Found]) {
//!         eprintln!("cluster {cluster}: {source}: {why}");
//!     }
//! }
//!
//! let members = Cluster::new("app");
//! let (discovery, driver) = Discovery::new(Members(members.clone()));
//! # let _ = driver;
//! // In a service: `tokio::spawn(driver.run())`. What is known without waiting is the answer of `apply`.
//! let list = StaticList::new("list", ["127.0.0.1:8001", "127.0.0.1:8002"].map(|at| Found::at(at.parse().unwrap())));
//! let known = discovery.apply(vec![Sources::new("app").with(list)]);
//! Members(members.clone()).apply(&known[0]);
//! assert_eq!(members.len(), 2);
//! ```
#![forbid(unsafe_code)]

mod backoff;
mod discovery;
mod dns;
mod driver;
mod failure;
mod fixed;
mod found;
mod lookup;
mod sink;
mod source;
mod supervisor;

pub use backoff::{Backoff, jittered};
pub use discovery::{Discovery, Sources};
pub use dns::{Dns, Resolver};
pub use driver::Driver;
pub use failure::Failure;
pub use fixed::StaticList;
pub use found::{Address, Found};
pub use lookup::{Lookup, LookupFuture, SystemLookup};
pub use sink::{EndpointSink, List, Listing, Observer, Report};
pub use source::{Source, SourceFuture};
pub use supervisor::{Heard, Supervisor};
