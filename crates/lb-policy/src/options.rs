//! How a policy is configured by name: the facts that files, schemas and documentation need, and the options as given.
//!
//! A policy declares its name and options in its own file ([`Configurable`]); code that reads configurations uses the
//! [catalog](crate::CATALOG) of all policies and has no list of its own.

use crate::signals::Learning;

/// What there is to know about a policy without building it.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub struct PolicyInfo {
    /// The name in configurations.
    pub name: &'static str,
    /// Other names that mean the same.
    pub aliases: &'static [&'static str],
    /// What it hashes.
    pub key: KeyUse,
    /// Its options.
    pub options: &'static [OptionInfo],
}

/// What a policy hashes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyUse {
    /// Nothing.
    None,
    /// A text that the configuration must give.
    Text,
    /// The client's address.
    ClientAddress,
}

/// An option of a policy: a number within bounds.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub struct OptionInfo {
    /// The name in configurations.
    pub name: &'static str,
    /// What the number means.
    pub unit: Unit,
    /// The lower bound, included.
    pub min: f64,
    /// The upper bound, included.
    pub max: f64,
    /// The value if left out; none if the policy then does without.
    pub default: Option<f64>,
    /// Which policies have it and what it does, in one sentence.
    pub doc: &'static str,
}

/// What the number of an option means, and so how it is written in a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    /// A whole number.
    Count,
    /// Any number.
    Factor,
    /// Whole milliseconds; a file has a duration.
    Duration,
    /// A number drawn at random from 0 to 1 where a file has `true`, 0 where it has `false`.
    Switch,
}

impl PolicyInfo {
    pub(crate) const fn new(name: &'static str) -> Self {
        Self { name, aliases: &[], key: KeyUse::None, options: &[] }
    }

    pub(crate) const fn aliases(self, aliases: &'static [&'static str]) -> Self {
        Self { aliases, ..self }
    }

    pub(crate) const fn key(self, key: KeyUse) -> Self {
        Self { key, ..self }
    }

    pub(crate) const fn options(self, options: &'static [OptionInfo]) -> Self {
        Self { options, ..self }
    }

    /// All its names, the usual one first.
    pub fn names(&self) -> impl Iterator<Item = &'static str> + use<> {
        std::iter::once(self.name).chain(self.aliases.iter().copied())
    }

    /// The option of this name.
    #[must_use]
    pub fn option(&self, name: &str) -> Option<&'static OptionInfo> {
        self.options.iter().find(|option| option.name == name)
    }
}

impl OptionInfo {
    /// What the option may be, for an error message; none if this value is allowed.
    pub(crate) fn expected_instead_of(&self, value: f64) -> Option<String> {
        let is_whole = matches!(self.unit, Unit::Count | Unit::Duration);
        let fits = (self.min..=self.max).contains(&value) && (!is_whole || value.fract() == 0.0);
        let what = if is_whole { "a whole number" } else { "a number" };
        (!fits).then(|| format!("{what} from {} to {}", self.min, self.max))
    }
}

/// A policy that can be made from its name and options.
pub(crate) trait Configurable: Sized {
    /// Its name, key and options.
    const INFO: PolicyInfo;

    /// The policy with these options, which are those of [`INFO`](Self::INFO) and within their bounds.
    fn from_options(options: &Options<'_>) -> Self;
}

/// The options that were given, all of them known to the policy and within their bounds.
#[derive(Debug)]
pub(crate) struct Options<'o> {
    given: &'o [(&'o str, f64)],
}

impl<'o> Options<'o> {
    pub(crate) const fn new(given: &'o [(&'o str, f64)]) -> Self {
        Self { given }
    }

    /// The value of an option, or its default; the last counts if it was given twice.
    pub(crate) fn get(&self, option: &OptionInfo) -> Option<f64> {
        let given = self.given.iter().rev().find_map(|&(name, value)| (name == option.name).then_some(value));
        given.or(option.default)
    }

    /// The turn to begin with, see [`RANDOM_START`].
    pub(crate) fn start(&self) -> u64 {
        (self.get(&RANDOM_START).unwrap_or_default() * f64::from(u32::MAX)) as u64
    }

    /// How to learn latency, see [`DECAY`] and [`PENALTY`].
    pub(crate) fn learning(&self) -> Learning {
        let ms = |option, default| self.get(option).map_or(default, |ms| ms as u32);
        let Learning { decay_ms, penalty_ms } = Learning::DEFAULT;
        Learning { decay_ms: ms(&DECAY, decay_ms), penalty_ms: ms(&PENALTY, penalty_ms) }
    }
}

// The options that several policies share.

pub(crate) const RANDOM_START: OptionInfo = OptionInfo {
    name: "random_start",
    unit: Unit::Switch,
    min: 0.0,
    max: 1.0,
    default: Some(0.0),
    doc: "`round_robin`, `static_stride`, `orca`: begin with any turn instead of the first, so that proxies which start together do not walk in step; left out, the first.",
};

pub(crate) const DECAY: OptionInfo = OptionInfo {
    name: "decay",
    unit: Unit::Duration,
    min: 100.0,
    max: 1_000_000.0,
    default: Some(Learning::DEFAULT.decay_ms as f64),
    doc: "`peak_ewma`, `prequal`, `c3`: how fast a latency is forgotten, \"10s\" if left out.",
};

pub(crate) const PENALTY: OptionInfo = OptionInfo {
    name: "penalty",
    unit: Unit::Duration,
    min: 0.0,
    max: 1_000_000.0,
    default: Some(Learning::DEFAULT.penalty_ms as f64),
    doc: "`peak_ewma`, `least_time`, `prequal`, `c3`: the latency that a failure counts as, \"5s\" if left out.",
};

pub(crate) const BOUNDED_LOAD: OptionInfo = OptionInfo {
    name: "bounded_load",
    unit: Unit::Factor,
    min: 1.01,
    max: 100.0,
    default: None,
    doc: "The hashing policies and `ip_hash`: how many times its fair share of the requests in flight an endpoint may have, 1.25 to 2 as a rule; left out, any number.",
};
