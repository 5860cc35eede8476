//! What a reload changes, in words for the log.
//!
//! Parts are matched by what operators call them: listeners, routes and clusters by name, endpoints by address. Values
//! that may hold a secret are reported as changed, without the values.

use std::fmt;

use crate::language::source::Sources;
use crate::model::config::Config;
use crate::table::item::{Item, Items, Leaf};

/// The changes from one configuration to another, in the order of the file; empty if there are none.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Changes(Vec<String>);

impl Changes {
    /// Each of them, a short line without a full stop.
    pub fn iter(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(String::as_str)
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether the configurations are the same.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// All of them on one line, or "nothing changed".
impl fmt::Display for Changes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_empty() { f.write_str("nothing changed") } else { f.write_str(&self.0.join("; ")) }
    }
}

impl Config {
    /// What `new` changes.
    ///
    /// ```
    /// use lb_config::Config;
    ///
    /// let before = Config::for_proxy("8080", &["app-1:3000", "app-2:3000"], None, None, None).unwrap();
    /// let after = Config::for_proxy("8080", &["app-1:3000", "app-3:3000"], Some("p2c"), None, None).unwrap();
    /// assert_eq!(
    ///     Config::diff(&before, &after).to_string(),
    ///     "cluster app: policy round_robin → p2c; \
    ///      cluster app: endpoint app-2:3000 removed; \
    ///      cluster app: endpoint app-3:3000 added"
    /// );
    /// ```
    #[must_use]
    pub fn diff(old: &Self, new: &Self) -> Changes {
        let sources = Sources::default();
        let (old, new) = (old.document(&sources), new.document(&sources));
        let mut changes = Changes::default();
        fields(&mut changes, "", "", &old.root, &new.root);
        parts(&mut changes, "listener", &old.listeners, &new.listeners);
        parts(&mut changes, "route", &old.routes, &new.routes);
        parts(&mut changes, "cluster", &old.clusters, &new.clusters);
        let (before, after) = (common(&old.routes, &new.routes), common(&new.routes, &old.routes));
        if before != after {
            changes.0.push("routes are in another order".into());
        }
        changes
    }
}

fn common<'a>(of: &'a [(String, Items)], other: &[(String, Items)]) -> Vec<&'a str> {
    let shared = of.iter().filter(|(name, _)| other.iter().any(|(known, _)| known == name));
    shared.map(|(name, _)| name.as_str()).collect()
}

/// Named parts: gone, changed, new.
fn parts(changes: &mut Changes, what: &str, old: &[(String, Items)], new: &[(String, Items)]) {
    for (name, before) in old {
        match new.iter().find(|(known, _)| known == name) {
            Some((_, after)) => fields(changes, &format!("{what} {name}: "), "", before, after),
            None => changes.0.push(format!("{what} {name} removed")),
        }
    }
    for (name, _) in new.iter().filter(|(name, _)| !old.iter().any(|(known, _)| known == name)) {
        changes.0.push(format!("{what} {name} added"));
    }
}

fn fields(changes: &mut Changes, prefix: &str, path: &str, old: &Items, new: &Items) {
    for (key, before) in old {
        let path = join(path, key);
        match new.iter().find(|(known, _)| known == key) {
            Some((_, after)) => item(changes, prefix, &path, before, after),
            None => changes.0.push(format!("{prefix}{path} removed")),
        }
    }
    for (key, _) in new.iter().filter(|(key, _)| !old.iter().any(|(known, _)| known == key)) {
        changes.0.push(format!("{prefix}{} added", join(path, key)));
    }
}

fn join(path: &str, key: &str) -> String {
    if path.is_empty() { key.to_owned() } else { format!("{path}.{key}") }
}

fn item(changes: &mut Changes, prefix: &str, path: &str, old: &Item, new: &Item) {
    match (old, new) {
        (old, new) if path == "policy" && old != new => match (policy_name(old), policy_name(new)) {
            (before, after) if before == after => changes.0.push(format!("{prefix}options of {after} changed")),
            (before, after) => changes.0.push(format!("{prefix}policy {before} → {after}")),
        },
        (Item::Leaf(old), Item::Leaf(new)) if old.value == new.value => {}
        (Item::Leaf(old), Item::Leaf(new)) if old.quiet || new.quiet => {
            changes.0.push(format!("{prefix}{path} changed"));
        }
        (Item::Leaf(old), Item::Leaf(new)) => changes.0.push(format!("{prefix}{path} {} → {}", old.value, new.value)),
        (Item::Table(old), Item::Table(new)) => fields(changes, prefix, path, old, new),
        (Item::Endpoints(old), Item::Endpoints(new)) => endpoints(changes, prefix, old, new),
        (Item::Tables(old), Item::Tables(new)) => tables(changes, prefix, path, old, new),
        (Item::Leaf(leaf), Item::Table(_) | Item::Tables(_)) if is_off(leaf) => {
            changes.0.push(format!("{prefix}{path} added"));
        }
        (Item::Table(_) | Item::Tables(_), Item::Leaf(leaf)) if is_off(leaf) => {
            changes.0.push(format!("{prefix}{path} removed"));
        }
        _ => changes.0.push(format!("{prefix}{path} changed")),
    }
}

/// A policy is a word, or a table with a name.
fn policy_name(item: &Item) -> &str {
    match item {
        Item::Leaf(leaf) => &leaf.value,
        Item::Table(fields) => fields.iter().find(|(key, _)| key == "name").map_or("", |(_, item)| policy_name(item)),
        Item::Endpoints(_) | Item::Tables(_) => "",
    }
}

fn is_off(leaf: &Leaf) -> bool {
    leaf.value == "off"
}

/// Several tables of one key, each by what it is called.
fn tables(changes: &mut Changes, prefix: &str, path: &str, old: &[(String, Items)], new: &[(String, Items)]) {
    for (name, before) in old {
        match new.iter().find(|(known, _)| known == name) {
            Some((_, after)) => fields(changes, prefix, &format!("{path} {name}"), before, after),
            None => changes.0.push(format!("{prefix}{path} {name} removed")),
        }
    }
    for (name, _) in new.iter().filter(|(name, _)| !old.iter().any(|(known, _)| known == name)) {
        changes.0.push(format!("{prefix}{path} {name} added"));
    }
}

fn endpoints(changes: &mut Changes, prefix: &str, old: &[(String, Items)], new: &[(String, Items)]) {
    for (address, before) in old {
        let Some((_, after)) = new.iter().find(|(known, _)| known == address) else {
            changes.0.push(format!("{prefix}endpoint {address} removed"));
            continue;
        };
        for ((key, before), (_, after)) in before.iter().zip(after) {
            item(changes, prefix, &format!("{key} of {address}"), before, after);
        }
    }
    for (address, _) in new.iter().filter(|(address, _)| !old.iter().any(|(known, _)| known == address)) {
        changes.0.push(format!("{prefix}endpoint {address} added"));
    }
    if common(old, new) != common(new, old) {
        changes.0.push(format!("{prefix}endpoints are in another order"));
    }
}
