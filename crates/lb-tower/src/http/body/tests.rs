//! The whole stack over `http`: retry above balance above services that answer with bodies.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::sync::Mutex;

use bytes::Bytes;
use futures_util::{FutureExt, stream};
use http::{Request, StatusCode};
use http_body_util::{BodyExt, Empty, Full, StreamBody};
use lb_core::ManualClock;
use lb_policy::{Cluster, RoundRobin};
use lb_ratelimit::Concurrency;
use tower_layer::Layer;
use tower_service::Service;

use super::*;
use crate::http::{ByClient, RetryHttp};
use crate::testing::{Log, cluster_of, in_flight, uids};
use crate::{Backoff, Balance, ConcurrencyLayer, Error, RetryLayer};

type Frames = StreamBody<stream::Iter<std::vec::IntoIter<Result<Frame<Bytes>, &'static str>>>>;

fn frames(frames: &[Result<&'static str, &'static str>]) -> Frames {
    let frames: Vec<_> = frames.iter().map(|frame| frame.map(|text| Frame::data(Bytes::from(text)))).collect();
    StreamBody::new(stream::iter(frames))
}

/// An endpoint that answers as it was told.
struct Endpoint<B>(Arc<Mutex<Answers<B>>>);

type Answers<B> = VecDeque<Result<Response<B>, Class>>;

impl<B> Clone for Endpoint<B> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<B> Endpoint<B> {
    fn new(answers: impl IntoIterator<Item = Result<Response<B>, Class>>) -> Self {
        Self(Arc::new(Mutex::new(answers.into_iter().collect())))
    }
}

impl<B, D> Service<Request<D>> for Endpoint<B> {
    type Response = Response<B>;
    type Error = Class;
    type Future = std::future::Ready<Result<Response<B>, Class>>;

    fn poll_ready(&mut self, _cx: &mut Context<'_>) -> Poll<Result<(), Class>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _request: Request<D>) -> Self::Future {
        std::future::ready(self.0.lock().unwrap().pop_front().expect("no request more than expected"))
    }
}

fn itself(class: &Class) -> Class {
    *class
}

struct Bench {
    cluster: Cluster<Endpoint<Frames>>,
    log: Log,
}

impl Bench {
    fn new(endpoints: impl IntoIterator<Item = Endpoint<Frames>>) -> Self {
        Self { cluster: cluster_of(endpoints), log: Log::default() }
    }

    fn one(body: &[Result<&'static str, &'static str>]) -> Self {
        Self::new([Endpoint::new([Ok(Response::new(frames(body)))])])
    }

    fn send(
        &self,
        request: Request<Full<Bytes>>,
    ) -> Result<Response<GuardedBody<Frames, impl Attempt + use<>>>, Error<Class>> {
        let builder = Balance::builder(self.cluster.selector(RoundRobin)).inspect(ByClient);
        let builder =
            builder.observe(HttpBody::new().errors(itself)).events(self.log.clone()).clock(ManualClock::new());
        let policy = RetryHttp::new().on(Class::is_failure);
        RetryLayer::new(policy)
            .backoff(Backoff::NONE)
            .layer(builder.build())
            .call(request)
            .now_or_never()
            .expect("answers at once")
    }

    fn get(&self) -> Response<GuardedBody<Frames, impl Attempt + use<>>> {
        self.send(Request::default()).unwrap_or_else(|error| panic!("{error:?}"))
    }

    fn ends(&self) -> Vec<String> {
        self.log.take().into_iter().filter(|line| line.contains('.')).collect()
    }
}

#[test]
fn the_attempt_ends_with_the_body() {
    let bench = Bench::one(&[Ok("hello "), Ok("world")]);
    let response = bench.get();
    assert_eq!((in_flight(&bench.cluster), bench.ends()), (vec![1], vec![]));
    let served = response.body().served().unwrap();
    assert_eq!((served.uid, &*served.name), (uids(&bench.cluster)[0], "a"));
    let body = response.into_body().collect().now_or_never().unwrap().unwrap();
    assert_eq!(body.to_bytes(), "hello world");
    assert_eq!((in_flight(&bench.cluster), bench.ends()), (vec![0], vec!["a.Completed 2xx".into()]));
}

#[test]
fn a_body_that_fails_is_the_endpoints_doing() {
    let bench = Bench::one(&[Ok("hel"), Err("reset")]);
    let body = bench.get().into_body().collect().now_or_never().unwrap();
    assert_eq!(body.err(), Some("reset"));
    assert_eq!(bench.ends(), ["a.UpstreamAborted 2xx"]);
}

#[test]
fn a_body_that_is_dropped_is_the_readers_doing() {
    let bench = Bench::one(&[Ok("hel"), Ok("lo")]);
    let mut body = bench.get().into_body();
    assert!(body.frame().now_or_never().unwrap().is_some());
    drop(body);
    assert_eq!(bench.ends(), ["a.ClientGone 2xx"]);

    let unread = Bench::one(&[Ok("hello")]);
    drop(unread.get());
    assert_eq!((unread.ends(), in_flight(&unread.cluster)), (vec!["a.Cancelled 2xx".into()], vec![0]));
}

#[test]
fn nobody_need_poll_an_empty_body_nor_past_the_last_frame() {
    let told = Log::default();
    let told_of = |body: Full<Bytes>| {
        let cluster = cluster_of([Endpoint::new([Ok(Response::new(body))])]);
        let builder = Balance::builder(cluster.selector(RoundRobin)).observe(HttpBody::new().errors(itself));
        let mut balance = builder.events(told.clone()).clock(ManualClock::new()).build();
        balance.call(Request::new(())).now_or_never().unwrap().unwrap()
    };
    let empty = told_of(Full::default());
    assert!(empty.body().is_end_stream());
    assert_eq!(told.take().last().unwrap(), "a.Completed 2xx");
    drop(empty);
    assert_eq!(told.take().len(), 0, "once");

    let mut whole = told_of(Full::from("hello")).into_body();
    assert_eq!(whole.size_hint().exact(), Some(5));
    assert!(whole.frame().now_or_never().unwrap().unwrap().is_ok());
    assert_eq!(told.take().last().unwrap(), "a.Completed 2xx");
}

#[test]
fn a_retry_goes_elsewhere_and_its_predecessor_is_given_back() {
    let failed = || {
        let mut response = Response::new(frames(&[Ok("sorry")]));
        *response.status_mut() = StatusCode::BAD_GATEWAY;
        Ok(response)
    };
    let served = || Ok(Response::new(frames(&[Ok("hello")])));
    let endpoints = [Endpoint::new([failed()]), Endpoint::new([Err(Class::Reset)]), Endpoint::new([served()])];
    let bench = Bench::new(endpoints);
    let response = bench.get();
    assert_eq!(response.status(), StatusCode::OK);
    assert_eq!(in_flight(&bench.cluster), [0, 0, 1]);
    assert_eq!(bench.ends(), ["b.UpstreamAborted reset", "a.Cancelled 5xx"]);
}

#[test]
fn a_post_that_may_have_arrived_is_not_repeated_and_the_best_answer_is_returned() {
    let bench = Bench::new([Endpoint::new([Err(Class::Reset)]), Endpoint::new([])]);
    let post = Request::post("/").body(Full::from("order")).unwrap();
    assert!(matches!(bench.send(post), Err(Error::Endpoint { source: Class::Reset, .. })));

    let refused = || Endpoint::new([Err(Class::ConnectError)]);
    let bench = Bench::new([refused(), refused()]);
    let post = Request::post("/").body(Full::from("order")).unwrap();
    assert!(matches!(bench.send(post), Err(Error::Endpoint { source: Class::ConnectError, .. })));
    assert_eq!(bench.ends().len(), 2, "both were tried");
}

#[test]
fn a_permit_is_held_until_the_body_has_ended() {
    let limit = Concurrency::new(1);
    let layer = ConcurrencyLayer::new(Some(Arc::clone(&limit))).keep(HttpBody::new());
    let answer = || Ok::<_, Infallible>(Response::new(frames(&[Ok("hello")])));
    let mut service = layer.layer(tower::service_fn(move |_: Request<Empty<Bytes>>| std::future::ready(answer())));
    let response = service.call(Request::default()).now_or_never().unwrap().unwrap();
    assert_eq!(limit.in_flight(), 1);
    assert!(service.call(Request::default()).now_or_never().unwrap().is_err());
    response.into_body().collect().now_or_never().unwrap().unwrap();
    assert_eq!(limit.in_flight(), 0);
}

#[tokio::test(start_paused = true)]
async fn the_copy_of_a_hedged_request_goes_elsewhere() {
    let slow = tower::service_fn(|_: Request<()>| async {
        tokio::time::sleep(std::time::Duration::from_secs(1)).await;
        Ok::<_, Class>(Response::new(Full::<Bytes>::default()))
    });
    let cluster = cluster_of([slow; 2]);
    let log = Log::default();
    // The same endpoint first each time, unless told otherwise.
    let builder = Balance::builder(cluster.selector(lb_policy::First));
    let balance = builder.observe(HttpBody::new().errors(itself)).events(log.clone()).build();
    let budget = Arc::new(lb_ratelimit::RetryBudget::new(lb_ratelimit::Ratio::ZERO, 1));
    let after = crate::HedgeAfter::Delay(std::time::Duration::from_millis(10));
    let mut hedge = crate::HedgeLayer::new(crate::http::HedgeHttp::new(), after).budget(budget).layer(balance);
    hedge.call(Request::new(())).await.unwrap();
    let picks = |log: &Log| log.take().into_iter().filter(|line| line.ends_with('+')).collect::<Vec<_>>();
    assert_eq!(picks(&log), ["a+", "b+"]);
    hedge.call(Request::post("/").body(()).unwrap()).await.unwrap();
    assert_eq!(picks(&log), ["a+"], "a post is sent once");
}
