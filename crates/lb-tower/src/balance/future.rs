//! One attempt as a future.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use lb_core::Clock;
use lb_policy::{Entropy, PickError, Policy, Ticket};
use pin_project_lite::pin_project;
use tokio::time::{Instant, Sleep};
use tower_service::Service;

use super::Shared;
use super::error::{Error, QueueError};
use super::guard::{Events, Guard};
use super::inspect::Inspect;
use super::observe::Observe;
use super::queue_wait::QueueWait;
use super::search::{Found, Search};
use crate::timer;
use crate::trail::{LastAttempt, Scope};

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
            limit: Limit,
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
        Self { shared, state: State::Pick { request, entropy, search: Search::new(picked), wait, limit: Limit::None } }
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
                    let was_waiting = wait.is_waiting();
                    let polled = wait.poll(search, this.shared, entropy, request, cx);
                    if was_waiting != wait.is_waiting() {
                        *limit = Limit::None;
                    }
                    let found = match polled {
                        Poll::Ready(Ok(Found::Nobody(PickError::Empty))) => {
                            ready!(limit.poll_member(this.shared.member_within, cx));
                            if limit.is_retried() {
                                continue;
                            }
                            Found::Nobody(PickError::Empty)
                        }
                        Poll::Ready(Ok(found)) => found,
                        Poll::Ready(Err(full)) => {
                            return Poll::Ready(Err(this.shared.refuse(Error::Queue(full.into()))));
                        }
                        Poll::Pending if wait.is_waiting() => {
                            let within = this.shared.selector.queue().timeout();
                            ready!(limit.poll(within, cx));
                            wait.time_out(&this.shared.clock);
                            let error = Error::Queue(QueueError::TimedOut { within });
                            return Poll::Ready(Err(this.shared.refuse(error)));
                        }
                        Poll::Pending => {
                            ready!(limit.poll(this.shared.ready_within, cx));
                            Found::Nobody(search.timed_out())
                        }
                    };
                    let StateOwn::Pick { request, .. } = this.state.as_mut().project_replace(State::Done) else {
                        return Poll::Pending;
                    };
                    match found {
                        Found::Ready(mut service, guard) => {
                            let _shield = Scope::shield();
                            let future = service.call(request);
                            this.state.set(State::Call { future, guard });
                        }
                        Found::Broken(guard, error) => {
                            return Poll::Ready(conclude(&this.shared.observe, guard, Err(error)));
                        }
                        Found::Nobody(error) => return Poll::Ready(Err(this.shared.refuse(Error::NoEndpoint(error)))),
                    }
                }
                StateProj::Call { future, .. } => {
                    let shield = Scope::shield();
                    let result = ready!(future.poll(cx));
                    drop(shield);
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

/// What ends a wait. Boxed, so that requests that do not wait carry no room for it.
enum Limit {
    /// Nothing is waited for.
    None,
    Timer(Pin<Box<Sleep>>),
    /// The cluster is empty: when to look again, and until when.
    Member {
        look: Pin<Box<Sleep>>,
        until: Instant,
        is_over: bool,
    },
}

/// How often an empty cluster is looked at.
const LOOK_INTERVAL: Duration = Duration::from_millis(5);

impl Limit {
    /// Ready when the time is over, which is at once if there is none, or no timer.
    fn poll(&mut self, within: Duration, cx: &mut Context<'_>) -> Poll<()> {
        if !matches!(self, Self::Timer(_)) {
            let sleep = if within.is_zero() { None } else { timer::sleep(within) };
            let Some(sleep) = sleep else { return Poll::Ready(()) };
            *self = Self::Timer(Box::pin(sleep));
        }
        if let Self::Timer(sleep) = self { sleep.as_mut().poll(cx) } else { Poll::Ready(()) }
    }

    /// Ready when an empty cluster should be looked at again, or for the last time.
    fn poll_member(&mut self, within: Duration, cx: &mut Context<'_>) -> Poll<()> {
        if !matches!(self, Self::Member { .. }) {
            let sleep = if within.is_zero() { None } else { timer::sleep(LOOK_INTERVAL.min(within)) };
            let Some(look) = sleep else { return Poll::Ready(()) };
            *self = Self::Member { look: Box::pin(look), until: Instant::now() + within, is_over: false };
        }
        let Self::Member { look, until, is_over } = self else { return Poll::Ready(()) };
        ready!(look.as_mut().poll(cx));
        *is_over = Instant::now() >= *until;
        let next = (Instant::now() + LOOK_INTERVAL).min(*until);
        look.as_mut().reset(next);
        Poll::Ready(())
    }

    /// Whether the cluster is to be looked at again.
    fn is_retried(&self) -> bool {
        matches!(self, Self::Member { is_over: false, .. })
    }
}

impl<P, S, I, O, C, V> Shared<P, S, I, O, C, V>
where
    P: Policy,
    S: Send + Sync + 'static,
    C: Clock,
    V: Events<S>,
{
    /// No endpoint could take the request.
    #[cold]
    fn refuse<E>(&self, error: Error<E>) -> Error<E> {
        LastAttempt::NoEndpoint.note();
        self.events.on_refused(self.now());
        error
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
    LastAttempt::At { uid: guard.endpoint().uid(), class }.note();
    match result {
        Ok(response) => {
            if observe.is_decided(&response) {
                guard.head(class);
            }
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
