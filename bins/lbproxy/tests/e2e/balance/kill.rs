//! Endpoints that die under load.

use super::{balancing, list, named};
use crate::support::{Load, wait_until};
use crate::with_one_and_four_workers;

with_one_and_four_workers!(an_endpoint_that_dies_costs_no_request_and_comes_back);

fn an_endpoint_that_dies_costs_no_request_and_comes_back(workers: usize) {
    let mut endpoints = named(["a", "b", "c"]);
    let proxy = balancing(
        workers,
        "",
        &list(&endpoints),
        "health.passive = { failures = 3, eject_for = \"200ms\" }\n\
         health.active = { tcp = true, interval = \"50ms\", fall = 2, rise = 2 }",
    );
    let load = Load::start(proxy.web(), 8);
    load.wait_for_more(200);
    for victim in [0, 1, 0] {
        endpoints[victim].stop();
        load.wait_for_more(300);
        let at_the_return = endpoints[victim].requests();
        endpoints[victim].start();
        wait_until("traffic to come back", || endpoints[victim].requests() > at_the_return);
        load.wait_for_more(100);
    }
    let report = load.stop();
    report.expect_no_failure();
    assert_eq!(report.by_body.len(), 3, "{report:?}");
    wait_until("every slot to be free", || {
        endpoints.iter().all(|endpoint| proxy.endpoint("app", &endpoint.at())["in_flight"] == 0)
    });
    let exit = proxy.terminate();
    assert_eq!(exit.code, Some(0));
    assert!(exit.access(|line| line["status"] != 200).is_empty());
}
