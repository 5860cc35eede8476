//! The effective configuration as TOML: every default spelled out, readable again, and without secrets.

use std::fmt::Write;

use crate::language::source::Sources;
use crate::model::config::Config;
use crate::table::changed::changed;
use crate::table::item::{Document, Item, Items, Leaf, quote};

impl Config {
    /// The whole configuration with every default, as TOML that [`parse`](Self::parse) reads as an equal one.
    ///
    /// Signing secrets are printed as `***`, and free text (header values, bodies, redirects, patterns) that the
    /// environment filled is printed as it was written, `${NAME}` and all: hence `sources`, which came with the
    /// configuration. Included files and inherited keys are in place; comments and `[defaults]` are gone.
    #[must_use]
    pub fn print(&self, sources: &Sources) -> String {
        write(&self.document(sources))
    }

    /// As [`print`](Self::print), without what has its default: what a reader would have to write. Names, hosts, actions and
    /// addresses are always in it.
    #[must_use]
    pub fn print_changed(&self, sources: &Sources) -> String {
        write(&changed(self.document(sources)))
    }
}

fn write(document: &Document) -> String {
    let mut out = String::new();
    write_root(&mut out, &document.root);
    for (_, fields) in &document.listeners {
        section(&mut out, "[[listener]]", fields);
    }
    for (_, fields) in &document.routes {
        section(&mut out, "[[route]]", fields);
    }
    for (name, fields) in &document.clusters {
        section(&mut out, &format!("[cluster.{}]", key(name)), fields);
    }
    out
}

fn write_root(out: &mut String, root: &Items) {
    for (name, item) in root {
        if !matches!(item, Item::Table(_)) {
            line(out, &key(name), item);
        }
    }
    for (name, item) in root {
        if let Item::Table(fields) = item {
            section(out, &format!("[{}]", key(name)), fields);
        }
    }
}

fn section(out: &mut String, title: &str, fields: &Items) {
    if !out.is_empty() {
        out.push('\n');
    }
    // Writing to a String cannot fail.
    let _ = writeln!(out, "{title}");
    for (name, item) in fields {
        line(out, &key(name), item);
    }
}

/// One key: a table of tables as dotted keys, any other on its line, endpoints one a line.
fn line(out: &mut String, name: &str, item: &Item) {
    match item {
        Item::Table(fields) if !fields.is_empty() && fields.iter().all(|(_, item)| is_group(item)) => {
            for (below, item) in fields {
                line(out, &format!("{name}.{}", key(below)), item);
            }
        }
        Item::Endpoints(endpoints) | Item::Tables(endpoints) if !endpoints.is_empty() => {
            let _ = writeln!(out, "{name} = [");
            for (_, fields) in endpoints {
                let _ = writeln!(out, "  {},", endpoint(fields));
            }
            out.push_str("]\n");
        }
        item => {
            let _ = writeln!(out, "{name} = {}", value(item));
        }
    }
}

fn is_group(item: &Item) -> bool {
    matches!(item, Item::Table(_)) || matches!(item, Item::Leaf(Leaf { value, .. }) if value == "off")
}

fn value(item: &Item) -> String {
    match item {
        Item::Leaf(leaf) => leaf.toml.clone(),
        Item::Table(fields) => table(fields),
        Item::Endpoints(endpoints) | Item::Tables(endpoints) => {
            let all: Vec<String> = endpoints.iter().map(|(_, fields)| endpoint(fields)).collect();
            format!("[{}]", all.join(", "))
        }
    }
}

/// An address alone, where there is no more to it.
fn endpoint(fields: &Items) -> String {
    match fields.as_slice() {
        [(name, Item::Leaf(address))] if name == "address" => address.toml.clone(),
        fields => table(&fields.to_vec()),
    }
}

fn table(fields: &Items) -> String {
    if fields.is_empty() {
        return "{}".into();
    }
    let all: Vec<String> = fields.iter().map(|(name, item)| format!("{} = {}", key(name), value(item))).collect();
    format!("{{ {} }}", all.join(", "))
}

/// A key, quoted unless TOML takes it bare.
fn key(name: &str) -> String {
    let bare =
        !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-');
    if bare { name.to_owned() } else { quote(name) }
}
