//! Kept: the beginning of a request body, for another attempt.
//!
//! It costs about what it is long. Small pieces are copied together, since each would take along the buffer that it was
//! read into, and a client may send chunks of one octet.

use std::sync::Arc;

use bytes::{Bytes, BytesMut};

use crate::net::account::Account;

/// A piece from this size on is kept as it is.
const COPY_BELOW: usize = 8 * 1024;
/// The smallest buffer that pieces are copied into.
const ROOM: usize = 512;

/// What is kept of a body: all that came of it, or nothing.
#[derive(Default)]
pub(crate) struct Kept {
    parts: Vec<Bytes>,
    /// Small pieces, behind `parts`.
    tail: BytesMut,
    bytes: usize,
    max: usize,
    account: Option<Arc<Account>>,
}

impl Kept {
    /// Nothing yet, and at most this much.
    pub(crate) fn new(max: u64) -> Self {
        let mut kept = Self::default();
        kept.max = usize::try_from(max).unwrap_or(usize::MAX);
        kept
    }

    /// Where what is kept counts.
    pub(crate) fn count_in(&mut self, account: Arc<Account>) {
        self.account = Some(account);
    }

    /// How much is kept.
    pub(crate) fn len(&self) -> u64 {
        self.bytes as u64
    }

    /// Keeps a piece behind what is kept; or nothing any more, if that is too much.
    pub(crate) fn push(&mut self, piece: &Bytes) {
        let length = piece.len();
        let fits = length <= self.max.saturating_sub(self.bytes);
        if !fits || self.account.as_ref().is_some_and(|account| !account.buffers.try_add(length)) {
            return self.clear();
        }
        if length >= COPY_BELOW {
            self.settle();
            self.parts.push(piece.clone());
        } else {
            let free = self.tail.capacity() - self.tail.len();
            if free < length {
                let wanted = self.tail.len().max(ROOM).min(self.max - self.bytes);
                self.tail.reserve(wanted.max(length));
            }
            self.tail.extend_from_slice(piece);
        }
        self.bytes += length;
    }

    /// What was kept from this octet on, up to where it is convenient; `None` behind the last.
    pub(crate) fn at(&mut self, position: u64) -> Option<Bytes> {
        self.settle();
        let mut position = usize::try_from(position).ok()?;
        for part in &self.parts {
            if position < part.len() {
                return Some(part.slice(position..));
            }
            position -= part.len();
        }
        None
    }

    /// Lets go of all that is kept.
    pub(crate) fn clear(&mut self) {
        if let Some(account) = &self.account {
            account.buffers.remove(self.bytes);
        }
        (self.parts, self.tail, self.bytes) = (Vec::new(), BytesMut::new(), 0);
    }

    fn settle(&mut self) {
        if !self.tail.is_empty() {
            self.parts.push(std::mem::take(&mut self.tail).freeze());
        }
    }
}

impl Drop for Kept {
    fn drop(&mut self) {
        self.clear();
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn read(kept: &mut Kept, from: usize) -> Vec<u8> {
        let mut all = Vec::new();
        while let Some(part) = kept.at((from + all.len()) as u64) {
            all.extend_from_slice(&part);
        }
        all
    }

    proptest! {
        #[test]
        fn what_was_kept_is_read_from_any_octet_on(
            lengths in proptest::collection::vec(1usize..10_000, 0..12),
            look_after in 0usize..12,
            from in 0usize..20_000,
        ) {
            let mut kept = Kept::new(1 << 20);
            let mut expected = Vec::new();
            for (n, length) in lengths.into_iter().enumerate() {
                let piece = vec![n as u8; length];
                expected.extend_from_slice(&piece);
                kept.push(&piece.into());
                if n == look_after {
                    prop_assert!(read(&mut kept, 0) == expected);
                }
            }
            prop_assert_eq!(kept.len(), expected.len() as u64);
            prop_assert!(read(&mut kept, from) == expected.get(from..).unwrap_or_default());
        }
    }

    #[test]
    fn small_pieces_cost_what_they_are_long() {
        let mut kept = Kept::new(64 * 1024);
        let buffer = Bytes::from(vec![b'x'; 64 * 1024]);
        (0..60_000).for_each(|at| kept.push(&buffer.slice(at..=at)));
        assert_eq!(kept.len(), 60_000);
        assert!(kept.parts.capacity() < 8 && kept.tail.capacity() <= 64 * 1024, "{}", kept.tail.capacity());
    }

    #[test]
    fn beyond_a_limit_nothing_is_kept_and_nothing_counted() {
        let account = Arc::new(Account::new(0));
        let all = account.buffers.left();
        let mut kept = Kept::new(1000);
        kept.count_in(Arc::clone(&account));
        kept.push(&vec![0; 900].into());
        assert_eq!((kept.len(), account.buffers.left()), (900, all - 900));
        kept.push(&vec![0; 101].into());
        assert_eq!((kept.len(), account.buffers.left()), (0, all));
        account.buffers.add(all);
        kept.push(&vec![0; 1].into());
        assert_eq!(kept.len(), 0, "other streams hold all that there is");
    }
}
