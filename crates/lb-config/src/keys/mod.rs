//! Every key of the language in one table: its kind, its default, its meaning, and whether it works yet.
//!
//! A decoder, a schema and a manual that each list the keys drift apart. Here the decoder takes defaults and ranges
//! from the table and refuses to ask for a key that is not in it; the JSON Schema is written from it; the manual is
//! checked against it.

mod cluster;
mod global;
mod placement;
mod policy;
mod route;
mod site;
mod tls;

pub(crate) use cluster::{ACTIVE, CLUSTER, ENDPOINT, HEALTH, KEEP_ALIVE, PASSIVE, QUEUE};
pub(crate) use global::{ACCESS, ADMIN, DEFAULTS, INCLUDED, LIMITS, LISTENER, LISTENER_HEADERS, LOG, ROOT};
pub(crate) use placement::{SUBSET, ZONE};
pub(crate) use policy::{KeyUse, OptionInfo, POLICIES, POLICY, PolicyInfo, Unit};
pub(crate) use route::{
    FORWARDED, HEADER_EDITS, HEADERS, RATE_LIMIT, REDIRECT, RESPOND, RETRY, ROUTE, STICKY, TIMEOUT,
};
pub(crate) use site::{SITE, SITE_TLS};
pub(crate) use tls::{CERTIFICATE, CLIENT_AUTH, CLUSTER_TLS, LISTENER_TLS};

/// A table of the configuration and the keys it may have.
#[derive(Debug)]
pub(crate) struct Section {
    /// Its name, unique, for the schema's definitions.
    pub(crate) name: &'static str,
    /// How it is called in messages: `[[listener]]`, `timeout`.
    pub(crate) title: &'static str,
    pub(crate) doc: &'static str,
    pub(crate) keys: &'static [Key],
}

/// A key.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Key {
    pub(crate) name: &'static str,
    pub(crate) kind: Kind,
    pub(crate) default: Default,
    pub(crate) doc: &'static str,
}

/// What happens when a key is left out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Default {
    /// It may not be left out.
    Required,
    /// This TOML literal stands for it.
    Value(&'static str),
    /// It then has no value, or one that depends on others; in words.
    Unset(&'static str),
    /// The key is reserved: whoever writes it is told "not built yet".
    NotBuilt,
}

/// What may be written.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Kind {
    Bool,
    /// A whole number within bounds, both included.
    Integer(i64, i64),
    /// A duration; whether zero makes sense.
    Duration {
        zero: bool,
    },
    /// A size, at least this many bytes.
    Size {
        least: u64,
    },
    Rate,
    Share,
    /// A status, a class or a range of statuses.
    Status,
    /// A text of a form that only the decoder knows.
    Text,
    /// One of these words.
    Word(&'static [&'static str]),
    List(&'static Kind),
    /// A table whose keys are names.
    Map(&'static Kind),
    Table(&'static Section),
    /// Any of these.
    Any(&'static [Kind]),
    /// For reserved keys.
    Anything,
}

impl Section {
    pub(crate) fn find(&self, name: &str) -> Option<&'static Key> {
        self.keys.iter().find(|key| key.name == name)
    }

    /// The keys that work.
    pub(crate) fn built(&self) -> impl Iterator<Item = &'static Key> {
        self.keys.iter().filter(|key| key.default != Default::NotBuilt)
    }

    /// The keys that work, for a message.
    pub(crate) fn list(&self) -> String {
        let names: Vec<String> = self.built().map(|key| format!("`{}`", key.name)).collect();
        names.join(", ")
    }
}

impl Kind {
    /// The sections that may stand below.
    pub(crate) fn sections(&self) -> Vec<&'static Section> {
        match self {
            Self::Table(section) => vec![section],
            Self::List(kind) | Self::Map(kind) => kind.sections(),
            Self::Any(kinds) => kinds.iter().flat_map(Kind::sections).collect(),
            _ => Vec::new(),
        }
    }

    /// The bounds of the number that may be written.
    pub(crate) fn bounds(&self) -> Option<(i64, i64)> {
        match self {
            Self::Integer(least, most) => Some((*least, *most)),
            Self::Any(kinds) => kinds.iter().find_map(Kind::bounds),
            _ => None,
        }
    }

    /// Whether a duration may be zero.
    pub(crate) fn allows_zero(&self) -> bool {
        match self {
            Self::Duration { zero } => *zero,
            Self::Any(kinds) => kinds.iter().any(Kind::allows_zero),
            _ => false,
        }
    }

    /// The smallest size that may be written, bytes.
    pub(crate) fn least(&self) -> Option<u64> {
        match self {
            Self::Size { least } => Some(*least),
            Self::Any(kinds) => kinds.iter().find_map(Kind::least),
            _ => None,
        }
    }

    /// The words that may be written.
    pub(crate) fn words(&self) -> Vec<&'static str> {
        match self {
            Self::Word(words) => words.to_vec(),
            Self::List(kind) => kind.words(),
            Self::Any(kinds) => kinds.iter().flat_map(Kind::words).collect(),
            _ => Vec::new(),
        }
    }
}

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

/// A key that works.
const fn key(name: &'static str, kind: Kind, default: Default, doc: &'static str) -> Key {
    Key { name, kind, default, doc }
}

/// A key that is reserved.
const fn later(name: &'static str, doc: &'static str) -> Key {
    Key { name, kind: Kind::Anything, default: Default::NotBuilt, doc }
}

#[cfg(test)]
mod tests {
    use super::*;

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
}
