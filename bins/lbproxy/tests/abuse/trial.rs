//! How an attack is tried.

use std::fmt;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use socket2::SockRef;

use crate::answers::Answers;
use crate::latency::{measured, median, p99};
use crate::sink::Sink;
use crate::support::{Client, Endpoint, Proxy, config, get, left_waiting, text, wait_until};

/// Rounds of control and attack, if all is well.
const ROUNDS: usize = 2;
/// Where their medians are not as promised, there are more rounds: a machine that is busy with other things is so for a
/// while, and a proxy that an attack stops is stopped in every round.
const MAX_ROUNDS: usize = 7;
/// A round counts if the control's slowest hundredth took no longer, at rest it takes 1 to 10 ms;
const AT_REST: Duration = Duration::from_millis(30);
/// and if no more threads than these, for each processor, had work to do at a time, on average over either phase. Where others
/// want the processors, each thread waits its turn, and a busier thread waits longer, which is no evidence about the proxy.
const RUNNING: f64 = 3.0;
/// Where none of so many rounds counts, more would not either.
const VAIN_ROUNDS: usize = 3;
/// What the well-behaved client's slowest hundredth may take longer than the control's: twice as long,
const MORE: u32 = 2;
/// and this, because the time that the proxy works for the attack is not the sink's. A request wakes four threads on its
/// way, and each may find the processor taken for one slice of the scheduler, 3 ms, where there are fewer processors than
/// threads with work to do; a test machine has two. What this catches is a proxy that an attack stops: a worker that is
/// blocked, a queue that does not move, a scan of all connections. Those cost tens of milliseconds to seconds.
const ALLOWANCE: Duration = Duration::from_millis(12);
/// Memory that traffic of any kind may cost beyond what the warm-up has shown: the allocator has an arena for each of two
/// workers, and gives back only what lies above everything that is still in use; a few dozen buffers of 256 KiB may lie below.
pub(crate) const SLACK: u64 = 16 << 20;
/// A large answer, more than the kernel keeps for a connection.
pub(crate) const LARGE: usize = 12 << 20;
/// A path that the proxy answers itself.
pub(crate) const ANSWERED_HERE: &str = "/answered-here";
/// A path that the endpoint does not answer.
pub(crate) const UNANSWERED: &str = "/unanswered";
/// What an endpoint's socket takes of it at once.
pub(crate) const ENDPOINT_SENDS: usize = 256 << 10;
/// Connections of the warm-up, all at once.
const WARMING: usize = 16;
/// Requests of each of them.
const REQUESTS: usize = 100;

/// An attack running against a target until stopped.
pub(crate) type Attack<'a> = dyn Fn(&Target<'_>) + Sync + 'a;

/// One attack at a time, with as many files as there may be: attacks are timed, and memory is measured.
pub(crate) fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    let alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let _ = rlimit::increase_nofile_limit(rlimit::INFINITY);
    alone
}

/// Who is attacked, and for how long.
pub(crate) struct Target<'a> {
    pub(crate) at: SocketAddr,
    /// What offenders got.
    pub(crate) answers: &'a Answers,
    stop: &'a AtomicBool,
    begun: &'a AtomicBool,
}

impl Target<'_> {
    /// What is measured is measured from now on.
    pub(crate) fn begin(&self) {
        self.begun.store(true, Ordering::Relaxed);
    }

    pub(crate) fn is_over(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }
}

/// A proxy under attack.
pub(crate) struct Trial {
    pub(crate) proxy: Proxy,
    pub(crate) answers: Answers,
    name: &'static str,
    endpoint: Endpoint,
    sink: Sink,
    /// One attack at a time: they are timed.
    _alone: MutexGuard<'static, ()>,
}

/// What was measured.
struct Measured {
    name: &'static str,
    /// Control and attack, of each round.
    rounds: Vec<(Phase, Phase)>,
    /// Held before, and at most.
    before: u64,
    most: u64,
    bound: u64,
}

/// What one phase showed.
struct Phase {
    p99: Duration,
    /// The most memory that was held.
    most: u64,
    /// Threads that had work to do, of the whole machine.
    running: f64,
}

/// How long a phase lasts.
fn phase() -> Duration {
    let seconds = std::env::var("LBPROXY_ABUSE_SECONDS").ok().and_then(|text| text.parse().ok());
    Duration::from_secs_f64(seconds.unwrap_or(1.2))
}

impl Trial {
    /// A proxy with two workers, which has worked already, short timeouts, and these keys of the listener `web`.
    pub(crate) fn new(name: &'static str, listener: &str) -> Self {
        Self::limited(name, listener, "")
    }

    /// The same with further keys of `limits`, each after a comma.
    pub(crate) fn limited(name: &'static str, listener: &str, limits: &str) -> Self {
        // For the sink as well, which inherits what it does.
        let alone = alone();
        let endpoint = answering();
        let rest = format!(
            "limits = {{ head_timeout = \"1s\", idle_timeout = \"60s\"{limits} }}\n\
             [[route]]\nname = \"quiet\"\nlisteners = [\"quiet\"]\ncluster = \"app\"\n\
             [[route]]\nname = \"attacked\"\nlisteners = [\"web\"]\ncluster = \"app\"\ntimeout = {{ idle = \"1s\" }}\n\
             [[route]]\nname = \"answered\"\nlisteners = [\"web\"]\npath = \"{ANSWERED_HERE}\"\nrespond = {{ status = 204 }}\n\
             [cluster.app]\nendpoints = [\"{}\"]\n\
             [[listener]]\nname = \"quiet\"\naddress = \"127.0.0.2:0\"\n",
            endpoint.at()
        );
        let proxy = Proxy::start(&(config(2, &rest) + listener + "\n"));
        let trial = Self { proxy, answers: Answers::default(), name, endpoint, sink: Sink::start(), _alone: alone };
        trial.warm();
        trial
    }

    /// Buffers, pages and connections that any traffic makes, and that stay.
    fn warm(&self) {
        let quiet = self.quiet();
        std::thread::scope(|scope| {
            for _ in 0..WARMING {
                scope.spawn(move || {
                    let mut client = Client::connect(quiet);
                    for _ in 0..REQUESTS {
                        assert_eq!(client.get("/well-behaved").status(), 200);
                    }
                });
            }
        });
        self.settle();
    }

    /// Tries it, control and attack in turn, and checks the bounds: no other client waits longer, and it costs at
    /// most `memory` bytes beside the slack.
    #[track_caller]
    #[allow(clippy::print_stderr, reason = "the figures are half of the purpose")]
    pub(crate) fn run(&self, memory: u64, attack: &Attack<'_>) {
        let before = self.proxy.resident_bytes();
        let mut measured =
            Measured { name: self.name, rounds: Vec::new(), before, most: before, bound: memory + SLACK };
        while measured.wants_more() {
            let control = self.phase(self.sink.address, attack, &Answers::default());
            let attacked = self.phase(self.proxy.web(), attack, &self.answers);
            measured.most = measured.most.max(attacked.most);
            measured.rounds.push((control, attacked));
            self.settle();
        }
        eprintln!("{measured}; offenders got {:?}", self.answers.all());
        match measured.counted().count() {
            0..ROUNDS => eprintln!("{}: the machine is too busy to say whether others wait", self.name),
            _ => assert!(!measured.others_wait(), "others wait: {measured}"),
        }
        assert!(measured.memory() <= measured.bound, "too much memory: {measured}");
        assert_eq!(get(self.quiet(), "/after").status(), 200);
        assert_eq!(self.proxy.metric("lbproxy_panics_total", &[]), 0.0);
    }

    fn phase(&self, at: SocketAddr, attack: &Attack<'_>, answers: &Answers) -> Phase {
        let (stop, begun) = (AtomicBool::new(false), AtomicBool::new(false));
        let target = Target { at, answers, stop: &stop, begun: &begun };
        std::thread::scope(|scope| {
            let stopping = Stopping(&stop);
            scope.spawn(|| attack(&target));
            wait_until("the attack to begin", || begun.load(Ordering::Relaxed));
            let looks = scope.spawn(|| {
                let mut looks = Vec::new();
                while !stop.load(Ordering::Relaxed) {
                    looks.push((self.proxy.resident_bytes(), running()));
                    std::thread::sleep(Duration::from_millis(20));
                }
                looks
            });
            let took = measured(self.quiet(), phase());
            drop(stopping);
            let looks = looks.join().unwrap();
            Phase {
                p99: p99(took),
                most: looks.iter().map(|look| look.0).max().unwrap_or_default(),
                running: looks.iter().map(|look| look.1).sum::<f64>() / looks.len() as f64,
            }
        })
    }

    /// Waits until nothing of the attack is left. That something is left for good would be a flaw too.
    #[track_caller]
    fn settle(&self) {
        wait_until("the connections to end", || self.proxy.metric("lbproxy_connections", &[]) == 0.0);
    }

    /// A listener without TLS, which is not the one attacked: what is measured is the process.
    fn quiet(&self) -> SocketAddr {
        self.proxy.listener("quiet")
    }

    /// Prints a figure beside those that every trial has.
    #[allow(clippy::print_stderr, reason = "the figures are half of the purpose")]
    pub(crate) fn report(&self, what: &str) {
        eprintln!("{}: {what}", self.name);
    }

    /// Connections that the endpoint has seen, and ports of ours that those left behind.
    pub(crate) fn endpoint_connections(&self) -> (usize, usize) {
        (self.endpoint.connections(), left_waiting(self.endpoint.address))
    }

    /// Whether offenders got this, each round.
    #[track_caller]
    pub(crate) fn expect_answer(&self, answer: &str) {
        assert!(self.answers.count(answer) >= ROUNDS, "no {answer}: {:?}", self.answers.all());
    }

    /// Whether the metrics show it.
    #[track_caller]
    pub(crate) fn expect_metric(&self, name: &str, labels: &[&str]) {
        let count = self.proxy.metric(name, labels);
        assert!(count >= ROUNDS as f64, "{name} {labels:?}: {count}");
    }
}

/// Ends a phase, also where a request failed.
struct Stopping<'a>(&'a AtomicBool);

impl Drop for Stopping<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

impl Measured {
    fn wants_more(&self) -> bool {
        let (all, counted) = (self.rounds.len(), self.counted().count());
        let is_vain = all >= VAIN_ROUNDS && counted == 0;
        (counted < ROUNDS || self.others_wait()) && all < MAX_ROUNDS && !is_vain
    }

    /// The rounds that count.
    fn counted(&self) -> impl Iterator<Item = &(Phase, Phase)> {
        let processors = std::thread::available_parallelism().map_or(1, usize::from) as f64;
        let is_quiet = move |phase: &Phase| phase.running <= RUNNING * processors;
        let counts = move |(control, attacked): &&_| is_quiet(control) && is_quiet(attacked) && control.p99 <= AT_REST;
        self.rounds.iter().filter(counts)
    }

    /// The medians of those.
    fn medians(&self) -> (Duration, Duration) {
        let (controls, attacks) = self.counted().map(|(control, attacked)| (control.p99, attacked.p99)).unzip();
        (median(controls), median(attacks))
    }

    fn others_wait(&self) -> bool {
        let (control, attacked) = self.medians();
        attacked > control * MORE + ALLOWANCE
    }

    fn memory(&self) -> u64 {
        self.most - self.before
    }
}

/// Threads of the whole machine that have work to do now, other than this one. `None` if the system does not report it.
fn running() -> f64 {
    let stat = std::fs::read_to_string("/proc/stat").unwrap_or_default();
    let running = stat.lines().find_map(|line| line.strip_prefix("procs_running ")?.trim().parse::<f64>().ok());
    running.map_or(0.0, |running| running - 1.0)
}

impl fmt::Display for Measured {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mib = |bytes: u64| bytes as f64 / f64::from(1 << 20);
        let (control, attacked) = self.medians();
        let (control, attacked) = (control.as_secs_f64() * 1e3, attacked.as_secs_f64() * 1e3);
        let (rounds, counted) = (self.rounds.len(), self.counted().count());
        let running = self.rounds.iter().map(|(control, attacked)| control.running.max(attacked.running));
        let running = running.fold(0.0, f64::max);
        let (before, memory, bound) = (mib(self.before), mib(self.memory()), mib(self.bound));
        write!(
            f,
            "{}: p99 {attacked:.1} ms, control {control:.1} ms ({counted} of {rounds} rounds, \
             {running:.1} threads running); {before:.1} MiB and {memory:.1} more of {bound:.1}",
            self.name
        )
    }
}

/// An endpoint that keeps nothing of what it is asked: a short answer, or for `/large` a long one.
fn answering() -> Endpoint {
    let large = vec![b'x'; LARGE];
    Endpoint::scripted(move |wire, _| {
        // Its own part of the kernel's memory is of no interest, and would be most of it here.
        SockRef::from(&*wire.stream).set_send_buffer_size(ENDPOINT_SENDS)?;
        while let Some(head) = wire.read_head()? {
            if !wire.read_request_body(&head)?.is_whole {
                break;
            }
            if head.target() == UNANSWERED {
                // Until the client gives up.
                wire.fill()?;
                break;
            }
            if head.target() == "/large" {
                wire.write(format!("HTTP/1.1 200 OK\r\nContent-Length: {LARGE}\r\n\r\n"))?;
                wire.write(&large)?;
            } else {
                wire.write(text(200, "here you are"))?;
            }
        }
        Ok(())
    })
}
