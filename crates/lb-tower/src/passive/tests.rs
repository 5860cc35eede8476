use futures_util::FutureExt;
use lb_core::{Clock, ManualClock};
use lb_health::Growth;
use lb_policy::{PanicMode, RoundRobin, Update};
use tower_service::Service;

use super::*;
use crate::testing::{Answer, AsAsked, Ask, Mock, cluster_of, in_flight, itself, uids};
use crate::{Balance, Error, Immediate, Timeout, TimeoutError, TokioClock};

type Told = Arc<Mutex<Vec<String>>>;

struct Writer(Told);

impl Watch for Writer {
    fn on_transition(&self, endpoint: &Identity, transition: Transition) {
        self.0.lock().unwrap().push(format!("{endpoint} is {transition}"));
    }
}

/// The default with longer ejections, and without jitter.
fn exact() -> PassiveRule {
    let growth = Growth::Linear { max: Duration::from_secs(300), forgive: Duration::from_secs(30) };
    let ejection = Ejection { eject_for: Duration::from_secs(30), growth, jitter_percent: 0, ..Ejection::default() };
    PassiveRule { ejection, ..PassiveRule::default() }
}

struct Bench {
    mocks: Vec<Mock>,
    cluster: Cluster<Mock>,
    clock: ManualClock,
    told: Told,
    passive: Passive<Mock, Writer>,
}

impl Bench {
    fn new(count: usize) -> Self {
        Self::with_rule(count, exact())
    }

    fn with_rule(count: usize, rule: PassiveRule) -> Self {
        let (mocks, told) = (Mock::several(count), Told::default());
        let cluster = cluster_of(mocks.clone());
        // Panic mode would hide who is ejected.
        cluster.set_panic_mode(PanicMode::Never, Mono::ZERO);
        let passive = Passive::new(cluster.clone(), rule, Writer(told.clone()));
        Self { mocks, cluster, clock: ManualClock::new(), told, passive }
    }

    fn balance(&self) -> impl Service<Ask, Response = char, Error = Error<Class>> + Clone + use<> {
        let builder = Balance::builder(self.cluster.selector(RoundRobin)).inspect(AsAsked);
        let builder = builder.observe(Immediate::new().errors(itself as fn(&Class) -> Class)).clock(self.clock.clone());
        builder.events(self.passive.clone()).build()
    }

    /// So many requests, who served them; `!` where nobody did.
    fn send(&self, count: usize) -> String {
        let mut balance = self.balance();
        let mut one = || balance.call(Ask::default()).now_or_never().expect("answers at once").unwrap_or('!');
        (0..count).map(|_| one()).collect()
    }

    fn pass(&self, seconds: u64) {
        self.passive.tick(self.clock.advance(Duration::from_secs(seconds)));
    }

    fn told(&self) -> Vec<String> {
        std::mem::take(&mut *self.told.lock().unwrap())
    }

    fn fails(&self, place: usize) {
        self.mocks[place].answers(&[Answer::Fail(Class::ConnectError)]);
    }
}

#[test]
fn who_keeps_failing_is_ejected_and_comes_back_when_its_time_is_over() {
    let bench = Bench::new(3);
    bench.fails(0);
    let answers = bench.send(9);
    assert_eq!(answers.matches('!').count(), 3);
    assert_eq!(bench.told(), ["a is ejected for 30s: 3 failures in 30s (connect_error)"]);
    assert_eq!((bench.send(6), bench.passive.ejected()), ("bcbcbc".into(), 1));

    bench.mocks[0].answers(&[Answer::Ok]);
    bench.pass(29);
    assert!(!bench.send(6).contains('a'));
    bench.pass(1);
    assert_eq!(bench.told(), ["a is readmitted"]);
    assert!(bench.send(3).contains('a'));
    assert_eq!(in_flight(&bench.cluster), [0, 0, 0]);
}

#[test]
fn the_last_eligible_endpoint_is_spared_and_that_is_told_once_a_window() {
    let bench = Bench::new(2);
    bench.fails(0);
    bench.fails(1);
    bench.send(40);
    assert_eq!(bench.cluster.eligible_count(), 1);
    let told = bench.told();
    assert_eq!(told.len(), 2, "{told:?}");
    assert!(told[0].contains("ejected for 30s"));
    assert!(told[1].contains("failing and not ejected"), "{told:?}");
    bench.pass(30);
    assert!(bench.told().contains(&"a is readmitted".into()));
    bench.send(20);
    assert_eq!(bench.cluster.eligible_count(), 1);
}

#[test]
fn a_check_that_fails_meanwhile_counts_as_gone() {
    let bench = Bench::new(3);
    for place in [1, 2] {
        bench.cluster.set(uids(&bench.cluster)[place], Axis::Check, true, Mono::ZERO);
    }
    // Not even a tick in between: the cluster itself is asked.
    bench.fails(0);
    assert_eq!(bench.send(10), "!!!!!!!!!!");
    assert_eq!(bench.cluster.eligible_count(), 1);
    bench.cluster.set(uids(&bench.cluster)[1], Axis::Check, false, Mono::ZERO);
    bench.send(20);
    assert_eq!((bench.passive.ejected(), bench.cluster.eligible_count()), (1, 1));
}

#[test]
fn endpoints_that_fail_at_once_leave_one() {
    for _ in 0..20 {
        let bench = Bench::new(4);
        (0..4).for_each(|place| bench.fails(place));
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for _ in 0..50 {
                        bench.send(1);
                        assert!(bench.cluster.eligible_count() >= 1);
                    }
                });
            }
        });
        assert_eq!((bench.passive.ejected(), bench.cluster.eligible_count()), (3, 1));
    }
}

#[test]
fn an_operators_order_outlives_an_ejection() {
    let bench = Bench::new(3);
    bench.fails(0);
    bench.send(9);
    let uid = uids(&bench.cluster)[0];
    bench.cluster.set(uid, Axis::Drain, true, Mono::ZERO);
    bench.pass(30);
    assert!(!bench.send(6).contains('a'));
    let reasons: Vec<_> = bench.cluster.endpoints()[0].state().reasons().collect();
    assert_eq!(reasons, [Axis::Drain]);
}

#[test]
fn an_ejection_survives_leaving_and_coming_back() {
    let bench = Bench::new(3);
    bench.fails(0);
    bench.send(9);
    let members = |skip: usize| {
        let all = bench.mocks.iter().zip(["a", "b", "c"]).skip(skip);
        Update::Reset(all.map(|(mock, name)| lb_policy::Member::new(Identity::literal(name), mock.clone())).collect())
    };
    bench.cluster.apply(members(1), Mono::ZERO);
    bench.pass(1);
    bench.cluster.apply(members(0), Mono::from_millis(1_000));
    assert!(!bench.send(6).contains('a'));
    bench.cluster.apply(members(1), Mono::from_millis(1_000));
    bench.pass(29);
    bench.cluster.apply(members(0), Mono::from_millis(30_000));
    bench.mocks[0].answers(&[Answer::Ok]);
    assert!(bench.send(6).contains('a'), "its time ended while it was away");
}

#[test]
fn one_that_has_left_does_not_count_against_those_who_are_there() {
    let bench = Bench::new(3);
    bench.fails(0);
    bench.send(9);
    bench.cluster.apply(Update::Remove(vec![Identity::literal("a")]), Mono::ZERO);
    bench.pass(1);
    bench.fails(1);
    bench.send(9);
    assert_eq!((bench.passive.ejected(), bench.send(2)), (2, "cc".into()));
}

#[test]
fn it_forgets_whom_the_cluster_forgets() {
    let bench = Bench::new(2);
    bench.fails(0);
    bench.send(2);
    assert_eq!(bench.passive.shared.lock().records.len(), 1);
    bench.cluster.apply(Update::Remove(vec![Identity::literal("a")]), Mono::ZERO);
    bench.pass(300);
    assert_eq!(bench.passive.shared.lock().records.len(), 1);
    bench.pass(301);
    assert_eq!(bench.passive.shared.lock().records.len(), 0);
}

#[test]
fn a_response_that_breaks_off_counts_once_and_a_client_that_leaves_does_not() {
    let bench = Bench::new(2);
    let endpoints = bench.cluster.endpoints();
    let tell = |class, end| {
        bench.passive.on_head(&endpoints[0], class, Duration::ZERO, Mono::ZERO);
        bench.passive.on_end(&endpoints[0], class, end, Duration::ZERO, Mono::ZERO);
    };
    for _ in 0..10 {
        tell(Class::Status(200), End::Completed);
        tell(Class::Status(200), End::ClientGone);
        tell(Class::Cancelled, End::Cancelled);
        tell(Class::Status(404), End::Completed);
    }
    tell(Class::Status(200), End::UpstreamAborted);
    tell(Class::Reset, End::UpstreamAborted);
    assert_eq!(bench.passive.ejected(), 0, "two failures");
    tell(Class::Status(200), End::UpstreamAborted);
    assert_eq!(bench.told(), ["a is ejected for 30s: 3 failures in 30s (reset)"]);
}

#[test]
fn an_ejection_can_be_lifted() {
    let bench = Bench::new(4);
    bench.fails(0);
    bench.fails(1);
    bench.send(20);
    let uids = uids(&bench.cluster);
    assert!(bench.passive.readmit(uids[0], Mono::ZERO));
    assert!(!bench.passive.readmit(uids[0], Mono::ZERO), "told once");
    assert!(!bench.passive.readmit(uids[2], Mono::ZERO));
    assert!(bench.passive.readmit(uids[1], Mono::ZERO));
    assert_eq!((bench.passive.ejected(), bench.cluster.eligible_count()), (0, 4));
    assert_eq!(bench.told()[2..], ["a is readmitted", "b is readmitted"]);
}

#[test]
fn once_switched_off_it_ejects_no_more_whatever_is_still_in_flight() {
    let rule = PassiveRule {
        ejection: Ejection { failures: const { NonZeroU16::new(1).unwrap() }, ..Ejection::default() },
        ..PassiveRule::default()
    };
    let bench = Bench::with_rule(3, rule);
    bench.fails(0);
    bench.send(3);
    assert_eq!(bench.cluster.eligible_count(), 2);
    let in_flight = bench.passive.clone();
    bench.passive.close(Mono::ZERO);
    assert_eq!((bench.passive.ejected(), bench.cluster.eligible_count()), (0, 3));
    let endpoint = Arc::clone(&bench.cluster.endpoints()[1]);
    in_flight.on_head(&endpoint, Class::Reset, Duration::ZERO, Mono::ZERO);
    assert_eq!((bench.passive.ejected(), bench.cluster.eligible_count()), (0, 3));
    assert_eq!(bench.told().len(), 2, "one ejection and its end");
}

#[test]
fn two_of_three_that_fail_are_ejected_and_get_nothing_more_whatever_the_panic_threshold() {
    for mode in [PanicMode::NoneLeft, PanicMode::Below(0.5), PanicMode::Never] {
        let bench = Bench::new(3);
        bench.cluster.set_panic_mode(mode, Mono::ZERO);
        bench.fails(0);
        bench.fails(2);
        assert_eq!(bench.send(100).matches('!').count(), 6, "{mode:?}");
        assert_eq!(bench.send(20), "b".repeat(20), "{mode:?}");
        assert_eq!((bench.passive.ejected(), bench.cluster.is_panicking()), (2, false));
    }
}

#[test]
fn where_all_fail_their_checks_those_that_fail_requests_too_are_ejected_but_for_the_last() {
    let bench = Bench::new(3);
    bench.cluster.set_panic_mode(PanicMode::NoneLeft, Mono::ZERO);
    for uid in uids(&bench.cluster) {
        bench.cluster.set(uid, Axis::Check, true, Mono::ZERO);
    }
    bench.pass(1);
    bench.fails(0);
    bench.fails(1);
    bench.fails(2);
    bench.send(100);
    assert_eq!(bench.passive.ejected(), 2);
    bench.mocks.iter().for_each(|mock| mock.answers(&[Answer::Ok]));
    let letters = bench.send(20);
    assert!(letters == letters[..1].repeat(20) && !letters.contains('!'), "{letters}");
}

#[test]
fn requests_sent_before_the_readmission_do_not_eject_again_when_they_fail_after_it() {
    let bench = Bench::with_rule(3, ejecting(1, 2));
    let endpoint = Arc::clone(&bench.cluster.endpoints()[0]);
    let fails = |sent: u64, at: u64| {
        let elapsed = Duration::from_millis(at - sent);
        bench.passive.on_head(&endpoint, Class::Timeout, elapsed, Mono::from_millis(at));
    };
    fails(2_000, 3_000);
    assert_eq!(bench.passive.ejected(), 1);
    bench.pass(5);
    assert_eq!(bench.passive.ejected(), 0);
    fails(2_500, 5_500);
    let aborted = Duration::from_millis(1_000);
    bench.passive.on_end(&endpoint, Class::Status(200), End::UpstreamAborted, aborted, Mono::from_millis(5_900));
    assert_eq!(bench.passive.ejected(), 0, "it has recovered since");
    fails(5_100, 6_000);
    assert_eq!(bench.passive.ejected(), 1);
}

#[test]
fn it_comes_back_with_one_request_at_a_time_until_three_succeed() {
    let bench = Bench::with_rule(3, ejecting(1, 10));
    let endpoints = bench.cluster.endpoints();
    let back = &endpoints[0];
    let heads = |class| bench.passive.on_head(back, class, Duration::ZERO, bench.clock.now());
    heads(Class::Reset);
    bench.pass(10);
    assert!(back.state().is_eligible() && back.state().is_throttled());
    heads(Class::Cancelled);
    assert!(back.state().is_throttled(), "it says nothing");
    heads(Class::Reset);
    assert_eq!(bench.passive.ejected(), 1);
    bench.pass(9);
    assert_eq!(bench.passive.ejected(), 1, "a trial that fails is no flap, and makes it no longer");
    bench.pass(1);
    bench.passive.on_head(back, Class::Status(200), Duration::from_millis(1), bench.clock.now());
    assert!(back.state().is_throttled(), "sent before it came back");
    heads(Class::Status(200));
    heads(Class::Status(200));
    assert!(back.state().is_throttled());
    heads(Class::Status(200));
    assert!(!back.state().is_throttled());
    let told = bench.told();
    assert_eq!(told[2], "a is ejected for 10s: 1 failure in 30s (reset)");
}

#[test]
fn a_passed_check_ends_an_ejection_and_one_begun_before_it_does_not() {
    let bench = Bench::with_rule(3, ejecting(1, 30));
    bench.fails(0);
    let uid = uids(&bench.cluster)[0];
    bench.passive.on_check(uid, true, Mono::ZERO, Mono::ZERO);
    bench.pass(1);
    bench.send(3);
    bench.pass(1);
    bench.passive.on_check(uid, true, Mono::from_millis(500), bench.clock.now());
    bench.passive.on_check(uid, false, Mono::from_millis(1_500), bench.clock.now());
    assert_eq!(bench.passive.ejected(), 1);
    bench.passive.on_check(uid, true, Mono::from_millis(1_500), bench.clock.now());
    assert_eq!(bench.passive.ejected(), 0);
    assert!(bench.cluster.endpoints()[0].state().is_throttled());
    assert_eq!(bench.told()[1..], ["a is readmitted"]);
}

#[test]
fn a_cluster_of_which_all_are_on_probation_serves_in_full() {
    let bench = Bench::with_rule(2, ejecting(1, 10));
    let endpoints = bench.cluster.endpoints();
    bench.passive.on_head(&endpoints[0], Class::Reset, Duration::ZERO, Mono::ZERO);
    bench.pass(10);
    assert!(endpoints[0].state().is_throttled());
    bench.cluster.set(endpoints[1].uid(), Axis::Check, true, Mono::ZERO);
    bench.pass(1);
    assert!(!endpoints[0].state().is_throttled());
}

#[test]
fn probation_ends_with_the_rule() {
    for close in [false, true] {
        let bench = Bench::with_rule(3, ejecting(1, 10));
        let endpoints = bench.cluster.endpoints();
        bench.passive.on_head(&endpoints[0], Class::Reset, Duration::ZERO, Mono::ZERO);
        bench.pass(10);
        assert!(endpoints[0].state().is_throttled());
        if close {
            bench.passive.close(bench.clock.now());
        } else {
            bench.passive.set_rule(ejecting(2, 10), bench.clock.now());
        }
        assert!(!endpoints[0].state().is_throttled());
    }
}

/// Ten seconds of a cluster of three with 300 requests a second; `class` says how the n-th request at an endpoint fares.
fn ten_busy_seconds(bench: &Bench, class: impl Fn(usize, u64) -> Class) {
    let endpoints = bench.cluster.endpoints();
    for _ in 0..100 {
        bench.passive.tick(bench.clock.advance(Duration::from_millis(100)));
        for _ in 0..10 {
            for (place, endpoint) in endpoints.iter().enumerate() {
                if !endpoint.state().is_eligible() {
                    continue;
                }
                let class = class(place, endpoint.state().requests());
                endpoint.state().count(class.is_failure());
                bench.passive.on_head(endpoint, class, Duration::ZERO, bench.clock.now());
            }
        }
    }
}

const FAILED: Class = Class::Status(500);
const WELL: Class = Class::Status(200);

#[test]
fn a_few_failures_of_many_requests_eject_nothing() {
    let bench = Bench::new(3);
    ten_busy_seconds(&bench, |place, n| if place == 0 && n % 100 == 99 { FAILED } else { WELL });
    assert_eq!(bench.passive.ejected(), 0, "{:?}", bench.told());
}

#[test]
fn failures_that_all_endpoints_share_eject_nothing() {
    let bench = Bench::new(3);
    ten_busy_seconds(&bench, |_, n| if n >= 500 { FAILED } else { WELL });
    assert_eq!(bench.passive.ejected(), 0, "{:?}", bench.told());
}

#[test]
fn the_dead_are_ejected_within_ten_failures_and_the_numbers_are_told() {
    for dead in [1, 2] {
        let bench = Bench::new(3);
        ten_busy_seconds(&bench, |place, n| if place < dead && n >= 500 { FAILED } else { WELL });
        assert_eq!(bench.passive.ejected(), dead as u32);
        let endpoints = bench.cluster.endpoints();
        assert!((0..dead).all(|place| endpoints[place].state().failures() <= 10));
        let told = bench.told();
        assert!(told[0].contains(" failed, others ") && told[0].contains(", chance "), "{told:?}");
    }
}

#[test]
fn without_a_comparison_the_number_of_failures_decides() {
    let bench = Bench::with_rule(3, PassiveRule { comparison: None, ..exact() });
    ten_busy_seconds(&bench, |place, n| if place == 0 && n % 100 == 99 { FAILED } else { WELL });
    assert_eq!(bench.told(), ["a is ejected for 30s: 3 failures in 30s (5xx)"]);
}

/// So many failures eject for so many seconds.
fn ejecting(failures: u16, seconds: u64) -> PassiveRule {
    let failures = NonZeroU16::new(failures).unwrap();
    let eject_for = Duration::from_secs(seconds);
    PassiveRule { ejection: Ejection { failures, eject_for, ..exact().ejection }, ..exact() }
}

#[test]
fn a_new_rule_keeps_what_is_ejected_and_counts_by_itself() {
    let bench = Bench::new(4);
    bench.fails(0);
    bench.send(12);
    bench.passive.set_rule(ejecting(1, 30), Mono::ZERO);
    assert_eq!(bench.passive.ejected(), 1);
    bench.fails(1);
    assert_eq!(bench.send(9).matches('!').count(), 1, "one is enough now");
    assert_eq!(bench.passive.ejected(), 2);
    bench.pass(30);
    assert_eq!(bench.passive.ejected(), 0);
}

#[test]
fn an_ejection_ends_no_later_than_one_by_the_new_rule_would() {
    let bench = Bench::with_rule(3, ejecting(1, 300));
    bench.fails(0);
    bench.send(3);
    bench.pass(10);
    bench.passive.set_rule(ejecting(1, 300), bench.clock.now());
    bench.pass(280);
    assert_eq!(bench.passive.ejected(), 1, "the same rule leaves its end where it was, at 300 s");
    bench.passive.set_rule(ejecting(1, 60), bench.clock.now());
    bench.pass(9);
    assert_eq!(bench.passive.ejected(), 1);
    bench.pass(1);
    assert_eq!(bench.passive.ejected(), 0, "a new rule makes none longer");

    bench.send(3);
    assert_eq!(bench.passive.ejected(), 1);
    bench.passive.set_rule(ejecting(1, 5), bench.clock.now());
    bench.pass(4);
    assert_eq!(bench.passive.ejected(), 1);
    bench.pass(1);
    assert_eq!((bench.passive.ejected(), bench.cluster.eligible_count()), (0, 3));
    assert_eq!(bench.told().len(), 4, "two ejections and their ends");
}

#[test]
fn a_request_in_flight_is_judged_by_the_rule_in_force_when_it_fails() {
    let bench = Bench::with_rule(3, ejecting(1, 30));
    let (sent_before, endpoints) = (bench.passive.clone(), bench.cluster.endpoints());
    let fails = |class| sent_before.on_head(&endpoints[0], class, Duration::ZERO, Mono::ZERO);
    bench.passive.set_rule(ejecting(2, 30), Mono::ZERO);
    fails(Class::Reset);
    assert_eq!(bench.passive.ejected(), 0);
    let failures = FailureSet::EMPTY.with_timeout();
    bench.passive.set_rule(PassiveRule { failures, ..ejecting(2, 30) }, Mono::ZERO);
    fails(Class::Reset);
    fails(Class::Timeout);
    assert_eq!(bench.passive.ejected(), 0, "a reset counts no longer, neither this one nor the one before");
    fails(Class::Timeout);
    assert_eq!(bench.told(), ["a is ejected for 30s: 2 failures in 30s (timeout)"]);
}

#[test]
fn what_is_no_failure_by_the_rule_ejects_nobody() {
    let rule = PassiveRule { failures: FailureSet::EMPTY.with_status(503), ..PassiveRule::default() };
    let bench = Bench::with_rule(2, rule);
    bench.fails(0);
    bench.send(40);
    assert_eq!(bench.passive.ejected(), 0);
}

#[tokio::test(start_paused = true)]
async fn an_endpoint_that_hangs_until_the_total_time_is_over_has_failed_and_one_whose_client_leaves_has_not() {
    let once = Ejection { failures: const { NonZeroU16::new(1).unwrap() }, ..exact().ejection };
    let bench = Bench::with_rule(3, PassiveRule { ejection: once, ..exact() });
    bench.mocks.iter().for_each(|mock| mock.answers(&[Answer::Never]));
    let balance = Balance::builder(bench.cluster.selector(RoundRobin)).inspect(AsAsked).clock(TokioClock::new());
    let balance = balance.observe(Immediate::new().errors(itself as fn(&Class) -> Class)).events(bench.passive.clone());
    let mut bounded = Timeout::new(balance.build(), Some(Duration::from_secs(1)));
    assert_eq!(bounded.call(Ask::default()).await.unwrap_err(), TimeoutError::Elapsed);
    assert_eq!(bench.told(), ["a is ejected for 30s: 1 failure in 30s (timeout)"]);
    let left = tokio::time::timeout(Duration::from_millis(900), bounded.call(Ask::default())).await;
    assert!(left.is_err() && bench.mocks[1].calls() + bench.mocks[2].calls() == 1);
    assert_eq!((bench.told(), in_flight(&bench.cluster)), (Vec::<String>::new(), vec![0, 0, 0]));
}

fn states(bench: &Bench) -> Vec<String> {
    let endpoints = bench.cluster.endpoints();
    let word = |axes: Vec<Axis>| axes.iter().map(|axis| axis.name()).collect::<Vec<_>>().join("+");
    endpoints.iter().map(|endpoint| word(endpoint.state().reasons().collect())).collect()
}

#[test]
fn an_endpoint_that_asks_for_less_cools_down_and_is_not_ejected() {
    let bench = Bench::new(3);
    bench.mocks[0].answers(&[Answer::Fail(Class::Busy(503))]);
    assert_eq!(bench.send(9).matches('!').count(), 1, "one answer is enough");
    assert_eq!(states(&bench), ["cool_down", "", ""]);
    let told = bench.told();
    assert!(
        told.len() == 1 && told[0].starts_with("a is cooling down for 1") && told[0].ends_with("status 503"),
        "{told:?}"
    );
    assert_eq!((bench.passive.ejected(), bench.cluster.eligible_count()), (0, 3));
    // What it says counts, if that is longer.
    let endpoint = bench.cluster.endpoints()[0].clone();
    bench.passive.on_back_pressure(&endpoint, 503, Some(Duration::from_secs(7)), bench.clock.now());
    bench.pass(6);
    assert_eq!((states(&bench)[0].as_str(), bench.told()), ("cool_down", vec![]));
    bench.mocks[0].answers(&[Answer::Ok]);
    bench.pass(3);
    assert_eq!((states(&bench)[0].as_str(), bench.told()), ("", vec!["a is cooled down".into()]));
    assert!(bench.send(3).contains('a'));
}

#[test]
fn where_all_cool_down_all_serve_and_one_alone_never_cools() {
    let bench = Bench::new(2);
    (0..2).for_each(|place| bench.mocks[place].answers(&[Answer::Fail(Class::Busy(429))]));
    bench.send(2);
    assert_eq!(states(&bench), ["cool_down", "cool_down"]);
    bench.mocks.iter().for_each(|mock| mock.answers(&[Answer::Ok]));
    let answers = bench.send(8);
    assert!(answers.contains('a') && answers.contains('b') && !answers.contains('!'), "{answers}");
    assert!(!bench.cluster.is_panicking());
    let alone = Bench::new(1);
    alone.mocks[0].answers(&[Answer::Fail(Class::Busy(429))]);
    alone.send(5);
    assert_eq!((states(&alone), alone.told()), (vec![String::new()], vec![]));
}

#[test]
fn without_the_rule_back_pressure_is_what_its_status_is() {
    let bench = Bench::with_rule(3, PassiveRule { cool_down: None, ..exact() });
    bench.mocks[0].answers(&[Answer::Fail(Class::Busy(503))]);
    bench.send(9);
    assert_eq!(states(&bench), ["ejected", "", ""]);
    let bench = Bench::with_rule(3, PassiveRule { cool_down: None, ..exact() });
    bench.mocks[0].answers(&[Answer::Fail(Class::Busy(429))]);
    bench.send(9);
    assert_eq!(states(&bench), ["", "", ""]);
}

#[test]
fn a_suspected_endpoint_gets_one_request_at_a_time_until_one_succeeds() {
    let bench = Bench::new(3);
    let uid = uids(&bench.cluster)[0];
    bench.passive.suspect(uid, Duration::from_millis(1_200));
    bench.passive.suspect(uid, Duration::from_millis(1_300));
    assert_eq!(bench.told(), ["a is suspected: no answer for 1.2s"], "once");
    let is_throttled = |place: usize| bench.cluster.endpoints()[place].state().is_throttled();
    assert!(is_throttled(0));
    // Not all of them: one must be left with all its requests.
    bench.passive.suspect(uids(&bench.cluster)[1], Duration::from_secs(1));
    bench.passive.suspect(uids(&bench.cluster)[2], Duration::from_secs(1));
    assert_eq!([0, 1, 2].map(is_throttled), [true, true, false]);
    bench.told();
    bench.send(3);
    assert_eq!(bench.told(), ["a is no longer suspected", "b is no longer suspected"]);
    assert_eq!([0, 1, 2].map(is_throttled), [false; 3]);
}

#[test]
fn a_suspicion_ends_with_the_throttle_and_with_the_rule() {
    let bench = Bench::new(2);
    let uid = uids(&bench.cluster)[0];
    bench.passive.suspect(uid, Duration::from_secs(1));
    // Selection ends the throttle where no other endpoint can take a request.
    bench.cluster.endpoints()[0].state().throttle(false);
    bench.pass(1);
    assert_eq!(bench.told(), ["a is suspected: no answer for 1s", "a is no longer suspected"]);
    bench.passive.suspect(uid, Duration::from_secs(1));
    bench.passive.close(bench.clock.now());
    assert!(!bench.cluster.endpoints()[0].state().is_throttled());
    bench.passive.suspect(uid, Duration::from_secs(1));
    assert!(!bench.cluster.endpoints()[0].state().is_throttled(), "it is off");
}
