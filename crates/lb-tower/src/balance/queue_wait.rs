//! A request's way through its cluster's queue, if there is one and every endpoint is full.

use std::task::{Context, Poll};

use lb_core::Clock;
use lb_policy::{Entropy, PickCx, PickError, Policy, QueueExit, QueueFull, QueueTicket};
use tower_service::Service;

use super::guard::Events;
use super::inspect::Inspect;
use super::search::{Found, Search};
use super::{Shared, is_special};
use crate::trail;

/// A request's place in the queue: none, until it finds every endpoint full or others waiting.
#[derive(Debug)]
pub(super) struct QueueWait {
    place: Option<QueueTicket>,
    /// Others waited when it arrived, so it has not picked yet.
    queued_behind_others: bool,
}

/// What came of looking, or why it cannot even wait.
type Looked<S, C, V, E> = Result<Found<S, C, V, E>, QueueFull>;

impl QueueWait {
    pub(super) const fn new(queued_behind_others: bool) -> Self {
        Self { place: None, queued_behind_others }
    }

    /// Whether the request is queued.
    pub(super) const fn is_waiting(&self) -> bool {
        self.place.is_some()
    }

    /// The queue's timeout has passed.
    pub(super) fn time_out<C: Clock>(&mut self, clock: &C) {
        self.leave(QueueExit::TimedOut, clock);
    }

    /// Looks for a ready service, when it is the request's turn to.
    ///
    /// Pending if it is queued, or was drawn to a service that may become ready.
    pub(super) fn poll<P, S, I, O, C, V, Req>(
        &mut self,
        search: &mut Search<S>,
        shared: &Shared<P, S, I, O, C, V>,
        entropy: &mut Entropy,
        request: &Req,
        cx: &mut Context<'_>,
    ) -> Poll<Looked<S, C, V, S::Error>>
    where
        P: Policy,
        S: Service<Req> + Clone + Send + Sync + 'static,
        I: Inspect<Req>,
        C: Clock + Clone,
        V: Events<S>,
    {
        let queue = shared.selector.queue();
        if self.place.is_none() {
            if !std::mem::take(&mut self.queued_behind_others) || queue.size() == 0 {
                match search.poll(shared, entropy, request, cx) {
                    Poll::Ready(Found::Nobody(PickError::AllFull(_))) if queue.size() > 0 => {}
                    polled => return polled.map(Ok),
                }
            }
            let now = shared.clock.now();
            let mut pick = PickCx::new(now, entropy);
            shared.inspect.inspect(request, &mut pick);
            let is_special = is_special(&pick) || trail::is_scoped();
            match queue.join(is_special, now) {
                Ok(place) => self.place = Some(place),
                Err(full) => return Poll::Ready(Err(full)),
            }
        }
        let Some(place) = &mut self.place else { return Poll::Pending };
        if !place.poll_turn(cx.waker()) {
            return Poll::Pending;
        }
        let polled = search.poll(shared, entropy, request, cx);
        match &polled {
            Poll::Ready(Found::Nobody(PickError::AllFull(_))) => {
                place.yield_turn();
                return Poll::Pending;
            }
            Poll::Ready(Found::Nobody(_)) => self.leave(QueueExit::NoEndpoint, &shared.clock),
            // Drawn to a service that is not ready: it waits for that one from now on.
            Poll::Ready(_) | Poll::Pending => self.leave(QueueExit::Served, &shared.clock),
        }
        polled.map(Ok)
    }

    fn leave<C: Clock>(&mut self, exit: QueueExit, clock: &C) {
        if let Some(place) = self.place.take() {
            place.leave(exit, clock.now());
        }
    }
}
