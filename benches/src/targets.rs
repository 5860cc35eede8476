//! The figures as tables that a person reads, and what they ought to be.

use std::fmt::{self, Write};

use lb_core::EndpointState;

use crate::rounds::Measured;

/// Everything that was measured, by section.
#[derive(Debug, Default)]
pub struct Results {
    sections: Vec<(String, Vec<Measured>)>,
}

/// What a pick may cost: the section, the subject, the endpoints, and the most it may take in floors.
const TARGETS: &[(&str, &str, usize, f64)] = &[
    ("table", "round_robin", 2, 2.0),
    ("table", "round_robin", 10, 2.0),
    ("table", "round_robin", 100, 2.0),
    ("table", "round_robin", 1000, 2.0),
    ("slot", "p2c", 10, 6.0),
    ("slot", "p2c", 100, 6.0),
    ("slot", "p2c", 1000, 6.0),
    ("table", "peak_ewma", 10, 12.0),
    ("table", "peak_ewma", 100, 12.0),
    ("table", "peak_ewma", 1000, 12.0),
    ("table", "maglev", 10, 3.0),
    ("table", "maglev", 100, 3.0),
    ("table", "maglev", 1000, 3.0),
    ("table, all busy", "least_request", 100, 12.0),
    ("table, all busy", "least_request", 1000, 24.0),
];

/// The most that snapshot and ticket may add to table and slot, in floors.
const MAX_OF_CLUSTER: f64 = 3.0;

impl Results {
    /// Adds to a section.
    pub fn add(&mut self, section: &str, measured: Measured) {
        match self.sections.iter_mut().find(|(name, _)| name == section) {
            Some((_, list)) => list.push(measured),
            None => self.sections.push((section.to_owned(), vec![measured])),
        }
    }

    fn floors(&self, section: &str, name: &str, endpoints: usize) -> Option<f64> {
        let (_, list) = self.sections.iter().find(|(it, _)| it == section)?;
        Some(list.iter().find(|it| it.name == name && it.endpoints == endpoints)?.floors)
    }

    fn write_section(&self, out: &mut impl Write, title: &str, list: &[Measured]) -> fmt::Result {
        let mut sizes: Vec<_> = list.iter().map(|it| it.endpoints).collect();
        sizes.sort_unstable();
        sizes.dedup();
        let mut names: Vec<&str> = Vec::new();
        for it in list {
            if !names.contains(&it.name.as_str()) {
                names.push(&it.name);
            }
        }
        writeln!(out, "\n{title}")?;
        write!(out, "{:32}", "endpoints")?;
        for size in &sizes {
            write!(out, "{size:>20}")?;
        }
        writeln!(out)?;
        for name in names {
            write!(out, "{name:32}")?;
            for size in &sizes {
                match list.iter().find(|it| it.name == name && it.endpoints == *size) {
                    Some(it) => write!(out, "{:>11.1} ns{:>5.1} F", it.ns, it.floors)?,
                    None => write!(out, "{:>20}", "-")?,
                }
            }
            writeln!(out)?;
        }
        Ok(())
    }

    fn write_targets(&self, out: &mut impl Write) -> fmt::Result {
        writeln!(out, "\nTargets")?;
        let mut line = |what: String, most: f64, is: f64| {
            let verdict = if is <= most { "MET" } else { "MISSED" };
            writeln!(out, "{what:72} at most {most:>5.1} F   is {is:>6.2} F   {verdict}")
        };
        for &(section, name, endpoints, most) in TARGETS {
            if let Some(is) = self.floors(section, name, endpoints) {
                line(format!("{name}, {endpoints} endpoints, {section}"), most, is)?;
            }
        }
        for name in ["round_robin", "p2c", "peak_ewma", "maglev"] {
            let layers = ["reader", "slot"].map(|section| self.floors(section, name, 100));
            if let [Some(whole), Some(inner)] = layers {
                line(format!("{name}, 100 endpoints, what snapshot and ticket add"), MAX_OF_CLUSTER, whole - inner)?;
            }
        }
        for tower in ["tower p2c::Balance, bare", "tower p2c::Balance, in Buffer"] {
            let both = [tower, "p2c, slot"].map(|name| self.floors("beside tower", name, 100));
            if let [Some(theirs), Some(ours)] = both {
                line(format!("p2c, 100 endpoints, slot; a twelfth of {tower}"), theirs / 12.0, ours)?;
            }
        }
        let hot = (std::mem::size_of::<EndpointState>(), std::mem::align_of::<EndpointState>());
        let verdict = if hot == (64, 64) { "MET" } else { "MISSED" };
        writeln!(
            out,
            "{:72} 64 of 64 bytes     is {} of {}     {verdict}",
            "hot state of an endpoint, size and alignment", hot.0, hot.1
        )
    }
}

impl fmt::Display for Results {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (title, list) in &self.sections {
            self.write_section(f, title, list)?;
        }
        self.write_targets(f)
    }
}
