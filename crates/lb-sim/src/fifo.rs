//! An endpoint that serves in the order of arrival.

use std::collections::VecDeque;

/// Parallel servers with one queue (model S1). It keeps the waiting requests; those being served are the caller's, usually inside
/// the event that will end its service.
#[derive(Debug)]
pub struct Fifo<J> {
    servers: usize,
    busy: usize,
    waiting: VecDeque<J>,
}

impl<J> Fifo<J> {
    /// Idle servers, this many of them; `usize::MAX` makes no request wait.
    #[must_use]
    pub fn new(servers: usize) -> Self {
        Self { servers, busy: 0, waiting: VecDeque::new() }
    }

    /// A job comes. It is given back if its service begins now, and kept if it has to wait.
    pub fn arrive(&mut self, job: J) -> Option<J> {
        if self.busy < self.servers {
            self.busy += 1;
            Some(job)
        } else {
            self.waiting.push_back(job);
            None
        }
    }

    /// A service has ended. The job that has waited longest is given back if its service begins now.
    pub fn finish(&mut self) -> Option<J> {
        let next = self.waiting.pop_front();
        if next.is_none() {
            self.busy = self.busy.saturating_sub(1);
        }
        next
    }

    /// Jobs here, served or waiting.
    #[must_use]
    pub fn len(&self) -> usize {
        self.busy + self.waiting.len()
    }

    /// Whether it is empty.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_many_as_there_are_servers_start_and_the_rest_follow_in_order() {
        let mut fifo = Fifo::new(2);
        assert_eq!(
            [fifo.arrive('a'), fifo.arrive('b'), fifo.arrive('c'), fifo.arrive('d')],
            [Some('a'), Some('b'), None, None]
        );
        assert_eq!(fifo.len(), 4);
        assert_eq!([fifo.finish(), fifo.finish(), fifo.finish(), fifo.finish()], [Some('c'), Some('d'), None, None]);
        assert!(fifo.is_empty());
        assert_eq!(fifo.arrive('e'), Some('e'), "both are free again");
    }
}
