//! Selection policies with their keys and options.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::keys::{KeyUse, OptionInfo, POLICIES, POLICY, PolicyInfo, Unit};
use crate::language::diagnostic::Report;
use crate::language::suggest::nearest;
use crate::language::tree::{Entry, Node, Table, Value};
use crate::language::values::Wrong;
use crate::language::vocabulary;
use crate::valid::{Policy, PolicyKind};

use crate::table::convert::{self, Moment};
use crate::table::fields::Fields;

/// `"name"`, or a table of name, key and options.
pub(crate) fn policy(report: &mut Report, node: &Node) -> Option<Policy> {
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
        let near = nearest(name, POLICIES.iter().map(|policy| policy.name)).or_else(|| vocabulary::policy(name))?;
        POLICIES.iter().find(|policy| policy.name == near).map(|policy| policy.kind)
    }
}

/// The key, where the policy wants one: outer `None` is a mistake.
fn key_for(
    report: &mut Report,
    node: &Node,
    info: &PolicyInfo,
    entry: Option<&Entry>,
    key: Option<crate::valid::Template>,
) -> Option<Option<crate::valid::Template>> {
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
