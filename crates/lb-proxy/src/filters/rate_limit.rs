//! Rate limits: they pass a request, hold it back or refuse it. They come before whatever the route does: a redirect and a fixed response
//! are limited as well.
//!
//! The limits of a request are those of its listener, of its route and of the route's cluster. A request is charged to all of them or to
//! none; a limit that two of the parts share counts it once. Limits in a dry run are charged when the others have let it pass.

use std::sync::Arc;
use std::time::Duration;

use lb_config::{self as valid, LimitHeaders, LimitKey};
use lb_core::Mono;
use lb_ratelimit::{Claim, ClientKey, Decision, Key, Keyed, Refusal, charge_all_telling};
use smallvec::SmallVec;

use super::{Filter, Flow, Resume, Scope};
use crate::exchange::{Exchange, Response};
use crate::net::clock;
use crate::observe::app_log::LimitLog;
use crate::rules::answer::Answer;
use crate::rules::cause::Cause;
use crate::rules::headers::HeaderError;
use crate::rules::limit_headers::{self, Told};
use crate::rules::limit_key;
use crate::rules::networks::Networks;
use crate::rules::template::{Facts, Place, fill};
use crate::runtime::limiters::{Limiters, Tables};

/// Room for most keys, in octets.
const KEY_BYTES: usize = 64;
/// Limits of most requests.
const LIMITS: usize = 4;

pub(super) struct RateLimit {
    /// The limits of a request, by its listener.
    by_listener: Box<[Box<[Arc<Limit>]>]>,
    log: Arc<LimitLog>,
}

/// One limit.
struct Limit {
    /// As clients and the log see it.
    name: Arc<str>,
    tables: Tables,
    key: LimitKey,
    /// Of a refusal.
    status: u16,
    /// How many of the burst are not held back; `None` holds none back.
    undelayed: Option<u64>,
    is_dry_run: bool,
    exempt: Networks,
    headers: LimitHeaders,
}

/// A limit as it is asked for one request.
struct Asked<'a> {
    limit: &'a Limit,
    table: &'a Keyed,
    /// Where its key is in the buffer.
    key: std::ops::Range<usize>,
}

impl<'a> Asked<'a> {
    fn claim(&self, buffer: &'a [u8], coarser: &'a [&'a [u8]; 3]) -> Claim<'a> {
        // Without the client itself, where that is the key already.
        let coarser = if self.limit.key == LimitKey::ClientIp { &coarser[1..] } else { &coarser[..] };
        let key = Key { key: buffer.get(self.key.clone()).unwrap_or_default(), coarser };
        Claim { undelayed: self.limit.undelayed, ..Claim::new(self.table, key) }
    }
}

impl Filter for RateLimit {
    fn new(scope: &Scope<'_>) -> Result<Option<Self>, HeaderError> {
        let limits = |limits: &[valid::RateLimit]| -> Vec<Arc<Limit>> {
            limits.iter().filter_map(|limit| Limit::new(limit, scope.parts.limiters)).map(Arc::new).collect()
        };
        let cluster = scope.forwarding().and_then(|route| match route.action {
            valid::Action::Cluster(cluster) => scope.config.clusters.get(cluster),
            _ => None,
        });
        let own = limits(scope.route.map_or(&[], |route| &route.options.rate_limits));
        let of_cluster = limits(cluster.map_or(&[], |cluster| &cluster.rate_limits));
        let by_listener = scope.config.listeners.iter().enumerate().map(|(at, listener)| {
            if scope.listener.is_some_and(|listener| listener != at) {
                return Box::default();
            }
            let mut all = limits(&listener.rate_limits);
            all.extend(own.iter().chain(&of_cluster).map(Arc::clone));
            // Of one count, each once.
            let mut distinct: Vec<Arc<Limit>> = Vec::with_capacity(all.len());
            for limit in all {
                if !distinct.iter().any(|known| Arc::ptr_eq(&known.tables.plain, &limit.tables.plain)) {
                    distinct.push(limit);
                }
            }
            distinct.into_boxed_slice()
        });
        let by_listener: Box<[Box<[Arc<Limit>]>]> = by_listener.collect();
        let is_off = by_listener.iter().all(|limits| limits.is_empty());
        Ok((!is_off).then(|| Self { by_listener, log: Arc::clone(scope.parts.limit_log) }))
    }

    fn on_request(&self, exchange: &mut Exchange) -> Flow {
        let now = clock::mono();
        let (flow, told) = self.decide(exchange, now);
        exchange.limits_told = told;
        flow
    }

    fn on_response(&self, exchange: &Exchange, response: &mut Response) {
        if let Some(told) = &exchange.limits_told {
            limit_headers::write(told, &mut response.edits);
        }
    }
}

impl RateLimit {
    fn decide(&self, exchange: &Exchange, now: Mono) -> (Flow, Option<Box<Told>>) {
        let client = exchange.origin.client;
        let facts = exchange.facts(exchange.route());
        let mut buffer = Vec::with_capacity(KEY_BYTES);
        let limits = self.by_listener.get(exchange.listener).map_or(&[][..], |limits| limits);
        let asked: SmallVec<[Asked<'_>; LIMITS]> =
            limits.iter().filter_map(|limit| limit.ask(&facts, &mut buffer)).collect();
        if asked.is_empty() {
            return (Flow::Go, None);
        }
        let client_key = ClientKey::new(client);
        let [fine, coarse] = client_key.networks();
        let coarser = [client_key.as_bytes(), fine, coarse];
        let (enforced, dry): (SmallVec<[&Asked<'_>; LIMITS]>, SmallVec<[&Asked<'_>; LIMITS]>) =
            asked.iter().partition(|asked| !asked.limit.is_dry_run);
        let claims: SmallVec<[Claim<'_>; LIMITS]> =
            enforced.iter().map(|asked| asked.claim(&buffer, &coarser)).collect();
        let mut decisions: SmallVec<[Decision; LIMITS]> = SmallVec::new();
        let charged = charge_all_telling(&claims, now, |_, decision| decisions.push(decision));

        let listener = exchange.listener();
        let (name, metrics) = match exchange.route() {
            Some(route) => (&*route.name, &route.metrics[exchange.listener]),
            None => (&*listener.name, &listener.unrouted),
        };
        let peer = exchange.origin.arrival.peer.map(|_| client);
        let is_told = enforced.iter().any(|asked| asked.limit.headers != LimitHeaders::default());
        let told = |decisions: &[Decision]| {
            let of = |(asked, decision): (&&Asked<'_>, &Decision)| limit_headers::Limit {
                headers: asked.limit.headers,
                name: Arc::clone(&asked.limit.name),
                rule: asked.table.rule(),
                decision: *decision,
            };
            is_told.then(|| Box::new(Told(enforced.iter().zip(decisions).map(of).collect())))
        };
        if let Err(Refusal { index, retry_after }) = charged {
            metrics.on_rate_limited();
            let limit = enforced.get(index).map(|asked| asked.limit);
            self.log.on_limited(peer, name, limit.map_or("", |limit| &limit.name), false, now);
            let answer = Answer::new(Cause::RateLimited).retry_after(retry_after);
            let answer = answer.status(limit.map_or(0, |limit| limit.status));
            let left: SmallVec<[Decision; LIMITS]> = match is_told {
                true => claims.iter().map(|claim| claim.limit.peek(claim.key.key, 0, now)).collect(),
                false => SmallVec::new(),
            };
            return (Flow::Answer(exchange.answer(answer, Cause::RateLimited, None)), told(&left));
        }
        let over = dry.iter().find(|asked| !asked.table.check_key(asked.claim(&buffer, &coarser).key, now).is_pass());
        match over {
            Some(asked) => {
                metrics.on_rate_would_limit();
                self.log.on_limited(peer, name, &asked.limit.name, true, now);
            }
            None => metrics.on_rate_limit_passed(),
        }
        let told = told(&decisions);
        let delay = decisions.iter().map(|decision| decision.delay).max().unwrap_or(Duration::ZERO);
        // What no route takes is answered here, which costs nobody anything.
        if delay.is_zero() || exchange.route.is_none() {
            return (Flow::Go, told);
        }
        metrics.on_rate_delayed();
        let wait = Box::pin(async move {
            tokio::time::sleep(delay).await;
            Box::new(|_: &mut Exchange| Flow::Go) as Resume
        });
        (Flow::Wait(wait), told)
    }
}

impl Limit {
    fn new(limit: &valid::RateLimit, limiters: &Limiters) -> Option<Self> {
        Some(Self {
            name: Arc::clone(&limit.name),
            tables: limiters.of(limit)?,
            key: limit.key.clone(),
            status: limit.status,
            undelayed: limit.delay,
            is_dry_run: limit.dry_run,
            exempt: Networks::new(&limit.exempt),
            headers: limit.headers,
        })
    }

    /// Which table counts a request, and by which key, which is put behind what is in the buffer; `None` if it is not limited.
    fn ask<'a>(&'a self, facts: &Facts<'_>, buffer: &mut Vec<u8>) -> Option<Asked<'a>> {
        if self.exempt.contains(facts.origin.client) {
            return None;
        }
        let table = self.tables.plans.iter().find_map(|(by, plans)| {
            // Behind what is in the buffer, and gone again.
            let start = buffer.len();
            fill(by, Place::Key, facts, buffer);
            let value = buffer.get(start..).unwrap_or_default();
            let plan = plans.iter().find(|(plan, _)| plan.as_bytes() == value);
            buffer.truncate(start);
            plan.map(|(_, table)| &**table)
        });
        let start = buffer.len();
        limit_key::push(&self.key, facts, buffer);
        Some(Asked { limit: self, table: table.unwrap_or(&self.tables.plain), key: start..buffer.len() })
    }
}
