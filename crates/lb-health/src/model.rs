//! Models of the atomics: every interleaving of two threads, by loom.
//!
//! `RUSTFLAGS="--cfg loom" cargo test -p lb-health --lib model`

use std::num::NonZeroU16;

use loom::sync::Arc;
use loom::thread;

use lb_core::Mono;

use crate::{Ejection, EjectionCap, OnFailure, Outlier};

const NOW: Mono = Mono::from_millis(1_000);

fn outlier(failures: u16) -> Outlier {
    Outlier::new(Ejection { failures: NonZeroU16::new(failures).unwrap(), ..Ejection::default() })
}

fn ejects(outlier: &Outlier, cap: &EjectionCap) -> bool {
    matches!(outlier.on_failure(NOW, NOW, 0, cap), OnFailure::Ejected { .. })
}

#[test]
fn two_endpoints_that_fail_at_once_leave_one() {
    loom::model(|| {
        let cap = Arc::new(EjectionCap::default());
        cap.set_members(2, 2);
        let other = Arc::clone(&cap);
        let thread = thread::spawn(move || ejects(&outlier(1), &other));
        let here = ejects(&outlier(1), &cap);
        assert!(here ^ thread.join().unwrap());
        assert_eq!(cap.ejected(), 1);
    });
}

#[test]
fn one_endpoint_is_ejected_once_and_readmitted_once() {
    // Exhaustive takes a minute and was run once; three preemptions take a second.
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(3);
    builder.check(|| {
        let shared = Arc::new((outlier(2), EjectionCap::default()));
        shared.1.set_members(9, 9);
        assert!(!ejects(&shared.0, &shared.1));
        let other = Arc::clone(&shared);
        let thread = thread::spawn(move || {
            let told = ejects(&other.0, &other.1);
            (told, other.0.on_timer(Mono::MAX, &other.1) || other.0.on_check_passed(Mono::MAX, Mono::MAX, &other.1))
        });
        let here = ejects(&shared.0, &shared.1);
        let ended = shared.0.on_timer(Mono::MAX, &shared.1);
        let (there, ended_there) = thread.join().unwrap();
        assert!(here || there);
        assert_eq!(u32::from(here) + u32::from(there), u32::from(ended) + u32::from(ended_there));
        assert_eq!(shared.1.ejected(), 0);
        assert!(!shared.0.is_ejected());
    });
}
