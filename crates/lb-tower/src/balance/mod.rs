//! Choosing an endpoint for each request, and seeing the request through.
//!
//! The simple answer, tower's own `Balance`, chooses in `poll_ready`: before it has seen the request, so that neither
//! a hash of it, nor stickiness, nor "not the one already tried" can have a say; and what was ready then may be gone
//! when the request comes. Here `poll_ready` says yes and `call` chooses, with the request at hand. The chosen
//! service's own `poll_ready` runs inside the response future; one that is not ready counts as full, and another is
//! drawn. If none of those drawn is ready, the first to become so gets the request.
//!
//! ```text
//!  Pick ── a ready one ──▶ Call ──▶ response head: the guard goes into the response
//!   │ ▲                     └─────▶ error: the attempt is over
//!   │ └── every endpoint full, queued ──▶ Queue: no place left, or none free in time
//!   └── nobody, or none ready in time ──▶ NoEndpoint
//! ```
//!
//! Where everybody is full by their `max_in_flight`, a request waits in its cluster's [`Queue`](lb_policy::Queue) if
//! [`Cluster::set_queue`](lb_policy::Cluster::set_queue) made one: first come, first served, whatever clone or selector of
//! the cluster it came through.
//!
//! What this does not do: it starts no task. Ejections and timers are driven by the caller, see [`Passive`](crate::Passive).

mod error;
mod future;
mod guard;
mod inspect;
mod observe;
mod queue_wait;
mod search;

use std::fmt;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use lb_core::{Clock, Mono, SystemClock};
use lb_policy::{Entropy, Explanation, PickCx, PickError, Policy, Reader, Selector, Ticket};
use tower_service::Service;

pub use self::error::{Error, QueueError};
pub use self::future::BalanceFuture;
pub use self::guard::{Events, Guard};
pub use self::inspect::{Inspect, KeyFn, Plain, by_key};
pub use self::observe::{AsReset, Attempt, ByResponse, Classified, Finish, Immediate, Observe};
pub use crate::cause::ClassifyError;
use crate::clock::system_clock;
use crate::seeds::Seeds;
use crate::trail;

/// Sends each request to an endpoint of its cluster; `S` is the service that every endpoint carries as its value.
///
/// Always ready. Clones share everything but their random numbers, and cost two counter updates: on a proxy with a
/// thread per core, build one per thread, so that those counters stay in its cache. From its second call on each keeps
/// the policy's table at hand ([`Reader`]), which makes a pick four nanoseconds cheaper; a clone that serves a single request
/// never pays for that. The response future is `Send` if the parts are.
///
/// | part | its question | default |
/// |---|---|---|
/// | `P` | which policy picks | the selector's |
/// | `I` | what does a pick need to know of the request | [`Plain`]: nothing |
/// | `O` | what was the answer, and when is it over | [`ByResponse`]: what the response type says |
/// | `C` | what time is it | [`system_clock`] |
/// | `V` | who is told | nobody |
pub struct Balance<P: Policy, S, I = Plain, O = ByResponse, C = SystemClock, V = ()> {
    shared: Arc<Shared<P, S, I, O, C, V>>,
    entropy: Entropy,
    way: Way<P, S>,
}

impl<P: Policy, S: Clone + Send + Sync + 'static> Balance<P, S> {
    /// Picks with this selector; all parts are the defaults.
    pub fn new(selector: Selector<P, S>) -> Self {
        Self::builder(selector).build()
    }

    /// Picks with this selector; the parts can be chosen.
    pub fn builder(selector: Selector<P, S>) -> BalanceBuilder<P, S> {
        BalanceBuilder {
            selector,
            inspect: Plain,
            observe: ByResponse::new(),
            clock: system_clock(),
            events: (),
            ready_within: READY_WITHIN,
            member_within: Duration::ZERO,
            seed: None,
        }
    }
}

impl<P: Policy, S: Send + Sync + 'static, I, O, C: Clock, V> Balance<P, S, I, O, C, V> {
    /// Where a call of this very clone would send the request now, and why. Nothing is spent; see [`Selector::explain`].
    ///
    /// What is not explained: whether the picked service is ready, and how long a line of waiting requests is.
    ///
    /// ```
    /// use lb_core::Clock;
    /// use lb_policy::{Cluster, Maglev, Member, Update};
    /// use lb_tower::{Balance, by_key, system_clock};
    /// # use tower::service_fn;
    ///
    /// let cluster = Cluster::new("carts");
    /// let shards = ["a:80", "b:80"].map(|name| Member::new(name, service_fn(async |user: String| Ok::<_, std::io::Error>(user))));
    /// cluster.apply(Update::Reset(shards.into()), system_clock().now());
    /// let balance = Balance::builder(cluster.selector(Maglev::new())).inspect(by_key(|user: &String| Some(user.as_bytes()))).build();
    ///
    /// let explanation = balance.explain(&String::from("ada"));
    /// println!("{explanation}");
    /// # assert!(explanation.chosen().is_some());
    /// ```
    pub fn explain<Req>(&self, request: &Req) -> Explanation
    where
        I: Inspect<Req>,
    {
        let mut entropy = self.entropy.clone();
        let merged;
        let mut pick = PickCx::new(self.shared.now(), &mut entropy);
        self.shared.inspect.inspect(request, &mut pick);
        if let Some(tried) = trail::tried() {
            merged = trail::union(pick.tried, &tried);
            pick.tried = &merged;
        }
        self.shared.selector.explain(&pick)
    }
}

impl<P: Policy, S, I, O, C, V> Clone for Balance<P, S, I, O, C, V> {
    fn clone(&self) -> Self {
        Self { shared: Arc::clone(&self.shared), entropy: self.shared.seeds.entropy(), way: Way::Untrodden }
    }
}

impl<P: Policy, S, I, O, C, V> fmt::Debug for Balance<P, S, I, O, C, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Balance").finish_non_exhaustive()
    }
}

impl<P, S, I, O, C, V, Req> Service<Req> for Balance<P, S, I, O, C, V>
where
    P: Policy,
    S: Service<Req> + Clone + Send + Sync + 'static,
    I: Inspect<Req>,
    O: Observe<S::Response, S::Error, Guard<S, C, V>>,
    C: Clock + Clone,
    V: Events<S>,
{
    type Response = O::Output;
    type Error = Error<S::Error>;
    type Future = BalanceFuture<P, S, I, O, C, V, Req>;

    fn poll_ready(&mut self, _cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Req) -> Self::Future {
        let tried = trail::tried();
        let merged;
        let mut pick = PickCx::new(self.shared.now(), &mut self.entropy);
        self.shared.inspect.inspect(&request, &mut pick);
        if let Some(tried) = &tried {
            merged = trail::union(pick.tried, tried);
            pick.tried = &merged;
        }
        // Others wait for the same endpoints: it queues behind them.
        let queued_behind_others = self.shared.selector.queue().must_queue() && !is_special(&pick);
        let picked = (!queued_behind_others).then(|| self.way.pick(&self.shared.selector, &mut pick));
        let entropy = Entropy::seeded(self.entropy.next_u64());
        BalanceFuture::new(Arc::clone(&self.shared), entropy, request, picked)
    }
}

/// Whether a request may not go, or may go besides, where others may.
fn is_special(pick: &PickCx<'_>) -> bool {
    !pick.tried.is_empty() || pick.preferred.is_some()
}

/// How a service gets at the table of its policy.
enum Way<P: Policy, S> {
    /// It has served nothing yet.
    Untrodden,
    /// It has served one request, as many clones never do more.
    Trodden,
    /// It is kept.
    Paved(Reader<P, S>),
}

impl<P: Policy, S: Send + Sync + 'static> Way<P, S> {
    fn pick(&mut self, selector: &Selector<P, S>, cx: &mut PickCx<'_>) -> Result<Ticket<S>, PickError> {
        match self {
            Self::Paved(reader) => return reader.pick(cx),
            Self::Trodden => *self = Self::Paved(selector.reader()),
            Self::Untrodden => *self = Self::Trodden,
        }
        selector.pick(cx)
    }
}

/// The parts of a [`Balance`].
#[derive(Debug)]
pub struct BalanceBuilder<P: Policy, S, I = Plain, O = ByResponse, C = SystemClock, V = ()> {
    selector: Selector<P, S>,
    inspect: I,
    observe: O,
    clock: C,
    events: V,
    ready_within: Duration,
    member_within: Duration,
    seed: Option<u64>,
}

impl<P: Policy, S, I, O, C, V> BalanceBuilder<P, S, I, O, C, V> {
    /// What picks are told about requests.
    pub fn inspect<J>(self, inspect: J) -> BalanceBuilder<P, S, J, O, C, V> {
        let Self { selector, observe, clock, events, ready_within, member_within, seed, .. } = self;
        BalanceBuilder { selector, inspect, observe, clock, events, ready_within, member_within, seed }
    }

    /// What answers are, and when they are over.
    pub fn observe<N>(self, observe: N) -> BalanceBuilder<P, S, I, N, C, V> {
        let Self { selector, inspect, clock, events, ready_within, member_within, seed, .. } = self;
        BalanceBuilder { selector, inspect, observe, clock, events, ready_within, member_within, seed }
    }

    /// Tells the time; default [`system_clock`]. Whoever else uses the cluster must be told the same time.
    pub fn clock<D>(self, clock: D) -> BalanceBuilder<P, S, I, O, D, V> {
        let Self { selector, inspect, observe, events, ready_within, member_within, seed, .. } = self;
        BalanceBuilder { selector, inspect, observe, clock, events, ready_within, member_within, seed }
    }

    /// Is told what becomes of attempts.
    pub fn events<W>(self, events: W) -> BalanceBuilder<P, S, I, O, C, W> {
        let Self { selector, inspect, observe, clock, ready_within, member_within, seed, .. } = self;
        BalanceBuilder { selector, inspect, observe, clock, events, ready_within, member_within, seed }
    }

    /// How long a request waits for a first member while the cluster is empty, as it is until discovery has its first result;
    /// default zero: it fails at once. Outside a tokio runtime it does not wait.
    pub fn member_within(mut self, limit: Duration) -> Self {
        self.member_within = limit;
        self
    }

    /// How long a request waits when those it was drawn to are not ready; default 5 s. Zero does not wait. Outside a tokio runtime
    /// there is no timer that could end the wait, so a request does not wait either.
    pub fn ready_within(mut self, limit: Duration) -> Self {
        self.ready_within = limit;
        self
    }

    /// Starts the random numbers from this seed, for a run that can be repeated; default anywhere.
    pub fn seed(mut self, seed: u64) -> Self {
        self.seed = Some(seed);
        self
    }

    /// The service. It is [`Clone`], and `Send` and `Sync` if its parts are.
    pub fn build(self) -> Balance<P, S, I, O, C, V>
    where
        V: Events<S>,
    {
        let Self { selector, inspect, observe, clock, events, ready_within, member_within, seed } = self;
        let seeds = seed.map_or_else(Seeds::new, Seeds::from_seed);
        let entropy = seeds.entropy();
        let are_events_timed = events.needs_time();
        let shared =
            Shared { selector, inspect, observe, clock, events, ready_within, member_within, are_events_timed, seeds };
        let shared = Arc::new(shared);
        Balance { shared, entropy, way: Way::Untrodden }
    }
}

#[cfg(test)]
mod tests;

/// As long as a cluster's own queue would hold a request.
const READY_WITHIN: Duration = Duration::from_secs(5);

#[derive(Debug)]
struct Shared<P: Policy, S, I, O, C, V> {
    selector: Selector<P, S>,
    inspect: I,
    observe: O,
    clock: C,
    events: V,
    ready_within: Duration,
    member_within: Duration,
    /// The events use the time.
    are_events_timed: bool,
    seeds: Seeds,
}

impl<P: Policy, S: Send + Sync + 'static, I, O, C: Clock, V> Shared<P, S, I, O, C, V> {
    /// Whether an attempt has any use for the time.
    fn is_timed(&self) -> bool {
        self.are_events_timed || self.selector.needs_time()
    }

    /// The time, if there is any use for it: reading it is most of the cost of a call.
    fn now(&self) -> Mono {
        if self.is_timed() { self.clock.now() } else { Mono::ZERO }
    }
}
