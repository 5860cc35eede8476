//! `lb-sim TABLE`: prints what the policies do in simulation beside what was published; exit code 1 if they differ.
#![forbid(unsafe_code)]

use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use lb_sim::tables::{balls, bounded, buoyant, disruption, limits, outage, prequal, supermarket};
use lb_sim::{Effort, Report, pictures};

/// Compares what the selection policies do, in simulation, with published figures.
#[derive(Debug, Parser)]
#[command(version)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
    /// Independent runs of each case
    #[arg(long, global = true, default_value_t = Effort::FULL.seeds, value_parser = clap::value_parser!(u64).range(2..))]
    seeds: u64,
    /// Fewer cases and shorter runs
    #[arg(long, global = true)]
    quick: bool,
    /// Runs at a time; has no influence on the figures
    #[arg(long, global = true, default_value_t = Effort::FULL.threads)]
    threads: usize,
    /// One JSON object instead of text
    #[arg(long, global = true)]
    json: bool,
}

#[derive(Clone, Debug, Subcommand)]
enum Command {
    #[command(flatten)]
    Table(Table),
    /// Draw the pictures of docs/policies.md into a folder
    Svg {
        /// The folder, which must exist
        #[arg(default_value = "docs/pictures")]
        folder: PathBuf,
    },
}

#[derive(Clone, Copy, Debug, Subcommand)]
enum Table {
    /// Every table
    All,
    /// Mean waiting time with d choices against the exact theory
    Supermarket,
    /// Requests that succeed while one endpoint of eleven is slow
    Buoyant,
    /// The fullest of n bins with one choice and with two
    Balls,
    /// Keys that move when the list of endpoints changes
    Disruption,
    /// Loads and cache hits of bounded hashes under popular keys
    Bounded,
    /// Time and failures on Prequal's testbed as load rises
    Prequal,
    /// What outages cost with our rule of health and with those of others
    Outage,
    /// What adaptive limits make of a service that slows down, refuses or fails
    Limits,
}

impl Table {
    const EACH: [Self; 8] = [
        Self::Supermarket,
        Self::Buoyant,
        Self::Balls,
        Self::Disruption,
        Self::Bounded,
        Self::Prequal,
        Self::Outage,
        Self::Limits,
    ];

    fn reports(self, effort: &Effort) -> Vec<Report> {
        let report = match self {
            Self::All => return Self::EACH.into_iter().flat_map(|table| table.reports(effort)).collect(),
            Self::Supermarket => supermarket::report(effort),
            Self::Buoyant => buoyant::report(effort),
            Self::Balls => balls::report(effort),
            Self::Disruption => disruption::report(effort),
            Self::Bounded => bounded::report(effort),
            Self::Prequal => prequal::report(effort),
            Self::Outage => outage::report(effort),
            Self::Limits => limits::report(effort),
        };
        vec![report]
    }
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let effort = Effort { seeds: arguments.seeds, quick: arguments.quick, threads: arguments.threads };
    let done = match &arguments.command {
        Command::Table(table) => {
            let reports = table.reports(&effort);
            print(&reports, arguments.json).map(|()| reports.iter().all(Report::is_ok))
        }
        Command::Svg { folder } => draw(folder, &effort).map(|()| true),
    };
    match done {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            // Nothing is left to do if that cannot be written either.
            let _ = writeln!(io::stderr(), "lb-sim: {error}");
            ExitCode::from(2)
        }
    }
}

fn draw(folder: &Path, effort: &Effort) -> io::Result<()> {
    // Known before minutes of work, not after them.
    if !folder.is_dir() {
        return Err(io::Error::new(io::ErrorKind::NotADirectory, format!("{} is no folder", folder.display())));
    }
    for picture in pictures::all(effort) {
        std::fs::write(folder.join(picture.file), picture.svg)?;
    }
    Ok(())
}

fn print(reports: &[Report], as_json: bool) -> io::Result<()> {
    let mut out = io::stdout().lock();
    if as_json {
        let rows: Vec<_> = reports.iter().flat_map(|report| &report.rows).collect();
        serde_json::to_writer_pretty(&mut out, &serde_json::json!({ "rows": rows }))?;
        return writeln!(out);
    }
    for report in reports {
        writeln!(out, "{}", report.to_text())?;
    }
    Ok(())
}
