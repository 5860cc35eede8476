//! What is accepted, but doubted.

use lb_config::Config;

use super::{SOUND, doubted, env};

#[test]
fn doubtful_clusters() {
    doubted(
        r#"[cluster.lonely]
endpoints = ["10.0.0.1:80"]
health.passive = {}

[cluster.empty]
endpoints = []

[cluster.weightless]
endpoints = [{ address = "a:1", weight = 0 }, { address = "b:1", weight = 0 }]

[cluster.slow]
endpoints = ["a:1", "b:1"]
health.active = { interval = "1s", timeout = "2s" }

[cluster.leaving]
endpoints = [{ address = "a:1", weight = 0 }, { address = "b:1", drain = true }]

[cluster.substitutes]
endpoints = [{ address = "a:1", backup = true }, { address = "b:1", backup = true }]

[cluster.nervous]
endpoints = ["a:1", "b:1", "c:1", { address = "d:1", drain = true }]
panic_threshold = "67%"

[cluster.calm]
endpoints = ["a:1", "b:1", "c:1"]
panic_threshold = "66%"

[cluster.hasty]
endpoints = ["unix:/run/a.sock", "unix:/run/b.sock"]
health.active = { port = 81, interval_down = "1s", fall = 1, timeout = "100ms" }

[[route]]
path = "/x"
cluster = "lonely"
"#,
        r#"
lbproxy.toml:2:1: warning: the cluster `lonely` has a single endpoint: nothing takes over when it fails
  |
2 | endpoints = ["10.0.0.1:80"]
  | ^^^^^^^^^

lbproxy.toml:3:1: warning: `health.passive` has no effect in `lonely`: the last endpoint is never ejected
  |
3 | health.passive = {}
  | ^^^^^^

lbproxy.toml:5:10: warning: no route uses the cluster `empty`
  |
5 | [cluster.empty]
  |          ^^^^^

lbproxy.toml:6:1: warning: the cluster `empty` has no endpoint: every request gets a 503
  |
6 | endpoints = []
  | ^^^^^^^^^

lbproxy.toml:8:10: warning: no route uses the cluster `weightless`
  |
8 | [cluster.weightless]
  |          ^^^^^^^^^^

lbproxy.toml:9:1: warning: every endpoint of `weightless` has weight 0: none takes new requests
  |
9 | endpoints = [{ address = "a:1", weight = 0 }, { address = "b:1", weight = 0 }]
  | ^^^^^^^^^

lbproxy.toml:11:10: warning: no route uses the cluster `slow`
   |
11 | [cluster.slow]
   |          ^^^^

lbproxy.toml:13:46: warning: a check may take longer than the interval between two
   |
13 | health.active = { interval = "1s", timeout = "2s" }
   |                                              ^^^^

lbproxy.toml:15:10: warning: no route uses the cluster `leaving`
   |
15 | [cluster.leaving]
   |          ^^^^^^^

lbproxy.toml:16:1: warning: every endpoint of `leaving` drains or has weight 0: none takes new requests
   |
16 | endpoints = [{ address = "a:1", weight = 0 }, { address = "b:1", drain = true }]
   | ^^^^^^^^^

lbproxy.toml:18:10: warning: no route uses the cluster `substitutes`
   |
18 | [cluster.substitutes]
   |          ^^^^^^^^^^^

lbproxy.toml:19:1: warning: every endpoint of `substitutes` is a backup: at least one endpoint must not be a backup
   |
19 | endpoints = [{ address = "a:1", backup = true }, { address = "b:1", backup = true }]
   | ^^^^^^^^^

lbproxy.toml:21:10: warning: no route uses the cluster `nervous`
   |
21 | [cluster.nervous]
   |          ^^^^^^^

lbproxy.toml:23:1: warning: with 3 endpoints in `nervous`, a single one that fails its check is below `panic_threshold`: it then goes on getting requests
   |
23 | panic_threshold = "67%"
   | ^^^^^^^^^^^^^^^
   = help: leave it out: health is then ignored only where no endpoint is eligible

lbproxy.toml:25:10: warning: no route uses the cluster `calm`
   |
25 | [cluster.calm]
   |          ^^^^

lbproxy.toml:29:10: warning: no route uses the cluster `hasty`
   |
29 | [cluster.hasty]
   |          ^^^^^

lbproxy.toml:31:1: warning: `health.active.port` has no effect in `hasty`: a Unix socket has no port
   |
31 | health.active = { port = 81, interval_down = "1s", fall = 1, timeout = "100ms" }
   | ^^^^^^

lbproxy.toml:31:46: warning: an endpoint that is down is checked more often than one that is up
   |
31 | health.active = { port = 81, interval_down = "1s", fall = 1, timeout = "100ms" }
   |                                              ^^^^
   = help: for its first minute it is checked each second in any case

lbproxy.toml:31:59: warning: a single check that is slow or lost takes an endpoint out
   |
31 | health.active = { port = 81, interval_down = "1s", fall = 1, timeout = "100ms" }
   |                                                           ^
   = help: write a longer `timeout`, or fall = 2
"#,
    );
}

#[test]
fn doubtful_routes() {
    doubted(
        r#"[limits]
uri = "64KiB"

[[listener]]
name = "plain"
address = "0.0.0.0:81"
redirect = "https"

[[route]]
path = "/a"
cluster = "app"
sticky = { cookie = "a", same_site = "none" }
methods = ["GTE"]

[[route]]
path = "/b"
cluster = "app"
sticky = { cookie = "a", secret = ["short", "***"] }
listeners = ["plain"]

[[route]]
path = "/c"
redirect = "https"
retry.attempts = 2
"#,
        r#"
lbproxy.toml:2:7: warning: `uri` is larger than `request_head`, which ends every request before it
  |
2 | uri = "64KiB"
  |       ^^^^^^^

lbproxy.toml:12:21: warning: `sticky` has no `secret`: one is made at start, and cookies live as long as the process
   |
12 | sticky = { cookie = "a", same_site = "none" }
   |                     ^^^
   = help: write secret = "${STICKY_SECRET}"

lbproxy.toml:12:38: warning: browsers drop a cookie with `same_site = "none"` that is not `secure`
   |
12 | sticky = { cookie = "a", same_site = "none" }
   |                                      ^^^^^^

lbproxy.toml:13:12: warning: `GTE` is an unusual method
   |
13 | methods = ["GTE"]
   |            ^^^^^
   = help: did you mean "GET"?

lbproxy.toml:18:36: warning: the secret is shorter than 16 bytes and may be guessed
   |
18 | sticky = { cookie = "a", secret = [*******, *****] }
   |                                    ^^^^^^^
   = expected a random text, best of 32 characters or more

lbproxy.toml:18:45: warning: redacted value: replace it with the real secret
   |
18 | sticky = { cookie = "a", secret = [*******, *****] }
   |                                             ^^^^^

lbproxy.toml:24:1: warning: `retry` has no effect on a route that forwards nothing
   |
24 | retry.attempts = 2
   | ^^^^^
"#,
    );
}

#[test]
fn guards_that_a_host_with_routes_of_its_own_goes_round() {
    let warned = |routes: &str| -> Vec<String> {
        let loaded = Config::parse(&format!("{routes}{SOUND}"), &env).unwrap_or_else(|errors| panic!("{errors}"));
        loaded.warnings.iter().map(|warning| warning.message.clone()).collect()
    };
    let refuse = |path: &str| format!("[[route]]\npath = \"{path}\"\nrespond = {{ status = 403 }}\n");
    let limit = "[[route]]\npath = \"/login\"\ncluster = \"app\"\nrate_limit = { rate = \"1/s\" }\n";
    let shop = "[[route]]\nhosts = [\"a.test\", \"shop.test\"]\ncluster = \"app\"\n";
    let own = "[[route]]\nhosts = [\"a.test\"]\npath = \"/admin\"\ncluster = \"app\"\n";
    let message = |path: &str, host: &str| {
        format!("`{path}` of `{host}` is not taken by this route: the host counts before the path")
    };
    assert_eq!(warned(&format!("{}{shop}", refuse("/admin/"))), [message("/admin/", "a.test")]);
    assert_eq!(warned(&format!("{}{shop}", refuse("~^/[.]git"))), [message("~^/[.]git", "a.test")]);
    assert_eq!(warned(&format!("{limit}{shop}")), [message("/login", "a.test")]);
    // One host has a route for the path, the other has not.
    assert_eq!(warned(&format!("{}{shop}{own}", refuse("/admin/"))), [message("/admin/", "shop.test")]);
    // Another path; one method only; nothing refused; a route for the path at every host.
    let quiet = [
        format!("{}{}", refuse("/admin/"), shop.replace("cluster", "path = \"/api/\"\ncluster")),
        format!("{}{}", refuse("/admin/"), shop.replace("cluster", "methods = [\"GET\"]\ncluster")),
        format!("{}{shop}", refuse("/admin/").replace("403", "200")),
        format!("{}{shop}{}", refuse("/admin/"), own.replace("[\"a.test\"]", "[\"a.test\", \"shop.test\"]")),
    ];
    for (at, routes) in quiet.iter().enumerate() {
        assert_eq!(warned(routes), [] as [String; 0], "{at}");
    }
}

#[test]
fn outlier_detection_of_two_endpoints() {
    doubted(
        r#"[cluster.pair]
endpoints = ["10.0.0.1:80", "10.0.0.2:80"]
health.passive = {}

[cluster.default]
endpoints = ["10.0.0.1:80", "10.0.0.2:80"]

[[route]]
path = "/x"
cluster = "pair"

[[route]]
path = "/y"
cluster = "default"
"#,
        r#"
lbproxy.toml:3:1: warning: with two endpoints in `pair`, `health.passive` ejects one at a time: while both fail, both get requests
  |
3 | health.passive = {}
  | ^^^^^^
"#,
    );
}
