//! Outlier detection against a list of all failures.

use std::num::NonZeroU16;
use std::time::Duration;

use lb_core::Mono;
use lb_health::{Ejection, EjectionCap, OnFailure, Outlier};
use proptest::prelude::*;

proptest! {
    #![proptest_config(ProptestConfig::with_cases(192))]

    /// It ejects exactly when the list holds enough failures within the window, however many came before.
    #[test]
    fn it_ejects_exactly_when_the_window_holds_enough(
        failures in 1_u16..8,
        window_ms in 0_u64..5_000,
        eject_ms in 1_u64..5_000,
        gaps in prop::collection::vec(0_u64..2_000, 1..300),
    ) {
        let rule = Ejection {
            failures: NonZeroU16::new(failures).unwrap(),
            window: Duration::from_millis(window_ms),
            eject_for: Duration::from_millis(eject_ms),
            ..Ejection::default()
        };
        let (outlier, cap) = (Outlier::new(rule), EjectionCap::default());
        cap.set_members(2, 2);
        let mut list: Vec<u64> = Vec::new();
        let mut ejected_until = None;
        let mut ms = 0;
        for gap in gaps {
            ms += gap;
            let now = Mono::from_millis(ms);
            let over = ejected_until.is_some_and(|until| until <= ms);
            prop_assert_eq!(outlier.on_timer(now, &cap), over);
            if over {
                ejected_until = None;
                list.clear();
            }
            let answer = outlier.on_failure(now, now, 0, &cap);
            if ejected_until.is_some() {
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
