//! Finding the end of a body.
//!
//! The decoder takes bytes off the front of the connection's buffer and hands the data out as slices of it, uncopied.
//! It never takes a byte that belongs to the next message.
//!
//! Chunked bodies are where requests are smuggled, so: a size is 1 to 16 hexadecimal digits below 2⁶³, no sign, no
//! `0x`, no whitespace; every line ends in CRLF; data is followed by CRLF and nothing else. Extensions (`;name=value`)
//! must be such by their grammar; they are not forwarded. They are bounded to 256 bytes per chunk, and what framing costs
//! may exceed twice the data by 16 KiB in all, so that no client makes us work without sending anything (the rule is Go's).
//!
//! An endpoint's chunks are written again, so what has one meaning passes: whitespace after a size, which old servers
//! pad to a fixed width, and any printable text as an extension.
//!
//! Trailers obey the rules for headers, with at most 8 KiB and 64 of them. Those that would change framing or routing
//! (`Content-Length`, `Transfer-Encoding`, `Host`) are refused; others that RFC 9110 §6.5.1 forbids as trailers
//! (authentication, cookies, content coding and type, caching, connection and forwarding headers) are dropped.

use bytes::{Buf, Bytes, BytesMut};

use super::error::{BodyError, Cause};
use super::extension::Extension;
use super::framing::Sender;
use super::lines::{Lines, field_line};
use crate::message::{Fields, Framing, Name, Trailers, name};

const MAX_EXTENSION: u16 = 256;
const MAX_OVERHEAD: u64 = 16 * 1024;
const MAX_TRAILER_BYTES: usize = 8 * 1024;
const MAX_TRAILERS: usize = 64;

/// Reads one body. Build it from the framing of its head; it is done after [`Step::End`].
#[derive(Debug)]
pub struct BodyDecoder {
    state: State,
    sender: Sender,
    /// What chunk framing cost beyond twice the data.
    overhead: u64,
}

#[derive(Debug)]
enum State {
    /// So many bytes are still to come.
    Length(u64),
    /// Everything until the end of the connection.
    Close,
    /// In a chunk's size, so many digits read.
    Size {
        size: u64,
        digits: u8,
    },
    /// In a chunk's extension, so many bytes read.
    Extension {
        size: u64,
        at: Extension,
        len: u16,
    },
    /// Behind an endpoint's size: whitespace, then an extension that is not looked at. So many bytes read.
    Skipped {
        size: u64,
        is_extension: bool,
        len: u16,
    },
    /// After the CR of a chunk's size line.
    SizeLf {
        size: u64,
    },
    /// So many bytes of a chunk are still to come.
    Data(u64),
    DataCr,
    DataLf,
    Trailers(Box<Section>),
    Done,
}

#[derive(Debug, Default)]
struct Section {
    lines: Lines,
    fields: Fields,
    count: usize,
}

/// What a body gave.
#[derive(Clone, Debug)]
pub enum Step {
    /// Some data; never empty.
    Data(Bytes),
    /// The trailers, once, if there were any that may be trailers. [`End`](Self::End) follows.
    Trailers(Trailers),
    /// The body is complete; what remains in the buffer belongs to the next message. Repeats if asked again.
    End,
    /// More bytes are needed.
    NeedMore,
}

impl BodyDecoder {
    /// A decoder for a request's body framed like this.
    #[must_use]
    pub const fn new(framing: Framing) -> Self {
        Self::of(Sender::Client, framing)
    }

    /// A decoder for the body of an endpoint's response: see the module's text for what it lets pass.
    #[must_use]
    pub const fn of_response(framing: Framing) -> Self {
        Self::of(Sender::Endpoint, framing)
    }

    const fn of(sender: Sender, framing: Framing) -> Self {
        let state = match framing {
            Framing::None | Framing::Length(0) => State::Done,
            Framing::Length(length) => State::Length(length),
            Framing::Chunked => State::Size { size: 0, digits: 0 },
            Framing::Close => State::Close,
        };
        Self { state, sender, overhead: 0 }
    }

    /// Whether the body is complete. Known without a call when the last byte of a length was handed out.
    #[must_use]
    pub const fn is_done(&self) -> bool {
        matches!(self.state, State::Done)
    }

    /// Takes the next piece off the front of `buf`.
    ///
    /// # Errors
    /// The body is not framed as it should be; the connection cannot be used any more.
    pub fn decode(&mut self, buf: &mut BytesMut) -> Result<Step, BodyError> {
        loop {
            match &mut self.state {
                State::Done => return Ok(Step::End),
                _ if buf.is_empty() => return Ok(Step::NeedMore),
                State::Close => return Ok(Step::Data(buf.split().freeze())),
                State::Length(left) => {
                    let data = take(buf, left);
                    if *left == 0 {
                        self.state = State::Done;
                    }
                    return Ok(Step::Data(data));
                }
                State::Data(left) => {
                    let data = take(buf, left);
                    if *left == 0 {
                        self.state = State::DataCr;
                    }
                    return Ok(Step::Data(data));
                }
                State::Trailers(section) => {
                    let Some(trailers) = section.advance(buf)? else { return Ok(Step::NeedMore) };
                    self.state = State::Done;
                    if !trailers.is_empty() {
                        return Ok(Step::Trailers(trailers));
                    }
                }
                _ => self.chunk_line(buf)?,
            }
        }
    }

    /// The connection ended.
    ///
    /// # Errors
    /// [`Cause::Truncated`] unless that, or something before it, is how the body ends.
    pub fn on_eof(&mut self) -> Result<(), BodyError> {
        match self.state {
            State::Close | State::Done => {
                self.state = State::Done;
                Ok(())
            }
            _ => Err(Cause::Truncated.into()),
        }
    }

    /// Reads what stands between the data of two chunks, as far as it has come.
    fn chunk_line(&mut self, buf: &mut BytesMut) -> Result<(), BodyError> {
        let mut used = 0;
        for &byte in buf.iter() {
            used += 1;
            self.chunk_byte(byte)?;
            if matches!(self.state, State::Data(_) | State::Trailers(_)) {
                break;
            }
        }
        buf.advance(used);
        Ok(())
    }

    fn chunk_byte(&mut self, byte: u8) -> Result<(), BodyError> {
        self.overhead += 1;
        self.state = match (&self.state, byte) {
            (&State::Size { size, digits }, _) if byte.is_ascii_hexdigit() => {
                if digits == 16 || size > (i64::MAX as u64) >> 4 {
                    return Err(Cause::BadChunkSize.into());
                }
                State::Size { size: size << 4 | u64::from(hex(byte)), digits: digits + 1 }
            }
            (&State::Size { size, digits: 1.. }, b'\r') => State::SizeLf { size },
            (&State::Size { size, digits: 1.. }, b';' | b' ' | b'\t') if self.sender == Sender::Endpoint => {
                State::Skipped { size, is_extension: byte == b';', len: 1 }
            }
            (&State::Size { size, digits: 1.. }, b';') => State::Extension { size, at: Extension::Name0, len: 1 },
            (&State::Size { digits: 1.., .. }, b'\n') => return Err(Cause::BareLf.into()),
            (State::Size { .. }, _) => return Err(Cause::BadChunkSize.into()),
            (State::Extension { .. } | State::Skipped { .. }, b'\n') => return Err(Cause::BareLf.into()),
            (&State::Extension { size, at, .. }, b'\r') if at.may_end() => State::SizeLf { size },
            (&State::Extension { size, at, len }, _) => {
                let at = at.step(byte).ok_or(Cause::BadChunkExtension)?;
                State::Extension { size, at, len: longer(len)? }
            }
            (&State::Skipped { size, .. }, b'\r') => State::SizeLf { size },
            (&State::Skipped { size, is_extension, len }, b'\t' | b' '..=b'~') => {
                let is_extension = is_extension || byte == b';';
                if !is_extension && !matches!(byte, b' ' | b'\t') {
                    return Err(Cause::BadChunkSize.into());
                }
                State::Skipped { size, is_extension, len: longer(len)? }
            }
            (State::Skipped { .. }, _) => return Err(Cause::BadChunkExtension.into()),
            (State::SizeLf { size: 0 }, b'\n') => State::Trailers(Box::default()),
            (&State::SizeLf { size }, b'\n') => {
                self.weigh(size)?;
                State::Data(size)
            }
            (State::SizeLf { .. }, _) => return Err(Cause::BareCr.into()),
            (State::DataCr, b'\r') => State::DataLf,
            (State::DataLf, b'\n') => State::Size { size: 0, digits: 0 },
            (State::DataCr | State::DataLf, _) => return Err(Cause::BadChunkEnd.into()),
            // Not reached: `decode` handles these itself.
            (State::Length(_) | State::Close | State::Data(_) | State::Trailers(_) | State::Done, _) => return Ok(()),
        };
        Ok(())
    }

    /// Sets a chunk's framing against its data. Sixteen bytes are free for each, as much as an honest encoder needs.
    fn weigh(&mut self, size: u64) -> Result<(), BodyError> {
        self.overhead = self.overhead.saturating_sub(size.saturating_mul(2).saturating_add(16));
        if self.overhead > MAX_OVERHEAD { Err(Cause::ChunkOverhead.into()) } else { Ok(()) }
    }
}

impl Section {
    fn advance(&mut self, buf: &mut BytesMut) -> Result<Option<Trailers>, Cause> {
        loop {
            let Some(after) = self.lines.find(buf).filter(|&after| after <= MAX_TRAILER_BYTES) else {
                return if buf.len() < MAX_TRAILER_BYTES { Ok(None) } else { Err(Cause::TrailersTooLarge) };
            };
            let line = self.lines.take(buf, after)?;
            if line.start == line.end {
                let bytes = buf.split_to(after.min(buf.len())).freeze();
                return Ok(Some(Trailers::new(bytes, std::mem::take(&mut self.fields))));
            }
            self.count += 1;
            if self.count > MAX_TRAILERS {
                return Err(Cause::TrailersTooLarge);
            }
            let field = field_line(buf, line)?;
            if may_be_trailer(field.name(buf))? {
                self.fields.push(field);
            }
        }
    }
}

/// Whether a trailer of that name is kept; an error for one that is an attempt at something.
fn may_be_trailer(text: &[u8]) -> Result<bool, Cause> {
    const REFUSED: [Name<'static>; 3] = [name::CONTENT_LENGTH, name::TRANSFER_ENCODING, name::HOST];
    const DROPPED: [&str; 39] = [
        "age",
        "authorization",
        "cache-control",
        "connection",
        "content-encoding",
        "content-range",
        "content-type",
        "cookie",
        "date",
        "expect",
        "expires",
        "forwarded",
        "if-match",
        "if-modified-since",
        "if-none-match",
        "if-range",
        "if-unmodified-since",
        "keep-alive",
        "location",
        "max-forwards",
        "pragma",
        "proxy-authenticate",
        "proxy-authorization",
        "proxy-connection",
        "range",
        "retry-after",
        "set-cookie",
        "te",
        "trailer",
        "upgrade",
        "vary",
        "via",
        "www-authenticate",
        "x-forwarded-for",
        "x-forwarded-host",
        "x-forwarded-port",
        "x-forwarded-proto",
        "x-real-ip",
        "origin",
    ];
    if REFUSED.iter().any(|refused| refused.looks_like(text)) {
        return Err(Cause::ForbiddenTrailer);
    }
    Ok(!DROPPED.iter().any(|dropped| Name::new(dropped).looks_like(text)))
}

/// The length of what follows a size, with one more byte.
const fn longer(len: u16) -> Result<u16, Cause> {
    if len >= MAX_EXTENSION { Err(Cause::ChunkOverhead) } else { Ok(len + 1) }
}

/// As much of `left` as has come.
fn take(buf: &mut BytesMut, left: &mut u64) -> Bytes {
    let len = usize::try_from(*left).map_or(buf.len(), |left| left.min(buf.len()));
    *left -= len as u64;
    buf.split_to(len).freeze()
}

const fn hex(digit: u8) -> u8 {
    match digit {
        b'0'..=b'9' => digit - b'0',
        _ => (digit | 0x20) - b'a' + 10,
    }
}
