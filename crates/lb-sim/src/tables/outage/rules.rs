//! Rules of health: what is concluded from what happened, and ours.

use std::time::Duration;

use lb_core::{Axis, Class, Mono};
use lb_health::{
    Comparison, Counts, Ejection, EjectionCap, History, Initial, Intervals, Judgement, OnFailure, Outlier, Schedule,
    Seen, Thresholds,
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

    /// Lets an endpoint have one request at a time, or all again.
    pub(super) fn throttle(&self, endpoint: usize, on: bool) {
        if let Some(endpoint) = self.client.cluster().endpoints().get(endpoint) {
            endpoint.state().throttle(on);
        }
    }

    fn note(&mut self, endpoint: usize, is_out: bool) {
        let endpoints = self.client.cluster().endpoints();
        let reasons = endpoints.get(endpoint).map_or(0, |endpoint| endpoint.state().reasons().count());
        if is_out && reasons == 1 {
            self.taken_out.push(endpoint);
        }
    }
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
        cx.timers.push((until, ended.endpoint));
        if let Some(schedule) = self.schedules.get_mut(ended.endpoint) {
            schedule.suspect(SUSPICION, cx.now, entropy);
            cx.sooner.push((schedule.next_due(), ended.endpoint));
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
        } else if self.outliers.get(ended.endpoint).is_some_and(|outlier| outlier.on_success(ended.started)) {
            cx.throttle(ended.endpoint, false);
        }
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
