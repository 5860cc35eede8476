//! Queue: what of one stream waits to be written, the part that the HTTP/2 library holds included.
//!
//! The library takes what it is given and tells nothing of when it lets go of it. So a piece of a body counts for as long
//! as it lives, wherever it is: see [`Piece`].
//!
//! A queue towards a client shares what its connection may hold with all other streams. Where nothing is left, each stream
//! still gets [`LEAST`] at a time: one that is not read cannot stop another one.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};

use bytes::{Buf, Bytes};
use futures_util::task::AtomicWaker;

use super::account::Account;

/// What each stream may hold, whatever the others do.
pub(crate) const LEAST: usize = 4 * 1024;
/// What a stream may hold, and read at once.
pub(crate) const MOST: usize = 64 * 1024;

/// What waits of one stream.
#[derive(Debug)]
pub(crate) struct Queue {
    held: AtomicUsize,
    /// Read, and not yet taken apart into pieces.
    unread: AtomicUsize,
    account: Option<Arc<Account>>,
    waker: AtomicWaker,
}

impl Queue {
    /// An empty one. With an account, what is held is counted there too.
    pub(crate) fn new(account: Option<Arc<Account>>) -> Arc<Self> {
        Arc::new(Self { held: 0.into(), unread: 0.into(), account, waker: AtomicWaker::new() })
    }

    /// Bytes that wait.
    pub(crate) fn held(&self) -> usize {
        self.held.load(Ordering::Acquire)
    }

    /// How much more may be held now.
    pub(crate) fn room(&self) -> usize {
        let held = self.held();
        let left = self.account.as_ref().map_or(usize::MAX, |account| account.buffers.left());
        let room = left.min(MOST.saturating_sub(held));
        match held {
            0 => room.max(LEAST),
            // Scraps are not worth a frame.
            _ if room < LEAST => 0,
            _ => room,
        }
    }

    /// [`room`](Self::room), once there is some.
    pub(crate) fn poll_room(&self, cx: &mut Context<'_>) -> Poll<usize> {
        match self.room() {
            0 => {
                self.waker.register(cx.waker());
                // It may have become free meanwhile.
                match self.room() {
                    0 => Poll::Pending,
                    room => Poll::Ready(room),
                }
            }
            room => Poll::Ready(room),
        }
    }

    /// Wakes the polling task when less is queued.
    pub(crate) fn wake_when_less(&self, cx: &Context<'_>) {
        self.waker.register(cx.waker());
    }

    /// So much was read for this stream and lies in another buffer.
    pub(crate) fn on_unread(&self, bytes: usize) {
        let Some(account) = &self.account else { return };
        let before = self.unread.swap(bytes, Ordering::Relaxed);
        if before != bytes {
            account.buffers.add(bytes);
            account.buffers.remove(before);
        }
    }

    fn add(&self, bytes: usize) {
        self.held.fetch_add(bytes, Ordering::Relaxed);
        if let Some(account) = &self.account {
            account.buffers.add(bytes);
        }
    }

    fn remove(&self, bytes: usize) {
        self.held.fetch_sub(bytes, Ordering::Release);
        if let Some(account) = &self.account {
            account.buffers.remove(bytes);
        }
        self.waker.wake();
    }
}

impl Drop for Queue {
    fn drop(&mut self) {
        self.on_unread(0);
    }
}

/// A piece of a body, counted in its queue for as long as it lives.
#[derive(Debug, Default)]
pub(crate) struct Piece {
    bytes: Bytes,
    /// What of it is counted. Less may be left.
    counted: usize,
    queue: Option<Arc<Queue>>,
}

impl Piece {
    pub(crate) fn new(bytes: Bytes, queue: &Arc<Queue>) -> Self {
        queue.add(bytes.len());
        Self { counted: bytes.len(), bytes, queue: Some(Arc::clone(queue)) }
    }

    /// Nothing.
    pub(crate) const fn empty() -> Self {
        Self { bytes: Bytes::new(), counted: 0, queue: None }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    pub(crate) fn len(&self) -> usize {
        self.bytes.len()
    }

    /// Takes the first `at` bytes off; all of it, if it is no longer than that.
    pub(crate) fn take_front(&mut self, at: usize) -> Self {
        if at >= self.bytes.len() {
            return std::mem::take(self);
        }
        let bytes = self.bytes.split_to(at);
        self.counted -= bytes.len();
        Self { counted: bytes.len(), bytes, queue: self.queue.clone() }
    }
}

impl Drop for Piece {
    fn drop(&mut self) {
        if let Some(queue) = &self.queue {
            queue.remove(self.counted);
        }
    }
}

impl Buf for Piece {
    fn remaining(&self) -> usize {
        self.bytes.remaining()
    }

    fn chunk(&self) -> &[u8] {
        self.bytes.chunk()
    }

    fn advance(&mut self, count: usize) {
        self.bytes.advance(count);
    }

    fn copy_to_bytes(&mut self, length: usize) -> Bytes {
        self.bytes.copy_to_bytes(length)
    }
}

#[cfg(test)]
mod tests {
    use std::task::Waker;

    use super::*;

    fn piece(queue: &Arc<Queue>, length: usize) -> Piece {
        Piece::new(vec![0; length].into(), queue)
    }

    #[test]
    fn what_lives_is_counted_once() {
        let account = Arc::new(Account::new(0));
        let all = account.buffers.max();
        let queue = Queue::new(Some(Arc::clone(&account)));
        let mut whole = piece(&queue, 1000);
        let mut front = whole.take_front(300);
        assert_eq!((front.len(), whole.len(), queue.held(), account.buffers.left()), (300, 700, 1000, all - 1000));
        front.advance(200);
        assert_eq!(queue.held(), 1000, "its memory is still there");
        drop(front);
        assert_eq!(queue.held(), 700);
        let rest = whole.take_front(10_000);
        assert!(whole.is_empty() && rest.len() == 700);
        drop(whole);
        assert_eq!(queue.held(), 700);
        queue.on_unread(50);
        queue.on_unread(20);
        assert_eq!(account.buffers.left(), all - 720);
        drop((rest, queue));
        assert_eq!(account.buffers.left(), all);
    }

    #[test]
    fn whoever_holds_nothing_gets_a_little_when_others_hold_all() {
        let account = Arc::new(Account::new(0));
        let [greedy, modest] = [(); 2].map(|()| Queue::new(Some(Arc::clone(&account))));
        assert_eq!(modest.room(), MOST);
        let all = piece(&greedy, account.buffers.max());
        assert_eq!((greedy.room(), modest.room()), (0, LEAST));
        let mut cx = Context::from_waker(Waker::noop());
        let little = piece(&modest, 10);
        assert!(modest.poll_room(&mut cx).is_pending(), "until that little is gone");
        drop(little);
        assert_eq!(modest.poll_room(&mut cx), Poll::Ready(LEAST));
        drop(all);
        assert_eq!((greedy.room(), modest.room()), (MOST, MOST));
    }

    #[test]
    fn a_stream_holds_no_more_than_its_share() {
        let queue = Queue::new(None);
        let held = piece(&queue, MOST - LEAST);
        assert_eq!(queue.room(), LEAST);
        let more = piece(&queue, 1);
        assert_eq!(queue.room(), 0);
        drop((held, more));
        assert_eq!(queue.room(), MOST);
    }
}
