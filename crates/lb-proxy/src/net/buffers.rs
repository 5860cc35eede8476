//! Read buffers: how large, and where they come from.
//!
//! No idle connection holds a buffer, so a busy one would ask the allocator for one at every turn. Each worker keeps a few
//! small ones at hand instead. A buffer that is given back may still be shared with a head in use; by the time it is
//! taken again that is over as a rule, and otherwise [`BytesMut::reserve`] allocates.

use std::cell::RefCell;

use bytes::BytesMut;

/// Smallest and largest read.
const MIN: usize = 4 * 1024;
const MAX: usize = 256 * 1024;
/// Buffers that a worker keeps at hand: enough for the connections of one turn of its loop.
const KEPT: usize = 64;

thread_local! {
    static AT_HAND: RefCell<Vec<BytesMut>> = const { RefCell::new(Vec::new()) };
}

/// An empty buffer, with room if one was at hand.
pub(crate) fn take() -> BytesMut {
    AT_HAND.with_borrow_mut(Vec::pop).unwrap_or_default()
}

/// Gives back a small buffer. What is in it is lost.
pub(crate) fn give(mut buffer: BytesMut) {
    if buffer.capacity() == 0 {
        return;
    }
    buffer.clear();
    AT_HAND.with_borrow_mut(|at_hand| {
        if at_hand.len() < KEPT {
            at_hand.push(buffer);
        }
    });
}

/// How much to read at once: grows fast while reads fill the buffer, and shrinks again when they do not.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ReadSize(usize);

impl ReadSize {
    pub(crate) const fn new() -> Self {
        Self(MIN)
    }

    /// Makes room in `buffer` for the next read; tells how much.
    pub(crate) fn make_room(self, buffer: &mut BytesMut) -> usize {
        if buffer.capacity() == 0 && self.0 == MIN {
            *buffer = take();
        }
        buffer.reserve(self.0);
        buffer.capacity() - buffer.len()
    }

    /// A read gave `n` bytes where there was room for `room`.
    pub(crate) fn on_read(&mut self, n: usize, room: usize) {
        if n == room {
            self.0 = (self.0 * 4).min(MAX);
        } else if n < self.0 / 4 {
            self.0 = (self.0 / 2).max(MIN);
        }
    }

    /// Lets go of a buffer that nothing waits in.
    pub(crate) fn release(self, buffer: &mut BytesMut) {
        let buffer = std::mem::take(buffer);
        if self.0 == MIN {
            give(buffer);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_grow_while_they_fill_the_buffer_and_shrink_when_they_do_not() {
        let mut size = ReadSize::new();
        let mut buffer = BytesMut::new();
        let mut rooms = Vec::new();
        for _ in 0..5 {
            let room = size.make_room(&mut buffer);
            rooms.push(room);
            size.on_read(room, room);
            buffer = BytesMut::new();
        }
        assert_eq!(rooms, [4096, 16_384, 65_536, 262_144, 262_144]);
        size.on_read(100, 262_144);
        assert_eq!(size.make_room(&mut buffer), 131_072);
        for _ in 0..10 {
            size.on_read(1, 4096);
        }
        assert_eq!(size.make_room(&mut BytesMut::new()), 4096);
    }

    #[test]
    fn a_small_buffer_is_used_again_and_a_large_one_is_not_kept() {
        let size = ReadSize::new();
        let mut buffer = BytesMut::new();
        size.make_room(&mut buffer);
        buffer.extend_from_slice(b"old");
        let place = buffer.as_ptr();
        size.release(&mut buffer);
        assert_eq!(buffer.capacity(), 0);
        size.make_room(&mut buffer);
        assert!(buffer.is_empty());
        assert_eq!(buffer.as_ptr(), place);

        let mut large = size;
        large.on_read(4096, 4096);
        let mut buffer = BytesMut::with_capacity(16_384);
        large.release(&mut buffer);
        assert_eq!(take().capacity(), 0);
    }
}
