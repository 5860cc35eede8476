//! Checks by programs of this machine.
//!
//! Whatever HTTP and TCP cannot tell, a program can. It costs a process each time, so at most [`AT_ONCE`] run at any time, and the
//! wait for a turn is no part of a check's timeout. A program that takes too long is killed with all that it has started, and so are
//! those that run when the proxy stops, or the endpoint is no longer checked.

use std::io;
use std::os::unix::process::ExitStatusExt;
use std::process::{ExitStatus, Stdio};
use std::sync::Arc;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process_group};
use tokio::process::{Child, Command};
use tokio::sync::Semaphore;
use tokio::time::Instant;

use super::Identity;
use super::verdict::Verdict;
use crate::net::Shortage;

/// Runs programs, not too many at once.
#[derive(Clone)]
pub(super) struct Programs {
    turns: Arc<Semaphore>,
}

impl Default for Programs {
    fn default() -> Self {
        Self { turns: Arc::new(Semaphore::new(AT_ONCE)) }
    }
}

impl Programs {
    /// Runs a program with its arguments; exit status 0 passes.
    pub(super) async fn run(&self, command: &[Arc<str>], endpoint: &Identity, timeout: Duration) -> Verdict {
        // It is never closed.
        let _turn = self.turns.acquire().await;
        let began = Instant::now();
        let verdict = |ok, detail| Verdict { ok, detail, took: began.elapsed(), is_void: false };
        let [program, arguments @ ..] = command else { return verdict(false, "no program".to_owned()) };
        let mut command = Command::new(&**program);
        command
            .args(arguments.iter().map(|argument| &**argument))
            .env("LBPROXY_ENDPOINT", endpoint.address.to_string())
            .env("LBPROXY_CLUSTER", &*endpoint.cluster)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            // A group of its own, so that what it starts is killed with it, and a terminal's ^C is not for it.
            .process_group(0)
            .kill_on_drop(true);
        let child = match command.spawn() {
            Ok(child) => child,
            Err(error) => {
                return match Shortage::of(&error) {
                    Some(lacked) => Verdict { is_void: true, ..verdict(false, lacked.to_string()) },
                    None => verdict(false, format!("{program} cannot be run: {error}")),
                };
            }
        };
        match tokio::time::timeout(timeout, Running(child).ends()).await {
            Ok(Ok(status)) if status.success() => verdict(true, format!("{program} passed")),
            Ok(Ok(status)) => verdict(false, format!("{program}: {}", shown(status))),
            Ok(Err(error)) => verdict(false, format!("{program}: {error}")),
            Err(_) => verdict(false, format!("timeout after {timeout:?}")),
        }
    }
}

/// A program that runs. Dropping it kills its group.
struct Running(Child);

impl Running {
    async fn ends(mut self) -> io::Result<ExitStatus> {
        self.0.wait().await
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // There is no id once it was waited for: it may be another's then.
        let group = self.0.id().and_then(|id| Pid::from_raw(i32::try_from(id).ok()?));
        if let Some(group) = group {
            // It may have ended just now.
            let _ = kill_process_group(group, Signal::KILL);
        }
    }
}

fn shown(status: ExitStatus) -> String {
    match (status.code(), status.signal()) {
        (Some(code), _) => format!("exit status {code}"),
        (None, Some(signal)) => format!("ended by signal {signal}"),
        (None, None) => status.to_string(),
    }
}

/// So many run at once.
const AT_ONCE: usize = 16;

#[cfg(test)]
mod tests {
    use super::super::Address;
    use super::*;

    async fn run(command: &[&str], timeout: Duration) -> Verdict {
        let command: Vec<Arc<str>> = command.iter().map(|part| Arc::from(*part)).collect();
        let address = Address::Ip(([127, 0, 0, 1], 5678).into());
        let endpoint = Identity { cluster: "app".into(), endpoint: "app-1:5678".into(), address };
        Programs::default().run(&command, &endpoint, timeout).await
    }

    async fn shell(script: &str, timeout: Duration) -> (bool, String) {
        let verdict = run(&["sh", "-c", script], timeout).await;
        (verdict.ok, verdict.detail)
    }

    const LONG: Duration = Duration::from_secs(60);

    #[tokio::test]
    async fn the_exit_status_decides_and_the_address_is_in_the_environment() {
        assert_eq!(shell("exit 0", LONG).await, (true, "sh passed".to_owned()));
        assert_eq!(shell("exit 3", LONG).await, (false, "sh: exit status 3".to_owned()));
        assert_eq!(shell("kill -TERM $$", LONG).await, (false, "sh: ended by signal 15".to_owned()));
        let script = "test \"$LBPROXY_ENDPOINT\" = 127.0.0.1:5678 && test \"$LBPROXY_CLUSTER\" = app && ! read line";
        assert_eq!(shell(script, LONG).await, (true, "sh passed".to_owned()));
        let missing = run(&["/nonexistent/program"], LONG).await;
        assert!(!missing.ok && !missing.is_void && missing.detail.contains("cannot be run"), "{missing:?}");
    }

    /// The pipe closes when nobody holds it any more: neither the program nor what it has started.
    #[tokio::test]
    async fn what_takes_too_long_is_killed_with_all_that_it_has_started() {
        let dir = tempfile::tempdir().unwrap();
        let pids = dir.path().join("pids");
        let script = format!("sleep 1000 & echo $! $$ > {0}.new; mv {0}.new {0}; wait", pids.display());
        let running = tokio::spawn(async move { shell(&script, Duration::from_secs(2)).await });
        assert_eq!(running.await.unwrap(), (false, "timeout after 2s".to_owned()));
        let Ok(text) = std::fs::read_to_string(&pids) else {
            // The machine was too busy for it to begin.
            return;
        };
        let is_gone = |pid: &str| {
            let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
            stat.is_empty() || stat.rsplit(')').next().is_some_and(|rest| rest.trim_start().starts_with('Z'))
        };
        let until = Instant::now() + LONG;
        while !text.split_whitespace().all(is_gone) {
            assert!(Instant::now() < until, "still there: {text}");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }
}
