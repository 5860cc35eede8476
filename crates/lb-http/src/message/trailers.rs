//! Headers that follow a chunked body.

use std::sync::Arc;

use bytes::Bytes;

use super::fields::{Fields, Headers};
use super::name::Name;

/// Trailers as received, less those that may not be trailers: see [`BodyDecoder`](crate::wire::h1::BodyDecoder).
/// Cloning is one reference count.
#[derive(Clone)]
pub struct Trailers(Arc<Inner>);

struct Inner {
    bytes: Bytes,
    fields: Fields,
}

impl Trailers {
    pub(crate) fn new(bytes: Bytes, fields: Fields) -> Self {
        Self(Arc::new(Inner { bytes, fields }))
    }

    /// About the memory that they take.
    #[must_use]
    pub fn footprint(&self) -> usize {
        size_of::<Inner>() + self.0.bytes.len() + self.0.fields.footprint()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.fields.len() == 0
    }

    /// These without those of which this is true. Costs nothing but the look where it is true of none.
    #[must_use]
    pub fn without(self, is_dropped: impl Fn(&[u8]) -> bool) -> Self {
        if !self.iter().any(|(name, _)| is_dropped(name)) {
            return self;
        }
        let Inner { bytes, fields } = &*self.0;
        let mut kept = Fields::default();
        for field in fields.as_slice().iter().filter(|field| !is_dropped(field.name(bytes))) {
            kept.push(*field);
        }
        Self::new(bytes.clone(), kept)
    }

    /// The value of the first trailer of that name.
    #[must_use]
    pub fn header<'n>(&self, name: impl Into<Name<'n>>) -> Option<&[u8]> {
        self.0.fields.first(&name.into(), &self.0.bytes)
    }

    /// All trailers, in order.
    #[must_use]
    pub fn iter(&self) -> Headers<'_> {
        self.0.fields.iter(&self.0.bytes)
    }
}

impl<'a> IntoIterator for &'a Trailers {
    type Item = (&'a [u8], &'a [u8]);
    type IntoIter = Headers<'a>;

    fn into_iter(self) -> Headers<'a> {
        self.iter()
    }
}

/// The names. Values may be secrets and are left out.
impl std::fmt::Debug for Trailers {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_set().entries(self.iter().map(|(name, _)| String::from_utf8_lossy(name))).finish()
    }
}
