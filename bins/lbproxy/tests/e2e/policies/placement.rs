//! Tiers, zones and subsets.

use super::{app, asked, counted, three};
use crate::support::{Endpoint, Proxy, config, wait_until};
use crate::with_one_and_four_workers;

with_one_and_four_workers!(
    tiers_serve_in_their_order,
    load_spills_to_the_next_tier_in_proportion,
    requests_stay_in_their_zone_while_it_has_its_fair_share,
    a_proxy_with_a_subset_uses_only_the_subset
);

fn tiers_serve_in_their_order(workers: usize) {
    let [mut a, mut b, c] = three();
    let lines = app(&[(&c, ", backup = true"), (&b, ", priority = 2"), (&a, ", priority = 1")], "\"round_robin\"", "");
    let proxy = Proxy::start(&config(workers, &lines));
    assert_eq!(asked(&proxy, 10), "a".repeat(10));
    a.stop();
    assert_eq!(asked(&proxy, 10), "b".repeat(10));
    b.stop();
    assert_eq!(asked(&proxy, 10), "c".repeat(10));
    a.start();
    assert_eq!(asked(&proxy, 10), "a".repeat(10));
}

const CHECKS: &str = "health.active = { tcp = true, interval = \"20ms\", rise = 1, fall = 1, timeout = \"5s\" }\n";

fn load_spills_to_the_next_tier_in_proportion(workers: usize) {
    let [a, mut b, c] = three();
    let spill = format!("{CHECKS}spill = \"140%\"\npanic_threshold = \"0%\"");
    let lines = app(&[(&a, ""), (&b, ""), (&c, ", priority = 1")], "\"round_robin\"", &spill);
    let proxy = Proxy::start(&config(workers, &lines));
    assert!(!asked(&proxy, 60).contains('c'), "all of the first tier are well");
    b.stop();
    wait_until("b to be down", || proxy.endpoint("app", &b.at())["eligible"] == false);
    // Half of the tier is well: it carries 70 of 100. σ = √(300 · 0.7 · 0.3) = 8.
    let counts = counted(&asked(&proxy, 300));
    assert!(counts[&'a'].abs_diff(210) <= 40 && counts[&'c'].abs_diff(90) <= 40, "{counts:?}");
}

fn requests_stay_in_their_zone_while_it_has_its_fair_share(workers: usize) {
    let mut here = [(); 3].map(|()| Endpoint::named("a"));
    let there = [(); 3].map(|()| Endpoint::named("b"));
    let all = || here.iter().map(|it| (it, ", zone = \"a\"")).chain(there.iter().map(|it| (it, ", zone = \"b\"")));
    for policy in ["\"least_request\"", "{ name = \"maglev\", key = \"{request_id}\" }"] {
        let lines = app(&all().collect::<Vec<_>>(), policy, "");
        let nowhere = Proxy::start(&config(workers, &lines));
        assert_eq!(counted(&asked(&nowhere, 60)).len(), 2, "{policy}: a proxy in no zone uses both");
        let proxy = Proxy::start(&format!("zone = \"a\"\n{}", config(workers, &lines)));
        assert_eq!(asked(&proxy, 60), "a".repeat(60), "{policy}");
    }
    // Twice as many proxies here as there: half of what comes here is fair, and half of it goes over, as half the endpoints are.
    let lines = app(&all().collect::<Vec<_>>(), "\"round_robin\"", CHECKS);
    let top = "zone = { name = \"a\", proxies = { a = 3, b = 1 } }\n";
    let proxy = Proxy::start(&format!("{top}{}", config(workers, &lines)));
    // Three quarters of the proxies, half of the endpoints: two of three stay. σ = √(300 · 2/9) = 8.
    let counts = counted(&asked(&proxy, 300));
    assert!(counts[&'a'].abs_diff(200) <= 40, "{counts:?}");
    here.iter_mut().for_each(Endpoint::stop);
    wait_until("all here to be down", || here.iter().all(|it| proxy.endpoint("app", &it.at())["eligible"] == false));
    assert_eq!(asked(&proxy, 20), "b".repeat(20), "a zone without endpoints keeps nothing");
}

fn a_proxy_with_a_subset_uses_only_the_subset(workers: usize) {
    let endpoints = ["a", "b", "c", "d", "e", "f"].map(Endpoint::named);
    let all: Vec<_> = endpoints.iter().map(|it| (it, "")).collect();
    let with = |subset: &str| config(workers, &app(&all, "\"round_robin\"", subset));
    let proxies = [0, 1, 2].map(|number| Proxy::start(&with(&format!("subset = {{ size = 2, number = {number} }}"))));
    let mut uses = String::new();
    for proxy in &proxies {
        let names = counted(&asked(proxy, 20));
        assert_eq!(names.values().copied().collect::<Vec<_>>(), [10, 10], "{names:?}");
        assert_eq!(proxy.status()["clusters"]["app"]["endpoints"].as_array().unwrap().len(), 2);
        uses.extend(names.keys());
    }
    assert_eq!(counted(&uses).len(), 6, "three proxies with two of six each use them all: {uses}");
    let named = ["one", "one"].map(|name| {
        let proxy = Proxy::start(&with(&format!("subset = {{ size = 2, client = \"{name}\" }}")));
        counted(&asked(&proxy, 20)).into_keys().collect::<String>()
    });
    assert!(named[0] == named[1] && named[0].len() == 2, "{named:?}");
}
