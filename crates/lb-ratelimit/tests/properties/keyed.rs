//! The keyed table against a map of single buckets that never forgets.

use std::collections::HashMap;
use std::time::Duration;

use lb_core::Mono;
use lb_ratelimit::{Keyed, Limiter, Quota};
use proptest::prelude::*;

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    /// Where nothing live was evicted, the table is the map; where something was, it differs only towards passing.
    #[test]
    fn the_table_differs_from_a_map_only_by_what_it_counts_as_evicted(
        memory in 192_usize..8_192,
        requests in 1_u64..50,
        burst in 0_u64..4,
        events in prop::collection::vec((0_u16..300, 0_u64..40), 1..1_500),
    ) {
        let quota = Quota::per_second(requests).with_burst(burst);
        let table = Keyed::new(quota, memory, [1, 2]);
        let mut map = HashMap::new();
        let mut now = Mono::from_millis(5);
        let mut extra = 0;
        for (key, wait) in events {
            now = now.saturating_add(Duration::from_millis(wait));
            let expected = map.entry(key).or_insert_with(|| Limiter::new(&quota)).check(now);
            let answer = table.check(&key.to_be_bytes(), now);
            if table.evicted_live() == 0 {
                prop_assert_eq!(answer, expected);
            }
            if answer.is_pass() && !expected.is_pass() {
                extra += 1;
            }
        }
        prop_assert!(extra <= table.evicted_live() * (burst + 1), "{extra} too many for {}", table.evicted_live());
    }
}
