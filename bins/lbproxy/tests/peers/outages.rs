//! The bench `outage`: what it counts, and a short outage through all of it.

use std::net::SocketAddr;
use std::time::Duration;

use crate::outage;
use crate::outage::client::{Answer, joined};
use crate::outage::contenders::{Contender, nginx_attempts};
use crate::outage::figures::{Attempt, Figures, Time};
use crate::outage::scenes::{self, Scene};
use crate::outage::table::{self, Settings};

const FAULT: Duration = Duration::from_secs(10);

fn scene(name: &str, fault: Duration) -> Scene {
    scenes::all(fault).into_iter().find(|scene| scene.name == name).unwrap()
}

#[test]
fn every_scene_ends_with_all_endpoints_well() {
    let scenes = scenes::all(FAULT);
    assert_eq!(scenes.len(), 25);
    for scene in scenes {
        assert!((0..scene.endpoints).all(|endpoint| !scene.is_bad(endpoint, scene.recovery)), "{}", scene.name);
        let is_struck = |endpoint: &usize| {
            scene.script.iter().any(|turn| turn.endpoint == *endpoint && scene.is_bad(*endpoint, turn.at))
        };
        assert_eq!((0..scene.endpoints).filter(is_struck).count(), scene.bad, "{}", scene.name);
        assert!(scene.script.is_sorted_by_key(|turn| turn.at), "{}", scene.name);
        assert!(scene.fault < scene.recovery && scene.recovery < scene.end, "{}", scene.name);
    }
}

#[test]
fn a_rolling_restart_strikes_one_at_a_time() {
    let scene = scene("rolling restart (3 of 3)", Duration::from_secs(15));
    let struck = |seconds| {
        let is_bad = |&endpoint: &usize| scene.is_bad(endpoint, Duration::from_secs(seconds));
        (0..3).filter(is_bad).collect::<Vec<_>>()
    };
    // From 3 s on every 5 s, for 3 s.
    let expected: [&[usize]; 10] = [&[], &[0], &[0], &[], &[1], &[1], &[], &[2], &[2], &[]];
    assert_eq!([2, 3, 5, 6, 8, 10, 11, 13, 15, 16].map(struck), expected);
}

/// 30 requests a second to three endpoints in turns, but to the first one only where `goes` says so.
fn attempts(scene: &Scene, goes: impl Fn(f64) -> bool) -> Vec<Attempt> {
    let count = (scene.end.as_millis() * 30 / 1_000) as u32;
    let requests =
        (0..count).map(|number| Attempt { at: Duration::from_secs(1) * number / 30, endpoint: number as usize % 3 });
    requests.filter(|attempt| attempt.endpoint != 0 || goes(attempt.at.as_secs_f64())).collect()
}

#[test]
fn traffic_leaves_and_comes_back() {
    let scene = scene("500 (1 of 3)", FAULT);
    // The fault is from 3 s to 13 s.
    let figures = Figures::of(&scene, 30, &[], &attempts(&scene, |at| !(5.0..15.0).contains(&at)));
    // The two requests in the last quarter are a tenth of two seconds' share.
    assert_eq!(figures.left, Some(Time::After(Duration::from_millis(1_750))));
    // The first second with half of its share, which is five requests.
    assert_eq!(figures.back, Some(Time::After(Duration::from_millis(1_500))));
    assert_eq!(figures.attempts, 20, "ten a second for two seconds");
}

#[test]
fn a_trial_now_and_then_is_no_traffic() {
    let scene = scene("500 (1 of 3)", FAULT);
    let figures = Figures::of(&scene, 30, &[], &attempts(&scene, |at| at < 3.0 || at.rem_euclid(2.0) < 0.05));
    assert_eq!((figures.left, figures.back), (Some(Time::After(Duration::ZERO)), Some(Time::Never)));
}

#[test]
fn where_traffic_never_leaves_it_cannot_come_back() {
    let scene = scene("500 (1 of 3)", FAULT);
    let figures = Figures::of(&scene, 30, &[], &attempts(&scene, |_| true));
    assert_eq!((figures.left, figures.back, figures.attempts), (Some(Time::Never), None, 100));
}

#[test]
fn failed_requests_are_slow_ones_as_well() {
    let answer = |millis, is_well| Answer { took: Duration::from_millis(millis), is_well, late: Duration::ZERO };
    let answers = [answer(1, true), answer(1, false), answer(1_001, true), answer(10_000, false)];
    let figures = Figures::of(&scene("500 (1 of 3)", FAULT), 30, &answers, &[]);
    assert_eq!((figures.failed, figures.slow), (2, 3));
}

#[test]
fn worse_is_beyond_chance_and_than_the_better_one() {
    let figures = |failed, left| Figures { failed, slow: 0, left, back: None, attempts: 0 };
    let after = |millis| Some(Time::After(Duration::from_millis(millis)));
    let peers = [figures(0, Some(Time::Never)), figures(100, after(1_000))];
    assert_eq!(figures(3, after(2_000)).worse_than(&peers), [false; 5]);
    assert_eq!(figures(4, after(2_250)).worse_than(&peers), [true, false, true, false, false]);
    assert_eq!(figures(4, Some(Time::Never)).worse_than(&peers), [true, false, true, false, false]);
    // 100 + 3 × 10.
    assert!(!figures(130, None).worse_than(&peers[1..])[0] && figures(131, None).worse_than(&peers[1..])[0]);
    assert_eq!(figures(9, None).worse_than(&[]), [false; 5]);
}

#[test]
fn a_line_of_nginx_has_its_attempts_in_order() {
    let endpoints = [1, 2, 3].map(|port| SocketAddr::from(([127, 0, 0, 1], port)));
    let found =
        nginx_attempts("1010.500 5.250|127.0.0.1:2, 127.0.0.1:1|5.000, 0.250", Duration::from_secs(1_000), &endpoints);
    let expected = [(5_250, 1), (10_250, 0)];
    assert_eq!(found, expected.map(|(at, endpoint)| Attempt { at: Duration::from_millis(at), endpoint }));
    assert_eq!(nginx_attempts("1010.500 0.000|app|0.000", Duration::ZERO, &endpoints), []);
    assert_eq!(nginx_attempts("", Duration::ZERO, &endpoints), []);
}

#[test]
fn chunks_are_joined_where_the_last_one_is_there() {
    assert_eq!(joined(b"3\r\nabc\r\nA\r\n0123456789\r\n0\r\n\r\n"), Some(b"abc0123456789".to_vec()));
    assert_eq!(joined(b"3\r\nabc\r\n"), None);
    assert_eq!(joined(b"3\r\nab"), None);
}

/// Not the figures are tried here, which want a quiet machine, but that every contender lives through an outage and is counted.
#[test]
fn an_outage_is_lived_through_and_counted() {
    let contenders: Vec<_> = Contender::ALL.into_iter().filter(|contender| contender.is_there()).collect();
    let fault = Duration::from_secs(3);
    let scene = scene("killed (1 of 3)", fault);
    let outcome = outage::run(&scene, &contenders, 20, std::future::pending()).unwrap();
    for (contender, figures) in contenders.iter().zip(&outcome.figures) {
        assert!(figures.failed < 20, "{} tries another endpoint where one refuses: {figures:?}", contender.name());
    }
    let least = outcome.figures[0];
    // Outlier detection is on without a line: three failures, those under way meanwhile, and trials of one request.
    assert!(matches!(least.left, Some(Time::After(_))) && least.attempts <= 10, "{least:?}");
    let settings = Settings { rate: 20, fault, at_once: 1, is_optimized: false };
    let text = table::write(&settings, &contenders, &[(scene, outcome)]);
    assert!(text.contains("\n| killed (1 of 3) "), "{text}");
}
