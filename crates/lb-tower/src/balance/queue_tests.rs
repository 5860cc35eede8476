use super::*;

/// Two endpoints that take one request each, a queue of this size, and both taken.
struct Full {
    bench: Bench,
    balance: Balance<RoundRobin, Mock, AsAsked, Hold, ManualClock, Log>,
    held: Vec<Held<Guard<Mock, ManualClock, Log>>>,
}

impl Full {
    fn new(size: usize) -> Self {
        let bench = Bench::new(0);
        let members = Mock::several(2).into_iter().zip(["a", "b"]);
        let members = members.map(|(mock, name)| Member::new(Identity::literal(name), mock).limit(ONE)).collect();
        bench.cluster.apply(Update::Reset(members), Mono::ZERO);
        bench.cluster.set_queue(size, WAIT);
        let mut balance = bench.holding();
        let held = (0..2).map(|_| send(&mut balance).unwrap()).collect();
        Self { bench, balance, held }
    }

    fn ask(&mut self, tried: Tried) -> Answering {
        let mut future = Box::pin(self.balance.call(Ask { tried, key: None }));
        assert!(future.as_mut().now_or_never().is_none());
        future
    }

    fn waiting(&self) -> usize {
        self.bench.cluster.queue().len()
    }

    /// The endpoint of this place answers its request to the end.
    fn release(&mut self, place: usize) {
        self.held.remove(place).guard.end(End::Completed);
    }
}

type Answering = std::pin::Pin<Box<BalanceFuture<RoundRobin, Mock, AsAsked, Hold, ManualClock, Log, Ask>>>;

const ONE: InFlightLimit = InFlightLimit::new(1);
const WAIT: Duration = Duration::from_secs(3);

#[tokio::test(start_paused = true)]
async fn who_waits_is_served_in_the_order_of_coming() {
    let mut full = Full::new(3);
    let mut waiting: Vec<_> = (0..3).map(|_| full.ask(Tried::new())).collect();
    assert_eq!(full.waiting(), 3);
    full.release(1);
    let late = full.balance.call(Ask::default()).now_or_never();
    assert!(matches!(late, Some(Err(Error::Queue(QueueError::Full(_))))), "nobody jumps the queue");
    let mut served = Vec::new();
    for _ in 0..2 {
        for (place, waiting) in waiting.iter_mut().enumerate().skip(served.len()) {
            if let Poll::Ready(answer) = poll!(waiting) {
                served.push((place, answer.unwrap()));
            }
        }
    }
    let places: Vec<_> = served.iter().map(|(place, _)| *place).collect();
    assert_eq!((places, full.waiting()), (vec![0], 2));
}

#[tokio::test(start_paused = true)]
async fn a_slot_wakes_the_task_that_waits() {
    let mut full = Full::new(1);
    let waiting = tokio::spawn(full.balance.call(Ask::default()));
    tokio::task::yield_now().await;
    assert_eq!(full.waiting(), 1);
    full.bench.clock.advance(Duration::from_millis(40));
    full.release(0);
    assert_eq!(waiting.await.unwrap().map(|held| held.from), Ok('a'));
    let report = full.bench.cluster.queue().report();
    assert_eq!((report.served, report.waited), (1, Duration::from_millis(40)));
}

#[tokio::test(start_paused = true)]
async fn the_wait_in_line_ends() {
    let full = Full::new(1);
    let mut balance = full.balance.clone();
    let start = Instant::now();
    let Err(error) = balance.call(Ask::default()).await else { panic!("nobody is free") };
    assert!(error.is_no_endpoint() && error.uid().is_none());
    let Error::Queue(error) = error else { panic!("{error:?}") };
    assert_eq!((error.to_string().as_str(), start.elapsed()), ("queue_timeout: after 3s", WAIT));
    assert_eq!((full.waiting(), full.bench.cluster.queue().report().timed_out), (0, 1));
}

#[tokio::test(start_paused = true)]
async fn who_goes_away_makes_room_and_takes_nobody_s_turn() {
    let mut full = Full::new(2);
    let first = full.ask(Tried::new());
    let second = tokio::spawn(full.balance.call(Ask::default()));
    tokio::task::yield_now().await;
    full.release(0);
    drop(first);
    assert_eq!(second.await.unwrap().map(|held| held.from), Ok('a'));
    assert_eq!(full.waiting(), 0);
}

#[tokio::test(start_paused = true)]
async fn who_has_tried_an_endpoint_keeps_nobody_from_it() {
    let mut full = Full::new(2);
    let mut tried = Tried::new();
    tried.push(uids(&full.bench.cluster)[0]);
    let retry = full.ask(tried);
    full.release(0);
    assert_eq!(send(&mut full.balance).map(|held| held.from), Ok('a'), "b is all that the other could use");
    assert_eq!(full.waiting(), 1);
    let retry = tokio::spawn(retry);
    tokio::task::yield_now().await;
    full.release(0);
    assert_eq!(retry.await.unwrap().map(|held| held.from), Ok('b'));
}

#[tokio::test(start_paused = true)]
async fn what_a_retry_cannot_use_goes_to_the_next() {
    let mut full = Full::new(2);
    let mut tried = Tried::new();
    tried.push(uids(&full.bench.cluster)[0]);
    let retry = tokio::spawn(full.ask(tried));
    let other = tokio::spawn(full.ask(Tried::new()));
    tokio::task::yield_now().await;
    full.release(0);
    assert_eq!(other.await.unwrap().map(|held| held.from), Ok('a'));
    assert!(!retry.is_finished());
    full.release(0);
    assert_eq!(retry.await.unwrap().map(|held| held.from), Ok('b'));
}

#[tokio::test(start_paused = true)]
async fn those_who_wait_go_on_when_the_cluster_changes() {
    type Change = fn(&Cluster<Mock>);
    let changes: [(&str, Change); 3] = [
        ("somebody joins", |cluster| {
            let member = Member::new(Identity::literal("c"), Mock::new('c'));
            cluster.apply(Update::Upsert(vec![member]), Mono::ZERO);
        }),
        ("a limit is raised", |cluster| {
            let member = Member::new(Identity::literal("b"), Mock::new('b')).limit(InFlightLimit::new(9));
            cluster.apply(Update::Upsert(vec![member]), Mono::ZERO);
        }),
        ("somebody becomes eligible", |cluster| {
            let member = Member::new(Identity::literal("c"), Mock::new('c')).weight(0);
            cluster.apply(Update::Upsert(vec![member.clone()]), Mono::ZERO);
            cluster.apply(Update::Upsert(vec![member.weight(1)]), Mono::ZERO);
        }),
    ];
    for (what, change) in changes {
        let mut full = Full::new(9);
        let waiting: Vec<_> = (0..4).map(|_| tokio::spawn(full.ask(Tried::new()))).collect();
        tokio::task::yield_now().await;
        change(&full.bench.cluster);
        for task in waiting {
            assert!(task.await.unwrap().is_ok(), "{what}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn nobody_waits_for_a_cluster_that_has_nobody_left() {
    let mut full = Full::new(9);
    let waiting: Vec<_> = (0..3).map(|_| tokio::spawn(full.ask(Tried::new()))).collect();
    tokio::task::yield_now().await;
    for uid in uids(&full.bench.cluster) {
        full.bench.cluster.set(uid, Axis::Maintenance, true, Mono::ZERO);
    }
    for task in waiting {
        let error = task.await.unwrap().map(|held| held.from).unwrap_err();
        assert!(matches!(error, Error::NoEndpoint(PickError::AllIneligible(_))), "{error:?}");
    }
    assert_eq!(full.bench.cluster.queue().report().no_endpoint, 3);
}

#[tokio::test(start_paused = true)]
async fn drawn_to_somebody_who_is_not_ready_it_leaves_the_line_and_waits_for_that_one() {
    let mut full = Full::new(9);
    let mock = full.bench.cluster.endpoints()[0].value().clone();
    mock.set_ready(None);
    let waiting = tokio::spawn(full.ask(Tried::new()));
    tokio::task::yield_now().await;
    full.release(0);
    tokio::task::yield_now().await;
    assert_eq!((full.waiting(), waiting.is_finished()), (0, false));
    mock.set_ready(Some(Ok(())));
    assert_eq!(waiting.await.unwrap().map(|held| held.from), Ok('a'));
}

/// As a proxy does: workers with a runtime each, clones of one cluster, more requests than slots at every moment.
#[test]
fn no_news_is_lost_between_threads() {
    const THREADS: u32 = 4;
    const CLIENTS: u32 = 8;
    const REQUESTS: u32 = 40;
    let cluster = Cluster::new("c");
    let serve = service_fn(|()| async {
        tokio::task::yield_now().await;
        Ok::<_, Infallible>(())
    });
    let members = ["a", "b"].map(|name| Member::new(Identity::literal(name), serve).limit(ONE));
    cluster.apply(Update::Reset(members.into()), Mono::ZERO);
    cluster.set_queue(1_000, Duration::from_secs(30));
    let work = || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        let balance = Balance::builder(cluster.selector(RoundRobin)).observe(Immediate::new()).build();
        runtime.block_on(async {
            let clients = (0..CLIENTS).map(|_| async {
                let mut balance = balance.clone();
                for _ in 0..REQUESTS {
                    balance.call(()).await.expect("somebody is free before long");
                }
            });
            futures_util::future::join_all(clients).await;
        });
    };
    std::thread::scope(|scope| {
        for _ in 0..THREADS {
            scope.spawn(work);
        }
    });
    assert!(cluster.queue().is_empty() && !cluster.queue().must_queue());
    let report = cluster.queue().report();
    assert_eq!((report.timed_out, report.refused, report.cancelled, report.no_endpoint), (0, 0, 0, 0));
    assert!(report.served > 0 && in_flight(&cluster) == [0, 0]);
}
