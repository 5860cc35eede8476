//! What a table counts by, each rule with the state of a key in one word.
//!
//! A word is what an entry has room for, and what one compare-and-swap changes. The token bucket has its TAT there. The
//! windows have their counts beside the number of their period:
//!
//! ```text
//!  fixed window     period                   | count
//!  sliding window   beginning of the period  | previous count | current count
//! ```
//!
//! Counts take as many bits as the limit needs and time has the others, so that a number of a period comes back after 2³² periods at
//! the earliest for fixed windows, and after 65 536 periods (of the highest limits) to 2⁴⁸ for sliding ones. The beginning of a
//! sliding period is kept in 256ths of it and rounded up, by which a count may fade that much later, and none
//! sooner. A clock that goes back by more than 1024 of these steps forgets the counts.

use std::time::Duration;

use lb_core::Mono;

use crate::decision::{Algorithm, Decision};
use crate::fixed_window::{FixedWindow, WindowCount};
use crate::frequency::Frequency;
use crate::gcra::{Gcra, Quota, Tat, Verdict};
use crate::sliding_window::SlidingWindow;

/// The quota of each level as a multiple of the key's own; further levels have that of the last one.
const FACTORS: [u64; 3] = [1, 256, 65_536];
/// Steps of a sliding window's period.
const STEPS: u64 = 256;
/// How far the clock may go back, in steps or periods.
const LEAD: u64 = 1_024;

/// What a [`Keyed`](crate::Keyed) counts by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rule {
    /// A token bucket ([`Gcra`]): exact, and smooth.
    TokenBucket(Quota),
    /// At most `limit` in the estimate of the last `period` ([`SlidingWindow`]), which is kept to a 256th of the period.
    SlidingWindow {
        /// At most [`Rule::MAX_SLIDING`].
        limit: u64,
        /// At least 256 ns.
        period: Duration,
    },
    /// At most `limit` in each `period` ([`FixedWindow`]).
    FixedWindow {
        /// At most [`Rule::MAX_FIXED`].
        limit: u64,
        /// At least a nanosecond.
        period: Duration,
    },
}

impl Rule {
    /// The highest limit of a sliding window in a table; higher ones are taken as this.
    pub const MAX_SLIDING: u64 = (1 << 20) - 1;
    /// The highest limit of a fixed window in a table; higher ones are taken as this.
    pub const MAX_FIXED: u64 = (1 << 32) - 1;

    /// The token bucket that comes closest: of a window, the one that holds its limit and is full again after its period.
    #[must_use]
    pub const fn quota(self) -> Quota {
        match self {
            Self::TokenBucket(quota) => quota,
            Self::SlidingWindow { limit, period } | Self::FixedWindow { limit, period } => {
                Quota::new(limit, period).with_burst(limit.saturating_sub(1))
            }
        }
    }

    /// As many requests as pass at once, and the time after which they do again: what a client is told of a limit.
    #[must_use]
    pub fn window(self) -> (u64, Duration) {
        match self {
            Self::SlidingWindow { limit, period } | Self::FixedWindow { limit, period } => (limit, period),
            Self::TokenBucket(Quota { requests, period, burst }) => {
                let at_once = burst.saturating_add(1);
                let nanos = (u128::from(at_once) * period.as_nanos()).div_ceil(u128::from(requests.get()));
                (at_once, Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX)))
            }
        }
    }
}

impl From<Quota> for Rule {
    fn from(quota: Quota) -> Self {
        Self::TokenBucket(quota)
    }
}

/// A rule made ready for words, for all levels.
#[derive(Debug)]
pub(super) enum Words {
    Bucket([Gcra; FACTORS.len()]),
    Sliding(Sliding),
    Fixed(Fixed),
}

/// A verdict, and the word that it leaves.
pub(super) type Debited = (Verdict, Tat);

impl Words {
    pub(super) fn new(rule: Rule) -> Self {
        match rule {
            Rule::TokenBucket(quota) => {
                let gcra = Gcra::new(&quota);
                Self::Bucket(FACTORS.map(|factor| gcra.times(factor)))
            }
            Rule::SlidingWindow { limit, period } => Self::Sliding(Sliding::new(limit, period)),
            Rule::FixedWindow { limit, period } => Self::Fixed(Fixed::new(limit, period)),
        }
    }

    /// Whether keys of this level have words of their own. A window has no bits for the counts of large networks.
    pub(super) const fn has_level(&self, level: usize) -> bool {
        level < 2 || matches!(self, Self::Bucket(_))
    }

    #[inline]
    pub(super) fn decide(&self, level: usize, word: Tat, cost: u64, now: Mono) -> Debited {
        match self {
            Self::Bucket(gcra) => gcra[level.min(FACTORS.len() - 1)].decide_cost(word, cost, now),
            Self::Sliding(sliding) => sliding.decide(level, word, cost, now),
            Self::Fixed(fixed) => fixed.decide(level, word, cost, now),
        }
    }

    /// Whether forgetting the word loses nothing, whatever level it is of.
    #[inline]
    pub(super) fn is_full(&self, word: Tat, now: Mono) -> bool {
        match self {
            Self::Bucket([gcra, ..]) => gcra.is_full(word, now),
            Self::Sliding(_) | Self::Fixed(_) => self.reset(word, now).is_zero(),
        }
    }

    pub(super) fn remaining(&self, word: Tat, now: Mono) -> u64 {
        match self {
            Self::Bucket([gcra, ..]) => gcra.remaining(word, now),
            Self::Sliding(sliding) => sliding.peek(word, now).remaining,
            Self::Fixed(fixed) => fixed.peek(word, now).remaining,
        }
    }

    /// How long until the whole quota is there again.
    pub(super) fn reset(&self, word: Tat, now: Mono) -> Duration {
        match self {
            Self::Bucket([gcra, ..]) => gcra.full_after(word, now),
            Self::Sliding(sliding) => sliding.peek(word, now).reset,
            Self::Fixed(fixed) => fixed.peek(word, now).reset,
        }
    }

    /// How long to hold a request back that passed; windows hold none back.
    pub(super) fn delay(&self, word: Tat, undelayed: u64, now: Mono) -> Duration {
        match self {
            Self::Bucket([gcra, ..]) => gcra.delay(word, undelayed, now),
            Self::Sliding(_) | Self::Fixed(_) => Duration::ZERO,
        }
    }

    pub(super) fn refund(&self, word: Tat, cost: u64, now: Mono) -> Tat {
        match self {
            Self::Bucket([gcra, ..]) => gcra.refund(word, cost),
            Self::Sliding(sliding) => sliding.refund(word, cost, now),
            Self::Fixed(fixed) => fixed.refund(word, cost, now),
        }
    }

    /// The word of `other` under this rule; nothing if it says nothing here.
    pub(super) fn carry_over(&self, other: &Self, word: Tat, now: Mono) -> Option<Tat> {
        match (self, other) {
            (Self::Bucket([new, ..]), Self::Bucket([old, ..])) => Some(new.carry_over(old, word, now)),
            (Self::Sliding(new), Self::Sliding(old)) if new.period_nanos == old.period_nanos => {
                let count = old.unpack(word, now)?;
                Some(new.pack(Some(count)))
            }
            (Self::Fixed(new), Self::Fixed(old)) if new.period_nanos == old.period_nanos => {
                Some(new.pack(old.unpack(word, now)))
            }
            _ => None,
        }
    }
}

/// How many bits a number takes.
const fn bits(number: u64) -> u32 {
    u64::BITS - number.leading_zeros()
}

/// The lowest so many bits.
const fn low(bits: u32) -> u64 {
    if bits >= u64::BITS { u64::MAX } else { (1 << bits) - 1 }
}

/// When something happened, from the lowest `bits` of its time and the time now; nothing if that was long ago, or is far ahead.
const fn when(stored: u64, bits: u32, now: u64) -> Option<u64> {
    let since = now.wrapping_sub(stored) & low(bits);
    let ahead = stored.wrapping_sub(now) & low(bits);
    if ahead <= LEAD { now.checked_add(ahead) } else { now.checked_sub(since) }
}

/// A sliding window in words.
#[derive(Debug)]
pub(super) struct Sliding {
    levels: [SlidingWindow; 2],
    period_nanos: u64,
    step_nanos: u64,
    /// Of each of the two counts.
    count_bits: u32,
}

impl Sliding {
    fn new(limit: u64, period: Duration) -> Self {
        let limit = limit.min(Rule::MAX_SLIDING);
        let coarse = limit.saturating_mul(FACTORS[1]).min(Rule::MAX_SLIDING);
        let period_nanos = u64::try_from(period.as_nanos()).unwrap_or(u64::MAX).max(STEPS);
        let period = Duration::from_nanos(period_nanos);
        Self {
            levels: [SlidingWindow::new(limit, period), SlidingWindow::new(coarse, period)],
            period_nanos,
            step_nanos: period_nanos / STEPS,
            count_bits: bits(coarse).max(1),
        }
    }

    fn time_bits(&self) -> u32 {
        u64::BITS - 2 * self.count_bits
    }

    fn unpack(&self, word: Tat, now: Mono) -> Option<Frequency> {
        if word == Tat::FULL {
            return None;
        }
        let (current, previous) = (word.0 & low(self.count_bits), word.0 >> self.count_bits & low(self.count_bits));
        let began = when(word.0 >> (2 * self.count_bits), self.time_bits(), now.as_nanos() / self.step_nanos)?;
        Some(Frequency::of_parts(self.period_nanos, began.saturating_mul(self.step_nanos), current, previous))
    }

    /// Rounds its beginning up, and its counts down to what there are bits for; no rule lets more pass.
    fn pack(&self, count: Option<Frequency>) -> Tat {
        let Some((began, current, previous)) = count.and_then(Frequency::into_parts) else { return Tat::FULL };
        if current == 0 && previous == 0 {
            return Tat::FULL;
        }
        let most = low(self.count_bits);
        let began = began.div_ceil(self.step_nanos) & low(self.time_bits());
        Tat((began << self.count_bits | previous.min(most)) << self.count_bits | current.min(most))
    }

    fn decide(&self, level: usize, word: Tat, cost: u64, now: Mono) -> Debited {
        let (decision, count) = self.levels[level.min(1)].charge(self.unpack(word, now), cost, now);
        (decision.verdict, if decision.is_pass() && cost > 0 { self.pack(count) } else { word })
    }

    fn peek(&self, word: Tat, now: Mono) -> Decision {
        self.levels[0].peek(&self.unpack(word, now), 0, now)
    }

    fn refund(&self, word: Tat, cost: u64, now: Mono) -> Tat {
        self.pack(self.levels[0].refund(self.unpack(word, now), cost, now))
    }
}

/// A fixed window in words.
#[derive(Debug)]
pub(super) struct Fixed {
    levels: [FixedWindow; 2],
    period_nanos: u64,
    count_bits: u32,
}

impl Fixed {
    fn new(limit: u64, period: Duration) -> Self {
        let limit = limit.min(Rule::MAX_FIXED);
        let coarse = limit.saturating_mul(FACTORS[1]).min(Rule::MAX_FIXED);
        Self {
            levels: [FixedWindow::new(limit, period), FixedWindow::new(coarse, period)],
            period_nanos: u64::try_from(period.as_nanos()).unwrap_or(u64::MAX).max(1),
            count_bits: bits(coarse).max(1),
        }
    }

    fn unpack(&self, word: Tat, now: Mono) -> WindowCount {
        let count = word.0 & low(self.count_bits);
        let time_bits = u64::BITS - self.count_bits;
        match when(word.0 >> self.count_bits, time_bits, now.as_nanos() / self.period_nanos) {
            Some(period) if count > 0 => WindowCount::of_parts(period, count),
            _ => WindowCount::default(),
        }
    }

    fn pack(&self, state: WindowCount) -> Tat {
        let (period, count) = state.into_parts();
        if count == 0 {
            return Tat::FULL;
        }
        Tat(period << self.count_bits | count.min(low(self.count_bits)))
    }

    fn decide(&self, level: usize, word: Tat, cost: u64, now: Mono) -> Debited {
        let (decision, state) = self.levels[level.min(1)].charge(self.unpack(word, now), cost, now);
        (decision.verdict, if decision.is_pass() && cost > 0 { self.pack(state) } else { word })
    }

    fn peek(&self, word: Tat, now: Mono) -> Decision {
        self.levels[0].peek(&self.unpack(word, now), 0, now)
    }

    fn refund(&self, word: Tat, cost: u64, now: Mono) -> Tat {
        self.pack(self.levels[0].refund(self.unpack(word, now), cost, now))
    }
}

#[cfg(test)]
#[cfg(not(loom))]
mod tests {
    use super::*;

    fn at(ms: u64) -> Mono {
        Mono::from_millis(ms)
    }

    /// Runs a rule in words beside the rule itself: the verdicts of both.
    fn beside<A: Algorithm>(words: &Words, rule: &A, events: &[(u64, u64)]) -> Vec<(bool, bool)> {
        let (mut word, mut state) = (Tat::FULL, A::State::default());
        let run = events.iter().map(|(ms, cost)| {
            let (verdict, next) = words.decide(0, word, *cost, at(*ms));
            let (decision, after) = rule.charge(state.clone(), *cost, at(*ms));
            (word, state) = (next, after);
            (verdict.is_pass(), decision.is_pass())
        });
        run.collect()
    }

    /// Ten and a half thousand requests at odd times, some of them idle for more than two periods.
    fn events() -> Vec<(u64, u64)> {
        let mut ms = 90_000;
        (0..10_500_u64)
            .map(|n| {
                ms += if n % 997 == 0 { 25_000 } else { n * 7 % 331 };
                (ms, 1 + n % 3)
            })
            .collect()
    }

    #[test]
    fn a_fixed_window_in_a_word_is_the_fixed_window() {
        let (limit, period) = (70, Duration::from_secs(10));
        let words = Words::new(Rule::FixedWindow { limit, period });
        let both = beside(&words, &FixedWindow::new(limit, period), &events());
        assert!(both.iter().all(|(word, rule)| word == rule));
        assert!(both.iter().any(|(word, _)| !word));
    }

    #[test]
    fn a_sliding_window_in_a_word_admits_no_more_and_hardly_less() {
        let (limit, period) = (70, Duration::from_secs(10));
        let words = Words::new(Rule::SlidingWindow { limit, period });
        let both = beside(&words, &SlidingWindow::new(limit, period), &events());
        let [word, rule] =
            [|it: &(bool, bool)| it.0, |it: &(bool, bool)| it.1].map(|of| both.iter().filter(|it| of(it)).count());
        assert!(word <= rule && word * 100 >= rule * 98, "{word} of {rule}");
        assert!(rule < both.len());
    }

    #[test]
    fn a_refusal_says_when_and_what_is_left() {
        let period = Duration::from_secs(60);
        for rule in [Rule::SlidingWindow { limit: 3, period }, Rule::FixedWindow { limit: 3, period }] {
            let words = Words::new(rule);
            let now = at(120_000);
            let (_, word) = words.decide(0, Tat::FULL, 2, now);
            assert_eq!(words.remaining(word, now), 1);
            let (Verdict::Refuse { retry_after }, same) = words.decide(0, word, 2, now) else { panic!("{rule:?}") };
            assert_eq!(same, word);
            assert!(words.decide(0, word, 2, now.saturating_add(retry_after)).0.is_pass(), "{rule:?}");
            let early = retry_after - Duration::from_nanos(1);
            assert!(!words.decide(0, word, 2, now.saturating_add(early)).0.is_pass(), "{rule:?}");
            let reset = words.reset(word, now);
            assert!(!words.is_full(word, now.saturating_add(reset - Duration::from_nanos(1))), "{rule:?}");
            assert!(words.is_full(word, now.saturating_add(reset)), "{rule:?}");
            assert_eq!(words.refund(word, 2, now), Tat::FULL);
            assert_eq!(words.remaining(words.refund(word, 1, now), now), 2);
        }
    }

    #[test]
    fn time_that_goes_back_gives_nothing_and_what_is_old_is_forgotten() {
        let period = Duration::from_secs(1);
        for rule in [
            Rule::SlidingWindow { limit: 2, period },
            Rule::FixedWindow { limit: 2, period },
            Rule::SlidingWindow { limit: Rule::MAX_SLIDING, period },
            Rule::FixedWindow { limit: Rule::MAX_FIXED, period },
        ] {
            let words = Words::new(rule);
            let limit = words.remaining(Tat::FULL, at(0));
            let (_, word) = words.decide(0, Tat::FULL, limit, at(50_000));
            assert!(!words.decide(0, word, 1, at(47_000)).0.is_pass(), "{rule:?}");
            for later in [53_000, 500_000, 50_000_000, 4_000_000_000] {
                assert_eq!(words.remaining(word, at(later)), limit, "{rule:?} {later}");
                assert!(words.is_full(word, at(later)));
            }
        }
    }

    #[test]
    fn a_coarser_level_has_a_larger_limit_as_far_as_there_are_bits() {
        let words = Words::new(Rule::FixedWindow { limit: 2, period: Duration::from_secs(1) });
        assert!(
            words.decide(1, Tat::FULL, 512, at(0)).0.is_pass() && !words.decide(1, Tat::FULL, 513, at(0)).0.is_pass()
        );
        let words = Words::new(Rule::SlidingWindow { limit: 100_000, period: Duration::from_secs(1) });
        assert!(words.decide(1, Tat::FULL, Rule::MAX_SLIDING, at(0)).0.is_pass());
        assert!(words.has_level(1) && !words.has_level(2));
    }

    #[test]
    fn counts_carry_over_to_another_limit_and_not_to_another_period() {
        let fixed = |limit, secs| Words::new(Rule::FixedWindow { limit, period: Duration::from_secs(secs) });
        let (old, now) = (fixed(9, 10), at(50_000));
        let (_, word) = old.decide(0, Tat::FULL, 4, now);
        let new = fixed(5_000, 10);
        assert_eq!(new.remaining(new.carry_over(&old, word, now).unwrap(), now), 4_996);
        assert_eq!(fixed(9, 20).carry_over(&old, word, now), None);
        let sliding = |limit| Words::new(Rule::SlidingWindow { limit, period: Duration::from_secs(10) });
        let (old, new) = (sliding(9), sliding(5_000));
        let (_, word) = old.decide(0, Tat::FULL, 4, now);
        assert_eq!(new.remaining(new.carry_over(&old, word, now).unwrap(), now), 4_996);
        assert_eq!(new.carry_over(&fixed(9, 10), word, now), None);
    }

    #[test]
    fn what_a_client_is_told_of_a_rule() {
        let period = Duration::from_secs(60);
        assert_eq!(Rule::FixedWindow { limit: 7, period }.window(), (7, period));
        assert_eq!(Rule::from(Quota::new(120, period).with_burst(9)).window(), (10, Duration::from_secs(5)));
        assert_eq!(Rule::SlidingWindow { limit: 7, period }.quota(), Quota::new(7, period).with_burst(6));
    }
}
