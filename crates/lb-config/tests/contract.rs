//! What every key means when it is left out, and that every spelling of a value is read.

use std::time::Duration;

use lb_config::*;
use lb_policy::{OptionInfo, Unit};

fn env(_: &str) -> Option<String> {
    None
}

#[track_caller]
fn load(text: &str) -> Config {
    Config::parse(text, &env).unwrap_or_else(|diagnostics| panic!("{diagnostics}")).config
}

/// A whole configuration around some lines of its one route.
#[track_caller]
fn route(lines: &str) -> Route {
    let text = format!(
        "[[listener]]\naddress = \"0.0.0.0:80\"\n[[route]]\ncluster = \"app\"\n{lines}\n[cluster.app]\nendpoints = [\"a:1\"]"
    );
    load(&text).routes.remove(0)
}

/// A whole configuration around some lines of its one cluster.
#[track_caller]
fn cluster(lines: &str) -> Cluster {
    let text = format!(
        "[[listener]]\naddress = \"0.0.0.0:80\"\n[[route]]\ncluster = \"app\"\n[cluster.app]\nendpoints = [\"a:1\"]\n{lines}"
    );
    load(&text).clusters.remove(0)
}

/// Every default, written down once by hand.
const DEFAULTS: &str = r#"
[top]
workers = "auto"
grace = "30s"
zone = "none"

[admin]
address = "off"
allow = []
hosts = []

[networks]

[log]
level = "info"
format = "text"
access = { format = "standard", to = "stdout" }

[limits]
request_head = "32KiB"
headers = 100
uri = "8KiB"
request_body = "100MiB"
response_head = "128KiB"
response_headers = 500
connections = "auto"
endpoint_connections = "auto"
connections_per_client = "none"
head_timeout = "10s"
idle_timeout = "65s"

[errors]
intercept = false

[[listener]]
name = "0.0.0.0:80"
address = "0.0.0.0:80"
redirect = "off"
trusted_proxies = []
proxy_protocol = false
allow = "any"
deny = []
backlog = "auto"
mode = "umask"
tls = "off"
rate_limit = "off"
headers.response = { remove = [], set = {}, add = {} }
errors = { intercept = false }

[[route]]
name = "/"
hosts = []
path = "/"
methods = []
headers_match = {}
listeners = []
cluster = "app"
timeout = { connect = "5s", response = "1m", idle = "1m", total = "none", tunnel = "1h" }
retry = { on = ["connect_error", "reset"], attempts = 3, for = "none", interval = "0ms", budget = "20%", unsafe_methods = false, body_limit = "64KiB" }
sticky = { cookie = "c", secure = false, http_only = true, path = "/", max_age = "session" }
concurrency = "off"
forwarded = { headers = "x-forwarded", host = "preserve" }
upgrade = "any"
rate_limit = { key = "client_ip", rate = "10/s", burst = 0, delay = "off", algorithm = "gcra", quotas = {}, dry_run = false, exempt = [], status = 429, headers = false, name = "/", memory = "10MiB" }
auth = "off"
allow = "any"
deny = []
headers.request = { remove = [], set = {}, add = {} }
headers.response = { remove = [], set = {}, add = {} }
body_limit = "100MiB"
access_log = "on"
compress = "off"
errors = { intercept = false }
maintenance = false

[[route]]
name = "/moved"
hosts = []
path = "/moved"
methods = []
headers_match = {}
listeners = []
redirect = { to = "/new", status = 308 }
rate_limit = "off"
auth = "off"
allow = "any"
deny = []
headers.request = { remove = [], set = {}, add = {} }
headers.response = { remove = [], set = {}, add = {} }
body_limit = "100MiB"
access_log = "on"
compress = "off"
errors = { intercept = false }
maintenance = false

[[route]]
name = "/fixed"
hosts = []
path = "/fixed"
methods = []
headers_match = {}
listeners = []
respond = { status = 200, body = "", content_type = "text/plain; charset=utf-8", headers = {} }
rate_limit = "off"
auth = "off"
allow = "any"
deny = []
headers.request = { remove = [], set = {}, add = {} }
headers.response = { remove = [], set = {}, add = {} }
body_limit = "100MiB"
access_log = "on"
compress = "off"
errors = { intercept = false }
maintenance = false

[cluster.app]
policy = "round_robin"
endpoints = [
  { address = "a:1", weight = 1, max_in_flight = "none", backup = false, priority = 0, zone = "none", drain = false },
]
protocol = "http1"
tls = "off"
proxy_protocol = "off"
dns_interval = "10s"
keep_alive = { idle = 32, timeout = "4s", requests = 1000, age = "1h" }
queue = { size = 0, timeout = "5s" }
rate_limit = "off"
concurrency = "off"
slow_start = "off"
panic_threshold = "off"
spill = "exhausted"
subset = "off"
health.active = { path = "/", method = "GET", headers = {}, expect = ["2xx", "3xx"], interval = "4s", jitter = "10%", timeout = "2s", rise = 2, fall = 3, initial = "up" }
health.passive = { failures = 3, window = "30s", eject_for = "3s", on = ["connect_error", "reset", "timeout", "5xx"], silence = "1s", cool_down = "1s", max_ejected = "100%" }
maintenance = false
"#;

#[test]
fn what_is_left_out_has_its_default_and_print_shows_it() {
    let text = r#"
        listener = [{ address = "0.0.0.0:80" }]
        cluster.app = { endpoints = ["a:1"], health.active = {}, health.passive = {} }

        [[route]]
        cluster = "app"
        sticky = { cookie = "c" }
        rate_limit.rate = "10/s"
        [[route]]
        path = "/moved"
        redirect.to = "/new"
        [[route]]
        path = "/fixed"
        respond = {}
    "#;
    let loaded = Config::parse(text, &env).unwrap();
    let expected = DEFAULTS.trim_start().strip_prefix("[top]\n").unwrap();
    assert_eq!(loaded.config.print(&loaded.sources), expected);
    assert_eq!(load(expected), loaded.config);
    // What is left of it without its defaults means the same.
    let changed = loaded.config.print_changed(&loaded.sources);
    assert_eq!(load(&changed), loaded.config, "{changed}");
    assert!(changed.lines().count() < expected.lines().count() / 2, "{changed}");
}

#[test]
fn sections_that_are_left_out_are_off() {
    let plain = route("");
    assert_eq!(plain.options.sticky, None);
    assert_eq!(plain.options.rate_limits, []);
    assert_eq!(plain.options.policy, None);
    let plain = cluster("");
    assert_eq!(plain.health.active, None);
}

/// Nothing need be written for traffic to be judged, in a cluster of any size.
#[test]
fn outlier_detection_is_on_without_a_line() {
    for endpoints in ["[\"a:1\"]", "[\"a:1\", \"b:1\"]", "[\"a:1\", \"b:1\", \"c:1\"]"] {
        let with = |line: &str| {
            let text = format!(
                "listener = [{{ address = \"127.0.0.1:1\" }}]\nroute = [{{ cluster = \"app\" }}]\n\
                 [cluster.app]\nendpoints = {endpoints}\n{line}"
            );
            load(&text).clusters[0].health.passive.clone()
        };
        assert!(with("").is_some() && with("") == with("health.passive = {}"), "{endpoints}");
        assert_eq!(with("health.passive = \"off\""), None);
    }
}

#[test]
fn the_top_level() {
    let config = load(
        r#"
        workers = 4
        grace = "0s"
        listener = [{ address = "unix:/run/web.sock", redirect = "https", backlog = 128, mode = "0660", trusted_proxies = ["10.0.0.0/8", "::1"], proxy_protocol = ["10.0.0.1"] }]
        [admin]
        address = "0.0.0.0:9900"
        allow = ["10.0.0.0/8"]
        hosts = ["lb.internal", "*.Ops.example"]
        [log]
        level = "trace"
        format = "json"
        access = "off"
        [limits]
        request_body = "none"
        connections = 300
        endpoint_connections = 200
        connections_per_client = 10
        "#,
    );
    assert_eq!(config.workers.unwrap().get(), 4);
    assert_eq!(config.grace, Duration::ZERO);
    let admin = config.admin.unwrap();
    assert_eq!(admin.allow[0].to_string(), "10.0.0.0/8");
    let hosts = [HostPattern::Exact("lb.internal".into()), HostPattern::Wildcard(".ops.example".into())];
    assert_eq!(admin.hosts, hosts);
    assert_eq!((config.log.level, config.log.format, config.log.access), (Level::Trace, LogFormat::Json, None));
    assert_eq!(config.limits.request_body_bytes, None);
    assert_eq!(config.limits.connections.unwrap().get(), 300);
    assert_eq!(config.limits.endpoint_connections.unwrap().get(), 200);
    assert_eq!(config.limits.connections_per_client.unwrap().get(), 10);
    let listener = &config.listeners[0];
    assert_eq!((&*listener.name, listener.backlog.unwrap().get()), ("unix:/run/web.sock", 128));
    assert_eq!(listener.address, ListenAddress::Unix("/run/web.sock".into()));
    assert_eq!((listener.trusted_proxies.len(), listener.mode), (2, Some(0o660)));
    assert_eq!(listener.proxy_protocol.as_ref().unwrap()[0].to_string(), "10.0.0.1");
    assert!(config.routes.is_empty(), "a listener that redirects everything needs no route");
}

#[test]
fn where_the_access_log_goes() {
    let to = |value: &str| {
        let text =
            format!("log.access.to = \"{value}\"\nlistener = [{{ address = \"0.0.0.0:80\", redirect = \"https\" }}]");
        load(&text).log.access.map(|access| access.to)
    };
    assert_eq!(to("stdout"), Some(AccessTarget::Stdout));
    assert_eq!(to("off"), None);
    assert_eq!(to("/var/log/access.log"), Some(AccessTarget::File("/var/log/access.log".into())));
    assert_eq!(to("./access.log"), Some(AccessTarget::File("./access.log".into())));
}

#[test]
fn redirects_short_and_long() {
    let redirect = |value: &str| {
        let text = format!("listener = [{{ address = \"0.0.0.0:80\" }}]\nroute = [{{ redirect = {value} }}]");
        match load(&text).routes.remove(0).action {
            Action::Redirect(redirect) => redirect,
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(redirect("\"https\""), Redirect { to: RedirectTo::Https, status: 301 });
    assert_eq!(redirect("{ to = \"https\" }"), Redirect { to: RedirectTo::Https, status: 308 });
    assert_eq!(redirect("{ to = \"/new/\" }"), Redirect { to: RedirectTo::Path("/new/".into()), status: 308 });
    let whole = redirect("{ to = \"https://example.com/\", status = 302 }");
    assert_eq!(whole, Redirect { to: RedirectTo::Template(Template::literal("https://example.com/")), status: 302 });
    let RedirectTo::Template(template) = redirect("{ to = \"/login?next={uri}\" }").to else { panic!("as written") };
    assert_eq!(template.variables().collect::<Vec<_>>(), [&Variable::Uri]);
}

#[test]
fn every_kind_of_match() {
    let route = route(
        r#"
        hosts = ["Example.com", "*.example.org"]
        path = "~^/v[0-9]+/"
        methods = ["GET", "PROPFIND"]
        headers_match = { X-Version = "2", Accept = "~^text/" }
        listeners = ["0.0.0.0:80"]
        name = "api"
        "#,
    );
    assert_eq!(&*route.name, "api");
    let Match { hosts, path, methods, headers, listeners } = route.matcher;
    assert_eq!(hosts, [HostPattern::Exact("example.com".into()), HostPattern::Wildcard(".example.org".into())]);
    assert!(matches!(path, PathPattern::Regex(regex) if regex.as_str() == "^/v[0-9]+/"));
    assert_eq!(methods.iter().map(|method| &**method).collect::<Vec<_>>(), ["GET", "PROPFIND"]);
    assert_eq!(headers[0], ("x-version".into(), ValuePattern::Exact("2".into())));
    assert!(
        matches!(&headers[1], (name, ValuePattern::Regex(regex)) if &**name == "accept" && regex.as_str() == "^text/")
    );
    assert_eq!(listeners, [0]);
}

#[test]
fn options_of_a_route() {
    let options = route(
        r#"
        policy = { name = "least_request", choices = 3 }
        timeout = { connect = "250ms", response = "2m", idle = "5s", total = "1h", tunnel = "24h" }
        retry = { on = ["timeout", "invalid_response", 429, "5xx", "500-504"], attempts = 5, for = "2s", interval = "250ms", budget = "12.5%", unsafe_methods = true, body_limit = "0B" }
        sticky = { cookie = "id", secure = true, http_only = false, same_site = "none", path = "/app", domain = ".Example.com", max_age = "1h", secret = ["new secret of enough bytes", "old secret of enough bytes"] }
        rate_limit = { key = "{header:X-Key}", rate = "1/m", burst = 20, status = 503, name = "keys", memory = "1MB" }
        headers.request = { remove = ["X-Debug"], set = { Host = "app", X-Real = "{client_ip}" }, add = { Via = ["a", "b"], X-Id = "{request_id}" } }
        headers.response = { set = { X-Frame-Options = "DENY" } }
        forwarded = { headers = "both", host = "endpoint" }
        upgrade = ["WebSocket", "SPDY/3.1"]
        body_limit = "none"
        access_log = false
        "#,
    )
    .options;
    let policy = options.policy.unwrap();
    assert_eq!((policy.kind.name(), policy.options.get("choices")), ("least_request", Some(&3.0)));
    let seconds = Duration::from_secs;
    assert_eq!(
        options.timeout,
        Timeouts {
            connect: Duration::from_millis(250),
            response: seconds(120),
            idle: seconds(5),
            total: Some(seconds(3600)),
            tunnel: seconds(86_400),
        }
    );
    let retry = options.retry.unwrap();
    let status = |from, to| Condition::Status { from, to };
    let on = [Condition::Timeout, Condition::InvalidResponse, status(429, 429), status(500, 599), status(500, 504)];
    assert_eq!(retry.on, on);
    assert_eq!((retry.attempts.get(), retry.within, retry.interval), (5, Some(seconds(2)), Duration::from_millis(250)));
    assert!((retry.budget_ratio - 0.125).abs() < f64::EPSILON);
    assert_eq!((retry.unsafe_methods, retry.body_limit), (true, 0));
    let sticky = options.sticky.unwrap();
    assert_eq!((sticky.secure, sticky.http_only, sticky.same_site), (true, false, Some(SameSite::None)));
    assert_eq!((&*sticky.path, sticky.domain.as_deref()), ("/app", Some("example.com")));
    assert_eq!((sticky.max_age, sticky.secrets.len()), (Some(seconds(3600)), 2));
    let [limit] = &options.rate_limits[..] else { panic!("one limit") };
    assert!(matches!(limit.key, LimitKey::Template(_)));
    assert_eq!((limit.rate.requests.get(), limit.rate.period, limit.burst, limit.status), (1, seconds(60), 20, 503));
    assert_eq!((&*limit.name, limit.memory_bytes), ("keys", 1_000_000));
    let edits = options.headers.request;
    assert_eq!(edits.remove, ["x-debug".into()]);
    assert_eq!(edits.set.iter().map(|(name, _)| &**name).collect::<Vec<_>>(), ["Host", "X-Real"]);
    assert_eq!(edits.add.iter().map(|(name, _)| &**name).collect::<Vec<_>>(), ["Via", "Via", "X-Id"]);
    assert_eq!(options.headers.response.set[0].1, Template::literal("DENY"));
    assert_eq!(options.forwarded, Forwarded { x_forwarded: true, rfc7239: true, preserve_host: false });
    assert_eq!(options.upgrade, Upgrade::Only(vec!["WebSocket".into(), "SPDY/3.1".into()]));
    assert_eq!((options.body_limit, options.access_log), (None, false));
}

#[test]
fn short_forms() {
    assert_eq!(route("retry = \"off\"").options.retry, None);
    assert_eq!(route("retry.attempts = 1").options.retry, None);
    assert_eq!(route("policy = \"p2c\"").options.policy.unwrap().kind.name(), "p2c");
    assert!(!route("access_log = \"off\"").options.access_log);
    assert_eq!(route("upgrade = \"off\"").options.upgrade, Upgrade::Off);
    assert_eq!(route("upgrade = \"any\"").options.upgrade, Upgrade::Any);
    let forwarded = route("forwarded = \"rfc7239\"").options.forwarded;
    assert_eq!(forwarded, Forwarded { x_forwarded: false, rfc7239: true, preserve_host: true });
    let off = route("forwarded = \"off\"").options.forwarded;
    assert_eq!((off.x_forwarded, off.rfc7239), (false, false));
    assert_eq!(
        route("rate_limit = { rate = \"1/s\", key = \"{client_ip}\" }").options.rate_limits[0].key,
        LimitKey::ClientIp
    );
    let secrets =
        route("sticky = { cookie = \"a\", secret = \"one secret of enough bytes\" }").options.sticky.unwrap().secrets;
    assert_eq!(secrets.len(), 1);
}

#[test]
fn health_in_every_form() {
    let env = |name: &str| match name {
        "CHECK_PATH" => Some("/ready".to_owned()),
        "CHECK_TIMEOUT" => Some("5000".to_owned()),
        _ => None,
    };
    let text = r#"listener = [{ address = "0.0.0.0:80" }]
        route = [{ cluster = "app" }]
        [cluster.app]
        endpoints = ["a:1"]
        health.active = { path = "${CHECK_PATH}", timeout = "${CHECK_TIMEOUT}ms", interval = "${CHECK_INTERVAL:-30000}ms", rise = "${RISE:-4}" }"#;
    let active = Config::parse(text, &env).unwrap().config.clusters.remove(0).health.active.unwrap();
    assert!(matches!(&active.probe, Probe::Http { path, .. } if **path == *"/ready"));
    assert_eq!([active.timeout, active.interval], [5, 30].map(Duration::from_secs));
    assert_eq!(active.rise.get(), 4);
    let active = cluster("health.active = { interval_down = \"30s\", jitter = \"50%\" }").health.active.unwrap();
    assert_eq!((active.interval_down, active.jitter), (Some(Duration::from_secs(30)), 0.5));
    let active = cluster("health.active = { tcp = true, port = 81, initial = \"down\", rise = 1, fall = 1 }")
        .health
        .active
        .unwrap();
    assert_eq!(
        (active.probe, active.port, active.initial_up),
        (Probe::Tcp { send: None, receive: None }, Some(81), false)
    );
    let active = cluster(
        "health.active = { path = \"/h?x=1\", method = \"HEAD\", host = \"example.com\", expect = \"200-204\" }",
    );
    let Probe::Http { path, method, host, expect, .. } = active.health.active.unwrap().probe else {
        panic!("asks by HTTP")
    };
    assert_eq!((&*path, &*method, host.as_deref()), ("/h?x=1", "HEAD", Some("example.com")));
    assert_eq!(expect, [(200, 204)]);
    let expects = |value: &str| match cluster(&format!("health.active.expect = {value}")).health.active.unwrap().probe {
        Probe::Http { expect, .. } => expect,
        Probe::Tcp { .. } | Probe::Grpc { .. } | Probe::Command { .. } => panic!("asks by HTTP"),
    };
    assert_eq!(expects("200"), [(200, 200)]);
    assert_eq!(expects("[200, \"3xx\", \"404-410\"]"), [(200, 200), (300, 399), (404, 410)]);
    let passive = cluster("health.passive = { failures = 1, window = \"1s\", eject_for = \"2m\", on = [\"5xx\"] }")
        .health
        .passive
        .unwrap();
    assert_eq!(
        (passive.failures.get(), passive.window, passive.eject_for),
        (1, Duration::from_secs(1), Duration::from_secs(120))
    );
    assert_eq!(passive.on, [Condition::Status { from: 500, to: 599 }]);
    let off = cluster("health = { active = \"off\", passive = \"off\" }");
    assert_eq!((off.health.active, off.health.passive), (None, None));
}

#[test]
fn endpoints_in_every_form() {
    let config = load(
        r#"
        listener = [{ address = "0.0.0.0:80" }]
        route = [{ cluster = "app" }]
        [cluster.app]
        policy = "first"
        endpoints = ["10.0.0.1:80", "[::1]:80", "App:80", "unix:/run/app.sock", { address = "b:1", weight = 0, max_in_flight = 7, backup = true, drain = true }]
        keep_alive = { idle = 0, timeout = "1s", requests = 1, age = "1m" }
        queue = { size = 9, timeout = "250ms" }
        proxy_protocol = "v2"
        dns_interval = "1s"
        slow_start = "30s"
        panic_threshold = "0%"
        "#,
    );
    let cluster = &config.clusters[0];
    let names: Vec<&str> = cluster.endpoints.iter().map(|endpoint| &*endpoint.name).collect();
    assert_eq!(names, ["10.0.0.1:80", "[::1]:80", "app:80", "unix:/run/app.sock", "b:1"]);
    assert_eq!(cluster.endpoints[2].address, EndpointAddress::Name("app".into(), 80));
    let told: Vec<_> = cluster.endpoints.iter().map(|endpoint| (endpoint.backup, endpoint.drain)).collect();
    assert_eq!(told[3..], [(false, false), (true, true)]);
    assert_eq!((cluster.endpoints[4].weight, cluster.endpoints[4].max_in_flight.unwrap().get()), (0, 7));
    assert_eq!((cluster.keep_alive.idle, cluster.slow_start), (0, Some(Duration::from_secs(30))));
    assert_eq!(cluster.proxy_protocol, Some(lb_config::ProxyProtocol::V2));
    assert_eq!((cluster.queue.size, cluster.queue.timeout), (9, Duration::from_millis(250)));
    assert_eq!((cluster.dns_interval, cluster.panic_threshold), (Duration::from_secs(1), Some(0.0)));
}

#[test]
fn no_retry_has_several_spellings() {
    for said in ["\"off\"", "{ attempts = 1 }", "{ on = [], attempts = 1 }", "{ on = [] }"] {
        let text = format!(
            "listener = [{{ address = \"0.0.0.0:80\" }}]\ncluster.app.endpoints = [\"10.0.0.1:80\", \"10.0.0.2:80\"]\n\
             route = [{{ cluster = \"app\", retry = {said} }}]"
        );
        let loaded = Config::parse(&text, &|_| None).unwrap_or_else(|diagnostics| panic!("{diagnostics}"));
        assert_eq!(loaded.config.routes[0].options.retry, None, "{said}");
        assert_eq!(loaded.warnings.is_empty(), said != "{ on = [] }", "{said}: {}", loaded.warnings);
    }
}

#[test]
fn every_policy_by_name_and_with_every_option() {
    let contract = "round_robin static_stride orca random weighted_random least_request p2c peak_ewma least_time prequal c3 ip_hash hash \
                    ring_hash maglev rendezvous memento first";
    for name in contract.split_whitespace() {
        assert!(PolicyKind::named(name).is_some(), "{name}");
    }
    for hashing in ["hash", "ring_hash", "maglev", "rendezvous", "memento"] {
        assert!(PolicyKind::named(hashing).is_some_and(PolicyKind::needs_key), "{hashing}");
    }
    for kind in PolicyKind::all() {
        let key = if kind.needs_key() { "key = \"{client_ip}{cookie:id}\"" } else { "" };
        let bare = cluster(&format!("[cluster.app.policy]\nname = \"{}\"\n{key}", kind.name())).policy;
        assert_eq!((bare.kind, bare.key.is_some(), bare.options.len()), (kind, kind.needs_key(), 0));
        for &OptionInfo { name: option, unit, min, max, .. } in kind.info().options {
            for bound in [min, max] {
                let written = match unit {
                    Unit::Duration => format!("\"{bound}ms\""),
                    Unit::Switch => (bound == 1.0).to_string(),
                    Unit::Count | Unit::Factor => bound.to_string(),
                };
                let lines = format!("[cluster.app.policy]\nname = \"{}\"\n{key}\n{option} = {written}", kind.name());
                assert_eq!(cluster(&lines).policy.options.get(option), Some(&bound), "{lines}");
            }
        }
    }
}

#[test]
fn routes_that_differ_in_anything_that_counts_stand_together() {
    let config = load(
        r#"
        listener = [{ name = "a", address = "0.0.0.0:80" }, { name = "b", address = "0.0.0.0:81" }]
        cluster.app.endpoints = ["x:1"]
        route = [
            { cluster = "app" },
            { cluster = "app", methods = ["GET"] },
            { cluster = "app", methods = ["POST"] },
            { cluster = "app", headers_match = { X-A = "1" } },
            { cluster = "app", headers_match = { X-A = "2" } },
            { cluster = "app", path = "=/" },
            { cluster = "app", hosts = ["a.example"] },
            { cluster = "app", hosts = ["*.example"] },
            { cluster = "app", path = "/x", listeners = ["a"] },
            { cluster = "app", path = "/x", listeners = ["b"] },
        ]
        "#,
    );
    let names: Vec<&str> = config.routes.iter().map(|route| &*route.name).collect();
    let expected = ["/", "/@GET", "/@POST", "/@x-a", "/@x-a#2", "=/", "a.example/", "*.example/", "/x", "/x#2"];
    assert_eq!(names, expected);
}

#[test]
fn tls_of_a_listener_in_every_form() {
    let tls = |lines: &str| {
        let text = format!("[[listener]]\naddress = \"0.0.0.0:443\"\nredirect = \"https\"\n{lines}");
        load(&text).listeners.remove(0).tls
    };
    assert_eq!(tls("tls = \"off\""), None);
    let one = |path: &str| CertificateFiles { cert: path.into(), key: path.into() };
    let short = tls("tls.certificates = [{ pem = \"all.pem\" }]").unwrap();
    assert_eq!(
        short,
        ListenerTls {
            certificates: vec![one("all.pem")],
            min_version: TlsVersion::V1_2,
            cipher_suites: Vec::new(),
            alpn: vec![Alpn::H2, Alpn::Http11],
            client_auth: None,
        }
    );
    let long = tls(r#"
        [listener.tls]
        certificates = [{ cert = "a.pem", key = "b.pem" }, { pem = "/c.pem" }]
        min_version = "1.3"
        cipher_suites = ["TLS_AES_128_GCM_SHA256", "ECDHE-RSA-AES256-GCM-SHA384"]
        alpn = ["http/1.1"]
        client_auth = { ca = "ca.pem", mode = "optional" }
        "#)
    .unwrap();
    let pair = CertificateFiles { cert: "a.pem".into(), key: "b.pem".into() };
    assert_eq!((long.certificates, long.min_version), (vec![pair, one("/c.pem")], TlsVersion::V1_3));
    let suites = [CipherSuite::TLS_AES_128_GCM_SHA256, CipherSuite::TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384];
    assert_eq!((long.cipher_suites.as_slice(), long.alpn.as_slice()), (&suites[..], &[Alpn::Http11][..]));
    assert_eq!(long.client_auth, Some(ClientAuth { ca: "ca.pem".into(), required: false }));
    let auth = tls("tls = { certificates = [{ pem = \"a\" }], client_auth.ca = \"b\" }").unwrap().client_auth;
    assert!(auth.unwrap().required);
}

#[test]
fn what_tls_prints_is_read_back() {
    let text = r#"
        [[listener]]
        address = "0.0.0.0:443"
        redirect = "https"
        tls.certificates = [{ cert = "a \"b\".pem", key = "k${X:-y}.pem" }, { pem = "c" }]
        tls.cipher_suites = ["ECDHE-RSA-AES256-GCM-SHA384"]
        tls.client_auth.ca = "ca.pem"
    "#;
    let loaded = Config::parse(text, &env).unwrap();
    assert_eq!(load(&loaded.config.print(&loaded.sources)), loaded.config);
    assert_eq!(load(&loaded.config.print_changed(&loaded.sources)), loaded.config);
}

#[test]
fn tls_of_a_cluster_in_every_form() {
    let plain = cluster("");
    assert_eq!((plain.tls.as_ref(), plain.tls_to(&plain.endpoints[0])), (None, None));
    let short = cluster("tls = {}");
    assert_eq!(short.tls_to(&short.endpoints[0]), Some(ClusterTls::default()));
    let long = cluster(
        "tls = { ca = \"ca.pem\", server_name = \"App.internal\", client_cert = \"c.pem\", client_key = \"k.pem\", verify = true }",
    );
    let client = CertificateFiles { cert: "c.pem".into(), key: "k.pem".into() };
    assert_eq!(
        long.tls,
        Some(ClusterTls {
            ca: Some("ca.pem".into()),
            server_name: Some("app.internal".into()),
            client: Some(client),
            verify: true,
        })
    );
    let text = |tls: &str| {
        format!(
            "listener = [{{ address = \"0.0.0.0:80\" }}]\nroute = [{{ cluster = \"app\" }}]\n[cluster.app]\n\
             endpoints = [\"https://A\", \"b:1\"]\n{tls}\n"
        )
    };
    let mixed = load(&text("")).clusters.remove(0);
    let reached =
        |cluster: &Cluster| cluster.endpoints.iter().map(|endpoint| cluster.tls_to(endpoint)).collect::<Vec<_>>();
    assert_eq!(
        (&*mixed.endpoints[0].name, &mixed.endpoints[0].address),
        ("https://a:443", &EndpointAddress::Name("a".into(), 443))
    );
    assert_eq!(reached(&mixed), [Some(ClusterTls::default()), None]);
    let all = load(&text("tls.verify = false")).clusters.remove(0);
    assert_eq!(reached(&all), [all.tls.clone(), all.tls.clone()]);
    for tls in [
        "",
        "tls = { ca = \"x\", client_cert = \"a\", client_key = \"b\", server_name = \"10.0.0.1\" }",
        "tls.verify = false",
    ] {
        let loaded = Config::parse(&text(tls), &env).unwrap();
        assert_eq!(load(&loaded.config.print(&loaded.sources)), loaded.config, "{tls}");
        assert_eq!(load(&loaded.config.print_changed(&loaded.sources)), loaded.config, "{tls}");
    }
}

#[test]
fn zones_tiers_and_subsets() {
    let config = load(
        r#"
        zone = { name = "a", proxies = { a = 4, b = 2 }, minimum = 2 }
        listener = [{ address = "0.0.0.0:80" }]
        route = [{ cluster = "app" }]
        [cluster.app]
        spill = "140%"
        subset = { size = 3, number = 7 }
        endpoints = [{ address = "x:1", zone = "a", priority = 3 }, { address = "y:1", backup = true, zone = "" }, "z:1"]
        "#,
    );
    let zone = config.zone.as_ref().unwrap();
    assert_eq!((&*zone.name, zone.minimum), ("a", 2));
    assert_eq!(zone.proxies.iter().map(|(name, count)| (&**name, *count)).collect::<Vec<_>>(), [("a", 4), ("b", 2)]);
    let app = &config.clusters[0];
    assert_eq!(app.spill, Some(1.4));
    assert_eq!(app.subset, Some(Subset { size: 3.try_into().unwrap(), by: SubsetBy::Number(7) }));
    let told: Vec<_> = app.endpoints.iter().map(|it| (it.zone.as_deref(), it.priority, it.backup)).collect();
    assert_eq!(told, [(Some("a"), 3, false), (None, 0, true), (None, 0, false)]);

    for nowhere in ["", "zone = \"none\"", "zone = \"\"", "zone = { name = \"\" }"] {
        let text = format!("{nowhere}\nlistener = [{{ address = \"0.0.0.0:80\" }}]\nroute = [{{ respond = {{}} }}]");
        assert_eq!(load(&text).zone, None, "{nowhere}");
    }
    assert_eq!(
        load("zone = \"b\"\nlistener = [{ address = \"0.0.0.0:80\" }]\nroute = [{ respond = {} }]")
            .zone
            .unwrap()
            .minimum,
        6
    );
    let named = cluster("subset = { size = 1, client = \"me\" }");
    assert_eq!((named.spill, named.subset.unwrap().by), (None, SubsetBy::Name("me".into())));
}

#[test]
fn rate_limits_may_be_a_list_of_all_kinds_and_are_named_after_where_they_stand() {
    let text = r#"
        [[listener]]
        name = "web"
        address = "127.0.0.1:80"
        rate_limit = { rate = "100/s", burst = 50 }
        [[route]]
        name = "api"
        cluster = "app"
        [[route.rate_limit]]
        rate = "10/s"
        headers = true
        quotas = { "{header:X-Plan}" = { pro = "100/s", max = { rate = "1000/s", burst = 99 } }, "{cookie:plan}" = { pro = "7/m" } }
        [[route.rate_limit]]
        rate = "500/h"
        algorithm = "sliding_window"
        headers = "legacy"
        [[route.rate_limit]]
        rate = "5000/d"
        algorithm = "fixed_window"
        headers = "both"
        name = "daily"
        [cluster.app]
        endpoints = ["a:1", "b:1"]
        rate_limit = [{ rate = "1/s" }, { rate = "2/s", key = "{host}" }]
    "#;
    let loaded = Config::parse(text, &env).unwrap();
    let config = &loaded.config;
    let names = |limits: &[RateLimit]| limits.iter().map(|limit| limit.name.to_string()).collect::<Vec<_>>();
    let limits = &config.routes[0].options.rate_limits;
    assert_eq!(names(&config.listeners[0].rate_limits), ["listener:web"]);
    assert_eq!(names(limits), ["api", "api#2", "daily"]);
    assert_eq!(names(&config.clusters[0].rate_limits), ["cluster:app", "cluster:app#2"]);
    let algorithms: Vec<_> = limits.iter().map(|limit| limit.algorithm).collect();
    assert_eq!(algorithms, [LimitAlgorithm::Gcra, LimitAlgorithm::SlidingWindow, LimitAlgorithm::FixedWindow]);
    let headers: Vec<_> = limits.iter().map(|limit| (limit.headers.draft, limit.headers.legacy)).collect();
    assert_eq!(headers, [(true, false), (false, true), (true, true)]);
    let quotas = &limits[0].quotas;
    let plans: Vec<_> = quotas[0].plans.iter().map(|it| (&*it.value, it.rate.requests.get(), it.burst)).collect();
    assert_eq!((quotas.len(), quotas[0].by.to_string()), (2, "{header:x-plan}".into()));
    assert_eq!(plans, [("pro", 100, 0), ("max", 1000, 99)]);
    for printed in [config.print(&loaded.sources), config.print_changed(&loaded.sources)] {
        assert_eq!(load(&printed), loaded.config, "{printed}");
    }
    assert!(!config.print_changed(&loaded.sources).contains("api#2"));
    let without = text.replace("rate = \"500/h\"", "rate = \"400/h\"").replace("name = \"daily\"", "");
    let changes = Config::diff(config, &load(&without)).to_string();
    assert_eq!(
        changes,
        "route api: rate_limit api#2.rate 500/h → 400/h; route api: rate_limit daily removed; route api: rate_limit api#3 added"
    );
}

#[test]
fn error_pages_by_status_and_maintenance_in_every_form() {
    let errors = route(
        "errors = { \"502\" = \"a.html\", \"5xx.json\" = \"b.json\", \"500-504\" = \"c.TXT\", intercept = true }",
    );
    let errors = errors.options.errors;
    let pages: Vec<_> = errors.pages.iter().map(|page| (page.statuses, page.json, page.content_type())).collect();
    let expected =
        [((502, 502), false, "text/html"), ((500, 599), true, "application/json"), ((500, 504), false, "text/plain")];
    assert_eq!((pages.as_slice(), errors.intercept), (&expected[..], true));
    assert!(errors.pages[0].file.ends_with("a.html"));

    assert_eq!(route("maintenance = false").options.maintenance, None);
    let closed = route("maintenance = true").options.maintenance.unwrap();
    assert_eq!((closed.allow.len(), closed.retry_after), (0, Duration::from_secs(60)));
    let closed = cluster("maintenance = { allow = [\"10.0.0.0/8\"], retry_after = \"5m\" }").maintenance.unwrap();
    assert_eq!((closed.allow.len(), closed.retry_after), (1, Duration::from_secs(300)));
}

#[test]
fn concurrency_of_a_route_and_of_a_cluster() {
    let limit = route("concurrency = { limit = \"auto\" }").options.concurrency.unwrap();
    assert_eq!((limit.limit, limit.key, limit.priority), (None, None, None));
    assert_eq!(
        (limit.queue.size, limit.queue.timeout, limit.queue.order),
        (0, Duration::from_secs(1), WaitOrder::Fifo)
    );
    let limit = route("concurrency = { limit = 7, key = \"client_ip\" }").options.concurrency.unwrap();
    assert_eq!((limit.limit.map(std::num::NonZero::get), limit.key), (Some(7), Some(LimitKey::ClientIp)));
    let text = "concurrency = { limit = 9, priority = \"{header:X-P}\", queue = { size = 5, timeout = \"2s\", order = \"adaptive_lifo\" } }";
    let limit = cluster(text).concurrency.unwrap();
    assert_eq!(limit.priority.unwrap().to_string(), "{header:x-p}");
    let queue = WaitQueue { size: 5, timeout: Duration::from_secs(2), order: WaitOrder::AdaptiveLifo };
    assert_eq!(limit.queue, queue);
    assert_eq!(cluster("").concurrency, None);
    let printed = Config::parse(
        "listener = [{ address = \"0.0.0.0:80\" }]\nroute = [{ cluster = \"a\", concurrency = { limit = 1 } }]\n\
         [cluster.a]\nendpoints = [\"a:1\"]\nconcurrency = { limit = 2, key = \"{host}\" }",
        &env,
    )
    .unwrap();
    for text in [printed.config.print(&printed.sources), printed.config.print_changed(&printed.sources)] {
        assert_eq!(load(&text), printed.config, "{text}");
    }
}
