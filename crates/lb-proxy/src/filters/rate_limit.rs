//! A route's rate limit: passes, holds back or refuses. It comes before whatever the route does: a redirect and a fixed response are limited as well.

use std::sync::Arc;
use std::time::Duration;

use lb_config::LimitKey;
use lb_core::Mono;
use lb_ratelimit::{ClientKey, Key, Keyed, Verdict};

use super::{Filter, Flow, Resume, Scope};
use crate::exchange::Exchange;
use crate::net::clock;
use crate::observe::app_log::LimitLog;
use crate::rules::answer::Answer;
use crate::rules::cause::Cause;
use crate::rules::headers::HeaderError;
use crate::rules::limit_key;
use crate::rules::networks::Networks;

/// Room for most keys, in octets.
const KEY_BYTES: usize = 64;

pub(super) struct RateLimit {
    limiter: Arc<Keyed>,
    key: LimitKey,
    /// Of a refusal.
    status: u16,
    /// How many of the burst are not held back; `None` holds none back.
    undelayed: Option<u64>,
    is_dry_run: bool,
    exempt: Networks,
    log: Arc<LimitLog>,
}

impl Filter for RateLimit {
    fn new(scope: &Scope<'_>) -> Result<Option<Self>, HeaderError> {
        let limit = scope.route.and_then(|route| route.options.rate_limit.as_ref());
        Ok(limit.and_then(|limit| {
            let limiter = scope.parts.limiters.of(limit)?;
            Some(Self {
                limiter,
                key: limit.key.clone(),
                status: limit.status,
                undelayed: limit.delay,
                is_dry_run: limit.dry_run,
                exempt: Networks::new(&limit.exempt),
                log: Arc::clone(scope.parts.limit_log),
            })
        }))
    }

    fn on_request(&self, exchange: &mut Exchange) -> Flow {
        let Some(route) = exchange.route() else { return Flow::Go };
        if self.exempt.contains(exchange.origin.client) {
            return Flow::Go;
        }
        let now = clock::mono();
        let (verdict, delay) = self.decide(exchange, now);
        let metrics = &route.metrics[exchange.listener];
        let Verdict::Refuse { retry_after } = verdict else {
            metrics.on_rate_limit_passed();
            if delay.is_zero() || self.is_dry_run {
                return Flow::Go;
            }
            metrics.on_rate_delayed();
            return Flow::Wait(Box::pin(async move {
                tokio::time::sleep(delay).await;
                Box::new(|_: &mut Exchange| Flow::Go) as Resume
            }));
        };
        let client = exchange.origin.arrival.peer.map(|_| exchange.origin.client);
        self.log.on_limited(client, &route.name, self.is_dry_run, now);
        if self.is_dry_run {
            metrics.on_rate_would_limit();
            return Flow::Go;
        }
        metrics.on_rate_limited();
        let answer = Answer::new(Cause::RateLimited).retry_after(retry_after).status(self.status);
        Flow::Answer(exchange.answer(answer, Cause::RateLimited, None))
    }
}

impl RateLimit {
    /// Counts a request: the verdict, and how long to hold it back.
    fn decide(&self, exchange: &Exchange, now: Mono) -> (Verdict, Duration) {
        let mut key = Vec::with_capacity(KEY_BYTES);
        limit_key::write(&self.key, &exchange.facts(exchange.route()), &mut key);
        let client = ClientKey::new(exchange.origin.client);
        let [fine, coarse] = client.networks();
        let coarser = [client.as_bytes(), fine, coarse];
        // Without the client itself, where that is the key already.
        let coarser = if self.key == LimitKey::ClientIp { &coarser[1..] } else { &coarser[..] };
        let key = Key { key: &key, coarser };
        match self.undelayed {
            Some(undelayed) => self.limiter.check_delaying(key, undelayed, now),
            None => (self.limiter.check_key(key, now), Duration::ZERO),
        }
    }
}
