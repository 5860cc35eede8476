//! Rules of health: what is concluded from what happened, and ours.

use std::time::Duration;

use lb_core::{Axis, Class, Mono};
use lb_health::{
    Comparison, Counts, Ejection, EjectionCap, History, Initial, Intervals, Judgement, OnFailure, Outlier, Patience,
    Schedule, Seen, Silence, Thresholds, Wait,
};
use lb_policy::PanicMode;

use crate::client::Client;
use crate::seed::Stream;

/// An attempt that has ended.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ended {
    /// Where it was.
    pub(super) endpoint: usize,
    /// When it was picked.
    pub(super) started: Mono,
    /// How it ended.
    pub(super) class: Class,
}

/// What a rule may use while it is asked: the cluster that it marks, and timers.
pub(super) struct Cx<'a> {
    /// The time.
    pub(super) now: Mono,
    /// The cluster.
    pub(super) client: &'a Client,
    /// Random numbers of its own.
    pub(super) random: &'a mut Stream,
    /// Calls back then, with this number.
    pub(super) timers: &'a mut Vec<(Mono, usize)>,
    /// Endpoints that were taken out, for no other reason before.
    pub(super) taken_out: &'a mut Vec<usize>,
    /// Checks an endpoint then, and not when it was said before.
    pub(super) sooner: &'a mut Vec<(Mono, usize)>,
}

impl Cx<'_> {
    /// Takes an endpoint out for this reason, or takes the reason back.
    pub(super) fn set(&mut self, endpoint: usize, axis: Axis, on: bool) {
        let Some(uid) = self.client.uid(endpoint) else { return };
        let has_changed = self.client.cluster().set(uid, axis, on, self.now);
        self.note(endpoint, on && has_changed);
    }

    /// Ejects an endpoint, unless it is the last one; whether it did.
    pub(super) fn eject(&mut self, endpoint: usize) -> bool {
        let Some(uid) = self.client.uid(endpoint) else { return false };
        let ejected = self.client.cluster().set_unless_last(uid, Axis::Ejected, self.now);
        self.note(endpoint, ejected == Ok(true));
        ejected.is_ok()
    }

    /// Lets an endpoint under suspicion have one request at a time.
    pub(super) fn suspect(&mut self, endpoint: usize) {
        self.note(endpoint, true);
        self.throttle(endpoint, true);
    }

    /// Lets an endpoint have one request at a time, or all again.
    pub(super) fn throttle(&self, endpoint: usize, on: bool) {
        if let Some(endpoint) = self.client.cluster().endpoints().get(endpoint) {
            endpoint.state().throttle(on);
        }
    }

    /// Counts an endpoint that had all its requests before. One that gets one at a time is out already: a trial that was sent just
    /// before the recovery, and fails, takes nothing from it.
    fn note(&mut self, endpoint: usize, is_out: bool) {
        let endpoints = self.client.cluster().endpoints();
        let Some(state) = endpoints.get(endpoint).map(|endpoint| endpoint.state()) else { return };
        if is_out && state.reasons().count() <= 1 && !state.is_throttled() {
            self.taken_out.push(endpoint);
        }
    }
}

/// What becomes of an attempt that waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Waiting {
    /// It goes on waiting, and is looked at again after so long.
    LookAgain(Duration),
    /// It is given up, if the request may have another attempt.
    GiveUp,
}

/// A rule of health.
pub(super) trait Rule {
    /// When health is ignored.
    fn panic_mode(&self) -> PanicMode;

    /// The time limit of its active checks; none if it makes none.
    fn check_timeout(&self) -> Option<Duration> {
        None
    }

    /// Before the first request. What it answers is when to check each endpoint first; without checks, it does not matter.
    fn on_start(&mut self, _endpoint: usize, cx: &mut Cx<'_>) -> Mono {
        cx.now
    }

    /// An endpoint was picked.
    fn on_pick(&mut self, _endpoint: usize, _cx: &mut Cx<'_>) {}

    /// After how long an attempt at this endpoint is looked at while it waits; none if never.
    fn first_look(&self, _endpoint: usize) -> Option<Duration> {
        None
    }

    /// An attempt that was sent then waits still.
    fn on_wait(&mut self, _endpoint: usize, _started: Mono, _cx: &mut Cx<'_>) -> Waiting {
        Waiting::GiveUp
    }

    /// An attempt has ended.
    fn on_ended(&mut self, _ended: &Ended, _cx: &mut Cx<'_>) {}

    /// A check that began at `started` has ended; answers when the next one begins.
    fn on_check(&mut self, _endpoint: usize, started: Mono, _passed: bool, _cx: &mut Cx<'_>) -> Mono {
        started
    }

    /// A timer that it set.
    fn on_timer(&mut self, _number: usize, _cx: &mut Cx<'_>) {}
}

/// No health at all.
pub(super) struct NoHealth;

impl Rule for NoHealth {
    fn panic_mode(&self) -> PanicMode {
        PanicMode::NoneLeft
    }
}

/// lbproxy's, with `health.active = { path }` and `health.passive = {}`: the machines of lb-health as the proxy joins them.
pub(super) struct Ours {
    schedules: Vec<Schedule>,
    outliers: Vec<Outlier>,
    cap: EjectionCap,
    comparison: Comparison,
    histories: Vec<History>,
    totals: Vec<Counts>,
    read: Mono,
    silences: Vec<Silence>,
    /// Answers since something was learned of them last.
    took: Vec<Vec<Duration>>,
    suspected: Vec<bool>,
}

const TIMEOUT: Duration = Duration::from_secs(5);
/// As the proxy ticks, and for so long it checks faster after an ejection.
const TICK: Duration = Duration::from_millis(100);
const SUSPICION: Duration = Duration::from_secs(3);

impl Ours {
    /// For so many endpoints.
    #[must_use]
    pub(super) fn new(endpoints: usize) -> Self {
        let cap = EjectionCap::default();
        let count = u32::try_from(endpoints).unwrap_or(u32::MAX);
        cap.set_members(count, count);
        Self {
            schedules: Vec::with_capacity(endpoints),
            outliers: (0..endpoints).map(|_| Outlier::new(Ejection::default())).collect(),
            cap,
            comparison: Comparison::default(),
            histories: vec![History::default(); endpoints],
            totals: vec![Counts::default(); endpoints],
            read: Mono::ZERO,
            silences: (0..endpoints).map(|_| Silence::default()).collect(),
            took: vec![Vec::new(); endpoints],
            suspected: vec![false; endpoints],
        }
    }

    fn read(&mut self, now: Mono) {
        self.read = now;
        self.histories.iter_mut().zip(&self.totals).for_each(|(history, totals)| history.read(*totals, now));
    }

    /// Whether it is worse than the others, or there are too few requests to tell.
    fn is_outlier(&self, endpoint: usize) -> bool {
        let look_backs = History::look_backs(Ejection::default().window);
        let Some(longest) = look_backs.clone().next() else { return true };
        let looks = 16 * look_backs.len() as u32;
        for back in look_backs {
            let seen = |(history, totals): (&History, &Counts)| Seen {
                recent: history.since(back, *totals),
                window: history.since(longest, *totals),
            };
            let all = || self.histories.iter().zip(&self.totals).map(seen).enumerate();
            let Some((_, own)) = all().nth(endpoint) else { return true };
            let others: Vec<_> = all().filter(|(other, _)| *other != endpoint).map(|(_, seen)| seen).collect();
            match self.comparison.judge(&own, others.iter().copied(), looks) {
                Judgement::TooFew | Judgement::Outlier(_) => return true,
                Judgement::Ordinary => {}
            }
        }
        false
    }

    fn on_failure(&mut self, ended: &Ended, cx: &mut Cx<'_>) {
        let entropy = cx.random.below(u64::MAX);
        let Some(outlier) = self.outliers.get(ended.endpoint) else { return };
        if !outlier.record(ended.started, cx.now) || !(outlier.is_on_probation() || self.is_outlier(ended.endpoint)) {
            return;
        }
        let OnFailure::Ejected { until } = outlier.eject(ended.started, cx.now, entropy, &self.cap) else { return };
        if !cx.eject(ended.endpoint) {
            outlier.lift(cx.now, &self.cap);
            return;
        }
        self.suspected[ended.endpoint] = false;
        cx.timers.push((until, ended.endpoint));
        if let Some(schedule) = self.schedules.get_mut(ended.endpoint) {
            schedule.suspect(SUSPICION, cx.now, entropy);
            cx.sooner.push((schedule.next_due(), ended.endpoint));
        }
    }

    /// Learns what is usual from every twenty answers.
    fn learn(&mut self, ended: &Ended, now: Mono) {
        let (Some(took), Some(silence)) = (self.took.get_mut(ended.endpoint), self.silences.get(ended.endpoint)) else {
            return;
        };
        if ended.class == Class::Timeout {
            return;
        }
        silence.on_answer(now);
        took.push(now.saturating_since(ended.started));
        if took.len() as u64 >= Patience::MIN_ANSWERS {
            took.sort_unstable();
            let [median, p99] =
                [took.len() / 2, took.len() - 1].map(|place| took.get(place).copied().unwrap_or_default());
            silence.set_limit(Some(Patience::default().limit(median, p99)));
            took.clear();
        }
    }

    /// One request at a time, if another endpoint gets more.
    fn suspect(&mut self, endpoint: usize, cx: &mut Cx<'_>) {
        let out = |other: usize| self.outliers.get(other).is_some_and(|it| it.is_ejected() || it.is_on_probation());
        let is_there = |other: &usize| *other != endpoint && !out(*other) && !self.suspected[*other];
        if out(endpoint) || self.suspected[endpoint] || !(0..self.suspected.len()).any(|other| is_there(&other)) {
            return;
        }
        self.suspected[endpoint] = true;
        cx.suspect(endpoint);
        let entropy = cx.random.below(u64::MAX);
        if let Some(schedule) = self.schedules.get_mut(endpoint) {
            schedule.suspect(SUSPICION, cx.now, entropy);
            cx.sooner.push((schedule.next_due(), endpoint));
        }
    }

    /// It comes back with one request at a time.
    fn readmit(&mut self, endpoint: usize, cx: &mut Cx<'_>) {
        if let (Some(history), Some(totals)) = (self.histories.get_mut(endpoint), self.totals.get(endpoint)) {
            *history = History::starting(*totals, cx.now);
        }
        cx.throttle(endpoint, true);
        cx.set(endpoint, Axis::Ejected, false);
    }
}

impl Rule for Ours {
    fn panic_mode(&self) -> PanicMode {
        PanicMode::default()
    }

    fn check_timeout(&self) -> Option<Duration> {
        Some(TIMEOUT)
    }

    fn on_start(&mut self, _endpoint: usize, cx: &mut Cx<'_>) -> Mono {
        let intervals = Intervals::every(Duration::from_secs(10));
        let (spread, entropy) = (Duration::from_secs(1), cx.random.below(u64::MAX));
        let schedule = Schedule::new(Thresholds::default(), Initial::Up, intervals, spread, cx.now, entropy);
        let due = schedule.next_due();
        self.schedules.push(schedule);
        due
    }

    fn on_ended(&mut self, ended: &Ended, cx: &mut Cx<'_>) {
        let is_failure = ended.class.is_failure();
        if let Some(totals) = self.totals.get_mut(ended.endpoint) {
            *(if is_failure { &mut totals.failures } else { &mut totals.successes }) += 1;
        }
        // Between two ticks a reading is taken at failures only.
        let pause = if is_failure { History::SHORTEST } else { TICK };
        if cx.now.saturating_since(self.read) >= pause {
            self.read(cx.now);
        }
        if is_failure {
            self.on_failure(ended, cx);
        } else if self.outliers.get(ended.endpoint).is_some_and(|outlier| outlier.on_success(ended.started))
            || std::mem::take(&mut self.suspected[ended.endpoint])
        {
            cx.throttle(ended.endpoint, false);
        }
        self.learn(ended, cx.now);
    }

    fn first_look(&self, endpoint: usize) -> Option<Duration> {
        self.silences.get(endpoint)?.limit()
    }

    fn on_wait(&mut self, endpoint: usize, started: Mono, cx: &mut Cx<'_>) -> Waiting {
        const LONG: Duration = Duration::from_secs(1);
        let Some(silence) = self.silences.get(endpoint) else { return Waiting::LookAgain(LONG) };
        let (Some(limit), Some(wait)) = (silence.limit(), silence.judge(started, cx.now)) else {
            return Waiting::LookAgain(LONG);
        };
        if let Wait::Usual(left) = wait {
            return Waiting::LookAgain(left);
        }
        let others = self.silences.iter().enumerate().filter(|(other, _)| *other != endpoint);
        if !others.into_iter().any(|(_, other)| other.has_answered_for(limit / 2, cx.now)) {
            return Waiting::LookAgain(limit / 2);
        }
        self.suspect(endpoint, cx);
        Waiting::GiveUp
    }

    fn on_check(&mut self, endpoint: usize, started: Mono, passed: bool, cx: &mut Cx<'_>) -> Mono {
        if let Some(outlier) = self.outliers.get(endpoint) {
            if !passed {
                outlier.on_check_failed();
            } else if outlier.on_check_passed(started, cx.now, &self.cap) {
                self.readmit(endpoint, cx);
            }
        }
        let is_ejected = self.outliers.get(endpoint).is_some_and(Outlier::is_ejected);
        let Some(schedule) = self.schedules.get_mut(endpoint) else { return cx.now };
        if is_ejected {
            schedule.suspect(SUSPICION, cx.now, cx.random.below(u64::MAX));
        }
        if schedule.on_result(passed, started, cx.now, cx.random.below(u64::MAX)).is_some() {
            cx.set(endpoint, Axis::Check, !schedule.is_up());
        }
        schedule.next_due()
    }

    fn on_timer(&mut self, endpoint: usize, cx: &mut Cx<'_>) {
        if self.outliers.get(endpoint).is_some_and(|outlier| outlier.on_timer(cx.now, &self.cap)) {
            self.readmit(endpoint, cx);
        }
    }
}
