//! A reload under load, of everything that can change, and no request fails.

use crate::support::{Client, Endpoint, Gate, Load, Proxy, config, get, text, wait_until};
use crate::with_one_and_four_workers;

with_one_and_four_workers!(
    everything_changes_under_load_and_no_request_fails,
    a_request_in_flight_ends_under_the_configuration_it_began_with,
    a_kept_connection_sees_the_new_configuration,
);

fn everything_changes_under_load_and_no_request_fails(workers: usize) {
    let [a, b, c] = ["a", "b", "c"].map(Endpoint::named);
    let (at_a, at_b, at_c) = (a.at(), b.at(), c.at());
    let with = |endpoints: &str, more: &str| {
        config(workers, &format!("{more}\n[[route]]\ncluster = \"app\"\n[cluster.app]\nendpoints = [{endpoints}]\n"))
    };
    let mut proxy = Proxy::start(&with(&format!("\"{at_a}\""), ""));
    let load = Load::start(proxy.web(), 8);
    load.wait_for_more(100);
    let reload = |proxy: &mut Proxy, endpoints: &str, more: &str| {
        proxy.reload(&with(endpoints, more));
        load.wait_for_more(100);
    };

    reload(&mut proxy, &format!("\"{at_a}\", \"{at_b}\", \"{at_c}\""), "");
    wait_until("the new endpoints to get traffic", || b.requests() > 0 && c.requests() > 0);
    reload(&mut proxy, &format!("{{ address = \"{at_a}\", weight = 5 }}, \"{at_b}\", \"{at_c}\""), "");
    reload(&mut proxy, &format!("{{ address = \"{at_a}\", weight = 0 }}, \"{at_b}\", \"{at_c}\""), "");
    wait_until("the drained one to be idle", || proxy.endpoint("app", &at_a)["in_flight"] == 0);
    let of_a = a.requests();
    load.wait_for_more(100);
    assert_eq!(a.requests(), of_a, "an endpoint of weight zero got a request");

    // Out it goes, and another takes its place.
    reload(&mut proxy, &format!("\"{at_b}\""), "");
    wait_until("the removed one to be idle", || c.open() == 0);
    let of_c = c.requests();
    load.wait_for_more(100);
    assert_eq!(c.requests(), of_c, "an endpoint that was removed got a request");
    reload(&mut proxy, &format!("\"{at_b}\", \"{at_c}\""), "");
    wait_until("it to get traffic again", || c.requests() > of_c);

    // Everything else.
    let both = format!("\"{at_b}\", \"{at_c}\"");
    let extra = "[[listener]]\nname = \"extra\"\naddress = \"127.0.0.2:0\"\n";
    for more in [
        "[[route]]\npath = \"/new\"\nrespond = { status = 204 }\n",
        "[[route]]\npath = \"/load\"\ncluster = \"app\"\npolicy = \"least_request\"\n",
        "[[route]]\npath = \"/load\"\ncluster = \"other\"\n[cluster.other]\nendpoints = [\"ENDPOINT\"]\n",
        "[defaults.route]\nretry = { attempts = 2 }\ntimeout = { response = \"30s\" }\n",
        "[defaults.cluster]\npolicy = \"random\"\nhealth.passive = { failures = 100 }\nkeep_alive = { idle = 1 }\n",
        "[defaults.cluster]\nhealth.active = { tcp = true, interval = \"20ms\" }\n",
        extra,
        "limits = { connections = 100 }\nlog.level = \"warn\"",
        "",
    ] {
        let more = more.replace("ENDPOINT", &at_a);
        // The log's level hides the line that tells of the reload that set it, and of the next one.
        if more.contains("warn") {
            continue;
        }
        reload(&mut proxy, &both, &more);
        if more == extra {
            assert_eq!(get(proxy.listener("extra"), "/load").status(), 200);
        }
    }
    assert!(a.requests() > of_a, "the route of its own got traffic");
    let report = load.stop();
    report.expect_no_failure();
    assert!(proxy.terminate().access(|line| line["status"] != 200).is_empty());
}

fn a_request_in_flight_ends_under_the_configuration_it_began_with(workers: usize) {
    let gate = Gate::default();
    let old = {
        let gate = gate.clone();
        Endpoint::answering(move |_| {
            gate.wait();
            text(200, "old")
        })
    };
    let new = Endpoint::named("new");
    let with = |endpoint: &Endpoint, header: &str| {
        config(
            workers,
            &format!(
                "[[route]]\ncluster = \"app\"\nheaders.response.set = {{ X-Config = \"{header}\" }}\n\
                 [cluster.app]\nendpoints = [\"{}\"]\n",
                endpoint.at()
            ),
        )
    };
    let mut proxy = Proxy::start(&with(&old, "old"));
    let mut client = Client::connect(proxy.web());
    client.send("GET /running HTTP/1.1\r\nHost: a\r\n\r\n");
    wait_until("the request to arrive", || old.requests() == 1);
    proxy.reload(&with(&new, "new"));
    let answer = get(proxy.web(), "/");
    assert_eq!((answer.text().as_str(), answer.header("X-Config")), ("new", Some("new")));
    gate.open();
    let answer = client.answer("GET");
    assert_eq!((answer.text().as_str(), answer.header("X-Config")), ("old", Some("old")));
    let answer = client.get("/next");
    assert_eq!((answer.text().as_str(), answer.header("X-Config")), ("new", Some("new")), "on the same connection");
    wait_until("the old endpoint's connections to be closed", || old.open() == 0);
}

fn a_kept_connection_sees_the_new_configuration(workers: usize) {
    let with = |body: &str| config(workers, &format!("[[route]]\nrespond = {{ body = \"{body}\" }}\n"));
    let mut proxy = Proxy::start(&with("0"));
    let mut clients: Vec<_> = (0..8).map(|_| Client::connect(proxy.web())).collect();
    for n in 0..5 {
        for client in &mut clients {
            assert_eq!(client.get("/").text(), n.to_string());
        }
        proxy.reload(&with(&(n + 1).to_string()));
    }
    assert_eq!(proxy.status()["generation"], 6);
    assert_eq!(proxy.metric("lbproxy_config_generation", &[]), 6.0);
}
