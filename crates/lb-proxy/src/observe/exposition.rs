//! `/metrics`: the cells of [`metrics`](super::metrics), read and written as OpenMetrics text.
//!
//! Series are gathered by labels that come from the file, in the order of their names, so that two readings can be
//! compared line by line. `prometheus-client` does the format and the escaping; it is handed the sums.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, MetricEncoder, NoLabelSet};
use prometheus_client::metrics::MetricType;
use prometheus_client::registry::{Registry, Unit};

use super::cells::{Codes, Histogram, Sharded};
use super::metrics::{Handshake, Metrics, Named, RefusedConnection, RouteCells};
use super::status::{ClusterStatus, ConcurrencyStatus, LimitsStatus, QueueStatus, RateLimitStatus, Status};

impl Metrics {
    /// Everything in the OpenMetrics text format, with the gauges of `status`. Cost: proportional to the number
    /// of series, about a microsecond each; call it off the workers.
    #[must_use]
    pub fn encode(self: &Arc<Self>, status: &Status) -> String {
        let mut registry = Registry::with_prefix("lbproxy");
        let page = Page { metrics: Arc::clone(self), gauges: Gauges::of(status) };
        registry.register_collector(Box::new(page));
        let mut text = String::new();
        // Writing to a string cannot fail; if a value could not be written, what comes before it is still of use.
        let _ = prometheus_client::encoding::text::encode(&mut text, &registry);
        text
    }
}

/// One reading.
#[derive(Debug)]
struct Page {
    metrics: Arc<Metrics>,
    gauges: Gauges,
}

/// Name, help and value of a metric.
type Reading<T> = (&'static str, &'static str, fn(&T) -> u64);

/// What the status tells.
#[derive(Debug)]
struct Gauges {
    /// By cluster and configured address: requests in flight, and how many of its addresses are eligible.
    endpoints: BTreeMap<(Arc<str>, Arc<str>), (u64, u64)>,
    clusters: BTreeMap<Arc<str>, ClusterGauges>,
    limits: LimitsStatus,
    rate_limits: Vec<RateLimitStatus>,
    concurrency: Vec<ConcurrencyStatus>,
}

/// What the status tells of a cluster.
#[derive(Debug)]
struct ClusterGauges {
    queue: QueueStatus,
    policy: &'static str,
    /// By route.
    policies: BTreeMap<Arc<str>, &'static str>,
    panic: bool,
    panic_picks: u64,
}

impl Gauges {
    fn of(status: &Status) -> Self {
        let mut gauges: BTreeMap<_, (u64, u64)> = BTreeMap::new();
        for cluster in &status.clusters {
            for endpoint in &cluster.endpoints {
                let gauge = gauges.entry((Arc::clone(&cluster.name), Arc::clone(&endpoint.address))).or_default();
                gauge.0 += u64::from(endpoint.in_flight);
                gauge.1 += u64::from(endpoint.eligible);
            }
        }
        let of_cluster = |cluster: &ClusterStatus| ClusterGauges {
            queue: cluster.queue,
            policy: cluster.policy,
            policies: cluster.routes.iter().cloned().collect(),
            panic: cluster.panic,
            panic_picks: cluster.panic_picks,
        };
        let clusters = status.clusters.iter().map(|cluster| (Arc::clone(&cluster.name), of_cluster(cluster)));
        let (limits, rate_limits) = (status.limits.clone(), status.rate_limits.clone());
        let concurrency = status.concurrency.clone();
        Self { endpoints: gauges, clusters: clusters.collect(), limits, rate_limits, concurrency }
    }
}

impl Collector for Page {
    fn encode(&self, mut out: DescriptorEncoder<'_>) -> fmt::Result {
        let named = self.metrics.named();
        self.encode_requests(&named, &mut out)?;
        self.encode_endpoints(&named, &mut out)?;
        self.encode_clusters(&mut out)?;
        self.encode_queues(&mut out)?;
        self.encode_rate_limits(&mut out)?;
        self.encode_concurrency(&mut out)?;
        self.encode_process(&mut out)
    }
}

impl Page {
    fn encode_requests(&self, named: &Named, out: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let mut family = counter(out, "requests", "Requests answered, by the endpoint that answered and the status")?;
        for ((listener, route, cluster), answers) in &named.answers {
            let pairs = answers.all_pairs();
            let pairs = pairs.iter().filter_map(|pair| Some((&*pair.endpoint, pair.codes.get()?)));
            for (endpoint, codes) in [("", &*answers.own)].into_iter().chain(pairs) {
                for (code, count) in sums(codes) {
                    let labels =
                        [("listener", &**listener), ("route", route), ("cluster", cluster), ("endpoint", endpoint)];
                    let code = code.to_string();
                    let [a, b, c, d] = labels;
                    count_one(&mut family, &[a, b, c, d, ("code", &code)], count)?;
                }
            }
        }
        let mut family = histogram(out, "request_duration", "Time from a request's first byte to its response's last")?;
        for ((listener, route), cells) in &named.routes {
            observe(&mut family, &[("listener", &**listener), ("route", route)], &cells.durations.read())?;
        }
        let mut family = counter(out, "retries", "Attempts beyond a request's first")?;
        for ((listener, route), cells) in &named.routes {
            count_one(&mut family, &[("listener", &**listener), ("route", route)], cells.retries.sum())?;
        }
        let counters: [Reading<RouteCells>; 5] = [
            ("requests_denied", "Requests of client networks that the route does not serve", |cells| {
                cells.denied.sum()
            }),
            ("rate_limited", "Requests that a rate limit refused", |cells| cells.rate_limited.sum()),
            ("rate_limit_passed", "Requests that a rate limit let pass", |cells| cells.rate_passed.sum()),
            ("rate_limit_delayed", "Requests that a rate limit held back", |cells| cells.rate_delayed.sum()),
            ("rate_limit_would_refuse", "Requests that a rate limit in a dry run would have refused", |cells| {
                cells.rate_would_limit.sum()
            }),
        ];
        for (name, help, count) in counters {
            let mut family = counter(out, name, help)?;
            for ((listener, route), cells) in &named.routes {
                count_one(&mut family, &[("listener", &**listener), ("route", route)], count(cells))?;
            }
        }
        let mut family = gauge(out, "connections", "Client connections open")?;
        for (name, listener) in &named.listeners {
            family.encode_family(&[("listener", &**name)])?.encode_gauge(&listener.connections())?;
        }
        let mut family = counter(out, "connections_refused", "Client connections closed before their first request")?;
        for (name, listener) in &named.listeners {
            for reason in RefusedConnection::ALL {
                let labels = [("listener", &**name), ("reason", reason.name())];
                count_one(&mut family, &labels, listener.refused(reason))?;
            }
        }
        let mut family = counter(out, "connections_denied", "Client connections closed for their network")?;
        for (name, listener) in &named.listeners {
            count_one(&mut family, &[("listener", &**name)], listener.refused(RefusedConnection::Denied))?;
        }
        let mut family = counter(out, "tls_handshakes", "TLS handshakes with clients, by how they ended")?;
        for (name, listener) in &named.listeners {
            let counts = Handshake::ALL.map(|result| (result.name(), listener.handshakes(result)));
            // A listener without TLS has none.
            for (result, count) in counts.into_iter().filter(|_| counts.iter().any(|(_, count)| *count > 0)) {
                count_one(&mut family, &[("listener", &**name), ("result", result)], count)?;
            }
        }
        Ok(())
    }

    fn encode_endpoints(&self, named: &Named, out: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let mut family = histogram(
            out,
            "endpoint_duration",
            "Time from an attempt's start to its response head, or to its timeout",
        )?;
        for ((cluster, name), endpoint) in &named.endpoints {
            observe(&mut family, &[("cluster", &**cluster), ("endpoint", name)], &endpoint.durations.read())?;
        }
        let mut family = counter(out, "checks", "Active checks made")?;
        for ((cluster, name), endpoint) in &named.endpoints {
            for (result, count) in [("pass", &endpoint.checks_passed), ("fail", &endpoint.checks_failed)] {
                let labels = [("cluster", &**cluster), ("endpoint", name), ("result", result)];
                count_one(&mut family, &labels, count.load(Ordering::Relaxed))?;
            }
        }
        let mut family = counter(out, "ejections", "Ejections by outlier detection")?;
        for ((cluster, name), endpoint) in &named.endpoints {
            let labels = [("cluster", &**cluster), ("endpoint", name)];
            count_one(&mut family, &labels, endpoint.ejections.load(Ordering::Relaxed))?;
        }
        let mut family =
            counter(out, "transitions", "Changes of an endpoint's state, from one to another, by what changed it")?;
        for ((cluster, name), endpoint) in &named.endpoints {
            for (from, to, reason, count) in endpoint.transitions() {
                let (from, to) = (from.word(), to.word());
                let labels =
                    [("cluster", &**cluster), ("endpoint", name), ("from", from), ("to", to), ("reason", reason)];
                count_one(&mut family, &labels, count)?;
            }
        }
        let mut family = gauge(out, "in_flight", "Requests sent to the endpoint and not finished")?;
        for ((cluster, name), gauge) in &self.gauges.endpoints {
            family.encode_family(&[("cluster", &**cluster), ("endpoint", name)])?.encode_gauge(&gauge.0)?;
        }
        let mut family = gauge(out, "endpoint_eligible", "Addresses of the endpoint that may take new requests")?;
        for ((cluster, name), gauge) in &self.gauges.endpoints {
            family.encode_family(&[("cluster", &**cluster), ("endpoint", name)])?.encode_gauge(&gauge.1)?;
        }
        Ok(())
    }

    fn encode_clusters(&self, out: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let mut family = gauge(out, "cluster_policy", "Selection policy of the cluster (always 1)")?;
        for (cluster, of) in &self.gauges.clusters {
            family.encode_family(&[("cluster", &**cluster), ("policy", of.policy)])?.encode_gauge(&1_u64)?;
        }
        let mut family = gauge(out, "route_policy", "Selection policy of the route (always 1)")?;
        for (cluster, of) in &self.gauges.clusters {
            for (route, policy) in &of.policies {
                let labels = [("route", &**route), ("cluster", cluster), ("policy", policy)];
                family.encode_family(&labels)?.encode_gauge(&1_u64)?;
            }
        }
        let help = "1 in panic mode, while health is ignored because too few endpoints are healthy";
        let mut family = gauge(out, "panic_mode", help)?;
        for (cluster, of) in &self.gauges.clusters {
            family.encode_family(&[("cluster", &**cluster)])?.encode_gauge(&u64::from(of.panic))?;
        }
        let mut family = counter(out, "panic_mode_picks", "Picks made in panic mode")?;
        for (cluster, of) in &self.gauges.clusters {
            count_one(&mut family, &[("cluster", &**cluster)], of.panic_picks)?;
        }
        Ok(())
    }

    fn encode_rate_limits(&self, out: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let gauges: [Reading<RateLimitStatus>; 2] = [
            ("rate_limit_keys", "Keys of a rate limit that have used some of their quota, about", |limit| limit.keys),
            ("rate_limit_keys_max", "Keys that a rate limit has memory for", |limit| limit.max_keys),
        ];
        for (name, help, value) in gauges {
            let mut family = gauge(out, name, help)?;
            for limit in &self.gauges.rate_limits {
                family.encode_family(&[("limit", &*limit.name)])?.encode_gauge(&value(limit))?;
            }
        }
        let counters: [Reading<RateLimitStatus>; 2] = [
            ("rate_limit_evicted", "Keys of a rate limit forgotten too soon, for want of memory", |limit| {
                limit.evicted
            }),
            (
                "rate_limit_crowded",
                "Requests of new keys that a rate limit counted by network, for want of memory",
                |limit| limit.crowded,
            ),
        ];
        for (name, help, value) in counters {
            let mut family = counter(out, name, help)?;
            for limit in &self.gauges.rate_limits {
                count_one(&mut family, &[("limit", &*limit.name)], value(limit))?;
            }
        }
        Ok(())
    }

    fn encode_concurrency(&self, out: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let gauges: [Reading<ConcurrencyStatus>; 3] = [
            ("concurrency_limit", "Requests that may run at once", |it| u64::from(it.limit)),
            ("concurrency_in_flight", "Requests that run", |it| u64::from(it.in_flight.unwrap_or(0))),
            ("concurrency_waiting", "Requests that wait to run", |it| it.waiting as u64),
        ];
        for (name, help, value) in gauges {
            let mut family = gauge(out, name, help)?;
            for limit in &self.gauges.concurrency {
                family.encode_family(&[("limit", &*limit.name)])?.encode_gauge(&value(limit))?;
            }
        }
        let counters: [Reading<ConcurrencyStatus>; 2] = [
            ("concurrency_waited", "Requests that had to wait to run", |it| it.waited),
            ("concurrency_refused", "Requests refused since too many ran", |it| it.refused),
        ];
        for (name, help, value) in counters {
            let mut family = counter(out, name, help)?;
            for limit in &self.gauges.concurrency {
                count_one(&mut family, &[("limit", &*limit.name)], value(limit))?;
            }
        }
        Ok(())
    }

    fn encode_queues(&self, out: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let mut family = gauge(out, "queue_length", "Requests waiting for a slot")?;
        for (cluster, ClusterGauges { queue, .. }) in &self.gauges.clusters {
            family.encode_family(&[("cluster", &**cluster)])?.encode_gauge(&(queue.length as u64))?;
        }
        let mut family = counter(out, "queue_requests", "Requests that waited, or found the queue full")?;
        for (cluster, ClusterGauges { queue, .. }) in &self.gauges.clusters {
            let report = &queue.report;
            for (result, count) in [
                ("served", report.served),
                ("timeout", report.timed_out),
                ("full", report.refused),
                ("no_endpoint", report.no_endpoint),
                ("cancelled", report.cancelled),
            ] {
                count_one(&mut family, &[("cluster", &**cluster), ("result", result)], count)?;
            }
        }
        let help = "Time that requests waited, without cancelled ones";
        let mut family = out.encode_descriptor("queue_wait", help, Some(&Unit::Seconds), MetricType::Counter)?;
        for (cluster, ClusterGauges { queue, .. }) in &self.gauges.clusters {
            let waited = queue.report.waited.as_secs_f64();
            let labels = [("cluster", &**cluster)];
            let mut series = family.encode_family(&labels)?;
            series.encode_counter::<NoLabelSet, _, u64>(&waited, None)?;
        }
        Ok(())
    }

    fn encode_process(&self, out: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let metrics = &*self.metrics;
        gauge(out, "config_generation", "Number of the configuration in force")?
            .encode_gauge(&metrics.generation.load(Ordering::Relaxed))?;
        let limits = &self.gauges.limits;
        for (name, help, now) in [
            ("connections_limit", "Limit of client connections", limits.connections),
            (
                "endpoint_connections",
                "Open connections to endpoints, including idle ones",
                limits.endpoint_connections_open,
            ),
            ("endpoint_connections_limit", "Limit of connections to endpoints", limits.endpoint_connections),
        ] {
            gauge(out, name, help)?.encode_gauge(&(now as u64))?;
        }
        let refused = (
            "endpoint_connections_refused",
            "Requests refused by the limit of connections to endpoints",
            limits.endpoint_connections_refused,
        );
        for (name, help, count) in [refused].into_iter().chain(metrics.counters()) {
            counter(out, name, help)?.encode_counter::<NoLabelSet, _, u64>(&count, None)?;
        }
        Ok(())
    }
}

fn sums(codes: &Sharded<Codes>) -> BTreeMap<u16, u64> {
    let mut sums = BTreeMap::new();
    for shard in codes.iter() {
        shard.add_to(&mut sums);
    }
    sums
}

fn counter<'a>(out: &'a mut DescriptorEncoder<'_>, name: &'a str, help: &str) -> Result<MetricEncoder<'a>, fmt::Error> {
    out.encode_descriptor(name, help, None, MetricType::Counter)
}

fn gauge<'a>(out: &'a mut DescriptorEncoder<'_>, name: &'a str, help: &str) -> Result<MetricEncoder<'a>, fmt::Error> {
    out.encode_descriptor(name, help, None, MetricType::Gauge)
}

fn histogram<'a>(
    out: &'a mut DescriptorEncoder<'_>,
    name: &'a str,
    help: &str,
) -> Result<MetricEncoder<'a>, fmt::Error> {
    out.encode_descriptor(name, help, Some(&Unit::Seconds), MetricType::Histogram)
}

fn count_one<const N: usize>(family: &mut MetricEncoder<'_>, labels: &[(&str, &str); N], count: u64) -> fmt::Result {
    family.encode_family(labels)?.encode_counter::<NoLabelSet, _, u64>(&count, None)
}

fn observe<const N: usize>(
    family: &mut MetricEncoder<'_>,
    labels: &[(&str, &str); N],
    read: &Histogram,
) -> fmt::Result {
    family.encode_family(labels)?.encode_histogram::<NoLabelSet>(read.sum, read.count, &read.buckets, None)
}
