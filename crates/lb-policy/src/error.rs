//! Why there was no endpoint to pick. Counted only when a pick has failed, so it costs a successful one nothing.

use std::fmt;

use lb_core::{Axis, EndpointState, Ignored};

/// Why no endpoint was picked. Its text is fit for a log: `no_endpoint: 3 ejected`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PickError {
    /// The cluster has no members.
    #[error("no_endpoint: the cluster is empty")]
    Empty,
    /// No endpoint may take the request: all are down, ejected, draining, ….
    #[error("no_endpoint: {0}")]
    AllIneligible(EndpointCounts),
    /// An endpoint could take it but for its `max_in_flight`: waiting may help.
    #[error("no_endpoint: {0}")]
    AllFull(EndpointCounts),
    /// Every endpoint that could take it was tried already.
    #[error("no_endpoint: {0}")]
    AllTried(EndpointCounts),
}

impl PickError {
    /// The counts behind it.
    #[must_use]
    pub fn counts(&self) -> EndpointCounts {
        match self {
            Self::Empty => EndpointCounts::default(),
            Self::AllIneligible(counts) | Self::AllFull(counts) | Self::AllTried(counts) => *counts,
        }
    }
}

/// How many members could not be picked, and why; each is counted once, under its first reason.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct EndpointCounts {
    /// Members kept out by an axis, in the order of [`Axis::ALL`].
    ineligible: [u32; Axis::ALL.len()],
    /// Members that could take it but were tried already.
    pub tried: u32,
    /// Members that could take it but are full.
    pub full: u32,
}

impl EndpointCounts {
    /// Members kept out for this reason.
    #[must_use]
    pub fn ineligible(&self, axis: Axis) -> u32 {
        Axis::ALL.iter().zip(self.ineligible).find_map(|(&a, count)| (a == axis).then_some(count)).unwrap_or(0)
    }

    pub(crate) fn count(&mut self, state: &EndpointState, ignored: Ignored, tried: bool) {
        let kept_out = !state.is_eligible_ignoring(ignored);
        let reason = state.reasons().next();
        match reason {
            Some(axis) if kept_out => {
                let place = Axis::ALL.iter().position(|&a| a == axis).unwrap_or(0);
                if let Some(count) = self.ineligible.get_mut(place) {
                    *count += 1;
                }
            }
            _ if tried => self.tried += 1,
            _ => self.full += 1,
        }
    }

    /// The error these counts make.
    pub(crate) fn into_error(self) -> PickError {
        if self.full > 0 {
            PickError::AllFull(self)
        } else if self.tried > 0 {
            PickError::AllTried(self)
        } else if self == Self::default() {
            PickError::Empty
        } else {
            PickError::AllIneligible(self)
        }
    }
}

impl fmt::Display for EndpointCounts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let axes = Axis::ALL.iter().zip(self.ineligible).map(|(&axis, count)| (count, word(axis)));
        let parts = axes.chain([(self.tried, "tried"), (self.full, "full")]).filter(|&(count, _)| count > 0);
        let mut first = true;
        for (count, word) in parts {
            let comma = if first { "" } else { ", " };
            write!(f, "{comma}{count} {word}")?;
            first = false;
        }
        Ok(())
    }
}

const fn word(axis: Axis) -> &'static str {
    match axis {
        Axis::Drain | Axis::DrainOrdered => "draining",
        Axis::WeightZero => "of weight zero",
        Axis::Maintenance => "in maintenance",
        Axis::Unresolved => "unresolved",
        Axis::NotReady => "not ready",
        Axis::Check => "down",
        Axis::Ejected => "ejected",
        Axis::Breaker => "with an open breaker",
        Axis::CoolDown => "cooling down",
        Axis::Removed => "removed",
        Axis::Other => "otherwise ineligible",
    }
}

#[cfg(test)]
mod tests {
    use lb_core::InFlightLimit;

    use super::*;

    #[test]
    fn it_says_why() {
        let mut counts = EndpointCounts::default();
        assert_eq!(counts.into_error().to_string(), "no_endpoint: the cluster is empty");
        let state = EndpointState::new(InFlightLimit::new(1));
        state.set(Axis::Ejected, true);
        for _ in 0..3 {
            counts.count(&state, Ignored::NOTHING, false);
        }
        assert_eq!(counts.into_error(), PickError::AllIneligible(counts));
        assert_eq!(counts.into_error().to_string(), "no_endpoint: 3 ejected");
        state.set(Axis::Ejected, false);
        counts.count(&state, Ignored::NOTHING, true);
        assert!(matches!(counts.into_error(), PickError::AllTried(_)));
        counts.count(&state, Ignored::NOTHING, false);
        assert!(matches!(counts.into_error(), PickError::AllFull(_)));
        assert_eq!(counts.into_error().to_string(), "no_endpoint: 3 ejected, 1 tried, 1 full");
        assert_eq!(counts.ineligible(Axis::Ejected), 3);
        assert_eq!(counts.ineligible(Axis::Check), 0);
    }
}
