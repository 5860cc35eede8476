//! How keys and members become numbers, and other small hash arithmetic that several policies share. Stable across processes and platforms: integers only, but for
//! [`score`], with a logarithm computed here and not by the platform's library.

use std::collections::BTreeMap;

use lb_core::Weight;

use crate::endpoint::affinity_of;
use crate::policy::Candidate;

/// A key as a number; the same in every process and release (rapidhash v3).
#[inline]
pub(crate) fn key_hash(key: &[u8]) -> u64 {
    rapidhash::v3::rapidhash_v3(key)
}

/// A number for every candidate by which hashes know it: that of its configured name, so that a container which comes back
/// under another address keeps its keys. If a name resolves to several addresses, each is known by name and address.
pub(crate) fn seeds(candidates: &[Candidate<'_>]) -> Vec<u64> {
    let mut bearers: BTreeMap<&str, u32> = BTreeMap::new();
    for candidate in candidates {
        *bearers.entry(&candidate.identity.name).or_default() += 1;
    }
    let seed = |candidate: &Candidate<'_>| {
        let identity = candidate.identity;
        let name = mix(affinity_of(&identity.name));
        let is_alone = bearers.get(&*identity.name).is_none_or(|&count| count == 1);
        if is_alone { name } else { mix(name ^ affinity_of(&identity.address)) }
    };
    candidates.iter().map(seed).collect()
}

/// Scatters the bits of a number (the finalizer of SplitMix64); a bijection.
pub(crate) const fn mix(n: u64) -> u64 {
    let n = (n ^ (n >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let n = (n ^ (n >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    n ^ (n >> 31)
}

/// A member's score for a key in weighted rendezvous hashing, from a hash of both: −weight ∕ ln(u) with u in (0, 1).
/// The highest score wins, with a probability of exactly weight ∕ total.
pub(crate) fn score(hash: u64, weight: Weight) -> f64 {
    f64::from(weight.value()) / -ln((hash >> 12) as f64 + 0.5)
}

/// ln(n ∕ 2⁵²) for n in (0, 2⁵²), by exact halving and the series of artanh; only +, −, × and ∕, which IEEE 754 rounds
/// the same way everywhere. Good to about 1e-13, relative.
fn ln(n: f64) -> f64 {
    let bits = n.to_bits();
    let exponent = ((bits >> 52) & 0x7ff) as i32 - 1_023;
    // The mantissa in [1, 2), moved to [√½, √2) so that the series converges fast.
    let mantissa = f64::from_bits(bits & ((1 << 52) - 1) | 1_023 << 52);
    let (mantissa, exponent) =
        if mantissa > std::f64::consts::SQRT_2 { (mantissa / 2.0, exponent + 1) } else { (mantissa, exponent) };
    let t = (mantissa - 1.0) / (mantissa + 1.0);
    let square = t * t;
    let mut sum = 0.0;
    for odd in [17, 15, 13, 11, 9, 7, 5, 3, 1] {
        sum = sum * square + 1.0 / f64::from(odd);
    }
    f64::from(exponent - 52) * std::f64::consts::LN_2 + 2.0 * t * sum
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ln_agrees_with_the_library() {
        for n in [0.5, 1.0, 1.5, 3.0, 1e6, 123_456_789.5, (1_u64 << 51) as f64, (1_u64 << 52) as f64 - 0.5] {
            let expected = (n / (1_u64 << 52) as f64).ln();
            assert!((ln(n) - expected).abs() <= 1e-12 * expected.abs().max(1e-3), "{n}: {} {expected}", ln(n));
        }
        assert!(score(u64::MAX, Weight::ONE).is_finite() && score(0, Weight::ONE) > 0.0);
    }

    #[test]
    fn scores_are_won_in_proportion_to_weight() {
        let weights = [1_u16, 2, 5];
        let mut won = [0_u32; 3];
        for key in 0..80_000_u64 {
            let best = (0..3).max_by(|&a, &b| {
                let of = |i: usize| score(mix(mix(key + 1) ^ mix(i as u64 + 1_000_003)), Weight::new(weights[i]));
                of(a).total_cmp(&of(b))
            });
            won[best.unwrap()] += 1;
        }
        // Expected 10 000, 20 000, 50 000; the standard deviation is at most √(80000·⅜·⅝) ≈ 137, and 700 five of them.
        for (won, weight) in won.iter().zip(weights) {
            assert!(won.abs_diff(u32::from(weight) * 10_000) < 700, "{won} for weight {weight}");
        }
    }
}
