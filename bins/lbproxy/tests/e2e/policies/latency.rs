//! Policies that go by latency: an endpoint that fails fast must not look fast.

use super::{asked, balancing, counted};
use crate::support::{Endpoint, text};
use crate::with_one_and_four_workers;

with_one_and_four_workers!(whoever_fails_fast_is_avoided);

fn whoever_fails_fast_is_avoided(workers: usize) {
    let good = Endpoint::named("g");
    let bad = Endpoint::answering(|_| text(500, "b"));
    for policy in [
        "\"peak_ewma\"",
        "{ name = \"peak_ewma\", decay = \"1000s\", penalty = \"100s\" }",
        "\"least_time\"",
        "{ name = \"prequal\", quantile = 0.5, penalty = \"60s\" }",
    ] {
        let proxy = balancing(workers, &[(&bad, ""), (&good, "")], policy);
        let counts = counted(&asked(&proxy, 200));
        // It is tried at first. Taking turns, it would have had a hundred.
        assert!(counts.get(&'b').is_none_or(|&bad| bad <= 10), "{policy}: {counts:?}");
    }
}
