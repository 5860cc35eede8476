//! Words in lines of 64 bytes, and the two lines of a key: the memory of the keyed tables.

use crate::sync::AtomicU64;

pub(crate) const LINE_WORDS: usize = 8;
const LINE_BYTES: usize = LINE_WORDS * size_of::<u64>();

/// Lines of words, each a cache line, all zero at first.
#[derive(Debug)]
pub(crate) struct Lines {
    words: Box<[AtomicU64]>,
    /// The first word that begins a cache line.
    first: usize,
    count: u64,
}

impl Lines {
    /// At least two lines in `memory_bytes`; none if there is not as much memory.
    pub(crate) fn new(memory_bytes: usize) -> Option<Self> {
        let words = zeroed(memory_bytes.max(3 * LINE_BYTES) / size_of::<u64>())?;
        let first = words.as_ptr().align_offset(LINE_BYTES).min(LINE_WORDS - 1);
        // As if the worst alignment had come, since the places of the keys follow from the number of lines.
        let count = ((words.len() - (LINE_WORDS - 1)) / LINE_WORDS) as u64;
        Some(Self { words, first, count })
    }

    pub(crate) const fn count(&self) -> u64 {
        self.count
    }

    /// The two lines of a key, taken from different bits of its hash; they may be the same line.
    #[inline]
    pub(crate) fn of(&self, hash: u64) -> [u64; 2] {
        let pick = |bits: u64| ((u128::from(bits) * u128::from(self.count)) >> 64) as u64;
        [pick(hash), pick(hash.rotate_left(32).wrapping_mul(0x9e37_79b9_7f4a_7c15))]
    }

    #[inline]
    pub(crate) fn line(&self, line: u64) -> &[AtomicU64; LINE_WORDS] {
        let start = self.first + line as usize * LINE_WORDS;
        self.words[start..start + LINE_WORDS].try_into().expect("the slice has this length")
    }
}

#[cfg(not(all(test, loom)))]
fn zeroed(words: usize) -> Option<Box<[AtomicU64]>> {
    bytemuck::try_zeroed_slice_box(words).ok()
}

#[cfg(all(test, loom))]
fn zeroed(words: usize) -> Option<Box<[AtomicU64]>> {
    Some((0..words).map(|_| AtomicU64::new(0)).collect())
}

#[cfg(test)]
#[cfg(not(loom))]
mod tests {
    use super::*;

    #[test]
    fn memory_is_never_more_than_it_was_given() {
        for memory in [0, 1, 64, 191, 192, 1_000, 4_096, 1 << 20] {
            let lines = Lines::new(memory).unwrap();
            assert!(lines.words.len() * 8 <= memory.max(192), "{memory}");
            assert!(lines.count as usize * 64 <= lines.words.len() * 8);
            assert!(lines.count as usize * 64 + 128 > memory, "all but a line of {memory} is used");
            assert!(lines.count >= 2);
            assert_eq!(lines.line(0).as_ptr().align_offset(64), 0, "lines are cache lines");
            assert_eq!(lines.line(lines.count - 1).len(), LINE_WORDS);
        }
    }
}
