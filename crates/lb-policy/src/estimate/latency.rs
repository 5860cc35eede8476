//! How an endpoint's latency is learned: one 64-bit word an estimate, no lock.
//!
//! The simple answer, an average of response times, fails twice. It is slow to see an endpoint turn bad, and it takes
//! an endpoint that refuses everything at once for the fastest of all. So the estimate jumps up to any sample above
//! it and only comes down gradually (peak EWMA, after Finagle), and a failure counts as a penalty of seconds, never
//! as the time it took (linkerd's rule). What was cancelled counts only if it had already waited longer than the
//! estimate.
//!
//! A word holds the estimate in milliseconds (`f32`, upper half) and when it was made (milliseconds of the caller's
//! clock, modulo 2³²). Zero means that nothing was learned. Updates are one compare-and-swap loop.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use lb_core::{Class, EndpointState, Mono};

use crate::signals::{Learning, Signals};

/// How long an answer may take, in milliseconds, before a longer vain wait is evidence against an endpoint without
/// samples; linkerd's default.
const PRESUMED_MS: f32 = 30.0;

/// The latency sample of a finished attempt.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Sample {
    /// It answered after this long.
    Answered(Duration),
    /// It failed after this long.
    Failed(Duration),
    /// It was abandoned after this long.
    Abandoned(Duration),
}

impl Sample {
    pub(crate) fn of(class: Class, took: Duration) -> Self {
        match class {
            // An endpoint that asks for less answers fast, and is not.
            Class::Cancelled | Class::Busy(_) => Self::Abandoned(took),
            _ if class.is_failure() => Self::Failed(took),
            _ => Self::Answered(took),
        }
    }
}

/// How a cluster's tickets sample latency, packed so that a pick reads it in one load. Zero: nothing.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct LatencySampler(u64);

impl LatencySampler {
    pub(crate) const fn new(signals: Signals, learning: Learning) -> Self {
        let what = signals.bits() & (Signals::LATENCY.bits() | Signals::AVERAGE.bits());
        let decay = if learning.decay_ms > 0xff_ffff { 0xff_ffff } else { learning.decay_ms };
        Self(if what == 0 { 0 } else { (what as u64) << 56 | (decay as u64) << 32 | learning.penalty_ms as u64 })
    }

    pub(crate) const fn from_bits(bits: u64) -> Self {
        Self(bits)
    }

    pub(crate) const fn bits(self) -> u64 {
        self.0
    }

    /// This and what was sampled before; decay and penalty are of the newer.
    pub(crate) const fn over(self, older: Self) -> Self {
        if self.0 == 0 { older } else { Self(self.0 | older.0 & (0xff << 56)) }
    }

    pub(crate) fn apply(self, state: &EndpointState, sample: Sample, now: Mono) {
        if self.0 == 0 {
            return;
        }
        let decay_ms = ((self.0 >> 32) & 0xff_ffff) as f32;
        let penalty_ms = (self.0 & 0xffff_ffff) as f32;
        if (self.0 >> 56) as u8 & Signals::LATENCY.bits() != 0 {
            update(state.latency_cell(), now, |old| peak(old, sample, decay_ms, penalty_ms));
        }
        if (self.0 >> 56) as u8 & Signals::AVERAGE.bits() != 0 {
            update(state.average_cell(), now, |old| average(old, sample, penalty_ms));
        }
    }
}

/// An estimate and its age.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Estimate {
    pub(crate) ms: f32,
    pub(crate) age_ms: u32,
}

/// Reads a cell; none if nothing was learned. An estimate from the future is of age zero.
#[inline]
pub(crate) fn read(cell: &AtomicU64, now: Mono) -> Option<Estimate> {
    decode(cell.load(Ordering::Relaxed), now)
}

/// e^(−`age_ms` ∕ `decay_ms`): how much an estimate of this age still weighs.
#[inline]
pub(crate) fn remains(age_ms: u32, decay_ms: f32) -> f32 {
    if age_ms == 0 {
        1.0
    } else if decay_ms <= 0.0 {
        0.0
    } else {
        e_to_minus(age_ms as f32 / decay_ms)
    }
}

/// e^(−x) for x ≥ 0, good to a millionth: whole halvings by the exponent, the rest of one by a polynomial (interpolation at Chebyshev's
/// points, 1e-7 off at most). The library's `exp` takes several times as long, and a pick needs two.
#[inline]
fn e_to_minus(x: f32) -> f32 {
    let halvings = x * std::f32::consts::LOG2_E;
    if halvings >= 126.0 {
        return 0.0;
    }
    let whole = halvings as u32;
    let part = halvings - whole as f32;
    let rest = HALVING.iter().rev().fold(0.0, |sum, factor| sum * part + factor);
    rest * f32::from_bits((127 - whole) << 23)
}

/// 2^(−p) for p from 0 to 1, by ascending powers of p.
const HALVING: [f32; 6] = [0.999_999_94, -0.693_143_1, 0.240_178_96, -0.055_298_12, 0.009_209_18, -0.000_946_877];

fn decode(word: u64, now: Mono) -> Option<Estimate> {
    if word == 0 {
        return None;
    }
    let age = (now.as_millis() as u32).wrapping_sub(word as u32);
    // The upper half of the circle is a time that went backwards, not an age of 24 days and more.
    Some(Estimate { ms: f32::from_bits((word >> 32) as u32), age_ms: if age > i32::MAX as u32 { 0 } else { age } })
}

fn encode(ms: f32, now: Mono) -> u64 {
    // At least a microsecond, so that no estimate is the word zero; at most a day, so that products stay finite.
    u64::from(ms.clamp(0.001, 86_400_000.0).to_bits()) << 32 | now.as_millis() & 0xffff_ffff
}

fn update(cell: &AtomicU64, now: Mono, next: impl Fn(Option<Estimate>) -> Option<f32>) {
    let _ = cell
        .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |word| next(decode(word, now)).map(|ms| encode(ms, now)));
}

fn peak(old: Option<Estimate>, sample: Sample, decay_ms: f32, penalty_ms: f32) -> Option<f32> {
    match (old, sample) {
        (_, Sample::Abandoned(took)) => abandoned(old, took),
        (None, Sample::Failed(took)) => Some(penalty_ms.max(millis(took))),
        (Some(old), Sample::Failed(took)) => Some(penalty_ms.max(millis(took)).max(old.ms)),
        (None, Sample::Answered(took)) => Some(millis(took)),
        (Some(old), Sample::Answered(took)) => {
            let took = millis(took);
            let kept = remains(old.age_ms, decay_ms);
            Some(if took > old.ms { took } else { old.ms * kept + took * (1.0 - kept) })
        }
    }
}

/// It teaches only if it had waited longer than was to be expected.
fn abandoned(old: Option<Estimate>, took: Duration) -> Option<f32> {
    let expected = old.map_or(PRESUMED_MS, |old| old.ms);
    (millis(took) > expected).then(|| millis(took))
}

/// nginx's `least_time` average: 0.95 of the old, 0.05 of the new; without its rounding to whole milliseconds.
fn average(old: Option<Estimate>, sample: Sample, penalty_ms: f32) -> Option<f32> {
    let took = match sample {
        Sample::Answered(took) => millis(took),
        Sample::Failed(took) => penalty_ms.max(millis(took)),
        Sample::Abandoned(took) => abandoned(old, took)?,
    };
    Some(old.map_or(took, |old| 0.05 * took + 0.95 * old.ms))
}

fn millis(span: Duration) -> f32 {
    span.as_secs_f32() * 1_000.0
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ms(n: u64) -> Duration {
        Duration::from_millis(n)
    }

    fn sampler(cell: &AtomicU64, sample: Sample, now: u64) -> f32 {
        update(cell, Mono::from_millis(now), |old| peak(old, sample, 10_000.0, 5_000.0));
        read(cell, Mono::from_millis(now)).unwrap().ms
    }

    #[test]
    fn it_jumps_up_and_comes_down_gradually() {
        let cell = AtomicU64::new(0);
        assert_eq!(read(&cell, Mono::ZERO), None);
        assert_eq!(sampler(&cell, Sample::Answered(ms(10)), 0), 10.0);
        assert_eq!(sampler(&cell, Sample::Answered(ms(100)), 5), 100.0);
        // One decay time later the old weighs 1/e: 100/e + 10·(1 − 1/e) = 43.11.
        let after = sampler(&cell, Sample::Answered(ms(10)), 10_005);
        assert!((after - 43.11).abs() < 0.01, "{after}");
    }

    #[test]
    fn what_remains_is_the_exponential() {
        for age_ms in (0..200_000).step_by(37) {
            let exact = (-f64::from(age_ms) / 10_000.0).exp();
            let off = (f64::from(remains(age_ms, 10_000.0)) / exact - 1.0).abs();
            // One rounding of the exponent, up to 29 halvings, is 29·2⁻²⁴·ln 2 = 1.2e-6 of the value.
            assert!(off < 2e-6, "{age_ms}: {off}");
        }
        assert_eq!((remains(0, 10_000.0), remains(u32::MAX, 1.0), remains(1, 0.0)), (1.0, 0.0, 0.0));
        assert!(
            (1..2_000_000).step_by(501).all(|age| remains(age + 500, 10_000.0) <= remains(age, 10_000.0)),
            "it falls"
        );
    }

    #[test]
    fn a_failure_never_looks_fast() {
        let cell = AtomicU64::new(0);
        assert_eq!(sampler(&cell, Sample::Failed(ms(1)), 0), 5_000.0);
        assert_eq!(sampler(&cell, Sample::Failed(ms(7_000)), 1), 7_000.0);
        assert_eq!(sampler(&cell, Sample::Failed(ms(1)), 2), 7_000.0, "not even faster than it was");
    }

    #[test]
    fn what_was_abandoned_counts_only_if_it_was_slow() {
        let cell = AtomicU64::new(0);
        assert_eq!(sampler(&cell, Sample::Answered(ms(50)), 0), 50.0);
        assert_eq!(sampler(&cell, Sample::Abandoned(ms(1)), 20_000), 50.0);
        assert_eq!(sampler(&cell, Sample::Abandoned(ms(80)), 20_000), 80.0);
    }

    #[test]
    fn of_an_unknown_endpoint_30_ms_are_expected() {
        let cell = AtomicU64::new(0);
        update(&cell, Mono::ZERO, |old| peak(old, Sample::Abandoned(ms(29)), 10_000.0, 5_000.0));
        assert_eq!(read(&cell, Mono::ZERO), None, "what was given up at once must not look fast");
        assert_eq!(sampler(&cell, Sample::Abandoned(ms(900)), 0), 900.0, "nor a black hole unknown for ever");
    }

    #[test]
    fn time_backwards_is_age_zero_and_the_clock_may_wrap() {
        let cell = AtomicU64::new(0);
        sampler(&cell, Sample::Answered(ms(50)), 10_000);
        assert_eq!(read(&cell, Mono::from_millis(9_000)).unwrap().age_ms, 0);
        let wrap = 1_u64 << 32;
        let cell = AtomicU64::new(0);
        sampler(&cell, Sample::Answered(ms(50)), wrap - 5);
        assert_eq!(read(&cell, Mono::from_millis(wrap + 5)).unwrap().age_ms, 10);
    }

    #[test]
    fn a_zero_sample_is_still_something_learned() {
        let cell = AtomicU64::new(0);
        sampler(&cell, Sample::Answered(Duration::ZERO), 0);
        assert!(read(&cell, Mono::ZERO).is_some());
    }

    #[test]
    fn a_later_teacher_adds_to_an_earlier_one() {
        let peak = LatencySampler::new(Signals::LATENCY, Learning::DEFAULT);
        let plain = LatencySampler::new(Signals::AVERAGE, Learning { decay_ms: 1, penalty_ms: 2 });
        let both = plain.over(peak);
        let state = EndpointState::new(lb_core::InFlightLimit::NONE);
        both.apply(&state, Sample::Failed(ms(1)), Mono::ZERO);
        assert_eq!(read(state.latency_cell(), Mono::ZERO).unwrap().ms, 2.0);
        assert_eq!(read(state.average_cell(), Mono::ZERO).unwrap().ms, 2.0);
        assert_eq!(LatencySampler::new(Signals::ENTROPY, Learning::DEFAULT).bits(), 0);
        assert_eq!(LatencySampler::default().over(both).bits(), both.bits());
    }
}
