//! Parts of a span, by chance.

use std::time::Duration;

/// `whole · entropy / 2⁶⁴`; a `Duration` in nanoseconds has 94 bits, of which the last 32 do not matter.
pub(crate) fn part(whole: u128, entropy: u64) -> u128 {
    (((whole >> 32) * u128::from(entropy)) >> 32) + (((whole & 0xffff_ffff) * u128::from(entropy)) >> 64)
}

/// So many nanoseconds, at most the longest span there is. (`Duration::from_nanos_u128` is younger than the oldest compiler.)
pub(crate) fn span_of(nanos: u128) -> Duration {
    let seconds = u64::try_from(nanos / 1_000_000_000);
    seconds.map_or(Duration::MAX, |seconds| Duration::new(seconds, (nanos % 1_000_000_000) as u32))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_span_has_all_its_nanoseconds_and_an_end() {
        assert_eq!(span_of(0), Duration::ZERO);
        assert_eq!(span_of(3_000_000_007), Duration::new(3, 7));
        assert_eq!(span_of(Duration::MAX.as_nanos()), Duration::MAX);
        assert_eq!(span_of(Duration::MAX.as_nanos() + 1), Duration::MAX);
        assert_eq!(span_of(u128::MAX), Duration::MAX);
    }
}
