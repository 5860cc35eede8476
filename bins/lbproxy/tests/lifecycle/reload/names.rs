//! A reload that brings names, which must be looked up before they are of use.

use super::Traffic;
use crate::app;
use crate::support::{Endpoint, Proxy, config, get, wait_until};
use crate::with_one_and_four_workers;

with_one_and_four_workers!(endpoints_that_come_by_name_are_looked_up_before_they_take_over);

fn endpoints_that_come_by_name_are_looked_up_before_they_take_over(workers: usize) {
    let [a, b] = ["a", "b"].map(Endpoint::named);
    // `localhost` may stand for ::1 as well, where nothing listens.
    let retry = "retry = { attempts = 4 }\n";
    let with = |at: &str| config(workers, &app(&[at], "").replace("[cluster", &format!("{retry}[cluster")));
    let named = |endpoint: &Endpoint| with(&format!("localhost:{}", endpoint.address.port()));
    let mut proxy = Proxy::start(&with(&a.at()));
    let traffic = Traffic::start(proxy.web());
    for (text, endpoint) in [(named(&b), &b), (named(&a), &a), (with(&b.at()), &b), (named(&a), &a)] {
        let before = endpoint.requests();
        proxy.reload(&text);
        assert_eq!(get(proxy.web(), "/").status(), 200);
        wait_until("requests at the endpoint", || endpoint.requests() > before + 10);
    }
    traffic.expect_no_failure();
}
