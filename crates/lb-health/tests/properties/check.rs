//! Rise and fall against a look at the last results.

use lb_health::{Initial, RiseFall, Thresholds, Transition};
use proptest::prelude::*;

proptest! {
    #![proptest_config(ProptestConfig::with_cases(192))]

    /// It turns exactly when the last `rise` or `fall` results agree, and tells each turn once.
    #[test]
    fn the_state_turns_with_the_last_results(
        rise in 1_u16..6,
        fall in 1_u16..6,
        results in prop::collection::vec(prop::bool::weighted(0.6), 0..200),
    ) {
        let mut machine = RiseFall::new(Thresholds::new(rise, fall), Initial::FullyUp);
        let mut up = true;
        for (count, passed) in results.iter().enumerate() {
            let seen = &results[..=count];
            let ends_with = |length: u16, value: bool| {
                let last = seen.len().checked_sub(usize::from(length)).map(|first| &seen[first..]);
                last.is_some_and(|last| last.iter().all(|result| *result == value))
            };
            let expected = if up && ends_with(fall, false) {
                Some(Transition::Down)
            } else if !up && ends_with(rise, true) {
                Some(Transition::Up)
            } else {
                None
            };
            up = expected.map_or(up, |transition| transition == Transition::Up);
            prop_assert_eq!(machine.on_result(*passed), expected);
            prop_assert_eq!(machine.is_up(), up);
        }
    }
}
