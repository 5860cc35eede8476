//! What a call costs beside the service that is called: allocations and clock reads.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use futures_util::FutureExt;
use http::{Request, Response};
use http_body_util::Full;
use lb_core::{Clock, Mono};
use lb_policy::{Cluster, Member, P2c, PeakEwma, Policy, Update};
use lb_tower::http::{HttpBody, ReplayLayer, RetryHttp};
use lb_tower::{Balance, Immediate, Passive, PassiveRule, RetryLayer, TimeoutLayer};
use tower::{Service, ServiceBuilder, service_fn};

type Bytes = bytes::Bytes;

/// Counts how often it is read.
#[derive(Clone, Default)]
struct CountingClock(Arc<AtomicU32>);

impl Clock for CountingClock {
    fn now(&self) -> Mono {
        Mono::from_millis(u64::from(self.0.fetch_add(1, Ordering::Relaxed)))
    }
}

fn cluster_of<S: Clone + Send + Sync + 'static>(service: S) -> Cluster<S> {
    let members = ["a:1", "b:1", "c:1"].map(|name| Member::new(name, service.clone()));
    let cluster = Cluster::new("app");
    cluster.apply(Update::Reset(members.into()), Mono::ZERO);
    cluster
}

/// Allocations of a call, once the service is warm.
fn allocations<S, Req>(mut service: S, request: impl Fn() -> Req) -> u64
where
    S: Service<Req>,
{
    let mut call = || drop(service.call(request()).now_or_never().expect("answers at once"));
    (0..10).for_each(|_| call());
    let info = allocation_counter::measure(|| (0..100).for_each(|_| call()));
    assert_eq!(info.count_total % 100, 0, "the same for each call");
    info.count_total / 100
}

fn http()
-> impl Service<Request<()>, Response = Response<Full<Bytes>>, Error = Infallible, Future: Send> + Clone + Send + Sync {
    service_fn(|_: Request<()>| std::future::ready(Ok::<_, Infallible>(Response::new(Full::from("hello")))))
}

#[test]
fn a_balance_allocates_nothing() {
    let service = service_fn(|n: u32| std::future::ready(Ok::<_, Infallible>(n)));
    let balance = Balance::builder(cluster_of(service).selector(P2c)).observe(Immediate::new()).build();
    assert_eq!(allocations(balance, || 7), 0);
    let clocked = Balance::builder(cluster_of(service).selector(PeakEwma::default())).observe(Immediate::new()).build();
    assert_eq!(allocations(clocked, || 7), 0);
}

#[test]
fn observing_http_responses_allocates_nothing() {
    let cluster = cluster_of(http());
    let passive = Passive::new(cluster.clone(), PassiveRule::default(), ());
    let balance = Balance::builder(cluster.selector(P2c)).events(passive).build();
    assert_eq!(allocations(balance, || Request::new(())), 0);
    let noting = Balance::builder(cluster.selector(P2c)).observe(HttpBody::new().note_served()).build();
    assert_eq!(allocations(noting, || Request::new(())), 3, "only where it is asked for");
}

#[test]
fn timeout_and_retry_allocate_once() {
    let timeout = || TimeoutLayer::new(Some(Duration::from_secs(5)));
    let balance = || Balance::new(cluster_of(http()).selector(P2c));
    let stack = ServiceBuilder::new().layer(timeout()).layer(RetryLayer::new(RetryHttp::new())).service(balance());
    assert_eq!(allocations(stack, || Request::new(())), 1);
    let empty = service_fn(|_: Request<lb_tower::http::ReplayBody<Full<Bytes>>>| {
        std::future::ready(Ok::<_, Infallible>(Response::new(Full::<Bytes>::default())))
    });
    let balance = Balance::new(cluster_of(empty).selector(P2c));
    let retry = RetryLayer::new(RetryHttp::new());
    let stack = ServiceBuilder::new().layer(timeout()).layer(ReplayLayer::new()).layer(retry).service(balance);
    assert_eq!(allocations(stack, || Request::new(Full::default())), 1, "an empty body is not kept");
}

/// Clock reads of ten calls.
fn reads(policy: impl Policy, is_watched: bool) -> u32 {
    let clock = CountingClock::default();
    let service = service_fn(|n: u32| std::future::ready(Ok::<_, Infallible>(n)));
    let cluster = cluster_of(service);
    let passive = is_watched.then(|| Passive::new(cluster.clone(), PassiveRule::default(), ()));
    let builder = Balance::builder(cluster.selector(policy)).observe(Immediate::new());
    let mut balance = builder.events(passive).clock(clock.clone()).build();
    for n in 0..10 {
        balance.call(n).now_or_never().unwrap().unwrap();
    }
    clock.0.load(Ordering::Relaxed)
}

#[test]
fn the_clock_is_read_only_where_the_time_is_used() {
    assert_eq!(reads(P2c, false), 0);
    // The pick, the head and the end.
    assert_eq!(reads(PeakEwma::default(), false), 30);
    assert_eq!(reads(P2c, true), 30);
}
