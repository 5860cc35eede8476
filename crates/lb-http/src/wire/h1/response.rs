//! Reading a response's head from upstream.
//!
//! What is sent on is written again, so the client reads one message even where the endpoint wrote an ambiguous one. What endpoints in the
//! wild get wrong and what has one meaning is therefore tolerated: a missing reason phrase, with or without the space
//! before it; a `Content-Length` on a 204, or more than once with the same number; lines that end in LF alone (RFC 9112
//! §2.2); `Transfer-Encoding: identity`; HTTP/1.0. A length beside chunks is dropped (§6.3), and after it, as after
//! `identity`, the connection is not used again: where the next response begins is in doubt. Continuation lines,
//! different lengths and any other coding have two meanings and are refused.
//!
//! Interim responses (1xx) are handed out one by one like any other head; the caller forwards or drops them and parses
//! on until [`is_interim`](crate::message::ResponseHead::is_interim) is false.

use bytes::BytesMut;

use super::error::{Cause, HeadError};
use super::framing::{Options, Seen, Sender, decimal, list};
use super::limits::HeadLimits;
use super::lines::{Known, LineAt, Lines, field_line, known, usual_line};
use crate::message::chars::{find, has_control};
use crate::message::{Field, Framing, Method, RequestHead, ResponseHead, ResponseIndex, Span, Version};

/// What the request was, as far as the framing of its response depends on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answering {
    /// HEAD: no body, even if the headers announce one.
    Head,
    /// CONNECT: a 2xx begins a tunnel.
    Connect,
    /// A request that offered to switch protocols, so that 101 is an answer.
    Upgrade,
    /// Any other.
    Other,
}

impl From<&RequestHead> for Answering {
    fn from(head: &RequestHead) -> Self {
        match head.method() {
            Method::Head => Self::Head,
            Method::Connect => Self::Connect,
            _ if head.upgrade().is_some() => Self::Upgrade,
            _ => Self::Other,
        }
    }
}

/// Reads response heads from a buffer that grows. Eight bytes while no head is half read.
#[derive(Debug, Default)]
pub struct ResponseParser {
    partial: Option<Box<Partial>>,
}

/// A head half read. Positions count from the start of the buffer.
#[derive(Debug, Default)]
struct Partial {
    lines: Lines,
    index: ResponseIndex,
    seen: Seen,
    has_start_line: bool,
}

impl ResponseParser {
    /// A parser between two heads.
    #[must_use]
    pub const fn new() -> Self {
        Self { partial: None }
    }

    /// Whether a head has begun and not ended.
    #[must_use]
    pub const fn has_begun(&self) -> bool {
        self.partial.is_some()
    }

    /// Takes one head off the front of `buf` once it is complete; `None` means that more bytes are needed. Until then
    /// the caller only appends to `buf`. The bytes of a head handed out are shared with `buf`, not copied.
    ///
    /// # Errors
    /// The first thing wrong with the head: an invalid response, whose connection is of no use any more.
    pub fn parse(
        &mut self,
        buf: &mut BytesMut,
        answering: Answering,
        limits: &HeadLimits,
    ) -> Result<Option<ResponseHead>, HeadError> {
        if buf.is_empty() {
            return Ok(None);
        }
        if let Some(mut partial) = self.partial.take() {
            if !partial.advance(buf, limits)? {
                self.partial = Some(partial);
                return Ok(None);
            }
            return partial.finish(buf, answering).map(Some).map_err(Into::into);
        }
        let mut partial = Partial::default();
        if partial.advance(buf, limits)? {
            return partial.finish(buf, answering).map(Some).map_err(Into::into);
        }
        self.partial = Some(Box::new(partial));
        Ok(None)
    }
}

impl Partial {
    fn advance(&mut self, buf: &[u8], limits: &HeadLimits) -> Result<bool, Cause> {
        let max_bytes = limits.head_bytes();
        loop {
            if self.has_start_line
                && let Some((field, after)) = usual_line(buf, self.lines.start).filter(|&(_, after)| after <= max_bytes)
            {
                self.lines.skip_to(after);
                self.field(buf, field, limits)?;
                continue;
            }
            if self.has_start_line && self.lines.skip_end(buf, max_bytes) {
                return Ok(true);
            }
            let found = self.lines.find(buf);
            if !self.has_start_line {
                let so_far = buf.get(self.lines.start..found.unwrap_or(buf.len())).unwrap_or_default();
                check_start(so_far)?;
            }
            let Some(after) = found.filter(|&after| after <= max_bytes) else {
                return if buf.len() < max_bytes { Ok(false) } else { Err(Cause::HeadTooLarge) };
            };
            let line = self.lines.take_any(buf, after);
            if line.start < line.end {
                self.line(buf, line, limits)?;
            } else if self.has_start_line {
                return Ok(true);
            } else {
                return Err(Cause::BadStatusLine);
            }
        }
    }

    fn line(&mut self, buf: &[u8], line: LineAt, limits: &HeadLimits) -> Result<(), Cause> {
        if !self.has_start_line {
            self.has_start_line = true;
            return self.start_line(buf, line);
        }
        self.field(buf, field_line(buf, line)?, limits)
    }

    #[inline(always)] // As with what it is given: a field passed through memory is paid for twice.
    fn field(&mut self, buf: &[u8], field: Field, limits: &HeadLimits) -> Result<(), Cause> {
        if self.index.fields.len() >= limits.headers {
            return Err(Cause::TooManyHeaders);
        }
        let known = known(&field, buf)?;
        let field = self.index.fields.push(field);
        let Some((known, field)) = known.zip(field) else { return Ok(()) };
        self.seen.note(known, field, buf, self.index.version, Sender::Endpoint)?;
        if known == Known::KeepAlive {
            let field = *field;
            self.note_keep_alive(&field, buf);
        }
        Ok(())
    }

    fn start_line(&mut self, buf: &[u8], line: LineAt) -> Result<(), Cause> {
        let text = buf.get(line.start..line.end).unwrap_or_default();
        self.index.version = match text.get(..9) {
            Some(b"HTTP/1.1 ") => Version::Http11,
            Some(b"HTTP/1.0 ") => Version::Http10,
            _ => return Err(Cause::BadStatusLine),
        };
        let digits = text.get(9..12).filter(|digits| digits.iter().all(u8::is_ascii_digit));
        let status = digits.and_then(decimal).and_then(|status| u16::try_from(status).ok());
        self.index.status = status.filter(|&status| status >= 100).ok_or(Cause::BadStatusLine)?;
        let reason = text.get(12..).unwrap_or_default();
        let reason = match reason.split_first() {
            None => reason,
            Some((b' ', reason)) => reason,
            Some(_) => return Err(Cause::BadStatusLine),
        };
        if has_control(reason) {
            return Err(if find(b'\r', reason).is_some() { Cause::BareCr } else { Cause::BadStatusLine });
        }
        self.index.reason = Span::new(line.end - reason.len(), reason.len());
        Ok(())
    }

    /// `Keep-Alive: timeout=5, max=100`. What is no number is no promise.
    fn note_keep_alive(&mut self, field: &Field, buf: &[u8]) {
        for element in list(field.value(buf)) {
            let Some((b"timeout=", seconds)) = element.split_at_checked(8) else { continue };
            let Some(seconds) = decimal(seconds) else { continue };
            let seconds = u32::try_from(seconds).unwrap_or(u32::MAX);
            let before = self.index.keep_alive_timeout.unwrap_or(u32::MAX);
            self.index.keep_alive_timeout = Some(seconds.min(before));
        }
    }

    fn finish(self, buf: &mut BytesMut, answering: Answering) -> Result<ResponseHead, Cause> {
        let mut index = self.index;
        let options = self.seen.options(&mut index.fields, buf)?;
        // Where there can be no body, or chunks delimit it, a length means nothing and is not repeated.
        let none = matches!((index.status, answering), (100..=199 | 204, _) | (200..=299, Answering::Connect));
        index.length = self.seen.length.filter(|_| !none && !self.seen.chunked);
        index.framing = framing(index.status, answering, self.seen);
        index.keep_alive = goes_on(&index, options, self.seen);
        if matches!(index.status, 101 | 426) {
            index.upgrade = self.seen.offered(options);
        }
        if index.status == 101 && (answering != Answering::Upgrade || index.upgrade.is_none()) {
            return Err(Cause::UnexpectedSwitch);
        }
        let head = buf.split_to(self.lines.start.min(buf.len())).freeze();
        Ok(ResponseHead::new(head, index))
    }
}

/// RFC 9112 §6.3, in its order.
fn framing(status: u16, answering: Answering, seen: Seen) -> Framing {
    match (status, answering) {
        (100..=199 | 204 | 304, _) | (_, Answering::Head) | (200..=299, Answering::Connect) => Framing::None,
        _ if seen.chunked => Framing::Chunked,
        _ => seen.length.map_or(Framing::Close, Framing::Length),
    }
}

/// Whether the connection may be used again. A response that may have no body yet announces one, or that has two
/// kinds of framing, leaves in doubt what the next bytes are: it is forwarded, and the connection is not used again.
fn goes_on(index: &ResponseIndex, options: Options, seen: Seen) -> bool {
    let announces = seen.chunked || seen.length.is_some_and(|length| length > 0);
    let in_doubt = (matches!(index.status, 100..=199 | 204) && announces)
        || (seen.chunked && seen.length.is_some())
        || seen.identity;
    options.goes_on(index.version) && index.framing != Framing::Close && !in_doubt
}

/// Checks an incomplete status line: it must begin like one.
fn check_start(line: &[u8]) -> Result<(), Cause> {
    let expected = b"HTTP/1.";
    let len = line.len().min(expected.len());
    if line.get(..len) == expected.get(..len) { Ok(()) } else { Err(Cause::BadStatusLine) }
}
