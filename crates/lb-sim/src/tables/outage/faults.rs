//! Outages: what endpoints do, and when.

use std::time::Duration;

use lb_core::Mono;

/// What an endpoint does for a while.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Fault {
    /// The process is gone: connections are refused, and requests under way are reset.
    Down,
    /// The network is gone: no packet arrives, in either direction. Packets are sent again as TCP does it.
    BlackHole,
    /// This share of the requests is answered 500; checks pass.
    Fails(f64),
    /// Everything takes so many times as long, checks included.
    Slow(f64),
}

/// A time during which an endpoint has a fault.
#[derive(Clone, Copy, Debug)]
pub struct Strike {
    /// Which endpoint.
    pub endpoint: usize,
    /// What it does meanwhile.
    pub fault: Fault,
    /// From then on.
    pub from: Mono,
    /// It is well again.
    pub until: Mono,
}

/// An outage of a part of a cluster, or of all of it.
#[derive(Clone, Debug)]
pub struct Scene {
    /// What it is called.
    pub name: &'static str,
    /// How many endpoints there are.
    pub endpoints: usize,
    /// The first so many of them are struck.
    pub struck: usize,
    /// All that happens; of one endpoint in the order of time, and never two at once.
    pub strikes: Vec<Strike>,
    /// The first fault begins.
    pub fault: Mono,
    /// The last fault is over.
    pub recovery: Mono,
    /// The last request arrives.
    pub end: Mono,
    /// Whether it matters when traffic left the struck endpoints: not where they come and go, nor where there are no others.
    pub can_leave: bool,
}

/// Traffic before the fault, so that every rule has seen all endpoints well.
const FAULT: Mono = Mono::from_millis(10_000);
const LENGTH_MS: u64 = 20_000;
/// Traffic after it: longer than the longest first ejection.
const AFTER_MS: u64 = 40_000;
const FLAP_MS: u64 = 2_000;

impl Scene {
    /// All scenes of the table.
    #[must_use]
    pub fn all() -> Vec<Self> {
        vec![
            Self::steady("one of three down", 3, 1, Fault::Down, LENGTH_MS),
            Self::steady("two of three down", 3, 2, Fault::Down, LENGTH_MS),
            Self::steady("one of four slow by 20 ×", 4, 1, Fault::Slow(20.0), LENGTH_MS),
            Self::flapping("half flap each 2 s", 4, 2),
            Self::steady("bad deploy on 40 %", 10, 4, Fault::Fails(1.0), LENGTH_MS),
            Self::steady("two of three fail half", 3, 2, Fault::Fails(0.5), LENGTH_MS),
            Self::steady("all in a black hole for 1 ms", 4, 4, Fault::BlackHole, 1),
            Self::steady("all in a black hole for 100 ms", 4, 4, Fault::BlackHole, 100),
            Self::steady("all in a black hole for 2 s", 4, 4, Fault::BlackHole, 2_000),
            Self::steady("all in a black hole for 8 s", 4, 4, Fault::BlackHole, 8_000),
            Self::steady("one of three in a black hole", 3, 1, Fault::BlackHole, LENGTH_MS),
            Self::steady("all down", 3, 3, Fault::Down, LENGTH_MS),
        ]
    }

    fn steady(name: &'static str, endpoints: usize, struck: usize, fault: Fault, length_ms: u64) -> Self {
        let recovery = Mono::from_millis(FAULT.as_millis() + length_ms);
        let strike = |endpoint| Strike { endpoint, fault, from: FAULT, until: recovery };
        let strikes = (0..struck).map(strike).collect();
        Self::new(name, endpoints, struck, strikes, struck < endpoints)
    }

    fn flapping(name: &'static str, endpoints: usize, struck: usize) -> Self {
        let starts = (FAULT.as_millis()..FAULT.as_millis() + LENGTH_MS).step_by(2 * FLAP_MS as usize);
        let strike = |from, endpoint| Strike {
            endpoint,
            fault: Fault::Down,
            from: Mono::from_millis(from),
            until: Mono::from_millis(from + FLAP_MS),
        };
        let strikes = starts.flat_map(|from| (0..struck).map(move |endpoint| strike(from, endpoint))).collect();
        Self::new(name, endpoints, struck, strikes, false)
    }

    fn new(name: &'static str, endpoints: usize, struck: usize, strikes: Vec<Strike>, can_leave: bool) -> Self {
        let recovery = strikes.iter().map(|strike| strike.until).max().unwrap_or(FAULT);
        let end = Mono::from_millis(recovery.as_millis() + AFTER_MS);
        Self { name, endpoints, struck, strikes, fault: FAULT, recovery, end, can_leave }
    }

    /// The same with a last fault that is over so much later. With one fixed length, timers of ten or thirty seconds would always meet
    /// the recovery at the same point, and the length would decide which rule looks quick.
    #[must_use]
    pub fn longer_by(mut self, more: Duration) -> Self {
        let later = |at: Mono| at.saturating_add(more);
        for strike in self.strikes.iter_mut().filter(|strike| strike.until == self.recovery) {
            strike.until = later(strike.until);
        }
        Self { recovery: later(self.recovery), end: later(self.end), ..self }
    }

    /// Whether it is long enough for timers to matter.
    #[must_use]
    pub fn is_long(&self) -> bool {
        self.recovery.saturating_since(self.fault) >= Duration::from_millis(LENGTH_MS)
    }

    /// What is wrong with an endpoint at this time.
    #[must_use]
    pub fn at(&self, endpoint: usize, now: Mono) -> Option<&Strike> {
        self.strikes.iter().find(|strike| strike.endpoint == endpoint && (strike.from..strike.until).contains(&now))
    }

    /// The first fault of an endpoint that begins within this time.
    #[must_use]
    pub fn within(&self, endpoint: usize, from: Mono, to: Mono) -> Option<&Strike> {
        self.strikes.iter().find(|strike| strike.endpoint == endpoint && strike.from > from && strike.from <= to)
    }
}
