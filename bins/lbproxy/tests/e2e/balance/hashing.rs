//! The same client, the same endpoint.

use std::collections::BTreeSet;

use super::{list, named};
use crate::support::{Client, Proxy, config};
use crate::with_one_and_four_workers;

with_one_and_four_workers!(ip_hash_keeps_a_client_at_its_endpoint);

fn ip_hash_keeps_a_client_at_its_endpoint(workers: usize) {
    let mut endpoints = named(["a", "b", "c", "d"]);
    let rest = format!(
        "[[route]]\ncluster = \"app\"\npolicy = \"ip_hash\"\n[cluster.app]\nhealth.passive = \"off\"\nendpoints = {}\n\
         [[listener]]\nname = \"behind\"\naddress = \"127.0.0.2:0\"\ntrusted_proxies = [\"127.0.0.0/8\"]\n",
        list(&endpoints)
    );
    let proxy = Proxy::start(&config(workers, &rest));
    let ask = |client: &str| {
        let mut connection = Client::connect(proxy.listener("behind"));
        let answer = connection.ask(&format!("GET / HTTP/1.1\nX-Forwarded-For: {client}"));
        assert_eq!(answer.status(), 200, "{answer:?}");
        answer.text()
    };
    let clients: Vec<_> = (0..40).map(|n| format!("10.{n}.1.1")).collect();
    let homes: Vec<_> = clients.iter().map(|client| ask(client)).collect();
    assert_eq!(homes.iter().collect::<BTreeSet<_>>().len(), 4, "forty networks and four endpoints: {homes:?}");
    for _ in 0..3 {
        for (client, home) in clients.iter().zip(&homes) {
            assert_eq!(&ask(client), home, "{client}");
        }
    }
    // As in nginx, the last octet of an IPv4 address does not count.
    assert_eq!(ask("10.7.1.200"), homes[7]);

    // Only the clients of the one that fails move, and they come back to it.
    endpoints[0].stop();
    for (client, home) in clients.iter().zip(&homes) {
        let now = ask(client);
        assert!(if home == "a" { now != "a" } else { now == *home }, "{client}: {home}, now {now}");
    }
    endpoints[0].start();
    for (client, home) in clients.iter().zip(&homes) {
        assert_eq!(&ask(client), home, "{client}");
    }
}
