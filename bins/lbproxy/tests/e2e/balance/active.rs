//! Active checks take an endpoint out and bring it back.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicU16, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use socket2::{Domain, Socket, Type};

use super::{answers, balancing, list, one_cluster};
use crate::support::{Endpoint, Proxy, config, get, last_text, text, wait_until};
use crate::with_one_and_four_workers;

with_one_and_four_workers!(
    an_endpoint_that_fails_its_checks_is_down_until_it_passes,
    a_drain_of_the_file_is_one_line_and_one_transition,
    an_endpoint_that_refuses_is_down,
    an_endpoint_may_have_to_prove_itself_first,
    checks_read_answers_as_requests_do,
    a_check_looks_for_what_the_configuration_says,
    a_program_is_a_check_and_ends_with_the_proxy,
);

const CHECKS: &str =
    "health.active = { path = \"/health\", interval = \"20ms\", timeout = \"5s\", rise = 2, fall = 3 }";

fn an_endpoint_that_fails_its_checks_is_down_until_it_passes(workers: usize) {
    let health = Arc::new(AtomicU16::new(200));
    let sick = {
        let health = Arc::clone(&health);
        Endpoint::answering(move |request| match request.head.target() {
            "/health" => text(health.load(Ordering::SeqCst), ""),
            _ => text(200, "s"),
        })
    };
    let endpoints = [sick, Endpoint::named("h"), Endpoint::named("h")];
    let proxy = balancing(workers, "", &list(&endpoints), CHECKS);
    let at = endpoints[0].at();
    wait_until("a first check", || proxy.endpoint("app", &at)["last_check"]["ok"] == true);
    assert!(answers(&proxy, 3).contains('s'));

    health.store(500, Ordering::SeqCst);
    let line = proxy.wait_log(&format!("endpoint {at} is down: "));
    assert!(line.contains("status 500") && line.contains("3 of 3") && line.contains("cluster=app"), "{line}");
    wait_until("it to be passed over", || !answers(&proxy, 3).contains('s'));
    assert_eq!(answers(&proxy, 9), "hhhhhhhhh");
    let status = proxy.endpoint("app", &at);
    assert_eq!((&status["state"], &status["eligible"]), (&"down".into(), &false.into()), "{status}");
    assert_eq!(status["last_check"]["ok"], false, "{status}");
    let earlier = status["earlier_checks"].as_array().unwrap();
    assert!(!earlier.is_empty() && earlier.len() <= 4 && earlier[0]["ok"] == false, "{status}");
    assert_eq!((&status["flaps"], &status["ejections"]), (&1.into(), &0.into()), "{status}");
    assert!(status["wait_s"].as_f64().is_some_and(|wait| wait < 1.2), "until the next check: {status}");
    let outcomes = status["outcomes"].as_str().unwrap();
    assert!(!outcomes.is_empty() && outcomes.bytes().all(|letter| letter == b'2'), "{status}");
    let transitions = |labels: &str| proxy.metric("lbproxy_transitions_total", &[&at, labels]);
    assert_eq!(transitions("from=\"up\",to=\"down\",reason=\"check\""), 1.0);
    assert_eq!(proxy.metric("lbproxy_endpoint_eligible", &[&at]), 0.0);
    assert!(proxy.metric("lbproxy_checks_total", &[&at]) >= 3.0);

    health.store(204, Ordering::SeqCst);
    let line = proxy.wait_log(&format!("endpoint {at} is up: "));
    assert!(line.contains("2 of 2"), "{line}");
    wait_until("it to take part again", || answers(&proxy, 3).contains('s'));
    let log = proxy.log();
    let transitions = log.iter().filter(|line| line.contains(&format!("endpoint {at} is "))).count();
    assert_eq!(transitions, 2, "one line a transition: {log:#?}");
    assert_eq!(proxy.metric("lbproxy_transitions_total", &[&at]), 2.0, "and one count");
    assert_eq!(proxy.metric("lbproxy_transitions_total", &[&at, "from=\"down\",to=\"up\""]), 1.0);
}

fn a_drain_of_the_file_is_one_line_and_one_transition(workers: usize) {
    let endpoints = [Endpoint::named("a"), Endpoint::named("b")];
    let at = endpoints[0].at();
    let with = |drain: bool| {
        let list = format!("[{{ address = \"{at}\", drain = {drain} }}, \"{}\"]", endpoints[1].at());
        one_cluster(workers, "", &list, "")
    };
    let mut proxy = Proxy::start(&with(false));
    wait_until("it to be seen", || proxy.endpoint("app", &at)["state"] == "up");
    proxy.reload(&with(true));
    proxy.wait_log(&format!("endpoint {at} drains: by the configuration"));
    assert_eq!(proxy.metric("lbproxy_transitions_total", &[&at, "from=\"up\",to=\"drain\",reason=\"drain\""]), 1.0);
    proxy.reload(&with(false));
    proxy.wait_log(&format!("endpoint {at} is up: it no longer drains"));
    assert_eq!(proxy.metric("lbproxy_transitions_total", &[&at, "from=\"drain\",to=\"up\",reason=\"drain\""]), 1.0);
    assert_eq!(proxy.metric("lbproxy_transitions_total", &[&at]), 2.0);
}

fn an_endpoint_that_refuses_is_down(workers: usize) {
    let mut endpoints = [Endpoint::named("a"), Endpoint::named("b")];
    let cluster = "health.active = { tcp = true, interval = \"20ms\", rise = 1, fall = 2 }";
    let proxy = balancing(workers, "", &list(&endpoints), cluster);
    endpoints[0].stop();
    let line = proxy.wait_log(&format!("endpoint {} is down: ", endpoints[0].at()));
    assert!(line.contains("connect_refused"), "{line}");
    wait_until("it to be passed over", || proxy.endpoint("app", &endpoints[0].at())["eligible"] == false);
    assert_eq!(answers(&proxy, 4), "bbbb");
    endpoints[0].start();
    proxy.wait_log(&format!("endpoint {} is up: ", endpoints[0].at()));
    wait_until("it to take part again", || answers(&proxy, 2).contains('a'));
}

fn an_endpoint_may_have_to_prove_itself_first(workers: usize) {
    let health = Arc::new(AtomicU16::new(503));
    let starting = {
        let health = Arc::clone(&health);
        Endpoint::answering(move |request| {
            let status = if request.head.target() == "/health" { health.load(Ordering::SeqCst) } else { 200 };
            text(status, "s")
        })
    };
    let endpoints = [starting, Endpoint::answering(|_| text(200, "r"))];
    let checks = CHECKS.replace("rise = 2", "rise = 1, initial = \"down\"");
    let proxy = balancing(workers, "", &list(&endpoints), &checks);
    wait_until("the one that is ready to take part", || proxy.endpoint("app", &endpoints[1].at())["state"] == "up");
    assert_eq!(answers(&proxy, 6), "rrrrrr");
    assert_eq!(proxy.endpoint("app", &endpoints[0].at())["state"], "down");
    health.store(200, Ordering::SeqCst);
    wait_until("the other one to take part", || answers(&proxy, 2).contains('s'));
}

/// What reads the answers to requests reads those to checks: no endpoint is up whose answers are all refused, and none is
/// down whose answers all pass.
fn checks_read_answers_as_requests_do(workers: usize) {
    let answering = |answer: &'static str| Endpoint::answering(move |_| answer.to_owned());
    let endpoints = [
        answering("HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\nd"),
        answering("HTTP/1.1 200 OK\nContent-Length: 1\n\nl"),
        answering("HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nx"),
        answering("HTTP/1.1 200 OK\r\nX-A: b\r\n c\r\nContent-Length: 1\r\n\r\ny"),
    ];
    let cluster = "health.active = { path = \"/\", interval = \"20ms\", rise = 1, fall = 1, initial = \"down\" }";
    let proxy = balancing(workers, "", &list(&endpoints), cluster);
    for (endpoint, detail) in endpoints[2..].iter().zip(["conflicting_length", "obs_fold"]) {
        let at = endpoint.at();
        wait_until("a check to fail", || proxy.metric("lbproxy_checks_total", &["fail", &at]) >= 1.0);
        let status = proxy.endpoint("app", &at);
        assert_eq!(status["state"], "down", "{status}");
        assert!(status.to_string().contains(&format!("invalid_response: {detail}")), "{status}");
    }
    for (endpoint, answer) in endpoints.iter().zip(["d", "l"]) {
        wait_until("it to be up", || proxy.endpoint("app", &endpoint.at())["state"] == "up");
        wait_until("it to take part", || get(proxy.web(), "/").text() == answer);
    }
    assert!(answers(&proxy, 8).chars().all(|answer| "dl".contains(answer)));
}

/// The result of the first check of an endpoint, by such a check.
fn first_check(workers: usize, at: &str, check: &str) -> (bool, String) {
    let check = format!("health.active = {{ {check}, interval = \"1m\" }}");
    let proxy = balancing(workers, "", &format!("[\"{at}\"]"), &check);
    wait_until("a check", || !proxy.endpoint("app", at)["last_check"].is_null());
    let last = &proxy.endpoint("app", at)["last_check"];
    (last["ok"] == true, last["detail"].as_str().unwrap().to_owned())
}

fn a_check_looks_for_what_the_configuration_says(workers: usize) {
    let http = Endpoint::answering(|request| match (request.head.target(), request.header("X-Token")) {
        ("/large", _) => text(200, &format!("{}{{\"status\": \"ok\"}}", " ".repeat(70_000))),
        (_, Some("t")) => text(200, "{\"status\": \"ok\"}"),
        _ => text(200, "{\"status\": \"degraded\"}"),
    });
    let ok = "body = '~\"status\": *\"ok\"'";
    let with_token = format!("headers = {{ X-Token = \"t\" }}, {ok}");
    assert_eq!(first_check(workers, &http.at(), &with_token), (true, "status 200 from /".to_owned()));
    let mismatch = |path: &str| (false, format!("status 200 from {path}, whose body does not match `body`"));
    assert_eq!(first_check(workers, &http.at(), ok), mismatch("/"));
    assert_eq!(first_check(workers, &http.at(), "body = \"degraded\""), (true, "status 200 from /".to_owned()));
    let beyond = format!("path = \"/large\", {ok}");
    assert_eq!(first_check(workers, &http.at(), &beyond), mismatch("/large"), "only the first 64 KiB are read");

    let cache = Endpoint::scripted(|wire, _| {
        wire.write("hello\r\n")?;
        wire.read_exactly(6)?;
        wire.write("+PO")?;
        wire.write("NG\r\n")?;
        wire.read_to_end().map(drop)
    });
    let ping = "tcp = true, send = \"PING\\r\\n\"";
    let pong = format!("{ping}, receive = \"+PONG\"");
    assert_eq!(first_check(workers, &cache.at(), &pong), (true, "received what it should".to_owned()));
    assert_eq!(
        first_check(workers, &cache.at(), "tcp = true, receive = \"~^hello\""),
        (true, "received what it should".to_owned())
    );
    let never = format!("{ping}, receive = \"+NO\", timeout = \"100ms\"");
    assert_eq!(first_check(workers, &cache.at(), &never), (false, "timeout after 100ms".to_owned()));
}

fn a_program_is_a_check_and_ends_with_the_proxy(workers: usize) {
    let endpoint = Endpoint::named("a");
    let at = endpoint.at();
    let check = format!("command = [\"sh\", \"-c\", 'test \"$LBPROXY_ENDPOINT\" = {at} && exit 4']");
    assert_eq!(first_check(workers, &at, &check), (false, "sh: exit status 4".to_owned()));

    let directory = tempfile::tempdir().unwrap();
    let pid = directory.path().join("pid");
    let script = format!("echo $$ > {0}.new && mv {0}.new {0} && exec sleep 1000", pid.display());
    let check =
        format!("health.active = {{ command = [\"sh\", \"-c\", '{script}'], timeout = \"10m\", interval = \"10m\" }}");
    let proxy = balancing(workers, "", &format!("[\"{at}\"]"), &check);
    wait_until("the program to run", || pid.exists());
    let pid = std::fs::read_to_string(&pid).unwrap();
    proxy.terminate();
    // It may be a zombie for as long as nobody has waited for it.
    let is_gone = || {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", pid.trim())).unwrap_or_default();
        stat.rsplit(')').next().is_none_or(|rest| rest.is_empty() || rest.trim_start().starts_with('Z'))
    };
    wait_until("the program to be killed", is_gone);
}

/// A listener that nobody accepts from, with its queue full: SYNs to it are dropped.
struct Unanswered {
    address: SocketAddr,
    _held: (Socket, Vec<Socket>),
}

impl Unanswered {
    fn new() -> Self {
        let listener = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        listener.bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into()).unwrap();
        listener.listen(1).unwrap();
        let address = listener.local_addr().unwrap().as_socket().unwrap();
        let connect = || {
            let client = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
            client.set_nonblocking(true).unwrap();
            // In progress: with room in the queue it is established, without it never.
            let _ = client.connect(&address.into());
            client
        };
        let clients = (0..8).map(|_| connect()).collect();
        Self { address, _held: (listener, clients) }
    }
}

/// Every check of five thousand endpoints waits for its whole timeout, and those of another cluster keep their second.
#[test]
fn a_dead_cluster_of_five_thousand_does_not_delay_the_checks_of_another() {
    let dead = Unanswered::new();
    let asked: Arc<Mutex<Vec<Instant>>> = Arc::default();
    let app = {
        let asked = Arc::clone(&asked);
        Endpoint::answering(move |_| {
            asked.lock().unwrap().push(Instant::now());
            last_text(200, "ok")
        })
    };
    let big: Vec<String> = (20_000..25_000).map(|port| format!("\"127.0.0.1:{port}\"")).collect();
    let rest = format!(
        "[[route]]\ncluster = \"app\"\n[[route]]\npath = \"/big\"\ncluster = \"big\"\n[cluster.app]\nendpoints = [\"{}\"]
        health.active = {{ interval = \"1s\", timeout = \"1s\" }}\n[cluster.big]\nendpoints = [{}]
        health.active = {{ tcp = true, port = {}, interval = \"1s\", timeout = \"5s\" }}\n",
        app.at(),
        big.join(", "),
        dead.address.port(),
    );
    let proxy = Proxy::start(&config(1, &rest));
    wait_until("the other cluster to be down", || {
        proxy.log().iter().filter(|line| line.contains("timeout after 5s")).count() > 100
    });
    let before = asked.lock().unwrap().len();
    wait_until("eight checks", || asked.lock().unwrap().len() >= before + 8);
    let times = asked.lock().unwrap();
    let gaps: Vec<Duration> = times[before..].windows(2).map(|two| two[1] - two[0]).collect();
    // One that waits for a place of the dead cluster's waits for five seconds.
    assert!(gaps.iter().all(|gap| *gap < Duration::from_millis(3_500)), "{gaps:?}");
    assert!(gaps.iter().sum::<Duration>() < Duration::from_secs(14), "seven gaps of 1.1 s at the most: {gaps:?}");
}
