//! The real binary as a child process.

use std::collections::HashMap;
use std::io::{BufRead, BufReader, Read};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Resource, Rlimit, Signal, getrlimit, kill_process, prlimit};
use serde_json::Value;
use tempfile::TempDir;

use super::client::Client;
use super::message::Message;
use super::{DEADLINE, wait_for};

/// A running proxy; killed when dropped.
pub(crate) struct Proxy {
    child: Child,
    directory: TempDir,
    log: Lines,
    access: Lines,
    generation: u64,
}

/// How a proxy ended.
#[derive(Debug)]
pub(crate) struct Exit {
    /// Its exit code.
    pub(crate) code: Option<i32>,
    /// What it wrote to stderr.
    pub(crate) log: Vec<String>,
    /// What it wrote to stdout.
    pub(crate) stdout: Vec<String>,
    /// From the signal to the end.
    pub(crate) took: Duration,
}

/// The lines of a stream, as they come.
#[derive(Clone, Default)]
struct Lines {
    shared: Arc<(Mutex<Captured>, Condvar)>,
}

#[derive(Default)]
struct Captured {
    lines: Vec<String>,
    ended: bool,
}

/// A configuration: this many workers, an admin listener, an access log in JSON on stdout, a listener `web`, and
/// `rest`, which begins with further keys of the top level, if any.
pub(crate) fn config(workers: usize, rest: &str) -> String {
    format!(
        "workers = {workers}\n\
         admin.address = \"127.0.0.1:0\"\n\
         log.access = {{ format = \"json\" }}\n\
         {rest}\n\
         [[listener]]\n\
         name = \"web\"\n\
         address = \"127.0.0.1:0\"\n"
    )
}

impl Proxy {
    /// Starts with this configuration and waits until it is ready.
    #[track_caller]
    pub(crate) fn start(config: &str) -> Self {
        Self::spawn(config, &[]).ready()
    }

    /// As [`start`](Self::start), in a process that may have so many files open and no more.
    #[track_caller]
    pub(crate) fn start_with_files(config: &str, files: u64) -> Self {
        let limit = format!("ulimit -n {files} && exec \"$0\" \"$@\"");
        Self::spawn(config, &["sh", "-c", &limit]).ready()
    }

    /// As [`start`](Self::start), run by this command, which gets its program and arguments as further arguments.
    #[track_caller]
    pub(crate) fn start_by(config: &str, command: &[&str]) -> Self {
        Self::spawn(config, command).ready()
    }

    #[track_caller]
    fn ready(self) -> Self {
        self.wait_log("ready generation=1");
        self
    }

    fn spawn(config: &str, by: &[&str]) -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        let file = directory.path().join("lbproxy.toml");
        std::fs::write(&file, config).expect("a file");
        let binary = env!("CARGO_BIN_EXE_lbproxy");
        let mut command = match by {
            [] => Command::new(binary),
            [program, rest @ ..] => {
                let mut command = Command::new(program);
                command.args(rest).arg(binary);
                command
            }
        };
        let mut child = command
            .arg("run")
            .arg(&file)
            .env_remove("RUST_LOG")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the binary runs");
        let log = Lines::of(child.stderr.take().expect("piped"));
        let access = Lines::of(child.stdout.take().expect("piped"));
        Self { child, directory, log, access, generation: 1 }
    }

    /// Where a listener is.
    #[track_caller]
    pub(crate) fn listener(&self, name: &str) -> SocketAddr {
        let name = format!(" listener={name}");
        let found = self.log.find(|line| line.contains("listening on ") && line.ends_with(&name));
        address_after(&found.unwrap_or_else(|| panic!("no {name}: {:#?}", self.log.all())), "listening on ")
    }

    /// Where the listener `web` is.
    #[track_caller]
    pub(crate) fn web(&self) -> SocketAddr {
        self.listener("web")
    }

    /// Where the admin listener is.
    #[track_caller]
    pub(crate) fn admin(&self) -> SocketAddr {
        let found = self.log.find(|line| line.contains("admin on "));
        address_after(&found.expect("an admin listener"), "admin on ")
    }

    /// Its process id.
    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// Lets it open no file beyond those it has, but for gaps in their numbers; what it was allowed before.
    pub(crate) fn forbid_files(&self) -> u64 {
        let open = std::fs::read_dir(format!("/proc/{}/fd", self.id())).expect("it runs");
        let highest = open.filter_map(|file| file.ok()?.file_name().to_str()?.parse::<u64>().ok()).max();
        self.allow_files(highest.expect("it has files") + 1)
    }

    /// Lets it have so much more memory and no more, as addresses go.
    pub(crate) fn allow_memory(&self, more: u64) {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.id())).expect("it runs");
        let size = status.lines().find_map(|line| line.strip_prefix("VmSize:")).expect("a size");
        let kib: u64 = size.trim().trim_end_matches(" kB").parse().expect("a number");
        let id = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw);
        let maximum = getrlimit(Resource::As).maximum;
        prlimit(id, Resource::As, Rlimit { current: Some(kib * 1024 + more), maximum }).expect("it is ours");
    }

    /// Sets how many files it may have open; what it was allowed before.
    pub(crate) fn allow_files(&self, files: u64) -> u64 {
        let id = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw);
        let maximum = getrlimit(Resource::Nofile).maximum;
        let before = prlimit(id, Resource::Nofile, Rlimit { current: Some(files), maximum }).expect("it is ours");
        before.current.expect("a limit")
    }

    /// Sends a signal.
    pub(crate) fn signal(&self, signal: Signal) {
        let id = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw).expect("a process id");
        kill_process(id, signal).expect("it runs");
    }

    /// Puts another configuration in force.
    #[track_caller]
    pub(crate) fn reload(&mut self, config: &str) {
        self.ask_for(config);
        self.generation += 1;
        self.wait_log(&format!("reloaded generation={}", self.generation));
    }

    /// Tries a configuration that is not to be taken; what the log then says, from the first error on.
    #[track_caller]
    pub(crate) fn reload_refused(&mut self, config: &str) -> String {
        self.reload_refused_after(|file| std::fs::write(file, config).expect("a file"))
    }

    /// As [`reload_refused`](Self::reload_refused), after something else was done to the file.
    #[track_caller]
    pub(crate) fn reload_refused_after(&self, change: impl FnOnce(&Path)) -> String {
        let before = self.log.all().len();
        change(&self.directory.path().join("lbproxy.toml"));
        self.signal(Signal::HUP);
        wait_for("the refusal of a reload", || {
            let said = self.log.all().split_off(before);
            let at = said.iter().position(|line| line.contains("reload refused"))?;
            // The first line says how many more there are.
            let more = said[at].rsplit_once("(and ").and_then(|(_, rest)| rest.strip_suffix(" more)")?.parse().ok());
            (said.len() > at + more.unwrap_or(0)).then(|| said.join("\n"))
        })
    }

    fn ask_for(&self, config: &str) {
        std::fs::write(self.directory.path().join("lbproxy.toml"), config).expect("a file");
        self.signal(Signal::HUP);
    }

    /// The log so far.
    pub(crate) fn log(&self) -> Vec<String> {
        self.log.all()
    }

    /// Waits for a line of the log with this in it.
    #[track_caller]
    pub(crate) fn wait_log(&self, part: &str) -> String {
        self.log.wait(|line| line.contains(part)).unwrap_or_else(|all| panic!("no {part:?} in the log: {all:#?}"))
    }

    /// Waits for the access log's line of which this is true. Lines may wait a second to be written together; opening
    /// the logs again writes them at once.
    #[track_caller]
    pub(crate) fn wait_access(&self, is_it: impl Fn(&Value) -> bool) -> Value {
        let is_it = |line: &str| serde_json::from_str(line).is_ok_and(|value: Value| is_it(&value));
        let mut looks = 0u32;
        let line = wait_for("a line of the access log", || {
            let found = self.access.find(is_it);
            if found.is_none() && looks.is_multiple_of(20) {
                self.signal(Signal::USR1);
            }
            looks += 1;
            found
        });
        serde_json::from_str(&line).expect("JSON")
    }

    /// Whether the access log has a line of a request for this path by now.
    pub(crate) fn has_logged(&self, path: &str) -> bool {
        self.signal(Signal::USR1);
        self.access.find(|line| line.contains(&format!("\"path\":\"{path}\""))).is_some()
    }

    /// Waits for the access log's line of the request for this path.
    #[track_caller]
    pub(crate) fn access_of(&self, path: &str) -> Value {
        self.wait_access(|line| line["path"] == path)
    }

    /// Asks the admin listener, which rejects a `Host` with a DNS name.
    #[track_caller]
    pub(crate) fn ask_admin(&self, path: &str) -> Message {
        Client::connect(self.admin()).ask(&format!("GET {path} HTTP/1.1\nHost: localhost"))
    }

    /// What `/status` says.
    #[track_caller]
    pub(crate) fn status(&self) -> Value {
        serde_json::from_slice(&self.ask_admin("/status").body.data).expect("JSON")
    }

    /// What `/status` says of an endpoint.
    #[track_caller]
    pub(crate) fn endpoint(&self, cluster: &str, address: &str) -> Value {
        let status = self.status();
        let endpoints = status["clusters"][cluster]["endpoints"].as_array().cloned().unwrap_or_default();
        let found = endpoints.into_iter().find(|endpoint| endpoint["address"] == address);
        found.unwrap_or_else(|| panic!("no {address} in {cluster}: {status:#}"))
    }

    /// The sum of all series of a metric whose labels contain these parts.
    #[track_caller]
    pub(crate) fn metric(&self, name: &str, labels: &[&str]) -> f64 {
        let page = self.ask_admin("/metrics").text();
        let series = page.lines().filter(|line| {
            let rest = line.strip_prefix(name);
            rest.is_some_and(|rest| rest.starts_with(['{', ' '])) && labels.iter().all(|label| line.contains(label))
        });
        series.filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok()).sum()
    }

    /// Memory it holds, bytes.
    #[track_caller]
    pub(crate) fn resident_bytes(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.id())).expect("it runs");
        let fields: HashMap<_, _> = status.lines().filter_map(|line| line.split_once(':')).collect();
        let kib: u64 = fields["VmRSS"].trim().trim_end_matches(" kB").parse().expect("a number");
        kib * 1024
    }

    /// Asks it to end, by SIGTERM, and waits.
    #[track_caller]
    pub(crate) fn terminate(self) -> Exit {
        let start = Instant::now();
        self.signal(Signal::TERM);
        self.ended(start)
    }

    /// Waits for its end, after a signal was sent.
    #[track_caller]
    pub(crate) fn ended(mut self, since: Instant) -> Exit {
        let status = wait_for("the proxy's end", || self.child.try_wait().expect("a child"));
        self.log.wait_end();
        self.access.wait_end();
        Exit { code: status.code(), log: self.log.all(), stdout: self.access.all(), took: since.elapsed() }
    }
}

impl Exit {
    /// Every line of the access log of which this is true.
    pub(crate) fn access(&self, is_it: impl Fn(&Value) -> bool) -> Vec<Value> {
        let lines = self.stdout.iter().filter_map(|line| serde_json::from_str(line).ok());
        lines.filter(|line| is_it(line)).collect()
    }
}

impl Drop for Proxy {
    #[allow(clippy::print_stderr, reason = "whoever reads of a failed scenario wants to know what the proxy said")]
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            eprintln!("the proxy's log:\n{}", self.log.all().join("\n"));
            eprintln!("its access log:\n{}", self.access.all().join("\n"));
        }
    }
}

/// Starts with a configuration with which it must not start.
#[track_caller]
pub(crate) fn failed_start(config: &str) -> Exit {
    Proxy::spawn(config, &[]).ended(Instant::now())
}

impl Lines {
    fn of(stream: impl Read + Send + 'static) -> Self {
        let lines = Self::default();
        let ours = lines.clone();
        std::thread::spawn(move || {
            for line in BufReader::new(stream).split(b'\n') {
                let Ok(line) = line else { break };
                ours.lock().lines.push(String::from_utf8_lossy(&line).into_owned());
                ours.shared.1.notify_all();
            }
            ours.lock().ended = true;
            ours.shared.1.notify_all();
        });
        lines
    }

    fn lock(&self) -> MutexGuard<'_, Captured> {
        self.shared.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn all(&self) -> Vec<String> {
        self.lock().lines.clone()
    }

    /// The last line of which this is true.
    fn find(&self, is_it: impl Fn(&str) -> bool) -> Option<String> {
        self.lock().lines.iter().rev().find(|line| is_it(line)).cloned()
    }

    /// Waits for a line of which this is true; all lines where none comes.
    fn wait(&self, is_it: impl Fn(&str) -> bool) -> Result<String, Vec<String>> {
        let deadline = Instant::now() + DEADLINE;
        let mut read = self.lock();
        let mut looked_at = 0;
        loop {
            if let Some(line) = read.lines[looked_at..].iter().find(|line| is_it(line)) {
                return Ok(line.clone());
            }
            looked_at = read.lines.len();
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() || read.ended {
                return Err(read.lines.clone());
            }
            read = self.shared.1.wait_timeout(read, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    fn wait_end(&self) {
        let read = self.lock();
        let waited = self.shared.1.wait_timeout_while(read, DEADLINE, |read| !read.ended);
        drop(waited.unwrap_or_else(PoisonError::into_inner));
    }
}

fn address_after(line: &str, mark: &str) -> SocketAddr {
    let rest = line.split_once(mark).map(|(_, rest)| rest).unwrap_or_default();
    let word = rest.split(' ').next().unwrap_or_default();
    word.parse().unwrap_or_else(|_| panic!("no address: {line}"))
}
