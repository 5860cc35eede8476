//! Exchanges built from the text of a head, taken through route and filters without a socket.

use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use lb_config::{Config, ListenAddress};

use super::chain::{Chain, chain};
use super::*;
use crate::downstream::{ClientConnection, Slot};
use crate::events::Events;
use crate::forward::stack::RouteStacks;
use crate::message::{Framing, RequestHead};
use crate::observe::metrics::Metrics;
use crate::route::{self, Routed};
use crate::rules::testing::{head, sent};
use crate::runtime::headers::Headers;
use crate::runtime::registry::Registry;
use crate::runtime::snapshot::WorkerSnapshot;
use crate::tls::Store;
use crate::wire::h1::{Connection, encode_response};

/// A configuration in force, and a connection to its one listener.
pub(super) struct Proxy {
    snapshot: Arc<WorkerSnapshot>,
    pub(super) chains: Chains,
    connection: Arc<ClientConnection>,
    /// What chains of this configuration are made of.
    headers: Headers,
    limiters: Limiters,
}

impl Proxy {
    /// With these lines of the configuration. Responses that no route makes have `X-By: listener`.
    pub(super) fn new(lines: &str) -> Self {
        Self::with_cluster(lines, "endpoints = [\"127.0.0.1:1\"]")
    }

    /// As [`new`](Self::new), with these lines of the cluster `app`, which requests of our own may be sent to.
    pub(super) fn with_cluster(lines: &str, cluster: &str) -> Self {
        let text = format!(
            "listener = [{{ address = \"127.0.0.1:0\", headers.response.set.x-by = \"listener\" }}]\n{lines}\n\
             [cluster.app]\n{cluster}\n"
        );
        let mut config = Config::parse(&text, &|_| None).unwrap_or_else(|errors| panic!("{errors}")).config;
        config.own_requests.clusters = vec![0];
        let config = Arc::new(config);
        let metrics = Arc::new(Metrics::new(2));
        let mut registry = Registry::new(lb_tower::system_clock(), metrics, Arc::default(), Arc::default(), 1);
        let tls = Store::default().load(&config, &Events::default()).unwrap();
        let headers = Headers::new(&config).unwrap();
        let (limiters, kept) = (registry.limiters(&config).unwrap(), registry.limiters(&config).unwrap());
        let chains = Chains::new(&config, &headers, parts(&limiters)).unwrap();
        let snapshot = registry.build(config, &[], tls, limiters, &headers, 443);
        let connection = ClientConnection {
            address: ListenAddress::Tcp("127.0.0.1:80".parse().unwrap()),
            peer: Some("192.0.2.1:5000".parse().unwrap()),
            local: Some("192.0.2.9:80".parse().unwrap()),
            tls: None,
            worker: 0,
            slot: Slot::default(),
        };
        Self {
            snapshot: Arc::new(WorkerSnapshot {
                stacks: Arc::new(RouteStacks::new(&snapshot.routes)),
                shared: snapshot,
            }),
            chains,
            connection: Arc::new(connection),
            headers,
            limiters: kept,
        }
    }

    /// The scope of its first route.
    fn scope(&self) -> Scope<'_> {
        let config = &self.snapshot.shared.config;
        Scope {
            config,
            route: config.routes.first(),
            listener: None,
            request_headers: Some(&self.headers.routes[0].request),
            response_headers: &self.headers.routes[0].response,
            parts: parts(&self.limiters),
        }
    }

    pub(super) fn exchange(&self, head: RequestHead) -> Exchange {
        Exchange::internal(&self.connection, &self.snapshot, 0, head, &Bytes::new())
    }

    /// Takes a request through route and request half.
    pub(super) fn ask(&self, head: RequestHead) -> (Exchange, Passed) {
        let mut exchange = self.exchange(head);
        match route::route(&exchange) {
            Routed::Answer(response) => {
                let refused = self.chains.on_unrouted(&mut exchange);
                (exchange, Passed::Answer(refused.unwrap_or(response)))
            }
            Routed::Matched(route) => {
                exchange.route = Some(route);
                let passed = self.chains.on_request(&mut exchange);
                (exchange, passed)
            }
        }
    }
}

fn parts(limiters: &Limiters) -> Parts<'_> {
    static METRICS: std::sync::LazyLock<Arc<Metrics>> = std::sync::LazyLock::new(|| Arc::new(Metrics::new(1)));
    static PAGES: std::sync::LazyLock<Pages> = std::sync::LazyLock::new(Pages::default);
    static AUTH: std::sync::LazyLock<Loaded> = std::sync::LazyLock::new(Loaded::default);
    static LOG: std::sync::LazyLock<Arc<LimitLog>> = std::sync::LazyLock::new(Arc::default);
    Parts { auth: &AUTH, limiters, limit_log: &LOG, sticky_secret: &[7; 32], pages: &PAGES, metrics: &METRICS }
}

/// Routes with every kind of response of our own; those of a route have `X-By: route`.
const OWN: &str = "
[[route]]
path = \"/moved/\"
redirect = { to = \"/new/\", status = 308 }
headers.response.set.x-by = \"route\"
[[route]]
path = \"/fixed\"
respond = { status = 200, body = \"hello\" }
headers.response.set.x-by = \"route\"
[[route]]
path = \"/limited\"
respond = { status = 200, body = \"hello\" }
rate_limit = { rate = \"1/h\", key = \"client_ip\", burst = 0 }
headers.response.set.x-by = \"route\"
[[route]]
path = \"/app/\"
methods = [\"GET\", \"POST\"]
cluster = \"app\"
body_limit = \"10b\"
headers.request.set.x-env = \"test\"
headers.response.set.x-by = \"route\"
";

#[test]
fn a_request_passes_the_filters_of_its_route_without_a_socket() {
    let proxy = Proxy::new(OWN);
    let (exchange, passed) = proxy.ask(head("GET /app/a HTTP/1.1\nHost: a\nX-Forwarded-For: 6.6.6.6\nX-Env: forged"));
    assert!(matches!(passed, Passed::All));
    let lines = sent(&exchange.head, &exchange.edits);
    let id = format!("X-Request-Id: {}", exchange.id.as_str());
    let expected = [
        "Host: a",
        "X-Forwarded-For: 192.0.2.1",
        "X-Forwarded-Host: a",
        "X-Forwarded-Port: 80",
        "X-Forwarded-Proto: http",
        "X-Real-IP: 192.0.2.1",
        &id,
        "x-env: test",
    ];
    assert_eq!(lines, expected);
    // One that claims nothing gets the lines of its connection, and the same id once.
    let (exchange, _) = proxy.ask(head("GET /app/a HTTP/1.1\nHost: a"));
    let id = format!("X-Request-Id: {}", exchange.id.as_str());
    let lines = sent(&exchange.head, &exchange.edits);
    assert_eq!((lines.len(), lines.iter().filter(|line| **line == id).count()), (expected.len(), 1), "{lines:?}");
}

#[test]
fn every_response_of_our_own_passes_the_response_half() {
    let proxy = Proxy::new(OWN);
    let too_long = head("POST /app/ HTTP/1.1\nHost: a\nContent-Length: 11");
    assert_eq!(too_long.framing(), Framing::Length(11));
    let get = |path: &str| head(&format!("GET {path} HTTP/1.1\nHost: a"));
    for (request, status, by) in [
        (get("/moved/a"), 308, "route"),
        (get("/fixed"), 200, "route"),
        (get("/limited"), 200, "route"),
        (get("/limited"), 429, "route"),
        (too_long, 413, "route"),
        (get("/nothing"), 404, "listener"),
        (get("/%zz"), 400, "listener"),
        (head("PUT /app/ HTTP/1.1\nHost: a"), 405, "listener"),
        (head("CONNECT a:443 HTTP/1.1\nHost: a:443"), 501, "listener"),
    ] {
        let text = request.target().escape_ascii().to_string();
        let (exchange, Passed::Answer(mut response)) = proxy.ask(request) else { panic!("{text} passed") };
        assert_eq!(response.head.status(), status, "{text}");
        proxy.chains.on_response(&exchange, &mut response);
        let edited = response.edits.response_header(&response.head, "x-by");
        assert_eq!(edited, Some(by.as_bytes()), "{text}");
    }
    // As one without an endpoint to forward to.
    let (exchange, passed) = proxy.ask(get("/app/"));
    assert!(matches!(passed, Passed::All));
    let mut response = exchange.refusal(crate::rules::cause::Cause::NoEndpoint, None);
    proxy.chains.on_response(&exchange, &mut response);
    assert_eq!(response.edits.response_header(&response.head, "x-by"), Some(&b"route"[..]));
}

/// Notes its name in `X-Trace` of requests, and of responses, and does with a request what its name says.
struct Probe(&'static str);

impl Probe {
    fn note(&self, edits: &mut crate::message::Edits) {
        edits.append("x-trace", self.0).unwrap();
    }

    fn decide(&self, exchange: &Exchange) -> Flow {
        match self.0 {
            "answers" => Flow::Answer(exchange.refusal(crate::rules::cause::Cause::Internal, None)),
            _ => Flow::Go,
        }
    }
}

macro_rules! probe {
    ($($name:ident $text:literal),*) => {$(
        struct $name;
        impl Filter for $name {
            fn new(_: &Scope<'_>) -> Result<Option<Self>, HeaderError> {
                Ok(Some(Self))
            }
            fn on_request(&self, exchange: &mut Exchange) -> Flow {
                Probe($text).note(&mut exchange.edits);
                match $text {
                    "waits" | "waits, then answers" => Flow::Wait(Box::pin(async {
                        Box::new(|exchange: &mut Exchange| {
                            Probe("resumed").note(&mut exchange.edits);
                            Probe($text.trim_start_matches("waits, then ")).decide(exchange)
                        }) as Resume
                    })),
                    _ => Probe($text).decide(exchange),
                }
            }
            fn on_response(&self, _: &Exchange, response: &mut Response) {
                Probe($text).note(&mut response.edits);
            }
        }
    )*};
}

probe!(First "first", Waits "waits", Last "last", WaitsAndAnswers "waits, then answers");

/// A filter that is off.
struct Off;

impl Filter for Off {
    fn new(_: &Scope<'_>) -> Result<Option<Self>, HeaderError> {
        Ok(None)
    }

    fn on_request(&self, _: &mut Exchange) -> Flow {
        unreachable!("it does not exist")
    }
}

chain! {
    /// One that waits in its midst.
    Waiting { first: First, off: Off, waits: Waits, last: Last, }
}

chain! {
    /// One that answers after a wait.
    Refusing { waits: WaitsAndAnswers, last: Last, }
}

/// The lines of a response's head.
pub(super) fn written(response: &Response) -> Vec<String> {
    let mut out = BytesMut::new();
    encode_response(&mut out, &response.head, &response.edits, response.framing, Connection::Implicit);
    String::from_utf8_lossy(&out).lines().map(str::to_owned).collect()
}

fn trace(lines: &[String]) -> Vec<&str> {
    lines.iter().filter_map(|line| line.strip_prefix("x-trace: ")).collect()
}

#[tokio::test]
async fn a_filter_may_wait_and_those_behind_it_go_on_after_it_and_none_twice() {
    let proxy = Proxy::new(OWN);
    let chain = Waiting::new(&proxy.scope()).unwrap();
    let mut exchange = proxy.exchange(head("GET / HTTP/1.1\nHost: a"));
    let Passed::Wait(wait, step) = chain.on_request(&mut exchange, 0) else { panic!("it waits") };
    let Flow::Go = wait.await(&mut exchange) else { panic!("it goes on") };
    assert!(matches!(chain.on_request(&mut exchange, step.0), Passed::All));
    // Sorted by name and value.
    assert_eq!(trace(&sent(&exchange.head, &exchange.edits)), ["first", "last", "resumed", "waits"]);

    let chain = Refusing::new(&proxy.scope()).unwrap();
    let mut exchange = proxy.exchange(head("GET / HTTP/1.1\nHost: a"));
    let Passed::Wait(wait, _) = chain.on_request(&mut exchange, 0) else { panic!("it waits") };
    let Flow::Answer(mut response) = wait.await(&mut exchange) else { panic!("it answers") };
    chain.on_response(&exchange, &mut response);
    assert_eq!(trace(&written(&response)), ["last", "waits, then answers"]);
}

#[test]
fn responses_pass_from_the_last_filter_to_the_first() {
    let proxy = Proxy::new(OWN);
    let chain = Waiting::new(&proxy.scope()).unwrap();
    let exchange = proxy.exchange(head("GET / HTTP/1.1\nHost: a"));
    let mut response = exchange.refusal(crate::rules::cause::Cause::NoRoute, None);
    chain.on_response(&exchange, &mut response);
    assert_eq!(trace(&written(&response)), ["last", "waits", "first"]);
}

#[test]
fn filters_stand_in_the_order_of_the_documentation() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/life-of-a-request.md");
    let text = std::fs::read_to_string(path).unwrap();
    let table = text.split("## Filters").nth(1).unwrap().split("\n## ").next().unwrap();
    let rows = table.lines().filter_map(|line| line.strip_prefix("| `")?.split('`').next());
    assert_eq!(rows.collect::<Vec<_>>(), Chain::NAMES);
}

#[test]
fn a_route_that_uses_no_filter_has_none_but_those_that_any_forwarded_request_needs() {
    let proxy = Proxy::new("[[route]]\ncluster = \"app\"");
    let chain = Chain::new(&proxy.scope()).unwrap();
    assert_eq!(chain.names(), ["upgrade", "body_limit", "forwarded"]);
}
