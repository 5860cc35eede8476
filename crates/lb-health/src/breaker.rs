//! A breaker: stop sending to what fails, and find out carefully when it works again.
//!
//! Ejection ends by time, and then all the traffic of an endpoint is the test, over and over again. A breaker tests
//! with a few requests, waits longer after each failed test, and judges by rate, so that a busy endpoint is not taken
//! out for one failure in a thousand.
//!
//! ```text
//!                 too many failures in a row, or too large a share
//!      closed ──────────────────────────────────────────────────► open
//!        ▲                                                         │ ▲
//!        │ all probes passed                     its wait is over  │ │ a probe failed:
//!        │                                                         ▼ │ the next wait is longer
//!        └───────────────────────────────────────────────────── half-open
//! ```
//!
//! | state     | requests            | a result that was admitted in it           |
//! |-----------|---------------------|--------------------------------------------|
//! | closed    | flow                | counts                                     |
//! | open      | are refused         | there is none                              |
//! | half-open | `probes` of them go | all must pass; one failure opens it anew   |
//!
//! A result counts only in the state that admitted its request: what was under way when the breaker opened says nothing
//! about the probes. Hence [`Admission`], which knows the turn it belongs to. A probe whose request was cancelled is
//! given back, and one that never reports is given up after a while, so that half-open ends.
//!
//! This is the classical machine (Nygard); consecutive failures and the exact success window follow linkerd. A word
//! about the words: a *breaker* is open or closed, an endpoint never is.

use std::time::Duration;

use lb_core::Mono;

use crate::window::Window;

/// When a breaker opens and how it closes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BreakerConfig {
    /// Opens after so many failures in a row; default 7, zero never.
    pub consecutive: u32,
    /// Opens when at least so many of a hundred in the window failed; default 50, above 100 never.
    pub failure_percent: u8,
    /// The window of that share; default 10 s.
    pub window: Duration,
    /// Below so many requests in the window, the share says nothing; default 20.
    pub min_requests: u64,
    /// The first wait; default 1 s.
    pub wait: Duration,
    /// The wait doubles with each failed test up to this; default 60 s.
    pub max_wait: Duration,
    /// Each wait is longer by up to so many hundredths of it, by chance; default 20, at most 100.
    pub jitter_percent: u8,
    /// Requests that test it in half-open, all of which must pass; default 1, at least one.
    pub probes: u32,
    /// Probes that have not reported so long after the last one went are given up, and others may go; default 30 s.
    pub probe_timeout: Duration,
}

impl Default for BreakerConfig {
    fn default() -> Self {
        Self {
            consecutive: 7,
            failure_percent: 50,
            window: Duration::from_secs(10),
            min_requests: 20,
            wait: Duration::from_secs(1),
            max_wait: Duration::from_secs(60),
            jitter_percent: 20,
            probes: 1,
            probe_timeout: Duration::from_secs(30),
        }
    }
}

/// What changed. Each is told once.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[must_use]
pub enum BreakerChange {
    /// It refuses from now on, until this time.
    Opened {
        /// When it may be tested.
        until: Mono,
    },
    /// It lets a few requests through to test.
    HalfOpened,
    /// All flows again.
    Closed,
}

/// The state, for logs and the status page.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum BreakerState {
    /// Requests flow.
    Closed,
    /// Requests are refused.
    Open,
    /// A few requests test.
    HalfOpen,
}

/// Leave for one request. Its result is reported together with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use = "a probe that never reports holds up the test until its timeout"]
pub struct Admission {
    turn: u64,
}

#[derive(Clone, Debug)]
enum State {
    Closed { failures_in_row: u32 },
    Open { until: Mono },
    HalfOpen { under_way: u32, passed: u32, last_probe: Mono },
}

/// The breaker of one endpoint. 384 bytes, no allocation; keep it behind a lock beside the endpoint, and let the
/// request path look only at the endpoint's axis, which changes with what this tells.
#[derive(Clone, Debug)]
pub struct Breaker {
    config: BreakerConfig,
    state: State,
    window: Window,
    /// Grows with each change of state.
    turn: u64,
    /// Failed tests since it was last closed.
    failed_tests: u32,
}

impl Breaker {
    /// A closed breaker.
    #[must_use]
    pub fn new(config: BreakerConfig) -> Self {
        let window = Window::new(config.window);
        Self { config, state: State::Closed { failures_in_row: 0 }, window, turn: 0, failed_tests: 0 }
    }

    /// Asks for one request. In half-open this takes a probe.
    pub fn try_admit(&mut self, now: Mono) -> Option<Admission> {
        let probes = self.config.probes.max(1);
        match &mut self.state {
            State::Closed { .. } => {}
            State::Open { .. } => return None,
            State::HalfOpen { under_way, passed, last_probe } => {
                if now.saturating_since(*last_probe) >= self.config.probe_timeout {
                    // They were lost. What they report after all belongs to this turn still, and is welcome.
                    *under_way = 0;
                }
                if under_way.saturating_add(*passed) >= probes {
                    return None;
                }
                *under_way += 1;
                *last_probe = now;
            }
        }
        Some(Admission { turn: self.turn })
    }

    /// Takes a result. `entropy` is 64 random bits.
    pub fn on_result(&mut self, admission: Admission, success: bool, now: Mono, entropy: u64) -> Option<BreakerChange> {
        if admission.turn != self.turn {
            return None;
        }
        match (&mut self.state, success) {
            (State::Closed { failures_in_row }, _) => {
                *failures_in_row = if success { 0 } else { failures_in_row.saturating_add(1) };
                let in_row = *failures_in_row;
                self.window.on_result(success, now);
                (!success && self.is_too_much(in_row, now)).then(|| self.open(now, entropy))
            }
            (State::Open { .. }, _) => None,
            (State::HalfOpen { under_way, passed, .. }, true) => {
                *under_way = under_way.saturating_sub(1);
                *passed = passed.saturating_add(1);
                (*passed >= self.config.probes.max(1)).then(|| self.close())
            }
            (State::HalfOpen { .. }, false) => {
                self.failed_tests = self.failed_tests.saturating_add(1);
                Some(self.open(now, entropy))
            }
        }
    }

    /// Gives an admission back that came to nothing: the request was cancelled, or never sent.
    pub fn on_cancelled(&mut self, admission: Admission) {
        if let State::HalfOpen { under_way, .. } = &mut self.state
            && admission.turn == self.turn
        {
            *under_way = under_way.saturating_sub(1);
        }
    }

    /// Half-opens if the wait is over.
    pub fn on_timer(&mut self, now: Mono) -> Option<BreakerChange> {
        match self.state {
            State::Open { until } if now >= until => {
                self.enter(State::HalfOpen { under_way: 0, passed: 0, last_probe: now });
                Some(BreakerChange::HalfOpened)
            }
            _ => None,
        }
    }

    /// When to call [`on_timer`](Self::on_timer).
    #[must_use]
    pub fn next_deadline(&self) -> Option<Mono> {
        match self.state {
            State::Open { until } => Some(until),
            _ => None,
        }
    }

    /// The state.
    #[must_use]
    pub fn state(&self) -> BreakerState {
        match self.state {
            State::Closed { .. } => BreakerState::Closed,
            State::Open { .. } => BreakerState::Open,
            State::HalfOpen { .. } => BreakerState::HalfOpen,
        }
    }

    fn is_too_much(&self, failures_in_row: u32, now: Mono) -> bool {
        if self.config.consecutive > 0 && failures_in_row >= self.config.consecutive {
            return true;
        }
        let counts = self.window.counts(now);
        counts.total() >= self.config.min_requests && counts.is_failing(self.config.failure_percent)
    }

    fn open(&mut self, now: Mono, entropy: u64) -> BreakerChange {
        let until = now.saturating_add(self.wait(entropy));
        self.enter(State::Open { until });
        BreakerChange::Opened { until }
    }

    fn close(&mut self) -> BreakerChange {
        self.window.clear();
        self.failed_tests = 0;
        self.enter(State::Closed { failures_in_row: 0 });
        BreakerChange::Closed
    }

    fn enter(&mut self, state: State) {
        self.state = state;
        self.turn += 1;
    }

    /// `min(wait · 2^failed tests, max_wait)`, longer by chance.
    fn wait(&self, entropy: u64) -> Duration {
        let doubled = self.config.wait.saturating_mul(2_u32.saturating_pow(self.failed_tests));
        let wait = doubled.min(self.config.max_wait.max(self.config.wait));
        let spread = wait.as_nanos() / 100 * u128::from(self.config.jitter_percent.min(100));
        let jitter =
            (spread >> 32) * u128::from(entropy >> 32) + (((spread & 0xffff_ffff) * u128::from(entropy >> 32)) >> 32);
        wait.saturating_add(Duration::from_nanos_u128(jitter.min(Duration::MAX.as_nanos())))
    }
}

#[cfg(test)]
#[cfg(not(loom))]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Mono {
        Mono::from_millis(seconds * 1_000)
    }

    /// Admits and reports at once.
    fn result(breaker: &mut Breaker, success: bool, now: Mono) -> Option<BreakerChange> {
        let admission = breaker.try_admit(now).expect("it admits");
        breaker.on_result(admission, success, now, 0)
    }

    fn opened(config: BreakerConfig) -> Breaker {
        let mut breaker = Breaker::new(BreakerConfig { consecutive: 1, ..config });
        let until = at(10).saturating_add(config.wait);
        assert_eq!(result(&mut breaker, false, at(10)), Some(BreakerChange::Opened { until }));
        breaker
    }

    #[test]
    fn failures_in_a_row_open_it_and_a_success_breaks_the_row() {
        let mut breaker = Breaker::new(BreakerConfig { min_requests: 1_000, ..BreakerConfig::default() });
        for round in 0..3 {
            for _ in 0..6 {
                assert_eq!(result(&mut breaker, false, at(round)), None);
            }
            assert_eq!(result(&mut breaker, true, at(round)), None);
        }
        for _ in 0..6 {
            assert_eq!(result(&mut breaker, false, at(5)), None);
        }
        assert_eq!(result(&mut breaker, false, at(5)), Some(BreakerChange::Opened { until: at(6) }));
        assert_eq!(breaker.state(), BreakerState::Open);
        assert!(breaker.try_admit(at(5)).is_none());
    }

    #[test]
    fn half_of_twenty_requests_open_it_and_half_of_nineteen_do_not() {
        let mut breaker = Breaker::new(BreakerConfig::default());
        for _ in 0..10 {
            assert_eq!(result(&mut breaker, true, at(1)), None);
        }
        for step in 0..9 {
            // With a success now and then there is no row of seven.
            assert_eq!(result(&mut breaker, false, at(2)), None, "step {step}");
            if step == 4 {
                assert_eq!(result(&mut breaker, true, at(2)), None);
            }
        }
        // Eleven successes and nine failures: 45 %.
        assert_eq!(result(&mut breaker, false, at(2)), None);
        assert!(matches!(result(&mut breaker, false, at(2)), Some(BreakerChange::Opened { .. })), "eleven of 22");
    }

    #[test]
    fn a_passed_probe_closes_it_with_a_clean_record() {
        let mut breaker = opened(BreakerConfig::default());
        assert_eq!(breaker.next_deadline(), Some(at(11)));
        assert_eq!(breaker.on_timer(Mono::from_millis(10_999)), None);
        assert_eq!(breaker.on_timer(at(11)), Some(BreakerChange::HalfOpened));
        assert_eq!(breaker.on_timer(at(11)), None);
        assert_eq!(breaker.next_deadline(), None);
        let probe = breaker.try_admit(at(11)).unwrap();
        assert!(breaker.try_admit(at(11)).is_none(), "one probe");
        assert_eq!(breaker.on_result(probe, true, at(12), 0), Some(BreakerChange::Closed));
        assert_eq!(breaker.state(), BreakerState::Closed);
        assert_eq!(breaker.window.counts(at(12)).total(), 0);
    }

    #[test]
    fn each_failed_probe_doubles_the_wait_up_to_the_longest() {
        let mut breaker = opened(BreakerConfig { max_wait: Duration::from_secs(5), ..BreakerConfig::default() });
        for expected in [2, 4, 5, 5] {
            let now = breaker.next_deadline().unwrap();
            assert_eq!(breaker.on_timer(now), Some(BreakerChange::HalfOpened));
            let until = now.saturating_add(Duration::from_secs(expected));
            assert_eq!(result(&mut breaker, false, now), Some(BreakerChange::Opened { until }));
        }
        let now = breaker.next_deadline().unwrap();
        let _ = breaker.on_timer(now);
        assert_eq!(result(&mut breaker, true, now), Some(BreakerChange::Closed));
        let until = now.saturating_add(Duration::from_secs(1));
        assert_eq!(result(&mut breaker, false, now), Some(BreakerChange::Opened { until }), "short again");
    }

    #[test]
    fn all_of_several_probes_must_pass() {
        let config = BreakerConfig { probes: 3, ..BreakerConfig::default() };
        let mut breaker = opened(config);
        let _ = breaker.on_timer(at(11));
        let probes: Vec<_> = (0..5).filter_map(|_| breaker.try_admit(at(11))).collect();
        assert_eq!(probes.len(), 3);
        assert_eq!(breaker.on_result(probes[0], true, at(11), 0), None);
        assert_eq!(breaker.on_result(probes[1], true, at(11), 0), None);
        assert!(breaker.try_admit(at(11)).is_none(), "passed ones are not replaced");
        assert!(matches!(breaker.on_result(probes[2], false, at(11), 0), Some(BreakerChange::Opened { .. })));
    }

    #[test]
    fn results_of_another_turn_say_nothing() {
        let mut breaker = Breaker::new(BreakerConfig { consecutive: 1, ..BreakerConfig::default() });
        let straggler = breaker.try_admit(at(10)).unwrap();
        let _ = result(&mut breaker, false, at(10));
        assert_eq!(breaker.on_result(straggler, false, at(10), 0), None);
        let _ = breaker.on_timer(at(11));
        assert_eq!(breaker.on_result(straggler, true, at(11), 0), None, "it is no probe");
        assert_eq!(breaker.state(), BreakerState::HalfOpen);
        breaker.on_cancelled(straggler);
        assert!(breaker.try_admit(at(11)).is_some() && breaker.try_admit(at(11)).is_none());
    }

    #[test]
    fn cancelled_and_lost_probes_do_not_hold_it_up() {
        let mut breaker = opened(BreakerConfig::default());
        let _ = breaker.on_timer(at(11));
        let cancelled = breaker.try_admit(at(11)).unwrap();
        breaker.on_cancelled(cancelled);
        let lost = breaker.try_admit(at(11)).unwrap();
        assert!(breaker.try_admit(at(40)).is_none());
        let second = breaker.try_admit(at(41)).unwrap();
        assert_eq!(breaker.on_result(lost, true, at(50), 0), Some(BreakerChange::Closed), "late but true");
        assert_eq!(breaker.on_result(second, false, at(50), 0), None);
    }

    #[test]
    fn the_wait_is_longer_by_chance_within_its_share() {
        let wait = |entropy| {
            let breaker = Breaker::new(BreakerConfig { wait: Duration::from_secs(10), ..BreakerConfig::default() });
            breaker.wait(entropy)
        };
        assert_eq!(wait(0), Duration::from_secs(10));
        assert_eq!(wait(1 << 63), Duration::from_secs(11));
        assert!(wait(u64::MAX) > Duration::from_millis(11_999) && wait(u64::MAX) < Duration::from_secs(12));
    }

    #[test]
    fn extreme_settings_do_not_overflow_and_triggers_can_be_off() {
        let config = BreakerConfig {
            wait: Duration::MAX,
            max_wait: Duration::ZERO,
            jitter_percent: 255,
            probes: 0,
            ..BreakerConfig::default()
        };
        let mut breaker = Breaker::new(BreakerConfig { consecutive: 1, ..config });
        let admission = breaker.try_admit(at(0)).unwrap();
        let change = breaker.on_result(admission, false, at(0), u64::MAX);
        assert_eq!(change, Some(BreakerChange::Opened { until: Mono::MAX }));
        breaker.failed_tests = u32::MAX;
        assert_eq!(breaker.wait(u64::MAX), Duration::MAX);
        assert_eq!(breaker.on_timer(Mono::MAX), Some(BreakerChange::HalfOpened));
        assert!(breaker.try_admit(Mono::MAX).is_some(), "no probes are one probe");

        let mut off = Breaker::new(BreakerConfig { consecutive: 0, failure_percent: 101, ..config });
        assert!((0..1_000).all(|_| result(&mut off, false, at(1)).is_none()));
    }

    #[test]
    fn time_that_goes_back_opens_nothing_early() {
        let mut breaker = opened(BreakerConfig::default());
        assert_eq!(breaker.on_timer(Mono::ZERO), None);
        let _ = breaker.on_timer(at(11));
        let _ = breaker.try_admit(at(11));
        assert!(breaker.try_admit(at(1)).is_none());
    }
}
