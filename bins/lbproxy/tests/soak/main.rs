//! A soak: half of what the proxy can do, while everything around it changes.
//!
//! Endpoints die and return every second, the configuration changes every five, certificates are replaced, and clients
//! ask over HTTP/1 and HTTP/2, in the clear and behind TLS. The promise: no request that may be retried, and of which
//! nothing was sent on yet, fails while one endpoint serves; and neither memory nor descriptors grow. One endpoint at
//! least serves at any time here, and every request may be retried, so none fails at all.
//!
//! It takes fifteen seconds, or as many as `LBPROXY_SOAK_SECONDS` says: `LBPROXY_SOAK_SECONDS=600 cargo test -p lbproxy
//! --test soak -- --nocapture` prints what it saw. It sleeps: what it measures is time that passes.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod asking;
mod footprint;
mod scene;

#[path = "../e2e/http2/raw.rs"]
#[allow(dead_code, reason = "written for other scenarios as well")]
mod raw;

#[path = "../support/mod.rs"]
#[allow(dead_code, unused_imports, reason = "the harness serves several test targets")]
mod support;

use std::time::{Duration, Instant};

use asking::Crowd;
use footprint::Footprints;
use scene::Scene;
use support::wait_until;

/// How long the proxy is asked as fast as it answers, to know what half of that is.
const CALIBRATION: Duration = Duration::from_millis(1_500);
/// Half the time between two changes of the endpoints: some come at the first half, others go at the second.
const HALF: Duration = Duration::from_millis(500);
/// Descriptors that come and go at rest: the connection on which we ask for metrics, and an active check of each endpoint.
const PASSING: usize = 5;
/// Changes of the endpoints between two reloads.
const CHANGES_PER_RELOAD: usize = 5;

#[test]
#[allow(clippy::print_stderr, reason = "the figures are half of the purpose")]
fn nothing_fails_and_nothing_grows_while_everything_changes() {
    let span = std::env::var("LBPROXY_SOAK_SECONDS").ok().and_then(|text| text.parse().ok()).unwrap_or(15);
    let mut scene = Scene::start();
    let rest = scene.descriptors_at_rest();

    let crowd = Crowd::start(&scene);
    std::thread::sleep(CALIBRATION);
    let rate = crowd.requests() as f64 / CALIBRATION.as_secs_f64();
    crowd.pace(rate / 2.0);

    let mut seen = Footprints::new(Duration::from_secs(span));
    let start = Instant::now();
    let mut next = start;
    for change in 0.. {
        scene.raise_endpoints(change);
        seen.look(&scene.proxy, start.elapsed());
        next += HALF;
        std::thread::sleep(next.saturating_duration_since(Instant::now()));
        scene.drop_endpoints(change);
        if (change + 1) % CHANGES_PER_RELOAD == 0 {
            scene.reload();
        }
        seen.look(&scene.proxy, start.elapsed());
        next += HALF;
        std::thread::sleep(next.saturating_duration_since(Instant::now()));
        if start.elapsed() >= Duration::from_secs(span) {
            break;
        }
    }
    let report = crowd.stop();
    eprintln!("soak of {span} s at half of {rate:.0} requests a second:\n{report}\n{seen}");
    eprintln!("{} endpoints stopped, {} reloads", scene.stopped, scene.reloads);

    assert!(report.failures.is_empty(), "{} of {} failed", report.failures.len(), report.answered());
    assert!(report.is_complete(), "a kind of client had no answer: {report}");
    assert_eq!(scene.proxy.metric("lbproxy_panics_total", &[]), 0.0);
    assert!(scene.reloads > 0 && scene.stopped > 0);
    seen.expect_flat();

    scene.rest();
    wait_until("every descriptor to be given back", || scene.descriptors_at_rest() <= rest + PASSING);
    eprintln!("descriptors at rest: {rest} before, {} after", scene.descriptors_at_rest());
}
