//! `auth`: who a route lets in.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use crate::language::diagnostic::Report;
use crate::language::source::Span;
use crate::language::tree::{Node, Value as Written};
use crate::language::values::{ValueError, http};
use crate::model::headers::{header_name_once, is_framing, may_edit};
use crate::table::block::{Block, Keys, Table, block};
use crate::table::convert;
use crate::table::fields::Fields;
use crate::table::form::{Bool, FilePath, Form, List, Maybe, Name, Time, form, words};
use crate::table::item::{Item, Leaf, Writer, text};
use crate::table::section::Default::{Required, Unset, Value};
use crate::table::section::{Kind, Section};

/// One way to find out whether a request may pass.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Auth {
    /// A name and a password, by the browser's own dialogue.
    Basic(BasicAuth),
    /// A service that decides.
    Forward(ForwardAuth),
    /// A signed token.
    Jwt(JwtAuth),
}

impl Auth {
    /// The service that it asks.
    pub(crate) fn service(&mut self) -> Option<&mut ForwardAuth> {
        match self {
            Self::Forward(forward) => Some(forward),
            Self::Basic(_) | Self::Jwt(_) => None,
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
    /// A signed token (RFC 7519).
    #[derive(Clone, Debug, PartialEq, Eq)]
    pub struct JwtAuth =
        Section::new("auth_jwt", "`auth.jwt`", "A signed token (JWT).")
            .example("auth = { jwt = { keys = \"jwks.json\", issuer = \"https://login.example.com\" } }");
    keys: Option<PathBuf> => Maybe<KeyFile>, Unset("none"),
        "File of the issuer's public keys, a JSON Web Key Set: RSA, EC or Ed25519. It is read at the start and at a reload.";
    secret: Option<Arc<str>> => Maybe<Secret>, Unset("none"),
        "Instead of `keys`, what the issuer and lbproxy share, for HS256, HS384 and HS512; at least 32 bytes.";
    issuer: Option<Arc<str>> => Maybe<Plain>, Unset("any"), "What `iss` must be.";
    audience: Option<Arc<str>> => Maybe<Plain>, Unset("any"), "What `aud` must be or contain.";
    from: TokenFrom => TokenFromForm, Value("\"bearer\""),
        "Where the token is: \"bearer\" is `Authorization: Bearer`; { cookie = \"NAME\" } is that cookie.";
    must_expire as "expiry": bool => Expiry, Value("\"required\""), "Whether a token without `exp` is refused.";
    require: Vec<(Arc<str>, Arc<str>)> => Claims, Value("{}"),
        "Claims with what each must be, or contain in a list or among its words; else 403.";
    copy: Vec<(Arc<str>, Arc<str>)> => CopiedClaims, Value("{}"),
        "Headers that the endpoint receives, with their claims. A client's own never reach the endpoint.";
}

/// Where a token is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TokenFrom {
    /// `Authorization: Bearer …`.
    Bearer,
    /// A cookie of this name.
    Cookie(Arc<str>),
}

/// Shortest shared secret, bytes: as long as what HS256 makes of it (RFC 7518 §3.2).
const SECRET_BYTES: usize = 32;

impl Block for JwtAuth {
    fn check_keys(report: &mut Report, fields: &Fields<'_>) -> Option<()> {
        match (fields.entry("keys"), fields.entry("secret")) {
            (Some(_), None) | (None, Some(_)) => Some(()),
            (None, None) => {
                report.error(fields.span, "`auth.jwt` has nothing to check a token by").expected("`keys`, or `secret`");
                None
            }
            (Some(keys), Some(secret)) => {
                let problem = report.error(secret.key_span, "`secret` and `keys` are two ways to check a token");
                problem.expected("one of them").related("the other one", keys.key_span);
                None
            }
        }
    }
}

form! {
    /// A file of keys.
    KeyFile: PathBuf = Kind::Text;
    read: |report, node| {
        if node.text().is_some_and(|text| text.starts_with("https://") || text.starts_with("http://")) {
            let problem = report.error(node.span, "keys from a URL are not built yet");
            problem.help("fetch them into a file, and reload when they change");
            return None;
        }
        FilePath::read(report, node)
    },
    show: |value, _| text(&value.display().to_string()),
}

form! {
    /// A shared secret.
    Secret: Arc<str> = Kind::Text;
    read: |report, node| {
        let Some(secret) = node.text() else {
            convert::mismatch(report, node, "a text, best from the environment: \"${JWT_SECRET}\"");
            return None;
        };
        // The value itself is in no message here, wherever it came from.
        if secret.len() < SECRET_BYTES && secret != REDACTED {
            let problem = report.error(node.span, "the secret is too short and may be guessed");
            problem.expected("a random text of 32 bytes or more");
            report.hide_value(node.span, Vec::new());
            return None;
        }
        Some(secret.into())
    },
    show: |value, _| {
        // A mark to compare by, within one process, from which no secret can be had.
        let mut hasher = DefaultHasher::new();
        value.hash(&mut hasher);
        Item::Leaf(Leaf { toml: format!("\"{REDACTED}\""), value: format!("{:x}", hasher.finish()), quiet: true })
    },
}

/// What a secret is printed as.
const REDACTED: &str = "***";

form! {
    /// A text.
    Plain: Arc<str> = Kind::Text;
    read: |report, node| convert::text(report, node).map(Into::into),
    show: |value, _| text(value),
}

words! {
    /// Whether a token must end.
    pub(crate) struct Expiry: bool; "required" => true, "optional" => false
}

block! {
    /// A token in a cookie.
    pub(crate) struct InCookie = Section::new("auth_jwt_from", "`auth.jwt.from`", "Where a token is.");
    cookie: Arc<str> => CookieName, Required, "The cookie's name.";
}

impl Block for InCookie {}

form! {
    /// A cookie's name.
    CookieName: Arc<str> = Kind::Text;
    read: |report, node| convert::read(report, node, "a cookie's name", http::cookie_name),
    show: |value, _| text(value),
}

form! {
    /// `"bearer"`, or a cookie.
    TokenFromForm: TokenFrom = Kind::Any(&[Kind::Word(&["bearer"]), Kind::Table(InCookie::SECTION)]);
    read: |report, node| match node.table() {
        Some(_) => InCookie::read(report, node).map(|it| TokenFrom::Cookie(it.cookie)),
        None => convert::word(report, node, &[("bearer", TokenFrom::Bearer)]),
    },
    show: |value, writer| match value {
        TokenFrom::Bearer => text("bearer"),
        TokenFrom::Cookie(cookie) => Item::Table(InCookie { cookie: Arc::clone(cookie) }.items(writer)),
    },
}

form! {
    /// Claims with texts.
    Claims: Vec<(Arc<str>, Arc<str>)> = Kind::Map(&Kind::Text);
    read: |report, node| convert::map(report, node, "a table of claims and texts", |report, entry| {
        Some((Arc::from(&*entry.key), convert::text(report, &entry.node)?.into()))
    }),
    show: |pairs, _| Item::Table(pairs.iter().map(|(key, value)| (key.to_string(), text(value))).collect()),
}

form! {
    /// Headers with claims.
    CopiedClaims: Vec<(Arc<str>, Arc<str>)> = Kind::Map(&Kind::Text);
    read: |report, node| {
        let mut seen = Vec::new();
        convert::map(report, node, "a table of headers and claims", |report, entry| {
            let name = header_name_once(report, entry, &mut seen)?;
            may_edit(report, entry, &name)?;
            if name.eq_ignore_ascii_case("host") {
                report.error(entry.key_span, "`Host` is lbproxy's own");
                return None;
            }
            Some((name, convert::text(report, &entry.node)?.into()))
        })
    },
    show: |pairs, _| Item::Table(pairs.iter().map(|(key, value)| (key.to_string(), text(value))).collect()),
}

block! {
    /// One entry of `auth`: exactly one of its keys is written.
    pub(crate) struct Entry = Section::new("auth", "`auth`", "Who is let in; one way, or a list of ways which all must let the request pass.")
        .example("auth = { basic = { users = \"users.htpasswd\" } }");
    basic: Option<BasicAuth> => Maybe<Table<BasicAuth>>, Unset("none"), "A name and a password.";
    forward: Option<ForwardAuth> => Maybe<Table<ForwardAuth>>, Unset("none"),
        "A service that decides, such as Authelia, Authentik or oauth2-proxy.";
    jwt: Option<JwtAuth> => Maybe<Table<JwtAuth>>, Unset("none"), "A signed token.";
}

/// The ways.
const KEYS: [&str; 3] = ["basic", "forward", "jwt"];

impl Block for Entry {
    fn check_keys(report: &mut Report, fields: &Fields<'_>) -> Option<()> {
        let written: Vec<_> = KEYS.into_iter().filter_map(|key| fields.entry(key)).collect();
        match written.as_slice() {
            [_] => Some(()),
            [] => {
                if !KEYS.into_iter().any(|key| fields.is_meant(key)) {
                    let expected = "one of `basic`, `forward`, `jwt`";
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
        self.basic.map(Auth::Basic).or(self.forward.map(Auth::Forward)).or(self.jwt.map(Auth::Jwt))
    }

    fn of(auth: &Auth) -> Self {
        match auth {
            Auth::Basic(basic) => Self { basic: Some(basic.clone()), forward: None, jwt: None },
            Auth::Forward(forward) => Self { basic: None, forward: Some(forward.clone()), jwt: None },
            Auth::Jwt(jwt) => Self { basic: None, forward: None, jwt: Some(jwt.clone()) },
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
