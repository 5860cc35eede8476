//! Error pages, of the route, of the listener and of the proxy.

use std::sync::Arc;

use bytes::Bytes;

use super::{Filter, Scope};
use crate::exchange::{Body, Exchange, Response};
use crate::message::{Framing, ResponseHead, name};
use crate::rules::accept;
use crate::rules::answer;
use crate::rules::headers::HeaderError;
use crate::rules::page::{Chosen, PageTable, choose};
use crate::runtime::pages::SharedPages;

pub(super) struct Errors {
    route: PageTable,
    shared: Arc<SharedPages>,
}

impl Filter for Errors {
    fn new(scope: &Scope<'_>) -> Result<Option<Self>, HeaderError> {
        let pages = scope.parts.pages;
        let position = scope.route.and_then(|route| scope.config.routes.iter().position(|it| std::ptr::eq(it, route)));
        let route = position.and_then(|position| pages.routes.get(position)).cloned().unwrap_or_default();
        let has_any = !route.is_empty()
            || !pages.shared.global.is_empty()
            || pages.shared.listeners.iter().any(|table| !table.is_empty());
        Ok(has_any.then(|| Self { route, shared: Arc::clone(&pages.shared) }))
    }

    fn on_response(&self, exchange: &Exchange, response: &mut Response) {
        let status = response.head.status();
        // A 426 names a protocol, which belongs to its head; and a call of gRPC has no pages.
        if !(400..=599).contains(&status) || status == 426 || exchange.is_grpc {
            return;
        }
        let is_own = response.is_own();
        // What the configuration answers with a body of its own stays.
        if is_own && response.cause.is_none() && response.head.content_length() != Some(0) {
            return;
        }
        let all = [Some(&self.route), self.shared.listeners.get(exchange.listener), Some(&self.shared.global)];
        let tables = all.into_iter().flatten().filter(|table| is_own || table.intercept);
        let (content_type, body) = match choose(&tables, status, accept::prefers_json(&exchange.head)) {
            Some(Chosen::Page(page)) => (page.content_type(), page.body(&exchange.facts(exchange.route()))),
            // A refusal is in JSON already.
            Some(Chosen::Json) if response.cause.is_some() => return,
            Some(Chosen::Json) => (answer::JSON, answer::json(status, reason(status), exchange.id.as_str())),
            None => return,
        };
        replace(exchange, response, content_type, body);
    }
}

/// The usual reason phrase, or the status alone.
fn reason(status: u16) -> &'static str {
    http::StatusCode::from_u16(status).ok().and_then(|status| status.canonical_reason()).unwrap_or("error")
}

/// Puts another body in the place of a response's. What its head says about the old one goes; the rest stays, such as cookies, and
/// what a client needs to come in or to come again.
fn replace(exchange: &Exchange, response: &mut Response, content_type: &str, body: Bytes) {
    let length = body.len() as u64;
    let mut head = ResponseHead::build(response.head.status());
    let of_ours = response.cause.is_some();
    for (name, value) in response.head.iter().filter(|(name, _)| !is_of_the_body(name)) {
        head = head.header(name, value);
    }
    if !of_ours {
        // Refusals are never stored; of others a cache must know that there are several.
        head = head.header("Vary", "Accept");
    }
    let Ok(head) = head.header(name::CONTENT_TYPE, content_type).length(length).finish() else { return };
    response.head = head;
    let has_body = !exchange.has_no_body(&response.head);
    response.framing = if has_body { Framing::Length(length) } else { Framing::None };
    response.body = if has_body { Body::Full(body) } else { Body::Empty };
}

/// Whether a header is about a body or a connection, and not about the answer.
fn is_of_the_body(name: &[u8]) -> bool {
    const NAMES: [&str; 21] = [
        "accept-ranges",
        "connection",
        "content-digest",
        "content-disposition",
        "content-encoding",
        "content-language",
        "content-length",
        "content-location",
        "content-md5",
        "content-range",
        "content-type",
        "digest",
        "etag",
        "keep-alive",
        "last-modified",
        "proxy-connection",
        "repr-digest",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
    ];
    NAMES.iter().any(|known| name.eq_ignore_ascii_case(known.as_bytes()))
}
