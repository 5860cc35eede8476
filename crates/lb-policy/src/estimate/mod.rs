//! What is learned of endpoints to choose between them: latency, reported load, probes, requests in flight in order.

pub(crate) mod ladder;
pub(crate) mod latency;
pub(crate) mod load_report;
pub(crate) mod probe_pool;
