//! An explanation says what the pick does, and leaves no trace.

use std::time::Duration;

use lb_core::{Axis, Class, InFlightLimit, Mono};
use lb_policy::{
    BuiltIn, Cluster, Entropy, Explanation, Identity, LoadReport, Maglev, Member, P2c, PickCx, Policy, Probe,
    ProbePool, ProbeTuning, RoundRobin, Selector, SlowStart, Spill, Step, Ticket, Tried, Update, Zone, ZoneAware,
};

/// Nine endpoints of unequal weight in two tiers and three zones; one has a limit.
fn cluster() -> Cluster<usize> {
    let cluster = Cluster::new("app");
    let members = (0..9).map(|n: usize| {
        let member = Member::new(Identity::literal(format!("10.0.0.{n}:80")), n)
            .weight([1_u16, 3, 1, 2, 1, 5, 1, 1, 1][n])
            .limit(if n == 4 { InFlightLimit::new(2) } else { InFlightLimit::NONE });
        Member { priority: u8::from(n > 6), zone: Some(Zone(1 + n as u32 % 3)), ..member }
    });
    cluster.apply(Update::Reset(members.collect()), Mono::from_millis(1));
    cluster
}

/// What may be seen to change: counts in flight and picks in panic.
fn trace(cluster: &Cluster<usize>) -> (Vec<u32>, u64, Vec<bool>) {
    let endpoints = cluster.endpoints();
    let in_flight = endpoints.iter().map(|endpoint| endpoint.state().in_flight()).collect();
    let throttled = endpoints.iter().map(|endpoint| endpoint.state().is_throttled()).collect();
    (in_flight, cluster.panic_picks(), throttled)
}

/// Hundreds of requests while endpoints fail, fill, warm and cool down; each pick is explained twice before it is made.
fn says_what_it_does<P: Policy>(name: &str, policy: P, seed: u64) {
    let cluster = cluster();
    let selector: Selector<P, usize> = cluster.selector(policy);
    let (mut dice, mut entropy) = (Entropy::seeded(seed), Entropy::seeded(seed ^ 7));
    let mut held: Vec<Ticket<usize>> = Vec::new();
    let mut probes = ProbePool::new(ProbeTuning::default());
    let mut refused = 0;
    for step in 0..600_u64 {
        let now = Mono::from_millis(1_000 + step * 40);
        disturb(&cluster, &mut dice, step, now);
        let endpoints = cluster.endpoints();
        if dice.below(3) == 0 {
            let endpoint = &endpoints[dice.below(9) as usize];
            let report = LoadReport { requests_per_second: 100.0, utilization: dice.unit(), errors_per_second: 0.0 };
            endpoint.on_report(report, now);
            let (uid, in_flight) = (endpoint.uid(), endpoint.state().in_flight());
            let latency = Duration::from_millis(dice.below(50));
            probes.on_probe(Probe { uid, in_flight, latency }, 9, &mut dice, now);
        }
        let mut tried = Tried::new();
        (0..dice.below(3)).for_each(|_| tried.push(endpoints[dice.below(9) as usize].uid()));
        let key = dice.next_u64().to_be_bytes();
        let key = (dice.below(4) > 0).then_some(&key[..if dice.below(2) == 0 { 4 } else { 8 }]);
        let preferred = (dice.below(8) == 0).then(|| endpoints[dice.below(9) as usize].affinity());
        let zone = (dice.below(2) == 0).then(|| Zone(1 + dice.below(3) as u32));
        let mut pooled = (dice.below(2) == 0).then(|| probes.clone());

        let mut cx = PickCx::new(now, &mut entropy).key(key).tried(&tried).preferred(preferred).zone(zone);
        cx = cx.probes(pooled.as_mut());
        let before = trace(&cluster);
        let [once, again] = [selector.explain(&cx), selector.explain(&cx)];
        assert_eq!((&once.choice, &once.steps), (&again.choice, &again.steps), "{name} {step}: the first left a trace");
        assert_eq!(trace(&cluster), before, "{name} {step}");
        let picked = selector.pick(&mut cx);
        let uid = picked.as_ref().map(|ticket| ticket.endpoint().uid()).map_err(|error| *error);
        let explained =
            once.choice.as_ref().map(|index| once.endpoint(*index).map(|it| it.uid)).map_err(|error| *error);
        assert_eq!(explained, uid.map(Some), "{name} {step}\n{once}");
        assert!(
            step % 8 > 0
                || once.to_string().contains(&once.chosen().map_or("no_endpoint".into(), |it| it.identity.to_string()))
        );
        refused += u32::from(uid.is_err());

        if let Ok(mut ticket) = picked {
            ticket.on_head(Class::Status(200), now.saturating_add(Duration::from_millis(dice.below(30))));
            held.push(ticket);
        }
        while held.len() > 14 || (!held.is_empty() && dice.below(3) == 0) {
            drop(held.swap_remove(dice.below(held.len() as u64) as usize));
        }
    }
    assert!(refused < 100, "{name}: mostly refusals prove nothing");
}

/// Something happens to one endpoint, or to the rules.
fn disturb(cluster: &Cluster<usize>, dice: &mut Entropy, step: u64, now: Mono) {
    let endpoints = cluster.endpoints();
    let endpoint = &endpoints[dice.below(9) as usize];
    match dice.below(6) {
        0 => drop(cluster.set(endpoint.uid(), Axis::Check, dice.below(2) == 0, now)),
        1 => drop(cluster.set(endpoint.uid(), Axis::Ejected, dice.below(2) == 0, now)),
        2 => drop(cluster.set(endpoint.uid(), Axis::CoolDown, dice.below(2) == 0, now)),
        3 => endpoint.state().throttle(dice.below(2) == 0),
        _ => {}
    }
    match step {
        150 => cluster.set_slow_start(Some(SlowStart::new(Duration::from_secs(5)))),
        300 => cluster.set_spill(Spill::Overprovisioned(1.4), now),
        // All at once: nobody is left, or all are throttled.
        400 | 500 => endpoints.iter().for_each(|endpoint| endpoint.state().throttle(true)),
        450 => {
            for endpoint in &*endpoints {
                cluster.set(endpoint.uid(), Axis::Check, true, now);
            }
        }
        _ => {}
    }
}

#[test]
fn every_policy_of_the_catalog_picks_what_its_explanation_says() {
    for (seed, name) in (1..).zip(BuiltIn::NAMES) {
        says_what_it_does(name, BuiltIn::from_name(name, []).unwrap(), seed);
    }
    for name in ["ip_hash", "hash", "ring_hash", "maglev", "rendezvous", "memento"] {
        let bounded = BuiltIn::from_name(name, [("bounded_load", 1.25)]).unwrap();
        says_what_it_does(name, bounded, 99);
    }
    says_what_it_does("choices", BuiltIn::from_name("least_request", [("choices", 3.0)]).unwrap(), 3);
    let origins = [(Zone(1), 3), (Zone(2), 1), (Zone(3), 1)];
    says_what_it_does("zones of maglev", ZoneAware::new(Maglev::new(), &origins), 4);
    says_what_it_does("zones of turns", ZoneAware::new(RoundRobin, &origins), 5);
}

fn explain<P: Policy>(cluster: &Cluster<usize>, policy: P) -> Explanation {
    cluster.selector(policy).explain(&PickCx::new(Mono::ZERO, &mut Entropy::seeded(1)))
}

#[test]
fn it_says_what_keeps_an_endpoint_out_and_how_the_choice_was_made() {
    let cluster = Cluster::new("app");
    let members = ["a:80", "b:80", "c:80"].into_iter().zip(0..).map(|(name, n)| Member::new(name, n));
    cluster.apply(Update::Reset(members.collect()), Mono::ZERO);
    cluster.set(cluster.uid_of(&"b:80".into()).unwrap(), Axis::Ejected, true, Mono::ZERO);
    let held = cluster.selector(RoundRobin).pick(&mut PickCx::new(Mono::ZERO, &mut Entropy::seeded(1))).unwrap();
    assert_eq!(*held.endpoint().value(), 0);

    let explanation = explain(&cluster, P2c);
    let usable: Vec<_> = explanation.endpoints.iter().map(lb_policy::ConsideredEndpoint::is_usable).collect();
    assert_eq!(usable, [true, false, true]);
    assert_eq!(explanation.endpoints[1].reasons, [Axis::Ejected]);
    // Two are left, so both are drawn; the idle one has less in flight.
    let places = [0, 2].map(lb_policy::Index::new);
    assert_eq!(places.map(|place| explanation.scores(place).collect::<Vec<_>>()), [[1.0], [0.0]]);
    assert_eq!(explanation.choice, Ok(places[1]));
    assert_eq!(explanation.steps.last(), Some(&Step::Settled { endpoint: Some(places[1]) }));

    let text = explanation.to_string();
    let lines: Vec<_> = text.lines().collect();
    assert_eq!(lines[0], "  endpoint  tier  weight  in flight  state");
    assert_eq!(lines[1], "  a:80         0       1          1  usable");
    assert_eq!(lines[2], "  b:80         0       1          0  ejected");
    assert_eq!(lines[3], "> c:80         0       1          0  usable");
    assert!(text.contains("a:80: 1.000 (in flight per weight, least wins)"), "{text}");
    assert!(text.ends_with("the policy settles on c:80\npicked: c:80"), "{text}");
}

#[test]
fn an_empty_cluster_is_explained_too() {
    let explanation = explain(&Cluster::new("app"), P2c);
    assert!(explanation.endpoints.is_empty() && explanation.chosen().is_none());
    assert!(explanation.to_string().ends_with("no_endpoint: the cluster is empty"));
}
