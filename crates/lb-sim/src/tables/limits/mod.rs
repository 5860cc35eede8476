//! Limits that find their own value, before a service that becomes slower, refuses, fails or is noisy; beside the published rules.
//!
//! A service has 100 places, each request takes 50 ms ± 20 %, and half as many again may wait; what comes beyond is refused after a
//! millisecond. Requests arrive at one and a half times what it can serve (Poisson), and those beyond the limit are shed before they
//! reach it. By Little's law the right limit is 100: below it the service idles, above it requests only wait.
//!
//! *Published* is Netflix's rule as it is published, with its defaults, run in the same simulation with the same random
//! numbers. Envoy's gradient is published without one, for losses do not occur in its rule: it has no figure beside it.

mod published;
mod service;

use lb_core::Mono;
use lb_ratelimit::adaptive::{
    Aimd, AimdConfig, Gradient, Gradient2, Gradient2Config, GradientConfig, Limit, Vegas, VegasConfig,
};

use crate::report::{Judge, Report, Row, Unit};
use crate::seed::Seed;
use crate::stats::{Effort, Estimate};
use service::{Case, Outcome, run};

/// The table.
#[must_use]
pub fn report(effort: &Effort) -> Report {
    let mut report = Report::new(
        "Adaptive limits before a service with 100 places of 50 ms, asked for 150 % of what it can serve: ours, and as published by Netflix.",
    );
    for case in Case::ALL {
        for rule in Rule::ALL {
            report.rows.extend(rows(case, rule, effort));
        }
    }
    report
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Rule {
    Aimd,
    Vegas,
    Gradient2,
    Gradient,
}

impl Rule {
    const ALL: [Self; 4] = [Self::Aimd, Self::Vegas, Self::Gradient2, Self::Gradient];

    const fn name(self) -> &'static str {
        match self {
            Self::Aimd => "AIMD",
            Self::Vegas => "Vegas",
            Self::Gradient2 => "Gradient2",
            Self::Gradient => "Envoy's gradient",
        }
    }

    fn ours(self) -> Box<dyn Limit> {
        match self {
            Self::Aimd => Box::new(Aimd::new(AimdConfig::default())),
            Self::Vegas => Box::new(Vegas::new(VegasConfig::default(), u64::MAX / 2)),
            Self::Gradient2 => Box::new(Gradient2::new(Gradient2Config::default())),
            Self::Gradient => Box::new(Gradient::new(GradientConfig::default(), Mono::ZERO, u64::MAX / 2)),
        }
    }

    fn published(self) -> Option<Box<dyn Limit>> {
        match self {
            Self::Aimd => Some(Box::new(published::Aimd::default())),
            Self::Vegas => Some(Box::new(published::Vegas::default())),
            Self::Gradient2 => Some(Box::new(published::Gradient2::default())),
            Self::Gradient => None,
        }
    }
}

/// How much of what the service can do is served, how long that takes, and how soon it is so.
fn rows(case: Case, rule: Rule, effort: &Effort) -> Vec<Row> {
    let runs = |rule: &dyn Fn() -> Option<Box<dyn Limit>>| -> Vec<Outcome> {
        (0..effort.seeds).filter_map(|seed| Some(run(case, rule()?.as_mut(), effort.quick, Seed::new(seed)))).collect()
    };
    let ours = runs(&|| Some(rule.ours()));
    let published = runs(&|| rule.published());
    let row = |what: &str, figure: fn(&Outcome) -> f64, unit: Unit| {
        let of = |runs: &[Outcome]| Estimate::of(&runs.iter().map(figure).collect::<Vec<f64>>());
        let published = (!published.is_empty()).then(|| of(&published).mean);
        let name = format!("{}, {}: {what}", case.name(), rule.name());
        // Only what is served has a better and a worse; a point is what chance may do. Ours of AIMD grows by one in a round trip and
        // not with each request, and is slower by definition.
        let judge = if unit == Unit::Share && rule != Rule::Aimd { Judge::AtLeast } else { Judge::Shown };
        Row {
            name,
            ours: of(&ours),
            published: published.map(|it| if unit == Unit::Share { it - 0.01 } else { it }),
            judge,
            unit,
        }
    };
    vec![
        row("served of what it can", |outcome| outcome.served, Unit::Share),
        row("mean limit", |outcome| outcome.limit, Unit::Plain),
        row("mean time", |outcome| outcome.time, Unit::Millis),
        row("seconds to adapt", |outcome| outcome.adapted_after, Unit::Plain),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ours_serves_no_less_than_what_is_published() {
        let report = report(&Effort { seeds: 2, quick: true, threads: 1 });
        assert!(report.is_ok(), "{}", report.to_text());
        assert_eq!(report.rows.len(), Case::ALL.len() * Rule::ALL.len() * 4);
    }

    #[test]
    fn refusals_and_losses_do_not_pin_the_limits_that_measure_time() {
        for rule in [Rule::Gradient2, Rule::Gradient] {
            for case in [Case::Steady, Case::Step, Case::Refusals, Case::TotalLoss] {
                let outcome = run(case, rule.ours().as_mut(), true, Seed::new(7));
                assert!(outcome.served > 0.85, "{}, {}: {outcome:?}", case.name(), rule.name());
            }
        }
    }
}
