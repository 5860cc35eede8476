//! One attempt as a future.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use lb_core::Clock;
use lb_policy::{Entropy, PickError, Policy, Ticket};
use pin_project_lite::pin_project;
use tokio::time::Sleep;
use tower_service::Service;

use super::Shared;
use super::error::{Error, QueueError};
use super::guard::{Events, Guard};
use super::inspect::Inspect;
use super::observe::Observe;
use super::queue_wait::QueueWait;
use super::search::{Found, Search};

pin_project! {
    /// The response future of [`Balance`](super::Balance).
    ///
    /// The endpoint was picked by `call`, and the attempt begins when this is first polled: unless the endpoint was removed in
    /// between, for then another is picked. Dropped on the way, it gives the slot back and reports the
    /// attempt as cancelled.
    #[must_use = "futures do nothing unless polled"]
    pub struct BalanceFuture<P, S, I, O, C, V, Req>
    where
        P: Policy,
        S: Service<Req>,
        C: Clock,
        V: Events<S>,
    {
        shared: Arc<Shared<P, S, I, O, C, V>>,
        #[pin]
        state: State<S, S::Future, C, V, Req>,
    }
}

pin_project! {
    #[project = StateProj]
    #[project_replace = StateOwn]
    enum State<S, F, C, V, Req>
    where
        C: Clock,
        V: Events<S>,
    {
        Pick {
            request: Req,
            entropy: Entropy,
            search: Search<S>,
            wait: QueueWait,
            // Runs while it is queued, and again once a service was drawn that is not ready.
            // Boxed, so that requests that do not wait carry no room for it.
            limit: Option<Pin<Box<Sleep>>>,
        },
        // The call before the guard: what it holds goes back before the slot does.
        Call {
            #[pin]
            future: F,
            guard: Guard<S, C, V>,
        },
        Done,
    }
}

impl<P, S, I, O, C, V, Req> BalanceFuture<P, S, I, O, C, V, Req>
where
    P: Policy,
    S: Service<Req>,
    C: Clock,
    V: Events<S>,
{
    pub(super) fn new(
        shared: Arc<Shared<P, S, I, O, C, V>>,
        entropy: Entropy,
        request: Req,
        picked: Option<Result<Ticket<S>, PickError>>,
    ) -> Self {
        let wait = QueueWait::new(picked.is_none());
        Self { shared, state: State::Pick { request, entropy, search: Search::new(picked), wait, limit: None } }
    }
}

impl<P, S, I, O, C, V, Req> Future for BalanceFuture<P, S, I, O, C, V, Req>
where
    P: Policy,
    S: Service<Req> + Clone + Send + Sync + 'static,
    I: Inspect<Req>,
    O: Observe<S::Response, S::Error, Guard<S, C, V>>,
    C: Clock + Clone,
    V: Events<S>,
{
    type Output = Result<O::Output, Error<S::Error>>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut this = self.project();
        loop {
            match this.state.as_mut().project() {
                StateProj::Pick { request, entropy, search, wait, limit } => {
                    let stood = wait.is_waiting();
                    let polled = wait.poll(search, this.shared, entropy, request, cx);
                    if stood != wait.is_waiting() {
                        *limit = None;
                    }
                    let found = match polled {
                        Poll::Ready(Ok(found)) => found,
                        Poll::Ready(Err(full)) => return Poll::Ready(Err(Error::Queue(full.into()))),
                        Poll::Pending if wait.is_waiting() => {
                            let within = this.shared.selector.queue().timeout();
                            if limit.is_none() {
                                *limit = Some(Box::pin(tokio::time::sleep(within)));
                            }
                            if let Some(limit) = limit {
                                ready!(limit.as_mut().poll(cx));
                            }
                            wait.time_out(&this.shared.clock);
                            return Poll::Ready(Err(Error::Queue(QueueError::TimedOut { within })));
                        }
                        Poll::Pending => {
                            if limit.is_none() && !this.shared.ready_within.is_zero() {
                                *limit = Some(Box::pin(tokio::time::sleep(this.shared.ready_within)));
                            }
                            if let Some(limit) = limit {
                                ready!(limit.as_mut().poll(cx));
                            }
                            Found::Nobody(search.timed_out())
                        }
                    };
                    let StateOwn::Pick { request, .. } = this.state.as_mut().project_replace(State::Done) else {
                        return Poll::Pending;
                    };
                    match found {
                        Found::Ready(mut service, guard) => {
                            let future = service.call(request);
                            this.state.set(State::Call { future, guard });
                        }
                        Found::Broken(guard, error) => {
                            return Poll::Ready(conclude(&this.shared.observe, guard, Err(error)));
                        }
                        Found::Nobody(error) => return Poll::Ready(Err(Error::NoEndpoint(error))),
                    }
                }
                StateProj::Call { future, .. } => {
                    let result = ready!(future.poll(cx));
                    let StateOwn::Call { guard, .. } = this.state.as_mut().project_replace(State::Done) else {
                        return Poll::Pending;
                    };
                    return Poll::Ready(conclude(&this.shared.observe, guard, result));
                }
                StateProj::Done => return Poll::Pending,
            }
        }
    }
}

/// Reports the answer, and hands the guard on or ends it.
fn conclude<O, Res, Err, S, C, V>(
    observe: &O,
    mut guard: Guard<S, C, V>,
    result: Result<Res, Err>,
) -> Result<O::Output, Error<Err>>
where
    O: Observe<Res, Err, Guard<S, C, V>>,
    C: Clock,
    V: Events<S>,
{
    let class = observe.class(&result);
    match result {
        Ok(response) => {
            guard.on_head(class);
            Ok(observe.attach(response, guard))
        }
        Err(source) => {
            let endpoint = guard.endpoint();
            let (uid, name) = (endpoint.uid(), Arc::clone(&endpoint.identity().name));
            guard.fail(class);
            Err(Error::Endpoint { uid, name, source })
        }
    }
}

impl<P, S, I, O, C, V, Req> fmt::Debug for BalanceFuture<P, S, I, O, C, V, Req>
where
    P: Policy,
    S: Service<Req>,
    C: Clock,
    V: Events<S>,
{
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BalanceFuture").finish_non_exhaustive()
    }
}
