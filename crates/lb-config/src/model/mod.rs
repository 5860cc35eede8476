//! The configuration by its blocks: one file holds a block's keys, its type, how it is decoded and how it is shown.

pub(crate) mod admin;
pub(crate) mod auth;
pub(crate) mod certificate;
pub(crate) mod cipher_suite;
pub(crate) mod cluster;
pub(crate) mod cluster_tls;
pub(crate) mod compress;
pub(crate) mod concurrency;
pub(crate) mod config;
pub(crate) mod endpoint;
pub(crate) mod errors;
pub(crate) mod files;
pub(crate) mod forwarded;
pub(crate) mod headers;
pub(crate) mod health;
pub(crate) mod keep_alive;
pub(crate) mod limits;
pub(crate) mod listener;
pub(crate) mod listener_tls;
pub(crate) mod log;
pub(crate) mod maintenance;
pub(crate) mod networks;
pub(crate) mod policy;
pub(crate) mod proxy_protocol;
pub(crate) mod queue;
pub(crate) mod rate_limit;
pub(crate) mod redirect;
pub(crate) mod respond;
pub(crate) mod retry;
pub(crate) mod route;
pub(crate) mod site;
pub(crate) mod sticky;
pub(crate) mod subset;
pub(crate) mod syntax;
pub(crate) mod timeout;
pub(crate) mod tls_version;
pub(crate) mod upgrade;
pub(crate) mod zone;

use crate::table::schema;
use crate::table::section::Section;
use crate::table::vocabulary::ALIASES;
use config::ROOT;

/// The JSON Schema (draft 2020-12) of a configuration file.
#[must_use]
pub fn schema() -> serde_json::Value {
    schema::schema(&ROOT)
}

/// Whether any section has a key of this name, or it is an option of a policy.
pub(crate) fn is_known(name: &str) -> bool {
    let has = |section: &Section| section.find(name).is_some() || (section.more)().iter().any(|key| key.name == name);
    ROOT.all().into_iter().any(has)
}

/// What to do about a key that its table has not, but another one has, under this name or under ours for it.
pub(crate) fn elsewhere(name: &str) -> Option<String> {
    if let Some((_, ours)) = ALIASES.iter().find(|(theirs, _)| *theirs == name) {
        return home(ours).map(|section| format!("it is `{ours}` here, which belongs to {}", place(section)));
    }
    let section = ROOT.all().into_iter().find(|section| section.find(name).is_some())?;
    Some(format!("`{name}` belongs to {}", place(section)))
}

/// A table as a sentence names it.
fn place(section: &Section) -> &'static str {
    if section.name == "root" { "the top level of the file" } else { section.title }
}

/// The table that one of [`ALIASES`] is written in: the first of those that people fill in that has the key.
fn home(ours: &str) -> Option<&'static Section> {
    let of_name = |name: &str| ROOT.all().into_iter().find(|section| section.name == name);
    ["listener", "cluster", "route", "endpoint", "root"]
        .into_iter()
        .filter_map(of_name)
        .find(|section| section.find(ours).is_some())
}

#[cfg(test)]
mod tests {
    use super::policy::all_options;
    use super::*;
    use crate::table::section::Default;
    use crate::table::vocabulary::WORDS;

    /// The manual's table for a section.
    fn rows(section: &Section) -> String {
        let mut rows = String::from("| key | default | meaning |\n|---|---|---|\n");
        // A site has every key of a route, which are listed there.
        let own = if section.name == site::SITE.name { site::SITE_OWN } else { section.keys };
        for key in own.iter().filter(|key| key.is_built()) {
            let default = match key.default {
                Default::Value(literal) => format!("`{literal}`"),
                Default::Unset(what) => what.to_owned(),
                Default::Required | Default::InDoc | Default::NotBuilt(_) => "must be written".to_owned(),
            };
            rows.push_str(&format!("| `{}` | {default} | {} |\n", key.name, key.doc));
        }
        let later: Vec<String> =
            own.iter().filter(|key| !key.is_built()).map(|key| format!("`{}`", key.name)).collect();
        if !later.is_empty() {
            rows.push_str(&format!("\nNot built yet: {}.\n", later.join(", ")));
        }
        rows
    }

    #[test]
    fn the_manual_lists_every_key_with_its_default() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/configuration.md");
        // A published crate does not include the repository's documentation.
        let Ok(manual) = std::fs::read_to_string(path) else { return };
        for section in ROOT.all().into_iter().filter(|section| section.name != "defaults") {
            let rows = rows(section);
            assert!(manual.contains(&rows), "{}: docs/configuration.md should have\n\n{rows}", section.title);
        }
        for policy in lb_policy::CATALOG {
            assert!(manual.contains(&format!("`{}`", policy.name)), "{}", policy.name);
            for option in policy.options {
                assert!(
                    manual.contains(&format!("| `{}` | {} |", option.name, option.doc)),
                    "{}: {}",
                    policy.name,
                    option.name
                );
            }
        }
    }

    #[test]
    fn every_key_that_works_is_in_the_schema_and_no_other() {
        let schema = crate::schema();
        for section in ROOT.all() {
            let table = if section.name == ROOT.name { &schema } else { &schema["$defs"][section.name] };
            let listed: Vec<&String> = table["properties"].as_object().unwrap().keys().collect();
            for key in section.keys {
                let built = key.is_built();
                assert_eq!(listed.contains(&&key.name.to_owned()), built, "{}: {}", section.title, key.name);
            }
            let options = all_options().map(|option| option.name);
            let options: Vec<&str> = options.filter(|_| section.name == "policy").collect();
            assert!(listed.iter().all(|name| section.find(name).is_some() || options.contains(&name.as_str())));
        }
    }

    #[test]
    fn sections_and_keys_have_names_of_their_own() {
        let sections = ROOT.all();
        for (at, section) in sections.iter().enumerate() {
            assert!(sections[..at].iter().all(|other| other.name != section.name), "{}", section.name);
            for (at, key) in section.keys.iter().enumerate() {
                assert!(section.keys[..at].iter().all(|other| other.name != key.name), "{}.{}", section.name, key.name);
                assert!(!key.doc.contains('|') && key.doc.ends_with('.'), "{}.{}", section.name, key.name);
            }
        }
    }

    #[test]
    fn no_foreign_key_shadows_a_key_and_each_is_listed_once() {
        let mut seen: Vec<&str> = Vec::new();
        for word in WORDS.iter().flat_map(|(words, _)| words.iter()) {
            assert!(!seen.contains(word), "{word} stands twice");
            seen.push(word);
        }
        for (word, ours) in ALIASES {
            assert!(!seen.contains(&word), "{word} is an alias and a word");
            assert!(home(ours).is_some(), "{ours} is no key");
        }
    }
}
