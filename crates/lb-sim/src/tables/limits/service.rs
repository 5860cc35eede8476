//! The service, and what a limit before it makes of it.

use std::collections::VecDeque;
use std::time::Duration;

use lb_core::Mono;
use lb_ratelimit::adaptive::{Limit, Sample};

use crate::queue::EventQueue;
use crate::seed::{Seed, Stream, later};

/// What happens to the service, from the middle of the run on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Case {
    /// Nothing.
    Steady,
    /// It has half its places.
    Step,
    /// It refuses 2 % of the requests after a millisecond.
    Refusals,
    /// It refuses all of them for two seconds.
    TotalLoss,
    /// One request in ten takes five times as long, and it has as many places more as that needs.
    Noise,
}

impl Case {
    pub(super) const ALL: [Self; 5] = [Self::Steady, Self::Step, Self::Refusals, Self::TotalLoss, Self::Noise];

    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Steady => "steady",
            Self::Step => "half the places",
            Self::Refusals => "2 % refused",
            Self::TotalLoss => "all lost for 2 s",
            Self::Noise => "noise",
        }
    }

    /// Places in the second half.
    const fn places(self) -> usize {
        match self {
            Self::Step => PLACES / 2,
            Self::Noise => PLACES * 14 / 10,
            _ => PLACES,
        }
    }
}

const PLACES: usize = 100;
const SERVICE: f64 = 0.05;
const REFUSAL: f64 = 0.001;
const LOSS_SECONDS: f64 = 2.0;

/// What came of a run, in its second half.
#[derive(Clone, Copy, Debug)]
pub(super) struct Outcome {
    /// Requests served as a share of what the service could have served.
    pub(super) served: f64,
    /// The mean limit.
    pub(super) limit: f64,
    /// The mean time of those that were served, in seconds.
    pub(super) time: f64,
    /// Seconds from the change until a second in which at least 90 % of what is possible was served; the whole half if there was none.
    pub(super) adapted_after: f64,
}

enum Event {
    Arrives,
    Ends { place: bool, started: Mono, in_flight: u32, lost: bool },
}

struct Job {
    started: Mono,
    in_flight: u32,
}

struct Service {
    case: Case,
    half: f64,
    busy: usize,
    waiting: VecDeque<Job>,
    times: Stream,
    refusals: Stream,
    queue: EventQueue<Event>,
}

impl Service {
    fn seconds(&self) -> f64 {
        self.queue.now().as_nanos() as f64 / 1e9
    }

    fn has_changed(&self) -> bool {
        self.seconds() >= self.half
    }

    fn places(&self) -> usize {
        if self.has_changed() { self.case.places() } else { PLACES }
    }

    fn refuses(&mut self) -> bool {
        let draw = self.refusals.unit();
        match self.case {
            Case::Refusals => draw < 0.02,
            Case::TotalLoss => self.has_changed() && self.seconds() < self.half + LOSS_SECONDS,
            _ => false,
        }
    }

    fn arrives(&mut self, job: Job) {
        if self.refuses() || self.busy >= self.places() && self.waiting.len() >= self.places() / 2 {
            self.ends_after(REFUSAL, false, &job, true);
        } else if self.busy < self.places() {
            self.begins(&job);
        } else {
            self.waiting.push_back(job);
        }
    }

    fn begins(&mut self, job: &Job) {
        self.busy += 1;
        let mut time = SERVICE * (0.8 + 0.4 * self.times.unit());
        if self.times.unit() < 0.1 && self.case == Case::Noise && self.has_changed() {
            time *= 5.0;
        }
        self.ends_after(time, true, job, false);
    }

    fn ends_after(&mut self, seconds: f64, place: bool, job: &Job, lost: bool) {
        let Job { started, in_flight } = *job;
        self.queue.schedule(later(self.queue.now(), seconds), Event::Ends { place, started, in_flight, lost });
    }

    fn leaves(&mut self) {
        self.busy -= 1;
        while self.busy < self.places()
            && let Some(next) = self.waiting.pop_front()
        {
            self.begins(&next);
        }
    }
}

/// Runs 60 s, or 16 s if it is to be quick.
pub(super) fn run(case: Case, rule: &mut dyn Limit, quick: bool, seed: Seed) -> Outcome {
    let half = if quick { 8.0 } else { 30.0 };
    let [mut arrivals, mut entropy] = [seed.child(0).stream(), seed.child(1).stream()];
    let mut service = Service {
        case,
        half,
        busy: 0,
        waiting: VecDeque::new(),
        times: seed.child(2).stream(),
        refusals: seed.child(3).stream(),
        queue: EventQueue::new(),
    };
    let (mut in_flight, mut tally) = (0_u32, Tally::new(half));
    service.queue.schedule(Mono::ZERO, Event::Arrives);
    while let Some((now, event)) = service.queue.take_before(later(Mono::ZERO, 2.0 * half)) {
        match event {
            Event::Arrives => {
                let gap = arrivals.exponential(SERVICE / (1.5 * PLACES as f64));
                service.queue.schedule(later(now, gap), Event::Arrives);
                tally.on_arrival(service.has_changed(), rule.limit());
                if in_flight < rule.limit() {
                    in_flight += 1;
                    service.arrives(Job { started: now, in_flight });
                }
            }
            Event::Ends { place, started, in_flight: at_start, lost } => {
                in_flight -= 1;
                if place {
                    service.leaves();
                }
                let rtt = now.saturating_since(started);
                let _ = rule
                    .on_sample(&Sample { started, rtt, in_flight: at_start, dropped: lost }, entropy.below(u64::MAX));
                if !lost && service.has_changed() {
                    tally.on_served(service.seconds(), rtt);
                }
            }
        }
    }
    tally.outcome(case)
}

struct Tally {
    half: f64,
    arrivals: f64,
    limits: f64,
    times: f64,
    /// Requests served in each second after the change.
    served: Vec<f64>,
}

impl Tally {
    fn new(half: f64) -> Self {
        Self { half, arrivals: 0.0, limits: 0.0, times: 0.0, served: vec![0.0; half as usize] }
    }

    fn on_arrival(&mut self, has_changed: bool, limit: u32) {
        if has_changed {
            self.arrivals += 1.0;
            self.limits += f64::from(limit);
        }
    }

    fn on_served(&mut self, seconds: f64, rtt: Duration) {
        self.times += rtt.as_secs_f64();
        if let Some(second) = self.served.get_mut((seconds - self.half) as usize) {
            *second += 1.0;
        }
    }

    fn outcome(&self, case: Case) -> Outcome {
        let mean_time = if case == Case::Noise { SERVICE * 1.4 } else { SERVICE };
        let possible = case.places() as f64 / mean_time;
        let served: f64 = self.served.iter().sum();
        let lost_at_once = if case == Case::TotalLoss { LOSS_SECONDS } else { 0.0 };
        let adapted =
            self.served.iter().position(|second| *second >= 0.9 * possible.min(1.5 * PLACES as f64 / SERVICE));
        Outcome {
            served: served / (possible * (self.half - lost_at_once)),
            limit: self.limits / self.arrivals,
            time: self.times / served.max(1.0),
            adapted_after: adapted.map_or(self.half, |second| second as f64),
        }
    }
}
