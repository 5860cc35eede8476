//! What is to be different about a head when it is sent on.
//!
//! The problem: five stages each add, replace or drop a header or two. Applying every change to the head at once would
//! copy it five times. Edits collect instead: names to leave out, and lines to add that are already written the way
//! they will go out. The encoder skips the former and copies the latter in one piece. What a client forged is left out
//! by where it stands, not by name: a list of names that a client makes longer would cost its square.
//!
//! A value that could break out of its line (CR, LF, NUL, any control but a tab) is refused here, when the edit is
//! made, so that encoding cannot fail. So are the headers that decide framing and connection handling: those belong to
//! the encoder, and an edit that contradicted it would be a request smuggled by ourselves.

use bytes::Bytes;
use smallvec::SmallVec;

use super::chars::{has_control, is_token};
use super::fields::{Field, Fields};
use super::is_valid_origin_form;
use super::name::{self, Name};

/// Changes to a head, applied when it is encoded. Empty by default, and then it costs nothing.
///
/// Order counts as if each change had been made at once: `append` then `remove` leaves nothing, `remove` then `append`
/// leaves the appended line. Names match ignoring case, and where received lines are removed or replaced `_` counts as
/// `-`, so that no look-alike of a header that we set comes from outside.
#[derive(Clone, Debug, Default)]
pub struct Edits {
    removed: SmallVec<[Removed; 4]>,
    /// Received headers left out by their place in the head, a bit each: room for 128 without an allocation.
    dropped: SmallVec<[u64; 2]>,
    /// The names removed, one after the other.
    names: Vec<u8>,
    /// The lines added, each with its CRLF.
    lines: Vec<u8>,
    sets_host: bool,
    /// The head is known to have nothing that would be left out.
    only_adds: bool,
    target: Option<Bytes>,
}

#[derive(Clone, Copy, Debug)]
struct Removed {
    tag: u32,
    start: u32,
    len: u16,
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
    /// The target is not `/…` of printable ASCII and UTF-8 without `#`, or has a `\` in its path.
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
        !self.removes_any() && self.lines.is_empty() && self.target.is_none()
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

    /// Puts one header in the place of all of that name. Setting `Host` replaces the authority of the target or `Host`.
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

    /// [`set`](Self::set) with a name that is known to be one, and under which no line was added yet. Costs no look at
    /// those that were.
    pub fn put(&mut self, name: Name<'static>, value: &[u8]) -> Result<(), InvalidField> {
        debug_assert_eq!(self.added_value(&name), None);
        debug_assert_eq!(check_name(&name), Ok(()));
        if !is_valid_value(value) {
            return Err(InvalidField::Value);
        }
        self.leave_out(&name);
        self.push(&name, value);
        Ok(())
    }

    /// [`put`](Self::put) where the head is known to have nothing that looks like it.
    pub fn put_new(&mut self, name: Name<'static>, value: &[u8]) -> Result<(), InvalidField> {
        debug_assert_eq!(check_name(&name), Ok(()));
        if !is_valid_value(value) {
            return Err(InvalidField::Value);
        }
        self.push(&name, value);
        Ok(())
    }

    /// No changes yet to heads that are known to have nothing that would be left out: lines may only be added. There is
    /// room for so many bytes of them.
    #[must_use]
    pub fn only_adding(room: usize) -> Self {
        Self { only_adds: true, lines: Vec::with_capacity(room), ..Self::default() }
    }

    /// Adds the lines of other edits, which removed nothing.
    pub fn extend(&mut self, other: &Self) {
        debug_assert!(!other.removes_any() && other.target.is_none());
        self.reserve(other.lines.len());
        self.lines.extend_from_slice(&other.lines);
        self.sets_host |= other.sets_host;
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

    /// Leaves out the received header that stands at this place in the head. These edits are then for that head alone.
    pub fn drop_at(&mut self, index: usize) {
        let (word, bit) = (index / 64, index % 64);
        if self.dropped.len() <= word {
            self.dropped.resize(word + 1, 0);
        }
        if let Some(bits) = self.dropped.get_mut(word) {
            *bits |= 1 << bit;
        }
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

    /// The first received header of that name that is not left out.
    pub(super) fn received<'a>(&self, fields: &Fields, bytes: &'a [u8], name: &Name<'_>) -> Option<&'a [u8]> {
        let mut all = fields.as_slice().iter().enumerate();
        if self.is_removed(name) {
            return None;
        }
        all.find(|(index, field)| field.is(name, bytes) && !self.is_dropped(*index))
            .map(|(_, field)| field.value(bytes))
    }

    pub(crate) fn target(&self) -> Option<&Bytes> {
        self.target.as_ref()
    }

    /// Whether the received header at this place is left out. Cost: a bit, and a number for each name removed, which are
    /// ours and the configuration's.
    pub(crate) fn drops(&self, index: usize, field: &Field, bytes: &[u8]) -> bool {
        self.is_dropped(index) || self.drops_name(field, bytes)
    }

    fn drops_name(&self, field: &Field, bytes: &[u8]) -> bool {
        self.by_name(bytes)(field)
    }

    /// Whether received headers of a field's name are left out: a question to be asked of each field of a head.
    pub(crate) fn by_name<'a>(&'a self, bytes: &'a [u8]) -> impl Fn(&Field) -> bool + 'a {
        let removed = self.removed.as_slice();
        // Tags fold `_`, so an equal tag may be a look-alike; the confirmation folds too.
        move |field| removed.iter().any(|r| r.tag == field.tag && self.removed_name(r).looks_like(field.name(bytes)))
    }

    /// Whether any is left out by its place, as a forged one is.
    pub(crate) fn drops_by_place(&self) -> bool {
        !self.dropped.is_empty()
    }

    fn is_dropped(&self, index: usize) -> bool {
        self.dropped.get(index / 64).is_some_and(|bits| bits >> (index % 64) & 1 == 1)
    }

    /// Whether received headers of this name, or of one that looks like it, are left out by their name.
    #[must_use]
    pub fn is_removed(&self, name: &Name<'_>) -> bool {
        self.removed.iter().any(|r| r.tag == name.tag() && self.removed_name(r).looks_like(name.as_bytes()))
    }

    pub(crate) fn removes_any(&self) -> bool {
        !(self.removed.is_empty() && self.dropped.is_empty())
    }

    /// The first line added under that name.
    #[must_use]
    pub fn added_value(&self, name: &Name<'_>) -> Option<&[u8]> {
        self.added_fields().find(|(added, _)| name.is(added)).map(|(_, value)| value)
    }

    /// Whether a line added is `Host`, of which there may be only one.
    #[must_use]
    pub fn sets_host(&self) -> bool {
        self.sets_host
    }

    /// The lines added, name and value, in order.
    pub(crate) fn added_fields(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        let mut rest = self.lines.as_slice();
        std::iter::from_fn(move || {
            let (line, after) = first_line(rest)?;
            rest = after;
            let name = name_of(line);
            Some((name, line.get(name.len() + 2..line.len() - 2).unwrap_or_default()))
        })
    }

    /// The lines added, each with its CRLF.
    pub(crate) fn added_lines(&self) -> &[u8] {
        &self.lines
    }

    pub(crate) fn text_len(&self) -> usize {
        self.lines.len() + self.target.as_ref().map_or(0, Bytes::len)
    }

    fn removed_name(&self, removed: &Removed) -> Name<'_> {
        let start = removed.start as usize;
        Name::from_bytes(self.names.get(start..start + usize::from(removed.len)).unwrap_or_default())
    }

    /// Takes back what was added under that name, and leaves out what was received under it.
    fn drop_name(&mut self, name: &Name<'_>) {
        let mut start = 0;
        while let Some((line, _)) = first_line(self.lines.get(start..).unwrap_or_default()) {
            let end = start + line.len();
            if name.looks_like(name_of(line)) {
                self.lines.drain(start..end);
            } else {
                start = end;
            }
        }
        self.sets_host &= !name.looks_like(b"host");
        self.leave_out(name);
    }

    fn leave_out(&mut self, name: &Name<'_>) {
        if !self.only_adds && !self.is_removed(name) {
            let start = self.names.len() as u32;
            self.names.extend_from_slice(name.as_bytes());
            self.removed.push(Removed { tag: name.tag(), start, len: name.as_bytes().len() as u16 });
        }
    }

    fn push(&mut self, name: &Name<'_>, value: &[u8]) {
        let name_bytes = name.as_bytes();
        self.reserve(name_bytes.len() + value.len() + 4);
        self.lines.extend_from_slice(name_bytes);
        self.lines.extend_from_slice(b": ");
        self.lines.extend_from_slice(value);
        self.lines.extend_from_slice(b"\r\n");
        self.sets_host |= name.tag() == name::HOST.tag() && name.is(b"host");
    }

    fn reserve(&mut self, more: usize) {
        // One allocation holds the forwarding headers of an ordinary request.
        if self.lines.capacity() == 0 {
            self.lines = Vec::with_capacity(more.max(384));
        } else {
            self.lines.reserve(more);
        }
    }
}

/// The first of some lines, with its CRLF, and what follows. Values hold no LF.
fn first_line(lines: &[u8]) -> Option<(&[u8], &[u8])> {
    lines.split_at_checked(memchr::memchr(b'\n', lines)? + 1)
}

/// The name of a line. Names hold no colon.
fn name_of(line: &[u8]) -> &[u8] {
    line.get(..memchr::memchr(b':', line).unwrap_or(line.len())).unwrap_or_default()
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

/// Longer values than this are refused: positions are kept in 32 bits, and no server accepts such a header.
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
