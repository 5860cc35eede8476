//! Outages: what they cost with our rule of health, beside the rules of nginx, HAProxy, Envoy and linkerd.
//!
//! One load (Poisson, 100 requests a second, 60 ms each), one policy (round robin), one retry rule for all (three attempts, each at another
//! endpoint, without a budget): what differs is what a rule concludes and which endpoints it takes out. Ours is made of the machines of
//! lb-health that the proxy uses, over the cluster of lb-policy. The others are written down from their documentation and sources; they
//! are no measurement of those programs, which `cargo bench -p lbproxy --bench outage` is.
//!
//! What it counts, for each outage:
//!
//! - *lost*: requests that failed, or took longer than a second;
//! - *left*: seconds until endpoints that are struck get less than a tenth of their share; all of the outage if never;
//! - *back*: seconds from the recovery until each of them has answered five requests; 40 if never;
//! - *false*: endpoints that lost their requests, all or all but one at a time, while they were well, the end of the outage included.

mod faults;
mod peers;
mod rules;
mod world;

use std::time::Duration;

use lb_core::Mono;

pub use faults::{Fault, Scene, Strike};
use peers::{Envoy, Haproxy, Linkerd, Nginx};
use rules::{NoHealth, Ours, Rule};
use world::{Found, RATE};

use crate::report::{Judge, Report, Row};
use crate::seed::Seed;
use crate::stats::{Effort, Estimate};

/// A rule of health, by its proxy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Contender {
    /// lbproxy's.
    Ours,
    /// No health at all.
    NoHealth,
    /// nginx's passive checks.
    Nginx,
    /// HAProxy's active checks, and its watch over traffic.
    Haproxy,
    /// Envoy's outlier detection.
    Envoy,
    /// linkerd's circuit breaking.
    Linkerd,
}

impl Contender {
    /// Ours first.
    pub const ALL: [Self; 6] = [Self::Ours, Self::NoHealth, Self::Nginx, Self::Haproxy, Self::Envoy, Self::Linkerd];

    /// What it is called.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Ours => "ours",
            Self::NoHealth => "no health",
            Self::Nginx => "nginx",
            Self::Haproxy => "HAProxy",
            Self::Envoy => "Envoy",
            Self::Linkerd => "linkerd",
        }
    }

    fn rule(self, endpoints: usize) -> Box<dyn Rule> {
        match self {
            Self::Ours => Box::new(Ours::new(endpoints)),
            Self::NoHealth => Box::new(NoHealth),
            Self::Nginx => Box::new(Nginx::new(endpoints)),
            Self::Haproxy => Box::new(Haproxy::new(endpoints)),
            Self::Envoy => Box::new(Envoy::new(endpoints)),
            Self::Linkerd => Box::new(Linkerd::new(endpoints)),
        }
    }
}

/// What is compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Figure {
    /// Requests that failed, or took longer than a second.
    Lost,
    /// Seconds until traffic left.
    Left,
    /// Seconds until traffic was back.
    Back,
    /// Endpoints taken out that were well.
    False,
}

impl Figure {
    /// All of them, as they are shown.
    pub const ALL: [Self; 4] = [Self::Lost, Self::Left, Self::Back, Self::False];

    /// What it is called.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Lost => "lost",
            Self::Left => "left",
            Self::Back => "back",
            Self::False => "false",
        }
    }

    /// How much more than the best of the others counts as no worse.
    ///
    /// Losses come by chance, so the standard deviation of their mean over the seeds is about √(mean ∕ seeds): three of these, and the
    /// three that are under way at an endpoint when it is struck. Times are found to a quarter of a second at both ends. An endpoint that
    /// is well is taken out as rarely as by the best.
    fn tolerance(self, best: f64, seeds: u64) -> f64 {
        match self {
            Self::Lost => 3.0 + 3.0 * (best / seeds as f64).sqrt(),
            Self::Left | Self::Back => 0.5,
            Self::False => 0.0,
        }
    }
}

/// Where ours is worse than the best of the others today: nowhere. What comes in must be argued, and goes out when it is mended.
pub const SHORTFALLS: &[(&str, Figure)] = &[];

/// What one rule costs in one scene, the mean of all seeds; none where a figure has no meaning.
#[derive(Clone, Copy, Debug)]
struct Cost([Option<Estimate>; 4]);

impl Cost {
    fn get(&self, figure: Figure) -> Option<Estimate> {
        let place = Figure::ALL.iter().position(|&other| other == figure)?;
        self.0.get(place).copied().flatten()
    }

    /// Whether traffic left in less than half of the outage, in the mean.
    fn has_left(&self, scene: &Scene) -> bool {
        let length = scene.recovery.saturating_since(scene.fault).as_secs_f64();
        self.get(Figure::Left).is_none_or(|left| left.mean < length / 2.0)
    }
}

fn cost(scene: &Scene, contender: Contender, effort: &Effort) -> Cost {
    let found = effort.run(|seed| {
        let scene = stretched(scene, seed);
        let found = world::run(&scene, contender.rule(scene.endpoints), seed);
        [f64::from(found.lost), left(&scene, &found), back(&scene, &found), f64::from(found.false_ejections)]
    });
    let mean = |figure: usize| {
        let runs: Vec<_> = found.iter().filter_map(|found| found.get(figure)).copied().collect();
        Estimate::of(&runs)
    };
    Cost([Some(mean(0)), scene.can_leave.then(|| mean(1)), Some(mean(2)), Some(mean(3))])
}

/// Long outages are up to ten seconds longer, by chance but the same for every rule.
fn stretched(scene: &Scene, seed: Seed) -> Scene {
    let more = if scene.is_long() { 10.0 * seed.child(4).stream().unit() } else { 0.0 };
    scene.clone().longer_by(Duration::from_secs_f64(more))
}

/// Times are found to a quarter of a second.
const STEP_MS: u64 = 250;
/// Traffic that has left stays away for so long.
const AWAY_MS: u64 = 2_000;
/// The part of their share below which endpoints get no traffic, but trials.
const LEFT_SHARE: f64 = 0.1;

fn left(scene: &Scene, found: &Found) -> f64 {
    let share = RATE * scene.struck as f64 / scene.endpoints as f64 * AWAY_MS as f64 / 1_000.0;
    let is_away = |from: u64| {
        let within = Mono::from_millis(from)..Mono::from_millis(from + AWAY_MS);
        let picks = found.picks.iter().filter(|(at, endpoint)| *endpoint < scene.struck && within.contains(at));
        (picks.count() as f64) < LEFT_SHARE * share
    };
    let (fault, recovery) = (scene.fault.as_millis(), scene.recovery.as_millis());
    let mut steps = (fault..=recovery.saturating_sub(AWAY_MS)).step_by(STEP_MS as usize);
    (steps.find(|&from| is_away(from)).unwrap_or(recovery) - fault) as f64 / 1_000.0
}

/// So many good answers show that an endpoint is back.
const ANSWERS: usize = 5;

fn back(scene: &Scene, found: &Found) -> f64 {
    let since = |at: Mono| at.saturating_since(scene.recovery).as_secs_f64();
    let back = (0..scene.struck).map(|struck| {
        let answers = found.answers.iter().filter(|&&(at, endpoint)| endpoint == struck && at > scene.recovery);
        since(answers.map(|&(at, _)| at).nth(ANSWERS - 1).unwrap_or(scene.end))
    });
    back.fold(0.0, f64::max)
}

/// A figure of ours, and the best of the others'.
struct Comparison {
    scene: &'static str,
    figure: Figure,
    ours: Estimate,
    others: Vec<(Contender, Estimate)>,
    best: f64,
    tolerance: f64,
}

impl Comparison {
    fn is_known(&self) -> bool {
        SHORTFALLS.contains(&(self.scene, self.figure))
    }
}

fn comparisons(effort: &Effort) -> Vec<Comparison> {
    let mut comparisons = Vec::new();
    for scene in Scene::all() {
        let costs = Contender::ALL.map(|contender| (contender, cost(&scene, contender, effort)));
        let [(_, ours), others @ ..] = &costs;
        for figure in Figure::ALL {
            let counts = |contender: Contender, cost: &Cost| match figure {
                Figure::Lost => true,
                // Without health no endpoint is ever taken out, neither late nor by mistake.
                Figure::Left | Figure::False => contender != Contender::NoHealth,
                Figure::Back => contender != Contender::NoHealth && cost.has_left(&scene),
            };
            let Some(our_figure) = ours.get(figure).filter(|_| counts(Contender::Ours, ours)) else { continue };
            let others: Vec<_> = others
                .iter()
                .filter(|(contender, cost)| counts(*contender, cost))
                .filter_map(|(contender, cost)| Some((*contender, cost.get(figure)?)))
                .collect();
            let best = others.iter().map(|(_, estimate)| estimate.mean).fold(f64::INFINITY, f64::min);
            let tolerance = figure.tolerance(best, effort.seeds);
            comparisons.push(Comparison { scene: scene.name, figure, ours: our_figure, others, best, tolerance });
        }
    }
    comparisons
}

/// The table.
#[must_use]
pub fn report(effort: &Effort) -> Report {
    let mut report = Report::new(
        "Outages: requests lost, seconds until traffic left and was back, endpoints taken out that were well.\n\
         \"Published\" is the best of the others' rules, which are simulated too. What is only shown is a known shortfall.",
    );
    for comparison in comparisons(effort) {
        let others = comparison.others.iter().map(|(contender, estimate)| {
            let decimals = usize::from(estimate.mean < 10.0 && estimate.mean > 0.0);
            format!("{} {:.decimals$}", contender.name(), estimate.mean)
        });
        let others: Vec<_> = others.collect();
        let name = format!("{}: {} ({})", comparison.scene, comparison.figure.name(), others.join(", "));
        let judge = if comparison.is_known() { Judge::Shown } else { Judge::AtMostBeyond(comparison.tolerance) };
        report.rows.push(Row::new(name, comparison.ours, comparison.best, judge));
    }
    report
}

#[cfg(test)]
mod tests {
    use super::*;

    const EFFORT: Effort = Effort { seeds: 3, quick: true, threads: 2 };

    fn found(scene: &str, contender: Contender) -> (Scene, Found) {
        let scene = Scene::all().into_iter().find(|known| known.name == scene).unwrap();
        let found = world::run(&scene, contender.rule(scene.endpoints), Seed::new(1));
        (scene, found)
    }

    /// The list of shortfalls is exact: a new one fails the test, and so does one that was mended.
    #[test]
    fn ours_loses_the_fewest_but_for_the_known_shortfalls() {
        let comparisons = comparisons(&EFFORT);
        let worse = comparisons.iter().filter(|it| it.ours.mean > it.best + it.tolerance);
        let worse: Vec<_> = worse.map(|comparison| (comparison.scene, comparison.figure)).collect();
        let list = |these: Vec<&(&str, Figure)>| {
            these
                .iter()
                .map(|(scene, figure)| format!("(\"{scene}\", Figure::{figure:?}),"))
                .collect::<Vec<_>>()
                .join("\n")
        };
        let mended = list(SHORTFALLS.iter().filter(|known| !worse.contains(known)).collect());
        let new = list(worse.iter().filter(|found| !SHORTFALLS.contains(found)).collect());
        assert!(mended.is_empty(), "mended, so take it out of SHORTFALLS:\n{mended}");
        assert!(new.is_empty(), "worse than the best of the others:\n{new}\n\n{}", report(&EFFORT).to_text());
    }

    #[test]
    fn without_health_what_is_lost_can_be_calculated() {
        // Each request has three attempts at different endpoints, and one of them is well.
        let (_, down) = found("two of three down", Contender::NoHealth);
        assert_eq!(down.lost, 0);
        // 20 s at 100 requests a second, all of them refused: σ 45.
        let (_, all) = found("all down", Contender::NoHealth);
        assert!((1_850..2_150).contains(&all.lost), "{}", all.lost);
        // A quarter of them take 1.2 s, so 500: σ 22.
        let (_, slow) = found("one of four slow by 20 ×", Contender::NoHealth);
        assert!((430..570).contains(&slow.lost), "{}", slow.lost);
        // All that arrive within the 2 s, and their SYN is sent again after a second or three.
        let (_, hole) = found("all in a black hole for 2 s", Contender::NoHealth);
        assert!((160..250).contains(&hole.lost), "{}", hole.lost);
    }

    #[test]
    fn each_rule_does_what_its_documentation_says() {
        // Three failures, and those under way meanwhile; then one in ten seconds.
        let (scene, nginx) = found("one of three down", Contender::Nginx);
        let tried = |found: &Found, from: u64, to: u64| {
            let within = Mono::from_millis(from)..Mono::from_millis(to);
            found.picks.iter().filter(|(at, endpoint)| *endpoint == 0 && within.contains(at)).count()
        };
        assert!(tried(&nginx, 10_000, 20_000) <= 3, "those that were reset count too");
        assert_eq!(tried(&nginx, 20_000, 29_000), 1, "the one trial");
        assert!(back(&scene, &nginx) <= 10.5);
        // Two passing checks at 2 s, from the first one after the recovery.
        let (scene, haproxy) = found("one of three down", Contender::Haproxy);
        assert!((1.9..4.5).contains(&back(&scene, &haproxy)), "{}", back(&scene, &haproxy));
        // The second ejection of three is beyond a tenth, so traffic stays.
        let (scene, envoy) = found("two of three down", Contender::Envoy);
        assert!((left(&scene, &envoy) - 20.0).abs() < 1e-9);
        // 1 s, 2 s, 4 s, 8 s and up to a half more: four or five trials in 20 s.
        let (_, linkerd) = found("one of three down", Contender::Linkerd);
        assert!((3..=5).contains(&tried(&linkerd, 10_600, 30_000)), "{}", tried(&linkerd, 10_600, 30_000));
    }

    #[test]
    fn the_same_seed_finds_the_same() {
        let picks = |seed| {
            let scene = Scene::all().into_iter().next().unwrap();
            world::run(&scene, Contender::Ours.rule(scene.endpoints), Seed::new(seed)).picks
        };
        assert!(picks(1) == picks(1) && picks(1) != picks(2));
    }
}
