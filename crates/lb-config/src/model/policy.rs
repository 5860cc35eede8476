//! Selection policies: the block `policy` of a cluster or a route.
//!
//! Which policies there are, what each hashes and which options it takes is lb-policy's catalog: nothing is listed here. An option
//! is a key of the block, in the order of the catalog.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use lb_policy::{CATALOG, KeyUse, OptionInfo, PolicyInfo, Unit};

use crate::language::diagnostic::Report;
use crate::language::suggest::nearest;
use crate::language::template::Template;
use crate::language::tree::{Entry, Node, Table, Value};
use crate::language::values::{ValueError, quantity};
use crate::table::convert::{self, FillPhase};
use crate::table::fields::Fields;
use crate::table::form::Form;
use crate::table::item::{Item, Writer, bare, fields, text};
use crate::table::section::Default::{InDoc, Required, Unset};
use crate::table::section::{Key, Kind, Section, key};

/// A selection policy by name, with its options.
#[derive(Clone, Debug, PartialEq)]
pub struct Policy {
    /// Which algorithm.
    pub kind: PolicyKind,
    /// What a hashing policy hashes; `None` where the kind needs none (`ip_hash` has the client address).
    pub key: Option<Template>,
    /// Options of the kind that were written, checked by name and range at load; durations in milliseconds.
    pub options: BTreeMap<Arc<str>, f64>,
}

/// An algorithm, by the name or alias it was asked for.
#[derive(Clone, Copy, Debug)]
pub struct PolicyKind {
    name: &'static str,
    info: &'static PolicyInfo,
}

impl PartialEq for PolicyKind {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name
    }
}

impl Eq for PolicyKind {}

pub(crate) const POLICY: Section = Section {
    keys: &[
        key("name", Kind::Text, Required, "Which algorithm."),
        key("key", Kind::Text, Unset("none"), "What a hashing policy hashes, a text with `{variables}`."),
    ],
    more: option_keys,
    ..Section::new("policy", "`policy`", "A selection policy with its key and its options.")
};

/// The options of all policies, several times where several policies share one.
pub(crate) fn all_options() -> impl Iterator<Item = &'static OptionInfo> {
    CATALOG.iter().flat_map(|policy| policy.options)
}

/// The options of all policies as keys.
fn option_keys() -> Vec<Key> {
    let as_key = |option: &OptionInfo| {
        let kind = match option.unit {
            Unit::Count => Kind::Integer(option.min as i64, option.max as i64),
            Unit::Factor => Kind::Number(option.min, option.max),
            Unit::Switch => Kind::Bool,
            Unit::Duration => Kind::Duration,
        };
        key(option.name, kind, InDoc, option.doc)
    };
    all_options().map(as_key).collect()
}

/// A policy by its name, or as a table with its key and its options.
pub(crate) struct PolicyForm;

impl Form for PolicyForm {
    type Value = Policy;
    const KIND: Kind = Kind::Any(&[Kind::Text, Kind::Table(&POLICY)]);

    fn read(report: &mut Report, node: &Node) -> Option<Policy> {
        policy(report, node)
    }

    fn show(value: &Policy, writer: &Writer<'_>) -> Option<Item> {
        Some(value.show(writer))
    }
}

impl PolicyKind {
    /// Every policy, aliases included.
    pub fn all() -> impl Iterator<Item = Self> {
        CATALOG.iter().flat_map(|info| info.names().map(move |name| Self { name, info }))
    }

    /// The policy of this name or alias.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        Self::all().find(|kind| kind.name == name)
    }

    /// The policy that a name was probably meant to be: the nearest, or what other balancers call so.
    #[must_use]
    pub fn meant_by(name: &str) -> Option<Self> {
        Self::named(nearest(name, Self::all().map(Self::name)).or_else(|| of_others(name))?)
    }

    /// Its name in the configuration.
    #[must_use]
    pub const fn name(self) -> &'static str {
        self.name
    }

    /// What lb-policy's catalog has about it.
    #[must_use]
    pub const fn info(self) -> &'static PolicyInfo {
        self.info
    }

    /// Whether it hashes a `key`, which must then be written.
    #[must_use]
    pub fn needs_key(self) -> bool {
        self.info.key == KeyUse::Text
    }

    /// Whether the option is `true` or `false`, which the model holds as 1 or 0.
    #[must_use]
    pub fn is_switch(self, option: &str) -> bool {
        self.info.option(option).is_some_and(|option| option.unit == Unit::Switch)
    }
}

impl Default for PolicyKind {
    /// The catalog's first, `round_robin`.
    fn default() -> Self {
        let info = &CATALOG[0];
        Self { name: info.name, info }
    }
}

/// `"name"`, or a table of name, key and options.
fn policy(report: &mut Report, node: &Node) -> Option<Policy> {
    if node.text().is_some() {
        let kind = named(report, node)?;
        if kind.needs_key() {
            let help = format!("write {{ name = \"{}\", key = \"{{uri}}\" }}", kind.name);
            report.error(node.span, format!("the policy `{}` needs a `key`", kind.name)).help(help);
            return None;
        }
        return Some(Policy { kind, key: None, options: BTreeMap::new() });
    }
    let Some(table) = node.table() else {
        convert::mismatch(report, node, "a policy's name, or a table with `name`");
        return None;
    };
    // Which keys there may be depends on the name, so that one is read first.
    let known = |key: &str| all_options().any(|option| option.name == key);
    let fields = Fields::with(report, table, node.span, &POLICY, known);
    let kind = fields.get(report, "name", named);
    let key = fields.maybe(report, "key", convert::template(FillPhase::Routed));
    let key_entry = fields.entry("key");
    fields.done();
    let kind = kind?;
    let key = key_for(report, node, kind, key_entry, key?);
    let options = options(report, table, kind);
    Some(Policy { kind, key: key?, options: options? })
}

fn named(report: &mut Report, node: &Node) -> Option<PolicyKind> {
    let expected = PolicyKind::all().map(|kind| format!("\"{}\"", kind.name)).collect::<Vec<_>>().join(", ");
    convert::read(report, node, "a policy's name", |text| {
        PolicyKind::named(text).ok_or_else(|| {
            let error = ValueError::new("is not a policy", format!("one of {expected}"));
            match PolicyKind::meant_by(text) {
                Some(near) => error.help(format!("did you mean \"{}\"?", near.name())),
                None => error,
            }
        })
    })
}

/// The key, where the policy wants one: outer `None` is a mistake.
fn key_for(
    report: &mut Report,
    node: &Node,
    kind: PolicyKind,
    entry: Option<&Entry>,
    key: Option<Template>,
) -> Option<Option<Template>> {
    match (kind.needs_key(), entry, key) {
        (false, None, _) => Some(None),
        (false, Some(entry), _) => {
            report.error(entry.key_span, format!("the policy `{}` takes no `key`", kind.name));
            None
        }
        (true, Some(entry), Some(key)) => {
            if key.variables().next().is_none() {
                let error =
                    ValueError::new("is the same for every request", "a text with `{variables}` such as \"{uri}\"");
                convert::wrong(report, &entry.node, error);
                return None;
            }
            Some(Some(key))
        }
        (true, ..) => {
            report.error(node.span, format!("the policy `{}` needs a `key`", kind.name)).help("add key = \"{uri}\"");
            None
        }
    }
}

fn options(report: &mut Report, table: &Table, kind: PolicyKind) -> Option<BTreeMap<Arc<str>, f64>> {
    let mut options = BTreeMap::new();
    let mut whole = true;
    for entry in table.entries.iter().filter(|entry| POLICY.find(&entry.key).is_none()) {
        let Some(option) = kind.info.option(&entry.key) else {
            if all_options().any(|option| option.name == entry.key) {
                report.error(entry.key_span, format!("the policy `{}` has no option `{}`", kind.name, entry.key));
            }
            whole = false;
            continue;
        };
        match number(report, &entry.node, option) {
            Some(value) => {
                options.insert(option.name.into(), value);
            }
            None => whole = false,
        }
    }
    whole.then_some(options)
}

fn number(report: &mut Report, node: &Node, option: &OptionInfo) -> Option<f64> {
    let OptionInfo { min, max, .. } = *option;
    let (number, expected) = match option.unit {
        Unit::Switch => return convert::boolean(report, node).map(|on| f64::from(u8::from(on))),
        Unit::Duration => {
            let duration = convert::duration(report, node, true)?;
            // At most a year: exact in an f64.
            (duration.as_millis() as f64, format!("a duration from \"{min}ms\" to \"{max}ms\""))
        }
        unit => {
            let what = if unit == Unit::Count { "a whole number" } else { "a number" };
            let expected = format!("{what} from {min} to {max}");
            let number = match (&node.value, node.text()) {
                // Beyond 2^53 an f64 is not exact, and the bounds refuse it anyway.
                (Value::Integer(number), _) => *number as f64,
                (Value::Float(number), _) => *number,
                (_, Some(text)) if node.is_from_env() => text.trim().parse().unwrap_or(f64::NAN),
                _ => {
                    convert::mismatch(report, node, expected);
                    return None;
                }
            };
            (number, expected)
        }
    };
    if !(min..=max).contains(&number) || (option.unit == Unit::Count && number.fract() != 0.0) {
        convert::wrong(report, node, ValueError::new("does not fit here", expected));
        return None;
    }
    Some(number)
}

impl Policy {
    fn show(&self, writer: &Writer<'_>) -> Item {
        if self.key.is_none() && self.options.is_empty() {
            return text(self.kind.name());
        }
        let mut all = fields! { "name": text(self.kind.name()) };
        all.extend(self.key.iter().map(|key| ("key".to_owned(), writer.template(key))));
        all.extend(self.options.iter().map(|(name, value)| {
            let item = match self.kind.info.option(name).map(|option| option.unit) {
                // From whole milliseconds, so the way back loses nothing.
                Some(Unit::Duration) => text(&quantity::show_duration(Duration::from_millis(*value as u64))),
                Some(Unit::Switch) => bare(*value != 0.0),
                _ => bare(value),
            };
            (name.to_string(), item)
        }));
        Item::Table(all)
    }
}

/// Our name of a policy that other balancers call so.
fn of_others(name: &str) -> Option<&'static str> {
    Some(match name {
        "roundrobin" | "rr" | "wrr" | "weighted_round_robin" | "static-rr" => "round_robin",
        "leastconn" | "least_conn" | "least_connections" => "least_request",
        "source" | "client_ip" => "ip_hash",
        "random_choose" | "power_of_two" => "p2c",
        "consistent" | "consistent_hash" | "ketama" => "ring_hash",
        "uri" | "hdr" | "cookie" => "hash",
        "hrw" | "uri_hash" | "header" => "rendezvous",
        "ewma" => "peak_ewma",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_message_and_the_page_agree_on_policies() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/migration.md");
        let Ok(page) = std::fs::read_to_string(path) else { return };
        let table = page.split("## Policies").nth(1).unwrap_or_default();
        for row in table.lines().filter(|row| row.starts_with("| `")) {
            let ours = row.split('|').nth(1).unwrap_or_default();
            for theirs in row.split('`').skip(3).step_by(2) {
                if let Some(policy) = of_others(theirs) {
                    assert!(ours.contains(&format!("`{policy}`")), "{theirs} is {policy} by the message: {row}");
                }
            }
        }
    }
}
