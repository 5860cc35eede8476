//! The head of a response, received or our own.

use std::fmt;
use std::time::Duration;

use bytes::Bytes;

use super::edits::{Edits, InvalidField, check_name, is_valid_value};
use super::fields::{Field, Fields, Span, flag};
use super::head::{Head, Index};
use super::name::{self, Name};
use super::{Framing, Version};

/// A response's head: its bytes as received and an index into them. Cloning is one reference count.
///
/// Built by the HTTP/1 codec, from another library's head by [`from_parts`](Self::from_parts), or from nothing by
/// [`build`](Self::build).
pub type ResponseHead = Head<ResponseIndex>;

/// What parsing found, as places in the head's bytes.
#[derive(Clone, Debug)]
pub struct ResponseIndex {
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

impl Index for ResponseIndex {
    fn fields(&self) -> &Fields {
        &self.fields
    }

    fn fields_mut(&mut self) -> &mut Fields {
        &mut self.fields
    }

    fn version(&self) -> Version {
        self.version
    }
}

impl ResponseHead {
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

    /// The status code, 100 to 999.
    #[must_use]
    pub fn status(&self) -> u16 {
        self.index().status
    }

    /// The reason phrase; empty where none was sent. It has no meaning for programs.
    #[must_use]
    pub fn reason(&self) -> &[u8] {
        self.index().reason.of(self.as_bytes())
    }

    /// The protocol version of the response.
    #[must_use]
    pub fn version(&self) -> Version {
        self.index().version
    }

    /// How the body ends, given the request it answers.
    #[must_use]
    pub fn framing(&self) -> Framing {
        self.index().framing
    }

    /// The number in `Content-Length`, which a response without a body may have too: to HEAD, and with status 304.
    #[must_use]
    pub fn content_length(&self) -> Option<u64> {
        self.index().length
    }

    /// The same head without a length, where that of the body is not known.
    #[must_use]
    pub fn without_length(self) -> Self {
        self.amended(|index| index.length = None)
    }

    /// Whether another response follows this one: a 1xx other than 101.
    #[must_use]
    pub fn is_interim(&self) -> bool {
        matches!(self.status(), 100 | 102..=199)
    }

    /// Whether the connection may carry another request after this response.
    #[must_use]
    pub fn keep_alive(&self) -> bool {
        self.index().keep_alive
    }

    /// How long the other side keeps an idle connection, from `Keep-Alive: timeout=N`.
    #[must_use]
    pub fn keep_alive_timeout(&self) -> Option<Duration> {
        self.index().keep_alive_timeout.map(|seconds| Duration::from_secs(u64::from(seconds)))
    }

    /// The protocol switched to, in a 101 with a valid `Upgrade`.
    #[must_use]
    pub fn upgrade(&self) -> Option<&[u8]> {
        self.index().upgrade.optional(self.as_bytes())
    }
}

/// Status and the names of the headers. Values may be secrets and are left out.
impl fmt::Debug for ResponseHead {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ResponseHead")
            .field("status", &self.status())
            .field("version", &self.version())
            .field("framing", &self.framing())
            .field("headers", &self.names())
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
