//! Values as they are printed and compared.
//!
//! What may be secret is marked: free text that the environment filled appears as it was written, `${NAME}` and all.

use std::collections::BTreeMap;
use std::fmt::Display;

use crate::language::env;
use crate::language::source::Sources;
use crate::language::template::Template;

/// Keys and values in order.
pub(crate) type Items = Vec<(String, Item)>;

/// A value.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Item {
    Leaf(Leaf),
    Table(Items),
    /// Endpoints, by address.
    Endpoints(Vec<(String, Items)>),
    /// Several tables, each with what it is called.
    Tables(Vec<(String, Items)>),
}

/// A value that is not a table.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Leaf {
    /// As TOML.
    pub(crate) toml: String,
    /// To compare, and to show unless `quiet`.
    pub(crate) value: String,
    /// Free text, which may hold a secret: a change is reported without the values.
    pub(crate) quiet: bool,
}

/// A whole configuration: every key with the value in force.
#[derive(Clone, Debug)]
pub(crate) struct Document {
    pub(crate) root: Items,
    pub(crate) listeners: Vec<(String, Items)>,
    pub(crate) routes: Vec<(String, Items)>,
    pub(crate) clusters: Vec<(String, Items)>,
}

/// A TOML basic string.
pub(crate) fn quote(text: &str) -> String {
    let mut quoted = String::with_capacity(text.len() + 2);
    quoted.push('"');
    for char in text.chars() {
        match char {
            '"' => quoted.push_str("\\\""),
            '\\' => quoted.push_str("\\\\"),
            '\n' => quoted.push_str("\\n"),
            '\r' => quoted.push_str("\\r"),
            '\t' => quoted.push_str("\\t"),
            char if char.is_control() => quoted.push_str(&format!("\\u{:04X}", u32::from(char))),
            char => quoted.push(char),
        }
    }
    quoted.push('"');
    quoted
}

/// A text as TOML, in which nothing is taken for a variable of the environment.
pub(crate) fn quoted(text: &str) -> String {
    quote(&env::escape(text))
}

pub(crate) fn text(value: &str) -> Item {
    Item::Leaf(Leaf { toml: quoted(value), value: value.to_owned(), quiet: false })
}

/// A number or a boolean.
pub(crate) fn bare(value: impl Display) -> Item {
    let value = value.to_string();
    Item::Leaf(Leaf { toml: value.clone(), value, quiet: false })
}

pub(crate) fn texts<T: AsRef<str>>(values: impl IntoIterator<Item = T>) -> Item {
    let (toml, values): (Vec<String>, Vec<String>) =
        values.into_iter().map(|value| (quoted(value.as_ref()), value.as_ref().to_owned())).unzip();
    Item::Leaf(Leaf { toml: format!("[{}]", toml.join(", ")), value: format!("[{}]", values.join(", ")), quiet: false })
}

/// The items of these keys in this order, then the others.
pub(crate) fn in_order(mut items: Items, first: &[&str]) -> Items {
    items.sort_by_key(|(key, _)| first.iter().position(|known| known == key).unwrap_or(first.len()));
    items
}

/// Keys, each with its item.
macro_rules! fields {
    ($($key:literal: $value:expr),* $(,)?) => { vec![$(($key.to_owned(), $value)),*] };
}
pub(crate) use fields;

pub(crate) struct Writer<'a> {
    /// What the environment filled: the text in force, and what was written.
    written: BTreeMap<String, &'a str>,
}

impl<'a> Writer<'a> {
    pub(crate) fn new(sources: &'a Sources) -> Self {
        let mut written = BTreeMap::new();
        for text in &sources.substituted {
            written.insert(text.value.to_string(), &*text.written);
            // Templates are compared by meaning, not by how their braces were written.
            if let Ok(template) = Template::parse(&text.value) {
                written.insert(template.to_string(), &*text.written);
            }
        }
        Self { written }
    }

    /// Free text.
    pub(crate) fn free(&self, value: &str) -> Item {
        let toml = match self.written.get(value) {
            Some(written) => quote(written),
            None => quoted(value),
        };
        Item::Leaf(Leaf { toml, value: value.to_owned(), quiet: true })
    }

    pub(crate) fn template(&self, template: &Template) -> Item {
        self.free(&template.to_string())
    }
}
