//! What was written: a tree of values, each with its place.
//!
//! The tree keeps tables in the order of the file, remembers which strings the environment filled, and which entries
//! were inherited. It knows no keys; the decoder does.

use std::collections::BTreeMap;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use crate::language::diagnostic::Report;
use crate::language::env;
use crate::language::foreign::{self, Language};
use crate::language::secrecy;
use crate::language::source::{Sources, Span, Substituted};

/// A value and its place.
#[derive(Clone, Debug)]
pub(crate) struct Node {
    pub(crate) span: Span,
    pub(crate) value: Value,
}

/// What a value is.
#[derive(Clone, Debug)]
pub(crate) enum Value {
    /// A string after substitution; `written` is what stood there if the environment took part.
    Text {
        text: String,
        written: Option<String>,
    },
    Integer(i64),
    Float(f64),
    Bool(bool),
    /// A date, or a number that no machine word holds.
    Other(&'static str),
    /// Already reported; no further problem is reported for it.
    Broken,
    List(Vec<Node>),
    Table(Table),
}

/// A table in the order of the file.
#[derive(Clone, Debug, Default)]
pub(crate) struct Table {
    pub(crate) entries: Vec<Entry>,
}

/// One entry of a table.
#[derive(Clone, Debug)]
pub(crate) struct Entry {
    pub(crate) key: String,
    pub(crate) key_span: Span,
    pub(crate) node: Node,
    /// Whether it came from `[defaults]`.
    pub(crate) inherited: bool,
}

impl Table {
    pub(crate) fn find(&self, key: &str) -> Option<&Entry> {
        self.entries.iter().find(|entry| entry.key == key)
    }

    pub(crate) fn take(&mut self, key: &str) -> Option<Entry> {
        let at = self.entries.iter().position(|entry| entry.key == key)?;
        Some(self.entries.remove(at))
    }
}

impl Node {
    /// A value that stands in no file.
    pub(crate) fn made(value: Value) -> Self {
        Self { span: Span::NOWHERE, value }
    }

    /// A text that stands in no file.
    pub(crate) fn made_text(text: &str) -> Self {
        Self::made(Value::Text { text: text.into(), written: None })
    }

    /// A default, from its TOML literal. What is not TOML becomes an empty table, which no scalar key accepts.
    pub(crate) fn literal(literal: &'static str) -> Self {
        match DeValue::parse(literal) {
            Ok(value) => Builder::new(usize::MAX, &mut |_| None, &mut Sources::default(), &mut Report::unread())
                .node(value.into_inner(), 0..0),
            Err(_) => Self::made(Value::Table(Table::default())),
        }
    }

    pub(crate) fn text(&self) -> Option<&str> {
        match &self.value {
            Value::Text { text, .. } => Some(text),
            _ => None,
        }
    }

    pub(crate) fn table(&self) -> Option<&Table> {
        match &self.value {
            Value::Table(table) => Some(table),
            _ => None,
        }
    }

    pub(crate) fn is_from_env(&self) -> bool {
        matches!(&self.value, Value::Text { written: Some(_), .. })
    }

    /// The value for a message, in backticks: never what the environment put in, never longer than a line.
    pub(crate) fn shown(&self) -> String {
        let quoted = |text: &str| {
            let short: String = text.chars().take(60).flat_map(char::escape_debug).collect();
            let more = if text.chars().nth(60).is_some() { "…" } else { "" };
            format!("`{short}{more}`")
        };
        match &self.value {
            Value::Text { written: Some(written), .. } => format!("the value of {}", quoted(written)),
            Value::Text { text, .. } => quoted(text),
            Value::Integer(number) => format!("`{number}`"),
            Value::Float(number) => format!("`{number}`"),
            Value::Bool(truth) => format!("`{truth}`"),
            Value::Other(what) => (*what).into(),
            Value::Broken => "this".into(),
            Value::List(_) => "a list".into(),
            Value::Table(_) => "a table".into(),
        }
    }

    /// What kind of value it is, for "expected …, found …".
    pub(crate) fn kind(&self) -> &'static str {
        match &self.value {
            Value::Text { .. } => "a string",
            Value::Integer(_) => "an integer",
            Value::Float(_) => "a number with a fraction",
            Value::Bool(_) => "a boolean",
            Value::Other(what) => what,
            Value::Broken => "nothing usable",
            Value::List(_) => "a list",
            Value::Table(_) => "a table",
        }
    }
}

/// Parses a file into a tree. Syntax errors are all reported, and then there is no tree: what the parser could not
/// make out would be reported as missing.
pub(crate) fn parse(
    file: usize,
    env: &mut dyn FnMut(&str) -> Option<String>,
    is_known: fn(&str) -> bool,
    sources: &mut Sources,
    report: &mut Report,
) -> Option<Table> {
    let text = sources.text(file);
    let (document, errors) = DeTable::parse_recoverable(&text);
    if errors.is_empty() {
        return Some(Builder::new(file, env, sources, report).table(document.into_inner()));
    }
    if let Some((language, line)) = foreign::language(&text) {
        sources.hide_file(file);
        not_ours(report, sources.line_span(file, line), language);
        return None;
    }
    for error in &errors {
        let span = error.span().unwrap_or(text.len()..text.len());
        let (message, expected) = split_message(error.message());
        let problem = report.error(Span { file, start: span.start, end: span.end }, message);
        if let Some(expected) = expected {
            problem.expected(expected);
        }
        if let Some(help) = typographic(&text, span.start) {
            problem.help(help);
        }
    }
    for hidden in secrecy::behind_unknown_keys(&text, is_known) {
        sources.hide(Span { file, start: hidden.start, end: hidden.end });
    }
    hide_by_sight(file, &text, sources);
    None
}

/// One error for a whole file in another language.
fn not_ours(report: &mut Report, span: Span, language: Language) {
    let message = match language.name() {
        Some(name) => format!("this is not TOML: it looks like {name}"),
        None => "this is not TOML, nor any configuration that lbproxy knows".to_owned(),
    };
    report
        .error(span, message)
        .expected("TOML: a line such as [[listener]], and below it address = \"0.0.0.0:80\"")
        .help("`lbproxy init` writes a first file; docs/migration.md has the words of other proxies and ours");
}

/// What word processors and web pages put in place of a quote or a space, if the line at `at` has one outside its
/// strings.
fn typographic(text: &str, at: usize) -> Option<String> {
    const QUOTES: [char; 12] = ['“', '”', '„', '‟', '‘', '’', '‚', '‛', '«', '»', '″', '′'];
    let at = (0..=at.min(text.len())).rev().find(|&at| text.is_char_boundary(at))?;
    let from = text[..at].rfind('\n').map_or(0, |at| at + 1);
    let line = text[from..].lines().next()?;
    let strings = secrecy::strings(line);
    let outside = |at: usize| strings.iter().all(|string| !string.contains(&at));
    let (_, found) = line
        .char_indices()
        .find(|(at, char)| (QUOTES.contains(char) || (char.is_whitespace() && !char.is_ascii())) && outside(*at))?;
    Some(if found.is_whitespace() {
        format!("there is a special space (U+{:04X}) in this line; write a plain one", u32::from(found))
    } else {
        format!("`{found}` is a typographic quote; write a plain `\"` in its place")
    })
}

/// The parser's "this, expected that" in our two fields.
fn split_message(message: &str) -> (String, Option<String>) {
    match message.split_once(", expected ") {
        Some((what, expected)) => (format!("not TOML: {what}"), Some(expected.to_owned())),
        None => (format!("not TOML: {message}"), None),
    }
}

/// Where the syntax is broken the tree may lack a secret: whatever follows the word on its line is starred out.
fn hide_by_sight(file: usize, text: &str, sources: &mut Sources) {
    let mut start = 0;
    for line in text.split_inclusive('\n') {
        if let Some(at) = line.find("secret") {
            // Not from the quote: the slip may be that there is none.
            let value = line[at + "secret".len()..].trim_start_matches([' ', '\t', '=', ':', '"', '\'']);
            let end = start + line.len();
            sources.hide(Span { file, start: end - value.len(), end });
        }
        start += line.len();
    }
}

struct Builder<'a> {
    file: usize,
    env: &'a mut dyn FnMut(&str) -> Option<String>,
    sources: &'a mut Sources,
    report: &'a mut Report,
    /// How many tables named `secret` we are inside of.
    secret: usize,
    seen: BTreeMap<String, Option<String>>,
}

impl<'a> Builder<'a> {
    fn new(
        file: usize,
        env: &'a mut dyn FnMut(&str) -> Option<String>,
        sources: &'a mut Sources,
        report: &'a mut Report,
    ) -> Self {
        Self { file, env, sources, report, secret: 0, seen: BTreeMap::new() }
    }

    fn span(&self, range: std::ops::Range<usize>) -> Span {
        Span { file: self.file, start: range.start, end: range.end }
    }

    fn table(&mut self, table: DeTable<'_>) -> Table {
        let mut entries: Vec<_> = table.into_iter().collect();
        entries.sort_by_key(|(key, value)| (key.span().start, value.span().start));
        let entries = entries.into_iter().map(|(key, value)| self.entry(key, value)).collect();
        Table { entries }
    }

    fn entry(&mut self, key: Spanned<std::borrow::Cow<'_, str>>, value: Spanned<DeValue<'_>>) -> Entry {
        let key_span = self.span(key.span());
        let key = key.into_inner().into_owned();
        let is_secret = usize::from(key == "secret");
        self.secret += is_secret;
        let range = value.span();
        let node = self.node(value.into_inner(), range);
        self.secret -= is_secret;
        Entry { key, key_span, node, inherited: false }
    }

    fn node(&mut self, value: DeValue<'_>, range: std::ops::Range<usize>) -> Node {
        let span = self.span(range);
        // What is no string is refused later, and shown then: a secret of digits that lacks its quotes.
        if self.secret > 0 && !matches!(value, DeValue::String(_) | DeValue::Array(_) | DeValue::Table(_)) {
            self.sources.hide(span);
        }
        let value = match value {
            DeValue::String(text) => self.string(&text, span),
            DeValue::Integer(number) => i64::from_str_radix(number.as_str(), number.radix())
                .map_or(Value::Other("a number beyond 64 bits"), Value::Integer),
            DeValue::Float(number) => number.as_str().parse().map_or(Value::Other("not a number"), Value::Float),
            DeValue::Boolean(truth) => Value::Bool(truth),
            DeValue::Datetime(_) => Value::Other("a date"),
            DeValue::Array(list) => Value::List(
                list.into_iter()
                    .map(|item| {
                        let range = item.span();
                        self.node(item.into_inner(), range)
                    })
                    .collect(),
            ),
            DeValue::Table(table) => Value::Table(self.table(table)),
        };
        Node { span, value }
    }

    fn string(&mut self, text: &str, span: Span) -> Value {
        let (env, sources, seen) = (&mut *self.env, &mut *self.sources, &mut self.seen);
        let mut lookup = |name: &str| {
            if !sources.variables.iter().any(|known| known == name) {
                sources.variables.push(name.to_owned());
            }
            // One answer per load, whatever becomes of the environment meanwhile.
            seen.entry(name.to_owned()).or_insert_with(|| env(name)).clone()
        };
        match env::expand(text, &mut lookup) {
            Ok(expanded) if expanded.from_env => {
                if self.secret > 0 && text.contains(":-") {
                    self.sources.hide(span);
                }
                let (written, value) = (text.into(), expanded.text.as_str().into());
                self.sources.substituted.push(Substituted { written, value });
                Value::Text { text: expanded.text, written: Some(text.to_owned()) }
            }
            Ok(expanded) => {
                if self.secret > 0 {
                    self.sources.hide(span);
                }
                Value::Text { text: expanded.text, written: None }
            }
            Err(errors) => {
                if self.secret > 0 {
                    self.sources.hide(span);
                }
                for error in errors {
                    let span = self.piece(span, &error.piece);
                    self.report.error(span, error.message).help(error.help);
                }
                Value::Broken
            }
        }
    }

    /// Where a piece of a string stands in the file; the whole string if escapes hide it.
    fn piece(&self, span: Span, piece: &str) -> Span {
        let text = self.sources.text(self.file);
        let found = text.get(span.start..span.end).and_then(|written| written.find(piece));
        found.map_or(span, |at| Span { start: span.start + at, end: span.start + at + piece.len(), ..span })
    }
}
