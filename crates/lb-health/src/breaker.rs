//! A breaker: stop sending to what fails, and find out carefully when it works again.
//!
//! Ejection is for endpoints among others. A breaker judges one endpoint by itself, tests with a few requests, and waits
//! longer after each failed test; it judges by rate, so that a busy endpoint is not taken out for one failure in a
//! thousand.
//!
//! ```text
//!                 too many failures in a row, or too large a share
//!      closed ──────────────────────────────────────────────────► open ◄──────────────┐
//!        ▲                                                         │                  │
//!        │ the last round passed                 its wait is over  │                  │
//!        │                                                         ▼                  │ a round failed:
//!        └───────────────────────────────────────────────────── half-open ────────────┘ the next wait is longer
//!                                                               1, 2, 4, 8 requests
//! ```
//!
//! | state     | requests                            | a result that was admitted in it                       |
//! |-----------|-------------------------------------|--------------------------------------------------------|
//! | closed    | flow                                | counts                                                 |
//! | open      | are refused                         | there is none                                          |
//! | half-open | one, then rounds of twice as many   | as large a share of failures in a round as opens it, opens it |
//!
//! One passed request is little evidence: an endpoint that fails two of three passes every third test, and with all its
//! traffic back at once it is mostly those requests that find out. Rounds that double make the test harder and the
//! return gradual. For the same reason the wait is not forgotten when the breaker closes: each opening within `forgive`
//! of the last closing makes it longer, and each `forgive` spent closed takes one off.
//!
//! A result counts only in the state and the round that admitted its request: what was under way when the breaker opened
//! says nothing about the probes. Hence [`Admission`], which has the turn and the number of its probe, and can be
//! reported once. A probe whose request was cancelled is given back. One that does not report in time is given up, and
//! another may go; if it reports after all, that frees nothing and proves nothing.
//!
//! This is the classical machine (Nygard); consecutive failures and the exact success window follow linkerd. On words:
//! a *breaker* is open or closed, an endpoint never is.

use std::time::Duration;

use lb_core::Mono;

use self::round::Round;
use crate::jitter::{part, span_of};
use crate::window::Window;

mod round;

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
    /// The wait doubles with each opening on record up to this; default 60 s.
    pub max_wait: Duration,
    /// Each wait is longer by up to so many hundredths of it, by chance; default 20, at most 100.
    pub jitter_percent: u8,
    /// Time closed that takes one opening off the record; default 30 s, zero takes off all.
    pub forgive: Duration,
    /// Requests in the last round of half-open; the first has one, each next one twice as many. Default 8, at least one.
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
            forgive: Duration::from_secs(30),
            probes: 8,
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

/// Permission for one request. Its result is reported together with it, once.
#[derive(Debug, PartialEq, Eq)]
#[must_use = "a probe that never reports holds up the test until its timeout"]
pub struct Admission {
    turn: u64,
    /// Number of the probe in its turn.
    probe: u64,
}

#[derive(Clone, Debug)]
enum State {
    Closed { failures_in_row: u32 },
    Open { until: Mono },
    HalfOpen(Round),
}

/// The breaker of one endpoint. 400 bytes, no allocation; keep it behind a lock beside the endpoint, and let the
/// request path look only at the endpoint's axis, which changes with what this tells.
#[derive(Clone, Debug)]
pub struct Breaker {
    config: BreakerConfig,
    state: State,
    window: Window,
    /// Grows with each change of state.
    turn: u64,
    /// Openings on record, and when it was last closed.
    openings: u32,
    closed_at: Mono,
}

impl Breaker {
    /// A closed breaker.
    #[must_use]
    pub fn new(config: BreakerConfig) -> Self {
        let window = Window::new(config.window);
        Self {
            config,
            state: State::Closed { failures_in_row: 0 },
            window,
            turn: 0,
            openings: 0,
            closed_at: Mono::ZERO,
        }
    }

    /// Asks for one request. In half-open this takes a probe.
    pub fn try_admit(&mut self, now: Mono) -> Option<Admission> {
        let probe = match &mut self.state {
            State::Closed { .. } => 0,
            State::Open { .. } => return None,
            State::HalfOpen(round) => round.try_admit(self.config.probe_timeout, now)?,
        };
        Some(Admission { turn: self.turn, probe })
    }

    /// Takes a result. `entropy` is 64 random bits.
    #[expect(clippy::needless_pass_by_value, reason = "an admission is reported once")]
    pub fn on_result(&mut self, admission: Admission, success: bool, now: Mono, entropy: u64) -> Option<BreakerChange> {
        if admission.turn != self.turn {
            return None;
        }
        match &mut self.state {
            State::Closed { failures_in_row } => {
                *failures_in_row = if success { 0 } else { failures_in_row.saturating_add(1) };
                let in_row = *failures_in_row;
                self.window.on_result(success, now);
                (!success && self.is_too_much(in_row, now)).then(|| self.open(now, entropy))
            }
            State::Open { .. } => None,
            State::HalfOpen(round) => {
                if !round.ends(admission.probe) {
                    return None;
                }
                *(if success { &mut round.passed } else { &mut round.failed }) += 1;
                if round.has_failed(self.config.failure_percent) {
                    return Some(self.open(now, entropy));
                }
                if !round.is_over() {
                    return None;
                }
                if round.size >= self.config.probes.max(1) {
                    return Some(self.close(now));
                }
                let size = round.size.saturating_mul(2).min(self.config.probes);
                *round = Round::new(size, round.next, now);
                None
            }
        }
    }

    /// Gives an admission back that came to nothing: the request was cancelled, or never sent.
    #[expect(clippy::needless_pass_by_value, reason = "an admission is reported once")]
    pub fn on_cancelled(&mut self, admission: Admission) {
        if let State::HalfOpen(round) = &mut self.state
            && admission.turn == self.turn
        {
            round.ends(admission.probe);
        }
    }

    /// Half-opens if the wait is over.
    pub fn on_timer(&mut self, now: Mono) -> Option<BreakerChange> {
        match self.state {
            State::Open { until } if now >= until => {
                self.enter(State::HalfOpen(Round::new(1, 0, now)));
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
            State::HalfOpen(_) => BreakerState::HalfOpen,
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
        if let State::Closed { .. } = self.state {
            let closed_for = now.saturating_since(self.closed_at).as_nanos();
            let forgiven = closed_for.checked_div(self.config.forgive.as_nanos()).unwrap_or(u128::MAX);
            self.openings = self.openings.saturating_sub(u32::try_from(forgiven).unwrap_or(u32::MAX));
        }
        let until = now.saturating_add(self.wait(entropy));
        self.openings = self.openings.saturating_add(1);
        self.enter(State::Open { until });
        BreakerChange::Opened { until }
    }

    fn close(&mut self, now: Mono) -> BreakerChange {
        self.window.clear();
        self.closed_at = now;
        self.enter(State::Closed { failures_in_row: 0 });
        BreakerChange::Closed
    }

    fn enter(&mut self, state: State) {
        self.state = state;
        self.turn += 1;
    }

    /// `min(wait · 2^openings, max_wait)`, longer by chance.
    fn wait(&self, entropy: u64) -> Duration {
        let doubled = self.config.wait.saturating_mul(2_u32.saturating_pow(self.openings));
        let wait = doubled.min(self.config.max_wait.max(self.config.wait));
        let spread = wait.as_nanos() / 100 * u128::from(self.config.jitter_percent.min(100));
        wait.saturating_add(span_of(part(spread, entropy)))
    }
}

#[cfg(test)]
#[cfg(not(loom))]
mod tests;
