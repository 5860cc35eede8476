//! Writing a head, once: what was received, less what is left out, plus what was added.
//!
//! Framing and connection headers are never copied; they are written from what the caller decided, so that they match
//! what the connection really does. All other headers go out as they came, neighbours copied as one block. A line that
//! was received with unusual whitespace is rewritten. Nothing here can fail: what could break out of its line was
//! refused when it was parsed or when the edit was made.
//!
//! Heads are always written as HTTP/1.1. The request target is written in origin form, since that is what an origin
//! expects for any request (RFC 9112 §3.2.1), and exactly one `Host` goes with it.

use bytes::{BufMut, BytesMut};

use crate::message::{
    Edits, Field, Fields, Framing, RequestHead, ResponseHead, TargetForm, Trailers, flag, status_digits,
};

/// The `Connection` header to write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Connection {
    /// Nothing: HTTP/1.1 goes on by itself.
    Implicit,
    /// `keep-alive`, which an HTTP/1.0 client needs.
    KeepAlive,
    /// `close`.
    Close,
    /// `upgrade`, with the protocol of the head's own [`upgrade`](RequestHead::upgrade). Nothing if it has none.
    Upgrade,
}

/// Appends a request's head.
///
/// `framing` is how the caller will send the body: `None` writes neither length nor coding. A request without any
/// `Host` (HTTP/1.0) gets an empty one; set a better one in `edits`. `TE: trailers` is passed on, all else of `TE` is
/// not.
pub fn encode_request(dst: &mut BytesMut, head: &RequestHead, edits: &Edits, framing: Framing, connection: Connection) {
    dst.reserve(head.as_bytes().len() + edits.text_len() + SLACK);
    let mut skip = flag::HOP | flag::LENGTH;
    let mut start_line = request_line(head).filter(|_| edits.target().is_none()).unwrap_or_default();
    if start_line == 0 {
        dst.put_slice(head.method().as_bytes());
        dst.put_u8(b' ');
        match edits.target() {
            Some(target) => dst.put_slice(target),
            None => put_target(dst, head),
        }
        dst.put_slice(b" HTTP/1.1\r\n");
    }
    if edits.sets_host() {
        skip |= flag::HOST;
    } else if head.target_authority().is_some() || !head.index().fields.has(flag::HOST) {
        skip |= flag::HOST;
        dst.put_slice(head.as_bytes().get(..std::mem::take(&mut start_line)).unwrap_or_default());
        put_line(dst, b"Host", head.host().unwrap_or_default());
    }
    put_fields(dst, head.as_bytes(), start_line, &head.index().fields, edits, skip);
    put_framing(dst, framing, None);

    let te: &[u8] = if head.accepts_trailers() { b"TE" } else { b"" };
    if !te.is_empty() {
        dst.put_slice(b"TE: trailers\r\n");
    }
    put_connection(dst, connection, head.upgrade(), te);
    dst.put_slice(b"\r\n");
}

/// Appends a response's head.
///
/// `framing` is how the caller will send the body. With [`Framing::None`] the head's own length is repeated, as a
/// response to HEAD or a 304 may have it, but never with a 1xx or 204. [`Framing::Close`] says `close` by itself. The
/// caller sends no [`Framing::Chunked`] to an HTTP/1.0 client.
pub fn encode_response(
    dst: &mut BytesMut,
    head: &ResponseHead,
    edits: &Edits,
    framing: Framing,
    connection: Connection,
) {
    dst.reserve(head.as_bytes().len() + edits.text_len() + SLACK);
    let start_line = status_line(head).unwrap_or_default();
    if start_line == 0 {
        dst.put_slice(b"HTTP/1.1 ");
        dst.put_slice(&status_digits(head.status()));
        dst.put_u8(b' ');
        dst.put_slice(head.reason());
        dst.put_slice(b"\r\n");
    }
    put_fields(dst, head.as_bytes(), start_line, &head.index().fields, edits, flag::HOP | flag::LENGTH);
    put_framing(dst, framing, head.content_length().filter(|_| !matches!(head.status(), 100..=199 | 204)));
    let connection = if framing == Framing::Close { Connection::Close } else { connection };
    put_connection(dst, connection, head.upgrade(), b"");
    dst.put_slice(b"\r\n");
}

/// Room for what is written besides the received head and the edits.
const SLACK: usize = 192;

/// How long the start line is that the head begins with, if it is written as we would write it.
fn request_line(head: &RequestHead) -> Option<usize> {
    const END: &[u8] = b" HTTP/1.1\r\n";
    let target = head.index().target;
    // Method and target are apart by one space, or it would be none; the head begins with the method, empty lines left out.
    let is_usual = head.target_form() != TargetForm::Absolute
        && head.as_bytes().get(target.end()..).is_some_and(|rest| rest.starts_with(END));
    is_usual.then_some(target.end() + END.len())
}

/// The same of a response.
fn status_line(head: &ResponseHead) -> Option<usize> {
    const BEGIN: &[u8] = b"HTTP/1.1 ";
    let reason = head.index().reason;
    // Three digits and a space stand between: whatever else would move the phrase.
    let is_usual = reason.start() == BEGIN.len() + 4
        && head.as_bytes().starts_with(BEGIN)
        && head.as_bytes().get(reason.end()..).is_some_and(|rest| rest.starts_with(b"\r\n"));
    is_usual.then_some(reason.end() + 2)
}

fn put_target(dst: &mut BytesMut, head: &RequestHead) {
    if head.target_form() != TargetForm::Absolute {
        dst.put_slice(head.target());
        return;
    }
    dst.put_slice(head.path());
    if let Some(query) = head.query() {
        dst.put_u8(b'?');
        dst.put_slice(query);
    }
}

/// Copies the start line, as far as this many bytes have it, and the headers that stay, then those added.
#[inline(always)] // Two callers; the call alone costs more than most heads need of it.
fn put_fields(dst: &mut BytesMut, bytes: &[u8], start_line: usize, fields: &Fields, edits: &Edits, skip: u8) {
    // Each head is asked no more than its edits need: ordinary ones leave nothing out by its place, and many nothing at all.
    if !edits.removes_any() {
        put_kept(dst, bytes, start_line, fields, |_, field| field.has(skip));
    } else if edits.drops_by_place() {
        put_kept(dst, bytes, start_line, fields, |index, field| field.has(skip) || edits.drops(index, field, bytes));
    } else {
        let is_dropped = edits.by_name(bytes);
        put_kept(dst, bytes, start_line, fields, |_, field| field.has(skip) || is_dropped(field));
    }
    dst.put_slice(edits.added_lines());
}

/// Copies the start line and the headers that stay, those that stand together in one piece.
#[inline(never)] // One of the three that are made of it is called; inlined, all would save registers for the largest.
fn put_kept(
    dst: &mut BytesMut,
    bytes: &[u8],
    start_line: usize,
    fields: &Fields,
    is_dropped: impl Fn(usize, &Field) -> bool,
) {
    let mut run = 0..start_line;
    for (index, field) in fields.as_slice().iter().enumerate() {
        if is_dropped(index, field) {
            continue;
        }
        let start = field.name_start as usize;
        if !field.has(flag::CANONICAL) {
            dst.put_slice(bytes.get(std::mem::take(&mut run)).unwrap_or_default());
            put_line(dst, field.name(bytes), field.value(bytes));
            continue;
        }
        if start != run.end {
            dst.put_slice(bytes.get(run).unwrap_or_default());
            run = start..start;
        }
        run.end = field.value.end() + 2;
    }
    dst.put_slice(bytes.get(run).unwrap_or_default());
}

fn put_framing(dst: &mut BytesMut, framing: Framing, length_without_body: Option<u64>) {
    let length = match framing {
        Framing::Length(length) => Some(length),
        Framing::None => length_without_body,
        Framing::Chunked => {
            dst.put_slice(b"Transfer-Encoding: chunked\r\n");
            None
        }
        Framing::Close => None,
    };
    if let Some(length) = length {
        put_length(dst, length);
    }
}

fn put_connection(dst: &mut BytesMut, connection: Connection, upgrade: Option<&[u8]>, te: &[u8]) {
    let upgrade = upgrade.filter(|_| connection == Connection::Upgrade);
    let option: &[u8] = match connection {
        Connection::KeepAlive => b"keep-alive",
        Connection::Close => b"close",
        Connection::Upgrade if upgrade.is_some() => b"upgrade",
        Connection::Upgrade | Connection::Implicit => b"",
    };
    if !(option.is_empty() && te.is_empty()) {
        dst.put_slice(b"Connection: ");
        dst.put_slice(option);
        if !(option.is_empty() || te.is_empty()) {
            dst.put_slice(b", ");
        }
        dst.put_slice(te);
        dst.put_slice(b"\r\n");
    }
    if let Some(protocol) = upgrade {
        put_line(dst, b"Upgrade", protocol);
    }
}

fn put_line(dst: &mut BytesMut, name: &[u8], value: &[u8]) {
    dst.reserve(name.len() + value.len() + 4);
    dst.put_slice(name);
    dst.put_slice(b": ");
    dst.put_slice(value);
    dst.put_slice(b"\r\n");
}

fn put_length(dst: &mut BytesMut, mut length: u64) {
    let mut line = *b"00000000000000000000\r\n";
    let mut start = 20;
    for digit in line.iter_mut().take(20).rev() {
        *digit = b'0' + (length % 10) as u8;
        length /= 10;
        start -= 1;
        if length == 0 {
            break;
        }
    }
    dst.put_slice(b"Content-Length: ");
    dst.put_slice(line.get(start..).unwrap_or_default());
}

/// The line before a chunk's data. Written beside the data, it saves copying it.
#[derive(Clone, Copy, Debug)]
pub struct ChunkPrefix {
    text: [u8; 18],
    start: u8,
}

/// What follows a chunk's data.
pub const CHUNK_SUFFIX: &[u8] = b"\r\n";

impl ChunkPrefix {
    /// For a chunk of so many bytes; `None` for zero, which would end the body.
    #[must_use]
    pub fn new(len: usize) -> Option<Self> {
        if len == 0 {
            return None;
        }
        let mut text = *b"0000000000000000\r\n";
        let (mut rest, mut start) = (len, 16u8);
        for digit in text.iter_mut().take(16).rev() {
            if rest == 0 {
                break;
            }
            *digit = b"0123456789abcdef".get(rest & 0xf).copied().unwrap_or(b'0');
            rest >>= 4;
            start -= 1;
        }
        Some(Self { text, start })
    }

    /// The line, with its CRLF.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        self.text.get(usize::from(self.start)..).unwrap_or_default()
    }
}

impl AsRef<[u8]> for ChunkPrefix {
    fn as_ref(&self) -> &[u8] {
        self.as_bytes()
    }
}

/// Appends a whole chunk, data copied: the way for small ones. Nothing for no data.
pub fn encode_chunk(dst: &mut BytesMut, data: &[u8]) {
    if let Some(prefix) = ChunkPrefix::new(data.len()) {
        dst.reserve(data.len() + 20);
        dst.put_slice(prefix.as_bytes());
        dst.put_slice(data);
        dst.put_slice(CHUNK_SUFFIX);
    }
}

/// Appends the end of a chunked body, with its trailers if there are any.
pub fn encode_last_chunk(dst: &mut BytesMut, trailers: Option<&Trailers>) {
    dst.put_slice(b"0\r\n");
    for (name, value) in trailers.into_iter().flatten() {
        put_line(dst, name, value);
    }
    dst.put_slice(b"\r\n");
}
