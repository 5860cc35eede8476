//! What a scene cost a proxy, and whether that is more than another's.

use std::time::Duration;

use super::client::Answer;
use super::scenes::Scene;

/// A request that a proxy sent, or tried to send, to an endpoint.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Attempt {
    /// Since the start of the load.
    pub(crate) at: Duration,
    pub(crate) endpoint: usize,
}

/// What a scene cost.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Figures {
    /// Requests without a whole 200 within ten seconds.
    pub(crate) failed: usize,
    /// Requests that took longer than a second, the failed ones included.
    pub(crate) slow: usize,
    /// From the fault until hardly any traffic went to the endpoints that were struck; none where that has no meaning.
    pub(crate) left: Option<Time>,
    /// From the recovery until traffic was back at each of them; none where it never left.
    pub(crate) back: Option<Time>,
    /// Attempts at endpoints while they were struck.
    pub(crate) attempts: usize,
}

/// When something happened; a scene ends, and then it has not.
#[derive(Clone, Copy, Debug, PartialEq, PartialOrd)]
pub(crate) enum Time {
    After(Duration),
    Never,
}

/// How many steps of [`STEP`] traffic must stay away for it to have left: two seconds, so that the pause of a retry does not count, nor
/// a single trial afterwards.
const LEFT_STEPS: u32 = 8;
/// How many steps it must be there for it to be back: a second.
const BACK_STEPS: u32 = 4;
/// Times are found to a quarter of a second.
const STEP: Duration = Duration::from_millis(250);
/// More than a tenth of an endpoint's share is traffic; less is a trial.
const LEFT_SHARE: f64 = 0.1;
/// Half of its share is what an endpoint that is back gets, even from a policy that goes by load.
const BACK_SHARE: f64 = 0.5;

impl Figures {
    /// Sums up a scene at so many requests a second.
    pub(crate) fn of(scene: &Scene, rate: u32, answers: &[Answer], attempts: &[Attempt]) -> Self {
        let failed = answers.iter().filter(|answer| !answer.is_well).count();
        let is_slow = |answer: &&Answer| !answer.is_well || answer.took > Duration::from_secs(1);
        let at_bad = attempts.iter().filter(|attempt| scene.is_bad(attempt.endpoint, attempt.at));
        // What the endpoints that are struck would get in a step, one of them and all.
        let share = f64::from(rate) / scene.endpoints as f64 * STEP.as_secs_f64();
        let among = |from: Duration, steps: u32, endpoints: std::ops::Range<usize>| {
            let within = from..from + STEP * steps;
            let here = |attempt: &&Attempt| endpoints.contains(&attempt.endpoint) && within.contains(&attempt.at);
            attempts.iter().filter(here).count() as f64 / f64::from(steps)
        };
        let left = scene.is_steady.then(|| {
            let gone = |from| among(from, LEFT_STEPS, 0..scene.bad) <= LEFT_SHARE * share * scene.bad as f64;
            first(scene.fault, scene.recovery, LEFT_STEPS, gone)
        });
        let back = (left != Some(Time::Never)).then(|| {
            let is_back = |from, endpoint| among(from, BACK_STEPS, endpoint..endpoint + 1) >= BACK_SHARE * share;
            let each = (0..scene.bad)
                .map(|endpoint| first(scene.recovery, scene.end, BACK_STEPS, |from| is_back(from, endpoint)));
            each.fold(Time::After(Duration::ZERO), |latest, time| if time > latest { time } else { latest })
        });
        Self { failed, slow: answers.iter().filter(is_slow).count(), left, back, attempts: at_bad.count() }
    }

    /// Each figure: how it is written, and a number to compare.
    pub(crate) fn cells(&self) -> [(String, Option<f64>); 5] {
        let count = |count: usize| (count.to_string(), Some(count as f64));
        let time = |time: Option<Time>| match time {
            None => ("–".to_owned(), None),
            Some(Time::Never) => ("never".to_owned(), Some(f64::INFINITY)),
            Some(Time::After(time)) => (time.as_secs_f64().to_string(), Some(time.as_secs_f64())),
        };
        [count(self.failed), count(self.slow), time(self.left), time(self.back), count(self.attempts)]
    }

    /// Which of the [`cells`](Self::cells) are worse than the best of the others, by more than chance.
    pub(crate) fn worse_than(&self, others: &[Self]) -> [bool; 5] {
        std::array::from_fn(|column| {
            let theirs = others.iter().filter_map(|other| other.cells()[column].1).min_by(f64::total_cmp);
            let is_time = matches!(column, 2 | 3);
            self.cells()[column].1.zip(theirs).is_some_and(|(ours, theirs)| ours > theirs + noise(is_time, theirs))
        })
    }
}

/// How much two runs of the same may differ.
///
/// A count is one of events that come by chance, so its standard deviation is about its root; three of those, and three events where it
/// is small, which is what is in flight at an endpoint when it is struck. A time is found to a step at both ends, and depends on where
/// between two checks the fault falls: a peer's are two seconds apart, and the standard deviation of that is 0.6 s.
fn noise(is_time: bool, value: f64) -> f64 {
    if is_time { 2.0 * STEP.as_secs_f64() + 0.6 } else { (3.0 * value.sqrt()).max(3.0) }
}

/// The first step from `from`, with so many more before `to`, of which this is true.
fn first(from: Duration, to: Duration, steps: u32, is_so: impl Fn(Duration) -> bool) -> Time {
    let starts = (0..).map(|number| from + STEP * number).take_while(|&start| start + STEP * steps <= to);
    starts.into_iter().find(|&start| is_so(start)).map_or(Time::Never, |start| Time::After(start - from))
}
