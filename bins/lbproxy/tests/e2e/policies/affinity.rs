//! Policies that hash: the same key, the same endpoint.

use super::{balancing, counted, three};
use crate::support::{Client, Endpoint, Gate, Proxy, text, wait_until};
use crate::with_one_and_four_workers;

with_one_and_four_workers!(
    a_key_stays_at_its_endpoint_and_only_moves_when_that_is_gone,
    clients_and_keys_go_where_nginx_sends_them,
    without_a_key_turns_are_taken,
    a_bound_spills_a_popular_key
);

/// Who answers the request with this key, on a connection of its own.
#[track_caller]
fn home(proxy: &Proxy, key: &str) -> String {
    let answer = Client::connect(proxy.web()).ask(&format!("GET / HTTP/1.1\nX-Key: {key}"));
    assert_eq!(answer.status(), 200, "{answer:?}");
    answer.text()
}

fn a_key_stays_at_its_endpoint_and_only_moves_when_that_is_gone(workers: usize) {
    for name in ["hash", "ring_hash", "maglev", "rendezvous", "memento"] {
        let [a, mut b, c] = three();
        let policy = format!("{{ name = \"{name}\", key = \"{{header:X-Key}}\" }}");
        let proxy = balancing(workers, &[(&a, ""), (&b, ", weight = 2"), (&c, "")], &policy);
        let homes = || (0..60).map(|n| home(&proxy, &format!("user-{n}"))).collect::<Vec<_>>();
        let before = homes();
        assert_eq!(before, homes(), "{name}: a key stays");
        let counts = counted(&before.concat());
        assert_eq!(counts.len(), 3, "{name}: every endpoint has keys: {counts:?}");
        b.stop();
        for (before, after) in before.iter().zip(homes()) {
            assert!(after != "b" && (before == "b" || *before == after), "{name}: {before} moved to {after}");
        }
        b.start();
        assert_eq!(before, homes(), "{name}: a key comes home");
    }
}

fn clients_and_keys_go_where_nginx_sends_them(workers: usize) {
    let [a, b, c] = three();
    let weighted = [(&a, ", weight = 3"), (&b, ", weight = 2"), (&c, "")];
    let proxy = balancing(workers, &weighted, "\"ip_hash\"");
    // By nginx's definition: 4040, 2565, 154 and 3023, modulo six.
    for (client, name) in [("127.0.0.1", "a"), ("10.0.0.1", "b"), ("192.168.1.1", "b"), ("8.8.8.8", "c")] {
        let answer = Client::connect(proxy.web()).ask(&format!("GET / HTTP/1.1\nX-Forwarded-For: {client}"));
        assert_eq!(answer.text(), name, "{client}");
    }
    let proxy = balancing(workers, &weighted, "{ name = \"hash\", key = \"{header:X-Key}\" }");
    // (crc32(key) ≫ 16) & 0x7fff, modulo six.
    for (key, name) in [("user-1", "a"), ("user-2", "b"), ("user-4", "a"), ("10.0.0.1", "b"), ("/1", "c")] {
        assert_eq!(home(&proxy, key), name, "{key}");
    }
}

fn without_a_key_turns_are_taken(workers: usize) {
    for name in ["hash", "ring_hash", "maglev", "rendezvous", "memento"] {
        let [a, b, c] = three();
        let policy = format!("{{ name = \"{name}\", key = \"{{cookie:user}}\" }}");
        let proxy = balancing(workers, &[(&a, ""), (&b, ""), (&c, "")], &policy);
        let asked: String = (0..6).map(|n| home(&proxy, &format!("user-{n}"))).collect();
        assert_eq!(asked, "abcabc", "{name}");
    }
}

fn a_bound_spills_a_popular_key(workers: usize) {
    for name in ["ring_hash", "maglev", "rendezvous"] {
        for (bound, most) in [(", bounded_load = 1.25", 5), ("", 12)] {
            let gate = Gate::default();
            let endpoints = [(); 3].map(|()| {
                let gate = gate.clone();
                Endpoint::answering(move |_| {
                    gate.wait();
                    text(200, "done")
                })
            });
            let policy = format!("{{ name = \"{name}\", key = \"{{path}}\"{bound} }}");
            let listed: Vec<_> = endpoints.iter().map(|endpoint| (endpoint, "")).collect();
            let proxy = balancing(workers, &listed, &policy);
            let mut clients: Vec<Client> = (1..=12)
                .map(|held| {
                    let mut client = Client::connect(proxy.web());
                    client.send("GET /popular HTTP/1.1\r\nHost: a\r\n\r\n");
                    let requests = || endpoints.iter().map(Endpoint::requests).sum::<usize>();
                    wait_until("the request to be held", || requests() == held);
                    client
                })
                .collect();
            // ⌈1.25·12∕3⌉ = 5 at most; without a bound all twelve are at home.
            let held = endpoints.each_ref().map(Endpoint::requests);
            assert_eq!(held.iter().max(), Some(&most), "{name}{bound}: {held:?}");
            gate.open();
            assert!(clients.iter_mut().all(|client| client.answer("GET").status() == 200));
        }
    }
}
