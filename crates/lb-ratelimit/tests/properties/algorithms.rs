//! What every rule promises, and what the exact ones promise in any window.

use std::time::Duration;

use lb_core::Mono;
use lb_ratelimit::{Algorithm, FixedWindow, Gcra, LeakyBucket, Quota, SlidingLog, SlidingWindow};
use proptest::prelude::*;

/// Waits in milliseconds, some of them back, and costs.
fn events() -> impl Strategy<Value = Vec<(i64, u64)>> {
    let wait = prop_oneof![4 => Just(0_i64), 4 => 0_i64..400, 2 => 400_i64..5_000, 1 => -3_000_i64..0];
    let cost = prop_oneof![6 => Just(1_u64), 1 => 0_u64..6, 1 => Just(u64::MAX)];
    prop::collection::vec((wait, cost), 1..150)
}

/// Times in milliseconds, and what was admitted at each.
type Admitted = Vec<(u64, u64)>;

/// Runs a rule, and checks what all promise. Returns what was admitted by the time of its event, and by the latest time before it.
fn run<A: Algorithm>(rule: &A, events: &[(i64, u64)]) -> Result<(Admitted, Admitted), TestCaseError>
where
    A::State: PartialEq + std::fmt::Debug,
{
    let (mut state, mut ms, mut latest) = (A::State::default(), 1_000_000_u64, 0);
    let (mut admitted, mut at_latest) = (Vec::new(), Vec::new());
    for (wait, cost) in events {
        ms = ms.saturating_add_signed(*wait);
        latest = latest.max(ms);
        let now = Mono::from_millis(ms);
        let expected = rule.peek(&state, *cost, now);
        let (decision, next) = rule.charge(state, *cost, now);
        prop_assert_eq!(decision, expected, "a peek is what a charge answers");
        match decision.retry_after() {
            None if *cost > 0 => {
                admitted.push((ms, *cost));
                at_latest.push((latest, *cost));
            }
            None => {}
            Some(Duration::MAX) => prop_assert!(*cost > 1 || decision.remaining == 0),
            Some(wait) => {
                prop_assert!(wait > Duration::ZERO && *cost > decision.remaining);
                prop_assert!(rule.peek(&next, *cost, now.saturating_add(wait)).is_pass(), "{wait:?} is enough");
                let early = now.saturating_add(wait - Duration::from_nanos(1));
                prop_assert!(!rule.peek(&next, *cost, early).is_pass(), "{wait:?} is no more than needed");
            }
        }
        let left = decision.remaining;
        prop_assert!(left == 0 || rule.peek(&next, left, now).is_pass(), "{left} are left");
        prop_assert!(!rule.peek(&next, left.saturating_add(1), now).is_pass(), "no more than {left} are left");
        let whole = rule.peek(&next, 0, now.saturating_add(decision.reset)).remaining;
        prop_assert_eq!(whole, rule.peek(&A::State::default(), 0, now).remaining, "whole again after the reset");
        if decision.is_pass() && *cost > 0 && *wait >= 0 {
            let refunded = rule.refund(next.clone(), *cost, now);
            prop_assert!(rule.peek(&refunded, *cost, now).is_pass(), "what is given back can be used again");
        }
        state = next;
    }
    Ok((forward(&admitted), at_latest))
}

/// As if the clock had never gone back.
fn forward(admitted: &[(u64, u64)]) -> Vec<(u64, u64)> {
    let mut latest = 0;
    let times = admitted.iter().map(|(ms, cost)| {
        latest = latest.max(*ms);
        (latest, *cost)
    });
    times.collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn a_token_bucket_admits_its_burst_and_what_the_rate_gives(
        requests in 1_u64..20, burst in 0_u64..8, events in events(),
    ) {
        let (admitted, _) = run(&Gcra::new(&Quota::per_second(requests).with_burst(burst)), &events)?;
        for (first, (start, _)) in admitted.iter().enumerate() {
            let mut sum = 0;
            for (ms, cost) in &admitted[first..] {
                sum += cost;
                prop_assert!(sum <= burst + 1 + (ms - start) * requests / 1_000, "{sum} from {start} to {ms}");
            }
        }
    }

    #[test]
    fn a_sliding_log_never_admits_more_than_its_limit_in_any_period(limit in 0_u64..8, events in events()) {
        let (_, admitted) = run(&SlidingLog::new(limit, Duration::from_secs(1)), &events)?;
        for (start, _) in &admitted {
            let within = admitted.iter().filter(|(ms, _)| (*start..start + 1_000).contains(ms));
            prop_assert!(within.map(|(_, cost)| cost).sum::<u64>() <= limit);
        }
    }

    #[test]
    fn a_fixed_window_never_admits_more_than_its_limit_in_one(limit in 0_u64..8, events in events()) {
        let (_, admitted) = run(&FixedWindow::new(limit, Duration::from_secs(1)), &events)?;
        for (start, _) in &admitted {
            let within = admitted.iter().filter(|(ms, _)| ms / 1_000 == start / 1_000);
            prop_assert!(within.map(|(_, cost)| cost).sum::<u64>() <= limit);
        }
    }

    #[test]
    fn a_sliding_window_never_admits_twice_its_limit_in_any_period(limit in 0_u64..8, events in events()) {
        let (admitted, _) = run(&SlidingWindow::new(limit, Duration::from_secs(1)), &events)?;
        for (start, _) in &admitted {
            let within = admitted.iter().filter(|(ms, _)| (*start..start + 1_000).contains(ms));
            prop_assert!(within.map(|(_, cost)| cost).sum::<u64>() <= 2 * limit);
        }
    }

    #[test]
    fn a_leaky_bucket_admits_its_burst_and_what_leaks(requests in 1_u64..20, burst in 0_u64..8, events in events()) {
        // Time that goes back by more than a minute counts as a millisecond there, which these do not.
        let (admitted, _) = run(&LeakyBucket::new(requests, 1, burst), &events)?;
        for (first, (start, _)) in admitted.iter().enumerate() {
            let mut sum = 0;
            for (ms, cost) in &admitted[first..] {
                sum += cost;
                prop_assert!((sum - 1) * 1_000 <= burst * 1_000 + (ms - start) * requests, "{sum} from {start} to {ms}");
            }
        }
    }
}
