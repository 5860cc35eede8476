//! How often equal endpoints are called outliers: less than once in ten thousand windows is promised.
//!
//! Endpoints answer requests with one and the same share of failures. As the proxy does, counters are read at failures and
//! at a timer, and an endpoint is judged at each of its failures, by all spans. What is counted are windows of 30 s in which
//! any endpoint is called an outlier.
//!
//! `FALSE_EJECTION_WINDOWS=20000 cargo test -p lb-health --release --test false_ejections -- --nocapture` measures it; the
//! default is small enough for every run, and finds what is wrong by orders of magnitude.

use std::time::Duration;

use lb_core::Mono;
use lb_health::{Comparison, Counts, History, Judgement, Seen};

/// Xorshift, which is enough for draws.
struct Dice(u64);

impl Dice {
    fn unit(&mut self) -> f64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) as f64 / (1_u64 << 53) as f64
    }
}

const WINDOW: Duration = Duration::from_secs(30);
/// As the proxy has it.
const LOOKS_A_SPAN: u32 = 16;

struct Endpoint {
    totals: Counts,
    history: History,
}

/// Windows in which an endpoint is called an outlier.
fn wrong(endpoints: usize, rate: f64, share: f64, windows: u32) -> u32 {
    let mut dice = Dice(0x9e37_79b9_7f4a_7c15 ^ (endpoints as u64) << 32 ^ share.to_bits() ^ rate.to_bits());
    let fresh = |now| Endpoint { totals: Counts::default(), history: History::starting(Counts::default(), now) };
    let look_backs: Vec<_> = History::look_backs(WINDOW).collect();
    let looks = look_backs.len() as u32 * LOOKS_A_SPAN;
    let mut all: Vec<Endpoint> = (0..endpoints).map(|_| fresh(Mono::ZERO)).collect();
    let (mut now, mut read, mut found) = (0.0, 0.0, 0);
    let mut is_wrong = false;
    let mut window = 0;
    while window < windows {
        now += -(1.0 - dice.unit()).ln() / rate;
        if now >= WINDOW.as_secs_f64() * f64::from(window + 1) {
            window += 1;
            found += u32::from(std::mem::take(&mut is_wrong));
        }
        let at = Mono::ZERO.saturating_add(Duration::from_secs_f64(now));
        let one = (dice.unit() * endpoints as f64) as usize;
        let failed = dice.unit() < share;
        let count = if failed { &mut all[one].totals.failures } else { &mut all[one].totals.successes };
        *count += 1;
        let pause = if failed { History::SHORTEST } else { Duration::from_millis(100) };
        if now - read >= pause.as_secs_f64() {
            read = now;
            all.iter_mut().for_each(|it| it.history.read(it.totals, at));
        }
        if !failed || is_wrong {
            continue;
        }
        is_wrong = look_backs.iter().any(|&back| {
            let seen = |it: &Endpoint| Seen {
                recent: it.history.since(back, it.totals),
                window: it.history.since(look_backs[0], it.totals),
            };
            let others = all.iter().enumerate().filter(|(place, _)| *place != one).map(|(_, it)| seen(it));
            matches!(Comparison::default().judge(&seen(&all[one]), others, looks), Judgement::Outlier(_))
        });
        if is_wrong {
            // As an ejection does.
            all[one] = fresh(at);
        }
    }
    found
}

#[test]
fn equal_endpoints_are_hardly_ever_called_outliers() {
    let windows = std::env::var("FALSE_EJECTION_WINDOWS").ok().and_then(|text| text.parse().ok()).unwrap_or(12);
    let mut total = 0;
    for (endpoints, rate, share) in [(2, 20.0, 0.2), (3, 10.0, 0.1), (3, 100.0, 0.02), (5, 50.0, 0.5), (10, 50.0, 0.05)]
    {
        let found = wrong(endpoints, rate, share, windows);
        println!("{endpoints} endpoints, {rate} requests a second, {share} fail: {found} of {windows} windows");
        total += found;
    }
    // Below 10⁻⁴ a window: of the 60 of the default 0.006 are expected; the seed is fixed.
    let expected = f64::from(windows) * 5.0 * 1e-4;
    assert!(f64::from(total) <= expected + 3.0 * expected.sqrt() + 0.5, "{total}, at most {expected} expected");
}
