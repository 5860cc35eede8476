//! The directions in which crates may import one another, checked against their manifests.
//!
//! Goodwill does not keep an architecture: one convenient import makes a policy depend on a runtime, and every embedder
//! pays for it. So each crate lists here what it may use, and anything else fails.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod imports;
mod page;

use std::collections::BTreeSet;
use std::path::Path;

/// A crate of the house, and the crates of the house it may import.
const MAY_IMPORT: [(&str, &[&str]); 12] = [
    ("lb-core", &[]),
    ("lb-http", &["lb-core"]),
    ("lb-policy", &["lb-core"]),
    ("lb-health", &["lb-core"]),
    ("lb-ratelimit", &["lb-core"]),
    ("lb-tower", &["lb-core", "lb-policy", "lb-health", "lb-ratelimit"]),
    ("lbkit", &["lb-core", "lb-policy", "lb-health", "lb-ratelimit", "lb-tower"]),
    // Of lb-policy its catalog, the only list of policies and their options: a configuration is checked by it.
    ("lb-config", &["lb-core", "lb-policy"]),
    ("lb-discovery", &["lb-core"]),
    ("lb-sim", &["lb-core", "lb-policy", "lb-health", "lb-ratelimit"]),
    (
        "lb-proxy",
        &["lb-core", "lb-http", "lb-policy", "lb-health", "lb-ratelimit", "lb-tower", "lb-discovery", "lb-config"],
    ),
    ("lbproxy", &["lb-core", "lb-config", "lb-proxy"]),
];

/// What the crates that decide must not know: runtimes, protocols, services.
const NO_RUNTIME: [&str; 4] = ["lb-core", "lb-policy", "lb-health", "lb-ratelimit"];
const RUNTIMES: [&str; 8] = ["tokio", "tokio-util", "tower", "tower-service", "tower-layer", "hyper", "h2", "mio"];
/// Types of HTTP's messages, which the crate for those may know.
const MESSAGES: &str = "http";

fn dependencies(manifest: &Path) -> BTreeSet<String> {
    let text = std::fs::read_to_string(manifest).unwrap();
    let manifest: toml::Table = text.parse().unwrap();
    let targets = manifest.get("target").and_then(toml::Value::as_table).into_iter().flatten();
    let tables = targets.filter_map(|(_, target)| target.get("dependencies"));
    let tables = tables.chain(manifest.get("dependencies")).filter_map(toml::Value::as_table);
    tables.flat_map(|table| table.keys().cloned()).collect()
}

fn crates() -> Vec<(String, BTreeSet<String>)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let mut found = vec![("lbproxy".to_owned(), dependencies(&root.join("bins/lbproxy/Cargo.toml")))];
    for entry in std::fs::read_dir(root.join("crates")).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        found.push((name, dependencies(&path.join("Cargo.toml"))));
    }
    found
}

#[test]
fn crates_import_one_another_in_one_direction() {
    for (name, dependencies) in crates() {
        let (_, may) = MAY_IMPORT.iter().find(|(known, _)| *known == name).unwrap_or_else(|| {
            panic!("{name} is new: say here what it may import");
        });
        let ours = dependencies.iter().filter(|dependency| dependency.starts_with("lb"));
        for import in ours {
            assert!(may.contains(&import.as_str()), "{name} must not import {import}");
        }
    }
}

#[test]
fn crates_that_decide_know_no_runtime_and_no_protocol() {
    let crates = crates();
    for name in NO_RUNTIME {
        let (_, dependencies) = crates.iter().find(|(found, _)| found == name).unwrap();
        for runtime in RUNTIMES.into_iter().chain([MESSAGES]) {
            assert!(!dependencies.contains(runtime), "{name} must not import {runtime}");
        }
    }
}

#[test]
fn messages_and_wire_formats_know_no_runtime() {
    let crates = crates();
    let (_, dependencies) = crates.iter().find(|(found, _)| found == "lb-http").unwrap();
    for runtime in RUNTIMES {
        assert!(!dependencies.contains(runtime), "lb-http must not import {runtime}");
    }
}
