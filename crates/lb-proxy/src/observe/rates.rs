//! Rates and response times of the last seconds, from counters that only grow.
//!
//! What a counter says since the start of the process hides what happens now. So the counters are read every ten
//! seconds, and the page shows what was added since the reading before the last one: the last ten to twenty seconds, or
//! less after a start. Two readings are kept, whatever is asked.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use lb_core::Mono;
use lb_policy::Uid;

use super::cells::Histogram;
use super::status::ResponseTimes;

/// Counters at one moment.
#[derive(Debug, Default)]
pub(crate) struct Reading {
    /// Requests and their durations, by listener.
    pub(crate) listeners: HashMap<Arc<str>, Histogram>,
    /// Response heads and how long they took, by cluster and configured address.
    pub(crate) endpoints: HashMap<(Arc<str>, Arc<str>), Histogram>,
    /// Attempts, by cluster and endpoint.
    pub(crate) attempts: HashMap<(Arc<str>, Uid), u64>,
}

/// The last two readings.
#[derive(Debug, Default)]
pub(crate) struct Rates {
    before: Option<(Mono, Reading)>,
    last: Option<(Mono, Reading)>,
}

/// What was added to a reading, and in which time.
pub(crate) struct Since<'a> {
    earlier: Option<&'a Reading>,
    span: Duration,
}

const INTERVAL: Duration = Duration::from_secs(10);
/// A shorter time says nothing of a rate.
const MIN_SPAN: Duration = Duration::from_millis(100);

impl Rates {
    /// Whether it is time for another reading.
    pub(crate) fn is_due(&self, now: Mono) -> bool {
        self.last.as_ref().is_none_or(|(at, _)| now.saturating_since(*at) >= INTERVAL)
    }

    /// Takes a reading.
    pub(crate) fn take(&mut self, now: Mono, reading: Reading) {
        self.before = self.last.replace((now, reading));
    }

    /// What to compare the counters of now with.
    pub(crate) fn since(&self, now: Mono) -> Since<'_> {
        let earlier = self.before.as_ref().or(self.last.as_ref());
        let span = earlier.map_or(Duration::ZERO, |(at, _)| now.saturating_since(*at));
        Since { earlier: earlier.map(|(_, reading)| reading), span }
    }
}

impl Since<'_> {
    /// So many a second, to two decimals; zero where too little time has passed.
    pub(crate) fn rate(&self, added: u64) -> f64 {
        if self.span < MIN_SPAN {
            return 0.0;
        }
        (added as f64 / self.span.as_secs_f64() * 100.0).round() / 100.0
    }

    /// What a listener added.
    pub(crate) fn listener(&self, name: &Arc<str>, now: &Histogram) -> Histogram {
        now.since(self.earlier.and_then(|earlier| earlier.listeners.get(name)))
    }

    /// What an endpoint added.
    pub(crate) fn endpoint(&self, key: &(Arc<str>, Arc<str>), now: &Histogram) -> Histogram {
        now.since(self.earlier.and_then(|earlier| earlier.endpoints.get(key)))
    }

    /// Attempts that were added.
    pub(crate) fn attempts(&self, key: &(Arc<str>, Uid), now: u64) -> u64 {
        // One that came since the reading began at zero.
        let earlier = self.earlier.and_then(|earlier| earlier.attempts.get(key)).copied();
        now.saturating_sub(earlier.unwrap_or(0))
    }
}

impl ResponseTimes {
    /// Of a histogram; `None` if it is empty.
    pub(crate) fn of(histogram: &Histogram) -> Option<Self> {
        Some(Self { p50_ms: histogram.quantile_ms(0.5)?, p99_ms: histogram.quantile_ms(0.99)? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::observe::cells::{Durations, Sharded};

    #[test]
    fn what_is_shown_is_of_the_last_ten_to_twenty_seconds() {
        let web: Arc<str> = "web".into();
        let durations = Sharded::<Durations>::new(1);
        let reading =
            || Reading { listeners: HashMap::from([(Arc::clone(&web), durations.read())]), ..Reading::default() };
        let observe =
            |millis: &[u64]| millis.iter().for_each(|&ms| durations.mine().observe(Duration::from_millis(ms)));
        let mut rates = Rates::default();
        let second = Mono::from_millis;
        assert!(rates.is_due(second(0)));
        assert_eq!(rates.since(second(0)).rate(5), 0.0, "nothing to compare with");
        rates.take(second(0), reading());
        observe(&[900; 40]);
        assert!(!rates.is_due(second(9_999)) && rates.is_due(second(10_000)));
        let added = |rates: &Rates, ms: u64| {
            let since = rates.since(second(ms));
            let added = since.listener(&web, &durations.read());
            (since.rate(added.count), ResponseTimes::of(&added))
        };
        // Between 500 and 1000 ms, interpolated: the middle, and 99 hundredths of the way.
        assert_eq!(added(&rates, 4_000), (10.0, Some(ResponseTimes { p50_ms: 750.0, p99_ms: 995.0 })));
        rates.take(second(10_000), reading());
        assert_eq!(added(&rates, 10_000).0, 4.0, "still since the start");
        rates.take(second(20_000), reading());
        assert_eq!(added(&rates, 20_000), (0.0, None), "what is older is forgotten");
        observe(&[1; 3]);
        assert_eq!(added(&rates, 25_000), (0.2, Some(ResponseTimes { p50_ms: 0.75, p99_ms: 0.995 })));
    }
}
