//! The selection policies by name: which are built, which need a key, and which options each has.
//!
//! To put a policy into service, set `built` in its line.

use super::Default::{Required, Unset};
use super::{Kind, Section, key};
use crate::valid::PolicyKind;

/// Whether a policy hashes a text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum KeyUse {
    /// `key` is refused.
    None,
    /// `key` must be there.
    Required,
}

/// A policy.
#[derive(Debug)]
pub(crate) struct PolicyInfo {
    pub(crate) name: &'static str,
    pub(crate) kind: PolicyKind,
    pub(crate) built: bool,
    pub(crate) key: KeyUse,
    pub(crate) options: &'static [OptionInfo],
}

/// An option of a policy; left out, the policy does as its meaning says.
#[derive(Debug)]
pub(crate) struct OptionInfo {
    pub(crate) name: &'static str,
    pub(crate) unit: Unit,
    /// Bounds, both included; milliseconds for a duration.
    pub(crate) least: f64,
    pub(crate) most: f64,
    pub(crate) doc: &'static str,
}

/// How an option is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unit {
    /// A whole number.
    Count,
    /// Any number.
    Factor,
    /// A duration; the model holds milliseconds.
    Duration,
}

pub(crate) const POLICY: Section = Section {
    name: "policy",
    title: "`policy`",
    doc: "A selection policy with its key and its options.",
    keys: &[
        key("name", Kind::Text, Required, "Which algorithm."),
        key("key", Kind::Text, Unset("none"), "What a hashing policy hashes, a text with `{variables}`."),
    ],
};

const BUILT: bool = true;
const LATER: bool = false;

pub(crate) const POLICIES: [PolicyInfo; 14] = [
    plain("round_robin", PolicyKind::RoundRobin, BUILT, &[]),
    plain("random", PolicyKind::Random, BUILT, &[]),
    plain("weighted_random", PolicyKind::WeightedRandom, BUILT, &[]),
    plain("least_request", PolicyKind::LeastRequest, BUILT, &[CHOICES]),
    plain("p2c", PolicyKind::P2c, BUILT, &[]),
    plain("peak_ewma", PolicyKind::PeakEwma, LATER, &[DECAY, PENALTY]),
    plain("least_time", PolicyKind::LeastTime, LATER, &[PENALTY]),
    plain("prequal", PolicyKind::Prequal, LATER, &[]),
    plain("ip_hash", PolicyKind::IpHash, BUILT, &[]),
    hashing("hash", PolicyKind::Hash, LATER, &[]),
    hashing("ring_hash", PolicyKind::RingHash, LATER, &[BOUNDED_LOAD]),
    hashing("maglev", PolicyKind::Maglev, LATER, &[BOUNDED_LOAD]),
    hashing("rendezvous", PolicyKind::Rendezvous, LATER, &[BOUNDED_LOAD]),
    plain("first", PolicyKind::First, BUILT, &[]),
];

const CHOICES: OptionInfo = OptionInfo {
    name: "choices",
    unit: Unit::Count,
    least: 1.0,
    most: 8.0,
    doc: "`least_request`: look at this many, drawn at random; left out, at all.",
};
const DECAY: OptionInfo = OptionInfo {
    name: "decay",
    unit: Unit::Duration,
    least: 100.0,
    most: 1_000_000.0,
    doc: "`peak_ewma`: how fast a latency is forgotten, \"10s\" if left out.",
};
const PENALTY: OptionInfo = OptionInfo {
    name: "penalty",
    unit: Unit::Duration,
    least: 0.0,
    most: 1_000_000.0,
    doc: "`peak_ewma`, `least_time`: the latency that a failure counts as, \"5s\" if left out.",
};
const BOUNDED_LOAD: OptionInfo = OptionInfo {
    name: "bounded_load",
    unit: Unit::Factor,
    least: 1.01,
    most: 100.0,
    doc: "Hashes: how far above its fair share an endpoint may go, 1.25 to 2 as a rule; left out, any far.",
};

const fn plain(name: &'static str, kind: PolicyKind, built: bool, options: &'static [OptionInfo]) -> PolicyInfo {
    PolicyInfo { name, kind, built, key: KeyUse::None, options }
}

const fn hashing(name: &'static str, kind: PolicyKind, built: bool, options: &'static [OptionInfo]) -> PolicyInfo {
    PolicyInfo { name, kind, built, key: KeyUse::Required, options }
}

impl PolicyKind {
    /// Its name in the configuration.
    #[must_use]
    pub fn name(self) -> &'static str {
        POLICIES.iter().find(|policy| policy.kind == self).map_or("", |policy| policy.name)
    }

    /// Whether a configuration may name it yet.
    #[must_use]
    pub fn is_built(self) -> bool {
        POLICIES.iter().any(|policy| policy.kind == self && policy.built)
    }

    /// Whether the option is a duration, which the model holds in milliseconds.
    pub(crate) fn is_duration(self, option: &str) -> bool {
        let options = POLICIES.iter().filter(|policy| policy.kind == self).flat_map(|policy| policy.options);
        options.into_iter().any(|known| known.name == option && known.unit == Unit::Duration)
    }

    /// Every policy, built or not.
    pub fn all() -> impl Iterator<Item = Self> {
        POLICIES.iter().map(|policy| policy.kind)
    }
}
