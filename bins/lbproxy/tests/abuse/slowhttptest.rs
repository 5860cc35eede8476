//! The known tool: slowhttptest in its three modes. Without it this is skipped, with a note; with
//! `LBPROXY_REQUIRE_PEERS=1` it fails.

use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::held::PIECE;
use crate::trial::{Target, Trial};

/// Connections it opens, all within a second.
const CONNECTIONS: u32 = 200;
/// How long it may go on after a phase.
const PATIENCE: Duration = Duration::from_secs(3);

#[allow(clippy::print_stderr, reason = "whoever runs the tests should know what was not tried")]
fn is_there() -> bool {
    let found = Command::new("slowhttptest").arg("-h").stdin(Stdio::null()).output().is_ok();
    assert!(found || !crate::is_required(), "slowhttptest is not installed");
    if !found {
        eprintln!("skipped: slowhttptest is not installed");
    }
    found
}

/// Runs it in this mode until stopped. It ends by itself once no connection is left, which it finds out once a
/// second, and is given the time for that, so that all of the proxy's timeouts come.
fn attack(mode: &[&str], target: &Target<'_>) {
    let count = CONNECTIONS.to_string();
    let url = format!("http://{}/large", target.at);
    let tool = Command::new("slowhttptest")
        .args(mode)
        .args(["-c", &count, "-r", &count, "-i", "1", "-l", "60", "-u", &url])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn();
    target.begin();
    let Ok(mut tool) = tool else { return target.answers.note("it does not run") };
    let mut until = None;
    while tool.try_wait().is_ok_and(|ended| ended.is_none()) {
        if target.is_over() && Instant::now() >= *until.get_or_insert_with(|| Instant::now() + PATIENCE) {
            break;
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    // It may have ended.
    let _ = tool.kill();
    let _ = tool.wait();
    target.answers.note("a round");
}

fn try_mode(name: &'static str, mode: &[&str], bytes_a_connection: u64) -> Option<Trial> {
    if !is_there() {
        return None;
    }
    let trial = Trial::new(name, "");
    let memory = u64::from(CONNECTIONS) * bytes_a_connection;
    trial.run(memory, &|target| attack(mode, target));
    trial.expect_answer("a round");
    Some(trial)
}

#[test]
fn its_slow_heads_are_answered_408() {
    let Some(trial) = try_mode("slowhttptest -H", &["-H", "-x", "8"], 16 << 10) else { return };
    trial.expect_metric("lbproxy_requests_total", &["code=\"408\""]);
}

#[test]
fn its_slow_bodies_are_answered_408() {
    let Some(trial) = try_mode("slowhttptest -B", &["-B", "-s", "8192"], 32 << 10) else { return };
    trial.expect_metric("lbproxy_requests_total", &["code=\"408\""]);
}

#[test]
fn its_slow_readers_are_cut() {
    let Some(trial) = try_mode("slowhttptest -X", &["-X", "-w", "1", "-y", "512", "-z", "5"], PIECE) else { return };
    trial.proxy.wait_access(|line| line["path"] == "/large" && line["cause"] == "idle_timeout");
}
