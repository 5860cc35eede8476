//! The policies, a file each, and what several of them share: alias tables, turns, the fewest in flight, bounded loads.

pub(crate) mod alias;
pub(crate) mod bounded;
pub(crate) mod c3;
pub(crate) mod fewest;
pub(crate) mod first;
pub(crate) mod hash;
pub(crate) mod ip_hash;
pub(crate) mod least_request;
pub(crate) mod least_time;
pub(crate) mod maglev;
pub(crate) mod memento;
pub(crate) mod orca;
pub(crate) mod p2c;
pub(crate) mod peak_ewma;
pub(crate) mod prequal;
pub(crate) mod random;
pub(crate) mod rendezvous;
pub(crate) mod ring_hash;
pub(crate) mod round_robin;
pub(crate) mod static_stride;
pub(crate) mod turns;
pub(crate) mod zone_aware;
