//! The access log: every documented field, in all formats, and silence where that is asked for.

use serde_json::Value;

use super::answering;
use crate::http2::raw::get_fields;
use crate::http2::{Raw, raw};
use crate::support::{Client, Endpoint, Proxy, config, get, wait_until};
use crate::with_one_and_four_workers;

with_one_and_four_workers!(
    a_line_in_json_has_every_documented_field,
    a_default_line_has_the_endpoint_and_times,
    a_line_of_what_was_refused_has_what_was_read_of_it,
    a_line_in_the_combined_format_reads_as_nginx_writes_it,
    a_route_may_keep_its_requests_out_of_the_log,
);

const FIELDS: [&str; 19] = [
    "attempts",
    "bytes_in",
    "bytes_out",
    "cause",
    "client",
    "cluster",
    "duration_ms",
    "endpoint",
    "listener",
    "method",
    "path",
    "protocol",
    "query",
    "request_id",
    "route",
    "status",
    "time",
    "upstream_ms",
    "user_agent",
];

fn a_line_in_json_has_every_documented_field(workers: usize) {
    let endpoint = Endpoint::named("twelve bytes");
    let proxy = Proxy::start(&config(
        workers,
        &format!(
            "[[route]]\nname = \"main\"\npath = \"/\"\ncluster = \"app\"\n[[route]]\npath = \"=/own\"\nname = \"own\"\nrespond = {{ body = \"own\" }}\n\
             [cluster.app]\nendpoints = [\"{}\"]\n",
            endpoint.at()
        ),
    ));
    let mut client = Client::connect(proxy.web());
    client
        .send("POST /a%20b?c=\"d\"&e HTTP/1.1\r\nHost: a\r\nUser-Agent: probe \"1\"\r\nContent-Length: 4\r\n\r\nbody");
    assert_eq!(client.answer("POST").status(), 200);
    let line = proxy.access_of("/a%20b");
    let mut names: Vec<_> = line.as_object().unwrap().keys().map(String::as_str).collect();
    names.sort_unstable();
    assert_eq!(names, FIELDS);
    for (name, value) in [
        ("client", Value::from("127.0.0.1")),
        ("method", "POST".into()),
        ("query", "c=\"d\"&e".into()),
        ("status", 200.into()),
        ("bytes_in", 4.into()),
        ("bytes_out", 12.into()),
        ("listener", "web".into()),
        ("route", "main".into()),
        ("cluster", "app".into()),
        ("endpoint", endpoint.at().into()),
        ("attempts", 1.into()),
        ("cause", Value::Null),
        ("protocol", "HTTP/1.1".into()),
        ("user_agent", "probe \"1\"".into()),
        ("request_id", endpoint.last().header("X-Request-Id").unwrap().into()),
    ] {
        assert_eq!(line[name], value, "{name}: {line}");
    }
    let (whole, upstream) = (line["duration_ms"].as_f64().unwrap(), line["upstream_ms"].as_f64().unwrap());
    assert!(0.0 < upstream && upstream <= whole, "{line}");
    assert!(line["time"].as_str().unwrap().ends_with('Z'), "{line}");

    get(proxy.web(), "/own");
    let line = proxy.access_of("/own");
    for nothing in ["query", "upstream_ms", "cluster", "endpoint", "cause", "user_agent"] {
        assert_eq!(line[nothing], Value::Null, "{nothing}: {line}");
    }
    assert_eq!((&line["attempts"], &line["bytes_out"]), (&0.into(), &3.into()), "{line}");
}

fn a_default_line_has_the_endpoint_and_times(workers: usize) {
    let endpoint = Endpoint::named("twelve bytes");
    let rest = format!("[[route]]\ncluster = \"app\"\n[cluster.app]\nendpoints = [\"{}\"]\n", endpoint.at());
    let proxy = Proxy::start(&config(workers, &rest).replace("log.access = { format = \"json\" }\n", ""));
    assert_eq!(get(proxy.web(), "/a?b=\"c").status(), 200);
    let id = endpoint.last().header("X-Request-Id").unwrap().to_owned();
    let exit = proxy.terminate();
    let [line] = &exit.stdout[..] else { panic!("{:?}", exit.stdout) };
    let (time, rest) = line.split_once(' ').unwrap();
    assert!(time.len() == "2026-11-21T09:00:00.123Z".len() && time.ends_with('Z'), "{line}");
    let (before, rest) = rest.split_once(" duration=").unwrap();
    assert_eq!(before, "127.0.0.1 \"GET /a?b=\\x22c HTTP/1.1\" 200 12");
    let (duration, rest) = rest.split_once("ms upstream=").unwrap();
    let (upstream, rest) = rest.split_once("ms ").unwrap();
    let (duration, upstream): (f64, f64) = (duration.parse().unwrap(), upstream.parse().unwrap());
    assert!(0.0 < upstream && upstream <= duration, "{line}");
    assert_eq!(rest, format!("endpoint={} attempts=1 cause=- request_id={id}", endpoint.at()));
}

fn a_line_of_what_was_refused_has_what_was_read_of_it(workers: usize) {
    let proxy = answering(workers, "limits.headers = 4\n[[route]]\nrespond = {}\n");
    let answer = crate::support::exchange(proxy.web(), "GET /bad?q=1 HTTP/1.1\r\nBad Header\r\n\r\n");
    let (_, body) = answer.split_once("\r\n\r\n").unwrap();
    let line = proxy.access_of("/bad");
    for (name, value) in [("method", "GET"), ("query", "q=1"), ("protocol", "HTTP/1.1"), ("client", "127.0.0.1")] {
        assert_eq!(line[name], value, "{name}: {line}");
    }
    assert_eq!((&line["status"], &line["bytes_out"]), (&400.into(), &body.len().into()), "{line}");
    crate::support::exchange(proxy.web(), "PUT http://user:secret@a/many HTTP/1.1\r\nA: 1\r\n\r\n");
    let line = proxy.access_of("/many");
    assert_eq!((&line["method"], &line["status"]), (&"PUT".into(), &400.into()), "no credentials in the log: {line}");
    let mut client = Raw::connect(proxy.web());
    let mut fields = get_fields("/heads?r=2").to_vec();
    fields.extend([("a", "1"); 5]);
    client.send(raw::HEADERS, raw::END_STREAM | raw::END_HEADERS, 1, &raw::block(&fields));
    let line = proxy.access_of("/heads");
    for (name, value) in [("method", "GET"), ("query", "r=2"), ("protocol", "HTTP/2.0")] {
        assert_eq!(line[name], value, "{name}: {line}");
    }
    assert_eq!((&line["status"], &line["cause"]), (&431.into(), &"too_many_headers: too_many_headers".into()));
    let body = format!("431 too many request headers\nrequest_id: {}\n", line["request_id"].as_str().unwrap());
    assert_eq!(line["bytes_out"], body.len(), "{line}");
}

fn a_line_in_the_combined_format_reads_as_nginx_writes_it(workers: usize) {
    let text = config(workers, "[[route]]\nrespond = { body = \"four\" }\n").replace("\"json\"", "\"combined\"");
    let proxy = Proxy::start(&text);
    Client::connect(proxy.web()).ask("GET /a?b=\"c HTTP/1.1\nReferer: http://x/\nUser-Agent: probe \"1\"");
    crate::support::exchange(proxy.web(), "nonsense\r\n\r\n");
    let exit = proxy.terminate();
    assert_eq!(exit.stdout.len(), 2, "{:?}", exit.stdout);
    // Lines of different workers may change places.
    let (line, broken) = match &exit.stdout[..] {
        [a, b] if a.contains("GET") => (a, b),
        [a, b] => (b, a),
        _ => unreachable!("there are two"),
    };
    let (before, after) = line.split_once('[').unwrap();
    let (time, after) = after.split_once("] ").unwrap();
    assert_eq!(before, "127.0.0.1 - - ");
    assert!(time.len() == "21/Nov/2026:09:00:00 +0000".len() && time.ends_with(" +0000"), "{time}");
    assert_eq!(after, "\"GET /a?b=\\x22c HTTP/1.1\" 200 4 \"http://x/\" \"probe \\x221\\x22\"");
    assert!(broken.contains("] \"-\" 400 "), "{broken}");
}

fn a_route_may_keep_its_requests_out_of_the_log(workers: usize) {
    let proxy = answering(
        workers,
        "[[route]]\npath = \"/quiet\"\naccess_log = \"off\"\nrespond = {}\n[[route]]\nrespond = {}\n",
    );
    for path in ["/quiet", "/loud", "/quiet/x", "/loud"] {
        assert_eq!(get(proxy.web(), path).status(), 200);
    }
    let exit = proxy.terminate();
    let paths: Vec<_> = exit.access(|_| true).iter().map(|line| line["path"].clone()).collect();
    assert_eq!(paths, ["/loud", "/loud"]);
    // And all of them, where the log is off.
    let off = config(workers, "[[route]]\nrespond = {}\n").replace("{ format = \"json\" }", "\"off\"");
    let mut proxy = Proxy::start(&off);
    // A request is logged, or not, a moment after its client has the answer, and before the next one is read.
    let mut client = Client::connect(proxy.web());
    assert_eq!((client.get("/first").status(), client.get("/second").status()), (200, 200));
    proxy.reload(&off.replace("log.access = \"off\"", "log.access = { format = \"json\" }"));
    // The thread that writes takes the change over a moment later.
    wait_until("a request to be logged", || get(proxy.web(), "/logged").status() == 200 && proxy.has_logged("/logged"));
    assert!(proxy.terminate().access(|line| line["path"] == "/first").is_empty());
}
