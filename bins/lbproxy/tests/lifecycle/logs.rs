//! Rotation of the access log's file.

use std::fs;
use std::path::Path;

use rustix::process::Signal;
use serde_json::Value;

use crate::support::{Client, Endpoint, Proxy, config, wait_until};
use crate::{app, with_one_and_four_workers};

with_one_and_four_workers!(
    a_rotated_log_is_reopened_with_every_line_in_the_right_file,
    a_log_that_cannot_be_reopened_goes_on_in_the_old_file,
);

fn proxy(workers: usize, endpoint: &Endpoint, log: &Path) -> Proxy {
    let text = config(workers, &app(&[&endpoint.at()], ""));
    Proxy::start(
        &text.replace("{ format = \"json\" }", &format!("{{ format = \"json\", to = \"{}\" }}", log.display())),
    )
}

/// The paths of a log's lines, each of which is whole.
#[track_caller]
fn paths(log: &Path) -> Vec<String> {
    let text = fs::read_to_string(log).unwrap();
    assert!(text.is_empty() || text.ends_with('\n'), "{text}");
    let lines = text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    lines.map(|line| line["path"].as_str().unwrap().to_owned()).collect()
}

/// Requests that the logs be reopened and waits for the result.
#[track_caller]
fn reopen(proxy: &Proxy, answer: &str) {
    let count = || proxy.log().iter().filter(|line| line.contains(answer)).count();
    let before = count();
    proxy.signal(Signal::USR1);
    wait_until(answer, || count() > before);
}

fn a_rotated_log_is_reopened_with_every_line_in_the_right_file(workers: usize) {
    let directory = tempfile::tempdir().unwrap();
    let (log, moved) = (directory.path().join("access.log"), directory.path().join("access.log.1"));
    let endpoint = Endpoint::named("done");
    let proxy = proxy(workers, &endpoint, &log);
    // On one connection, so that a request's line is there before the next request is read.
    let mut client = Client::connect(proxy.web());
    client.get("/before");
    fs::rename(&log, &moved).unwrap();
    client.get("/between");
    client.get("/last");
    assert!(!log.exists(), "until told, the old file is written to");
    reopen(&proxy, "logs reopened");
    wait_until("the old file to have its lines", || paths(&moved).len() >= 2);
    client.get("/after");
    client.get("/after");
    assert_eq!(proxy.terminate().code, Some(0));
    let (old, new) = (paths(&moved), paths(&log));
    assert_eq!(old[..2], ["/before", "/between"]);
    assert_eq!([old, new].concat(), ["/before", "/between", "/last", "/after", "/after"], "in order, none lost");
    assert!(!paths(&moved).contains(&"/after".to_owned()));
}

fn a_log_that_cannot_be_reopened_goes_on_in_the_old_file(workers: usize) {
    let directory = tempfile::tempdir().unwrap();
    let (logs, moved) = (directory.path().join("logs"), directory.path().join("moved"));
    fs::create_dir(&logs).unwrap();
    let endpoint = Endpoint::named("done");
    let proxy = proxy(workers, &endpoint, &logs.join("access.log"));
    let mut client = Client::connect(proxy.web());
    client.get("/before");
    fs::rename(&logs, &moved).unwrap();
    reopen(&proxy, "logs cannot be reopened");
    client.get("/after");
    assert_eq!(proxy.terminate().code, Some(0));
    assert_eq!(paths(&moved.join("access.log")), ["/before", "/after"]);
}
