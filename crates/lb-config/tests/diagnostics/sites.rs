//! Sites, and which routes requests reach.

use super::{doubted, refused, refused_alone};

#[test]
fn what_two_sites_cannot_share() {
    refused(
        r#"[[site]]
name = "shop"
hosts = ["a.test", "b.test"]
cluster = "app"

[[site]]
name = "shop"
hosts = ["c.test", "B.test"]
cluster = "app"

[[site]]
hosts = ["a.test"]
listeners = ["0.0.0.0:81"]
respond = {}

[[listener]]
address = "0.0.0.0:81"
"#,
        r#"
lbproxy.toml:6:1: error: another route takes the same requests
  |
6 | [[site]]
  | ^^^^^^^^
  = help: give one of them another host, path, method or header, or take it out
  = the other one: lbproxy.toml:1:1
  |
1 | [[site]]
  | ^^^^^^^^

lbproxy.toml:7:8: error: two sites are named `shop`
  |
7 | name = "shop"
  |        ^^^^^^
  = the other one: lbproxy.toml:2:8
  |
2 | name = "shop"
  |        ^^^^^^

lbproxy.toml:8:20: error: two sites have the host `b.test`
  |
8 | hosts = ["c.test", "B.test"]
  |                    ^^^^^^^^
  = help: put their routes into one, or give them different `listeners`
  = the other one: lbproxy.toml:3:20
  |
3 | hosts = ["a.test", "b.test"]
  |                    ^^^^^^^^

lbproxy.toml:11:1: error: another route takes the same requests on the listener `0.0.0.0:81`
   |
11 | [[site]]
   | ^^^^^^^^
   = help: give one of them another host, path, method or header, or take it out
   = the other one: lbproxy.toml:1:1
   |
 1 | [[site]]
   | ^^^^^^^^

lbproxy.toml:12:10: error: two sites have the host `a.test`
   |
12 | hosts = ["a.test"]
   |          ^^^^^^^^
   = help: put their routes into one, or give them different `listeners`
   = the other one: lbproxy.toml:3:10
   |
 3 | hosts = ["a.test", "b.test"]
   |          ^^^^^^^^
"#,
    );
}

#[test]
fn a_route_stays_within_its_site() {
    refused(
        r#"[[site]]
hosts = ["a.test", "*.b.test"]
listeners = ["0.0.0.0:80"]
cluster = "app"

[[site.route]]
hosts = ["x.b.test"]

[[site.route]]
hosts = ["c.test"]
listeners = ["0.0.0.0:81"]

[[listener]]
address = "0.0.0.0:81"
"#,
        r#"
lbproxy.toml:10:10: error: `c.test` is no host of the site
   |
10 | hosts = ["c.test"]
   |          ^^^^^^^^
   = help: add it to the `hosts` of the site, or write a [[route]] of its own
   = the hosts of the site: lbproxy.toml:2:10
   |
 2 | hosts = ["a.test", "*.b.test"]
   |          ^^^^^^^^

lbproxy.toml:11:14: error: `0.0.0.0:81` is no listener of the site
   |
11 | listeners = ["0.0.0.0:81"]
   |              ^^^^^^^^^^^^
   = help: add it to the `listeners` of the site, or write a [[route]] of its own
   = the listeners of the site: lbproxy.toml:3:14
   |
 3 | listeners = ["0.0.0.0:80"]
   |              ^^^^^^^^^^^^
"#,
    );
}

#[test]
fn sites_that_do_nothing_or_show_no_certificate() {
    refused(
        r#"[[site]]
hosts = ["a.test"]

[[site]]
hosts = ["b.test"]
tls = { pem = "b.pem" }
respond = {}

[[site]]
hosts = ["c.test"]
tls = {}
respond = {}

[[site]]
hosts = ["d.test"]
colour = "red"
[site.route]
path = "/"

[[listener]]
address = "0.0.0.0:81"
tls = {}
"#,
        r#"
lbproxy.toml:1:1: error: the site does nothing
  |
1 | [[site]]
  | ^^^^^^^^
  = expected [[site.route]], or one of `cluster`, `redirect`, `respond`, `files` for all that comes
  = help: write cluster = "NAME" to forward to [cluster.NAME]

lbproxy.toml:11:7: error: `tls` of a site names no certificate
   |
11 | tls = {}
   |       ^^
   = expected { cert = "fullchain.pem", key = "privkey.pem" } or { pem = "all.pem" }

lbproxy.toml:16:1: error: unknown key `colour` in [[site]]
   |
16 | colour = "***"
   | ^^^^^^
   = expected one of `name`, `hosts`, `listeners`, …

lbproxy.toml:17:1: error: `route` is a list of tables
   |
17 | [site.route]
   | ^^^^^^^^^^^^
   = help: write [[site.route]] with double brackets
"#,
    );
}

#[test]
fn a_certificate_that_no_listener_shows() {
    refused(
        r#"[[site]]
hosts = ["b.test"]
tls = { pem = "b.pem" }
respond = {}
"#,
        r#"
lbproxy.toml:3:1: error: no listener would show the certificate: none of the site's speaks TLS
  |
3 | tls = { pem = "b.pem" }
  | ^^^
  = help: write tls = {} at the listener
"#,
    );
}

#[test]
fn one_certificate_in_two_ways() {
    refused(
        r#"[[listener]]
address = "0.0.0.0:81"
tls = { cert = "a.pem", certificates = [{ pem = "b.pem" }] }

[[listener]]
address = "0.0.0.0:82"
tls = { cert = "a.pem" }
"#,
        r#"
lbproxy.toml:3:9: error: `cert` and `certificates` exclude each other
  |
3 | tls = { cert = "a.pem", certificates = [{ pem = "b.pem" }] }
  |         ^^^^
  = help: write every certificate in `certificates`
  = the other: lbproxy.toml:3:25
  |
3 | tls = { cert = "a.pem", certificates = [{ pem = "b.pem" }] }
  |                         ^^^^^^^^^^^^

lbproxy.toml:7:7: error: a certificate has no `key`
  |
7 | tls = { cert = "a.pem" }
  |       ^^^^^^^^^^^^^^^^^^
  = expected { cert = "fullchain.pem", key = "privkey.pem" } or { pem = "all.pem" }, or "off"
"#,
    );
}

#[test]
fn routes_that_requests_do_not_reach_as_one_would_think() {
    doubted(
        r#"[[listener]]
name = "plain"
address = "0.0.0.0:81"
redirect = "https"

[[route]]
path = "/.well-known/acme-challenge/"
cluster = "app"

[[route]]
path = "/x"
listeners = ["plain"]
cluster = "app"

[[route]]
hosts = ["a.test"]
cluster = "app"

[[route]]
path = "=/healthz"
respond = {}
"#,
        r#"
lbproxy.toml:6:1: warning: the listener `plain` redirects before it asks this route, and certificate authorities ask there
  |
6 | [[route]]
  | ^^^^^^^^^
  = help: write listeners = ["plain"] in the route

lbproxy.toml:19:1: warning: `/healthz` is only taken for other hosts: the host counts before the path
   |
19 | [[route]]
   | ^^^^^^^^^
   = help: write `hosts` here as well, if it is meant for them
   = this route takes it for its hosts: lbproxy.toml:15:1
   |
15 | [[route]]
   | ^^^^^^^^^
"#,
    );
}

#[test]
fn a_route_that_no_listener_serves() {
    let text = "[[listener]]\nname = \"plain\"\naddress = \"0.0.0.0:80\"\nredirect = \"https\"\n\n[[route]]\npath = \"/x\"\nrespond = {}\n";
    let loaded = lb_config::Config::parse(text, &|_| None).unwrap();
    super::compare(
        &loaded.warnings.to_string(),
        r#"
lbproxy.toml:6:1: warning: no listener serves the route: each redirects what no route takes that names it
  |
6 | [[route]]
  | ^^^^^^^^^
  = help: write listeners = ["plain"] in the route
"#,
    );
    refused_alone(
        "[site]\nhosts = [\"a.test\"]\n",
        r#"
lbproxy.toml:1:1: error: `site` is a list of tables
  |
1 | [site]
  | ^^^^^^
  = help: write [[site]] with double brackets
"#,
    );
}
