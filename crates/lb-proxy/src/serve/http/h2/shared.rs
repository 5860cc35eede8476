//! What the streams of an HTTP/2 connection share.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use crate::downstream::ClientConnection;
use crate::exchange::ConnectionCache;
use crate::net::account::Account;
use crate::net::cork::Drain;
use crate::worker::state::Worker;

/// Answered requests that a connection can set against others which it gives up. Those beyond are counted for the client's
/// address: see [`may_cancel`](crate::worker::shared::Shared::may_cancel).
const ANSWERED: usize = 500;

/// What the streams of a connection share.
pub(crate) struct Shared {
    pub(crate) worker: Arc<Worker>,
    pub(crate) connection: Arc<ClientConnection>,
    pub(crate) cache: Mutex<ConnectionCache>,
    /// What all streams may have us hold.
    pub(crate) account: Arc<Account>,
    /// What is seen of the frames that came.
    watch: Mutex<Drain>,
    running: AtomicUsize,
    /// Requests answered, less those given up, within bounds. Only this connection's own streams count here, on one thread.
    answered: AtomicUsize,
    /// The peer is a trusted proxy, or a Unix socket: its address is that of no client, and what one gives up must not be
    /// counted against all.
    is_of_many: bool,
    is_abusive: AtomicBool,
}

impl Shared {
    /// `is_of_many` says that the peer's address is that of no client.
    pub(super) fn new(
        worker: Arc<Worker>,
        connection: Arc<ClientConnection>,
        account: Account,
        watch: Drain,
        is_of_many: bool,
    ) -> Self {
        Self {
            worker,
            connection,
            cache: Mutex::default(),
            account: Arc::new(account),
            watch: Mutex::new(watch),
            running: AtomicUsize::new(0),
            // As much as an address may give up at once.
            answered: AtomicUsize::new(if is_of_many { ANSWERED } else { 0 }),
            is_of_many,
            is_abusive: AtomicBool::new(false),
        }
    }

    /// Whether no stream runs.
    pub(super) fn is_idle(&self) -> bool {
        self.running.load(Ordering::Relaxed) == 0
    }

    /// Whether the client has given up more requests than it may.
    pub(super) fn is_abusive(&self) -> bool {
        self.is_abusive.load(Ordering::Relaxed)
    }

    /// Whether a stream that runs has others beside it.
    pub(crate) fn has_others(&self) -> bool {
        self.running.load(Ordering::Relaxed) > 1
    }

    /// A look at the frames that came.
    pub(crate) fn watch(&self) -> Drain {
        self.watch.lock().unwrap_or_else(PoisonError::into_inner).watch()
    }

    /// Whether the head of this stream, which is read now, had a pseudo-header field that is refused and not passed on.
    pub(crate) fn take_refused(&self, stream: u32) -> bool {
        self.watch.lock().unwrap_or_else(PoisonError::into_inner).take_refused(stream)
    }

    /// A request ended: `answered`, or given up by the client before it had its answer.
    pub(crate) fn on_end(&self, answered: bool) {
        let count = self.answered.load(Ordering::Relaxed);
        if answered {
            self.answered.store(ANSWERED.min(count + 1), Ordering::Relaxed);
        } else if count > 0 {
            self.answered.store(count - 1, Ordering::Relaxed);
        } else if self.is_of_many || !self.worker.shared.may_cancel(self.connection.ip()) {
            self.is_abusive.store(true, Ordering::Relaxed);
        }
    }
}

/// Counts a stream as running for as long as it lives.
pub(super) struct Running {
    pub(super) shared: Arc<Shared>,
}

impl Running {
    pub(super) fn new(shared: &Arc<Shared>) -> Self {
        shared.running.fetch_add(1, Ordering::Relaxed);
        Self { shared: Arc::clone(shared) }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.shared.running.fetch_sub(1, Ordering::Relaxed);
    }
}
