//! Why this endpoint: what a pick would have seen and done, as data, and as a table when printed.

use std::fmt;

use lb_core::{Axis, InFlightLimit, Weight};

use crate::error::PickError;
use crate::identity::{Identity, Uid};
use crate::index::Index;
use crate::witness::Step;

/// What a pick would do now, from [`Selector::explain`](crate::Selector::explain).
///
/// Printed, it is a table of the members followed by the steps and the choice, for a log or a debugging page; the layout may change.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Explanation {
    /// Every member of the cluster, in the order of its list; an [`Index`] is a place in it.
    pub endpoints: Vec<ConsideredEndpoint>,
    /// What the pick did, in order.
    pub steps: Vec<Step>,
    /// The place it came to, or why to none.
    pub choice: Result<Index, PickError>,
}

/// A member of the cluster as a pick sees it.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ConsideredEndpoint {
    /// Who it is.
    pub identity: Identity,
    /// Its number within the cluster.
    pub uid: Uid,
    /// Its tier.
    pub priority: u8,
    /// Its share.
    pub weight: Weight,
    /// Its requests in flight.
    pub in_flight: u32,
    /// The most it may have.
    pub max_in_flight: InFlightLimit,
    /// What keeps it from new requests; none of this for most.
    pub reasons: Vec<Axis>,
    /// Whether these reasons are ignored, because too few endpoints of its tier are well.
    pub are_reasons_ignored: bool,
    /// Whether it has as many requests in flight as it may.
    pub is_full: bool,
    /// Whether it is allowed one request at a time, as one that is tested or suspected.
    pub is_throttled: bool,
    /// Whether this request has tried it.
    pub is_tried: bool,
    /// Whether it is warming up, so that it is kept from some of the requests that would be its own.
    pub is_warming: bool,
}

impl ConsideredEndpoint {
    /// Whether the pick may go there.
    #[must_use]
    pub fn is_usable(&self) -> bool {
        (self.reasons.is_empty() || self.are_reasons_ignored) && !self.is_full && !self.is_tried
    }

    fn state(&self) -> String {
        let mut words: Vec<&str> = self.reasons.iter().map(|axis| axis.name()).collect();
        if self.are_reasons_ignored && !self.reasons.is_empty() {
            words.push("(ignored: too few are well)");
        }
        let more = [
            (self.is_full, "full"),
            (self.is_throttled, "throttled"),
            (self.is_tried, "tried"),
            (self.is_warming, "warming"),
        ];
        words.extend(more.into_iter().filter_map(|(is, word)| is.then_some(word)));
        if words.is_empty() { String::from("usable") } else { words.join(" ") }
    }
}

impl Explanation {
    /// The endpoint it would pick.
    #[must_use]
    pub fn chosen(&self) -> Option<&ConsideredEndpoint> {
        self.endpoint(self.choice.as_ref().ok().copied()?)
    }

    /// The member in this place.
    #[must_use]
    pub fn endpoint(&self, index: Index) -> Option<&ConsideredEndpoint> {
        self.endpoints.get(index.get())
    }

    /// The scores given to this place.
    pub fn scores(&self, index: Index) -> impl Iterator<Item = f64> + '_ {
        self.steps.iter().filter_map(move |step| match *step {
            Step::Score { endpoint, score, .. } if endpoint == index => Some(score),
            _ => None,
        })
    }

    fn name(&self, index: Option<Index>) -> String {
        let Some(index) = index else { return String::from("nobody") };
        self.endpoint(index).map_or_else(|| format!("#{}", index.get()), |endpoint| endpoint.identity.to_string())
    }

    fn line(&self, step: &Step) -> String {
        let name = self.name(step.endpoint());
        match *step {
            Step::Sticky { .. } => format!("the request sticks to {name}"),
            Step::Tier { priority } => format!("tier of priority {priority}"),
            Step::Zone { place } => format!("zone {place}"),
            Step::Bound { per_weight } => format!("bound: {per_weight:.2} in flight per weight, rounded up"),
            Step::Hashed { hash } => format!("hash {hash:#x}"),
            Step::Owner { .. } => format!("it belongs to {name}"),
            Step::Turn { turn, .. } => format!("turn {turn}: {name}"),
            Step::Draw { .. } => format!("drawn: {name}"),
            Step::Score { of, score, .. } => format!("{name}: {score:.3} ({of})"),
            Step::Settled { .. } => format!("the policy settles on {name}"),
            Step::Thinned { .. } => format!("{name} warms up: kept from this request"),
            Step::Searched { .. } => format!("all members looked at: {name}"),
            Step::CoolingDown { .. } => format!("endpoints that cool down looked at: {name}"),
            Step::ThrottlesEnded => String::from("nobody else can serve: throttles end"),
            Step::Unexplained => String::from("the policy does not explain its picks"),
        }
    }
}

impl fmt::Display for Explanation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<String> = self.endpoints.iter().map(|endpoint| endpoint.identity.to_string()).collect();
        let width = names.iter().map(|name| name.chars().count()).chain([8]).max().unwrap_or(8);
        writeln!(f, "  {:width$}  tier  weight  in flight  state", "endpoint")?;
        for (place, (endpoint, name)) in self.endpoints.iter().zip(&names).enumerate() {
            let is_chosen = self.choice.as_ref().is_ok_and(|chosen| chosen.get() == place);
            let mark = if is_chosen { '>' } else { ' ' };
            let in_flight = if endpoint.max_in_flight == InFlightLimit::NONE {
                endpoint.in_flight.to_string()
            } else {
                format!("{} of {}", endpoint.in_flight, endpoint.max_in_flight.value())
            };
            let (tier, weight, state) = (endpoint.priority, endpoint.weight.value(), endpoint.state());
            writeln!(f, "{mark} {name:width$}  {tier:4}  {weight:6}  {in_flight:>9}  {state}")?;
        }
        for (number, step) in (1..).zip(&self.steps) {
            writeln!(f, "{number:3}. {}", self.line(step))?;
        }
        match &self.choice {
            Ok(index) => write!(f, "picked: {}", self.name(Some(*index))),
            Err(error) => write!(f, "{error}"),
        }
    }
}
