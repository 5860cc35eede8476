//! The catalog: every policy of this crate by name, and all of them behind one type.
//!
//! This is the only list of policies. A policy's own file states its name, key and options ([`Configurable`]); a row here
//! makes it part of [`CATALOG`], by which configurations, schemas and documentation go, and of [`BuiltIn`], and exports the
//! public types of its file.
//!
//! A proxy reads the policy's name from a file and wants one selector type, not a type parameter that spreads through
//! everything. An enum costs one predictable branch a pick, where a box would cost an indirect call.

use crate::cluster::view::View;
use crate::context::PickCx;
use crate::index::Index;
use crate::options::{Configurable, Options, PolicyInfo};
use crate::policy::{Candidate, Choose, Policy};
use crate::signals::{Learning, Signals};
use crate::witness::Witness;

/// One variant a policy, each from a file of `algorithms/`.
macro_rules! catalog {
    ($($variant:ident($file:ident::$policy:ident),)+) => {
        $(pub use crate::algorithms::$file::*;)+

        /// Every policy, in the order of the documentation.
        pub const CATALOG: &[PolicyInfo] = &[$(<$policy as Configurable>::INFO),+];

        /// How each is made, in the same order.
        const MAKERS: &[fn(&Options<'_>) -> BuiltIn] = &[$(|options| BuiltIn::$variant($policy::from_options(options))),+];

        /// Any policy of this crate.
        #[derive(Clone, Debug)]
        #[non_exhaustive]
        pub enum BuiltIn {
            $(#[doc = concat!("See [`", stringify!($policy), "`](struct@", stringify!($policy), ").")] $variant($policy),)+
        }

        impl BuiltIn {
            /// The names of all, without aliases.
            pub const NAMES: &'static [&'static str] = &[$(<$policy as Configurable>::INFO.name),+];

            /// Its entry in the catalog.
            #[must_use]
            pub const fn info(&self) -> &'static PolicyInfo {
                match self {
                    $(Self::$variant(_) => &<$policy as Configurable>::INFO,)+
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
            $($variant(<$policy as Policy>::Table),)+
        }

        impl Choose for BuiltInTable {
            #[inline]
            fn choose<W: Witness>(&self, view: &View<'_>, cx: &mut PickCx<'_, W>) -> Option<Index> {
                match &self.0 {
                    $(Any::$variant(table) => pick_outlined(table, view, cx),)+
                }
            }
        }
    };
}

catalog! {
    RoundRobin(round_robin::RoundRobinFrom),
    StaticStride(static_stride::StaticStride),
    Orca(orca::Orca),
    Random(random::Random),
    LeastRequest(least_request::LeastRequest),
    P2c(p2c::P2c),
    PeakEwma(peak_ewma::PeakEwma),
    LeastTime(least_time::LeastTime),
    Prequal(prequal::Prequal),
    C3(c3::C3),
    IpHash(ip_hash::IpHash),
    Hash(hash::Hash),
    RingHash(ring_hash::RingHash),
    Maglev(maglev::Maglev),
    Rendezvous(rendezvous::Rendezvous),
    Memento(memento::Memento),
    First(first::First),
}

/// Keeps the policies out of one another's way: inlined into the same function, each would pay for the stack and the
/// registers that the greediest of them needs, which for turns is as much as the pick.
#[inline(never)]
fn pick_outlined<T: Choose, W: Witness>(table: &T, view: &View<'_>, cx: &mut PickCx<'_, W>) -> Option<Index> {
    table.choose(view, cx)
}

/// The table of a [`BuiltIn`].
#[derive(Debug)]
pub struct BuiltInTable(Any);

impl Default for BuiltIn {
    fn default() -> Self {
        RoundRobin.into()
    }
}

impl From<RoundRobin> for BuiltIn {
    fn from(policy: RoundRobin) -> Self {
        RoundRobinFrom::from(policy).into()
    }
}

impl BuiltIn {
    /// Its name.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        self.info().name
    }

    /// The policy of this name or alias with these options; [`CATALOG`] has what there is.
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
        let mut known = CATALOG.iter().zip(MAKERS);
        let Some((info, make)) = known.find(|(info, _)| info.names().any(|known| known == name)) else {
            return Err(BadPolicy::UnknownName { name: name.to_owned() });
        };
        let given: Vec<_> = options.into_iter().collect();
        for &(option, value) in &given {
            let (policy, option) = (name.to_owned(), option.to_owned());
            let Some(known) = info.option(&option) else { return Err(BadPolicy::UnknownOption { policy, option }) };
            if let Some(expected) = known.expected_instead_of(value) {
                return Err(BadPolicy::BadValue { policy, option, value, expected });
            }
        }
        Ok(make(&Options::new(&given)))
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::options::KeyUse;
    use crate::testing::{Bench, letters};

    #[test]
    fn every_name_makes_the_policy_of_that_name() {
        for &name in BuiltIn::NAMES {
            assert_eq!(BuiltIn::from_name(name, []).unwrap().name(), name);
        }
        assert_eq!(BuiltIn::default().name(), "round_robin");
    }

    #[test]
    fn names_are_distinct_and_aliases_mean_the_same() {
        let names: Vec<&str> = CATALOG.iter().flat_map(PolicyInfo::names).collect();
        assert_eq!(names.iter().collect::<std::collections::BTreeSet<_>>().len(), names.len());
        for info in CATALOG {
            for name in info.names() {
                assert_eq!(BuiltIn::from_name(name, []).unwrap().name(), info.name);
            }
        }
        assert!(names.contains(&"weighted_random"));
    }

    #[test]
    fn a_policy_takes_its_own_options_within_their_bounds_and_no_others() {
        let is_made = |info: &PolicyInfo, options: &[_]| BuiltIn::from_name(info.name, options.iter().copied()).is_ok();
        for info in CATALOG {
            let all: Vec<_> = info.options.iter().map(|option| (option.name, option.min)).collect();
            assert!(is_made(info, &all), "{}: all at once", info.name);
            for option in CATALOG.iter().flat_map(|info| info.options) {
                let with = |value: f64| is_made(info, &[(option.name, value)]);
                let is_own = info.option(option.name).is_some();
                for within in [option.min, option.max].into_iter().chain(option.default) {
                    assert_eq!(with(within), is_own, "{} {} {within}", info.name, option.name);
                }
                for beyond in [option.min.next_down(), option.max.next_up(), f64::NAN] {
                    assert!(!with(beyond), "{} {} {beyond}", info.name, option.name);
                }
            }
        }
    }

    #[test]
    fn a_policy_says_that_it_hashes_by_its_key_and_by_its_signals() {
        for info in CATALOG {
            let policy = BuiltIn::from_name(info.name, []).unwrap();
            assert_eq!(policy.signals().contains(Signals::KEY), info.key != KeyUse::None, "{}", info.name);
        }
    }

    #[test]
    fn errors_name_the_policy_the_option_and_its_range() {
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
