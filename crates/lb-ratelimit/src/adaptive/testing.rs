//! Samples for tests, and a service with as many places as any limit asks for.

use std::time::Duration;

use lb_core::Mono;

use super::{Limit, Sample};

pub(super) fn served(started_ms: u64, rtt_ms: u64, in_flight: u32) -> Sample {
    let (started, rtt) = (Mono::from_millis(started_ms), Duration::from_millis(rtt_ms));
    Sample { started, rtt, in_flight, dropped: false }
}

pub(super) fn lost(started_ms: u64, rtt_ms: u64, in_flight: u32) -> Sample {
    Sample { dropped: true, ..served(started_ms, rtt_ms, in_flight) }
}

/// Keeps a limit fully used. Each request is served in the same time, or lost after a millisecond.
pub(super) struct Service {
    now_us: u64,
    rtt_ms: u64,
}

impl Service {
    pub(super) fn new(rtt_ms: u64) -> Self {
        Self { now_us: 1_000_000, rtt_ms }
    }

    /// Runs so many requests, of which those are lost; tells the limit at the end.
    pub(super) fn run(&mut self, rule: &mut dyn Limit, requests: u64, is_lost: impl Fn(u64) -> bool) -> u32 {
        for n in 0..requests {
            let limit = rule.limit();
            self.now_us += self.rtt_ms * 1_000 / u64::from(limit);
            let is_lost = is_lost(n);
            let rtt = Duration::from_millis(if is_lost { 1 } else { self.rtt_ms });
            let started = Mono::from_nanos(self.now_us * 1_000).saturating_sub(rtt);
            let _ = rule.on_sample(&Sample { started, rtt, in_flight: limit, dropped: is_lost }, n << 48);
        }
        rule.limit()
    }
}
