//! A forwarding proxy: whatever comes in goes to an origin that works.
//!
//! `cargo run -p lb-tower --example forwarder --features hyper-util,axum -- 127.0.0.1:8080 http://127.0.0.1:3001 http://127.0.0.1:3002`

use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderName, StatusCode, header};
use axum::response::{IntoResponse, Response};
use lb_tower::client::http::HttpClient;

type Failure = Box<dyn std::error::Error + Send + Sync>;

/// Forwards to these origins. Bodies stream in both directions; up to 64 KiB of a request's are kept to send it again.
pub fn forwarder(origins: &[&str]) -> Result<Router, Failure> {
    let client = HttpClient::<Body>::of(origins.iter().copied())?;
    Ok(Router::new().fallback(forward).with_state(client))
}

async fn forward(State(client): State<HttpClient<Body>>, mut request: Request) -> Response {
    strip_connection_headers(request.headers_mut());
    match client.request(request).await {
        Ok(mut response) => {
            strip_connection_headers(response.headers_mut());
            response.map(Body::new)
        }
        // Its text names the endpoint, which is for the log and not for the client.
        Err(_) => StatusCode::BAD_GATEWAY.into_response(),
    }
}

/// Removes what is meant for one connection only (RFC 9110 §7.6.1).
fn strip_connection_headers(headers: &mut HeaderMap) {
    let named = headers.get_all(header::CONNECTION).iter().filter_map(|value| value.to_str().ok());
    let named: Vec<HeaderName> =
        named.flat_map(|list| list.split(',')).filter_map(|it| it.trim().parse().ok()).collect();
    let always =
        [header::CONNECTION, header::PROXY_AUTHENTICATE, header::TE, header::TRANSFER_ENCODING, header::UPGRADE];
    for name in named.into_iter().chain(always).chain([HeaderName::from_static("keep-alive")]) {
        headers.remove(name);
    }
}

#[tokio::main]
async fn main() -> Result<(), Failure> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [listen, origins @ ..] = arguments.as_slice() else { return Err("usage: forwarder LISTEN ORIGIN…".into()) };
    let origins: Vec<&str> = origins.iter().map(String::as_str).collect();
    let listener = tokio::net::TcpListener::bind(listen).await?;
    Ok(axum::serve(listener, forwarder(&origins)?).await?)
}
