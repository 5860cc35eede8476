//! Figures from several seeds.

/// The mean over independent runs, and how far off it may be.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Estimate {
    /// The mean of the runs.
    pub mean: f64,
    /// Half the width of the 95 % confidence interval (Student); zero for a single run or an exact figure.
    pub half_width: f64,
}

impl Estimate {
    /// A figure that does not depend on chance.
    #[must_use]
    pub const fn exact(value: f64) -> Self {
        Self { mean: value, half_width: 0.0 }
    }

    /// From one figure a run; zero if there is none.
    #[must_use]
    pub fn of(runs: &[f64]) -> Self {
        let n = runs.len() as f64;
        if runs.is_empty() {
            return Self::exact(0.0);
        }
        let mean = runs.iter().sum::<f64>() / n;
        if runs.len() == 1 {
            return Self::exact(mean);
        }
        let variance = runs.iter().map(|run| (run - mean).powi(2)).sum::<f64>() / (n - 1.0);
        Self { mean, half_width: student(runs.len() - 1) * (variance / n).sqrt() }
    }
}

/// The 97.5 % quantile of Student's distribution.
fn student(freedom: usize) -> f64 {
    const TABLE: [f64; 30] = [
        12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228, 2.201, 2.179, 2.160, 2.145, 2.131,
        2.120, 2.110, 2.101, 2.093, 2.086, 2.080, 2.074, 2.069, 2.064, 2.060, 2.056, 2.052, 2.048, 2.045, 2.042,
    ];
    TABLE.get(freedom.saturating_sub(1)).copied().unwrap_or(1.96)
}

/// How much to compute.
#[derive(Clone, Copy, Debug)]
pub struct Effort {
    /// Independent runs; ten or more for figures that are shown to others.
    pub seeds: u64,
    /// Fewer cases and shorter runs, for a check on every change; the tolerances stay.
    pub quick: bool,
    /// Runs at a time. Has no influence on the figures.
    pub threads: usize,
}

impl Effort {
    /// Ten seeds in full on two threads.
    pub const FULL: Self = Self { seeds: 10, quick: false, threads: 2 };

    /// This while quick, that otherwise.
    #[must_use]
    pub fn pick<V>(&self, quick: V, full: V) -> V {
        if self.quick { quick } else { full }
    }

    /// Makes one run for each seed and gives back what they found, in the order of the seeds. A run that panics
    /// takes the whole with it.
    pub fn run<R: Send>(&self, run: impl Fn(crate::Seed) -> R + Sync) -> Vec<R> {
        let next = std::sync::atomic::AtomicU64::new(0);
        let work = || {
            let mut found = Vec::new();
            loop {
                let number = next.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
                if number >= self.seeds {
                    return found;
                }
                found.push((number, run(crate::Seed::new(number))));
            }
        };
        let mut found = std::thread::scope(|scope| {
            let others: Vec<_> = (1..self.threads).map(|_| scope.spawn(work)).collect();
            let mut found = work();
            for other in others {
                match other.join() {
                    Ok(more) => found.extend(more),
                    Err(panic) => std::panic::resume_unwind(panic),
                }
            }
            found
        });
        found.sort_unstable_by_key(|&(number, _)| number);
        found.into_iter().map(|(_, result)| result).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_interval_is_students() {
        let estimate = Estimate::of(&[9.0, 10.0, 11.0]);
        assert!((estimate.mean - 10.0).abs() < 1e-12);
        // s = 1, n = 3, t(2) = 4.303: 4.303/√3.
        assert!((estimate.half_width - 2.4843).abs() < 1e-3);
        assert_eq!(Estimate::of(&[]), Estimate::exact(0.0));
        assert_eq!(Estimate::of(&[7.0]), Estimate::exact(7.0));
    }

    #[test]
    fn results_come_in_the_order_of_the_seeds_whatever_the_threads() {
        let draw = |seed: crate::Seed| seed.stream().below(1_000_000);
        let on = |threads| Effort { seeds: 9, quick: true, threads }.run(draw);
        assert_eq!(on(1), on(4));
        assert_eq!(on(1).len(), 9);
    }
}
