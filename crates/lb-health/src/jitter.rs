//! Parts of a span, by chance.

/// `whole · entropy / 2⁶⁴`; a `Duration` in nanoseconds has 94 bits, of which the last 32 do not matter.
pub(crate) fn part(whole: u128, entropy: u64) -> u128 {
    (((whole >> 32) * u128::from(entropy)) >> 32) + (((whole & 0xffff_ffff) * u128::from(entropy)) >> 64)
}
