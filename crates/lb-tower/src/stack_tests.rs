//! All layers together, under requests that are dropped wherever they are.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use lb_core::{Class, End, Mono};
use lb_policy::{Endpoint, Entropy, Identity, Member, RoundRobin, Update};
use lb_ratelimit::{Concurrency as Limit, Keyed, Quota, Ratio, RetryBudget};
use tokio::time::sleep;
use tower::ServiceBuilder;
use tower_service::Service;

use crate::testing::{Answer, AsAsked, Ask, Mock, cluster_of, in_flight, itself};
use crate::*;

/// Counts picks, heads and ends.
#[derive(Clone, Default)]
struct Tally(Arc<[AtomicU32; 3]>);

impl Tally {
    fn read(&self) -> [u32; 3] {
        [0, 1, 2].map(|place: usize| self.0[place].load(Ordering::Relaxed))
    }
}

impl<S> Events<S> for Tally {
    fn on_pick(&self, _endpoint: &Arc<Endpoint<S>>, _now: Mono) {
        self.0[0].fetch_add(1, Ordering::Relaxed);
    }

    fn on_head(&self, _endpoint: &Arc<Endpoint<S>>, _class: Class, _elapsed: Duration, _now: Mono) {
        self.0[1].fetch_add(1, Ordering::Relaxed);
    }

    fn on_end(&self, _endpoint: &Arc<Endpoint<S>>, _class: Class, _end: End, _elapsed: Duration, _now: Mono) {
        self.0[2].fetch_add(1, Ordering::Relaxed);
    }
}

#[derive(Clone, Copy)]
struct Again;

impl RetryPolicy<Ask, char, Error<Class>> for Again {
    fn save(&self, ask: &Ask) -> Option<Ask> {
        Some(ask.clone())
    }

    fn verdict(&self, _saved: &mut Ask, result: &Result<char, Error<Class>>) -> Verdict {
        let Err(Error::Endpoint { source, .. }) = result else { return Verdict::Return };
        Verdict::Retry { free: *source == Class::ConnectError, class: *source }
    }
}

impl HedgePolicy<Ask, char, Error<Class>> for Again {
    fn copy(&self, ask: &mut Ask) -> Option<Ask> {
        Some(ask.clone())
    }
}

#[derive(Clone, Copy)]
struct OneKey;

impl Key<Ask> for OneKey {
    fn key<'a>(&'a self, _ask: &'a Ask, buffer: &'a mut Vec<u8>) -> Option<&'a [u8]> {
        buffer.push(1);
        Some(buffer)
    }
}

/// One of these at random: an answer, a failure, a delay.
fn any_answer(entropy: &mut Entropy) -> Answer {
    match entropy.below(8) {
        0 => Answer::Fail(Class::ConnectError),
        1 => Answer::Fail(Class::Reset),
        2 => Answer::Fail(Class::Cancelled),
        3 => Answer::Never,
        4 | 5 => Answer::After(Duration::from_millis(entropy.below(60))),
        _ => Answer::Ok,
    }
}

/// Something happens to the cluster: an endpoint answers otherwise, ceases to be ready, breaks, leaves or comes back.
fn disturb(mocks: &[Mock], cluster: &lb_policy::Cluster<Mock>, entropy: &mut Entropy, now: Mono) {
    let place = entropy.below(mocks.len() as u64) as usize;
    let mock = &mocks[place];
    let identity = Identity::literal(char::from(b'a' + place as u8).to_string());
    match entropy.below(6) {
        0 | 1 => mock.answers(&[any_answer(entropy), any_answer(entropy)]),
        2 => mock.set_ready(None),
        3 => mock.set_ready(Some(Ok(()))),
        4 => drop(cluster.apply(Update::Remove(vec![identity]), now)),
        _ => drop(cluster.apply(Update::Upsert(vec![Member::new(identity, mock.clone())]), now)),
    }
}

async fn storm(seed: u64) {
    let mut entropy = Entropy::seeded(seed);
    let clock = TokioClock::new();
    let mocks = Mock::several(4);
    let cluster = cluster_of(mocks.clone());
    let (tally, limit) = (Tally::default(), Limit::new(40));
    let passive = Passive::new(cluster.clone(), PassiveRule::default(), ());
    let balance = Balance::builder(cluster.selector(RoundRobin))
        .inspect(AsAsked)
        .observe(Immediate::new().errors(itself as fn(&Class) -> Class))
        .events((tally.clone(), passive.clone()))
        .clock(clock)
        .ready_within(Duration::from_millis(50))
        .build();
    let budget = Arc::new(RetryBudget::new(Ratio::percent(50), 10));
    let hedges = Arc::new(RetryBudget::new(Ratio::percent(50), 10));
    let limiter = Arc::new(Keyed::new(Quota::per_second(1_000).with_burst(100), 4_096, [1, 2]));
    let retry = RetryLayer::new(Again).clock(clock).budget(Some(budget)).interval(Duration::from_millis(5));
    let stack = ServiceBuilder::new()
        .layer(RateLimitLayer::new(OneKey, limiter).clock(clock))
        .layer(ConcurrencyLayer::new(Some(Arc::clone(&limit))))
        .layer(TimeoutLayer::new(Some(Duration::from_millis(200))))
        .layer(retry.within(Some(Duration::from_millis(150))))
        .layer(HedgeLayer::new(Again, HedgeAfter::Delay(Duration::from_millis(20))).budget(hedges).clock(clock))
        .service(balance);

    let mut requests = tokio::task::JoinSet::new();
    for _ in 0..300 {
        disturb(&mocks, &cluster, &mut entropy, lb_core::Clock::now(&clock));
        let patience = Duration::from_millis(entropy.below(100));
        let mut stack = stack.clone();
        requests.spawn(async move {
            // Whoever loses patience drops the request where it is.
            tokio::select! {
                answer = stack.call(Ask::default()) => drop(answer),
                () = sleep(patience) => {}
            }
        });
        if entropy.below(3) == 0 {
            sleep(Duration::from_millis(entropy.below(20))).await;
            passive.tick(lb_core::Clock::now(&clock));
        }
    }
    while requests.join_next().await.is_some() {}

    let [picks, heads, ends] = tally.read();
    assert!(picks > 50, "seed {seed}: {picks} attempts");
    assert_eq!((heads, ends), (picks, picks), "seed {seed}: each attempt has one head and one end");
    assert_eq!(limit.in_flight(), 0, "seed {seed}");
    let everybody = mocks.iter().zip(["a", "b", "c", "d"]);
    let everybody = everybody.map(|(mock, name)| Member::new(Identity::literal(name), mock.clone()));
    cluster.apply(Update::Reset(everybody.collect()), lb_core::Clock::now(&clock));
    assert_eq!(in_flight(&cluster), [0; 4], "seed {seed}");
}

#[tokio::test(start_paused = true)]
async fn whatever_happens_and_whoever_leaves_nothing_is_leaked_and_nothing_is_told_twice() {
    for seed in 0..40 {
        storm(seed).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn threads_that_share_a_stack_leak_nothing() {
    let mocks = Mock::several(3);
    mocks[1].answers(&[Answer::Fail(Class::Reset), Answer::Ok, Answer::Never]);
    let cluster = cluster_of(mocks);
    let tally = Tally::default();
    let passive = Passive::new(cluster.clone(), PassiveRule::default(), ());
    let builder = Balance::builder(cluster.selector(RoundRobin)).inspect(AsAsked).events((tally.clone(), passive));
    let retry = RetryLayer::new(Again).attempts(2);
    let stack = ServiceBuilder::new()
        .layer(TimeoutLayer::new(Some(Duration::from_millis(2))))
        .layer(retry)
        .service(builder.observe(Immediate::new().errors(itself as fn(&Class) -> Class)).build());
    let mut requests = tokio::task::JoinSet::new();
    for _ in 0..2_000 {
        let mut stack = stack.clone();
        requests.spawn(async move { drop(stack.call(Ask::default()).await) });
    }
    while requests.join_next().await.is_some() {}
    let [picks, heads, ends] = tally.read();
    assert!(picks >= 2_000);
    assert_eq!((heads, ends, in_flight(&cluster)), (picks, picks, vec![0; 3]));
}
