//! The service of the admin listener: `/healthz`, `/metrics`, `/status`, and the status as a page for people at `/`.
//!
//! It must answer when the proxy is at its limits, so it shares nothing with the workers: it runs on the control
//! runtime, on hyper, with a handful of connections (`places.rs` says whose), and with descriptors kept for the time
//! when there are no others. And it must not become a hole: without `allow` only loopback clients are answered. Who may
//! not come takes no slot: a few such clients at a time get a 403, within a second, and further ones are closed.
//!
//! Every client must name the address it means, or one of `hosts`. A web page that the operator looks at can make the
//! browser ask `http://its.own.name:9900/status` after its name was pointed at this address (DNS rebinding); the `Host` it
//! then sends is the page's own, and is refused.
//!
//! What this does not do: change anything, speak TLS, or ask for a password. Every answer is a reading.

use std::convert::Infallible;
use std::net::{IpAddr, SocketAddr};
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use arc_swap::ArcSwap;
use bytes::Bytes;
use http::header::{
    ACCEPT, ALLOW, CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, HOST, HeaderValue, X_CONTENT_TYPE_OPTIONS,
};
use http::{Method, Request, Response, StatusCode};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use lb_config::{HostPattern, Network};
use tokio_util::sync::CancellationToken;

use crate::net::Stream;
use crate::observe::metrics::Metrics;
use crate::observe::status::{Status, StatusSource};
use crate::observe::status_page;
use crate::rules::networks::Networks;

/// Who is answered, and by which names.
#[derive(Clone, Debug, Default)]
pub(crate) struct Access {
    /// Networks of clients; none means loopback only.
    pub(crate) allow: Vec<Network>,
    /// Names that a request's `Host` may have beside addresses and `localhost`.
    pub(crate) hosts: Vec<HostPattern>,
}

/// [`Access`], ready to be asked.
struct Rules {
    networks: Networks,
    hosts: Vec<HostPattern>,
}

impl Rules {
    fn new(access: Access) -> Self {
        Self { networks: Networks::new(&access.allow), hosts: access.hosts }
    }
}

/// What the admin listener answers from.
pub(crate) struct AdminState {
    metrics: Arc<Metrics>,
    source: Arc<dyn StatusSource>,
    access: ArcSwap<Rules>,
    is_stopping: AtomicBool,
}

impl AdminState {
    /// A healthy proxy.
    #[must_use]
    pub(crate) fn new(metrics: Arc<Metrics>, source: Arc<dyn StatusSource>, access: Access) -> Self {
        Self { metrics, source, access: ArcSwap::from_pointee(Rules::new(access)), is_stopping: AtomicBool::new(false) }
    }

    /// Takes over new networks and names, from the next request on.
    pub(crate) fn set_access(&self, access: Access) {
        self.access.store(Arc::new(Rules::new(access)));
    }

    /// Shutdown has begun: `/healthz` answers 503 from now on, so that load balancers in front stop sending requests.
    pub(crate) fn set_stopping(&self) {
        self.is_stopping.store(true, Ordering::Relaxed);
    }

    fn answer<B>(&self, request: &Request<B>, client: Client) -> Response<Full<Bytes>> {
        // RFC 9112 §3.2. Of two hosts the one that was checked need not be the one that something before us went by.
        if request.headers().get_all(HOST).iter().nth(1).is_some() {
            return text(StatusCode::BAD_REQUEST, "one Host header field\n");
        }
        if let Err(why) = self.admit(request, client) {
            return text(StatusCode::FORBIDDEN, why);
        }
        let path = request.uri().path();
        if !matches!(path, "/" | "/healthz" | "/metrics" | "/status") {
            return text(StatusCode::NOT_FOUND, "there are /, /healthz, /metrics and /status\n");
        }
        if !matches!(*request.method(), Method::GET | Method::HEAD) {
            let mut response = text(StatusCode::METHOD_NOT_ALLOWED, "GET or HEAD\n");
            response.headers_mut().insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
            return response;
        }
        match path {
            "/healthz" if self.is_stopping.load(Ordering::Relaxed) => {
                text(StatusCode::SERVICE_UNAVAILABLE, "shutting down\n")
            }
            "/healthz" => text(StatusCode::OK, "healthy\n"),
            "/metrics" => answer(StatusCode::OK, OPEN_METRICS, self.metrics.encode(&self.source.status())),
            "/" => page(&self.source.status()),
            _ if wants_page(request) => page(&self.source.status()),
            _ => {
                let mut status = self.source.status();
                if request.uri().query().is_some_and(|query| query.split('&').any(|it| it == "top" || it == "top=true"))
                {
                    self.source.add_top_keys(&mut status);
                }
                answer(StatusCode::OK, "application/json", status.to_json())
            }
        }
    }

    fn admit<B>(&self, request: &Request<B>, client: Client) -> Result<(), &'static str> {
        // A reload may have changed this since the client connected.
        self.may_come(client)?;
        if let Client::Unix = client {
            return Ok(());
        }
        let host = request.uri().authority().map(|authority| authority.as_str().as_bytes());
        let access = self.access.load();
        match host.or_else(|| request.headers().get(HOST).map(HeaderValue::as_bytes)) {
            Some(host) if !is_ours(host, &access.hosts) => {
                Err("ask for an IP address, localhost or a name in admin.hosts\n")
            }
            _ => Ok(()),
        }
    }

    /// Whether a client is answered at all.
    pub(crate) fn may_come(&self, client: Client) -> Result<(), &'static str> {
        let Client::Tcp(client) = client else { return Ok(()) };
        let client = client.to_canonical();
        let allow = &self.access.load().networks;
        if allow.is_empty() {
            let why = "only loopback clients are answered unless admin.allow lists networks\n";
            return if client.is_loopback() { Ok(()) } else { Err(why) };
        }
        if allow.contains(client) { Ok(()) } else { Err("your address is not in admin.allow\n") }
    }
}

/// Who asks.
#[derive(Clone, Copy)]
pub(crate) enum Client {
    Tcp(IpAddr),
    /// The socket's mode decides.
    Unix,
}

impl Client {
    pub(crate) fn new(peer: Option<SocketAddr>) -> Self {
        peer.map_or(Self::Unix, |peer| Self::Tcp(peer.ip()))
    }

    pub(crate) fn address(self) -> Option<IpAddr> {
        match self {
            Self::Tcp(address) => Some(address.to_canonical()),
            Self::Unix => None,
        }
    }
}

/// One client, with a call of `on_request` at each request. However slow it reads or writes, its place is free again after two minutes and a bit.
pub(crate) async fn serve(
    stream: Stream,
    client: Client,
    state: Arc<AdminState>,
    stop: CancellationToken,
    on_request: impl Fn(),
) {
    let service = service_fn(|request: Request<Incoming>| {
        on_request();
        let response = state.answer(&request, client);
        async move { Ok::<_, Infallible>(response) }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIMEOUT)
        .max_buf_size(16 * 1024)
        .serve_connection(TokioIo::new(stream), service);
    let mut connection = pin!(connection);
    tokio::select! {
        // A client that breaks off or talks nonsense is no news.
        _ = &mut connection => return,
        () = tokio::time::sleep(MAX_AGE) => {}
        () = stop.cancelled() => {}
    }
    connection.as_mut().graceful_shutdown();
    drop(tokio::time::timeout(LAST_WAIT, connection).await);
}

/// Whether the status is asked for by a browser, or as one gets it.
fn wants_page<B>(request: &Request<B>) -> bool {
    let mut parts = request.uri().query().unwrap_or_default().split('&');
    match parts.find_map(|part| part.strip_prefix("format=")) {
        Some(format) => format == "html",
        None => request.headers().get_all(ACCEPT).iter().any(|value| {
            // `Accept: */*`, as curl sends, gets JSON.
            value.to_str().is_ok_and(|value| value.to_ascii_lowercase().contains("text/html"))
        }),
    }
}

/// The status for people.
fn page(status: &Status) -> Response<Full<Bytes>> {
    let mut response = answer(StatusCode::OK, "text/html; charset=utf-8", status.to_html());
    response.headers_mut().insert(CONTENT_SECURITY_POLICY, HeaderValue::from_static(status_page::POLICY));
    response
}

fn text(status: StatusCode, body: &'static str) -> Response<Full<Bytes>> {
    answer(status, "text/plain; charset=utf-8", body)
}

fn answer(status: StatusCode, content_type: &'static str, body: impl Into<Bytes>) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(body.into()));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    response
}

/// Whether a `Host` means us: this machine, an address, neither of which a name server had a say in, or a name that the
/// configuration has.
fn is_ours(host: &[u8], hosts: &[HostPattern]) -> bool {
    let Ok(host) = std::str::from_utf8(host) else { return false };
    let Ok(authority) = host.parse::<http::uri::Authority>() else { return false };
    let name = authority.host().trim_end_matches('.');
    let bare = name.strip_prefix('[').and_then(|name| name.strip_suffix(']')).unwrap_or(name);
    if bare.parse::<IpAddr>().is_ok() || name.eq_ignore_ascii_case("localhost") {
        return true;
    }
    let name = name.to_ascii_lowercase();
    hosts.iter().any(|pattern| match pattern {
        HostPattern::Exact(exact) => **exact == *name,
        HostPattern::Wildcard(suffix) => name.len() > suffix.len() && name.ends_with(&**suffix),
    })
}

const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// For a request head, and for the pause before the next one. Whoever asks less often connects again, at little cost.
pub(crate) const HEAD_TIMEOUT: Duration = Duration::from_secs(5);

const MAX_AGE: Duration = Duration::from_secs(120);

const LAST_WAIT: Duration = Duration::from_secs(5);

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    pub(crate) struct Fixed;

    impl StatusSource for Fixed {
        fn status(&self) -> Status {
            Status { generation: 7, ..Status::default() }
        }
    }

    pub(crate) fn state(allow: Vec<Network>) -> Arc<AdminState> {
        Arc::new(AdminState::new(Arc::new(Metrics::new(1)), Arc::new(Fixed), Access { allow, hosts: Vec::new() }))
    }

    fn ask(state: &AdminState, client: &str, method: &str, uri: &str, host: Option<&str>) -> (u16, String) {
        let mut request = Request::builder().method(method).uri(uri);
        if let Some(host) = host {
            request = request.header(HOST, host);
        }
        let client = if client == "unix" { Client::Unix } else { Client::Tcp(client.parse().unwrap()) };
        let response = state.answer(&request.body(()).unwrap(), client);
        (response.status().as_u16(), response.headers()[CONTENT_TYPE].to_str().unwrap().to_owned())
    }

    #[test]
    fn each_page_has_its_status_and_type() {
        let state = state(vec![]);
        for (method, path, status, content_type) in [
            ("GET", "/healthz", 200, "text/plain; charset=utf-8"),
            ("HEAD", "/healthz?x=1", 200, "text/plain; charset=utf-8"),
            ("GET", "/metrics", 200, OPEN_METRICS),
            ("GET", "/status", 200, "application/json"),
            ("POST", "/status", 405, "text/plain; charset=utf-8"),
            ("GET", "/status?format=json", 200, "application/json"),
            ("GET", "/status?x=1&format=html", 200, "text/html; charset=utf-8"),
            ("HEAD", "/", 200, "text/html; charset=utf-8"),
            ("POST", "/", 405, "text/plain; charset=utf-8"),
            ("GET", "/healthz/", 404, "text/plain; charset=utf-8"),
            ("POST", "/nothing", 404, "text/plain; charset=utf-8"),
        ] {
            assert_eq!(
                ask(&state, "127.0.0.1", method, path, None),
                (status, content_type.to_owned()),
                "{method} {path}"
            );
        }
        state.set_stopping();
        assert_eq!(ask(&state, "127.0.0.1", "GET", "/healthz", None).0, 503);
        assert_eq!(ask(&state, "127.0.0.1", "GET", "/status", None).0, 200, "still of use while shutting down");
    }

    #[test]
    fn without_networks_only_loopback_is_answered_and_only_by_its_own_name() {
        let state = state(vec![]);
        for (client, host, status) in [
            ("127.0.0.1", None, 200),
            ("127.0.0.1", Some("127.0.0.1:9900"), 200),
            ("::1", Some("[::1]:9900"), 200),
            ("::ffff:127.0.0.1", Some("LocalHost"), 200),
            ("127.0.0.1", Some("localhost.:9900"), 200),
            ("127.0.0.1", Some("evil.example"), 403),
            ("127.0.0.1", Some("127.0.0.1.evil.example:9900"), 403),
            ("127.0.0.1", Some("localhost.evil.example"), 403),
            ("127.0.0.1", Some("\u{e9}"), 403),
            ("127.0.0.1", Some(""), 403),
            ("10.0.0.1", Some("10.0.0.2:9900"), 403),
            ("unix", Some("anything"), 200),
        ] {
            assert_eq!(ask(&state, client, "GET", "/status", host).0, status, "{client} {host:?}");
        }
        assert_eq!(ask(&state, "127.0.0.1", "GET", "http://evil.example/status", Some("127.0.0.1")).0, 403);
    }

    #[test]
    fn two_hosts_are_one_too_many() {
        let state = state(vec![]);
        let request = Request::get("/healthz").header(HOST, "127.0.0.1").header(HOST, "127.0.0.1");
        let response = state.answer(&request.body(()).unwrap(), Client::Tcp("127.0.0.1".parse().unwrap()));
        assert_eq!(response.status(), StatusCode::BAD_REQUEST);
    }

    #[test]
    fn with_networks_their_members_are_answered_and_by_no_name_that_is_not_ours() {
        let state = state(vec![]);
        let network = |address: &str, prefix| Network { address: address.parse().unwrap(), prefix };
        let hosts = vec![HostPattern::Exact("lb.internal".into()), HostPattern::Wildcard(".ops.example".into())];
        let allow = vec![network("10.1.2.3", 8), network("2001:db8::", 32), network("192.0.2.7", 32)];
        state.set_access(Access { allow, hosts: hosts.clone() });
        for (client, status) in [
            ("10.255.0.1", 200),
            ("::ffff:10.0.0.1", 200),
            ("11.0.0.1", 403),
            ("192.0.2.7", 200),
            ("192.0.2.6", 403),
            ("2001:db8:ffff::1", 200),
            ("2001:db9::1", 403),
            ("127.0.0.1", 403),
        ] {
            assert_eq!(ask(&state, client, "GET", "/metrics", Some("lb.internal")).0, status, "{client}");
        }
        for (host, status) in [
            ("10.0.0.9:9900", 200),
            ("LB.internal.:9900", 200),
            ("a.ops.example", 200),
            ("ops.example", 403),
            ("evil.example", 403),
            ("lb.internal.evil.example", 403),
        ] {
            assert_eq!(ask(&state, "10.0.0.1", "GET", "/status", Some(host)).0, status, "{host}");
        }
        state.set_access(Access { allow: vec![network("0.0.0.0", 0)], hosts });
        assert_eq!(ask(&state, "8.8.8.8", "GET", "/metrics", None).0, 200);
        assert_eq!(ask(&state, "::1", "GET", "/metrics", None).0, 403, "an IPv4 network holds no IPv6");
    }
}
