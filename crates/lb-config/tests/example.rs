//! A whole configuration, as the manual shows it: what it means, how it prints, what its schema says.

use std::io;
use std::path::Path;
use std::time::Duration;

use lb_config::*;

const EXAMPLE: &str = include_str!("example.toml");

fn env(name: &str) -> Option<String> {
    (name == "STICKY_SECRET").then(|| "a secret of more than sixteen bytes".into())
}

fn load(text: &str) -> Loaded {
    Config::parse(text, &env).unwrap_or_else(|diagnostics| panic!("{diagnostics}"))
}

/// A configuration, and whatever list of networks it names.
struct Manual(String);

impl Files for Manual {
    fn read(&self, path: &Path) -> io::Result<String> {
        let is_list = path.extension().is_some_and(|extension| extension == "txt");
        Ok(if is_list { "198.51.100.0/24\n".to_owned() } else { self.0.clone() })
    }

    fn list(&self, _: &Path) -> io::Result<Vec<String>> {
        Ok(Vec::new())
    }
}

#[test]
fn the_example_means_what_it_says() {
    let Loaded { config, warnings, sources, .. } = load(EXAMPLE);
    assert_eq!(warnings.to_string(), "");
    assert_eq!(sources.variables().collect::<Vec<_>>(), ["STICKY_SECRET"]);
    assert_eq!(config.workers.unwrap().get(), 2);
    assert_eq!(config.admin.as_ref().unwrap().address.to_string(), "127.0.0.1:9900");
    assert_eq!(config.log.access, Some(AccessLog { format: AccessFormat::Json, to: AccessTarget::Stdout }));
    assert_eq!(config.listeners.len(), 2);
    assert_eq!((&*config.listeners[0].name, config.listeners[0].redirect_https), ("web", false));
    assert_eq!((&*config.listeners[1].name, config.listeners[1].redirect_https), ("0.0.0.0:80", true));

    let names: Vec<&str> = config.routes.iter().map(|route| &*route.name).collect();
    assert_eq!(names, ["automation.example.com+1/webhook/@GET,POST", "/", "=/healthz", "/old/"]);
    let webhook = &config.routes[0];
    assert_eq!(webhook.matcher.path, PathPattern::Prefix("/webhook".into()));
    assert_eq!(webhook.matcher.listeners, [0]);
    assert_eq!(webhook.action, Action::Cluster(0));
    assert_eq!(webhook.options.policy.as_ref().unwrap().kind.name(), "ip_hash");
    assert_eq!(webhook.options.timeout.response, Duration::from_secs(120));
    assert_eq!(webhook.options.timeout.tunnel, Duration::from_secs(3600));
    assert_eq!(webhook.options.body_limit, Some(16 << 20));
    assert!(!webhook.options.access_log);
    let limit = &webhook.options.rate_limits[0];
    assert_eq!((limit.rate.requests.get(), limit.rate.period, limit.burst), (30, Duration::from_secs(1), 50));
    assert_eq!(limit.name, webhook.name);
    let retry = webhook.options.retry.as_ref().unwrap();
    let statuses = [502, 503, 504].map(|status| Condition::Status { from: status, to: status });
    assert_eq!(retry.on[0], Condition::ConnectError);
    assert_eq!(retry.on[1..], statuses);

    let sticky = config.routes[1].options.sticky.as_ref().unwrap();
    assert_eq!((&*sticky.cookie, sticky.secure, sticky.same_site), ("affinity", true, Some(SameSite::Lax)));
    assert_eq!(sticky.max_age, Some(Duration::from_secs(3600)));
    assert_eq!(&*config.routes[1].options.headers.request.remove[0], "x-debug");
    assert_eq!(
        config.routes[3].action,
        Action::Redirect(Redirect { to: RedirectTo::Path("/new/".into()), status: 308 })
    );

    let cluster = &config.clusters[0];
    assert_eq!((&*cluster.name, cluster.policy.kind.name()), ("n8n", "least_request"));
    assert_eq!(cluster.endpoints[2].weight, 2);
    assert_eq!(cluster.endpoints[2].max_in_flight.unwrap().get(), 100);
    assert_eq!(cluster.endpoints[0].address, EndpointAddress::Name("n8n-1".into(), 5678));
    let Probe::Http { path, expect, .. } = &cluster.health.active.as_ref().unwrap().probe else {
        panic!("asks by HTTP")
    };
    assert_eq!((&**path, expect.as_slice()), ("/healthz", &[(200, 200)][..]));
    assert_eq!(cluster.health.passive.as_ref().unwrap().failures.get(), 3);
}

#[test]
fn it_prints_as_an_equal_configuration_without_its_secret() {
    let loaded = load(EXAMPLE);
    for printed in [loaded.config.print(&loaded.sources), loaded.config.print_changed(&loaded.sources)] {
        assert!(!printed.contains("sixteen"));
        let mut again = load(&printed).config;
        for (route, original) in again.routes.iter_mut().zip(&loaded.config.routes) {
            if let (Some(sticky), Some(original)) = (&mut route.options.sticky, &original.options.sticky) {
                assert_eq!(&*sticky.secrets[0], "***");
                sticky.secrets.clone_from(&original.secrets);
            }
        }
        assert_eq!(again, loaded.config);
    }
}

#[test]
fn every_example_of_the_manual_is_valid() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/configuration.md");
    // A published crate does not include the repository's documentation.
    let Ok(manual) = std::fs::read_to_string(path) else { return };
    let mut examples = manual.split("```toml\n").skip(1).filter_map(|rest| rest.split("```").next());
    let whole: Vec<&str> = examples.by_ref().take(2).collect();
    load(whole[0]);
    assert_eq!(whole[1], EXAMPLE, "the complete example of the manual is the tested one");
    for fragment in examples {
        let rest = "[[listener]]\naddress = \"0.0.0.0:80\"\n[[route]]\npath = \"/x\"\nrespond = {}\n[cluster.app]\nendpoints = [\"a:1\"]\n";
        // An include that matches nothing is a warning, and a text can include nothing.
        let manual = Manual(format!("{fragment}\n{rest}"));
        Config::load_with("lbproxy.toml", &env, &manual).unwrap_or_else(|diagnostics| panic!("{diagnostics}"));
    }
}

#[test]
fn the_example_of_the_migration_page_is_valid() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/migration.md");
    let Ok(page) = std::fs::read_to_string(path) else { return };
    let example = page.split("```toml\n").nth(1).and_then(|rest| rest.split("```").next()).unwrap();
    assert_eq!(load(example).warnings.to_string(), "");
}
