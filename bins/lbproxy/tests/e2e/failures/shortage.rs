//! What this process lacks is no endpoint's fault.

use std::net::TcpStream;

use crate::support::{Client, Endpoint, Proxy, config, wait_until};
use crate::with_one_and_four_workers;

with_one_and_four_workers!(a_process_out_of_descriptors_blames_no_endpoint);

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
    for _ in 0..10 {
        let answer = client.get("/short");
        assert_eq!((answer.status(), answer.header("retry-after")), (503, Some("1")), "{answer:?}");
    }
    proxy.allow_files(allowed);
    let line = proxy.access_of("/short");
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
