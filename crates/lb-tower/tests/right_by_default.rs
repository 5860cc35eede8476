//! The least program that compiles does the right thing: each test is a fault that users met.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::convert::Infallible;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use futures_util::{FutureExt, stream};
use http::{HeaderMap, Request, Response};
use http_body::{Body, Frame};
use http_body_util::{BodyExt, Full, StreamBody};
use lb_core::{Class, ManualClock, Mono};
use lb_policy::{Cluster, LeastRequest, Member, P2c, PeakEwma, Policy, RoundRobin, Update};
use lb_tower::http::{HedgeHttp, ReplayLayer, RetryGrpc, RetryHttp};
use lb_tower::{
    Balance, Error, HedgeAfter, HedgeLayer, Immediate, Locked, Passive, PassiveRule, RetryLayer, TimeoutLayer,
};
use tokio::time::{Instant, sleep};
use tower::util::BoxCloneService;
use tower::{Service, ServiceBuilder, ServiceExt, service_fn};

type BoxError = Box<dyn std::error::Error + Send + Sync>;

fn cluster_of<S: Send + Sync + 'static>(services: impl IntoIterator<Item = S>) -> Cluster<S> {
    let names = ["a:1", "b:1", "c:1", "d:1"];
    let members = names.into_iter().zip(services).map(|(name, service)| Member::new(name, service));
    let cluster = Cluster::new("app");
    cluster.apply(Update::Reset(members.collect()), Mono::ZERO);
    cluster
}

/// How an endpoint fails at once.
#[derive(Clone, Copy, Debug)]
enum Failing {
    Status,
    GrpcHead,
    GrpcTrailers,
}

type Frames = StreamBody<stream::Iter<std::vec::IntoIter<Result<Frame<Bytes>, Infallible>>>>;

fn frames(frames: Vec<Frame<Bytes>>) -> Frames {
    StreamBody::new(stream::iter(frames.into_iter().map(Ok).collect::<Vec<_>>()))
}

fn trailers(code: &str) -> Frame<Bytes> {
    Frame::trailers(HeaderMap::from_iter([("grpc-status".parse().unwrap(), code.parse().unwrap())]))
}

fn answer(failing: Option<Failing>) -> Response<Frames> {
    let grpc = || Response::builder().header("content-type", "application/grpc");
    match failing {
        None => grpc().body(frames(vec![Frame::data(Bytes::from("message")), trailers("0")])).unwrap(),
        Some(Failing::Status) => Response::builder().status(503).body(frames(vec![])).unwrap(),
        Some(Failing::GrpcHead) => grpc().header("grpc-status", "14").body(frames(vec![])).unwrap(),
        Some(Failing::GrpcTrailers) => grpc().body(frames(vec![trailers("14")])).unwrap(),
    }
}

/// Of 1 000 calls by four tasks, how many fail where one of three endpoints fails at once and the others take 5 ms.
async fn failed_of_1000(policy: impl Policy + Clone, failing: Failing) -> u32 {
    let services = [None, None, Some(failing)].map(|failing| {
        service_fn(move |_: Request<()>| async move {
            if failing.is_none() {
                sleep(Duration::from_millis(5)).await;
            }
            Ok::<_, Infallible>(answer(failing))
        })
    });
    let cluster = cluster_of(services);
    let clock = lb_tower::TokioClock::new();
    let passive = Passive::new(cluster.clone(), PassiveRule::default(), ());
    let balance = Balance::builder(cluster.selector(policy)).events(passive).clock(clock).build();
    let failed = Arc::new(AtomicU32::new(0));
    let tasks = (0..4).map(|_| {
        let (mut balance, failed) = (balance.clone(), Arc::clone(&failed));
        async move {
            for _ in 0..250 {
                let response = balance.call(Request::new(())).await.unwrap();
                let mut is_failure = response.status() != 200;
                is_failure |= response.headers().get("grpc-status").is_some_and(|code| code != "0");
                let body = response.into_body().collect().await.unwrap();
                is_failure |= body.trailers().is_some_and(|trailers| trailers["grpc-status"] != "0");
                failed.fetch_add(u32::from(is_failure), Ordering::Relaxed);
            }
        }
    });
    futures_util::future::join_all(tasks).await;
    failed.load(Ordering::Relaxed)
}

#[tokio::test(start_paused = true)]
async fn an_endpoint_that_fails_fast_draws_no_traffic_and_is_ejected() {
    for failing in [Failing::Status, Failing::GrpcHead, Failing::GrpcTrailers] {
        // Ejected for 3 s after three failures, and back on probation, one request at a time, within the 1.3 to 1.7 s that this takes:
        // three failures, and what the four tasks had under way.
        let counts = [
            failed_of_1000(RoundRobin, failing).await,
            failed_of_1000(P2c, failing).await,
            failed_of_1000(PeakEwma::default(), failing).await,
            failed_of_1000(LeastRequest::default(), failing).await,
        ];
        assert!(counts.iter().all(|&failed| failed <= 6), "{failing:?}: {counts:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn retries_keep_to_a_budget_without_being_told() {
    for (retry_after, most) in [(None, 1_200), (Some("30"), 1_000)] {
        let attempts = Arc::new(AtomicU32::new(0));
        let services = [(); 4].map(|()| {
            let attempts = Arc::clone(&attempts);
            service_fn(move |_: Request<()>| {
                attempts.fetch_add(1, Ordering::Relaxed);
                let head = Response::builder().status(503);
                let head = if let Some(seconds) = retry_after { head.header("retry-after", seconds) } else { head };
                std::future::ready(Ok::<_, Infallible>(head.body(Full::<Bytes>::default()).unwrap()))
            })
        });
        let balance = Balance::new(cluster_of(services).selector(RoundRobin));
        let clock = ManualClock::new();
        let mut service = ServiceBuilder::new().layer(RetryLayer::new(RetryHttp::new()).clock(clock)).service(balance);
        for _ in 0..1_000 {
            assert_eq!(service.call(Request::new(())).await.unwrap().status(), 503);
        }
        // A fifth of 1 000 requests, and none where the answer asks to wait for 30 s.
        assert_eq!(attempts.load(Ordering::Relaxed), most, "Retry-After: {retry_after:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_copy_that_fails_is_replaced_in_the_order_that_is_documented() {
    let serve = |delay_ms: Option<u64>| {
        service_fn(move |_: Request<()>| async move {
            let Some(delay_ms) = delay_ms else { return Err(io::Error::from(io::ErrorKind::ConnectionRefused)) };
            sleep(Duration::from_millis(delay_ms)).await;
            Ok(Response::new(Full::<Bytes>::default()))
        })
    };
    let cluster = cluster_of([Some(1), Some(500), None].map(serve));
    let mut service = ServiceBuilder::new()
        .layer(RetryLayer::new(RetryHttp::new()))
        .layer(HedgeLayer::new(HedgeHttp::new(), HedgeAfter::Delay(Duration::from_millis(20))))
        .service(Balance::new(cluster.selector(RoundRobin)));
    let mut slowest = Duration::ZERO;
    for _ in 0..30 {
        let start = Instant::now();
        service.call(Request::new(())).await.unwrap();
        slowest = slowest.max(start.elapsed());
    }
    // 20 ms to the copy, which is refused, and a millisecond for the one that replaces it.
    assert!(slowest <= Duration::from_millis(22), "{slowest:?}");
}

#[derive(Clone)]
struct NeverReady;

impl Service<Request<()>> for NeverReady {
    type Response = Response<Full<Bytes>>;
    type Error = Infallible;
    type Future = std::future::Ready<Result<Self::Response, Infallible>>;

    fn poll_ready(&mut self, _cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Pending
    }

    fn call(&mut self, _request: Request<()>) -> Self::Future {
        unreachable!("it is never ready")
    }
}

#[test]
fn without_a_runtime_nothing_panics() {
    let balance = Balance::new(cluster_of([NeverReady]).selector(RoundRobin));
    let answer = balance.oneshot(Request::new(())).now_or_never().expect("there is no timer to wait for");
    assert!(matches!(answer, Err(Error::NoEndpoint(_))));
    let refused = service_fn(|_: Request<()>| std::future::ready(Err::<Response<()>, _>(Class::ConnectError)));
    let retry = ServiceBuilder::new().layer(RetryLayer::new(RetryHttp::new())).service(refused);
    assert!(retry.oneshot(Request::new(())).now_or_never().expect("nor for a pause").is_err());
}

#[test]
fn an_ejection_ends_by_itself() {
    let is_broken = Arc::new(std::sync::atomic::AtomicBool::new(true));
    let services = [0, 1].map(|place| {
        let is_broken = Arc::clone(&is_broken);
        service_fn(move |()| {
            let fails = place == 0 && is_broken.load(Ordering::Relaxed);
            std::future::ready(if fails { Err(Class::Reset) } else { Ok(()) })
        })
    });
    let (cluster, clock) = (cluster_of(services), ManualClock::new());
    let passive = Passive::new(cluster.clone(), PassiveRule::default(), ());
    let builder = Balance::builder(cluster.selector(RoundRobin)).observe(Immediate::new());
    let mut balance = builder.events(passive.clone()).clock(clock.clone()).build();
    for _ in 0..20 {
        let _ = balance.call(()).now_or_never().unwrap();
    }
    assert_eq!(passive.ejected(), 1);
    is_broken.store(false, Ordering::Relaxed);
    // Three seconds, a tenth more or less by chance, and the next request makes the tick.
    clock.advance(Duration::from_secs(4));
    balance.call(()).now_or_never().unwrap().unwrap();
    assert_eq!(passive.ejected(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_driver_ends_ejections_without_traffic_and_itself_with_the_last_clone() {
    let service = service_fn(|()| std::future::ready(Err::<(), _>(Class::Reset)));
    let cluster = cluster_of([service; 2]);
    let clock = lb_tower::TokioClock::new();
    let passive = Passive::new(cluster.clone(), PassiveRule::default(), ());
    let driver = tokio::spawn(passive.drive(clock));
    let builder = Balance::builder(cluster.selector(RoundRobin)).observe(Immediate::new());
    let mut balance = builder.events(passive.clone()).clock(clock).build();
    for _ in 0..20 {
        let _ = balance.call(()).await;
    }
    assert_eq!(passive.ejected(), 1);
    sleep(Duration::from_secs(4)).await;
    assert_eq!(passive.ejected(), 0);
    drop((passive, balance));
    driver.await.unwrap();
}

/// A body like those of axum and tonic: boxed, and not `Clone`.
type BoxBody = http_body_util::combinators::UnsyncBoxBody<Bytes, BoxError>;

fn post(text: &'static str) -> Request<BoxBody> {
    let body = Full::from(text).map_err(|never: Infallible| match never {}).boxed_unsync();
    Request::post("/").header("content-type", "application/grpc").body(body).unwrap()
}

/// An echo, where the first endpoint says `UNAVAILABLE` after it has read everything.
async fn grpc_echo<B>(place: usize, request: Request<B>) -> Result<Response<Full<Bytes>>, BoxError>
where
    B: Body,
    B::Error: Into<BoxError>,
{
    let read = request.into_body().collect().await.map_err(Into::into)?.to_bytes();
    let head = Response::builder().header("content-type", "application/grpc");
    let head = head.header("grpc-status", if place == 0 { "14" } else { "0" });
    Ok(head.body(Full::new(read)).unwrap())
}

#[tokio::test]
async fn a_grpc_call_with_any_body_is_sent_again_elsewhere() {
    let services = [0, 1].map(|place| service_fn(move |request| grpc_echo(place, request)));
    let balance = Balance::new(cluster_of(services).selector(RoundRobin));
    let stack = ServiceBuilder::new()
        .layer(ReplayLayer::new())
        .layer(RetryLayer::new(RetryGrpc::new()))
        .layer(TimeoutLayer::new(Some(Duration::from_secs(5))))
        .service(balance);
    for _ in 0..4 {
        let response = stack.clone().oneshot(post("hello")).await.unwrap();
        assert_eq!(response.headers()["grpc-status"], "0");
        assert_eq!(response.into_body().collect().await.unwrap().to_bytes(), "hello");
    }
    // Longer than what is kept: the answer that there was.
    let long = ServiceBuilder::new().layer(ReplayLayer::max_bytes(3)).service(stack.into_inner().into_inner());
    let codes: Vec<_> = futures_util::future::join_all([(); 2].map(|()| long.clone().oneshot(post("hello")))).await;
    let codes: Vec<_> = codes.into_iter().map(|answer| answer.unwrap().headers()["grpc-status"].clone()).collect();
    assert!(codes.contains(&"14".parse().unwrap()) && codes.contains(&"0".parse().unwrap()), "{codes:?}");
}

#[tokio::test(start_paused = true)]
async fn a_timeout_of_each_try_is_retried_elsewhere() {
    let services = [60_000, 1].map(|delay_ms| {
        service_fn(move |_: Request<()>| async move {
            sleep(Duration::from_millis(delay_ms)).await;
            Ok::<_, Infallible>(Response::new(Full::<Bytes>::default()))
        })
    });
    let cluster = cluster_of(services);
    let clock = lb_tower::TokioClock::new();
    let passive = Passive::new(cluster.clone(), PassiveRule::default(), ());
    let stack = ServiceBuilder::new()
        .layer(TimeoutLayer::new(Some(Duration::from_secs(10))))
        .layer(RetryLayer::new(RetryHttp::new()).clock(clock))
        .layer(TimeoutLayer::new(Some(Duration::from_secs(1))))
        .service(Balance::builder(cluster.selector(RoundRobin)).events(passive.clone()).clock(clock).build());
    for _ in 0..8 {
        assert_eq!(stack.clone().oneshot(Request::new(())).await.unwrap().status(), 200);
    }
    assert_eq!(passive.ejected(), 1, "whose answers do not come");
}

#[tokio::test]
async fn services_that_are_boxed_can_be_endpoints_and_their_errors_can_be_asked() -> Result<(), BoxError> {
    let fails = service_fn(|_: Request<()>| async { Err::<Response<Full<Bytes>>, _>(BoxError::from("boom")) });
    let cluster = cluster_of([Locked::new(BoxCloneService::new(fails))]);
    let balance = Balance::new(cluster.selector(RoundRobin));
    let asked = || async {
        balance.clone().oneshot(Request::new(())).await?;
        Ok::<(), BoxError>(())
    };
    assert_eq!(asked().await.unwrap_err().to_string(), "a:1: boom");
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn a_retry_works_over_any_service() {
    let calls = Arc::new(AtomicU32::new(0));
    let count = Arc::clone(&calls);
    let service = service_fn(move |_: Request<()>| {
        let is_first = count.fetch_add(1, Ordering::Relaxed) == 0;
        std::future::ready(if is_first {
            Err(io::Error::from(io::ErrorKind::ConnectionReset))
        } else {
            Ok(Response::new(()))
        })
    });
    let retry = ServiceBuilder::new().layer(RetryLayer::new(RetryHttp::new())).service(service);
    assert!(retry.oneshot(Request::new(())).await.is_ok());
    assert_eq!(calls.load(Ordering::Relaxed), 2);
}

#[tokio::test(start_paused = true)]
async fn a_request_waits_for_a_first_member_if_it_is_to() {
    type Echo = tower::util::ServiceFn<fn(u8) -> std::future::Ready<Result<u8, Infallible>>>;
    let cluster = Cluster::<Echo>::new("app");
    let builder = Balance::builder(cluster.selector(RoundRobin)).observe(Immediate::new());
    let mut waits = builder.member_within(Duration::from_secs(2)).build();
    let joins = async {
        sleep(Duration::from_millis(300)).await;
        let echo: Echo = service_fn(|n| std::future::ready(Ok(n)));
        cluster.apply(Update::Reset(vec![Member::new("a:1", echo)]), Mono::ZERO);
    };
    let start = Instant::now();
    let (answer, ()) = tokio::join!(waits.call(7), joins);
    assert_eq!(answer.unwrap(), 7);
    assert!((300..=306).contains(&start.elapsed().as_millis()), "{:?}", start.elapsed());
    cluster.apply(Update::Reset(Vec::new()), Mono::ZERO);
    let start = Instant::now();
    assert!(matches!(waits.call(7).await, Err(Error::NoEndpoint(_))));
    assert_eq!(start.elapsed(), Duration::from_secs(2));
}
