//! Failures in the application log: whatever becomes of the access log, an operator finds the cause.

use super::answering;
use crate::http2::{Raw, raw};
use crate::support::{Client, Endpoint, Proxy, Refusing, Wire, config, exchange, get};
use crate::with_one_and_four_workers;

with_one_and_four_workers!(
    a_failure_is_logged_with_its_cause_whatever_the_access_log,
    a_response_that_breaks_off_is_logged_with_its_cause,
    failures_of_a_kind_share_a_line_a_second,
    what_clients_do_wrong_is_no_warning,
);

/// The configuration of a route named `main` to this endpoint, with this access log.
fn to(workers: usize, endpoint: &str, access: &str) -> String {
    let rest = format!("[[route]]\nname = \"main\"\ncluster = \"app\"\n[cluster.app]\nendpoints = [\"{endpoint}\"]\n");
    config(workers, &rest).replace("log.access = { format = \"json\" }", access)
}

fn a_failure_is_logged_with_its_cause_whatever_the_access_log(workers: usize) {
    let endpoint = Endpoint::on_head(|wire: &mut Wire, _| {
        wire.write("HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\nok")
    });
    for access in ["", "log.access = \"off\"", "log.access = { format = \"combined\" }"] {
        let proxy = Proxy::start(&to(workers, &endpoint.at(), access));
        let answer = get(proxy.web(), "/x");
        assert_eq!(answer.status(), 502);
        let line = proxy.wait_log("request failed");
        let (id, at) = (answer.header("X-Request-Id").unwrap(), endpoint.at());
        let expected = format!(
            "WARN request failed status=502 cause=invalid_response detail=\"conflicting_length\" endpoint={at} \
             cluster=app route=main listener=web request_id={id} count=1"
        );
        assert!(line.ends_with(&expected), "{access}: {line}");
    }
    // Also of a route that is not in the access log, and over HTTP/2.
    let refusing = Refusing::new();
    let text = to(workers, &refusing.address.to_string(), "log.access = \"off\"")
        .replace("[[route]]", "[[route]]\naccess_log = \"off\"");
    let proxy = Proxy::start(&text);
    let mut client = Raw::connect(proxy.web());
    client.get(1, "/x");
    client.until(raw::HEADERS);
    let line = proxy.wait_log("request failed");
    assert!(line.contains("status=502 cause=connect_refused endpoint="), "{line}");
}

fn a_response_that_breaks_off_is_logged_with_its_cause(workers: usize) {
    let endpoint = Endpoint::on_head(|wire: &mut Wire, head| {
        let (framing, part) = match head.target() {
            "/length" => ("Content-Length: 100\r\n", "half"),
            _ => ("Transfer-Encoding: chunked\r\n", "4\r\nhalf\r\nzz\r\n"),
        };
        wire.write(format!("HTTP/1.1 200 OK\r\n{framing}\r\n{part}"))
    });
    for (path, said, access) in [
        ("/length", "cause=upstream_aborted endpoint=", "upstream_aborted"),
        ("/chunk", "cause=invalid_response detail=\"bad_chunk_size\" endpoint=", "invalid_response: bad_chunk_size"),
    ] {
        for is_http2 in [false, true] {
            let proxy = Proxy::start(&to(workers, &endpoint.at(), "log.access = { format = \"json\" }"));
            if is_http2 {
                let mut client = Raw::connect(proxy.web());
                client.get(1, path);
                client.until(raw::RST_STREAM);
            } else {
                let answer = Client::connect(proxy.web()).get(path);
                assert_eq!((answer.status(), answer.body.is_whole), (200, false));
            }
            let line = proxy.wait_log("response cut short");
            assert!(line.contains(&format!("WARN response cut short status=200 {said}")), "{line}");
            assert_eq!(proxy.access_of(path)["cause"], access);
        }
    }
}

fn failures_of_a_kind_share_a_line_a_second(workers: usize) {
    const REQUESTS: u64 = 300;
    let refusing = Refusing::new();
    let proxy = Proxy::start(&to(workers, &refusing.address.to_string(), "log.access = \"off\""));
    let began = std::time::Instant::now();
    let mut client = Client::connect(proxy.web());
    for _ in 0..REQUESTS {
        assert_eq!(client.get("/x").status(), 502);
    }
    let took = began.elapsed();
    let exit = proxy.terminate();
    let counts: Vec<u64> = exit
        .log
        .iter()
        .filter(|line| line.contains("request failed"))
        .map(|line| line.rsplit_once("count=").unwrap().1.parse().unwrap())
        .collect();
    assert_eq!(counts.iter().sum::<u64>(), REQUESTS, "{counts:?}");
    // The first at once, one for each second, and what is left at the end.
    assert!(counts.len() as u64 <= took.as_secs() + 3, "{counts:?} in {took:?}");
}

fn what_clients_do_wrong_is_no_warning(workers: usize) {
    let routes = "[[route]]\npath = \"/only\"\nmethods = [\"GET\"]\nrespond = {}\n";
    let wrong = |proxy: &Proxy| {
        assert_eq!(get(proxy.web(), "/none").status(), 404);
        assert_eq!(Client::connect(proxy.web()).ask("DELETE /only HTTP/1.1").status(), 405);
        assert!(exchange(proxy.web(), "nonsense\r\n\r\n").starts_with("HTTP/1.1 400 "));
    };
    let proxy = answering(workers, routes);
    wrong(&proxy);
    let exit = proxy.terminate();
    assert!(!exit.log.iter().any(|line| line.contains("request failed")), "{:#?}", exit.log);
    let proxy = answering(workers, &format!("log.level = \"debug\"\n{routes}"));
    wrong(&proxy);
    for cause in ["no_route", "method_not_allowed", "bad_request"] {
        let line = proxy.wait_log(&format!("cause={cause} "));
        assert!(line.contains("DEBUG request failed status=4"), "{line}");
    }
}
