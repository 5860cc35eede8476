//! What is going on, from three sources: the proxy's status, its metrics, and what the clients saw.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::time::Duration;

use lb_proxy::observe::status::{EndpointStatus, State, Status};
use tokio::time::Instant;

use super::app::APPS;
use super::load::Sample;

/// The time that rates are taken over: short, so that an ejection shows at once.
pub(crate) const RATE_OVER: Duration = Duration::from_secs(2);
/// The time that percentiles are taken over: long enough for a hundredth of it to hold requests.
pub(crate) const TIMES_OVER: Duration = Duration::from_secs(10);

/// Remembers as much of the past as the table needs.
#[derive(Debug)]
pub(crate) struct Sight {
    addresses: [SocketAddr; APPS.len()],
    samples: VecDeque<Sample>,
    /// Requests of each endpoint at instants within [`RATE_OVER`], and the one before.
    counts: VecDeque<(Instant, [u64; APPS.len()])>,
    why_ejected: [String; APPS.len()],
    answered: u64,
    failed: u64,
}

/// The table's contents.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct View {
    /// A line for each endpoint.
    pub(crate) rows: Vec<Row>,
    /// The clients' side.
    pub(crate) clients: Clients,
}

/// One endpoint.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Row {
    pub(crate) name: &'static str,
    /// Attempts in all.
    pub(crate) requests: u64,
    /// Attempts a second.
    pub(crate) rate: f64,
    pub(crate) in_flight: u32,
    pub(crate) times: Option<Times>,
    pub(crate) ejections: u64,
    pub(crate) is_eligible: bool,
    /// `up`, or what it is and for how long.
    pub(crate) health: String,
    /// Why it is not up; empty if it is.
    pub(crate) reason: String,
}

/// What all clients together saw.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Clients {
    pub(crate) requests: u64,
    pub(crate) rate: f64,
    pub(crate) times: Option<Times>,
    /// Answers that were none or not good.
    pub(crate) failed: u64,
    /// Attempts beyond a request's first.
    pub(crate) retries: u64,
}

/// Half of the answers took no longer than `p50`, all but a hundredth no longer than `p99`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Times {
    pub(crate) p50: Duration,
    pub(crate) p99: Duration,
}

impl Sight {
    /// Nothing has happened yet.
    pub(crate) fn new(addresses: [SocketAddr; APPS.len()], now: Instant) -> Self {
        Self {
            addresses,
            samples: VecDeque::new(),
            counts: [(now, [0; APPS.len()])].into(),
            why_ejected: Default::default(),
            answered: 0,
            failed: 0,
        }
    }

    /// A client has its answer, or has given up.
    pub(crate) fn on_sample(&mut self, sample: Sample) {
        self.answered += 1;
        self.failed += u64::from(!sample.is_good);
        self.samples.push_back(sample);
    }

    /// The proxy has logged this. Returns it with the endpoints' names in place of their addresses.
    pub(crate) fn on_event(&mut self, event: &str) -> String {
        let mut shown = event.to_owned();
        for ((address, app), why) in self.addresses.iter().zip(APPS).zip(&mut self.why_ejected) {
            let address = address.to_string();
            if let (true, Some((_, reason))) = (event.contains(&address), event.split_once(" ejected for ")) {
                *why = reason.split_once(": ").map_or("", |(_, reason)| reason).to_owned();
            }
            shown = shown.replace(&format!("endpoint {address}"), app.name).replace(&address, app.name);
        }
        shown
    }

    /// How things stand.
    pub(crate) fn view(&mut self, now: Instant, status: &Status, metrics: &str) -> View {
        let requests = self.addresses.map(|address| {
            let of = endpoint(status, address);
            of.map_or(0, |endpoint| endpoint.requests)
        });
        self.counts.push_back((now, requests));
        while self.counts.get(1).is_some_and(|(at, _)| now.duration_since(*at) >= RATE_OVER) {
            self.counts.pop_front();
        }
        while self.samples.front().is_some_and(|sample| now.duration_since(sample.at) > TIMES_OVER) {
            self.samples.pop_front();
        }
        let (since, before) = self.counts.front().copied().unwrap_or((now, requests));
        let elapsed = now.duration_since(since).as_secs_f64().max(0.1);
        let recent = self.samples.iter().filter(|sample| sample.at >= since).count();
        let rows = (0..APPS.len()).map(|index| self.row(index, requests, before, elapsed, status, metrics)).collect();
        let clients = Clients {
            requests: self.answered,
            rate: recent as f64 / elapsed,
            times: times(self.samples.iter().map(|sample| sample.took)),
            failed: self.failed,
            retries: sum(metrics, "lbproxy_retries_total", ""),
        };
        View { rows, clients }
    }

    fn row(
        &self,
        index: usize,
        requests: [u64; APPS.len()],
        before: [u64; APPS.len()],
        elapsed: f64,
        status: &Status,
        metrics: &str,
    ) -> Row {
        let address = self.addresses[index];
        let own = self.samples.iter().filter(|sample| sample.by == Some(index));
        let known = endpoint(status, address);
        Row {
            name: APPS[index].name,
            requests: requests[index],
            rate: requests[index].saturating_sub(before[index]) as f64 / elapsed,
            in_flight: known.map_or(0, |endpoint| endpoint.in_flight),
            times: times(own.map(|sample| sample.took)),
            ejections: sum(metrics, "lbproxy_ejections_total", &format!("endpoint=\"{address}\"")),
            health: known.map_or_else(|| "unknown".to_owned(), health),
            reason: known.map(|endpoint| self.reason(index, endpoint)).unwrap_or_default(),
            is_eligible: known.is_some_and(|endpoint| endpoint.eligible),
        }
    }

    fn reason(&self, index: usize, endpoint: &EndpointStatus) -> String {
        let reason = match endpoint.state {
            State::Ejected => self.why_ejected.get(index).map(String::as_str),
            _ => endpoint.reason.as_deref(),
        };
        // The state's own word is no reason.
        reason.filter(|reason| *reason != endpoint.state.to_string()).unwrap_or_default().to_owned()
    }
}

fn health(endpoint: &EndpointStatus) -> String {
    match endpoint.state {
        State::Up => "up".to_owned(),
        state => format!("{state} {} s", endpoint.since.elapsed().unwrap_or_default().as_secs()),
    }
}

fn endpoint(status: &Status, address: SocketAddr) -> Option<&EndpointStatus> {
    let address = address.to_string();
    status.clusters.iter().flat_map(|cluster| &cluster.endpoints).find(|endpoint| *endpoint.address == *address)
}

/// By the nearest rank; `None` of nothing.
fn times(all: impl Iterator<Item = Duration>) -> Option<Times> {
    let mut all: Vec<Duration> = all.collect();
    all.sort_unstable();
    let rank = |percent: usize| all.get((all.len() * percent).div_ceil(100).saturating_sub(1)).copied();
    Some(Times { p50: rank(50)?, p99: rank(99)? })
}

/// The sum of a family's samples, in the OpenMetrics text, whose labels contain this text.
fn sum(metrics: &str, family: &str, label: &str) -> u64 {
    metrics
        .lines()
        .filter_map(|line| {
            let (labels, value) = line.strip_prefix(family)?.strip_prefix('{')?.rsplit_once("} ")?;
            if labels.contains(label) { value.split(' ').next()?.parse::<u64>().ok() } else { None }
        })
        .sum()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::SystemTime;

    use lb_proxy::observe::status::ClusterStatus;

    use super::*;

    fn addresses() -> [SocketAddr; 3] {
        [1, 2, 3].map(|port| SocketAddr::from(([127, 0, 0, 1], port)))
    }

    fn status(requests: [u64; 3], last: (State, Option<&str>)) -> Status {
        let endpoint = |(index, address): (usize, SocketAddr)| EndpointStatus {
            address: Arc::from(address.to_string()),
            resolved: Some(address.to_string()),
            eligible: index < 2 || last.0 == State::Up,
            state: if index < 2 { State::Up } else { last.0 },
            reason: last.1.map(ToOwned::to_owned),
            since: SystemTime::now(),
            in_flight: 4,
            requests: requests[index],
            failures: 0,
            requests_per_s: 0.0,
            response: None,
            last_check: None,
            earlier_checks: Vec::new(),
            flaps: 0,
            ejections: 0,
            wait: None,
            outcomes: String::new(),
        };
        let endpoints = addresses().into_iter().enumerate().map(endpoint).collect();
        let cluster = ClusterStatus { name: Arc::from("demo"), endpoints, ..ClusterStatus::default() };
        Status { generation: 1, uptime: Duration::ZERO, clusters: vec![cluster], ..Status::default() }
    }

    #[test]
    fn percentiles_are_of_the_nearest_rank() {
        let ms = |all: &[u64]| times(all.iter().copied().map(Duration::from_millis));
        assert_eq!(ms(&[]), None);
        let of = |p50, p99| Some(Times { p50: Duration::from_millis(p50), p99: Duration::from_millis(p99) });
        assert_eq!(ms(&[7]), of(7, 7));
        assert_eq!(ms(&[4, 1, 3, 2]), of(2, 4));
        assert_eq!(ms(&(1..=200).rev().collect::<Vec<_>>()), of(100, 198));
    }

    #[test]
    fn samples_of_a_family_are_summed_by_label() {
        let text = "# TYPE lbproxy_ejections counter\n\
                    lbproxy_ejections_total{cluster=\"a\",endpoint=\"x:1\"} 2\n\
                    lbproxy_ejections_total{cluster=\"b\",endpoint=\"x:1\"} 3\n\
                    lbproxy_ejections_total{cluster=\"b\",endpoint=\"x:12\"} 5\n\
                    lbproxy_ejections_created{endpoint=\"x:1\"} 9\n";
        assert_eq!(sum(text, "lbproxy_ejections_total", "endpoint=\"x:1\""), 5);
        assert_eq!(sum(text, "lbproxy_ejections_total", ""), 10);
        assert_eq!(sum("", "lbproxy_ejections_total", ""), 0);
    }

    #[test]
    fn rates_forget_what_is_older_than_their_time() {
        let began = Instant::now();
        let mut sight = Sight::new(addresses(), began);
        let up = (State::Up, None);
        let at = |tenths: u64| began + Duration::from_millis(100 * tenths);
        sight.view(at(10), &status([100, 0, 0], up), "");
        let view = sight.view(at(20), &status([200, 0, 0], up), "");
        assert_eq!(view.rows[0].rate, 100.0, "200 in 2 s");
        sight.view(at(30), &status([200, 10, 0], up), "");
        let view = sight.view(at(40), &status([200, 10, 0], up), "");
        assert_eq!((view.rows[0].rate, view.rows[1].rate), (0.0, 5.0), "0 and 10 in the last 2 s");
        assert_eq!(view.rows[1].requests, 10);
    }

    #[test]
    fn times_forget_what_is_older_than_theirs() {
        let began = Instant::now();
        let mut sight = Sight::new(addresses(), began);
        let sample = |s: u64, by, ms| Sample {
            at: began + Duration::from_secs(s),
            by,
            took: Duration::from_millis(ms),
            is_good: by.is_some(),
        };
        for sample in [sample(1, Some(0), 900), sample(8, Some(0), 5), sample(9, None, 50)] {
            sight.on_sample(sample);
        }
        let view = sight.view(began + Duration::from_secs(12), &status([0; 3], (State::Up, None)), "");
        assert_eq!(view.rows[0].times.map(|times| times.p99), Some(Duration::from_millis(5)));
        assert_eq!(view.rows[1].times, None);
        assert_eq!(view.clients.times.map(|times| times.p99), Some(Duration::from_millis(50)));
        assert_eq!((view.clients.requests, view.clients.failed), (3, 1));
    }

    #[test]
    fn an_endpoint_that_is_not_up_says_why() {
        let mut sight = Sight::new(addresses(), Instant::now());
        let found = sight.on_event("endpoint 127.0.0.1:3 ejected for 4s: 3 failures in 10s, the last a status_500");
        assert_eq!(found, "flaky ejected for 4s: 3 failures in 10s, the last a status_500");
        let mut row = |state, reason| {
            let row = sight.view(Instant::now(), &status([0; 3], (state, reason)), "").rows[2].clone();
            (row.health, row.reason, row.is_eligible)
        };
        let failures = "3 failures in 10s, the last a status_500";
        assert_eq!(row(State::Ejected, Some("ejected")), ("ejected 0 s".into(), failures.into(), false));
        assert_eq!(row(State::Down, Some("status 503")), ("down 0 s".into(), "status 503".into(), false));
        assert_eq!(row(State::Drain, Some("drain")), ("drain 0 s".into(), String::new(), false));
        assert_eq!(row(State::Up, None), ("up".into(), String::new(), true));
    }
}
