//! The index of a head: where each header stands in the received bytes.

use super::name::Name;

/// Room for the headers of most heads: a browser sends about fifteen.
const USUAL: usize = 16;

/// Marks on a header, set once while parsing, so that names are not compared again.
pub(crate) mod flag {
    /// Belongs to this connection only; never forwarded.
    pub(crate) const HOP: u8 = 1;
    /// Written as `name: value` CRLF with one space and nothing else, so the line may be copied as it stands.
    pub(crate) const CANONICAL: u8 = 1 << 1;
    /// `Content-Length`: written by the encoder, from the framing.
    pub(crate) const LENGTH: u8 = 1 << 2;
    /// `Host`: replaced when the target carries an authority.
    pub(crate) const HOST: u8 = 1 << 3;
    /// `Connection`: read again once all headers are known.
    pub(crate) const CONNECTION: u8 = 1 << 4;
}

/// A stretch of a head's bytes. Heads are far below 4 GiB (the codec clamps its limits).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Span {
    start: u32,
    len: u32,
}

impl Span {
    /// No stretch at all, as opposed to an empty one.
    pub(crate) const NONE: Self = Self { start: u32::MAX, len: 0 };

    pub(crate) const fn new(start: usize, len: usize) -> Self {
        Self { start: start as u32, len: len as u32 }
    }

    pub(crate) const fn is_none(self) -> bool {
        self.start == u32::MAX
    }

    pub(crate) const fn start(self) -> usize {
        self.start as usize
    }

    pub(crate) const fn end(self) -> usize {
        self.start as usize + self.len as usize
    }

    pub(crate) const fn len(self) -> usize {
        self.len as usize
    }

    /// The bytes; empty for [`NONE`](Self::NONE).
    pub(crate) fn of(self, bytes: &[u8]) -> &[u8] {
        bytes.get(self.start()..self.end()).unwrap_or_default()
    }

    pub(crate) fn optional(self, bytes: &[u8]) -> Option<&[u8]> {
        bytes.get(self.start()..self.end())
    }
}

/// One header in the index.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Field {
    pub(crate) name_start: u32,
    pub(crate) value: Span,
    pub(crate) tag: u32,
    pub(crate) name_len: u16,
    pub(crate) flags: u8,
}

impl Field {
    pub(crate) fn name<'a>(&self, bytes: &'a [u8]) -> &'a [u8] {
        Span::new(self.name_start as usize, usize::from(self.name_len)).of(bytes)
    }

    pub(crate) fn value<'a>(&self, bytes: &'a [u8]) -> &'a [u8] {
        self.value.of(bytes)
    }

    /// Whether the name is this one, ignoring case.
    pub(crate) fn is(&self, name: &Name<'_>, bytes: &[u8]) -> bool {
        self.tag == name.tag() && name.is(self.name(bytes))
    }

    pub(crate) const fn has(&self, flags: u8) -> bool {
        self.flags & flags != 0
    }
}

/// All headers of a head, in the order received. On the heap, since an index is moved several times before it comes to
/// rest, and twenty fields are worth more than an allocation by then.
#[derive(Clone, Debug, Default)]
pub struct Fields {
    fields: Vec<Field>,
    /// A bit for each tag, so that most headers that are not there are not looked for. Tags that share a bit are.
    tags: u64,
}

impl Fields {
    /// Adds a header, and gives it back where it now stands.
    #[inline(always)] // Written once, straight from registers; a field passed through memory is paid for twice.
    pub(crate) fn push(&mut self, field: Field) -> Option<&mut Field> {
        if self.fields.capacity() == 0 {
            self.fields = Vec::with_capacity(USUAL);
        }
        self.tags |= bit(field.tag);
        self.fields.push(field);
        self.fields.last_mut()
    }

    pub(crate) fn len(&self) -> usize {
        self.fields.len()
    }

    /// The memory that it takes.
    pub(crate) fn footprint(&self) -> usize {
        self.fields.capacity() * size_of::<Field>()
    }

    /// Forgets the headers of which this is false.
    pub(crate) fn retain(&mut self, is_kept: impl Fn(&Field) -> bool) {
        self.fields.retain(is_kept);
    }

    pub(crate) fn as_slice(&self) -> &[Field] {
        &self.fields
    }

    pub(crate) fn iter_mut(&mut self) -> impl Iterator<Item = &mut Field> {
        self.fields.iter_mut()
    }

    /// Whether a header has one of these marks.
    pub(crate) fn has(&self, flags: u8) -> bool {
        self.fields.iter().any(|field| field.has(flags))
    }

    /// Whether a header of that name may be among them. `false` is certain.
    #[inline]
    fn may_have(&self, name: &Name<'_>) -> bool {
        self.tags & bit(name.tag()) != 0
    }

    /// The value of the first header of that name.
    pub(crate) fn first<'a>(&self, name: &Name<'_>, bytes: &'a [u8]) -> Option<&'a [u8]> {
        if !self.may_have(name) {
            return None;
        }
        self.fields.iter().find(|f| f.is(name, bytes)).map(|f| f.value(bytes))
    }

    /// The values of every header of that name, in order.
    pub(crate) fn all<'a>(&'a self, name: Name<'a>, bytes: &'a [u8]) -> impl Iterator<Item = &'a [u8]> {
        let fields = if self.may_have(&name) { self.as_slice() } else { &[] };
        fields.iter().filter(move |f| f.is(&name, bytes)).map(move |f| f.value(bytes))
    }

    pub(crate) fn iter<'a>(&'a self, bytes: &'a [u8]) -> Headers<'a> {
        Headers { fields: self.fields.iter(), bytes }
    }
}

/// The bit of a tag: of its length and its letters, all of which take part.
#[inline]
const fn bit(tag: u32) -> u64 {
    // Fibonacci hashing: the highest bits of the product depend on every bit of the tag.
    1 << (tag.wrapping_mul(0x9e37_79b9) >> 26)
}

/// Every header as received, in order: name (in its received case) and value without surrounding whitespace.
#[derive(Clone, Debug)]
pub struct Headers<'a> {
    fields: std::slice::Iter<'a, Field>,
    bytes: &'a [u8],
}

impl<'a> Iterator for Headers<'a> {
    type Item = (&'a [u8], &'a [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        self.fields.next().map(|f| (f.name(self.bytes), f.value(self.bytes)))
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        self.fields.size_hint()
    }
}

impl ExactSizeIterator for Headers<'_> {}
