//! The window against a list of all results.

use std::time::Duration;

use lb_core::Mono;
use lb_health::{Counts, Window};
use proptest::prelude::*;

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    /// It counts the ten tenths that end with the running one.
    #[test]
    fn the_window_is_the_list(
        tenth_ms in 1_u64..500,
        results in prop::collection::vec((0_u64..2_000, any::<bool>()), 1..300),
    ) {
        let mut window = Window::new(Duration::from_millis(tenth_ms * 10));
        let mut list = Vec::new();
        let mut ms = 0;
        for (gap, success) in results {
            ms += gap;
            window.on_result(success, Mono::from_millis(ms));
            list.push((ms / tenth_ms, success));
            let within = list.iter().copied().filter(|(tenth, _)| tenth + 9 >= ms / tenth_ms);
            let (successes, failures): (Vec<_>, Vec<_>) = within.partition(|(_, success)| *success);
            let expected = Counts { successes: successes.len() as u64, failures: failures.len() as u64 };
            prop_assert_eq!(window.counts(Mono::from_millis(ms)), expected);
        }
    }
}
