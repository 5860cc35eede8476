//! A request's way through its cluster's queue, if there is one and everybody is full.

use std::task::{Context, Poll};

use lb_core::Clock;
use lb_policy::{Entropy, Left, PickCx, PickError, Place, Policy, QueueFull};
use tower_service::Service;

use super::guard::Events;
use super::inspect::Inspect;
use super::search::{Found, Search};
use super::{Shared, is_special};

/// Where a request stands: nowhere, until it finds everybody full or others waiting.
#[derive(Debug)]
pub(super) struct Line {
    place: Option<Place>,
    /// Others waited when it came, so that it has not picked yet.
    is_held_up: bool,
}

/// What came of looking, or why it cannot even wait.
type Looked<S, C, V, E> = Result<Found<S, C, V, E>, QueueFull>;

impl Line {
    pub(super) const fn new(is_held_up: bool) -> Self {
        Self { place: None, is_held_up }
    }

    /// Whether the request stands in line.
    pub(super) const fn is_waiting(&self) -> bool {
        self.place.is_some()
    }

    /// Its time is over.
    pub(super) fn time_out<C: Clock>(&mut self, clock: &C) {
        self.leave(Left::TimedOut, clock);
    }

    /// Looks for a ready service, when it is the request's turn to.
    ///
    /// Pending if it stands in line, or was drawn to somebody who may become ready.
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
            if !std::mem::take(&mut self.is_held_up) || queue.size() == 0 {
                match search.poll(shared, entropy, request, cx) {
                    Poll::Ready(Found::Nobody(PickError::AllFull(_))) if queue.size() > 0 => {}
                    polled => return polled.map(Ok),
                }
            }
            let now = shared.clock.now();
            let mut pick = PickCx::new(now, entropy);
            shared.inspect.inspect(request, &mut pick);
            match queue.join(is_special(&pick), now) {
                Ok(place) => self.place = Some(place),
                Err(full) => return Poll::Ready(Err(full)),
            }
        }
        let Some(place) = &mut self.place else { return Poll::Pending };
        if !place.take_turn(cx.waker()) {
            return Poll::Pending;
        }
        let polled = search.poll(shared, entropy, request, cx);
        match &polled {
            Poll::Ready(Found::Nobody(PickError::AllFull(_))) => {
                place.pass();
                return Poll::Pending;
            }
            Poll::Ready(Found::Nobody(_)) => self.leave(Left::NoEndpoint, &shared.clock),
            // Drawn to somebody who is not ready, it waits for that one from now on.
            Poll::Ready(_) | Poll::Pending => self.leave(Left::Served, &shared.clock),
        }
        polled.map(Ok)
    }

    fn leave<C: Clock>(&mut self, left: Left, clock: &C) {
        if let Some(place) = self.place.take() {
            place.leave(left, clock.now());
        }
    }
}
