//! The selection policies by name: which need a key, and which options each has.
//!
//! The balancing crates are not imported here; a test of the proxy, which sees both sides, holds this table against theirs.

use std::ops::RangeInclusive;

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
    /// `true` or `false`; the model holds 1 or 0.
    Switch,
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

pub(crate) const POLICIES: [PolicyInfo; 18] = [
    plain("round_robin", PolicyKind::RoundRobin, &[RANDOM_START]),
    plain("static_stride", PolicyKind::StaticStride, &[RANDOM_START]),
    plain("orca", PolicyKind::Orca, &[RANDOM_START]),
    plain("random", PolicyKind::Random, &[]),
    plain("weighted_random", PolicyKind::WeightedRandom, &[]),
    plain("least_request", PolicyKind::LeastRequest, &[CHOICES]),
    plain("p2c", PolicyKind::P2c, &[]),
    plain("peak_ewma", PolicyKind::PeakEwma, &[DECAY, PENALTY]),
    plain("least_time", PolicyKind::LeastTime, &[PENALTY]),
    plain("prequal", PolicyKind::Prequal, &[QUANTILE, DECAY, PENALTY]),
    plain("c3", PolicyKind::C3, &[DECAY, PENALTY]),
    plain("ip_hash", PolicyKind::IpHash, &[BOUNDED_LOAD]),
    hashing("hash", PolicyKind::Hash, &[BOUNDED_LOAD]),
    hashing("ring_hash", PolicyKind::RingHash, &[BOUNDED_LOAD]),
    hashing("maglev", PolicyKind::Maglev, &[BOUNDED_LOAD]),
    hashing("rendezvous", PolicyKind::Rendezvous, &[BOUNDED_LOAD]),
    hashing("memento", PolicyKind::Memento, &[BOUNDED_LOAD]),
    plain("first", PolicyKind::First, &[]),
];

const RANDOM_START: OptionInfo = OptionInfo {
    name: "random_start",
    unit: Unit::Switch,
    least: 0.0,
    most: 1.0,
    doc: "`round_robin`, `static_stride`, `orca`: begin with any turn instead of the first, so that proxies which start together do not walk in step; left out, the first.",
};
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
    doc: "`peak_ewma`, `prequal`, `c3`: how fast a latency is forgotten, \"10s\" if left out.",
};
const PENALTY: OptionInfo = OptionInfo {
    name: "penalty",
    unit: Unit::Duration,
    least: 0.0,
    most: 1_000_000.0,
    doc: "`peak_ewma`, `least_time`, `prequal`, `c3`: the latency that a failure counts as, \"5s\" if left out.",
};
const QUANTILE: OptionInfo = OptionInfo {
    name: "quantile",
    unit: Unit::Factor,
    least: 0.0,
    most: 1.0,
    doc: "`prequal`: an endpoint is hot if it has more in flight than this share of the others, 0.84 if left out.",
};
const BOUNDED_LOAD: OptionInfo = OptionInfo {
    name: "bounded_load",
    unit: Unit::Factor,
    least: 1.01,
    most: 100.0,
    doc: "The hashing policies and `ip_hash`: how many times its fair share of the requests in flight an endpoint may have, 1.25 to 2 as a rule; left out, any number.",
};

const fn plain(name: &'static str, kind: PolicyKind, options: &'static [OptionInfo]) -> PolicyInfo {
    PolicyInfo { name, kind, key: KeyUse::None, options }
}

const fn hashing(name: &'static str, kind: PolicyKind, options: &'static [OptionInfo]) -> PolicyInfo {
    PolicyInfo { name, kind, key: KeyUse::Required, options }
}

impl PolicyKind {
    /// Its name in the configuration.
    #[must_use]
    pub fn name(self) -> &'static str {
        POLICIES.iter().find(|policy| policy.kind == self).map_or("", |policy| policy.name)
    }

    /// Whether it hashes a `key`, which must then be written.
    #[must_use]
    pub fn needs_key(self) -> bool {
        POLICIES.iter().any(|policy| policy.kind == self && policy.key == KeyUse::Required)
    }

    /// The options it takes, with the least and the most that each may be; milliseconds for a duration.
    pub fn options(self) -> impl Iterator<Item = (&'static str, RangeInclusive<f64>)> {
        let options = POLICIES.iter().filter(move |policy| policy.kind == self).flat_map(|policy| policy.options);
        options.map(|option| (option.name, option.least..=option.most))
    }

    /// Whether the option is a duration, which the model holds in milliseconds.
    pub(crate) fn is_duration(self, option: &str) -> bool {
        self.unit(option) == Some(Unit::Duration)
    }

    /// Whether the option is `true` or `false`, which the model holds as 1 or 0.
    #[must_use]
    pub fn is_switch(self, option: &str) -> bool {
        self.unit(option) == Some(Unit::Switch)
    }

    fn unit(self, option: &str) -> Option<Unit> {
        let mut options = POLICIES.iter().filter(|policy| policy.kind == self).flat_map(|policy| policy.options);
        options.find(|known| known.name == option).map(|known| known.unit)
    }

    /// Every policy.
    pub fn all() -> impl Iterator<Item = Self> {
        POLICIES.iter().map(|policy| policy.kind)
    }
}
