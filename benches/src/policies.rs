//! Every built-in policy by name.

use lb_policy::BuiltIn;

/// The policies, with the number of choices for those that have one.
pub const POLICIES: &[&str] = &[
    "round_robin",
    "static_stride",
    "random",
    "weighted_random",
    "least_request",
    "least_request 2",
    "p2c",
    "peak_ewma",
    "least_time",
    "orca",
    "prequal",
    "c3",
    "hash",
    "ip_hash",
    "ring_hash",
    "maglev",
    "rendezvous",
    "memento",
    "first",
];

/// The policy of a name in [`POLICIES`].
///
/// # Panics
/// The name is another.
#[must_use]
pub fn policy(name: &str) -> BuiltIn {
    let (name, choices) = name.split_once(' ').map_or((name, None), |(name, choices)| (name, choices.parse().ok()));
    BuiltIn::from_name(name, choices.map(|choices| ("choices", choices))).expect("POLICIES has only names of policies")
}
