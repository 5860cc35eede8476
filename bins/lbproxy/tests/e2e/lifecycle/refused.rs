//! A configuration that does not hold changes nothing.

use std::net::TcpListener;

use crate::support::{Client, Endpoint, Load, Proxy, config};
use crate::with_one_and_four_workers;

with_one_and_four_workers!(a_configuration_that_does_not_hold_changes_nothing);

fn a_configuration_that_does_not_hold_changes_nothing(workers: usize) {
    let endpoint = Endpoint::named("old");
    let good =
        config(workers, &format!("[[route]]\ncluster = \"app\"\n[cluster.app]\nendpoints = [\"{}\"]\n", endpoint.at()));
    let mut proxy = Proxy::start(&good);
    let mut client = Client::connect(proxy.web());
    let load = Load::start(proxy.web(), 2);
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = taken.local_addr().unwrap();

    let unknown = proxy.reload_refused(&good.replace("cluster = \"app\"", "clutser = \"app\""));
    assert!(unknown.contains("clutser") && unknown.contains("lbproxy.toml:"), "{unknown}");
    assert!(unknown.contains("generation 1 stays in force"), "{unknown}");
    let nonsense = proxy.reload_refused("this is no TOML [");
    assert!(nonsense.contains("lbproxy.toml:1:"), "{nonsense}");
    let several = proxy.reload_refused("workerz = 1\ngrase = \"1s\"\n");
    assert!(several.contains("workerz"), "{several}");
    // Every reason has its line.
    proxy.wait_log("grase");
    let in_use = proxy.reload_refused(&format!("{good}[[listener]]\nname = \"taken\"\naddress = \"{taken}\"\n"));
    assert!(in_use.contains(&taken.to_string()), "{in_use}");
    let bad_log = proxy.reload_refused(&good.replace("format = \"json\"", "format = \"json\", to = \"/no/such/file\""));
    assert!(bad_log.contains("/no/such/file"), "{bad_log}");
    let bad_admin =
        proxy.reload_refused(&good.replace("admin.address = \"127.0.0.1:0\"", &format!("admin.address = \"{taken}\"")));
    assert!(bad_admin.contains(&taken.to_string()), "{bad_admin}");

    load.wait_for_more(20);
    load.stop().expect_no_failure();
    assert_eq!(client.get("/").text(), "old");
    assert_eq!(proxy.status()["generation"], 1, "a refused one has no number");
    // What was refused does not stand in the way of what comes next.
    proxy.reload(&good);
    assert_eq!(client.get("/").text(), "old");
}
