//! Whatever the text: no panic, and what is accepted prints as an equal configuration.

use lb_config::*;
use proptest::prelude::*;

const EXAMPLE: &str = include_str!("example.toml");

fn env(name: &str) -> Option<String> {
    match name {
        "A" => Some("7".into()),
        "STICKY_SECRET" => Some("***".into()),
        _ => None,
    }
}

/// Parses; what is accepted must survive printing, and differ from itself in nothing.
fn check(text: &str) -> Result<(), TestCaseError> {
    match Config::parse(text, &env) {
        Err(diagnostics) => {
            prop_assert!(diagnostics.has_errors());
            // Rendering must survive any text as well.
            prop_assert!(!diagnostics.to_string().is_empty());
        }
        Ok(loaded) => {
            let printed = loaded.config.print(&loaded.sources);
            let again = Config::parse(&printed, &env);
            let again = again.map_err(|errors| TestCaseError::fail(format!("{printed}\n{errors}")))?;
            prop_assert_eq!(without_secrets(&again.config), without_secrets(&loaded.config), "{}", printed);
            prop_assert_eq!(again.config.print(&again.sources), printed);
            let changed = loaded.config.print_changed(&loaded.sources);
            let again = Config::parse(&changed, &env);
            let again = again.map_err(|errors| TestCaseError::fail(format!("{changed}\n{errors}")))?;
            prop_assert_eq!(without_secrets(&again.config), without_secrets(&loaded.config), "{}", changed);
            prop_assert!(Config::diff(&loaded.config, &loaded.config.clone()).is_empty());
        }
    }
    Ok(())
}

/// Signing secrets are not printed, so they do not come back.
fn without_secrets(config: &Config) -> Config {
    let mut config = config.clone();
    for sticky in config.routes.iter_mut().filter_map(|route| route.options.sticky.as_mut()) {
        sticky.secrets.iter_mut().for_each(|secret| *secret = "***".into());
    }
    config
}

/// Pieces of configurations, sound and unsound.
fn piece() -> impl Strategy<Value = String> {
    let known = prop::sample::select(vec![
        "[[route]]\n",
        "[[listener]]\n",
        "[cluster.app]\n",
        "[defaults.route]\n",
        "[limits]\n",
        "[admin]\n",
        "path = ",
        "cluster = ",
        "address = ",
        "endpoints = ",
        "sticky = ",
        "retry = ",
        "headers.request.set = ",
        "\"app\"\n",
        "\"a:1\"\n",
        "[\"a:1\", \"b:1\"]\n",
        "\"/x\"\n",
        "\"~^/[a-z]+$\"\n",
        "\"=/\"\n",
        "\"${A}\"\n",
        "\"${\"\n",
        "\"{host}\"\n",
        "\"{{\"\n",
        "\"5s\"\n",
        "\"10/s\"\n",
        "\"20%\"\n",
        "{ cookie = \"c\" }\n",
        "{ X-A = \"{client_ip}\" }\n",
        "{",
        "}",
        "[",
        "]",
        "=",
        "\n",
        ",",
        "#",
        "\"",
        "''' ",
        "0.0.0.0:80",
        "9223372036854775808",
        "-1",
        "nan",
        "1979-05-27",
        "\u{0}",
        "é",
    ]);
    prop_oneof![4 => known.prop_map(str::to_owned), 1 => ".{0,8}"]
}

/// Free text for values: braces, dollars, quotes and control characters among it.
fn free() -> impl Strategy<Value = String> {
    let parts = prop::sample::select(vec![
        "{host}",
        "{client_ip}",
        "{header:X-A}",
        "{cookie:c}",
        "{{",
        "}}",
        "{",
        "}",
        "$",
        "${A}",
        "$${A}",
        "${N:-d}",
        "a",
        "\"",
        "\\",
        "'",
        " x",
        "é",
        "{\"k\":1}",
        "%",
        "host}",
        "{1}",
    ]);
    prop::collection::vec(parts, 0..6).prop_map(|parts| parts.concat())
}

fn quoted(text: &str) -> String {
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""))
}

/// A line of a route, right in form.
fn option() -> impl Strategy<Value = String> {
    prop_oneof![
        free().prop_map(|text| format!("headers.request.set.X-A = {}", quoted(&text))),
        free().prop_map(|text| format!("headers.response.add.X-B = [\"v\", {}]", quoted(&text))),
        free().prop_map(|text| format!("headers_match.X-C = {}", quoted(&text))),
        free().prop_map(|text| format!("rate_limit = {{ rate = \"1/s\", key = {} }}", quoted(&text))),
        (1_u64..10_000, prop::sample::select(vec!["s", "m", "h", "7s"]), 0_u32..50)
            .prop_map(|(rate, per, burst)| format!("rate_limit = {{ rate = \"{rate}/{per}\", burst = {burst} }}")),
        (1_u64..100_000).prop_map(|ms| format!("timeout.connect = \"{ms}ms\"")),
        (1_u64..9000).prop_map(|hours| format!("timeout.total = \"{hours}h\"")),
        (0_u32..=1_000_000).prop_map(|share| format!("retry.budget = \"{}%\"", f64::from(share) / 10_000.0)),
        (1_u64..1 << 40).prop_map(|bytes| format!("body_limit = \"{bytes}B\"")),
        prop::collection::vec(400_u16..=599, 1..4).prop_map(|on| format!("retry.on = {on:?}")),
        prop::sample::select(vec![
            "sticky = { cookie = \"c\", secret = \"${STICKY_SECRET}\", max_age = \"90s\" }",
            "sticky = { cookie = \"c\", same_site = \"lax\", domain = \"example.com\" }",
            "policy = { name = \"least_request\", choices = 3 }",
            "policy = \"first\"",
            "policy = { name = \"maglev\", key = \"{cookie:id}\", bounded_load = 1.25 }",
            "policy = { name = \"prequal\", quantile = 0.7, decay = \"1500ms\", penalty = \"2s\" }",
            "retry = \"off\"",
            "forwarded = \"both\"",
            "forwarded.host = \"endpoint\"",
            "upgrade = [\"websocket\", \"SPDY/3.1\"]",
            "upgrade = \"off\"",
            "access_log = \"off\"",
            "listeners = [\"web\"]",
            "methods = [\"GET\", \"POST\"]",
            "hosts = [\"a.example\", \"*.b.example\", \"[::1]\"]",
            "name = \"näme\"",
        ])
        .prop_map(str::to_owned),
    ]
}

fn action() -> impl Strategy<Value = String> {
    prop_oneof![
        4 => Just("cluster = \"app\"".to_owned()),
        1 => free().prop_map(|text| format!("respond = {{ body = {}, status = 418 }}", quoted(&text))),
        1 => free().prop_map(|text| format!("redirect = {{ to = {}, status = 302 }}", quoted(&format!("/{text}")))),
        1 => Just("redirect = \"https\"".to_owned()),
    ]
}

fn configuration() -> impl Strategy<Value = String> {
    let path = prop::sample::select(vec!["/", "/x", "=/x", "~^/(a|b)\\\\d$", "/x/y/", "=/", "/ü z"]);
    let route = (path, action(), prop::collection::vec(option(), 0..4)).prop_map(|(path, action, mut options)| {
        // A key may be written once.
        let mut seen = Vec::new();
        options.retain(|line| {
            let key = line.split([' ', '.', '=']).next().unwrap_or_default().to_owned();
            let new = !seen.contains(&key);
            seen.push(key);
            new
        });
        format!("[[route]]\npath = \"{path}\"\n{action}\n{}\n", options.join("\n"))
    });
    prop::collection::vec(route, 1..4).prop_map(|routes| {
        format!(
            "workers = \"${{A}}\"\n[[listener]]\nname = \"web\"\naddress = \"[::1]:80\"\ntrusted_proxies = [\"10.0.0.0/8\"]\n\
             [cluster.app]\nendpoints = [\"a:1\", {{ address = \"unix:/x\", weight = 0 }}]\nhealth.passive = {{}}\n{}",
            routes.join("\n")
        )
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, ..ProptestConfig::default() })]

    #[test]
    fn any_text_is_answered(text in "(?s).{0,200}") {
        check(&text)?;
    }

    #[test]
    fn any_heap_of_pieces_is_answered(pieces in prop::collection::vec(piece(), 0..30)) {
        check(&pieces.concat())?;
    }

    #[test]
    fn a_damaged_configuration_is_answered(at in 0..EXAMPLE.len(), cut in 0_usize..20, put in ".{0,3}") {
        let mut text = EXAMPLE.to_owned();
        let end = (at + cut).min(text.len());
        if text.is_char_boundary(at) && text.is_char_boundary(end) {
            text.replace_range(at..end, &put);
        }
        check(&text)?;
    }

    #[test]
    fn what_is_accepted_prints_as_an_equal_configuration(text in configuration()) {
        check(&text)?;
    }
}

#[test]
fn most_of_what_is_generated_is_accepted() {
    use proptest::strategy::ValueTree;
    use proptest::test_runner::TestRunner;

    let mut runner = TestRunner::deterministic();
    let accepted = (0..200).filter(|_| {
        let text = configuration().new_tree(&mut runner).map(|tree| tree.current());
        text.is_ok_and(|text| Config::parse(&text, &env).is_ok())
    });
    let accepted = accepted.count();
    assert!(accepted >= 60, "a property over refusals would say nothing: {accepted} of 200");
}
