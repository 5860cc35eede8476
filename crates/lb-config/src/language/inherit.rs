//! `[defaults.route]` and `[defaults.cluster]`: what is left out is filled in, key by key.
//!
//! Tables are merged down to their single keys; lists and plain values are taken whole or not at all. Some keys are
//! one value although they are written as tables: half of one policy and half of another is neither.

use crate::language::tree::{Entry, Node, Table, Value};

const WHOLE: [&str; 5] = ["auth", "policy", "redirect", "respond", "files"];

/// Adds to `own` what only `defaults` has.
pub(crate) fn inherit(own: &mut Table, defaults: &Table) {
    for default in &defaults.entries {
        let Some(entry) = own.entries.iter_mut().find(|entry| entry.key == default.key) else {
            own.entries.push(inherited(default));
            continue;
        };
        if WHOLE.contains(&default.key.as_str()) {
            continue;
        }
        if default.key == "forwarded" {
            entry.node = spelled_out(&entry.node);
        }
        let default = if default.key == "forwarded" { &spelled_out(&default.node) } else { &default.node };
        if let (Value::Table(own), Value::Table(default)) = (&mut entry.node.value, &default.value) {
            inherit(own, default);
        }
    }
}

fn inherited(entry: &Entry) -> Entry {
    let mut entry = Entry { inherited: true, ..entry.clone() };
    mark(&mut entry.node);
    entry
}

fn mark(node: &mut Node) {
    if let Value::Table(table) = &mut node.value {
        for entry in &mut table.entries {
            entry.inherited = true;
            mark(&mut entry.node);
        }
    }
}

/// `forwarded = "both"` as the table it is short for.
fn spelled_out(node: &Node) -> Node {
    if node.text().is_none() {
        return node.clone();
    }
    let entry = Entry { key: "headers".into(), key_span: node.span, node: node.clone(), inherited: false };
    Node { span: node.span, value: Value::Table(Table { entries: vec![entry] }) }
}
