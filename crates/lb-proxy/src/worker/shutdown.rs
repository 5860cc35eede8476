//! Shutdown signals: of a listener's connections, or of a whole worker.
//!
//! Every request polls the signal, so that must cost no more than a load; the token that wakes waiting tasks takes a lock for it.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};

use tokio_util::sync::{CancellationToken, WaitForCancellationFuture, WaitForCancellationFutureOwned};

/// Triggered once, and for ever. Clones share one signal.
#[derive(Clone)]
pub(crate) struct Shutdown {
    token: CancellationToken,
    is_triggered: Arc<AtomicBool>,
    /// Triggered with this one as well.
    parent: Option<Arc<AtomicBool>>,
}

impl Shutdown {
    pub(crate) fn new() -> Self {
        Self { token: CancellationToken::new(), is_triggered: Arc::default(), parent: None }
    }

    /// One that is triggered on its own, or with this one, which must not be a child itself.
    pub(crate) fn child(&self) -> Self {
        debug_assert!(self.parent.is_none());
        Self {
            token: self.token.child_token(),
            is_triggered: Arc::default(),
            parent: Some(Arc::clone(&self.is_triggered)),
        }
    }

    /// Triggers it.
    pub(crate) fn trigger(&self) {
        // Before any task wakes and polls it.
        self.is_triggered.store(true, Ordering::Release);
        self.token.cancel();
    }

    pub(crate) fn is_triggered(&self) -> bool {
        let heard = |said: &Arc<AtomicBool>| said.load(Ordering::Acquire);
        heard(&self.is_triggered) || self.parent.as_ref().is_some_and(heard)
    }

    /// Ready when it is triggered.
    pub(crate) fn triggered(&self) -> WaitForCancellationFuture<'_> {
        self.token.cancelled()
    }
}

/// One task's registration with a signal, which may last for hours and be polled at every request.
pub(crate) struct ShutdownWatch {
    stop: Shutdown,
    triggered: Pin<Box<WaitForCancellationFutureOwned>>,
    is_registered: bool,
}

impl ShutdownWatch {
    pub(crate) fn new(stop: Shutdown) -> Self {
        Self { triggered: Box::pin(stop.token.clone().cancelled_owned()), stop, is_registered: false }
    }

    pub(crate) fn is_triggered(&self) -> bool {
        self.stop.is_triggered()
    }

    pub(crate) fn into_shutdown(self) -> Shutdown {
        self.stop
    }

    /// Ready when it is triggered. To be polled by one task only, which is the one that is woken.
    pub(crate) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if !self.is_registered {
            self.is_registered = true;
            // Whether it was just triggered is seen below.
            let _ = self.triggered.as_mut().poll(cx);
        }
        if self.is_triggered() { Poll::Ready(()) } else { Poll::Pending }
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use super::*;

    #[tokio::test]
    async fn it_is_heard_below_and_not_above() {
        let above = Shutdown::new();
        let (one, other) = (above.child(), above.child());
        one.trigger();
        one.triggered().await;
        assert!(one.is_triggered() && one.clone().is_triggered() && !above.is_triggered() && !other.is_triggered());
        above.trigger();
        other.triggered().await;
        assert!(other.is_triggered());
    }

    #[tokio::test]
    async fn an_ear_wakes_its_task_however_often_it_was_asked_before() {
        for above in [false, true] {
            let worker = Shutdown::new();
            let stop = worker.child();
            let mut ear = ShutdownWatch::new(stop.clone());
            let (asked, was_asked) = tokio::sync::oneshot::channel();
            let listening = tokio::spawn(async move {
                for _ in 0..3 {
                    assert!(poll_fn(|cx| Poll::Ready(ear.poll(cx))).await.is_pending());
                }
                asked.send(()).unwrap();
                poll_fn(|cx| ear.poll(cx)).await;
                ear.is_triggered()
            });
            was_asked.await.unwrap();
            let who = if above { worker } else { stop };
            who.trigger();
            assert!(listening.await.unwrap());
        }
    }

    #[tokio::test]
    async fn an_ear_that_comes_late_hears_it_all_the_same() {
        let stop = Shutdown::new();
        stop.trigger();
        let mut ear = ShutdownWatch::new(stop);
        assert!(poll_fn(|cx| Poll::Ready(ear.poll(cx))).await.is_ready());
    }
}
