//! Sites: what their routes inherit, where their certificates go, and how names come about.

use lb_config::*;

#[track_caller]
fn load(text: &str) -> Config {
    let loaded = Config::parse(text, &|_| None).unwrap_or_else(|diagnostics| panic!("{diagnostics}"));
    assert!(loaded.warnings.is_empty(), "{}", loaded.warnings);
    loaded.config
}

/// A site with everything, and what it is short for.
const SITE: &str = r#"
    [[site]]
    name = "shop"
    hosts = ["shop.test", "*.shop.test"]
    listeners = ["web"]
    tls = { cert = "shop.pem", key = "shop.key" }
    cluster = "app"
    timeout.response = "5s"
    headers.response.set = { X-Frame-Options = "DENY" }

    [[site.route]]

    [[site.route]]
    path = "/admin/"
    hosts = ["admin.shop.test"]
    respond = { status = 403 }
    headers.response.set = { X-Robots-Tag = "none" }

    [[site.route]]
    name = "slow"
    path = "/export/"
    timeout.response = "5m"
"#;

const LONG: &str = r#"
    [[route]]
    name = "shop/"
    hosts = ["shop.test", "*.shop.test"]
    listeners = ["web"]
    cluster = "app"
    timeout = { response = "5s", connect = "1s" }
    headers.response.set = { X-Frame-Options = "DENY" }

    [[route]]
    name = "shop/admin/"
    path = "/admin/"
    hosts = ["admin.shop.test"]
    listeners = ["web"]
    respond = { status = 403 }
    headers.response.set = { X-Robots-Tag = "none", X-Frame-Options = "DENY" }

    [[route]]
    name = "slow"
    path = "/export/"
    hosts = ["shop.test", "*.shop.test"]
    listeners = ["web"]
    cluster = "app"
    timeout = { response = "5m", connect = "1s" }
    headers.response.set = { X-Frame-Options = "DENY" }
"#;

fn whole(certificates: &str, routes: &str) -> String {
    format!(
        r#"
        [defaults.route]
        timeout.connect = "1s"
        redirect = "https"
        [cluster.app]
        endpoints = ["a:1", "b:1"]
        [[listener]]
        name = "web"
        address = "127.0.0.1:443"
        tls = {{ certificates = [{certificates}] }}
        [[listener]]
        name = "plain"
        address = "127.0.0.1:80"
        redirect = "https"
        {routes}
        "#
    )
}

#[test]
fn routes_of_a_site_inherit_from_it_and_then_from_the_defaults() {
    let short = load(&whole("", SITE));
    let long = load(&whole("{ cert = \"shop.pem\", key = \"shop.key\" }", LONG));
    assert_eq!(short, long);
}

#[test]
fn what_is_printed_of_a_site_is_what_it_is_short_for() {
    let loaded = Config::parse(&whole("", SITE), &|_| None).unwrap();
    let printed = loaded.config.print(&loaded.sources);
    assert_eq!(load(&printed), loaded.config);
}

#[test]
fn a_site_without_routes_is_one_itself() {
    let config = load(
        "listener = [{ address = \"0.0.0.0:80\" }]\n[[site]]\nhosts = [\"a.test\"]\nrespond = { body = \"a\" }\n\
         [[site]]\nname = \"b\"\nhosts = [\"b.test\"]\npath = \"/x\"\nrespond = { body = \"b\" }\n\
         [[route]]\nrespond = { body = \"rest\" }\n",
    );
    let names: Vec<&str> = config.routes.iter().map(|route| &*route.name).collect();
    assert_eq!(names, ["/", "a.test/", "b/x"]);
}

#[test]
fn certificates_go_to_the_listeners_of_the_site_that_speak_tls() {
    let config = load(
        r#"
        [[listener]]
        name = "a"
        address = "127.0.0.1:443"
        tls = { pem = "own.pem" }
        [[listener]]
        name = "b"
        address = "127.0.0.2:443"
        tls = {}
        [[listener]]
        name = "plain"
        address = "127.0.0.1:80"
        [[site]]
        hosts = ["one.test"]
        tls.pem = "one.pem"
        respond = {}
        [[site]]
        hosts = ["two.test"]
        listeners = ["b", "plain"]
        tls.certificates = [{ pem = "one.pem" }, { pem = "two.pem" }]
        respond = {}
        "#,
    );
    let shown: Vec<Vec<&str>> = config
        .listeners
        .iter()
        .map(|listener| {
            let files = listener.tls.iter().flat_map(|tls| &tls.certificates);
            files.map(|files| files.cert.to_str().unwrap()).collect()
        })
        .collect();
    assert_eq!(shown, [vec!["own.pem", "one.pem"], vec!["one.pem", "two.pem"], vec![]]);
}
