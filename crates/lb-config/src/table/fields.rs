//! Reading one table: unknown keys, reserved keys, missing keys and defaults, all from the key table.

use std::cell::RefCell;

use crate::language::diagnostic::Report;
use crate::language::source::Span;
use crate::language::suggest::nearest;
use crate::language::tree::{Entry, Node, Table};
use crate::language::values::http::is_token;
use crate::table::section::{Default, Key, Section};
use crate::table::vocabulary::{self, ALIASES};

use crate::table::convert;

/// A table being read.
///
/// Every key of the section must be asked for before [`done`](Self::done): a key that the table lists and the decoder
/// forgets fails the first test that reads such a table.
pub(crate) struct Fields<'t> {
    section: &'static Section,
    table: &'t Table,
    pub(crate) span: Span,
    asked: RefCell<Vec<&'static str>>,
}

impl<'t> Fields<'t> {
    /// Begins to read; whatever does not belong is reported here.
    pub(crate) fn open(report: &mut Report, node: &'t Node, section: &'static Section) -> Option<Self> {
        let Some(table) = node.table() else {
            convert::mismatch(report, node, format!("a table with the keys {}", section.list()));
            if let Some(example) = section.example {
                report.help_at(node.span, format!("write {example}"));
            }
            return None;
        };
        Some(Self::of(report, table, node.span, section))
    }

    /// As [`open`](Self::open), for what is known to be a table.
    pub(crate) fn of(report: &mut Report, table: &'t Table, span: Span, section: &'static Section) -> Self {
        Self::with(report, table, span, section, |_| false)
    }

    /// As [`of`](Self::of); unknown keys for which `open_key` holds are left to the caller.
    pub(crate) fn with(
        report: &mut Report,
        table: &'t Table,
        span: Span,
        section: &'static Section,
        open_key: impl Fn(&str) -> bool,
    ) -> Self {
        for entry in table.entries.iter().filter(|entry| !open_key(&entry.key)) {
            match section.find(&entry.key) {
                None => unknown_key(report, entry, section),
                Some(Key { name, default: Default::NotBuilt(until), .. }) => {
                    let message = format!("`{name}` in {} is not built yet", section.title);
                    report.error(entry.key_span, message).help(*until);
                }
                Some(_) => {}
            }
        }
        Self { section, table, span, asked: RefCell::default() }
    }

    /// The entry as written, if it was.
    pub(crate) fn entry(&self, name: &'static str) -> Option<&'t Entry> {
        self.key(name);
        self.table.find(name)
    }

    /// Whether an unknown key was probably meant to be this one, and has been complained about already.
    pub(crate) fn is_meant(&self, name: &str) -> bool {
        let unknown = self.table.entries.iter().filter(|entry| self.section.find(&entry.key).is_none());
        unknown.into_iter().any(|entry| match meant(&entry.key, self.section) {
            Some(Meant::Alias(ours) | Meant::Near(ours)) => ours == name,
            _ => false,
        })
    }

    /// The value, or the default; reports a key that may not be left out.
    pub(crate) fn get<T>(
        &self,
        report: &mut Report,
        name: &'static str,
        convert: impl FnOnce(&mut Report, &Node) -> Option<T>,
    ) -> Option<T> {
        let default = self.key(name)?.default;
        match (self.table.find(name), default) {
            (Some(entry), _) => convert(report, &entry.node),
            (None, Default::Value(literal)) => convert(report, &Node::literal(literal)),
            (None, _) => {
                if !self.is_meant(name) {
                    let doc = self.key(name)?.doc;
                    report.error(self.span, format!("{} has no `{name}`", self.section.title)).help(doc);
                }
                None
            }
        }
    }

    /// The value if there is one: `Some(None)` where it was left out, `None` where it is wrong.
    pub(crate) fn maybe<T>(
        &self,
        report: &mut Report,
        name: &'static str,
        convert: impl FnOnce(&mut Report, &Node) -> Option<T>,
    ) -> Option<Option<T>> {
        match self.entry(name) {
            Some(entry) => convert(report, &entry.node).map(Some),
            None => Some(None),
        }
    }

    /// Where the value of a key was written, or else the table.
    pub(crate) fn value_span(&self, name: &'static str) -> Span {
        self.entry(name).map_or(self.span, |entry| entry.node.span)
    }

    /// Checks that no key was forgotten.
    pub(crate) fn done(self) {
        let asked = self.asked.borrow();
        debug_assert!(
            self.section.built().all(|key| asked.contains(&key.name)),
            "{}: listed in the key table but never read: {:?}",
            self.section.title,
            self.section.built().map(|key| key.name).filter(|name| !asked.contains(name)).collect::<Vec<_>>()
        );
    }

    fn key(&self, name: &'static str) -> Option<&'static Key> {
        self.asked.borrow_mut().push(name);
        let key = self.section.find(name);
        debug_assert!(key.is_some(), "{}: `{name}` is read but not in the key table", self.section.title);
        key
    }
}

fn unknown_key(report: &mut Report, entry: &Entry, section: &'static Section) {
    let name = &entry.key;
    // A misspelt `secret` is one all the same.
    report.hide_strings(Span { end: entry.node.span.end.max(entry.key_span.end), ..entry.key_span }, entry.key_span);
    let help = match meant(name, section) {
        Some(Meant::Alias(ours) | Meant::Near(ours)) => Some(format!("did you mean `{ours}`?")),
        Some(Meant::Word(help)) => Some(help.to_owned()),
        None if matches!(section.name, "headers" | "header_edits") && is_token(name) && !is_alias(name) => {
            Some(format!("write headers.response.set = {{ {name} = \"…\" }}, or headers.request.set"))
        }
        None => report.elsewhere(name),
    };
    let problem = report.error(entry.key_span, format!("unknown key `{}` in {}", name.escape_debug(), section.title));
    problem.expected(format!("one of {}", section.list()));
    if let Some(help) = help {
        problem.help(help);
    }
}

fn is_alias(name: &str) -> bool {
    ALIASES.iter().any(|(theirs, _)| *theirs == name)
}

/// What an unknown key was probably meant to be.
enum Meant {
    /// What another product calls this key of ours.
    Alias(&'static str),
    /// A key of another product, and its help.
    Word(&'static str),
    /// A slip in this key.
    Near(&'static str),
}

fn meant(name: &str, section: &'static Section) -> Option<Meant> {
    let alias = ALIASES.iter().find(|(theirs, ours)| *theirs == name && section.find(ours).is_some());
    if let Some((_, ours)) = alias {
        return Some(Meant::Alias(ours));
    }
    if let Some(help) = vocabulary::ours(name) {
        return Some(Meant::Word(help));
    }
    nearest(name, section.built().map(|key| key.name)).map(Meant::Near)
}
