//! A position in a cluster's list of endpoints.

/// An endpoint's place in the cluster's list, valid for one [`View`](crate::View).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Index(u32);

impl Index {
    /// This place. A place past the end of the list is never usable.
    #[must_use]
    pub const fn new(place: u32) -> Self {
        Self(place)
    }

    /// The place as a number.
    #[must_use]
    pub const fn get(self) -> usize {
        self.0 as usize
    }
}
