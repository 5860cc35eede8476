//! What is to be different about a head when it is sent on.
//!
//! The problem: five stages each add, replace or drop a header or two. Applying every change to the head at once would
//! copy it five times. Edits collect instead: names to leave out, and lines to add that are already written the way
//! they will go out. The encoder skips the former and copies the latter in one piece.
//!
//! A value that could break out of its line (CR, LF, NUL, any control but a tab) is refused here, when the edit is
//! made, so that encoding cannot fail. So are the headers that decide framing and connection handling: those belong to
//! the encoder, and an edit that contradicted it would be a request smuggled by ourselves.

use bytes::Bytes;
use smallvec::SmallVec;

use super::chars::{has_control, is_token};
use super::fields::Field;
use super::name::Name;
use super::{RequestHead, ResponseHead, is_valid_origin_form};

/// Changes to a head, applied when it is encoded. Empty by default, and then it costs nothing.
///
/// Order counts as if each change had been made at once: `append` then `remove` leaves nothing, `remove` then `append`
/// leaves the appended line. Names match ignoring case, and where received lines are removed or replaced `_` counts as
/// `-`, so that no look-alike of a header that we set comes from outside.
#[derive(Clone, Debug, Default)]
pub struct Edits {
    removed: SmallVec<[Removed; 8]>,
    added: SmallVec<[Added; 8]>,
    /// The text of both: names removed, and whole lines added.
    text: Vec<u8>,
    target: Option<Bytes>,
}

#[derive(Clone, Copy, Debug)]
struct Removed {
    tag: u32,
    start: u32,
    len: u16,
}

#[derive(Clone, Copy, Debug)]
struct Added {
    tag: u32,
    start: u32,
    name_len: u16,
    line_len: u32,
}

/// Why a header or target cannot be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidField {
    /// The name is empty, longer than 256 bytes, or has characters that no name may have.
    #[error("not a header name")]
    Name,
    /// The value has a control character other than a tab.
    #[error("header value with a control character")]
    Value,
    /// The header decides framing or connection handling, which is the encoder's.
    #[error("header is written by the proxy itself")]
    Reserved,
    /// The target is not `/…` of printable ASCII without `#`, or has a `\` in its path.
    #[error("not a request target")]
    Target,
}

impl Edits {
    /// No changes.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Whether nothing is changed.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.removed.is_empty() && self.added.is_empty() && self.target.is_none()
    }

    /// Leaves out every header of that name.
    ///
    /// # Errors
    /// A name that is none, or a reserved one; also `Host`, which every request must have.
    pub fn remove<'n>(&mut self, name: impl Into<Name<'n>>) -> Result<(), InvalidField> {
        let name = name.into();
        check_name(&name)?;
        if name.looks_like(b"host") {
            return Err(InvalidField::Reserved);
        }
        self.drop_name(&name);
        Ok(())
    }

    /// Puts one header in the place of all of that name. Setting `Host` replaces what the target or `Host` said.
    ///
    /// # Errors
    /// A name or value that is none, or a reserved name.
    pub fn set<'n>(&mut self, name: impl Into<Name<'n>>, value: impl AsRef<[u8]>) -> Result<(), InvalidField> {
        let (name, value) = (name.into(), value.as_ref());
        check(&name, value)?;
        self.drop_name(&name);
        self.push(&name, value);
        Ok(())
    }

    /// [`set`](Self::set) with a name that is known to be one, which most of ours are.
    pub(crate) fn put(&mut self, name: Name<'static>, value: &[u8]) -> Result<(), InvalidField> {
        debug_assert_eq!(check_name(&name), Ok(()));
        if !is_valid_value(value) {
            return Err(InvalidField::Value);
        }
        self.drop_name(&name);
        self.push(&name, value);
        Ok(())
    }

    /// Adds one header beside those of that name.
    ///
    /// # Errors
    /// A name or value that is none, or a reserved name; also `Host`, of which there may be only one.
    pub fn append<'n>(&mut self, name: impl Into<Name<'n>>, value: impl AsRef<[u8]>) -> Result<(), InvalidField> {
        let (name, value) = (name.into(), value.as_ref());
        check(&name, value)?;
        if name.is(b"host") {
            return Err(InvalidField::Reserved);
        }
        self.push(&name, value);
        Ok(())
    }

    /// [`set`](Self::set) with a line that was checked before, such as one from the configuration.
    pub fn set_line(&mut self, line: &Line) {
        self.drop_name(&line.name());
        self.push(&line.name(), line.value());
    }

    /// [`append`](Self::append) with a line that was checked before. A `Host` replaces instead.
    pub fn append_line(&mut self, line: &Line) {
        if line.name().is(b"host") {
            self.drop_name(&line.name());
        }
        self.push(&line.name(), line.value());
    }

    /// Replaces the request target by one in origin form.
    ///
    /// # Errors
    /// [`InvalidField::Target`].
    pub fn set_target(&mut self, target: impl Into<Bytes>) -> Result<(), InvalidField> {
        let target = target.into();
        if !is_valid_origin_form(&target) {
            return Err(InvalidField::Target);
        }
        self.target = Some(target);
        Ok(())
    }

    /// The value that the request will have upstream: of the first header of that name, added ones after received
    /// ones. Does not know what the encoder drops or writes by itself.
    #[must_use]
    pub fn request_header<'a, 'n>(&'a self, head: &'a RequestHead, name: impl Into<Name<'n>>) -> Option<&'a [u8]> {
        let name = name.into();
        let received = if self.is_removed(&name) { None } else { head.header(name) };
        received.or_else(|| self.added_value(&name))
    }

    /// As [`request_header`](Self::request_header), for a response.
    #[must_use]
    pub fn response_header<'a, 'n>(&'a self, head: &'a ResponseHead, name: impl Into<Name<'n>>) -> Option<&'a [u8]> {
        let name = name.into();
        let received = if self.is_removed(&name) { None } else { head.header(name) };
        received.or_else(|| self.added_value(&name))
    }

    pub(crate) fn target(&self) -> Option<&Bytes> {
        self.target.as_ref()
    }

    /// Whether a received header is left out.
    pub(crate) fn drops(&self, field: &Field, bytes: &[u8]) -> bool {
        // Tags fold `_`, so an equal tag may be a look-alike; the confirmation folds too.
        self.removed.iter().any(|r| r.tag == field.tag && self.removed_name(r).looks_like(field.name(bytes)))
    }

    pub(crate) fn is_removed(&self, name: &Name<'_>) -> bool {
        self.removed.iter().any(|r| r.tag == name.tag() && self.removed_name(r).looks_like(name.as_bytes()))
    }

    pub(crate) fn removes_any(&self) -> bool {
        !self.removed.is_empty()
    }

    /// The first line added under that name.
    pub(crate) fn added_value(&self, name: &Name<'_>) -> Option<&[u8]> {
        self.added_fields().find(|(added, _)| name.is(added)).map(|(_, value)| value)
    }

    /// The lines added, name and value, in order.
    pub(crate) fn added_fields(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        self.added.iter().map(|a| {
            let line = self.text.get(a.start as usize..(a.start + a.line_len) as usize).unwrap_or_default();
            let (name, rest) = line.split_at_checked(usize::from(a.name_len)).unwrap_or_default();
            (name, rest.get(2..rest.len().saturating_sub(2)).unwrap_or_default())
        })
    }

    /// The lines added, each with its CRLF, neighbours joined.
    pub(crate) fn added_lines(&self) -> impl Iterator<Item = &[u8]> {
        let mut rest = self.added.as_slice();
        std::iter::from_fn(move || {
            let (first, mut tail) = rest.split_first()?;
            let mut end = first.start + first.line_len;
            while let Some((next, after)) = tail.split_first().filter(|(next, _)| next.start == end) {
                end = next.start + next.line_len;
                tail = after;
            }
            rest = tail;
            self.text.get(first.start as usize..end as usize)
        })
    }

    pub(crate) fn text_len(&self) -> usize {
        self.text.len() + self.target.as_ref().map_or(0, Bytes::len)
    }

    fn removed_name(&self, removed: &Removed) -> Name<'_> {
        let start = removed.start as usize;
        Name::from_bytes(self.text.get(start..start + usize::from(removed.len)).unwrap_or_default())
    }

    fn drop_name(&mut self, name: &Name<'_>) {
        if !self.added.is_empty() {
            let text = &self.text;
            self.added.retain(|a| {
                let start = a.start as usize;
                let added = text.get(start..start + usize::from(a.name_len)).unwrap_or_default();
                a.tag != name.tag() || !name.looks_like(added)
            });
        }
        if !self.is_removed(name) {
            self.reserve();
            let start = self.text.len() as u32;
            self.text.extend_from_slice(name.as_bytes());
            self.removed.push(Removed { tag: name.tag(), start, len: name.as_bytes().len() as u16 });
        }
    }

    fn push(&mut self, name: &Name<'_>, value: &[u8]) {
        self.reserve();
        let start = self.text.len();
        write_line(&mut self.text, name.as_bytes(), value);
        self.added.push(Added {
            tag: name.tag(),
            start: start as u32,
            name_len: name.as_bytes().len() as u16,
            line_len: (self.text.len() - start) as u32,
        });
    }

    fn reserve(&mut self) {
        if self.text.capacity() == 0 {
            // One allocation holds the forwarding headers of an ordinary request.
            self.text.reserve(384);
        }
    }
}

/// A header checked once, for use in many edits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    text: Box<[u8]>,
    name_len: u16,
}

impl Line {
    /// Checks name and value.
    ///
    /// # Errors
    /// As [`Edits::set`].
    pub fn new<'n>(name: impl Into<Name<'n>>, value: impl AsRef<[u8]>) -> Result<Self, InvalidField> {
        let (name, value) = (name.into(), value.as_ref());
        check(&name, value)?;
        let mut text = name.as_bytes().to_vec();
        text.extend_from_slice(value);
        Ok(Self { text: text.into(), name_len: name.as_bytes().len() as u16 })
    }

    /// The header's name.
    #[must_use]
    pub fn name(&self) -> Name<'_> {
        Name::from_bytes(self.text.get(..usize::from(self.name_len)).unwrap_or_default())
    }

    /// The header's value.
    #[must_use]
    pub fn value(&self) -> &[u8] {
        self.text.get(usize::from(self.name_len)..).unwrap_or_default()
    }
}

fn write_line(text: &mut Vec<u8>, name: &[u8], value: &[u8]) {
    text.extend_from_slice(name);
    text.extend_from_slice(b": ");
    text.extend_from_slice(value);
    text.extend_from_slice(b"\r\n");
}

fn check(name: &Name<'_>, value: &[u8]) -> Result<(), InvalidField> {
    check_name(name)?;
    if is_valid_value(value) { Ok(()) } else { Err(InvalidField::Value) }
}

/// Whether the name is one, and not one of those that only the encoder writes.
pub(crate) fn check_name(name: &Name<'_>) -> Result<(), InvalidField> {
    let text = name.as_bytes();
    if text.len() > 256 || !is_token(text) {
        return Err(InvalidField::Name);
    }
    if RESERVED.iter().any(|reserved| reserved.tag() == name.tag() && reserved.looks_like(text)) {
        return Err(InvalidField::Reserved);
    }
    Ok(())
}

/// Whether a value may be written: no control character but tabs, and not absurdly long.
pub(crate) fn is_valid_value(value: &[u8]) -> bool {
    value.len() <= MAX_VALUE && !has_control(value)
}

/// Longer values than this are refused: positions are kept in 32 bits, and nobody accepts such a header.
const MAX_VALUE: usize = 1 << 24;

const RESERVED: [Name<'static>; 7] = [
    super::name::CONTENT_LENGTH,
    super::name::TRANSFER_ENCODING,
    super::name::CONNECTION,
    super::name::KEEP_ALIVE,
    super::name::PROXY_CONNECTION,
    super::name::UPGRADE,
    super::name::TE,
];
