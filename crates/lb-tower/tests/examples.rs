//! The examples against real servers.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use axum::Router;
use axum::body::Body;
use axum::http::{HeaderMap, Request, StatusCode};
use axum::routing::post;
use http_body_util::BodyExt;
use lb_tower::client::http::HttpClient;
use tokio::net::TcpListener;

#[path = "../examples/forwarder.rs"]
#[allow(dead_code, unreachable_pub, reason = "its main is for the command line")]
mod forwarder;

/// Serves the router; its origin.
async fn serve(app: Router) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move { axum::serve(listener, app).await.unwrap() });
    format!("http://{address}")
}

/// An origin where nobody listens.
async fn dead() -> String {
    format!("http://{}", TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap())
}

#[tokio::test]
async fn the_forwarder_sends_posts_past_a_dead_origin_without_what_is_meant_for_one_connection() {
    let echo = |headers: HeaderMap, body: String| async move {
        assert!(!headers.contains_key("x-hop") && !headers.contains_key("keep-alive"));
        body
    };
    let (live, dead) = (serve(Router::new().route("/echo", post(echo))).await, dead().await);
    let proxy = serve(forwarder::forwarder(&[&dead, &live]).unwrap()).await;
    let client = HttpClient::<Body>::of([&*proxy]).unwrap();
    for n in 0..20 {
        let request = Request::post("/echo").header("connection", "x-hop").header("x-hop", "1");
        let response = client.request(request.body(Body::from(format!("order {n}"))).unwrap()).await.unwrap();
        assert_eq!(response.status(), StatusCode::OK, "{n}");
        assert_eq!(response.into_body().collect().await.unwrap().to_bytes(), format!("order {n}"));
    }
}

#[tokio::test]
async fn the_forwarder_answers_502_if_no_origin_works() {
    let proxy = serve(forwarder::forwarder(&[&dead().await]).unwrap()).await;
    let client = HttpClient::<Body>::of([&*proxy]).unwrap();
    let response = client.request(Request::get("/").body(Body::empty()).unwrap()).await.unwrap();
    assert_eq!(response.status(), StatusCode::BAD_GATEWAY);
    assert!(response.into_body().collect().await.unwrap().to_bytes().is_empty());
}
