//! The balancer under test.

use lb_core::Mono;
use lb_policy::{BuiltIn, Cluster, Entropy, Identity, Member, PickCx, Selector, Ticket, Tried, Uid, Update};

use crate::seed::Seed;

/// One process that balances: a production cluster of equal endpoints, a selector over it, and its own randomness.
///
/// Endpoints carry their number, from zero.
#[derive(Debug)]
pub struct Client {
    cluster: Cluster<usize>,
    selector: Selector<BuiltIn, usize>,
    entropy: Entropy,
    uids: Vec<Uid>,
}

impl Client {
    /// A client of `endpoints` endpoints, all of weight one.
    #[must_use]
    pub fn new(policy: BuiltIn, endpoints: usize, seed: Seed) -> Self {
        let cluster = Cluster::new("simulated");
        cluster.apply(Update::Reset(members("endpoint", 0..endpoints)), Mono::ZERO);
        let selector = cluster.selector(policy);
        let uids = cluster.endpoints().iter().map(|endpoint| endpoint.uid()).collect();
        Self { cluster, selector, entropy: seed.entropy(), uids }
    }

    /// The same cluster under another policy.
    #[must_use]
    pub fn with(mut self, policy: BuiltIn) -> Self {
        self.selector = self.cluster.selector(policy);
        self
    }

    /// The cluster.
    #[must_use]
    pub fn cluster(&self) -> &Cluster<usize> {
        &self.cluster
    }

    /// The selector.
    #[must_use]
    pub fn selector(&self) -> &Selector<BuiltIn, usize> {
        &self.selector
    }

    /// Its random numbers.
    pub fn entropy(&mut self) -> &mut Entropy {
        &mut self.entropy
    }

    /// Chooses for a request without a key; none if no endpoint may take it.
    pub fn pick(&mut self, now: Mono) -> Option<Ticket<usize>> {
        self.selector.pick(&mut PickCx::new(now, &mut self.entropy)).ok()
    }

    /// Chooses for a request that has tried these; none if no other may take it.
    pub fn pick_untried(&mut self, tried: &Tried, now: Mono) -> Option<Ticket<usize>> {
        self.selector.pick(&mut PickCx::new(now, &mut self.entropy).tried(tried)).ok()
    }

    /// Chooses for a request with this key; none if no endpoint may take it.
    pub fn pick_for(&mut self, key: &[u8], now: Mono) -> Option<Ticket<usize>> {
        self.selector.pick(&mut PickCx::new(now, &mut self.entropy).key(Some(key))).ok()
    }

    /// Takes a slot at this endpoint, past the policy.
    pub fn pick_at(&mut self, endpoint: usize, now: Mono) -> Option<Ticket<usize>> {
        self.selector.pick_at(*self.uids.get(endpoint)?, now)
    }

    /// The number by which the cluster knows this endpoint.
    #[must_use]
    pub fn uid(&self, endpoint: usize) -> Option<Uid> {
        self.uids.get(endpoint).copied()
    }
}

/// Members of weight one, named after `fleet` and their number.
#[must_use]
pub fn members(fleet: &str, numbers: impl IntoIterator<Item = usize>) -> Vec<Member<usize>> {
    let member = |number| Member::new(Identity::literal(endpoint_name(fleet, number)), number);
    numbers.into_iter().map(member).collect()
}

/// The name of an endpoint, `fleet-7:80`.
#[must_use]
pub fn endpoint_name(fleet: &str, number: usize) -> String {
    format!("{fleet}-{number}:80")
}
