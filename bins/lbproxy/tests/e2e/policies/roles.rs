//! Endpoints that stand in, that drain, and that have just come.

use super::{app, asked, counted, three};
use crate::support::{Client, Proxy, config, get};
use crate::with_one_and_four_workers;

with_one_and_four_workers!(
    a_backup_serves_only_while_no_other_endpoint_can,
    a_draining_endpoint_keeps_its_sticky_clients_and_gets_no_new_ones,
    a_joining_endpoint_reaches_its_share_gradually
);

fn a_backup_serves_only_while_no_other_endpoint_can(workers: usize) {
    let [mut a, mut b, c] = three();
    let lines = app(&[(&c, ", backup = true, weight = 100"), (&a, ""), (&b, "")], "\"round_robin\"", "");
    let proxy = Proxy::start(&config(workers, &lines));
    assert_eq!(counted(&asked(&proxy, 20)), [('a', 10), ('b', 10)].into());
    a.stop();
    assert_eq!(asked(&proxy, 10), "b".repeat(10));
    b.stop();
    assert_eq!(asked(&proxy, 10), "c".repeat(10));
    a.start();
    assert_eq!(asked(&proxy, 10), "a".repeat(10));
}

fn a_draining_endpoint_keeps_its_sticky_clients_and_gets_no_new_ones(workers: usize) {
    let [a, b, _] = three();
    let with = |keys: &str| config(workers, &app(&[(&a, keys), (&b, "")], "\"round_robin\"", ""));
    let mut proxy = Proxy::start(&with(""));
    let first = get(proxy.web(), "/");
    assert_eq!(first.text(), "a");
    let cookie = first.header("Set-Cookie").unwrap().split(';').next().unwrap().to_owned();
    let sticky = |proxy: &Proxy| Client::connect(proxy.web()).ask(&format!("GET / HTTP/1.1\nCookie: {cookie}")).text();

    proxy.reload(&with(", drain = true"));
    assert_eq!(proxy.endpoint("app", &a.at())["state"], "drain");
    assert_eq!(asked(&proxy, 6), "bbbbbb");
    assert_eq!([sticky(&proxy), sticky(&proxy)], ["a", "a"]);

    proxy.reload(&with(""));
    assert_eq!(counted(&asked(&proxy, 6)), [('a', 3), ('b', 3)].into());
}

fn a_joining_endpoint_reaches_its_share_gradually(workers: usize) {
    let [a, b, c] = three();
    let ramp = "slow_start = \"1h\"";
    let mut proxy = Proxy::start(&config(workers, &app(&[(&a, ""), (&b, "")], "\"round_robin\"", ramp)));
    assert_eq!(proxy.endpoint("app", &a.at())["state"], "up", "an endpoint present at the start");
    proxy.reload(&config(workers, &app(&[(&a, ""), (&b, ""), (&c, "")], "\"round_robin\"", ramp)));
    assert_eq!(proxy.endpoint("app", &c.at())["state"], "warming");
    let counts = counted(&asked(&proxy, 300));
    // A tenth of its turns: 10, with σ = √(100·0.1·0.9) = 3; without a ramp, 100.
    assert!(counts.get(&'c').is_none_or(|&c| c < 30), "{counts:?}");
    assert!(counts[&'a'].abs_diff(counts[&'b']) < 30, "the others share the rest equally: {counts:?}");
}
