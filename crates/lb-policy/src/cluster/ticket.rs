//! One attempt's hold on its endpoint.
//!
//! A count that goes up in one place and down in another leaks on any path that was forgotten, and cancellation is the
//! common case in a proxy. So taking a slot yields a value, and dropping the value gives the slot back, once.

use std::sync::Arc;

use lb_core::{Class, End, Mono};

use crate::endpoint::Endpoint;
use crate::estimate::latency::{LatencySampler, Sample};

/// A slot in flight at one endpoint, from the pick until the attempt has ended.
///
/// Report the response head with [`on_head`](Self::on_head) and the end of both bodies with [`on_end`](Self::on_end).
/// A ticket that is merely dropped gives its slot back and is no latency sample, since it has no clock; a caller that has one
/// should report [`Class::Cancelled`].
#[derive(Debug)]
#[must_use = "dropping it gives the slot back"]
pub struct Ticket<T> {
    slot: Slot<T>,
    started: Mono,
    sampler: LatencySampler,
    head: bool,
}

impl<T> Ticket<T> {
    pub(crate) fn new(endpoint: Arc<Endpoint<T>>, started: Mono, sampler: LatencySampler) -> Self {
        Self { slot: Slot(endpoint), started, sampler, head: false }
    }

    /// Where the request goes.
    #[must_use]
    pub fn endpoint(&self) -> &Arc<Endpoint<T>> {
        &self.slot.0
    }

    /// When it was picked.
    #[must_use]
    pub fn started(&self) -> Mono {
        self.started
    }

    /// The response head came, or it is certain that none will. Counts the attempt and teaches its latency, once:
    /// later calls change nothing.
    pub fn on_head(&mut self, class: Class, now: Mono) {
        if !std::mem::replace(&mut self.head, true) {
            let state = &self.slot.0.state;
            state.count(class.is_failure());
            self.sampler.apply(state, Sample::of(class, now.saturating_since(self.started)), now);
        }
    }

    /// Both bodies have ended; the slot is free again. An upstream that broke off counts as slow, however fast its
    /// head was; an attempt that ended without any head counts as abandoned.
    pub fn on_end(mut self, end: End, now: Mono) {
        match end {
            End::Completed => {}
            End::UpstreamAborted if self.head => {
                let took = now.saturating_since(self.started);
                self.sampler.apply(&self.slot.0.state, Sample::Failed(took), now);
            }
            End::UpstreamAborted => self.on_head(Class::Reset, now),
            End::ClientGone | End::Cancelled => self.on_head(Class::Cancelled, now),
        }
    }
}

/// The slot itself; apart from the ticket so that `on_end` can take the ticket by value.
#[derive(Debug)]
struct Slot<T>(Arc<Endpoint<T>>);

impl<T> Drop for Slot<T> {
    fn drop(&mut self) {
        self.0.release();
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use lb_core::{Acquire, EndpointState, InFlightLimit};

    use super::*;
    use crate::endpoint::Member;
    use crate::estimate::ladder::Ladders;
    use crate::estimate::latency::read;
    use crate::identity::{Identity, Uid};
    use crate::signals::{Learning, Signals};

    fn ticket(started: Mono) -> (Arc<Endpoint<()>>, Ticket<()>) {
        let endpoint = Arc::new(Endpoint {
            uid: Uid::new(1),
            state: Arc::new(EndpointState::new(InFlightLimit::NONE)),
            lane: Ladders::default().take(1),
            queue: Arc::default(),
            member: Member::new(Identity::literal("a"), ()),
        });
        assert_eq!(endpoint.state.acquire(), Acquire::Taken { in_flight: 1 });
        let sampler = LatencySampler::new(Signals::LATENCY, Learning::DEFAULT);
        (Arc::clone(&endpoint), Ticket::new(endpoint, started, sampler))
    }

    fn learned(endpoint: &Endpoint<()>, now: Mono) -> Option<f32> {
        read(endpoint.state.latency_cell(), now).map(|estimate| estimate.ms)
    }

    #[test]
    fn every_way_to_end_gives_the_slot_back_once() {
        let now = Mono::from_millis(10);
        for end in [None, Some(End::Completed), Some(End::UpstreamAborted), Some(End::ClientGone), Some(End::Cancelled)]
        {
            let (endpoint, ticket) = ticket(Mono::ZERO);
            assert_eq!(endpoint.state.in_flight(), 1);
            match end {
                Some(end) => ticket.on_end(end, now),
                None => drop(ticket),
            }
            assert_eq!(endpoint.state.in_flight(), 0, "{end:?}");
        }
    }

    #[test]
    fn the_head_counts_once() {
        let (endpoint, mut ticket) = ticket(Mono::ZERO);
        ticket.on_head(Class::Status(200), Mono::from_millis(20));
        ticket.on_head(Class::Status(500), Mono::from_millis(30));
        assert_eq!((endpoint.state.requests(), endpoint.state.failures()), (1, 0));
        assert_eq!(learned(&endpoint, Mono::from_millis(30)), Some(20.0));
        ticket.on_end(End::Completed, Mono::ZERO.saturating_add(Duration::from_secs(3_600)));
        assert_eq!(learned(&endpoint, Mono::from_millis(30)), Some(20.0), "an hour of events is no latency");
    }

    #[test]
    fn neither_failure_nor_abort_nor_cancellation_looks_fast() {
        let now = Mono::from_millis(1);
        for class in [Class::Status(503), Class::ConnectError, Class::Reset, Class::InvalidResponse, Class::Timeout] {
            let (endpoint, mut ticket) = ticket(Mono::ZERO);
            ticket.on_head(class, now);
            assert_eq!(learned(&endpoint, now), Some(5_000.0), "{class:?}");
        }
        let (endpoint, mut aborted) = ticket(Mono::ZERO);
        aborted.on_head(Class::Status(200), now);
        aborted.on_end(End::UpstreamAborted, now);
        assert_eq!(learned(&endpoint, now), Some(5_000.0));

        let (endpoint, mut first) = ticket(Mono::ZERO);
        first.on_head(Class::Status(200), Mono::from_millis(40));
        assert_eq!(endpoint.state.acquire(), Acquire::Taken { in_flight: 2 });
        let second = Ticket::new(Arc::clone(&endpoint), Mono::from_millis(40), first.sampler);
        second.on_end(End::ClientGone, Mono::from_millis(41));
        assert_eq!(learned(&endpoint, Mono::from_millis(40)), Some(40.0));
    }
}
