//! Every policy of this crate behind one type, chosen by name.
//!
//! A proxy reads the policy's name from a file and wants one selector type, not a type parameter that spreads through
//! everything. An enum costs one predictable branch a pick, where a box would cost an indirect call.

use crate::algorithms::bounded::BoundedLoad;
use crate::algorithms::c3::{C3, C3Table};
use crate::algorithms::first::{First, FirstTable};
use crate::algorithms::hash::{Hash, HashTable};
use crate::algorithms::ip_hash::{IpHash, IpHashTable};
use crate::algorithms::least_request::{LeastRequest, LeastRequestTable};
use crate::algorithms::least_time::{LeastTime, LeastTimeTable};
use crate::algorithms::maglev::{Maglev, MaglevTable};
use crate::algorithms::memento::{Memento, MementoTable};
use crate::algorithms::orca::{Orca, OrcaTable};
use crate::algorithms::p2c::{P2c, P2cTable};
use crate::algorithms::peak_ewma::{PeakEwma, PeakEwmaTable};
use crate::algorithms::prequal::{Prequal, PrequalTable};
use crate::algorithms::random::{Random, RandomTable};
use crate::algorithms::rendezvous::{Rendezvous, RendezvousTable};
use crate::algorithms::ring_hash::{RingHash, RingHashTable};
use crate::algorithms::round_robin::{RoundRobin, RoundRobinFrom, RoundRobinTable};
use crate::algorithms::static_stride::{StaticStride, StaticStrideTable};
use crate::cluster::view::View;
use crate::context::PickCx;
use crate::index::Index;
use crate::policy::{Candidate, Policy, Table};
use crate::signals::{Learning, Signals};

/// One variant a policy, its table beside it.
macro_rules! built_in {
    ($($(#[$doc:meta])* $variant:ident($policy:ty, $table:ty) = $name:literal,)+) => {
        /// Any policy of this crate.
        #[derive(Clone, Debug)]
        #[non_exhaustive]
        pub enum BuiltIn {
            $($(#[$doc])* $variant($policy),)+
        }

        impl BuiltIn {
            /// The names that [`BuiltIn::from_name`] knows.
            pub const NAMES: &'static [&'static str] = &[$($name),+];

            /// The name it goes by.
            #[must_use]
            pub const fn name(&self) -> &'static str {
                match self {
                    $(Self::$variant(_) => $name,)+
                }
            }
        }

        impl Policy for BuiltIn {
            type Table = BuiltInTable;

            fn signals(&self) -> Signals {
                match self {
                    $(Self::$variant(policy) => policy.signals(),)+
                }
            }

            fn build(&self, candidates: &[Candidate<'_>], previous: Option<&Self::Table>) -> Self::Table {
                match self {
                    $(Self::$variant(policy) => {
                        let previous = previous.and_then(|old| match &old.0 {
                            Any::$variant(table) => Some(table),
                            #[allow(unreachable_patterns)] // Of a single variant there would be no other.
                            _ => None,
                        });
                        BuiltInTable(Any::$variant(policy.build(candidates, previous)))
                    })+
                }
            }

            fn learning(&self) -> Learning {
                match self {
                    $(Self::$variant(policy) => policy.learning(),)+
                }
            }
        }

        $(impl From<$policy> for BuiltIn {
            fn from(policy: $policy) -> Self {
                Self::$variant(policy)
            }
        })+

        #[derive(Debug)]
        enum Any {
            $($variant($table),)+
        }

        impl Table for BuiltInTable {
            #[inline]
            fn pick(&self, view: &View<'_>, cx: &mut PickCx<'_>) -> Option<Index> {
                match &self.0 {
                    $(Any::$variant(table) => pick_outlined(table, view, cx),)+
                }
            }
        }
    };
}

/// Keeps the policies out of one another's way: inlined into the same function, each would pay for the stack and the
/// registers that the greediest of them needs, which for turns is as much as the pick.
#[inline(never)]
fn pick_outlined<T: Table>(table: &T, view: &View<'_>, cx: &mut PickCx<'_>) -> Option<Index> {
    table.pick(view, cx)
}

built_in! {
    /// Turns by weight, in nginx's order; the default. Option `random_start`: 0, the first turn, or how far into the first 2³² turns to
    /// begin, up to 1; draw it at random where several proxies take turns.
    RoundRobin(RoundRobinFrom, RoundRobinTable) = "round_robin",
    /// Turns by weight, spread out, in gRPC's order. Option `random_start`, as above.
    StaticStride(StaticStride, StaticStrideTable) = "static_stride",
    /// Turns by what endpoints report of their load. Option `random_start`, as above.
    Orca(Orca, OrcaTable) = "orca",
    /// At random, by weight. Its other name is `weighted_random`.
    Random(Random, RandomTable) = "random",
    /// Fewest in flight per weight. Option `choices`: 1 to 8 drawn at random, default all.
    LeastRequest(LeastRequest, LeastRequestTable) = "least_request",
    /// The less busy of two drawn at random.
    P2c(P2c, P2cTable) = "p2c",
    /// The less loaded of two, by latency. Options `decay` (ms, 100 to 1 000 000, default 10 000) and `penalty` for a failure
    /// (ms, up to 1 000 000, default 5 000).
    PeakEwma(PeakEwma, PeakEwmaTable) = "peak_ewma",
    /// The one expected to answer first. Option `penalty`, as above.
    LeastTime(LeastTime, LeastTimeTable) = "least_time",
    /// Hot or cold by requests in flight, then by latency. Options `quantile` (0 to 1, default 0.84), and `decay` and `penalty` as above.
    Prequal(Prequal, PrequalTable) = "prequal",
    /// The best of three by latency and by what they report, the queue counted cubed. Options `decay` and `penalty`, as above.
    C3(C3, C3Table) = "c3",
    /// nginx's `hash`: modulo the total weight. Option `bounded_load`: factor from 1.01 to 100, default none.
    Hash(Hash, HashTable) = "hash",
    /// nginx's `hash … consistent`. Option `bounded_load`, as above.
    RingHash(RingHash, RingHashTable) = "ring_hash",
    /// A table of scattered slots. Option `bounded_load`, as above.
    Maglev(Maglev, MaglevTable) = "maglev",
    /// The highest bid for the key. Option `bounded_load`, as above.
    Rendezvous(Rendezvous, RendezvousTable) = "rendezvous",
    /// Jump hash that remembers who is gone, for very many endpoints; all alike, whatever their weights. Option
    /// `bounded_load`, as above.
    Memento(Memento, MementoTable) = "memento",
    /// nginx's `ip_hash`. Option `bounded_load`, as above.
    IpHash(IpHash, IpHashTable) = "ip_hash",
    /// The first usable in the order of the list.
    First(First, FirstTable) = "first",
}

impl From<RoundRobin> for BuiltIn {
    fn from(policy: RoundRobin) -> Self {
        RoundRobinFrom::from(policy).into()
    }
}

/// The table of a [`BuiltIn`].
#[derive(Debug)]
pub struct BuiltInTable(Any);

impl Default for BuiltIn {
    fn default() -> Self {
        RoundRobin.into()
    }
}

impl BuiltIn {
    /// The policy of this name with these options; see the variants for what each takes.
    ///
    /// ```
    /// use lb_policy::BuiltIn;
    /// assert_eq!(BuiltIn::from_name("least_request", [("choices", 3.0)]).unwrap().name(), "least_request");
    /// assert!(BuiltIn::from_name("least_conn", []).is_err());
    /// ```
    ///
    /// # Errors
    /// An unknown name, an option the policy does not have, or a value out of its range.
    pub fn from_name<'o>(name: &str, options: impl IntoIterator<Item = (&'o str, f64)>) -> Result<Self, BadPolicy> {
        let mut options = Options { policy: name, given: options.into_iter().collect() };
        let policy = match name {
            "round_robin" => RoundRobin.starting_at(options.start()?).into(),
            "static_stride" => StaticStride::new().starting_at(options.start()?).into(),
            "orca" => Orca::new().starting_at(options.start()?).into(),
            "random" | "weighted_random" => Random.into(),
            "least_request" => match options.whole("choices", 1, 8)? {
                Some(choices) => LeastRequest::choices(choices as u8).into(),
                None => LeastRequest::exact().into(),
            },
            "p2c" => P2c.into(),
            "peak_ewma" => PeakEwma::new(options.learning()?).into(),
            "least_time" => LeastTime::new(options.penalty()?).into(),
            "prequal" => {
                let quantile = options.number("quantile", 0.0, 1.0)?.unwrap_or(Prequal::QUANTILE);
                Prequal::new(quantile, options.learning()?).into()
            }
            "c3" => C3::new(options.learning()?).into(),
            "hash" => options.bounded()?.map_or(Hash::new(), |bound| Hash::new().bounded(bound)).into(),
            "ring_hash" => options.bounded()?.map_or(RingHash::new(), |bound| RingHash::new().bounded(bound)).into(),
            "maglev" => options.bounded()?.map_or(Maglev::new(), |bound| Maglev::new().bounded(bound)).into(),
            "rendezvous" => {
                options.bounded()?.map_or(Rendezvous::new(), |bound| Rendezvous::new().bounded(bound)).into()
            }
            "memento" => options.bounded()?.map_or(Memento::new(), |bound| Memento::new().bounded(bound)).into(),
            "ip_hash" => options.bounded()?.map_or(IpHash::new(), |bound| IpHash::new().bounded(bound)).into(),
            "first" => First.into(),
            _ => return Err(BadPolicy::UnknownName { name: name.to_owned() }),
        };
        options.finish()?;
        Ok(policy)
    }
}

/// What is wrong with a policy as it was asked for.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum BadPolicy {
    /// There is no policy of this name.
    #[error("unknown policy `{name}`; known are {}", BuiltIn::NAMES.join(", "))]
    UnknownName {
        /// What was asked for.
        name: String,
    },
    /// The policy has no such option.
    #[error("policy `{policy}` has no option `{option}`")]
    UnknownOption {
        /// The policy.
        policy: String,
        /// The option it does not have.
        option: String,
    },
    /// The option's value is impossible.
    #[error("option `{option}` of policy `{policy}` must be {expected}, not {value}")]
    BadValue {
        /// The policy.
        policy: String,
        /// The option.
        option: String,
        /// What was given.
        value: f64,
        /// What it could be.
        expected: String,
    },
}

/// The options not yet asked for.
struct Options<'o> {
    policy: &'o str,
    given: Vec<(&'o str, f64)>,
}

impl Options<'_> {
    /// Takes an option; the last counts if it was given twice.
    fn take(&mut self, option: &str) -> Option<f64> {
        let value = self.given.iter().rev().find_map(|&(name, value)| (name == option).then_some(value));
        self.given.retain(|&(name, _)| name != option);
        value
    }

    /// Takes a whole number in this range.
    fn whole(&mut self, option: &str, least: u32, most: u32) -> Result<Option<u32>, BadPolicy> {
        let Some(value) = self.take(option) else { return Ok(None) };
        if value.fract() == 0.0 && (f64::from(least)..=f64::from(most)).contains(&value) {
            return Ok(Some(value as u32));
        }
        Err(self.bad(option, value, format!("a whole number from {least} to {most}")))
    }

    fn bad(&self, option: &str, value: f64, expected: String) -> BadPolicy {
        BadPolicy::BadValue { policy: self.policy.to_owned(), option: option.to_owned(), value, expected }
    }

    /// Takes a number in this range.
    fn number(&mut self, option: &str, least: f64, most: f64) -> Result<Option<f64>, BadPolicy> {
        let Some(value) = self.take(option) else { return Ok(None) };
        if (least..=most).contains(&value) {
            return Ok(Some(value));
        }
        Err(self.bad(option, value, format!("a number from {least} to {most}")))
    }

    fn bounded(&mut self) -> Result<Option<BoundedLoad>, BadPolicy> {
        Ok(self.number("bounded_load", 1.01, 100.0)?.map(BoundedLoad::new))
    }

    /// The turn to begin with.
    fn start(&mut self) -> Result<u64, BadPolicy> {
        let share = self.number("random_start", 0.0, 1.0)?.unwrap_or_default();
        Ok((share * f64::from(u32::MAX)) as u64)
    }

    fn penalty(&mut self) -> Result<Learning, BadPolicy> {
        let penalty_ms = self.whole("penalty", 0, 1_000_000)?.unwrap_or(Learning::DEFAULT.penalty_ms);
        Ok(Learning { penalty_ms, ..Learning::DEFAULT })
    }

    fn learning(&mut self) -> Result<Learning, BadPolicy> {
        let decay_ms = self.whole("decay", 100, 1_000_000)?.unwrap_or(Learning::DEFAULT.decay_ms);
        Ok(Learning { decay_ms, ..self.penalty()? })
    }

    /// Refuses what is left over.
    fn finish(self) -> Result<(), BadPolicy> {
        match self.given.first() {
            Some(&(option, _)) => {
                Err(BadPolicy::UnknownOption { policy: self.policy.to_owned(), option: option.to_owned() })
            }
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Bench, letters};

    #[test]
    fn every_name_makes_the_policy_of_that_name() {
        for &name in BuiltIn::NAMES {
            assert_eq!(BuiltIn::from_name(name, []).unwrap().name(), name);
        }
        assert_eq!(BuiltIn::default().name(), "round_robin");
    }

    #[test]
    fn what_is_wrong_is_said() {
        let message = |name, options: &[(&'static str, f64)]| {
            BuiltIn::from_name(name, options.iter().copied()).unwrap_err().to_string()
        };
        assert!(message("least_conn", &[]).starts_with("unknown policy `least_conn`; known are round_robin, "));
        assert_eq!(message("p2c", &[("choices", 3.0)]), "policy `p2c` has no option `choices`");
        let range = "option `choices` of policy `least_request` must be a whole number from 1 to 8, not 2.5";
        assert_eq!(message("least_request", &[("choices", 2.5)]), range);
        assert!(BuiltIn::from_name("least_request", [("choices", f64::NAN)]).is_err());
        assert!(BuiltIn::from_name("least_request", [("choices", 9.0)]).is_err());
    }

    #[test]
    fn the_enum_picks_as_its_policy_does_across_rebuilds() {
        let mut bench = Bench::new(BuiltIn::default(), &[5, 1, 1]);
        assert_eq!(letters(&bench.picks(3)), "aab");
        bench.reset(&[5, 1, 1], lb_core::Mono::ZERO);
        assert_eq!(letters(&bench.picks(4)), "acaa");
    }
}
