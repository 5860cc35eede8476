//! Random draws in proportion to weight, in O(1).
//!
//! The simple answer, a binary search in the cumulative weights, costs log₂ n dependent loads. Vose's alias method
//! (1991) splits the total into n columns of equal size that hold at most two members each: one random number
//! chooses the column by its upper part and the member by its lower.

use crate::algorithms::turns::DRAWS;
use crate::cluster::view::View;
use crate::context::PickCx;
use crate::entropy::Entropy;
use crate::index::Index;
use crate::policy::Candidate;
use crate::witness::{Step, Witness};

/// 16 bytes a candidate.
#[derive(Debug)]
pub(crate) struct Alias {
    columns: Box<[Column]>,
}

#[derive(Clone, Copy, Debug)]
struct Column {
    own: Index,
    other: Index,
    /// The column's own share, as a fraction of 2⁶⁴.
    keep: u64,
}

impl Alias {
    /// Draws these in proportion to their weights.
    pub(crate) fn new(candidates: &[Candidate<'_>]) -> Self {
        let weighted: Vec<_> = candidates.iter().map(|c| (c.index, u64::from(c.weight.value()))).collect();
        Self::of(&weighted)
    }

    /// Draws these in proportion to weights of at most 2³²; those of weight zero never. O(n), in whole numbers.
    pub(crate) fn of(weighted: &[(Index, u64)]) -> Self {
        let total: u64 = weighted.iter().map(|&(_, weight)| weight).sum();
        if total == 0 {
            return Self { columns: Box::default() };
        }
        // Every column holds `total`, every member has n times its weight to put into columns.
        let n = weighted.len() as u64;
        let mut columns: Box<[Column]> =
            weighted.iter().map(|&(index, _)| Column { own: index, other: index, keep: u64::MAX }).collect();
        let mut left: Vec<u64> = weighted.iter().map(|&(_, weight)| weight * n).collect();
        let (mut small, mut large): (Vec<usize>, Vec<usize>) =
            (0..weighted.len()).partition(|&place| left.get(place).is_some_and(|&amount| amount < total));
        while let (Some(little), Some(&much)) = (small.pop(), large.last()) {
            let (Some(&amount), Some(&(giver, _))) = (left.get(little), weighted.get(much)) else { break };
            if let Some(column) = columns.get_mut(little) {
                column.other = giver;
                column.keep = ((u128::from(amount) << 64) / u128::from(total)) as u64;
            }
            if let Some(rest) = left.get_mut(much) {
                *rest -= total - amount;
                if *rest < total {
                    large.pop();
                    small.push(much);
                }
            }
        }
        Self { columns }
    }

    /// One of them; none if all weights are zero.
    #[inline]
    pub(crate) fn draw(&self, entropy: &mut Entropy) -> Option<Index> {
        let wide = u128::from(entropy.next_u64()) * self.columns.len() as u128;
        let column = self.columns.get((wide >> 64) as usize)?;
        Some(if (wide as u64) < column.keep { column.own } else { column.other })
    }

    /// One that is usable and not among `but`; none after a bounded number of draws.
    #[inline]
    pub(crate) fn draw_usable<W: Witness>(
        &self,
        view: &View<'_>,
        cx: &mut PickCx<'_, W>,
        but: &[Index],
    ) -> Option<Index> {
        for _ in 0..DRAWS {
            let index = self.draw(cx.entropy)?;
            cx.witness.note(|| Step::Draw { endpoint: index });
            if !but.contains(&index) && view.is_usable(index, cx) {
                return Some(index);
            }
        }
        None
    }

    /// Draws up to `choices` different usable ones, in the order drawn; fewer if so many are not found, and at most
    /// [`MAX_CHOICES`].
    #[inline]
    pub(crate) fn draw_distinct<W: Witness>(&self, choices: usize, view: &View<'_>, cx: &mut PickCx<'_, W>) -> Drawn {
        let mut drawn = Drawn { places: [Index::new(u32::MAX); MAX_CHOICES], len: 0 };
        while drawn.len < choices.min(self.columns.len()).min(MAX_CHOICES) {
            let Some(next) = self.draw_usable(view, cx, drawn.as_slice()) else { break };
            if let Some(slot) = drawn.places.get_mut(drawn.len) {
                *slot = next;
            }
            drawn.len += 1;
        }
        drawn
    }

    /// Draws `choices` different usable ones and keeps the lightest, the earlier drawn on a tie. `score` is what an explanation says of each.
    #[inline]
    pub(crate) fn lightest_of<W: Witness>(
        &self,
        choices: usize,
        view: &View<'_>,
        cx: &mut PickCx<'_, W>,
        of: &'static str,
        score: impl Fn(Index) -> f64,
        mut is_lighter: impl FnMut(Index, Index) -> bool,
    ) -> Option<Index> {
        let drawn = self.draw_distinct(choices, view, cx);
        for &endpoint in drawn.as_slice().iter().filter(|_| W::IS_DRY) {
            cx.witness.note(|| Step::Score { endpoint, of, score: score(endpoint) });
        }
        drawn.as_slice().iter().copied().reduce(|best, next| if is_lighter(next, best) { next } else { best })
    }
}

/// A few different endpoints.
pub(crate) struct Drawn {
    places: [Index; MAX_CHOICES],
    len: usize,
}

impl Drawn {
    pub(crate) fn as_slice(&self) -> &[Index] {
        self.places.get(..self.len).unwrap_or_default()
    }
}

/// For more choices than this, looking at every endpoint is cheaper.
pub(crate) const MAX_CHOICES: usize = 8;

#[cfg(test)]
mod tests {
    use super::*;

    /// The exact probability of each place, read off the columns.
    fn shares(weights: &[u64]) -> Vec<f64> {
        let weighted: Vec<_> = weights.iter().zip(0..).map(|(&w, place)| (Index::new(place), w)).collect();
        let alias = Alias::of(&weighted);
        let mut shares = vec![0.0; weights.len()];
        for column in &alias.columns {
            let keep = if column.own == column.other { 1.0 } else { column.keep as f64 / 2_f64.powi(64) };
            shares[column.own.get()] += keep / weights.len() as f64;
            shares[column.other.get()] += (1.0 - keep) / weights.len() as f64;
        }
        shares
    }

    #[test]
    fn the_columns_hold_exactly_the_weights() {
        let cases: [&[u64]; 6] =
            [&[1], &[1, 1], &[5, 1, 1], &[0, 3, 0, 1], &[65_535, 1, 1, 300], &[7, 6, 5, 4, 3, 2, 1]];
        for weights in cases {
            let total = weights.iter().sum::<u64>() as f64;
            for (share, &weight) in shares(weights).iter().zip(weights) {
                assert!((share - weight as f64 / total).abs() < 1e-12, "{weights:?}: {share}");
            }
        }
    }

    #[test]
    fn nothing_to_draw_is_none() {
        let mut entropy = Entropy::seeded(1);
        assert_eq!(Alias::of(&[]).draw(&mut entropy), None);
        assert_eq!(Alias::of(&[(Index::new(0), 0)]).draw(&mut entropy), None);
    }
}
