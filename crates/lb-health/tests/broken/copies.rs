use lb_health::{Initial, RiseFall, Thresholds};

const RISE: usize = 2;
const FALL: usize = 3;

/// Whether it turns exactly when the last results agree, by every sequence of twelve: the first one by which it does not. `make` makes
/// one that is fully up and takes results; it tells whether it is up.
fn first_mistake<M: FnMut(bool) -> bool>(make: impl Fn() -> M) -> Option<String> {
    (0..1_u32 << 12).find_map(|bits| {
        let results: Vec<bool> = (0..12).map(|place| bits >> place & 1 == 1).collect();
        let (mut machine, mut is_up) = (make(), true);
        (1..=results.len()).find_map(|seen| {
            let seen = &results[..seen];
            let ends_with = |count: usize, passed: bool| {
                seen.len() >= count && seen[seen.len() - count..].iter().all(|&result| result == passed)
            };
            is_up = if is_up { !ends_with(FALL, false) } else { ends_with(RISE, true) };
            let said = machine(seen[seen.len() - 1]);
            (said != is_up).then(|| format!("after {seen:?} up is {said}"))
        })
    })
}

#[test]
fn none_in_ours() {
    let make = || {
        let mut machine = RiseFall::new(Thresholds::new(RISE as u16, FALL as u16), Initial::FullyUp);
        move |passed| {
            let _ = machine.on_result(passed);
            machine.is_up()
        }
    };
    assert_eq!(first_mistake(make), None);
}

#[test]
fn caddy_results_that_do_not_follow_one_another() {
    // health_passes and health_fails (PR #7625): a result of the other kind does not start the count anew.
    let make = || {
        let (mut passes, mut fails, mut is_up) = (0, 0, true);
        move |passed| {
            if passed {
                passes += 1;
            } else {
                fails += 1;
            }
            if is_up && fails == FALL || !is_up && passes == RISE {
                (passes, fails, is_up) = (0, 0, !is_up);
            }
            is_up
        }
    };
    assert!(first_mistake(make).is_some());
}
