//! Failed requests in the application log.
//!
//! A client that sees a 502 asks why, and the access log may be off, in a format without causes, or elsewhere. So each
//! failure that a client sees is in the application log as well. A broken endpoint fails thousands of requests a
//! second: of the same cause at the same endpoint there is at most one line a second, with the count that it stands
//! for. The counts of all lines add up to the failures: what no later failure reports, [`flush`](FailureLog::flush) does.
//!
//! Client errors (400, 404, 429, …) are at level debug, with the same rate limit: otherwise any client could flood
//! the log.
//!
//! Cost: nothing for a request that did not fail; for others a lock and a look into a table that holds what failed
//! within the last second, so no more than there are causes times endpoints.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use lb_core::Mono;

use crate::rules::cause::Cause;

/// One failed request.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Failure<'a> {
    pub(crate) cause: Cause,
    /// More on the cause, if more is known.
    pub(crate) detail: Option<&'a str>,
    /// What the client got.
    pub(crate) status: u16,
    /// The response had begun: what the client has of it is not all.
    pub(crate) is_cut: bool,
    /// It is the client's own doing.
    pub(crate) is_of_the_client: bool,
    pub(crate) listener: &'a Arc<str>,
    pub(crate) route: Option<&'a Arc<str>>,
    pub(crate) cluster: Option<&'a Arc<str>>,
    /// The endpoint of the last attempt.
    pub(crate) endpoint: Option<&'a Arc<str>>,
    pub(crate) request_id: &'a str,
}

/// What has failed lately. See the module.
#[derive(Debug, Default)]
pub(crate) struct FailureLog {
    recent: Mutex<HashMap<Key, Recent>>,
}

/// Failures that share a line.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Key {
    cause: Cause,
    /// The cluster; of a request that has none, the listener.
    place: Arc<str>,
    endpoint: Option<Arc<str>>,
}

#[derive(Debug)]
struct Recent {
    /// When the last line was written.
    logged: Mono,
    /// Failures since then, and the first of them.
    count: u64,
    sample: Option<Line>,
}

/// What a line says, the count apart.
#[derive(Debug)]
struct Line {
    cause: Cause,
    detail: Option<Box<str>>,
    status: u16,
    is_cut: bool,
    is_of_the_client: bool,
    listener: Arc<str>,
    route: Option<Arc<str>>,
    cluster: Option<Arc<str>>,
    endpoint: Option<Arc<str>>,
    request_id: Box<str>,
}

const INTERVAL: Duration = Duration::from_secs(1);

impl FailureLog {
    /// A request failed.
    pub(crate) fn on_failure(&self, failure: &Failure<'_>, now: Mono) {
        if failure.is_of_the_client && !tracing::enabled!(tracing::Level::DEBUG) {
            return;
        }
        if let Some((line, count)) = self.due(failure, now) {
            line.write(count);
        }
    }

    /// Writes what failed since the last line about it, once that is a second old, and forgets what did not fail again.
    /// To be called every now and then.
    pub(crate) fn flush(&self, now: Mono) {
        let mut due = Vec::new();
        self.recent().retain(|_, recent| {
            if now.saturating_since(recent.logged) < INTERVAL {
                return true;
            }
            let Some(line) = recent.sample.take() else { return false };
            due.push((line, std::mem::take(&mut recent.count)));
            recent.logged = now;
            true
        });
        due.into_iter().for_each(|(line, count)| line.write(count));
    }

    /// Writes all that is left to write: nothing fails any more.
    pub(crate) fn finish(&self) {
        let left = std::mem::take(&mut *self.recent());
        for recent in left.into_values() {
            if let Some(line) = recent.sample {
                line.write(recent.count);
            }
        }
    }

    /// The line that this failure is due to, and how many failures it stands for.
    fn due(&self, failure: &Failure<'_>, now: Mono) -> Option<(Line, u64)> {
        let key = Key {
            cause: failure.cause,
            place: Arc::clone(failure.cluster.unwrap_or(failure.listener)),
            endpoint: failure.endpoint.cloned(),
        };
        let mut recent = self.recent();
        let Some(known) = recent.get_mut(&key) else {
            recent.insert(key, Recent { logged: now, count: 0, sample: None });
            return Some((Line::of(failure), 1));
        };
        known.count += 1;
        if now.saturating_since(known.logged) < INTERVAL {
            known.sample.get_or_insert_with(|| Line::of(failure));
            return None;
        }
        known.logged = now;
        known.sample = None;
        Some((Line::of(failure), std::mem::take(&mut known.count)))
    }

    fn recent(&self) -> MutexGuard<'_, HashMap<Key, Recent>> {
        self.recent.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Line {
    fn of(failure: &Failure<'_>) -> Self {
        Self {
            cause: failure.cause,
            detail: failure.detail.map(Box::from),
            status: failure.status,
            is_cut: failure.is_cut,
            is_of_the_client: failure.is_of_the_client,
            listener: Arc::clone(failure.listener),
            route: failure.route.cloned(),
            cluster: failure.cluster.cloned(),
            endpoint: failure.endpoint.cloned(),
            request_id: failure.request_id.into(),
        }
    }

    /// `request failed status=502 cause=connect_refused endpoint=n8n-1:5678 cluster=n8n …`
    fn write(&self, count: u64) {
        let what = if self.is_cut { "response cut short" } else { "request failed" };
        macro_rules! write {
            ($level:ident) => {
                tracing::$level!(
                    status = self.status,
                    cause = %self.cause,
                    detail = self.detail.as_deref(),
                    endpoint = self.endpoint.as_deref().map(tracing::field::display),
                    cluster = self.cluster.as_deref().map(tracing::field::display),
                    route = self.route.as_deref().map(tracing::field::display),
                    listener = %self.listener,
                    request_id = %self.request_id,
                    count,
                    "{what}"
                )
            };
        }
        if self.is_of_the_client {
            write!(debug);
        } else {
            write!(warn);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn due(log: &FailureLog, failure: &Failure<'_>, ms: u64) -> Option<u64> {
        log.due(failure, Mono::from_millis(ms)).map(|(_, count)| count)
    }

    #[test]
    fn one_line_a_second_counts_all_failures_of_its_kind() {
        let log = FailureLog::default();
        let [web, app, one, two] = ["web", "app", "10.0.0.1:80", "10.0.0.2:80"].map(Arc::<str>::from);
        let failure = Failure {
            cause: Cause::Reset,
            detail: None,
            status: 502,
            is_cut: false,
            is_of_the_client: false,
            listener: &web,
            route: None,
            cluster: Some(&app),
            endpoint: Some(&one),
            request_id: "1",
        };
        assert_eq!(due(&log, &failure, 0), Some(1), "the first at once");
        assert_eq!(due(&log, &failure, 1), None);
        assert_eq!(due(&log, &failure, 999), None);
        let other = Failure { endpoint: Some(&two), ..failure };
        assert_eq!(due(&log, &other, 999), Some(1), "another endpoint");
        assert_eq!(due(&log, &Failure { cause: Cause::ConnectRefused, ..failure }, 999), Some(1), "another cause");
        assert_eq!(due(&log, &failure, 1_000), Some(3), "with the two before");
        assert_eq!(due(&log, &failure, 1_001), None);
        log.flush(Mono::from_millis(1_999));
        assert_eq!(log.recent().len(), 1, "what did not fail again is forgotten");
        assert_eq!(log.recent().values().map(|recent| recent.count).sum::<u64>(), 1, "what did waits for its second");
        log.flush(Mono::from_millis(2_000));
        assert_eq!(due(&log, &failure, 2_001), None, "the line of the flush is of this second");
        log.flush(Mono::from_millis(3_000));
        log.flush(Mono::from_millis(4_000));
        assert_eq!(log.recent().len(), 0);
        assert_eq!(due(&log, &failure, 4_001), Some(1));
    }
}
