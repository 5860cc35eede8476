//! Quantiles of many values in little memory.

/// Counts in logarithmic buckets, as in HDR histograms: 128 to each power of two, so a quantile is off by 0.4 % at most, whatever the
/// range; below 256 it is exact. At most 58 KiB.
#[derive(Clone, Debug, Default)]
pub struct Histogram {
    counts: Vec<u64>,
    count: u64,
    sum: u128,
    max: u64,
}

impl Histogram {
    /// No values.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a value.
    pub fn record(&mut self, value: u64) {
        let bucket = bucket_of(value);
        if bucket >= self.counts.len() {
            self.counts.resize(bucket + 1, 0);
        }
        if let Some(count) = self.counts.get_mut(bucket) {
            *count += 1;
        }
        self.count += 1;
        self.sum += u128::from(value);
        self.max = self.max.max(value);
    }

    /// How many values there are.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.count
    }

    /// Their mean, exactly; zero if there are none.
    #[must_use]
    pub fn mean(&self) -> f64 {
        if self.count == 0 { 0.0 } else { self.sum as f64 / self.count as f64 }
    }

    /// The greatest, exactly; zero if there are none.
    #[must_use]
    pub fn max(&self) -> u64 {
        self.max
    }

    /// The least value that at least this share (0 to 1) of all do not exceed; zero if there are none.
    #[must_use]
    pub fn quantile(&self, share: f64) -> u64 {
        let rank = ((share * self.count as f64).ceil() as u64).clamp(1, self.count.max(1));
        let mut below = 0;
        for (bucket, count) in self.counts.iter().enumerate() {
            below += count;
            if below >= rank {
                return middle_of(bucket).min(self.max);
            }
        }
        self.max
    }
}

/// log₂ of the buckets to a power of two.
const FINENESS: u32 = 7;

fn bucket_of(value: u64) -> usize {
    let power = value.checked_ilog2().unwrap_or(0).saturating_sub(FINENESS);
    ((power as usize) << FINENESS) + (value >> power) as usize
}

fn middle_of(bucket: usize) -> u64 {
    let power = ((bucket >> FINENESS) as u32).saturating_sub(1);
    let low = ((bucket - ((power as usize) << FINENESS)) as u64) << power;
    low + ((1 << power) - 1) / 2
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Seed;

    #[test]
    fn a_value_lies_within_half_a_bucket_of_its_middle() {
        for power in 0..64 {
            for value in [1 << power, (1 << power) + 1, (1_u64 << power) | ((1 << power) - 1), (1 << power) / 3 * 4] {
                let middle = middle_of(bucket_of(value));
                let error = middle.abs_diff(value) as f64 / value.max(1) as f64;
                assert!(error <= 1.0 / 256.0, "{value}: {middle}");
                assert!(value >= 256 || middle == value, "{value}: {middle}");
            }
        }
        assert_eq!(middle_of(bucket_of(0)), 0);
    }

    #[test]
    fn buckets_ascend_without_gaps() {
        let mut last = 0;
        for value in 0..100_000 {
            let bucket = bucket_of(value);
            assert!(bucket == last || bucket == last + 1, "{value}");
            last = bucket;
        }
    }

    #[test]
    fn quantiles_are_those_of_the_sorted_values_within_half_a_percent() {
        let mut stream = Seed::new(2).stream();
        let mut values: Vec<u64> = (0..10_000).map(|_| (stream.exponential(3e7)) as u64).collect();
        let mut histogram = Histogram::new();
        values.iter().for_each(|&value| histogram.record(value));
        values.sort_unstable();
        for share in [0.0, 0.001, 0.5, 0.9, 0.99, 0.999, 1.0] {
            let exact = values[((share * 10_000.0) as usize).max(1) - 1] as f64;
            let found = histogram.quantile(share) as f64;
            assert!((found - exact).abs() <= exact / 256.0 + 1.0, "{share}: {found} {exact}");
        }
        assert_eq!(histogram.max(), values[9_999]);
        let mean = values.iter().sum::<u64>() as f64 / 10_000.0;
        assert!((histogram.mean() - mean).abs() < 1e-6 * mean);
    }

    #[test]
    fn an_empty_one_answers_zero() {
        let histogram = Histogram::new();
        assert_eq!((histogram.quantile(0.5), histogram.max(), histogram.count()), (0, 0, 0));
        assert!(histogram.mean().abs() < f64::EPSILON);
    }
}
