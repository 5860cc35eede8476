//! A document without what has its default.
//!
//! The defaults come from a configuration in which nothing is written that need not be, and from one in which every
//! table that is off by default is there and empty. So no list of defaults can lag behind the decoder.

use crate::language::source::Sources;
use crate::model::config::Config;
use crate::model::rate_limit::default_name;
use crate::table::item::{Document, Item, Items};

/// As little as a configuration may have.
const LEAST: &str = r#"
[[listener]]
address = "127.0.0.1:1"
[[route]]
cluster = "a"
[cluster.a]
endpoints = ["a:1", "b:1"]
"#;

/// The tables that are off unless they are written.
const TABLES: &str = r#"
[[listener]]
address = "127.0.0.1:1"
tls = { pem = "a" }
rate_limit = { rate = "1/s" }
[[route]]
cluster = "a"
sticky = { cookie = "a" }
rate_limit = { rate = "1/s" }
concurrency = { limit = 1 }
[cluster.a]
endpoints = ["a:1", "b:1"]
tls = {}
rate_limit = { rate = "1/s" }
concurrency = { limit = 1 }
health = { active = {} }
"#;

/// What must be written wherever it stands, whatever it is.
const ALWAYS: [&str; 11] = [
    "name",
    "address",
    "endpoints",
    "cluster",
    "redirect",
    "respond",
    "cookie",
    "rate",
    "certificates",
    "policy",
    "limit",
];

/// Leaves out of `document` what has its default.
pub(crate) fn changed(document: Document) -> Document {
    let (least, tables) = (defaults(LEAST), defaults(TABLES));
    let sections = |of: fn(&Document) -> &Vec<(String, Items)>| {
        let first = |document: &Document| of(document).first().map(|(_, fields)| fields.clone()).unwrap_or_default();
        (first(&least), first(&tables))
    };
    let (listener, route, cluster) =
        (sections(|it| &it.listeners), sections(|it| &it.routes), sections(|it| &it.clusters));
    let body_limit = value(&document.root, &["limits", "request_body"]).cloned();
    let without = |(name, fields): (String, Items), (least, tables): &(Items, Items)| {
        let fields = differing(fields, least, Some(tables));
        (name, fields)
    };
    let listeners = document.listeners.into_iter().map(|section| {
        let (name, mut fields) = without(section, &listener);
        // The default is the address.
        if value(&fields, &["name"]) == value(&fields, &["address"]) {
            fields.retain(|(key, _)| key != "name");
        }
        without_names(&mut fields, &format!("listener:{name}"));
        (name, fields)
    });
    let routes = document.routes.into_iter().map(|section| {
        let (name, mut fields) = without(section, &route);
        // The default is the limit that holds for every listener, and for the limit's name the route's.
        let is_default = |key: &str, item: &Item| key == "body_limit" && Some(item) == body_limit.as_ref();
        fields.retain(|(key, item)| !is_default(key, item));
        without_names(&mut fields, &name);
        (name, fields)
    });
    let clusters = document.clusters.into_iter().map(|section| {
        let (name, mut fields) = without(section, &cluster);
        without_names(&mut fields, &format!("cluster:{name}"));
        (name, fields)
    });
    Document {
        root: differing(document.root, &least.root, None),
        listeners: listeners.collect(),
        routes: routes.collect(),
        clusters: clusters.collect(),
    }
}

/// The document of a configuration of ours.
fn defaults(text: &str) -> Document {
    match Config::parse(text, &|_| None) {
        Ok(loaded) => loaded.config.document(&Sources::default()),
        // Unreachable while the test below passes; everything is printed then.
        Err(_) => Document { root: Vec::new(), listeners: Vec::new(), routes: Vec::new(), clusters: Vec::new() },
    }
}

/// What of `fields` is another than in `least`; a table that `least` has not is compared with that of `tables`.
fn differing(fields: Items, least: &Items, tables: Option<&Items>) -> Items {
    let mut left = Vec::new();
    for (key, item) in fields {
        let default = value(least, &[&key]);
        if Some(&item) == default && !ALWAYS.contains(&key.as_str()) {
            continue;
        }
        // A policy, an action: whole.
        let is_whole = ["policy", "redirect", "respond"].contains(&key.as_str());
        let item = match (item, default) {
            (item, _) if is_whole && Some(&item) == default => continue,
            (Item::Table(fields), Some(Item::Table(default))) if !is_whole => {
                let off = tables.and_then(|tables| value(tables, &[&key]));
                let off = if let Some(Item::Table(off)) = off { Some(off) } else { None };
                Item::Table(differing(fields, default, off))
            }
            (Item::Table(fields), _) if !is_whole => match tables.and_then(|tables| value(tables, &[&key])) {
                Some(Item::Table(default)) => Item::Table(differing(fields, default, None)),
                _ => Item::Table(fields),
            },
            (Item::Endpoints(endpoints), Some(Item::Endpoints(default))) => {
                let default = default.first().map(|(_, fields)| fields.clone()).unwrap_or_default();
                let endpoints = endpoints.into_iter().map(|(name, fields)| (name, differing(fields, &default, None)));
                Item::Endpoints(endpoints.collect())
            }
            (Item::Tables(all), _) => match tables.and_then(|tables| value(tables, &[&key])) {
                Some(Item::Table(default)) => {
                    Item::Tables(all.into_iter().map(|(name, it)| (name, differing(it, default, None))).collect())
                }
                _ => Item::Tables(all),
            },
            (item, _) => item,
        };
        left.push((key, item));
    }
    left
}

/// What stands at a path.
fn value<'a>(fields: &'a Items, path: &[&str]) -> Option<&'a Item> {
    let (first, rest) = path.split_first()?;
    let (_, item) = fields.iter().find(|(key, _)| key == first)?;
    match item {
        item if rest.is_empty() => Some(item),
        Item::Table(fields) => value(fields, rest),
        _ => None,
    }
}

/// Leaves out the names of rate limits that are those of the part they stand in.
fn without_names(fields: &mut Items, name: &str) {
    let forget = |limit: &mut Items, at| {
        let default = default_name(name, at);
        limit.retain(|(key, item)| key != "name" || !is_text(item, &default));
    };
    for (key, item) in fields.iter_mut().filter(|(key, _)| key == "rate_limit") {
        let _ = key;
        match item {
            Item::Table(limit) => forget(limit, 0),
            Item::Tables(limits) => limits.iter_mut().enumerate().for_each(|(at, (_, limit))| forget(limit, at)),
            _ => {}
        }
    }
}

fn is_text(item: &Item, text: &str) -> bool {
    matches!(item, Item::Leaf(leaf) if leaf.value == text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_configurations_of_the_defaults_are_valid() {
        for text in [LEAST, TABLES] {
            assert!(!defaults(text).routes.is_empty(), "{text}");
        }
    }
}
