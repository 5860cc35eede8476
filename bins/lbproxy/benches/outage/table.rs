//! The table in Markdown, and the verdict.

use std::fmt::Write as _;
use std::time::Duration;

use super::Outcome;
use super::contenders::Contender;
use super::figures::Figures;
use super::scenes::Scene;

/// What is measured.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Settings {
    pub(crate) rate: u32,
    pub(crate) fault: Duration,
    /// Scenes at the same time.
    pub(crate) at_once: usize,
    /// Whether the proxy was built with optimisation.
    pub(crate) is_optimized: bool,
}

/// A load that is later than this says little about a second, and nothing about what is in flight.
const MAX_LATE: Duration = Duration::from_millis(200);

fn is_late(outcome: &Outcome) -> bool {
    outcome.late > MAX_LATE
}

/// The whole answer.
pub(crate) fn write(settings: &Settings, contenders: &[Contender], outcomes: &[(Scene, Outcome)]) -> String {
    let mut out = String::new();
    let names: Vec<_> = contenders.iter().map(|contender| contender.name()).collect();
    // Writing to a String does not fail.
    let _ = writeln!(out, "| outage | {} |\n|---|{}", names.join(" | "), "---|".repeat(names.len()));
    for (scene, outcome) in outcomes {
        let cells = contenders.iter().zip(&outcome.figures).map(|(contender, figures)| {
            let is_judged = !is_late(outcome) && !contender.is_peer();
            let is_worse = figures.worse_than(&peers(contenders, outcome)).map(|is_worse| is_worse && is_judged);
            let cells = figures.cells().into_iter().zip(is_worse);
            let cells = cells.map(|((text, _), is_worse)| if is_worse { format!("**{text}**") } else { text });
            cells.collect::<Vec<_>>().join(" / ")
        });
        let mark = if is_late(outcome) { " †" } else { "" };
        let _ = writeln!(out, "| {}{mark} | {} |", scene.name, cells.collect::<Vec<_>>().join(" | "));
    }
    let Settings { rate, fault, at_once, is_optimized } = settings;
    let build = if *is_optimized { "an optimized build" } else { "a build without optimization" };
    let late = outcomes.iter().map(|(_, outcome)| outcome.late).max().unwrap_or_default();
    let _ = writeln!(
        out,
        "\nEach cell: failed / slower than 1 s, failed included / seconds until traffic left / until it was back / attempts at\n\
         endpoints while they were struck. Bold: worse than the better of the peers, beyond chance.\n\
         {rate} requests a second for each proxy, faults of {} s, {at_once} scenes at once, {build};\n\
         99 of 100 requests were sent within {} ms of their time in the worst scene.\n",
        fault.as_secs_f64(),
        late.as_millis()
    );
    if late > MAX_LATE {
        out += "† The machine was busy with other things, and the load late: not judged.\n\n";
    }
    for &contender in contenders.iter().filter(|contender| !contender.is_peer()) {
        out += &verdict(contender, contenders, outcomes);
    }
    out
}

/// How many figures are no worse than the peers', and than without any health.
fn verdict(contender: Contender, contenders: &[Contender], outcomes: &[(Scene, Outcome)]) -> String {
    let of = |outcome: &Outcome, wanted: Contender| {
        let place = contenders.iter().position(|&contender| contender == wanted)?;
        outcome.figures.get(place).copied()
    };
    let (mut figures, mut lost, mut to_least) = (0, Vec::new(), Vec::new());
    for (scene, outcome) in outcomes.iter().filter(|(_, outcome)| !is_late(outcome)) {
        let Some(ours) = of(outcome, contender) else { continue };
        let peers = peers(contenders, outcome);
        figures += ours.cells().iter().filter(|(_, number)| number.is_some()).count();
        lost.extend(named(scene, ours.worse_than(&peers)));
        if let Some(least) = of(outcome, Contender::Least) {
            // What it tries is not the client's loss.
            let [failed, slow, ..] = ours.worse_than(&[least]);
            to_least.extend(named(scene, [failed, slow, false, false, false]));
        }
    }
    let mut out = format!(
        "- *{}*: {} of {figures} figures no worse than the better peer",
        contender.name(),
        figures - lost.len()
    );
    if !to_least.is_empty() {
        let _ = write!(out, "; worse than *least*: {}", to_least.join("; "));
    }
    out + ".\n"
}

fn peers(contenders: &[Contender], outcome: &Outcome) -> Vec<Figures> {
    let figures = contenders.iter().zip(&outcome.figures);
    figures.filter(|(contender, _)| contender.is_peer()).map(|(_, figures)| *figures).collect()
}

fn named(scene: &Scene, is_worse: [bool; 5]) -> Vec<String> {
    const NAMES: [&str; 5] = ["failed", "slow", "left", "back", "attempts"];
    let worse = NAMES.iter().zip(is_worse).filter(|(_, is_worse)| *is_worse);
    worse.map(|(name, _)| format!("{} ({name})", scene.name)).collect()
}
