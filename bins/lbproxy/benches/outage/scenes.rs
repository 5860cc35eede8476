//! What goes wrong, when, and where.

use std::time::Duration;

use super::endpoint::Mode;

/// An outage of some of a cluster's endpoints.
#[derive(Clone, Debug)]
pub(crate) struct Scene {
    /// What it is called, `killed (1 of 3)`.
    pub(crate) name: String,
    /// How many endpoints there are; the first `bad` of them are struck.
    pub(crate) endpoints: usize,
    pub(crate) bad: usize,
    /// What endpoints turn to, and when, from the start of the load; in the order of time.
    pub(crate) script: Vec<Turn>,
    /// From here to there something is wrong.
    pub(crate) fault: Duration,
    pub(crate) recovery: Duration,
    /// The load ends.
    pub(crate) end: Duration,
    /// Whether traffic can leave for the length of the fault; not where endpoints change in turns.
    pub(crate) is_steady: bool,
}

/// An endpoint changes over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Turn {
    pub(crate) at: Duration,
    pub(crate) endpoint: usize,
    pub(crate) to: Mode,
}

/// Traffic before a fault.
const BEFORE: Duration = Duration::from_secs(3);
/// Traffic is watched for so much longer after a fault than the fault lasts.
const AFTER: Duration = Duration::from_secs(5);
const FLAP: Duration = Duration::from_secs(2);
const LATE: Duration = Duration::from_millis(1_500);

const FAULTS: [(&str, Mode); 9] = [
    ("killed", Mode::Down),
    ("stopped", Mode::Stopped),
    ("SYNs unanswered", Mode::Unreachable),
    ("accepts and closes", Mode::Closes),
    ("500", Mode::Fails),
    ("500 for half", Mode::FailsHalf),
    ("429 for half", Mode::BusyHalf),
    ("cut bodies", Mode::Cuts),
    ("20 × slower", Mode::Slow),
];

/// Every scene, with faults of this length.
pub(crate) fn all(length: Duration) -> Vec<Scene> {
    let mut scenes = Vec::new();
    for (name, mode) in FAULTS {
        scenes.extend([1, 2].map(|bad| Scene::struck(name, mode, bad, length)));
    }
    scenes.extend([1, 2].map(|bad| Scene::flapping(bad, length)));
    scenes.extend([1, 2, 3].map(|bad| Scene::late(bad, length)));
    scenes.extend([3, 2].map(|endpoints| Scene::rolling(endpoints, length)));
    scenes
}

impl Scene {
    /// `bad` of three do this for the whole length.
    fn struck(name: &str, mode: Mode, bad: usize, length: Duration) -> Self {
        let turns = |at, to| (0..bad).map(move |endpoint| Turn { at, endpoint, to });
        let recovery = BEFORE + length;
        let script = turns(BEFORE, mode).chain(turns(recovery, Mode::Well)).collect();
        Self::new(name, 3, bad, script, BEFORE, recovery, recovery + length + AFTER)
    }

    /// They come and go together, every two seconds.
    fn flapping(bad: usize, length: Duration) -> Self {
        let mut script = Vec::new();
        let mut at = BEFORE;
        while at < BEFORE + length {
            script.extend((0..bad).map(|endpoint| Turn { at, endpoint, to: Mode::Down }));
            script.extend((0..bad).map(|endpoint| Turn { at: at + FLAP, endpoint, to: Mode::Well }));
            at += 2 * FLAP;
        }
        let recovery = at - FLAP;
        let scene = Self::new("flaps each 2 s", 3, bad, script, BEFORE, recovery, recovery + length + AFTER);
        Self { is_steady: false, ..scene }
    }

    /// They start after the proxy.
    fn late(bad: usize, length: Duration) -> Self {
        let turns = |at, to| (0..bad).map(move |endpoint| Turn { at, endpoint, to });
        let script = turns(Duration::ZERO, Mode::Down).chain(turns(LATE, Mode::Well)).collect();
        let scene = Self::new("starts 1.5 s late", 3, bad, script, Duration::ZERO, LATE, LATE + length + AFTER);
        Self { is_steady: false, ..scene }
    }

    /// Each in turn is killed and started again: away for three fifths of its turn.
    fn rolling(endpoints: usize, length: Duration) -> Self {
        let turn = length / endpoints as u32;
        let steps = (0..endpoints).flat_map(|endpoint| {
            let at = BEFORE + turn * endpoint as u32;
            [Turn { at, endpoint, to: Mode::Down }, Turn { at: at + turn * 3 / 5, endpoint, to: Mode::Well }]
        });
        let script: Vec<_> = steps.collect();
        let recovery = script.last().map_or(BEFORE, |turn| turn.at);
        let end = recovery + length + AFTER;
        let scene = Self::new("rolling restart", endpoints, endpoints, script, BEFORE, recovery, end);
        Self { is_steady: false, ..scene }
    }

    fn new(
        name: &str,
        endpoints: usize,
        bad: usize,
        script: Vec<Turn>,
        fault: Duration,
        recovery: Duration,
        end: Duration,
    ) -> Self {
        let name = format!("{name} ({bad} of {endpoints})");
        Self { name, endpoints, bad, script, fault, recovery, end, is_steady: true }
    }

    /// What an endpoint does at the start, before the proxies are there.
    pub(crate) fn initial(&self, endpoint: usize) -> Mode {
        let first = self.script.iter().find(|turn| turn.endpoint == endpoint && turn.at.is_zero());
        first.map_or(Mode::Well, |turn| turn.to)
    }

    /// Whether an endpoint is struck at this time.
    pub(crate) fn is_bad(&self, endpoint: usize, at: Duration) -> bool {
        let mut turns = self.script.iter().filter(|turn| turn.endpoint == endpoint && turn.at <= at);
        turns.next_back().is_some_and(|turn| turn.to != Mode::Well)
    }

    /// Whether the endpoints cannot count the attempts, since no connection is established.
    pub(crate) fn is_unseen(&self) -> bool {
        self.script.iter().any(|turn| matches!(turn.to, Mode::Down | Mode::Unreachable))
    }
}
