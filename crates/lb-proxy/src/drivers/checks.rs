//! Active checks: asks every endpoint again and again whether it serves.
//!
//! When the next check is due, and when results change an endpoint's state, is decided by [`lb_health::Schedule`], which
//! has no sockets; this driver sleeps, checks and reports. One task an endpoint, a few hundred bytes each, so that one that
//! hangs delays no other; ten thousand of them need no more than their timers.
//!
//! Checks must not come in step: started together they would hit a common database behind all endpoints in one
//! instant, every interval, for ever. So the first ones are spread over the first second (a millisecond an endpoint, if
//! there are more than a thousand, and never more than an interval), the second ones over half an interval, and each
//! later wait is jittered by a tenth. At most 1 024 are under way at once, fewer where little may be opened, so that a dead network does not eat all descriptors;
//! beyond that they wait their turn, and that wait is no part of their timeout.
//!
//! How the engine uses it:
//!
//! ```text
//! let checks = Checks::new(control.handle().clone(), NetProber, targets, 1024);   // `targets: impl Targets`
//! checks.apply(wanted);                    // at start, at reload, and when a name resolves to something else
//! checks.report(&identity);                // for `/status`: state, since when, why, last check
//! ```
//!
//! `apply` takes everything that is to be checked. Who was checked before, in the same way, keeps count and schedule;
//! who is checked in another way keeps its state; who is no longer named stops, and is told to be up once if it was
//! down, so that an endpoint whose checks were taken out of the file is not down for ever.
//!
//! What this does not do: judge real traffic (outlier detection does), or decide whether traffic flows when all are
//! down (the cluster's panic threshold does).

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use lb_config::ActiveCheck;
use lb_core::Axis;
use lb_core::Mono;
use lb_health::{Initial, Intervals, Schedule, Thresholds, Transition};
use tokio::runtime::Handle;
use tokio::sync::Notify;
use tokio::task::AbortHandle;
use tokio::time::Instant;

use super::Identity;
use super::places::Places;
pub use super::probe::{NetProber, Prober, Question, VerdictFuture};
pub use super::verdict::Verdict;
use crate::events::{Event, Subject};
use crate::net::clock;
use crate::observe::metrics::EndpointMetrics;
use crate::observe::once_a_second::OnceASecond;
use crate::observe::status::LastCheck;
use crate::tls::UpstreamTls;

/// Where results go: the engine sets `Axis::Check` of the endpoint, if it knows it.
pub trait Targets: Send + Sync + 'static {
    /// The endpoint is up or down by its checks from now on. Told at transitions, and when its checks begin (if they
    /// begin with down) or end. Calls for one endpoint never overlap. It must not call the driver back, nor wait for a
    /// lock that somebody holds while calling it. Answers what else keeps the endpoint from new requests.
    fn on_checked(&self, endpoint: &Identity, is_up: bool) -> Vec<Axis>;

    /// A transition of this endpoint by checks that were made, to be passed on; default it is not.
    fn emit(&self, endpoint: &Identity, event: Event) {
        let _ = (endpoint, event);
    }

    /// A check has passed or failed, `took` after it began. The same rules hold.
    fn on_result(&self, endpoint: &Identity, passed: bool, took: Duration) {
        let _ = (endpoint, passed, took);
    }
}

/// One endpoint to check.
#[derive(Clone, Debug)]
pub struct Target {
    /// Which.
    pub endpoint: Identity,
    /// How; shared by a cluster's endpoints.
    pub check: Arc<ActiveCheck>,
    /// Where checks are counted.
    pub metrics: Arc<EndpointMetrics>,
    /// How it is reached by TLS; `None` in the clear.
    pub(crate) tls: Option<Arc<UpstreamTls>>,
}

/// What is known of an endpoint by its checks.
#[derive(Clone, Debug, PartialEq)]
pub struct Report {
    /// Whether it counts as up.
    pub is_up: bool,
    /// Since when.
    pub since: SystemTime,
    /// What made it so (`status 500 from /healthz (3 of 3)`); `None` before the first transition.
    pub why: Option<String>,
    /// The last check; `None` before the first.
    pub last: Option<LastCheck>,
    /// The ones before it, at most four, the latest first.
    pub earlier: VecDeque<LastCheck>,
    /// How long until the next one is due.
    pub next_in: Duration,
}

/// The driver. Dropping it ends all checks and leaves every endpoint in the state it is in.
pub struct Checks {
    common: Arc<Common>,
    runtime: Handle,
    running: Mutex<HashMap<Identity, Running>>,
}

struct Common {
    prober: Box<dyn Prober>,
    targets: Box<dyn Targets>,
    places: Places,
    /// The origin of the schedules' time.
    origin: Instant,
    /// Of checks that could not be made.
    void_log: OnceASecond,
}

struct Running {
    check: Arc<ActiveCheck>,
    state: Arc<Mutex<State>>,
    /// The next check is due earlier than it was.
    sooner: Arc<Notify>,
    task: AbortHandle,
}

/// What is learned of one endpoint. Whoever tells the engine of it holds the lock, so that nothing comes after an end.
struct State {
    schedule: Schedule,
    /// Verdicts in a row like the last.
    row: u32,
    report: Report,
    metrics: Arc<EndpointMetrics>,
    tls: Option<Arc<UpstreamTls>>,
    is_over: bool,
}

impl Checks {
    /// A driver with nothing to do yet, working on `runtime`.
    /// At most `at_once` checks are under way at any time.
    pub fn new(runtime: Handle, prober: impl Prober, targets: impl Targets, at_once: usize) -> Self {
        let (places, origin) = (Places::new(at_once), Instant::now());
        let void_log = OnceASecond::default();
        let common = Common { prober: Box::new(prober), targets: Box::new(targets), places, origin, void_log };
        Self { common: Arc::new(common), runtime, running: Mutex::default() }
    }

    /// Checks these endpoints from now on, and no others. An endpoint named twice is checked as the first says.
    pub fn apply(&self, targets: Vec<Target>) {
        let mut running = lock(&self.running);
        let mut old = std::mem::take(&mut *running);
        let first = targets.first().map(|target| Arc::clone(&target.endpoint.cluster));
        self.common.places.set_shared(targets.iter().any(|target| Some(&target.endpoint.cluster) != first.as_ref()));
        let window = Duration::from_millis(targets.len() as u64).max(FIRST_WINDOW);
        for target in targets {
            if running.contains_key(&target.endpoint) {
                continue;
            }
            let entry = match old.remove(&target.endpoint) {
                Some(same) if same.check == target.check => {
                    let mut state = lock(&same.state);
                    (state.metrics, state.tls) = (Arc::clone(&target.metrics), target.tls.clone());
                    drop(state);
                    same
                }
                changed => self.start(&target, changed, window),
            };
            running.insert(target.endpoint, entry);
        }
        for (endpoint, gone) in old {
            let was_up = end(&gone).schedule.is_up();
            if !was_up {
                self.common.targets.on_checked(&endpoint, true);
            }
        }
    }

    /// What is known of this endpoint; `None` if it is not checked.
    #[must_use]
    pub fn report(&self, endpoint: &Identity) -> Option<Report> {
        let running = lock(&self.running);
        let state = Arc::clone(&running.get(endpoint)?.state);
        drop(running);
        let state = lock(&state);
        let next_in = state.schedule.next_due().saturating_since(self.common.now());
        Some(Report { next_in, ..state.report.clone() })
    }

    /// Something else says that this endpoint may be down, or back: its checks come faster for a few seconds.
    pub fn suspect(&self, endpoint: &Identity) {
        let running = lock(&self.running);
        let Some(running) = running.get(endpoint) else { return };
        let mut state = lock(&running.state);
        let due = state.schedule.next_due();
        state.schedule.suspect(SUSPICION, self.common.now(), fastrand::u64(..));
        if state.schedule.next_due() < due {
            running.sooner.notify_one();
        }
    }

    fn start(&self, target: &Target, before: Option<Running>, window: Duration) -> Running {
        let check = &target.check;
        let thresholds = Thresholds::new(short(check.rise.get()), short(check.fall.get()));
        let intervals = intervals(check);
        let (schedule, report) = match before {
            Some(before) => {
                let ended = end(&before);
                (ended.schedule.with(thresholds, intervals), ended.report.clone())
            }
            None => {
                let initial = if check.initial_up { Initial::Up } else { Initial::Down };
                if !check.initial_up {
                    self.common.targets.on_checked(&target.endpoint, false);
                }
                let report = Report::starting(check.initial_up);
                let (now, entropy) = (self.common.now(), fastrand::u64(..));
                (Schedule::new(thresholds, initial, intervals, window, now, entropy), report)
            }
        };
        let (metrics, tls) = (Arc::clone(&target.metrics), target.tls.clone());
        let state = Arc::new(Mutex::new(State { schedule, row: 0, report, metrics, tls, is_over: false }));
        let sooner = Arc::new(Notify::new());
        let work = work(
            Arc::clone(&self.common),
            target.endpoint.clone(),
            Arc::clone(check),
            Arc::clone(&state),
            Arc::clone(&sooner),
        );
        let task = self.runtime.spawn(work).abort_handle();
        Running { check: Arc::clone(check), state, sooner, task }
    }
}

impl Drop for Checks {
    fn drop(&mut self) {
        for running in lock(&self.running).values() {
            drop(end(running));
        }
    }
}

/// Ends an endpoint's checks. Once this returns, nothing is told of it any more.
fn end(running: &Running) -> MutexGuard<'_, State> {
    let mut state = lock(&running.state);
    state.is_over = true;
    running.task.abort();
    state
}

/// Checks one endpoint for ever.
async fn work(
    common: Arc<Common>,
    endpoint: Identity,
    check: Arc<ActiveCheck>,
    state: Arc<Mutex<State>>,
    sooner: Arc<Notify>,
) {
    loop {
        let due = lock(&state).schedule.next_due();
        tokio::select! {
            () = tokio::time::sleep_until(common.origin + Duration::from_nanos(due.as_nanos())) => {}
            () = sooner.notified() => continue,
        }
        let place = common.places.take(&endpoint.cluster).await;
        let began = common.now();
        let tls = lock(&state).tls.clone();
        let verdict = common.prober.probe(Question { endpoint: &endpoint, check: &check, tls }).await;
        drop(place);
        let mut state = lock(&state);
        if state.is_over {
            return;
        }
        let now = common.now();
        if verdict.is_void {
            state.schedule.on_void(began, now, fastrand::u64(..));
            common.tell_void(&endpoint, &verdict.detail);
        } else {
            common.targets.on_result(&endpoint, verdict.ok, now.saturating_since(began));
            if let Some(transition) = state.on_verdict(&verdict, &check, began, now) {
                common.report(&endpoint, transition, &state.report);
            }
        }
    }
}

impl Common {
    fn now(&self) -> Mono {
        Mono::ZERO.saturating_add(self.origin.elapsed())
    }

    /// A check could not be made: the endpoint stays what it is.
    fn tell_void(&self, endpoint: &Identity, why: &str) {
        let Some(unsaid) = self.void_log.due(clock::mono()) else { return };
        tracing::warn!(
            cluster = %endpoint.cluster,
            "endpoint {} cannot be checked and stays as it is: {why}{unsaid}",
            endpoint.endpoint,
        );
    }

    fn report(&self, endpoint: &Identity, transition: Transition, report: &Report) {
        let resolved = endpoint.address.to_string();
        let subject = Subject {
            cluster: Arc::clone(&endpoint.cluster),
            endpoint: Arc::clone(&endpoint.endpoint),
            resolved: (*resolved != *endpoint.endpoint).then_some(resolved),
        };
        let why = report.why.clone().unwrap_or_default();
        let others = self.targets.on_checked(endpoint, transition == Transition::Up);
        let event = match transition {
            Transition::Up => Event::CheckedUp { endpoint: subject, why, others },
            Transition::Down => Event::CheckedDown { endpoint: subject, why, others },
        };
        self.targets.emit(endpoint, event);
    }
}

impl Report {
    fn starting(is_up: bool) -> Self {
        let (since, next_in) = (SystemTime::now(), Duration::ZERO);
        Self { is_up, since, why: None, last: None, earlier: VecDeque::new(), next_in }
    }

    fn on_check(&mut self, check: LastCheck) {
        if let Some(before) = self.last.replace(check) {
            self.earlier.truncate(EARLIER - 1);
            self.earlier.push_front(before);
        }
    }
}

impl State {
    fn on_verdict(&mut self, verdict: &Verdict, check: &ActiveCheck, began: Mono, now: Mono) -> Option<Transition> {
        let Verdict { ok, detail, took, .. } = verdict;
        let at = SystemTime::now();
        self.metrics.on_check(*ok);
        let is_like_last = self.report.last.as_ref().is_some_and(|last| last.ok == *ok);
        self.row = if is_like_last { self.row.saturating_add(1) } else { 1 };
        self.report.on_check(LastCheck { ok: *ok, detail: detail.clone(), took: *took, at });
        let transition = self.schedule.on_result(*ok, began, now, fastrand::u64(..))?;
        let needed = if *ok { check.rise } else { check.fall };
        self.report.is_up = self.schedule.is_up();
        self.report.since = at;
        self.report.why = Some(if self.row < needed.get() {
            // Before it the state was only assumed.
            format!("{detail} ({})", if *ok { "first success" } else { "first check" })
        } else {
            format!("{detail} ({needed} of {needed})")
        });
        Some(transition)
    }
}

fn intervals(check: &ActiveCheck) -> Intervals {
    let every = Intervals::every(check.interval.max(SHORTEST_INTERVAL));
    let down = check.interval_down.map_or(every.down, |down| down.max(SHORTEST_INTERVAL));
    Intervals { down, jitter_percent: (check.jitter * 100.0).round() as u8, ..every }
}

/// More than 65 535 in a row are as good as never.
fn short(count: u32) -> u16 {
    u16::try_from(count).unwrap_or(u16::MAX)
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// First checks are spread over this much time, or over a millisecond an endpoint if that is more.
const FIRST_WINDOW: Duration = Duration::from_secs(1);

/// So many checks before the last are kept.
const EARLIER: usize = 4;

/// For so long after a doubt checks come in the interval of a transition.
const SUSPICION: Duration = Duration::from_secs(3);

/// Against an interval that would do nothing but check.
const SHORTEST_INTERVAL: Duration = Duration::from_millis(10);

#[cfg(test)]
mod tests {
    use std::num::NonZeroU32;

    use lb_config::Probe;
    use tokio::sync::mpsc;

    use super::super::Address;
    use super::*;
    use crate::observe::metrics::Metrics;
    use crate::observe::status::Status;

    const CHECKS_AT_ONCE: usize = 1024;

    /// Verdicts from a script, the last one for ever, after a wait; notes who was asked when.
    #[derive(Clone, Default)]
    struct Script(Arc<Mutex<Scripted>>);

    #[derive(Default)]
    struct Scripted {
        verdicts: HashMap<Identity, VecDeque<bool>>,
        asked: Vec<(Identity, Instant)>,
        takes: Duration,
        now: usize,
        most: usize,
    }

    impl Script {
        /// `+` passes, `-` fails.
        fn verdicts(&self, endpoint: &Identity, verdicts: &str) {
            lock(&self.0).verdicts.insert(endpoint.clone(), verdicts.chars().map(|c| c == '+').collect());
        }

        fn asked(&self, endpoint: &Identity) -> Vec<Instant> {
            lock(&self.0).asked.iter().filter(|asked| asked.0 == *endpoint).map(|asked| asked.1).collect()
        }
    }

    impl Prober for Script {
        fn probe<'a>(&'a self, Question { endpoint, .. }: Question<'a>) -> VerdictFuture<'a> {
            Box::pin(async move {
                let (ok, takes) = {
                    let mut script = lock(&self.0);
                    script.asked.push((endpoint.clone(), Instant::now()));
                    script.now += 1;
                    script.most = script.most.max(script.now);
                    let ok = match script.verdicts.get_mut(endpoint) {
                        Some(verdicts) if verdicts.len() > 1 => verdicts.pop_front().unwrap(),
                        Some(verdicts) => verdicts[0],
                        None => true,
                    };
                    (ok, script.takes)
                };
                if !takes.is_zero() {
                    tokio::time::sleep(takes).await;
                }
                lock(&self.0).now -= 1;
                let detail = if ok { "status 200 from /" } else { "status 500 from /" };
                Verdict { ok, detail: detail.to_owned(), took: takes, is_void: false }
            })
        }
    }

    struct Told(mpsc::UnboundedSender<(Identity, bool)>);

    impl Targets for Told {
        fn on_checked(&self, endpoint: &Identity, is_up: bool) -> Vec<Axis> {
            self.0.send((endpoint.clone(), is_up)).ok();
            Vec::new()
        }
    }

    struct Bench {
        checks: Checks,
        script: Script,
        told: mpsc::UnboundedReceiver<(Identity, bool)>,
        metrics: Arc<Metrics>,
    }

    impl Bench {
        fn new() -> Self {
            let script = Script::default();
            let (tell, told) = mpsc::unbounded_channel();
            let checks = Checks::new(Handle::current(), script.clone(), Told(tell), CHECKS_AT_ONCE);
            Self { checks, script, told, metrics: Arc::new(Metrics::new(1)) }
        }

        fn target(&self, endpoint: &Identity, check: &Arc<ActiveCheck>) -> Target {
            let metrics = self.metrics.series().endpoint(&endpoint.cluster, &endpoint.endpoint);
            Target { endpoint: endpoint.clone(), check: Arc::clone(check), metrics, tls: None }
        }

        fn apply(&self, endpoints: &[&Identity], check: &Arc<ActiveCheck>) {
            self.checks.apply(endpoints.iter().map(|endpoint| self.target(endpoint, check)).collect());
        }

        /// Lets the runtime's clock run until so many checks were made.
        async fn until_asked(&self, checks: usize) {
            while lock(&self.script.0).asked.len() < checks {
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    }

    fn endpoint(n: u32) -> Identity {
        let address = Address::Ip(std::net::SocketAddr::from((n.to_be_bytes(), 80)));
        Identity { cluster: "c".into(), endpoint: format!("app-{n}:80").into(), address }
    }

    fn check(initial_up: bool) -> Arc<ActiveCheck> {
        Arc::new(ActiveCheck {
            probe: Probe::Tcp { send: None, receive: None },
            port: None,
            interval: Duration::from_secs(10),
            interval_down: None,
            jitter: 0.1,
            timeout: Duration::from_secs(5),
            rise: NonZeroU32::new(2).unwrap(),
            fall: NonZeroU32::new(3).unwrap(),
            initial_up,
            proxy_protocol: None,
            http2: false,
        })
    }

    #[tokio::test(start_paused = true)]
    async fn three_failures_take_it_down_and_two_passes_bring_it_back() {
        let mut bench = Bench::new();
        let one = endpoint(1);
        bench.script.verdicts(&one, "+--+---+-++");
        bench.apply(&[&one], &check(true));
        assert_eq!(bench.checks.report(&one).unwrap().last, None);
        assert_eq!(bench.told.recv().await.unwrap(), (one.clone(), false));
        assert_eq!(bench.script.asked(&one).len(), 7, "two failures and a pass did not count");
        let report = bench.checks.report(&one).unwrap();
        assert_eq!(report.why.as_deref(), Some("status 500 from / (3 of 3)"));
        assert!(!report.is_up && !report.last.unwrap().ok);
        assert_eq!(bench.told.recv().await.unwrap(), (one.clone(), true));
        assert_eq!(bench.script.asked(&one).len(), 11);
        let report = bench.checks.report(&one).unwrap();
        assert_eq!((report.is_up, report.why.as_deref()), (true, Some("status 200 from / (2 of 2)")));
    }

    #[tokio::test(start_paused = true)]
    async fn the_first_check_comes_soon_and_decides() {
        let mut bench = Bench::new();
        let (dead, alive) = (endpoint(1), endpoint(2));
        bench.script.verdicts(&dead, "-");
        let began = Instant::now();
        bench.apply(&[&dead], &check(true));
        assert_eq!(bench.told.recv().await.unwrap(), (dead.clone(), false));
        assert!(began.elapsed() <= Duration::from_millis(1_001));
        assert_eq!(bench.checks.report(&dead).unwrap().why.as_deref(), Some("status 500 from / (first check)"));

        let mut bench = Bench::new();
        bench.apply(&[&alive], &check(false));
        assert_eq!(bench.told.try_recv().unwrap(), (alive.clone(), false), "down before `apply` returns");
        assert!(!bench.checks.report(&alive).unwrap().is_up);
        assert_eq!(bench.told.recv().await.unwrap(), (alive.clone(), true));
    }

    #[tokio::test(start_paused = true)]
    async fn an_endpoint_that_starts_after_the_proxy_is_up_within_three_seconds() {
        let mut bench = Bench::new();
        let late = endpoint(1);
        bench.script.verdicts(&late, "-");
        let began = Instant::now();
        bench.apply(&[&late], &check(true));
        assert_eq!(bench.told.recv().await.unwrap(), (late.clone(), false));
        tokio::time::sleep_until(began + Duration::from_millis(1_500)).await;
        bench.script.verdicts(&late, "+");
        assert_eq!(bench.told.recv().await.unwrap(), (late.clone(), true));
        assert!(began.elapsed() < Duration::from_secs(3), "{:?}", began.elapsed());
        assert_eq!(bench.checks.report(&late).unwrap().why.as_deref(), Some("status 200 from / (first success)"));
    }

    #[tokio::test(start_paused = true)]
    async fn a_suspected_endpoint_is_checked_within_a_second() {
        let bench = Bench::new();
        let one = endpoint(1);
        bench.apply(&[&one], &check(true));
        bench.until_asked(3).await;
        let asked = Instant::now();
        bench.checks.suspect(&one);
        bench.until_asked(4).await;
        assert!(asked.elapsed() < Duration::from_millis(1_300), "{:?}", asked.elapsed());
        bench.checks.suspect(&endpoint(2));
    }

    #[tokio::test(start_paused = true)]
    async fn a_dead_cluster_does_not_delay_the_checks_of_another() {
        let bench = Bench::new();
        lock(&bench.script.0).takes = Duration::from_secs(5);
        let slow: Vec<_> = (0..5_000).map(endpoint).collect();
        let app = Identity { cluster: "app".into(), ..endpoint(9_999_999) };
        let eager = Arc::new(ActiveCheck { interval: Duration::from_secs(1), ..(*check(true)).clone() });
        let mut targets: Vec<_> = slow.iter().map(|one| bench.target(one, &check(true))).collect();
        targets.push(bench.target(&app, &eager));
        bench.checks.apply(targets);
        while bench.script.asked(&app).len() < 6 {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        let asked = bench.script.asked(&app);
        // Its own checks take 5 s as well, one after the other.
        assert!(asked.windows(2).all(|two| two[1] - two[0] < Duration::from_millis(5_100)), "{asked:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn checks_keep_their_interval_and_do_not_run_in_step() {
        let bench = Bench::new();
        lock(&bench.script.0).takes = Duration::from_secs(3);
        let all: Vec<_> = (0..100).map(endpoint).collect();
        let began = Instant::now();
        bench.apply(&all.iter().collect::<Vec<_>>(), &check(true));
        bench.until_asked(500).await;
        let mut firsts = Vec::new();
        for one in &all {
            let asked = bench.script.asked(one);
            firsts.push((asked[0] - began).as_millis());
            assert!(asked[0] - began <= Duration::from_millis(1_001));
            for (at, two) in asked.windows(2).enumerate() {
                let wait = (two[1] - two[0]).as_secs_f64();
                let low = if at == 0 { 5.0 } else { 9.0 };
                assert!((low..=11.01).contains(&wait), "start to start, however long a check takes: {wait}");
            }
        }
        firsts.sort_unstable();
        firsts.dedup();
        // 100 uniform draws from 1 000 ms: about 95 distinct; 70 would be 10 standard deviations off.
        assert!(firsts.len() > 70, "{} distinct starts", firsts.len());
    }

    #[tokio::test(start_paused = true)]
    async fn slow_checks_follow_one_another_and_do_not_pile_up() {
        let bench = Bench::new();
        lock(&bench.script.0).takes = Duration::from_secs(25);
        let one = endpoint(1);
        bench.apply(&[&one], &check(true));
        bench.until_asked(5).await;
        assert_eq!(lock(&bench.script.0).most, 1);
        let asked = bench.script.asked(&one);
        assert!(asked.windows(2).all(|two| (25.0..25.1).contains(&(two[1] - two[0]).as_secs_f64())));
    }

    #[tokio::test(start_paused = true)]
    async fn ten_thousand_endpoints_are_spread_and_bounded() {
        let bench = Bench::new();
        lock(&bench.script.0).takes = Duration::from_secs(5);
        let all: Vec<_> = (0..10_000).map(endpoint).collect();
        let began = Instant::now();
        bench.apply(&all.iter().collect::<Vec<_>>(), &check(true));
        bench.until_asked(10_000).await;
        assert_eq!(lock(&bench.script.0).most, CHECKS_AT_ONCE);
        // 10 000 checks of 5 s, 1 024 at a time: 49 s.
        let took = began.elapsed().as_secs();
        assert!((43..=60).contains(&took), "{took}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_reload_leaves_what_is_unchanged_alone() {
        let mut bench = Bench::new();
        let (one, two) = (endpoint(1), endpoint(2));
        bench.script.verdicts(&one, "+--+");
        bench.apply(&[&one], &check(true));
        bench.until_asked(3).await;
        let before = bench.script.asked(&one);
        let last = bench.checks.report(&one).unwrap().last;
        // An equal check that is another object, as a reload makes it.
        bench.apply(&[&one, &two, &one], &check(true));
        assert_eq!(bench.checks.report(&one).unwrap().last, last);
        bench.script.verdicts(&one, "-");
        assert_eq!(bench.told.recv().await.unwrap(), (one.clone(), false), "two failures before, one after");
        let asked = bench.script.asked(&one);
        assert_eq!(asked.len(), before.len() + 1);
        assert!((asked[3] - asked[2]).as_secs_f64() >= 0.9, "no extra check because of the reload");
    }

    #[tokio::test(start_paused = true)]
    async fn a_changed_check_keeps_the_state_and_takes_the_new_numbers() {
        let mut bench = Bench::new();
        let one = endpoint(1);
        bench.script.verdicts(&one, "+-");
        bench.apply(&[&one], &check(true));
        bench.told.recv().await.unwrap();
        let patient = Arc::new(ActiveCheck { rise: NonZeroU32::new(4).unwrap(), ..(*check(true)).clone() });
        bench.script.verdicts(&one, "+");
        let asked = bench.script.asked(&one).len();
        bench.apply(&[&one], &patient);
        assert!(!bench.checks.report(&one).unwrap().is_up, "not up only because its check was edited");
        assert_eq!(bench.told.recv().await.unwrap(), (one.clone(), true));
        assert_eq!(bench.script.asked(&one).len(), asked + 4);
    }

    #[tokio::test(start_paused = true)]
    async fn who_is_no_longer_checked_is_not_left_down() {
        let mut bench = Bench::new();
        let (dead, alive) = (endpoint(1), endpoint(2));
        bench.script.verdicts(&dead, "-");
        bench.apply(&[&dead, &alive], &check(true));
        assert_eq!(bench.told.recv().await.unwrap(), (dead.clone(), false));
        bench.until_asked(4).await;
        bench.checks.apply(vec![]);
        assert_eq!(bench.told.try_recv().unwrap(), (dead.clone(), true));
        let asked = lock(&bench.script.0).asked.len();
        tokio::time::sleep(Duration::from_secs(60)).await;
        assert_eq!(lock(&bench.script.0).asked.len(), asked);
        assert!(bench.told.try_recv().is_err());
        assert_eq!(bench.checks.report(&dead), None);
    }

    #[tokio::test(start_paused = true)]
    async fn every_check_is_counted() {
        let bench = Bench::new();
        let one = endpoint(1);
        bench.script.verdicts(&one, "+-+");
        let mut series = bench.metrics.series();
        let metrics = series.endpoint("c", "app-1:80");
        series.publish(1);
        bench.checks.apply(vec![Target { endpoint: one, check: check(true), metrics, tls: None }]);
        bench.until_asked(4).await;
        let text = bench.metrics.encode(&Status::default());
        for (result, count) in [("pass", 3), ("fail", 1)] {
            let line = format!(r#"lbproxy_checks_total{{cluster="c",endpoint="app-1:80",result="{result}"}} {count}"#);
            assert!(text.contains(&line), "{line} in\n{text}");
        }
    }
}
