//! One round of probes of a half-open breaker.

use std::time::Duration;

use lb_core::Mono;

/// Requests that test it together.
#[derive(Clone, Debug)]
pub(super) struct Round {
    pub(super) size: u32,
    pub(super) passed: u32,
    pub(super) failed: u32,
    under_way: u32,
    /// Number of the next probe, and of the first that has not been given up.
    pub(super) next: u64,
    first: u64,
    last_probe: Mono,
}

impl Round {
    pub(super) fn new(size: u32, next: u64, now: Mono) -> Self {
        Self { size, passed: 0, failed: 0, under_way: 0, next, first: next, last_probe: now }
    }

    pub(super) fn try_admit(&mut self, timeout: Duration, now: Mono) -> Option<u64> {
        if now.saturating_since(self.last_probe) >= timeout {
            self.under_way = 0;
            self.first = self.next;
        }
        if self.passed + self.failed + self.under_way >= self.size {
            return None;
        }
        self.under_way += 1;
        self.last_probe = now;
        self.next += 1;
        Some(self.next - 1)
    }

    /// Whether this probe was under way, which it is no longer.
    pub(super) fn ends(&mut self, probe: u64) -> bool {
        let counts = probe >= self.first;
        self.under_way = self.under_way.saturating_sub(u32::from(counts));
        counts
    }

    pub(super) fn has_failed(&self, percent: u8) -> bool {
        u64::from(self.failed) * 100 >= u64::from(self.size) * u64::from(percent.clamp(1, 100)) && self.failed > 0
    }

    pub(super) fn is_over(&self) -> bool {
        self.passed + self.failed >= self.size
    }
}
