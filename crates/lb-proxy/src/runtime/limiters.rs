//! The tables of rate limits. Cells can be shared where name, key and memory of a limit are the same.

use std::sync::Arc;

use lb_config::{self as valid, Config, LimitKey};
use lb_core::Mono;
use lb_ratelimit::{Keyed, Quota};

use crate::error::EngineError;

/// Name, key and memory of a limit.
type LimiterId = (Arc<str>, LimitKey, u64);

/// The tables of a configuration.
#[derive(Default)]
pub(crate) struct Limiters(Vec<(LimiterId, Arc<Keyed>)>);

fn limiter_id(limit: &valid::RateLimit) -> LimiterId {
    (Arc::clone(&limit.name), limit.key.clone(), limit.memory_bytes)
}

impl Limiters {
    /// The tables of the next configuration: those in force where they are the same, and new ones. `seed` spreads keys over new
    /// tables, unknown to clients.
    ///
    /// # Errors
    /// There is not as much memory.
    pub(super) fn next(&self, config: &Config, seed: [u64; 2], now: Mono) -> Result<Self, EngineError> {
        let mut tables: Vec<(LimiterId, Arc<Keyed>)> = Vec::new();
        for route in &config.routes {
            let Some(limit) = &route.options.rate_limit else { continue };
            let id = limiter_id(limit);
            if tables.iter().any(|(known, _)| *known == id) {
                continue;
            }
            let quota = Quota::new(limit.rate.requests.get(), limit.rate.period).with_burst(limit.burst);
            let made = match self.0.iter().find(|(known, _)| *known == id) {
                Some((_, same)) if same.quota() == quota => Ok(Arc::clone(same)),
                Some((_, changed)) => changed.with_quota(quota, now).map(Arc::new),
                None => Keyed::try_new(quota, limit.memory_bytes as usize, seed).map(Arc::new),
            };
            let made = made.map_err(|source| EngineError::Memory { route: Arc::clone(&route.name), source })?;
            tables.push((id, made));
        }
        Ok(Self(tables))
    }

    /// The tables and their limits' names.
    pub(super) fn by_name(&self) -> Vec<(Arc<str>, Arc<Keyed>)> {
        self.0.iter().map(|((name, ..), table)| (Arc::clone(name), Arc::clone(table))).collect()
    }

    /// The table of this limit.
    pub(crate) fn of(&self, limit: &valid::RateLimit) -> Option<Arc<Keyed>> {
        let id = limiter_id(limit);
        self.0.iter().find(|(known, _)| *known == id).map(|(_, table)| Arc::clone(table))
    }
}
