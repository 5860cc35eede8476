//! Reading a request's head, as it arrives.
//!
//! The rules are RFC 9112's, and where it leaves a choice (tolerate or refuse) the answer is refuse, because a proxy
//! that tolerates must know that every parser behind it tolerates in the same way. Beyond the RFC, refused are: methods
//! with other than capital letters, digits, `-` and `_` (nginx does so too: `get` is GET to some programs); user
//! information, empty ports and anything else in an authority that is no DNS name or address; `\` in a path; bytes
//! above 0x7E in a target that are no UTF-8; equal `Content-Length`s and `Host`s; an empty `Host` of a path (RFC 9112 §3.3 would
//! let a default pass); every transfer coding but `chunked`; `Content_Length` and `Transfer_Encoding`.
//!
//! Tolerated are up to four empty lines before the request line (RFC 9112 §2.2), leading zeros of a length, whitespace
//! around values, and bytes above 0x7F in values.

use bytes::BytesMut;
use lb_core::is_never_upgraded_to;

use super::error::{Cause, HeadError};
use super::framing::{Seen, Sender, list};
use super::head::{HeadParser, Kind, Partial};
use super::limits::HeadLimits;
use super::lines::{Known, LineAt, Lines};
use crate::message::chars::find;
use crate::message::{
    Field, Framing, Method, RequestHead, RequestIndex, Span, TargetForm, Version, classify_target, split_authority,
};

/// Longer than every registered method (`UPDATEREDIRECTREF` has 17).
const MAX_METHOD: usize = 24;

/// RFC 9112 §2.2 asks for at least one; old clients send one after a body.
const MAX_EMPTY_LINES: u8 = 4;

/// Reads request heads from a buffer that grows, one after the other. Eight bytes while no head is half read.
#[derive(Debug)]
pub struct RequestParser(HeadParser<Request>);

/// A request's head, half read.
#[derive(Debug, Default)]
struct Request {
    empty_lines: u8,
    has_host: bool,
}

impl RequestParser {
    /// A parser between two heads.
    #[must_use]
    pub const fn new() -> Self {
        Self(HeadParser::new())
    }

    /// Whether a head has begun and not ended. Distinguishes a slow client from an idle one.
    #[must_use]
    pub fn has_begun(&self) -> bool {
        self.0.has_begun()
    }

    /// Takes one head off the front of `buf` once it is complete; `None` means that more bytes are needed. Until then
    /// the caller only appends to `buf`. The bytes of a head handed out are shared with `buf`, not copied.
    ///
    /// Costs one pass over bytes not seen before, and two allocations per head.
    ///
    /// # Errors
    /// The first thing wrong with the head. `buf` is left as it was (for a log line); the parser is ready for another
    /// connection, not for more of this one.
    pub fn parse(&mut self, buf: &mut BytesMut, limits: &HeadLimits) -> Result<Option<RequestHead>, HeadError> {
        self.0.parse(buf, limits, finish)
    }
}

impl Default for RequestParser {
    fn default() -> Self {
        Self::new()
    }
}

impl Kind for Request {
    type Index = RequestIndex;
    const SENDER: Sender = Sender::Client;
    const START_TOO_LONG: Cause = Cause::UriTooLong;

    fn check_start(line: &[u8], ended: bool, limits: &HeadLimits) -> Result<(), Cause> {
        check_start(line, ended, limits)
    }

    fn take_line(lines: &mut Lines, buf: &[u8], after: usize) -> Result<LineAt, Cause> {
        lines.take(buf, after)
    }

    fn on_empty_line(&mut self) -> Result<(), Cause> {
        self.empty_lines += 1;
        if self.empty_lines > MAX_EMPTY_LINES { Err(Cause::BadRequestLine) } else { Ok(()) }
    }

    fn start_line(index: &mut RequestIndex, buf: &[u8], line: LineAt) -> Result<(), Cause> {
        let text = buf.get(line.start..line.end).unwrap_or_default();
        let method_len = find(b' ', text).ok_or(Cause::BadRequestLine)?;
        let (method, rest) = text.split_at_checked(method_len).unwrap_or_default();
        let rest = rest.get(1..).unwrap_or_default();
        let target_len = find(b' ', rest).ok_or(Cause::BadRequestLine)?;
        let (target, version) = rest.split_at_checked(target_len).unwrap_or_default();
        let target_at = line.start + method_len + 1;

        index.version = read_version(version.get(1..).unwrap_or_default())?;
        let method = Method::from_bytes(method);
        let parts = classify_target(method, target).ok_or(Cause::BadTarget)?;
        let absolute = |span: Span| {
            if span.is_none() { span } else { Span::new(span.start() + target_at, span.len()) }
        };
        index.method = Span::new(line.start, method_len);
        index.named_method = method.named();
        index.target = Span::new(target_at, target_len);
        index.authority = absolute(parts.authority);
        index.host = index.authority;
        index.path = absolute(parts.path);
        index.query = absolute(parts.query);
        index.form = parts.form;
        index.is_https = parts.is_https;
        Ok(())
    }

    fn acts_on(known: Known) -> bool {
        matches!(known, Known::Host | Known::Expect | Known::Te)
    }

    fn on_known(&mut self, index: &mut RequestIndex, known: Known, field: &Field, buf: &[u8]) -> Result<(), Cause> {
        let value = field.value(buf);
        match known {
            Known::Host => {
                if std::mem::replace(&mut self.has_host, true) {
                    return Err(Cause::DuplicateHost);
                }
                // Empty is what RFC 9112 §3.2 asks for where the target has no authority, and where it has its own the
                // value does not count. For a path it is the authority, and http has none that is empty (RFC 9110
                // §4.2.1).
                let may_be_empty = index.form != TargetForm::Origin;
                if !(value.is_empty() && may_be_empty) && split_authority(value).is_none() {
                    return Err(Cause::BadHost);
                }
                if index.authority.is_none() {
                    index.host = field.value;
                }
            }
            Known::Expect => {
                if !value.eq_ignore_ascii_case(b"100-continue") {
                    return Err(Cause::UnknownExpectation);
                }
                index.expects_continue = index.version != Version::Http10;
            }
            Known::Te => index.accepts_trailers |= list(value).any(|e| e.eq_ignore_ascii_case(b"trailers")),
            _ => {}
        }
        Ok(())
    }
}

/// Decides what depends on the whole head.
fn finish(partial: &mut Partial<Request>, buf: &[u8]) -> Result<(), Cause> {
    let Partial { index, seen, kind, .. } = partial;
    if !kind.has_host && index.version == Version::Http11 {
        return Err(Cause::MissingHost);
    }
    index.framing = match *seen {
        Seen { chunked: true, .. } => Framing::Chunked,
        Seen { length: Some(length), .. } => Framing::Length(length),
        _ => Framing::None,
    };
    if index.form == TargetForm::Authority && !index.framing.is_empty() {
        return Err(Cause::BodyOnConnect);
    }
    let options = seen.options(&mut index.fields, buf)?;
    index.keep_alive = options.goes_on(index.version);
    if options.upgrade && index.version == Version::Http11 && index.form != TargetForm::Authority {
        index.upgrade = seen.offered(options);
        if is_never_upgraded_to(index.upgrade.of(buf)) {
            index.upgrade = Span::NONE;
        }
    }
    Ok(())
}

/// Checks a request line that may be incomplete: it must begin with a method, and its target must not be too long. `line`
/// excludes the LF; `ended` says whether there was one.
fn check_start(line: &[u8], ended: bool, limits: &HeadLimits) -> Result<(), Cause> {
    if line == b"\r" || line.is_empty() {
        return Ok(()); // An empty line before the request, or its beginning; a lone LF is refused as one.
    }
    let method = line.iter().position(|&b| !matches!(b, b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_'));
    let method_len = method.unwrap_or(line.len());
    if method_len > MAX_METHOD {
        return Err(Cause::MethodTooLong);
    }
    match line.get(method_len) {
        None if ended => return Err(Cause::BadRequestLine),
        None => return Ok(()),
        Some(b' ') if method_len > 0 => {}
        Some(b'a'..=b'z') => return Err(Cause::BadMethod),
        Some(_) => return Err(Cause::BadRequestLine),
    }
    let rest = line.get(method_len + 1..).unwrap_or_default();
    let seen = rest.get(..=limits.uri).unwrap_or(rest);
    if seen.len() > limits.uri && find(b' ', seen).is_none() {
        return Err(Cause::UriTooLong);
    }
    Ok(())
}

fn read_version(text: &[u8]) -> Result<Version, Cause> {
    match text {
        b"HTTP/1.1" => Ok(Version::Http11),
        b"HTTP/1.0" => Ok(Version::Http10),
        [b'H', b'T', b'T', b'P', b'/', major, b'.', minor] if major.is_ascii_digit() && minor.is_ascii_digit() => {
            Err(Cause::UnsupportedVersion)
        }
        _ if find(b' ', text).is_some() => Err(Cause::BadRequestLine),
        _ => Err(Cause::BadVersion),
    }
}
