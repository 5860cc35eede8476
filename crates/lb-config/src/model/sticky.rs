//! `sticky`: affinity of a route's clients by a signed cookie.

use std::fmt;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;
use std::time::Duration;

use crate::language::diagnostic::Report;
use crate::language::tree::Node;
use crate::language::values::{ValueError, http, quantity};
use crate::table::block::{Block, block};
use crate::table::convert::{self, list};
use crate::table::fields::Fields;
use crate::table::form::{Bool, Form, Maybe, Or, form, word, words};
use crate::table::item::{Item, Leaf, Writer, text};
use crate::table::section::Default::{Required, Unset, Value};
use crate::table::section::{Kind, Section};

block! {
    /// Affinity by a signed cookie.
    #[derive(Clone, PartialEq, Eq)]
    pub struct Sticky =
        Section::new(
            "sticky",
            "`sticky`",
            "Affinity by a signed cookie. A cookie whose endpoint is gone or ejected is renewed; a forged one is ignored.",
        )
        .example("sticky = { cookie = \"lb\" }");
    cookie: Arc<str> => CookieName, Required, "The cookie's name.";
    secure: bool => Bool, Value("false"), "`Secure`: only sent over https.";
    http_only: bool => Bool, Value("true"), "`HttpOnly`: hidden from scripts.";
    same_site: Option<SameSite> => Maybe<SameSite>, Unset("not written"), "`SameSite`.";
    path: Arc<str> => CookiePath, Value("\"/\""), "`Path`.";
    domain: Option<Arc<str>> => Maybe<Domain>, Unset("not written"), "`Domain`.";
    max_age: Option<Duration> => Or<Session, Seconds>, Value("\"session\""), "`Max-Age`; \"session\" ends with the browser.";
    /// Newest first; empty means one made at start. Never printed.
    secrets as "secret": Vec<Arc<str>> => Secrets,
        Unset("made at start, with a warning: cookies then live as long as the process"),
        "What cookies are signed with; in a list the first signs and every one verifies.";
}

/// Shows how many secrets there are, never what they are.
impl fmt::Debug for Sticky {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sticky")
            .field("cookie", &self.cookie)
            .field("secure", &self.secure)
            .field("http_only", &self.http_only)
            .field("same_site", &self.same_site)
            .field("path", &self.path)
            .field("domain", &self.domain)
            .field("max_age", &self.max_age)
            .field("secrets", &format_args!("{} redacted", self.secrets.len()))
            .finish()
    }
}

/// The cookie's `SameSite`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum SameSite {
    Strict,
    Lax,
    None,
}

words! { SameSite: SameSite; "strict" => Self::Strict, "lax" => Self::Lax, "none" => Self::None }

impl Block for Sticky {
    fn check(self, report: &mut Report, fields: &Fields<'_>) -> Option<Self> {
        if self.secrets.is_empty() {
            let message = "`sticky` has no `secret`: one is made at start, and cookies live as long as the process";
            report.warning(fields.value_span("cookie"), message).help("write secret = \"${STICKY_SECRET}\"");
        }
        if self.same_site == Some(SameSite::None) && !self.secure {
            let message = "browsers drop a cookie with `same_site = \"none\"` that is not `secure`";
            report.warning(fields.value_span("same_site"), message);
        }
        Some(self)
    }
}

form! {
    /// A cookie's name.
    CookieName: Arc<str> = Kind::Text;
    read: |report, node| convert::read(report, node, "a cookie's name", http::cookie_name),
    show: |value, _| text(value),
}

form! {
    /// A cookie's `Path`.
    CookiePath: Arc<str> = Kind::Text;
    read: |report, node| convert::read(report, node, "a path", http::target),
    show: |value, _| text(value),
}

form! {
    /// A cookie's `Domain`.
    Domain: Arc<str> = Kind::Text;
    read: domain,
    show: |value, _| text(value),
}

word! {
    /// `"session"`.
    Session = "session";
}

form! {
    /// Whole seconds, which is what `Max-Age` counts.
    Seconds: Duration = Kind::Duration;
    read: seconds,
    show: |value, _| text(&quantity::show_duration(*value)),
}

/// One secret or a list of them.
struct Secrets;

impl Form for Secrets {
    type Value = Vec<Arc<str>>;
    const KIND: Kind = Kind::Any(&[Kind::Text, Kind::List(&Kind::Text)]);

    fn read(report: &mut Report, node: &Node) -> Option<Vec<Arc<str>>> {
        if node.text().is_some() {
            return secret(report, node).map(|secret| vec![secret]);
        }
        let secrets = list(secret)(report, node)?;
        if secrets.is_empty() {
            report.error(node.span, "an empty list signs nothing").help("leave `secret` out, or name one");
            return None;
        }
        Some(secrets)
    }

    fn show(secrets: &Vec<Arc<str>>, _: &Writer<'_>) -> Option<Item> {
        if secrets.is_empty() {
            return None;
        }
        let toml = format!("[{}]", vec![format!("\"{REDACTED}\""); secrets.len()].join(", "));
        // A mark to compare by, within one process, from which no secret can be had.
        let mut hasher = DefaultHasher::new();
        secrets.hash(&mut hasher);
        Some(Item::Leaf(Leaf { toml, value: format!("{:x}", hasher.finish()), quiet: true }))
    }

    fn field(report: &mut Report, fields: &Fields<'_>, key: &'static str) -> Option<Vec<Arc<str>>> {
        Some(fields.maybe(report, key, Self::read)?.unwrap_or_default())
    }
}

fn domain(report: &mut Report, node: &Node) -> Option<Arc<str>> {
    const EXPECTED: &str = "a domain such as \"example.com\"";
    convert::read(report, node, EXPECTED, |text| {
        // A leading dot means nothing any more (RFC 6265 §5.2.3).
        let name = text.strip_prefix('.').unwrap_or(text);
        http::host_name(name).map_err(|what| ValueError::new(what, EXPECTED))?;
        Ok(name.to_ascii_lowercase().into())
    })
}

fn seconds(report: &mut Report, node: &Node) -> Option<Duration> {
    let age = convert::duration(report, node, false)?;
    if age.subsec_nanos() != 0 {
        convert::wrong(report, node, ValueError::new("is no whole number of seconds", "a duration such as \"1h\""));
        return None;
    }
    Some(age)
}

fn secret(report: &mut Report, node: &Node) -> Option<Arc<str>> {
    let Some(text) = node.text() else {
        convert::mismatch(report, node, "a text, best from the environment: \"${STICKY_SECRET}\"");
        return None;
    };
    // The value itself is in no message here, wherever it came from.
    if text.is_empty() {
        report.error(node.span, "the secret is empty").expected("a random text, best of 32 characters or more");
        return None;
    }
    if text == REDACTED {
        report.warning(node.span, "redacted value: replace it with the real secret");
    } else if text.len() < SECRET_BYTES {
        report
            .warning(node.span, format!("the secret is shorter than {SECRET_BYTES} bytes and may be guessed"))
            .expected("a random text, best of 32 characters or more");
    }
    Some(text.into())
}

/// What a redacted secret is printed as.
const REDACTED: &str = "***";

/// Shortest secret that is not worth a warning, bytes.
const SECRET_BYTES: usize = 16;
