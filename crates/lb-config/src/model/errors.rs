//! `errors`: pages in place of short plain error responses.

use std::path::PathBuf;

use crate::language::diagnostic::Report;
use crate::language::tree::{Entry, Node};
use crate::language::values::status;
use crate::table::convert;
use crate::table::form::{FilePath, Form};
use crate::table::item::{Item, Items, Writer, bare};
use crate::table::section::Kind;

/// The error pages of a route, a listener or the whole proxy.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ErrorPages {
    /// The pages, in the order of the file.
    pub pages: Vec<ErrorPage>,
    /// Whether they also replace responses of endpoints with these statuses.
    pub intercept: bool,
}

/// One page.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ErrorPage {
    /// The statuses it is for, both included, within 400 to 599.
    pub statuses: (u16, u16),
    /// Whether it is for clients that prefer JSON.
    pub json: bool,
    /// Where it is. The file's name says which type it has.
    pub file: PathBuf,
}

const EXPECTED: &str = "pages by status, such as { \"502\" = \"pages/502.html\", \"5xx\" = \"pages/5xx.html\" }";
const STATUSES: &str =
    "a status such as \"404\", \"5xx\" or \"500-504\", with \".json\" behind it for clients that prefer JSON";

/// The extensions of pages, each with the content type, without a charset.
const TYPES: [(&str, &str); 6] = [
    ("html", "text/html"),
    ("htm", "text/html"),
    ("json", "application/json"),
    ("txt", "text/plain"),
    ("xhtml", "application/xhtml+xml"),
    ("xml", "application/xml"),
];

impl ErrorPage {
    /// The content type, by the extension of the file; without a charset.
    #[must_use]
    pub fn content_type(&self) -> &'static str {
        of_extension(&self.file).unwrap_or("text/plain")
    }
}

fn of_extension(file: &std::path::Path) -> Option<&'static str> {
    let extension = file.extension()?.to_str()?;
    TYPES.iter().find(|(known, _)| extension.eq_ignore_ascii_case(known)).map(|(_, content_type)| *content_type)
}

/// Pages by status, and `intercept`.
pub(crate) struct ErrorPagesForm;

impl Form for ErrorPagesForm {
    type Value = ErrorPages;
    const KIND: Kind = Kind::Map(&Kind::Any(&[Kind::Text, Kind::Bool]));

    fn read(report: &mut Report, node: &Node) -> Option<ErrorPages> {
        let mut intercept = false;
        let mut seen: Vec<((u16, u16), bool)> = Vec::new();
        let pages = convert::map(report, node, EXPECTED, |report, entry| {
            if entry.key == "intercept" {
                intercept = convert::boolean(report, &entry.node)?;
                return Some(None);
            }
            let page = page(report, entry)?;
            if seen.contains(&(page.statuses, page.json)) {
                report.error(entry.key_span, "another page is for the same statuses");
                return None;
            }
            seen.push((page.statuses, page.json));
            Some(Some(page))
        })?;
        Some(ErrorPages { pages: pages.into_iter().flatten().collect(), intercept })
    }

    fn show(value: &ErrorPages, writer: &Writer<'_>) -> Option<Item> {
        let mut items: Items = Vec::new();
        for page in &value.pages {
            let json = if page.json { ".json" } else { "" };
            items.push((format!("{}{json}", status::show_range(page.statuses)), FilePath::show(&page.file, writer)?));
        }
        items.push(("intercept".to_owned(), bare(value.intercept)));
        Some(Item::Table(items))
    }
}

fn page(report: &mut Report, entry: &Entry) -> Option<ErrorPage> {
    let (text, json) = match entry.key.strip_suffix(".json") {
        Some(text) => (text, true),
        None => (entry.key.as_str(), false),
    };
    let statuses = match status::range(text) {
        Ok((from, to)) if from >= 400 => Some((from, to)),
        Ok(_) => {
            report.error(entry.key_span, "pages are for errors").expected("statuses from 400 to 599");
            None
        }
        Err(_) => {
            let problem = report.error(entry.key_span, format!("`{}` is not a status", entry.key.escape_debug()));
            problem.expected(format!("{STATUSES}, or `intercept`"));
            None
        }
    };
    if entry.node.table().is_some() {
        report
            .error(entry.node.span, "a page from a cluster is not built yet")
            .help("write the path of a file, which is read when the configuration is loaded");
        return None;
    }
    let file = FilePath::read(report, &entry.node)?;
    let known: Option<&str> = of_extension(&file);
    match known {
        None => {
            let known = TYPES.map(|(extension, _)| format!(".{extension}")).join(", ");
            report
                .error(entry.node.span, "the type of a page is known by its extension")
                .expected(format!("a file that ends in one of {known}"));
            return None;
        }
        Some(content_type) if json && content_type != "application/json" => {
            report
                .error(entry.node.span, "a page for clients that prefer JSON is JSON")
                .expected("a file that ends in .json");
            return None;
        }
        Some(_) => {}
    }
    Some(ErrorPage { statuses: statuses?, json, file })
}
