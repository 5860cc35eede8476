//! One lazily armed timer for all the waits of a connection.
//!
//! A proxied request waits several times (next request, response head, next byte), and almost every wait ends long
//! before its limit. Registering and cancelling a timer each time would cost more than parsing the head. So the
//! runtime's timer is left where it is as long as it fires no later than needed: when it fires early, it is moved on.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::time::{Instant, Sleep};

use super::clock;

/// Fires when one wait lasts too long.
pub(crate) struct Timer {
    sleep: Option<Pin<Box<Sleep>>>,
    deadline: Option<Instant>,
}

impl Timer {
    pub(crate) fn new() -> Self {
        Self { sleep: None, deadline: None }
    }

    /// Ends the current wait; the next [`poll_after`](Self::poll_after) begins another.
    pub(crate) fn clear(&mut self) {
        self.deadline = None;
    }

    /// Ready once `span` has passed since the first call of this wait.
    pub(crate) fn poll_after(&mut self, cx: &mut Context<'_>, span: Duration) -> Poll<()> {
        let deadline = *self.deadline.get_or_insert_with(|| far(clock::now(), span));
        self.poll_until(cx, deadline)
    }

    /// Ready at this instant. Begins no wait of its own.
    pub(crate) fn poll_until(&mut self, cx: &mut Context<'_>, deadline: Instant) -> Poll<()> {
        let sleep = self.sleep.get_or_insert_with(|| Box::pin(tokio::time::sleep_until(deadline)));
        if sleep.deadline() > deadline {
            sleep.as_mut().reset(deadline);
        }
        loop {
            if sleep.as_mut().poll(cx).is_pending() {
                return Poll::Pending;
            }
            if clock::now() >= deadline {
                return Poll::Ready(());
            }
            sleep.as_mut().reset(deadline);
        }
    }
}

/// `now + span`, or a century on where that overflows.
pub(crate) fn far(now: Instant, span: Duration) -> Instant {
    const CENTURY: Duration = Duration::from_secs(100 * 365 * 86_400);
    now.checked_add(span).unwrap_or_else(|| now + CENTURY)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::future::poll_fn;

    #[tokio::test(start_paused = true)]
    async fn an_early_timer_is_moved_on_and_a_late_one_brought_forward() {
        let mut timer = Timer::new();
        let start = Instant::now();
        let mut wait = async |span: u64| {
            timer.clear();
            poll_fn(|cx| timer.poll_after(cx, Duration::from_secs(span))).await;
            start.elapsed().as_secs()
        };
        assert_eq!(wait(5).await, 5);
        assert_eq!(wait(60).await, 65, "armed for 5 s, asked for 60 s");
        assert_eq!(wait(1).await, 66, "armed for 60 s, asked for 1 s");
    }

    #[tokio::test(start_paused = true)]
    async fn a_wait_is_counted_from_its_first_poll() {
        let mut timer = Timer::new();
        let start = Instant::now();
        let mut polls = 0;
        poll_fn(|cx| {
            polls += 1;
            timer.poll_after(cx, Duration::from_secs(3))
        })
        .await;
        assert_eq!(start.elapsed().as_secs(), 3);
        assert!(polls >= 2);
    }
}
