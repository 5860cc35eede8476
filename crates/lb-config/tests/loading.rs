//! Files, includes, inheritance and the environment.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;

use lb_config::*;

/// Files in memory.
struct Memory(BTreeMap<&'static str, &'static str>);

impl Files for Memory {
    fn read(&self, path: &Path) -> io::Result<String> {
        let path = self.identity(path);
        let found = self.0.get(path.to_str().unwrap_or_default());
        found.map(|text| (*text).to_owned()).ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    fn list(&self, directory: &Path) -> io::Result<Vec<String>> {
        let directory = self.identity(directory);
        let inside = self.0.keys().filter_map(|path| Path::new(path).strip_prefix(&directory).ok());
        let mut names: Vec<String> =
            inside.filter_map(|rest| Some(rest.components().next()?.as_os_str().to_str()?.to_owned())).collect();
        names.dedup();
        names.reverse();
        Ok(names)
    }
}

fn nothing(_: &str) -> Option<String> {
    None
}

fn load(files: &[(&'static str, &'static str)]) -> Result<Loaded, Diagnostics> {
    Config::load_with("etc/main.toml", &nothing, &Memory(files.iter().copied().collect()))
}

#[track_caller]
fn parse(text: &str, env: &dyn Fn(&str) -> Option<String>) -> Loaded {
    Config::parse(text, env).unwrap_or_else(|diagnostics| panic!("{diagnostics}"))
}

const LISTENER: &str = "[[listener]]\naddress = \"0.0.0.0:80\"\n";

#[test]
fn included_files_add_listeners_routes_and_clusters_in_the_order_of_names() {
    let loaded = load(&[
        (
            "etc/main.toml",
            "include = [\"sites/*.toml\", \"extra.toml\"]\n[[route]]\npath = \"/main\"\ncluster = \"b\"\n[defaults.route]\ntimeout.connect = \"1s\"\n[[listener]]\naddress = \"0.0.0.0:80\"\n",
        ),
        ("etc/sites/b.toml", "[[route]]\npath = \"/b\"\ncluster = \"b\"\n[cluster.b]\nendpoints = [\"b:1\"]\n"),
        ("etc/sites/a.toml", "include = [\"deep/[xy].toml\"]\n[[route]]\npath = \"/a\"\ncluster = \"b\"\n"),
        ("etc/sites/deep/x.toml", "[[route]]\npath = \"/x\"\ncluster = \"b\"\n"),
        ("etc/sites/.hidden.toml", "nonsense"),
        ("etc/sites/readme.md", "nonsense"),
        ("etc/extra.toml", "[[listener]]\naddress = \"0.0.0.0:81\"\n"),
    ])
    .unwrap_or_else(|diagnostics| panic!("{diagnostics}"));
    let paths: Vec<&str> = loaded.config.routes.iter().map(|route| &*route.name).collect();
    assert_eq!(paths, ["/main", "/a", "/x", "/b"]);
    assert_eq!(loaded.config.listeners.len(), 2);
    let connect = loaded.config.routes.iter().map(|route| route.options.timeout.connect.as_secs());
    assert!(connect.eq([1; 4]), "defaults of the main file hold for included routes");
    let files: Vec<String> = loaded.sources.files().map(|path| path.display().to_string()).collect();
    let expected = ["etc/main.toml", "etc/sites/a.toml", "etc/sites/deep/x.toml", "etc/sites/b.toml", "etc/extra.toml"];
    assert_eq!(files, expected);
}

#[test]
fn a_mistake_in_an_included_file_names_that_file() {
    let errors = load(&[
        ("etc/main.toml", "include = [\"a.toml\"]\n[[listener]]\naddress = \"0.0.0.0:80\"\n"),
        ("etc/a.toml", "workers = 2\n[[route]]\ncluster = \"b\"\n"),
    ])
    .unwrap_err();
    assert_eq!(
        errors.to_string(),
        "etc/a.toml:1:1: error: unknown key `workers` in an included file\n\
         \x20 |\n1 | workers = 2\n  | ^^^^^^^\n\
         \x20 = expected one of `include`, `listener`, `route`, `site`, `cluster`\n\
         \x20 = help: `workers` belongs to the top level of the file\n\
         \n\
         etc/a.toml:3:11: error: there is no cluster `b`\n\
         \x20 |\n3 | cluster = \"b\"\n  |           ^^^\n\
         \x20 = help: add [cluster.b] with its `endpoints`\n"
    );
}

#[test]
fn a_cluster_in_two_files_is_an_error_that_names_both() {
    let errors = load(&[
        ("etc/main.toml", "include = [\"a.toml\"]\nlistener = [{ address = \"0.0.0.0:80\" }]\nroute = [{ cluster = \"x\" }]\ncluster.x.endpoints = [\"a:1\"]\n"),
        ("etc/a.toml", "cluster.x.endpoints = [\"b:1\"]\n"),
    ])
    .unwrap_err();
    let [error] = errors.iter().collect::<Vec<_>>()[..] else { panic!("{errors}") };
    assert_eq!(error.message, "two clusters are named `x`");
    assert_eq!(error.place.as_ref().unwrap().file, Path::new("etc/a.toml"));
    assert_eq!((error.related[0].1.file.as_path(), error.related[0].1.line), (Path::new("etc/main.toml"), 4));
}

#[test]
fn includes_that_go_in_circles_or_nowhere() {
    let messages = |files: &[(&'static str, &'static str)]| match load(files) {
        Ok(loaded) => loaded.warnings.iter().map(|warning| warning.message.clone()).collect::<Vec<_>>(),
        Err(errors) => errors.iter().map(|error| error.message.clone()).collect(),
    };
    let main = "listener = [{ address = \"0.0.0.0:80\", redirect = \"https\" }]\n";
    let with = |include: &str| -> &'static str { format!("include = [{include}]\n{main}").leak() };
    assert_eq!(messages(&[("etc/main.toml", with("\"main.toml\""))]), ["etc/main.toml includes itself"]);
    assert_eq!(
        messages(&[("etc/main.toml", with("\"a.toml\"")), ("etc/a.toml", "include = [\"../etc/main.toml\"]")]),
        ["etc/../etc/main.toml includes itself"]
    );
    assert_eq!(
        messages(&[("etc/main.toml", with("\"a.toml\", \"*a.toml\"")), ("etc/a.toml", "")]),
        ["etc/a.toml is included more than once; it counts once"]
    );
    assert_eq!(messages(&[("etc/main.toml", with("\"sites/*.toml\""))]), ["`sites/*.toml` matches no file"]);
    assert_eq!(messages(&[("etc/main.toml", with("\"gone.toml\""))]), ["cannot read etc/gone.toml: entity not found"]);
    assert_eq!(
        messages(&[("etc/main.toml", with("\"**/x\", 5"))]),
        ["`**/x` has a `**` in it", "an integer does not fit here"]
    );
    assert_eq!(messages(&[]), ["cannot read etc/main.toml: entity not found"]);
    let alone = Config::parse(with("\"a.toml\""), &nothing).unwrap_err();
    assert!(alone.to_string().contains("a text has no directory to include from"));
}

#[test]
fn a_file_on_disk_is_read() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/example.toml");
    let secret = |name: &str| (name == "STICKY_SECRET").then(|| "0123456789abcdef".to_owned());
    let loaded = Config::load_with(&path, &secret, &Disk).unwrap();
    assert_eq!(loaded.sources.files().collect::<Vec<_>>(), [path.as_path()]);
    let missing = Config::load("no/such/file.toml").unwrap_err().to_string();
    assert!(missing.starts_with("error: cannot read no/such/file.toml: "), "{missing}");
}

#[test]
fn routes_and_clusters_inherit_key_by_key() {
    let text = format!(
        "{LISTENER}{}",
        r#"
        [defaults.route]
        cluster = "app"
        timeout = { connect = "1s", response = "2s" }
        retry.on = ["timeout"]
        headers.request = { set = { X-A = "default", X-B = "default" }, remove = ["X-C"] }
        forwarded = "both"
        sticky = { cookie = "id", secret = "a secret of enough bytes" }
        policy = { name = "least_request", choices = 3 }

        [defaults.cluster]
        health.active = { path = "/healthz", interval = "1s" }
        keep_alive.idle = 5

        [[route]]
        timeout.connect = "9s"
        retry.on = ["reset"]
        headers.request.set = { X-A = "own" }
        forwarded = { host = "endpoint" }
        sticky = "off"
        policy = "random"

        [[route]]
        path = "/plain"

        [[route]]
        path = "/fixed"
        respond.body = "ok"

        [cluster.app]
        endpoints = ["a:1"]
        health.active = { tcp = true }
        keep_alive.requests = 7
        "#
    );
    let Loaded { config, warnings, .. } = parse(&text, &nothing);
    assert_eq!(warnings.to_string(), "");
    let own = &config.routes[0].options;
    assert_eq!((own.timeout.connect.as_secs(), own.timeout.response.as_secs()), (9, 2));
    assert_eq!(own.retry.as_ref().unwrap().on, [Condition::Reset], "lists are taken whole");
    let set: Vec<String> = own.headers.request.set.iter().map(|(name, value)| format!("{name}={value}")).collect();
    assert_eq!(set, ["X-A=own", "X-B=default"]);
    assert_eq!(own.headers.request.remove, ["x-c".into()]);
    assert_eq!(own.forwarded, Forwarded { x_forwarded: true, rfc7239: true, preserve_host: false });
    assert_eq!(own.sticky, None);
    let policy = own.policy.as_ref().unwrap();
    assert_eq!((policy.kind.name(), policy.options.len()), ("random", 0), "a policy is one value");

    let plain = &config.routes[1];
    assert_eq!(plain.action, Action::Cluster(0));
    assert_eq!(&*plain.options.sticky.as_ref().unwrap().cookie, "id");
    assert_eq!(plain.options.policy.as_ref().unwrap().options.get("choices"), Some(&3.0));

    let fixed = &config.routes[2];
    assert!(matches!(fixed.action, Action::Respond(_)), "an action of its own takes the place of the inherited one");
    assert_eq!((&fixed.options.sticky, &fixed.options.policy), (&None, &None));

    let cluster = &config.clusters[0];
    let active = cluster.health.active.as_ref().unwrap();
    assert_eq!(
        (&active.probe, active.interval.as_secs()),
        (&Probe::Tcp { send: None, receive: None }, 1),
        "its own probe, the inherited interval"
    );
    assert_eq!((cluster.keep_alive.idle, cluster.keep_alive.requests.get()), (5, 7));
}

#[test]
fn an_inherited_tcp_check_gives_way_to_a_path() {
    let text = format!(
        "{LISTENER}[[route]]\ncluster = \"app\"\n[defaults.cluster]\nhealth.active.tcp = true\n\
         [cluster.app]\nendpoints = [\"a:1\"]\nhealth.active.path = \"/h\"\n"
    );
    let active = parse(&text, &nothing).config.clusters[0].health.active.clone().unwrap();
    assert!(matches!(active.probe, Probe::Http { path, .. } if &*path == "/h"));
}

#[test]
fn the_environment_fills_strings_numbers_and_booleans_and_nothing_else() {
    let env = |name: &str| {
        Some(match name {
            "WORKERS" => "3".to_owned(),
            "TRUE" => "true".to_owned(),
            "SECONDS" => "7s".to_owned(),
            "TRICKY" => "a\"\n[admin]\naddress = \"0.0.0.0:1\"\n${WORKERS}".to_owned(),
            _ => return None,
        })
    };
    let text = r#"
        workers = "${WORKERS}"
        grace = "${SECONDS}"
        listener = [{ address = "${HOST:-127.0.0.1}:${PORT:-80}" }]
        cluster.app = { endpoints = [{ address = "a:1", weight = "${WORKERS}" }] }
        [[route]]
        cluster = "app"
        access_log = "${OFF:-off}"
        retry.unsafe_methods = "${TRUE}"
        [[route]]
        path = "~^/x$"
        respond.body = "${TRICKY} $${WORKERS} $"
    "#;
    let Loaded { config, sources, .. } = parse(text, &env);
    assert_eq!((config.workers.unwrap().get(), config.grace.as_secs()), (3, 7));
    assert_eq!(config.listeners[0].address.to_string(), "127.0.0.1:80");
    assert_eq!(config.clusters[0].endpoints[0].weight, 3);
    assert!(!config.routes[0].options.access_log);
    assert!(config.routes[0].options.retry.as_ref().unwrap().unsafe_methods);
    assert_eq!(config.admin, None, "a value is one string, whatever is in it");
    let Action::Respond(respond) = &config.routes[1].action else { panic!("answers itself") };
    assert_eq!(respond.body, Template::literal("a\"\n[admin]\naddress = \"0.0.0.0:1\"\n${WORKERS} ${WORKERS} $"));
    let mut asked: Vec<&str> = sources.variables().collect();
    asked.sort_unstable();
    assert_eq!(asked, ["HOST", "OFF", "PORT", "SECONDS", "TRICKY", "TRUE", "WORKERS"]);
}

#[test]
fn keys_are_never_substituted() {
    let errors = Config::parse("\"${WORKERS}\" = 1\n", &|_| Some("workers".into())).unwrap_err();
    assert!(errors.to_string().contains("unknown key `${WORKERS}`"), "{errors}");
}

#[test]
fn what_the_environment_held_is_in_no_output() {
    let env = |name: &str| (name == "TOKEN").then(|| "hunter2-hunter2-hunter2".to_owned());
    let text = r#"
        listener = [{ address = "0.0.0.0:80" }]
        cluster.app = { endpoints = ["a:1", "b:1"], health.active = { path = "/h?t=${TOKEN}", host = "${TOKEN}" } }
        [[route]]
        cluster = "app"
        sticky = { cookie = "c", secret = ["${TOKEN}", "literal-literal-literal"] }
        headers.request.set = { Authorization = "Bearer ${TOKEN}{path}" }
        headers_match = { X-Token = "${TOKEN}" }
        rate_limit = { rate = "1/s", key = "{client_ip}${TOKEN}" }
        [[route]]
        path = "/x"
        respond = { body = "${TOKEN}", content_type = "text/${TOKEN}", headers = { X-T = "${TOKEN}" } }
    "#;
    let loaded = parse(text, &env);
    let printed = loaded.config.print(&loaded.sources);
    for secret in ["hunter2", "literal"] {
        assert!(!printed.contains(secret), "{printed}");
        assert!(!format!("{:?}", loaded.sources.variables().collect::<Vec<_>>()).contains(secret));
    }
    assert!(printed.contains("Authorization = \"Bearer ${TOKEN}{path}\""), "{printed}");
    assert!(printed.contains("secret = [\"***\", \"***\"]"), "{printed}");
    let sticky = format!("{:?}", loaded.config.routes[0].options.sticky);
    assert!(!sticky.contains("hunter2") && !sticky.contains("literal-"), "{sticky}");
    let again = parse(&printed, &env).config;
    assert_eq!(again.routes[0].options.headers.request, loaded.config.routes[0].options.headers.request);
    assert_eq!(again.routes[1], loaded.config.routes[1]);

    let other = |name: &str| (name == "TOKEN").then(|| "another-another-another".to_owned());
    let changes = Config::diff(&loaded.config, &parse(text, &other).config).to_string();
    assert!(!changes.contains("hunter2") && !changes.contains("another"), "{changes}");
    assert!(changes.contains("sticky.secret changed"), "{changes}");
}

#[test]
fn a_certificate_is_looked_for_beside_the_file_that_names_it() {
    let tls = "redirect = \"https\"\ntls = { certificates = [{ pem = \"all.pem\" }, { pem = \"/x/all.pem\" }], client_auth.ca = \"ca.pem\" }\n";
    let listener = |port: u16| format!("[[listener]]\naddress = \"0.0.0.0:{port}\"\n{tls}");
    let (main, site) = (format!("include = [\"sites/*.toml\"]\n{}", listener(443)), listener(444));
    let loaded = load(&[("etc/main.toml", main.leak()), ("etc/sites/a.toml", site.leak())]);
    let loaded = loaded.unwrap_or_else(|diagnostics| panic!("{diagnostics}"));
    let paths = loaded.config.listeners.iter().flat_map(|listener| {
        let tls = listener.tls.clone().expect("TLS");
        let certificates = tls.certificates.into_iter().map(|files| files.cert);
        certificates.chain(tls.client_auth.map(|auth| auth.ca))
    });
    let expected = ["etc/all.pem", "/x/all.pem", "etc/ca.pem", "etc/sites/all.pem", "/x/all.pem", "etc/sites/ca.pem"];
    assert_eq!(paths.collect::<Vec<_>>(), expected.map(std::path::PathBuf::from));
}

const NETWORKS: &str = "[networks]\noffice = [\"hq\", \"203.0.113.0/24\"]\nhq = { file = \"../hq.txt\" }\n[[route]]\ncluster = \"a\"\nrate_limit = { rate = \"1/s\", exempt = [\"office\", \"loopback\"] }\n[cluster.a]\nendpoints = [\"a:1\"]\n[admin]\naddress = \"0.0.0.0:9900\"\nallow = [\"private\", { file = \"./cdn.txt\" }]\n[[listener]]\naddress = \"0.0.0.0:80\"\ntrusted_proxies = [\"hq\", \"10.0.0.1\"]\nproxy_protocol = { file = \"cdn.txt\" }\n";

#[test]
fn names_and_files_of_networks_stand_wherever_networks_do() {
    let files = [("etc/main.toml", NETWORKS), ("hq.txt", "# hq\n192.0.2.0/25\n"), ("etc/cdn.txt", "198.51.100.0/24")];
    let config = load(&files).unwrap_or_else(|diagnostics| panic!("{diagnostics}")).config;
    let shown = |networks: &[Network]| networks.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ");
    let listener = &config.listeners[0];
    assert_eq!(shown(&listener.trusted_proxies), "192.0.2.0/25 10.0.0.1");
    assert_eq!(shown(listener.proxy_protocol.as_deref().unwrap()), "198.51.100.0/24");
    assert_eq!(
        shown(&config.admin.as_ref().unwrap().allow),
        "10.0.0.0/8 172.16.0.0/12 192.168.0.0/16 100.64.0.0/10 169.254.0.0/16 fe80::/10 fc00::/7 198.51.100.0/24"
    );
    let exempt = &config.routes[0].options.rate_limits[0].exempt;
    assert_eq!(shown(exempt), "192.0.2.0/25 203.0.113.0/24 127.0.0.0/8 ::1");
    let named: Vec<_> = config.networks.iter().map(|(name, networks)| format!("{name}: {}", shown(networks))).collect();
    assert_eq!(named, ["office: 192.0.2.0/25 203.0.113.0/24", "hq: 192.0.2.0/25"]);
    // What is printed needs no file.
    let printed = config.print(&Sources::default());
    assert_eq!(
        Config::parse(&printed, &nothing).unwrap_or_else(|errors| panic!("{errors}")).config,
        config,
        "{printed}"
    );
}

#[test]
fn a_file_of_networks_that_is_missing_or_wrong_is_an_error_where_it_is_named() {
    let told = |files: &[(&'static str, &'static str)]| load(files).unwrap_err().to_string();
    let missing = told(&[("etc/main.toml", NETWORKS), ("etc/cdn.txt", "198.51.100.0/24")]);
    assert!(missing.contains("etc/main.toml:3:15: error: cannot read etc/../hq.txt: "), "{missing}");
    assert_eq!(missing.matches("error:").count(), 1, "named once, whatever depends on it: {missing}");
    let wrong = told(&[("etc/main.toml", NETWORKS), ("hq.txt", "10.0.0.0/8\n10.0.0.0/99"), ("etc/cdn.txt", "")]);
    assert!(
        wrong.contains("etc/main.toml:3:15: error: line 2 of etc/../hq.txt has no prefix length of the address"),
        "{wrong}"
    );
    assert!(wrong.contains("no network would send a header"), "an empty file: {wrong}");
}
