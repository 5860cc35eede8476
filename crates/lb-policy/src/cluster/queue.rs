//! Waiting for a full cluster: one bounded line, first come first served.
//!
//! The simple answer, to pick again every few milliseconds, wastes work and serves whoever happens to ask first after a slot
//! came free, so that some requests wait for ever. Here those who wait stand in line, and whoever gives a slot back tells
//! the oldest of them. Who gets a slot leaves and tells the next, so that several slots go out one after another, in the
//! order of coming, whatever thread each waits on. A request that comes while others wait goes to the end.
//!
//! Being told is a hint and no reservation: who was told picks, like anybody else. It stays right because
//!
//! - the turn is taken *before* the pick, so that a slot given back meanwhile tells anew;
//! - whoever leaves the line, for whatever reason, tells the next one;
//! - a slot given back is seen: standing in line, then looking for room, and giving back, then looking for a line, cannot
//!   both see nothing (a sequentially consistent fence on one side, such accesses on the other).
//!
//! Some may go where others may not: who has tried an endpoint already, or sticks to one that drains. They are *special*: they look
//! before they stand in line and hold nobody up, and one of a kind that was told in vain passes it on to the other.
//!
//! What this does not do: keep time or run tasks. Whoever waits has its own timer and leaves when it fires.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::sync::PoisonError;
use std::task::Waker;
use std::time::Duration;

use lb_core::Mono;

#[cfg(loom)]
use loom::sync::atomic::{AtomicU64, AtomicUsize, Ordering, fence};
#[cfg(loom)]
use loom::sync::{Mutex, MutexGuard};
#[cfg(not(loom))]
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering, fence};
#[cfg(not(loom))]
use std::sync::{Mutex, MutexGuard};

/// The line of a cluster. While nobody waits it costs a request two loads.
#[derive(Debug)]
pub struct Queue {
    size: AtomicUsize,
    timeout_nanos: AtomicU64,
    /// All who wait.
    waiting: AtomicUsize,
    /// Those of them who hold others up.
    ordinary: AtomicUsize,
    line: Mutex<Line>,
}

#[derive(Debug, Default)]
struct Line {
    last: u64,
    waiters: BTreeMap<u64, Waiter>,
    report: QueueReport,
}

#[derive(Debug)]
struct Waiter {
    waker: Waker,
    special: bool,
    told: bool,
}

/// How a request left the line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Left {
    /// It got a slot.
    Served,
    /// It had waited for as long as it may.
    TimedOut,
    /// Nobody could take it any more, full or not.
    NoEndpoint,
    /// It was dropped: its client went away, or its time was up.
    Cancelled,
}

/// What has become of requests so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct QueueReport {
    /// Waited and got a slot.
    pub served: u64,
    /// Waited for as long as they may, in vain.
    pub timed_out: u64,
    /// Waited until nobody could take them any more.
    pub no_endpoint: u64,
    /// Were dropped while they waited.
    pub cancelled: u64,
    /// Found the queue full, and did not wait.
    pub refused: u64,
    /// How long all those who left waited in sum, the cancelled ones apart.
    pub waited: Duration,
}

/// The queue has no place left.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("queue_full: {size} are waiting")]
pub struct QueueFull {
    /// How many may wait.
    pub size: usize,
}

impl Default for Queue {
    fn default() -> Self {
        Self {
            size: AtomicUsize::new(0),
            timeout_nanos: AtomicU64::new(0),
            waiting: AtomicUsize::new(0),
            ordinary: AtomicUsize::new(0),
            line: Mutex::new(Line::default()),
        }
    }
}

impl Queue {
    /// How many may wait, 0 (the default) for none, and how long each. Those in line stay.
    pub(crate) fn set(&self, size: usize, timeout: Duration) {
        self.size.store(size, Ordering::Relaxed);
        self.timeout_nanos.store(u64::try_from(timeout.as_nanos()).unwrap_or(u64::MAX), Ordering::Relaxed);
    }

    /// How many may wait.
    #[must_use]
    pub fn size(&self) -> usize {
        self.size.load(Ordering::Relaxed)
    }

    /// How long each may wait.
    #[must_use]
    pub fn timeout(&self) -> Duration {
        Duration::from_nanos(self.timeout_nanos.load(Ordering::Relaxed))
    }

    /// How many wait.
    #[must_use]
    pub fn len(&self) -> usize {
        self.waiting.load(Ordering::Relaxed)
    }

    /// Whether nobody waits.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether a request that comes now has to stand in line: somebody who may go wherever it may was there before.
    #[inline]
    #[must_use]
    pub fn holds_up(&self) -> bool {
        self.ordinary.load(Ordering::Relaxed) != 0
    }

    /// What has become of requests so far.
    #[must_use]
    pub fn report(&self) -> QueueReport {
        self.lock().report
    }

    /// Stands in line, at the end. The next step is [`Place::take_turn`]. `special` is a request that may not go, or may
    /// go besides, where others may.
    ///
    /// # Errors
    /// There is no place left, or there is no queue.
    pub fn join(self: &Arc<Self>, special: bool, now: Mono) -> Result<Place, QueueFull> {
        let size = self.size();
        let mut line = self.lock();
        if line.waiters.len() >= size {
            line.report.refused += 1;
            return Err(QueueFull { size });
        }
        let first = special || self.ordinary.load(Ordering::Relaxed) == 0;
        line.last += 1;
        let number = line.last;
        line.waiters.insert(number, Waiter { waker: Waker::noop().clone(), special, told: first });
        self.waiting.fetch_add(1, Ordering::SeqCst);
        if !special {
            self.ordinary.fetch_add(1, Ordering::Relaxed);
        }
        drop(line);
        // From here on a slot given back is either seen by our pick or sees us.
        fence(Ordering::SeqCst);
        Ok(Place { queue: Arc::clone(self), number, special, since: now, has_left: false })
    }

    /// A slot was given back. To be called after that step, which must be a sequentially consistent one.
    #[inline]
    pub(crate) fn on_free(&self) {
        // loom knows no sequentially consistent accesses, only fences.
        #[cfg(loom)]
        fence(Ordering::SeqCst);
        if self.waiting.load(Ordering::SeqCst) != 0 {
            self.tell(0, |_| true);
        }
    }

    /// Somebody joined, became eligible or ceased to be, or may take more. Who can go on now, goes on one by one.
    pub(crate) fn on_change(&self) {
        fence(Ordering::SeqCst);
        self.on_free();
    }

    /// Tells the oldest of these, from this number on; if it was told already, it has yet to look.
    #[cold]
    fn tell(&self, from: u64, whom: impl Fn(&Waiter) -> bool) {
        let waker = self.lock().tell(from, whom);
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    /// The line is consistent between statements that can panic, so a poisoned lock is taken as it is.
    fn lock(&self) -> MutexGuard<'_, Line> {
        self.line.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Line {
    fn tell(&mut self, from: u64, whom: impl Fn(&Waiter) -> bool) -> Option<Waker> {
        let waiter = self.waiters.range_mut(from..).map(|(_, waiter)| waiter).find(|waiter| whom(waiter))?;
        let is_news = !std::mem::replace(&mut waiter.told, true);
        is_news.then(|| waiter.waker.clone())
    }
}

/// A request's place in line. Dropping it leaves, as cancelled.
#[must_use = "dropping it leaves the line"]
pub struct Place {
    queue: Arc<Queue>,
    number: u64,
    special: bool,
    since: Mono,
    has_left: bool,
}

impl fmt::Debug for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Place").field("number", &self.number).finish_non_exhaustive()
    }
}

impl Place {
    /// Whether it is time to pick: a slot may be free. If not, this waker will be woken when it is. Who gets a slot then
    /// [leaves](Self::leave), and who finds everybody full again [passes it on](Self::pass).
    #[must_use]
    pub fn take_turn(&mut self, waker: &Waker) -> bool {
        let mut line = self.queue.lock();
        let Some(waiter) = line.waiters.get_mut(&self.number) else { return false };
        waiter.waker.clone_from(waker);
        std::mem::take(&mut waiter.told)
    }

    /// It was told and found everybody full: what is free may be for one of another kind.
    pub fn pass(&self) {
        let special = self.special;
        self.queue.tell(self.number + 1, |waiter| special || waiter.special);
    }

    /// Leaves the line; whoever is next is told.
    pub fn leave(mut self, left: Left, now: Mono) {
        self.go(left, now.saturating_since(self.since));
    }

    fn go(&mut self, left: Left, waited: Duration) {
        if std::mem::replace(&mut self.has_left, true) {
            return;
        }
        let mut line = self.queue.lock();
        line.waiters.remove(&self.number);
        self.queue.waiting.fetch_sub(1, Ordering::Relaxed);
        if !self.special {
            self.queue.ordinary.fetch_sub(1, Ordering::Relaxed);
        }
        let report = &mut line.report;
        let count = match left {
            Left::Served => &mut report.served,
            Left::TimedOut => &mut report.timed_out,
            Left::NoEndpoint => &mut report.no_endpoint,
            Left::Cancelled => &mut report.cancelled,
        };
        *count += 1;
        report.waited = report.waited.saturating_add(waited);
        let next = line.tell(0, |_| true);
        drop(line);
        if let Some(waker) = next {
            waker.wake();
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.go(Left::Cancelled, Duration::ZERO);
    }
}

#[cfg(all(test, loom))]
mod loom_models {
    use lb_core::{Acquire, EndpointState, InFlightLimit};
    use loom::thread;

    use super::*;

    fn queue() -> Arc<Queue> {
        let queue = Arc::new(Queue::default());
        queue.set(8, Duration::from_secs(5));
        queue
    }

    /// One poll of a request that waits: tells whether it got the slot.
    fn poll(place: &mut Place, state: &EndpointState, queue: &Queue) -> bool {
        if !place.take_turn(Waker::noop()) {
            return false;
        }
        if !state.has_room(lb_core::Ignored::NOTHING) {
            return false;
        }
        let taken = matches!(state.acquire(), Acquire::Taken { .. });
        if !taken {
            queue.on_free();
        }
        taken
    }

    fn is_told(place: &mut Place) -> bool {
        place.take_turn(Waker::noop())
    }

    #[test]
    fn loom_a_slot_given_back_is_seen_or_told() {
        loom::model(|| {
            let state = Arc::new(EndpointState::new(InFlightLimit::new(1)));
            let queue = queue();
            let _ = state.acquire();
            let ending = {
                let (state, queue) = (Arc::clone(&state), Arc::clone(&queue));
                thread::spawn(move || {
                    state.release();
                    queue.on_free();
                })
            };
            let mut place = queue.join(false, Mono::ZERO).unwrap();
            let served = poll(&mut place, &state, &queue);
            ending.join().unwrap();
            assert!(served || is_told(&mut place), "it sleeps beside a free slot");
        });
    }

    #[test]
    fn loom_an_overshoot_that_is_undone_leaves_nobody_asleep_beside_a_free_slot() {
        loom::model(|| {
            let state = Arc::new(EndpointState::new(InFlightLimit::new(1)));
            let queue = queue();
            // Somebody comes who has seen room, while the holder of the slot goes.
            let _ = state.acquire();
            let other = {
                let (state, queue) = (Arc::clone(&state), Arc::clone(&queue));
                thread::spawn(move || {
                    if matches!(state.acquire(), Acquire::Taken { .. }) {
                        state.release();
                    }
                    queue.on_free();
                })
            };
            let mut place = queue.join(false, Mono::ZERO).unwrap();
            let before = poll(&mut place, &state, &queue);
            state.release();
            queue.on_free();
            let served = before || poll(&mut place, &state, &queue);
            other.join().unwrap();
            assert!(served || is_told(&mut place), "it sleeps beside a free slot");
        });
    }

    #[test]
    fn loom_who_goes_away_does_not_take_the_news_with_it() {
        loom::model(|| {
            let state = Arc::new(EndpointState::new(InFlightLimit::new(1)));
            let queue = queue();
            let _ = state.acquire();
            let mut first = queue.join(false, Mono::ZERO).unwrap();
            let mut second = queue.join(false, Mono::ZERO).unwrap();
            assert!(first.take_turn(Waker::noop()) && !second.take_turn(Waker::noop()));
            let ending = {
                let (state, queue) = (Arc::clone(&state), Arc::clone(&queue));
                thread::spawn(move || {
                    state.release();
                    queue.on_free();
                })
            };
            drop(first);
            let served = poll(&mut second, &state, &queue);
            ending.join().unwrap();
            assert!(served || is_told(&mut second), "it sleeps beside a free slot");
        });
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use std::sync::atomic::AtomicU32;
    use std::task::Wake;

    use super::*;

    /// Counts how often it was woken.
    #[derive(Default)]
    struct Bell(AtomicU32);

    impl Wake for Bell {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    struct Client {
        bell: Arc<Bell>,
        place: Place,
    }

    impl Client {
        fn new(queue: &Arc<Queue>, special: bool) -> Self {
            let place = queue.join(special, Mono::ZERO).expect("the tests ask for no more places than there are");
            Self { bell: Arc::default(), place }
        }

        /// Whether it may pick now, as its task finds when it is polled.
        fn turn(&mut self) -> bool {
            self.place.take_turn(&Waker::from(Arc::clone(&self.bell)))
        }

        fn rung(&self) -> u32 {
            self.bell.0.swap(0, Ordering::Relaxed)
        }
    }

    fn queue(size: usize) -> Arc<Queue> {
        let queue = Arc::new(Queue::default());
        queue.set(size, Duration::from_secs(5));
        queue
    }

    /// So many in line, all of whom have looked once and in vain.
    fn line(queue: &Arc<Queue>, specials: &[bool]) -> Vec<Client> {
        specials
            .iter()
            .map(|&special| {
                let mut client = Client::new(queue, special);
                let _ = client.turn();
                client
            })
            .collect()
    }

    fn turns(line: &mut [Client]) -> Vec<bool> {
        line.iter_mut().map(Client::turn).collect()
    }

    #[test]
    fn without_a_size_nobody_waits() {
        let queue = Arc::new(Queue::default());
        assert_eq!(queue.join(false, Mono::ZERO).unwrap_err(), QueueFull { size: 0 });
        assert!(queue.is_empty() && !queue.holds_up());
    }

    #[test]
    fn the_first_looks_at_once_and_the_others_wait_to_be_told() {
        let queue = queue(3);
        let mut clients: Vec<_> = (0..3).map(|_| Client::new(&queue, false)).collect();
        assert_eq!(turns(&mut clients), [true, false, false]);
        assert_eq!(turns(&mut clients), [false, false, false], "a turn is taken once");
        let full = queue.join(false, Mono::ZERO).unwrap_err();
        assert_eq!((full.to_string().as_str(), queue.len()), ("queue_full: 3 are waiting", 3));
        assert_eq!(queue.report().refused, 1);
    }

    #[test]
    fn slots_go_to_the_oldest_one_after_another() {
        let queue = queue(9);
        let mut clients = line(&queue, &[false; 3]);
        queue.on_free();
        queue.on_free();
        assert_eq!(clients.iter().map(Client::rung).collect::<Vec<_>>(), [1, 0, 0]);
        assert_eq!(turns(&mut clients), [true, false, false]);
        // The first is still at it when the next slot comes: it is told anew.
        queue.on_free();
        assert_eq!(turns(&mut clients), [true, false, false]);
        clients.remove(0).place.leave(Left::Served, Mono::ZERO);
        assert_eq!(clients.iter().map(Client::rung).collect::<Vec<_>>(), [1, 0]);
        assert_eq!(turns(&mut clients), [true, false]);
    }

    #[test]
    fn whoever_leaves_tells_the_next() {
        for left in [Left::Served, Left::TimedOut, Left::NoEndpoint] {
            let queue = queue(9);
            let mut clients = line(&queue, &[false; 3]);
            queue.on_free();
            clients.remove(0).place.leave(left, Mono::from_millis(20));
            assert_eq!(turns(&mut clients), [true, false], "{left:?}");
        }
        let queue = queue(9);
        let mut clients = line(&queue, &[false; 3]);
        drop(clients.remove(1));
        assert_eq!((turns(&mut clients), queue.len()), (vec![true, false], 2));
        drop(clients);
        assert!(queue.is_empty() && !queue.holds_up());
    }

    #[test]
    fn the_special_hold_nobody_up_and_look_before_they_wait() {
        let queue = queue(9);
        let mut clients = line(&queue, &[true, false]);
        assert!(queue.holds_up());
        drop(clients.pop());
        assert!(!queue.holds_up(), "one who has tried an endpoint keeps nobody from it");
        let mut ordinary = Client::new(&queue, false);
        assert!(ordinary.turn());
        assert!(Client::new(&queue, true).turn());
    }

    #[test]
    fn told_in_vain_passes_it_on_to_the_other_kind() {
        let queue = queue(9);
        let mut clients = line(&queue, &[true, false, false, true]);
        queue.on_free();
        assert_eq!(turns(&mut clients), [true, false, false, false]);
        clients[0].place.pass();
        assert_eq!(turns(&mut clients), [false, true, false, false]);
        clients[1].place.pass();
        assert_eq!(turns(&mut clients), [false, false, false, true], "another ordinary one would find the same");
        clients[3].place.pass();
        assert_eq!(turns(&mut clients), [false; 4], "nobody is left who could do better");
    }

    #[test]
    fn it_knows_what_became_of_those_who_waited() {
        let queue = queue(9);
        let mut clients = line(&queue, &[false; 4]);
        clients.remove(0).place.leave(Left::Served, Mono::from_millis(20));
        clients.remove(0).place.leave(Left::TimedOut, Mono::from_millis(30));
        clients.remove(0).place.leave(Left::NoEndpoint, Mono::from_millis(5));
        drop(clients);
        let report = queue.report();
        assert_eq!((report.served, report.timed_out, report.no_endpoint, report.cancelled), (1, 1, 1, 1));
        assert_eq!(report.waited, Duration::from_millis(55));
    }

    #[test]
    fn a_smaller_queue_keeps_those_who_are_in_it() {
        let queue = queue(2);
        let mut clients = line(&queue, &[false; 2]);
        queue.set(0, Duration::ZERO);
        assert!(queue.join(false, Mono::ZERO).is_err());
        queue.on_free();
        assert_eq!(turns(&mut clients), [true, false]);
    }
}
