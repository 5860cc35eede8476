//! `files`: an action of a route.

use std::path::PathBuf;
use std::sync::Arc;

use crate::language::values::{ValueError, http};
use crate::model::compress::{Encoding, EncodingForm};
use crate::table::block::{Block, block};
use crate::table::convert;
use crate::table::form::{Bool, FilePath, List, form};
use crate::table::item::{Item, text};
use crate::table::section::Default::{Required, Value};
use crate::table::section::{Kind, Section};

block! {
    /// Files of a directory.
    #[derive(Clone, Debug, PartialEq)]
    pub struct ServeFiles =
        Section::new("files", "`files`", "Serves files of a directory.").example("files = { root = \"public\" }");
    root: PathBuf => FilePath, Required, "The directory; a file is at the root and the whole path of the request.";
    index: Vec<Arc<str>> => List<FileName>, Value("[\"index.html\"]"), "Files that stand for their directory.";
    attempts as "try": Vec<Arc<str>> => List<Attempt>, Value("[\"{path}\"]"),
        "What is looked for, in this order: `{path}`, with something behind it, or a path of its own.";
    precompressed: Vec<Encoding> => List<EncodingForm>, Value("[]"),
        "Which of `FILE.zst`, `FILE.br` and `FILE.gz` are sent in place of `FILE` to clients that accept them.";
    listing: bool => Bool, Value("false"), "Whether a directory without an index is listed.";
    hidden: bool => Bool, Value("false"), "Whether names with a leading dot are served; `.well-known` always is.";
    hide: Vec<Arc<str>> => List<NamePattern>, Value("[]"), "Names that are not served, with `*` and `?`, such as \"*.map\".";
    cache_control: Vec<(Arc<str>, Arc<str>)> => CacheControl, Value("{}"),
        "`Cache-Control` by the beginning of the path; the longest that fits.";
}

impl Block for ServeFiles {}

form! {
    /// A name without a slash.
    FileName: Arc<str> = Kind::Text;
    read: |report, node| convert::read(report, node, NAME, |text| name(text, NAME)),
    show: |value, _| text(value),
}

form! {
    /// A pattern of names.
    NamePattern: Arc<str> = Kind::Text;
    read: |report, node| convert::read(report, node, PATTERN, |text| name(text, PATTERN)),
    show: |value, _| text(value),
}

const NAME: &str = "the name of a file such as \"index.html\", without a slash";
const PATTERN: &str = "a pattern of names such as \"*.map\", without a slash";

fn name(text: &str, expected: &'static str) -> Result<Arc<str>, ValueError> {
    match text {
        "" | "." | ".." => Err(ValueError::new("is no name", expected)),
        text if text.contains(['/', '\0']) => Err(ValueError::new("is a path", expected)),
        text => Ok(text.into()),
    }
}

form! {
    /// Where a file is looked for.
    Attempt: Arc<str> = Kind::Text;
    read: |report, node| {
        const EXPECTED: &str = "\"{path}\", \"{path}.html\", or a path such as \"/index.html\"";
        convert::read(report, node, EXPECTED, |text| {
            let rest = text.strip_prefix("{path}");
            let fits = rest.is_some() || text.starts_with('/');
            let rest = rest.unwrap_or(text);
            if text.starts_with('=') {
                return Err(ValueError::new("is a status", EXPECTED).help("without a file the answer is 404"));
            }
            if !fits || rest.contains(['{', '}', '\0']) || rest.split('/').any(|name| name == "." || name == "..") {
                return Err(ValueError::new("is no place of a file", EXPECTED));
            }
            Ok(Arc::from(text))
        })
    },
    show: |value, _| text(value),
}

form! {
    /// Beginnings of paths, each with a value of `Cache-Control`.
    CacheControl: Vec<(Arc<str>, Arc<str>)> = Kind::Map(&Kind::Text);
    read: |report, node| {
        const EXPECTED: &str = "a table such as { \"/assets/\" = \"max-age=31536000, immutable\" }";
        convert::map(report, node, EXPECTED, |report, entry| {
            if !entry.key.starts_with('/') {
                report.error(entry.key_span, "a path begins with a slash").expected(EXPECTED);
                return None;
            }
            let value = convert::text(report, &entry.node)?;
            http::header_value(&value).map_err(|error| convert::wrong(report, &entry.node, error)).ok()?;
            Some((Arc::from(entry.key.as_str()), Arc::from(value)))
        })
    },
    show: |all, _| Item::Table(all.iter().map(|(path, value)| (path.to_string(), text(value))).collect()),
}
