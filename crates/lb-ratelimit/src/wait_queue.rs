//! Requests that wait for a permit: bounded, with classes and deadlines, and without standing delay.
//!
//! A queue in front of a full service is right for a burst and wrong for an overload: there every request waits for the whole
//! length of the queue, so that all are late instead of some refused. Three rules keep that from happening:
//!
//! - **CoDel** (RFC 8289, in the form for services of folly): if even the shortest wait of the last `interval` was above
//!   `target`, the queue is overloaded, and requests that have waited for more than twice the target are shed.
//! - **Adaptive LIFO**: while it is overloaded the newest request goes first, since its client is the most likely to be still there.
//! - **Deadlines**: what cannot be answered in time is shed and never served.
//!
//! Classes are strict: a waiting request of a more important class goes first, and takes the place of a less important one if the queue
//! is full. Which wait it goes by: that of the oldest request of all classes, also while the newest is served.
//!
//! A pure machine: the caller keeps it behind its lock, brings the time, and calls [`pop`](WaitQueue::pop) when a permit is free.

use std::collections::VecDeque;
use std::time::Duration;

use lb_core::Mono;

/// Parameters of a [`WaitQueue`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WaitQueueConfig {
    /// Requests that may wait; default 100. Zero: none.
    pub max_len: usize,
    /// Which one goes first; default [`Order::AdaptiveLifo`].
    pub order: Order,
    /// The wait that is no overload; default 5 ms.
    pub target: Duration,
    /// How long all waits must be above it; default 100 ms.
    pub interval: Duration,
}

impl Default for WaitQueueConfig {
    fn default() -> Self {
        let (target, interval) = (Duration::from_millis(5), Duration::from_millis(100));
        Self { max_len: 100, order: Order::AdaptiveLifo, target, interval }
    }
}

/// Which request of a class goes first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Order {
    /// The oldest.
    Fifo,
    /// The oldest, and the newest while the queue is overloaded.
    #[default]
    AdaptiveLifo,
}

/// How many classes there are; the class of a request is below it, and 0 is the most important.
pub const CLASSES: usize = 4;

/// Names a request that waits; never used twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Waiting {
    number: u64,
    class: usize,
}

/// Why a request was shed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shed {
    /// Its deadline has passed.
    Late,
    /// It has waited too long for an overloaded queue.
    Overload,
    /// A more important one needed its place.
    Displaced,
}

/// Requests that wait, each with what the caller needs to wake it up.
#[derive(Clone, Debug)]
pub struct WaitQueue<T> {
    config: WaitQueueConfig,
    classes: [VecDeque<Waiter<T>>; CLASSES],
    len: usize,
    next: u64,
    min_wait: Option<Duration>,
    interval_end: Mono,
    is_overloaded: bool,
}

#[derive(Clone, Debug)]
struct Waiter<T> {
    number: u64,
    item: T,
    since: Mono,
    deadline: Mono,
}

impl<T> WaitQueue<T> {
    /// An empty queue.
    #[must_use]
    pub fn new(config: WaitQueueConfig) -> Self {
        Self {
            config,
            classes: std::array::from_fn(|_| VecDeque::new()),
            len: 0,
            next: 0,
            min_wait: None,
            interval_end: Mono::ZERO,
            is_overloaded: false,
        }
    }

    /// Lets a request wait until `deadline`. A class beyond the last one is the last one. If the queue is full, the newest request of
    /// the least important class gives way, which is returned, unless that is not less important.
    ///
    /// # Errors
    /// The queue is full; the request is returned.
    pub fn push(&mut self, item: T, class: usize, deadline: Mono, now: Mono) -> Result<(Waiting, Option<T>), T> {
        let class = class.min(CLASSES - 1);
        let mut displaced = None;
        if self.len >= self.config.max_len {
            let least = (class + 1..CLASSES).rev().find(|least| !self.classes[*least].is_empty());
            match least.and_then(|least| self.classes[least].pop_back()) {
                Some(waiter) => displaced = Some(waiter.item),
                None => return Err(item),
            }
            self.len -= 1;
        }
        let number = self.next;
        self.next += 1;
        self.classes[class].push_back(Waiter { number, item, since: now, deadline });
        self.len += 1;
        Ok((Waiting { number, class }, displaced))
    }

    /// The next request to be served, if there is one. What is shed on the way is added to `shed`.
    pub fn pop(&mut self, now: Mono, shed: &mut Vec<(T, Shed)>) -> Option<T> {
        self.observe(now);
        self.shed(now, shed);
        let class = self.classes.iter_mut().find(|class| !class.is_empty())?;
        let newest_first = self.config.order == Order::AdaptiveLifo && self.is_overloaded;
        let waiter = if newest_first { class.pop_back() } else { class.pop_front() }?;
        self.len -= 1;
        Some(waiter.item)
    }

    /// Sheds what should not wait any longer, without serving any. Due at [`next_deadline`](Self::next_deadline).
    pub fn shed(&mut self, now: Mono, shed: &mut Vec<(T, Shed)>) {
        let longest = self.is_overloaded.then(|| self.config.target.saturating_mul(2));
        for class in &mut self.classes {
            let before = class.len();
            if class.iter().any(|waiter| waiter.deadline <= now) {
                let (late, rest) = std::mem::take(class).into_iter().partition(|waiter| waiter.deadline <= now);
                let late: VecDeque<Waiter<T>> = late;
                shed.extend(late.into_iter().map(|waiter| (waiter.item, Shed::Late)));
                *class = rest;
            }
            let is_overdue = |it: &Waiter<T>| longest.is_some_and(|longest| now.saturating_since(it.since) > longest);
            while class.front().is_some_and(is_overdue) {
                shed.extend(class.pop_front().map(|waiter| (waiter.item, Shed::Overload)));
            }
            self.len -= before - class.len();
        }
    }

    /// Takes a request out whose client has gone.
    pub fn remove(&mut self, waiting: Waiting) -> Option<T> {
        let class = self.classes.get_mut(waiting.class)?;
        // In the order of their numbers.
        let index = class.binary_search_by_key(&waiting.number, |waiter| waiter.number).ok()?;
        self.len -= 1;
        class.remove(index).map(|waiter| waiter.item)
    }

    /// When the next deadline passes. Looks at all requests.
    #[must_use]
    pub fn next_deadline(&self) -> Option<Mono> {
        self.classes.iter().flatten().map(|waiter| waiter.deadline).min()
    }

    /// The most important class of which a request waits.
    #[must_use]
    pub fn first_class(&self) -> Option<usize> {
        self.classes.iter().position(|class| !class.is_empty())
    }

    /// Changes its parameters. Requests beyond a smaller length go on waiting.
    pub const fn set_config(&mut self, config: WaitQueueConfig) {
        self.config = config;
    }

    /// How many wait.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.len
    }

    /// Whether none waits.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Whether all waits of the last interval were above the target.
    #[must_use]
    pub const fn is_overloaded(&self) -> bool {
        self.is_overloaded
    }

    /// Notes the longest wait there is now.
    fn observe(&mut self, now: Mono) {
        let fronts = self.classes.iter().filter_map(VecDeque::front);
        let wait = fronts.map(|waiter| now.saturating_since(waiter.since)).max().unwrap_or_default();
        if now >= self.interval_end {
            self.is_overloaded = self.min_wait.is_some_and(|min| min > self.config.target);
            self.interval_end = now.saturating_add(self.config.interval);
            self.min_wait = Some(wait);
        } else {
            self.min_wait = Some(self.min_wait.map_or(wait, |min| min.min(wait)));
        }
    }
}

#[cfg(test)]
#[cfg(not(loom))]
mod tests {
    use super::*;

    fn at(ms: u64) -> Mono {
        Mono::from_millis(ms)
    }

    fn queue(max_len: usize, order: Order) -> WaitQueue<u64> {
        WaitQueue::new(WaitQueueConfig { max_len, order, ..WaitQueueConfig::default() })
    }

    /// One request arrives each millisecond, and one is served each two, for a second; the times of those served, and the shed ones.
    fn overload(order: Order) -> (Vec<u64>, Vec<(u64, Shed)>) {
        let (mut queue, mut served, mut shed) = (queue(100, order), Vec::new(), Vec::new());
        for ms in 0..1_000 {
            let _ = queue.push(ms, 1, at(ms + 500), at(ms));
            if ms % 2 == 1
                && let Some(item) = queue.pop(at(ms), &mut shed)
            {
                served.push(ms - item);
            }
        }
        (served, shed)
    }

    #[test]
    fn a_short_queue_is_first_in_first_out_by_class() {
        let (mut queue, mut shed) = (queue(10, Order::AdaptiveLifo), Vec::new());
        for (item, class) in [(1, 2), (2, 0), (3, 2), (4, 9), (5, 0)] {
            assert!(matches!(queue.push(item, class, Mono::MAX, at(item)), Ok((_, None))));
        }
        assert_eq!((queue.len(), queue.first_class()), (5, Some(0)));
        let popped: Vec<u64> = std::iter::from_fn(|| queue.pop(at(5), &mut shed)).collect();
        assert_eq!((popped, shed.len(), queue.is_empty()), (vec![2, 5, 1, 3, 4], 0, true));
        assert_eq!(queue.first_class(), None);
        queue.set_config(WaitQueueConfig { max_len: 0, ..WaitQueueConfig::default() });
        assert_eq!(queue.push(6, 0, Mono::MAX, at(6)), Err(6));
    }

    #[test]
    fn a_full_queue_refuses_or_displaces_the_newest_of_the_least_important() {
        let mut queue = queue(3, Order::Fifo);
        for (item, class) in [(1, 1), (2, 3), (3, 3)] {
            assert!(queue.push(item, class, Mono::MAX, at(0)).is_ok());
        }
        assert_eq!(queue.push(4, 3, Mono::MAX, at(0)), Err(4));
        assert_eq!(queue.push(5, 0, Mono::MAX, at(0)).unwrap().1, Some(3));
        assert_eq!(queue.push(6, 1, Mono::MAX, at(0)).unwrap().1, Some(2));
        assert_eq!(queue.push(7, 1, Mono::MAX, at(0)), Err(7));
        assert_eq!(
            WaitQueue::new(WaitQueueConfig { max_len: 0, ..WaitQueueConfig::default() }).push(1, 0, at(9), at(0)),
            Err(1)
        );
    }

    #[test]
    fn what_is_late_is_shed_and_what_has_gone_is_taken_out() {
        let (mut queue, mut shed) = (queue(9, Order::Fifo), Vec::new());
        let waiting: Vec<_> =
            [(1, 50), (2, 20), (3, 90)].map(|(item, until)| queue.push(item, 1, at(until), at(0)).unwrap().0).into();
        assert_eq!(queue.next_deadline(), Some(at(20)));
        queue.shed(at(20), &mut shed);
        assert_eq!(shed, [(2, Shed::Late)]);
        assert_eq!(
            (queue.remove(waiting[1]), queue.remove(waiting[0]), queue.remove(waiting[0])),
            (None, Some(1), None)
        );
        assert_eq!((queue.len(), queue.pop(at(20), &mut shed), queue.next_deadline()), (1, Some(3), None));
    }

    #[test]
    fn a_standing_queue_is_cut_to_twice_the_target() {
        let (served, shed) = overload(Order::Fifo);
        // From the second interval on, none that is served has waited for more than 10 ms; without CoDel it would be 100 and more.
        assert!(served[120..].iter().all(|wait| *wait <= 10), "{served:?}");
        assert!(shed.iter().all(|(_, why)| *why == Shed::Overload));
        assert!((450..=500).contains(&served.len()));
    }

    #[test]
    fn under_overload_the_newest_goes_first() {
        let (served, _) = overload(Order::AdaptiveLifo);
        let last = &served[120..];
        let at_once = last.iter().filter(|wait| **wait <= 1).count();
        assert!(at_once * 10 > last.len() * 9, "{last:?}");
    }

    #[test]
    fn it_recovers_when_the_overload_ends() {
        let (mut queue, mut shed) = (queue(100, Order::AdaptiveLifo), Vec::new());
        for ms in 0..300 {
            let _ = queue.push(ms, 1, Mono::MAX, at(ms));
            if ms % 3 == 0 {
                let _ = queue.pop(at(ms), &mut shed);
            }
        }
        assert!(queue.is_overloaded());
        while queue.pop(at(300), &mut shed).is_some() {}
        for ms in 301..600 {
            let _ = queue.push(ms, 1, Mono::MAX, at(ms));
            assert_eq!(queue.pop(at(ms), &mut shed), Some(ms));
        }
        assert!(!queue.is_overloaded());
    }
}
