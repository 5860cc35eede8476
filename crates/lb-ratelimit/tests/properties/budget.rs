//! The retry budget against a list of every event.

use lb_core::Mono;
use lb_ratelimit::{Ratio, RetryBudget};
use proptest::prelude::*;

#[derive(Clone, Debug)]
enum Event {
    Requests(u16),
    Retries(u16),
    Refund,
    Wait(u64),
    Back(u64),
}

fn events() -> impl Strategy<Value = Vec<Event>> {
    let event = prop_oneof![
        4 => (1_u16..200).prop_map(Event::Requests),
        4 => (1_u16..200).prop_map(Event::Retries),
        1 => Just(Event::Refund),
        3 => (1_u64..15_000).prop_map(Event::Wait),
    ];
    prop::collection::vec(event, 1..150)
}

/// Counts of the ten one-second slots up to `slot`.
fn in_window(list: &[u64], slot: u64) -> u64 {
    list.iter().filter(|at| **at <= slot && **at + 9 >= slot).count() as u64
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Each answer is that of the definition.
    #[test]
    fn the_budget_is_the_definition(percent in 0_u16..150, floor in 0_u32..5, events in events()) {
        let budget = RetryBudget::new(Ratio::percent(percent), floor);
        let (mut requests, mut retries) = (Vec::new(), Vec::new());
        let mut ms = 0;
        for event in events {
            let (now, slot) = (Mono::from_millis(ms), ms / 1_000);
            match event {
                Event::Wait(wait) => ms += wait,
                Event::Back(_) => unreachable!("not generated here"),
                Event::Requests(count) => for _ in 0..count {
                    budget.on_request(now);
                    requests.push(slot);
                },
                Event::Refund => {
                    budget.refund(now);
                    if retries.last().is_some_and(|at| at + 9 >= slot) {
                        retries.pop();
                    }
                }
                Event::Retries(count) => for _ in 0..count {
                    let share = in_window(&requests, slot) * u64::from(percent) / 100;
                    let allowed = share.max(u64::from(floor) * 10);
                    let expected = in_window(&retries, slot) < allowed;
                    prop_assert_eq!(budget.try_retry(now), expected);
                    if expected {
                        retries.push(slot);
                    }
                },
            }
        }
    }

    /// However time runs, back included, retries stay below their share of all requests plus the floor of as many
    /// windows as have passed.
    #[test]
    fn amplification_is_bounded(
        percent in 0_u16..100,
        floor in 0_u32..3,
        events in prop::collection::vec(
            prop_oneof![
                (1_u16..200).prop_map(Event::Requests),
                (1_u16..300).prop_map(Event::Retries),
                (1_u64..5_000).prop_map(Event::Wait),
                (1_u64..2_000).prop_map(Event::Back),
            ],
            1..150,
        ),
    ) {
        let budget = RetryBudget::new(Ratio::percent(percent), floor);
        let (mut requests, mut granted, mut latest) = (0_u64, 0_u64, 0);
        let mut ms: u64 = 100_000;
        let start = ms / 1_000;
        for event in events {
            match event {
                Event::Wait(wait) => ms += wait,
                Event::Back(back) => ms = ms.saturating_sub(back).max(start * 1_000),
                Event::Refund => {}
                Event::Requests(count) => for _ in 0..count {
                    budget.on_request(Mono::from_millis(ms));
                    requests += 1;
                },
                Event::Retries(count) => for _ in 0..count {
                    granted += u64::from(budget.try_retry(Mono::from_millis(ms)));
                },
            }
            latest = latest.max(ms / 1_000);
            let windows = (latest - start) / 10 + 1;
            let most = requests * u64::from(percent) / 100 + windows * u64::from(floor) * 10;
            prop_assert!(granted <= most, "{granted} retries of {requests} requests in {windows} windows");
        }
    }
}
