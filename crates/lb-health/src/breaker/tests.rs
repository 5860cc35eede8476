use super::*;

fn at(seconds: u64) -> Mono {
    Mono::from_millis(seconds * 1_000)
}

/// Admits and reports at once.
fn result(breaker: &mut Breaker, success: bool, now: Mono) -> Option<BreakerChange> {
    let admission = breaker.try_admit(now).expect("it admits");
    breaker.on_result(admission, success, now, 0)
}

/// The default with one probe.
fn one_probe() -> BreakerConfig {
    BreakerConfig { probes: 1, ..BreakerConfig::default() }
}

fn opened(config: BreakerConfig) -> Breaker {
    let mut breaker = Breaker::new(BreakerConfig { consecutive: 1, ..config });
    let until = at(10).saturating_add(config.wait);
    assert_eq!(result(&mut breaker, false, at(10)), Some(BreakerChange::Opened { until }));
    breaker
}

#[test]
fn failures_in_a_row_open_it_and_a_success_breaks_the_row() {
    let mut breaker = Breaker::new(BreakerConfig { min_requests: 1_000, ..BreakerConfig::default() });
    for round in 0..3 {
        for _ in 0..6 {
            assert_eq!(result(&mut breaker, false, at(round)), None);
        }
        assert_eq!(result(&mut breaker, true, at(round)), None);
    }
    for _ in 0..6 {
        assert_eq!(result(&mut breaker, false, at(5)), None);
    }
    assert_eq!(result(&mut breaker, false, at(5)), Some(BreakerChange::Opened { until: at(6) }));
    assert_eq!(breaker.state(), BreakerState::Open);
    assert!(breaker.try_admit(at(5)).is_none());
}

#[test]
fn half_of_twenty_requests_open_it_and_half_of_nineteen_do_not() {
    let mut breaker = Breaker::new(BreakerConfig::default());
    for _ in 0..10 {
        assert_eq!(result(&mut breaker, true, at(1)), None);
    }
    for step in 0..9 {
        // With a success now and then there is no row of seven.
        assert_eq!(result(&mut breaker, false, at(2)), None, "step {step}");
        if step == 4 {
            assert_eq!(result(&mut breaker, true, at(2)), None);
        }
    }
    // Eleven successes and nine failures: 45 %.
    assert_eq!(result(&mut breaker, false, at(2)), None);
    assert!(matches!(result(&mut breaker, false, at(2)), Some(BreakerChange::Opened { .. })), "eleven of 22");
}

#[test]
fn a_passed_probe_closes_it_with_a_clean_record() {
    let mut breaker = opened(one_probe());
    assert_eq!(breaker.next_deadline(), Some(at(11)));
    assert_eq!(breaker.on_timer(Mono::from_millis(10_999)), None);
    assert_eq!(breaker.on_timer(at(11)), Some(BreakerChange::HalfOpened));
    assert_eq!(breaker.on_timer(at(11)), None);
    assert_eq!(breaker.next_deadline(), None);
    let probe = breaker.try_admit(at(11)).unwrap();
    assert!(breaker.try_admit(at(11)).is_none(), "one probe");
    assert_eq!(breaker.on_result(probe, true, at(12), 0), Some(BreakerChange::Closed));
    assert_eq!(breaker.state(), BreakerState::Closed);
    assert_eq!(breaker.window.counts(at(12)).total(), 0);
}

#[test]
fn each_failed_test_doubles_the_wait_up_to_the_longest_and_closing_does_not_forget_it() {
    let mut breaker = opened(BreakerConfig { max_wait: Duration::from_secs(5), ..one_probe() });
    let test = |breaker: &mut Breaker, success| {
        let now = breaker.next_deadline().unwrap();
        assert_eq!(breaker.on_timer(now), Some(BreakerChange::HalfOpened));
        (now, result(breaker, success, now))
    };
    for expected in [2, 4, 5, 5] {
        let (now, change) = test(&mut breaker, false);
        assert_eq!(change, Some(BreakerChange::Opened { until: now.saturating_add(Duration::from_secs(expected)) }));
    }
    let (now, change) = test(&mut breaker, true);
    assert_eq!(change, Some(BreakerChange::Closed));
    let until = now.saturating_add(Duration::from_secs(5));
    assert_eq!(result(&mut breaker, false, now), Some(BreakerChange::Opened { until }), "as long as the last");
    let (now, _) = test(&mut breaker, true);
    // Six openings on record; 150 s take five off.
    let quiet = now.saturating_add(Duration::from_secs(150));
    let until = quiet.saturating_add(Duration::from_secs(2));
    assert_eq!(result(&mut breaker, false, quiet), Some(BreakerChange::Opened { until }));
}

#[test]
fn rounds_double_and_the_last_one_closes_it() {
    let mut breaker = opened(BreakerConfig::default());
    let _ = breaker.on_timer(at(11));
    for size in [1, 2, 4, 8] {
        let probes: Vec<_> = (0..20).filter_map(|_| breaker.try_admit(at(11))).collect();
        assert_eq!(probes.len(), size);
        let changes: Vec<_> =
            probes.into_iter().filter_map(|probe| breaker.on_result(probe, true, at(11), 0)).collect();
        assert_eq!(changes.len(), usize::from(size == 8), "{changes:?}");
    }
    assert_eq!(breaker.state(), BreakerState::Closed);
}

#[test]
fn a_round_bears_fewer_failures_than_open_it() {
    let mut breaker = opened(BreakerConfig::default());
    let _ = breaker.on_timer(at(11));
    for success in [true, true, true, false, true, true, true] {
        assert_eq!(result(&mut breaker, success, at(11)), None);
    }
    for success in [false, false, true, false] {
        assert_eq!(result(&mut breaker, success, at(11)), None, "three of eight");
    }
    assert!(matches!(result(&mut breaker, false, at(11)), Some(BreakerChange::Opened { .. })), "four of eight");
}

/// H14: two of three requests fail at 200 a second for two minutes.
#[test]
fn a_breaker_of_a_bad_endpoint_stays_open_most_of_the_time() {
    let mut breaker = Breaker::new(BreakerConfig { jitter_percent: 0, ..BreakerConfig::default() });
    let (mut random, mut admitted, mut openings) = (7_u64, 0, 0);
    for step in 0..24_000 {
        let now = Mono::from_millis(step * 5);
        let _ = breaker.on_timer(now);
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        if let Some(admission) = breaker.try_admit(now) {
            admitted += 1;
            let change = breaker.on_result(admission, (random >> 33) % 3 == 0, now, 0);
            openings += u32::from(matches!(change, Some(BreakerChange::Opened { .. })));
        }
    }
    // The waits of 1, 2, 4 … 60 s: seven tests, each over within a few requests; it was 110 openings, 2309 requests.
    assert!((7..=9).contains(&openings), "{openings}");
    assert!(admitted < 60, "{admitted}");
}

#[test]
fn results_of_another_turn_say_nothing() {
    let mut breaker = Breaker::new(BreakerConfig { consecutive: 1, ..one_probe() });
    let [first, second] = [(); 2].map(|()| breaker.try_admit(at(10)).unwrap());
    let third = breaker.try_admit(at(10)).unwrap();
    let _ = result(&mut breaker, false, at(10));
    assert_eq!(breaker.on_result(first, false, at(10), 0), None);
    let _ = breaker.on_timer(at(11));
    assert_eq!(breaker.on_result(second, true, at(11), 0), None, "it is no probe");
    assert_eq!(breaker.state(), BreakerState::HalfOpen);
    breaker.on_cancelled(third);
    assert!(breaker.try_admit(at(11)).is_some() && breaker.try_admit(at(11)).is_none());
}

#[test]
fn cancelled_and_lost_probes_do_not_hold_it_up_and_late_reports_free_nothing() {
    let mut breaker = opened(one_probe());
    let _ = breaker.on_timer(at(11));
    let cancelled = breaker.try_admit(at(11)).unwrap();
    breaker.on_cancelled(cancelled);
    let lost = breaker.try_admit(at(11)).unwrap();
    assert!(breaker.try_admit(at(40)).is_none());
    let second = breaker.try_admit(at(41)).unwrap();
    assert_eq!(breaker.on_result(lost, true, at(50), 0), None, "too late");
    assert!(breaker.try_admit(at(50)).is_none(), "one at a time");
    assert_eq!(breaker.on_result(second, true, at(50), 0), Some(BreakerChange::Closed));
}

#[test]
fn the_wait_is_longer_by_chance_within_its_share() {
    let wait = |entropy| {
        let breaker = Breaker::new(BreakerConfig { wait: Duration::from_secs(10), ..BreakerConfig::default() });
        breaker.wait(entropy)
    };
    assert_eq!(wait(0), Duration::from_secs(10));
    assert_eq!(wait(1 << 63), Duration::from_secs(11));
    assert!(wait(u64::MAX) > Duration::from_millis(11_999) && wait(u64::MAX) < Duration::from_secs(12));
}

#[test]
fn extreme_settings_do_not_overflow_and_triggers_can_be_off() {
    let config = BreakerConfig {
        wait: Duration::MAX,
        max_wait: Duration::ZERO,
        jitter_percent: 255,
        probes: 0,
        ..BreakerConfig::default()
    };
    let mut breaker = Breaker::new(BreakerConfig { consecutive: 1, ..config });
    let admission = breaker.try_admit(at(0)).unwrap();
    let change = breaker.on_result(admission, false, at(0), u64::MAX);
    assert_eq!(change, Some(BreakerChange::Opened { until: Mono::MAX }));
    breaker.openings = u32::MAX;
    assert_eq!(breaker.wait(u64::MAX), Duration::MAX);
    assert_eq!(breaker.on_timer(Mono::MAX), Some(BreakerChange::HalfOpened));
    assert!(breaker.try_admit(Mono::MAX).is_some(), "no probes are one probe");

    let mut off = Breaker::new(BreakerConfig { consecutive: 0, failure_percent: 101, ..config });
    assert!((0..1_000).all(|_| result(&mut off, false, at(1)).is_none()));
}

#[test]
fn time_that_goes_back_opens_nothing_early() {
    let mut breaker = opened(one_probe());
    assert_eq!(breaker.on_timer(Mono::ZERO), None);
    let _ = breaker.on_timer(at(11));
    let _ = breaker.try_admit(at(11));
    assert!(breaker.try_admit(at(1)).is_none());
}
