//! Instructions: what is counted, and what the counts are held to.
//!
//! Times decide whether code is fast; they cannot tell a slow change from a busy neighbour. The number of instructions hardly
//! depends on the machine, so it can be committed and held to: a change that makes a pick dearer shows at once, on a laptop
//! as in the gate. What it does not tell: cache misses, contention, waiting. Times have the last word.
//!
//! Valgrind counts what runs inside [`counted`] and writes one part of its report for each call.

use std::fmt::Write as _;

/// Runs this where valgrind counts: callgrind is told this function's name.
#[inline(never)]
pub fn counted(work: &mut dyn FnMut()) {
    work();
    // Not a tail call, after which this function would have been left before the work is done.
    std::hint::black_box(());
}

/// What callgrind calls [`counted`].
pub const COUNTED: &str = "lb_benches::counts::counted";

/// The instructions of each call of [`counted`], in turn, from callgrind's report in one file.
#[must_use]
pub fn parts(report: &str) -> Vec<u64> {
    // The last part is what came after the last call: nothing.
    let totals = report.lines().filter_map(|line| line.strip_prefix("summary: "));
    totals.filter_map(|total| total.trim().parse().ok()).filter(|&total| total > 0).collect()
}

/// A subject and its instructions per repetition.
pub type Count = (String, f64);

/// Counts as they are committed, a line each.
#[must_use]
pub fn write(counts: &[Count]) -> String {
    let mut out = String::new();
    for (name, count) in counts {
        let _ = writeln!(out, "{count:>12.1}  {name}");
    }
    out
}

/// Counts as they were committed; lines that are none are left out.
#[must_use]
pub fn read(text: &str) -> Vec<Count> {
    let line = |line: &str| {
        let (count, name) = line.trim().split_once("  ")?;
        Some((name.to_owned(), count.parse().ok()?))
    };
    text.lines().filter(|line| !line.starts_with('#')).filter_map(line).collect()
}

/// How a count stands to its reference.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Verdict {
    /// Within the tolerance.
    Kept,
    /// Fewer than the tolerance allows: time to renew the reference, lest the gain be lost unseen.
    Cheaper,
    /// More than the tolerance allows.
    Dearer,
    /// There is no reference.
    New,
}

/// Judges a count: a tenth more or less than the reference, and three instructions, are no matter.
///
/// Another release of the compiler moves counts by a few percent, and single instructions where there are few; what
/// a change costs that is worth a second look is more: a lock is 20, an allocation 100, a bounds check in a loop a fifth.
#[must_use]
pub fn judge(count: f64, reference: Option<f64>) -> Verdict {
    let Some(reference) = reference else { return Verdict::New };
    let slack = reference / 10.0 + 3.0;
    if count > reference + slack {
        Verdict::Dearer
    } else if count < reference - slack {
        Verdict::Cheaper
    } else {
        Verdict::Kept
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        let counts = vec![("p2c, 10 endpoints: pick".to_owned(), 41.5), ("parse".to_owned(), 2_000.0)];
        assert_eq!(read(&format!("# counts\n\n{}", write(&counts))), counts);
    }

    #[test]
    fn parts_are_the_calls_in_turn() {
        let report =
            "version: 1\npart: 1\nsummary: 120\nfn=(1)\n\ntotals: 120\npart: 2\nsummary: 70\npart: 3\nsummary: 0\n";
        assert_eq!(parts(report), [120, 70]);
    }

    #[test]
    fn a_tenth_and_three_instructions_are_no_matter() {
        assert_eq!(judge(112.0, Some(100.0)), Verdict::Kept);
        assert_eq!(judge(114.0, Some(100.0)), Verdict::Dearer);
        assert_eq!(judge(86.0, Some(100.0)), Verdict::Cheaper);
        assert_eq!(judge(13.0, Some(10.0)), Verdict::Kept);
        assert_eq!(judge(1.0, None), Verdict::New);
    }
}
