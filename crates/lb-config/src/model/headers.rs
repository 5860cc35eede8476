//! `headers`: edits of headers.

use std::sync::Arc;

use crate::language::diagnostic::Report;
use crate::language::env;
use crate::language::source::Span;
use crate::language::template::{Part, Template, Variable};
use crate::language::tree::{self, Entry, Node};
use crate::language::values::{ValueError, http};
use crate::table::block::{Block, Table, block};
use crate::table::convert::{self, FillPhase, list};
use crate::table::fields::Fields;
use crate::table::form::{List, form};
use crate::table::item::{Item, Items, Leaf, Writer, text};
use crate::table::section::Default::Value;
use crate::table::section::{Kind, Section};

block! {
    /// Edits of headers.
    #[derive(Clone, Debug, PartialEq, Eq, Default)]
    pub struct Headers =
        Section::new("headers", "`headers`", "Edits of headers.")
            .example("headers.response.set = { X-Frame-Options = \"DENY\" }");
    request: HeaderEdits => Table<HeaderEdits>, Value("{}"), "On the way to the endpoint.";
    response: HeaderEdits => Table<HeaderEdits>, Value("{}"), "On the way to the client, on lbproxy's own answers too.";
}

impl Block for Headers {
    fn check_keys(report: &mut Report, fields: &Fields<'_>) -> Option<()> {
        let nodes = ["request", "response"].into_iter().filter_map(|key| fields.entry(key));
        hide_values(report, nodes.map(|entry| &entry.node));
        Some(())
    }
}

/// Hides the values of these edits if one of them has a variable that does not exist: its message shows the line, and what is sent to
/// an endpoint may be a token or a password. Only what is wrong stays visible.
pub(crate) fn hide_values<'t>(report: &mut Report, nodes: impl Iterator<Item = &'t Node>) {
    let mut values = Vec::new();
    nodes.for_each(|node| collect_values(node, &mut values));
    let wrong = |node: &&Node| node.text().and_then(|text| Template::parse(text).err()).unwrap_or_default();
    if values.iter().all(|node| wrong(node).is_empty()) {
        return;
    }
    for node in values {
        let shown = match &node.value {
            tree::Value::Text { written: Some(written), .. } => env::references(written),
            _ => wrong(&node).into_iter().map(|error| error.piece).collect(),
        };
        report.hide_value(node.span, shown);
    }
}

fn collect_values<'t>(node: &'t Node, values: &mut Vec<&'t Node>) {
    match &node.value {
        tree::Value::Table(table) => {
            let edits = table.entries.iter().filter(|entry| entry.key != "remove");
            edits.for_each(|entry| collect_values(&entry.node, values));
        }
        tree::Value::List(items) => items.iter().for_each(|item| collect_values(item, values)),
        _ => values.push(node),
    }
}

block! {
    /// Edits of headers, applied in the order remove, set, add.
    #[derive(Clone, Debug, PartialEq, Eq, Default)]
    pub struct HeaderEdits =
        Section::new(
            "header_edits",
            "header edits",
            "Edits of headers, made in the order remove, set, add. `{variables}` in values are filled in.",
        )
        .example("headers.response.set = { X-Frame-Options = \"DENY\" }");
    /// Lower case.
    remove: Vec<Arc<str>> => List<Removed>, Value("[]"), "Names to remove.";
    set: Vec<(Arc<str>, Template)> => Set, Value("{}"), "Names with their only value.";
    add: Vec<(Arc<str>, Template)> => Add, Value("{}"), "Names with a further value, or a list of values.";
}

impl Block for HeaderEdits {}

form! {
    /// The name of a header that may be removed.
    Removed: Arc<str> = Kind::Text;
    read: removed,
    show: |name, _| text(name),
}

form! {
    /// One value a name.
    Set: Vec<(Arc<str>, Template)> = Kind::Map(&Kind::Text);
    read: set,
    show: |edits, writer| {
        Item::Table(edits.iter().map(|(name, value)| (name.to_string(), writer.template(value))).collect())
    },
}

form! {
    /// One value a name, or a list of them.
    Add: Vec<(Arc<str>, Template)> = Kind::Map(&Kind::Any(&[Kind::Text, Kind::List(&Kind::Text)]));
    read: add,
    show: |edits, writer| Item::Table(added(edits, writer)),
}

const TABLE: &str = "a table of header names and values";

fn set(report: &mut Report, node: &Node) -> Option<Vec<(Arc<str>, Template)>> {
    let mut seen = Vec::new();
    convert::map(report, node, TABLE, |report, entry| {
        let name = header_name_once(report, entry, &mut seen);
        let value = header_template(FillPhase::Sent)(report, &entry.node);
        let name = name?;
        may_edit(report, entry, &name)?;
        may_lead(report, &entry.node, &name, value.as_ref())?;
        Some((name, value?))
    })
}

fn add(report: &mut Report, node: &Node) -> Option<Vec<(Arc<str>, Template)>> {
    let mut seen = Vec::new();
    let added = convert::map(report, node, TABLE, |report, entry| {
        let name = header_name_once(report, entry, &mut seen);
        let values = match &entry.node.value {
            tree::Value::List(_) => list(header_template(FillPhase::Sent))(report, &entry.node),
            _ => header_template(FillPhase::Sent)(report, &entry.node).map(|value| vec![value]),
        };
        let name = name?;
        may_edit(report, entry, &name)?;
        if name.eq_ignore_ascii_case("host") {
            report.error(entry.key_span, "a request has one `Host`").help("put it under `set`");
            return None;
        }
        let nodes =
            if let tree::Value::List(items) = &entry.node.value { items } else { std::slice::from_ref(&entry.node) };
        for (node, value) in nodes.iter().zip(values.iter().flatten()) {
            may_lead(report, node, &name, Some(value))?;
        }
        Some(values?.into_iter().map(|value| (Arc::clone(&name), value)).collect::<Vec<_>>())
    });
    Some(added?.into_iter().flatten().collect())
}

/// One entry a name, with a list where there are several values.
fn added(add: &[(Arc<str>, Template)], writer: &Writer<'_>) -> Items {
    let mut all: Vec<(String, Vec<Leaf>)> = Vec::new();
    for (name, value) in add {
        let Item::Leaf(leaf) = writer.template(value) else { continue };
        match all.iter_mut().find(|(known, _)| known == &**name) {
            Some((_, leaves)) => leaves.push(leaf),
            None => all.push((name.to_string(), vec![leaf])),
        }
    }
    let joined = |(name, leaves): (String, Vec<Leaf>)| {
        let toml: Vec<&str> = leaves.iter().map(|leaf| leaf.toml.as_str()).collect();
        let value: Vec<&str> = leaves.iter().map(|leaf| leaf.value.as_str()).collect();
        let leaf = Leaf { toml: format!("[{}]", toml.join(", ")), value: value.join("\n"), quiet: true };
        (name, Item::Leaf(leaf))
    };
    all.into_iter().map(joined).collect()
}

fn removed(report: &mut Report, node: &Node) -> Option<Arc<str>> {
    let name = convert::read(report, node, "a header name", http::header_name)?;
    if is_framing(&name) || name.eq_ignore_ascii_case("host") {
        report.error(node.span, format!("`{name}` cannot be removed: it is lbproxy's own on either side"));
        return None;
    }
    Some(name.to_ascii_lowercase().into())
}

/// Headers that belong to one connection or frame the message (RFC 9110 §7.6.1, RFC 9112 §6). Editing them would make
/// two readers of one message disagree about where it ends.
pub(crate) fn is_framing(name: &str) -> bool {
    const FRAMING: [&str; 9] = [
        "connection",
        "content-length",
        "keep-alive",
        "proxy-connection",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
        "expect",
    ];
    FRAMING.iter().any(|known| known.eq_ignore_ascii_case(name))
}

pub(crate) fn may_edit(report: &mut Report, entry: &Entry, name: &str) -> Option<()> {
    if is_framing(name) {
        report.error(entry.key_span, format!("`{name}` cannot be set: it is lbproxy's own on either side"));
        return None;
    }
    Some(())
}

/// Whether a text with variables begins with the operator's own words, or a scheme that is one. Anything else would let a
/// client choose where it leads, or what it is: `javascript:…` is a URL, and so is nothing at all.
pub(crate) fn leads_somewhere(report: &mut Report, node: &Node, template: &Template) -> bool {
    let rest = match template.parts.as_slice() {
        [] | [Part::Text(_), ..] => return true,
        [Part::Variable(Variable::Scheme), rest @ ..] => rest,
        _ => &[],
    };
    if matches!(rest, [Part::Text(text), ..] if text.starts_with("://")) {
        return true;
    }
    let what = "begins with what a client may choose, `javascript:` or nothing included";
    let wrong = ValueError::new(what, "a text that begins with a path, a scheme or `{scheme}://`");
    convert::wrong(report, node, wrong.help("write \"{scheme}://{host}…\" for a URL, \"/…\" for a path"));
    false
}

/// A `Location` is a redirect, wherever it is written.
pub(crate) fn may_lead(report: &mut Report, node: &Node, name: &str, value: Option<&Template>) -> Option<()> {
    let Some(value) = value.filter(|_| name.eq_ignore_ascii_case("location")) else { return Some(()) };
    leads_somewhere(report, node, value).then_some(())
}

/// A header's name as a key, each once whatever its capitals.
pub(crate) fn header_name_once(
    report: &mut Report,
    entry: &Entry,
    seen: &mut Vec<(Arc<str>, Span)>,
) -> Option<Arc<str>> {
    let name = match http::header_name(&entry.key) {
        Ok(name) => name,
        Err(error) => {
            let problem = report.error(entry.key_span, format!("`{}` {}", entry.key.escape_debug(), error.what));
            problem.expected(error.expected);
            if let Some(help) = error.help {
                problem.help(help);
            }
            return None;
        }
    };
    if let Some((_, first)) = seen.iter().find(|(known, _)| known.eq_ignore_ascii_case(&name)) {
        report.error(entry.key_span, format!("the header `{name}` is named twice")).related("first here", *first);
        return None;
    }
    seen.push((Arc::clone(&name), entry.key_span));
    Some(name)
}

/// A header's value with variables.
pub(crate) fn header_template(phase: FillPhase) -> impl Fn(&mut Report, &Node) -> Option<Template> {
    move |report, node| {
        convert::read(report, node, "a header's value", http::header_value)?;
        convert::template(phase)(report, node)
    }
}
