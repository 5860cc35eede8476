//! Requests at once: of the route, then of its cluster. A request waits for its place, or is refused.
//!
//! Its places belong to the exchange, and are given back with it.

use std::sync::Arc;
use std::time::Duration;

use lb_config::{self as valid, LimitKey, Template};
use lb_ratelimit::Shed;

use super::{Filter, Flow, Resume, Scope};
use crate::exchange::{Exchange, Response};
use crate::net::clock;
use crate::rules::answer::Answer;
use crate::rules::cause::Cause;
use crate::rules::headers::HeaderError;
use crate::rules::limit_key;
use crate::rules::template::{Place as TextPlace, fill};
use crate::runtime::gates::{Entry, Gate, class_of, name_of_cluster};

pub(super) struct Concurrency {
    gates: Arc<[Guarded]>,
}

/// A gate, and how requests come to it.
struct Guarded {
    gate: Gate,
    key: Option<LimitKey>,
    priority: Option<Template>,
    timeout: Duration,
}

impl Filter for Concurrency {
    fn new(scope: &Scope<'_>) -> Result<Option<Self>, HeaderError> {
        let Some(route) = scope.forwarding() else { return Ok(None) };
        let cluster = match route.action {
            valid::Action::Cluster(cluster) => scope.config.clusters.get(cluster),
            _ => None,
        };
        let own = route.options.concurrency.as_ref().map(|limit| (Arc::clone(&route.name), limit));
        let of_cluster =
            cluster.and_then(|cluster| Some((name_of_cluster(&cluster.name), cluster.concurrency.as_ref()?)));
        let guarded = own.into_iter().chain(of_cluster).filter_map(|(name, limit)| {
            Some(Guarded {
                gate: scope.parts.limiters.gates().of(&name, limit)?,
                key: limit.key.clone(),
                priority: limit.priority.clone(),
                timeout: limit.queue.timeout,
            })
        });
        let gates: Arc<[Guarded]> = guarded.collect();
        Ok((!gates.is_empty()).then_some(Self { gates }))
    }

    fn on_request(&self, exchange: &mut Exchange) -> Flow {
        enter(&self.gates, 0, exchange)
    }

    fn on_response(&self, exchange: &Exchange, response: &mut Response) {
        let is_lost = match response.cause {
            None => matches!(response.head.status(), 429 | 503),
            Some(
                Cause::ResponseTimeout
                | Cause::TotalTimeout
                | Cause::ConnectTimeout
                | Cause::QueueFull
                | Cause::QueueTimeout,
            ) => true,
            // A broken connection says nothing of the load.
            Some(_) => return,
        };
        exchange.places.iter().for_each(|place| place.learn(is_lost));
    }
}

/// Takes the places from this one on, one after the other.
fn enter(gates: &Arc<[Guarded]>, from: usize, exchange: &mut Exchange) -> Flow {
    for (at, guarded) in gates.iter().enumerate().skip(from) {
        match guarded.enter(exchange) {
            Entry::In(place) => exchange.places.push(place),
            Entry::Refused { has_queue: true } => return refuse(exchange, Cause::QueueFull, None),
            Entry::Refused { has_queue: false } => {
                // One client of many is told that it is that one.
                let status = guarded.key.as_ref().map(|_| 429);
                return refuse(exchange, Cause::ConcurrencyLimited, status);
            }
            Entry::Wait(waiter) => {
                let gates = Arc::clone(gates);
                return Flow::Wait(Box::pin(async move {
                    let entered = waiter.wait().await;
                    Box::new(move |exchange: &mut Exchange| match entered {
                        Ok(place) => {
                            exchange.places.push(place);
                            enter(&gates, at + 1, exchange)
                        }
                        Err(Shed::Late) => refuse(exchange, Cause::QueueTimeout, None),
                        Err(Shed::Overload | Shed::Displaced) => refuse(exchange, Cause::QueueFull, None),
                    }) as Resume
                }));
            }
        }
    }
    Flow::Go
}

fn refuse(exchange: &mut Exchange, cause: Cause, status: Option<u16>) -> Flow {
    exchange.places.clear();
    let answer = Answer::new(cause);
    let answer = status.map_or(answer, |status| answer.status(status));
    Flow::Answer(exchange.answer(answer, cause, None))
}

impl Guarded {
    fn enter(&self, exchange: &Exchange) -> Entry {
        let facts = exchange.facts(exchange.route());
        match (&self.gate, &self.key) {
            (Gate::Keyed(gate), Some(key)) => {
                let mut buffer = Vec::new();
                limit_key::push(key, &facts, &mut buffer);
                gate.enter(&buffer).map_or(Entry::Refused { has_queue: false }, Entry::In)
            }
            (Gate::Keyed(gate), None) => gate.enter(&[]).map_or(Entry::Refused { has_queue: false }, Entry::In),
            (Gate::Shared(gate), _) => {
                let class = self.priority.as_ref().map_or_else(
                    || class_of(b""),
                    |priority| {
                        let mut text = Vec::new();
                        fill(priority, TextPlace::Key, &facts, &mut text);
                        class_of(&text)
                    },
                );
                gate.enter(class, self.timeout, clock::mono())
            }
        }
    }
}
