use std::sync::atomic::{AtomicU32, Ordering};

use lb_core::Class;
use lb_policy::{Cluster, RoundRobin};
use lb_ratelimit::Ratio;
use tokio::time::Instant;

use super::*;
use crate::testing::{Answer, AsAsked, Ask, Mock, cluster_of, in_flight, itself};
use crate::{Balance, Error, Immediate, TokioClock};

#[derive(Clone, Copy)]
struct Copied;

impl HedgePolicy<Ask, char, Error<Class>> for Copied {
    fn copy(&self, ask: &mut Ask) -> Option<Ask> {
        (ask.key.is_none()).then(|| ask.clone())
    }
}

#[derive(Clone, Debug, Default)]
struct Counts(Arc<[AtomicU32; 2]>);

impl Counts {
    /// Copies sent, and copies that won.
    fn read(&self) -> [u32; 2] {
        [0, 1].map(|place: usize| self.0[place].load(Ordering::Relaxed))
    }
}

impl HedgeEvents for Counts {
    fn on_hedge(&self) {
        self.0[0].fetch_add(1, Ordering::Relaxed);
    }

    fn on_copy_won(&self) {
        self.0[1].fetch_add(1, Ordering::Relaxed);
    }
}

struct Bench {
    mocks: Vec<Mock>,
    cluster: Cluster<Mock>,
    counts: Counts,
    budget: Arc<RetryBudget>,
}

const MS: Duration = Duration::from_millis(1);

impl Bench {
    fn new(answers: &[Answer]) -> Self {
        let mocks = Mock::several(answers.len());
        mocks.iter().zip(answers).for_each(|(mock, answer)| mock.answers(&[*answer]));
        let budget = Arc::new(RetryBudget::new(Ratio::percent(10), 1));
        Self { cluster: cluster_of(mocks.clone()), mocks, counts: Counts::default(), budget }
    }

    fn hedge(
        &self,
        after: HedgeAfter,
    ) -> impl Service<Ask, Response = char, Error = Error<Class>, Future: Send> + Clone + Send + Sync + use<> {
        let clock = TokioClock::new();
        let builder = Balance::builder(self.cluster.selector(RoundRobin)).inspect(AsAsked).clock(clock);
        let balance = builder.observe(Immediate::new().errors(itself as fn(&Class) -> Class)).build();
        let layer = HedgeLayer::new(Copied, after).budget(Arc::clone(&self.budget)).clock(clock);
        layer.events(self.counts.clone()).layer(balance)
    }
}

async fn timed<S: Service<Ask>>(service: &mut S) -> (Result<S::Response, S::Error>, Duration) {
    let start = Instant::now();
    (service.call(Ask::default()).await, start.elapsed())
}

#[tokio::test(start_paused = true)]
async fn a_request_that_takes_long_is_sent_again_and_the_loser_is_dropped() {
    let bench = Bench::new(&[Answer::Never, Answer::After(5 * MS)]);
    let (answer, took) = timed(&mut bench.hedge(HedgeAfter::Delay(10 * MS))).await;
    assert_eq!((answer, took), (Ok('b'), 15 * MS));
    assert_eq!((bench.counts.read(), in_flight(&bench.cluster)), ([1, 1], vec![0, 0]));
}

#[tokio::test(start_paused = true)]
async fn one_that_answers_in_time_is_sent_once() {
    let bench = Bench::new(&[Answer::After(9 * MS), Answer::Ok]);
    let (answer, took) = timed(&mut bench.hedge(HedgeAfter::Delay(10 * MS))).await;
    assert_eq!((answer, took, bench.mocks[1].calls()), (Ok('a'), 9 * MS, 0));
}

#[tokio::test(start_paused = true)]
async fn the_original_may_still_win() {
    let bench = Bench::new(&[Answer::After(12 * MS), Answer::After(5 * MS)]);
    let (answer, took) = timed(&mut bench.hedge(HedgeAfter::Delay(10 * MS))).await;
    assert_eq!((answer, took), (Ok('a'), 12 * MS));
    assert_eq!((bench.counts.read(), in_flight(&bench.cluster)), ([1, 0], vec![0, 0]));
}

#[tokio::test(start_paused = true)]
async fn a_failure_does_not_end_the_race_while_the_other_runs() {
    let bench = Bench::new(&[Answer::After(20 * MS), Answer::Fail(Class::Reset)]);
    assert_eq!(timed(&mut bench.hedge(HedgeAfter::Delay(10 * MS))).await, (Ok('a'), 20 * MS));
    // And before there is a copy it is the answer.
    let failing = Bench::new(&[Answer::Fail(Class::Reset), Answer::Ok]);
    assert!(timed(&mut failing.hedge(HedgeAfter::Delay(10 * MS))).await.0.is_err());
    assert_eq!(failing.counts.read(), [0, 0]);
}

#[tokio::test(start_paused = true)]
async fn what_must_be_sent_once_is_sent_once() {
    let bench = Bench::new(&[Answer::After(50 * MS), Answer::Ok]);
    let once = Ask { key: Some(vec![1]), ..Ask::default() };
    assert_eq!(bench.hedge(HedgeAfter::Delay(10 * MS)).call(once).await, Ok('a'));
    assert_eq!(bench.mocks[1].calls(), 0);
}

#[tokio::test(start_paused = true)]
async fn copies_are_bounded_by_the_budget() {
    let slow = Answer::After(30 * MS);
    let bench = Bench::new(&[slow, slow]);
    let mut hedge = bench.hedge(HedgeAfter::Delay(10 * MS));
    let calls: Vec<_> = (0..500).map(|_| hedge.call(Ask::default())).collect();
    let answers = futures_util::future::join_all(calls).await;
    assert!(answers.iter().all(Result::is_ok));
    assert_eq!(bench.counts.read()[0], 50, "a tenth, when everything is slow");
}

#[tokio::test(start_paused = true)]
async fn a_copy_that_finds_nobody_costs_nothing() {
    let bench = Bench::new(&[Answer::After(30 * MS)]);
    bench.cluster.endpoints()[0].state().set_max_in_flight(lb_core::InFlightLimit::new(1));
    let mut hedge = bench.hedge(HedgeAfter::Delay(10 * MS));
    for _ in 0..20 {
        assert_eq!(timed(&mut hedge).await, (Ok('a'), 30 * MS));
    }
    let now = lb_core::Mono::ZERO;
    assert_eq!((bench.counts.read(), bench.budget.remaining(now)), ([20, 0], 10));
}

#[tokio::test(start_paused = true)]
async fn the_delay_follows_what_is_measured() {
    let bench = Bench::new(&[Answer::After(20 * MS), Answer::After(20 * MS)]);
    let mut hedge = bench.hedge(HedgeAfter::Percentile(0.9));
    for _ in 0..64 {
        assert_eq!(timed(&mut hedge).await.1, 20 * MS);
    }
    assert_eq!(bench.counts.read(), [0, 0], "nobody knew what is long");
    bench.mocks[0].answers(&[Answer::Never]);
    // The ninth decile is 20 ms, rounded up by an eighth at most; the copy then takes 20 ms.
    let took = timed(&mut hedge).await.1;
    assert!((40..=43).contains(&took.as_millis()), "{took:?}");
}
