use lb_policy::conformance::{ORIGINS, Promises, Shares, allocations, check, check_crowd};
use lb_policy::{
    BoundedLoad, BuiltIn, C3, First, Hash, IpHash, LeastRequest, LeastTime, Maglev, Memento, Orca, P2c, PeakEwma,
    Policy, Prequal, Random, Rendezvous, RingHash, RoundRobin, StaticStride, ZoneAware,
};

#[track_caller]
fn holds<P: Policy>(make: impl Fn() -> P, promises: Promises) {
    let breaches = check(&make, &promises);
    let messages: Vec<String> = breaches.iter().map(ToString::to_string).collect();
    assert!(breaches.is_empty(), "{}", messages.join("\n"));
    let allocations = allocations(&make, |work| allocation_counter::measure(work).count_total);
    assert_eq!(allocations, 0, "a pick allocates");
}

#[test]
fn round_robin() {
    holds(|| RoundRobin, Promises::turns());
}

#[test]
fn turns_that_begin_anywhere() {
    // Spread out as ever, but not as seen from the middle of a cycle.
    holds(|| RoundRobin.starting_at(1_000_003), Promises::random());
    holds(|| StaticStride::new().starting_at(1_000_003), Promises { spread: 0.002, ..Promises::random() });
}

#[test]
fn static_stride() {
    // Even to a turn over each cycle, but not turn by turn.
    holds(StaticStride::new, Promises { spread: 0.002, ..Promises::random() });
}

#[test]
fn orca() {
    // No endpoint reports: all equal, whatever the weights.
    holds(Orca::new, Promises { shares: Shares::Equal, spread: 0.002, ..Promises::random() });
}

#[test]
fn random() {
    holds(|| Random, Promises::random());
}

#[test]
fn least_request() {
    // Never more than one request apart, per weight; idle endpoints take smooth turns.
    holds(LeastRequest::exact, Promises { imbalance: Some(1.0), ..Promises::turns() });
}

#[test]
fn least_request_of_three() {
    // Three draws of four see all but one; the one missed is met within a few picks.
    holds(|| LeastRequest::choices(3), Promises::load(3.0));
}

#[test]
fn p2c() {
    // ln ln 4 ∕ ln 2 is below one; per weight of one, drawn an eighth of the time, it lags by a few.
    holds(|| P2c, Promises::load(8.0));
}

#[test]
fn peak_ewma() {
    // Loads less than 5 % apart are a tie: at 40 in flight that is two more than for p2c.
    holds(PeakEwma::default, Promises::load(12.0));
}

#[test]
fn least_time() {
    // nginx divides the expected time by the weight: idle and equally fast, the heaviest is first.
    let promises = Promises { shares: Shares::EqualIfWeightsAre, imbalance: Some(1.0), ..Promises::random() };
    holds(LeastTime::default, promises);
}

#[test]
fn prequal() {
    holds(Prequal::default, Promises::load(6.0));
}

#[test]
fn c3() {
    // Three draws of four see all but one, and the cube separates one request from the next up to fifty.
    holds(C3::default, Promises::load(4.0));
}

#[test]
fn memento() {
    // Weights are not heeded. Not one key too many moves, whichever endpoint joins or leaves.
    holds(Memento::new, Promises { shares: Shares::Equal, ..Promises::keyed(0.0, Some(0.0)) });
}

#[test]
fn first() {
    holds(|| First, Promises { shares: Shares::Unpromised, ..Promises::random() });
}

#[test]
fn ip_hash() {
    // 6 271 values over a total weight of up to ten: shares are off by at most ten values in 627.
    holds(IpHash::new, Promises::keyed(0.03, None));
}

#[test]
fn hash() {
    // A CRC is linear, so nginx's second try is no independent draw: what an absent endpoint had is split up to a quarter off.
    holds(Hash::new, Promises::keyed(0.25, None));
}

#[test]
fn ring_hash() {
    // 160 points an endpoint: σ = 8 % of a share, and four of them for the worst of a few.
    holds(RingHash::new, Promises::keyed(0.32, Some(0.0)));
}

#[test]
fn maglev() {
    // Slots are even to one; what moves beyond need was measured by its authors and by Envoy at a few per cent.
    holds(Maglev::new, Promises::keyed(0.01, Some(0.08)));
}

#[test]
fn rendezvous() {
    holds(Rendezvous::new, Promises::keyed(0.0, Some(0.0)));
}

#[test]
fn zone_aware() {
    holds(|| ZoneAware::new(RoundRobin, &ORIGINS), Promises { is_zone_aware: true, ..Promises::turns() });
    let promises = Promises { is_zone_aware: true, ..Promises::keyed(0.0, Some(0.0)) };
    holds(|| ZoneAware::new(Rendezvous::new(), &ORIGINS), promises);
}

#[test]
fn zone_aware_around_every_built_in() {
    for &name in BuiltIn::NAMES {
        let make = || ZoneAware::new(BuiltIn::from_name(name, []).expect("the name is one of its own"), &ORIGINS);
        let promises = Promises { shares: Shares::Unpromised, is_zone_aware: true, ..Promises::random() };
        let messages: Vec<String> = check(make, &promises).iter().map(ToString::to_string).collect();
        assert!(messages.is_empty(), "{name}: {}", messages.join("\n"));
    }
}

#[test]
fn bounded_hashes() {
    // Requests here end at once: a bound is never met, and must not disturb anything.
    let bound = BoundedLoad::new(1.25);
    holds(move || Hash::new().bounded(bound), Promises::keyed(0.25, None));
    holds(move || IpHash::new().bounded(bound), Promises::keyed(0.03, None));
    let equal = Promises { shares: Shares::Equal, ..Promises::keyed(0.0, Some(0.0)) };
    holds(move || Memento::new().bounded(bound), equal);
    holds(move || RingHash::new().bounded(bound), Promises::keyed(0.32, Some(0.0)));
    holds(move || Maglev::new().bounded(bound), Promises::keyed(0.01, Some(0.08)));
    holds(move || Rendezvous::new().bounded(bound), Promises::keyed(0.0, Some(0.0)));
}

#[test]
fn every_built_in_among_a_hundred_thousand() {
    for &name in BuiltIn::NAMES {
        let breach = check_crowd(|| BuiltIn::from_name(name, []).expect("the name is one of its own"));
        assert_eq!(breach.map(|breach| breach.to_string()), None, "{name}");
    }
}

#[test]
fn every_built_in_by_name() {
    for &name in BuiltIn::NAMES {
        let make = || BuiltIn::from_name(name, []).expect("the name is one of its own");
        let promises = Promises { shares: Shares::Unpromised, ..Promises::random() };
        let messages: Vec<String> = check(make, &promises).iter().map(ToString::to_string).collect();
        assert!(messages.is_empty(), "{name}: {}", messages.join("\n"));
    }
}
