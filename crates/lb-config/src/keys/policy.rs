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

/// An option of a policy: a number within bounds.
#[derive(Debug)]
pub(crate) struct OptionInfo {
    pub(crate) name: &'static str,
    pub(crate) least: f64,
    pub(crate) most: f64,
    pub(crate) whole: bool,
    pub(crate) default: f64,
    pub(crate) doc: &'static str,
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
    plain("round_robin", PolicyKind::RoundRobin, BUILT),
    plain("random", PolicyKind::Random, BUILT),
    plain("weighted_random", PolicyKind::WeightedRandom, BUILT),
    plain("least_request", PolicyKind::LeastRequest, BUILT),
    plain("p2c", PolicyKind::P2c, BUILT),
    plain("peak_ewma", PolicyKind::PeakEwma, LATER),
    plain("least_time", PolicyKind::LeastTime, LATER),
    plain("prequal", PolicyKind::Prequal, LATER),
    plain("ip_hash", PolicyKind::IpHash, BUILT),
    hashing("hash", PolicyKind::Hash, LATER),
    hashing("ring_hash", PolicyKind::RingHash, LATER),
    hashing("maglev", PolicyKind::Maglev, LATER),
    hashing("rendezvous", PolicyKind::Rendezvous, LATER),
    plain("first", PolicyKind::First, BUILT),
];

const fn plain(name: &'static str, kind: PolicyKind, built: bool) -> PolicyInfo {
    PolicyInfo { name, kind, built, key: KeyUse::None, options: &[] }
}

const fn hashing(name: &'static str, kind: PolicyKind, built: bool) -> PolicyInfo {
    PolicyInfo { name, kind, built, key: KeyUse::Required, options: &[] }
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

    /// Every policy, built or not.
    pub fn all() -> impl Iterator<Item = Self> {
        POLICIES.iter().map(|policy| policy.kind)
    }
}
