//! The word to come to an end: to a listener's connections, or to a whole worker.
//!
//! Every request asks whether it was said, so that must cost no more than a load; the token that wakes those who wait
//! takes a lock for it.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};

use tokio_util::sync::{CancellationToken, WaitForCancellationFuture, WaitForCancellationFutureOwned};

/// Said once, and for ever. Clones hear the same.
#[derive(Clone)]
pub(crate) struct Stop {
    token: CancellationToken,
    is_said: Arc<AtomicBool>,
    /// Whose word it is too.
    above: Option<Arc<AtomicBool>>,
}

impl Stop {
    pub(crate) fn new() -> Self {
        Self { token: CancellationToken::new(), is_said: Arc::default(), above: None }
    }

    /// One that is said on its own, or with this one, which must not be below another itself.
    pub(crate) fn below(&self) -> Self {
        debug_assert!(self.above.is_none());
        Self { token: self.token.child_token(), is_said: Arc::default(), above: Some(Arc::clone(&self.is_said)) }
    }

    /// Says it.
    pub(crate) fn say(&self) {
        // Before anybody wakes to ask.
        self.is_said.store(true, Ordering::Release);
        self.token.cancel();
    }

    pub(crate) fn is_said(&self) -> bool {
        let heard = |said: &Arc<AtomicBool>| said.load(Ordering::Acquire);
        heard(&self.is_said) || self.above.as_ref().is_some_and(heard)
    }

    /// Ready when it is said.
    pub(crate) fn said(&self) -> WaitForCancellationFuture<'_> {
        self.token.cancelled()
    }
}

/// One task's ear for it, which may listen for hours and be asked at every request.
pub(crate) struct Ear {
    stop: Stop,
    said: Pin<Box<WaitForCancellationFutureOwned>>,
    listens: bool,
}

impl Ear {
    pub(crate) fn new(stop: Stop) -> Self {
        Self { said: Box::pin(stop.token.clone().cancelled_owned()), stop, listens: false }
    }

    pub(crate) fn is_said(&self) -> bool {
        self.stop.is_said()
    }

    pub(crate) fn into_stop(self) -> Stop {
        self.stop
    }

    /// Ready when it is said. Always to be asked by the same task, which is the one that will be woken.
    pub(crate) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if !self.listens {
            self.listens = true;
            // Whether it was just said is seen below.
            let _ = self.said.as_mut().poll(cx);
        }
        if self.is_said() { Poll::Ready(()) } else { Poll::Pending }
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use super::*;

    #[tokio::test]
    async fn it_is_heard_below_and_not_above() {
        let above = Stop::new();
        let (one, other) = (above.below(), above.below());
        one.say();
        one.said().await;
        assert!(one.is_said() && one.clone().is_said() && !above.is_said() && !other.is_said());
        above.say();
        other.said().await;
        assert!(other.is_said());
    }

    #[tokio::test]
    async fn an_ear_wakes_its_task_however_often_it_was_asked_before() {
        for above in [false, true] {
            let worker = Stop::new();
            let stop = worker.below();
            let mut ear = Ear::new(stop.clone());
            let (asked, was_asked) = tokio::sync::oneshot::channel();
            let listening = tokio::spawn(async move {
                for _ in 0..3 {
                    assert!(poll_fn(|cx| Poll::Ready(ear.poll(cx))).await.is_pending());
                }
                asked.send(()).unwrap();
                poll_fn(|cx| ear.poll(cx)).await;
                ear.is_said()
            });
            was_asked.await.unwrap();
            let who = if above { worker } else { stop };
            who.say();
            assert!(listening.await.unwrap());
        }
    }

    #[tokio::test]
    async fn an_ear_that_comes_late_hears_it_all_the_same() {
        let stop = Stop::new();
        stop.say();
        let mut ear = Ear::new(stop);
        assert!(poll_fn(|cx| Poll::Ready(ear.poll(cx))).await.is_ready());
    }
}
