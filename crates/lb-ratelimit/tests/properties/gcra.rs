//! GCRA against a bucket that counts in exact fractions of a nanosecond.

use std::time::Duration;

use lb_core::Mono;
use lb_ratelimit::{Gcra, Quota, Tat, Verdict};
use proptest::prelude::*;

/// The definition, in units of 1/requests ns and 128 bits: nothing is ever rounded.
struct Exact {
    requests: u128,
    interval: u128,
    burst: u128,
    tat: u128,
}

impl Exact {
    fn new(quota: &Quota) -> Self {
        let requests = u128::from(quota.requests.get());
        Self { requests, interval: quota.period.as_nanos().max(requests), burst: u128::from(quota.burst), tat: 0 }
    }

    fn conforms(&self, nanos: u64) -> bool {
        let now = u128::from(nanos) * self.requests;
        self.tat.saturating_sub(now) <= self.burst * self.interval
    }

    fn debit(&mut self, nanos: u64) {
        self.tat = self.tat.max(u128::from(nanos) * self.requests) + self.interval;
    }
}

fn quotas() -> impl Strategy<Value = Quota> {
    let requests = prop_oneof![1_u64..=20, 1_u64..=10_000, 1_u64..=2_000_000_000];
    let period = prop_oneof![
        Just(Duration::from_secs(1)),
        Just(Duration::from_secs(60)),
        Just(Duration::from_secs(86_400)),
        (1_u64..1_000_000_000_000).prop_map(Duration::from_nanos),
    ];
    let burst = prop_oneof![Just(0_u64), 0_u64..20, 0_u64..1_000_000];
    (requests, period, burst).prop_map(|(requests, period, burst)| Quota::new(requests, period).with_burst(burst))
}

/// Steps of the clock, many of them near the interval, where the answers turn; some go back.
#[derive(Clone, Debug)]
enum Step {
    Stay,
    Nanos(u64),
    Intervals(u8),
    AsTold,
    JustBefore,
    Back(u64),
    Leap(u64),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        3 => Just(Step::Stay),
        2 => (1_u64..5).prop_map(Step::Nanos),
        2 => (1_u8..4).prop_map(Step::Intervals),
        4 => Just(Step::AsTold),
        3 => Just(Step::JustBefore),
        1 => (1_u64..1_000_000).prop_map(Step::Back),
        1 => (1_u64..1_000_000_000_000_000).prop_map(Step::Leap),
    ];
    prop::collection::vec(step, 1..120)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(192))]

    /// Who conforms passes; who passes conforms two nanoseconds later at the latest, and in the same nanosecond when
    /// the interval is a whole number of eighths or less.
    #[test]
    fn gcra_is_the_exact_bucket_to_the_nanosecond(quota in quotas(), start in 0_u64..1 << 58, steps in steps()) {
        let gcra = Gcra::new(&quota);
        let mut exact = Exact::new(&quota);
        let interval = (quota.period.as_nanos() as u64 / quota.requests.get()).max(1);
        let mut tat = Tat::FULL;
        let mut now = start;
        let mut told = 0;
        for step in steps {
            now = match step {
                Step::Stay => now,
                Step::Nanos(nanos) => now + nanos,
                Step::Intervals(count) => now.saturating_add(interval.saturating_mul(u64::from(count))),
                Step::AsTold => now + told,
                Step::JustBefore => now + told.saturating_sub(1),
                Step::Back(nanos) => now.saturating_sub(nanos),
                Step::Leap(nanos) => now + nanos,
            }
            .min(1 << 59);
            let (verdict, next) = gcra.decide(tat, Mono::from_nanos(now));
            match verdict {
                Verdict::Pass => {
                    prop_assert!(exact.conforms(now + 2), "passed early: {quota:?} at {now}");
                    exact.debit(now);
                    told = 0;
                }
                Verdict::Refuse { retry_after } => {
                    prop_assert!(!exact.conforms(now), "refused who conforms: {quota:?} at {now}");
                    prop_assert_eq!(next, tat);
                    told = (retry_after.as_nanos() as u64).min(1 << 57);
                    prop_assert!(told > 0);
                }
            }
            tat = next;
        }
    }

    /// Whole nanoseconds: the verdicts are the exact bucket's, one by one.
    #[test]
    fn intervals_of_whole_nanoseconds_are_exact(
        interval in 1_u64..100_000,
        burst in 0_u64..10,
        gaps in prop::collection::vec(0_u64..200_000, 1..200),
    ) {
        let quota = Quota::new(1, Duration::from_nanos(interval)).with_burst(burst);
        let gcra = Gcra::new(&quota);
        let mut exact = Exact::new(&quota);
        let (mut tat, mut now) = (Tat::FULL, 1_u64 << 57);
        for gap in gaps {
            now += gap;
            let (verdict, next) = gcra.decide(tat, Mono::from_nanos(now));
            prop_assert_eq!(verdict.is_pass(), exact.conforms(now));
            if verdict.is_pass() {
                exact.debit(now);
            }
            tat = next;
        }
    }

    /// In any stretch of time no more pass than the burst, one, and what the rate gives.
    #[test]
    fn a_greedy_client_gets_the_rate_and_no_more(quota in quotas(), start in 0_u64..1 << 58) {
        let gcra = Gcra::new(&quota);
        let at_once = gcra.remaining(Tat::FULL, Mono::from_nanos(start));
        prop_assert_eq!(at_once, quota.burst + 1);
        // A state that is `burst + 1` requests ahead, as if they had passed just now.
        let full_debt = gcra.carry_over(&gcra, Tat::FULL, Mono::from_nanos(start));
        prop_assert_eq!(full_debt, Tat::FULL);
        let mut tat = Tat::FULL;
        let (mut now, mut passed) = (start, 0_u128);
        for _ in 0..200 {
            match gcra.decide(tat, Mono::from_nanos(now)) {
                (Verdict::Pass, next) => (tat, passed) = (next, passed + 1),
                (Verdict::Refuse { retry_after }, _) => {
                    now = now.saturating_add(retry_after.as_nanos() as u64).min(1 << 59);
                    let given = u128::from(now + 2 - start) * u128::from(quota.requests.get())
                        / quota.period.as_nanos().max(u128::from(quota.requests.get()));
                    prop_assert!(passed <= u128::from(quota.burst) + 1 + given);
                }
            }
        }
    }
}
