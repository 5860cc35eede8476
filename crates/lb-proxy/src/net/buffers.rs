//! Read buffers: how large, and where they come from.
//!
//! No idle connection holds a buffer, so a busy one would ask the allocator for one at every turn. Each worker keeps a few
//! small ones at hand instead. A buffer that is given back may still be shared with a head in use, and is passed over until
//! that is gone.

use std::cell::RefCell;
use std::collections::VecDeque;

use bytes::BytesMut;

/// Smallest and largest read.
const MIN: usize = 4 * 1024;
const MAX: usize = 256 * 1024;
/// Buffers that a worker keeps at hand: enough for the connections of one turn of its loop.
const KEPT: usize = 64;

thread_local! {
    /// In the order in which they came, some of them still shared.
    static AT_HAND: RefCell<VecDeque<BytesMut>> = const { RefCell::new(VecDeque::new()) };
}

/// An empty buffer with room for a small read: the one at hand that is most likely to be in the cache, or a new one.
pub(crate) fn take() -> BytesMut {
    let is_free = |buffer: &mut BytesMut| buffer.try_reclaim(MIN);
    AT_HAND
        // Where both the last and the first that came are shared, most of them are: looking at the others would be in vain.
        .with_borrow_mut(|at_hand| at_hand.pop_back_if(is_free).or_else(|| at_hand.pop_front_if(is_free)))
        .unwrap_or_else(|| BytesMut::with_capacity(MIN))
}

/// Gives back a small buffer. What is in it is lost.
pub(crate) fn give(mut buffer: BytesMut) {
    if buffer.capacity() == 0 {
        return;
    }
    buffer.clear();
    AT_HAND.with_borrow_mut(|at_hand| {
        if at_hand.len() >= KEPT {
            // It may be in use for hours.
            at_hand.pop_front();
        }
        at_hand.push_back(buffer);
    });
}

/// How much to read at once: grows fast while reads fill the buffer, and shrinks again when they do not.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ReadSize(usize);

impl ReadSize {
    pub(crate) const fn new() -> Self {
        Self(MIN)
    }

    /// The same, but no more than `max`, nor less than the smallest.
    pub(crate) fn at_most(self, max: usize) -> Self {
        Self(self.0.min(max.max(MIN)))
    }

    /// Moves what was read out of a buffer that is mostly empty, so that it costs no more than twice its length.
    pub(crate) fn fit(self, buffer: &mut BytesMut) {
        if buffer.capacity() > MIN && buffer.len() < buffer.capacity() / 2 {
            *buffer = BytesMut::from(&buffer[..]);
        }
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
    fn a_limited_read_costs_about_what_it_gives() {
        let mut size = ReadSize::new();
        (0..4).for_each(|_| size.on_read(size.0, size.0));
        assert_eq!((size.at_most(50_000).0, size.at_most(10).0, size.at_most(usize::MAX).0), (50_000, MIN, MAX));
        let mut buffer = BytesMut::new();
        let limited = size.at_most(50_000);
        limited.make_room(&mut buffer);
        buffer.extend_from_slice(&[7; 1_000]);
        limited.fit(&mut buffer);
        assert!(buffer.capacity() < 2_000 && *buffer == [7; 1_000]);
        limited.make_room(&mut buffer);
        buffer.extend_from_slice(&[8; 30_000]);
        let place = buffer.as_ptr();
        limited.fit(&mut buffer);
        assert_eq!(buffer.as_ptr(), place, "well filled, it stays where it is");
    }

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
        assert_eq!(take().capacity(), MIN);
    }

    #[test]
    fn a_buffer_that_is_still_shared_is_not_taken() {
        let mut buffer = take();
        buffer.extend_from_slice(b"head");
        let place = buffer.as_ptr();
        let head = buffer.split().freeze();
        give(buffer);
        let other = take();
        assert_eq!(other.capacity(), MIN);
        assert_ne!(other.as_ptr().wrapping_sub(head.len()), place);
        drop(head);
        assert_eq!(take().as_ptr(), place);
    }
}
