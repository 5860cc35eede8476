//! Counters incremented by many threads without contention.
//!
//! A shared counter is cheap alone and expensive when other cores use the same cache line: counting one request (a code and
//! two histograms, five additions) took 26 ns on one thread, and 305 ns on each of two threads that shared their cells.
//! So each cell exists once for each of a few *shards*, a thread raises those of its own shard (31 ns on each of two),
//! and a reader adds them up. Sums never go backwards from one reading to the next. Raising allocates nothing, but for a
//! thirteenth status code.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// One `T` for each shard.
#[derive(Debug)]
pub(crate) struct Sharded<T> {
    /// A power of two of them, at least one.
    shards: Box<[T]>,
}

impl<T: Default> Sharded<T> {
    /// For about this many threads; more only share.
    pub(crate) fn new(threads: usize) -> Self {
        let shards = threads.clamp(1, MAX_SHARDS).next_power_of_two();
        Self { shards: (0..shards).map(|_| T::default()).collect() }
    }
}

impl<T> Sharded<T> {
    /// The calling thread's own.
    pub(crate) fn mine(&self) -> &T {
        &self.shards[shard() & (self.shards.len() - 1)]
    }

    /// All of them.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &T> {
        self.shards.iter()
    }
}

impl Sharded<Count> {
    /// Adds; a gauge subtracts by adding the two's complement.
    pub(crate) fn add(&self, n: u64) {
        self.mine().0.fetch_add(n, Ordering::Relaxed);
    }

    /// The sum over all shards.
    pub(crate) fn sum(&self) -> u64 {
        self.iter().map(|count| count.0.load(Ordering::Relaxed)).fold(0, u64::wrapping_add)
    }
}

/// The number of the calling thread, given out at its first count.
fn shard() -> usize {
    thread_local!(static SHARD: Cell<usize> = const { Cell::new(usize::MAX) });
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    SHARD.with(|own| {
        if own.get() == usize::MAX {
            own.set(NEXT.fetch_add(1, Ordering::Relaxed) & (usize::MAX >> 1));
        }
        own.get()
    })
}

const MAX_SHARDS: usize = 256;

/// A plain count on a cache line of its own.
#[derive(Debug, Default)]
#[repr(align(64))]
pub(crate) struct Count(AtomicU64);

/// Counts by status code in two cache lines.
///
/// A route answers with a handful of codes, so an array of five hundred would be memory for nothing. A slot is one
/// word, the code above the count; a code finds its slot by looking at most at twelve words, in practice at the first.
/// Codes beyond the twelfth go to a map.
///
/// ```text
///  63 ..... 48 47 ................ 0
/// |   code    |  count (2.8 × 10¹⁴) |
/// ```
#[derive(Debug, Default)]
#[repr(align(64))]
pub(crate) struct Codes {
    slots: [AtomicU64; 12],
    more: Mutex<BTreeMap<u16, u64>>,
}

impl Codes {
    /// Counts one answer.
    pub(crate) fn count(&self, code: u16) {
        let first = u64::from(code) << CODE_SHIFT | 1;
        for slot in &self.slots {
            let mut word = slot.load(Ordering::Relaxed);
            if word == 0 {
                match slot.compare_exchange(0, first, Ordering::Relaxed, Ordering::Relaxed) {
                    Ok(_) => return,
                    Err(theirs) => word = theirs,
                }
            }
            if word >> CODE_SHIFT == u64::from(code) {
                slot.fetch_add(1, Ordering::Relaxed);
                return;
            }
        }
        *self.more.lock().unwrap_or_else(PoisonError::into_inner).entry(code).or_default() += 1;
    }

    /// Adds what was counted to `sums`.
    pub(crate) fn add_to(&self, sums: &mut BTreeMap<u16, u64>) {
        for slot in &self.slots {
            let word = slot.load(Ordering::Relaxed);
            if word != 0 {
                *sums.entry((word >> CODE_SHIFT) as u16).or_default() += word & (u64::MAX >> 16);
            }
        }
        for (&code, &count) in self.more.lock().unwrap_or_else(PoisonError::into_inner).iter() {
            *sums.entry(code).or_default() += count;
        }
    }
}

const CODE_SHIFT: u32 = 48;

/// How long things took, in fixed buckets.
#[derive(Debug, Default)]
#[repr(align(64))]
pub(crate) struct Durations {
    /// Not cumulative; the last holds what is beyond every bound.
    buckets: [AtomicU64; BOUNDS_MICROS.len() + 1],
    sum_nanos: AtomicU64,
}

/// Upper bounds, microseconds: from a proxy's own time on a loopback to a long poll. Factors of 2 to 2.5 keep an
/// interpolated quantile within about a third.
pub(crate) const BOUNDS_MICROS: [u64; 17] = [
    250, 500, 1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 250_000, 500_000, 1_000_000, 2_500_000, 5_000_000,
    10_000_000, 30_000_000, 60_000_000,
];

impl Durations {
    /// Counts one duration.
    pub(crate) fn observe(&self, span: Duration) {
        let nanos = u64::try_from(span.as_nanos()).unwrap_or(u64::MAX);
        // A bound belongs to its bucket, as `le` says.
        let at = BOUNDS_MICROS.partition_point(|&bound| bound * 1_000 < nanos);
        if let Some(bucket) = self.buckets.get(at) {
            bucket.fetch_add(1, Ordering::Relaxed);
        }
        self.sum_nanos.fetch_add(nanos, Ordering::Relaxed);
    }
}

/// What a histogram holds at one moment.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Histogram {
    /// Upper bound in seconds and number within it and above the one before; the last is `+Inf`.
    pub(crate) buckets: Vec<(f64, u64)>,
    /// The sum of the buckets, so that it agrees with them while others go on counting.
    pub(crate) count: u64,
    /// Seconds.
    pub(crate) sum: f64,
}

impl Histogram {
    /// What was added since an earlier moment; everything if there is none.
    pub(crate) fn since(&self, earlier: Option<&Self>) -> Self {
        let mut added = self.clone();
        let Some(earlier) = earlier else { return added };
        for (bucket, before) in added.buckets.iter_mut().zip(&earlier.buckets) {
            bucket.1 = bucket.1.saturating_sub(before.1);
        }
        added.count = added.buckets.iter().map(|bucket| bucket.1).sum();
        added.sum = (self.sum - earlier.sum).max(0.0);
        added
    }

    /// Adds another one.
    pub(crate) fn add(&mut self, other: &Self) {
        for (bucket, more) in self.buckets.iter_mut().zip(&other.buckets) {
            bucket.1 += more.1;
        }
        self.count += other.count;
        self.sum += other.sum;
    }

    /// A quantile in milliseconds to three decimals, interpolated within its bucket; `None` if it is empty. What is
    /// beyond the last bound counts as that bound.
    pub(crate) fn quantile_ms(&self, quantile: f64) -> Option<f64> {
        let rank = quantile * self.count as f64;
        let (mut below, mut lower) = (0, 0.0);
        for &(bound, count) in &self.buckets {
            if count > 0 && (below + count) as f64 >= rank {
                let within = (rank - below as f64) / count as f64;
                let at = if bound.is_finite() { lower + (bound - lower) * within } else { lower };
                return Some((at * 1e6).round() / 1e3);
            }
            below += count;
            lower = bound;
        }
        None
    }
}

impl Sharded<Durations> {
    /// The sum over all shards.
    pub(crate) fn read(&self) -> Histogram {
        let bounds = BOUNDS_MICROS.iter().map(|&micros| micros as f64 / 1e6).chain([f64::INFINITY]);
        let mut buckets: Vec<(f64, u64)> = bounds.map(|bound| (bound, 0)).collect();
        let mut nanos: u64 = 0;
        for shard in self.iter() {
            for (sum, bucket) in buckets.iter_mut().zip(&shard.buckets) {
                sum.1 += bucket.load(Ordering::Relaxed);
            }
            nanos = nanos.wrapping_add(shard.sum_nanos.load(Ordering::Relaxed));
        }
        let count = buckets.iter().map(|bucket| bucket.1).sum();
        Histogram { buckets, count, sum: nanos as f64 / 1e9 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sums(codes: &Codes) -> BTreeMap<u16, u64> {
        let mut sums = BTreeMap::new();
        codes.add_to(&mut sums);
        sums
    }

    #[test]
    fn every_code_is_counted_also_beyond_the_twelfth() {
        let codes = Codes::default();
        for round in 1..=3 {
            for code in 200..240 {
                codes.count(code);
            }
            assert_eq!(sums(&codes), (200..240).map(|code| (code, round)).collect());
        }
        codes.count(0);
        codes.count(u16::MAX);
        assert_eq!((sums(&codes)[&0], sums(&codes)[&u16::MAX]), (1, 1));
        assert_eq!(std::mem::size_of::<Codes>(), 128);
    }

    #[test]
    fn threads_that_race_for_a_slot_lose_no_count() {
        let codes = Sharded::<Codes>::new(1);
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for n in 0..4_000u16 {
                        codes.mine().count(200 + n % 16);
                    }
                });
            }
        });
        let mut all = BTreeMap::new();
        codes.iter().for_each(|shard| shard.add_to(&mut all));
        // 16 codes, 4 threads, 4 000 rounds: 1 000 each. No code may have two slots either, or the sum would still fit.
        assert_eq!(all, (200..216).map(|code| (code, 1_000)).collect());
        let slots: Vec<_> = codes.mine().slots.iter().map(|s| s.load(Ordering::Relaxed) >> CODE_SHIFT).collect();
        let mut distinct = slots.clone();
        distinct.sort_unstable();
        distinct.dedup();
        assert_eq!(distinct.len(), slots.len());
    }

    #[test]
    fn a_bound_belongs_to_its_bucket() {
        let durations = Sharded::<Durations>::new(4);
        for micros in [0, 250, 251, 1_000, 60_000_000, 60_000_001] {
            durations.mine().observe(Duration::from_micros(micros));
        }
        let read = durations.read();
        let counts: Vec<_> = read.buckets.iter().filter(|b| b.1 > 0).copied().collect();
        assert_eq!(counts, [(0.000_25, 2), (0.000_5, 1), (0.001, 1), (60.0, 1), (f64::INFINITY, 1)]);
        assert_eq!(read.count, 6);
        assert!((read.sum - 120.001_502).abs() < 1e-6, "{}", read.sum);
    }

    #[test]
    fn shards_are_few_and_never_none() {
        assert_eq!(Sharded::<Count>::new(0).iter().count(), 1);
        assert_eq!(Sharded::<Count>::new(3).iter().count(), 4);
        assert_eq!(Sharded::<Count>::new(100_000).iter().count(), 256);
    }

    #[test]
    fn a_gauge_goes_down_on_another_thread() {
        let open = Sharded::<Count>::new(4);
        open.add(3);
        std::thread::scope(|scope| scope.spawn(|| open.add(1u64.wrapping_neg())).join()).unwrap();
        assert_eq!(open.sum(), 2);
    }
}
