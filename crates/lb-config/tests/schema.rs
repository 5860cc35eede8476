//! The JSON Schema accepts what the decoder accepts, and refuses the slips an editor should underline.

use lb_config::schema;
use regex::Regex;
use serde_json::Value;

/// As much of JSON Schema as ours uses; anything else in it is a failure, so that nothing is silently not checked.
fn validate(schema: &Value, value: &Value, root: &Value) -> Result<(), String> {
    let rules = schema.as_object().ok_or("a schema is an object")?;
    for (rule, wanted) in rules {
        match rule.as_str() {
            "$schema" | "$defs" | "title" | "description" | "default" => {}
            "$ref" => {
                let name = wanted.as_str().and_then(|path| path.strip_prefix("#/$defs/")).ok_or("a reference")?;
                validate(&root["$defs"][name], value, root)?;
            }
            "anyOf" => {
                let options = wanted.as_array().ok_or("a list")?;
                if !options.iter().any(|option| validate(option, value, root).is_ok()) {
                    return Err(format!("{value} is none of {wanted}"));
                }
            }
            "enum" if wanted.as_array().is_some_and(|words| words.contains(value)) => {}
            "type" if is(value, wanted) => {}
            "minimum" if value.as_f64() >= wanted.as_f64() => {}
            "maximum" if value.as_f64() <= wanted.as_f64() => {}
            "pattern" => {
                let pattern = Regex::new(wanted.as_str().ok_or("a pattern")?).map_err(|error| error.to_string())?;
                if !value.as_str().is_some_and(|text| pattern.is_match(text)) {
                    return Err(format!("{value} does not match {wanted}"));
                }
            }
            "items" => {
                for item in value.as_array().into_iter().flatten() {
                    validate(wanted, item, root)?;
                }
            }
            "required" => {
                for name in wanted.as_array().into_iter().flatten().filter_map(Value::as_str) {
                    value.get(name).ok_or_else(|| format!("{name} is missing"))?;
                }
            }
            "properties" => {}
            "additionalProperties" => {
                for (name, below) in value.as_object().into_iter().flatten() {
                    match (rules.get("properties").and_then(|known| known.get(name)), wanted) {
                        (Some(known), _) => validate(known, below, root)?,
                        (None, Value::Bool(false)) => return Err(format!("{name} is not a key")),
                        (None, wanted) => validate(wanted, below, root)?,
                    }
                }
            }
            other => return Err(format!("{value} fails {other} {wanted}")),
        }
    }
    Ok(())
}

fn is(value: &Value, kind: &Value) -> bool {
    match kind.as_str() {
        Some("object") => value.is_object(),
        Some("array") => value.is_array(),
        Some("string") => value.is_string(),
        Some("boolean") => value.is_boolean(),
        Some("integer") => value.is_i64() || value.is_u64(),
        Some("number") => value.is_number(),
        _ => false,
    }
}

fn check(text: &str) -> Result<(), String> {
    let table: toml::Table = text.parse().map_err(|error| format!("{error}"))?;
    let value = serde_json::to_value(table).map_err(|error| error.to_string())?;
    let schema = schema();
    validate(&schema, &value, &schema)
}

const EXAMPLE: &str = include_str!("example.toml");

#[test]
fn it_accepts_the_example_and_what_it_prints() {
    assert_eq!(check(EXAMPLE), Ok(()));
    let loaded = lb_config::Config::parse(EXAMPLE, &|_| Some("a secret of enough bytes".into())).unwrap();
    assert_eq!(check(&loaded.config.print(&loaded.sources)), Ok(()));
}

#[test]
fn it_accepts_every_short_form() {
    let text = r#"
        workers = "${WORKERS:-4}"
        include = ["sites/*.toml"]
        log.access = "off"
        [defaults.cluster]
        endpoints = ["a:1"]
        [[route]]
        policy = { name = "least_request", choices = 3 }
        retry = { on = [502, "5xx", "reset", "500-504"] }
        sticky = { cookie = "c", secret = ["a", "b"] }
        forwarded = "both"
        access_log = false
        headers.request.add = { Via = ["a", "b"] }
        [[route]]
        redirect = "https"
        rate_limit = "off"
        [[site]]
        hosts = ["a.test"]
        tls = { cert = "a", key = "b" }
        timeout.response = "5s"
        [[site.route]]
        cluster = "app"
        [cluster.app]
        policy = { name = "ring_hash", key = "{uri}", bounded_load = 1.25 }
        health.active.expect = 200
        health.passive = "off"
    "#;
    assert_eq!(check(text), Ok(()));
}

#[test]
fn it_refuses_what_an_editor_should_underline() {
    for text in [
        "workerz = 2",
        "workers = 0",
        "workers = \"many\"",
        "grace = 30",
        "grace = \"30 s\"",
        "limits.uri = \"8k\"",
        "log.level = \"warning\"",
        "[[listener]]\nname = \"web\"",
        "[[listener]]\naddress = \"a\"\ntls = { certs = [] }",
        "[[site]]\nclutser = \"app\"",
        "[[site]]\n[[site.route]]\nclutser = \"app\"",
        "[[route]]\nclutser = \"app\"",
        "[[route]]\nretry.budget = \"20\"",
        "[[route]]\nrate_limit = { rate = \"10\" }",
        "[[route]]\nsticky.same_site = \"Lax\"",
        "[cluster.app]\nendpoints = [5]",
        "[cluster.app]\nendpoints = [{ weight = 1 }]",
        "[cluster.app]\nqueue.size = -1",
        "[cluster.app]\npolicy = { name = \"least_request\", choices = 9 }",
        "[cluster.app]\npolicy = { name = \"prequal\", quantile = 1.1 }",
        "[cluster.app]\npolicy = { name = \"peak_ewma\", decay = 10 }",
        "[cluster.app]\nhealth.active.expect = \"ok\"",
    ] {
        assert!(check(text).is_err(), "{text}");
    }
}
