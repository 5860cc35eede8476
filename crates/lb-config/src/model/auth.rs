//! `auth`: who a route lets in.

use std::path::PathBuf;
use std::sync::Arc;

use crate::language::diagnostic::Report;
use crate::language::tree::{Node, Value as Written};
use crate::language::values::ValueError;
use crate::table::block::{Block, Keys, Table, block};
use crate::table::convert;
use crate::table::fields::Fields;
use crate::table::form::{Bool, FilePath, Form, Maybe, form};
use crate::table::item::{Item, Leaf, Writer, text};
use crate::table::print;
use crate::table::section::Default::{Required, Unset, Value};
use crate::table::section::{Kind, Section};

/// One way to find out whether a request may pass.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Auth {
    /// A name and a password, by the browser's own dialogue.
    Basic(BasicAuth),
}

block! {
    /// Names and passwords (RFC 7617).
    #[derive(Clone, Debug, PartialEq, Eq)]
    pub struct BasicAuth =
        Section::new("auth_basic", "`auth.basic`", "A name and a password, which browsers ask for by themselves.")
            .example("auth = { basic = { users = \"users.htpasswd\" } }");
    users: PathBuf => FilePath, Required,
        "File of names and hashed passwords, as `htpasswd -B` writes it: bcrypt, argon2, SHA-crypt (`$5$`, `$6$`) or apr1. It is read at the start and at a reload.";
    realm: Arc<str> => Realm, Value("\"restricted\""), "What the password is for, as the browser shows it.";
    pass: bool => Bool, Value("false"), "Whether the endpoint receives the `Authorization` header.";
}

impl Block for BasicAuth {}

form! {
    /// A realm: a quoted string of a header.
    Realm: Arc<str> = Kind::Text;
    read: realm,
    show: |value, _| text(value),
}

fn realm(report: &mut Report, node: &Node) -> Option<Arc<str>> {
    const EXPECTED: &str = "a text of printable ASCII without quotes and backslashes";
    convert::read(report, node, EXPECTED, |text| {
        let is_plain = text.bytes().all(|byte| matches!(byte, b' '..=b'~') && !matches!(byte, b'"' | b'\\'));
        match is_plain && !text.is_empty() && text.len() <= 200 {
            true => Ok(text.into()),
            false => Err(ValueError::new("is not a realm", EXPECTED)),
        }
    })
}

block! {
    /// One entry of `auth`: exactly one of its keys is written.
    pub(crate) struct Entry = Section::new("auth", "`auth`", "Who is let in; one way, or a list of ways which all must let the request pass.")
        .example("auth = { basic = { users = \"users.htpasswd\" } }");
    basic: Option<BasicAuth> => Maybe<Table<BasicAuth>>, Unset("none"), "A name and a password.";
    [reserved] "forward", "An authentication service decides.", "put the service in front of the application";
    [reserved] "jwt", "A signed token.", "let the application check the token";
}

impl Block for Entry {
    fn check_keys(report: &mut Report, fields: &Fields<'_>) -> Option<()> {
        let written: Vec<_> = ["basic"].into_iter().filter_map(|key| fields.entry(key)).collect();
        match written.as_slice() {
            [_] => Some(()),
            [] => {
                if !["forward", "jwt"].into_iter().any(|key| fields.has(key)) && !fields.is_meant("basic") {
                    report.error(fields.span, "`auth` names no way to let anybody in").expected("one of `basic`");
                }
                None
            }
            [first, second, ..] => {
                report
                    .error(second.key_span, format!("`{}` and `{}` are two ways", first.key, second.key))
                    .expected("one table for each, in a list: auth = [{ … }, { … }]")
                    .related("the other one", first.key_span);
                None
            }
        }
    }
}

impl Entry {
    fn into_auth(self) -> Option<Auth> {
        self.basic.map(Auth::Basic)
    }

    fn of(auth: &Auth) -> Self {
        match auth {
            Auth::Basic(basic) => Self { basic: Some(basic.clone()) },
        }
    }
}

/// `"off"`, one way, or a list of ways.
pub(crate) struct AuthForm;

impl Form for AuthForm {
    type Value = Vec<Auth>;
    const KIND: Kind =
        Kind::Any(&[Kind::Word(&["off"]), Kind::Table(Entry::SECTION), Kind::List(&Kind::Table(Entry::SECTION))]);

    fn read(report: &mut Report, node: &Node) -> Option<Vec<Auth>> {
        let one = |report: &mut Report, node: &Node| Entry::read(report, node)?.into_auth();
        match &node.value {
            _ if node.text() == Some("off") => Some(Vec::new()),
            Written::List(items) if items.is_empty() => {
                let problem = report.error(node.span, "an empty list lets everybody in");
                problem.expected("at least one table").help("write \"off\" where that is meant");
                None
            }
            Written::List(_) => convert::list(one)(report, node),
            _ => one(report, node).map(|auth| vec![auth]),
        }
    }

    fn show(all: &Vec<Auth>, writer: &Writer<'_>) -> Option<Item> {
        let mut shown = all.iter().map(|auth| Entry::of(auth).items(writer));
        Some(match all.len() {
            0 => text("off"),
            1 => Item::Table(shown.next().unwrap_or_default()),
            _ => {
                let toml = format!("[{}]", shown.map(|items| print::table(&items)).collect::<Vec<_>>().join(", "));
                Item::Leaf(Leaf { value: toml.clone(), toml, quiet: true })
            }
        })
    }
}
