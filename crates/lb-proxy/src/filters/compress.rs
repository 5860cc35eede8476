//! Compression of responses, by what the client accepts.

use std::sync::Arc;

use lb_config::{Compress as Options, CompressionLevel, Encoding};

use super::compressed_body::{CompressedBody, Effort, effort};
use super::{Filter, Scope};
use crate::exchange::{Body, Exchange, Response};
use crate::message::{Framing, Method, name};
use crate::observe::metrics::Metrics;
use crate::rules::encoding;
use crate::rules::headers::HeaderError;

pub(super) struct Compress {
    options: Options,
    metrics: Arc<Metrics>,
}

/// What another encoding makes wrong: sums of the body, and parts of it.
const OF_THE_BODY: [&str; 5] = ["Accept-Ranges", "Content-Digest", "Content-MD5", "Digest", "Repr-Digest"];

impl Filter for Compress {
    fn new(scope: &Scope<'_>) -> Result<Option<Self>, HeaderError> {
        let options = scope.route.and_then(|route| route.options.compress.clone());
        Ok(options.map(|options| Self { options, metrics: Arc::clone(scope.parts.metrics) }))
    }

    fn on_response(&self, exchange: &Exchange, response: &mut Response) {
        if exchange.is_grpc || matches!(response.body, Body::Tunnel(_)) {
            return;
        }
        // Whether it has not changed depends on the encoding too.
        if response.head.status() == 304 {
            vary(response);
            return;
        }
        if !self.might(exchange, response) {
            return;
        }
        vary(response);
        let accepted = exchange.head.headers(name::ACCEPT_ENCODING);
        let Some(encoding) = encoding::choose(accepted, &self.options.encodings) else { return };
        let level = match effort() {
            Effort::Full => self.options.level,
            Effort::Cheaper => CompressionLevel::Fastest,
            Effort::None => return self.metrics.on_compression_skipped(),
        };
        let is_cheaper = level != self.options.level;
        if exchange.head.method() == Method::Head {
            announce(response, encoding);
            // Nobody knows it before the body was encoded.
            response.head = response.head.clone().without_length();
            response.framing = Framing::None;
            return;
        }
        let Some(body) = CompressedBody::new(&mut response.body, encoding, level) else {
            return self.metrics.on_compression_skipped();
        };
        response.body = Body::Source(Box::new(body));
        response.framing = Framing::Chunked;
        announce(response, encoding);
        self.metrics.on_compressed(is_cheaper);
    }
}

impl Compress {
    /// Whether this response would be compressed for some client.
    fn might(&self, exchange: &Exchange, response: &Response) -> bool {
        let header = |name: &'static str| response.edits.response_header(&response.head, name);
        if !matches!(response.head.status(), 200 | 201 | 203 | 226 | 300..=303 | 307 | 308 | 400..=599) {
            return false;
        }
        let length = match response.framing {
            // The head has it.
            _ if exchange.head.method() == Method::Head => response.head.content_length(),
            Framing::Length(length) => Some(length),
            Framing::None => Some(0),
            Framing::Chunked | Framing::Close => None,
        };
        if length.is_some_and(|length| length == 0 || length < self.options.min_length) {
            return false;
        }
        let Some(kind) = header("Content-Type") else { return false };
        let is_encoded = header("Content-Encoding").is_some_and(|coding| !coding.eq_ignore_ascii_case(b"identity"));
        let is_fixed =
            response.head.headers("Cache-Control").chain(response.edits.added_value(&"Cache-Control".into())).any(
                |line| {
                    line.split(|&byte| byte == b',').any(|item| item.trim_ascii().eq_ignore_ascii_case(b"no-transform"))
                },
            );
        let is_grpc = kind.len() >= 16 && kind[..16].eq_ignore_ascii_case(b"application/grpc");
        !is_encoded && !is_fixed && !is_grpc && encoding::is_of(kind, &self.options.types)
    }
}

/// Says that another client may get another response.
fn vary(response: &mut Response) {
    let says = |line: &[u8]| {
        line.split(|&byte| byte == b',').any(|item| {
            let item = item.trim_ascii();
            item == b"*" || item.eq_ignore_ascii_case(b"accept-encoding")
        })
    };
    if !response.head.headers("Vary").any(says) {
        // A name and a value that can be written.
        let _ = response.edits.append("Vary", "Accept-Encoding");
    }
}

/// Has the head say that the body is encoded, and no more what was true of it before.
fn announce(response: &mut Response, encoding: Encoding) {
    let edits = &mut response.edits;
    // Names and values that can be written.
    let _ = edits.set(name::CONTENT_ENCODING, encoding::name(encoding));
    for name in OF_THE_BODY {
        let _ = edits.remove(name);
    }
    // The same octets as before are no longer promised (RFC 9110 §8.8.1).
    if let Some(tag) = edits.response_header(&response.head, "ETag").filter(|tag| tag.starts_with(b"\"")) {
        let weak = [b"W/", tag].concat();
        let _ = edits.set("ETag", weak);
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{Proxy, written};
    use crate::filters::Passed;
    use crate::rules::testing::head;

    /// The lines of the response of a route to a request with these headers.
    fn answered(route: &str, request: &str) -> Vec<String> {
        let proxy = Proxy::new(&format!("[[route]]\n{route}"));
        let (exchange, Passed::Answer(mut response)) = proxy.ask(head(request)) else { panic!("it answers") };
        proxy.chains.on_response(&exchange, &mut response);
        written(&response)
    }

    fn has(lines: &[String], line: &str) -> bool {
        lines.iter().any(|known| known.eq_ignore_ascii_case(line))
    }

    #[test]
    fn what_could_have_differed_varies_and_what_is_encoded_says_so() {
        let body = "a".repeat(2000);
        let route = |more: &str| format!("compress = \"on\"\nrespond = {{ body = \"{body}\"{more} }}");
        let gzip = "GET / HTTP/1.1\nHost: a\nAccept-Encoding: gzip";
        let lines =
            answered(&route(", headers = { ETag = '\"1\"', Accept-Ranges = \"bytes\", Repr-Digest = \"x\" }"), gzip);
        for line in ["Content-Encoding: gzip", "Vary: Accept-Encoding", "ETag: W/\"1\"", "Transfer-Encoding: chunked"] {
            assert!(has(&lines, line), "{line}: {lines:?}");
        }
        for name in ["content-length", "accept-ranges", "repr-digest"] {
            assert!(!lines.iter().any(|line| line.to_ascii_lowercase().starts_with(name)), "{name}: {lines:?}");
        }
        let lines = answered(&route(", headers = { ETag = '\"1\"', Vary = \"Origin\" }"), "GET / HTTP/1.1\nHost: a");
        assert!(has(&lines, "Vary: Origin") && has(&lines, "Vary: Accept-Encoding"), "{lines:?}");
        assert!(has(&lines, "ETag: \"1\"") && has(&lines, "Content-Length: 2000"), "{lines:?}");
        for more in [
            ", headers = { Cache-Control = \"public, no-transform\" }",
            ", headers = { Content-Encoding = \"br\" }",
            ", content_type = \"image/png\"",
            ", status = 206",
        ] {
            let lines = answered(&route(more), gzip);
            assert!(!has(&lines, "Vary: Accept-Encoding") && has(&lines, "Content-Length: 2000"), "{more}: {lines:?}");
        }
        let short = "compress = \"on\"\nrespond = { body = \"short\" }";
        assert!(has(&answered(short, gzip), "Content-Length: 5"));
        let any = "compress = { min_length = \"0B\" }\nrespond = { body = \"short\" }";
        assert!(has(&answered(any, gzip), "Content-Encoding: gzip"));
        let lines = answered(&route(", headers = { Vary = \"accept-encoding\" }"), gzip);
        assert_eq!(lines.iter().filter(|line| line.to_ascii_lowercase().starts_with("vary")).count(), 1, "{lines:?}");
    }

    #[test]
    fn head_is_told_what_get_would_be_and_304_varies() {
        let route = format!("compress = \"on\"\nrespond = {{ body = \"{}\" }}", "a".repeat(2000));
        let lines = answered(&route, "HEAD / HTTP/1.1\nHost: a\nAccept-Encoding: br");
        assert!(has(&lines, "Content-Encoding: br"), "{lines:?}");
        assert!(!lines.iter().any(|line| line.starts_with("Content-Length")), "{lines:?}");
        let lines = answered("compress = \"on\"\nrespond = { status = 304 }", "GET / HTTP/1.1\nHost: a");
        assert!(has(&lines, "Vary: Accept-Encoding"), "{lines:?}");
    }
}
