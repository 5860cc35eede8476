//! A route, or the cluster it forwards to, out of service.

use std::time::Duration;

use super::{Filter, Flow, Scope};
use crate::exchange::Exchange;
use crate::rules::answer::Answer;
use crate::rules::cause::Cause;
use crate::rules::headers::HeaderError;
use crate::rules::networks::Networks;

pub(super) struct Maintenance {
    /// The route's, the cluster's: who may pass, and what the others are told.
    rules: Vec<(Networks, Duration)>,
}

impl Filter for Maintenance {
    fn new(scope: &Scope<'_>) -> Result<Option<Self>, HeaderError> {
        let Some(route) = scope.route else { return Ok(None) };
        let of_cluster = match route.action {
            lb_config::Action::Cluster(position) => scope.config.clusters[position].maintenance.as_ref(),
            _ => None,
        };
        let rules: Vec<_> = route.options.maintenance.iter().chain(of_cluster).collect();
        let rules = rules.into_iter().map(|rule| (Networks::new(&rule.allow), rule.retry_after)).collect::<Vec<_>>();
        Ok((!rules.is_empty()).then_some(Self { rules }))
    }

    fn on_request(&self, exchange: &mut Exchange) -> Flow {
        match self.rules.iter().find(|(allowed, _)| !allowed.contains(exchange.origin.client)) {
            Some((_, after)) => {
                let answer = Answer::new(Cause::Maintenance).retry_after(*after);
                Flow::Answer(exchange.answer(answer, Cause::Maintenance, None))
            }
            None => Flow::Go,
        }
    }
}
