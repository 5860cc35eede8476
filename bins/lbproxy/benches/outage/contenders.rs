//! The proxies: lbproxy in three settings, and nginx and HAProxy in settings meant for outages.
//!
//! An attempt at an endpoint that refuses or is out of reach leaves no trace there, so the proxies count them: lbproxy and
//! HAProxy are polled four times a second, nginx's access log is read at the end.

use std::fmt::Write as _;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde_json::Value;

use super::client::get;
use super::endpoint::CHECK_PATH;
use super::figures::Attempt;
use crate::programs::{Haproxy, Nginx, Ports, has_haproxy, has_nginx};
use crate::support::{Proxy, config};

/// A proxy and its settings.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Contender {
    /// lbproxy with endpoints alone.
    Least,
    /// lbproxy with active checks.
    Checked,
    /// lbproxy with active checks, outlier detection and retries on statuses.
    Recommended,
    Nginx,
    Haproxy,
}

impl Contender {
    pub(crate) const ALL: [Self; 5] = [Self::Least, Self::Checked, Self::Recommended, Self::Nginx, Self::Haproxy];

    /// What it is called in the table.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Least => "least",
            Self::Checked => "checked",
            Self::Recommended => "recommended",
            Self::Nginx => "nginx",
            Self::Haproxy => "HAProxy",
        }
    }

    /// Whether it is one that lbproxy is compared with.
    pub(crate) const fn is_peer(self) -> bool {
        matches!(self, Self::Nginx | Self::Haproxy)
    }

    /// Whether its program is installed; prints a note where it is not.
    pub(crate) fn is_there(self) -> bool {
        match self {
            Self::Nginx => has_nginx(),
            Self::Haproxy => has_haproxy(),
            _ => true,
        }
    }

    /// Starts it before these endpoints and waits until it serves.
    pub(crate) fn start(self, endpoints: &Ports) -> Running {
        let addresses: Vec<_> = (0..endpoints.count()).map(|number| endpoints.at(number)).collect();
        match self {
            Self::Least | Self::Checked | Self::Recommended => Running::lbproxy(self, addresses),
            Self::Nginx => Running::nginx(addresses),
            Self::Haproxy => Running::haproxy(addresses),
        }
    }

    /// The part of lbproxy's configuration that differs.
    fn settings(self, endpoints: &[SocketAddr]) -> String {
        let endpoints = endpoints.iter().map(|address| format!("\"{address}\"")).collect::<Vec<_>>().join(", ");
        let cluster = format!("[cluster.app]\nendpoints = [{endpoints}]\n");
        let active = format!("health.active = {{ path = \"{CHECK_PATH}\" }}\n");
        match self {
            Self::Recommended => format!(
                "[[route]]\ncluster = \"app\"\n\
                 retry.on = [\"connect_error\", \"reset\", \"timeout\", \"500\", \"502\", \"503\"]\n\
                 {cluster}{active}health.passive = {{}}\n"
            ),
            Self::Checked => format!("[[route]]\ncluster = \"app\"\n{cluster}{active}"),
            _ => format!("[[route]]\ncluster = \"app\"\n{cluster}"),
        }
    }
}

/// A proxy that runs; it ends when dropped.
pub(crate) struct Running {
    program: Program,
    /// Where it takes requests.
    pub(crate) at: SocketAddr,
    endpoints: Vec<SocketAddr>,
}

enum Program {
    Lbproxy(Proxy),
    Nginx { _program: Nginx, _ports: Ports, log: PathBuf },
    Haproxy { _program: Haproxy, ports: Ports },
}

impl Running {
    fn lbproxy(contender: Contender, endpoints: Vec<SocketAddr>) -> Self {
        let proxy = Proxy::start(&config(1, &contender.settings(&endpoints)));
        Self { at: proxy.web(), program: Program::Lbproxy(proxy), endpoints }
    }

    fn nginx(endpoints: Vec<SocketAddr>) -> Self {
        let mut http = "log_format attempts '$msec $request_time|$upstream_addr|$upstream_response_time';\n\
                        upstream app {\n  zone app 256k;\n"
            .to_owned();
        for address in &endpoints {
            // Writing to a String does not fail.
            let _ = writeln!(http, "  server {address} max_fails=3 fail_timeout=10s;");
        }
        http += "}\nserver {\n  listen PORT0;\n  access_log DIR/attempts attempts;\n  location / {\n    \
                 proxy_pass http://app;\n    proxy_connect_timeout 5s;\n    \
                 proxy_next_upstream error timeout http_500 http_502 http_503;\n  }\n}\n";
        let ports = Ports::new(1);
        let nginx = Nginx::start("worker_rlimit_nofile 16384;", &http, &ports, |_| ());
        let log = nginx.directory.path().join("attempts");
        Self { at: ports.at(0), program: Program::Nginx { _program: nginx, _ports: ports, log }, endpoints }
    }

    fn haproxy(endpoints: Vec<SocketAddr>) -> Self {
        let mut sections = format!(
            "global\n  maxconn 4000\n\
             listen app\n  mode http\n  bind PORT0\n  balance roundrobin\n  option httpchk GET {CHECK_PATH}\n  \
             option redispatch\n  retries 3\n  \
             retry-on conn-failure empty-response response-timeout 500 502 503\n  \
             timeout connect 5s\n  timeout server 60s\n  \
             default-server check inter 2s fall 3 rise 2 observe layer7 error-limit 10 on-error mark-down\n"
        );
        for (number, address) in endpoints.iter().enumerate() {
            let _ = writeln!(sections, "  server e{number} {address}");
        }
        sections += "listen counts\n  mode http\n  bind PORT1\n  stats enable\n  stats uri /\n";
        let ports = Ports::new(2);
        let haproxy = Haproxy::start(&sections, &ports);
        Self { at: ports.at(0), program: Program::Haproxy { _program: haproxy, ports }, endpoints }
    }

    /// How often it has tried each endpoint so far, by its own count; none where it has no such count, or does not answer.
    pub(crate) async fn counts(&self) -> Option<Vec<u64>> {
        match &self.program {
            Program::Lbproxy(proxy) => {
                let (_, body) = get(proxy.admin(), "/status").await.ok()?;
                self.lbproxy_counts(&serde_json::from_slice(&body).ok()?)
            }
            Program::Nginx { .. } => None,
            Program::Haproxy { ports, .. } => {
                let (_, body) = get(ports.at(1), "/;csv").await.ok()?;
                self.haproxy_counts(std::str::from_utf8(&body).ok()?)
            }
        }
    }

    fn lbproxy_counts(&self, status: &Value) -> Option<Vec<u64>> {
        let listed = status["clusters"]["app"]["endpoints"].as_array()?;
        let count = |address: &SocketAddr| {
            let endpoint = listed.iter().find(|endpoint| endpoint["address"] == address.to_string())?;
            // An attempt is counted when it has ended.
            Some(endpoint["requests"].as_u64()? + endpoint["in_flight"].as_u64()?)
        };
        self.endpoints.iter().map(count).collect()
    }

    fn haproxy_counts(&self, csv: &str) -> Option<Vec<u64>> {
        let mut lines = csv.lines();
        let names: Vec<_> = lines.next()?.trim_start_matches("# ").split(',').collect();
        let column = |name: &str| names.iter().position(|found| *found == name);
        let (proxy, server, sessions, retries) =
            (column("pxname")?, column("svname")?, column("stot")?, column("wretr")?);
        let rows: Vec<Vec<_>> = lines.map(|line| line.split(',').collect()).collect();
        let count = |number| {
            let name = format!("e{number}");
            let row = rows.iter().find(|row| row.get(proxy) == Some(&"app") && row.get(server) == Some(&&*name))?;
            let cell = |column: usize| row.get(column)?.parse::<u64>().ok();
            Some(cell(sessions)? + cell(retries)?)
        };
        (0..self.endpoints.len()).map(count).collect()
    }

    /// Every attempt there was, since `start`, where it keeps a log of them.
    pub(crate) fn logged(&self, start: SystemTime) -> Option<Vec<Attempt>> {
        let Program::Nginx { log, .. } = &self.program else { return None };
        let start = start.duration_since(UNIX_EPOCH).ok()?;
        let text = std::fs::read_to_string(log).ok()?;
        Some(text.lines().flat_map(|line| nginx_attempts(line, start, &self.endpoints)).collect())
    }
}

/// The attempts of one line of nginx's log: they followed one another from the request's start.
pub(crate) fn nginx_attempts(line: &str, start: Duration, endpoints: &[SocketAddr]) -> Vec<Attempt> {
    let mut parts = line.split('|');
    let mut times = parts.next().unwrap_or_default().split(' ').filter_map(|time| time.parse::<f64>().ok());
    let (Some(ended), Some(took)) = (times.next(), times.next()) else { return Vec::new() };
    let (addresses, durations) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
    let mut at = ended - took - start.as_secs_f64();
    let mut attempts = Vec::new();
    for (address, duration) in addresses.split(", ").zip(durations.split(", ")) {
        // Where none was eligible, the name of the upstream stands for an address.
        let endpoint = endpoints.iter().position(|endpoint| endpoint.to_string() == address);
        attempts.extend(endpoint.map(|endpoint| Attempt { at: Duration::from_secs_f64(at.max(0.0)), endpoint }));
        at += duration.parse::<f64>().unwrap_or(0.0);
    }
    attempts
}
