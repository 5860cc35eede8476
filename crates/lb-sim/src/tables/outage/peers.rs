//! The rules of others, as their documentation and sources have them, in the settings in which they are compared.
//!
//! They decide about the same cluster with the same policy and retries, so that nothing but the rule differs. An endpoint is out by the
//! axis that the panic mode of the rule goes by.

use std::num::NonZeroU32;
use std::time::Duration;

use lb_core::{Axis, Mono};
use lb_health::{Counts, Initial, MaxFails, Observe, OnError, RiseFall, Thresholds, Transition};
use lb_policy::PanicMode;

use super::rules::{Cx, Ended, Rule};

/// nginx: `max_fails=3 fail_timeout=10s`.
///
/// After three failures, none of them longer than `fail_timeout` before the next, an endpoint is out for `fail_timeout`. Then one request
/// tries it; another follows only when that one has succeeded, or after a further `fail_timeout`. Where none is left, nginx answers 502.
/// (`ngx_http_upstream_round_robin.c`.)
pub(super) struct Nginx {
    endpoints: Vec<MaxFails>,
}

const MAX_FAILS: u32 = 3;
const FAIL_TIMEOUT: Duration = Duration::from_secs(10);

impl Nginx {
    /// For so many endpoints.
    #[must_use]
    pub(super) fn new(endpoints: usize) -> Self {
        Self { endpoints: vec![MaxFails::new(MAX_FAILS, FAIL_TIMEOUT, 1); endpoints] }
    }

    /// Marks an endpoint as its rule says, and comes back when that may say something else.
    fn mark(&self, endpoint: usize, cx: &mut Cx<'_>) {
        let Some(rule) = self.endpoints.get(endpoint) else { return };
        let is_out = !rule.is_available(cx.now);
        cx.set(endpoint, Axis::Ejected, is_out);
        if is_out {
            // Later than that, and not as late.
            cx.timers.push((cx.now.saturating_add(FAIL_TIMEOUT + Duration::from_nanos(1)), endpoint));
        }
    }
}

impl Rule for Nginx {
    fn panic_mode(&self) -> PanicMode {
        PanicMode::Never
    }

    fn on_pick(&mut self, endpoint: usize, cx: &mut Cx<'_>) {
        let Some(rule) = self.endpoints.get_mut(endpoint) else { return };
        rule.on_pick(cx.now);
        self.mark(endpoint, cx);
    }

    fn on_ended(&mut self, ended: &Ended, cx: &mut Cx<'_>) {
        let Some(rule) = self.endpoints.get_mut(ended.endpoint) else { return };
        rule.on_result(ended.class.is_failure(), cx.now);
        self.mark(ended.endpoint, cx);
    }

    fn on_timer(&mut self, endpoint: usize, cx: &mut Cx<'_>) {
        if self.endpoints.get(endpoint).is_some_and(|rule| rule.is_available(cx.now)) {
            cx.set(endpoint, Axis::Ejected, false);
        }
    }
}

/// HAProxy: `check inter 2s fall 3 rise 2 observe layer7 error-limit 10 on-error mark-down`.
///
/// Ten failures in a row take an endpoint down, as three failing checks do; two passing checks in a row bring it back. Where none is left,
/// HAProxy answers 503.
pub(super) struct Haproxy {
    states: Vec<RiseFall>,
    observed: Vec<Observe>,
}

const ERROR_LIMIT: NonZeroU32 = NonZeroU32::new(10).unwrap();
const INTER: Duration = Duration::from_secs(2);

impl Haproxy {
    /// For so many endpoints.
    #[must_use]
    pub(super) fn new(endpoints: usize) -> Self {
        // It is up at the start, and down with the first check that fails.
        let state = RiseFall::new(Thresholds::default(), Initial::Up);
        let observe = Observe::new(ERROR_LIMIT, OnError::MarkDown);
        Self { states: vec![state; endpoints], observed: vec![observe; endpoints] }
    }
}

impl Rule for Haproxy {
    fn panic_mode(&self) -> PanicMode {
        PanicMode::Never
    }

    fn check_timeout(&self) -> Option<Duration> {
        Some(INTER)
    }

    fn on_start(&mut self, _endpoint: usize, cx: &mut Cx<'_>) -> Mono {
        crate::seed::later(cx.now, INTER.as_secs_f64() * cx.random.unit())
    }

    fn on_ended(&mut self, ended: &Ended, cx: &mut Cx<'_>) {
        let (Some(observe), Some(state)) = (self.observed.get_mut(ended.endpoint), self.states.get_mut(ended.endpoint))
        else {
            return;
        };
        if observe.on_outcome(ended.class.is_failure(), state) == Some(Some(Transition::Down)) {
            cx.set(ended.endpoint, Axis::Check, true);
        }
    }

    fn on_check(&mut self, endpoint: usize, started: Mono, passed: bool, cx: &mut Cx<'_>) -> Mono {
        let Some(state) = self.states.get_mut(endpoint) else { return cx.now };
        if state.on_result(passed).is_some() {
            cx.set(endpoint, Axis::Check, !state.is_up());
        }
        started.saturating_add(INTER).max(cx.now)
    }
}

/// Envoy's outlier detection as it is by default, and its panic threshold of 50 %.
///
/// Five failures in a row eject an endpoint; so does, each 10 s, a success rate 1.9 σ below the mean (of five endpoints or more, with
/// 100 requests each). An ejection lasts 30 s times their number, up to 300 s, and ends with one of the same
/// intervals. While a tenth of the endpoints is ejected, none is ejected besides. Below 50 % healthy, health is ignored.
pub(super) struct Envoy {
    endpoints: Vec<EnvoyEndpoint>,
}

#[derive(Clone, Copy, Default)]
struct EnvoyEndpoint {
    in_a_row: u32,
    ejected_until: Option<Mono>,
    ejections: u32,
    counts: Counts,
}

const CONSECUTIVE_5XX: u32 = 5;
const ENVOY_INTERVAL: Duration = Duration::from_secs(10);
const BASE_EJECTION: Duration = Duration::from_secs(30);
const MAX_EJECTION: Duration = Duration::from_secs(300);
const MAX_EJECTION_PERCENT: usize = 10;
const SUCCESS_RATE_ENDPOINTS: usize = 5;
const SUCCESS_RATE_REQUESTS: u64 = 100;
const SUCCESS_RATE_FACTOR: f64 = 1.9;

impl Envoy {
    /// For so many endpoints.
    #[must_use]
    pub(super) fn new(endpoints: usize) -> Self {
        Self { endpoints: vec![EnvoyEndpoint::default(); endpoints] }
    }

    fn eject(&mut self, endpoint: usize, cx: &mut Cx<'_>) {
        let ejected = self.endpoints.iter().filter(|state| state.ejected_until.is_some()).count();
        let is_full = ejected * 100 / self.endpoints.len().max(1) >= MAX_EJECTION_PERCENT;
        let Some(state) = self.endpoints.get_mut(endpoint) else { return };
        if is_full || state.ejected_until.is_some() {
            return;
        }
        state.ejections += 1;
        state.in_a_row = 0;
        let length = BASE_EJECTION.saturating_mul(state.ejections).min(MAX_EJECTION);
        state.ejected_until = Some(cx.now.saturating_add(length));
        cx.set(endpoint, Axis::Check, true);
    }
}

impl Rule for Envoy {
    fn panic_mode(&self) -> PanicMode {
        // What it ejects is out by the axis of checks, which is the one that counts towards this.
        PanicMode::Below(0.5)
    }

    fn on_start(&mut self, endpoint: usize, cx: &mut Cx<'_>) -> Mono {
        if endpoint == 0 {
            cx.timers.push((cx.now.saturating_add(ENVOY_INTERVAL), 0));
        }
        cx.now
    }

    fn on_ended(&mut self, ended: &Ended, cx: &mut Cx<'_>) {
        let Some(state) = self.endpoints.get_mut(ended.endpoint) else { return };
        if !ended.class.is_failure() {
            state.in_a_row = 0;
            state.counts.successes += 1;
            return;
        }
        state.in_a_row += 1;
        state.counts.failures += 1;
        if state.in_a_row >= CONSECUTIVE_5XX {
            self.eject(ended.endpoint, cx);
        }
    }

    fn on_timer(&mut self, _number: usize, cx: &mut Cx<'_>) {
        for (endpoint, state) in self.endpoints.iter_mut().enumerate() {
            match state.ejected_until {
                Some(until) if until <= cx.now => {
                    state.ejected_until = None;
                    cx.set(endpoint, Axis::Check, false);
                }
                Some(_) => {}
                None => state.ejections = state.ejections.saturating_sub(1),
            }
        }
        let counts: Vec<_> = self.endpoints.iter_mut().map(|state| std::mem::take(&mut state.counts)).collect();
        let judged = |counts: &Counts| counts.total() >= SUCCESS_RATE_REQUESTS;
        let rates: Vec<_> = counts.iter().filter(|counts| judged(counts)).map(Counts::success_rate).collect();
        if rates.len() >= SUCCESS_RATE_ENDPOINTS {
            let mean = rates.iter().sum::<f64>() / rates.len() as f64;
            let variance = rates.iter().map(|rate| (rate - mean).powi(2)).sum::<f64>() / rates.len() as f64;
            let threshold = mean - SUCCESS_RATE_FACTOR * variance.sqrt();
            for (endpoint, counts) in counts.iter().enumerate() {
                if judged(counts) && counts.success_rate() < threshold {
                    self.eject(endpoint, cx);
                }
            }
        }
        cx.timers.push((cx.now.saturating_add(ENVOY_INTERVAL), 0));
    }
}

/// linkerd's circuit breaking by consecutive failures: seven.
///
/// Seven failures in a row take an endpoint out for 1 s, plus up to a half by chance. Then one request tries it: if it succeeds the
/// endpoint is back, if not it is out for twice as long, up to 60 s. Where none is left, requests fail.
pub(super) struct Linkerd {
    endpoints: Vec<LinkerdEndpoint>,
}

#[derive(Clone, Copy, Default)]
struct LinkerdEndpoint {
    in_a_row: u32,
    /// How often it was out since it was last well; zero while it is.
    waits: u32,
    out_until: Mono,
    is_on_probation: bool,
}

const MAX_FAILURES: u32 = 7;
const MIN_WAIT: f64 = 1.0;
const MAX_WAIT: f64 = 60.0;
const WAIT_JITTER: f64 = 0.5;

impl Linkerd {
    /// For so many endpoints.
    #[must_use]
    pub(super) fn new(endpoints: usize) -> Self {
        Self { endpoints: vec![LinkerdEndpoint::default(); endpoints] }
    }
}

impl LinkerdEndpoint {
    fn take_out(&mut self, endpoint: usize, cx: &mut Cx<'_>) {
        let wait = (MIN_WAIT * 2_f64.powi(self.waits as i32)).min(MAX_WAIT);
        let wait = wait * (1.0 + WAIT_JITTER * cx.random.unit());
        self.waits += 1;
        self.is_on_probation = false;
        self.out_until = crate::seed::later(cx.now, wait);
        cx.set(endpoint, Axis::Ejected, true);
        cx.timers.push((self.out_until, endpoint));
    }
}

impl Rule for Linkerd {
    fn panic_mode(&self) -> PanicMode {
        PanicMode::Never
    }

    fn on_pick(&mut self, endpoint: usize, cx: &mut Cx<'_>) {
        let Some(state) = self.endpoints.get_mut(endpoint) else { return };
        if state.waits > 0 && cx.now >= state.out_until {
            // The one request of the probation.
            state.is_on_probation = true;
            cx.set(endpoint, Axis::Ejected, true);
        }
    }

    fn on_ended(&mut self, ended: &Ended, cx: &mut Cx<'_>) {
        let Some(state) = self.endpoints.get_mut(ended.endpoint) else { return };
        let is_failure = ended.class.is_failure();
        if state.waits > 0 {
            // Others that were under way when it was taken out say nothing.
            if state.is_on_probation && ended.started >= state.out_until {
                match is_failure {
                    true => state.take_out(ended.endpoint, cx),
                    false => {
                        *state = LinkerdEndpoint::default();
                        cx.set(ended.endpoint, Axis::Ejected, false);
                    }
                }
            }
            return;
        }
        state.in_a_row = if is_failure { state.in_a_row + 1 } else { 0 };
        if state.in_a_row >= MAX_FAILURES {
            state.take_out(ended.endpoint, cx);
        }
    }

    fn on_timer(&mut self, endpoint: usize, cx: &mut Cx<'_>) {
        cx.set(endpoint, Axis::Ejected, false);
    }
}
