//! The headers that decide where a message ends and whether its connection goes on.
//!
//! A client's request is refused where it could be read in two ways: the endpoint behind us is a second parser. What an
//! endpoint answers is written again from what was understood, so no second parser sees it; there, sloppiness that has
//! one meaning passes ([`Sender::Endpoint`]), and what has two is refused as well.

use smallvec::SmallVec;

use super::error::Cause;
use super::lines::Known;
use crate::message::chars::{find, is_token, trim_ows};
use crate::message::{Field, Fields, Name, Span, Version, flag, name};

/// More elements in `Connection` than anyone has use for. Each may cost a walk over all headers.
const MAX_OPTIONS: usize = 32;

/// Which side a message comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sender {
    /// A client's request: nothing passes that two parsers could read in two ways.
    Client,
    /// An endpoint's response: one meaning is enough.
    Endpoint,
}

/// What was in the headers so far.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Seen {
    pub(crate) length: Option<u64>,
    pub(crate) chunked: bool,
    /// `Transfer-Encoding: identity`, which RFC 2616 had for no coding at all.
    pub(crate) identity: bool,
    /// The options of a `Connection` that has one element.
    options: Options,
    /// There is a `Connection` with other elements.
    connection: bool,
    pub(crate) upgrade: Upgrade,
}

/// What `Upgrade` offered.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) enum Upgrade {
    #[default]
    None,
    One(Span),
    /// More than one protocol, or none that is a token: treated as no offer.
    Unclear,
}

impl Seen {
    /// Takes note of a header that we act on, and marks it.
    pub(crate) fn note(
        &mut self,
        known: Known,
        field: &mut Field,
        buf: &[u8],
        version: Version,
        sender: Sender,
    ) -> Result<(), Cause> {
        match known {
            Known::ContentLength => {
                field.flags |= flag::LENGTH;
                self.note_length(field.value(buf), sender)?;
            }
            Known::TransferEncoding => {
                field.flags |= flag::HOP;
                self.note_coding(field.value(buf), version, sender)?;
            }
            Known::Connection => {
                field.flags |= flag::HOP;
                if !self.options.note(field.value(buf)) {
                    field.flags |= flag::CONNECTION;
                    self.connection = true;
                }
            }
            Known::Upgrade => {
                field.flags |= flag::HOP;
                self.upgrade = match self.upgrade {
                    Upgrade::None if is_protocol(field.value(buf)) => Upgrade::One(field.value),
                    _ => Upgrade::Unclear,
                };
            }
            Known::KeepAlive | Known::ProxyConnection | Known::Te => field.flags |= flag::HOP,
            Known::Host => field.flags |= flag::HOST,
            // A server ignores it in HTTP/1.0 (RFC 9110 §10.1.1), and the request goes on as HTTP/1.1.
            Known::Expect if version == Version::Http10 => field.flags |= flag::HOP,
            Known::Expect => {}
        }
        Ok(())
    }

    /// RFC 9112 §6.3 lets a list of equal lengths pass as one. From an endpoint it does; in a request, two lengths are
    /// one too many even if they are equal.
    fn note_length(&mut self, value: &[u8], sender: Sender) -> Result<(), Cause> {
        let length = match sender {
            Sender::Client if self.length.is_some() || find(b',', value).is_some() => {
                return Err(Cause::ConflictingLength);
            }
            Sender::Client if self.chunked => return Err(Cause::LengthAndChunked),
            Sender::Client => decimal(value).ok_or(Cause::BadLength)?,
            Sender::Endpoint => equal_decimals(value)?,
        };
        if self.length.is_some_and(|before| before != length) {
            return Err(Cause::ConflictingLength);
        }
        self.length = Some(length);
        Ok(())
    }

    /// Chunks beside a length are refused in a request. In a response the chunks count (RFC 9112 §6.3); its parser
    /// drops the length and does not use the connection again.
    fn note_coding(&mut self, value: &[u8], version: Version, sender: Sender) -> Result<(), Cause> {
        let is_identity = sender == Sender::Endpoint && value.eq_ignore_ascii_case(b"identity");
        if is_identity && !self.chunked {
            self.identity = true;
            return Ok(());
        }
        if version == Version::Http10 {
            return Err(Cause::ChunkedInHttp10);
        }
        if sender == Sender::Client && self.length.is_some() {
            return Err(Cause::LengthAndChunked);
        }
        if self.chunked || self.identity {
            return Err(Cause::BadTransferEncoding);
        }
        coding(value)?;
        self.chunked = true;
        Ok(())
    }

    /// Reads `Connection` once all headers are known, and marks those it nominates.
    ///
    /// A nominated header is for this connection only and is not forwarded. Others have shown what a stranger does
    /// with that: nominate `Authorization`, `Cookie` or `X-Forwarded-For` and have the proxy strip them. So names that
    /// are meant for the end of the way (RFC 9110 §7.6.1 forbids nominating them) are ignored, and forwarded; a
    /// nomination of `Host`, `Content-Length` or `Transfer-Encoding`, which no program makes by accident, is refused,
    /// as in Envoy. Elements that are no token name nothing and are ignored.
    pub(crate) fn options(&self, fields: &mut Fields, buf: &[u8]) -> Result<Options, Cause> {
        let mut options = self.options;
        if !self.connection {
            return Ok(options);
        }
        let mut nominated: SmallVec<[&[u8]; 4]> = SmallVec::new();
        let mut seen = 0;
        for field in fields.as_slice().iter().filter(|f| f.has(flag::CONNECTION)) {
            for element in list(field.value(buf)) {
                seen += 1;
                if seen > MAX_OPTIONS {
                    return Err(Cause::BadConnection);
                }
                if !options.note(element) && nominates(element)? {
                    nominated.push(element);
                }
            }
        }
        for nominated in nominated {
            let name = Name::from_bytes(nominated);
            fields.iter_mut().filter(|f| f.is(&name, buf)).for_each(|f| f.flags |= flag::HOP);
        }
        Ok(options)
    }

    /// The protocol offered, if there is exactly one and `Connection` nominated it.
    pub(crate) fn offered(&self, options: Options) -> Span {
        match self.upgrade {
            Upgrade::One(span) if options.upgrade => span,
            _ => Span::NONE,
        }
    }
}

/// The elements of `Connection` that mean something to us.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Options {
    pub(crate) close: bool,
    pub(crate) keep_alive: bool,
    pub(crate) upgrade: bool,
}

impl Options {
    /// Whether the connection goes on: HTTP/1.1 by default, HTTP/1.0 with `keep-alive`; `close` takes precedence.
    pub(crate) const fn goes_on(self, version: Version) -> bool {
        !self.close && (self.keep_alive || !matches!(version, Version::Http10))
    }

    fn note(&mut self, element: &[u8]) -> bool {
        if element.eq_ignore_ascii_case(b"keep-alive") {
            self.keep_alive = true;
        } else if element.eq_ignore_ascii_case(b"close") {
            self.close = true;
        } else if element.eq_ignore_ascii_case(b"upgrade") {
            self.upgrade = true;
        } else {
            return element.eq_ignore_ascii_case(b"te");
        }
        true
    }
}

/// Whether a header of that name is to be dropped when nominated.
fn nominates(element: &[u8]) -> Result<bool, Cause> {
    const REFUSED: [Name<'static>; 3] = [name::HOST, name::CONTENT_LENGTH, name::TRANSFER_ENCODING];
    if REFUSED.iter().any(|refused| refused.looks_like(element)) {
        return Err(Cause::BadConnection);
    }
    Ok(is_token(element) && !is_end_to_end(element))
}

/// Headers meant for the end of the way, which a nomination does not touch.
fn is_end_to_end(name: &[u8]) -> bool {
    const PREFIXES: [&str; 7] = ["x-forwarded-", "content-", "access-control-", "sec-", "if-", "accept", "x-real-ip"];
    const NAMES: [&str; 27] = [
        "age",
        "allow",
        "authorization",
        "cache-control",
        "cookie",
        "date",
        "etag",
        "expect",
        "expires",
        "forwarded",
        "last-modified",
        "location",
        "max-forwards",
        "origin",
        "pragma",
        "range",
        "referer",
        "retry-after",
        "server",
        "set-cookie",
        "strict-transport-security",
        "trailer",
        "user-agent",
        "vary",
        "via",
        "www-authenticate",
        "x-request-id",
    ];
    let starts = |p: &&str| name.get(..p.len()).is_some_and(|n| n.eq_ignore_ascii_case(p.as_bytes()));
    PREFIXES.iter().any(starts) || NAMES.iter().any(|n| name.eq_ignore_ascii_case(n.as_bytes()))
}

/// The elements of a comma-separated list, trimmed, empty ones left out.
pub(crate) fn list(value: &[u8]) -> impl Iterator<Item = &[u8]> {
    value.split(|&b| b == b',').map(|element| trim_ows(element).1).filter(|element| !element.is_empty())
}

/// Digits and nothing else, below 2⁶³: a sign, a space or a larger number is read differently by different programs.
pub(crate) fn decimal(text: &[u8]) -> Option<u64> {
    if text.is_empty() {
        return None;
    }
    text.iter().try_fold(0u64, |number, &digit| {
        let digit = digit.is_ascii_digit().then(|| u64::from(digit - b'0'))?;
        number.checked_mul(10)?.checked_add(digit).filter(|&number| number <= i64::MAX as u64)
    })
}

/// A length, or a list of the same length: `2, 2`.
fn equal_decimals(value: &[u8]) -> Result<u64, Cause> {
    let mut elements = value.split(|&b| b == b',').map(|element| decimal(trim_ows(element).1).ok_or(Cause::BadLength));
    let first = elements.next().ok_or(Cause::BadLength)??;
    elements.try_fold(first, |first, next| if next? == first { Ok(first) } else { Err(Cause::ConflictingLength) })
}

/// `Transfer-Encoding` must be `chunked`. If chunked is last after codings we do not have the answer is 501, and 400
/// if the end of the body is unknown (RFC 9112 §6.1, §6.3).
fn coding(value: &[u8]) -> Result<(), Cause> {
    if value.eq_ignore_ascii_case(b"chunked") {
        return Ok(());
    }
    let is_chunked = |element: &[u8]| element.eq_ignore_ascii_case(b"chunked");
    let mut before = 0;
    let mut last: &[u8] = b"";
    for element in value.split(|&b| b == b',').map(|element| trim_ows(element).1) {
        if is_chunked(last) || !is_token(element) {
            return Err(Cause::BadTransferEncoding);
        }
        before += 1;
        last = element;
    }
    Err(if before > 1 && is_chunked(last) { Cause::UnsupportedTransferCoding } else { Cause::BadTransferEncoding })
}

/// One protocol of an `Upgrade` header: a token, perhaps with a slash and a version.
fn is_protocol(value: &[u8]) -> bool {
    let mut parts = value.splitn(2, |&b| b == b'/');
    parts.next().is_some_and(is_token) && parts.next().is_none_or(is_token)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_are_plain_decimals_below_two_to_the_63() {
        assert_eq!(decimal(b"0"), Some(0));
        assert_eq!(decimal(b"00012"), Some(12));
        assert_eq!(decimal(b"9223372036854775807"), Some(i64::MAX as u64));
        for text in
            [&b""[..], b"+1", b"-1", b"1 ", b"0x1", b"1,1", b"9223372036854775808", b"18446744073709551617", b"1e3"]
        {
            assert_eq!(decimal(text), None, "{text:?}");
        }
    }

    #[test]
    fn a_list_of_lengths_is_one_length_if_all_are_equal() {
        assert_eq!(equal_decimals(b"2"), Ok(2));
        assert_eq!(equal_decimals(b"2, 2,\t02"), Ok(2));
        assert_eq!(equal_decimals(b"2, 3"), Err(Cause::ConflictingLength));
        for text in [&b""[..], b"2,", b",2", b"2,,2", b"2, +2", b"2;2", b"2 2"] {
            assert_eq!(equal_decimals(text), Err(Cause::BadLength), "{text:?}");
        }
    }

    #[test]
    fn only_chunked_alone_is_a_coding() {
        assert_eq!(coding(b"chunked"), Ok(()));
        assert_eq!(coding(b"Chunked"), Ok(()));
        assert_eq!(coding(b"gzip, chunked"), Err(Cause::UnsupportedTransferCoding));
        for text in [
            &b""[..],
            b"gzip",
            b"identity",
            b"chunked, gzip",
            b"chunked, chunked",
            b"gzip, chunked, chunked",
            b"xchunked",
            b"chunked;q=1",
            b"\"chunked\"",
            b",chunked",
            b"chunked,",
            b"gzip,,chunked",
            b"chunke d",
        ] {
            assert_eq!(coding(text), Err(Cause::BadTransferEncoding), "{text:?}");
        }
    }

    #[test]
    fn lists_skip_empty_elements_and_trim_the_rest() {
        let elements: Vec<_> = list(b" , close,\tTE ,,x").collect();
        assert_eq!(elements, [&b"close"[..], b"TE", b"x"]);
        assert_eq!(list(b"").count(), 0);
    }

    #[test]
    fn headers_for_the_end_of_the_way_cannot_be_nominated() {
        for name in ["Authorization", "COOKIE", "X-Forwarded-For", "content-type", "Sec-WebSocket-Key"] {
            assert_eq!(nominates(name.as_bytes()), Ok(false), "{name}");
        }
        assert_eq!(nominates(b"X-Trace"), Ok(true));
        assert_eq!(nominates(b"a b"), Ok(false));
        for name in ["Host", "content-LENGTH", "Transfer_Encoding"] {
            assert_eq!(nominates(name.as_bytes()), Err(Cause::BadConnection), "{name}");
        }
    }
}
