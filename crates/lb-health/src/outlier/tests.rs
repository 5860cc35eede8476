use std::num::NonZeroU16;

use super::*;

/// Envoy's times.
fn long() -> Ejection {
    let growth = Growth::Linear { max: Duration::from_secs(300), forgive: Duration::from_secs(30) };
    Ejection { eject_for: Duration::from_secs(30), growth, ..Ejection::default() }
}

fn at(seconds: u64) -> Mono {
    Mono::from_millis(seconds * 1_000)
}

fn roomy() -> EjectionCap {
    let cap = EjectionCap::default();
    cap.set_members(10, 10);
    cap
}

fn rule(failures: u16) -> Ejection {
    Ejection { failures: NonZeroU16::new(failures).unwrap(), ..long() }
}

#[test]
fn three_failures_in_thirty_seconds_eject_for_thirty() {
    let (outlier, cap) = (Outlier::new(long()), roomy());
    assert_eq!(outlier.on_failure(at(0), at(0), 0, &cap), OnFailure::Nothing);
    assert_eq!(outlier.on_failure(at(10), at(10), 0, &cap), OnFailure::Nothing);
    assert_eq!(outlier.on_failure(at(30), at(30), 0, &cap), OnFailure::Ejected { until: at(60) });
    assert!(outlier.is_ejected());
    assert_eq!(outlier.next_deadline(), Some(at(60)));
    assert_eq!(cap.ejected(), 1);
    assert!(!outlier.on_timer(at(59), &cap));
    assert!(outlier.on_timer(at(60), &cap));
    assert!(!outlier.on_timer(at(61), &cap), "told once");
    assert_eq!((cap.ejected(), outlier.next_deadline()), (0, None));
}

#[test]
fn failures_further_apart_than_the_window_do_not_add_up() {
    let (outlier, cap) = (Outlier::new(long()), roomy());
    for step in 0..100 {
        // Any three of them span 32 s.
        assert_eq!(outlier.on_failure(at(step * 16), at(step * 16), 0, &cap), OnFailure::Nothing, "step {step}");
    }
    assert!(
        matches!(outlier.on_failure(at(99 * 16 + 14), at(99 * 16 + 14), 0, &cap), OnFailure::Ejected { .. }),
        "the last three span 30 s"
    );
}

#[test]
fn one_failure_ejects_if_one_is_enough() {
    let (outlier, cap) = (Outlier::new(rule(1)), roomy());
    assert_eq!(outlier.on_failure(Mono::ZERO, Mono::ZERO, 0, &cap), OnFailure::Ejected { until: at(30) });
}

#[test]
fn after_readmission_it_starts_with_a_clean_record() {
    let (outlier, cap) = (Outlier::new(Ejection { eject_for: Duration::from_secs(1), ..rule(3) }), roomy());
    for _ in 0..3 {
        let _ = outlier.on_failure(at(5), at(5), 0, &cap);
    }
    for _ in 0..10 {
        assert_eq!(outlier.on_failure(at(5), at(5), 0, &cap), OnFailure::Nothing, "stragglers count for nothing");
    }
    assert!(outlier.on_timer(at(6), &cap));
    assert_eq!([(); 3].map(|()| outlier.on_success(at(6))), [false, false, true]);
    assert_eq!(outlier.on_failure(at(6), at(6), 0, &cap), OnFailure::Nothing);
    assert_eq!(outlier.on_failure(at(6), at(6), 0, &cap), OnFailure::Nothing);
    assert!(matches!(outlier.on_failure(at(6), at(6), 0, &cap), OnFailure::Ejected { .. }));
}

#[test]
fn failures_of_requests_older_than_the_readmission_do_not_eject_again() {
    let constant = Ejection { eject_for: Duration::from_secs(2), growth: Growth::Constant, ..rule(1) };
    let (outlier, cap) = (Outlier::new(constant), roomy());
    assert_eq!(outlier.on_failure(at(0), at(3), 0, &cap), OnFailure::Ejected { until: at(5) });
    assert!(outlier.on_timer(at(5), &cap));
    // It hung until 3.5 s; what was sent at 2.5 s fails at 5.5 s.
    let hung = Mono::from_millis(2_500);
    assert_eq!(outlier.on_failure(hung, Mono::from_millis(5_500), 0, &cap), OnFailure::Nothing);
    assert_eq!(outlier.on_failure(Mono::from_millis(4_999), at(8), 0, &cap), OnFailure::Nothing);
    assert_eq!(outlier.on_failure(at(5), at(8), 0, &cap), OnFailure::Ejected { until: at(10) });
}

#[test]
fn the_last_endpoint_is_not_ejected_but_is_as_soon_as_another_is_back() {
    let cap = EjectionCap::default();
    cap.set_members(2, 2);
    let (a, b) = (Outlier::new(rule(1)), Outlier::new(rule(1)));
    assert!(matches!(a.on_failure(at(0), at(0), 0, &cap), OnFailure::Ejected { .. }));
    assert_eq!(b.on_failure(at(1), at(1), 0, &cap), OnFailure::Capped);
    assert!(!b.is_ejected());
    assert!(a.on_timer(at(30), &cap));
    assert!(matches!(b.on_failure(at(31), at(31), 0, &cap), OnFailure::Ejected { .. }));
}

#[test]
fn an_ejection_can_be_lifted_early() {
    let (outlier, cap) = (Outlier::new(rule(1)), roomy());
    assert!(!outlier.lift(at(0), &cap), "there is none");
    let _ = outlier.on_failure(at(0), at(0), 0, &cap);
    assert!(outlier.lift(at(1), &cap));
    assert_eq!(cap.ejected(), 0);
    assert!(!outlier.on_timer(at(99), &cap));
}

#[test]
fn an_ejection_can_be_shortened_and_not_lengthened() {
    let (outlier, cap) = (Outlier::new(rule(1)), roomy());
    let within = |seconds| Ejection { eject_for: Duration::from_secs(seconds), ..rule(1) };
    outlier.shorten(&within(1), at(0));
    assert_eq!(outlier.next_deadline(), None, "there is none");
    let _ = outlier.on_failure(at(0), at(0), 0, &cap);
    outlier.shorten(&within(31), at(0));
    assert_eq!(outlier.next_deadline(), Some(at(30)));
    outlier.shorten(&within(5), at(0));
    assert!(!outlier.on_timer(at(4), &cap));
    assert!(outlier.on_timer(at(5), &cap));
    assert_eq!(cap.ejected(), 0);
}

#[test]
fn repeated_ejections_grow_and_are_forgiven_with_time() {
    let growth = Growth::Linear { max: Duration::from_secs(70), forgive: Duration::from_secs(10) };
    let (outlier, cap) = (Outlier::new(Ejection { growth, ..rule(1) }), roomy());
    let mut now = at(1_000);
    for expected in [30, 45, 60, 70] {
        let until = now.saturating_add(Duration::from_secs(expected));
        assert_eq!(outlier.on_failure(now, now, 0, &cap), OnFailure::Ejected { until });
        assert!(outlier.on_timer(until, &cap));
        assert_eq!([(); 3].map(|()| outlier.on_success(until)), [false, false, true]);
        now = until.saturating_add(Duration::from_secs(1));
    }
    assert_eq!(outlier.ejections_on_record(), 4);
    // 25 seconds in traffic take two of four off; this is the third again.
    now = now.saturating_add(Duration::from_secs(24));
    assert_eq!(
        outlier.on_failure(now, now, 0, &cap),
        OnFailure::Ejected { until: now.saturating_add(Duration::from_secs(60)) }
    );
    assert_eq!(outlier.ejections_on_record(), 3);
    assert!(outlier.lift(now, &cap));
    let much_later = now.saturating_add(Duration::from_secs(1_000));
    let until = much_later.saturating_add(Duration::from_secs(30));
    assert_eq!(outlier.on_failure(much_later, much_later, 0, &cap), OnFailure::Ejected { until });
}

#[test]
fn time_that_stands_still_or_goes_back_keeps_what_there_was() {
    let (outlier, cap) = (Outlier::new(rule(3)), roomy());
    assert_eq!(outlier.on_failure(at(100), at(100), 0, &cap), OnFailure::Nothing);
    assert_eq!(outlier.on_failure(at(20), at(20), 0, &cap), OnFailure::Nothing);
    assert_eq!(outlier.on_failure(at(20), at(20), 0, &cap), OnFailure::Ejected { until: at(50) });
    assert!(!outlier.on_timer(at(10), &cap));
    assert!(outlier.on_timer(at(50), &cap));
}

#[test]
fn extreme_rules_do_not_overflow() {
    let forever = Ejection {
        window: Duration::MAX,
        eject_for: Duration::MAX,
        growth: Growth::Linear { max: Duration::ZERO, forgive: Duration::ZERO },
        ..rule(2)
    };
    let (outlier, cap) = (Outlier::new(forever), roomy());
    assert_eq!(outlier.on_failure(Mono::ZERO, Mono::ZERO, 0, &cap), OnFailure::Nothing);
    assert!(matches!(outlier.on_failure(Mono::MAX, Mono::MAX, 0, &cap), OnFailure::Ejected { .. }));
    assert!(!outlier.on_timer(at(1), &cap));
    let many = Outlier::new(rule(u16::MAX));
    assert!((1..u16::MAX).all(|_| many.on_failure(at(0), at(0), 0, &cap) == OnFailure::Nothing));
    assert!(matches!(many.on_failure(at(0), at(0), 0, &cap), OnFailure::Ejected { .. }));
    let no_window = Outlier::new(Ejection { window: Duration::ZERO, ..rule(2) });
    assert_eq!(no_window.on_failure(at(1), at(1), 0, &cap), OnFailure::Nothing);
    assert!(
        matches!(no_window.on_failure(at(1), at(1), 0, &cap), OnFailure::Ejected { .. }),
        "the same instant is within"
    );
}

#[test]
fn of_many_threads_one_is_told_and_the_cap_counts_one() {
    let (outlier, cap) = (Outlier::new(rule(5)), roomy());
    let told: usize = std::thread::scope(|scope| {
        let run = || (0..100).filter(|_| outlier.on_failure(at(7), at(7), 0, &cap) != OnFailure::Nothing).count();
        let workers: Vec<_> = (0..4).map(|_| scope.spawn(run)).collect();
        workers.into_iter().map(|worker| worker.join().unwrap()).sum()
    });
    assert_eq!((told, cap.ejected()), (1, 1));
}

#[test]
fn on_probation_one_failure_ejects_again_and_three_successes_are_enough() {
    let (outlier, cap) = (Outlier::new(rule(3)), roomy());
    for _ in 0..3 {
        let _ = outlier.on_failure(at(0), at(0), 0, &cap);
    }
    assert!(outlier.on_timer(at(30), &cap) && outlier.is_on_probation());
    assert!(!outlier.on_success(at(29)), "sent before it came back");
    assert_eq!(outlier.on_failure(at(30), at(30), 0, &cap), OnFailure::Ejected { until: at(60) });
    assert_eq!(outlier.ejections_on_record(), 1, "a trial that fails is no flap");
    assert!(outlier.on_timer(at(60), &cap));
    assert!(!outlier.on_success(at(60)) && !outlier.on_success(at(60)) && outlier.is_on_probation());
    assert!(outlier.on_success(at(60)) && !outlier.on_success(at(60)), "reported once");
    assert!(!outlier.is_on_probation());
    assert_eq!(outlier.on_failure(at(61), at(61), 0, &cap), OnFailure::Nothing);
}

#[test]
fn trials_that_fail_are_an_eighth_of_the_outage_apart() {
    let (outlier, cap) = (Outlier::new(rule(1)), roomy());
    let mut now = at(1_000);
    // 30 s while the outage is below four minutes; then an eighth of it, and 300 s at most.
    let mut waits = Vec::new();
    while waits.len() < 40 {
        let OnFailure::Ejected { until } = outlier.on_failure(now, now, 0, &cap) else { panic!("it fails") };
        waits.push(until.saturating_since(now).as_secs());
        assert!(outlier.on_timer(until, &cap));
        now = until;
    }
    assert_eq!(waits[..11], [30, 30, 30, 30, 30, 30, 30, 30, 30, 33, 37], "30 from 240 s on: 270 / 8, 303.75 / 8, …");
    assert_eq!(waits.last(), Some(&300));
}

#[test]
fn a_check_that_began_after_the_ejection_and_passed_ends_it() {
    let (outlier, cap) = (Outlier::new(rule(1)), roomy());
    assert!(!outlier.on_check_passed(at(0), at(0), &cap), "there is none");
    let _ = outlier.on_failure(at(9), at(10), 0, &cap);
    assert!(!outlier.on_check_passed(at(10), at(11), &cap), "it may have been answered before the failure");
    assert!(outlier.on_check_passed(Mono::from_millis(10_001), at(11), &cap));
    assert!(!outlier.is_ejected() && outlier.is_on_probation());
    assert_eq!(cap.ejected(), 0);
}

#[test]
fn checks_that_do_not_see_the_fault_end_no_more_ejections() {
    let (outlier, cap) = (Outlier::new(rule(1)), roomy());
    let fails = |now| matches!(outlier.on_failure(now, now, 0, &cap), OnFailure::Ejected { .. });
    assert!(fails(at(0)) && outlier.on_check_passed(at(1), at(1), &cap));
    assert!(fails(at(2)));
    assert!(!outlier.on_check_passed(at(3), at(3), &cap), "the last one passed, and traffic failed");
    outlier.on_check_failed();
    assert!(outlier.on_check_passed(at(5), at(5), &cap), "now checks have seen it");
    assert!(fails(at(6)) && !outlier.on_check_passed(at(7), at(7), &cap));
    assert!(outlier.on_timer(at(1_000), &cap) && fails(at(1_001)));
    assert!(!outlier.on_check_passed(at(1_002), at(1_002), &cap), "not yet well for a window");
    assert!(outlier.on_timer(at(2_000), &cap) && fails(at(2_031)));
    assert!(outlier.on_check_passed(at(2_032), at(2_032), &cap));
}

#[test]
fn no_ejection_is_shorter_than_the_failure_took_or_longer_than_the_longest() {
    let (outlier, cap) = (Outlier::new(rule(1)), roomy());
    assert_eq!(outlier.on_failure(at(0), at(60), 0, &cap), OnFailure::Ejected { until: at(120) });
    assert!(outlier.on_timer(at(120), &cap));
    assert_eq!(outlier.on_failure(at(120), at(10_000), 0, &cap), OnFailure::Ejected { until: at(10_300) });
}

#[test]
fn ejections_are_longer_by_chance_within_their_share() {
    let until = |entropy| {
        let outlier = Outlier::new(rule(1));
        match outlier.on_failure(at(0), at(0), entropy, &roomy()) {
            OnFailure::Ejected { until } => until.as_millis(),
            other => panic!("{other:?}"),
        }
    };
    assert_eq!([until(0), until(1 << 63), until(u64::MAX)], [30_000, 31_500, 32_999]);
}
