//! `[log]`: the application log and the access log.

use std::path::PathBuf;

use crate::language::diagnostic::Report;
use crate::language::suggest::nearest;
use crate::language::tree::Node;
use crate::language::values::ValueError;
use crate::table::block::{Block, Keys, block};
use crate::table::convert;
use crate::table::form::{Form, Off, Word, form, words};
use crate::table::item::{Item, Writer, text};
use crate::table::section::Default::Value;
use crate::table::section::{Kind, Section};

block! {
    /// Application and access log.
    #[derive(Clone, Debug, PartialEq)]
    pub struct Log =
        Section::new("log", "[log]", "The application log, which goes to stderr, and the access log.")
            .example("log = { level = \"info\" }");
    level: Level => Level, Value("\"info\""), "The least severe level of the application log that is written.";
    format: LogFormat => LogFormat, Value("\"text\""), "How the application log is written.";
    access: Option<AccessLog> => AccessForm, Value("{}"),
        "The access log, one line a request; \"off\" is short for { to = \"off\" }.";
}

impl Block for Log {}

/// Severity of the application log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[allow(missing_docs)]
pub enum Level {
    Error,
    Warn,
    Info,
    Debug,
    Trace,
}

words! {
    Level: Level;
    "error" => Self::Error, "warn" => Self::Warn, "info" => Self::Info, "debug" => Self::Debug, "trace" => Self::Trace
}

/// Format of the application log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    /// One readable line an event.
    Text,
    /// One JSON object an event.
    Json,
}

words! { LogFormat: LogFormat; "text" => Self::Text, "json" => Self::Json }

/// The access log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AccessLog {
    /// The line's format.
    pub format: AccessFormat,
    /// Where lines go.
    pub to: AccessTarget,
}

/// Format of an access log line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AccessFormat {
    /// One readable line a request, with endpoint, times and cause; the default.
    Standard,
    /// The combined format of nginx and Apache.
    Combined,
    /// One JSON object a request.
    Json,
}

/// Where access log lines go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AccessTarget {
    /// Standard output.
    Stdout,
    /// A file, appended to; reopened on SIGUSR1 and on reload.
    File(PathBuf),
}

words! {
    AccessFormat: AccessFormat;
    "standard" => Self::Standard, "combined" => Self::Combined, "json" => Self::Json
}

block! {
    /// The keys of the access log as they are written.
    struct Written = Section::new("access", "`log.access`", "The access log.").example("log.access = { format = \"json\" }");
    format: AccessFormat => AccessFormat, Value("\"standard\""),
        "A readable line, the combined format of nginx and Apache, or one JSON object a line.";
    to: Option<AccessTarget> => Target, Value("\"stdout\""),
        "\"stdout\", \"off\", or the path of a file (with a `/` in it), which is appended to.";
}

impl Block for Written {}

/// `"off"`, or a table.
struct AccessForm;

impl Form for AccessForm {
    type Value = Option<AccessLog>;
    const KIND: Kind = Kind::Any(&[Kind::Word(&[Off::WORD]), Kind::Table(Written::SECTION)]);

    fn read(report: &mut Report, node: &Node) -> Option<Option<AccessLog>> {
        match node.text() {
            Some(Off::WORD) => Some(None),
            Some(_) => {
                let error = ValueError::new("is not known here", "\"off\" or a table with `format` and `to`");
                convert::wrong(report, node, error);
                None
            }
            None => {
                let Written { format, to } = Written::read(report, node)?;
                Some(to.map(|to| AccessLog { format, to }))
            }
        }
    }

    fn show(value: &Option<AccessLog>, writer: &Writer<'_>) -> Option<Item> {
        let Some(AccessLog { format, to }) = value.clone() else { return Some(text(Off::WORD)) };
        Some(Item::Table(Written { format, to: Some(to) }.items(writer)))
    }
}

form! {
    /// Standard output, a file, or nowhere.
    Target: Option<AccessTarget> = Kind::Any(&[Kind::Word(&["stdout", "off"]), Kind::Text]);
    read: access_target,
    show: |target, _| match target {
        None => text("off"),
        Some(AccessTarget::Stdout) => text("stdout"),
        Some(AccessTarget::File(path)) => text(&path.display().to_string()),
    },
}

fn access_target(report: &mut Report, node: &Node) -> Option<Option<AccessTarget>> {
    const EXPECTED: &str = "\"stdout\", \"off\" or the path of a file, with a `/` in it";
    convert::read(report, node, EXPECTED, |text| match text {
        "stdout" => Ok(Some(AccessTarget::Stdout)),
        "off" => Ok(None),
        text if text.starts_with("syslog:") => Err(ValueError::new("is not built yet", EXPECTED)),
        text if text.contains('\0') => Err(ValueError::new("has a zero byte in it", EXPECTED)),
        // A slip in "stdout" must not become a file of that name.
        text if text.contains('/') => Ok(Some(AccessTarget::File(text.into()))),
        text => {
            let error = ValueError::new("is not known here", EXPECTED);
            Err(match nearest(text, ["stdout", "off"]) {
                Some(near) => error.help(format!("did you mean \"{near}\"?")),
                None => error.help(format!("write \"./{text}\" for a file")),
            })
        }
    })
}
