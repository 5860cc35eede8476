//! The application log, on stderr.
//!
//! Written through `tracing`, in text or JSON. Standard error may be a pipe without a reader, and a worker must
//! not block on it. So lines go through the same kind of writer thread as the access log's, and beyond a megabyte are
//! dropped.
//!
//! What happens to the proxy as a whole is logged by [`event_log`](super::event_log). [`LimitLog`] keeps a flood of refused
//! requests from becoming a flood of lines. Lines of libraries are limited too, see `Sparing`: a client that breaks HTTP/2 makes
//! the `h2` crate warn of each connection.
//!
//! How the engine uses it:
//!
//! ```text
//! let log = AppLog::start(&config.log)?;           // before anything that logs
//! log.apply(&new.log);                             // reload: the level; the format stays until a restart
//! log.close(Duration::from_secs(2));               // the last thing before exit: what is still in memory is written
//! ```

use std::any::Any;
use std::hash::{BuildHasher, RandomState};
use std::io::{self, IsTerminal, Write};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use lb_config::{Level, LogFormat};
use lb_core::Mono;
use tracing::subscriber::Interest;
use tracing::{Metadata, Subscriber};
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::layer::{Context, Filter, Layer, SubscriberExt};
use tracing_subscriber::registry::Registry;
use tracing_subscriber::reload;

use super::once_a_second::OnceASecond;
use super::sink::{self, Lane, Limits, Output, Sink};

/// The application log of the process.
pub struct AppLog {
    sink: Sink<()>,
    filter: reload::Handle<Targets, Registry>,
    format: LogFormat,
}

impl AppLog {
    /// Sends everything that is logged from now on, anywhere in the process, to stderr.
    ///
    /// # Errors
    /// Standard error is closed, no thread can be started, or a logger is in place already.
    pub fn start(config: &lb_config::Log) -> io::Result<Self> {
        let colours = config.format == LogFormat::Text
            && io::stderr().is_terminal()
            && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
        let (log, subscriber) = Self::build(config.level, config.format, sink::stderr()?, colours)?;
        tracing::subscriber::set_global_default(subscriber).map_err(io::Error::other)?;
        Ok(log)
    }

    fn build(
        level: Level,
        format: LogFormat,
        output: Output,
        colours: bool,
    ) -> io::Result<(Self, impl Subscriber + Send + Sync)> {
        let limits = Limits { wake_at: 0, max: 1024 * 1024, interval: Duration::from_secs(1) };
        // Losses of this very log are not reported in it.
        let sink = Sink::start("application log", output, limits, Arc::default(), false)?;
        let (filter, handle) = reload::Layer::new(targets(level));
        let layer = tracing_subscriber::fmt::layer().with_writer(Lines(sink.lane(()))).with_ansi(colours);
        let layer = match format {
            LogFormat::Text => layer.with_target(false).boxed(),
            LogFormat::Json => layer.json().flatten_event(true).with_span_list(false).boxed(),
        };
        let subscriber = tracing_subscriber::registry().with(layer.with_filter(Sparing::new(filter)));
        Ok((Self { sink, filter: handle, format }, subscriber))
    }

    /// Takes over a new level. A new format waits for a restart, which the log reports.
    pub fn apply(&self, config: &lb_config::Log) {
        if let Err(error) = self.filter.modify(|filter| *filter = targets(config.level)) {
            tracing::error!("the log level cannot be changed: {error}");
        }
        if config.format != self.format {
            tracing::warn!("log.format has changed; the new format takes effect at the next start");
        }
    }

    /// Writes what is still in memory and ends; false if stderr did not take it within `wait`.
    pub fn close(&self, wait: Duration) -> bool {
        self.sink.close(wait)
    }
}

/// Our own events from `level` on. Those of libraries only from info on, unless everything is asked for: their debug
/// events come once a frame and would bury ours.
fn targets(level: Level) -> Targets {
    let (own, others) = match level {
        Level::Error => (LevelFilter::ERROR, LevelFilter::ERROR),
        Level::Warn => (LevelFilter::WARN, LevelFilter::WARN),
        Level::Info => (LevelFilter::INFO, LevelFilter::INFO),
        Level::Debug => (LevelFilter::DEBUG, LevelFilter::INFO),
        Level::Trace => (LevelFilter::TRACE, LevelFilter::TRACE),
    };
    Targets::new().with_default(others).with_targets(OWN.map(|target| (target, own)))
}

/// Where our own events come from; those of libraries come from elsewhere.
const OWN: [&str; 2] = ["lb_", "lbproxy"];

/// Lets each warning of a library pass once a second. What a client can make a library say, it can make it say thousands
/// of times a second. Its debug and trace events are not limited: they are asked for by `log.level = "trace"` alone, which
/// asks for everything.
struct Sparing<F> {
    /// What is asked for at all.
    asked: F,
    start: Instant,
    /// Two places in the code that meet in one slot share its line.
    slots: Box<[OnceASecond]>,
    hash: RandomState,
}

impl<F> Sparing<F> {
    fn new(asked: F) -> Self {
        let slots = (0..256).map(|_| OnceASecond::default()).collect();
        Self { asked, start: Instant::now(), slots, hash: RandomState::new() }
    }

    fn is_due(&self, event: &Metadata<'_>) -> bool {
        let slot = self.hash.hash_one(event.callsite()) as usize % self.slots.len();
        self.slots[slot].due(Mono::ZERO.saturating_add(self.start.elapsed())).is_some()
    }
}

fn is_limited(event: &Metadata<'_>) -> bool {
    *event.level() <= tracing::Level::INFO && !OWN.iter().any(|own| event.target().starts_with(own))
}

/// What is never asked for costs one compare, and what is not limited is not looked at again. Whether a line is due is
/// decided by `enabled` and not by `event_enabled`, after which the registry would hold the event open.
impl<S: Subscriber, F: Filter<S>> Filter<S> for Sparing<F> {
    fn enabled(&self, metadata: &Metadata<'_>, context: &Context<'_, S>) -> bool {
        self.asked.enabled(metadata, context) && (!is_limited(metadata) || self.is_due(metadata))
    }

    fn callsite_enabled(&self, metadata: &'static Metadata<'static>) -> Interest {
        let asked = self.asked.callsite_enabled(metadata);
        if asked.is_always() && is_limited(metadata) { Interest::sometimes() } else { asked }
    }

    fn max_level_hint(&self) -> Option<LevelFilter> {
        self.asked.max_level_hint()
    }
}

/// Hands each event's line to the writer thread.
struct Lines(Lane<()>);

impl<'a> MakeWriter<'a> for Lines {
    type Writer = &'a Self;

    fn make_writer(&'a self) -> &'a Self {
        self
    }
}

impl Write for &Lines {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        self.0.write(|(), out| out.extend_from_slice(line));
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Logs refused requests, for each client at most once a second.
///
/// A refused client may send thousands of requests, and there may be thousands of such clients. So the table of logged
/// clients has a fixed size (32 KiB), and a line costs at most one compare-and-swap. Two clients that hash to the same
/// slot share its line for that second; the hash changes every second, so no client stays hidden for long. IPv6
/// clients count by /64, as in rate limits.
#[derive(Debug)]
pub struct LimitLog {
    /// The second, plus one, in which the slot's line was written; zero is never.
    slots: Box<[AtomicU64]>,
    hash: RandomState,
}

impl Default for LimitLog {
    fn default() -> Self {
        Self::new()
    }
}

impl LimitLog {
    /// An empty log.
    #[must_use]
    pub fn new() -> Self {
        Self { slots: (0..4096).map(|_| AtomicU64::new(0)).collect(), hash: RandomState::new() }
    }

    /// A request of `client` (`None` on a Unix socket) was refused on `route` (or on a listener, where it has none) by `limit`: writes
    /// `limiting requests client=203.0.113.9 route=api limit=api`, or with `is_dry_run` `would limit requests …`, at most once a second
    /// for each client.
    pub fn on_limited(&self, client: Option<IpAddr>, route: &str, limit: &str, is_dry_run: bool, now: Mono) {
        if !self.is_due(client, now) {
            return;
        }
        let client = client.map_or_else(|| "unix".to_owned(), |client| client.to_canonical().to_string());
        let message = if is_dry_run { "would limit requests" } else { "limiting requests" };
        tracing::warn!(client = %client, route = %route, limit = %limit, "{message}");
    }

    /// A connection of `client` was ended because it did what no client has reason to: writes
    /// `closing an abusive HTTP/2 connection client=203.0.113.9 reason=rapid_reset`, at most once a second each.
    pub fn on_abuse(&self, client: Option<IpAddr>, reason: &str, now: Mono) {
        if !self.is_due(client, now) {
            return;
        }
        let client = client.map_or_else(|| "unix".to_owned(), |client| client.to_canonical().to_string());
        tracing::warn!(client = %client, reason = %reason, "closing an abusive HTTP/2 connection");
    }

    /// A stream of `client` was refused since the heads of its connection's requests take `max` bytes already: writes
    /// `refusing streams of an HTTP/2 connection client=203.0.113.9: …`, at most once a second each.
    pub fn on_heads(&self, client: Option<IpAddr>, max: usize, now: Mono) {
        if !self.is_due(client, now) {
            return;
        }
        let client = client.map_or_else(|| "unix".to_owned(), |client| client.to_canonical().to_string());
        tracing::warn!(
            client = %client,
            "refusing streams of an HTTP/2 connection: the heads of the requests that run on it take {max} bytes, the limit"
        );
    }

    fn is_due(&self, client: Option<IpAddr>, now: Mono) -> bool {
        let second = now.as_nanos() / 1_000_000_000 + 1;
        let network = client.map(|client| match client.to_canonical() {
            IpAddr::V4(address) => u64::from(address.to_bits()),
            IpAddr::V6(address) => (address.to_bits() >> 64) as u64 | 1 << 63,
        });
        let slot = self.hash.hash_one((network, second)) as usize % self.slots.len();
        // A slot only moves on: of two threads with different seconds the later one wins. The plain look first keeps a
        // flood from fighting for the cache line.
        let slot = &self.slots[slot];
        slot.load(Ordering::Relaxed) < second && slot.fetch_max(second, Ordering::Relaxed) < second
    }
}

/// A panic while a connection or a stream was served, which is closed. The process's panic hook has logged where.
pub(crate) fn panicked(what: &str, client: Option<SocketAddr>, panic: &(dyn Any + Send)) {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    let text = text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("no message");
    let client = client.map_or_else(|| "unix".to_owned(), |client| client.to_string());
    tracing::error!("panic while serving a {what}, {what} closed client={client} panic={text}");
}

#[cfg(test)]
mod tests {
    use lb_core::Axis;

    use super::*;
    use crate::events::{Event, Subject, Subscriber};
    use crate::observe::event_log::EventLog;
    use crate::observe::sink::tests::Memory;

    fn a() -> Subject {
        let resolved = Some("10.0.0.1:5678".to_owned());
        Subject { cluster: "n8n".into(), endpoint: "n8n-1:5678".into(), resolved }
    }

    fn emit(event: &Event) {
        EventLog.on_event(event);
    }

    /// What is written while `act` runs.
    fn written(level: Level, format: LogFormat, act: impl FnOnce(&AppLog)) -> String {
        let memory = Memory::default();
        let (log, subscriber) = AppLog::build(level, format, Some(Box::new(memory.clone())), false).unwrap();
        tracing::subscriber::with_default(subscriber, || act(&log));
        assert!(log.close(Duration::from_secs(30)));
        memory.text()
    }

    fn config(level: Level, format: LogFormat) -> lb_config::Log {
        lb_config::Log { level, format, access: None }
    }

    #[test]
    fn transitions_read_as_operators_grep_them() {
        let text = written(Level::Info, LogFormat::Text, |_| {
            emit(&Event::CheckedDown {
                endpoint: Subject { endpoint: "10.0.0.1:80".into(), resolved: None, ..a() },
                why: "status 500 from /healthz (3 of 3)".to_owned(),
                others: Vec::new(),
            });
            let why = "status 200 from /healthz (2 of 2)".to_owned();
            emit(&Event::CheckedUp { endpoint: a(), why, others: Vec::new() });
            let why = "3 failures in 30s".to_owned();
            emit(&Event::Ejected { endpoint: a(), eject_for: Duration::from_secs(30), why, others: Vec::new() });
            LimitLog::new().on_limited(Some("::ffff:203.0.113.9".parse().unwrap()), "api", "api", false, Mono::ZERO);
            emit(&Event::Readmitted { endpoint: a(), others: vec![Axis::Drain, Axis::Check] });
        });
        let lines: Vec<_> = text.lines().collect();
        assert_eq!(lines.len(), 5, "{text}");
        assert!(lines[4].contains("endpoint n8n-1:5678 is not up yet (drain, check): its ejection is over"), "{text}");
        assert!(
            lines[0].ends_with("WARN endpoint 10.0.0.1:80 is down: status 500 from /healthz (3 of 3) cluster=n8n"),
            "{text}"
        );
        assert!(lines[1].contains("INFO endpoint n8n-1:5678 is up: status 200"), "{text}");
        assert!(lines[1].ends_with("cluster=n8n resolved=10.0.0.1:5678"), "{text}");
        assert!(lines[2].contains("endpoint n8n-1:5678 ejected for 30s: 3 failures in 30s"), "{text}");
        assert!(lines[3].ends_with("limiting requests client=203.0.113.9 route=api limit=api"), "{text}");
    }

    #[test]
    fn json_is_one_object_an_event() {
        let text = written(Level::Info, LogFormat::Json, |_| {
            emit(&Event::CheckedDown { endpoint: a(), why: "timeout after 5s".to_owned(), others: Vec::new() });
        });
        let line: serde_json::Value = serde_json::from_str(text.trim_end()).unwrap();
        assert_eq!(line["message"], "endpoint n8n-1:5678 is down: timeout after 5s");
        assert_eq!((&line["cluster"], &line["level"]), (&"n8n".into(), &"WARN".into()));
    }

    #[test]
    fn the_level_changes_at_a_reload_and_spares_us_the_libraries() {
        let text = written(Level::Info, LogFormat::Text, |log| {
            tracing::debug!("one");
            log.apply(&config(Level::Debug, LogFormat::Text));
            tracing::debug!("two");
            tracing::debug!(target: "hyper::proto", "three");
            tracing::info!(target: "hyper::proto", "four");
            log.apply(&config(Level::Error, LogFormat::Text));
            tracing::warn!("five");
            log.apply(&config(Level::Info, LogFormat::Json));
        });
        let logged: Vec<_> = ["one", "two", "three", "four", "five"].into_iter().filter(|w| text.contains(w)).collect();
        assert_eq!(logged, ["two", "four"], "{text}");
        assert!(text.contains("takes effect at the next start"));
    }

    #[test]
    fn a_library_says_the_same_once_a_second_and_we_say_all() {
        let text = written(Level::Info, LogFormat::Text, |_| {
            for n in 0..1000 {
                tracing::warn!(target: "h2::proto::streams", "one {n}");
                tracing::info!(target: "hyper", "two {n}");
            }
            (0..3).for_each(|n| tracing::warn!(target: "lb_proxy::stage", "ours {n}"));
        });
        let count = |word| text.lines().filter(|line| line.contains(word)).count();
        // The clock may have passed into the next second.
        assert!((1..=2).contains(&count("one ")) && (1..=2).contains(&count("two ")), "{text}");
        assert!(text.contains("one 0"), "the first is the one that is written: {text}");
        assert_eq!(count("ours "), 3);
        let traced = written(Level::Trace, LogFormat::Text, |_| {
            (0..3).for_each(|n| tracing::debug!(target: "h2", "three {n}"));
        });
        assert_eq!(traced.lines().count(), 3, "level trace logs everything: {traced}");
    }

    #[test]
    fn a_refused_client_is_named_once_a_second() {
        let log = LimitLog::new();
        let [a, b] = ["203.0.113.9", "203.0.113.10"].map(|ip| Some(ip.parse().unwrap()));
        assert!(log.is_due(a, Mono::from_millis(0)));
        assert!(!log.is_due(a, Mono::from_millis(999)));
        assert!(log.is_due(a, Mono::from_millis(1_000)));
        assert!(!log.is_due(a, Mono::from_millis(999)), "time going back");
        // Two clients meet in a slot one time in 4 096; over ten seconds b is logged.
        assert!(
            (2..12).any(|s| log.is_due(a, Mono::from_millis(s * 1_000)) && log.is_due(b, Mono::from_millis(s * 1_000)))
        );
        let (x, y) = (Some("2001:db8:1:1::5".parse().unwrap()), Some("2001:db8:1:1:ffff::6".parse().unwrap()));
        assert!(log.is_due(x, Mono::from_millis(60_000)));
        assert!(!log.is_due(y, Mono::from_millis(60_500)), "one /64 is one client");
    }

    #[test]
    fn many_clients_cost_no_more_lines_than_slots() {
        let log = LimitLog::new();
        let due = (0..100_000u32).filter(|n| log.is_due(Some(IpAddr::V4((*n).into())), Mono::ZERO)).count();
        assert!((4_000..=4_096).contains(&due), "{due}: with 24 clients a slot nearly all are hit");
    }
}
