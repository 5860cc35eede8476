//! Routes with policies of their own over the same endpoints.

use super::{list, named};
use crate::support::{Proxy, config, get};
use crate::with_one_and_four_workers;

with_one_and_four_workers!(each_route_balances_by_its_own_policy);

fn each_route_balances_by_its_own_policy(workers: usize) {
    let endpoints = named(["a", "b", "c"]);
    let proxy = Proxy::start(&config(
        workers,
        &format!(
            "[[route]]\npath = \"/turns/\"\ncluster = \"app\"\n\
             [[route]]\npath = \"/first/\"\ncluster = \"app\"\npolicy = \"first\"\n\
             [[route]]\npath = \"/ip/\"\ncluster = \"app\"\npolicy = \"ip_hash\"\n\
             [cluster.app]\nendpoints = {}\n",
            list(&endpoints)
        ),
    ));
    let mine = get(proxy.web(), "/ip/").text();
    let mut turns = String::new();
    // The other routes' requests in between do not move the turns.
    for _ in 0..9 {
        turns += &get(proxy.web(), "/turns/").text();
        assert_eq!(get(proxy.web(), "/first/").text(), "a");
        assert_eq!(get(proxy.web(), "/ip/").text(), mine);
    }
    assert!("abc".repeat(4).contains(&turns), "{turns}");
    let requests: u64 = endpoints.iter().map(|it| proxy.endpoint("app", &it.at())["requests"].as_u64().unwrap()).sum();
    assert_eq!(requests, 28, "one account of each endpoint, whatever route");
}
