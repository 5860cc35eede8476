//! From a request to a slot at an endpoint whose service is ready.

use std::task::{Context, Poll};

use lb_core::{Axis, Clock};
use lb_policy::{Entropy, PickCx, PickError, Policy, Ticket, Tried, Uid};
use tower_service::Service;

use super::Shared;
use super::guard::{Events, Guard};
use super::inspect::Inspect;
use crate::trail;

/// What a search has found.
pub(super) enum Found<S, C: Clock, V: Events<S>, E> {
    /// A slot, and a service that is ready.
    Ready(S, Guard<S, C, V>),
    /// A slot, and a service that says it will never be.
    Broken(Guard<S, C, V>, E),
    /// Nobody.
    Nobody(PickError),
}

/// The services that were drawn and were not ready. They keep their place in whatever line they stand in, but hold no
/// slot: a request that waits at four endpoints is in flight at none.
pub(super) struct Search<S> {
    /// The first pick, until it is looked at.
    picked: Option<Result<Ticket<S>, PickError>>,
    // Allocates only once somebody is not ready.
    unready: Vec<(Uid, S)>,
}

impl<S> Search<S> {
    pub(super) const fn new(picked: Option<Result<Ticket<S>, PickError>>) -> Self {
        Self { picked, unready: Vec::new() }
    }

    /// The first pick, if it still stands.
    fn picked(&mut self) -> Option<Result<Ticket<S>, PickError>> {
        let picked = self.picked.take()?;
        let stands = |ticket: &Ticket<S>| !ticket.endpoint().state().is_set(Axis::Removed);
        picked.as_ref().map_or(true, stands).then_some(picked)
    }

    /// What became of the search when the time to wait is over.
    pub(super) fn timed_out(&self) -> PickError {
        let mut census = lb_policy::EndpointCounts::default();
        census.full = u32::try_from(self.unready.len()).unwrap_or(u32::MAX);
        PickError::AllFull(census)
    }

    /// Looks for a ready service: among those waited for first, then among others, as the policy draws them.
    ///
    /// Pending only if somebody was drawn who may become ready, who then wakes us.
    pub(super) fn poll<P, I, O, C, V, Req>(
        &mut self,
        shared: &Shared<P, S, I, O, C, V>,
        entropy: &mut Entropy,
        request: &Req,
        cx: &mut Context<'_>,
    ) -> Poll<Found<S, C, V, S::Error>>
    where
        P: Policy,
        S: Service<Req> + Clone + Send + Sync + 'static,
        I: Inspect<Req>,
        C: Clock + Clone,
        V: Events<S>,
    {
        let guard = |ticket: Ticket<S>| {
            trail::note_pick(ticket.endpoint().uid());
            Guard::start(ticket, shared.clock.clone(), shared.events.clone(), shared.is_timed())
        };
        let mut place = 0;
        while let Some((uid, service)) = self.unready.get_mut(place) {
            let Poll::Ready(ready) = service.poll_ready(cx) else {
                place += 1;
                continue;
            };
            let uid = *uid;
            let (_, service) = self.unready.remove(place);
            // Full or gone meanwhile: then it is one of many again.
            if let Some(ticket) = shared.selector.pick_at(uid, shared.now()) {
                return Poll::Ready(found(service, guard(ticket), ready));
            }
        }
        while self.unready.len() < MAX_UNREADY {
            let picked = self.picked().unwrap_or_else(|| {
                let (tried, excluded);
                let mut pick = PickCx::new(shared.now(), &mut *entropy);
                shared.inspect.inspect(request, &mut pick);
                tried = trail::tried();
                if tried.is_some() || !self.unready.is_empty() {
                    excluded = self.exclude(pick.tried, tried.as_deref());
                    pick.tried = &excluded;
                }
                shared.selector.pick(&mut pick)
            });
            let ticket = match picked {
                Ok(ticket) => ticket,
                Err(error) if self.unready.is_empty() => return Poll::Ready(Found::Nobody(error)),
                Err(_) => break,
            };
            let mut service = ticket.endpoint().value().clone();
            match service.poll_ready(cx) {
                Poll::Ready(ready) => return Poll::Ready(found(service, guard(ticket), ready)),
                Poll::Pending => self.unready.push((ticket.endpoint().uid(), service)),
            }
        }
        Poll::Pending
    }

    /// Those tried and those not ready.
    #[cold]
    fn exclude(&self, tried: &Tried, others: Option<&Tried>) -> Tried {
        let mut tried = others.map_or_else(|| tried.clone(), |others| trail::union(tried, others));
        for (uid, _) in &self.unready {
            tried.push(*uid);
        }
        tried
    }
}

fn found<S, C, V, E>(service: S, guard: Guard<S, C, V>, ready: Result<(), E>) -> Found<S, C, V, E>
where
    C: Clock,
    V: Events<S>,
{
    match ready {
        Ok(()) => Found::Ready(service, guard),
        Err(error) => Found::Broken(guard, error),
    }
}

/// How many services a request is drawn to before it only waits for them. If one in five is ready, one request in a
/// thousand does not find it; a look at all of a large cluster would cost every waiting request that much at each wake-up.
const MAX_UNREADY: usize = 32;
