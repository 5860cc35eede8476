//! Outlier detection by counting: eject an endpoint that failed so many times within a while.
//!
//! Active checks ask a question of their own, at their own time; real requests know first. The rule is `failures`
//! failures within a sliding `window`, then no traffic for `eject_for`.
//!
//! It counts failures, not failures *in a row*: a success in between erases nothing. An endpoint that fails every other
//! request would else never be ejected, and successes are what a busy endpoint has most of, so that the success path
//! must stay free of shared writes; here it does nothing at all. The price is that the count knows no share: at a
//! thousand requests a second, three failures in thirty seconds are one in ten thousand. So where there are requests
//! enough to compare endpoints, the count alone ejects nothing: [`Comparison`](crate::Comparison) decides.
//!
//! The window is exact, not bucketed. What matters is only whether the last `failures` failures lie within it, which is
//! a ring of `failures − 1` times: each new one takes the place of the one that many before it, and compares itself
//! with that.
//!
//! ```text
//!              failure, the n-th within the window, and the cap allows it
//!   watching ────────────────────────────────────────────────────────────► ejected
//!      ▲                                                                      │
//!      └────────────────── its time is over: all is forgotten ────────────────┘
//! ```
//!
//! A failure is evidence of the time in which its request ran, not of the instant at which it was noticed: with a
//! response timeout of a minute and ejections of half a minute, requests that hung before an ejection would fail after
//! it, and eject an endpoint that has long recovered. So a failure counts only if its request started after the last
//! ejection ended. Requests under way at an ejection never count, neither during it nor afterwards.

use std::num::NonZeroU16;
use std::time::Duration;

use lb_core::Mono;

use crate::ejection_cap::EjectionCap;
use crate::sync::{AtomicU32, AtomicU64, Ordering};

/// When to eject and for how long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ejection {
    /// So many failures eject; default 3.
    pub failures: NonZeroU16,
    /// If they lie no further apart than this; default 30 s.
    pub window: Duration,
    /// Time without traffic; default 30 s.
    pub eject_for: Duration,
    /// Whether repeated ejections last longer; default [`Growth::Constant`].
    pub growth: Growth,
}

impl Default for Ejection {
    fn default() -> Self {
        Self {
            failures: const { NonZeroU16::new(3).expect("three is not zero") },
            window: Duration::from_secs(30),
            eject_for: Duration::from_secs(30),
            growth: Growth::Constant,
        }
    }
}

impl Ejection {
    /// No ejection by this rule lasts longer.
    #[must_use]
    pub fn longest(&self) -> Duration {
        match self.growth {
            Growth::Constant => self.eject_for,
            Growth::Linear { max, .. } => max.max(self.eject_for),
        }
    }
}

/// How long a repeated ejection lasts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Growth {
    /// As long as the first.
    #[default]
    Constant,
    /// The k-th lasts `min(k · eject_for, max)`, and k falls by one for each `forgive` without ejection (Envoy's rule).
    Linear {
        /// Longest ejection; below `eject_for` it means `eject_for`.
        max: Duration,
        /// Time in traffic that takes one ejection off the record.
        forgive: Duration,
    },
}

/// What a failure led to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum OnFailure {
    /// Nothing yet, or it is ejected already.
    Nothing,
    /// It is ejected from now until then. Told to one caller only.
    Ejected {
        /// When it ends.
        until: Mono,
    },
    /// It would be ejected, but too many are, or it is the last one.
    Capped,
}

/// The failures of one endpoint, and whether it is ejected. Shared by all threads; 120 bytes and 8 for each of
/// `failures − 1`.
///
/// A success costs nothing, a failure one swap and one load. It owns one of the cluster's ejections while it is
/// ejected.
#[derive(Debug)]
pub struct Outlier {
    rule: Ejection,
    /// Times of the last failures, each one nanosecond late, so that zero is none.
    times: Box<[AtomicU64]>,
    next: AtomicU64,
    /// The end of the ejection, one nanosecond late; zero if there is none.
    until: AtomicU64,
    /// Ejections on the record (k), and the end of the last one.
    ejections: AtomicU32,
    last_end: AtomicU64,
}

impl Outlier {
    /// An endpoint without failures.
    #[must_use]
    pub fn new(rule: Ejection) -> Self {
        let others = usize::from(rule.failures.get()) - 1;
        Self {
            rule,
            times: (0..others).map(|_| AtomicU64::new(0)).collect(),
            next: AtomicU64::new(0),
            until: AtomicU64::new(0),
            ejections: AtomicU32::new(0),
            last_end: AtomicU64::new(0),
        }
    }

    /// Takes one failure of a request that started at `started` (its pick, queueing excluded); which outcomes are
    /// failures, the caller's [`FailureSet`](crate::FailureSet) decides. Ignored if it started before the end of the
    /// last ejection.
    ///
    /// This is [`record`](Self::record), and [`eject`](Self::eject) if that is due.
    pub fn on_failure(&self, started: Mono, now: Mono, cap: &EjectionCap) -> OnFailure {
        if self.record(started, now) { self.eject(now, cap) } else { OnFailure::Nothing }
    }

    /// Takes one failure; true if `failures` of them now lie within the window and it is not ejected. Callers that
    /// compare endpoints ([`Comparison`](crate::Comparison)) decide then whether to [`eject`](Self::eject) it.
    #[must_use]
    pub fn record(&self, started: Mono, now: Mono) -> bool {
        self.is_current(started) && self.fills_the_window(now)
    }

    /// Whether a failure of a request that started then says something about the endpoint as it is now: it is not
    /// ejected, and the request is no older than the end of its last ejection.
    #[must_use]
    pub fn is_current(&self, started: Mono) -> bool {
        !self.is_ejected() && started.as_nanos() >= self.last_end.load(Ordering::Relaxed)
    }

    /// Ejects it if the cap allows it, which has then counted it. The one caller that gets [`OnFailure::Ejected`] sets
    /// the axis and a timer for `until`.
    pub fn eject(&self, now: Mono, cap: &EjectionCap) -> OnFailure {
        if self.is_ejected() {
            return OnFailure::Nothing;
        }
        if !cap.try_eject() {
            return OnFailure::Capped;
        }
        let (count, length) = self.length(now);
        let until = now.saturating_add(length);
        if self.until.compare_exchange(0, later(until).min(ENDING - 1), Ordering::AcqRel, Ordering::Relaxed).is_err() {
            // Somebody else ejected it in between, and owns that.
            cap.uneject();
            return OnFailure::Nothing;
        }
        self.ejections.store(count, Ordering::Relaxed);
        OnFailure::Ejected { until }
    }

    /// Ends the ejection if its time is over; true for the one caller who ended it, who then clears the axis. The
    /// record of failures is clean afterwards, and `cap` has its ejection back.
    pub fn on_timer(&self, now: Mono, cap: &EjectionCap) -> bool {
        let until = self.until.load(Ordering::Acquire);
        until != 0 && later(now) >= until && self.end(until, now, cap)
    }

    /// Ends the ejection before its time: because an active check passed, an operator said so, or the endpoint leaves
    /// the cluster. True if there was one.
    pub fn lift(&self, now: Mono, cap: &EjectionCap) -> bool {
        let until = self.until.load(Ordering::Acquire);
        until != 0 && self.end(until, now, cap)
    }

    /// Brings the end of the ejection forward to `until` where it is later, because the rule has changed. Call
    /// [`on_timer`](Self::on_timer) from then on.
    pub fn shorten(&self, until: Mono) {
        let earlier = |end: u64| (end != 0 && end != ENDING).then(|| end.min(later(until)));
        // An error says that there is no ejection, or that it is just ending.
        let _ = self.until.fetch_update(Ordering::AcqRel, Ordering::Relaxed, earlier);
    }

    /// Whether it is ejected: until somebody calls [`on_timer`](Self::on_timer) after the time is over.
    #[must_use]
    pub fn is_ejected(&self) -> bool {
        self.until.load(Ordering::Relaxed) != 0
    }

    /// When to call [`on_timer`](Self::on_timer).
    #[must_use]
    pub fn next_deadline(&self) -> Option<Mono> {
        let until = self.until.load(Ordering::Relaxed);
        (until != 0).then(|| Mono::from_nanos(until - 1))
    }

    /// How often it was ejected, less what was forgiven; always zero if ejections do not grow.
    #[must_use]
    pub fn ejections_on_record(&self) -> u32 {
        self.ejections.load(Ordering::Relaxed)
    }

    /// Records a failure; tells whether it and the `failures − 1` before it lie within the window.
    fn fills_the_window(&self, now: Mono) -> bool {
        if self.times.is_empty() {
            return true;
        }
        let index = self.next.fetch_add(1, Ordering::Relaxed) % self.times.len() as u64;
        let Some(slot) = self.times.get(index as usize) else { return false };
        let before = slot.swap(later(now), Ordering::AcqRel);
        // A time that lies ahead, because the clock went back, is within.
        before != 0 && now.saturating_since(Mono::from_nanos(before - 1)) <= self.rule.window
    }

    fn end(&self, until: u64, now: Mono, cap: &EjectionCap) -> bool {
        // Only one caller clears, and while it is still ejected, when nobody adds to it.
        if until == ENDING || self.until.compare_exchange(until, ENDING, Ordering::AcqRel, Ordering::Relaxed).is_err() {
            return false;
        }
        for slot in &self.times {
            slot.store(0, Ordering::Relaxed);
        }
        self.last_end.store(now.as_nanos(), Ordering::Relaxed);
        self.until.store(0, Ordering::Release);
        cap.uneject();
        true
    }

    /// The number and the length of an ejection that begins now.
    fn length(&self, now: Mono) -> (u32, Duration) {
        let Growth::Linear { forgive, .. } = self.rule.growth else { return (0, self.rule.eject_for) };
        let in_traffic = now.saturating_since(Mono::from_nanos(self.last_end.load(Ordering::Relaxed)));
        let forgiven = in_traffic.as_nanos().checked_div(forgive.as_nanos()).unwrap_or(u128::MAX);
        let forgiven = u32::try_from(forgiven).unwrap_or(u32::MAX);
        let count = self.ejections.load(Ordering::Relaxed).saturating_sub(forgiven).saturating_add(1);
        (count, self.rule.eject_for.saturating_mul(count).min(self.rule.longest()))
    }
}

/// In place of an end: somebody is just ending it.
const ENDING: u64 = u64::MAX;

const fn later(time: Mono) -> u64 {
    time.as_nanos().saturating_add(1)
}

#[cfg(test)]
#[cfg(not(loom))]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Mono {
        Mono::from_millis(seconds * 1_000)
    }

    fn roomy() -> EjectionCap {
        let cap = EjectionCap::default();
        cap.set_members(10, 10);
        cap
    }

    fn rule(failures: u16) -> Ejection {
        Ejection { failures: NonZeroU16::new(failures).unwrap(), ..Ejection::default() }
    }

    #[test]
    fn three_failures_in_thirty_seconds_eject_for_thirty() {
        let (outlier, cap) = (Outlier::new(Ejection::default()), roomy());
        assert_eq!(outlier.on_failure(at(0), at(0), &cap), OnFailure::Nothing);
        assert_eq!(outlier.on_failure(at(10), at(10), &cap), OnFailure::Nothing);
        assert_eq!(outlier.on_failure(at(30), at(30), &cap), OnFailure::Ejected { until: at(60) });
        assert!(outlier.is_ejected());
        assert_eq!(outlier.next_deadline(), Some(at(60)));
        assert_eq!(cap.ejected(), 1);
        assert!(!outlier.on_timer(at(59), &cap));
        assert!(outlier.on_timer(at(60), &cap));
        assert!(!outlier.on_timer(at(61), &cap), "told once");
        assert_eq!((cap.ejected(), outlier.next_deadline()), (0, None));
    }

    #[test]
    fn failures_further_apart_than_the_window_do_not_add_up() {
        let (outlier, cap) = (Outlier::new(Ejection::default()), roomy());
        for step in 0..100 {
            // Any three of them span 32 s.
            assert_eq!(outlier.on_failure(at(step * 16), at(step * 16), &cap), OnFailure::Nothing, "step {step}");
        }
        assert!(
            matches!(outlier.on_failure(at(99 * 16 + 14), at(99 * 16 + 14), &cap), OnFailure::Ejected { .. }),
            "the last three span 30 s"
        );
    }

    #[test]
    fn one_failure_ejects_if_one_is_enough() {
        let (outlier, cap) = (Outlier::new(rule(1)), roomy());
        assert_eq!(outlier.on_failure(Mono::ZERO, Mono::ZERO, &cap), OnFailure::Ejected { until: at(30) });
    }

    #[test]
    fn after_readmission_it_starts_with_a_clean_record() {
        let (outlier, cap) = (Outlier::new(Ejection { eject_for: Duration::from_secs(1), ..rule(3) }), roomy());
        for _ in 0..3 {
            let _ = outlier.on_failure(at(5), at(5), &cap);
        }
        for _ in 0..10 {
            assert_eq!(outlier.on_failure(at(5), at(5), &cap), OnFailure::Nothing, "stragglers count for nothing");
        }
        assert!(outlier.on_timer(at(6), &cap));
        assert_eq!(outlier.on_failure(at(6), at(6), &cap), OnFailure::Nothing);
        assert_eq!(outlier.on_failure(at(6), at(6), &cap), OnFailure::Nothing);
        assert!(matches!(outlier.on_failure(at(6), at(6), &cap), OnFailure::Ejected { .. }));
    }

    #[test]
    fn failures_of_requests_older_than_the_readmission_do_not_eject_again() {
        let (outlier, cap) = (Outlier::new(Ejection { eject_for: Duration::from_secs(2), ..rule(1) }), roomy());
        assert_eq!(outlier.on_failure(at(0), at(3), &cap), OnFailure::Ejected { until: at(5) });
        assert!(outlier.on_timer(at(5), &cap));
        // It hung until 3.5 s; what was sent at 2.5 s fails at 5.5 s.
        let hung = Mono::from_millis(2_500);
        assert_eq!(outlier.on_failure(hung, Mono::from_millis(5_500), &cap), OnFailure::Nothing);
        assert_eq!(outlier.on_failure(Mono::from_millis(4_999), at(8), &cap), OnFailure::Nothing);
        assert_eq!(outlier.on_failure(at(5), at(8), &cap), OnFailure::Ejected { until: at(10) });
    }

    #[test]
    fn the_last_endpoint_is_not_ejected_but_is_as_soon_as_another_is_back() {
        let cap = EjectionCap::default();
        cap.set_members(2, 2);
        let (a, b) = (Outlier::new(rule(1)), Outlier::new(rule(1)));
        assert!(matches!(a.on_failure(at(0), at(0), &cap), OnFailure::Ejected { .. }));
        assert_eq!(b.on_failure(at(1), at(1), &cap), OnFailure::Capped);
        assert!(!b.is_ejected());
        assert!(a.on_timer(at(30), &cap));
        assert!(matches!(b.on_failure(at(31), at(31), &cap), OnFailure::Ejected { .. }));
    }

    #[test]
    fn an_ejection_can_be_lifted_early() {
        let (outlier, cap) = (Outlier::new(rule(1)), roomy());
        assert!(!outlier.lift(at(0), &cap), "there is none");
        let _ = outlier.on_failure(at(0), at(0), &cap);
        assert!(outlier.lift(at(1), &cap));
        assert_eq!(cap.ejected(), 0);
        assert!(!outlier.on_timer(at(99), &cap));
    }

    #[test]
    fn an_ejection_can_be_shortened_and_not_lengthened() {
        let (outlier, cap) = (Outlier::new(rule(1)), roomy());
        outlier.shorten(at(1));
        assert_eq!(outlier.next_deadline(), None, "there is none");
        let _ = outlier.on_failure(at(0), at(0), &cap);
        outlier.shorten(at(31));
        assert_eq!(outlier.next_deadline(), Some(at(30)));
        outlier.shorten(at(5));
        assert!(!outlier.on_timer(at(4), &cap));
        assert!(outlier.on_timer(at(5), &cap));
        assert_eq!(cap.ejected(), 0);
    }

    #[test]
    fn repeated_ejections_grow_and_are_forgiven_with_time() {
        let growth = Growth::Linear { max: Duration::from_secs(70), forgive: Duration::from_secs(10) };
        let (outlier, cap) = (Outlier::new(Ejection { growth, ..rule(1) }), roomy());
        let mut now = at(1_000);
        for expected in [30, 60, 70, 70] {
            let until = now.saturating_add(Duration::from_secs(expected));
            assert_eq!(outlier.on_failure(now, now, &cap), OnFailure::Ejected { until });
            assert!(outlier.on_timer(until, &cap));
            now = until.saturating_add(Duration::from_secs(1));
        }
        assert_eq!(outlier.ejections_on_record(), 4);
        // 25 seconds in traffic take two of four off; this is the third again.
        now = now.saturating_add(Duration::from_secs(24));
        assert_eq!(
            outlier.on_failure(now, now, &cap),
            OnFailure::Ejected { until: now.saturating_add(Duration::from_secs(70)) }
        );
        assert_eq!(outlier.ejections_on_record(), 3);
        assert!(outlier.lift(now, &cap));
        let much_later = now.saturating_add(Duration::from_secs(1_000));
        let until = much_later.saturating_add(Duration::from_secs(30));
        assert_eq!(outlier.on_failure(much_later, much_later, &cap), OnFailure::Ejected { until });
    }

    #[test]
    fn time_that_stands_still_or_goes_back_keeps_what_there_was() {
        let (outlier, cap) = (Outlier::new(rule(3)), roomy());
        assert_eq!(outlier.on_failure(at(100), at(100), &cap), OnFailure::Nothing);
        assert_eq!(outlier.on_failure(at(20), at(20), &cap), OnFailure::Nothing);
        assert_eq!(outlier.on_failure(at(20), at(20), &cap), OnFailure::Ejected { until: at(50) });
        assert!(!outlier.on_timer(at(10), &cap));
        assert!(outlier.on_timer(at(50), &cap));
    }

    #[test]
    fn extreme_rules_do_not_overflow() {
        let forever = Ejection {
            window: Duration::MAX,
            eject_for: Duration::MAX,
            growth: Growth::Linear { max: Duration::ZERO, forgive: Duration::ZERO },
            ..rule(2)
        };
        let (outlier, cap) = (Outlier::new(forever), roomy());
        assert_eq!(outlier.on_failure(Mono::ZERO, Mono::ZERO, &cap), OnFailure::Nothing);
        assert!(matches!(outlier.on_failure(Mono::MAX, Mono::MAX, &cap), OnFailure::Ejected { .. }));
        assert!(!outlier.on_timer(at(1), &cap));
        let many = Outlier::new(rule(u16::MAX));
        assert!((1..u16::MAX).all(|_| many.on_failure(at(0), at(0), &cap) == OnFailure::Nothing));
        assert!(matches!(many.on_failure(at(0), at(0), &cap), OnFailure::Ejected { .. }));
        let no_window = Outlier::new(Ejection { window: Duration::ZERO, ..rule(2) });
        assert_eq!(no_window.on_failure(at(1), at(1), &cap), OnFailure::Nothing);
        assert!(
            matches!(no_window.on_failure(at(1), at(1), &cap), OnFailure::Ejected { .. }),
            "the same instant is within"
        );
    }

    #[test]
    fn of_many_threads_one_is_told_and_the_cap_counts_one() {
        let (outlier, cap) = (Outlier::new(rule(5)), roomy());
        let told: usize = std::thread::scope(|scope| {
            let run = || (0..100).filter(|_| outlier.on_failure(at(7), at(7), &cap) != OnFailure::Nothing).count();
            let workers: Vec<_> = (0..4).map(|_| scope.spawn(run)).collect();
            workers.into_iter().map(|worker| worker.join().unwrap()).sum()
        });
        assert_eq!((told, cap.ejected()), (1, 1));
    }
}
