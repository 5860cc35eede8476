//! The generic cell rate algorithm: a token bucket in one word.
//!
//! The state is the *theoretical arrival time* (TAT): the instant at which the bucket will be full again. A request
//! passes if that lies no further ahead than the burst takes to refill, and moves it one interval on:
//!
//! ```text
//! passes  iff  max(TAT, now) − now ≤ burst · T        then  TAT = max(TAT, now) + T        T = period / requests
//! ```
//!
//! The simple answer counts nanoseconds, and `T` then has to be rounded: three a second become 333 333 333 ns each
//! and drift, and rates above 10⁹ / 2 a second become nonsense. Here the word counts *ticks*, of which each
//! quota has its own size, so that `T` is always a whole number of them and every request moves the TAT by exactly one
//! interval. Only the reading of the clock is converted, and its rounding does not add up:
//!
//! - if `T` is a multiple of 1/1, 1/2, … or 1/8 ns (any whole number of nanoseconds; 3, 7, 30 or 600 a second), a tick
//!   is that fraction: a request passes in the very nanosecond in which its exact instant lies, for ever;
//! - otherwise a tick is below a quarter nanosecond. A request that conforms is never refused, and none passes two
//!   nanoseconds before its exact instant, however long the limit runs. (Bursts that take more than 36 years to
//!   refill make the tick coarser in proportion.)
//!
//! This is the virtual scheduling form of ITU-T I.371, as in governor and redis-cell; the arithmetic is ours. The
//! decision is a pure function from state and time to verdict and next state, so that check and debit cannot drift
//! apart; storage only repeats it until its swap wins.
//!
//! Time that stands still gives no tokens. Time that goes backwards gives none either: the bucket stays as it
//! was until the clock has caught up. The clock may run for 36 years ([`Mono`] at 2⁶⁰ ns); then time stands still.

use std::num::NonZeroU64;
use std::time::Duration;

use lb_core::Mono;

use crate::sync::{AtomicU64, Ordering};

/// A rate and a burst: `1 + burst` requests pass at once, then one each `period / requests`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Quota {
    /// Requests in each period.
    pub requests: NonZeroU64,
    /// The period; together they say one request each `period / requests`, which is at least a nanosecond: anything
    /// faster, or a period of zero, means one each nanosecond.
    pub period: Duration,
    /// How many requests may pass early, on top of the one that is due. Zero, the default, spaces all of them.
    pub burst: u64,
}

impl Quota {
    /// This many requests each `period`, none of them early; zero is taken as one.
    #[must_use]
    pub const fn new(requests: u64, period: Duration) -> Self {
        let requests = match NonZeroU64::new(requests) {
            Some(requests) => requests,
            None => NonZeroU64::MIN,
        };
        Self { requests, period, burst: 0 }
    }

    /// This many requests a second.
    #[must_use]
    pub const fn per_second(requests: u64) -> Self {
        Self::new(requests, Duration::from_secs(1))
    }

    /// This many requests a minute.
    #[must_use]
    pub const fn per_minute(requests: u64) -> Self {
        Self::new(requests, Duration::from_secs(60))
    }

    /// The same rate with this many requests early.
    #[must_use]
    pub const fn with_burst(self, burst: u64) -> Self {
        Self { burst, ..self }
    }
}

/// The answer of a limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum Verdict {
    /// It may go on, and is counted.
    Pass,
    /// It may not, and is not counted.
    Refuse {
        /// How long until it would pass if nobody else came: never zero, and not a nanosecond too long.
        retry_after: Duration,
    },
}

impl Verdict {
    /// Whether it may go on.
    #[must_use]
    pub const fn is_pass(self) -> bool {
        matches!(self, Self::Pass)
    }
}

/// The state of one bucket, in ticks of the [`Gcra`] that made it: the instant at which it is full.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Tat(pub(crate) u64);

impl Tat {
    /// A bucket that nobody has used yet.
    pub const FULL: Self = Self(0);
}

/// A quota made ready for fast decisions; 24 bytes, immutable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Gcra {
    /// Ticks in a nanosecond, times 2⁶⁰; rounded up, so that who conforms is never refused.
    scale: u64,
    /// Ticks in one interval `T`.
    interval: u64,
    /// Ticks in `burst` intervals, and what remains of a nanosecond after its first tick: a clock that counts
    /// nanoseconds would otherwise lose a part of one at every request.
    tolerance: u64,
}

/// The clock's last instant in nanoseconds: 36 years.
const CLOCK_END: u64 = 1 << 60;
const SCALE_BITS: u32 = 60;
/// With at most eight ticks in a nanosecond the clock ends at 2⁶³ ticks, …
const MAX_TICKS_PER_NANO: u128 = 8;
/// … which leaves as many for the buckets to be ahead of it.
const MAX_AHEAD: u128 = i64::MAX as u128;

impl Gcra {
    /// Chooses the tick. Cold: some hundred nanoseconds.
    #[must_use]
    pub fn new(quota: &Quota) -> Self {
        let requests = u128::from(quota.requests.get());
        let period = quota.period.as_nanos().max(requests);
        let divisor = gcd(period, requests);
        let (requests, period) = (requests / divisor, period / divisor);
        let at_once = u128::from(quota.burst) + 1;
        let is_exact = requests <= MAX_TICKS_PER_NANO && period.checked_mul(at_once).is_some_and(|t| t <= MAX_AHEAD);
        let interval = if is_exact { period } else { power_of_two_interval(requests, period, at_once) };
        let scale = scaled_ratio(interval * requests, period);
        let rest_of_a_nano = u128::from(scale - 1) >> SCALE_BITS;
        let tolerance = (interval * (at_once - 1)).min(MAX_AHEAD - interval) + rest_of_a_nano;
        Self {
            scale,
            interval: interval as u64, // below 2⁶³ in either case
            tolerance: tolerance as u64,
        }
    }

    /// Decides one request: the verdict, and the state to keep, which is the old one if it is refused.
    #[inline]
    pub fn decide(&self, tat: Tat, now: Mono) -> (Verdict, Tat) {
        let now_ticks = self.ticks(now);
        let base = tat.0.max(now_ticks);
        if base - now_ticks > self.tolerance {
            return (self.refusal(tat, 0, now), tat);
        }
        // A foreign state may be near the end of the range; ours never is.
        (Verdict::Pass, Tat(base.saturating_add(self.interval)))
    }

    /// As [`decide`](Self::decide) for a request that counts as `cost` requests. A cost of zero always passes and changes
    /// nothing; one above `1 + burst` never passes, and its `retry_after` is [`Duration::MAX`].
    pub fn decide_cost(&self, tat: Tat, cost: u64, now: Mono) -> (Verdict, Tat) {
        if cost <= 1 {
            return if cost == 0 { (Verdict::Pass, tat) } else { self.decide(tat, now) };
        }
        let rest = (cost - 1).checked_mul(self.interval).filter(|rest| *rest <= self.tolerance);
        let Some(rest) = rest else { return (Verdict::Refuse { retry_after: Duration::MAX }, tat) };
        let now_ticks = self.ticks(now);
        let base = tat.0.max(now_ticks);
        if base - now_ticks > self.tolerance - rest {
            return (self.refusal(tat, rest, now), tat);
        }
        (Verdict::Pass, Tat(base.saturating_add(rest).saturating_add(self.interval)))
    }

    /// The state with `cost` requests given back, as tokens are put back into a bucket: at most until it is full.
    #[must_use]
    pub fn refund(&self, tat: Tat, cost: u64) -> Tat {
        Tat(tat.0.saturating_sub(cost.saturating_mul(self.interval)))
    }

    /// How long to hold back the request that passed last, so that requests leave at the rate but for the first `undelayed`
    /// beyond it. `tat` is the state after it passed.
    #[must_use]
    pub fn delay(&self, tat: Tat, undelayed: u64, now: Mono) -> Duration {
        let at_once = undelayed.saturating_add(1).saturating_mul(self.interval);
        self.until(tat.0.saturating_sub(at_once), now)
    }

    /// The quota of `factor` times the rate and as many times the requests at once, in the same ticks, so that states of
    /// both can stand side by side. Its interval is rounded up to a tick: it is never more than that.
    #[must_use]
    pub(crate) fn times(&self, factor: u64) -> Self {
        let interval = self.interval.div_ceil(factor.max(1));
        let span = u128::from(self.tolerance) + u128::from(self.interval);
        let tolerance = span.saturating_sub(u128::from(interval)) as u64; // at most the one before
        Self { interval, tolerance, ..*self }
    }

    /// How many requests would pass at once.
    #[must_use]
    pub fn remaining(&self, tat: Tat, now: Mono) -> u64 {
        let ahead = tat.0.saturating_sub(self.ticks(now));
        self.tolerance.checked_sub(ahead).map_or(0, |room| room / self.interval + 1)
    }

    /// How long until the bucket is full again; zero if it is.
    #[must_use]
    pub fn full_after(&self, tat: Tat, now: Mono) -> Duration {
        self.until(tat.0, now)
    }

    /// Whether the bucket is full, so that forgetting it loses nothing.
    #[inline]
    #[must_use]
    pub fn is_full(&self, tat: Tat, now: Mono) -> bool {
        tat.0 <= self.ticks(now)
    }

    /// The state of a bucket of `other` in ticks of this one. What carries over is the number of requests it is
    /// ahead, so that who has used half a burst has used as many requests of the new one, at most all of it.
    #[must_use]
    pub fn carry_over(&self, other: &Self, tat: Tat, now: Mono) -> Tat {
        let ahead = u128::from(tat.0.saturating_sub(other.ticks(now)));
        if ahead == 0 {
            return Tat::FULL;
        }
        let ahead = (ahead * u128::from(self.interval)).div_ceil(u128::from(other.interval));
        let most = u128::from(self.tolerance) + u128::from(self.interval);
        Tat(self.ticks(now).saturating_add(ahead.min(most) as u64))
    }

    #[inline]
    pub(crate) fn ticks(&self, now: Mono) -> u64 {
        ((u128::from(now.as_nanos().min(CLOCK_END)) * u128::from(self.scale)) >> SCALE_BITS) as u64
    }

    /// `rest` is what the request costs beyond one interval, at most the tolerance.
    #[cold]
    fn refusal(&self, tat: Tat, rest: u64, now: Mono) -> Verdict {
        Verdict::Refuse { retry_after: self.until(tat.0.saturating_sub(self.tolerance - rest), now) }
    }

    /// From `now` to the first nanosecond whose tick is `tick` or later.
    fn until(&self, tick: u64, now: Mono) -> Duration {
        let nanos = (u128::from(tick) << SCALE_BITS).div_ceil(u128::from(self.scale));
        let nanos = u64::try_from(nanos).unwrap_or(u64::MAX);
        Mono::from_nanos(nanos).saturating_since(now)
    }
}

/// The longest interval of 2ⁿ ticks that keeps within eight ticks a nanosecond and leaves room for the burst.
fn power_of_two_interval(requests: u128, period: u128, at_once: u128) -> u128 {
    let by_clock = (MAX_TICKS_PER_NANO * period / requests).ilog2();
    let by_burst = (MAX_AHEAD / at_once).max(1).ilog2();
    1 << by_clock.min(by_burst)
}

/// `numerator / denominator · 2⁶⁰`, rounded up, at least one; the ratio is at most eight.
fn scaled_ratio(numerator: u128, denominator: u128) -> u64 {
    let mut quotient = (numerator / denominator) as u64;
    let mut rest = numerator % denominator;
    for _ in 0..SCALE_BITS {
        rest <<= 1; // a period has at most 94 bits
        quotient = (quotient << 1) | u64::from(rest >= denominator);
        if rest >= denominator {
            rest -= denominator;
        }
    }
    quotient + u64::from(rest > 0)
}

const fn gcd(mut a: u128, mut b: u128) -> u128 {
    while b != 0 {
        (a, b) = (b, a % b);
    }
    a
}

/// One bucket that threads share: a whole route's limit, for instance.
///
/// Exact under any contention: the verdicts are those of some order of the requests. Costs one compare-and-swap for a
/// request that passes, one load for one that does not.
#[derive(Debug)]
pub struct Limiter {
    gcra: Gcra,
    tat: AtomicU64,
}

impl Limiter {
    /// A full bucket.
    #[must_use]
    pub fn new(quota: &Quota) -> Self {
        Self { gcra: Gcra::new(quota), tat: AtomicU64::new(0) }
    }

    /// Decides one request.
    #[inline]
    pub fn check(&self, now: Mono) -> Verdict {
        let mut old = self.tat.load(Ordering::Relaxed);
        loop {
            let (verdict, new) = self.gcra.decide(Tat(old), now);
            if !verdict.is_pass() {
                return verdict;
            }
            match self.tat.compare_exchange_weak(old, new.0, Ordering::Relaxed, Ordering::Relaxed) {
                Ok(_) => return verdict,
                Err(current) => old = current,
            }
        }
    }

    /// How many requests would pass at once.
    #[must_use]
    pub fn remaining(&self, now: Mono) -> u64 {
        self.gcra.remaining(Tat(self.tat.load(Ordering::Relaxed)), now)
    }

    /// The same bucket under another quota, with as many requests used as in this one ([`Gcra::carry_over`]).
    #[must_use]
    pub fn with_quota(&self, quota: &Quota, now: Mono) -> Self {
        let gcra = Gcra::new(quota);
        let tat = gcra.carry_over(&self.gcra, Tat(self.tat.load(Ordering::Relaxed)), now);
        Self { gcra, tat: AtomicU64::new(tat.0) }
    }
}

#[cfg(test)]
#[cfg(not(loom))]
mod tests {
    use super::*;

    const SECOND: u64 = 1_000_000_000;

    fn at(nanos: u64) -> Mono {
        Mono::from_nanos(nanos)
    }

    fn passes(limiter: &Limiter, nanos: u64) -> bool {
        limiter.check(at(nanos)).is_pass()
    }

    #[test]
    fn one_a_minute_is_one_each_sixty_seconds() {
        let limiter = Limiter::new(&Quota::per_minute(1));
        let start = 30 * SECOND + 7;
        assert!(passes(&limiter, start));
        assert_eq!(limiter.check(at(start)), Verdict::Refuse { retry_after: Duration::from_secs(60) });
        assert!(!passes(&limiter, start + 60 * SECOND - 1));
        assert!(passes(&limiter, start + 60 * SECOND));
        assert!(!passes(&limiter, start + 60 * SECOND));
    }

    #[test]
    fn one_plus_burst_pass_at_once_and_then_one_each_interval() {
        let limiter = Limiter::new(&Quota::per_second(10).with_burst(5));
        assert_eq!(limiter.remaining(at(5)), 6);
        assert_eq!((0..20).filter(|_| passes(&limiter, 5)).count(), 6);
        assert_eq!(limiter.remaining(at(5)), 0);
        for step in 1..=50 {
            let due = 5 + step * SECOND / 10;
            assert!(!passes(&limiter, due - 1), "step {step}");
            assert!(passes(&limiter, due), "step {step}");
        }
    }

    #[test]
    fn three_a_second_are_exactly_three_a_second_for_an_hour() {
        let limiter = Limiter::new(&Quota::per_second(3));
        let mut passed = 0_u64;
        let mut now = 0;
        while now < 3_600 * SECOND {
            match limiter.check(at(now)) {
                Verdict::Pass => passed += 1,
                Verdict::Refuse { retry_after } => now += retry_after.as_nanos() as u64,
            }
        }
        assert_eq!(passed, 3 * 3_600);
        assert_eq!(now, 3_600 * SECOND, "the next three begin with the next hour");
    }

    #[test]
    fn rates_that_divide_nothing_do_not_drift() {
        // 999 983 is prime: the interval is 1.000017…µs. In ten hours at full pace it is off by less than one request.
        let limiter = Limiter::new(&Quota::per_second(999_983));
        let (mut now, mut passed) = (0_u64, 0_u64);
        // Jump from interval to interval near the ends, and by whole idle stretches between them.
        for round in 0..36_000_u64 {
            now = now.max(round * SECOND);
            for _ in 0..20 {
                match limiter.check(at(now)) {
                    Verdict::Pass => passed += 1,
                    Verdict::Refuse { retry_after } => {
                        let wait = retry_after.as_nanos() as u64;
                        assert!((1..=1_001).contains(&wait), "waits {wait} ns");
                        now += wait;
                    }
                }
            }
        }
        assert_eq!(passed, 36_000 * 10, "every second call passes");
    }

    #[test]
    fn the_refusal_names_the_first_nanosecond_that_passes() {
        for (requests, burst) in [(3, 0), (7, 2), (17, 1), (999_983, 4), (1_000_000, 0), (123_456_789, 9)] {
            let quota = Quota::per_second(requests).with_burst(burst);
            let gcra = Gcra::new(&quota);
            let mut tat = Tat::FULL;
            let now = at(86_400 * SECOND + 12_345);
            let refusal = loop {
                match gcra.decide(tat, now) {
                    (Verdict::Pass, next) => tat = next,
                    (Verdict::Refuse { retry_after }, same) => {
                        assert_eq!(same, tat, "a refusal changes nothing");
                        break retry_after;
                    }
                }
            };
            assert!(gcra.decide(tat, now.saturating_add(refusal)).0.is_pass(), "{quota:?}");
            let early = now.saturating_add(refusal - Duration::from_nanos(1));
            assert!(!gcra.decide(tat, early).0.is_pass(), "{quota:?}");
        }
    }

    #[test]
    fn a_million_a_second_is_one_each_microsecond() {
        let limiter = Limiter::new(&Quota::per_second(1_000_000));
        let passed = (0..1_000_000).filter(|nanos| passes(&limiter, *nanos)).count();
        assert_eq!(passed, 1_000, "a thousand in a millisecond asked each nanosecond");
    }

    #[test]
    fn rates_beyond_one_a_nanosecond_mean_one_a_nanosecond() {
        for quota in [
            Quota::per_second(u64::MAX),
            Quota::new(1, Duration::ZERO),
            Quota::new(u64::MAX, Duration::from_nanos(1)).with_burst(u64::MAX),
        ] {
            let gcra = Gcra::new(&Quota { burst: 0, ..quota });
            let (verdict, tat) = gcra.decide(Tat::FULL, at(10));
            assert!(verdict.is_pass());
            assert_eq!(gcra.decide(tat, at(10)).0, Verdict::Refuse { retry_after: Duration::from_nanos(1) });
            assert!(gcra.decide(tat, at(11)).0.is_pass());
            assert!(Limiter::new(&quota).check(Mono::MAX).is_pass());
        }
    }

    #[test]
    fn huge_bursts_and_periods_neither_overflow_nor_run_dry() {
        let quota = Quota::per_minute(1).with_burst(u64::MAX);
        let limiter = Limiter::new(&quota);
        for nanos in [0, 1, SECOND, CLOCK_END, u64::MAX] {
            for _ in 0..100 {
                assert!(passes(&limiter, nanos));
            }
        }
        assert!(limiter.remaining(Mono::MAX) > 1 << 62);

        let never_again = Limiter::new(&Quota::new(1, Duration::MAX));
        assert!(passes(&never_again, 0));
        assert!(!passes(&never_again, u64::MAX));

        // A burst of 2 700 years: still exactly this many.
        let quota = Quota::new(1, Duration::from_secs(86_400)).with_burst(1_000_000);
        let limiter = Limiter::new(&quota);
        assert_eq!((0..1_000_100).filter(|_| passes(&limiter, 0)).count(), 1_000_001);
    }

    #[test]
    fn time_that_stands_still_or_goes_back_gives_nothing() {
        let limiter = Limiter::new(&Quota::per_second(1).with_burst(1));
        assert!(passes(&limiter, 100 * SECOND));
        assert!(!passes(&limiter, 40 * SECOND));
        assert!(!passes(&limiter, 0));
        assert!(passes(&limiter, 100 * SECOND), "the burst is still there");
        assert!(!passes(&limiter, 100 * SECOND));
        assert!(!passes(&limiter, 101 * SECOND - 1));
        assert!(passes(&limiter, 101 * SECOND));
    }

    #[test]
    fn what_was_used_stays_used_under_a_new_quota() {
        let now = at(50 * SECOND);
        let old = Limiter::new(&Quota::per_second(10).with_burst(9));
        for _ in 0..4 {
            assert!(old.check(now).is_pass());
        }
        assert_eq!(old.remaining(now), 6);
        let doubled = old.with_quota(&Quota::per_second(20).with_burst(9), now);
        assert_eq!(doubled.remaining(now), 6);
        let awkward = old.with_quota(&Quota::per_second(17).with_burst(19), now);
        assert_eq!(awkward.remaining(now), 16);
        let smaller = old.with_quota(&Quota::per_second(10).with_burst(1), now);
        assert_eq!(smaller.remaining(now), 0);
        assert!(
            smaller.check(now.saturating_add(Duration::from_millis(100))).is_pass(),
            "never deeper than its own burst"
        );
        assert_eq!(Limiter::new(&Quota::per_second(1)).with_quota(&Quota::per_second(9), now).remaining(now), 1);
    }

    #[test]
    fn threads_together_get_exactly_the_quota() {
        let limiter = Limiter::new(&Quota::per_second(1).with_burst(999));
        let passed: usize = std::thread::scope(|scope| {
            let workers: Vec<_> = (0..4)
                .map(|_| scope.spawn(|| (0..1_000).filter(|_| limiter.check(at(SECOND)).is_pass()).count()))
                .collect();
            workers.into_iter().map(|worker| worker.join().unwrap()).sum()
        });
        assert_eq!(passed, 1_000);
    }
}
