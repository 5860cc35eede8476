//! The same upstream in this crate's words.

use lb_core::{Axis, Mono};
use lb_policy::{BuiltIn, Cluster, Entropy, Identity, Member, PickCx, Selector, Ticket, Tried, Update};

use crate::program::{Role, Upstream};

/// A cluster and a selector of the policy.
pub(crate) struct Ours {
    selector: Selector<BuiltIn, usize>,
    refuses: Vec<bool>,
    entropy: Entropy,
}

impl Ours {
    /// The upstream under the names that nginx has for its endpoints.
    pub(crate) fn new(policy: &str, upstream: &Upstream, names: &[String]) -> Self {
        let cluster = Cluster::new("nginx");
        let members =
            upstream.servers.iter().zip(names).enumerate().map(|(place, (server, name))| {
                Member::new(Identity::literal(name.as_str()), place).weight(server.weight)
            });
        cluster.apply(Update::Reset(members.collect()), Mono::ZERO);
        for (endpoint, server) in cluster.endpoints().iter().zip(&upstream.servers) {
            cluster.set(endpoint.uid(), Axis::Maintenance, server.role == Role::IsDown, NOW);
        }
        cluster.maintain(NOW);
        let policy = BuiltIn::from_name(policy, []).expect("a policy of this crate");
        Self {
            selector: cluster.selector(policy),
            refuses: upstream.servers.iter().map(|server| server.role == Role::Refuses).collect(),
            entropy: Entropy::seeded(1),
        }
    }

    /// The place of the endpoint that is given a request to hold.
    #[track_caller]
    pub(crate) fn hold(&mut self) -> (usize, Ticket<usize>) {
        let ticket = self.selector.pick(&mut PickCx::new(NOW, &mut self.entropy)).expect("somebody serves");
        (*ticket.endpoint().value(), ticket)
    }

    /// The place of the endpoint that serves a request of this key: a refusing one is found by trying.
    #[track_caller]
    pub(crate) fn ask(&mut self, key: Option<&[u8]>) -> usize {
        let mut tried = Tried::new();
        loop {
            let mut cx = PickCx::new(NOW, &mut self.entropy).key(key).tried(&tried);
            let ticket = self.selector.pick(&mut cx).expect("somebody serves");
            let endpoint = ticket.endpoint();
            let place = *endpoint.value();
            if !self.refuses[place] {
                return place;
            }
            tried.push(endpoint.uid());
        }
    }
}

/// Long enough after the members were listed for tables to follow what came then.
const NOW: Mono = Mono::from_millis(1_000);
