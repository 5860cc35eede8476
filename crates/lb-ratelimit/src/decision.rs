//! What a limit answers, and the rules that make the answers.

use std::time::Duration;

use lb_core::Mono;

use crate::gcra::{Gcra, Tat, Verdict};

/// The answer of a limit, with what a client may be told about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub struct Decision {
    /// Whether the request may go on, and if not, when it may.
    pub verdict: Verdict,
    /// How long to hold it back before it goes on; zero for rules without a delay, and for a refusal.
    pub delay: Duration,
    /// How many requests of cost one would pass now, after this one.
    pub remaining: u64,
    /// How long until the whole quota is there again if no other request comes; zero if it is.
    pub reset: Duration,
}

impl Decision {
    /// Whether the request may go on.
    #[must_use]
    pub const fn is_pass(&self) -> bool {
        self.verdict.is_pass()
    }

    /// When a refused request may be repeated; never zero.
    #[must_use]
    pub const fn retry_after(&self) -> Option<Duration> {
        match self.verdict {
            Verdict::Pass => None,
            Verdict::Refuse { retry_after } => Some(retry_after),
        }
    }

    /// The decision of a GCRA that leaves this state.
    pub(crate) fn of_gcra(gcra: &Gcra, verdict: Verdict, tat: Tat, now: Mono) -> Self {
        Self { verdict, delay: Duration::ZERO, remaining: gcra.remaining(tat, now), reset: gcra.full_after(tat, now) }
    }

    pub(crate) const fn pass(remaining: u64, reset: Duration) -> Self {
        Self { verdict: Verdict::Pass, delay: Duration::ZERO, remaining, reset }
    }

    /// A refusal; a `retry_after` of zero becomes a nanosecond.
    pub(crate) fn refuse(retry_after: Duration, remaining: u64, reset: Duration) -> Self {
        let retry_after = retry_after.max(Duration::from_nanos(1));
        Self { verdict: Verdict::Refuse { retry_after }, delay: Duration::ZERO, remaining, reset }
    }
}

/// A duration in whole seconds as a header has it: rounded up, and never zero, since a client that waits for less is refused
/// again.
#[must_use]
pub const fn whole_seconds(duration: Duration) -> u64 {
    let seconds = duration.as_secs().saturating_add((duration.subsec_nanos() > 0) as u64);
    if seconds == 0 { 1 } else { seconds }
}

/// A rule that decides from the state of one key: a pure function, to which storage, time and locks are the caller's.
///
/// Of a cost of zero nothing is counted, and it passes. Of a cost that the quota can never admit, `retry_after` is
/// [`Duration::MAX`]. A request that is refused leaves the state as it was, but for what time has done to it. Time that stands still
/// or goes back gives nothing back.
pub trait Algorithm {
    /// What is kept for each key; the default is a key that has not been seen.
    type State: Clone + Default;

    /// Decides a request that counts as `cost` requests: the decision, and the state to keep.
    fn charge(&self, state: Self::State, cost: u64, now: Mono) -> (Decision, Self::State);

    /// What [`charge`](Self::charge) would answer.
    fn peek(&self, state: &Self::State, cost: u64, now: Mono) -> Decision {
        self.charge(state.clone(), cost, now).0
    }

    /// The state after a request of this cost that passed was not made after all, at most an unused one.
    #[must_use]
    fn refund(&self, state: Self::State, cost: u64, now: Mono) -> Self::State;
}

impl Algorithm for Gcra {
    type State = Tat;

    fn charge(&self, state: Tat, cost: u64, now: Mono) -> (Decision, Tat) {
        let (verdict, state) = self.decide_cost(state, cost, now);
        (Decision::of_gcra(self, verdict, state, now), state)
    }

    fn refund(&self, state: Tat, cost: u64, _now: Mono) -> Tat {
        Self::refund(self, state, cost)
    }
}

#[cfg(test)]
#[cfg(not(loom))]
mod tests {
    use super::*;
    use crate::Quota;

    #[test]
    fn seconds_are_rounded_up_and_never_zero() {
        let millis = [0, 1, 999, 1_000, 1_001].map(|ms| whole_seconds(Duration::from_millis(ms)));
        assert_eq!(millis, [1, 1, 1, 1, 2]);
        assert_eq!(whole_seconds(Duration::MAX), u64::MAX);
    }

    #[test]
    fn a_bucket_of_six_takes_costs_and_gives_them_back() {
        let gcra = Gcra::new(&Quota::per_second(10).with_burst(5));
        let now = Mono::from_millis(7_000);
        let (first, state) = gcra.charge(Tat::FULL, 4, now);
        assert_eq!((first.is_pass(), first.remaining, first.reset), (true, 2, Duration::from_millis(400)));
        // Three of six are free a tenth of a second later.
        let (refused, same) = gcra.charge(state, 3, now);
        assert_eq!((refused.retry_after(), refused.remaining), (Some(Duration::from_millis(100)), 2));
        assert_eq!(same, state);
        assert!(gcra.peek(&state, 3, now.saturating_add(Duration::from_millis(100))).is_pass());
        assert!(!gcra.peek(&state, 3, now.saturating_add(Duration::from_nanos(99_999_999))).is_pass());
        let refunded = Algorithm::refund(&gcra, state, 4, now);
        assert_eq!(gcra.peek(&refunded, 6, now).remaining, 0);
        assert!(gcra.peek(&Algorithm::refund(&gcra, refunded, 9, now), 6, now).is_pass(), "no more than full");
        assert!(!gcra.peek(&Algorithm::refund(&gcra, refunded, 9, now), 7, now).is_pass());
    }

    #[test]
    fn a_cost_of_zero_passes_and_one_beyond_the_bucket_never_does() {
        let gcra = Gcra::new(&Quota::per_second(10).with_burst(5));
        let (used, state) = gcra.charge(Tat::FULL, 6, Mono::ZERO);
        assert_eq!((used.is_pass(), used.remaining), (true, 0));
        assert_eq!(gcra.charge(state, 0, Mono::ZERO), (Decision { reset: used.reset, ..used }, state));
        for cost in [7, u64::MAX] {
            assert_eq!(gcra.charge(Tat::FULL, cost, Mono::MAX).0.retry_after(), Some(Duration::MAX));
        }
    }
}
