//! What was counted in the last while, for several whiles at once.
//!
//! A dead endpoint is seen soonest in a short span, a half-dead one only in a long one, and which of them it will be is
//! not known beforehand. Counters that only grow are there anyway (requests of an endpoint, its failures); the
//! difference to an earlier reading is what happened since. This keeps two readings for each of several spans, each
//! twice as long as the one before: the older of the two lies between one and two spans back.
//!
//! ```text
//! span    12.5 ms   25 ms   50 ms   …   12.8 s
//! since   12.5–25   25–50   50–100  …   12.8–25.6 s ago
//! ```
//!
//! Readings of all endpoints of a cluster are taken together, at timers and at failures, so that their differences are
//! of the same time.

use std::time::Duration;

use lb_core::Mono;

use crate::window::Counts;

/// Readings of one endpoint's counters. 560 bytes, no allocation; a reading that is not due costs eleven comparisons.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct History {
    spans: [Readings; SPANS],
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Readings {
    at: Mono,
    new: Counts,
    old: Counts,
}

/// Which of the spans to look back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LookBack(Option<usize>);

impl History {
    /// No reading is taken sooner after the one before it.
    pub const SHORTEST: Duration = Duration::from_micros(12_500);

    /// Counters that stand here now; what they counted before is of no interest.
    #[must_use]
    pub fn starting(totals: Counts, now: Mono) -> Self {
        Self { spans: [Readings { at: now, new: totals, old: totals }; SPANS] }
    }

    /// Takes a reading for the spans that are due.
    pub fn read(&mut self, totals: Counts, now: Mono) {
        for (index, readings) in self.spans.iter_mut().enumerate() {
            if now.saturating_since(readings.at) >= Self::SHORTEST * (1 << index) {
                *readings = Readings { at: now, new: totals, old: readings.new };
            }
        }
    }

    /// What was counted since, if the counters stand at `totals` now.
    #[must_use]
    pub fn since(&self, back: LookBack, totals: Counts) -> Counts {
        let [shortest, ..] = &self.spans;
        let earlier = match back.0 {
            None => shortest.new,
            Some(index) => self.spans.get(index).map_or(totals, |readings| readings.old),
        };
        Counts {
            successes: totals.successes.saturating_sub(earlier.successes),
            failures: totals.failures.saturating_sub(earlier.failures),
        }
    }

    /// The spans within a window, the longest first; at least one.
    #[must_use]
    pub fn look_backs(window: Duration) -> impl ExactSizeIterator<Item = LookBack> + Clone {
        let within = (0..SPANS).take_while(|index| Self::SHORTEST * (2 << index) <= window).count().max(1);
        (0..within + 1).rev().map(|number| LookBack(number.checked_sub(1)))
    }
}

const SPANS: usize = 11;

#[cfg(test)]
#[cfg(not(loom))]
mod tests {
    use super::*;

    fn counts(successes: u64) -> Counts {
        Counts { successes, failures: successes / 10 }
    }

    #[test]
    fn each_span_begins_between_one_and_two_of_its_length_ago() {
        let mut history = History::starting(counts(0), Mono::ZERO);
        for ms in 1..=40_000 {
            // One request a millisecond: what was counted is the age in milliseconds.
            history.read(counts(ms), Mono::from_millis(ms));
            for index in 0..SPANS {
                let span = 12.5 * f64::from(1 << index);
                let age = history.since(LookBack(Some(index)), counts(ms)).successes as f64;
                let (least, most) = (span.min(ms as f64), (2.0 * span + 2.0).min(ms as f64));
                assert!((least - 1.0..=most).contains(&age) || age == ms as f64, "at {ms} span {span}: {age}");
            }
            assert!(history.since(LookBack(None), counts(ms)).successes < 14);
        }
    }

    #[test]
    fn what_was_before_the_start_does_not_count() {
        let history = History::starting(counts(1_000), Mono::from_millis(5));
        for back in History::look_backs(Duration::from_secs(30)) {
            assert_eq!(
                history.since(back, Counts { successes: 1_002, failures: 101 }),
                Counts { successes: 2, failures: 1 }
            );
            assert_eq!(history.since(back, Counts::default()), Counts::default(), "counters that went back");
        }
    }

    #[test]
    fn look_backs_stay_within_the_window() {
        let longest = |ms| History::look_backs(Duration::from_millis(ms)).next().unwrap();
        assert_eq!(longest(30_000), LookBack(Some(10)));
        assert_eq!(longest(25_599), LookBack(Some(9)));
        assert_eq!(longest(0), LookBack(Some(0)), "at least one");
        assert_eq!(History::look_backs(Duration::MAX).len(), SPANS + 1);
        assert_eq!(History::look_backs(Duration::ZERO).last(), Some(LookBack(None)));
    }
}
