//! The ready-made clients against real servers.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::future::Future;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use axum::Router;
use axum::http::StatusCode;
use axum::routing::{get, post};
use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use lb_policy::{BuiltIn, Member, PeakEwma, Update};
use lb_ratelimit::Quota;
use lb_tower::client::grpc::GrpcChannel;
use lb_tower::client::http::HttpClient;
use lb_tower::client::reqwest::ReqwestClient;
use lb_tower::http::HttpRateLimitLayer;
use tokio::net::TcpListener;
use tonic::server::NamedService;
use tonic::service::interceptor::InterceptedService;
use tonic::transport::{Channel, Endpoint, Server};
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_client::HealthClient;
use tower_service::Service;

/// A gRPC service whose answers take some time.
#[derive(Clone)]
struct Delayed<S>(S, Duration);

impl<S: NamedService> NamedService for Delayed<S> {
    const NAME: &'static str = S::NAME;
}

impl<S, Req> Service<Req> for Delayed<S>
where
    S: Service<Req, Future: Send + 'static>,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = Pin<Box<dyn Future<Output = Result<S::Response, S::Error>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.0.poll_ready(cx)
    }

    fn call(&mut self, request: Req) -> Self::Future {
        let (answer, delay) = (self.0.call(request), self.1);
        Box::pin(async move {
            tokio::time::sleep(delay).await;
            answer.await
        })
    }
}

/// A tonic server of the health service: it answers after 5 ms, or says `UNAVAILABLE` at once.
async fn grpc_server(is_broken: bool) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (_, health) = tonic_health::server::health_reporter();
    let check = move |request| if is_broken { Err(tonic::Status::unavailable("broken")) } else { Ok(request) };
    let delay = if is_broken { Duration::ZERO } else { Duration::from_millis(5) };
    let service = Delayed(InterceptedService::new(health, check), delay);
    let connections = tokio_stream::wrappers::TcpListenerStream::new(listener);
    tokio::spawn(Server::builder().add_service(service).serve_with_incoming(connections));
    address
}

/// Of so many calls by four tasks, how many fail.
async fn failed<S>(channel: S, calls: u32) -> u32
where
    S: tonic::client::GrpcService<tonic::body::Body> + Clone + Send + 'static,
    S::ResponseBody: http_body::Body<Data = Bytes> + Send + 'static,
    <S::ResponseBody as http_body::Body>::Error: Into<Box<dyn std::error::Error + Send + Sync>> + Send,
    S::Future: Send,
{
    let failed = Arc::new(AtomicU32::new(0));
    let tasks = (0..4).map(|_| {
        let (channel, failed) = (channel.clone(), Arc::clone(&failed));
        async move {
            let mut client = HealthClient::new(channel);
            for _ in 0..calls / 4 {
                if client.check(HealthCheckRequest::default()).await.is_err() {
                    failed.fetch_add(1, Ordering::Relaxed);
                }
            }
        }
    });
    futures_util::future::join_all(tasks).await;
    failed.load(Ordering::Relaxed)
}

#[tokio::test]
async fn of_three_grpc_servers_one_says_unavailable_and_no_call_fails() {
    let servers = [grpc_server(false).await, grpc_server(false).await, grpc_server(true).await];
    let endpoints = servers.map(|address| Endpoint::try_from(format!("http://{address}")).unwrap());
    let theirs = failed(Channel::balance_list(endpoints.clone().into_iter()), 1_000).await;
    println!("tonic's own list: {theirs} of 1000 failed");
    let ours = failed(GrpcChannel::of(endpoints.clone()).unwrap(), 1_000).await;
    println!("GrpcChannel: {ours} of 1000 failed");
    assert_eq!(ours, 0);
    // A third, if it is random.
    assert!(theirs > 100, "the server is as bad as it should be: {theirs}");
    for name in BuiltIn::NAMES {
        let policy = BuiltIn::from_name(name, []).unwrap();
        let channel = GrpcChannel::over(&GrpcChannel::cluster(endpoints.clone()), policy);
        let failed = failed(channel, 120).await;
        assert_eq!(failed, 0, "{name}");
    }
}

#[tokio::test]
async fn a_grpc_server_that_is_gone_fails_no_call() {
    let gone = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let servers = [grpc_server(false).await, gone];
    let channel = GrpcChannel::of(servers.map(|address| format!("http://{address}"))).unwrap();
    assert_eq!(failed(channel, 100).await, 0);
}

async fn serve(router: Router) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let service = router.into_make_service_with_connect_info::<SocketAddr>();
    tokio::spawn(async move { axum::serve(listener, service).await });
    format!("http://{address}")
}

/// Two servers that echo orders, one that is gone, and one that answers 503 to everything.
async fn http_servers() -> [String; 4] {
    let echo = || Router::new().route("/order", post(|body: String| async { body }).get(|| async { "ready" }));
    let broken = Router::new().fallback(|| async { StatusCode::SERVICE_UNAVAILABLE });
    let gone = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    [serve(echo()).await, serve(echo()).await, format!("http://{gone}"), serve(broken).await]
}

#[tokio::test]
async fn the_http_client_sends_elsewhere_what_no_endpoint_has_taken() {
    let servers = http_servers().await;
    // Orders are not repeated once they were sent: without the server that answers 503 none fails.
    let client = HttpClient::<Full<Bytes>>::of(servers[..3].iter().map(String::as_str)).unwrap();
    for _ in 0..60 {
        let order = http::Request::post("http://shop/order").body(Full::from("one")).unwrap();
        let response = client.request(order).await.unwrap();
        assert_eq!(response.status(), 200);
        assert_eq!(response.into_body().collect().await.unwrap().to_bytes(), "one");
    }
    let client = HttpClient::<Full<Bytes>>::of(servers.iter().map(String::as_str)).unwrap();
    for _ in 0..60 {
        let lookup = http::Request::get("/order").body(Full::default()).unwrap();
        assert_eq!(client.request(lookup).await.unwrap().status(), 200);
    }
}

#[tokio::test]
async fn the_http_client_says_which_endpoint_failed_and_that_nothing_was_sent() {
    let gone = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let client = HttpClient::<Full<Bytes>>::of([gone.to_string().as_str()]).unwrap();
    let error = client.request(http::Request::new(Full::default())).await.unwrap_err();
    assert_eq!((error.endpoint(), error.is_retryable()), (Some(gone.to_string().as_str()), true));
    assert_eq!(error.to_string(), format!("{gone}: client error (Connect)"));
    assert!(std::error::Error::source(&error).is_some(), "the cause");
}

#[tokio::test]
async fn the_reqwest_client_ejects_what_fails_and_repeats_what_may_be() {
    let servers = http_servers().await;
    let client = ReqwestClient::of(&reqwest::Client::new(), servers.iter().map(String::as_str)).unwrap();
    let request = |method| reqwest::Request::new(method, "http://shop/order?id=1".parse().unwrap());
    for _ in 0..60 {
        let response = client.execute(request(reqwest::Method::GET)).await.unwrap();
        assert!(response.url().as_str().ends_with("/order?id=1"), "{}", response.url());
        assert_eq!((response.status(), response.text().await.unwrap().as_str()), (reqwest::StatusCode::OK, "ready"));
    }
    // The one that answers 503 is ejected by now; a POST that no endpoint has taken goes on.
    for _ in 0..30 {
        let mut order = request(reqwest::Method::POST);
        *order.body_mut() = Some("one".into());
        assert_eq!(client.execute(order).await.unwrap().text().await.unwrap(), "one");
    }
}

#[tokio::test]
async fn a_weight_and_a_member_that_leaves_are_followed() {
    let servers = http_servers().await;
    let cluster = HttpClient::<Full<Bytes>>::cluster(servers[..2].iter().map(String::as_str)).unwrap();
    let client = HttpClient::over(&cluster, PeakEwma::default());
    let one = cluster.endpoints()[0].value().clone();
    let now = lb_core::Clock::now(&lb_tower::system_clock());
    let member = Member::new(one.authority(), one.clone()).weight(3);
    cluster.apply(Update::Reset(vec![member]), now);
    for _ in 0..10 {
        let lookup = http::Request::get("/order").body(Full::default()).unwrap();
        assert_eq!(client.request(lookup).await.unwrap().status(), 200);
    }
    assert_eq!(cluster.endpoints()[0].state().requests(), 10);
}

#[tokio::test]
async fn an_axum_application_limits_its_clients_by_their_connection() {
    let limit = HttpRateLimitLayer::per_client(Quota::per_minute(1).with_burst(1));
    let app = Router::new().route("/", get(|| async { "served" })).layer(limit);
    let address = serve(app.clone()).await;
    let client = reqwest::Client::new();
    let mut statuses = Vec::new();
    for _ in 0..4 {
        let response = client.get(&address).send().await.unwrap();
        assert!(response.headers().contains_key("ratelimit") && response.headers().contains_key("ratelimit-policy"));
        assert_eq!(response.headers().contains_key("retry-after"), response.status() == 429);
        statuses.push(response.status().as_u16());
    }
    assert_eq!(statuses, [200, 200, 429, 429]);

    // Served without connect info, it refuses with the reason.
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move { axum::serve(listener, app).await });
    let response = client.get(format!("http://{address}")).send().await.unwrap();
    assert_eq!(response.status(), 500);
    assert!(response.text().await.unwrap().contains("connect info"));
}

#[test]
fn clients_fit_into_the_state_of_an_application() {
    fn check<T: Clone + Send + Sync + 'static>() {}
    check::<GrpcChannel>();
    check::<HttpClient<axum::body::Body>>();
    check::<ReqwestClient>();
}
