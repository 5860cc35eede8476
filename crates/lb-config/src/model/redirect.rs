//! `redirect`: an action of a route.

use std::sync::Arc;

use crate::language::diagnostic::Report;
use crate::language::template::{Part, Template, Variable};
use crate::language::tree::Node;
use crate::language::values::{ValueError, http};
use crate::model::headers;
use crate::table::block::{Block, Keys, Table, block};
use crate::table::convert::{self, FillPhase};
use crate::table::form::{Form, form};
use crate::table::item::{Item, Writer, bare, text};
use crate::table::section::Default::{Required, Value};
use crate::table::section::{Kind, Section};

block! {
    /// A redirect.
    #[derive(Clone, Debug, PartialEq)]
    pub struct Redirect =
        Section::new("redirect", "`redirect`", "A redirect.").example("redirect = { to = \"/new/\" }");
    to: RedirectTo => To, Required,
        "A path replaces the matched prefix and keeps the rest and the query; a URL, or a text with `{variables}`, is used as written; \"https\" changes the scheme.";
    status: u16 => Status, Value("308"), "301, 302, 303, 307 or 308.";
}

impl Block for Redirect {}

/// The target of a redirect.
#[derive(Clone, Debug, PartialEq)]
pub enum RedirectTo {
    /// The same host, path and query under https.
    Https,
    /// Replace the matched prefix by this path, keep the rest and the query.
    Path(Arc<str>),
    /// As written, variables filled in.
    Template(Template),
}

/// A table, or `"https"`.
pub(crate) struct RedirectForm;

impl Form for RedirectForm {
    type Value = Redirect;
    const KIND: Kind = Kind::Any(&[Kind::Word(&["https"]), Kind::Table(Redirect::SECTION)]);

    fn read(report: &mut Report, node: &Node) -> Option<Redirect> {
        const SHORT: &str = "\"https\", or a table with `to`";
        match node.text() {
            Some("https") => Some(Redirect { to: RedirectTo::Https, status: 301 }),
            Some(text) => {
                let error = ValueError::new("is no redirect", SHORT);
                convert::wrong(report, node, error.help(format!("write {{ to = \"{text}\" }}")));
                None
            }
            None => Redirect::read(report, node),
        }
    }

    fn show(value: &Redirect, writer: &Writer<'_>) -> Option<Item> {
        Table::show(value, writer)
    }
}

form! {
    /// A path, a URL, a text with variables, or `"https"`.
    To: RedirectTo = Kind::Text;
    read: redirect_to,
    show: |to, writer| match to {
        RedirectTo::Https => text("https"),
        RedirectTo::Path(path) => writer.free(path),
        RedirectTo::Template(template) => writer.template(template),
    },
}

form! {
    /// A status that redirects.
    Status: u16 = Kind::Integer(301, 308);
    read: |report, node| {
        let status = convert::integer::<u16>(report, node, (300, 399))?;
        if !matches!(status, 301 | 302 | 303 | 307 | 308) {
            convert::wrong(report, node, ValueError::new("is no redirect", "301, 302, 303, 307 or 308"));
            return None;
        }
        Some(status)
    },
    show: |status, _| bare(status),
}

fn redirect_to(report: &mut Report, node: &Node) -> Option<RedirectTo> {
    const EXPECTED: &str = "a path (\"/new/\"), a URL (\"https://example.com/\") or a text with `{variables}`";
    if node.text() == Some("https") {
        return Some(RedirectTo::Https);
    }
    let text = convert::read(report, node, EXPECTED, |text| http::header_value(text).map(|()| text.to_owned()))?;
    let template = convert::template(FillPhase::Answered)(report, node)?;
    if template.variables().next().is_some() || text.contains("://") {
        // What `{path}` and `{uri}` begin with is seen to when they are filled in.
        let is_path = matches!(template.parts.first(), Some(Part::Variable(Variable::Path | Variable::Uri)));
        return (is_path || headers::leads_somewhere(report, node, &template))
            .then_some(RedirectTo::Template(template));
    }
    if !text.starts_with('/') {
        convert::wrong(report, node, ValueError::new("is neither a path nor a URL", EXPECTED));
        return None;
    }
    if text.contains(['?', '#']) {
        let error = ValueError::new("has a query or fragment, and a path keeps the request's own", EXPECTED);
        convert::wrong(report, node, error.help("write the whole URL: \"{scheme}://{host}/…\""));
        return None;
    }
    convert::read(report, node, EXPECTED, http::target).map(RedirectTo::Path)
}
