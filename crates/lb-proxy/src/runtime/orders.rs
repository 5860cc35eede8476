//! What operators have ordered about endpoints.
//!
//! An order holds until it is taken back: it survives reloads, other addresses of its endpoint's name, its endpoint's
//! absence, and whatever checks and traffic show. So it is kept here by cluster and name, apart from the configuration,
//! and written to axes that nothing else writes ([`Axis::DrainOrdered`], [`Axis::Maintenance`]).

use std::collections::BTreeMap;
use std::sync::Arc;

use lb_core::Axis;

/// An order about an endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// Finish old work, take no new; sticky requests still go there.
    Drain,
    /// Take nothing at all.
    Maintenance,
}

impl Order {
    /// Every order.
    pub const ALL: [Self; 2] = [Self::Drain, Self::Maintenance];

    /// The axis that carries it.
    pub(crate) const fn axis(self) -> Axis {
        match self {
            Self::Drain => Axis::DrainOrdered,
            Self::Maintenance => Axis::Maintenance,
        }
    }
}

/// The orders in force, by cluster and endpoint.
#[derive(Debug, Default)]
pub(crate) struct Orders(BTreeMap<(Arc<str>, Arc<str>), Order>);

impl Orders {
    /// Gives an order about an endpoint, in place of the one before, or takes that back.
    pub(crate) fn set(&mut self, cluster: &str, endpoint: &str, order: Option<Order>) {
        let key = (cluster.into(), endpoint.into());
        match order {
            Some(order) => self.0.insert(key, order),
            None => self.0.remove(&key),
        };
    }

    /// The axes of an endpoint that orders decide, and whether each is set.
    pub(crate) fn axes(&self, cluster: &Arc<str>, endpoint: &Arc<str>) -> [(Axis, bool); Order::ALL.len()] {
        let ordered = self.0.get(&(Arc::clone(cluster), Arc::clone(endpoint)));
        Order::ALL.map(|order| (order.axis(), ordered == Some(&order)))
    }
}
