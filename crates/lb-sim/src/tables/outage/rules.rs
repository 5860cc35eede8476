//! Rules of health: what is concluded from what happened, and ours.

use std::time::Duration;

use lb_core::{Axis, Class, Mono};
use lb_health::{Ejection, EjectionCap, Initial, Intervals, OnFailure, Outlier, RiseFall, Thresholds};
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

/// Active checks by rise and fall.
pub(super) struct Checks {
    pub(super) states: Vec<RiseFall>,
    pub(super) intervals: Intervals,
    pub(super) timeout: Duration,
}

impl Checks {
    pub(super) fn new(endpoints: usize, initial: Initial, intervals: Intervals, timeout: Duration) -> Self {
        let state = RiseFall::new(Thresholds::default(), initial);
        Self { states: vec![state; endpoints], intervals, timeout }
    }

    pub(super) fn first(&self, cx: &mut Cx<'_>) -> Mono {
        cx.now.saturating_add(self.intervals.first_after(cx.random.below(u64::MAX)))
    }

    pub(super) fn on_check(&mut self, endpoint: usize, started: Mono, passed: bool, cx: &mut Cx<'_>) -> Mono {
        let Some(state) = self.states.get_mut(endpoint) else { return cx.now };
        if state.on_result(passed).is_some() {
            cx.set(endpoint, Axis::Check, !state.is_up());
        }
        started.saturating_add(self.intervals.next_after(state, cx.random.below(u64::MAX))).max(cx.now)
    }
}

/// lbproxy's, with `health.active = { path }` and `health.passive = {}`: the machines of lb-health as the proxy joins them.
pub(super) struct Ours {
    checks: Checks,
    outliers: Vec<Outlier>,
    cap: EjectionCap,
}

impl Ours {
    /// For so many endpoints.
    #[must_use]
    pub(super) fn new(endpoints: usize) -> Self {
        let cap = EjectionCap::default();
        let count = u32::try_from(endpoints).unwrap_or(u32::MAX);
        cap.set_members(count, count);
        let intervals = Intervals::every(Duration::from_secs(10));
        Self {
            checks: Checks::new(endpoints, Initial::default(), intervals, Duration::from_secs(5)),
            outliers: (0..endpoints).map(|_| Outlier::new(Ejection::default())).collect(),
            cap,
        }
    }
}

impl Rule for Ours {
    fn panic_mode(&self) -> PanicMode {
        PanicMode::default()
    }

    fn check_timeout(&self) -> Option<Duration> {
        Some(self.checks.timeout)
    }

    fn on_start(&mut self, _endpoint: usize, cx: &mut Cx<'_>) -> Mono {
        self.checks.first(cx)
    }

    fn on_ended(&mut self, ended: &Ended, cx: &mut Cx<'_>) {
        let (true, Some(outlier)) = (ended.class.is_failure(), self.outliers.get(ended.endpoint)) else { return };
        let entropy = cx.random.below(u64::MAX);
        let OnFailure::Ejected { until } = outlier.on_failure(ended.started, cx.now, entropy, &self.cap) else { return };
        if cx.eject(ended.endpoint) {
            cx.timers.push((until, ended.endpoint));
        } else {
            outlier.lift(cx.now, &self.cap);
        }
    }

    fn on_check(&mut self, endpoint: usize, started: Mono, passed: bool, cx: &mut Cx<'_>) -> Mono {
        self.checks.on_check(endpoint, started, passed, cx)
    }

    fn on_timer(&mut self, endpoint: usize, cx: &mut Cx<'_>) {
        // On probation it has all its traffic: the throttle is the proxy's.
        if self.outliers.get(endpoint).is_some_and(|outlier| outlier.on_timer(cx.now, &self.cap)) {
            cx.set(endpoint, Axis::Ejected, false);
        }
    }
}
