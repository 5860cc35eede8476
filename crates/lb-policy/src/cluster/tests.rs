//! Members, state and eligibility over updates, as a pick sees them.

use std::sync::Mutex;

use lb_core::{End, InFlightLimit};

use super::*;
use crate::testing::{Bench, letters, member};
use crate::{
    Candidate, EndpointCounts, Index, LeastRequest, PickCx, PickError, Random, Rendezvous, RoundRobin, Table, Tried,
    View,
};

fn counts(error: PickError) -> EndpointCounts {
    error.counts()
}

#[test]
fn an_empty_cluster_says_so() {
    let bench = Bench::new(RoundRobin, &[]);
    assert_eq!(bench.pick().unwrap_err(), PickError::Empty);
    assert!(bench.cluster.is_empty() && !bench.cluster.is_panicking());
}

#[test]
fn an_update_keeps_state_and_uid_and_changes_the_rest() {
    let bench = Bench::new(RoundRobin, &[1, 1]);
    let before = bench.cluster.endpoints();
    let ticket = bench.pick().unwrap();
    let generation = bench.cluster.generation();
    let update = Update::Reset(vec![member(2), member(0).weight(7).limit(InFlightLimit::new(9))]);
    assert_eq!(bench.cluster.apply(update, Mono::ZERO), Generation(generation.0 + 1));
    let after = bench.cluster.endpoints();
    assert_eq!(after.iter().map(|endpoint| *endpoint.value()).collect::<Vec<_>>(), [2, 0]);
    assert_eq!(after[1].uid(), before[0].uid());
    assert_eq!(after[1].state().in_flight(), 1);
    assert_eq!(after[1].weight().value(), 7);
    assert_eq!(after[1].state().max_in_flight(), InFlightLimit::new(9));
    ticket.on_end(End::Completed, Mono::ZERO);
    assert_eq!(after[1].state().in_flight(), 0);
}

#[test]
fn upsert_keeps_places_and_appends_and_remove_leaves_the_others() {
    let bench = Bench::new(RoundRobin, &[1, 1, 1]);
    bench.cluster.apply(Update::Upsert(vec![member(5), member(1).weight(3), member(5).weight(2)]), Mono::ZERO);
    let list = |cluster: &Cluster<usize>| -> Vec<_> {
        cluster.endpoints().iter().map(|e| (*e.value(), e.weight().value())).collect()
    };
    assert_eq!(list(&bench.cluster), [(0, 1), (1, 3), (2, 1), (5, 2)]);
    bench.cluster.apply(Update::Remove(vec![member(0).identity, member(77).identity]), Mono::ZERO);
    assert_eq!(list(&bench.cluster), [(1, 3), (2, 1), (5, 2)]);
}

#[test]
fn the_last_eligible_member_is_never_ejected() {
    let bench = Bench::new(RoundRobin, &[1, 1, 1]);
    let uids: Vec<_> = bench.cluster.endpoints().iter().map(|endpoint| endpoint.uid()).collect();
    bench.set(1, Axis::Check, true, Mono::ZERO);
    assert_eq!(bench.cluster.set_unless_last(uids[0], Axis::Ejected, Mono::ZERO), Ok(true));
    assert_eq!(bench.cluster.set_unless_last(uids[0], Axis::Ejected, Mono::ZERO), Ok(false), "set already");
    assert_eq!(bench.cluster.set_unless_last(uids[2], Axis::Ejected, Mono::ZERO), Err(LastEligible));
    // Not eligible anyway, but it could be the only one once its check passes.
    bench.set(2, Axis::Drain, true, Mono::ZERO);
    assert_eq!(bench.cluster.set_unless_last(uids[1], Axis::Ejected, Mono::ZERO), Err(LastEligible));
    assert_eq!(bench.cluster.set_unless_last(uids[1], Axis::Removed, Mono::ZERO), Ok(false));
}

#[test]
fn threads_that_eject_all_at_once_leave_one() {
    for _ in 0..50 {
        let bench = Bench::new(RoundRobin, &[1; 4]);
        let cluster = &bench.cluster;
        std::thread::scope(|scope| {
            for endpoint in cluster.endpoints().iter() {
                let uid = endpoint.uid();
                scope.spawn(move || cluster.set_unless_last(uid, Axis::Ejected, Mono::ZERO));
            }
        });
        assert_eq!(cluster.eligible_count(), 1);
    }
}

#[test]
fn a_slot_is_taken_at_the_endpoint_asked_for_if_it_may() {
    let bench = Bench::new(RoundRobin, &[1, 1]);
    let uid = bench.cluster.endpoints()[1].uid();
    let ticket = bench.selector.pick_at(uid, Mono::from_millis(5)).unwrap();
    assert_eq!((*ticket.endpoint().value(), ticket.started()), (1, Mono::from_millis(5)));
    assert_eq!(bench.cluster.endpoints()[1].state().in_flight(), 1);
    drop(ticket);
    bench.set(1, Axis::Drain, true, Mono::ZERO);
    assert!(bench.selector.pick_at(uid, Mono::ZERO).is_none());
    bench.set(1, Axis::Drain, false, Mono::ZERO);
    bench.cluster.apply(Update::Remove(vec![member(1).identity]), Mono::ZERO);
    assert!(bench.selector.pick_at(uid, Mono::ZERO).is_none());
}

#[test]
fn a_removed_endpoint_gets_no_requests_and_keeps_its_state() {
    let bench = Bench::new(RoundRobin, &[1, 1]);
    bench.set(0, Axis::Drain, true, Mono::ZERO);
    let endpoint = Arc::clone(&bench.cluster.endpoints()[0]);
    bench.cluster.apply(Update::Remove(vec![member(0).identity]), Mono::ZERO);
    assert!(endpoint.state().is_set(Axis::Removed));
    assert_eq!(letters(&bench.picks(2)), "bb");
    assert!(bench.cluster.set(endpoint.uid(), Axis::Drain, false, Mono::ZERO), "reached while it is away");
    bench.cluster.apply(Update::Upsert(vec![member(0)]), Mono::from_millis(1_000));
    let again = &bench.cluster.endpoints()[1];
    assert!(Arc::ptr_eq(again.state(), endpoint.state()));
    assert!(again.state().is_eligible());
}

#[test]
fn eligibility_counts_at_once_and_tables_follow_within_ten_milliseconds() {
    let mut bench = Bench::new(RoundRobin, &[1, 1, 1, 1]);
    // A moment after the list was published: too early for a rebuild, not for the answer.
    bench.set(0, Axis::Check, true, Mono::from_millis(1));
    assert_eq!(bench.cluster.eligible_count(), 3);
    assert_eq!(bench.counts(300), [0, 100, 100, 100]);
    bench.cluster.maintain(Mono::from_millis(11));
    assert_eq!(bench.counts(300), [0, 100, 100, 100]);
    bench.set(0, Axis::Check, false, Mono::from_millis(12));
    assert_eq!(bench.counts(300), [0, 100, 100, 100], "back in the table only with the next rebuild");
    bench.cluster.maintain(Mono::from_millis(22));
    assert_eq!(bench.counts(400), [100; 4]);
}

#[test]
fn what_the_cluster_owns_cannot_be_set_from_outside() {
    let bench = Bench::new(RoundRobin, &[1, 0]);
    for endpoint in bench.cluster.endpoints().iter() {
        for (axis, on) in [(Axis::WeightZero, true), (Axis::WeightZero, false), (Axis::Removed, true)] {
            assert!(!bench.cluster.set(endpoint.uid(), axis, on, Mono::ZERO));
        }
    }
    assert!(!bench.cluster.set(Uid::new(99), Axis::Drain, true, Mono::ZERO));
    assert_eq!(letters(&bench.picks(2)), "aa");
}

#[test]
fn below_the_threshold_failing_checks_are_ignored_loudly_and_neither_orders_nor_ejections_are() {
    let mut bench = Bench::new(RoundRobin, &[1, 1, 1, 1, 1]);
    let late = Mono::from_millis(100);
    bench.cluster.set_panic_mode(PanicMode::Below(0.5), Mono::ZERO);
    bench.set(4, Axis::Maintenance, true, Mono::ZERO);
    bench.set(3, Axis::Ejected, true, Mono::ZERO);
    bench.set(0, Axis::Check, true, Mono::ZERO);
    assert!(!bench.cluster.is_panicking(), "three of four pass their check");
    bench.set(1, Axis::Check, true, Mono::ZERO);
    assert!(!bench.cluster.is_panicking(), "exactly half");
    bench.set(3, Axis::Check, true, late);
    assert!(bench.cluster.is_panicking(), "one of four");
    assert_eq!(bench.counts(300), [100, 100, 100, 0, 0]);
    assert_eq!(bench.cluster.panic_picks(), 300);
    assert_eq!(bench.cluster.eligible_count(), 1);
    bench.cluster.set_panic_mode(PanicMode::NoneLeft, late);
    assert!(!bench.cluster.is_panicking());
    assert_eq!(bench.counts(100), [0, 0, 100, 0, 0]);
    assert_eq!(bench.cluster.panic_picks(), 300);
}

#[test]
fn two_ejections_of_three_leave_the_third_to_serve_whatever_the_threshold() {
    for mode in [PanicMode::Never, PanicMode::NoneLeft, PanicMode::Below(0.5), PanicMode::Below(1.0)] {
        let mut bench = Bench::new(RoundRobin, &[1, 1, 1]);
        bench.cluster.set_panic_mode(mode, Mono::ZERO);
        bench.set(0, Axis::Ejected, true, Mono::ZERO);
        bench.set(2, Axis::Ejected, true, Mono::ZERO);
        assert_eq!(bench.counts(30), [0, 30, 0], "{mode:?}");
        assert!(!bench.cluster.is_panicking(), "{mode:?}");
    }
}

#[test]
fn where_none_is_left_the_ejected_come_after_those_that_fail_a_check() {
    let mut bench = Bench::new(RoundRobin, &[1, 1, 1]);
    let at = Mono::from_millis;
    bench.set(0, Axis::Ejected, true, at(100));
    bench.set(1, Axis::Ejected, true, at(200));
    bench.set(2, Axis::Check, true, at(300));
    assert!(bench.cluster.is_panicking());
    assert_eq!(bench.counts(30), [0, 0, 30], "its check fails, and that is all");
    assert_eq!(bench.cluster.panic_picks(), 30);
    bench.set(2, Axis::Maintenance, true, at(400));
    assert_eq!(bench.counts(30), [15, 15, 0], "an order is an order");
    bench.set(1, Axis::Check, true, at(500));
    assert_eq!(bench.counts(30), [30, 0, 0], "both stand against the other");
    bench.set(0, Axis::Check, true, at(600));
    assert_eq!(bench.counts(30), [15, 15, 0]);
    bench.cluster.set_panic_mode(PanicMode::Never, at(700));
    assert!(bench.pick().is_err());
}

#[test]
fn a_verdict_never_takes_the_last_one_that_serves() {
    let bench = Bench::new(RoundRobin, &[1, 1, 1]);
    let uid = |n: usize| bench.cluster.endpoints()[n].uid();
    let eject = |n| bench.cluster.set_unless_last(uid(n), Axis::Ejected, Mono::ZERO);
    bench.set(2, Axis::Check, true, Mono::ZERO);
    assert_eq!(eject(0), Ok(true));
    assert_eq!(eject(1), Err(LastEligible), "the third fails its check");
    // Where those serve that only fail a check, one of these must be left.
    bench.set(1, Axis::Check, true, Mono::ZERO);
    assert_eq!(eject(1), Ok(true));
    assert_eq!(eject(2), Err(LastEligible));
}

#[test]
fn an_error_counts_the_reasons() {
    let bench = Bench::new(RoundRobin, &[1, 1, 1, 0]);
    bench.cluster.set_panic_mode(PanicMode::Never, Mono::ZERO);
    bench.set(0, Axis::Ejected, true, Mono::ZERO);
    bench.cluster.endpoints()[1].state().set_max_in_flight(InFlightLimit::new(1));
    let _held = bench.pick_with(None, &tried(&bench.cluster, &[2]), Mono::ZERO).unwrap();
    let error = bench.pick_with(None, &tried(&bench.cluster, &[2]), Mono::ZERO).unwrap_err();
    assert!(matches!(error, PickError::AllFull(_)));
    assert_eq!(error.to_string(), "no_endpoint: 1 of weight zero, 1 ejected, 1 tried, 1 full");
    let error = bench.pick_with(None, &tried(&bench.cluster, &[1, 2]), Mono::ZERO).unwrap_err();
    assert!(matches!(error, PickError::AllTried(_)));
    assert_eq!(counts(error).tried, 2);
    for n in [1, 2] {
        bench.set(n, Axis::Check, true, Mono::ZERO);
    }
    let error = bench.pick().unwrap_err();
    assert_eq!(error.to_string(), "no_endpoint: 1 of weight zero, 2 down, 1 ejected");
}

fn tried(cluster: &Cluster<usize>, places: &[usize]) -> Tried {
    let mut tried = Tried::new();
    for &place in places {
        tried.push(cluster.endpoints()[place].uid());
    }
    tried
}

#[test]
fn the_sticky_endpoint_comes_first_even_when_draining_but_not_when_down_full_or_tried() {
    let bench = Bench::new(RoundRobin, &[1, 1, 1]);
    let mut entropy = crate::Entropy::seeded(1);
    let none = Tried::new();
    let mut stick = |tried: &Tried| {
        let mut cx = crate::PickCx::new(Mono::ZERO, &mut entropy).preferred(Some(member(2).affinity)).tried(tried);
        bench.selector.pick(&mut cx).unwrap()
    };
    assert_eq!(*stick(&none).endpoint().value(), 2);
    assert_ne!(*stick(&tried(&bench.cluster, &[2])).endpoint().value(), 2);
    bench.set(2, Axis::Drain, true, Mono::ZERO);
    assert_eq!(*stick(&none).endpoint().value(), 2);
    bench.cluster.endpoints()[2].state().set_max_in_flight(InFlightLimit::new(1));
    let held = stick(&none);
    assert_ne!(*stick(&none).endpoint().value(), 2);
    drop(held);
    bench.set(2, Axis::Check, true, Mono::ZERO);
    assert_ne!(*stick(&none).endpoint().value(), 2);
}

#[test]
fn a_sticky_client_follows_its_name_to_a_new_address() {
    let bench = Bench::new(RoundRobin, &[]);
    let named = |n, address| crate::Member::new(Identity::new("app-1:80", address), n);
    bench.cluster.apply(Update::Reset(vec![member(0), named(1, "10.9.9.1:80")]), Mono::ZERO);
    let affinity = crate::affinity_of("app-1:80");
    bench.cluster.apply(Update::Reset(vec![member(0), named(2, "10.9.9.2:80")]), Mono::ZERO);
    let mut entropy = crate::Entropy::seeded(1);
    for _ in 0..3 {
        let mut cx = crate::PickCx::new(Mono::ZERO, &mut entropy).preferred(Some(affinity));
        assert_eq!(*bench.selector.pick(&mut cx).unwrap().endpoint().value(), 2);
    }
}

#[test]
fn backups_serve_only_when_no_primary_can() {
    let bench = Bench::new(RoundRobin, &[]);
    let members = vec![member(0).priority(1), member(1), member(2).limit(InFlightLimit::new(1))];
    bench.cluster.apply(Update::Reset(members), Mono::ZERO);
    assert_eq!(letters(&bench.picks(4)), "bcbc");
    bench.set(1, Axis::Check, true, Mono::ZERO);
    let held = bench.pick().unwrap();
    assert_eq!(*held.endpoint().value(), 2);
    assert_eq!(letters(&bench.picks(2)), "aa", "the last primary is full");
    drop(held);
    assert_eq!(letters(&bench.picks(2)), "cc");
}

#[test]
fn with_overprovisioning_load_spills_in_proportion() {
    let bench = Bench::new(RoundRobin, &[]);
    let members = (0..8).map(|n| member(n).priority(u8::from(n >= 4)));
    bench.cluster.apply(Update::Reset(members.collect()), Mono::ZERO);
    bench.cluster.set_spill(Spill::Overprovisioned(1.4), Mono::ZERO);
    bench.set(0, Axis::Check, true, Mono::ZERO);
    bench.set(1, Axis::Check, true, Mono::ZERO);
    // Half of the first tier is well: it carries 70 of 100. σ = √(6000·0.7·0.3) ≈ 35; 180 is five of them.
    let first_tier = bench.picks(6_000).iter().filter(|&&n| n < 4).count();
    assert!(first_tier.abs_diff(4_200) < 180, "{first_tier}");
    assert!(!bench.cluster.is_panicking());
}

#[test]
fn several_selectors_share_members_and_slots() {
    let bench = Bench::new(RoundRobin, &[1, 1]);
    let least = bench.cluster.selector(LeastRequest::exact());
    let _held = bench.pick().unwrap();
    let mut entropy = crate::Entropy::seeded(1);
    let ticket = least.pick(&mut crate::PickCx::new(Mono::ZERO, &mut entropy)).unwrap();
    assert_eq!(*ticket.endpoint().value(), 1, "it sees what the other selector has in flight");
    bench.cluster.apply(Update::Reset(vec![member(4)]), Mono::ZERO);
    let ticket = least.pick(&mut crate::PickCx::new(Mono::ZERO, &mut entropy)).unwrap();
    assert_eq!(*ticket.endpoint().value(), 4);
}

#[test]
fn a_reader_sees_what_its_selector_sees() {
    let mut bench = Bench::new(RoundRobin, &[1, 1]);
    let mut reader = bench.selector.reader();
    let mut entropy = crate::Entropy::seeded(1);
    let mut next = || {
        let ticket = reader.pick(&mut crate::PickCx::new(Mono::ZERO, &mut entropy));
        ticket.map_or(usize::MAX, |ticket| *ticket.endpoint().value())
    };
    assert_eq!((next(), next()), (0, 1));
    bench.reset(&[1], Mono::ZERO);
    assert_eq!((next(), next()), (0, 0));
    bench.reset(&[], Mono::ZERO);
    assert_eq!(next(), usize::MAX);
}

#[test]
fn a_warming_endpoint_takes_its_share_by_and_by() {
    let window = Duration::from_secs(10);
    let bench = Bench::new(Random, &[1, 1]);
    bench.cluster.set_slow_start(Some(SlowStart::new(window)));
    let came = Mono::from_millis(1_000);
    bench.cluster.apply(Update::Upsert(vec![member(2)]), came);
    let share_at = |now: Mono| {
        let picks = (0..6_000).filter(|_| *bench.pick_with(None, &Tried::new(), now).unwrap().endpoint().value() == 2);
        picks.count() as f64 / 6_000.0
    };
    // Drawn a third of the time, it stands with probability p: p/3. Standard deviation at most √(⅓·⅔/6000) = 0.006.
    for (passed, p) in [(0, 0.1), (5_000, 0.5), (10_000, 1.0)] {
        let share = share_at(came.saturating_add(Duration::from_millis(passed)));
        assert!((share - p / 3.0).abs() < 0.03, "{passed} ms: {share}");
    }
}

#[test]
fn a_recovered_endpoint_warms_up_and_serves_alone_if_it_must() {
    let bench = Bench::new(RoundRobin, &[1]);
    bench.cluster.set_slow_start(Some(SlowStart::new(Duration::from_secs(10)).floor(0.0)));
    bench.set(0, Axis::Check, true, Mono::from_millis(1));
    bench.set(0, Axis::Check, false, Mono::from_millis(2));
    assert_ne!(bench.cluster.endpoints()[0].state().warming_cell().load(Ordering::Relaxed), 0);
    let now = Mono::from_millis(2);
    assert!((0..20).all(|_| bench.pick_with(None, &Tried::new(), now).is_ok()));
}

#[test]
fn endpoints_that_warm_up_together_owe_one_another_nothing() {
    let bench = Bench::new(Rendezvous::new(), &[1, 1, 1]);
    let home = |key: u32, now| {
        let ticket = bench.pick_with(Some(&key.to_le_bytes()), &Tried::new(), now).unwrap();
        *ticket.endpoint().value()
    };
    let homes: Vec<usize> = (0..500).map(|key| home(key, Mono::ZERO)).collect();
    bench.cluster.set_slow_start(Some(SlowStart::new(Duration::from_secs(10))));
    bench.cluster.set_panic_mode(PanicMode::Never, Mono::ZERO);
    for on in [true, false] {
        (0..3).for_each(|n| bench.set(n, Axis::Check, on, Mono::from_millis(1)));
    }
    let early = Mono::from_millis(2);
    assert!(bench.cluster.endpoints().iter().all(|endpoint| bench.cluster.warming_share(endpoint, early) == Some(0.1)));
    assert!((0..500).all(|key| home(key, early) == homes[key as usize]), "no key leaves its home");
    let late = Mono::from_millis(10_001);
    assert!(bench.cluster.endpoints().iter().all(|endpoint| bench.cluster.warming_share(endpoint, late).is_none()));
}

#[test]
fn a_full_replacement_never_leaves_a_gap() {
    let bench = Bench::new(RoundRobin, &[1, 1]);
    let done = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        for seed in 0..2 {
            let (selector, done) = (&bench.selector, &done);
            scope.spawn(move || {
                let mut entropy = crate::Entropy::seeded(seed);
                while !done.load(Ordering::Relaxed) {
                    let _ = selector.pick(&mut crate::PickCx::new(Mono::ZERO, &mut entropy)).unwrap();
                }
            });
        }
        for round in 0..2_000_usize {
            let members = vec![member(2 * (round % 3)), member(2 * (round % 3) + 1)];
            bench.cluster.apply(Update::Reset(members), Mono::ZERO);
        }
        done.store(true, Ordering::Relaxed);
    });
}

#[test]
fn a_throttled_endpoint_takes_one_request_at_a_time_while_another_has_room() {
    let bench = Bench::new(RoundRobin, &[1, 1]);
    let endpoints = bench.cluster.endpoints();
    let (throttled, other) = (&endpoints[0], &endpoints[1]);
    throttled.state().throttle(true);
    let mut held: Vec<_> = (0..10).map(|_| bench.pick().unwrap()).collect();
    assert_eq!((throttled.state().in_flight(), other.state().in_flight()), (1, 9));
    // A request that has tried it gains nothing by its having room.
    bench.cluster.set(other.uid(), Axis::Ejected, true, Mono::ZERO);
    let mut tried = Tried::new();
    tried.push(throttled.uid());
    bench.pick_with(None, &tried, Mono::ZERO).unwrap_err();
    assert!(throttled.state().is_throttled());
    held.push(bench.pick().unwrap());
    assert_eq!(throttled.state().in_flight(), 2, "no other endpoint could take it");
    assert!(!throttled.state().is_throttled());
}

#[test]
fn no_pick_is_refused_while_checks_of_the_last_endpoints_fail_and_recover() {
    let bench = Bench::new(RoundRobin, &[1, 1]);
    let uids: Vec<Uid> = bench.cluster.endpoints().iter().map(|endpoint| endpoint.uid()).collect();
    let done = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        for seed in 0..2 {
            let (selector, done) = (&bench.selector, &done);
            scope.spawn(move || {
                let mut entropy = crate::Entropy::seeded(seed);
                while !done.load(Ordering::Relaxed) {
                    let _ = selector.pick(&mut crate::PickCx::new(Mono::ZERO, &mut entropy)).unwrap();
                }
            });
        }
        for round in 0..20_000_usize {
            let axis = if round % 4 < 2 { Axis::Check } else { Axis::Ejected };
            bench.cluster.set(uids[round % 2], axis, round % 8 < 4, Mono::ZERO);
        }
        done.store(true, Ordering::Relaxed);
    });
}

/// Notes, whenever its table is built, which members could be picked at that moment.
struct Onlooker(Arc<Mutex<Vec<Vec<bool>>>>);

struct NoTable;

impl Table for NoTable {
    fn pick(&self, _: &View<'_>, _: &mut PickCx<'_>) -> Option<Index> {
        None
    }
}

impl Policy for Onlooker {
    type Table = NoTable;

    fn signals(&self) -> Signals {
        // Is shown every member, eligible or not.
        Signals::KEY
    }

    fn build(&self, candidates: &[Candidate<'_>], _: Option<&NoTable>) -> NoTable {
        self.0.lock().unwrap().push(candidates.iter().map(|candidate| candidate.state.is_eligible()).collect());
        NoTable
    }
}

#[test]
fn an_endpoint_that_joins_drained_is_never_picked() {
    let seen = Arc::default();
    let cluster = Cluster::new("c");
    let _selector = cluster.selector(Onlooker(Arc::clone(&seen)));
    cluster.apply(Update::Reset(vec![member(0), member(1).axis(Axis::Drain, true)]), Mono::ZERO);
    cluster.apply(Update::Upsert(vec![member(2).axis(Axis::Unresolved, true), member(1)]), Mono::ZERO);
    cluster.apply(
        Update::Upsert(vec![member(1).axis(Axis::Drain, false), member(0).axis(Axis::Removed, true)]),
        Mono::ZERO,
    );
    let all = std::mem::take(&mut *seen.lock().unwrap());
    let expected: [&[bool]; 4] = [&[], &[true, false], &[true, false, false], &[true, true, false]];
    assert_eq!(all[all.len() - 3..], expected[1..], "{all:?}");
    assert_eq!(cluster.eligible_count(), 2);
}

#[test]
fn an_endpoint_undrained_by_an_update_warms_up() {
    let cluster = Cluster::new("c");
    cluster.set_slow_start(Some(SlowStart::new(Duration::from_secs(30))));
    cluster.apply(Update::Reset(vec![member(0), member(1).axis(Axis::Drain, true)]), Mono::ZERO);
    cluster.apply(Update::Reset(vec![member(0), member(1).axis(Axis::Drain, false)]), Mono::from_millis(5));
    let endpoints = cluster.endpoints();
    let warming = [0, 1].map(|n| cluster.warming_share(&endpoints[n], Mono::from_millis(5)).is_some());
    assert_eq!(warming, [false, true]);
}
