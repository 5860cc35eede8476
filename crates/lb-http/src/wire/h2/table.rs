//! The names in HPACK's dynamic table, as far as they matter here.
//!
//! An index counts from the field that was added last (RFC 7541 §2.3.3). Evictions, changes of the table's size and a
//! field too large for the table therefore move no index that stays valid, and the protocol library closes the
//! connection over one that is not. So it is enough to count additions and to remember the last [`MAX_ENTRIES`]: no
//! length is needed, and no value is decoded.

/// As many entries of 32 octets at least (RFC 7541 §4.1) as fit into the 4096 that we allow, the protocol's default.
const MAX_ENTRIES: usize = 128;

/// The static table's pseudo-header fields have the indices up to this, its other fields those up to the next
/// (RFC 7541, Appendix A).
const LAST_PSEUDO: usize = 14;
const LAST_STATIC: usize = 61;

/// A field's name.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Name {
    #[default]
    Regular,
    Path,
    Scheme,
    /// Another pseudo-header field.
    Pseudo,
}

/// A field, as it is remembered.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Entry {
    pub(super) name: Name,
    /// Makes a head malformed by its value.
    pub(super) is_refused: bool,
}

/// The static and the dynamic table of one direction of a connection. Takes 256 octets.
#[derive(Debug)]
pub(super) struct Table {
    /// The entry added as number `n` is at `n % MAX_ENTRIES`.
    entries: [Entry; MAX_ENTRIES],
    added: usize,
}

impl Table {
    pub(super) fn new() -> Self {
        Self { entries: [Entry::default(); MAX_ENTRIES], added: 0 }
    }

    pub(super) fn add(&mut self, entry: Entry) {
        if let Some(place) = self.entries.get_mut(self.added % MAX_ENTRIES) {
            *place = entry;
        }
        self.added = self.added.wrapping_add(1);
    }

    /// The entry at an index. One that no table of ours can have is a regular field.
    pub(super) fn get(&self, index: usize) -> Entry {
        let name = match index {
            4 | 5 => Name::Path,
            6 | 7 => Name::Scheme,
            1..=LAST_PSEUDO => Name::Pseudo,
            ..=LAST_STATIC => Name::Regular,
            _ => return self.dynamic(index - LAST_STATIC),
        };
        Entry { name, is_refused: false }
    }

    /// The entry that was added last is at 1.
    fn dynamic(&self, index: usize) -> Entry {
        let is_known = index <= MAX_ENTRIES;
        let entry = self.entries.get(self.added.wrapping_sub(index) % MAX_ENTRIES).filter(|_| is_known);
        entry.copied().unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_static_table_has_its_pseudo_header_fields_first() {
        let table = Table::new();
        let names: Vec<Name> = (0..=LAST_STATIC + 1).map(|index| table.get(index).name).collect();
        assert_eq!(names[..4], [Name::Regular, Name::Pseudo, Name::Pseudo, Name::Pseudo]);
        assert_eq!(names[4..8], [Name::Path, Name::Path, Name::Scheme, Name::Scheme]);
        assert!(names[8..=14].iter().all(|name| *name == Name::Pseudo));
        assert!(names[15..].iter().all(|name| *name == Name::Regular));
    }

    #[test]
    fn an_index_counts_from_the_entry_added_last() {
        let mut table = Table::new();
        table.add(Entry { name: Name::Path, is_refused: true });
        for older in 0..MAX_ENTRIES {
            let entry = table.get(62 + older);
            assert_eq!((entry.name, entry.is_refused), (Name::Path, true), "{older}");
            assert_eq!(table.get(62 + older + 1).name, Name::Regular);
            table.add(Entry::default());
        }
        assert!(
            (0..=usize::MAX / 2).step_by(usize::MAX / 300).all(|index| !table.get(index).is_refused),
            "overwritten"
        );
        assert!((62..400).all(|index| !table.get(index).is_refused));
    }
}
