//! The routes of a snapshot, with everything that they refer to.

use std::sync::Arc;

use lb_config::{self as valid, Action, Config};
use lb_policy::KeyUse;
use lb_ratelimit::{Ratio, RetryBudget};

use super::clusters::ClusterState;
use super::headers::Headers;
use super::kept::Kept;
use super::snapshot::{ClusterRuntime, HashKey, RouteRuntime};
use crate::observe::metrics::Series;

/// Retries that are always allowed, however little traffic there is.
const RETRIES_PER_SECOND: u32 = 10;

/// Retry budgets by route and share.
pub(super) type Budgets = Kept<(Arc<str>, u64), Arc<RetryBudget>>;

/// What routes refer to.
pub(super) struct Routes<'a> {
    pub(super) config: &'a Config,
    pub(super) clusters: &'a mut Kept<Arc<str>, ClusterState>,
    pub(super) budgets: &'a mut Budgets,
}

impl Routes<'_> {
    /// Builds them, for these clusters.
    pub(super) fn build(
        mut self,
        headers: &Headers,
        clusters: &[Arc<ClusterRuntime>],
        series: &mut Series<'_>,
    ) -> Vec<Arc<RouteRuntime>> {
        let config = self.config;
        let mut routes = config
            .routes
            .iter()
            .zip(&headers.routes)
            .map(|(route, headers)| {
                let cluster = match route.action {
                    Action::Cluster(position) => Some(&clusters[position]),
                    Action::Redirect(_) | Action::Respond(_) | Action::Files(_) => None,
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
                    name: Arc::clone(&route.name),
                    edits_differ_by_endpoint: headers.differ_by_endpoint,
                    request_headers: Arc::clone(&headers.request),
                    response_headers: Arc::clone(&headers.response),
                    key: cluster.and_then(|cluster| hash_key(policy_of(route, cluster))),
                    selector,
                    budget: route.options.retry.as_ref().map(|retry| self.budget(&route.name, retry)),
                    metrics,
                    options: route.options.clone(),
                    cluster: cluster.cloned(),
                })
            })
            .collect::<Vec<_>>();
        routes.extend(config.own_requests.clusters.iter().map(|position| self.own(&clusters[*position], series)));
        self.forget_policies();
        self.budgets.end_round();
        routes
    }

    /// The route of our own requests to a cluster.
    fn own(&mut self, cluster: &Arc<ClusterRuntime>, series: &mut Series<'_>) -> Arc<RouteRuntime> {
        let config = self.config;
        let options = config.own_requests.options.clone();
        let policy = &cluster.config.policy;
        // Retries are counted with what no route made. No client's request has these names: theirs have no arrow.
        let metrics = config.listeners.iter().map(|listener| series.route(&listener.name, "", None, &[])).collect();
        let name: Arc<str> = format!("->{}", cluster.name).into();
        Arc::new(RouteRuntime {
            edits_differ_by_endpoint: false,
            request_headers: Arc::default(),
            response_headers: Arc::default(),
            key: hash_key(policy),
            selector: self.clusters.get_mut(&cluster.name).map(|state| state.selector(policy)),
            budget: options.retry.as_ref().map(|retry| self.budget(&name, retry)),
            metrics,
            options,
            cluster: Some(Arc::clone(cluster)),
            name,
        })
    }

    /// Drops the turns of policies that no route uses any more.
    fn forget_policies(&mut self) {
        let config = self.config;
        for (position, cluster) in config.clusters.iter().enumerate() {
            let Some(state) = self.clusters.get_mut(&cluster.name) else { continue };
            let routes = config.routes.iter().filter(|route| route.action == Action::Cluster(position));
            let own = config.own_requests.clusters.contains(&position).then_some(&cluster.policy);
            let used = routes.map(|route| route.options.policy.as_ref().unwrap_or(&cluster.policy));
            let used: Vec<_> = used.chain(own).collect();
            state.forget_policies(&used);
        }
    }

    fn budget(&mut self, route: &Arc<str>, retry: &valid::Retry) -> Arc<RetryBudget> {
        let millionths = (retry.budget_ratio * 1e6).round() as u32;
        let budget = || Arc::new(RetryBudget::new(Ratio::millionths(millionths), RETRIES_PER_SECOND));
        Arc::clone(self.budgets.name((Arc::clone(route), u64::from(millionths)), budget))
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
