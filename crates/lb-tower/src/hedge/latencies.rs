//! The time in which a share of answers comes, measured without a lock.
//!
//! Counts by logarithmic buckets, eight to a doubling, from a microsecond to a quarter of an hour. They are halved when
//! there are enough of them, so that old answers fade. Threads that do so at once lose a few counts, never more: it is an
//! estimate of an estimate.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

/// See the module.
pub(super) struct Latencies {
    share: f64,
    buckets: [AtomicU32; BUCKETS],
    samples: AtomicU32,
    /// Nanoseconds; zero as long as there are too few samples.
    percentile: AtomicU64,
}

/// The percentile is looked for again after so many answers.
const EACH: u32 = 64;
/// Counts are halved when there are so many.
const MOST: u64 = 4_096;
const PER_DOUBLING: u32 = 8;
const SHORTEST_BITS: u32 = 10;
const LONGEST_BITS: u32 = 40;
const BUCKETS: usize = ((LONGEST_BITS - SHORTEST_BITS) * PER_DOUBLING) as usize;

impl Latencies {
    pub(super) fn new(share: f64) -> Self {
        let share = if share.is_nan() { 1.0 } else { share.clamp(0.0, 1.0) };
        let buckets = std::array::from_fn(|_| AtomicU32::new(0));
        Self { share, buckets, samples: AtomicU32::new(0), percentile: AtomicU64::new(0) }
    }

    /// The time in which the share comes, rounded up by an eighth at most.
    pub(super) fn percentile(&self) -> Option<Duration> {
        let nanos = self.percentile.load(Ordering::Relaxed);
        (nanos != 0).then(|| Duration::from_nanos(nanos))
    }

    pub(super) fn record(&self, latency: Duration) {
        let nanos = u64::try_from(latency.as_nanos()).unwrap_or(u64::MAX);
        if let Some(bucket) = self.buckets.get(bucket_of(nanos)) {
            bucket.fetch_add(1, Ordering::Relaxed);
        }
        if self.samples.fetch_add(1, Ordering::Relaxed) % EACH == EACH - 1 {
            self.update();
        }
    }

    #[cold]
    fn update(&self) {
        let total: u64 = self.counts().sum();
        // At least one of them: the fastest.
        let wanted = (total as f64 * self.share).ceil().max(1.0);
        let mut seen = 0;
        let place = self.counts().position(|count| {
            seen += count;
            seen as f64 >= wanted
        });
        self.percentile.store(upper_bound(place.unwrap_or(BUCKETS - 1)), Ordering::Relaxed);
        if total >= MOST {
            for bucket in &self.buckets {
                bucket.store(bucket.load(Ordering::Relaxed) / 2, Ordering::Relaxed);
            }
        }
    }

    fn counts(&self) -> impl Iterator<Item = u64> {
        self.buckets.iter().map(|bucket| u64::from(bucket.load(Ordering::Relaxed)))
    }
}

fn bucket_of(nanos: u64) -> usize {
    let bits = 63 - nanos.max(1).leading_zeros();
    if bits < SHORTEST_BITS {
        return 0;
    }
    let within = (nanos >> (bits - PER_DOUBLING.trailing_zeros())) as u32 % PER_DOUBLING;
    (((bits - SHORTEST_BITS) * PER_DOUBLING + within) as usize).min(BUCKETS - 1)
}

fn upper_bound(bucket: usize) -> u64 {
    let (doubling, within) = (bucket as u32 / PER_DOUBLING, bucket as u64 % u64::from(PER_DOUBLING));
    (u64::from(PER_DOUBLING) + within + 1) << (doubling + SHORTEST_BITS - PER_DOUBLING.trailing_zeros())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bucket_ends_at_most_an_eighth_above_what_it_holds() {
        for nanos in [1_024, 1_151, 1_152, 5_000, 999_999, 1_000_000, 123_456_789, 60_000_000_000] {
            let bound = upper_bound(bucket_of(nanos));
            assert!(bound > nanos && bound <= nanos + nanos / 8 + 1, "{nanos} → {bound}");
        }
        assert_eq!((bucket_of(0), bucket_of(1), bucket_of(1_023)), (0, 0, 0));
        assert_eq!(bucket_of(u64::MAX), BUCKETS - 1);
    }

    #[test]
    fn it_knows_nothing_before_it_has_seen_enough() {
        let latencies = Latencies::new(0.5);
        (0..63).for_each(|_| latencies.record(Duration::from_millis(10)));
        assert_eq!(latencies.percentile(), None);
        latencies.record(Duration::from_millis(10));
        let median = latencies.percentile().unwrap();
        assert!((10_000..=11_250).contains(&median.as_micros()), "{median:?}");
    }

    #[test]
    fn the_percentile_is_where_it_should_be_and_follows() {
        let latencies = Latencies::new(0.9);
        // Of a hundred, ninety take 1 to 90 ms: the 90th percentile of 6 400 is at 90 ms.
        (0..6_400_u64).for_each(|n| latencies.record(Duration::from_millis(n % 100 + 1)));
        let p90 = latencies.percentile().unwrap();
        assert!((90..=102).contains(&p90.as_millis()), "{p90:?}");
        (0..20_000).for_each(|_| latencies.record(Duration::from_millis(5)));
        let later = latencies.percentile().unwrap();
        assert!((5_000..=5_625).contains(&later.as_micros()), "{later:?}");
    }

    #[test]
    fn odd_shares_and_latencies_are_harmless() {
        for share in [f64::NAN, f64::INFINITY, -1.0, 0.0, 7.0] {
            let latencies = Latencies::new(share);
            (0..64).for_each(|n| latencies.record(if n % 2 == 0 { Duration::ZERO } else { Duration::MAX }));
            assert!(latencies.percentile().is_some());
        }
    }
}
