//! The state machine of one request's attempts.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use lb_core::{Class, Clock, Mono};
use lb_policy::Tried;
use pin_project_lite::pin_project;
use tokio::time::Sleep;
use tower_service::Service;

use super::{GiveUp, Pushback, RetryEvents, RetryPolicy, Shared, Verdict};
use crate::timer;
use crate::trail::{LastAttempt, Scope};

/// Shortest pause when nobody is left to be tried.
const MIN_BACKOFF: Duration = Duration::from_millis(10);

pin_project! {
    /// The response future of [`Retry`](super::Retry).
    #[must_use = "futures do nothing unless polled"]
    pub struct RetryFuture<P, S, Req, C, V>
    where
        S: Service<Req>,
    {
        #[pin]
        state: State<S::Future>,
        // None if there can be no further attempt, whatever the answer. Boxed, as it is looked at once and moved with
        // whatever holds this future.
        more: Option<Box<More<P, S, Req, S::Response, S::Error, C, V>>>,
    }
}

pin_project! {
    #[project = StateProj]
    enum State<F> {
        Call { #[pin] future: F },
        Pause { #[pin] sleep: Sleep },
        Ready,
        Done,
    }
}

/// What further attempts need.
struct More<P, S, Req, Res, Err, C, V> {
    saved: Req,
    // For further attempts, once there is one.
    inner: Option<S>,
    /// The best answer so far; there is one whenever no attempt is under way.
    previous: Option<Result<Res, Err>>,
    shared: Arc<Shared<P, S, C, V>>,
    /// When the first attempt started.
    first: Mono,
    /// Attempts started, those that found nobody apart.
    attempts: u32,
    /// Why the present attempt is made, until it has been announced.
    reason: Option<Class>,
    /// The budget was debited for an attempt that has not been made yet.
    debited: bool,
    /// Where the attempts so far have been, as far as the balancer below reports it.
    tried: Tried,
}

/// What to do with an answer.
enum Step {
    /// Return it.
    Return,
    /// Return the one before it, if there is one.
    ReturnPrevious,
    /// Keep it and go on after this pause.
    Again(Duration),
    /// Keep the one before it, if there is one, and go on after this pause.
    NextRound(Duration),
}

impl<P, S: Service<Req>, Req, C, V> RetryFuture<P, S, Req, C, V> {
    pub(super) fn once(future: S::Future) -> Self {
        Self { state: State::Call { future }, more: None }
    }

    pub(super) fn new(future: S::Future, saved: Req, shared: Arc<Shared<P, S, C, V>>, first: Mono) -> Self {
        let (inner, previous, reason, tried) = (None, None, None, Tried::new());
        let more = More { saved, inner, previous, shared, first, attempts: 1, reason, debited: false, tried };
        Self { state: State::Call { future }, more: Some(Box::new(more)) }
    }
}

impl<P, S, Req, C, V> Future for RetryFuture<P, S, Req, C, V>
where
    P: RetryPolicy<Req, S::Response, S::Error>,
    S: Service<Req> + Clone,
    C: Clock,
    V: RetryEvents,
{
    type Output = Result<S::Response, S::Error>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut this = self.project();
        loop {
            let Some(more) = this.more.as_mut() else {
                // The only attempt, or polled again after its end.
                let StateProj::Call { future } = this.state.as_mut().project() else { return Poll::Pending };
                let result = ready!(future.poll(cx));
                this.state.set(State::Done);
                return Poll::Ready(result);
            };
            match this.state.as_mut().project() {
                StateProj::Call { future } => {
                    let scope = more.scope();
                    LastAttempt::clear();
                    let polled = future.poll(cx);
                    drop(scope);
                    more.announce(&polled);
                    let result = ready!(polled);
                    // The attempt is over: what it holds goes back before the next one starts.
                    this.state.set(State::Done);
                    let pause = match more.judge(&result) {
                        Step::Return => return Poll::Ready(result),
                        Step::ReturnPrevious => return Poll::Ready(more.previous.take().unwrap_or(result)),
                        Step::Again(pause) => {
                            more.previous = Some(result);
                            pause
                        }
                        Step::NextRound(pause) => {
                            more.previous.get_or_insert(result);
                            pause
                        }
                    };
                    this.state.set(State::after(pause));
                }
                StateProj::Pause { sleep } => {
                    ready!(sleep.poll(cx));
                    this.state.set(State::Ready);
                }
                StateProj::Ready => {
                    let ready = ready!(more.inner().poll_ready(cx));
                    if let Some(future) = ready.ok().and_then(|()| more.start()) {
                        this.state.set(State::Call { future });
                        continue;
                    }
                    this.state.set(State::Done);
                    // Nothing was sent: what was answered before says more than why not.
                    let previous = more.previous.take();
                    return Poll::Ready(previous.expect("an answer was kept when this attempt was decided on"));
                }
                StateProj::Done => return Poll::Pending,
            }
        }
    }
}

impl<F> State<F> {
    fn after(pause: Duration) -> Self {
        let sleep = if pause.is_zero() { None } else { timer::sleep(pause) };
        sleep.map_or(Self::Ready, |sleep| Self::Pause { sleep })
    }
}

impl<P, S, Req, C, V> More<P, S, Req, S::Response, S::Error, C, V>
where
    P: RetryPolicy<Req, S::Response, S::Error>,
    S: Service<Req> + Clone,
    C: Clock,
    V: RetryEvents,
{
    /// Starts an attempt, unless it is too late or nothing is left to be sent.
    fn start(&mut self) -> Option<S::Future> {
        if self.is_late(Duration::ZERO) {
            self.give_up(GiveUp::Time);
            return None;
        }
        let Some(request) = self.shared.policy.save(&self.saved) else {
            self.refund();
            return None;
        };
        self.attempts = self.attempts.saturating_add(1);
        let _scope = self.scope();
        Some(self.inner().call(request))
    }

    /// What is picked within does not go where this request has been.
    fn scope(&self) -> Option<Scope> {
        (!self.tried.is_empty()).then(|| Scope::enter(&self.tried))
    }

    fn inner(&mut self) -> &mut S {
        self.inner.get_or_insert_with(|| self.shared.spare())
    }

    /// Tells of the present attempt, once, when it is sure to be one: it has not found everybody tried at once.
    fn announce(&mut self, polled: &Poll<Result<S::Response, S::Error>>) {
        if self.reason.is_none() || matches!(polled, Poll::Ready(Err(error)) if self.shared.policy.is_exhausted(error))
        {
            return;
        }
        self.debited = false;
        if let Some(class) = self.reason.take() {
            self.shared.events.on_retry(class, self.attempts);
        }
    }

    fn judge(&mut self, result: &Result<S::Response, S::Error>) -> Step {
        let Shared { policy, limits, budget, clock, .. } = &*self.shared;
        if let Err(error) = result
            && policy.is_exhausted(error)
        {
            return self.next_round();
        }
        let Verdict::Retry { free, class } = policy.verdict(&mut self.saved, result) else { return Step::Return };
        if let Some(uid) = LastAttempt::read().uid() {
            self.tried.push(uid);
        }
        let pause = match policy.pushback(result) {
            // It goes elsewhere, and has cost nothing.
            Pushback::None if free && limits.backoff.skips_unsent() => Duration::ZERO,
            Pushback::None => self.pause(),
            Pushback::After(pause) if pause <= limits.max_pushback => pause,
            Pushback::After(_) | Pushback::Never => {
                self.give_up(GiveUp::Pushback);
                return Step::Return;
            }
        };
        if self.attempts >= limits.attempts {
            self.give_up(GiveUp::Attempts);
            return Step::Return;
        }
        if self.is_late(pause) {
            self.give_up(GiveUp::Time);
            return Step::Return;
        }
        // Last, so that nothing is debited for an attempt that is not made.
        if let Some(budget) = budget
            && !free
        {
            self.debited = budget.try_retry(clock.now());
            if !self.debited {
                self.give_up(GiveUp::Budget);
                return Step::Return;
            }
        }
        self.reason = Some(class);
        Step::Again(pause)
    }

    /// Everybody was tried: another round if there is a limit of time to end it, or the last endpoint may be asked again;
    /// else the answer before.
    fn next_round(&mut self) -> Step {
        let may_return = self.previous.as_ref().is_some_and(|previous| self.shared.policy.may_return(previous));
        if self.shared.limits.within.is_none() && !may_return {
            if self.previous.is_some() {
                self.give_up(GiveUp::Exhausted);
            }
            return Step::ReturnPrevious;
        }
        let least = if may_return { Duration::ZERO } else { MIN_BACKOFF };
        let pause = self.pause().max(least);
        if self.is_late(pause) {
            self.give_up(GiveUp::Time);
            return Step::ReturnPrevious;
        }
        self.shared.policy.forget_tried(&mut self.saved);
        self.tried.clear();
        // It reached nobody. What it took from the budget serves the next one.
        self.attempts = self.attempts.saturating_sub(1);
        Step::NextRound(pause)
    }

    fn give_up(&mut self, reason: GiveUp) {
        self.refund();
        self.shared.events.on_give_up(reason);
    }

    fn refund(&mut self) {
        if let Some(budget) = &self.shared.budget
            && std::mem::take(&mut self.debited)
        {
            budget.refund(self.shared.clock.now());
        }
    }

    /// The pause before the next attempt.
    fn pause(&self) -> Duration {
        let Shared { limits, seeds, .. } = &*self.shared;
        limits.backoff.pause(self.attempts, &mut seeds.entropy())
    }

    /// Whether an attempt after this pause would start after the time allowed.
    fn is_late(&self, pause: Duration) -> bool {
        let Shared { limits, clock, .. } = &*self.shared;
        limits.within.is_some_and(|within| clock.now().saturating_add(pause).saturating_since(self.first) > within)
    }
}

impl<P, S: Service<Req>, Req, C, V> fmt::Debug for RetryFuture<P, S, Req, C, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RetryFuture").finish_non_exhaustive()
    }
}
