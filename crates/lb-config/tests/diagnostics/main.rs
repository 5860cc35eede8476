//! What is said about configurations that are wrong, to the letter: a message is part of the product.

mod clusters;
mod foreign;
mod keys;
mod listeners;
mod options;
mod routes;
mod sites;
mod tls;
mod warnings;

use lb_config::Config;

/// What every fragment needs to be whole, put after it so that lines count from the fragment's first.
const SOUND: &str = r#"
[[listener]]
address = "0.0.0.0:80"

[[route]]
cluster = "app"

[cluster.app]
endpoints = ["app-1:80", "app-2:80"]
"#;

fn env(name: &str) -> Option<String> {
    match name {
        "WORDS" => Some("hunter 2".into()),
        "BRACES" => Some("hunter {two}".into()),
        _ => None,
    }
}

/// The errors and warnings of a fragment.
#[track_caller]
fn refused(fragment: &str, expected: &str) {
    refused_alone(&format!("{fragment}{SOUND}"), expected);
}

/// The errors and warnings of a whole text.
#[track_caller]
fn refused_alone(text: &str, expected: &str) {
    let Err(diagnostics) = Config::parse(text, &env) else { panic!("accepted") };
    assert!(diagnostics.has_errors());
    compare(&diagnostics.to_string(), expected);
}

/// The warnings of a fragment that is accepted.
#[track_caller]
fn doubted(fragment: &str, expected: &str) {
    let loaded = Config::parse(&format!("{fragment}{SOUND}"), &env).unwrap_or_else(|errors| panic!("{errors}"));
    assert!(!loaded.warnings.has_errors());
    compare(&loaded.warnings.to_string(), expected);
}

/// Long lists of keys by their first three, so that a new key changes no test but its own.
fn shortened(text: &str) -> String {
    let line = |line: &str| match line.split_once("= expected one of `") {
        Some((_, list)) if list.matches("`, `").count() >= 8 => {
            let (end, _) = line.match_indices("`, `").nth(2).unwrap_or((line.len(), ""));
            format!("{}`, …", &line[..end])
        }
        _ => line.to_owned(),
    };
    text.split('\n').map(line).collect::<Vec<_>>().join("\n")
}

#[track_caller]
fn compare(actual: &str, expected: &str) {
    let actual = shortened(actual);
    assert!(actual == expected.trim_start_matches('\n'), "said:\n{actual}\ninstead of:\n{expected}");
}
