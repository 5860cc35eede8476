//! The tables' results, drawn.

use lb_policy::{LeastRequest, PeakEwma, RoundRobin};

use crate::stats::{Effort, Estimate};
use crate::svg::{Bars, Chart, Series};
use crate::tables::buoyant::{self, Contender};
use crate::tables::disruption::{self, Change};
use crate::tables::{prequal, supermarket};

/// A picture's file name and content.
#[derive(Clone, Debug)]
pub struct Picture {
    /// Without a folder.
    pub file: &'static str,
    /// SVG.
    pub svg: String,
}

/// All of them.
#[must_use]
pub fn all(effort: &Effort) -> Vec<Picture> {
    vec![
        Picture { file: "supermarket.svg", svg: supermarket(effort).to_svg() },
        Picture { file: "buoyant.svg", svg: buoyant(effort).to_svg() },
        Picture { file: "disruption.svg", svg: disruption(effort).to_svg() },
        Picture { file: "prequal.svg", svg: prequal(effort).to_svg() },
    ]
}

fn supermarket(effort: &Effort) -> Chart {
    let mut series = Vec::new();
    for (colour, choices) in [1, 2, 3, 5].into_iter().enumerate() {
        let curve = (50..=99).map(|percent| f64::from(percent) / 100.0);
        let points = curve.map(|load| (load, supermarket::mean_time(load, choices))).collect();
        series.push(Series { name: format!("d = {choices}"), points, is_line: true, colour });
        let dot = |load| {
            let market = supermarket::Market::of_table(load, choices);
            let times = effort.run(|seed| market.run(seed).mean_time);
            (load, Estimate::of(&times).mean)
        };
        let loads: &[f64] = effort.pick(&[0.5, 0.9], &[0.5, 0.7, 0.8, 0.9, 0.95, 0.99]);
        let points = loads.iter().copied().map(dot).collect();
        series.push(Series { name: String::new(), points, is_line: false, colour });
    }
    Chart {
        title: "Mean time in the system with d choices (lines: theory, dots: ours)".to_owned(),
        x_label: "load".to_owned(),
        y_label: "services".to_owned(),
        x_ticks: vec![0.5, 0.6, 0.7, 0.8, 0.9, 1.0],
        y_ticks: vec![1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0],
        is_log: true,
        series,
    }
}

fn buoyant(effort: &Effort) -> Chart {
    let contenders = [
        Contender::new(RoundRobin),
        Contender::new(LeastRequest::exact()),
        Contender { ejects: true, ..Contender::new(RoundRobin) },
        Contender::new(PeakEwma::default()),
    ];
    let series = contenders.iter().enumerate().map(|(colour, contender)| {
        let found = effort.run(|seed| buoyant::run(contender, seed).seconds);
        let share = |second: usize| {
            let both = found.iter().filter_map(|seconds| seconds.get(second));
            let (begun, succeeded) = both.fold((0, 0), |sum, one| (sum.0 + one.0, sum.1 + one.1));
            (second as f64, 100.0 * f64::from(succeeded) / f64::from(begun.max(1)))
        };
        let points = (0..buoyant::SECONDS).map(share).collect();
        Series { name: contender.name(), points, is_line: true, colour }
    });
    Chart {
        title: "One of eleven endpoints is slow from second 15 to 45".to_owned(),
        x_label: "seconds".to_owned(),
        y_label: "requests that succeed, %".to_owned(),
        x_ticks: vec![0.0, 15.0, 30.0, 45.0, 60.0],
        y_ticks: vec![88.0, 90.0, 92.0, 94.0, 96.0, 98.0, 100.0],
        is_log: false,
        series: series.collect(),
    }
}

fn disruption(effort: &Effort) -> Bars {
    const ENDPOINTS: usize = 100;
    let shown = [Change::RemoveOne, Change::AddOne, Change::Flap];
    let group = |policy: &lb_policy::BuiltIn| {
        let found = effort.run(|seed| disruption::run(policy, ENDPOINTS, 50_000, seed));
        let mean = |place: usize| {
            let runs: Vec<f64> = found.iter().filter_map(|found| found.excess.get(place).copied()).collect();
            Estimate::of(&runs).mean
        };
        let places = Change::ALL.iter().enumerate().filter(|(_, change)| shown.contains(change));
        (policy.name().to_owned(), places.map(|(place, _)| mean(place)).collect())
    };
    Bars {
        title: "Keys that move without need, 100 endpoints".to_owned(),
        legend: shown.iter().map(|change| change.name().to_owned()).collect(),
        groups: disruption::policies().iter().map(group).collect(),
    }
}

fn prequal(effort: &Effort) -> Chart {
    let steps = if effort.quick { vec![0.75] } else { prequal::ramp() };
    let series = [prequal::weighted(), prequal::probing()].into_iter().enumerate().map(|(colour, rule)| {
        let p99 = |load: f64| {
            let setting = prequal::Setting { load, is_mixed: false, seconds: effort.pick(4.0, 40.0) };
            let found = effort.run(|seed| prequal::run(&rule, setting, seed).times.quantile(0.99) as f64 / 1e6);
            (load, Estimate::of(&found).mean)
        };
        let points = steps.iter().copied().map(p99).collect();
        Series { name: rule.name.to_owned(), points, is_line: true, colour }
    });
    Chart {
        title: "Noisy neighbours: time of 99 in 100 queries (deadline 5 s)".to_owned(),
        x_label: "load relative to what is allotted".to_owned(),
        y_label: "ms".to_owned(),
        x_ticks: vec![0.6, 0.8, 1.0, 1.2, 1.4, 1.6, 1.8],
        y_ticks: vec![100.0, 200.0, 500.0, 1_000.0, 2_000.0, 5_000.0],
        is_log: true,
        series: series.collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pictures_are_drawn_the_same_twice() {
        let effort = Effort { seeds: 1, quick: true, threads: 1 };
        let draw = || buoyant(&effort).to_svg();
        let svg = draw();
        assert_eq!(svg, draw());
        assert_eq!(svg.matches("<polyline").count(), 4);
    }
}
