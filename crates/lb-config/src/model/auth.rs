//! `auth`: who a route lets in.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use crate::language::diagnostic::Report;
use crate::language::source::Span;
use crate::language::tree::{Node, Value as Written};
use crate::language::values::{ValueError, http};
use crate::model::headers::is_framing;
use crate::table::block::{Block, Keys, Table, block};
use crate::table::convert;
use crate::table::fields::Fields;
use crate::table::form::{Bool, FilePath, Form, List, Maybe, Name, Time, form};
use crate::table::item::{Item, Writer, text};
use crate::table::section::Default::{Required, Unset, Value};
use crate::table::section::{Kind, Section};

/// One way to find out whether a request may pass.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Auth {
    /// A name and a password, by the browser's own dialogue.
    Basic(BasicAuth),
    /// A service that decides.
    Forward(ForwardAuth),
}

impl Auth {
    /// The service that it asks.
    pub(crate) fn service(&mut self) -> Option<&mut ForwardAuth> {
        match self {
            Self::Forward(forward) => Some(forward),
            Self::Basic(_) => None,
        }
    }
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

block! {
    /// A service that decides about each request.
    #[derive(Clone, Debug, PartialEq, Eq)]
    pub struct ForwardAuth =
        Section::new("auth_forward", "`auth.forward`", "A service is asked about each request, and decides.")
            .example("auth = { forward = { cluster = \"authelia\", path = \"/api/authz/forward-auth\" } }");
    cluster_name as "cluster": Arc<str> => Name, Required, "The cluster of the service.";
    path: Arc<str> => Target, Value("\"/\""), "What it is asked for: a path, perhaps with a query.";
    method: Arc<str> => Method, Value("\"GET\""), "By which method.";
    copy: Vec<Arc<str>> => List<Copied>, Value("[]"),
        "Headers of its answer that the endpoint receives, such as [\"Remote-User\"]. A client's own never reach the endpoint.";
    timeout: Duration => Time, Value("\"5s\""), "How long it may take; then the response is a 503.";
    [filled] cluster: usize, "Where its cluster stands among the clusters of the configuration.";
}

impl Block for ForwardAuth {}

form! {
    /// A path, perhaps with a query.
    Target: Arc<str> = Kind::Text;
    read: |report, node| convert::read(report, node, "a path", http::target),
    show: |value, _| text(value),
}

form! {
    /// A method without a body.
    Method: Arc<str> = Kind::Text;
    read: |report, node| convert::read(report, node, "a method", |text| match http::method(text)? {
        method if matches!(&*method, "CONNECT" | "TRACE") => Err(ValueError::new("asks for something else", "a method such as \"GET\"")),
        method => Ok(method),
    }),
    show: |value, _| text(value),
}

form! {
    /// The name of a header that an endpoint receives.
    Copied: Arc<str> = Kind::Text;
    read: copied,
    show: |value, _| text(value),
}

fn copied(report: &mut Report, node: &Node) -> Option<Arc<str>> {
    const EXPECTED: &str = "a header that says something of the user, such as \"Remote-User\"";
    convert::read(report, node, EXPECTED, |text| {
        let name = http::header_name(text)?;
        match is_framing(&name) || name.eq_ignore_ascii_case("host") {
            true => Err(ValueError::new("is lbproxy's own", EXPECTED)),
            false => Ok(name),
        }
    })
}

/// Where the clusters of services are named, in the order of the ways.
pub(crate) fn cluster_spans(node: &Node) -> Vec<Span> {
    let tables = match &node.value {
        Written::List(items) => items.as_slice(),
        _ => std::slice::from_ref(node),
    };
    let forwards = tables.iter().filter_map(|item| item.table()?.find("forward")?.node.table()?.find("cluster"));
    forwards.map(|entry| entry.node.span).collect()
}

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
    forward: Option<ForwardAuth> => Maybe<Table<ForwardAuth>>, Unset("none"),
        "A service that decides, such as Authelia, Authentik or oauth2-proxy.";
    [reserved] "jwt", "A signed token.", "let the application check the token";
}

/// The ways.
const KEYS: [&str; 2] = ["basic", "forward"];

impl Block for Entry {
    fn check_keys(report: &mut Report, fields: &Fields<'_>) -> Option<()> {
        let written: Vec<_> = KEYS.into_iter().filter_map(|key| fields.entry(key)).collect();
        match written.as_slice() {
            [_] => Some(()),
            [] => {
                if !fields.has("jwt") && !KEYS.into_iter().any(|key| fields.is_meant(key)) {
                    let expected = "one of `basic`, `forward`";
                    report.error(fields.span, "`auth` names no way to let anybody in").expected(expected);
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
        self.basic.map(Auth::Basic).or(self.forward.map(Auth::Forward))
    }

    fn of(auth: &Auth) -> Self {
        match auth {
            Auth::Basic(basic) => Self { basic: Some(basic.clone()), forward: None },
            Auth::Forward(forward) => Self { basic: None, forward: Some(forward.clone()) },
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
            _ => Item::Tables(shown.enumerate().map(|(at, items)| (at.to_string(), items)).collect()),
        })
    }
}
