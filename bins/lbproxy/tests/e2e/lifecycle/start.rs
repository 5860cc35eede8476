//! Starts that must fail, and say why.

use std::net::TcpListener;

use crate::support::{Endpoint, Proxy, config, failed_start, get};
use crate::with_one_and_four_workers;

with_one_and_four_workers!(
    a_port_in_use_ends_the_start_and_names_it,
    a_second_instance_is_refused_and_does_not_disturb_the_first,
    a_configuration_that_is_wrong_binds_nothing,
    a_log_that_cannot_be_written_ends_the_start,
);

fn on(workers: usize, address: &str) -> String {
    config(workers, "[[route]]\nrespond = { body = \"ok\" }\n")
        .replace("name = \"web\"\naddress = \"127.0.0.1:0\"", &format!("name = \"web\"\naddress = \"{address}\""))
}

fn a_port_in_use_ends_the_start_and_names_it(workers: usize) {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let exit = failed_start(&on(workers, &address));
    assert_eq!(exit.code, Some(3), "{:#?}", exit.log);
    assert!(exit.log.iter().any(|line| line.contains(&address) && line.contains("in use")), "{:#?}", exit.log);
    assert!(!exit.log.iter().any(|line| line.contains("ready generation")), "{:#?}", exit.log);
    let admin = on(workers, "127.0.0.1:0")
        .replace("admin.address = \"127.0.0.1:0\"", &format!("admin.address = \"{address}\""));
    assert_eq!(failed_start(&admin).code, Some(3));
}

fn a_second_instance_is_refused_and_does_not_disturb_the_first(workers: usize) {
    let first = Proxy::start(&on(workers, "127.0.0.1:0"));
    let address = first.web();
    for _ in 0..3 {
        let exit = failed_start(&on(workers, &address.to_string()));
        assert_eq!(exit.code, Some(3), "{:#?}", exit.log);
        for _ in 0..8 {
            assert_eq!(get(address, "/").text(), "ok");
        }
    }
    // Once the first has gone, the port is free at once, whatever connections it had.
    assert_eq!(first.terminate().code, Some(0));
    let second = Proxy::start(&on(workers, &address.to_string()));
    assert_eq!(get(address, "/").text(), "ok");
    drop(second);
}

fn a_configuration_that_is_wrong_binds_nothing(workers: usize) {
    let endpoint = Endpoint::named("never");
    for wrong in [
        "[[route]]\ncluster = \"nobody\"\n".to_owned(),
        format!(
            "[[route]]\ncluster = \"app\"\n[cluster.app]\nendpoints = [\"{}\"]\npolicy = \"rond_robin\"\n",
            endpoint.at()
        ),
        "[[route]]\nrespond = { status = 20 }\n".to_owned(),
    ] {
        let exit = failed_start(&config(workers, &wrong));
        assert_eq!(exit.code, Some(1), "{:#?}", exit.log);
        assert!(!exit.log.iter().any(|line| line.contains("listening on")), "{:#?}", exit.log);
        assert!(
            exit.log.iter().any(|line| line.contains("lbproxy.toml:") && line.contains("error")),
            "{:#?}",
            exit.log
        );
    }
}

fn a_log_that_cannot_be_written_ends_the_start(workers: usize) {
    let exit = failed_start(&on(workers, "127.0.0.1:0").replace("{ format = \"json\" }", "{ to = \"/no/such/file\" }"));
    assert_eq!(exit.code, Some(3), "{:#?}", exit.log);
    assert!(exit.log.iter().any(|line| line.contains("/no/such/file")), "{:#?}", exit.log);
}
