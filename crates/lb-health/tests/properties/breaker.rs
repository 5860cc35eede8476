//! What must hold of a breaker whatever happens to it.

use lb_core::Mono;
use lb_health::{Admission, Breaker, BreakerChange, BreakerConfig, BreakerState};
use proptest::prelude::*;

#[derive(Clone, Debug)]
enum Event {
    Admit,
    Result(usize, bool),
    Cancel(usize),
    Wait(u64),
    Timer,
}

fn events() -> impl Strategy<Value = Vec<Event>> {
    let event = prop_oneof![
        6 => Just(Event::Admit),
        6 => (any::<usize>(), prop::bool::weighted(0.4)).prop_map(|(which, success)| Event::Result(which, success)),
        1 => any::<usize>().prop_map(Event::Cancel),
        1 => (1_u64..3_000).prop_map(Event::Wait),
        2 => Just(Event::Timer),
    ];
    prop::collection::vec(event, 1..400)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    /// States follow the drawing; open admits nobody; half-open never has more probes out than it may; and once
    /// nothing is under way and its deadlines are kept, success closes it.
    #[test]
    fn it_follows_its_drawing(
        probes in 1_u32..4,
        consecutive in 0_u32..5,
        entropy in any::<u64>(),
        events in events(),
    ) {
        let config = BreakerConfig { probes, consecutive, min_requests: 5, ..BreakerConfig::default() };
        let mut breaker = Breaker::new(config);
        let mut out: Vec<(Admission, BreakerState)> = Vec::new();
        let mut ms = 0;
        for event in events {
            let (before, now) = (breaker.state(), Mono::from_millis(ms));
            let change = match event {
                Event::Wait(wait) => { ms += wait; None }
                Event::Timer => breaker.on_timer(now),
                Event::Admit => {
                    let admission = breaker.try_admit(now);
                    prop_assert!(before != BreakerState::Open || admission.is_none());
                    prop_assert!(before != BreakerState::Closed || admission.is_some());
                    out.extend(admission.map(|admission| (admission, before)));
                    None
                }
                Event::Result(..) | Event::Cancel(_) if out.is_empty() => None,
                Event::Result(which, success) => {
                    let (admission, _) = out.swap_remove(which % out.len());
                    breaker.on_result(admission, success, now, entropy)
                }
                Event::Cancel(which) => {
                    let (admission, _) = out.swap_remove(which % out.len());
                    breaker.on_cancelled(admission);
                    None
                }
            };
            let after = breaker.state();
            let is_drawn = match change {
                None => after == before,
                Some(BreakerChange::Opened { until }) => {
                    before != BreakerState::Open && after == BreakerState::Open && until > now
                }
                Some(BreakerChange::HalfOpened) => before == BreakerState::Open && after == BreakerState::HalfOpen,
                Some(BreakerChange::Closed) => before == BreakerState::HalfOpen && after == BreakerState::Closed,
            };
            prop_assert!(is_drawn, "{before:?} {change:?} {after:?}");
        }
        let now = Mono::from_millis(ms + 1_000_000);
        let _ = breaker.on_timer(now);
        for _ in 0..2 * probes {
            if let Some(admission) = breaker.try_admit(now) {
                let _ = breaker.on_result(admission, true, now, entropy);
            }
        }
        prop_assert_eq!(breaker.state(), BreakerState::Closed);
    }
}
