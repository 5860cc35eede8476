use std::future::Future;
use std::pin::Pin;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU32, Ordering};

use futures_util::FutureExt;
use lb_core::{ManualClock, Mono};
use lb_policy::{Cluster, PickError, RoundRobin};
use lb_ratelimit::Ratio;
use tokio::time::{Instant, sleep};

use super::*;
use crate::testing::{Answer, AsAsked, Ask, Mock, cluster_of, in_flight, itself};
use crate::{Balance, Error, Immediate, TokioClock};

/// Retries every failure of an endpoint, connect errors free.
#[derive(Clone, Copy, Debug)]
struct Always;

type Answered = Result<char, Error<Class>>;

impl RetryPolicy<Ask, char, Error<Class>> for Always {
    fn save(&self, ask: &Ask) -> Option<Ask> {
        Some(ask.clone())
    }

    fn verdict(&self, _saved: &mut Ask, result: &Answered) -> Verdict {
        let Err(Error::Endpoint { source, .. }) = result else { return Verdict::Return };
        Verdict::Retry { free: *source == Class::ConnectError, class: *source }
    }
}

#[derive(Clone, Debug, Default)]
struct Counts(Arc<Mutex<Vec<String>>>);

impl Counts {
    fn take(&self) -> Vec<String> {
        std::mem::take(&mut self.0.lock().unwrap())
    }
}

impl RetryEvents for Counts {
    fn on_retry(&self, class: Class, attempt: u32) {
        self.0.lock().unwrap().push(format!("{attempt} after {}", class.name()));
    }

    fn on_give_up(&self, reason: GiveUp) {
        self.0.lock().unwrap().push(reason.name().into());
    }
}

struct Bench {
    mocks: Vec<Mock>,
    cluster: Cluster<Mock>,
    counts: Counts,
}

type Balanced<C> = Balance<RoundRobin, Mock, AsAsked, Immediate<fn(&Class) -> Class>, C>;

impl Bench {
    fn new(count: usize) -> Self {
        let mocks = Mock::several(count);
        Self { cluster: cluster_of(mocks.clone()), mocks, counts: Counts::default() }
    }

    /// All endpoints fail like this.
    fn failing(count: usize, class: Class) -> Self {
        let bench = Self::new(count);
        bench.mocks.iter().for_each(|mock| mock.answers(&[Answer::Fail(class)]));
        bench
    }

    fn layer(&self) -> RetryLayer<Always, SystemClock, Counts> {
        RetryLayer::new(Always).backoff(Backoff::NONE).budget(None).events(self.counts.clone())
    }

    fn retry<C: Clock + Clone>(&self, layer: &RetryLayer<Always, C, Counts>) -> Retry<Always, Balanced<C>, C, Counts> {
        let builder = Balance::builder(self.cluster.selector(RoundRobin)).inspect(AsAsked).clock(layer.clock.clone());
        layer.layer(builder.observe(Immediate::new().errors(itself as fn(&Class) -> Class)).build())
    }

    fn calls(&self) -> Vec<u32> {
        self.mocks.iter().map(Mock::calls).collect()
    }
}

fn send<S: Service<Ask>>(service: &mut S) -> Result<S::Response, S::Error> {
    service.call(Ask::default()).now_or_never().expect("answers at once")
}

fn class_of(answer: &Answered) -> Option<Class> {
    if let Err(Error::Endpoint { source, .. }) = answer { Some(*source) } else { None }
}

#[test]
fn a_retry_goes_where_the_request_has_not_been() {
    let bench = Bench::new(3);
    bench.mocks[0].answers(&[Answer::Fail(Class::Reset)]);
    bench.mocks[1].answers(&[Answer::Fail(Class::ConnectError)]);
    assert_eq!(send(&mut bench.retry(&bench.layer())), Ok('c'));
    assert_eq!(bench.calls(), [1, 1, 1]);
    assert_eq!(bench.counts.take(), ["2 after reset", "3 after connect_error"]);
    assert_eq!(in_flight(&bench.cluster), [0, 0, 0]);
}

/// As [`Always`], where an endpoint that refuses a connection may be asked again.
#[derive(Clone, Copy, Debug)]
struct Returning;

impl RetryPolicy<Ask, char, Error<Class>> for Returning {
    fn save(&self, ask: &Ask) -> Option<Ask> {
        Always.save(ask)
    }

    fn verdict(&self, saved: &mut Ask, result: &Answered) -> Verdict {
        Always.verdict(saved, result)
    }

    fn may_return(&self, result: &Answered) -> bool {
        class_of(result) == Some(Class::ConnectError)
    }
}

#[test]
fn an_endpoint_that_has_not_acted_is_asked_again_where_nobody_else_is_left() {
    for (class, endpoints, calls) in
        [(Class::ConnectError, 1, vec![4]), (Class::ConnectError, 3, vec![1, 1, 2]), (Class::Reset, 1, vec![1])]
    {
        let bench = Bench::failing(endpoints, class);
        let builder = Balance::builder(bench.cluster.selector(RoundRobin)).inspect(AsAsked);
        let balance = builder.observe(Immediate::new().errors(itself as fn(&Class) -> Class)).build();
        let mut retry =
            RetryLayer::new(Returning).backoff(Backoff::NONE).attempts(4).events(bench.counts.clone()).layer(balance);
        let answer = send(&mut retry);
        assert_eq!(class_of(&answer), Some(class));
        let mut called = bench.calls();
        called.sort_unstable();
        assert_eq!(called, calls, "{class:?}, {endpoints} endpoints: nobody twice before everybody once");
        assert_eq!(in_flight(&bench.cluster), vec![0; endpoints]);
    }
    let counts = ["2 after connect_error", "3 after connect_error", "4 after connect_error", "attempts"];
    let bench = Bench::failing(1, Class::ConnectError);
    bench.mocks[0].answers(&[Answer::Fail(Class::ConnectError); 4]);
    let builder = Balance::builder(bench.cluster.selector(RoundRobin)).inspect(AsAsked);
    let balance = builder.observe(Immediate::new().errors(itself as fn(&Class) -> Class)).build();
    let mut retry =
        RetryLayer::new(Returning).backoff(Backoff::NONE).attempts(4).events(bench.counts.clone()).layer(balance);
    assert!(send(&mut retry).is_err());
    assert_eq!(bench.counts.take(), counts);
}

#[test]
fn attempts_are_counted_the_first_included() {
    for attempts in [0, 1, 2, 3] {
        let bench = Bench::failing(5, Class::Reset);
        let answer = send(&mut bench.retry(&bench.layer().attempts(attempts)));
        assert_eq!(class_of(&answer), Some(Class::Reset));
        assert_eq!(bench.calls().iter().sum::<u32>(), attempts.max(1), "of {attempts}");
        assert_eq!(bench.counts.take().last().map(String::as_str), (attempts > 1).then_some("attempts"));
    }
}

#[test]
fn when_everybody_was_tried_the_answer_before_is_returned() {
    let bench = Bench::failing(2, Class::Status(502));
    let answer = send(&mut bench.retry(&bench.layer().attempts(5)));
    assert_eq!(class_of(&answer), Some(Class::Status(502)), "and not that all were tried");
    assert_eq!(bench.calls(), [1, 1]);
    assert_eq!(bench.counts.take(), ["2 after 5xx", "exhausted"], "the third attempt found nobody: it is none");
}

#[test]
fn without_an_answer_before_the_reason_is_returned() {
    let bench = Bench::new(0);
    assert_eq!(send(&mut bench.retry(&bench.layer())), Err(Error::NoEndpoint(PickError::Empty)));
    assert_eq!(bench.counts.take(), [""; 0]);
}

#[test]
fn a_policy_that_saves_nothing_never_retries() {
    #[derive(Clone, Copy)]
    struct Never;
    impl RetryPolicy<u8, u8, u8> for Never {
        fn save(&self, _request: &u8) -> Option<u8> {
            None
        }
        fn verdict(&self, _saved: &mut u8, _result: &Result<u8, u8>) -> Verdict {
            Verdict::Retry { free: true, class: Class::Reset }
        }
    }
    let calls = Arc::new(AtomicU32::new(0));
    let counted = calls.clone();
    let service = tower::service_fn(move |_: u8| {
        counted.fetch_add(1, Ordering::Relaxed);
        std::future::ready(Err::<u8, u8>(9))
    });
    assert_eq!(RetryLayer::new(Never).layer(service).call(1).now_or_never(), Some(Err(9)));
    assert_eq!(calls.load(Ordering::Relaxed), 1);
}

#[test]
fn a_budget_bounds_a_storm() {
    let bench = Bench::failing(3, Class::Reset);
    let clock = ManualClock::new();
    // A fifth of the requests, and five a second at least: 50 in ten seconds.
    let budget = Arc::new(RetryBudget::new(Ratio::percent(20), 5));
    let mut retry = bench.retry(&bench.layer().clock(clock).budget(Some(budget)));
    let sent = |bench: &Bench| bench.calls().iter().sum::<u32>();
    for _ in 0..100 {
        assert_eq!(class_of(&send(&mut retry)), Some(Class::Reset));
    }
    assert_eq!(sent(&bench), 100 + 50, "the floor");
    for _ in 0..900 {
        let _ = send(&mut retry);
    }
    assert_eq!(sent(&bench), 1_000 + 200, "a fifth, not three times as many");
    assert!(bench.counts.take().contains(&"budget".into()));
}

#[test]
fn clones_and_services_of_one_layer_share_its_budget() {
    let bench = Bench::failing(2, Class::Reset);
    let budget = Arc::new(RetryBudget::new(Ratio::ZERO, 1));
    let layer = bench.layer().clock(ManualClock::new()).budget(Some(budget));
    let (first, second) = (bench.retry(&layer), bench.retry(&layer));
    for _ in 0..20 {
        let _ = (send(&mut first.clone()), send(&mut second.clone()));
    }
    assert_eq!(bench.calls().iter().sum::<u32>(), 40 + 10, "one a second for ten seconds, for all");
}

#[test]
fn a_refused_connection_draws_nothing_from_the_budget() {
    let bench = Bench::failing(3, Class::ConnectError);
    bench.mocks[2].answers(&[Answer::Ok]);
    let budget = Arc::new(RetryBudget::new(Ratio::ZERO, 0));
    let mut retry = bench.retry(&bench.layer().clock(ManualClock::new()).budget(Some(budget)));
    for _ in 0..10 {
        assert_eq!(send(&mut retry), Ok('c'));
    }
    bench.mocks[0].answers(&[Answer::Fail(Class::Reset)]);
    bench.mocks[1].answers(&[Answer::Fail(Class::Reset)]);
    let answers: Vec<_> = (0..3).map(|_| send(&mut retry)).collect();
    assert_eq!(answers.iter().filter(|answer| class_of(answer) == Some(Class::Reset)).count(), 2);
}

#[test]
fn what_was_debited_and_found_nobody_is_given_back() {
    let bench = Bench::failing(1, Class::Reset);
    let (clock, budget) = (ManualClock::new(), Arc::new(RetryBudget::new(Ratio::ZERO, 1)));
    let mut retry = bench.retry(&bench.layer().clock(clock).budget(Some(budget.clone())));
    for _ in 0..30 {
        let _ = send(&mut retry);
    }
    assert_eq!(budget.remaining(Mono::ZERO), 10, "a single endpoint cannot use it");
}

#[tokio::test(start_paused = true)]
async fn with_a_limit_of_time_the_rounds_go_on_until_it_is_over() {
    let bench = Bench::failing(2, Class::ConnectError);
    let layer = bench.layer().clock(TokioClock::new()).attempts(100);
    let layer = layer.within(Some(Duration::from_secs(2))).interval(Duration::from_millis(250));
    let start = Instant::now();
    let answer = bench.retry(&layer).call(Ask::default()).await;
    assert_eq!(class_of(&answer), Some(Class::ConnectError), "the answer before, not that all were tried");
    assert!(start.elapsed() <= Duration::from_secs(2));
    // Every pause is between 125 and 375 ms, one in three leads to another round: in 2 s at least 5 pauses, so at
    // least 4 attempts, and at most 16 pauses.
    assert!((4..=17).contains(&bench.calls().iter().sum::<u32>()), "{:?}", bench.calls());
    assert_eq!(bench.counts.take().last().map(String::as_str), Some("time"));
}

#[tokio::test(start_paused = true)]
async fn with_a_limit_of_time_a_request_waits_for_an_endpoint_to_come() {
    let bench = Bench::new(0);
    let layer = bench.layer().clock(TokioClock::new()).within(Some(Duration::from_secs(2)));
    let mut retry = bench.retry(&layer);
    let cluster = bench.cluster.clone();
    let joins = async {
        sleep(Duration::from_millis(1_500)).await;
        let member = lb_policy::Member::new(lb_policy::Identity::literal("a"), Mock::new('a'));
        cluster.apply(lb_policy::Update::Reset(vec![member]), Mono::ZERO);
    };
    let (answer, ()) = tokio::join!(retry.call(Ask::default()), joins);
    assert_eq!(answer, Ok('a'));
    assert_eq!(bench.counts.take(), [""; 0], "the first attempt is no retry");

    bench.cluster.apply(lb_policy::Update::Reset(Vec::new()), Mono::ZERO);
    let start = Instant::now();
    assert_eq!(retry.call(Ask::default()).await, Err(Error::NoEndpoint(PickError::Empty)));
    let waited = start.elapsed();
    assert!((1_900..=2_000).contains(&waited.as_millis()), "{waited:?}");
}

#[tokio::test(start_paused = true)]
async fn rounds_do_not_multiply_the_attempts() {
    let bench = Bench::failing(2, Class::Reset);
    let layer = bench.layer().clock(TokioClock::new()).attempts(5).within(Some(Duration::from_secs(60)));
    assert_eq!(class_of(&bench.retry(&layer).call(Ask::default()).await), Some(Class::Reset));
    assert_eq!(bench.calls().iter().sum::<u32>(), 5);
    assert_eq!(bench.counts.take().last().map(String::as_str), Some("attempts"));
}

#[tokio::test(start_paused = true)]
async fn the_interval_is_spread_and_an_attempt_that_would_be_late_is_not_waited_for() {
    let bench = Bench::failing(3, Class::Reset);
    let layer = bench.layer().clock(TokioClock::new()).interval(Duration::from_secs(1));
    let mut retry = bench.retry(&layer.clone().attempts(2));
    let mut pauses = Vec::new();
    for _ in 0..20 {
        let start = Instant::now();
        let _ = retry.call(Ask::default()).await;
        pauses.push(start.elapsed());
    }
    let range = Duration::from_millis(500)..=Duration::from_millis(1_501);
    assert!(pauses.iter().all(|pause| range.contains(pause)), "{pauses:?}");
    pauses.dedup();
    assert!(pauses.len() > 10, "{pauses:?}");

    let start = Instant::now();
    let _ = bench.retry(&layer.within(Some(Duration::from_millis(400)))).call(Ask::default()).await;
    assert_eq!(start.elapsed(), Duration::ZERO);
}

#[tokio::test(start_paused = true)]
async fn dropped_between_attempts_it_leaks_nothing() {
    let bench = Bench::failing(2, Class::Reset);
    bench.mocks[1].answers(&[Answer::Never]);
    let mut retry = bench.retry(&bench.layer().clock(TokioClock::new()).interval(Duration::from_secs(1)));
    for steps in [1, 2] {
        let mut future = Box::pin(retry.call(Ask::default()));
        for _ in 0..steps {
            assert!(futures_util::poll!(&mut future).is_pending());
            tokio::time::advance(Duration::from_secs(2)).await;
        }
        drop(future);
        assert_eq!(in_flight(&bench.cluster), [0, 0]);
    }
}

#[test]
fn it_calls_only_what_was_polled_ready() {
    /// Like a semaphore: readiness belongs to the clone that was polled.
    struct Strict(bool);
    impl Clone for Strict {
        fn clone(&self) -> Self {
            Self(false)
        }
    }
    impl Service<Ask> for Strict {
        type Response = char;
        type Error = Error<Class>;
        type Future = Pin<Box<dyn Future<Output = Answered> + Send>>;
        fn poll_ready(&mut self, _cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
            self.0 = true;
            Poll::Ready(Ok(()))
        }
        fn call(&mut self, ask: Ask) -> Self::Future {
            assert!(std::mem::take(&mut self.0), "called while not ready");
            let failed = Error::Endpoint { uid: some_uid(), name: "a".into(), source: Class::Reset };
            let is_first = ask.key.is_none();
            let answer = if is_first { Err(failed) } else { Ok('a') };
            Box::pin(std::future::ready(answer))
        }
    }
    let mut retry = RetryLayer::new(Marking).backoff(Backoff::NONE).layer(Strict(false));
    for _ in 0..2 {
        let mut cx = Context::from_waker(std::task::Waker::noop());
        assert!(retry.poll_ready(&mut cx).is_ready());
        assert_eq!(send(&mut retry), Ok('a'));
    }
}

/// As [`Always`], and says in the request that it is not the first.
#[derive(Clone, Copy, Debug)]
struct Marking;

impl RetryPolicy<Ask, char, Error<Class>> for Marking {
    fn save(&self, ask: &Ask) -> Option<Ask> {
        Some(ask.clone())
    }

    fn verdict(&self, saved: &mut Ask, result: &Answered) -> Verdict {
        saved.key = Some(Vec::new());
        Always.verdict(saved, result)
    }
}

fn some_uid() -> lb_policy::Uid {
    crate::testing::uids(&cluster_of([()]))[0]
}

#[test]
fn services_are_clone_and_futures_are_send() {
    fn check<S, Req: Send + 'static>(_service: &S)
    where
        S: Service<Req> + Clone + Send + Sync + 'static,
        S::Future: Send + 'static,
    {
    }
    let bench = Bench::new(1);
    check::<_, Ask>(&bench.retry(&bench.layer()));
}
