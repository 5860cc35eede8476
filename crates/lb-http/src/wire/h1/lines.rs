//! Cutting a head into lines, and a line into name and value.
//!
//! One search for LF serves everything: it finds the end of the head, the lines, and the LF that stands without its
//! CR. The cutter remembers how far it went, so that a client that sends byte by byte costs no second look at what was
//! already seen. Whatever is refused is refused when its line is complete (or when a limit is passed), never earlier
//! or later, so that the verdict does not depend on how the bytes were split into reads.
//!
//! A lax tokenizer such as httparse would not spare this pass: what it tolerates must be found again afterwards, and
//! what it refuses must be given a name. It is the oracle of the tests and fuzz targets instead: what passes here, it
//! reads in the same way.

use super::error::Cause;
use crate::message::chars::{find, first_control, has_control, token_len, trim_ows};
use crate::message::name::{Name, tag};
use crate::message::{Field, Span, flag};

/// How far the search for line ends went.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Lines {
    /// Start of the line not yet handed out.
    pub(crate) start: usize,
    /// Everything before this was searched.
    searched: usize,
}

/// The next line: where it starts and ends, without its line end.
#[derive(Clone, Copy, Debug)]
pub(crate) struct LineAt {
    pub(crate) start: usize,
    pub(crate) end: usize,
}

impl Lines {
    /// Position just after the next LF, or `None` if none came yet. Does not hand the line out.
    pub(crate) fn find(&mut self, buf: &[u8]) -> Option<usize> {
        let from = self.searched.max(self.start);
        match find(b'\n', buf.get(from..)?) {
            Some(at) => {
                self.searched = from + at;
                Some(from + at + 1)
            }
            None => {
                self.searched = buf.len();
                None
            }
        }
    }

    /// Goes on behind a line that was read without being [found](Self::find).
    pub(crate) const fn skip_to(&mut self, after: usize) {
        self.start = after;
        self.searched = after;
    }

    /// Goes on behind the empty line, if that is what comes and it ends within so many bytes. A shorter way to what
    /// [`find`](Self::find) and [`take`](Self::take) come to.
    pub(crate) fn skip_end(&mut self, buf: &[u8], max_bytes: usize) -> bool {
        let after = self.start + 2;
        let ends = after <= max_bytes && buf.get(self.start..after) == Some(b"\r\n");
        if ends {
            self.skip_to(after);
        }
        ends
    }

    /// Whether any byte of this head was looked at.
    pub(crate) const fn has_searched(&self) -> bool {
        self.searched > 0
    }

    /// As [`take`](Self::take), of a line that may end in LF alone (RFC 9112 §2.2).
    pub(crate) fn take_any(&mut self, buf: &[u8], after: usize) -> LineAt {
        let lf = after.saturating_sub(1);
        let has_cr = lf > self.start && buf.get(lf - 1) == Some(&b'\r');
        let line = LineAt { start: self.start, end: if has_cr { lf - 1 } else { lf } };
        self.start = after;
        self.searched = after;
        line
    }

    /// Hands out the line that ends before `after`, which [`find`](Self::find) gave.
    pub(crate) fn take(&mut self, buf: &[u8], after: usize) -> Result<LineAt, Cause> {
        let line = LineAt { start: self.start, end: after.saturating_sub(2) };
        if line.end < line.start || buf.get(line.end) != Some(&b'\r') {
            return Err(Cause::BareLf);
        }
        self.start = after;
        self.searched = after;
        Ok(line)
    }
}

/// Reads a line written the usual way, `name: value` CRLF with one space before the value and none after it, in one
/// pass; gives where the next line begins. `None` is no verdict: what is cut short, unusual or wrong is for
/// [`Lines::find`] and [`field_line`] to decide.
#[inline(always)]
pub(crate) fn usual_line(buf: &[u8], start: usize) -> Option<(Field, usize)> {
    let text = buf.get(start..)?;
    let name_len = token_len(text);
    let (name, rest) = text.split_at_checked(name_len)?;
    let value = rest.strip_prefix(b": ")?;
    let len = first_control(value)?;
    let (value, end) = value.split_at_checked(len)?;
    if name.is_empty() || !end.starts_with(b"\r\n") || value.first() == Some(&b' ') || value.last() == Some(&b' ') {
        return None;
    }
    let value_at = start + name_len + 2;
    let field = Field {
        name_start: start as u32,
        value: Span::new(value_at, len),
        tag: tag(name),
        name_len: u16::try_from(name_len).ok()?,
        flags: flag::CANONICAL,
    };
    Some((field, value_at + len + 2))
}

/// Reads `name: value`. The position in the index is absolute in `buf`.
#[inline(always)] // A field returned through memory costs more than reading its line.
pub(crate) fn field_line(buf: &[u8], line: LineAt) -> Result<Field, Cause> {
    let text = buf.get(line.start..line.end).unwrap_or_default();
    let name_len = token_len(text);
    if name_len == text.len() {
        return Err(Cause::BadHeaderName);
    }
    let (name, rest) = text.split_at_checked(name_len).unwrap_or_default();
    let Some((b':', value)) = rest.split_first() else { return Err(bad_name(name_len, rest)) };
    if name_len == 0 {
        return Err(Cause::BadHeaderName);
    }
    if has_control(value) {
        return Err(if find(b'\r', value).is_some() { Cause::BareCr } else { Cause::BadHeaderValue });
    }
    let (skipped, trimmed) = trim_ows(value);
    // `: ` and nothing after the value but CRLF: the line may be copied as it stands.
    let canonical = value.first() == Some(&b' ')
        && value.len() == trimmed.len() + 1
        && buf.get(line.end..line.end + 2) == Some(b"\r\n");
    Ok(Field {
        name_start: line.start as u32,
        value: Span::new(line.start + name_len + 1 + skipped, trimmed.len()),
        tag: tag(name),
        name_len: u16::try_from(name_len).map_err(|_| Cause::HeadTooLarge)?,
        flags: if canonical { flag::CANONICAL } else { 0 },
    })
}

/// Why what follows a name is not a colon.
fn bad_name(name_len: usize, rest: &[u8]) -> Cause {
    let spaces = rest.iter().take_while(|b| matches!(b, b' ' | b'\t')).count();
    match rest.get(spaces) {
        _ if spaces > 0 && name_len == 0 => Cause::ObsFold,
        Some(b':') if spaces > 0 => Cause::SpaceBeforeColon,
        Some(b'\r') => Cause::BareCr,
        _ => Cause::BadHeaderName,
    }
}

/// The headers that the codec itself acts on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Known {
    Host,
    ContentLength,
    TransferEncoding,
    Connection,
    KeepAlive,
    ProxyConnection,
    Te,
    Upgrade,
    Expect,
}

/// Which of the headers we act on this is, if any; an error for a look-alike of one that decides framing.
#[inline]
pub(crate) fn known(field: &Field, buf: &[u8]) -> Result<Option<Known>, Cause> {
    const HOST: u32 = tag(b"host");
    const CONTENT_LENGTH: u32 = tag(b"content-length");
    const TRANSFER_ENCODING: u32 = tag(b"transfer-encoding");
    const CONNECTION: u32 = tag(b"connection");
    const KEEP_ALIVE: u32 = tag(b"keep-alive");
    const PROXY_CONNECTION: u32 = tag(b"proxy-connection");
    const TE: u32 = tag(b"te");
    const UPGRADE: u32 = tag(b"upgrade");
    const EXPECT: u32 = tag(b"expect");

    let (known, text) = match field.tag {
        HOST => (Known::Host, "Host"),
        CONTENT_LENGTH => (Known::ContentLength, "Content-Length"),
        TRANSFER_ENCODING => (Known::TransferEncoding, "Transfer-Encoding"),
        CONNECTION => (Known::Connection, "Connection"),
        KEEP_ALIVE => (Known::KeepAlive, "Keep-Alive"),
        PROXY_CONNECTION => (Known::ProxyConnection, "Proxy-Connection"),
        TE => (Known::Te, "TE"),
        UPGRADE => (Known::Upgrade, "Upgrade"),
        EXPECT => (Known::Expect, "Expect"),
        _ => return Ok(None),
    };
    let name = field.name(buf);
    if Name::new(text).is(name) {
        return Ok(Some(known));
    }
    let decides_framing = matches!(known, Known::ContentLength | Known::TransferEncoding);
    if decides_framing && Name::new(text).looks_like(name) {
        return Err(Cause::FramingLookalike);
    }
    Ok(None)
}
