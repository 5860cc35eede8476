//! A configuration without a file: one listener, one cluster, everything else by default.

use crate::language::diagnostic::{Diagnostics, Report};
use crate::language::files::NoFiles;
use crate::language::source::{Sources, Span};
use crate::language::tree::{Entry, Node, Table, Value};
use crate::language::values::address;
use crate::language::values::address::ListenAddress;
use crate::load::{Written, build};
use crate::model::config::Config;
use crate::model::elsewhere;

/// What the listener's cluster is called in logs and metrics.
const CLUSTER: &str = "app";

impl Config {
    /// Forwards everything that comes to `listen` to the endpoints `to`.
    ///
    /// Addresses are those of a file. A port alone, `8080`, is one of this machine, `127.0.0.1:8080`. Without a policy it is
    /// `round_robin`; with a `health_path`, endpoints are checked there every ten seconds; the `admin` listener, if there
    /// is one, is for clients of this machine, whatever its address.
    ///
    /// # Errors
    /// Messages without a place, one for each value that cannot be: an address that is none, no endpoint at all, a
    /// policy that is unknown.
    pub fn for_proxy(
        listen: &str,
        to: &[impl AsRef<str>],
        policy: Option<&str>,
        health_path: Option<&str>,
        admin: Option<&str>,
    ) -> Result<Self, Diagnostics> {
        let mut report = Report::new(elsewhere);
        if to.is_empty() {
            report.error(Span::NOWHERE, "there is no endpoint to forward to").expected("at least one address");
        }
        let endpoints = to.iter().map(|endpoint| Node::made_text(endpoint.as_ref())).collect();
        let mut cluster = vec![entry("endpoints", Node::made(Value::List(endpoints)))];
        cluster.extend(policy.map(|policy| entry("policy", Node::made_text(policy))));
        cluster.extend(health_path.map(|path| {
            let active = table(vec![entry("path", Node::made_text(path))]);
            entry("health", table(vec![entry("active", active)]))
        }));
        let written = Written {
            root: Table { entries: admin.map(|address| entry("admin", self::admin(address))).into_iter().collect() },
            listeners: vec![table(vec![entry("address", Node::made_text(&local(listen)))])],
            routes: vec![table(vec![entry("cluster", Node::made_text(CLUSTER))])],
            clusters: vec![entry(CLUSTER, table(cluster))],
            ..Written::default()
        };
        let config = build(&mut report, written, &NoFiles);
        let refused = report.has_errors();
        let diagnostics = Diagnostics::resolve(report.into_problems(), &Sources::default());
        config.filter(|_| !refused).ok_or(diagnostics)
    }
}

/// Clients of this machine, where an address lets others come.
fn admin(address: &str) -> Node {
    let mut fields = vec![entry("address", Node::made_text(&local(address)))];
    if let Ok(ListenAddress::Tcp(address)) = address::listen(&local(address))
        && !address.ip().to_canonical().is_loopback()
    {
        let networks = ["127.0.0.0/8", "::1"].map(Node::made_text);
        fields.push(entry("allow", Node::made(Value::List(networks.into()))));
    }
    table(fields)
}

/// A port alone is on loopback; to be reachable from elsewhere takes an address.
fn local(address: &str) -> String {
    if address.parse::<u16>().is_ok() { format!("127.0.0.1:{address}") } else { address.to_owned() }
}

fn entry(key: &str, node: Node) -> Entry {
    Entry { key: key.into(), key_span: Span::NOWHERE, node, inherited: false }
}

fn table(entries: Vec<Entry>) -> Node {
    Node::made(Value::Table(Table { entries }))
}
