//! What outages cost, beside nginx and HAProxy: prints the table of `docs/health.md`.
//!
//! ```text
//! cargo bench -p lbproxy --bench outage
//! cargo bench -p lbproxy --bench outage -- --scenes killed --seconds 5
//! ```
//!
//! The whole takes some eight minutes. It needs nginx and HAProxy of the distribution; where one is missing its column is. Quiet machines
//! give the better figures: the last lines say how late the load was.
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "it is run to be read")]

#[path = "mod.rs"]
mod outage;
#[path = "../../tests/programs/mod.rs"]
#[allow(dead_code, unused_imports, reason = "tests start them as well")]
mod programs;
#[path = "../../tests/support/mod.rs"]
#[allow(dead_code, unused_imports, unused_macros, reason = "the harness serves several targets")]
mod support;

use std::process::ExitCode;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use clap::Parser;
use tokio::runtime::Builder;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

use outage::contenders::Contender;
use outage::scenes::{self, Scene};
use outage::{Outcome, table};

/// Measures what outages cost behind lbproxy, nginx and HAProxy
#[derive(Debug, Parser)]
#[command(name = "outage")]
struct Arguments {
    /// Only scenes with one of these in their names, separated by commas
    #[arg(long, value_delimiter = ',')]
    scenes: Vec<String>,
    /// Requests a second for each proxy
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(10..=1_000))]
    rate: u32,
    /// How long a fault lasts
    #[arg(long, default_value_t = 15, value_parser = clap::value_parser!(u64).range(4..=120))]
    seconds: u64,
    /// Scenes at the same time
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u16).range(1..=16))]
    at_once: u16,
    /// Only lists the scenes
    #[arg(long)]
    list: bool,
    /// Cargo passes this to every bench
    #[arg(long, hide = true)]
    bench: bool,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let is_wanted = |scene: &Scene| {
        arguments.scenes.is_empty() || arguments.scenes.iter().any(|part| scene.name.contains(part.as_str()))
    };
    let scenes: Vec<_> = scenes::all(Duration::from_secs(arguments.seconds)).into_iter().filter(is_wanted).collect();
    if arguments.list || scenes.is_empty() {
        scenes.iter().for_each(|scene| println!("{}", scene.name));
        return if arguments.list { ExitCode::SUCCESS } else { ExitCode::from(2) };
    }
    // Each request that hangs is four open files, and thousands may.
    if let Err(error) = rlimit::increase_nofile_limit(u64::MAX) {
        eprintln!("outage: cannot raise the limit of open files: {error}");
    }
    let contenders: Vec<_> = Contender::ALL.into_iter().filter(|contender| contender.is_there()).collect();
    let outcomes = run_all(&scenes, &contenders, &arguments);
    let is_whole = outcomes.len() == scenes.len();
    let settings = table::Settings {
        rate: arguments.rate,
        fault: Duration::from_secs(arguments.seconds),
        at_once: usize::from(arguments.at_once),
        is_optimized: !cfg!(debug_assertions),
    };
    println!("{}", table::write(&settings, &contenders, &outcomes));
    if contenders.len() < Contender::ALL.len() {
        eprintln!("outage: a peer is not installed, so its column is missing and the verdict goes by the other one");
    }
    if is_whole { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Runs some scenes at a time; those that were over when a signal came.
fn run_all(scenes: &[Scene], contenders: &[Contender], arguments: &Arguments) -> Vec<(Scene, Outcome)> {
    let stop = stop_by_signal();
    let (next, outcomes) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
    let work = || loop {
        let number = next.fetch_add(1, Ordering::Relaxed);
        let Some(scene) = scenes.get(number) else { return };
        let mut stop = stop.clone();
        let stopped = async move { drop(stop.wait_for(|stop| *stop).await) };
        let Some(outcome) = outage::run(scene, contenders, arguments.rate, stopped) else { return };
        eprintln!("outage: {} of {}: {}", number + 1, scenes.len(), scene.name);
        outcomes.lock().unwrap_or_else(PoisonError::into_inner).push((number, scene.clone(), outcome));
    };
    std::thread::scope(|scope| {
        for _ in 0..arguments.at_once {
            scope.spawn(work);
        }
    });
    let mut outcomes = outcomes.into_inner().unwrap_or_else(PoisonError::into_inner);
    outcomes.sort_unstable_by_key(|&(number, ..)| number);
    outcomes.into_iter().map(|(_, scene, outcome)| (scene, outcome)).collect()
}

/// Turns true when the process is asked to end: the proxies, its children, must not outlive it.
fn stop_by_signal() -> watch::Receiver<bool> {
    let (sender, receiver) = watch::channel(false);
    let runtime = Builder::new_current_thread().enable_all().build().expect("a runtime");
    let signals = {
        let _entered = runtime.enter();
        [SignalKind::interrupt(), SignalKind::terminate()]
            .map(|kind| signal(kind).expect("a signal that can be caught"))
    };
    std::thread::spawn(move || {
        let [mut interrupt, mut terminate] = signals;
        runtime.block_on(async {
            tokio::select! {
                _ = interrupt.recv() => {}
                _ = terminate.recv() => {}
            }
        });
        sender.send_replace(true);
    });
    receiver
}
