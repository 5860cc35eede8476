//! Random numbers that can be split.
//!
//! If all entities drew from one generator, one draw more by a policy would shift every number after it, and two
//! policies could not be compared under the same traffic. So seeds form a tree: every entity takes a child of its own and draws from that.

use std::time::Duration;

use lb_core::Mono;
use lb_policy::Entropy;

/// A node of the tree of seeds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Seed(u64);

impl Seed {
    /// A root; any number is as good as another.
    #[must_use]
    pub const fn new(number: u64) -> Self {
        Self(scatter(number))
    }

    /// The child of this number, unrelated to its siblings and to its parent.
    #[must_use]
    pub const fn child(self, number: u64) -> Self {
        Self(scatter(self.0 ^ scatter(number.wrapping_add(0x9e37_79b9_7f4a_7c15))))
    }

    /// Draws for a simulated entity.
    #[must_use]
    pub const fn stream(self) -> Stream {
        Stream(Entropy::seeded(self.0))
    }

    /// Draws for a policy.
    #[must_use]
    pub const fn entropy(self) -> Entropy {
        Entropy::seeded(self.0)
    }
}

/// The finalizer of SplitMix64; a bijection.
const fn scatter(n: u64) -> u64 {
    let n = (n ^ (n >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let n = (n ^ (n >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    n ^ (n >> 31)
}

/// One entity's random numbers.
#[derive(Clone, Debug)]
pub struct Stream(Entropy);

impl Stream {
    /// A number in (0, 1].
    pub fn unit(&mut self) -> f64 {
        1.0 - self.0.unit()
    }

    /// A whole number below `bound`; zero if that is zero.
    pub fn below(&mut self, bound: u64) -> u64 {
        self.0.below(bound)
    }

    /// Exponential with this mean.
    pub fn exponential(&mut self, mean: f64) -> f64 {
        -self.unit().ln() * mean
    }

    /// Normal with this mean and standard deviation (Box and Muller).
    pub fn normal(&mut self, mean: f64, deviation: f64) -> f64 {
        let radius = (-2.0 * self.unit().ln()).sqrt();
        mean + deviation * radius * (std::f64::consts::TAU * self.unit()).cos()
    }

    /// Brings a list into random order (Fisher and Yates).
    pub fn shuffle<T>(&mut self, list: &mut [T]) {
        for last in (1..list.len()).rev() {
            list.swap(last, self.below(last as u64 + 1) as usize);
        }
    }
}

/// The instant this many seconds after `now`, rounded down to a nanosecond; `now` itself if they are negative or no number.
#[must_use]
pub fn later(now: Mono, seconds: f64) -> Mono {
    // The cast saturates and takes what is no number for zero.
    now.saturating_add(Duration::from_nanos((seconds * 1e9) as u64))
}

#[cfg(test)]
mod tests {
    use super::*;

    const DRAWS: u32 = 40_000;

    fn mean_and_variance(mut draw: impl FnMut() -> f64) -> (f64, f64) {
        let values: Vec<f64> = (0..DRAWS).map(|_| draw()).collect();
        let mean = values.iter().sum::<f64>() / f64::from(DRAWS);
        let variance = values.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / f64::from(DRAWS);
        (mean, variance)
    }

    #[test]
    fn children_are_repeatable_and_unlike_each_other() {
        let root = Seed::new(1);
        assert_eq!(root.child(3), Seed::new(1).child(3));
        let mut seen: Vec<u64> = (0..1_000).map(|n| root.child(n).0).chain([root.0, Seed::new(2).child(0).0]).collect();
        seen.sort_unstable();
        seen.dedup();
        assert_eq!(seen.len(), 1_002);
    }

    #[test]
    fn siblings_do_not_correlate() {
        let (mut a, mut b) = (Seed::new(9).child(0).stream(), Seed::new(9).child(1).stream());
        // The product of two independent uniform numbers has mean 1/4 and variance 1/9 − 1/16 ≈ 0.0486.
        let (mean, _) = mean_and_variance(|| a.unit() * b.unit());
        assert!((mean - 0.25).abs() < 5.0 * (0.0486 / f64::from(DRAWS)).sqrt(), "{mean}");
    }

    #[test]
    fn distributions_have_their_moments() {
        let mut stream = Seed::new(4).stream();
        // Five standard errors: of the mean σ/√n; of the variance σ²·√((kurtosis − 1)/n), kurtosis 9 and 3.
        let n = f64::from(DRAWS).sqrt();
        let (mean, variance) = mean_and_variance(|| stream.exponential(2.0));
        assert!((mean - 2.0).abs() < 5.0 * 2.0 / n && (variance - 4.0).abs() < 5.0 * 4.0 * 8_f64.sqrt() / n);
        let (mean, variance) = mean_and_variance(|| stream.normal(167.0, 5.0));
        assert!((mean - 167.0).abs() < 5.0 * 5.0 / n && (variance - 25.0).abs() < 5.0 * 25.0 * 2_f64.sqrt() / n);
    }

    #[test]
    fn a_shuffle_keeps_all_and_moves_each_anywhere() {
        let mut stream = Seed::new(5).stream();
        let mut first = [0_u32; 4];
        for _ in 0..4_000 {
            let mut list = [0, 1, 2, 3];
            stream.shuffle(&mut list);
            first[list[0]] += 1;
            list.sort_unstable();
            assert_eq!(list, [0, 1, 2, 3]);
        }
        // σ = √(4000·¼·¾) ≈ 27.
        assert!(first.iter().all(|n| n.abs_diff(1_000) < 140), "{first:?}");
        stream.shuffle::<u8>(&mut []);
    }

    #[test]
    fn time_never_goes_back() {
        let now = Mono::from_millis(5);
        assert_eq!(later(now, 0.001), Mono::from_millis(6));
        assert_eq!([later(now, -1.0), later(now, f64::NAN)], [now, now]);
        assert_eq!(later(now, f64::INFINITY), Mono::MAX);
    }
}
