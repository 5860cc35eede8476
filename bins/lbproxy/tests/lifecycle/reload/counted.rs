//! What is counted and logged goes on through reloads.

use std::collections::BTreeMap;

use super::Traffic;
use crate::support::{Endpoint, Proxy, config};
use crate::{app, with_one_and_four_workers};

with_one_and_four_workers!(counters_never_go_back_and_every_request_is_logged);

/// The series of counters and histograms.
fn counters(proxy: &Proxy) -> BTreeMap<String, f64> {
    let page = proxy.ask_admin("/metrics").text();
    let series = page.lines().filter(|line| !line.starts_with('#')).filter_map(|line| line.rsplit_once(' '));
    let counted = series.filter(|(name, _)| {
        let name = name.split('{').next().unwrap_or_default();
        ["_total", "_count", "_sum", "_bucket"].iter().any(|end| name.ends_with(end))
    });
    counted.map(|(name, value)| (name.to_owned(), value.parse().unwrap())).collect()
}

fn counters_never_go_back_and_every_request_is_logged(workers: usize) {
    let [a, b] = ["a", "b"].map(Endpoint::named);
    let texts = [
        config(workers, &app(&[&a.at(), &b.at()], "")),
        config(workers, &app(&[&a.at()], "policy = \"random\"")),
        config(workers, &app(&[&b.at(), &a.at()], "health.passive = { failures = 5 }")),
    ];
    let mut proxy = Proxy::start(&texts[0]);
    let traffic = Traffic::start(proxy.web());
    let mut before = counters(&proxy);
    for text in texts.iter().cycle().skip(1).take(6) {
        proxy.reload(text);
        traffic.wait_for_more(10);
        let now = counters(&proxy);
        // Series of the removed endpoint end; what there is has not gone back.
        for (name, value) in now.iter().filter(|(name, _)| !name.contains(&b.at())) {
            assert!(before.get(name).is_none_or(|before| before <= value), "{name}: {:?} → {value}", before.get(name));
        }
        for name in before.keys().filter(|name| !name.contains(&b.at())) {
            assert!(now.contains_key(name), "{name} is gone");
        }
        before = now;
    }
    let answered = traffic.expect_no_failure();
    let exit = proxy.terminate();
    assert_eq!(exit.access(|line| line["path"] == "/load" && line["status"] == 200).len(), answered);
}
