//! Reading a head line by line, as it arrives: what requests and responses share.

use std::fmt;

use bytes::{Buf, BytesMut};

use super::error::{Cause, HeadError};
use super::framing::{Seen, Sender};
use super::limits::HeadLimits;
use super::lines::{Known, LineAt, Lines, field_line, known, usual_line};
use crate::message::{Field, Head, Index};

/// What differs between the heads of requests and responses.
pub(crate) trait Kind: Default + fmt::Debug {
    /// What reading a head of this kind finds.
    type Index: Index + Default + fmt::Debug;
    /// The side that sends such heads.
    const SENDER: Sender;
    /// The error of a start line that exceeds the limit of the head.
    const START_TOO_LONG: Cause;

    /// Checks a start line that may be incomplete. `line` excludes the LF; `ended` says whether there was one.
    fn check_start(line: &[u8], ended: bool, limits: &HeadLimits) -> Result<(), Cause>;

    /// Takes the line that ends before `after`.
    fn take_line(lines: &mut Lines, buf: &[u8], after: usize) -> Result<LineAt, Cause>;

    /// An empty line came before the start line.
    fn on_empty_line(&mut self) -> Result<(), Cause>;

    /// Reads the start line.
    fn start_line(index: &mut Self::Index, buf: &[u8], line: LineAt) -> Result<(), Cause>;

    /// Whether [`on_known`](Self::on_known) does anything about this header.
    fn acts_on(known: Known) -> bool;

    /// A header came that this kind of head acts on.
    fn on_known(&mut self, index: &mut Self::Index, known: Known, field: &Field, buf: &[u8]) -> Result<(), Cause>;
}

/// Reads heads from a buffer that grows, one after the other. Eight bytes while no head is half read.
#[derive(Debug)]
pub(crate) struct HeadParser<K: Kind> {
    partial: Option<Box<Partial<K>>>,
}

/// A head half read. Positions count from the start of the buffer, which must not be consumed from meanwhile.
#[derive(Debug, Default)]
pub(crate) struct Partial<K: Kind> {
    lines: Lines,
    pub(crate) index: K::Index,
    pub(crate) seen: Seen,
    has_start_line: bool,
    pub(crate) kind: K,
}

/// How far a head was read.
enum Read {
    /// To its end.
    Whole,
    /// As far as it has come.
    Part,
    /// To an empty line before its start line, which ends here.
    Empty(usize),
}

impl<K: Kind> HeadParser<K> {
    pub(crate) const fn new() -> Self {
        Self { partial: None }
    }

    pub(crate) fn has_begun(&self) -> bool {
        self.partial.as_ref().is_some_and(|partial| partial.has_start_line || partial.lines.has_searched())
    }

    /// Takes one head off the front of `buf` once it is complete; `finish` decides what depends on the whole head.
    pub(crate) fn parse(
        &mut self,
        buf: &mut BytesMut,
        limits: &HeadLimits,
        finish: impl FnOnce(&mut Partial<K>, &[u8]) -> Result<(), Cause>,
    ) -> Result<Option<Head<K::Index>>, HeadError> {
        if buf.is_empty() {
            return Ok(None);
        }
        if let Some(mut partial) = self.partial.take() {
            if !partial.advance(buf, limits)? {
                self.partial = Some(partial);
                return Ok(None);
            }
            return Ok(Some(partial.finish(buf, finish)?));
        }
        let mut partial = Partial::default();
        if partial.advance(buf, limits)? {
            return Ok(Some(partial.finish(buf, finish)?));
        }
        self.partial = Some(Box::new(partial));
        Ok(None)
    }
}

impl<K: Kind> Partial<K> {
    /// As [`read`](Self::read), past empty lines before the start line.
    fn advance(&mut self, buf: &mut BytesMut, limits: &HeadLimits) -> Result<bool, Cause> {
        loop {
            match self.read(buf, limits)? {
                Read::Whole => return Ok(true),
                Read::Part => return Ok(false),
                Read::Empty(after) => {
                    self.kind.on_empty_line()?;
                    buf.advance(after);
                    self.lines = Lines::default();
                }
            }
        }
    }

    /// Reads all complete lines, up to the empty line at the end of the head.
    fn read(&mut self, buf: &[u8], limits: &HeadLimits) -> Result<Read, Cause> {
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
                return Ok(Read::Whole);
            }
            let found = self.lines.find(buf);
            if !self.has_start_line {
                let so_far = buf.get(self.lines.start..found.map_or(buf.len(), |after| after - 1)).unwrap_or_default();
                K::check_start(so_far, found.is_some(), limits)?;
            }
            let Some(after) = found.filter(|&after| after <= max_bytes) else {
                if buf.len() < max_bytes {
                    return Ok(Read::Part);
                }
                return Err(if self.has_start_line { Cause::HeadTooLarge } else { K::START_TOO_LONG });
            };
            let line = K::take_line(&mut self.lines, buf, after)?;
            if line.start < line.end {
                self.line(buf, line, limits)?;
            } else if self.has_start_line {
                return Ok(Read::Whole);
            } else {
                return Ok(Read::Empty(after));
            }
        }
    }

    fn line(&mut self, buf: &[u8], line: LineAt, limits: &HeadLimits) -> Result<(), Cause> {
        if !self.has_start_line {
            self.has_start_line = true;
            return K::start_line(&mut self.index, buf, line);
        }
        self.field(buf, field_line(buf, line)?, limits)
    }

    #[inline(always)] // As with what it is given: a field passed through memory is paid for twice.
    fn field(&mut self, buf: &[u8], field: Field, limits: &HeadLimits) -> Result<(), Cause> {
        if self.index.fields().len() >= limits.headers {
            return Err(Cause::TooManyHeaders);
        }
        let Some(known) = known(&field, buf)? else {
            self.index.fields_mut().push(field);
            return Ok(());
        };
        let version = self.index.version();
        let Some(field) = self.index.fields_mut().push(field) else { return Ok(()) };
        self.seen.note(known, field, buf, version, K::SENDER)?;
        if !K::acts_on(known) {
            return Ok(());
        }
        let field = *field;
        self.kind.on_known(&mut self.index, known, &field, buf)
    }

    /// Decides what depends on the whole head, and takes its bytes.
    #[inline(always)] // As with `field`: a head moved once more is paid for.
    fn finish(
        mut self,
        buf: &mut BytesMut,
        finish: impl FnOnce(&mut Self, &[u8]) -> Result<(), Cause>,
    ) -> Result<Head<K::Index>, Cause> {
        finish(&mut self, buf)?;
        let head = buf.split_to(self.lines.start.min(buf.len())).freeze();
        Ok(Head::new(head, self.index))
    }
}
