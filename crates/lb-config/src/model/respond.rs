//! `respond`: an action of a route.

use std::sync::Arc;

use crate::language::diagnostic::Report;
use crate::language::template::Template;
use crate::language::tree::Node;
use crate::language::values::http;
use crate::model::headers;
use crate::model::syntax::Syntax;
use crate::table::block::{Block, block};
use crate::table::convert::{self, FillPhase};
use crate::table::fields::Fields;
use crate::table::form::{Int, form};
use crate::table::item::Item;
use crate::table::section::Default::Value;
use crate::table::section::{Kind, Section};

block! {
    /// A fixed answer.
    #[derive(Clone, Debug, PartialEq)]
    pub struct Respond =
        Section::new("respond", "`respond`", "A fixed answer.")
            .example("respond = { status = 200, body = \"ok\\n\" }");
    status: u16 => Int<u16, 200, 599>, Value("200"), "Its status.";
    body: Template => Body, Value("\"\""), "Its body; `{variables}` are filled in.";
    content_type: Arc<str> => ContentType, Value("\"text/plain; charset=utf-8\""), "The body's type.";
    headers: Vec<(Arc<str>, Template)> => Headers, Value("{}"), "Further headers; `{variables}` are filled in.";
}

impl Block for Respond {
    fn check_keys(report: &mut Report, fields: &Fields<'_>) -> Option<()> {
        headers::hide_values(report, fields.entry("headers").into_iter().map(|entry| &entry.node));
        Some(())
    }

    fn check(self, report: &mut Report, fields: &Fields<'_>) -> Option<Self> {
        let body = fields.entry("body").map_or(fields.span, |entry| entry.key_span);
        if let Some(variable) = self.body.variables().find(|variable| variable.is_free_text())
            && Syntax::of(&self.content_type).is_none()
        {
            report
                .error(
                    fields.value_span("content_type"),
                    format!("`{{{variable}}}` cannot be made harmless in a body of this type"),
                )
                .expected(
                    "text/plain, or a type of HTML, XML, JSON or JavaScript, in which what clients write is escaped",
                )
                .related("the body", body);
            return None;
        }
        if matches!(self.status, 204 | 205 | 304) && !self.body.is_empty() {
            report.error(body, format!("a {} has no body", self.status));
            return None;
        }
        Some(self)
    }
}

form! {
    /// A text with variables, filled in without an endpoint.
    Body: Template = Kind::Text;
    read: |report, node| convert::template(FillPhase::Answered)(report, node),
    show: |body, writer| writer.template(body),
}

form! {
    /// A media type.
    ContentType: Arc<str> = Kind::Text;
    read: |report, node| {
        let text = convert::text(report, node)?;
        http::header_value(&text).map_err(|error| convert::wrong(report, node, error)).ok()?;
        Some(text.into())
    },
    show: |text, writer| writer.free(text),
}

form! {
    /// Header names with their values.
    Headers: Vec<(Arc<str>, Template)> = Kind::Map(&Kind::Text);
    read: respond_headers,
    show: |headers, writer| {
        Item::Table(headers.iter().map(|(name, value)| (name.to_string(), writer.template(value))).collect())
    },
}

fn respond_headers(report: &mut Report, node: &Node) -> Option<Vec<(Arc<str>, Template)>> {
    let mut seen = Vec::new();
    convert::map(report, node, "a table of header names and values", |report, entry| {
        let name = headers::header_name_once(report, entry, &mut seen);
        let value = headers::header_template(FillPhase::Answered)(report, &entry.node);
        let name = name?;
        headers::may_edit(report, entry, &name)?;
        headers::may_lead(report, &entry.node, &name, value.as_ref())?;
        if name.eq_ignore_ascii_case("content-type") {
            report.error(entry.key_span, "the type is written once").help("write `content_type` beside `body`");
            return None;
        }
        Some((name, value?))
    })
}
