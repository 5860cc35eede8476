//! The tables of rate limits. Cells can be shared where name, key and memory of a limit are the same.

use std::sync::Arc;

use lb_config::{self as valid, Config, LimitAlgorithm, LimitKey, Rate, Template};
use lb_core::Mono;
use lb_ratelimit::{Keyed, Quota, Rule};

use super::gates::Gates;
use crate::error::EngineError;

/// What makes a table the same one in the next configuration.
#[derive(Clone, PartialEq, Eq)]
struct LimiterId {
    name: Arc<str>,
    /// The value of `quotas` that has the table, with what is looked up.
    plan: Option<(Template, Arc<str>)>,
    key: LimitKey,
    memory_bytes: u64,
}

impl LimiterId {
    /// `logins`, `api[pro]`.
    fn shown(&self) -> Arc<str> {
        match &self.plan {
            None => Arc::clone(&self.name),
            Some((_, value)) => format!("{}[{value}]", self.name).into(),
        }
    }
}

/// The tables of a configuration.
#[derive(Default)]
pub(crate) struct Limiters {
    tables: Vec<(LimiterId, Arc<Keyed>)>,
    gates: Gates,
}

/// A value of `quotas`, and its table.
pub(crate) type PlanTable = (Arc<str>, Arc<Keyed>);

/// The tables of one limit.
#[derive(Clone)]
pub(crate) struct Tables {
    /// Of requests without a plan.
    pub(crate) plain: Arc<Keyed>,
    /// What is looked up, and the tables of the values that are listed.
    pub(crate) plans: Vec<(Template, Vec<PlanTable>)>,
}

/// All limits of a configuration.
pub(crate) fn all_limits(config: &Config) -> impl Iterator<Item = &valid::RateLimit> {
    let of_routes = config.routes.iter().flat_map(|route| &route.options.rate_limits);
    let of_listeners = config.listeners.iter().flat_map(|listener| &listener.rate_limits);
    of_routes.chain(of_listeners).chain(config.clusters.iter().flat_map(|cluster| &cluster.rate_limits))
}

/// The tables that a limit needs, and the rule of each: its own, then those of its plans.
fn needed(limit: &valid::RateLimit) -> impl Iterator<Item = (LimiterId, Rule)> {
    let id = |plan| LimiterId {
        name: Arc::clone(&limit.name),
        plan,
        key: limit.key.clone(),
        memory_bytes: limit.memory_bytes,
    };
    let plans = limit.quotas.iter().flat_map(move |quotas| {
        quotas.plans.iter().map(move |plan| {
            let plan_id = (quotas.by.clone(), Arc::clone(&plan.value));
            (id(Some(plan_id)), rule(limit.algorithm, plan.rate, plan.burst))
        })
    });
    std::iter::once((id(None), rule(limit.algorithm, limit.rate, limit.burst))).chain(plans)
}

fn rule(algorithm: LimitAlgorithm, rate: Rate, burst: u64) -> Rule {
    let Rate { requests, period } = rate;
    match algorithm {
        LimitAlgorithm::Gcra => Quota::new(requests.get(), period).with_burst(burst).into(),
        LimitAlgorithm::SlidingWindow => Rule::SlidingWindow { limit: requests.get(), period },
        LimitAlgorithm::FixedWindow => Rule::FixedWindow { limit: requests.get(), period },
    }
}

impl Limiters {
    /// The tables of the next configuration: those in force where they are the same, and new ones. `seed` spreads keys over new
    /// tables, unknown to clients.
    ///
    /// # Errors
    /// There is not as much memory.
    pub(super) fn next(&self, config: &Config, seed: [u64; 2], now: Mono) -> Result<Self, EngineError> {
        let mut tables: Vec<(LimiterId, Arc<Keyed>)> = Vec::new();
        for (id, rule) in all_limits(config).flat_map(needed) {
            if tables.iter().any(|(known, _)| *known == id) {
                continue;
            }
            let made = match self.find(&id) {
                Some(same) if same.rule() == rule => Ok(Arc::clone(same)),
                Some(changed) => changed.with_rule(rule, now).map(Arc::new),
                None => Keyed::try_new(rule, id.memory_bytes as usize, seed).map(Arc::new),
            };
            let made = made.map_err(|source| EngineError::Memory { limit: id.shown(), source })?;
            tables.push((id, made));
        }
        Ok(Self { tables, gates: self.gates.next(config, seed)? })
    }

    /// The limits on requests at once.
    pub(crate) const fn gates(&self) -> &Gates {
        &self.gates
    }

    fn find(&self, id: &LimiterId) -> Option<&Arc<Keyed>> {
        self.tables.iter().find(|(known, _)| known == id).map(|(_, table)| table)
    }

    /// The tables and their limits' names.
    pub(super) fn by_name(&self) -> Vec<(Arc<str>, Arc<Keyed>)> {
        self.tables.iter().map(|(id, table)| (id.shown(), Arc::clone(table))).collect()
    }

    /// The tables of this limit.
    pub(crate) fn of(&self, limit: &valid::RateLimit) -> Option<Tables> {
        let mut tables = needed(limit).map(|(id, _)| self.find(&id).map(Arc::clone));
        let plain = tables.next()??;
        let plans = limit.quotas.iter().map(|quotas| {
            let values = quotas.plans.iter().map(|plan| Some((Arc::clone(&plan.value), tables.next()??)));
            Some((quotas.by.clone(), values.collect::<Option<_>>()?))
        });
        Some(Tables { plain, plans: plans.collect::<Option<_>>()? })
    }
}
