use std::convert::Infallible;
use std::future::Future;
use std::task::Poll;
use std::time::Duration;

use futures_util::{FutureExt, poll};
use lb_core::{Axis, Class, End, InFlightLimit, ManualClock, Mono};
use lb_policy::{Cluster, Identity, IpHash, Member, PickError, Random, RoundRobin, Tried, Update};
use tokio::time::Instant;
use tower::service_fn;

use super::*;
use crate::TokioClock;
use crate::testing::{Answer, AsAsked, Ask, Log, Mock, cluster_of, in_flight, itself, uids};

/// Keeps the guard in the response.
#[derive(Clone, Copy)]
struct Hold;

struct Held<G> {
    from: char,
    guard: G,
}

impl<G: Attempt> Observe<char, Class, G> for Hold {
    type Output = Held<G>;

    fn class(&self, result: &Result<char, Class>) -> Class {
        result.map_or_else(|class| class, |_| Class::Status(200))
    }

    fn attach(&self, from: char, guard: G) -> Held<G> {
        Held { from, guard }
    }
}

type Immediately = Immediate<fn(&Class) -> Class>;

fn immediately() -> Immediately {
    Immediate::new().errors(itself)
}

struct Bench {
    mocks: Vec<Mock>,
    cluster: Cluster<Mock>,
    clock: ManualClock,
    log: Log,
}

impl Bench {
    fn new(count: usize) -> Self {
        let mocks = Mock::several(count);
        Self { cluster: cluster_of(mocks.clone()), mocks, clock: ManualClock::new(), log: Log::default() }
    }

    fn builder<P: Policy>(&self, policy: P) -> BalanceBuilder<P, Mock, AsAsked, Immediate, ManualClock, Log> {
        let builder = Balance::builder(self.cluster.selector(policy)).observe(Immediate::new());
        builder.inspect(AsAsked).clock(self.clock.clone()).events(self.log.clone()).seed(1)
    }

    /// In turn; the attempt ends with its head.
    fn plain(&self) -> Balance<RoundRobin, Mock, AsAsked, Immediately, ManualClock, Log> {
        self.builder(RoundRobin).observe(immediately()).build()
    }

    /// In turn; the attempt ends with its response.
    fn holding(&self) -> Balance<RoundRobin, Mock, AsAsked, Hold, ManualClock, Log> {
        self.builder(RoundRobin).observe(Hold).build()
    }
}

/// Sends a request that is answered at once.
fn send<S: Service<Ask>>(service: &mut S) -> Result<S::Response, S::Error> {
    service.call(Ask::default()).now_or_never().expect("answers at once")
}

#[test]
fn it_goes_round_and_reports_each_attempt_once() {
    let bench = Bench::new(2);
    let mut balance = bench.plain();
    assert_eq!((send(&mut balance), send(&mut balance), send(&mut balance)), (Ok('a'), Ok('b'), Ok('a')));
    let served = |name: &str| [format!("{name}+"), format!("{name}:2xx 0ms"), format!("{name}.Completed 2xx")];
    assert_eq!(bench.log.take(), [served("a"), served("b"), served("a")].concat());
    assert_eq!(in_flight(&bench.cluster), [0, 0]);
}

#[test]
fn an_empty_cluster_is_ready_and_says_that_it_is_empty() {
    let cluster = Cluster::<Mock>::new("none");
    let mut balance = Balance::builder(cluster.selector(RoundRobin)).observe(Immediate::new()).build();
    let mut cx = Context::from_waker(std::task::Waker::noop());
    assert!(matches!(Service::<()>::poll_ready(&mut balance, &mut cx), Poll::Ready(Ok(()))));
    let answer = balance.call(()).now_or_never().unwrap();
    assert_eq!(answer, Err(Error::NoEndpoint(PickError::Empty)));
}

#[test]
fn what_was_ready_and_is_gone_is_not_called() {
    // tower's balance remembers an index from `poll_ready` to `call`; whoever leaves in between shifts it.
    let bench = Bench::new(3);
    let mut balance = bench.plain();
    let mut cx = Context::from_waker(std::task::Waker::noop());
    for _ in 0..6 {
        assert!(balance.poll_ready(&mut cx).is_ready());
    }
    let future = balance.call(Ask::default());
    bench.cluster.apply(Update::Remove(vec![Identity::literal("a"), Identity::literal("b")]), Mono::ZERO);
    assert_eq!(future.now_or_never(), Some(Ok('c')));
    bench.cluster.apply(Update::Reset(Vec::new()), Mono::ZERO);
    assert_eq!(send(&mut balance), Err(Error::NoEndpoint(PickError::Empty)));
    assert_eq!(bench.mocks.iter().map(Mock::calls).collect::<Vec<_>>(), [0, 0, 1]);
}

#[test]
fn an_endpoint_that_fails_is_named_and_its_slot_is_free() {
    let bench = Bench::new(1);
    bench.mocks[0].answers(&[Answer::Fail(Class::ConnectError), Answer::Fail(Class::Cancelled)]);
    let mut balance = bench.plain();
    let error = send(&mut balance).unwrap_err();
    assert_eq!(error.uid(), Some(uids(&bench.cluster)[0]));
    assert!(matches!(error, Error::Endpoint { name, source: Class::ConnectError, .. } if &*name == "a"));
    assert_eq!(bench.log.take(), ["a+", "a:connect_error 0ms", "a.UpstreamAborted connect_error"]);
    assert_eq!((bench.cluster.endpoints()[0].state().failures(), in_flight(&bench.cluster)), (1, vec![0]));
    // Says nothing about the endpoint.
    send(&mut balance).unwrap_err();
    assert_eq!(bench.log.take(), ["a+", "a:cancelled 0ms", "a.Cancelled cancelled"]);
}

#[test]
fn the_slot_is_held_as_long_as_the_response_and_latency_is_that_of_the_head() {
    let bench = Bench::new(1);
    let mut balance = bench.holding();
    for (end, name) in [(Some(End::Completed), "Completed"), (Some(End::ClientGone), "ClientGone"), (None, "Cancelled")]
    {
        let Ok(held) = send(&mut balance) else { panic!("a answers") };
        assert_eq!(
            (held.from, held.guard.class(), held.guard.endpoint().uid()),
            ('a', Some(Class::Status(200)), held.guard.uid())
        );
        bench.clock.advance(Duration::from_secs(3_600));
        assert_eq!(in_flight(&bench.cluster), [1]);
        match end {
            Some(end) => held.guard.end(end),
            None => drop(held),
        }
        assert_eq!(in_flight(&bench.cluster), [0]);
        assert_eq!(bench.log.take(), ["a+", "a:2xx 0ms", &format!("a.{name} 2xx")]);
    }
}

#[test]
fn whoever_drops_the_future_leaks_nothing_and_is_reported_as_cancelled() {
    let bench = Bench::new(1);
    bench.mocks[0].answers(&[Answer::Never]);
    let mut balance = bench.plain();
    drop(balance.call(Ask::default()));
    assert_eq!(bench.log.take(), [""; 0], "never polled, never begun");

    let mut future = Box::pin(balance.call(Ask::default()));
    assert!(future.as_mut().now_or_never().is_none());
    assert_eq!(in_flight(&bench.cluster), [1]);
    bench.clock.advance(Duration::from_millis(7));
    drop(future);
    assert_eq!(in_flight(&bench.cluster), [0]);
    assert_eq!(bench.log.take(), ["a+", "a:cancelled 7ms", "a.Cancelled cancelled"]);
    assert_eq!(bench.cluster.endpoints()[0].state().failures(), 0);
}

#[test]
fn one_that_is_not_ready_counts_as_full_and_another_is_drawn() {
    let bench = Bench::new(3);
    bench.mocks[0].set_ready(None);
    bench.mocks[1].set_ready(None);
    let mut balance = bench.holding();
    for _ in 0..3 {
        let Ok(held) = send(&mut balance) else { panic!("c answers") };
        assert_eq!((held.from, in_flight(&bench.cluster)), ('c', vec![0, 0, 1]));
        held.guard.end(End::Completed);
        assert_eq!(bench.log.take(), ["c+", "c:2xx 0ms", "c.Completed 2xx"], "who is not ready has no attempt");
    }
}

#[tokio::test(start_paused = true)]
async fn when_nobody_is_ready_the_first_to_become_so_serves_and_nobody_is_in_flight_meanwhile() {
    let bench = Bench::new(3);
    bench.mocks.iter().for_each(|mock| mock.set_ready(None));
    let mut balance = bench.plain();
    let mut future = Box::pin(balance.call(Ask::default()));
    assert!(poll!(&mut future).is_pending());
    assert_eq!(in_flight(&bench.cluster), [0, 0, 0]);
    bench.mocks[1].set_ready(Some(Ok(())));
    assert_eq!(future.await, Ok('b'));
    assert_eq!(bench.log.take(), ["b+", "b:2xx 0ms", "b.Completed 2xx"]);
}

#[tokio::test(start_paused = true)]
async fn the_wait_for_somebody_ready_ends() {
    let bench = Bench::new(2);
    bench.mocks.iter().for_each(|mock| mock.set_ready(None));
    let mut balance = bench.plain();
    let start = Instant::now();
    let Err(Error::NoEndpoint(error)) = balance.call(Ask::default()).await else { panic!("nobody is ready") };
    assert_eq!(start.elapsed(), Duration::from_secs(5));
    assert_eq!(error.to_string(), "no_endpoint: 2 full");

    let mut at_once = bench.builder(RoundRobin).ready_within(Duration::ZERO).build();
    assert!(matches!(send(&mut at_once), Err(Error::NoEndpoint(PickError::AllFull(_)))));
    assert_eq!((bench.log.take().len(), in_flight(&bench.cluster)), (0, vec![0, 0]));
}

#[tokio::test(start_paused = true)]
async fn one_waited_for_that_may_take_nothing_any_more_is_passed_over() {
    let bench = Bench::new(2);
    bench.mocks.iter().for_each(|mock| mock.set_ready(None));
    let mut balance = bench.plain();
    let mut future = Box::pin(balance.call(Ask::default()));
    assert!(poll!(&mut future).is_pending());
    bench.cluster.set(uids(&bench.cluster)[0], Axis::Drain, true, Mono::ZERO);
    bench.mocks[0].set_ready(Some(Ok(())));
    assert!(poll!(&mut future).is_pending());
    bench.mocks[1].set_ready(Some(Ok(())));
    assert_eq!(future.await, Ok('b'));
    assert_eq!(bench.mocks[0].calls(), 0);
}

#[tokio::test(start_paused = true)]
async fn who_joins_while_a_request_waits_may_serve_it() {
    let bench = Bench::new(1);
    bench.mocks[0].set_ready(None);
    let mut balance = bench.plain();
    let mut future = Box::pin(balance.call(Ask::default()));
    assert!(poll!(&mut future).is_pending());
    let member = Member::new(Identity::literal("z"), Mock::new('z'));
    bench.cluster.apply(Update::Upsert(vec![member]), Mono::ZERO);
    assert_eq!(poll!(&mut future), Poll::Ready(Ok('z')));
}

#[test]
fn a_service_that_will_never_be_ready_is_a_failed_attempt() {
    let bench = Bench::new(1);
    bench.mocks[0].set_ready(Some(Err(Class::Reset)));
    assert!(matches!(send(&mut bench.plain()), Err(Error::Endpoint { source: Class::Reset, .. })));
    assert_eq!(bench.log.take(), ["a+", "a:reset 0ms", "a.UpstreamAborted reset"]);
    assert_eq!(in_flight(&bench.cluster), [0]);
}

#[test]
fn who_was_tried_is_not_picked_again() {
    let bench = Bench::new(3);
    let mut balance = bench.plain();
    let mut tried = Tried::new();
    for name in ['a', 'b', 'c'] {
        let answer = balance.call(Ask { tried: tried.clone(), key: None }).now_or_never();
        assert_eq!(answer, Some(Ok(name)));
        tried.push(uids(&bench.cluster)[name as usize - 'a' as usize]);
    }
    let answer = balance.call(Ask { tried, key: None }).now_or_never().unwrap();
    assert!(matches!(answer, Err(Error::NoEndpoint(PickError::AllTried(_)))));
}

#[test]
fn a_key_is_hashed_and_goes_where_it_went() {
    let bench = Bench::new(5);
    let mut balance = bench.builder(IpHash::new()).observe(immediately()).build();
    let mut ask = |octets: [u8; 4]| {
        balance.call(Ask { key: Some(octets.to_vec()), ..Ask::default() }).now_or_never().unwrap().unwrap()
    };
    let first: Vec<_> = (0..50).map(|n| ask([10, n, 0, 1])).collect();
    let second: Vec<_> = (0..50).map(|n| ask([10, n, 0, 1])).collect();
    assert_eq!(first, second);
    assert!((1..50).any(|n| first[n] != first[0]), "keys are spread");
}

#[test]
fn a_full_cluster_refuses_and_serves_again_when_a_slot_is_free() {
    let bench = Bench::new(0);
    let member = Member::new(Identity::literal("a"), Mock::new('a')).limit(InFlightLimit::new(1));
    bench.cluster.apply(Update::Reset(vec![member]), Mono::ZERO);
    let mut balance = bench.holding();
    let Ok(held) = send(&mut balance) else { panic!("a answers") };
    assert!(matches!(send(&mut balance), Err(Error::NoEndpoint(PickError::AllFull(_)))));
    drop(held);
    assert!(send(&mut balance).is_ok());
}

#[test]
fn clones_made_for_each_request_do_not_all_draw_the_same() {
    let bench = Bench::new(4);
    let balance = bench.builder(Random).observe(immediately()).build();
    let mut counts = [0_u32; 4];
    for _ in 0..400 {
        let from = send(&mut balance.clone()).unwrap();
        counts[from as usize - 'a' as usize] += 1;
    }
    // Mean 100, standard deviation √(400·¼·¾) ≈ 8.7; 45 is five of them.
    assert!(counts.iter().all(|&count| count.abs_diff(100) < 45), "{counts:?}");
}

#[tokio::test(start_paused = true)]
async fn latency_is_measured_from_the_pick_to_the_head() {
    let bench = Bench::new(1);
    bench.mocks[0].answers(&[Answer::After(Duration::from_millis(30))]);
    let selector = bench.cluster.selector(RoundRobin);
    let mut balance =
        Balance::builder(selector).observe(Immediate::new()).clock(TokioClock::new()).events(bench.log.clone()).build();
    assert_eq!(balance.call(()).await, Ok('a'));
    assert_eq!(bench.log.take(), ["a+", "a:2xx 30ms", "a.Completed 2xx"]);
}

#[test]
fn two_sets_of_events_are_both_told_and_none_is_nobody() {
    let bench = Bench::new(1);
    let other = Log::default();
    let events = (Some(other.clone()), (None::<Log>, bench.log.clone()));
    let builder = Balance::builder(bench.cluster.selector(RoundRobin)).observe(Immediate::new());
    let mut balance = builder.events(events).build();
    send(&mut balance).unwrap();
    let told = bench.log.take();
    assert_eq!((told.len(), other.take()), (3, told));
}

#[path = "queue_tests.rs"]
mod queue;

/// What an embedder needs of the types, checked by the compiler.
#[test]
fn services_are_clone_and_futures_are_send() {
    fn check<S, Req: Send + 'static>(service: &S)
    where
        S: Service<Req> + Clone + Send + Sync + 'static,
        S::Future: Future + Send + 'static,
        S::Error: std::error::Error + Send + Sync + 'static,
    {
        let _ = service;
    }
    let endpoint = service_fn(|n: u32| std::future::ready(Ok::<_, Infallible>(n)));
    check(&Balance::builder(cluster_of([endpoint]).selector(RoundRobin)).observe(Immediate::new()).build());
}

#[test]
fn a_service_that_keeps_its_table_at_hand_follows_every_update() {
    let bench = Bench::new(3);
    let mut balance = bench.plain();
    let before: String = (0..3).map(|_| send(&mut balance).unwrap()).collect();
    assert_eq!(before, "abc");
    assert!(matches!(balance.way, Way::Paved(_)) && matches!(balance.clone().way, Way::Untrodden));
    bench.cluster.apply(Update::Remove(vec![Identity::literal("b")]), Mono::ZERO);
    let after: String = (0..4).map(|_| send(&mut balance).unwrap()).collect();
    assert!(after == "caca" || after == "acac", "{after}");
    bench.cluster.apply(Update::Reset(Vec::new()), Mono::ZERO);
    assert_eq!(send(&mut balance), Err(Error::NoEndpoint(PickError::Empty)));
}

#[test]
fn a_call_holds_its_slot_and_gives_it_back_if_nobody_polls_it() {
    let bench = Bench::new(1);
    let mut balance = bench.plain();
    let future = balance.call(Ask::default());
    assert_eq!(in_flight(&bench.cluster), [1]);
    drop(future);
    assert_eq!(in_flight(&bench.cluster), [0]);
}

#[test]
fn an_explanation_says_where_the_next_call_of_this_clone_goes() {
    let cluster = Cluster::new("app");
    let members = (0..5).map(|n| {
        Member::new(format!("app-{n}:80"), service_fn(move |_: u32| std::future::ready(Ok::<_, Infallible>(n))))
    });
    cluster.apply(Update::Reset(members.collect()), Mono::ZERO);
    let mut service = Balance::builder(cluster.selector(lb_policy::P2c)).observe(Immediate::new()).build();
    for request in 0..200 {
        let explanation = service.explain(&request);
        assert!(cluster.endpoints().iter().all(|endpoint| endpoint.state().in_flight() == 0));
        let chosen = explanation.choice.unwrap().get();
        let served = service.call(request).now_or_never().unwrap().unwrap();
        assert_eq!(chosen, served, "{request}");
    }
}
