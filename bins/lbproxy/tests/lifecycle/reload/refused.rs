//! Configurations that cannot be put in force.

use std::fs;
use std::net::TcpListener;
use std::path::Path;

use serde_json::Value;

use super::Traffic;
use crate::support::{Endpoint, Proxy, config, get};
use crate::{app, with_one_and_four_workers};

with_one_and_four_workers!(
    a_file_that_is_wrong_is_refused_with_place_and_reason,
    what_cannot_be_bound_or_opened_is_refused_and_nothing_has_changed,
    a_file_that_cannot_be_read_is_refused,
);

fn a_file_that_is_wrong_is_refused_with_place_and_reason(workers: usize) {
    let [a, b] = ["a", "b"].map(Endpoint::named);
    let good = config(workers, &app(&[&a.at()], ""));
    let mut proxy = Proxy::start(&good);
    let traffic = Traffic::start(proxy.web());
    let at = |line: usize, column: usize| format!("/lbproxy.toml:{line}:{column}: ");
    let line_of = |text: &str, part: &str| 1 + text.lines().position(|line| line.contains(part)).unwrap();

    let not_toml = good.replace("[cluster.app]", "[cluster.app");
    let said = proxy.reload_refused(&not_toml);
    assert!(said.contains("reload refused, generation 1 stays in force: "), "{said}");
    assert!(said.contains(&format!("/lbproxy.toml:{}:", line_of(&not_toml, "[cluster.app"))), "{said}");

    let unknown = good.replace("cluster = \"app\"", "clutser = \"app\"");
    let said = proxy.reload_refused(&unknown);
    assert!(said.contains(&at(line_of(&unknown, "clutser"), 1)), "{said}");
    assert!(said.contains("did you mean `cluster`?"), "{said}");

    // Every error is reported with its place.
    let several = config(workers, &app(&[&b.at()], "policy = \"best\"\ndns_interval = \"often\""));
    proxy.reload_refused(&several);
    for part in ["\"best\"", "\"often\""] {
        proxy.wait_log(&format!("/lbproxy.toml:{}:", line_of(&several, part)));
    }
    proxy.wait_log("(and 1 more)");

    unchanged(&proxy, &a, &b);
    proxy.reload(&config(workers, &app(&[&b.at()], "")));
    assert_eq!(get(proxy.web(), "/").text(), "b", "a good one is taken after bad ones, as the next generation");
    traffic.expect_no_failure();
}

fn what_cannot_be_bound_or_opened_is_refused_and_nothing_has_changed(workers: usize) {
    let [a, b] = ["a", "b"].map(Endpoint::named);
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap();
    let directory = tempfile::tempdir().unwrap();
    let socket = directory.path().join("new.sock");
    let mut proxy = Proxy::start(&config(workers, &app(&[&a.at()], "")));
    let traffic = Traffic::start(proxy.web());
    // Each would change the endpoints and add a listener, if it could.
    let next = config(workers, &app(&[&b.at()], "")) + &unix_listener(&socket);
    for (text, why) in [
        (
            format!("{next}[[listener]]\nname = \"no\"\naddress = \"{address}\"\n"),
            format!("cannot listen on {address}: "),
        ),
        (
            next.replace("admin.address = \"127.0.0.1:0\"", &format!("admin.address = \"{address}\"")),
            format!("cannot listen on {address}: "),
        ),
        (
            next.replace("{ format = \"json\" }", "{ format = \"json\", to = \"/nonexistent/access.log\" }"),
            "cannot write the access log: cannot open /nonexistent/access.log: ".to_owned(),
        ),
    ] {
        let said = proxy.reload_refused(&text);
        assert!(said.contains("reload refused, generation 1 stays in force: ") && said.contains(&why), "{said}");
        unchanged(&proxy, &a, &b);
        assert!(!socket.exists(), "what was bound for it is given up again");
    }
    drop(taken);
    proxy.reload(&next);
    assert_eq!(get(proxy.web(), "/").text(), "b");
    assert!(socket.exists());
    let answered = traffic.expect_no_failure();
    // The access log went on where it was.
    let exit = proxy.terminate();
    assert_eq!(exit.access(|line| line["path"] == "/load").len(), answered);
}

fn unix_listener(path: &Path) -> String {
    format!("[[listener]]\nname = \"unix\"\naddress = \"unix:{}\"\n", path.display())
}

fn a_file_that_cannot_be_read_is_refused(workers: usize) {
    let [a, b] = ["a", "b"].map(Endpoint::named);
    let mut proxy = Proxy::start(&config(workers, &app(&[&a.at()], "")));
    let said = proxy.reload_refused_after(|file| fs::remove_file(file).unwrap());
    assert!(said.contains("cannot read /") && said.contains("/lbproxy.toml: No such file"), "{said}");
    let said = proxy.reload_refused_after(|file| fs::create_dir(file).unwrap());
    assert!(said.contains("cannot read /") && said.contains("/lbproxy.toml: Is a directory"), "{said}");
    let said = proxy.reload_refused_after(|file| {
        fs::remove_dir(file).unwrap();
        fs::write(file, b"\xff\xfe").unwrap();
    });
    assert!(said.contains("/lbproxy.toml"), "{said}");
    unchanged(&proxy, &a, &b);
    proxy.reload(&config(workers, &app(&[&b.at()], "")));
    assert_eq!(get(proxy.web(), "/").text(), "b");
}

/// The configuration of the start, with `a` and without `b`, is in force.
#[track_caller]
fn unchanged(proxy: &Proxy, a: &Endpoint, b: &Endpoint) {
    let status = proxy.status();
    assert_eq!(status["generation"], 1);
    let endpoints = status["clusters"]["app"]["endpoints"].as_array().unwrap();
    assert_eq!(endpoints.iter().map(|it| &it["address"]).collect::<Vec<_>>(), [&Value::from(a.at())]);
    assert_eq!(proxy.metric("lbproxy_config_generation", &[]), 1.0);
    for _ in 0..4 {
        assert_eq!(get(proxy.web(), "/").text(), "a");
    }
    assert_eq!(b.connections(), 0);
}
