//! What the proxy holds, over time.

use std::fmt;
use std::time::Duration;

use crate::support::Proxy;

/// Memory may end so much higher than it was after the warm-up: a tenth, for what the allocator keeps of pages that
/// others used, and four MiB, for buckets of metrics and limiters that fill late. A leak of 100 bytes a request shows
/// within 600 s at 500 requests a second (30 MB).
const MORE: f64 = 1.1;
const SLACK: u64 = 4 << 20;
/// Descriptors are what clients and endpoints have open at that moment, which changes from second to second: endpoints
/// that return take connections anew. Twice the median of the beginning, and some.
const MORE_DESCRIPTORS: usize = 2;
const SLACK_DESCRIPTORS: usize = 32;

/// What was seen in the first part after the warm-up, and in the last.
pub(crate) struct Footprints {
    span: Duration,
    looks: Vec<(f64, u64, usize)>,
}

impl Footprints {
    pub(crate) fn new(span: Duration) -> Self {
        Self { span, looks: Vec::new() }
    }

    pub(crate) fn look(&mut self, proxy: &Proxy, at: Duration) {
        let share = at.as_secs_f64() / self.span.as_secs_f64();
        self.looks.push((share, proxy.resident_bytes(), descriptors(proxy)));
    }

    /// Medians of a part of the time: resident bytes and descriptors.
    fn median(&self, from: f64, to: f64) -> (u64, usize) {
        let looks = || self.looks.iter().filter(|look| (from..to).contains(&look.0));
        let (mut memory, mut open): (Vec<_>, Vec<_>) = looks().map(|look| (look.1, look.2)).unzip();
        memory.sort_unstable();
        open.sort_unstable();
        (memory[memory.len() / 2], open[open.len() / 2])
    }

    fn warm(&self) -> (u64, usize) {
        self.median(0.2, 0.4)
    }

    fn end(&self) -> (u64, usize) {
        self.median(0.8, 2.0)
    }

    #[track_caller]
    pub(crate) fn expect_flat(&self) {
        let (warm, end) = (self.warm(), self.end());
        assert!(end.0 <= (warm.0 as f64 * MORE) as u64 + SLACK, "memory grows: {self}");
        assert!(end.1 <= warm.1 * MORE_DESCRIPTORS + SLACK_DESCRIPTORS, "descriptors grow: {self}");
    }
}

impl fmt::Display for Footprints {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ((memory, open), (memory_then, open_then)) = (self.warm(), self.end());
        let mib = |bytes: u64| bytes as f64 / f64::from(1 << 20);
        let most = self.looks.iter().map(|look| look.1).max().unwrap_or_default();
        let (memory, memory_then, most) = (mib(memory), mib(memory_then), mib(most));
        write!(
            f,
            "resident: {memory:.1} MiB after the warm-up, {memory_then:.1} at the end, {most:.1} at most; \
             descriptors: {open}, {open_then}"
        )
    }
}

/// Files it has open.
pub(crate) fn descriptors(proxy: &Proxy) -> usize {
    std::fs::read_dir(format!("/proc/{}/fd", proxy.id())).unwrap().count()
}
