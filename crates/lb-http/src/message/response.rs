//! The head of a response, received or our own.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use super::edits::{Edits, InvalidField, check_name, is_valid_value};
use super::fields::{Field, Fields, Headers, Span, flag};
use super::name::{self, Name};
use super::{Framing, Version};

/// A response's head: its bytes as received and an index into them. Cloning is one reference count.
///
/// Built by the HTTP/1 codec, from another library's head by [`from_parts`](Self::from_parts), or from nothing by
/// [`build`](Self::build).
#[derive(Clone)]
pub struct ResponseHead(Arc<Inner>);

struct Inner {
    bytes: Bytes,
    index: ResponseIndex,
}

/// What parsing found, as places in the head's bytes.
#[derive(Clone, Debug)]
pub(crate) struct ResponseIndex {
    pub(crate) fields: Fields,
    pub(crate) framing: Framing,
    pub(crate) reason: Span,
    pub(crate) upgrade: Span,
    pub(crate) length: Option<u64>,
    pub(crate) keep_alive_timeout: Option<u32>,
    pub(crate) status: u16,
    pub(crate) version: Version,
    pub(crate) keep_alive: bool,
}

impl Default for ResponseIndex {
    fn default() -> Self {
        Self {
            fields: Fields::default(),
            framing: Framing::None,
            reason: Span::NONE,
            upgrade: Span::NONE,
            length: None,
            keep_alive_timeout: None,
            status: 0,
            version: Version::Http11,
            keep_alive: true,
        }
    }
}

impl ResponseHead {
    pub(crate) fn new(bytes: Bytes, index: ResponseIndex) -> Self {
        Self(Arc::new(Inner { bytes, index }))
    }

    /// The same head with some of what was derived from its bytes replaced.
    pub(crate) fn amended(mut self, amend: impl FnOnce(&mut ResponseIndex)) -> Self {
        if let Some(inner) = Arc::get_mut(&mut self.0) {
            amend(&mut inner.index);
            return self;
        }
        let mut index = self.0.index.clone();
        amend(&mut index);
        Self::new(self.0.bytes.clone(), index)
    }

    pub(crate) fn index(&self) -> &ResponseIndex {
        &self.0.index
    }

    /// Begins an answer of our own, with the usual reason phrase. Framing is [`Framing::None`] unless a length is
    /// given. A status outside 100 to 999 becomes 500.
    pub fn build(status: u16) -> ResponseBuilder {
        let status = if (100..1000).contains(&status) { status } else { 500 };
        let reason = http::StatusCode::from_u16(status).ok().and_then(|s| s.canonical_reason()).unwrap_or_default();
        let mut text = Vec::with_capacity(256);
        text.extend_from_slice(b"HTTP/1.1 ");
        text.extend_from_slice(&status_digits(status));
        text.push(b' ');
        let index = ResponseIndex { status, reason: Span::new(text.len(), reason.len()), ..ResponseIndex::default() };
        text.extend_from_slice(reason.as_bytes());
        text.extend_from_slice(b"\r\n");
        ResponseBuilder { text, index, error: None }
    }

    /// The head as received, with the empty line at its end.
    #[must_use]
    pub fn as_bytes(&self) -> &Bytes {
        &self.0.bytes
    }

    /// The status code, 100 to 999.
    #[must_use]
    pub fn status(&self) -> u16 {
        self.0.index.status
    }

    /// The reason phrase; empty where none was sent. It has no meaning for programs.
    #[must_use]
    pub fn reason(&self) -> &[u8] {
        self.0.index.reason.of(&self.0.bytes)
    }

    /// The protocol version of the response.
    #[must_use]
    pub fn version(&self) -> Version {
        self.0.index.version
    }

    /// How the body ends, given the request it answers.
    #[must_use]
    pub fn framing(&self) -> Framing {
        self.0.index.framing
    }

    /// The number in `Content-Length`, which a response without a body may have too: to HEAD, and with status 304.
    #[must_use]
    pub fn content_length(&self) -> Option<u64> {
        self.0.index.length
    }

    /// Whether another response follows this one: a 1xx other than 101.
    #[must_use]
    pub fn is_interim(&self) -> bool {
        matches!(self.status(), 100 | 102..=199)
    }

    /// Whether the connection may carry another request after this response.
    #[must_use]
    pub fn keep_alive(&self) -> bool {
        self.0.index.keep_alive
    }

    /// How long the other side keeps an idle connection, from `Keep-Alive: timeout=N`.
    #[must_use]
    pub fn keep_alive_timeout(&self) -> Option<Duration> {
        self.0.index.keep_alive_timeout.map(|seconds| Duration::from_secs(u64::from(seconds)))
    }

    /// The protocol switched to, in a 101 with a valid `Upgrade`.
    #[must_use]
    pub fn upgrade(&self) -> Option<&[u8]> {
        self.0.index.upgrade.optional(&self.0.bytes)
    }

    /// The value of the first header of that name, without surrounding whitespace.
    #[must_use]
    pub fn header<'n>(&self, name: impl Into<Name<'n>>) -> Option<&[u8]> {
        self.0.index.fields.first(&name.into(), &self.0.bytes)
    }

    /// The values of all headers of that name, in order.
    pub fn headers<'a>(&'a self, name: impl Into<Name<'a>>) -> impl Iterator<Item = &'a [u8]> {
        self.0.index.fields.all(name.into(), &self.0.bytes)
    }

    /// All headers as received, in order; connection headers included.
    #[must_use]
    pub fn iter(&self) -> Headers<'_> {
        self.0.index.fields.iter(&self.0.bytes)
    }
}

impl<'a> IntoIterator for &'a ResponseHead {
    type Item = (&'a [u8], &'a [u8]);
    type IntoIter = Headers<'a>;

    fn into_iter(self) -> Headers<'a> {
        self.iter()
    }
}

/// Status and the names of the headers. Values may be secrets and are left out.
impl fmt::Debug for ResponseHead {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ResponseHead")
            .field("status", &self.status())
            .field("version", &self.version())
            .field("framing", &self.framing())
            .field("headers", &self.iter().map(|(name, _)| String::from_utf8_lossy(name)).collect::<Vec<_>>())
            .finish()
    }
}

/// A response head under construction.
#[derive(Debug)]
#[must_use]
pub struct ResponseBuilder {
    text: Vec<u8>,
    index: ResponseIndex,
    error: Option<InvalidField>,
}

impl ResponseBuilder {
    /// Adds a header. The first one that is invalid is reported by [`finish`](Self::finish).
    pub fn header<'n>(mut self, name: impl Into<Name<'n>>, value: impl AsRef<[u8]>) -> Self {
        let (name, value) = (name.into(), value.as_ref());
        match check_name(&name) {
            Err(error) => self.error = self.error.or(Some(error)),
            Ok(()) if !is_valid_value(value) => self.error = self.error.or(Some(InvalidField::Value)),
            Ok(()) => self.push(&name, value, flag::CANONICAL),
        }
        self
    }

    /// States the length of the body that will follow, and frames the message by it.
    pub fn length(mut self, bytes: u64) -> Self {
        if self.index.length.is_none() {
            self.push(&name::CONTENT_LENGTH, bytes.to_string().as_bytes(), flag::CANONICAL | flag::LENGTH);
        }
        self.index.length = Some(bytes);
        self.index.framing = Framing::Length(bytes);
        self
    }

    /// The head.
    ///
    /// # Errors
    /// The first header that was no header: see [`InvalidField`].
    pub fn finish(mut self) -> Result<ResponseHead, InvalidField> {
        self.text.extend_from_slice(b"\r\n");
        match self.error {
            Some(error) => Err(error),
            None => Ok(ResponseHead::new(Bytes::from(self.text), self.index)),
        }
    }

    fn push(&mut self, name: &Name<'_>, value: &[u8], flags: u8) {
        let start = self.text.len();
        let text = name.as_bytes();
        self.text.extend_from_slice(text);
        self.text.extend_from_slice(b": ");
        let value_at = self.text.len();
        self.text.extend_from_slice(value);
        self.text.extend_from_slice(b"\r\n");
        self.index.fields.push(Field {
            name_start: start as u32,
            value: Span::new(value_at, value.len()),
            tag: name.tag(),
            name_len: text.len() as u16,
            flags,
        });
    }
}

/// A status as its three digits.
pub(crate) fn status_digits(status: u16) -> [u8; 3] {
    [b'0' + (status / 100 % 10) as u8, b'0' + (status / 10 % 10) as u8, b'0' + (status % 10) as u8]
}

impl Edits {
    /// As [`request_header`](Self::request_header), for a response.
    #[must_use]
    pub fn response_header<'a, 'n>(&'a self, head: &'a ResponseHead, name: impl Into<Name<'n>>) -> Option<&'a [u8]> {
        let name = name.into();
        self.received(&head.index().fields, head.as_bytes(), &name).or_else(|| self.added_value(&name))
    }
}
