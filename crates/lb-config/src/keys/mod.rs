//! Every key of the language in one table: its kind, its default, its meaning, and whether it works yet.
//!
//! A decoder, a schema and a manual that each list the keys drift apart. Here the decoder takes defaults and ranges
//! from the table and refuses to ask for a key that is not in it; the JSON Schema is written from it; the manual is
//! checked against it.

mod cluster;
mod global;
mod placement;
mod route;
mod site;
mod tls;

use crate::model::policy::POLICIES;
use crate::table::section::Section;
use crate::table::vocabulary::ALIASES;
pub(crate) use cluster::{ACTIVE, CLUSTER, ENDPOINT, HEALTH, KEEP_ALIVE, PASSIVE, QUEUE};
pub(crate) use global::{ACCESS, ADMIN, DEFAULTS, INCLUDED, LIMITS, LISTENER, LISTENER_HEADERS, LOG, ROOT};
pub(crate) use placement::{SUBSET, ZONE};
pub(crate) use route::{
    FORWARDED, HEADER_EDITS, HEADERS, RATE_LIMIT, REDIRECT, RESPOND, RETRY, ROUTE, STICKY, TIMEOUT,
};
pub(crate) use site::{SITE, SITE_TLS};
pub(crate) use tls::{CERTIFICATE, CLIENT_AUTH, CLUSTER_TLS, LISTENER_TLS};

/// Every section reachable from the root, each once, in order of appearance.
pub(crate) fn all_sections() -> Vec<&'static Section> {
    let mut all: Vec<&'static Section> = vec![&ROOT];
    let mut at = 0;
    while let Some(section) = all.get(at) {
        let below: Vec<_> = section.keys.iter().flat_map(|key| key.kind.sections()).collect();
        for section in below {
            if !all.iter().any(|known| known.name == section.name) {
                all.push(section);
            }
        }
        at += 1;
    }
    all
}

/// Whether any section has a key of this name, or it is an option of a policy.
pub(crate) fn is_known(name: &str) -> bool {
    let option = || POLICIES.iter().flat_map(|policy| policy.options).any(|option| option.name == name);
    all_sections().into_iter().any(|section| section.find(name).is_some()) || option()
}

/// What to do about a key that its table has not, but another one has, under this name or under ours for it.
pub(crate) fn elsewhere(name: &str) -> Option<String> {
    if let Some((_, ours)) = ALIASES.iter().find(|(theirs, _)| *theirs == name) {
        return home(ours).map(|section| format!("it is `{ours}` here, which belongs to {}", place(section)));
    }
    let section = all_sections().into_iter().find(|section| section.find(name).is_some())?;
    Some(format!("`{name}` belongs to {}", place(section)))
}

/// A table as a sentence names it.
fn place(section: &Section) -> &'static str {
    if section.name == "root" { "the top level of the file" } else { section.title }
}

/// The table that one of [`ALIASES`] is written in: the first of those that people fill in that has the key.
fn home(ours: &str) -> Option<&'static Section> {
    let of_name = |name: &str| all_sections().into_iter().find(|section| section.name == name);
    ["listener", "cluster", "route", "endpoint", "root"]
        .into_iter()
        .filter_map(of_name)
        .find(|section| section.find(ours).is_some())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::table::section::Default;
    use crate::table::vocabulary::{WORDS, until_built};

    /// The manual's table for a section.
    fn rows(section: &Section) -> String {
        let mut rows = String::from("| key | default | meaning |\n|---|---|---|\n");
        // A site has every key of a route, which are listed there.
        let own = if section.name == SITE.name { site::SITE_OWN } else { section.keys };
        for key in own.iter().filter(|key| key.default != Default::NotBuilt) {
            let default = match key.default {
                Default::Value(literal) => format!("`{literal}`"),
                Default::Unset(what) => what.to_owned(),
                Default::Required | Default::NotBuilt => "must be written".to_owned(),
            };
            rows.push_str(&format!("| `{}` | {default} | {} |\n", key.name, key.doc));
        }
        let later: Vec<String> =
            own.iter().filter(|key| key.default == Default::NotBuilt).map(|key| format!("`{}`", key.name)).collect();
        if !later.is_empty() {
            rows.push_str(&format!("\nNot built yet: {}.\n", later.join(", ")));
        }
        rows
    }

    #[test]
    fn the_manual_lists_every_key_with_its_default() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/configuration.md");
        // A published crate comes without the manual of the whole.
        let Ok(manual) = std::fs::read_to_string(path) else { return };
        for section in all_sections().into_iter().filter(|section| section.name != "defaults") {
            let rows = rows(section);
            assert!(manual.contains(&rows), "{}: docs/configuration.md should have\n\n{rows}", section.title);
        }
        for policy in &POLICIES {
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
        for section in all_sections() {
            let table = if section.name == ROOT.name { &schema } else { &schema["$defs"][section.name] };
            let listed: Vec<&String> = table["properties"].as_object().unwrap().keys().collect();
            for key in section.keys {
                let built = key.default != Default::NotBuilt;
                assert_eq!(listed.contains(&&key.name.to_owned()), built, "{}: {}", section.title, key.name);
            }
            let options = POLICIES.iter().flat_map(|policy| policy.options).map(|option| option.name);
            let options: Vec<&str> = options.filter(|_| section.name == "policy").collect();
            assert!(listed.iter().all(|name| section.find(name).is_some() || options.contains(&name.as_str())));
        }
    }

    #[test]
    fn sections_and_keys_have_names_of_their_own() {
        let sections = all_sections();
        for (at, section) in sections.iter().enumerate() {
            assert!(sections[..at].iter().all(|other| other.name != section.name), "{}", section.name);
            for (at, key) in section.keys.iter().enumerate() {
                assert!(section.keys[..at].iter().all(|other| other.name != key.name), "{}.{}", section.name, key.name);
                assert!(!key.doc.contains('|') && key.doc.ends_with('.'), "{}.{}", section.name, key.name);
            }
        }
    }

    #[test]
    fn no_word_of_others_hides_a_key_of_ours_and_each_stands_once() {
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

    #[test]
    fn every_reserved_key_says_what_to_do_until_it_is_built() {
        for section in all_sections() {
            for key in section.keys.iter().filter(|key| key.default == Default::NotBuilt) {
                assert!(until_built(section, key.name).is_some(), "{}.{}", section.name, key.name);
            }
        }
    }
}
