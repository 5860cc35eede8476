//! Any bytes as a sequence of events at all machines of one endpoint, and what must hold after each. The fuzz target
//! `health` runs the same.

use std::num::NonZeroU16;
use std::time::Duration;

use lb_core::Mono;
use lb_health::{
    Admission, Breaker, BreakerChange, BreakerConfig, BreakerState, CoolDown, CoolDownConfig, Ejection, EjectionCap,
    FairShare, Growth, Initial, Intervals, OnFailure, Outlier, Patience, Schedule, Silence, Thresholds, Wait,
};

/// One byte chooses the event, the next one says how much.
pub(crate) fn run(bytes: &[u8]) {
    let Some((settings, events)) = bytes.split_first_chunk::<4>() else { return };
    let mut world = World::new(settings);
    for event in events.chunks_exact(2) {
        world.happens(event[0], event[1]);
        world.check();
    }
}

struct World {
    now: Mono,
    rule: Ejection,
    outlier: Outlier,
    cap: EjectionCap,
    /// When it came back last.
    back: Mono,
    breaker: Breaker,
    admissions: Vec<Admission>,
    probes: u32,
    schedule: Schedule,
    intervals: Intervals,
    silence: Silence,
    cool_down: CoolDown,
    share: FairShare<u8>,
    places: usize,
    held: Vec<u8>,
    waiting: Vec<(u8, u64)>,
    next: u64,
}

impl World {
    fn new([a, b, c, d]: &[u8; 4]) -> Self {
        let seconds = |byte: u8| Duration::from_secs(u64::from(byte));
        let growth =
            if a & 1 == 0 { Growth::Constant } else { Growth::Linear { max: seconds(*c), forgive: seconds(d & 63) } };
        let failures = NonZeroU16::new(u16::from(a >> 4) + 1).unwrap_or(NonZeroU16::MIN);
        let rule = Ejection { failures, window: seconds(*b), eject_for: seconds(c & 63), growth, jitter_percent: *d };
        let cap = EjectionCap::default();
        cap.set_members(3, 3);
        let probes = u32::from(a >> 4);
        let config =
            BreakerConfig { probes, consecutive: u32::from(b & 7), forgive: seconds(*d), ..BreakerConfig::default() };
        let up = Duration::from_millis(u64::from(*b) * 100);
        let intervals = Intervals { jitter_percent: *d, fast_for: seconds(*c), ..Intervals::every(up) };
        let thresholds = Thresholds::new(u16::from(a & 7), u16::from(d & 7));
        let schedule = Schedule::new(thresholds, Initial::Up, intervals, up, Mono::ZERO, 7);
        let places = usize::from(b % 20);
        Self {
            now: Mono::ZERO,
            rule,
            outlier: Outlier::new(rule),
            cap,
            back: Mono::ZERO,
            breaker: Breaker::new(config),
            admissions: Vec::new(),
            probes: probes.max(1),
            schedule,
            intervals,
            silence: Silence::default(),
            cool_down: CoolDown::default(),
            share: FairShare::new(places),
            places: places.max(1),
            held: Vec::new(),
            waiting: Vec::new(),
            next: 0,
        }
    }

    fn happens(&mut self, event: u8, amount: u8) {
        let started = self.now.saturating_sub(Duration::from_millis(u64::from(amount) * 50));
        let (now, entropy) = (self.now, u64::from(amount) << 56);
        match event % 16 {
            0 => self.now = now.saturating_add(Duration::from_millis(u64::from(amount) * u64::from(amount))),
            // Time that goes back is an input like others.
            1 => self.now = started,
            2 | 3 => self.fails(started, entropy),
            4 => {
                let was_on_probation = self.outlier.is_on_probation();
                let ended = self.outlier.on_success(started);
                assert!(!ended || was_on_probation && started >= self.back);
            }
            5 => {
                let was_ejected = self.outlier.is_ejected();
                let (due, ended) = (self.outlier.next_deadline(), self.outlier.on_timer(now, &self.cap));
                assert_eq!(ended, was_ejected && due.is_some_and(|due| due <= now));
                self.comes_back(ended);
            }
            6 => {
                let was_ejected = self.outlier.is_ejected();
                let ended = self.outlier.on_check_passed(started, now, &self.cap);
                assert!(was_ejected || !ended);
                self.comes_back(ended);
            }
            7 => self.outlier.on_check_failed(),
            8 => self.admissions.extend(self.breaker.try_admit(now)),
            9 => drop(self.breaker.on_timer(now)),
            10 if self.admissions.is_empty() => {}
            10 => self.reports(usize::from(amount), now, entropy),
            11 => {
                let _ = self.schedule.on_result(amount & 1 == 0, started, now, entropy);
                let longest = self.intervals.up.saturating_mul(2).saturating_add(Duration::from_nanos(1));
                assert!(self.schedule.next_due() >= now);
                assert!(self.schedule.next_due() <= now.saturating_add(longest));
            }
            12 => {
                let due = self.schedule.next_due();
                self.schedule.suspect(Duration::from_secs(u64::from(amount)), now, entropy);
                assert!(self.schedule.next_due() <= due);
            }
            13 => self.waits(amount, started, now, entropy),
            14 => {
                let (cluster, waiter) = (amount % 3, self.next);
                self.next += 1;
                if self.share.take(cluster, waiter) {
                    self.held.push(cluster);
                } else {
                    self.waiting.push((cluster, waiter));
                }
            }
            _ if self.held.is_empty() => {}
            _ => {
                let cluster = self.held.swap_remove(usize::from(amount) % self.held.len());
                if let Some((next, waiter)) = self.share.release(&cluster) {
                    let place = self.waiting.iter().position(|waiting| *waiting == (next, waiter));
                    self.waiting.remove(place.expect("it waits"));
                    self.held.push(next);
                }
            }
        }
    }

    fn fails(&mut self, started: Mono, entropy: u64) {
        let was_ejected = self.outlier.is_ejected();
        let (on_probation, current) = (self.outlier.is_on_probation(), self.outlier.is_current(started));
        match self.outlier.on_failure(started, self.now, entropy, &self.cap) {
            OnFailure::Ejected { until } => {
                assert!(!was_ejected && current);
                let longest = self.rule.longest().saturating_mul(2);
                assert!(until >= self.now && until <= self.now.saturating_add(longest));
            }
            OnFailure::Capped => panic!("two others are left"),
            OnFailure::Nothing => assert!(!(on_probation && current), "one failure is enough on probation"),
        }
    }

    fn comes_back(&mut self, ended: bool) {
        if ended {
            self.back = self.now;
            assert!(!self.outlier.is_ejected() && self.outlier.is_on_probation());
        }
    }

    fn reports(&mut self, which: usize, now: Mono, entropy: u64) {
        let admission = self.admissions.swap_remove(which % self.admissions.len());
        let before = self.breaker.state();
        if which.is_multiple_of(5) {
            self.breaker.on_cancelled(admission);
            return;
        }
        match self.breaker.on_result(admission, !which.is_multiple_of(3), now, entropy) {
            None => assert_eq!(self.breaker.state(), before),
            Some(BreakerChange::Opened { until }) => assert!(until > now && before != BreakerState::Open),
            Some(BreakerChange::Closed) => assert_eq!(before, BreakerState::HalfOpen),
            Some(BreakerChange::HalfOpened) => panic!("only time does that"),
        }
    }

    fn waits(&mut self, amount: u8, started: Mono, now: Mono, entropy: u64) {
        let usual = Duration::from_millis(u64::from(amount));
        let limit = Patience::default().limit(usual, usual);
        self.silence.set_limit(Some(limit));
        match self.silence.judge(started, now) {
            Some(Wait::Usual(left)) => assert!(!left.is_zero() && left <= limit),
            Some(Wait::Silent) => assert!(now.saturating_since(started) >= limit),
            None => panic!("it has a limit"),
        }
        if amount & 1 == 0 {
            self.silence.on_answer(now);
            assert!(matches!(self.silence.judge(started, now), Some(Wait::Usual(_))));
        }
        let config = CoolDownConfig::default();
        let asked = (amount & 2 == 0).then(|| Duration::from_secs(u64::from(amount) * 10));
        let until = self.cool_down.on_back_pressure(&config, asked, now, entropy);
        assert!(self.cool_down.is_in_force(now) || until <= now);
    }

    fn check(&mut self) {
        assert_eq!(self.cap.ejected(), u32::from(self.outlier.is_ejected()));
        assert_eq!(self.outlier.is_ejected(), self.outlier.next_deadline().is_some());
        if self.breaker.state() == BreakerState::HalfOpen {
            let mut tries: Vec<_> = (0..=self.probes).filter_map(|_| self.breaker.try_admit(self.now)).collect();
            assert!(tries.len() <= self.probes as usize, "a round has at most so many");
            tries.drain(..).for_each(|admission| self.breaker.on_cancelled(admission));
        }
        assert_eq!(self.share.in_use(), self.held.len());
        assert!(self.held.len() <= self.places);
        let limit = (self.places - self.places / 8).max(1);
        let holds = |cluster| self.held.iter().filter(|held| **held == cluster).count();
        let is_kept_waiting = |cluster| self.held.len() < self.places && holds(cluster) < limit;
        assert!(!self.waiting.iter().any(|(cluster, _)| is_kept_waiting(*cluster)), "a place is free, and one waits");
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(512))]

        #[test]
        fn any_sequence_of_events_keeps_the_promises(bytes in prop::collection::vec(any::<u8>(), 0..800)) {
            super::run(&bytes);
        }
    }
}
