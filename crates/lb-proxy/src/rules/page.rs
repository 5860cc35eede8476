//! Error pages: a body in place of a short plain one, chosen by status and by what the client would rather have.

use std::cmp::Reverse;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use bytes::Bytes;
use lb_config::{Part, Template, Variable};

use super::template::{Facts, Place, fill, fixed};

/// A page that was read. Cloning is cheap.
#[derive(Clone, Debug, PartialEq)]
pub struct Page {
    content_type: Arc<str>,
    body: Body,
}

#[derive(Clone, Debug, PartialEq)]
enum Body {
    Fixed(Bytes),
    Filled(Arc<Template>, Place),
}

impl Page {
    /// A page of this type, as its file has it. Text may have variables, which are escaped as the type demands; what is not UTF-8 is
    /// sent as it is, without a charset.
    #[must_use]
    pub fn new(content_type: &str, text: Vec<u8>) -> Self {
        let place = Place::body(content_type);
        let (text, charset) = match String::from_utf8(text) {
            Ok(text) => (Ok(text), "; charset=utf-8"),
            Err(error) => (Err(error.into_bytes()), ""),
        };
        let charset = if place == Place::Json { "" } else { charset };
        let body = match text {
            Err(bytes) => Body::Fixed(bytes.into()),
            Ok(text) => {
                let template = Template::of_page(&text);
                match fixed(&template) {
                    Some(text) => Body::Fixed(text.into()),
                    None => Body::Filled(Arc::new(template), place),
                }
            }
        };
        Self { content_type: format!("{content_type}{charset}").into(), body }
    }

    /// Its type, with a charset.
    #[must_use]
    pub fn content_type(&self) -> &str {
        &self.content_type
    }

    /// Its body for a request.
    #[must_use]
    pub fn body(&self, facts: &Facts<'_>) -> Bytes {
        match &self.body {
            Body::Fixed(bytes) => bytes.clone(),
            Body::Filled(template, place) => {
                let mut out = Vec::new();
                fill(template, *place, facts, &mut out);
                out.into()
            }
        }
    }
}

impl Page {
    /// Its body for what could not be read as a request: of the variables, only the id is known.
    #[must_use]
    pub fn body_of_unread(&self, request_id: &str) -> Bytes {
        match &self.body {
            Body::Fixed(bytes) => bytes.clone(),
            Body::Filled(template, _) => {
                let text = template.parts.iter().map(|part| match part {
                    Part::Text(text) => &**text,
                    Part::Variable(Variable::RequestId) => request_id,
                    Part::Variable(_) => "",
                });
                text.collect::<String>().into()
            }
        }
    }
}

/// An error page, or a directory that files are served from, that cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("cannot use {what} {}: {source}", .file.display())]
pub struct PageError {
    /// `the error page`, or `the root of files`.
    pub what: &'static str,
    /// The file.
    pub file: PathBuf,
    /// Why not.
    pub source: io::Error,
}

/// The pages of a route, of a listener, or of the whole proxy.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct PageTable {
    rows: Vec<Row>,
    /// Whether they replace responses of endpoints as well.
    pub intercept: bool,
}

#[derive(Clone, Debug, PartialEq)]
struct Row {
    statuses: (u16, u16),
    is_json: bool,
    /// For those only who prefer JSON.
    only_json: bool,
    page: Page,
}

impl PageTable {
    /// No page yet. `intercept`: those to come replace responses of endpoints as well.
    #[must_use]
    pub fn new(intercept: bool) -> Self {
        Self { rows: Vec::new(), intercept }
    }

    /// Adds a page for these statuses, both included; `only_json` if only those get it who prefer JSON.
    pub fn add(&mut self, statuses: (u16, u16), only_json: bool, page: Page) {
        let is_json = only_json || Place::body(&page.content_type) == Place::Json;
        self.rows.push(Row { statuses, is_json, only_json, page });
    }

    /// Whether it has no page.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// The page for a status with the fewest statuses, and how many these are.
    fn find(&self, status: u16, json: bool) -> Option<(u16, &Page)> {
        let fits = |row: &&Row| {
            (row.statuses.0..=row.statuses.1).contains(&status) && if json { row.is_json } else { !row.only_json }
        };
        let width = |row: &Row| row.statuses.1 - row.statuses.0;
        // Of two as narrow, one that is for JSON alone says so more clearly.
        let row = self.rows.iter().filter(fits).min_by_key(|row| (width(row), Reverse(row.only_json)))?;
        Some((width(row), &row.page))
    }
}

/// What a client gets.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Chosen<'a> {
    /// This page.
    Page(&'a Page),
    /// The generated JSON: there is a page, but none in JSON.
    Json,
}

/// Chooses among tables, those of a route before those of a listener before those of the proxy: the page for the fewest statuses first, and
/// of those the first. `json`: the client prefers JSON.
pub fn choose<'a>(
    tables: &(impl Iterator<Item = &'a PageTable> + Clone),
    status: u16,
    json: bool,
) -> Option<Chosen<'a>> {
    let best = |json| tables.clone().filter_map(|table| table.find(status, json)).min_by_key(|(width, _)| *width);
    match best(json) {
        Some((_, page)) => Some(Chosen::Page(page)),
        None if json => best(false).map(|_| Chosen::Json),
        None => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rules::testing::{facts, head, origin};

    fn table(rows: &[(u16, u16, bool, &str)]) -> PageTable {
        let mut table = PageTable::default();
        for &(from, to, only_json, text) in rows {
            let kind = if text.starts_with('{') { "application/json" } else { "text/html" };
            table.add((from, to), only_json, Page::new(kind, text.into()));
        }
        table
    }

    fn chosen(tables: &[PageTable], status: u16, json: bool) -> Option<String> {
        let head = head("GET /<a>?q=\"\\ HTTP/1.1\nHost: a");
        let origin = origin(&head);
        choose(&tables.iter(), status, json).map(|chosen| match chosen {
            Chosen::Page(page) => String::from_utf8_lossy(&page.body(&facts(&head, &origin))).into_owned(),
            Chosen::Json => "json".to_owned(),
        })
    }

    #[test]
    fn the_most_specific_page_wins_and_then_the_nearest() {
        let route = table(&[(500, 599, false, "route 5xx"), (404, 404, false, "route 404")]);
        let listener = table(&[(502, 502, false, "listener 502"), (500, 599, false, "listener 5xx")]);
        let global = table(&[(502, 502, false, "global 502"), (400, 499, false, "global 4xx")]);
        let tables = [route, listener, global];
        for (status, expected) in [
            (502, Some("listener 502")),
            (503, Some("route 5xx")),
            (404, Some("route 404")),
            (405, Some("global 4xx")),
            (399, None),
            (600, None),
        ] {
            assert_eq!(chosen(&tables, status, false).as_deref(), expected, "{status}");
        }
    }

    #[test]
    fn clients_that_prefer_json_get_json() {
        let both = [table(&[(500, 599, false, "page"), (500, 599, true, "{1}"), (502, 502, false, "502")])];
        assert_eq!(chosen(&both, 503, true).as_deref(), Some("{1}"));
        assert_eq!(chosen(&both, 502, true).as_deref(), Some("{1}"), "JSON for many before HTML for one");
        assert_eq!(chosen(&both, 503, false).as_deref(), Some("page"));
        let html = [table(&[(500, 599, false, "page")])];
        assert_eq!(chosen(&html, 503, true).as_deref(), Some("json"));
        assert_eq!(chosen(&html, 404, true), None);
        let only = [table(&[(500, 599, true, "{1}")])];
        assert_eq!(chosen(&only, 503, false), None);
        let plain = [table(&[(500, 599, false, "{1}")])];
        assert_eq!((chosen(&plain, 503, false), chosen(&plain, 503, true)), (Some("{1}".into()), Some("{1}".into())));
    }

    #[test]
    fn what_a_client_wrote_is_escaped_and_other_braces_stay() {
        let tables =
            [table(&[(404, 404, false, "<style>p {x: y}</style>{path}"), (404, 404, true, "{\"q\":\"{query}\"}")])];
        assert_eq!(chosen(&tables, 404, false).as_deref(), Some("<style>p {x: y}</style>/&lt;a&gt;"));
        assert_eq!(chosen(&tables, 404, true).as_deref(), Some("{\"q\":\"q=\\\"\\\\\"}"));
    }

    #[test]
    fn a_page_that_is_not_utf_8_is_sent_as_it_is() {
        let page = Page::new("text/html", b"caf\xe9 {path}".to_vec());
        let head = head("GET / HTTP/1.1\nHost: a");
        assert_eq!(
            (&*page.body(&facts(&head, &origin(&head))), page.content_type()),
            (&b"caf\xe9 {path}"[..], "text/html")
        );
        assert_eq!(Page::new("text/html", b"a".to_vec()).content_type(), "text/html; charset=utf-8");
        assert_eq!(Page::new("application/json", b"1".to_vec()).content_type(), "application/json");
    }
}
