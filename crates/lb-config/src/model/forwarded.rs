//! `forwarded`: which forwarding headers a route writes.

use crate::language::diagnostic::Report;
use crate::language::tree::Node;
use crate::table::block::{Block, Keys, block};
use crate::table::form::{Form, words};
use crate::table::item::{Item, Writer};
use crate::table::section::Default::Value;
use crate::table::section::{Kind, Section};

/// Which forwarding headers are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Forwarded {
    /// `X-Forwarded-For`, `-Proto`, `-Host`, `-Port` and `X-Real-IP`.
    pub x_forwarded: bool,
    /// `Forwarded` (RFC 7239).
    pub rfc7239: bool,
    /// Send the client's `Host` on (true) or the endpoint's address.
    pub preserve_host: bool,
}

block! {
    /// The keys as they are written.
    struct Written =
        Section::new(
            "forwarded",
            "`forwarded`",
            "Forwarding headers. They add to what a trusted proxy sent and replace what any other client sent.",
        )
        .example("forwarded = { headers = \"x-forwarded\" }");
    headers: (bool, bool) => Headers, Value("\"x-forwarded\""),
        "\"x-forwarded\" (`X-Forwarded-For`, `-Proto`, `-Host`, `-Port`, and `X-Real-IP`), \"rfc7239\" (`Forwarded`), \"both\" or \"off\".";
    preserve_host as "host": bool => Host, Value("\"preserve\""),
        "The `Host` that the endpoint sees: the client's, or the endpoint's own address, which is also used if the client sent none.";
}

impl Block for Written {}

words! {
    /// `X-Forwarded-*`, and `Forwarded`.
    struct Headers: (bool, bool);
    "x-forwarded" => (true, false), "rfc7239" => (false, true), "both" => (true, true), "off" => (false, false)
}

words! {
    /// Whether the client's `Host` is sent on.
    struct Host: bool;
    "preserve" => true, "endpoint" => false
}

/// A table, or a word that is short for its `headers`.
pub(crate) struct ForwardedForm;

impl Form for ForwardedForm {
    type Value = Forwarded;
    const KIND: Kind = Kind::Any(&[Headers::KIND, Kind::Table(Written::SECTION)]);

    fn read(report: &mut Report, node: &Node) -> Option<Forwarded> {
        let Written { headers, preserve_host } = if node.text().is_some() {
            Written { headers: Headers::read(report, node)?, preserve_host: true }
        } else {
            Written::read(report, node)?
        };
        let (x_forwarded, rfc7239) = headers;
        Some(Forwarded { x_forwarded, rfc7239, preserve_host })
    }

    fn show(value: &Forwarded, writer: &Writer<'_>) -> Option<Item> {
        let Forwarded { x_forwarded, rfc7239, preserve_host } = *value;
        Some(Item::Table(Written { headers: (x_forwarded, rfc7239), preserve_host }.items(writer)))
    }
}
