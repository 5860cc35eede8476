//! The configuration's table of policies against the policies themselves. Neither crate sees the other; here both are seen.

use std::collections::BTreeSet;

use lb_config::PolicyKind;
use lb_policy::{BuiltIn, Policy, Signals};

fn made(kind: PolicyKind, options: &[(&str, f64)]) -> bool {
    BuiltIn::from_name(kind.name(), options.iter().copied()).is_ok()
}

#[test]
fn every_policy_has_its_name_in_the_configuration() {
    let configurable: BTreeSet<&str> = PolicyKind::all().map(PolicyKind::name).collect();
    let mut built: BTreeSet<&str> = BuiltIn::NAMES.iter().copied().collect();
    // Another name of `random`.
    built.insert("weighted_random");
    assert_eq!(configurable, built);
    assert_eq!(PolicyKind::all().count(), configurable.len(), "no name twice");
}

#[test]
fn a_policy_takes_the_options_that_the_configuration_lists_for_it_and_no_others() {
    let all: BTreeSet<&str> = PolicyKind::all().flat_map(PolicyKind::options).map(|(option, _)| option).collect();
    for kind in PolicyKind::all() {
        assert!(made(kind, &[]), "{}", kind.name());
        let own: BTreeSet<&str> = kind.options().map(|(option, _)| option).collect();
        for option in &all {
            // Within the bounds of every option of this name.
            let bounds = PolicyKind::all().flat_map(PolicyKind::options).find(|(name, _)| name == option);
            let (_, bounds) = bounds.expect("it is one of all");
            assert_eq!(made(kind, &[(option, *bounds.end())]), own.contains(option), "{} {option}", kind.name());
        }
    }
}

#[test]
fn the_bounds_of_options_are_the_policies_own() {
    for kind in PolicyKind::all() {
        for (option, bounds) in kind.options() {
            let (least, most) = (*bounds.start(), *bounds.end());
            assert!(made(kind, &[(option, least)]) && made(kind, &[(option, most)]), "{} {option}", kind.name());
            for beyond in [least.next_down(), most.next_up()] {
                assert!(!made(kind, &[(option, beyond)]), "{} {option} {beyond}", kind.name());
            }
        }
        let all: Vec<_> = kind.options().map(|(option, bounds)| (option, *bounds.start())).collect();
        assert!(made(kind, &all), "{}: all at once", kind.name());
    }
}

#[test]
fn whoever_hashes_is_given_a_key() {
    for kind in PolicyKind::all() {
        let policy = BuiltIn::from_name(kind.name(), []).expect("every name is built");
        // `ip_hash` has its key from the connection.
        let has_key = kind.needs_key() || kind == PolicyKind::IpHash;
        assert_eq!(policy.signals().contains(Signals::KEY), has_key, "{}", kind.name());
    }
}
