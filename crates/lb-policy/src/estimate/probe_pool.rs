//! Answers to probes, fresh enough to pick by (Prequal).
//!
//! A proxy that is one of many knows only its own requests. A probe asks an endpoint for what all of them sent there: how many
//! requests it has in flight, and how long such requests take at that load. Asking before every request would cost a round
//! trip; so answers are pooled and used a few times, and dropped when they are old, used up, or the worst of the lot: without that the
//! pool would fill with answers of no use.
//!
//! Source: Wydrowski et al., *Load is not what you should balance: Introducing Prequal* (NSDI 2024). This type sends nothing: it
//! returns how many probes to send, takes what they bring, and is owned by one worker. No allocation.

use std::time::Duration;

use lb_core::Mono;

use crate::entropy::Entropy;
use crate::identity::Uid;

/// What a probe brought.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Probe {
    /// Who answered.
    pub uid: Uid,
    /// Requests in flight there, from all its clients.
    pub in_flight: u32,
    /// How long requests take there at that many in flight.
    pub latency: Duration,
}

/// The constants of the method; the defaults are the paper's.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ProbeTuning {
    /// Probes a query, 0 to 16; fractions add up. Default 3.
    pub probes_per_query: f64,
    /// Answers dropped a query, besides those used up, 0 to 16; default 1.
    pub removals_per_query: f64,
    /// Answers kept, 2 to 16; default 16.
    pub capacity: usize,
    /// Older answers are dropped; default 1 s.
    pub max_age: Duration,
    /// How much more often answers are used than the pool could bear if nothing was dropped; default 1.
    pub reuse_surplus: f64,
}

impl Default for ProbeTuning {
    fn default() -> Self {
        Self {
            probes_per_query: 3.0,
            removals_per_query: 1.0,
            capacity: CAPACITY,
            max_age: Duration::from_secs(1),
            reuse_surplus: 1.0,
        }
    }
}

/// A worker's pool of answers. About 1 KiB, nothing on the heap.
#[derive(Clone, Debug)]
pub struct ProbePool {
    tuning: ProbeTuning,
    answers: [Answer; CAPACITY],
    len: usize,
    /// In-flight counts of the latest answers, round and round; what is hot is judged by them.
    seen: [u32; SEEN],
    seen_count: usize,
    probes_owed: f64,
    removals_owed: f64,
    remove_worst: bool,
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct Answer {
    pub(crate) uid: Uid,
    pub(crate) in_flight: u32,
    pub(crate) latency: Duration,
    at: Mono,
    uses_left: u32,
}

const CAPACITY: usize = 16;
const SEEN: usize = 64;
const MAX_USES: f64 = 64.0;

impl ProbePool {
    /// An empty pool; what of the tuning is out of range is brought into it.
    #[must_use]
    pub fn new(mut tuning: ProbeTuning) -> Self {
        let rate = |rate: f64| if rate.is_nan() { 0.0 } else { rate.clamp(0.0, CAPACITY as f64) };
        tuning.probes_per_query = rate(tuning.probes_per_query);
        tuning.removals_per_query = rate(tuning.removals_per_query);
        tuning.capacity = tuning.capacity.clamp(2, CAPACITY);
        let empty = Answer { uid: Uid::NONE, in_flight: 0, latency: Duration::ZERO, at: Mono::ZERO, uses_left: 0 };
        Self {
            tuning,
            answers: [empty; CAPACITY],
            len: 0,
            seen: [0; SEEN],
            seen_count: 0,
            probes_owed: 0.0,
            removals_owed: 0.0,
            remove_worst: false,
        }
    }

    /// A query comes: drops what is to be dropped and returns how many probes to send now, to endpoints drawn at random,
    /// all different. `quantile` is the policy's, see [`Prequal`](crate::Prequal).
    pub fn on_query(&mut self, quantile: f64, now: Mono) -> u32 {
        self.drop_stale(now);
        self.removals_owed += self.tuning.removals_per_query;
        while self.removals_owed >= 1.0 {
            self.removals_owed -= 1.0;
            let place = if self.remove_worst { self.worst(quantile) } else { self.oldest() };
            self.remove_worst = !self.remove_worst;
            self.remove(place);
        }
        self.probes_owed += self.tuning.probes_per_query;
        let due = self.probes_owed.floor();
        self.probes_owed -= due;
        due as u32
    }

    /// A probe was answered. `endpoints` is how many there are to be probed. A newer answer replaces an older one of the same
    /// endpoint; a full pool gives up its oldest.
    pub fn on_probe(&mut self, probe: Probe, endpoints: usize, entropy: &mut Entropy, now: Mono) {
        if let Some(place) = self.live().iter().position(|answer| answer.uid == probe.uid) {
            self.remove(Some(place));
        }
        if self.len >= self.tuning.capacity {
            self.remove(self.oldest());
        }
        let uses = self.uses(endpoints);
        let uses_left = uses as u32 + u32::from(entropy.unit() < uses.fract());
        if let Some(slot) = self.answers.get_mut(self.len) {
            *slot = Answer { uid: probe.uid, in_flight: probe.in_flight, latency: probe.latency, at: now, uses_left };
            self.len += 1;
        }
        if let Some(slot) = self.seen.get_mut(self.seen_count % SEEN) {
            *slot = probe.in_flight;
            self.seen_count += 1;
        }
    }

    /// Answers at hand, stale ones included until the next query.
    #[must_use]
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// More than this many in flight is hot: the quantile of what was seen lately.
    pub(crate) fn hot_above(&self, quantile: f64) -> u32 {
        let mut seen = self.seen;
        let len = self.seen_count.min(SEEN);
        let seen = seen.get_mut(..len).unwrap_or_default();
        seen.sort_unstable();
        let place = (quantile * len.saturating_sub(1) as f64) as usize;
        seen.get(place).copied().unwrap_or(0)
    }

    pub(crate) fn live(&self) -> &[Answer] {
        self.answers.get(..self.len).unwrap_or_default()
    }

    pub(crate) fn drop_stale(&mut self, now: Mono) {
        let mut place = 0;
        while let Some(answer) = self.live().get(place) {
            if answer.uses_left == 0 || now.saturating_since(answer.at) > self.tuning.max_age {
                self.remove(Some(place));
            } else {
                place += 1;
            }
        }
    }

    /// The answer in this place was picked by: it has one request more now, and one use less.
    pub(crate) fn on_use(&mut self, place: usize) {
        if let Some(answer) = self.answers.get_mut(place) {
            answer.in_flight = answer.in_flight.saturating_add(1);
            answer.uses_left = answer.uses_left.saturating_sub(1);
        }
    }

    /// b_reuse = max(1, (1 + δ) ∕ ((1 − m ∕ n) · r_probe − r_remove)).
    fn uses(&self, endpoints: usize) -> f64 {
        let spared = 1.0 - self.tuning.capacity as f64 / endpoints.max(1) as f64;
        let net = spared.max(0.0) * self.tuning.probes_per_query - self.tuning.removals_per_query;
        let uses = (1.0 + self.tuning.reuse_surplus) / net;
        // No net gain of answers at all: use them until they are old.
        if net <= 0.0 || uses.is_nan() { MAX_USES } else { uses.clamp(1.0, MAX_USES) }
    }

    fn oldest(&self) -> Option<usize> {
        let ages = self.live().iter().enumerate().map(|(place, answer)| (answer.at, place));
        ages.min().map(|(_, place)| place)
    }

    /// The hot one with most in flight; if none is hot, the slowest.
    fn worst(&self, quantile: f64) -> Option<usize> {
        let hot_above = self.hot_above(quantile);
        let rank = |answer: &Answer| {
            let hot = answer.in_flight > hot_above;
            (hot, if hot { u128::from(answer.in_flight) } else { answer.latency.as_nanos() })
        };
        let ranks = self.live().iter().enumerate().map(|(place, answer)| (rank(answer), place));
        ranks.max().map(|(_, place)| place)
    }

    fn remove(&mut self, place: Option<usize>) {
        if let Some(place) = place.filter(|&place| place < self.len) {
            self.len -= 1;
            self.answers.swap(place, self.len);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn probe(uid: u64, in_flight: u32, ms: u64) -> Probe {
        Probe { uid: Uid::new(uid), in_flight, latency: Duration::from_millis(ms) }
    }

    fn uids(pool: &ProbePool) -> Vec<u64> {
        let mut uids: Vec<_> = pool.live().iter().map(|answer| answer.uid.value()).collect();
        uids.sort_unstable();
        uids
    }

    #[test]
    fn fractions_of_probes_add_up() {
        let mut pool = ProbePool::new(ProbeTuning { probes_per_query: 0.4, ..ProbeTuning::default() });
        let sent: Vec<u32> = (0..5).map(|_| pool.on_query(0.84, Mono::ZERO)).collect();
        assert_eq!(sent, [0, 0, 1, 0, 1]);
    }

    #[test]
    fn uses_follow_the_formula_of_the_paper() {
        // n = 100: 2 ∕ (0.84·3 − 1) = 1.32; with one probe and a quarter of a removal 2 ∕ (0.84 − 0.25) = 3.39.
        let pool = ProbePool::new(ProbeTuning::default());
        assert!((pool.uses(100) - 1.3158).abs() < 1e-3);
        let tuning = ProbeTuning { probes_per_query: 1.0, removals_per_query: 0.25, ..ProbeTuning::default() };
        assert!((ProbePool::new(tuning).uses(100) - 3.3898).abs() < 1e-3);
        assert_eq!(pool.uses(3), MAX_USES, "fewer endpoints than answers: they last until they are old");
        assert_eq!(pool.uses(0), MAX_USES);
    }

    #[test]
    fn old_and_used_up_answers_go() {
        let mut pool = ProbePool::new(ProbeTuning { removals_per_query: 0.0, ..ProbeTuning::default() });
        let mut entropy = Entropy::seeded(1);
        pool.on_probe(probe(1, 0, 1), 1_000_000, &mut entropy, Mono::ZERO);
        pool.on_probe(probe(2, 0, 1), 1_000_000, &mut entropy, Mono::from_millis(900));
        pool.drop_stale(Mono::from_millis(1_001));
        assert_eq!(uids(&pool), [2]);
        // 2 ∕ 3 a use, at least one: the first use is the last.
        pool.on_use(0);
        pool.drop_stale(Mono::from_millis(1_001));
        assert!(pool.is_empty());
    }

    #[test]
    fn removals_take_the_oldest_and_the_worst_by_turns() {
        let mut pool = ProbePool::new(ProbeTuning::default());
        let mut entropy = Entropy::seeded(1);
        for (n, (in_flight, ms)) in [(5, 1), (1, 80), (9, 1), (2, 30)].into_iter().enumerate() {
            pool.on_probe(probe(n as u64 + 1, in_flight, ms), 100, &mut entropy, Mono::from_millis(n as u64));
        }
        // In flight 1, 2, 5, 9: place ⌊0.84·3⌋ = 2 of them is 5, so only 9 is hot.
        assert_eq!(pool.hot_above(0.84), 5);
        pool.on_query(0.84, Mono::from_millis(4));
        assert_eq!(uids(&pool), [2, 3, 4], "the oldest");
        pool.on_query(0.84, Mono::from_millis(4));
        assert_eq!(uids(&pool), [2, 4], "the hot one");
        pool.on_query(0.84, Mono::from_millis(4));
        assert_eq!(uids(&pool), [4], "the oldest");
    }

    #[test]
    fn it_holds_one_answer_an_endpoint_and_no_more_than_its_capacity() {
        let mut pool = ProbePool::new(ProbeTuning::default());
        let mut entropy = Entropy::seeded(1);
        for n in 0..40 {
            pool.on_probe(probe(1 + n % 20, 0, 1), 20, &mut entropy, Mono::from_millis(n));
        }
        assert_eq!(pool.len(), CAPACITY);
        let uids = uids(&pool);
        assert!(uids.windows(2).all(|pair| pair[0] != pair[1]), "{uids:?}");
    }

    #[test]
    fn an_empty_pool_has_nothing_to_remove() {
        let mut pool =
            ProbePool::new(ProbeTuning { capacity: 0, probes_per_query: f64::NAN, ..ProbeTuning::default() });
        assert_eq!(pool.on_query(0.84, Mono::ZERO), 0);
        assert_eq!(pool.hot_above(0.84), 0);
    }
}
