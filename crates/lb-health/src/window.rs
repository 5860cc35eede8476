//! Successes and failures of the last while, counted exactly.
//!
//! An exponential average would be smaller, and would give another verdict on the same burst depending on how busy the
//! endpoint is and in which order results came. Counts in buckets do not: the same results within the window are the
//! same verdict, at any traffic rate, and a minimum volume can be asked for, which an average has forgotten.
//!
//! Time is cut into buckets of a tenth of the window, of which the last ten count, the running one among them: what
//! counts is the last nine to ten tenths.

use std::time::Duration;

use lb_core::Mono;

/// How many requests there were, and how many of them succeeded.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Requests that succeeded.
    pub successes: u64,
    /// Requests that failed.
    pub failures: u64,
}

impl Counts {
    /// These and others together.
    #[must_use]
    pub const fn and(&self, other: &Self) -> Self {
        Self {
            successes: self.successes.saturating_add(other.successes),
            failures: self.failures.saturating_add(other.failures),
        }
    }

    /// All of them.
    #[must_use]
    pub const fn total(&self) -> u64 {
        self.successes.saturating_add(self.failures)
    }

    /// The part that succeeded, 0 to 1; one if there was none.
    #[must_use]
    pub fn success_rate(&self) -> f64 {
        if self.total() == 0 { 1.0 } else { self.successes as f64 / self.total() as f64 }
    }

    /// Whether at least this many of a hundred failed; false if there was none.
    #[must_use]
    pub const fn is_failing(&self, percent: u8) -> bool {
        self.total() > 0 && self.failures as u128 * 100 >= self.total() as u128 * percent as u128
    }
}

const BUCKETS: usize = 10;

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Bucket {
    /// Number of the tenth it counts.
    index: u64,
    counts: Counts,
}

/// A sliding window of successes and failures; 256 bytes, a result costs one division.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Window {
    bucket_nanos: u64,
    buckets: [Bucket; BUCKETS],
    /// The latest tenth there was: time that goes back stands still.
    latest: u64,
}

impl Window {
    /// An empty window of this length: ten nanoseconds to 584 years.
    #[must_use]
    pub fn new(length: Duration) -> Self {
        let nanos = u64::try_from(length.as_nanos()).unwrap_or(u64::MAX);
        Self { bucket_nanos: (nanos / BUCKETS as u64).max(1), buckets: [Bucket::default(); BUCKETS], latest: 0 }
    }

    /// Counts one result.
    pub fn on_result(&mut self, success: bool, now: Mono) {
        self.latest = self.index(now);
        let bucket = &mut self.buckets[(self.latest % BUCKETS as u64) as usize];
        if bucket.index != self.latest {
            *bucket = Bucket { index: self.latest, counts: Counts::default() };
        }
        let count = if success { &mut bucket.counts.successes } else { &mut bucket.counts.failures };
        *count = count.saturating_add(1);
    }

    /// What lies within the window.
    #[must_use]
    pub fn counts(&self, now: Mono) -> Counts {
        let oldest = self.index(now).saturating_sub(BUCKETS as u64 - 1);
        let within = self.buckets.iter().filter(|bucket| bucket.index >= oldest);
        within.fold(Counts::default(), |sum, bucket| Counts {
            successes: sum.successes.saturating_add(bucket.counts.successes),
            failures: sum.failures.saturating_add(bucket.counts.failures),
        })
    }

    /// Forgets everything.
    pub fn clear(&mut self) {
        self.buckets = [Bucket::default(); BUCKETS];
    }

    fn index(&self, now: Mono) -> u64 {
        (now.as_nanos() / self.bucket_nanos).max(self.latest)
    }
}

#[cfg(test)]
#[cfg(not(loom))]
mod tests {
    use super::*;

    fn at(ms: u64) -> Mono {
        Mono::from_millis(ms)
    }

    fn counts(successes: u64, failures: u64) -> Counts {
        Counts { successes, failures }
    }

    #[test]
    fn results_count_for_nine_to_ten_tenths_of_the_window() {
        let mut window = Window::new(Duration::from_secs(10));
        window.on_result(true, at(500));
        window.on_result(false, at(999));
        window.on_result(false, at(1_000));
        assert_eq!(window.counts(at(1_000)), counts(1, 2));
        assert_eq!(window.counts(at(9_999)), counts(1, 2));
        assert_eq!(window.counts(at(10_000)), counts(0, 1));
        assert_eq!(window.counts(at(11_000)), counts(0, 0));
    }

    #[test]
    fn an_old_bucket_is_emptied_before_it_counts_again() {
        let mut window = Window::new(Duration::from_secs(10));
        window.on_result(true, at(0));
        window.on_result(true, at(10_000));
        window.on_result(false, at(1_000_000));
        assert_eq!(window.counts(at(1_000_000)), counts(0, 1));
    }

    #[test]
    fn an_empty_window_is_no_failure() {
        let window = Window::new(Duration::from_secs(1));
        assert_eq!(window.counts(at(0)), Counts::default());
        assert!(!window.counts(at(0)).is_failing(0));
        assert_eq!(window.counts(at(0)).success_rate(), 1.0);
    }

    #[test]
    fn a_share_is_met_exactly() {
        assert!(counts(50, 50).is_failing(50));
        assert!(!counts(51, 50).is_failing(50));
        assert!(counts(0, 1).is_failing(100) && !counts(1, u64::MAX - 1).is_failing(100));
        assert_eq!(counts(3, 1).success_rate(), 0.75);
    }

    #[test]
    fn time_that_goes_back_stands_still() {
        let mut window = Window::new(Duration::from_secs(10));
        window.on_result(true, at(20_000));
        window.on_result(false, at(3_000));
        assert_eq!(window.counts(at(3_000)), counts(1, 1));
        assert_eq!(window.counts(at(29_999)), counts(1, 1));
        assert_eq!(window.counts(at(30_000)), counts(0, 0));
    }

    #[test]
    fn cleared_it_holds_nothing() {
        let mut window = Window::new(Duration::from_secs(10));
        window.on_result(false, at(5));
        window.clear();
        assert_eq!(window.counts(at(5)), Counts::default());
        window.on_result(true, at(5));
        assert_eq!(window.counts(at(5)), counts(1, 0));
    }

    #[test]
    fn extreme_lengths_and_times_do_not_overflow() {
        for length in [Duration::ZERO, Duration::MAX] {
            let mut window = Window::new(length);
            window.on_result(true, Mono::ZERO);
            window.on_result(true, Mono::MAX);
            assert!(window.counts(Mono::MAX).total() >= 1);
        }
    }
}
