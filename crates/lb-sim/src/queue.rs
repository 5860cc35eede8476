//! What happens next.

use std::cmp::Ordering;
use std::collections::BinaryHeap;

use lb_core::Mono;

/// Events in the order of their time; those of the same time in the order in which they were scheduled, so that a run does not depend on
/// how a heap happens to break ties. A binary heap: O(log n) a step.
#[derive(Debug)]
pub struct EventQueue<E> {
    heap: BinaryHeap<Entry<E>>,
    scheduled: u64,
    now: Mono,
}

#[derive(Debug)]
struct Entry<E> {
    at: Mono,
    number: u64,
    event: E,
}

impl<E> Default for EventQueue<E> {
    fn default() -> Self {
        Self { heap: BinaryHeap::new(), scheduled: 0, now: Mono::ZERO }
    }
}

impl<E> EventQueue<E> {
    /// Nothing scheduled; the time is the origin.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The time of the event that was taken last.
    #[must_use]
    pub fn now(&self) -> Mono {
        self.now
    }

    /// Lets this happen then; at once, after all else that is due now, if that has passed.
    pub fn schedule(&mut self, at: Mono, event: E) {
        self.heap.push(Entry { at: at.max(self.now), number: self.scheduled, event });
        self.scheduled += 1;
    }

    /// Takes the next event and moves the time on to it; none if nothing is scheduled.
    pub fn take(&mut self) -> Option<(Mono, E)> {
        let Entry { at, event, .. } = self.heap.pop()?;
        self.now = at;
        Some((at, event))
    }

    /// As [`take`](Self::take), but none from `end` on.
    pub fn take_before(&mut self, end: Mono) -> Option<(Mono, E)> {
        if self.heap.peek()?.at < end { self.take() } else { None }
    }
}

impl<E> Ord for Entry<E> {
    /// The greatest is the next.
    fn cmp(&self, other: &Self) -> Ordering {
        (other.at, other.number).cmp(&(self.at, self.number))
    }
}

impl<E> PartialOrd for Entry<E> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl<E> PartialEq for Entry<E> {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl<E> Eq for Entry<E> {}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Seed;

    #[test]
    fn events_come_by_time_and_then_as_they_were_scheduled() {
        let mut queue = EventQueue::new();
        let mut stream = Seed::new(1).stream();
        let mut expected: Vec<(u64, u32)> = (0..500).map(|n| (stream.below(20), n)).collect();
        for &(at, n) in &expected {
            queue.schedule(Mono::from_millis(at), n);
        }
        expected.sort_unstable();
        let taken: Vec<_> = std::iter::from_fn(|| queue.take()).map(|(at, n)| (at.as_millis(), n)).collect();
        assert_eq!(taken, expected);
    }

    #[test]
    fn the_past_is_now_and_time_stands_where_the_last_event_was() {
        let mut queue = EventQueue::new();
        queue.schedule(Mono::from_millis(5), 'a');
        assert_eq!(queue.take(), Some((Mono::from_millis(5), 'a')));
        queue.schedule(Mono::from_millis(1), 'b');
        assert_eq!(queue.take_before(Mono::from_millis(5)), None);
        assert_eq!(queue.take(), Some((Mono::from_millis(5), 'b')));
        assert_eq!(queue.take(), None);
        assert_eq!(queue.now(), Mono::from_millis(5));
    }
}
