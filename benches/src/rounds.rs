//! Rounds: everything is measured in turns, so that what disturbs the machine disturbs all alike.

use std::hint::black_box;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// What is measured: a name, and how long so many repetitions take.
pub struct Subject {
    /// What the tables call it.
    pub name: String,
    /// Endpoints in its cluster.
    pub endpoints: usize,
    batch: Duration,
    run: Box<dyn FnMut(u64) -> Duration>,
}

impl std::fmt::Debug for Subject {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Subject").field("name", &self.name).field("endpoints", &self.endpoints).finish_non_exhaustive()
    }
}

impl Subject {
    /// `run` repeats the measured thing so many times and returns the time that took.
    pub fn new(name: impl Into<String>, endpoints: usize, run: impl FnMut(u64) -> Duration + 'static) -> Self {
        Self { name: name.into(), endpoints, batch: BATCH, run: Box::new(run) }
    }

    /// With batches of about this length instead.
    #[must_use]
    pub fn batch(mut self, batch: Duration) -> Self {
        self.batch = batch;
        self
    }
}

/// The result for one [`Subject`].
#[derive(Clone, Debug)]
pub struct Measured {
    /// Its name.
    pub name: String,
    /// Endpoints in its cluster.
    pub endpoints: usize,
    /// Median time of one repetition, nanoseconds.
    pub ns: f64,
    /// Median ratio to the floor that was measured just before it.
    pub floors: f64,
}

/// How long a batch should take: long beside the clock's own cost, short beside a scheduler's time slice.
const BATCH: Duration = Duration::from_micros(200);

/// Measures every subject `rounds` times, in turns, each batch right after a batch of the [floor](floor()).
#[must_use]
pub fn measure(subjects: Vec<Subject>, rounds: usize) -> Vec<Measured> {
    let mut floor = floor();
    let of_floor = repetitions(&mut floor);
    let mut all: Vec<_> = subjects
        .into_iter()
        .map(|mut subject| {
            let repeat = repetitions(&mut subject);
            (subject, repeat, Vec::new(), Vec::new())
        })
        .collect();
    for _ in 0..rounds {
        for (subject, repeat, times, ratios) in &mut all {
            let least = each(&mut floor, of_floor);
            let time = each(subject, *repeat);
            times.push(time);
            ratios.push(time / least);
        }
    }
    all.into_iter()
        .map(|(subject, _, mut times, mut ratios)| Measured {
            name: subject.name,
            endpoints: subject.endpoints,
            ns: median(&mut times),
            floors: median(&mut ratios),
        })
        .collect()
}

/// F: one uncontended relaxed `fetch_add` on a cache line of this core.
#[must_use]
pub fn floor() -> Subject {
    let counter = Box::new(AtomicU64::new(0));
    Subject::new("fetch_add", 0, move |repeat| {
        let start = Instant::now();
        for _ in 0..repeat {
            black_box(counter.fetch_add(1, Ordering::Relaxed));
        }
        start.elapsed()
    })
}

/// So many that a batch takes at least as long as it should, and not twice that; also warms it up.
fn repetitions(subject: &mut Subject) -> u64 {
    let mut repeat = 1;
    loop {
        let took = (subject.run)(repeat);
        // Once more: a first run that was held up, or that had to make something ready, would pass for a slow subject.
        if repeat >= 1 << 24 || took >= subject.batch && (subject.run)(repeat) * 2 >= subject.batch {
            return repeat;
        }
        repeat *= 2;
    }
}

fn each(subject: &mut Subject, repeat: u64) -> f64 {
    (subject.run)(repeat).as_nanos() as f64 / repeat as f64
}

fn median(values: &mut [f64]) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}
