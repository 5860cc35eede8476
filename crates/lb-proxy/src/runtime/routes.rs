//! The routes of a snapshot, with everything that they refer to.

use std::sync::Arc;

use lb_config::{self as valid, Action, Config};
use lb_policy::KeyUse;
use lb_ratelimit::{Ratio, RetryBudget};

use super::clusters::ClusterState;
use super::kept::Kept;
use super::limiters::Limiters;
use super::snapshot::{ClusterRuntime, Deed, HashKey, RouteRuntime};
use crate::observe::metrics::Series;
use crate::rules::headers::{HeaderError, HeaderRules};
use crate::rules::respond::Responder;
use crate::rules::sticky::StickyCookie;

/// Retries that are always allowed, however little traffic there is.
const RETRIES_PER_SECOND: u32 = 10;

/// Retry budgets by route and share.
pub(super) type Budgets = Kept<(Arc<str>, u64), Arc<RetryBudget>>;

/// What routes refer to.
pub(super) struct Routes<'a> {
    pub(super) config: &'a Config,
    pub(super) clusters: &'a mut Kept<Arc<str>, ClusterState>,
    pub(super) limiters: &'a Limiters,
    pub(super) budgets: &'a mut Budgets,
}

impl Routes<'_> {
    /// Builds them, for these clusters.
    pub(super) fn build(
        mut self,
        rules: Vec<Rules>,
        clusters: &[Arc<ClusterRuntime>],
        series: &mut Series<'_>,
    ) -> Vec<Arc<RouteRuntime>> {
        let config = self.config;
        let routes = config
            .routes
            .iter()
            .zip(rules)
            .enumerate()
            .map(|(index, (route, rules))| {
                let deed = match (&route.action, rules.responder) {
                    (Action::Cluster(position), _) => Deed::Forward(Arc::clone(&clusters[*position])),
                    (Action::Redirect(redirect), _) => Deed::Redirect(redirect.clone()),
                    (Action::Respond(_), Some(responder)) => Deed::Respond(responder),
                    (Action::Respond(_), None) => unreachable!("rules of a fixed answer have a responder"),
                };
                let cluster = match &deed {
                    Deed::Forward(cluster) => Some(cluster),
                    _ => None,
                };
                let endpoints = cluster.map(|cluster| series.endpoints(&cluster.name)).unwrap_or_default();
                let cluster_name = cluster.map(|cluster| &*cluster.name);
                let selector = cluster.and_then(|cluster| {
                    Some(self.clusters.get_mut(&cluster.name)?.selector(policy_of(route, cluster)))
                });
                let metrics = config
                    .listeners
                    .iter()
                    .map(|listener| series.route(&listener.name, &route.name, cluster_name, &endpoints))
                    .collect();
                Arc::new(RouteRuntime {
                    index,
                    name: Arc::clone(&route.name),
                    edits_differ_by_endpoint: rules.request_headers.uses_endpoint()
                        || !route.options.forwarded.preserve_host,
                    request_headers: rules.request_headers,
                    response_headers: rules.response_headers,
                    sticky: rules.sticky,
                    key: cluster.and_then(|cluster| hash_key(policy_of(route, cluster))),
                    selector,
                    limiter: route.options.rate_limit.as_ref().and_then(|limit| self.limiters.of(limit)),
                    budget: route.options.retry.as_ref().map(|retry| self.budget(&route.name, retry)),
                    metrics,
                    options: route.options.clone(),
                    deed,
                })
            })
            .collect();
        self.forget_policies();
        self.budgets.end_round();
        routes
    }

    /// Drops the turns of policies that no route uses any more.
    fn forget_policies(&mut self) {
        let config = self.config;
        for (position, cluster) in config.clusters.iter().enumerate() {
            let Some(state) = self.clusters.get_mut(&cluster.name) else { continue };
            let routes = config.routes.iter().filter(|route| route.action == Action::Cluster(position));
            let used: Vec<_> = routes.map(|route| route.options.policy.as_ref().unwrap_or(&cluster.policy)).collect();
            state.forget_policies(&used);
        }
    }

    fn budget(&mut self, route: &Arc<str>, retry: &valid::Retry) -> Arc<RetryBudget> {
        let millionths = (retry.budget_ratio * 1e6).round() as u32;
        let budget = || Arc::new(RetryBudget::new(Ratio::millionths(millionths), RETRIES_PER_SECOND));
        Arc::clone(self.budgets.name((Arc::clone(route), u64::from(millionths)), budget))
    }
}

/// The parts of a route that can be wrong.
pub(super) struct Rules {
    responder: Option<Responder>,
    request_headers: HeaderRules,
    response_headers: HeaderRules,
    sticky: Option<StickyCookie>,
}

/// The edits of each listener's own answers.
pub(super) fn listener_rules(config: &Config) -> Result<Vec<HeaderRules>, HeaderError> {
    config.listeners.iter().map(|listener| HeaderRules::new(&listener.response_headers)).collect()
}

impl Rules {
    pub(super) fn new(config: &Config, route: &valid::Route, sticky_secret: &[u8; 32]) -> Result<Self, HeaderError> {
        let responder = match &route.action {
            Action::Respond(respond) => Some(Responder::new(respond)?),
            _ => None,
        };
        let sticky = route.options.sticky.as_ref();
        // On other routes no cookie is set.
        let cluster = match route.action {
            Action::Cluster(position) => &*config.clusters[position].name,
            _ => "",
        };
        Ok(Self {
            responder,
            request_headers: HeaderRules::new(&route.options.headers.request)?,
            response_headers: HeaderRules::new(&route.options.headers.response)?,
            sticky: sticky.map(|sticky| StickyCookie::new(sticky, cluster, sticky_secret)).transpose()?,
        })
    }
}

fn policy_of<'a>(route: &'a valid::Route, cluster: &'a ClusterRuntime) -> &'a valid::Policy {
    route.options.policy.as_ref().unwrap_or(&cluster.config.policy)
}

fn hash_key(policy: &valid::Policy) -> Option<HashKey> {
    match (&policy.key, policy.kind.info().key) {
        (Some(text), _) => Some(HashKey::Text(text.clone())),
        (None, KeyUse::ClientAddress) => Some(HashKey::ClientIp),
        (None, _) => None,
    }
}
