//! An authentication service decides: Authelia, Authentik, oauth2-proxy.
//!
//! The service is asked with the request's head before anything of it goes to an endpoint. What it says of the user goes to the
//! endpoint in headers, so those must come from it alone: whatever looks like one of them is taken out of the client's request
//! before, and stays out where the service says nothing. Where the service does not answer, nobody is let in.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use lb_config::ForwardAuth;

use crate::exchange::{Exchange, Response};
use crate::filters::{Flow, Resume};
use crate::forward::sub_request::{SubFailure, SubRequest, SubResponse};
use crate::message::{Edits, RequestHead, name};
use crate::rules::cause::Cause;
use crate::rules::{client_cert, forwarded, look_alike};

/// Longest body of the service's answer, bytes: a page that says what to do.
const LONGEST: usize = 1024 * 1024;

pub(super) struct Forward(Arc<Inner>);

struct Inner {
    /// Where the service stands among the configuration's clusters.
    cluster: usize,
    method: Arc<str>,
    path: Arc<str>,
    /// Headers that the endpoint receives as the service wrote them.
    copied: Vec<Arc<str>>,
    within: Duration,
}

impl Forward {
    pub(super) fn new(forward: &ForwardAuth) -> Self {
        Self(Arc::new(Inner {
            cluster: forward.cluster,
            method: Arc::clone(&forward.method),
            path: Arc::clone(&forward.path),
            copied: forward.copy.clone(),
            within: forward.timeout,
        }))
    }

    pub(super) fn ask(&self, exchange: &mut Exchange) -> Flow {
        let own = &self.0;
        own.clean(exchange);
        let Ok(question) = own.question(exchange) else {
            return Flow::Answer(exchange.refusal(Cause::Internal, Some("no question".to_owned())));
        };
        let answer = question.send();
        let own = Arc::clone(own);
        Flow::Wait(Box::pin(async move {
            let answer = answer.await;
            Box::new(move |exchange: &mut Exchange| own.decide(exchange, answer)) as Resume
        }))
    }
}

impl Inner {
    /// Takes out of the request what only the service may say, and what strangers say of an earlier proxy.
    fn clean(&self, exchange: &mut Exchange) {
        let is_trusted = exchange.origin.is_trusted;
        let is_removed = |name: &[u8]| {
            self.copied.iter().any(|copied| look_alike::is_alias(name, copied.as_bytes()))
                || (!is_trusted
                    && (look_alike::begins_alias(name, b"x-original-")
                        || look_alike::is_alias(name, b"x-forwarded-prefix")))
        };
        exchange.head = exchange.head.clone().without(is_removed);
    }

    /// The request to the service.
    fn question(&self, exchange: &Exchange) -> Result<SubRequest, QuestionError> {
        let Exchange { head, origin, .. } = exchange;
        let kept = head.end_to_end().filter(|(name, _)| !is_of_the_body(name));
        let host = head.host().unwrap_or(b"localhost");
        let asked = RequestHead::compose(&self.method, self.path.as_bytes(), host, kept, None)?;
        let mut edits = Edits::new();
        let kinds = lb_config::Forwarded { x_forwarded: true, rfc7239: false, preserve_host: true };
        forwarded::write(kinds, origin, &asked, &mut edits);
        client_cert::write(exchange.connection().certificate_lines(), origin.is_trusted, &asked, &mut edits);
        exchange.id.write(&mut edits);

        let mut uri = head.path().to_vec();
        if let Some(query) = head.query() {
            uri.push(b'?');
            uri.extend_from_slice(query);
        }
        let named = head.header(name::X_FORWARDED_HOST).filter(|_| origin.is_trusted).unwrap_or(host);
        let url = [origin.scheme.as_str().as_bytes(), b"://", named, &uri].concat();
        edits.set("X-Forwarded-Method", head.method().as_bytes())?;
        edits.set("X-Forwarded-Uri", &uri)?;
        edits.set("X-Original-Method", head.method().as_bytes())?;
        edits.set("X-Original-URL", &url)?;
        let message = (asked, edits, &Bytes::new());
        Ok(SubRequest::new(exchange, self.cluster, message, self.within, LONGEST))
    }

    /// What becomes of the request.
    fn decide(&self, exchange: &mut Exchange, answer: Result<SubResponse, SubFailure>) -> Flow {
        let why = match answer {
            Ok(answer) => match answer.head.status() {
                200..=299 => match self.tell_endpoint(exchange, &answer) {
                    Ok(()) => return Flow::Go,
                    Err(_) => "a header of the service cannot be written".to_owned(),
                },
                300..=499 => return Flow::Answer(refused(exchange, answer)),
                status => format!("the service answered {status}"),
            },
            Err(SubFailure { cause, detail: Some(detail) }) => format!("{cause}: {detail}"),
            Err(SubFailure { cause, detail: None }) => cause.to_string(),
        };
        Flow::Answer(exchange.refusal(Cause::AuthUnavailable, Some(why)))
    }

    /// Has the endpoint receive what the service says of the user, and nothing else under these names.
    fn tell_endpoint(&self, exchange: &mut Exchange, answer: &SubResponse) -> Result<(), crate::message::InvalidField> {
        for name in &self.copied {
            exchange.edits.remove(&**name)?;
            for value in answer.head.headers(&**name) {
                exchange.edits.append(&**name, value)?;
            }
        }
        Ok(())
    }
}

/// The service's refusal, or its redirect to a login, as it is.
fn refused(exchange: &Exchange, answer: SubResponse) -> Box<Response> {
    let cause = if answer.head.status() == 403 { Cause::Forbidden } else { Cause::Unauthorized };
    // A gRPC call understands no page.
    match exchange.is_grpc {
        true => exchange.refusal(cause, None),
        false => Response::of_service(answer.head, answer.body, cause),
    }
}

/// Headers that say something of a body, which the service does not get, or make an answer about the resource of it.
fn is_of_the_body(name: &[u8]) -> bool {
    let begins = |with: &[u8]| name.len() >= with.len() && name[..with.len()].eq_ignore_ascii_case(with);
    begins(b"content-")
        || begins(b"if-")
        || [&b"expect"[..], b"range", b"trailer", b"te"].iter().any(|it| name.eq_ignore_ascii_case(it))
}

/// Why the service cannot be asked: the client's head was read, so that this is a bug.
struct QuestionError;

impl From<crate::wire::h1::HeadError> for QuestionError {
    fn from(_: crate::wire::h1::HeadError) -> Self {
        Self
    }
}

impl From<crate::message::InvalidField> for QuestionError {
    fn from(_: crate::message::InvalidField) -> Self {
        Self
    }
}
