//! `lb-sim TABLE`: prints what the policies do in simulation beside what was published; exit code 1 if they differ.
#![forbid(unsafe_code)]

use std::io::{self, Write as _};
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use lb_sim::tables::supermarket;
use lb_sim::{Effort, Report};

/// Compares what the selection policies do, in simulation, with published figures.
#[derive(Debug, Parser)]
#[command(version)]
struct Arguments {
    #[command(subcommand)]
    table: Table,
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

#[derive(Clone, Copy, Debug, Subcommand)]
enum Table {
    /// Every table
    All,
    /// Mean waiting time with d choices against the exact theory
    Supermarket,
}

impl Table {
    const EACH: [Self; 1] = [Self::Supermarket];

    fn reports(self, effort: &Effort) -> Vec<Report> {
        match self {
            Self::All => Self::EACH.into_iter().flat_map(|table| table.reports(effort)).collect(),
            Self::Supermarket => vec![supermarket::report(effort)],
        }
    }
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let effort = Effort { seeds: arguments.seeds, quick: arguments.quick, threads: arguments.threads };
    let reports = arguments.table.reports(&effort);
    if print(&reports, arguments.json).is_err() {
        return ExitCode::from(2);
    }
    if reports.iter().all(Report::is_ok) { ExitCode::SUCCESS } else { ExitCode::FAILURE }
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
