//! What the heads of requests and responses share.

use std::sync::Arc;

use bytes::Bytes;

use super::Version;
use super::fields::{Fields, Headers};
use super::name::Name;

/// The head of a message: its bytes as received and an index into them. Cloning is one reference count.
///
/// `I` is the index, which says whether it is a request's ([`RequestHead`](super::RequestHead)) or a response's
/// ([`ResponseHead`](super::ResponseHead)).
pub struct Head<I>(Arc<Inner<I>>);

struct Inner<I> {
    bytes: Bytes,
    index: I,
}

/// What parsing found, as places in the head's bytes. Sealed: it is not exported.
pub trait Index: Clone {
    /// All headers.
    fn fields(&self) -> &Fields;

    /// The same, to add one.
    fn fields_mut(&mut self) -> &mut Fields;

    /// The protocol version of the message.
    fn version(&self) -> Version;
}

impl<I> Clone for Head<I> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<I: Index> Head<I> {
    pub(crate) fn new(bytes: Bytes, index: I) -> Self {
        Self(Arc::new(Inner { bytes, index }))
    }

    /// The same head with some of what was derived from its bytes replaced.
    pub(crate) fn amended(mut self, amend: impl FnOnce(&mut I)) -> Self {
        if let Some(inner) = Arc::get_mut(&mut self.0) {
            amend(&mut inner.index);
            return self;
        }
        let mut index = self.0.index.clone();
        amend(&mut index);
        Self::new(self.0.bytes.clone(), index)
    }

    pub(crate) fn index(&self) -> &I {
        &self.0.index
    }

    /// About the memory that it takes.
    #[must_use]
    pub fn footprint(&self) -> usize {
        size_of::<Inner<I>>() + self.0.bytes.len() + self.0.index.fields().footprint()
    }

    /// The head as received, with the empty line at its end. For a head that came by conversion, its HTTP/1.1 text.
    #[must_use]
    pub fn as_bytes(&self) -> &Bytes {
        &self.0.bytes
    }

    /// The value of the first header of that name, without surrounding whitespace. Costs one comparison of numbers
    /// per header.
    #[must_use]
    pub fn header<'n>(&self, name: impl Into<Name<'n>>) -> Option<&[u8]> {
        self.0.index.fields().first(&name.into(), &self.0.bytes)
    }

    /// The values of all headers of that name, in order.
    pub fn headers<'a>(&'a self, name: impl Into<Name<'a>>) -> impl Iterator<Item = &'a [u8]> {
        self.0.index.fields().all(name.into(), &self.0.bytes)
    }

    /// All headers as received, in order; connection headers included.
    #[must_use]
    pub fn iter(&self) -> Headers<'_> {
        self.0.index.fields().iter(&self.0.bytes)
    }

    /// The names of all headers, for debugging: values may be secrets and are left out.
    pub(super) fn names(&self) -> Vec<std::borrow::Cow<'_, str>> {
        self.iter().map(|(name, _)| String::from_utf8_lossy(name)).collect()
    }
}

impl<'a, I: Index> IntoIterator for &'a Head<I> {
    type Item = (&'a [u8], &'a [u8]);
    type IntoIter = Headers<'a>;

    fn into_iter(self) -> Headers<'a> {
        self.iter()
    }
}
