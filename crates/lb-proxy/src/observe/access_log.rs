//! The access log: one line a request, in our own format for people, in nginx's combined one, or in JSON.
//!
//! The problem is threefold. A line is written for every request, so it must cost little: no map, no serializer, no
//! allocation (a JSON line of 536 bytes took 217 ns, the same request in the combined format 110 ns). It holds bytes of strangers, so each is escaped for the format it stands in. And its
//! disk may stall, so that it is written by another thread and lines are dropped, and counted, before a worker waits.
//!
//! How the engine uses it:
//!
//! ```text
//! let log = AccessLog::start(config.log.access.as_ref(), metrics.access_log_dropped())?;   // an error: do not start
//! let writer = log.writer();                       // one for each worker, kept for the worker's life
//! if route.access_log && writer.is_on() { writer.log(&Record { .. }); }
//! log.apply(new.log.access.as_ref())?;             // reload: an error leaves the old one in force
//! log.reopen()?;                                   // SIGUSR1
//! log.close(Duration::from_secs(5));               // after the workers have ended
//! ```
//!
//! A line waits at most a second. Lines of different workers may change places; sort by `time` if it matters.
//!
//! What this does not do: rotate files (`logrotate` does, then sends SIGUSR1), sync them, or speak syslog.

use std::io::{self, Write};
use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use lb_config::{AccessFormat, AccessTarget};

use super::escape::{push_combined, push_combined_piece, push_json};
use super::sink::{self, Lane, Limits, Output, Sink};
use super::timestamp::Stamp;

/// What is logged of one request. Bytes are logged as received, escaped for the format; fields longer than 8 KiB are cut.
#[derive(Clone, Copy, Debug)]
pub struct Record<'a> {
    /// When the request ended.
    pub time: SystemTime,
    /// The client's address; `None` for a client on a Unix socket, logged as `unix`.
    pub client: Option<IpAddr>,
    /// Who authentication has let in; `None` where nobody was asked.
    pub user: Option<&'a str>,
    /// The method; empty if the request was too broken to have one.
    pub method: &'a [u8],
    /// The path as received, still percent-encoded.
    pub path: &'a [u8],
    /// What follows the `?`, without it; `None` if there is none.
    pub query: Option<&'a [u8]>,
    /// The status sent, or 499 if the client left before there was one.
    pub status: u16,
    /// Bytes of the request body received.
    pub bytes_in: u64,
    /// Bytes of the response body sent.
    pub bytes_out: u64,
    /// From the first byte of the request to the last of the response.
    pub duration: Duration,
    /// From the last attempt's start to its response head; `None` if there was none.
    pub upstream: Option<Duration>,
    /// The listener's name.
    pub listener: &'a str,
    /// The route's name; `None` if none matched.
    pub route: Option<&'a str>,
    /// The cluster's name; `None` for our own answers.
    pub cluster: Option<&'a str>,
    /// The endpoint of the last attempt, as configured or resolved.
    pub endpoint: Option<&'a str>,
    /// Attempts made, the first included; 0 if no endpoint was tried.
    pub attempts: u32,
    /// Why the answer is ours and not an endpoint's, by name (`connect_refused`, `no_endpoint: 3 ejected`).
    pub cause: Option<&'a str>,
    /// The request's id.
    pub request_id: &'a [u8],
    /// `HTTP/1.1` and the like.
    pub protocol: &'a str,
    /// How a gRPC call ended, by its code; `None` for all other requests. Only in JSON.
    pub grpc_status: Option<u8>,
    /// The `User-Agent` header.
    pub user_agent: Option<&'a [u8]>,
    /// The `Referer` header; only in the combined format.
    pub referer: Option<&'a [u8]>,
}

/// The access log of the process: its writer thread and its target. See the module for how it is used.
pub struct AccessLog {
    sink: Sink<State>,
    config: Mutex<Option<lb_config::AccessLog>>,
    is_on: Arc<AtomicBool>,
}

/// A worker's way into the access log. May be shared, but is meant for one thread: its lock is then never contended.
pub struct AccessWriter {
    lane: Lane<State>,
    is_on: Arc<AtomicBool>,
}

/// What a lane keeps beside its bytes.
struct State {
    format: Option<AccessFormat>,
    stamp: Stamp,
}

impl AccessLog {
    /// Opens the target and starts the writer thread; `None` is off until [`apply`](Self::apply) turns it on. Lines
    /// lost are added to `dropped`.
    ///
    /// # Errors
    /// The file cannot be opened for appending, or no thread can be started.
    pub fn start(config: Option<&lb_config::AccessLog>, dropped: Arc<AtomicU64>) -> io::Result<Self> {
        let limits = Limits { wake_at: 64 * 1024, max: 1024 * 1024, interval: Duration::from_secs(1) };
        Self::with(open(config)?, config.cloned(), limits, dropped)
    }

    fn with(
        output: Output,
        config: Option<lb_config::AccessLog>,
        limits: Limits,
        dropped: Arc<AtomicU64>,
    ) -> io::Result<Self> {
        let sink = Sink::start("access log", output, limits, dropped, true)?;
        Ok(Self { sink, is_on: Arc::new(AtomicBool::new(config.is_some())), config: Mutex::new(config) })
    }

    /// A further way in, valid for as long as the log, through every reload.
    #[must_use]
    pub fn writer(&self) -> AccessWriter {
        let config = self.config();
        let state = State { format: config.as_ref().map(|config| config.format), stamp: Stamp::new() };
        AccessWriter { lane: self.sink.lane(state), is_on: Arc::clone(&self.is_on) }
    }

    /// Takes over a new configuration, and reopens the file even if nothing changed. Requests logged before go to the
    /// old target in the old format.
    ///
    /// # Errors
    /// The file cannot be opened; everything stays as it was.
    pub fn apply(&self, config: Option<&lb_config::AccessLog>) -> io::Result<()> {
        let mut current = self.config();
        let output = open(config)?;
        *current = config.cloned();
        self.is_on.store(config.is_some(), Ordering::Relaxed);
        let format = config.map(|config| config.format);
        // Still under the lock, so that a writer made now either has the new format or is there to get it.
        self.sink.switch(output, move |state| state.format = format);
        Ok(())
    }

    /// Reopens the file by its name, after a rotation moved it.
    ///
    /// # Errors
    /// It cannot be opened; lines go on to the old one.
    pub fn reopen(&self) -> io::Result<()> {
        let config = self.config().clone();
        self.apply(config.as_ref())
    }

    /// Has everything written that was logged so far; false if that took longer than `wait`. For tests and shutdown.
    pub fn flush(&self, wait: Duration) -> bool {
        self.sink.flush(wait)
    }

    /// Writes everything and ends; false if the target did not take it within `wait`. Call it when the workers have
    /// ended: lines that come later are dropped and counted.
    pub fn close(&self, wait: Duration) -> bool {
        self.sink.close(wait)
    }

    fn config(&self) -> MutexGuard<'_, Option<lb_config::AccessLog>> {
        self.config.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl AccessWriter {
    /// Whether the access log is on; if not, the caller need not collect its data.
    #[must_use]
    pub fn is_on(&self) -> bool {
        self.is_on.load(Ordering::Relaxed)
    }

    /// Logs one request. Never blocks on the target: a line that finds a megabyte waiting is dropped and counted.
    pub fn log(&self, record: &Record<'_>) {
        self.lane.write(|state, out| match state.format {
            Some(AccessFormat::Standard) => push_standard_line(out, &mut state.stamp, record),
            Some(AccessFormat::Json) => push_json_line(out, &mut state.stamp, record),
            Some(AccessFormat::Combined) => push_combined_line(out, &mut state.stamp, record),
            None => {}
        });
    }
}

fn open(config: Option<&lb_config::AccessLog>) -> io::Result<Output> {
    match config.map(|config| &config.to) {
        None => Ok(None),
        Some(AccessTarget::Stdout) => sink::stdout(),
        Some(AccessTarget::File(path)) => sink::open_file(path)
            .map_err(|error| io::Error::new(error.kind(), format!("cannot open {}: {error}", path.display()))),
    }
}

/// Every key is there in every line, `null` where there is nothing to say; but `grpc_status` is in those of gRPC calls only,
/// and `user` in those of users who were asked.
fn push_json_line(out: &mut Vec<u8>, stamp: &mut Stamp, record: &Record<'_>) {
    out.extend_from_slice(b"{\"time\":\"");
    stamp.push_rfc3339(out, record.time);
    out.extend_from_slice(b"\",\"client\":\"");
    push_client(out, record.client);
    out.extend_from_slice(b"\",\"method\":");
    push_json(out, cut(record.method));
    out.extend_from_slice(b",\"path\":");
    push_json(out, cut(record.path));
    push_json_option(out, b",\"query\":", record.query);
    out.extend_from_slice(b",\"status\":");
    push_number(out, record.status.into());
    out.extend_from_slice(b",\"bytes_in\":");
    push_number(out, record.bytes_in);
    out.extend_from_slice(b",\"bytes_out\":");
    push_number(out, record.bytes_out);
    out.extend_from_slice(b",\"duration_ms\":");
    push_millis(out, record.duration);
    out.extend_from_slice(b",\"upstream_ms\":");
    match record.upstream {
        Some(upstream) => push_millis(out, upstream),
        None => out.extend_from_slice(b"null"),
    }
    out.extend_from_slice(b",\"listener\":");
    push_json(out, record.listener.as_bytes());
    push_json_option(out, b",\"route\":", record.route.map(str::as_bytes));
    push_json_option(out, b",\"cluster\":", record.cluster.map(str::as_bytes));
    push_json_option(out, b",\"endpoint\":", record.endpoint.map(str::as_bytes));
    out.extend_from_slice(b",\"attempts\":");
    push_number(out, record.attempts.into());
    push_json_option(out, b",\"cause\":", record.cause.map(str::as_bytes));
    out.extend_from_slice(b",\"request_id\":");
    push_json(out, cut(record.request_id));
    out.extend_from_slice(b",\"protocol\":");
    push_json(out, record.protocol.as_bytes());
    if let Some(code) = record.grpc_status {
        out.extend_from_slice(b",\"grpc_status\":");
        push_number(out, code.into());
    }
    if let Some(user) = record.user {
        out.extend_from_slice(b",\"user\":");
        push_json(out, cut(user.as_bytes()));
    }
    push_json_option(out, b",\"user_agent\":", record.user_agent);
    out.extend_from_slice(b"}\n");
}

/// `time client "request" status bytes duration= upstream= endpoint= attempts= cause= request_id=`: what an incident
/// asks for first. The names are those of JSON, and all are in every line, `-` where there is nothing to say, so that
/// columns can be counted: from the left up to `attempts`, and the id from the right.
fn push_standard_line(out: &mut Vec<u8>, stamp: &mut Stamp, record: &Record<'_>) {
    stamp.push_rfc3339(out, record.time);
    out.push(b' ');
    push_client(out, record.client);
    out.extend_from_slice(b" \"");
    push_request_line(out, record);
    out.extend_from_slice(b"\" ");
    push_number(out, record.status.into());
    out.push(b' ');
    push_number(out, record.bytes_out);
    out.extend_from_slice(b" duration=");
    push_millis(out, record.duration);
    out.extend_from_slice(b"ms upstream=");
    match record.upstream {
        Some(upstream) => {
            push_millis(out, upstream);
            out.extend_from_slice(b"ms");
        }
        None => out.push(b'-'),
    }
    out.extend_from_slice(b" endpoint=");
    push_endpoint(out, record.endpoint.unwrap_or_default());
    out.extend_from_slice(b" attempts=");
    push_number(out, record.attempts.into());
    match record.cause {
        Some(cause) => {
            out.extend_from_slice(b" cause=\"");
            push_combined_piece(out, cut(cause.as_bytes()));
            out.push(b'"');
        }
        None => out.extend_from_slice(b" cause=-"),
    }
    if let Some(user) = record.user {
        out.extend_from_slice(b" user=\"");
        push_combined_piece(out, cut(user.as_bytes()));
        out.push(b'"');
    }
    out.extend_from_slice(b" request_id=");
    push_combined(out, cut(record.request_id));
    out.push(b'\n');
}

/// `client - - [time] "request" status bytes "referer" "user agent"`, as nginx and Apache write it.
fn push_combined_line(out: &mut Vec<u8>, stamp: &mut Stamp, record: &Record<'_>) {
    push_client(out, record.client);
    out.extend_from_slice(b" - ");
    push_user(out, record.user);
    out.extend_from_slice(b" [");
    stamp.push_clf(out, record.time);
    out.extend_from_slice(b"] \"");
    push_request_line(out, record);
    out.extend_from_slice(b"\" ");
    push_number(out, record.status.into());
    out.push(b' ');
    push_number(out, record.bytes_out);
    out.extend_from_slice(b" \"");
    push_combined(out, cut(record.referer.unwrap_or_default()));
    out.extend_from_slice(b"\" \"");
    push_combined(out, cut(record.user_agent.unwrap_or_default()));
    out.extend_from_slice(b"\"\n");
}

/// One word, `-` where there is none. A space of a name is escaped, since columns are counted.
fn push_user(out: &mut Vec<u8>, user: Option<&str>) {
    for (at, word) in user.unwrap_or_default().split(' ').enumerate() {
        if at > 0 {
            out.extend_from_slice(b"\\x20");
        }
        push_combined_piece(out, cut(word.as_bytes()));
    }
    if user.unwrap_or_default().is_empty() {
        out.push(b'-');
    }
}

/// One word: a name with its address has a space in it, `n8n:5678 (10.0.0.1:5678)`.
fn push_endpoint(out: &mut Vec<u8>, endpoint: &str) {
    if endpoint.contains(' ') {
        out.push(b'"');
        push_combined_piece(out, endpoint.as_bytes());
        out.push(b'"');
    } else {
        push_combined(out, endpoint.as_bytes());
    }
}

/// `GET /path?query HTTP/1.1`, as far as it was read; `-` where nothing was.
fn push_request_line(out: &mut Vec<u8>, record: &Record<'_>) {
    if record.method.is_empty() {
        out.push(b'-');
        return;
    }
    push_combined_piece(out, cut(record.method));
    if !record.path.is_empty() {
        out.push(b' ');
        push_combined_piece(out, cut(record.path));
    }
    if let Some(query) = record.query {
        out.push(b'?');
        push_combined_piece(out, cut(query));
    }
    if !record.protocol.is_empty() {
        out.push(b' ');
        out.extend_from_slice(record.protocol.as_bytes());
    }
}

fn push_json_option(out: &mut Vec<u8>, key: &[u8], value: Option<&[u8]>) {
    out.extend_from_slice(key);
    match value {
        Some(value) => push_json(out, cut(value)),
        None => out.extend_from_slice(b"null"),
    }
}

fn push_client(out: &mut Vec<u8>, client: Option<IpAddr>) {
    match client.map(|client| client.to_canonical()) {
        None => out.extend_from_slice(b"unix"),
        Some(IpAddr::V4(address)) => {
            for (at, octet) in address.octets().into_iter().enumerate() {
                if at > 0 {
                    out.push(b'.');
                }
                push_number(out, octet.into());
            }
        }
        // Writing to a vector cannot fail.
        Some(IpAddr::V6(address)) => drop(write!(out, "{address}")),
    }
}

/// Milliseconds with three decimals: `12.345`.
fn push_millis(out: &mut Vec<u8>, span: Duration) {
    let micros = u64::try_from(span.as_micros()).unwrap_or(u64::MAX);
    push_number(out, micros / 1_000);
    let rest = (micros % 1_000) as u32;
    out.extend_from_slice(&[b'.', b'0' + (rest / 100) as u8, b'0' + (rest / 10 % 10) as u8, b'0' + (rest % 10) as u8]);
}

fn push_number(out: &mut Vec<u8>, mut number: u64) {
    let mut digits = [0; 20];
    let mut at = digits.len();
    loop {
        at -= 1;
        digits[at] = b'0' + (number % 10) as u8;
        number /= 10;
        if number == 0 {
            break;
        }
    }
    out.extend_from_slice(&digits[at..]);
}

/// Keeps one request from writing a line of megabytes.
fn cut(bytes: &[u8]) -> &[u8] {
    bytes.get(..FIELD_BYTES).unwrap_or(bytes)
}

const FIELD_BYTES: usize = 8 * 1024;

#[cfg(test)]
mod tests {
    use std::time::UNIX_EPOCH;

    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::*;

    const LONG: Duration = Duration::from_secs(30);

    fn record() -> Record<'static> {
        Record {
            time: UNIX_EPOCH + Duration::from_millis(1_735_689_600_042),
            client: Some("203.0.113.9".parse().unwrap()),
            user: None,
            method: b"GET",
            path: b"/api/x",
            query: Some(b"a=1"),
            status: 200,
            bytes_in: 0,
            bytes_out: 18_446_744_073_709_551_615,
            duration: Duration::from_nanos(12_345_678),
            upstream: Some(Duration::from_micros(9)),
            listener: "web",
            route: Some("api"),
            cluster: Some("n8n"),
            endpoint: Some("n8n-1:5678"),
            attempts: 1,
            cause: None,
            request_id: b"01HZX",
            protocol: "HTTP/1.1",
            grpc_status: None,
            user_agent: Some(b"curl/8.5.0"),
            referer: None,
        }
    }

    fn json_line(record: &Record<'_>) -> Value {
        let mut out = Vec::new();
        push_json_line(&mut out, &mut Stamp::new(), record);
        assert_eq!(out.iter().filter(|&&b| b == b'\n').count(), 1);
        assert_eq!(out.last(), Some(&b'\n'));
        serde_json::from_slice(&out).unwrap()
    }

    fn combined_line(record: &Record<'_>) -> String {
        let mut out = Vec::new();
        push_combined_line(&mut out, &mut Stamp::new(), record);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn a_json_line_has_every_field_of_the_contract() {
        assert_eq!(
            json_line(&record()),
            json!({
                "time": "2025-01-01T00:00:00.042Z", "client": "203.0.113.9", "method": "GET", "path": "/api/x",
                "query": "a=1", "status": 200, "bytes_in": 0, "bytes_out": u64::MAX, "duration_ms": 12.345,
                "upstream_ms": 0.009, "listener": "web", "route": "api", "cluster": "n8n", "endpoint": "n8n-1:5678",
                "attempts": 1, "cause": null, "request_id": "01HZX", "protocol": "HTTP/1.1", "user_agent": "curl/8.5.0",
            })
        );
        assert_eq!(json_line(&Record { grpc_status: Some(14), ..record() })["grpc_status"], 14);
    }

    #[test]
    fn a_json_line_of_nothing_keeps_its_shape() {
        let record = Record {
            client: None,
            method: b"",
            path: b"",
            query: None,
            status: 400,
            upstream: None,
            route: None,
            cluster: None,
            endpoint: None,
            attempts: 0,
            cause: Some("bad_request: \"quoted\""),
            user_agent: None,
            ..record()
        };
        let line = json_line(&record);
        assert_eq!(line["client"], "unix");
        assert_eq!(line["cause"], "bad_request: \"quoted\"");
        for key in ["query", "upstream_ms", "route", "cluster", "endpoint", "user_agent"] {
            assert_eq!(line.get(key), Some(&Value::Null), "{key}");
        }
    }

    #[test]
    fn a_combined_line_reads_as_that_of_nginx() {
        assert_eq!(
            combined_line(&Record { referer: Some(b"https://example.com/"), bytes_out: 612, ..record() }),
            "203.0.113.9 - - [01/Jan/2025:00:00:00 +0000] \"GET /api/x?a=1 HTTP/1.1\" 200 612 \
             \"https://example.com/\" \"curl/8.5.0\"\n"
        );
        assert_eq!(
            combined_line(&Record { method: b"", status: 400, bytes_out: 0, user_agent: None, ..record() }),
            "203.0.113.9 - - [01/Jan/2025:00:00:00 +0000] \"-\" 400 0 \"-\" \"-\"\n"
        );
    }

    fn standard_line(record: &Record<'_>) -> String {
        let mut out = Vec::new();
        push_standard_line(&mut out, &mut Stamp::new(), record);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn a_standard_line_has_endpoint_times_and_cause() {
        assert_eq!(
            standard_line(&Record { bytes_out: 612, ..record() }),
            "2025-01-01T00:00:00.042Z 203.0.113.9 \"GET /api/x?a=1 HTTP/1.1\" 200 612 duration=12.345ms \
             upstream=0.009ms endpoint=n8n-1:5678 attempts=1 cause=- request_id=01HZX\n"
        );
        let named = Record { endpoint: Some("n8n:5678 (10.0.0.1:5678)"), ..record() };
        assert!(standard_line(&named).contains(" endpoint=\"n8n:5678 (10.0.0.1:5678)\" attempts="));
        let record = Record {
            client: None,
            path: b"/a\"b\n",
            query: None,
            status: 503,
            bytes_out: 0,
            upstream: None,
            endpoint: None,
            attempts: 0,
            cause: Some("no_endpoint: 3 \"ejected\""),
            ..record()
        };
        assert_eq!(
            standard_line(&record),
            "2025-01-01T00:00:00.042Z unix \"GET /a\\x22b\\x0A HTTP/1.1\" 503 0 duration=12.345ms upstream=- \
             endpoint=- attempts=0 cause=\"no_endpoint: 3 \\x22ejected\\x22\" request_id=01HZX\n"
        );
    }

    #[test]
    fn a_request_line_is_written_as_far_as_it_was_read() {
        for (method, path, protocol, line) in [
            ("", "", "", "-"),
            ("GET", "", "", "GET"),
            ("GET", "/long", "", "GET /long"),
            ("GET", "/", "HTTP/1.0", "GET / HTTP/1.0"),
        ] {
            let record = Record { method: method.as_bytes(), path: path.as_bytes(), query: None, protocol, ..record() };
            assert!(standard_line(&record).contains(&format!(" \"{line}\" 200 ")), "{line}");
            assert!(combined_line(&record).contains(&format!("] \"{line}\" 200 ")), "{line}");
        }
    }

    #[test]
    fn addresses_have_their_canonical_form() {
        for (address, text) in [
            ("0.0.0.0", "0.0.0.0"),
            ("255.10.9.100", "255.10.9.100"),
            ("2001:db8::1", "2001:db8::1"),
            ("::ffff:10.0.0.1", "10.0.0.1"),
        ] {
            assert_eq!(json_line(&Record { client: Some(address.parse().unwrap()), ..record() })["client"], text);
        }
    }

    #[test]
    fn a_huge_field_is_cut() {
        let long = vec![b'a'; 100_000];
        let line = json_line(&Record { user_agent: Some(&long), ..record() });
        assert_eq!(line["user_agent"].as_str().unwrap().len(), FIELD_BYTES);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(128))]

        #[test]
        fn whatever_clients_send_a_line_stays_one_line(
            fields in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..24), 5),
            micros in any::<u64>(),
        ) {
            let record = Record {
                method: &fields[0],
                path: &fields[1],
                query: Some(&fields[2]),
                request_id: &fields[3],
                user_agent: Some(&fields[4]),
                referer: Some(&fields[4]),
                duration: Duration::from_micros(micros),
                ..record()
            };
            let line = json_line(&record);
            prop_assert_eq!(line["path"].as_str().unwrap(), String::from_utf8_lossy(&fields[1]));
            prop_assert_eq!(line["user_agent"].as_str().unwrap(), String::from_utf8_lossy(&fields[4]));
            prop_assert_eq!(line.as_object().unwrap().len(), 19);
            let line = combined_line(&record);
            prop_assert_eq!(line.matches('"').count(), 6);
            prop_assert_eq!(line.matches('\n').count(), 1);
            let line = standard_line(&record);
            prop_assert_eq!(line.matches('"').count(), 2);
            prop_assert_eq!(line.matches('\n').count(), 1);
        }
    }

    fn to_file(path: &std::path::Path, format: AccessFormat) -> lb_config::AccessLog {
        lb_config::AccessLog { format, to: AccessTarget::File(path.to_owned()) }
    }

    #[test]
    fn a_moved_file_keeps_its_lines_and_a_new_one_begins() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("access.log");
        let log = AccessLog::start(Some(&to_file(&path, AccessFormat::Combined)), Arc::default()).unwrap();
        let writer = log.writer();
        writer.log(&Record { status: 201, ..record() });
        std::fs::rename(&path, dir.path().join("access.log.1")).unwrap();
        log.reopen().unwrap();
        assert!(log.flush(LONG));
        writer.log(&Record { status: 202, ..record() });
        assert!(log.close(LONG));
        let read = |name: &str| std::fs::read_to_string(dir.path().join(name)).unwrap();
        assert!(read("access.log.1").contains("\" 201 "));
        assert!(read("access.log").contains("\" 202 "));
        assert_eq!(read("access.log").lines().count(), 1);
    }

    #[test]
    fn a_reload_changes_format_and_target_and_an_impossible_one_changes_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let (a, b) = (dir.path().join("a"), dir.path().join("b"));
        let log = AccessLog::start(None, Arc::default()).unwrap();
        let writer = log.writer();
        assert!(!writer.is_on());
        writer.log(&record());
        log.apply(Some(&to_file(&a, AccessFormat::Combined))).unwrap();
        assert!(writer.is_on());
        assert!(log.flush(LONG));
        writer.log(&record());
        let error = log.apply(Some(&to_file(&dir.path().join("no/such/dir"), AccessFormat::Json))).unwrap_err();
        assert!(error.to_string().contains("no/such/dir"), "{error}");
        log.apply(Some(&to_file(&b, AccessFormat::Json))).unwrap();
        assert!(log.flush(LONG));
        log.writer().log(&record());
        log.apply(None).unwrap();
        assert!(log.flush(LONG));
        writer.log(&record());
        assert!(log.close(LONG));
        let (a, b) = (std::fs::read_to_string(a).unwrap(), std::fs::read_to_string(b).unwrap());
        assert_eq!((a.lines().count(), a.starts_with("203.0.113.9 - -")), (1, true));
        assert_eq!((b.lines().count(), b.starts_with("{\"time\"")), (1, true));
    }

    #[test]
    fn a_file_that_exists_is_appended_to() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("access.log");
        std::fs::write(&path, "before\n").unwrap();
        let log = AccessLog::start(Some(&to_file(&path, AccessFormat::Json)), Arc::default()).unwrap();
        log.writer().log(&record());
        drop(log);
        let text = std::fs::read_to_string(&path).unwrap();
        assert!(text.starts_with("before\n{"), "{text}");
        assert_eq!(text.lines().count(), 2);
    }

    /// `/dev/full` answers every write with ENOSPC.
    #[test]
    fn a_full_disk_is_counted_and_not_fatal() {
        let dropped = Arc::new(AtomicU64::new(0));
        let target = to_file(std::path::Path::new("/dev/full"), AccessFormat::Json);
        let log = AccessLog::start(Some(&target), Arc::clone(&dropped)).unwrap();
        let writer = log.writer();
        writer.log(&record());
        writer.log(&record());
        assert!(log.flush(LONG));
        assert_eq!(dropped.load(Ordering::Relaxed), 2);
        assert!(log.close(LONG));
    }
}
