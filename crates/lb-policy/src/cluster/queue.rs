//! Waiting for a full cluster: one bounded queue, first in first out.
//!
//! The simple answer, to retry the pick every few milliseconds, wastes work and serves requests in arbitrary order, so that some
//! wait for ever. Here waiting requests are queued, and a slot given back wakes the oldest of them. A request that gets a slot leaves
//! the queue and wakes the next, so several free slots are handed out one after another, in the order of arrival, whatever thread
//! each request waits on. A request that arrives while others wait goes to the end.
//!
//! A wake-up is a hint and no reservation: the woken request picks like any other. This is correct because
//!
//! - the turn is cleared *before* the pick, so that a slot given back during the pick wakes the request again;
//! - a request that leaves the queue, for any reason, wakes the next one;
//! - a slot given back is never missed: queueing, then looking for room, and giving back, then looking for waiters, cannot
//!   both see nothing (a sequentially consistent fence on one side, such accesses on the other).
//!
//! Requests with a tried endpoint, or a sticky one that drains, are *special*: their set of endpoints differs from the others'. They
//! pick before queueing and do not block others; a wake-up that a waiter cannot use is passed to the other kind.
//!
//! What this does not do: keep time or run tasks. A waiting request has its own timer and leaves when it fires.

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

/// The queue of a cluster. While it is empty it costs a request two loads.
#[derive(Debug)]
pub struct Queue {
    size: AtomicUsize,
    timeout_nanos: AtomicU64,
    /// All waiting requests.
    waiting: AtomicUsize,
    /// Those of them that are not special: later requests queue behind them.
    ordinary: AtomicUsize,
    waiters: Mutex<Waiters>,
}

#[derive(Debug, Default)]
struct Waiters {
    last: u64,
    by_number: BTreeMap<u64, Waiter>,
    report: QueueReport,
}

#[derive(Debug)]
struct Waiter {
    waker: Waker,
    special: bool,
    /// Woken, and has not polled its turn since.
    notified: bool,
}

/// How a request left the queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum QueueExit {
    /// It got a slot.
    Served,
    /// It waited for the queue's timeout.
    TimedOut,
    /// No endpoint could take it any more, full or not.
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
    /// Waited for the queue's timeout.
    pub timed_out: u64,
    /// Waited until no endpoint could take them any more.
    pub no_endpoint: u64,
    /// Were dropped while they waited.
    pub cancelled: u64,
    /// Found the queue full, and did not wait.
    pub refused: u64,
    /// Sum of the waiting times of all that left, without the cancelled ones.
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
            waiters: Mutex::new(Waiters::default()),
        }
    }
}

impl Queue {
    /// How many may wait, 0 (the default) for none, and how long each. Requests in the queue stay.
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

    /// Whether it is empty.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether a request that arrives now has to queue: one that is not special waits already.
    #[inline]
    #[must_use]
    pub fn must_queue(&self) -> bool {
        self.ordinary.load(Ordering::Relaxed) != 0
    }

    /// What has become of requests so far.
    #[must_use]
    pub fn report(&self) -> QueueReport {
        self.lock().report
    }

    /// Queues a request, at the end. The next step is [`QueueTicket::poll_turn`]. `special` is a request with a set of endpoints that
    /// differs from the others'.
    ///
    /// # Errors
    /// The queue is full, or its size is 0.
    pub fn join(self: &Arc<Self>, special: bool, now: Mono) -> Result<QueueTicket, QueueFull> {
        let size = self.size();
        let mut waiters = self.lock();
        if waiters.by_number.len() >= size {
            waiters.report.refused += 1;
            return Err(QueueFull { size });
        }
        let first = special || self.ordinary.load(Ordering::Relaxed) == 0;
        waiters.last += 1;
        let number = waiters.last;
        waiters.by_number.insert(number, Waiter { waker: Waker::noop().clone(), special, notified: first });
        self.waiting.fetch_add(1, Ordering::SeqCst);
        if !special {
            self.ordinary.fetch_add(1, Ordering::Relaxed);
        }
        drop(waiters);
        // From here on a slot given back is either seen by this request's pick or wakes it.
        fence(Ordering::SeqCst);
        Ok(QueueTicket { queue: Arc::clone(self), number, special, since: now, has_left: false })
    }

    /// A slot was given back. To be called after that step, which must be a sequentially consistent one.
    #[inline]
    pub(crate) fn on_free(&self) {
        // loom knows no sequentially consistent accesses, only fences.
        #[cfg(loom)]
        fence(Ordering::SeqCst);
        if self.waiting.load(Ordering::SeqCst) != 0 {
            self.notify(0, |_| true);
        }
    }

    /// An endpoint joined, became eligible or ineligible, or may take more. Requests that can go on now are woken one by one.
    pub(crate) fn on_change(&self) {
        fence(Ordering::SeqCst);
        self.on_free();
    }

    /// Wakes the oldest of these, from this number on, unless it has been woken and not polled yet.
    #[cold]
    fn notify(&self, from: u64, is_meant: impl Fn(&Waiter) -> bool) {
        let waker = self.lock().notify(from, is_meant);
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    /// The waiters are consistent between statements that can panic, so a poisoned lock is taken as it is.
    fn lock(&self) -> MutexGuard<'_, Waiters> {
        self.waiters.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Waiters {
    fn notify(&mut self, from: u64, is_meant: impl Fn(&Waiter) -> bool) -> Option<Waker> {
        let waiter = self.by_number.range_mut(from..).map(|(_, waiter)| waiter).find(|waiter| is_meant(waiter))?;
        let was_notified = std::mem::replace(&mut waiter.notified, true);
        (!was_notified).then(|| waiter.waker.clone())
    }
}

/// A request's place in the queue. Dropping it leaves, as cancelled.
#[must_use = "dropping it leaves the queue"]
pub struct QueueTicket {
    queue: Arc<Queue>,
    number: u64,
    special: bool,
    since: Mono,
    has_left: bool,
}

impl fmt::Debug for QueueTicket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("QueueTicket").field("number", &self.number).finish_non_exhaustive()
    }
}

impl QueueTicket {
    /// Whether it is time to pick: a slot may be free. If not, this waker will be woken when one is. A request that then gets a
    /// slot [leaves](Self::leave); one that finds every endpoint full again [yields its turn](Self::yield_turn).
    #[must_use]
    pub fn poll_turn(&mut self, waker: &Waker) -> bool {
        let mut waiters = self.queue.lock();
        let Some(waiter) = waiters.by_number.get_mut(&self.number) else { return false };
        waiter.waker.clone_from(waker);
        std::mem::take(&mut waiter.notified)
    }

    /// It was woken and found every endpoint full: the free slot may be one that only the other kind may take.
    pub fn yield_turn(&self) {
        let special = self.special;
        self.queue.notify(self.number + 1, |waiter| special || waiter.special);
    }

    /// Leaves the queue; the next one is woken.
    pub fn leave(mut self, exit: QueueExit, now: Mono) {
        self.go(exit, now.saturating_since(self.since));
    }

    fn go(&mut self, exit: QueueExit, waited: Duration) {
        if std::mem::replace(&mut self.has_left, true) {
            return;
        }
        let mut waiters = self.queue.lock();
        waiters.by_number.remove(&self.number);
        self.queue.waiting.fetch_sub(1, Ordering::Relaxed);
        if !self.special {
            self.queue.ordinary.fetch_sub(1, Ordering::Relaxed);
        }
        let report = &mut waiters.report;
        let count = match exit {
            QueueExit::Served => &mut report.served,
            QueueExit::TimedOut => &mut report.timed_out,
            QueueExit::NoEndpoint => &mut report.no_endpoint,
            QueueExit::Cancelled => &mut report.cancelled,
        };
        *count += 1;
        report.waited = report.waited.saturating_add(waited);
        let next = waiters.notify(0, |_| true);
        drop(waiters);
        if let Some(waker) = next {
            waker.wake();
        }
    }
}

impl Drop for QueueTicket {
    fn drop(&mut self) {
        self.go(QueueExit::Cancelled, Duration::ZERO);
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

    /// One poll of a request that waits: whether it got the slot.
    fn poll(place: &mut QueueTicket, state: &EndpointState, queue: &Queue) -> bool {
        if !place.poll_turn(Waker::noop()) {
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

    fn is_notified(place: &mut QueueTicket) -> bool {
        place.poll_turn(Waker::noop())
    }

    #[test]
    fn loom_a_released_slot_is_seen_or_wakes_the_waiter() {
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
            assert!(served || is_notified(&mut place), "it sleeps beside a free slot");
        });
    }

    #[test]
    fn loom_an_undone_overshoot_loses_no_wakeup() {
        loom::model(|| {
            let state = Arc::new(EndpointState::new(InFlightLimit::new(1)));
            let queue = queue();
            // Another request that has seen room arrives while the holder of the slot leaves.
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
            assert!(served || is_notified(&mut place), "it sleeps beside a free slot");
        });
    }

    #[test]
    fn loom_cancelled_waiter_passes_its_wakeup_on() {
        loom::model(|| {
            let state = Arc::new(EndpointState::new(InFlightLimit::new(1)));
            let queue = queue();
            let _ = state.acquire();
            let mut first = queue.join(false, Mono::ZERO).unwrap();
            let mut second = queue.join(false, Mono::ZERO).unwrap();
            assert!(first.poll_turn(Waker::noop()) && !second.poll_turn(Waker::noop()));
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
            assert!(served || is_notified(&mut second), "it sleeps beside a free slot");
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
        place: QueueTicket,
    }

    impl Client {
        fn new(queue: &Arc<Queue>, special: bool) -> Self {
            let place = queue.join(special, Mono::ZERO).expect("the tests queue no more than fit");
            Self { bell: Arc::default(), place }
        }

        /// Whether it may pick now, as its task finds when it is polled.
        fn turn(&mut self) -> bool {
            self.place.poll_turn(&Waker::from(Arc::clone(&self.bell)))
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

    /// So many waiting requests, all of which have picked once and found no room.
    fn waiting(queue: &Arc<Queue>, specials: &[bool]) -> Vec<Client> {
        specials
            .iter()
            .map(|&special| {
                let mut client = Client::new(queue, special);
                let _ = client.turn();
                client
            })
            .collect()
    }

    fn turns(clients: &mut [Client]) -> Vec<bool> {
        clients.iter_mut().map(Client::turn).collect()
    }

    #[test]
    fn of_size_zero_it_refuses_every_request() {
        let queue = Arc::new(Queue::default());
        assert_eq!(queue.join(false, Mono::ZERO).unwrap_err(), QueueFull { size: 0 });
        assert!(queue.is_empty() && !queue.must_queue());
    }

    #[test]
    fn the_first_picks_at_once_and_the_others_wait_for_a_wakeup() {
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
        let mut clients = waiting(&queue, &[false; 3]);
        queue.on_free();
        queue.on_free();
        assert_eq!(clients.iter().map(Client::rung).collect::<Vec<_>>(), [1, 0, 0]);
        assert_eq!(turns(&mut clients), [true, false, false]);
        // The first is still picking when the next slot comes free: it is woken again.
        queue.on_free();
        assert_eq!(turns(&mut clients), [true, false, false]);
        clients.remove(0).place.leave(QueueExit::Served, Mono::ZERO);
        assert_eq!(clients.iter().map(Client::rung).collect::<Vec<_>>(), [1, 0]);
        assert_eq!(turns(&mut clients), [true, false]);
    }

    #[test]
    fn leaving_wakes_the_next() {
        for exit in [QueueExit::Served, QueueExit::TimedOut, QueueExit::NoEndpoint] {
            let queue = queue(9);
            let mut clients = waiting(&queue, &[false; 3]);
            queue.on_free();
            clients.remove(0).place.leave(exit, Mono::from_millis(20));
            assert_eq!(turns(&mut clients), [true, false], "{exit:?}");
        }
        let queue = queue(9);
        let mut clients = waiting(&queue, &[false; 3]);
        drop(clients.remove(1));
        assert_eq!((turns(&mut clients), queue.len()), (vec![true, false], 2));
        drop(clients);
        assert!(queue.is_empty() && !queue.must_queue());
    }

    #[test]
    fn special_requests_block_no_others_and_pick_before_they_wait() {
        let queue = queue(9);
        let mut clients = waiting(&queue, &[true, false]);
        assert!(queue.must_queue());
        drop(clients.pop());
        assert!(!queue.must_queue(), "a special request blocks no others");
        let mut ordinary = Client::new(&queue, false);
        assert!(ordinary.turn());
        assert!(Client::new(&queue, true).turn());
    }

    #[test]
    fn an_unused_wakeup_is_passed_to_the_other_kind() {
        let queue = queue(9);
        let mut clients = waiting(&queue, &[true, false, false, true]);
        queue.on_free();
        assert_eq!(turns(&mut clients), [true, false, false, false]);
        clients[0].place.yield_turn();
        assert_eq!(turns(&mut clients), [false, true, false, false]);
        clients[1].place.yield_turn();
        assert_eq!(turns(&mut clients), [false, false, false, true], "another ordinary one would find the same");
        clients[3].place.yield_turn();
        assert_eq!(turns(&mut clients), [false; 4], "no waiter is left that could do better");
    }

    #[test]
    fn the_report_counts_every_exit() {
        let queue = queue(9);
        let mut clients = waiting(&queue, &[false; 4]);
        clients.remove(0).place.leave(QueueExit::Served, Mono::from_millis(20));
        clients.remove(0).place.leave(QueueExit::TimedOut, Mono::from_millis(30));
        clients.remove(0).place.leave(QueueExit::NoEndpoint, Mono::from_millis(5));
        drop(clients);
        let report = queue.report();
        assert_eq!((report.served, report.timed_out, report.no_endpoint, report.cancelled), (1, 1, 1, 1));
        assert_eq!(report.waited, Duration::from_millis(55));
    }

    #[test]
    fn a_smaller_queue_keeps_the_requests_in_it() {
        let queue = queue(2);
        let mut clients = waiting(&queue, &[false; 2]);
        queue.set(0, Duration::ZERO);
        assert!(queue.join(false, Mono::ZERO).is_err());
        queue.on_free();
        assert_eq!(turns(&mut clients), [true, false]);
    }
}
