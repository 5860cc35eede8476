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
use super::head::{HeadParser, Kind, Partial};
use super::limits::HeadLimits;
use super::lines::{Known, LineAt, Lines};
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
#[derive(Debug)]
pub struct ResponseParser(HeadParser<Response>);

/// A response's head, half read.
#[derive(Debug, Default)]
struct Response;

impl ResponseParser {
    /// A parser between two heads.
    #[must_use]
    pub const fn new() -> Self {
        Self(HeadParser::new())
    }

    /// Whether a head has begun and not ended.
    #[must_use]
    pub fn has_begun(&self) -> bool {
        self.0.has_begun()
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
        self.0.parse(buf, limits, |partial, buf| finish(partial, buf, answering))
    }
}

impl Default for ResponseParser {
    fn default() -> Self {
        Self::new()
    }
}

impl Kind for Response {
    type Index = ResponseIndex;
    const SENDER: Sender = Sender::Endpoint;
    const START_TOO_LONG: Cause = Cause::HeadTooLarge;

    /// It must begin like a status line.
    fn check_start(line: &[u8], _: bool, _: &HeadLimits) -> Result<(), Cause> {
        let expected = b"HTTP/1.";
        let len = line.len().min(expected.len());
        if line.get(..len) == expected.get(..len) { Ok(()) } else { Err(Cause::BadStatusLine) }
    }

    fn take_line(lines: &mut Lines, buf: &[u8], after: usize) -> Result<LineAt, Cause> {
        Ok(lines.take_any(buf, after))
    }

    fn on_empty_line(&mut self) -> Result<(), Cause> {
        Err(Cause::BadStatusLine)
    }

    fn start_line(index: &mut ResponseIndex, buf: &[u8], line: LineAt) -> Result<(), Cause> {
        let text = buf.get(line.start..line.end).unwrap_or_default();
        index.version = match text.get(..9) {
            Some(b"HTTP/1.1 ") => Version::Http11,
            Some(b"HTTP/1.0 ") => Version::Http10,
            _ => return Err(Cause::BadStatusLine),
        };
        let digits = text.get(9..12).filter(|digits| digits.iter().all(u8::is_ascii_digit));
        let status = digits.and_then(decimal).and_then(|status| u16::try_from(status).ok());
        index.status = status.filter(|&status| status >= 100).ok_or(Cause::BadStatusLine)?;
        let reason = text.get(12..).unwrap_or_default();
        let reason = match reason.split_first() {
            None => reason,
            Some((b' ', reason)) => reason,
            Some(_) => return Err(Cause::BadStatusLine),
        };
        if has_control(reason) {
            return Err(if find(b'\r', reason).is_some() { Cause::BareCr } else { Cause::BadStatusLine });
        }
        index.reason = Span::new(line.end - reason.len(), reason.len());
        Ok(())
    }

    fn acts_on(known: Known) -> bool {
        known == Known::KeepAlive
    }

    fn on_known(&mut self, index: &mut ResponseIndex, _: Known, field: &Field, buf: &[u8]) -> Result<(), Cause> {
        note_keep_alive(index, field, buf);
        Ok(())
    }
}

/// `Keep-Alive: timeout=5, max=100`. What is no number is no promise.
fn note_keep_alive(index: &mut ResponseIndex, field: &Field, buf: &[u8]) {
    for element in list(field.value(buf)) {
        let Some((b"timeout=", seconds)) = element.split_at_checked(8) else { continue };
        let Some(seconds) = decimal(seconds) else { continue };
        let seconds = u32::try_from(seconds).unwrap_or(u32::MAX);
        let before = index.keep_alive_timeout.unwrap_or(u32::MAX);
        index.keep_alive_timeout = Some(seconds.min(before));
    }
}

/// Decides what depends on the whole head.
#[inline(always)]
fn finish(partial: &mut Partial<Response>, buf: &[u8], answering: Answering) -> Result<(), Cause> {
    let Partial { index, seen, .. } = partial;
    let seen = *seen;
    let options = seen.options(&mut index.fields, buf)?;
    // Where there can be no body, or chunks delimit it, a length means nothing and is not repeated.
    let none = matches!((index.status, answering), (100..=199 | 204, _) | (200..=299, Answering::Connect));
    index.length = seen.length.filter(|_| !none && !seen.chunked);
    index.framing = framing(index.status, answering, seen);
    index.keep_alive = goes_on(index, options, seen);
    if matches!(index.status, 101 | 426) {
        index.upgrade = seen.offered(options);
    }
    if index.status == 101 && (answering != Answering::Upgrade || index.upgrade.is_none()) {
        return Err(Cause::UnexpectedSwitch);
    }
    Ok(())
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
