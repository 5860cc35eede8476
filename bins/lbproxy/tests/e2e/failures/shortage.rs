//! What this process lacks is no endpoint's fault, and does not come to that where it can be helped.

use std::net::TcpStream;

use crate::http2::Raw;
use crate::http2::raw::HEADERS;
use crate::support::{Client, Endpoint, Gate, Proxy, config, get, text, wait_until};
use crate::with_one_and_four_workers;

with_one_and_four_workers!(
    a_process_out_of_descriptors_blames_no_endpoint,
    clients_that_were_accepted_are_served_however_few_descriptors_there_are,
    many_requests_of_few_connections_leave_room_for_others,
    a_cluster_that_hangs_leaves_room_for_the_others,
    idle_connections_give_way_and_what_is_beyond_is_refused,
    a_reload_for_which_there_is_no_memory_changes_nothing,
);

fn a_process_out_of_descriptors_blames_no_endpoint(workers: usize) {
    let (one, two) = (Endpoint::named("ok"), Endpoint::named("ok"));
    let port = two.at().rsplit_once(':').unwrap().1.to_owned();
    // Every request needs a connection of its own, and one failure would do for an ejection or a verdict.
    let proxy = Proxy::start(&config(
        workers,
        &format!(
            "[[route]]\ncluster = \"app\"\n[cluster.app]\nendpoints = [\"{}\", \"{}\"]\nkeep_alive.idle = 0\n\
             health.passive.failures = 1\nhealth.active = {{ interval = \"50ms\", fall = 1 }}\n\
             [cluster.named]\nendpoints = [\"localhost:{port}\"]\ndns_interval = \"100ms\"",
            one.at(),
            two.at(),
        ),
    ));
    let mut client = Client::connect(proxy.web());
    assert_eq!(client.get("/before").status(), 200);
    let named = proxy.endpoint("named", &format!("localhost:{port}"))["resolved"].clone();
    assert!(named.is_string(), "{named}");

    let allowed = proxy.forbid_files();
    let mut idle = Vec::new();
    wait_until("a process that can neither accept, check nor look up", || {
        idle.push(TcpStream::connect(proxy.web()).unwrap());
        let log = proxy.log();
        ["cannot accept: this process may open no more files", "cannot be checked and stays", "cannot be looked up"]
            .iter()
            .all(|part| log.iter().any(|line| line.contains(part)))
    });
    let mut refused = 0;
    wait_until("ten requests for which there is none", || {
        let answer = client.get("/short");
        // A check or a lookup that ends frees its descriptor for the next user.
        if answer.status() != 200 {
            assert_eq!((answer.status(), answer.header("retry-after")), (503, Some("1")), "{answer:?}");
            refused += 1;
        }
        refused == 10
    });
    assert_eq!(proxy.ask_admin("/healthz").status(), 200, "descriptors are kept for it");
    proxy.allow_files(allowed);
    let line = proxy.wait_access(|line| line["path"] == "/short" && line["status"] == 503);
    let cause = line["cause"].as_str().unwrap_or_default();
    assert!(cause.starts_with("local_resources: this process may open no more files"), "{line}");
    assert_eq!(line["attempts"], 1, "another attempt would lack the same: {line}");
    assert_eq!(client.get("/after").status(), 200);

    drop(idle);
    for endpoint in [&one, &two] {
        let status = proxy.endpoint("app", &endpoint.at());
        assert_eq!((&status["state"], &status["failures"]), (&"up".into(), &0.into()), "{status}");
    }
    assert_eq!(proxy.endpoint("named", &format!("localhost:{port}"))["resolved"], named, "the last good answer stays");
    let log = proxy.log();
    assert!(!log.iter().any(|line| line.contains("ejected") || line.contains("is down")), "{log:#?}");
    for part in ["cannot accept", "cannot be checked"] {
        let mut seconds: Vec<_> =
            log.iter().filter(|line| line.contains(part)).map(|line| &line[.."2026-01-01T00:00:00".len()]).collect();
        let lines = seconds.len();
        seconds.dedup();
        // The seconds are those of another clock.
        assert!(lines <= 2 * seconds.len(), "one line a second, not {lines} in {}: {log:#?}", seconds.len());
    }
}

/// An endpoint that answers all but `/held` at once, and that when the gate opens.
fn gated() -> (Endpoint, Gate) {
    let gate = Gate::default();
    let ours = gate.clone();
    let endpoint = Endpoint::answering(move |request| {
        if request.head.target() == "/held" {
            ours.wait();
        }
        text(200, "ok")
    });
    (endpoint, gate)
}

fn clients_that_were_accepted_are_served_however_few_descriptors_there_are(workers: usize) {
    let (endpoint, gate) = gated();
    let other = Endpoint::named("other");
    let rest = format!(
        "limits.connections = 20000\n[[route]]\ncluster = \"app\"\n[cluster.app]\nendpoints = [\"{}\", {{ address = \"{}\", backup = true }}]\n\
         health.passive.failures = 1\nhealth.active = {{ interval = \"50ms\", fall = 1 }}",
        endpoint.at(),
        other.at()
    );
    let proxy = Proxy::start_with_files(&config(workers, &rest), 256);
    proxy.wait_log("limits.connections = 20000 is more than the 256 files");
    let most = proxy.metric("lbproxy_connections_limit", &[]) as usize;
    assert!((50..=110).contains(&most), "{most} clients of 256 files");
    assert!(proxy.metric("lbproxy_endpoint_connections_limit", &[]) as usize >= most);

    let mut clients: Vec<_> = (0..300).map(|_| Client::connect(proxy.web())).collect();
    wait_until("all to be accepted or refused", || {
        proxy.metric("lbproxy_connections", &[]) + proxy.metric("lbproxy_connections_refused_total", &[]) >= 300.0
    });
    // Whoever was refused is gone; the others ask all at once.
    clients.iter_mut().for_each(|client| drop(client.write("GET /held HTTP/1.1\r\nHost: a\r\n\r\n")));
    wait_until("a request of every client", || {
        let held = endpoint.messages().iter().filter(|message| message.head.target() == "/held").count();
        assert_eq!(proxy.ask_admin("/healthz").status(), 200);
        held == most
    });
    gate.open();
    let answers: Vec<_> = clients.iter_mut().filter_map(|client| client.read_response("GET").ok()).collect();
    assert_eq!(answers.len(), most, "every accepted client has a response");
    assert!(answers.iter().all(|answer| answer.status() == 200), "{answers:?}");
    let status = proxy.endpoint("app", &endpoint.at());
    assert_eq!((&status["state"], &status["failures"]), (&"up".into(), &0.into()), "{status}");
    let log = proxy.log();
    let bad = ["cannot accept", "cannot be checked", "ejected for", "is down"];
    assert!(!log.iter().any(|line| bad.iter().any(|part| line.contains(part))), "{log:#?}");
}

fn many_requests_of_few_connections_leave_room_for_others(workers: usize) {
    let (endpoint, gate) = gated();
    let rest = format!("[[route]]\ncluster = \"app\"\n[cluster.app]\nendpoints = [\"{}\"]", endpoint.at());
    let proxy = Proxy::start_with_files(&config(workers, &rest), 256);
    let mut bystander = Client::connect(proxy.web());
    assert_eq!(bystander.get("/").status(), 200);

    let mut hostile: Vec<_> = (0..5).map(|_| Raw::connect(proxy.web())).collect();
    for raw in &mut hostile {
        (0..128).for_each(|n| raw.get(2 * n + 1, "/held"));
    }
    wait_until("requests beyond their share", || {
        proxy.metric("lbproxy_endpoint_connections_refused_total", &[]) >= 500.0
    });
    for turn in 0..20 {
        assert_eq!(bystander.get("/").status(), 200, "a connection that was there goes on, turn {turn}");
        assert_eq!(get(proxy.web(), "/").status(), 200, "and new ones come, turn {turn}");
        // Each asks for more all the time.
        hostile.iter_mut().for_each(|raw| raw.get(257 + 2 * turn, "/held"));
    }
    assert_eq!(proxy.ask_admin("/healthz").status(), 200);
    let (open, most) = ("lbproxy_endpoint_connections", "lbproxy_endpoint_connections_limit");
    assert!(proxy.metric(open, &[]) <= proxy.metric(most, &[]));
    let log = proxy.log();
    assert!(!log.iter().any(|line| line.contains("cannot accept")), "{log:#?}");
    gate.open();
}

fn a_cluster_that_hangs_leaves_room_for_the_others(workers: usize) {
    let (hanging, gate) = gated();
    let well = Endpoint::named("well");
    let most = 40;
    let proxy = Proxy::start(&config(
        workers,
        &format!(
            "limits.endpoint_connections = {most}\n[[route]]\ncluster = \"well\"\n\
             [[route]]\npath = \"/held\"\ncluster = \"hanging\"\n\
             [cluster.well]\nendpoints = [\"{}\"]\n[cluster.hanging]\nendpoints = [\"{}\"]\nhealth.passive.failures = 1",
            well.at(),
            hanging.at()
        ),
    ));
    let refused = || proxy.metric("lbproxy_endpoint_connections_refused_total", &[]);
    let mut raw = Raw::connect(proxy.web());
    (0..100).for_each(|n| raw.get(2 * n + 1, "/held"));
    // The first is alone on its connection; the rest has three quarters of the cluster's three quarters.
    wait_until("requests beyond what a client may have", || refused() >= 50.0);
    let line = proxy.wait_access(|line| line["path"] == "/held" && line["status"] == 503);
    let cause = line["cause"].as_str().unwrap_or_default();
    assert!(cause.starts_with("endpoint_connections: its client's connection has other requests"), "{line}");
    assert!(cause.contains("which is 30 of the 40 connections"), "{line}");

    // Clients with one request each take the rest of the share, and no more.
    let before = refused();
    let mut clients: Vec<_> = (0..most).map(|_| Client::connect(proxy.web())).collect();
    clients.iter_mut().for_each(|client| client.send("GET /held HTTP/1.1\r\nHost: a\r\n\r\n"));
    wait_until("the share to be used up", || hanging.open() == 30 && refused() > before);
    let line = proxy.wait_access(|line| {
        line["cause"]
            .as_str()
            .is_some_and(|cause| cause.starts_with("endpoint_connections: its cluster has its share, 30 of the 40"))
    });
    assert_eq!((&line["status"], &line["path"]), (&503.into(), &"/held".into()), "{line}");

    let mut bystander = Raw::connect(proxy.web());
    for turn in 0..10_u32 {
        assert_eq!(get(proxy.web(), "/").text(), "well", "turn {turn}");
        // These run beside each other.
        let streams = [4 * turn + 1, 4 * turn + 3];
        streams.iter().for_each(|&id| bystander.get(id, "/"));
        for _ in streams {
            // `:status: 200` of the static table.
            assert_eq!(bystander.until(HEADERS).payload[0], 0x88, "turn {turn}");
        }
    }
    assert_eq!(proxy.metric("lbproxy_endpoint_connections_limit", &[]), f64::from(most));
    assert_eq!(hanging.open(), 30);
    assert_eq!(proxy.endpoint("hanging", &hanging.at())["state"], "up", "that is no fault of its own");
    gate.open();
}

fn idle_connections_give_way_and_what_is_beyond_is_refused(workers: usize) {
    let (one, gate) = gated();
    let two = Endpoint::named("two");
    let proxy = Proxy::start(&config(
        workers,
        &format!(
            "limits.endpoint_connections = 2\n[[route]]\ncluster = \"one\"\n[[route]]\npath = \"/two\"\ncluster = \"two\"\n\
             [cluster.one]\nendpoints = [\"{}\"]\nhealth.passive.failures = 1\n[cluster.two]\nendpoints = [\"{}\"]",
            one.at(),
            two.at()
        ),
    ));
    // Two that rest, and each gives way to one of the other endpoint.
    let mut clients: Vec<_> = (0..2).map(|_| Client::connect(proxy.web())).collect();
    clients.iter_mut().for_each(|client| client.send("GET /held HTTP/1.1\r\nHost: a\r\n\r\n"));
    wait_until("two connections", || one.requests() == 2);
    let answer = get(proxy.web(), "/two");
    assert_eq!((answer.status(), answer.header("retry-after")), (503, Some("1")), "{answer:?}");
    let line = proxy.access_of("/two");
    assert!(line["cause"].as_str().is_some_and(|cause| cause.starts_with("endpoint_connections: all 2 ")), "{line}");
    assert_eq!(line["attempts"], 1, "{line}");
    assert_eq!(proxy.metric("lbproxy_endpoint_connections_refused_total", &[]), 1.0);
    gate.open();
    for client in &mut clients {
        assert_eq!(client.answer("GET").status(), 200);
    }
    wait_until("both to rest", || {
        let answer = get(proxy.web(), "/two");
        answer.status() == 200
    });
    wait_until("one of them to be closed", || one.open() <= 1);
    assert!(proxy.metric("lbproxy_endpoint_connections", &[]) <= 2.0);
    assert_eq!(proxy.endpoint("two", &two.at())["failures"], 0);
}

fn a_reload_for_which_there_is_no_memory_changes_nothing(workers: usize) {
    let with = |rest: &str| config(workers, &format!("[[route]]\nrespond = {{ body = \"ok\" }}\n{rest}"));
    let mut proxy = Proxy::start(&with(""));
    proxy.allow_memory(256 << 20);
    let said = proxy.reload_refused(&with("rate_limit = { rate = \"1/s\", memory = \"4GiB\" }"));
    assert!(said.contains("rate limit `/`: the system has no 4096 MiB of memory"), "{said}");
    for _ in 0..3 {
        assert_eq!(get(proxy.web(), "/").text(), "ok", "the old file is in force, without a limit");
    }
}
