//! Fixed answers of a route: `respond = { status, body, content_type, headers }`.
//!
//! A body without variables is kept once and shared by all answers. With variables it is filled per request, and their
//! text is escaped as the content type demands (see [`Place::body`](super::template::Place::body)): a page that shows
//! `{path}` does not run what a client put there.

use bytes::Bytes;
use lb_config::{Respond, Template};

use super::reply::Reply;
use super::template::{Facts, Place, fill, fixed};
use crate::message::{InvalidField, Line, Name, ResponseHead};

use super::headers::HeaderError;

/// A fixed answer, compiled.
#[derive(Clone, Debug)]
pub struct Responder {
    status: u16,
    body: Body,
    content_type: Box<str>,
    headers: Vec<(Box<str>, Template)>,
}

#[derive(Clone, Debug)]
enum Body {
    Fixed(Bytes),
    Filled(Template, Place),
}

impl Responder {
    /// Compiles an answer.
    ///
    /// # Errors
    ///
    /// The first header, the content type included, that no response of ours can have.
    pub fn new(respond: &Respond) -> Result<Self, HeaderError> {
        let check = |name: &str, value: &str| {
            Line::new(Name::new(name), value).map_err(|reason| HeaderError { name: name.to_owned(), reason })
        };
        check("content-type", &respond.content_type)?;
        for (name, value) in &respond.headers {
            check(name, &fixed(value).unwrap_or_default())?;
        }
        let body = match fixed(&respond.body) {
            Some(text) => Body::Fixed(Bytes::from(text)),
            None => Body::Filled(respond.body.clone(), Place::body(&respond.content_type)),
        };
        Ok(Self {
            status: respond.status,
            body,
            content_type: Box::from(&*respond.content_type),
            headers: respond.headers.iter().map(|(name, value)| (Box::from(&**name), value.clone())).collect(),
        })
    }

    /// Writes the answer to one request. `Content-Length` is that of the body, to HEAD too.
    ///
    /// # Errors
    ///
    /// None for what [`new`](Self::new) let pass, unless a header grows beyond all measure.
    pub fn write(&self, facts: &Facts<'_>) -> Result<Reply, InvalidField> {
        let mut head = ResponseHead::build(self.status);
        let mut value = Vec::new();
        for (name, template) in &self.headers {
            value.clear();
            fill(template, Place::Header, facts, &mut value);
            head = head.header(&**name, value.trim_ascii());
        }
        let body = match &self.body {
            Body::Fixed(bytes) => bytes.clone(),
            Body::Filled(template, place) => {
                let mut body = Vec::new();
                fill(template, *place, facts, &mut body);
                Bytes::from(body)
            }
        };
        Reply::new(head, self.status, &self.content_type, body, facts.head.method())
    }
}

#[cfg(test)]
mod tests {
    use lb_config::{Part, Variable};

    use super::*;
    use crate::message::Framing;
    use crate::rules::testing::{facts, head, origin};

    fn respond(status: u16, body: &str, content_type: &str) -> Respond {
        let body = Template { parts: vec![Part::Text(body.into())] };
        Respond { status, body, content_type: content_type.into(), headers: Vec::new() }
    }

    fn answered(respond: &Respond, request: &str) -> Reply {
        let head = head(request);
        let origin = origin(&head);
        Responder::new(respond).unwrap().write(&facts(&head, &origin)).unwrap()
    }

    #[test]
    fn a_fixed_answer_is_as_configured() {
        let reply = answered(&respond(200, "healthy\n", "text/plain"), "GET /healthz HTTP/1.1\nHost: a");
        assert_eq!((reply.head.status(), &*reply.body, reply.framing), (200, &b"healthy\n"[..], Framing::Length(8)));
        assert_eq!(reply.head.header("Content-Type"), Some(&b"text/plain"[..]));
    }

    #[test]
    fn head_gets_the_length_and_no_body() {
        let reply = answered(&respond(200, "healthy\n", "text/plain"), "HEAD /healthz HTTP/1.1\nHost: a");
        assert_eq!((reply.head.content_length(), &*reply.body, reply.framing), (Some(8), &b""[..], Framing::None));
    }

    #[test]
    fn a_status_without_body_has_neither_body_nor_length() {
        let reply = answered(&respond(204, "x", "text/plain"), "GET / HTTP/1.1\nHost: a");
        assert_eq!((reply.head.content_length(), &*reply.body, reply.framing), (None, &b""[..], Framing::None));
        let reply = answered(&respond(403, "", "text/plain"), "GET / HTTP/1.1\nHost: a");
        assert_eq!((reply.head.content_length(), reply.framing), (Some(0), Framing::Length(0)));
    }

    #[test]
    fn a_page_does_not_run_what_a_client_wrote() {
        let mut page = respond(404, "", "text/html");
        page.body = Template { parts: vec![Part::Text("<p>".into()), Part::Variable(Variable::Query)] };
        page.headers = vec![("x-query".into(), page.body.clone())];
        let reply = answered(&page, "GET /?<script> HTTP/1.1\nHost: a");
        assert_eq!(&*reply.body, b"<p>&lt;script&gt;");
        assert_eq!(reply.head.header("X-Query"), Some(&b"<p><script>"[..]));
    }

    #[test]
    fn headers_that_cannot_be_sent_are_refused_when_compiled() {
        assert_eq!(Responder::new(&respond(200, "", "text/plain\r\nx: y")).expect_err("refused").name, "content-type");
        let mut bad = respond(200, "", "text/plain");
        bad.headers = vec![("content-length".into(), Template::default())];
        assert_eq!(Responder::new(&bad).expect_err("refused").name, "content-length");
    }
}
