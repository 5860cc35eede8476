//! Selection policies: the block `policy` of a cluster or a route, with every policy's name, key and options.
//!
//! The balancing crates are not imported here; a test of the proxy, which sees both sides, holds this table against theirs.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;
use std::sync::Arc;
use std::time::Duration;

use crate::language::diagnostic::Report;
use crate::language::suggest::nearest;
use crate::language::template::Template;
use crate::language::tree::{Entry, Node, Table, Value};
use crate::language::values::{Wrong, quantity};
use crate::table::convert::{self, Moment};
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

/// The algorithms.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[allow(missing_docs)]
pub enum PolicyKind {
    RoundRobin,
    StaticStride,
    Orca,
    Random,
    WeightedRandom,
    LeastRequest,
    P2c,
    PeakEwma,
    LeastTime,
    Prequal,
    C3,
    IpHash,
    Hash,
    RingHash,
    Maglev,
    Rendezvous,
    Memento,
    First,
}

/// Whether a policy hashes a text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum KeyUse {
    /// `key` is refused.
    None,
    /// `key` must be there.
    Required,
}

/// A policy.
#[derive(Debug)]
pub(crate) struct PolicyInfo {
    pub(crate) name: &'static str,
    pub(crate) kind: PolicyKind,
    pub(crate) key: KeyUse,
    pub(crate) options: &'static [OptionInfo],
}

/// An option of a policy; left out, the policy does as its meaning says.
#[derive(Debug)]
pub(crate) struct OptionInfo {
    pub(crate) name: &'static str,
    pub(crate) unit: Unit,
    /// Bounds, both included; milliseconds for a duration.
    pub(crate) least: f64,
    pub(crate) most: f64,
    pub(crate) doc: &'static str,
}

/// How an option is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unit {
    /// A whole number.
    Count,
    /// Any number.
    Factor,
    /// A duration; the model holds milliseconds.
    Duration,
    /// `true` or `false`; the model holds 1 or 0.
    Switch,
}

pub(crate) const POLICY: Section = Section {
    keys: &[
        key("name", Kind::Text, Required, "Which algorithm."),
        key("key", Kind::Text, Unset("none"), "What a hashing policy hashes, a text with `{variables}`."),
    ],
    more: option_keys,
    ..Section::new("policy", "`policy`", "A selection policy with its key and its options.")
};

/// The options of all policies as keys.
fn option_keys() -> Vec<Key> {
    let options = POLICIES.iter().flat_map(|policy| policy.options);
    let as_key = |option: &OptionInfo| {
        let kind = match option.unit {
            Unit::Count => Kind::Integer(option.least as i64, option.most as i64),
            Unit::Factor => Kind::Number(option.least, option.most),
            Unit::Switch => Kind::Bool,
            Unit::Duration => Kind::Duration,
        };
        key(option.name, kind, InDoc, option.doc)
    };
    options.map(as_key).collect()
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

pub(crate) const POLICIES: [PolicyInfo; 18] = [
    plain("round_robin", PolicyKind::RoundRobin, &[RANDOM_START]),
    plain("static_stride", PolicyKind::StaticStride, &[RANDOM_START]),
    plain("orca", PolicyKind::Orca, &[RANDOM_START]),
    plain("random", PolicyKind::Random, &[]),
    plain("weighted_random", PolicyKind::WeightedRandom, &[]),
    plain("least_request", PolicyKind::LeastRequest, &[CHOICES]),
    plain("p2c", PolicyKind::P2c, &[]),
    plain("peak_ewma", PolicyKind::PeakEwma, &[DECAY, PENALTY]),
    plain("least_time", PolicyKind::LeastTime, &[PENALTY]),
    plain("prequal", PolicyKind::Prequal, &[QUANTILE, DECAY, PENALTY]),
    plain("c3", PolicyKind::C3, &[DECAY, PENALTY]),
    plain("ip_hash", PolicyKind::IpHash, &[BOUNDED_LOAD]),
    hashing("hash", PolicyKind::Hash, &[BOUNDED_LOAD]),
    hashing("ring_hash", PolicyKind::RingHash, &[BOUNDED_LOAD]),
    hashing("maglev", PolicyKind::Maglev, &[BOUNDED_LOAD]),
    hashing("rendezvous", PolicyKind::Rendezvous, &[BOUNDED_LOAD]),
    hashing("memento", PolicyKind::Memento, &[BOUNDED_LOAD]),
    plain("first", PolicyKind::First, &[]),
];

const RANDOM_START: OptionInfo = OptionInfo {
    name: "random_start",
    unit: Unit::Switch,
    least: 0.0,
    most: 1.0,
    doc: "`round_robin`, `static_stride`, `orca`: begin with any turn instead of the first, so that proxies which start together do not walk in step; left out, the first.",
};
const CHOICES: OptionInfo = OptionInfo {
    name: "choices",
    unit: Unit::Count,
    least: 1.0,
    most: 8.0,
    doc: "`least_request`: look at this many, drawn at random; left out, at all.",
};
const DECAY: OptionInfo = OptionInfo {
    name: "decay",
    unit: Unit::Duration,
    least: 100.0,
    most: 1_000_000.0,
    doc: "`peak_ewma`, `prequal`, `c3`: how fast a latency is forgotten, \"10s\" if left out.",
};
const PENALTY: OptionInfo = OptionInfo {
    name: "penalty",
    unit: Unit::Duration,
    least: 0.0,
    most: 1_000_000.0,
    doc: "`peak_ewma`, `least_time`, `prequal`, `c3`: the latency that a failure counts as, \"5s\" if left out.",
};
const QUANTILE: OptionInfo = OptionInfo {
    name: "quantile",
    unit: Unit::Factor,
    least: 0.0,
    most: 1.0,
    doc: "`prequal`: an endpoint is hot if it has more in flight than this share of the others, 0.84 if left out.",
};
const BOUNDED_LOAD: OptionInfo = OptionInfo {
    name: "bounded_load",
    unit: Unit::Factor,
    least: 1.01,
    most: 100.0,
    doc: "The hashing policies and `ip_hash`: how many times its fair share of the requests in flight an endpoint may have, 1.25 to 2 as a rule; left out, any number.",
};

const fn plain(name: &'static str, kind: PolicyKind, options: &'static [OptionInfo]) -> PolicyInfo {
    PolicyInfo { name, kind, key: KeyUse::None, options }
}

const fn hashing(name: &'static str, kind: PolicyKind, options: &'static [OptionInfo]) -> PolicyInfo {
    PolicyInfo { name, kind, key: KeyUse::Required, options }
}

impl PolicyKind {
    /// Its name in the configuration.
    #[must_use]
    pub fn name(self) -> &'static str {
        POLICIES.iter().find(|policy| policy.kind == self).map_or("", |policy| policy.name)
    }

    /// Whether it hashes a `key`, which must then be written.
    #[must_use]
    pub fn needs_key(self) -> bool {
        POLICIES.iter().any(|policy| policy.kind == self && policy.key == KeyUse::Required)
    }

    /// The options it takes, with the least and the most that each may be; milliseconds for a duration.
    pub fn options(self) -> impl Iterator<Item = (&'static str, RangeInclusive<f64>)> {
        let options = POLICIES.iter().filter(move |policy| policy.kind == self).flat_map(|policy| policy.options);
        options.map(|option| (option.name, option.least..=option.most))
    }

    /// Whether the option is a duration, which the model holds in milliseconds.
    pub(crate) fn is_duration(self, option: &str) -> bool {
        self.unit(option) == Some(Unit::Duration)
    }

    /// Whether the option is `true` or `false`, which the model holds as 1 or 0.
    #[must_use]
    pub fn is_switch(self, option: &str) -> bool {
        self.unit(option) == Some(Unit::Switch)
    }

    fn unit(self, option: &str) -> Option<Unit> {
        let mut options = POLICIES.iter().filter(|policy| policy.kind == self).flat_map(|policy| policy.options);
        options.find(|known| known.name == option).map(|known| known.unit)
    }

    /// Every policy.
    pub fn all() -> impl Iterator<Item = Self> {
        POLICIES.iter().map(|policy| policy.kind)
    }
}

/// `"name"`, or a table of name, key and options.
fn policy(report: &mut Report, node: &Node) -> Option<Policy> {
    if node.text().is_some() {
        let info = named(report, node)?;
        if info.key == KeyUse::Required {
            let help = format!("write {{ name = \"{}\", key = \"{{uri}}\" }}", info.name);
            report.error(node.span, format!("the policy `{}` needs a `key`", info.name)).help(help);
            return None;
        }
        return Some(Policy { kind: info.kind, key: None, options: BTreeMap::new() });
    }
    let Some(table) = node.table() else {
        convert::mismatch(report, node, "a policy's name, or a table with `name`");
        return None;
    };
    // Which keys there may be depends on the name, so that one is read first.
    let known = |key: &str| POLICIES.iter().flat_map(|policy| policy.options).any(|option| option.name == key);
    let fields = Fields::with(report, table, node.span, &POLICY, known);
    let info = fields.get(report, "name", named);
    let key = fields.maybe(report, "key", convert::template(Moment::Routed));
    let key_entry = fields.entry("key");
    fields.done();
    let info = info?;
    let key = key_for(report, node, info, key_entry, key?);
    let options = options(report, table, info);
    Some(Policy { kind: info.kind, key: key?, options: options? })
}

fn named(report: &mut Report, node: &Node) -> Option<&'static PolicyInfo> {
    let names = || POLICIES.iter().map(|policy| policy.name);
    let expected = names().map(|name| format!("\"{name}\"")).collect::<Vec<_>>().join(", ");
    convert::read(report, node, "a policy's name", |text| {
        POLICIES.iter().find(|policy| policy.name == text).ok_or_else(|| {
            let error = Wrong::new("is not a policy", format!("one of {expected}"));
            match PolicyKind::meant_by(text) {
                Some(near) => error.help(format!("did you mean \"{}\"?", near.name())),
                None => error,
            }
        })
    })
}

impl PolicyKind {
    /// The policy that a name was probably meant to be: the nearest, or what other balancers call so.
    #[must_use]
    pub fn meant_by(name: &str) -> Option<Self> {
        let near = nearest(name, POLICIES.iter().map(|policy| policy.name)).or_else(|| of_others(name))?;
        POLICIES.iter().find(|policy| policy.name == near).map(|policy| policy.kind)
    }
}

/// The key, where the policy wants one: outer `None` is a mistake.
fn key_for(
    report: &mut Report,
    node: &Node,
    info: &PolicyInfo,
    entry: Option<&Entry>,
    key: Option<Template>,
) -> Option<Option<Template>> {
    match (info.key, entry, key) {
        (KeyUse::None, None, _) => Some(None),
        (KeyUse::None, Some(entry), _) => {
            report.error(entry.key_span, format!("the policy `{}` takes no `key`", info.name));
            None
        }
        (KeyUse::Required, Some(entry), Some(key)) => {
            if key.variables().next().is_none() {
                let error = Wrong::new("is the same for every request", "a text with `{variables}` such as \"{uri}\"");
                convert::wrong(report, &entry.node, error);
                return None;
            }
            Some(Some(key))
        }
        (KeyUse::Required, ..) => {
            report.error(node.span, format!("the policy `{}` needs a `key`", info.name)).help("add key = \"{uri}\"");
            None
        }
    }
}

fn options(report: &mut Report, table: &Table, info: &PolicyInfo) -> Option<BTreeMap<Arc<str>, f64>> {
    let mut options = BTreeMap::new();
    let mut whole = true;
    for entry in table.entries.iter().filter(|entry| POLICY.find(&entry.key).is_none()) {
        let Some(option) = info.options.iter().find(|option| option.name == entry.key) else {
            if POLICIES.iter().flat_map(|policy| policy.options).any(|option| option.name == entry.key) {
                report.error(entry.key_span, format!("the policy `{}` has no option `{}`", info.name, entry.key));
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
    let OptionInfo { least, most, .. } = *option;
    let (number, expected) = match option.unit {
        Unit::Switch => return convert::boolean(report, node).map(|on| f64::from(u8::from(on))),
        Unit::Duration => {
            let duration = convert::duration(report, node, true)?;
            // At most a year: exact in an f64.
            (duration.as_millis() as f64, format!("a duration from \"{least}ms\" to \"{most}ms\""))
        }
        unit => {
            let what = if unit == Unit::Count { "a whole number" } else { "a number" };
            let expected = format!("{what} from {least} to {most}");
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
    if !(least..=most).contains(&number) || (option.unit == Unit::Count && number.fract() != 0.0) {
        convert::wrong(report, node, Wrong::new("does not fit here", expected));
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
            // Durations come from whole milliseconds, so the way back loses nothing.
            let item = if self.kind.is_duration(name) {
                text(&quantity::show_duration(Duration::from_millis(*value as u64)))
            } else if self.kind.is_switch(name) {
                bare(*value != 0.0)
            } else {
                bare(value)
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
