//! The rules of Netflix's concurrency-limits as they are published, losses included.

use lb_ratelimit::adaptive::{Limit, Sample};

fn nanos(sample: &Sample) -> f64 {
    sample.rtt.as_nanos().max(1) as f64
}

fn is_used(sample: &Sample, limit: f64) -> bool {
    f64::from(sample.in_flight) * 2.0 >= limit
}

/// One more with each request, a tenth less with each loss.
pub(super) struct Aimd(f64);

impl Default for Aimd {
    fn default() -> Self {
        Self(20.0)
    }
}

impl Limit for Aimd {
    fn limit(&self) -> u32 {
        self.0 as u32
    }

    fn on_sample(&mut self, sample: &Sample, _entropy: u64) -> u32 {
        if sample.dropped || sample.rtt.as_secs() >= 5 {
            self.0 = (self.0 * 0.9).floor();
        } else if is_used(sample, self.0) {
            self.0 += 1.0;
        }
        self.0 = self.0.clamp(20.0, 200.0);
        self.limit()
    }
}

/// The shortest time is that of any request, and each loss is one step.
pub(super) struct Vegas {
    limit: f64,
    shortest: f64,
    samples: f64,
}

impl Default for Vegas {
    fn default() -> Self {
        Self { limit: 20.0, shortest: f64::INFINITY, samples: 0.0 }
    }
}

impl Limit for Vegas {
    fn limit(&self) -> u32 {
        self.limit as u32
    }

    fn on_sample(&mut self, sample: &Sample, entropy: u64) -> u32 {
        let rtt = nanos(sample);
        self.samples += 1.0;
        let jitter = 0.5 + 0.5 * (entropy as f64 / u64::MAX as f64);
        if self.samples >= jitter * 30.0 * self.limit || rtt < self.shortest {
            (self.samples, self.shortest) = (0.0, rtt);
            return self.limit();
        }
        let step = self.limit.log10().floor().max(1.0);
        let queue = (self.limit * (1.0 - self.shortest / rtt)).ceil();
        if sample.dropped {
            self.limit -= step;
        } else if !is_used(sample, self.limit) {
            return self.limit();
        } else if queue <= step {
            self.limit += 6.0 * step;
        } else if queue < 3.0 * step {
            self.limit += step;
        } else if queue > 6.0 * step {
            self.limit -= step;
        }
        self.limit = self.limit.clamp(1.0, 1_000.0);
        self.limit()
    }
}

/// Losses are requests like others.
pub(super) struct Gradient2 {
    limit: f64,
    long: f64,
    samples: f64,
}

impl Default for Gradient2 {
    fn default() -> Self {
        Self { limit: 20.0, long: 0.0, samples: 0.0 }
    }
}

impl Limit for Gradient2 {
    fn limit(&self) -> u32 {
        self.limit as u32
    }

    fn on_sample(&mut self, sample: &Sample, _entropy: u64) -> u32 {
        let rtt = nanos(sample);
        self.samples += 1.0;
        // A mean of the first ten, then an exponential one over 600.
        let weight = if self.samples <= 10.0 { 1.0 / self.samples } else { 2.0 / 601.0 };
        self.long += (rtt - self.long) * weight;
        if self.long / rtt > 2.0 {
            self.long *= 0.95;
        }
        if is_used(sample, self.limit) {
            let gradient = (1.5 * self.long / rtt).clamp(0.5, 1.0);
            self.limit = (0.8 * self.limit + 0.2 * (self.limit * gradient + 4.0)).clamp(20.0, 200.0);
        }
        self.limit()
    }
}
