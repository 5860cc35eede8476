//! Policies that go by how endpoints do: by latency, where one that fails fast must not look fast, and by what they report.

use super::{asked, balancing, counted};
use crate::support::{Client, Endpoint, text, wait_until};
use crate::with_one_and_four_workers;

with_one_and_four_workers!(an_endpoint_that_fails_fast_is_avoided);

fn an_endpoint_that_fails_fast_is_avoided(workers: usize) {
    let good = Endpoint::named("g");
    let bad = Endpoint::answering(|_| text(500, "b"));
    for policy in [
        "\"peak_ewma\"",
        "{ name = \"peak_ewma\", decay = \"1000s\", penalty = \"100s\" }",
        "\"least_time\"",
        "{ name = \"prequal\", quantile = 0.5, penalty = \"60s\" }",
        "\"c3\"",
    ] {
        let proxy = balancing(workers, &[(&bad, ""), (&good, "")], policy);
        let counts = counted(&asked(&proxy, 200));
        // It is tried at first. Taking turns, it would have had a hundred.
        assert!(counts.get(&'b').is_none_or(|&bad| bad <= 10), "{policy}: {counts:?}");
    }
}

#[test]
fn an_endpoint_that_reports_to_be_idle_gets_more() {
    let reporting = |name: &'static str, utilization: &'static str| {
        Endpoint::answering(move |_| {
            let report = format!("\r\nendpoint-load-metrics: TEXT rps_fractional=90, cpu_utilization={utilization}");
            text(200, name).replacen("\r\n", &(report + "\r\n"), 1)
        })
    };
    let (busy, idle) = (reporting("b", "0.9"), reporting("i", "0.1"));
    let proxy = balancing(2, &[(&busy, ", weight = 100"), (&idle, "")], "\"orca\"");
    let mut client = Client::connect(proxy.web());
    let mut last = String::new();
    // One in ten goes to the busy one, but only once reports have come for ten seconds; before, one in two.
    wait_until("reports to be used", || {
        last.push_str(&client.get("/").text());
        let recent = last.get(last.len().saturating_sub(100)..).unwrap_or_default();
        counted(recent).get(&'i').is_some_and(|&idle| idle >= 88)
    });
    assert!(counted(&last[..100])[&'b'] == 50, "at first all were equal: {last}");
}
