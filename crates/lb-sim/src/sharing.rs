//! An endpoint whose requests share its processors.

use std::collections::BTreeMap;

use lb_core::Mono;

use crate::seed::later;

/// Processor sharing (model S2; S3 when the capacity changes): all jobs run at once at the same speed, no job faster than one core. Work is
/// in core seconds. O(log n) a step: what every job has received since the beginning is one number, and a job ends when that has
/// grown by its work.
#[derive(Debug)]
pub struct Sharing<J> {
    cores: f64,
    /// Core seconds that a job present from the beginning would have received.
    received: f64,
    /// Core seconds spent on all jobs.
    spent: f64,
    at: Mono,
    jobs: BTreeMap<Place, J>,
    admitted: u64,
}

/// A job's place at an endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// The bits of `received` at which it ends; of numbers that are not negative these are in the order of the numbers.
    ends: u64,
    number: u64,
}

impl<J> Sharing<J> {
    /// An idle endpoint of this many cores, above zero.
    #[must_use]
    pub fn new(cores: f64) -> Self {
        Self { cores, received: 0.0, spent: 0.0, at: Mono::ZERO, jobs: BTreeMap::new(), admitted: 0 }
    }

    /// A job that needs `work` core seconds comes.
    pub fn arrive(&mut self, job: J, work: f64, now: Mono) -> Place {
        self.advance(now);
        self.admitted += 1;
        let place = Place { ends: (self.received + work.max(0.0)).to_bits(), number: self.admitted };
        self.jobs.insert(place, job);
        place
    }

    /// A job is broken off; none if it is not here.
    pub fn cancel(&mut self, place: Place, now: Mono) -> Option<J> {
        self.advance(now);
        self.jobs.remove(&place)
    }

    /// Takes a job that has got all its work by now; call until there is none.
    pub fn finish(&mut self, now: Mono) -> Option<J> {
        self.advance(now);
        let first = self.jobs.first_entry()?;
        // The time of an end is rounded to a nanosecond, in which less than this is done.
        (f64::from_bits(first.key().ends) <= self.received + 2e-9).then(|| first.remove())
    }

    /// When the next job will end if nothing changes; none if there are no jobs.
    #[must_use]
    pub fn next_end(&self) -> Option<Mono> {
        let (first, _) = self.jobs.first_key_value()?;
        let left = (f64::from_bits(first.ends) - self.received).max(0.0);
        Some(later(self.at, left / self.speed() + 1e-9))
    }

    /// From now on there are this many cores, above zero.
    pub fn set_cores(&mut self, cores: f64, now: Mono) {
        self.advance(now);
        self.cores = cores;
    }

    /// Jobs here.
    #[must_use]
    pub fn len(&self) -> usize {
        self.jobs.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.jobs.is_empty()
    }

    /// Core seconds spent so far.
    #[must_use]
    pub fn spent(&self) -> f64 {
        self.spent
    }

    /// Core seconds a job gets in a second.
    fn speed(&self) -> f64 {
        (self.cores / self.jobs.len().max(1) as f64).min(1.0)
    }

    fn advance(&mut self, now: Mono) {
        let passed = now.saturating_since(self.at).as_secs_f64() * self.speed();
        self.at = self.at.max(now);
        if self.jobs.is_empty() {
            // Starting again from zero keeps sums exact however long the run.
            self.received = 0.0;
        } else {
            self.received += passed;
            self.spent += passed * self.jobs.len() as f64;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{EventQueue, Seed};

    fn at(seconds: f64) -> Mono {
        later(Mono::ZERO, seconds)
    }

    /// Ends of all jobs as they come, in seconds.
    fn ends<J>(machine: &mut Sharing<J>) -> Vec<(J, f64)> {
        let mut ends = Vec::new();
        while let Some(now) = machine.next_end() {
            while let Some(job) = machine.finish(now) {
                ends.push((job, now.as_nanos() as f64 / 1e9));
            }
        }
        ends
    }

    fn assert_ends(machine: &mut Sharing<char>, expected: &[(char, f64)]) {
        let found = ends(machine);
        assert_eq!(found.len(), expected.len());
        for (&(job, end), &(expected_job, expected_end)) in found.iter().zip(expected) {
            assert!(job == expected_job && (end - expected_end).abs() < 1e-6, "{found:?}");
        }
    }

    #[test]
    fn jobs_share_cores_but_none_runs_on_two() {
        let mut machine = Sharing::new(2.0);
        machine.arrive('a', 1.0, at(0.0));
        assert_ends(&mut machine, &[('a', 1.0)]);
        // Four jobs on two cores: half speed until the short one ends at 2, then two thirds each.
        let mut machine = Sharing::new(2.0);
        for (job, work) in [('a', 1.0), ('b', 2.0), ('c', 2.0), ('d', 2.0)] {
            machine.arrive(job, work, at(0.0));
        }
        assert_ends(&mut machine, &[('a', 2.0), ('b', 3.5), ('c', 3.5), ('d', 3.5)]);
        assert!((machine.spent() - 7.0).abs() < 1e-6);
    }

    #[test]
    fn a_change_of_cores_counts_from_its_moment() {
        let mut machine = Sharing::new(1.0);
        machine.arrive('a', 1.0, at(0.0));
        machine.set_cores(0.25, at(0.5));
        assert_ends(&mut machine, &[('a', 2.5)]);
    }

    #[test]
    fn a_cancelled_request_leaves_the_rest_faster() {
        let mut machine = Sharing::new(1.0);
        let place = machine.arrive('a', 5.0, at(0.0));
        machine.arrive('b', 1.0, at(0.0));
        assert_eq!(machine.cancel(place, at(1.0)), Some('a'));
        assert_eq!(machine.cancel(place, at(1.0)), None);
        assert_ends(&mut machine, &[('b', 1.5)]);
        assert!(machine.is_empty() && machine.next_end().is_none());
    }

    #[test]
    fn at_80_percent_the_mean_time_is_five_services_whatever_their_distribution() {
        // M/G/1 processor sharing: E[T] = E[S]/(1 − ρ), insensitive to the distribution of S.
        let seed = Seed::new(1);
        let (mut arrivals, mut works) = (seed.child(0).stream(), seed.child(1).stream());
        let mut machine: Sharing<Mono> = Sharing::new(1.0);
        let mut events: EventQueue<Option<u32>> = EventQueue::new();
        let (mut epoch, mut sum, mut count) = (0, 0.0, 0.0);
        events.schedule(Mono::ZERO, None);
        while let Some((now, event)) = events.take_before(at(60_000.0)) {
            match event {
                None => {
                    // 0.1 or 1.9, each half of the time: mean 1.
                    let work = if works.unit() < 0.5 { 0.1 } else { 1.9 };
                    machine.arrive(now, work, now);
                    events.schedule(later(now, arrivals.exponential(1.25)), None);
                }
                Some(of) if of != epoch => continue,
                Some(_) => {}
            }
            while let Some(arrived) = machine.finish(now) {
                sum += now.saturating_since(arrived).as_secs_f64();
                count += 1.0;
            }
            epoch += 1;
            if let Some(end) = machine.next_end() {
                events.schedule(end, Some(epoch));
            }
        }
        // 48 000 jobs, correlated over about 2/(1 − ρ)² = 50 services, of a standard deviation of about 5: 5/√960 ≈ 0.16.
        let mean: f64 = sum / count;
        assert!((mean - 5.0).abs() < 0.8, "{mean}");
    }
}
