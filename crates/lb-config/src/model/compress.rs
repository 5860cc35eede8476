//! `compress`: compression of responses.

use std::sync::Arc;

use crate::language::diagnostic::Report;
use crate::language::tree::Node;
use crate::language::values::ValueError;
use crate::language::values::http::is_token;
use crate::table::block::{Block, Keys, block};
use crate::table::convert;
use crate::table::fields::Fields;
use crate::table::form::{Form, List, Size, form, words};
use crate::table::item::{Item, Writer, text};
use crate::table::section::Default::Value;
use crate::table::section::{Kind, Section};

/// A content coding.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Encoding {
    /// `zstd` (RFC 8878).
    Zstd,
    /// `br` (RFC 7932).
    Brotli,
    /// `gzip` (RFC 1952).
    Gzip,
}

/// How much work is spent on compression.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum CompressionLevel {
    /// As little as possible: gzip 1, br 2, zstd 1.
    Fastest,
    /// gzip 6, br 4, zstd 3.
    Default,
    /// For content that is compressed once and read often: gzip 9, br 8, zstd 9.
    Best,
}

block! {
    /// Compression of responses.
    #[derive(Clone, Debug, PartialEq)]
    pub struct Compress =
        Section::new("compress", "`compress`", "Compression of responses, as the client's `Accept-Encoding` allows.")
            .example("compress = { encodings = [\"br\", \"gzip\"], min_length = \"4KiB\" }");
    encodings: Vec<Encoding> => List<EncodingForm>, Value("[\"zstd\", \"br\", \"gzip\"]"),
        "Which encodings, the preferred first; a client's weights come before that.";
    min_length: u64 => Size<u64, 0>, Value("\"1KiB\""), "Shorter responses are sent as they are.";
    types: Vec<Arc<str>> => List<TypeForm>,
        Value("[\"text/*\", \"application/json\", \"application/javascript\", \"application/x-javascript\", \"application/xml\", \"application/wasm\", \"*/*+json\", \"*/*+xml\", \"image/bmp\", \"image/x-icon\", \"image/vnd.microsoft.icon\", \"font/otf\", \"font/ttf\", \"application/vnd.ms-fontobject\"]"),
        "Content types: \"text/html\", \"text/*\", or \"*/*+json\" for a suffix.";
    level: CompressionLevel => LevelForm, Value("\"default\""), "How much work is spent: \"fastest\", \"default\" or \"best\".";
}

impl Block for Compress {
    fn check(self, report: &mut Report, fields: &Fields<'_>) -> Option<Self> {
        let mut seen = Vec::new();
        let twice = self.encodings.iter().any(|encoding| {
            let twice = seen.contains(encoding);
            seen.push(*encoding);
            twice
        });
        if self.encodings.is_empty() || twice {
            let what = if twice { "an encoding stands twice" } else { "no encoding is left" };
            report
                .error(fields.value_span("encodings"), what)
                .expected("a list of \"zstd\", \"br\" and \"gzip\"")
                .help("write compress = \"off\" for none");
            return None;
        }
        Some(self)
    }
}

words! {
    /// A content coding.
    pub(crate) struct EncodingForm: Encoding;
    "zstd" => Encoding::Zstd, "br" => Encoding::Brotli, "gzip" => Encoding::Gzip
}

words! {
    /// How much work.
    struct LevelForm: CompressionLevel;
    "fastest" => CompressionLevel::Fastest, "default" => CompressionLevel::Default, "best" => CompressionLevel::Best
}

form! {
    /// A content type or several.
    TypeForm: Arc<str> = Kind::Text;
    read: |report, node| {
        const EXPECTED: &str = "a content type such as \"text/html\", \"text/*\" or \"*/*+json\"";
        convert::read(report, node, EXPECTED, |text| {
            let is_part = |part: &str| part == "*" || is_token(part.strip_prefix("*+").unwrap_or(part)) && !part.trim_start_matches("*+").contains('*');
            match text.split_once('/') {
                Some((kind, subtype)) if is_part(kind) && is_part(subtype) => Ok(Arc::from(text.to_ascii_lowercase())),
                _ => Err(ValueError::new("is no content type", EXPECTED)),
            }
        })
    },
    show: |value, _| text(value),
}

/// `"off"`, `"on"`, or the table.
pub(crate) struct CompressForm;

impl Form for CompressForm {
    type Value = Option<Compress>;
    const KIND: Kind = Kind::Any(&[Kind::Word(&["on", "off"]), Kind::Table(Compress::SECTION)]);

    fn read(report: &mut Report, node: &Node) -> Option<Option<Compress>> {
        if node.table().is_some() {
            return Compress::read(report, node).map(Some);
        }
        match convert::word(report, node, &[("on", true), ("off", false)])? {
            true => Compress::read(report, &Node::literal("{}")).map(Some),
            false => Some(None),
        }
    }

    fn show(value: &Option<Compress>, writer: &Writer<'_>) -> Option<Item> {
        Some(match value {
            None => text("off"),
            Some(compress) => Item::Table(compress.items(writer)),
        })
    }
}
