//! Heads from and to the `http` crate, for HTTP/2 and for embedders.
//!
//! A foreign head is written down as HTTP/1.1 and read by our own parser, so that exactly the same rules hold for it.
//! Lengths and codings in it are ignored: the caller knows how the body is framed. What the other library lets pass
//! and HTTP/1 does not have, or what writing it down would hide, is refused before ([`check_http2`]).

use bytes::{BufMut, Bytes, BytesMut};
use http::{HeaderMap, header};

use super::chars::{has_control, is_token};
use super::fields::flag;
use super::{Edits, Fields, Framing, RequestHead, ResponseHead, Trailers, Version, name};
use crate::wire::h1::{
    Answering, BodyDecoder, BodyError, Cause, HeadError, HeadLimits, RequestParser, ResponseParser, Step, decimal,
};

/// Room for the method, the version and what is written of lengths, hosts and upgrades.
const LINES: usize = 128;

/// The protocol that an extended CONNECT is a request for, where it stands for one (RFC 8441 §5).
pub const WEBSOCKET: &str = "websocket";

/// The other library had limits of its own.
pub(super) const NO_LIMITS: HeadLimits = HeadLimits { bytes: usize::MAX, headers: usize::MAX, uri: usize::MAX };

impl RequestHead {
    /// A request of our own, over HTTP/1.1: its target in origin form, its host, further headers, and how long its body is, `None`
    /// without one. What is written here is read by our own parser, so that exactly the same rules hold for it.
    ///
    /// # Errors
    /// What the codec refuses in such a head.
    pub fn compose<'a>(
        method: &str,
        target: &[u8],
        host: &[u8],
        headers: impl IntoIterator<Item = (&'a [u8], &'a [u8])>,
        length: Option<u64>,
    ) -> Result<Self, HeadError> {
        // What ended its line here would be read as a line of its own.
        if has_control(method.as_bytes()) || has_control(target) || has_control(host) {
            return Err(Cause::BadRequestLine.into());
        }
        let mut text = BytesMut::with_capacity(1024);
        for part in [method.as_bytes(), b" ", target, b" HTTP/1.1\r\nHost: ", host, b"\r\n"] {
            text.put_slice(part);
        }
        for (name, value) in headers {
            if !is_token(name) || has_control(value) {
                return Err(if is_token(name) { Cause::BadHeaderValue } else { Cause::BadHeaderName }.into());
            }
            for part in [name, b": ", value, b"\r\n"] {
                text.put_slice(part);
            }
        }
        if let Some(length) = length {
            text.put_slice(format!("Content-Length: {length}\r\n").as_bytes());
        }
        text.put_slice(b"\r\n");
        RequestParser::new().parse(&mut text, &NO_LIMITS)?.ok_or_else(|| Cause::Truncated.into())
    }

    /// A request that another library parsed. An authority in the URI (`:authority` in HTTP/2) becomes `Host`; a
    /// `Host` that differs from it is refused (RFC 9113 §8.3.1). HTTP/2's split cookies are joined again (§8.2.3).
    ///
    /// # Errors
    /// What our own codec refuses in such a head.
    pub fn from_parts(parts: &http::request::Parts, framing: Framing) -> Result<Self, HeadError> {
        Self::from_parts_within(parts, framing, &NO_LIMITS)
    }

    /// [`from_parts`](Self::from_parts), of a head that is to keep to these limits as if it had come as HTTP/1.1.
    pub fn from_parts_within(
        parts: &http::request::Parts,
        framing: Framing,
        limits: &HeadLimits,
    ) -> Result<Self, HeadError> {
        Self::converted(parts, framing, limits, None)
    }

    /// With the key of a WebSocket, it is the request for one that an extended CONNECT stands for.
    pub(super) fn converted(
        parts: &http::request::Parts,
        framing: Framing,
        limits: &HeadLimits,
        websocket: Option<&str>,
    ) -> Result<Self, HeadError> {
        let is_http2 = parts.version == http::Version::HTTP_2;
        if is_http2 {
            check_http2(parts)?;
        }
        // At once, since it stays as large as it has become.
        let fields: usize = parts.headers.iter().map(|(name, value)| name.as_str().len() + value.len() + 4).sum();
        let uri = parts.uri.path_and_query().map_or(1, |target| target.as_str().len())
            + parts.uri.authority().map_or(0, |authority| authority.as_str().len());
        let mut text = BytesMut::with_capacity(fields + uri + LINES);
        let method = if websocket.is_some() { &http::Method::GET } else { &parts.method };
        text.extend_from_slice(method.as_str().as_bytes());
        text.put_u8(b' ');
        match parts.uri.path_and_query() {
            _ if method == http::Method::CONNECT => {
                text.extend_from_slice(parts.uri.authority().map_or("", |a| a.as_str()).as_bytes());
            }
            Some(target) => text.extend_from_slice(target.as_str().as_bytes()),
            None => text.put_u8(b'/'),
        }
        let version: &[u8] = if parts.version == http::Version::HTTP_10 { b" HTTP/1.0" } else { b" HTTP/1.1" };
        text.extend_from_slice(version);
        text.extend_from_slice(b"\r\n");

        let authority = parts.uri.authority().map(|a| a.as_str().as_bytes());
        if let Some(authority) = authority {
            put(&mut text, b"host", authority);
            if parts.headers.get_all(header::HOST).iter().any(|h| !h.as_bytes().eq_ignore_ascii_case(authority)) {
                return Err(Cause::BadHost.into());
            }
        }
        put_headers(&mut text, &parts.headers, framing, |name| {
            (name == header::HOST && authority.is_some())
                || (is_http2 && (is_connection(name) || name == header::COOKIE))
                || (websocket.is_some() && name == header::SEC_WEBSOCKET_KEY)
        });
        if let Some(key) = websocket {
            put(&mut text, b"connection", b"upgrade");
            put(&mut text, b"upgrade", WEBSOCKET.as_bytes());
            put(&mut text, b"sec-websocket-key", key.as_bytes());
        }
        if is_http2 {
            put_cookies(&mut text, &parts.headers);
        }
        text.extend_from_slice(b"\r\n");

        let head = RequestParser::new().parse(&mut text, limits)?.filter(|_| text.is_empty());
        let head = head.ok_or(HeadError::from(Cause::BadRequestLine))?;
        Ok(head.amended(|index| {
            index.framing = framing;
            if is_http2 {
                index.version = Version::Http2;
                index.keep_alive = true;
            }
        }))
    }

    /// This request with `edits` for another library to send: without connection headers, with `Content-Length` if
    /// `framing` is one. With a scheme (HTTP/2) the URI is absolute and there is no `Host`; without, it is the path and
    /// query, beside `Host`.
    ///
    /// # Errors
    /// What `http` cannot hold: some targets that we accept, such as one with `{` in its path.
    pub fn to_parts(
        &self,
        edits: &Edits,
        framing: Framing,
        scheme: Option<&str>,
    ) -> Result<http::request::Parts, http::Error> {
        let host = edits.added_value(&name::HOST).or_else(|| self.host()).unwrap_or_default();
        let path = || -> Vec<u8> {
            let query = self.query().into_iter().flat_map(|query| [&b"?"[..], query]);
            std::iter::once(self.path()).chain(query).flatten().copied().collect()
        };
        let target = edits.target().map_or_else(path, |target| target.to_vec());
        let mut uri = http::Uri::builder();
        if self.is_connect() {
            uri = uri.authority(self.target());
        } else {
            uri = uri.path_and_query(target);
            if let Some(scheme) = scheme {
                uri = uri.scheme(scheme).authority(host);
            }
        }
        let mut request = http::Request::builder().method(self.method().as_bytes()).uri(uri.build()?);
        let headers = request.headers_mut();
        if let Some(headers) = headers {
            fill(headers, self.as_bytes(), &self.index().fields, edits, flag::HOP | flag::LENGTH | flag::HOST)?;
            headers.remove(header::HOST);
            if scheme.is_none() {
                headers.insert(header::HOST, header::HeaderValue::from_bytes(host)?);
            }
            if self.accepts_trailers() {
                headers.insert(header::TE, header::HeaderValue::from_static("trailers"));
            }
            if let Framing::Length(length) = framing {
                headers.insert(header::CONTENT_LENGTH, length_value(length, self.as_bytes(), &self.index().fields));
            }
        }
        let version = if scheme.is_some() { http::Version::HTTP_2 } else { http::Version::HTTP_11 };
        Ok(request.version(version).body(())?.into_parts().0)
    }
}

impl ResponseHead {
    /// A response that another library parsed.
    ///
    /// # Errors
    /// What our own codec refuses in such a head; 101 among it, which is not an answer any more once it was parsed.
    pub fn from_parts(parts: &http::response::Parts, framing: Framing) -> Result<Self, HeadError> {
        Self::from_parts_within(parts, framing, &NO_LIMITS)
    }

    /// [`from_parts`](Self::from_parts), of a head that is to keep to these limits as if it had come as HTTP/1.1.
    pub fn from_parts_within(
        parts: &http::response::Parts,
        framing: Framing,
        limits: &HeadLimits,
    ) -> Result<Self, HeadError> {
        let mut text = BytesMut::with_capacity(512);
        version_line(&mut text, parts.status);
        // A length without a body is what HEAD and 304 may have.
        let stated = match framing {
            Framing::None => parts.headers.get(header::CONTENT_LENGTH).and_then(|v| v.to_str().ok()?.parse().ok()),
            _ => None,
        };
        put_headers(&mut text, &parts.headers, stated.map_or(framing, Framing::Length), is_connection);
        text.extend_from_slice(b"\r\n");

        let head = ResponseParser::new().parse(&mut text, Answering::Other, limits)?.filter(|_| text.is_empty());
        let head = head.ok_or(HeadError::from(Cause::BadStatusLine))?;
        Ok(head.amended(|index| {
            index.framing = framing;
            index.keep_alive = true;
            if parts.version == http::Version::HTTP_2 {
                index.version = Version::Http2;
            }
        }))
    }

    /// This response with `edits` for another library to send: without connection headers, with `Content-Length` if
    /// `framing` is one, or if there is no body and the head has one.
    ///
    /// # Errors
    /// None that an own head can cause; what `http` reports is passed on.
    pub fn to_parts(&self, edits: &Edits, framing: Framing) -> Result<http::response::Parts, http::Error> {
        let mut response = http::Response::builder().status(self.status());
        if let Some(headers) = response.headers_mut() {
            fill(headers, self.as_bytes(), &self.index().fields, edits, flag::HOP | flag::LENGTH)?;
            let length = match framing {
                Framing::Length(length) => Some(length),
                Framing::None if !matches!(self.status(), 100..=199 | 204) => self.content_length(),
                _ => None,
            };
            if let Some(length) = length {
                headers.insert(header::CONTENT_LENGTH, length_value(length, self.as_bytes(), &self.index().fields));
            }
        }
        Ok(response.body(())?.into_parts().0)
    }
}

impl Trailers {
    /// Trailers that another library parsed, less those that may not be trailers.
    ///
    /// # Errors
    /// What our own decoder refuses: a trailer that would change framing or routing, too many, or too large.
    pub fn from_headers(headers: &HeaderMap) -> Result<Option<Self>, BodyError> {
        let fields: usize = headers.iter().map(|(name, value)| name.as_str().len() + value.len() + 4).sum();
        let mut text = BytesMut::with_capacity(fields + 8);
        text.extend_from_slice(b"0\r\n");
        for (name, value) in headers {
            put(&mut text, name.as_str().as_bytes(), value.as_bytes());
        }
        text.extend_from_slice(b"\r\n");
        match BodyDecoder::new(Framing::Chunked).decode(&mut text)? {
            Step::Trailers(trailers) => Ok(Some(trailers)),
            _ => Ok(None),
        }
    }

    /// These trailers for another library to send.
    #[must_use]
    pub fn to_headers(&self) -> HeaderMap {
        let mut headers = HeaderMap::with_capacity(self.iter().len());
        for (name, value) in self {
            // Both were checked by our own rules, which are no laxer.
            if let (Ok(name), Ok(value)) =
                (header::HeaderName::from_bytes(name), header::HeaderValue::from_bytes(value))
            {
                headers.append(name, value);
            }
        }
        headers
    }
}

/// What makes a request of HTTP/2 malformed (RFC 9113 §8.1.1), as far as the library below passes it and the text that is
/// made of it would not show it. A scheme without an authority is not passed, nor is a fragment in a path: see
/// [`Walker::take_malformed_head`](crate::wire::h2::Walker::take_malformed_head).
///
/// # Errors
/// What HTTP/1 calls the same fault.
fn check_http2(parts: &http::request::Parts) -> Result<(), Cause> {
    let is_known = |scheme: &str| scheme.eq_ignore_ascii_case("http") || scheme.eq_ignore_ascii_case("https");
    if parts.uri.scheme_str().is_some_and(|scheme| !is_known(scheme)) {
        return Err(Cause::BadTarget);
    }
    for (name, value) in &parts.headers {
        if has_outer_space(value) {
            return Err(Cause::BadHeaderValue);
        }
        // One is the rule, and a look into the map for more costs little.
        let twice = match *name {
            header::HOST => Cause::DuplicateHost,
            header::CONTENT_LENGTH => Cause::ConflictingLength,
            _ => continue,
        };
        if parts.headers.get_all(name).iter().nth(1).is_some() {
            return Err(twice);
        }
    }
    Ok(())
}

/// Whether a field's value begins or ends with a space or tab, which HTTP/2 does not have (RFC 9113 §8.2.1).
#[must_use]
pub fn has_outer_space(value: &header::HeaderValue) -> bool {
    let is_space = |byte: Option<&u8>| matches!(byte, Some(b' ' | b'\t'));
    is_space(value.as_bytes().first()) || is_space(value.as_bytes().last())
}

/// The first line of a response.
pub(super) fn version_line(text: &mut BytesMut, status: http::StatusCode) {
    text.extend_from_slice(b"HTTP/1.1 ");
    text.extend_from_slice(status.as_str().as_bytes());
    text.put_u8(b' ');
    text.extend_from_slice(status.canonical_reason().unwrap_or_default().as_bytes());
    text.extend_from_slice(b"\r\n");
}

fn fill(headers: &mut HeaderMap, bytes: &Bytes, fields: &Fields, edits: &Edits, skip: u8) -> Result<(), http::Error> {
    // At once, since growing rehashes every header: those received, and a length and two more that are added. Too many for the
    // map are refused one by one below.
    let _ = headers.try_reserve(fields.len() + 3);
    let received = fields.as_slice().iter().enumerate();
    for (_, field) in received.filter(|(index, f)| !f.has(skip) && !edits.drops(*index, f, bytes)) {
        headers.try_append(header::HeaderName::from_bytes(field.name(bytes))?, shared(bytes, field.value(bytes))?)?;
    }
    for (name, value) in edits.added_fields() {
        headers.try_append(header::HeaderName::from_bytes(name)?, header::HeaderValue::from_bytes(value)?)?;
    }
    Ok(())
}

/// A value that stands in a head, without a copy.
fn shared(bytes: &Bytes, value: &[u8]) -> Result<header::HeaderValue, header::InvalidHeaderValue> {
    header::HeaderValue::from_maybe_shared(bytes.slice_ref(value))
}

/// A length as a value: the head's own where it says the same.
fn length_value(length: u64, bytes: &Bytes, fields: &Fields) -> header::HeaderValue {
    let is_it = |value: &&[u8]| decimal(value) == Some(length) && (value.len() == 1 || value.first() != Some(&b'0'));
    let received = fields.first(&name::CONTENT_LENGTH, bytes).filter(is_it);
    received.and_then(|value| shared(bytes, value).ok()).unwrap_or_else(|| length.into())
}

pub(super) fn put_headers(
    text: &mut BytesMut,
    headers: &HeaderMap,
    framing: Framing,
    skip: impl Fn(&header::HeaderName) -> bool,
) {
    for (name, value) in headers {
        let frames = name == header::CONTENT_LENGTH || name == header::TRANSFER_ENCODING;
        if !frames && !skip(name) {
            put(text, name.as_str().as_bytes(), value.as_bytes());
        }
    }
    if let Framing::Length(length) = framing {
        put(text, b"content-length", length.to_string().as_bytes());
    }
}

fn put_cookies(text: &mut BytesMut, headers: &HeaderMap) {
    let crumbs: Vec<&[u8]> = headers.get_all(header::COOKIE).iter().map(header::HeaderValue::as_bytes).collect();
    if !crumbs.is_empty() {
        put(text, b"cookie", &crumbs.join(&b"; "[..]));
    }
}

pub(super) fn put(text: &mut BytesMut, name: &[u8], value: &[u8]) {
    text.extend_from_slice(name);
    text.extend_from_slice(b": ");
    text.extend_from_slice(value);
    text.extend_from_slice(b"\r\n");
}

/// Headers that HTTP/2 does not have (RFC 9113 §8.2.2).
pub(super) fn is_connection(name: &header::HeaderName) -> bool {
    name == header::CONNECTION
        || name == header::UPGRADE
        || name.as_str() == "keep-alive"
        || name.as_str() == "proxy-connection"
}
