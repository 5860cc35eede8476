//! Back-pressure: an endpoint that asks for less is given less, and not ejected.
//!
//! 429, 503 with `Retry-After`, gRPC's RESOURCE_EXHAUSTED and push-back ([`Class::Busy`](lb_core::Class::Busy)) say "I am well, and busy". Counted as failures
//! they eject the endpoint and load the others until those say the same; ignored, they are answered so fast that a
//! policy that goes by latency sends even more. Here the endpoint cools down: for a while it is picked only where
//! every other one is cooling or full as well. The caller records no response time for such an answer.
//!
//! How long: as long as it asks, at most `max`, since a response header must not take an endpoint out for a day; if it
//! does not say, `base`, twice as long with each further answer of the kind that comes while it cools or within as long
//! afterwards (linkerd takes 5 s, and caps `Retry-After` at 300 s).

use std::time::Duration;

use lb_core::Mono;

use crate::jitter::{part, span_of};

/// How long to cool down.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CoolDownConfig {
    /// Where the endpoint does not say; default 1 s.
    pub base: Duration,
    /// Never longer, whatever it says; default 300 s.
    pub max: Duration,
    /// Longer by up to so many hundredths, by chance, so that not all come back in the same instant; default 10, at most
    /// 100.
    pub jitter_percent: u8,
}

impl Default for CoolDownConfig {
    fn default() -> Self {
        Self { base: Duration::from_secs(1), max: Duration::from_secs(300), jitter_percent: 10 }
    }
}

/// Whether one endpoint is cooling down. Pure; 24 bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CoolDown {
    until: Mono,
    /// The last length where the endpoint did not say.
    step: Duration,
}

impl CoolDown {
    /// Takes an answer that asks for less, and the time that it names (`Retry-After`, gRPC push-back). Answers until
    /// when it cools; `entropy` is 64 random bits. A shorter one never ends a longer one.
    pub fn on_back_pressure(
        &mut self,
        config: &CoolDownConfig,
        retry_after: Option<Duration>,
        now: Mono,
        entropy: u64,
    ) -> Mono {
        let length = match retry_after {
            Some(asked) => asked,
            None if self.is_in_force(now) => self.until.saturating_since(now),
            None => {
                let goes_on = now <= self.until.saturating_add(self.step) && !self.step.is_zero();
                self.step = if goes_on { self.step.saturating_mul(2) } else { config.base }.min(config.max);
                self.step
            }
        };
        let length = length.min(config.max);
        let spread = length.as_nanos() * u128::from(config.jitter_percent.min(100)) / 100;
        let jitter = span_of(part(spread, entropy));
        // What is in force had its jitter.
        let jitter = if retry_after.is_none() && self.is_in_force(now) { Duration::ZERO } else { jitter };
        self.until = self.until.max(now.saturating_add(length).saturating_add(jitter));
        self.until
    }

    /// When the last one is or was over; `None` if there was none.
    #[must_use]
    pub fn until(&self) -> Option<Mono> {
        (self.until != Mono::ZERO).then_some(self.until)
    }

    /// Whether to pick others first.
    #[must_use]
    pub fn is_in_force(&self, now: Mono) -> bool {
        now < self.until
    }
}

#[cfg(test)]
#[cfg(not(loom))]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Mono {
        Mono::from_millis(seconds * 1_000)
    }

    const CONFIG: CoolDownConfig =
        CoolDownConfig { base: Duration::from_secs(1), max: Duration::from_secs(300), jitter_percent: 10 };

    #[test]
    fn it_cools_as_long_as_it_asks_and_never_longer_than_five_minutes() {
        let asks =
            |seconds| CoolDown::default().on_back_pressure(&CONFIG, Some(Duration::from_secs(seconds)), at(10), 0);
        assert_eq!([asks(0), asks(7), asks(300), asks(86_400)], [at(10), at(17), at(310), at(310)]);
        let mut cooling = CoolDown::default();
        assert!(!cooling.is_in_force(at(0)));
        let _ = cooling.on_back_pressure(&CONFIG, Some(Duration::from_secs(7)), at(10), 0);
        assert_eq!(cooling.on_back_pressure(&CONFIG, Some(Duration::from_secs(1)), at(11), 0), at(17));
        assert!(cooling.is_in_force(at(16)) && !cooling.is_in_force(at(17)));
    }

    #[test]
    fn where_it_does_not_say_it_doubles_and_calms_down() {
        let mut cooling = CoolDown::default();
        let mut asks = |now| cooling.on_back_pressure(&CONFIG, None, now, 0);
        assert_eq!(asks(at(10)), at(11));
        assert_eq!(asks(Mono::from_millis(10_500)), at(11), "requests in flight do not add up");
        assert_eq!([asks(at(11)), asks(at(13)), asks(at(17))], [at(13), at(17), at(25)]);
        assert_eq!(asks(at(34)), at(35), "well for longer than it cooled");
    }

    #[test]
    fn jitter_and_extremes() {
        let mut cooling = CoolDown::default();
        let until = cooling.on_back_pressure(&CONFIG, Some(Duration::from_secs(10)), at(0), 1 << 63);
        assert_eq!(until, Mono::from_millis(10_500));
        let endless = CoolDownConfig { base: Duration::MAX, max: Duration::MAX, jitter_percent: 255 };
        let mut cooling = CoolDown::default();
        assert_eq!(cooling.on_back_pressure(&endless, None, at(1), u64::MAX), Mono::MAX);
        assert_eq!(cooling.on_back_pressure(&endless, Some(Duration::MAX), at(0), u64::MAX), Mono::MAX);
    }
}
