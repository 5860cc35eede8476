//! Outlier detection against a list of all failures.

use std::num::NonZeroU16;
use std::time::Duration;

use lb_core::Mono;
use lb_health::{Ejection, EjectionCap, Growth, OnFailure, Outlier};
use proptest::prelude::*;

proptest! {
    #![proptest_config(ProptestConfig::with_cases(192))]

    /// It ejects exactly when the list holds enough failures within the window, however many came before, of requests no
    /// older than the last readmission.
    #[test]
    fn it_ejects_exactly_when_the_window_holds_enough(
        failures in 1_u16..8,
        window_ms in 0_u64..5_000,
        eject_ms in 1_u64..5_000,
        gaps in prop::collection::vec((0_u64..2_000, 0_u64..3_000), 1..300),
    ) {
        let rule = Ejection {
            failures: NonZeroU16::new(failures).unwrap(),
            window: Duration::from_millis(window_ms),
            eject_for: Duration::from_millis(eject_ms),
            growth: Growth::Constant,
            jitter_percent: 0,
        };
        let (outlier, cap) = (Outlier::new(rule), EjectionCap::default());
        cap.set_members(2, 2);
        let mut list: Vec<u64> = Vec::new();
        let mut ejected_until = None;
        let mut back = 0;
        let mut ms = 0;
        for (gap, age) in gaps {
            ms += gap;
            let now = Mono::from_millis(ms);
            let over = ejected_until.is_some_and(|until| until <= ms);
            prop_assert_eq!(outlier.on_timer(now, &cap), over);
            if over {
                ejected_until = None;
                list.clear();
                back = ms;
                prop_assert_eq!([(); 3].map(|()| outlier.on_success(now)), [false, false, true]);
            }
            let started = ms.saturating_sub(age);
            let answer = outlier.on_failure(Mono::from_millis(started), now, 0, &cap);
            if ejected_until.is_some() || started < back {
                prop_assert_eq!(answer, OnFailure::Nothing);
                continue;
            }
            list.push(ms);
            if list.iter().filter(|at| ms - **at <= window_ms).count() >= usize::from(failures) {
                ejected_until = Some(ms + eject_ms);
                prop_assert_eq!(answer, OnFailure::Ejected { until: Mono::from_millis(ms + eject_ms) });
            } else {
                prop_assert_eq!(answer, OnFailure::Nothing);
            }
            prop_assert_eq!(cap.ejected(), u32::from(ejected_until.is_some()));
        }
    }
}
