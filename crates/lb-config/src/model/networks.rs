//! `[networks]`, and lists of networks wherever a key takes one.
//!
//! A list is resolved when it is read: names and files become the networks that they stand for, so that nothing behind the
//! configuration knows of them. A reload reads the files again.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::Path;
use std::sync::Arc;

use crate::language::diagnostic::{self, Report};
use crate::language::suggest::nearest;
use crate::language::tree::{Entry, Node, Table, Value};
use crate::language::values::ValueError;
use crate::language::values::address::{self, Network};
use crate::table::convert;
use crate::table::fields::Fields;
use crate::table::form::{FilePath, Form, word};
use crate::table::item::{Item, Writer, texts};
use crate::table::section::Default::Required;
use crate::table::section::{Kind, Section, key};

const FILE: Section = Section {
    keys: &[key(
        "file",
        Kind::Text,
        Required,
        "Networks, one a line; `#` begins a comment. Read again by each reload.",
    )],
    ..Section::new(
        "network_file",
        "a file of networks",
        "A file of networks, in place of a list of them or within one. A path is relative to the configuration file.",
    )
    .example("{ file = \"list.txt\" }")
};

const EXPECTED: &str =
    "a list of networks such as [\"10.0.0.0/8\", \"private\"], of names of `networks`, or { file = \"list.txt\" }";

const KIND: Kind = Kind::Any(&[Kind::List(&Kind::Any(&[Kind::Text, Kind::Table(&FILE)])), Kind::Table(&FILE)]);

word! {
    /// `"any"`.
    Anyone = "any";
}

/// A list of networks, names of networks and files.
pub(crate) struct NetworkList;

impl Form for NetworkList {
    type Value = Vec<Network>;
    const KIND: Kind = KIND;

    fn read(report: &mut Report, node: &Node) -> Option<Vec<Network>> {
        list(report, node, &mut |report, node, name| named(report, node, name))
    }

    fn show(networks: &Vec<Network>, _: &Writer<'_>) -> Option<Item> {
        Some(texts(networks.iter().map(ToString::to_string)))
    }
}

/// Names for networks. What is read goes to the report, where lists find it.
pub(crate) struct NamedNetworks;

impl Form for NamedNetworks {
    type Value = Vec<(Arc<str>, Vec<Network>)>;
    const KIND: Kind = Kind::Map(&KIND);

    fn read(report: &mut Report, node: &Node) -> Option<Self::Value> {
        let Some(table) = node.table() else {
            convert::mismatch(report, node, "a table such as { office = [\"203.0.113.0/24\"] }");
            return None;
        };
        let mut all =
            Definitions { entries: &table.entries, done: table.entries.iter().map(|_| State::Unread).collect() };
        (0..table.entries.len()).for_each(|at| all.read(report, at));
        let done = all.done.into_iter().map(|state| if let State::Read(networks) = state { networks } else { None });
        let named: Vec<diagnostic::NamedNetworks> =
            table.entries.iter().map(|entry| Arc::from(entry.key.as_str())).zip(done).collect();
        let all = named.iter().map(|(name, networks)| Some((Arc::clone(name), networks.as_ref()?.to_vec()))).collect();
        report.set_networks(named);
        all
    }

    fn show(all: &Self::Value, writer: &Writer<'_>) -> Option<Item> {
        let shown = |(name, networks): &(Arc<str>, Vec<Network>)| {
            Some((name.to_string(), NetworkList::show(networks, writer)?))
        };
        Some(Item::Table(all.iter().filter_map(shown).collect()))
    }
}

/// The entries of `[networks]`, each read once, whatever names it before.
struct Definitions<'t> {
    entries: &'t [Entry],
    done: Vec<State>,
}

enum State {
    Unread,
    Reading,
    /// `None` was reported.
    Read(Option<Arc<[Network]>>),
}

impl Definitions<'_> {
    fn read(&mut self, report: &mut Report, at: usize) {
        if !matches!(self.done.get(at), Some(State::Unread)) {
            return;
        }
        self.done[at] = State::Reading;
        let entry = &self.entries[at];
        let networks = if is_free(report, entry) {
            list(report, &entry.node, &mut |report, node, name| self.named(report, node, name))
        } else {
            None
        };
        self.done[at] = State::Read(networks.map(Arc::from));
    }

    /// The networks of a name within another one's.
    fn named(&mut self, report: &mut Report, node: &Node, name: &str) -> Option<Vec<Network>> {
        let Some(at) = self.entries.iter().position(|entry| entry.key == name) else {
            return unknown(report, node, self.entries.iter().map(|entry| entry.key.as_str()));
        };
        self.read(report, at);
        match &self.done[at] {
            State::Read(networks) => networks.as_ref().map(|networks| networks.to_vec()),
            State::Unread | State::Reading => {
                report.error(node.span, format!("`{}` contains itself", name.escape_debug()));
                None
            }
        }
    }
}

/// Whether a name can be one: others would hide what they are written like.
fn is_free(report: &mut Report, entry: &Entry) -> bool {
    let name = entry.key.as_str();
    let wrong = match name {
        _ if built_in(name).is_some() => "is built in and cannot be another network",
        "any" => "stands for every network and cannot be another one",
        _ if address::network(name).is_ok() => "is a network and cannot be the name of one",
        _ if convert::checked_name(name).is_err() => "is not a name",
        _ => return true,
    };
    report
        .error(entry.key_span, format!("`{}` {wrong}", name.escape_debug()))
        .expected("a name of your own, such as `office`");
    false
}

/// How the networks of a name are found.
type Lookup<'a> = &'a mut dyn FnMut(&mut Report, &Node, &str) -> Option<Vec<Network>>;

/// A list, or a file in its place.
fn list(report: &mut Report, node: &Node, lookup: Lookup<'_>) -> Option<Vec<Network>> {
    match &node.value {
        Value::List(items) => {
            let read: Vec<_> = items.iter().map(|item| one(report, item, lookup)).collect();
            Some(read.into_iter().collect::<Option<Vec<_>>>()?.concat())
        }
        Value::Table(_) => file(report, node),
        _ => {
            convert::mismatch(report, node, EXPECTED);
            if let (Some(text), false) = (node.text(), node.is_from_env()) {
                report.help_at(node.span, format!("write [\"{text}\"]"));
            }
            None
        }
    }
}

/// An element of a list.
fn one(report: &mut Report, node: &Node, lookup: Lookup<'_>) -> Option<Vec<Network>> {
    let Some(text) = node.text() else {
        if let Value::Table(_) = node.value {
            return file(report, node);
        }
        convert::mismatch(report, node, address::NETWORK);
        return None;
    };
    if let Some(networks) = built_in(text) {
        return Some(networks);
    }
    match address::network(text) {
        Ok(network) => Some(vec![network]),
        // What begins like an address was meant to be one.
        Err(error) if text.contains(['/', ':', '.']) || text.is_empty() => {
            convert::wrong(report, node, error);
            None
        }
        Err(_) => lookup(report, node, text),
    }
}

/// The networks of a name of `[networks]`.
fn named(report: &mut Report, node: &Node, name: &str) -> Option<Vec<Network>> {
    let all = report.networks();
    match all.iter().find(|(known, _)| **known == *name) {
        Some((_, networks)) => networks.as_ref().map(|networks| networks.to_vec()),
        None => unknown(report, node, all.iter().map(|(name, _)| &**name)),
    }
}

fn unknown<'n, T>(report: &mut Report, node: &Node, known: impl Iterator<Item = &'n str>) -> Option<T> {
    let error = ValueError::new("is neither a network nor the name of one", address::NETWORK);
    let near = node.text().and_then(|text| nearest(text, known.chain(BUILT_IN)));
    convert::wrong(
        report,
        node,
        match near {
            Some(near) => error.help(format!("did you mean \"{near}\"?")),
            None => error,
        },
    );
    None
}

const BUILT_IN: [&str; 2] = ["private", "loopback"];

/// Networks that have a name without being given one.
fn built_in(name: &str) -> Option<Vec<Network>> {
    let v4 = |a, b, prefix| Network { address: IpAddr::V4(Ipv4Addr::new(a, b, 0, 0)), prefix };
    let v6 = |first, prefix| Network { address: IpAddr::V6(Ipv6Addr::new(first, 0, 0, 0, 0, 0, 0, 0)), prefix };
    match name {
        // RFC 1918, RFC 6598 (carriers' NAT), RFC 3927 and RFC 4291 (link-local), RFC 4193 (unique local).
        "private" => Some(vec![
            v4(10, 0, 8),
            v4(172, 16, 12),
            v4(192, 168, 16),
            v4(100, 64, 10),
            v4(169, 254, 16),
            v6(0xfe80, 10),
            v6(0xfc00, 7),
        ]),
        "loopback" => Some(vec![v4(127, 0, 8), Network { address: IpAddr::V6(Ipv6Addr::LOCALHOST), prefix: 128 }]),
        _ => None,
    }
}

/// The networks of a file, which was read before.
fn file(report: &mut Report, node: &Node) -> Option<Vec<Network>> {
    let fields = Fields::open(report, node, &FILE)?;
    let path = fields.get(report, "file", FilePath::read);
    let span = fields.value_span("file");
    fields.done();
    let path = path?;
    let text = match report.text_of(&path) {
        Some(Ok(text)) => text,
        Some(Err(error)) => {
            report.error(span, format!("cannot read {}: {error}", path.display()));
            return None;
        }
        None => {
            report.error(span, format!("cannot read {}: there is no directory to read from", path.display()));
            return None;
        }
    };
    match lines(&text) {
        Ok(networks) => Some(networks),
        Err((line, error)) => {
            let at = format!("line {line} of {}", path.display());
            report.error(span, format!("{at} {}", error.what)).expected(error.expected);
            None
        }
    }
}

/// A network a line; which line is none. A file is data, not configuration: it has no names.
fn lines(text: &str) -> Result<Vec<Network>, (usize, ValueError)> {
    let written = text.strip_prefix('\u{feff}').unwrap_or(text).lines().enumerate();
    let networks = written.filter_map(|(at, line)| {
        let line = line.split('#').next().unwrap_or_default().trim();
        (!line.is_empty()).then(|| address::network(line).map_err(|error| (at + 1, error)))
    });
    networks.collect()
}

/// The files that may be lists of networks: the text of each is needed before the keys are read.
pub(crate) fn files(table: &Table) -> Vec<(&Path, usize)> {
    let mut found = Vec::new();
    let mut nodes: Vec<&Node> = table.entries.iter().map(|entry| &entry.node).collect();
    while let Some(node) = nodes.pop() {
        match &node.value {
            Value::List(list) => nodes.extend(list),
            Value::Table(Table { entries }) => match entries.as_slice() {
                [only] if only.key == "file" => {
                    found.extend(only.node.text().map(|path| (Path::new(path), only.node.span.file)));
                }
                entries => nodes.extend(entries.iter().map(|entry| &entry.node)),
            },
            _ => {}
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_has_a_network_a_line() {
        let networks = lines("\u{feff}# office\n10.0.0.0/8\r\n\n  ::1 # this machine\n").unwrap();
        assert_eq!(networks.iter().map(ToString::to_string).collect::<Vec<_>>(), ["10.0.0.0/8", "::1"]);
        assert_eq!(lines("10.0.0.0/8\n# no\n10.0.0.0/33\n").unwrap_err().0, 3);
        assert_eq!(lines("private").unwrap_err().0, 1, "a file has no names");
        assert!(lines("").unwrap().is_empty());
    }
}
