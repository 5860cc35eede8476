//! Threads that compute hashes, so that no worker does.
//!
//! ```text
//! 64 wait at most, a client's own at most 8 ─▶ as many threads as half the cores, one at least
//! ```
//!
//! A job whose request is gone is not begun. Threads start with the first job.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use lb_ratelimit::ClientKey;
use tokio::sync::oneshot;

/// How many jobs may wait.
const WAITING: usize = 64;
/// How many of them may be one client's, so that there is room for others while one guesses.
const WAITING_OF_ONE: usize = 8;

/// A pool of threads. Ends with its last handle; what is being computed then is computed in vain.
#[derive(Default)]
pub(crate) struct Pool {
    shared: Arc<Shared>,
}

/// There is no room for another job.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Busy;

#[derive(Default)]
struct Shared {
    queue: Mutex<Queue>,
    changed: Condvar,
}

#[derive(Default)]
struct Queue {
    jobs: VecDeque<Job>,
    by_client: HashMap<ClientKey, usize>,
    threads: usize,
    is_over: bool,
}

struct Job {
    client: ClientKey,
    compute: Box<dyn FnOnce() -> bool + Send>,
    told: oneshot::Sender<bool>,
}

impl Pool {
    /// Has something computed for a client. If the receiver is dropped before its turn, nothing is; if the computation panics,
    /// the sender is gone.
    ///
    /// # Errors
    /// Too many wait, or no thread could be made.
    pub(crate) fn submit(
        &self,
        client: ClientKey,
        compute: impl FnOnce() -> bool + Send + 'static,
    ) -> Result<oneshot::Receiver<bool>, Busy> {
        let mut queue = self.shared.lock();
        if queue.jobs.len() >= WAITING {
            // Their clients may have gone meanwhile.
            queue.forget_dropped();
        }
        let own = queue.by_client.get(&client).copied().unwrap_or(0);
        if queue.jobs.len() >= WAITING || own >= WAITING_OF_ONE || !self.has_threads(&mut queue) {
            return Err(Busy);
        }
        let (told, answer) = oneshot::channel();
        *queue.by_client.entry(client).or_default() += 1;
        queue.jobs.push_back(Job { client, compute: Box::new(compute), told });
        drop(queue);
        self.shared.changed.notify_one();
        Ok(answer)
    }

    /// Whether there is a thread, after an attempt to have all of them.
    fn has_threads(&self, queue: &mut Queue) -> bool {
        let wanted = std::thread::available_parallelism().map_or(1, |cores| (cores.get() / 2).max(1));
        while queue.threads < wanted {
            let shared = Arc::clone(&self.shared);
            let made = std::thread::Builder::new().name("hash".to_owned()).spawn(move || shared.work());
            if made.is_err() {
                break;
            }
            queue.threads += 1;
        }
        queue.threads > 0
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        let mut queue = self.shared.lock();
        queue.is_over = true;
        queue.jobs.clear();
        drop(queue);
        self.shared.changed.notify_all();
    }
}

impl Queue {
    fn take(&mut self) -> Option<Job> {
        let job = self.jobs.pop_front()?;
        self.on_gone(job.client);
        Some(job)
    }

    fn forget_dropped(&mut self) {
        let (gone, kept): (Vec<Job>, Vec<Job>) =
            std::mem::take(&mut self.jobs).into_iter().partition(|job| job.told.is_closed());
        self.jobs = kept.into();
        gone.iter().for_each(|job| self.on_gone(job.client));
    }

    fn on_gone(&mut self, client: ClientKey) {
        if let Some(count) = self.by_client.get_mut(&client) {
            *count -= 1;
            if *count == 0 {
                self.by_client.remove(&client);
            }
        }
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn work(&self) {
        let mut queue = self.lock();
        loop {
            if queue.is_over {
                return;
            }
            let Some(job) = queue.take() else {
                queue = self.changed.wait(queue).unwrap_or_else(PoisonError::into_inner);
                continue;
            };
            drop(queue);
            if !job.told.is_closed() {
                // A panic would be a bug of a hash; it must not cost the thread.
                let computed = std::panic::catch_unwind(std::panic::AssertUnwindSafe(job.compute));
                if let Ok(computed) = computed {
                    // Who asked may be gone.
                    let _ = job.told.send(computed);
                }
            }
            queue = self.lock();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    fn client(last: u8) -> ClientKey {
        ClientKey::new(std::net::IpAddr::from([192, 0, 2, last]))
    }

    #[test]
    fn answers_come_back_and_a_panic_costs_nothing_but_its_own() {
        let pool = Pool::default();
        assert_eq!(pool.submit(client(1), || true).unwrap().blocking_recv(), Ok(true));
        assert_eq!(pool.submit(client(1), || false).unwrap().blocking_recv(), Ok(false));
        assert!(pool.submit(client(1), || panic!("a bug")).unwrap().blocking_recv().is_err());
        assert_eq!(pool.submit(client(1), || true).unwrap().blocking_recv(), Ok(true));
    }

    /// A pool whose threads all wait for the end of what is returned.
    fn blocked(pool: &Pool) -> Vec<mpsc::Sender<()>> {
        let mut gates = Vec::new();
        loop {
            let (gate, wait) = mpsc::channel::<()>();
            let (begun, has_begun) = mpsc::channel();
            let job = pool.submit(client(200), move || {
                begun.send(()).unwrap();
                wait.recv().is_err()
            });
            std::mem::forget(job.unwrap());
            has_begun.recv().unwrap();
            gates.push(gate);
            if gates.len() == pool.shared.lock().threads {
                return gates;
            }
        }
    }

    #[test]
    fn only_so_many_wait_in_all_and_of_one_client() {
        let pool = Pool::default();
        let gates = blocked(&pool);
        let mut waiting = Vec::new();
        for last in 0..(WAITING / WAITING_OF_ONE) as u8 {
            for _ in 0..WAITING_OF_ONE {
                waiting.push(pool.submit(client(last), || true).unwrap());
            }
            assert_eq!(pool.submit(client(last), || true).unwrap_err(), Busy, "too many of one");
        }
        assert_eq!(pool.submit(client(100), || true).unwrap_err(), Busy, "too many in all");
        waiting.truncate(WAITING - 1);
        waiting.push(pool.submit(client(100), || true).unwrap());
        drop(gates);
        assert!(waiting.into_iter().all(|job| job.blocking_recv() == Ok(true)));
        assert!(pool.shared.lock().by_client.is_empty());
    }

    #[test]
    fn what_nobody_waits_for_is_not_computed() {
        let pool = Pool::default();
        let gates = blocked(&pool);
        drop(pool.submit(client(1), || panic!("nobody waits")).unwrap());
        let last = pool.submit(client(2), || true).unwrap();
        drop(gates);
        assert_eq!(last.blocking_recv(), Ok(true));
    }
}
