//! How many instructions a pick takes, and the steps of a request: `cargo bench -p lb-benches --bench instructions`.
//!
//! Tells what takes a tenth more than `instructions.txt` says, or less, and with `-- --check`, as in the gate, fails if
//! anything takes more. A change that is worth its cost, and one that made things cheaper, renews that file: `-- --renew`. Needs
//! valgrind.
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "the counts are the result")]

use std::hint::black_box;
use std::path::PathBuf;
use std::process::{Command, ExitCode};

use bytes::BytesMut;
use lb_benches::counts::{self, COUNTED, Count, Verdict, counted};
use lb_benches::{Layer, POLICIES, Shape, picker, policy};
use lb_http::message::Edits;
use lb_http::wire::h1::{Connection, encode_request, encode_response};

#[path = "support/heads.rs"]
mod heads;

use heads::{REQUEST, RESPONSE, edits, request, response, router};

/// Set for the run under valgrind.
const WITHIN: &str = "LB_BENCHES_WITHIN_VALGRIND";
const SIZES: [usize; 6] = [2, 10, 100, 1000, 10_000, 100_000];

fn main() -> ExitCode {
    if std::env::var_os(WITHIN).is_some() {
        picks();
        http();
        return ExitCode::SUCCESS;
    }
    let is_asked = |option: &str| std::env::args().any(|argument| argument == option);
    // Whoever runs all benches wants to see the others, whatever comes of this one.
    let failure = if is_asked("--check") || is_asked("--renew") { ExitCode::FAILURE } else { ExitCode::SUCCESS };
    let counts = match measure() {
        Ok(counts) => counts,
        Err(error) => {
            eprintln!("{error}");
            return failure;
        }
    };
    let file = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("instructions.txt");
    if is_asked("--renew") {
        let text = format!("{HEADER}\n{}", counts::write(&counts));
        return std::fs::write(file, text).map_or(ExitCode::FAILURE, |()| ExitCode::SUCCESS);
    }
    let references = std::fs::read_to_string(file).map(|text| counts::read(&text)).unwrap_or_default();
    if compare(&counts, &references) { ExitCode::SUCCESS } else { failure }
}

const HEADER: &str = "\
# Instructions, by callgrind: those of one repetition, then what is repeated. All endpoints have requests in flight.
# Renewed by `cargo bench -p lb-benches --bench instructions -- --renew`; a change that makes one a tenth dearer says in
# its commit why.
";

/// Everything counted, by valgrind.
fn measure() -> Result<Vec<Count>, String> {
    let report = std::env::temp_dir().join(format!("lb-benches-instructions-{}", std::process::id()));
    let program = std::env::current_exe().map_err(|error| format!("this program does not know its path: {error}"))?;
    let output = Command::new("valgrind")
        .args(["--tool=callgrind", "--collect-atstart=no", "--combine-dumps=yes", "--quiet"])
        .args([format!("--toggle-collect={COUNTED}"), format!("--dump-after={COUNTED}")])
        .arg(format!("--callgrind-out-file={}", report.display()))
        .arg(program)
        .env(WITHIN, "1")
        .output()
        .map_err(|error| format!("valgrind could not be started: {error}"))?;
    let text = std::fs::read_to_string(&report);
    let _ = std::fs::remove_file(&report);
    if !output.status.success() {
        return Err(format!("valgrind: {}\n{}", output.status, String::from_utf8_lossy(&output.stderr)));
    }
    let parts = counts::parts(&text.map_err(|error| format!("valgrind has left no report: {error}"))?);
    let told = String::from_utf8_lossy(&output.stdout);
    let subjects: Vec<(f64, &str)> = told.lines().filter_map(told_subject).collect();
    if parts.len() != subjects.len() {
        return Err(format!("{} subjects and {} counts", subjects.len(), parts.len()));
    }
    Ok(subjects
        .into_iter()
        .zip(parts)
        .map(|((repeat, name), total)| (name.to_owned(), total as f64 / repeat))
        .collect())
}

fn told_subject(line: &str) -> Option<(f64, &str)> {
    let (repeat, name) = line.split_once(' ')?;
    Some((repeat.parse().ok()?, name))
}

/// Prints what is not as it was; whether nothing is dearer or new.
fn compare(counts: &[Count], references: &[Count]) -> bool {
    let mut is_well = true;
    for (name, count) in counts {
        let reference = references.iter().find(|(of, _)| of == name).map(|&(_, count)| count);
        let before = reference.unwrap_or(f64::NAN);
        match counts::judge(*count, reference) {
            Verdict::Kept => continue,
            Verdict::Cheaper => println!("cheaper, renew: {name}: {count:.1} instructions, were {before:.1}"),
            Verdict::Dearer => println!("DEARER: {name}: {count:.1} instructions, were {before:.1}"),
            Verdict::New => println!("NEW: {name}: {count:.1} instructions; renew the reference"),
        }
        is_well &= counts::judge(*count, reference) == Verdict::Cheaper;
    }
    for (name, _) in references.iter().filter(|(of, _)| !counts.iter().any(|(name, _)| name == of)) {
        println!("GONE: {name} is in the reference and was not counted");
        is_well = false;
    }
    println!("{} counts, {} references", counts.len(), references.len());
    is_well
}

/// Names what is counted next, and how often it is done.
fn announce(repeat: u64, name: impl std::fmt::Display) {
    println!("{repeat} {name}");
}

fn picks() {
    for endpoints in SIZES {
        let cluster = Shape { is_busy: true, ..Shape::even(endpoints) }.cluster();
        // Who wants to know the least busy makes everybody's picks dearer, so the exact minimum comes last.
        let (last, first): (Vec<&str>, Vec<&str>) = POLICIES.iter().partition(|&&name| name == "least_request");
        for name in first.into_iter().chain(last) {
            // Enough for an even mixture of draws; those that look at everybody do the same each time.
            let looks_at_all = matches!(name, "least_time" | "rendezvous");
            let repeat = if looks_at_all { (50_000 / endpoints as u64).clamp(2, 500) } else { 500 };
            let mut pick = picker(policy(name), &cluster, &mut (0..repeat));
            for (layer, what) in [(Layer::Table, "pick"), (Layer::Reader, "acquire and release")] {
                announce(repeat, format_args!("{name}, {endpoints} endpoints: {what}"));
                pick(layer, repeat);
            }
        }
    }
}

fn http() {
    const REPEAT: usize = 100;
    let each = |name: &str, work: &mut dyn FnMut(usize)| {
        announce(REPEAT as u64, name);
        counted(&mut || (0..REPEAT).for_each(&mut *work));
    };
    let mut requests = vec![BytesMut::from(REQUEST); REPEAT];
    each("parse a request", &mut |n| drop(black_box(request(&mut requests[n]))));
    let mut responses = vec![BytesMut::from(RESPONSE); REPEAT];
    each("parse a response", &mut |n| drop(black_box(response(&mut responses[n]))));
    let head = request(&mut BytesMut::from(REQUEST));
    for count in [1, 10, 1000] {
        let router = router(count);
        each(&format!("route, one of {}", count + 1), &mut |_| drop(black_box(router.route(0, black_box(&head)))));
    }
    let edits = edits();
    let mut out = BytesMut::with_capacity(4096);
    each("encode a request with three edits", &mut |_| {
        out.clear();
        encode_request(&mut out, black_box(&head), &edits, head.framing(), Connection::Implicit);
    });
    let answer = response(&mut BytesMut::from(RESPONSE));
    each("encode a response", &mut |_| {
        out.clear();
        encode_response(&mut out, black_box(&answer), &Edits::new(), answer.framing(), Connection::Implicit);
    });
}
