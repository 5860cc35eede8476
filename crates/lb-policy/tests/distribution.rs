//! Shares and spreads against expectations calculated by hand, under load and over time. Seeds are fixed; each tolerance is argued.

use std::time::Duration;

use lb_core::{Axis, Mono};
use lb_policy::{
    BuiltIn, Cluster, Entropy, Identity, LeastRequest, Member, P2c, PickCx, Policy, Random, RingHash, RoundRobin,
    Selector, SlowStart, Ticket, Tried, Update,
};

fn cluster(weights: &[u16]) -> Cluster<usize> {
    let cluster = Cluster::new("distribution");
    let members = weights.iter().enumerate().map(|(n, &weight)| member(n).weight(weight));
    cluster.apply(Update::Reset(members.collect()), Mono::ZERO);
    cluster
}

fn member(n: usize) -> Member<usize> {
    Member::new(Identity::literal(format!("10.0.{}.{}:80", n / 256, n % 256)), n)
}

fn pick<P: Policy>(selector: &Selector<P, usize>, entropy: &mut Entropy) -> Ticket<usize> {
    selector.pick(&mut PickCx::new(Mono::ZERO, entropy)).expect("all are eligible")
}

/// A thousand requests held by a thousand endpoints: how many the busiest has.
fn busiest<P: Policy>(policy: P, seed: u64) -> u32 {
    let cluster = cluster(&[1; 1_000]);
    let selector = cluster.selector(policy);
    let mut entropy = Entropy::seeded(seed);
    let _held: Vec<_> = (0..1_000).map(|_| pick(&selector, &mut entropy)).collect();
    cluster.endpoints().iter().map(|endpoint| endpoint.state().in_flight()).max().unwrap_or(0)
}

#[test]
fn two_choices_tame_the_busiest_endpoint() {
    for seed in 0..5 {
        // One choice: P(some bin ≥ 5) is above 0.97 (1000 · P(Poisson(1) ≥ 5) = 3.66), P(some bin ≥ 9) below 0.002.
        let random = busiest(Random, seed);
        assert!((5..=8).contains(&random), "{random}");
        // Two: ln ln 1000 ∕ ln 2 = 2.8, and a constant; four or more practically never.
        let two = busiest(P2c, seed);
        assert!((2..=3).contains(&two), "{two}");
        assert_eq!(busiest(LeastRequest::exact(), seed), 1);
        assert_eq!(busiest(RoundRobin, seed), 1);
    }
}

/// So many requests are always in flight; a random one ends when the next comes. Shares in units of weight.
fn closed_loop<P: Policy>(policy: P, weights: &[u16], in_flight: usize) -> Vec<f64> {
    let cluster = cluster(weights);
    let selector = cluster.selector(policy);
    let mut entropy = Entropy::seeded(5);
    let mut held = Vec::new();
    let mut counts = vec![0_u32; weights.len()];
    for _ in 0..20_000 {
        let ticket = pick(&selector, &mut entropy);
        counts[*ticket.endpoint().value()] += 1;
        held.push(ticket);
        if held.len() >= in_flight {
            let place = entropy.below(held.len() as u64) as usize;
            drop(held.swap_remove(place));
        }
    }
    let total: u16 = weights.iter().sum();
    counts.iter().map(|&count| f64::from(count) * f64::from(total) / 20_000.0).collect()
}

#[test]
fn shares_follow_weights_when_idle_and_when_busy() {
    // Computed by an independent simulation of the same rule: a single request in flight gives exact shares, a queue of eight a
    // weight nearly so; in between, the lightest are ahead, since one request at a heavy endpoint already makes them the better choice.
    for (in_flight, tolerance) in [(1, 0.15), (64, 0.3)] {
        for (share, weight) in closed_loop(P2c, &[4, 2, 1, 1], in_flight).iter().zip([4.0, 2.0, 1.0, 1.0]) {
            assert!((share - weight).abs() < tolerance, "{in_flight}: {share} for {weight}");
        }
    }
    for (share, weight) in closed_loop(LeastRequest::exact(), &[4, 2, 1, 1], 64).iter().zip([4.0, 2.0, 1.0, 1.0]) {
        assert!((share - weight).abs() < 0.15, "{share} for {weight}");
    }
}

#[test]
fn a_retry_s_load_falls_to_the_others_in_proportion() {
    let cluster = cluster(&[6, 3, 2, 1]);
    let mut tried = Tried::new();
    tried.push(cluster.endpoints()[0].uid());
    let mut entropy = Entropy::seeded(1);
    let mut shares = |selector: &dyn Fn(&mut PickCx<'_>) -> usize| {
        let mut counts = [0_u32; 4];
        for _ in 0..12_000 {
            counts[selector(&mut PickCx::new(Mono::ZERO, &mut entropy).tried(&tried))] += 1;
        }
        counts
    };
    let turns = cluster.selector(RoundRobin);
    let by_turns = shares(&|cx| *turns.pick(cx).expect("three are left").endpoint().value());
    assert_eq!(by_turns, [0, 6_000, 4_000, 2_000]);
    let dice = cluster.selector(Random);
    let by_chance = shares(&|cx| *dice.pick(cx).expect("three are left").endpoint().value());
    for (count, expected) in by_chance.iter().zip([0_u32, 6_000, 4_000, 2_000]) {
        // σ ≤ √(12000·½·½) ≈ 55; 275 is five of them.
        assert!(count.abs_diff(expected) < 275, "{by_chance:?}");
    }
}

#[test]
fn a_retry_finds_the_needle() {
    // All but one of many tried: no draw finds it, the search does.
    let cluster = cluster(&[1; 500]);
    let mut tried = Tried::new();
    for endpoint in cluster.endpoints().iter().skip(1) {
        tried.push(endpoint.uid());
    }
    let mut entropy = Entropy::seeded(1);
    let selector = cluster.selector(P2c);
    let ticket = selector.pick(&mut PickCx::new(Mono::ZERO, &mut entropy).tried(&tried)).expect("one is left");
    assert_eq!(*ticket.endpoint().value(), 0);
}

#[test]
fn over_its_window_a_warming_endpoint_takes_half_its_share() {
    let cluster = cluster(&[1]);
    cluster.set_slow_start(Some(SlowStart::new(Duration::from_secs(10))));
    cluster.apply(Update::Upsert(vec![member(1)]), Mono::from_millis(0));
    let selector = cluster.selector(Random);
    let mut entropy = Entropy::seeded(1);
    let mut warming = 0;
    for n in 0..20_000_u64 {
        let mut cx = PickCx::new(Mono::ZERO.saturating_add(Duration::from_micros(500 * n)), &mut entropy);
        warming += u32::from(*selector.pick(&mut cx).expect("both are eligible").endpoint().value() == 1);
    }
    // Drawn half of the time, it stands with max(0.1, t): on average 0.1·0.1 + (1 − 0.1²)/2 = 0.505. Of 20 000: 5050; σ ≈ 61.
    assert!(warming.abs_diff(5_050) < 310, "{warming}");
}

/// The endpoint that comes back takes a tenth of what it had, whatever the policy.
#[test]
fn slow_start_thins_every_built_in() {
    const REQUESTS: u32 = 4_000;
    for &name in BuiltIn::NAMES {
        let cluster = cluster(&[1; 4]);
        cluster.set_slow_start(Some(SlowStart::new(Duration::from_secs(10))));
        let selector = cluster.selector(BuiltIn::from_name(name, []).expect("the name is one of its own"));
        let came = Mono::from_millis(100);
        let had = |now| {
            let mut entropy = Entropy::seeded(3);
            let is_first = |n: &u32| {
                let key = n.wrapping_mul(0x9e37_79b9).to_le_bytes();
                let mut cx = PickCx::new(now, &mut entropy).key(Some(&key));
                *selector.pick(&mut cx).expect("all are eligible").endpoint().value() == 0
            };
            (0..REQUESTS).filter(is_first).count()
        };
        let warm = had(Mono::ZERO);
        let uid = cluster.endpoints()[0].uid();
        cluster.set(uid, Axis::Check, true, Mono::from_millis(50));
        cluster.set(uid, Axis::Check, false, came);
        cluster.maintain(came);
        let warming = had(came);
        // Whatever `first` has is 4000 and every other's share 1000; a tenth of it, give or take five times √(4000·0.1·0.9) = 19.
        assert!(warm > 850 && warming.abs_diff(warm / 10) <= 95, "{name}: {warming} of {warm}");
    }
}

#[test]
fn shares_of_a_ring_scatter_as_its_points_do() {
    // 100 endpoints of 160 points: the standard deviation of a share is 1 ∕ √160 = 7.9 % of it. Its estimate from 100 of them
    // is itself off by 7 % of that; keys add √(1 ∕ 2000) = 2.2 %: √(7.9² + 2.2²) = 8.2 %, give or take three times 0.6.
    let cluster = cluster(&[1; 100]);
    let selector = cluster.selector(RingHash::new());
    let mut entropy = Entropy::seeded(1);
    let mut counts = vec![0_u32; 100];
    for n in 0..200_000_u32 {
        let key = n.to_string();
        let mut cx = PickCx::new(Mono::ZERO, &mut entropy).key(Some(key.as_bytes()));
        counts[*selector.pick(&mut cx).expect("all are eligible").endpoint().value()] += 1;
    }
    let variance = counts.iter().map(|&count| (f64::from(count) / 2_000.0 - 1.0).powi(2)).sum::<f64>() / 100.0;
    assert!((variance.sqrt() - 0.082).abs() < 0.018, "{}", variance.sqrt());
}
