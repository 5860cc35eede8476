//! What a reload says it changes.

use lb_config::*;

const BEFORE: &str = r#"
    grace = "30s"
    listener = [{ name = "web", address = "0.0.0.0:80" }, { name = "old", address = "0.0.0.0:81" }]

    [[route]]
    name = "ui"
    cluster = "n8n"
    headers.request.set.X-Env = "test"

    [[route]]
    name = "hooks"
    path = "/hooks"
    cluster = "n8n"
    rate_limit.rate = "10/s"

    [[route]]
    name = "gone"
    path = "/gone"
    redirect = "https"

    [cluster.n8n]
    endpoints = ["n8n-1:5678", "n8n-2:5678"]
"#;

const AFTER: &str = r#"
    grace = "1m"
    workers = 2
    listener = [{ name = "web", address = "0.0.0.0:8080" }, { name = "new", address = "0.0.0.0:82" }]

    [[route]]
    name = "hooks"
    path = "/hooks"
    cluster = "n8n"
    methods = ["POST"]
    timeout.response = "2m"
    sticky.cookie = "id"

    [[route]]
    name = "ui"
    cluster = "n8n"
    headers.request.set.X-Env = "prod"

    [cluster.n8n]
    policy = { name = "least_request", choices = 2 }
    endpoints = [{ address = "n8n-1:5678", weight = 2 }, "n8n-3:5678"]
    health.active.path = "/healthz"
    health.passive = "off"

    [cluster.more]
    endpoints = ["a:1"]
"#;

fn load(text: &str) -> Config {
    Config::parse(text, &|_| None).unwrap_or_else(|diagnostics| panic!("{diagnostics}")).config
}

#[test]
fn every_change_is_reported_once_by_its_key() {
    let changes = Config::diff(&load(BEFORE), &load(AFTER));
    let expected = [
        "workers auto → 2",
        "grace 30s → 1m",
        "listener web: address 0.0.0.0:80 → 0.0.0.0:8080",
        "listener old removed",
        "listener new added",
        "route ui: headers.request.set.X-Env changed",
        "route hooks: methods [] → [POST]",
        "route hooks: timeout.response 1m → 2m",
        "route hooks: sticky added",
        "route hooks: rate_limit removed",
        "route gone removed",
        "cluster n8n: policy round_robin → least_request",
        "cluster n8n: weight of n8n-1:5678 1 → 2",
        "cluster n8n: endpoint n8n-2:5678 removed",
        "cluster n8n: endpoint n8n-3:5678 added",
        "cluster n8n: health.active added",
        "cluster n8n: health.passive removed",
        "cluster more added",
        "routes are in another order",
    ];
    assert_eq!(changes.iter().collect::<Vec<_>>(), expected);
    assert_eq!(changes.len(), expected.len());
    assert!(changes.to_string().starts_with("workers auto → 2; grace 30s → 1m; "));
}

#[test]
fn what_is_written_in_another_way_is_no_change() {
    let other = AFTER.replace("\"1m\"", "\"60s\"").replace("\"2m\"", "\"120000ms\"");
    let changes = Config::diff(&load(AFTER), &load(&other));
    assert!(changes.is_empty(), "{changes}");
    assert_eq!(changes.to_string(), "nothing changed");
}

#[test]
fn the_order_of_endpoints_counts() {
    let other = BEFORE.replace("\"n8n-1:5678\", \"n8n-2:5678\"", "\"n8n-2:5678\", \"n8n-1:5678\"");
    let changes = Config::diff(&load(BEFORE), &load(&other));
    assert_eq!(changes.iter().collect::<Vec<_>>(), ["cluster n8n: endpoints are in another order"]);
}

#[test]
fn a_configuration_without_a_file() {
    let config =
        Config::for_proxy("8080", &["app-1:3000", "10.0.0.2:3000"], Some("p2c"), Some("/healthz"), Some("9900"))
            .unwrap();
    assert_eq!(config.listeners[0].address.to_string(), "127.0.0.1:8080", "of this machine, unless it is said");
    let admin = config.admin.as_ref().unwrap();
    assert_eq!((admin.address.to_string(), admin.allow.len()), ("127.0.0.1:9900".to_owned(), 0));
    assert_eq!(config.clusters[0].policy.kind.name(), "p2c");
    assert_eq!(config.clusters[0].endpoints.len(), 2);
    let Probe::Http { path, .. } = &config.clusters[0].health.active.as_ref().unwrap().probe else {
        panic!("asks by HTTP")
    };
    assert_eq!(&**path, "/healthz");
    assert_eq!(config.routes[0].action, Action::Cluster(0));
    let plain = Config::for_proxy("[::1]:8080", &["a:1"], None, None, Some("0.0.0.0:9900")).unwrap();
    let allow: Vec<String> = plain.admin.as_ref().unwrap().allow.iter().map(ToString::to_string).collect();
    assert_eq!(allow, ["127.0.0.0/8", "::1"], "open to this machine, as the help says");
    assert_eq!((plain.clusters[0].policy.kind, &plain.clusters[0].health.active), (PolicyKind::default(), &None));
    let printed = config.print(&Sources::default());
    assert_eq!(load(&printed), config);
}

#[test]
fn a_configuration_without_a_file_says_plainly_what_is_wrong() {
    let errors =
        Config::for_proxy("nowhere", &["app", "b:1", "b:1"], Some("leastconn"), Some("healthz"), Some(":9900"))
            .unwrap_err();
    assert_eq!(
        errors.to_string(),
        "error: `:9900` is not an address to listen on\n\
         \x20= expected an address such as \"0.0.0.0:80\", \"[::1]:80\" or \"unix:/run/lbproxy.sock\"\n\
         \x20= help: write \"0.0.0.0:9900\" for IPv4 or \"[::]:9900\" for IPv6\n\
         \n\
         error: `nowhere` is not an address to listen on\n\
         \x20= expected an address such as \"0.0.0.0:80\", \"[::1]:80\" or \"unix:/run/lbproxy.sock\"\n\
         \n\
         error: `leastconn` is not a policy\n\
         \x20= expected one of \"round_robin\", \"static_stride\", \"orca\", \"random\", \"weighted_random\", \"least_request\", \"p2c\", \"peak_ewma\", \"least_time\", \"prequal\", \"c3\", \"ip_hash\", \"hash\", \"ring_hash\", \"maglev\", \"rendezvous\", \"memento\", \"first\"\n\
         \x20= help: did you mean \"least_request\"?\n\
         \n\
         error: `app` has no port\n\
         \x20= expected an address such as \"10.0.0.1:80\", \"app:80\", \"[::1]:80\", \"https://app:443\" or \"unix:/run/app.sock\"\n\
         \n\
         error: `healthz` is not a path\n\
         \x20= expected a path such as \"/healthz\", percent-encoded where need be\n"
    );
    let none: [&str; 0] = [];
    let errors = Config::for_proxy("80", &none, None, None, None).unwrap_err();
    assert!(errors.to_string().contains("there is no endpoint to forward to"));
}
