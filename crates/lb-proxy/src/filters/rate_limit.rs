//! A route's rate limit. It comes before whatever the route does: a redirect and a fixed response are limited as well.

use std::sync::Arc;

use lb_ratelimit::{Keyed, Verdict};

use super::{Filter, Flow, Scope};
use crate::exchange::Exchange;
use crate::net::clock;
use crate::observe::app_log::LimitLog;
use crate::rules::answer::Answer;
use crate::rules::cause::Cause;
use crate::rules::headers::HeaderError;
use crate::rules::limit_key;

/// Room for most keys, in octets.
const KEY_BYTES: usize = 64;

pub(super) struct RateLimit {
    limiter: Arc<Keyed>,
    key: lb_config::LimitKey,
    /// Of a refusal.
    status: u16,
    log: Arc<LimitLog>,
}

impl Filter for RateLimit {
    fn new(scope: &Scope<'_>) -> Result<Option<Self>, HeaderError> {
        let limit = scope.route.and_then(|route| route.options.rate_limit.as_ref());
        Ok(limit.and_then(|limit| {
            let limiter = scope.parts.limiters.of(limit)?;
            Some(Self { limiter, key: limit.key.clone(), status: limit.status, log: Arc::clone(scope.parts.limit_log) })
        }))
    }

    fn on_request(&self, exchange: &mut Exchange) -> Flow {
        let Some(route) = exchange.route() else { return Flow::Go };
        let mut key = Vec::with_capacity(KEY_BYTES);
        limit_key::write(&self.key, &exchange.facts(Some(route)), &mut key);
        let now = clock::mono();
        let Verdict::Refuse { retry_after } = self.limiter.check(&key, now) else { return Flow::Go };
        route.metrics[exchange.listener].on_rate_limited();
        let client = exchange.origin.arrival.peer.map(|_| exchange.origin.client);
        self.log.on_limited(client, &route.name, now);
        let answer = Answer::new(Cause::RateLimited).retry_after(retry_after).status(self.status);
        Flow::Answer(exchange.answer(answer, Cause::RateLimited, None))
    }
}
