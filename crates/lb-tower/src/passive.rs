//! Outlier detection: an endpoint that keeps failing real requests is ejected for a while.
//!
//! This joins lb-health's failure window and comparison with a cluster: it gets every attempt as [`Events`] of a
//! [`Balance`](crate::Balance), sets and clears [`Axis::Ejected`], and reports every transition to a [`Watch`]. A success
//! costs one lookup and touches nothing shared; a failure takes a lock for some tens of nanoseconds, and where it might
//! eject, O(members) more.
//!
//! In a quiet cluster the number of failures decides. From 20 requests within the window on, the endpoint's and the
//! others', they are compared: three failures of ten thousand requests eject nothing, nor do failures of a database that
//! all endpoints use.
//!
//! The last eligible endpoint is never ejected: bad answers are better than none. The question and the ejection are
//! one step under the cluster's own lock, so that neither two endpoints that fail at once nor a check that fails at the
//! same time can empty it.
//!
//! An endpoint comes back on probation: it gets one request at a time ([`EndpointState::throttle`](lb_core::EndpointState::throttle))
//! until three have succeeded, and one failure ejects it again. A passed active check ends an ejection ([`Passive::on_check`]).
//!
//! Back-pressure ([`Class::Busy`]) ejects nothing: the endpoint cools down for a while ([`Axis::CoolDown`]), in which it is picked only
//! where no other one can take the request. A caller that knows when an endpoint has been silent for too long
//! ([`lb_health::Silence`]) says so with [`Passive::suspect`]: it then gets one request at a time until it answers.
//!
//! Ejections end by themselves: a request that comes when 200 ms have passed since the last tick makes one ([`Passive::tick`]), on its way. What this
//! does not do: it starts no task. Where an ejection should end without traffic (for a status page, or for what counts eligible
//! endpoints), run [`Passive::drive`] beside, or call `tick` every 10 ms to 1 s.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::future::Future;
use std::num::NonZeroU16;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwap;
use lb_core::{Axis, Class, Clock, End, Mono};
use lb_health::{
    Comparison, CoolDown, CoolDownConfig, Ejection, EjectionCap, Evidence, FailureSet, OnFailure, Outlier,
};
use lb_policy::{Cluster, Endpoint, Identity, LastEligible, Uid};

use self::crowd::Crowd;
use crate::balance::Events;

mod caution;
mod crowd;

/// Told of ejections and readmissions, for logs and metrics. A closure of two typed parameters is one; [`watch_fn`] spares the types.
#[diagnostic::on_unimplemented(
    message = "`{Self}` does not take the transitions of endpoints",
    note = "give `()`, an implementation of `Watch`, or a closure: `watch_fn(|endpoint, what| …)`"
)]
pub trait Watch: Send + Sync + 'static {
    /// This endpoint has changed over. It may have left the cluster meanwhile.
    fn on_transition(&self, endpoint: &Identity, transition: Transition);
}

/// Tells nobody.
impl Watch for () {
    fn on_transition(&self, _endpoint: &Identity, _transition: Transition) {}
}

impl<F: Fn(&Identity, Transition) + Send + Sync + 'static> Watch for F {
    fn on_transition(&self, endpoint: &Identity, transition: Transition) {
        self(endpoint, transition);
    }
}

/// A closure as [`Watch`], whose parameters need no types.
///
/// ```
/// let watch = lb_tower::watch_fn(|endpoint, what| eprintln!("endpoint {endpoint} is {what}"));
/// ```
pub const fn watch_fn<F: Fn(&Identity, Transition) + Send + Sync + 'static>(watch: F) -> F {
    watch
}

/// What happened to an endpoint. Its text completes the line `endpoint 10.0.0.1:80 is …`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Transition {
    /// It gets no new requests for a while.
    Ejected {
        /// For how long.
        eject_for: Duration,
        /// Because of so many failures
        failures: NonZeroU16,
        /// within this time,
        window: Duration,
        /// of which this was the last.
        last: Class,
        /// How it compares with the others; `None` where there were too few requests to compare.
        evidence: Option<Evidence>,
    },
    /// It would have been ejected, but nobody else is eligible, or as many as may be are ejected. Told at most once a
    /// window.
    Spared {
        /// The last failure.
        last: Class,
    },
    /// Its time is over, a check passed, or its ejection was lifted.
    Readmitted,
    /// It asked for less: for so long it is picked only where no other one can take a request.
    CoolingDown {
        /// For how long, as far as is known now.
        length: Duration,
        /// What it answered.
        status: u16,
    },
    /// That is over.
    CooledDown,
    /// It answers nothing: one request at a time until it does.
    Suspected {
        /// How long a request has waited in vain.
        silent_for: Duration,
    },
    /// It has answered, or is needed: it gets all its requests.
    Cleared,
}

impl fmt::Display for Transition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ejected { eject_for, failures, window, last, evidence } => {
                write!(f, "ejected for {eject_for:?}: ")?;
                match (evidence, failures.get()) {
                    (Some(evidence), _) => write!(f, "{evidence}")?,
                    (None, 1) => write!(f, "1 failure in {window:?}")?,
                    (None, failures) => write!(f, "{failures} failures in {window:?}")?,
                }
                write!(f, " ({})", last.name())
            }
            Self::Spared { last } => {
                write!(f, "failing and not ejected, since too few others are left ({})", last.name())
            }
            Self::Readmitted => f.write_str("readmitted"),
            Self::CoolingDown { length, status } => write!(f, "cooling down for {length:?}: status {status}"),
            Self::CooledDown => f.write_str("cooled down"),
            Self::Suspected { silent_for } => write!(f, "suspected: no answer for {silent_for:?}"),
            Self::Cleared => f.write_str("no longer suspected"),
        }
    }
}

/// The rule, and what counts.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct PassiveRule {
    /// When to eject and for how long; default 3 failures in 30 s, for 3 s and longer with each repetition.
    pub ejection: Ejection,
    /// Which outcomes are failures; default connect errors, resets, timeouts and every 5xx. A response that breaks off
    /// after its head counts as a reset.
    pub failures: FailureSet,
    /// Where there were requests enough, an endpoint with so many failures is ejected only if the others fail less
    /// ([`Comparison`]); default on. With `None` the number of failures decides alone.
    pub comparison: Option<Comparison>,
    /// How long an endpoint that asks for less cools down; default on, for 1 s or as long as it says. With `None` its answers count as
    /// any other of their status.
    pub cool_down: Option<CoolDownConfig>,
}

impl Default for PassiveRule {
    fn default() -> Self {
        Self {
            ejection: Ejection::default(),
            failures: FailureSet::default(),
            comparison: Some(Comparison::default()),
            cool_down: Some(CoolDownConfig::default()),
        }
    }
}

/// Outlier detection for one cluster. Clones share its records; give one to every [`Balance`](crate::Balance) of the
/// cluster as its events.
///
/// What it has learned belongs to the endpoint's identity: it survives updates of the membership, and is forgotten when
/// the cluster forgets the endpoint.
///
/// ```
/// use lb_policy::{Cluster, Identity, P2c};
/// use lb_tower::{Balance, Passive, PassiveRule, Transition};
/// # type Channel = ();
///
/// let cluster = Cluster::<Channel>::new("app");
/// let passive = Passive::new(cluster.clone(), PassiveRule::default(), |endpoint: &Identity, what: Transition| {
///     eprintln!("endpoint {endpoint} is {what}");
/// });
/// let balance = Balance::builder(cluster.selector(P2c::default())).events(passive.clone()).build();
/// # drop(balance);
/// ```
pub struct Passive<S, W = ()> {
    // One pointer to be cloned for each attempt.
    shared: Arc<Shared<S, W>>,
}

impl<S: Send + Sync + 'static, W: Watch> Passive<S, W> {
    /// Watches over this cluster; all of its members but the last may be ejected.
    pub fn new(cluster: Cluster<S>, rule: PassiveRule, watch: W) -> Self {
        Self::with_cap(cluster, rule, 100, watch)
    }

    /// As [`new`](Self::new), but at most `max_percent` of a hundred members are ejected at once, though always at
    /// least one may be.
    pub fn with_cap(cluster: Cluster<S>, rule: PassiveRule, max_percent: u8, watch: W) -> Self {
        let books = Books { records: BTreeMap::new(), crowd: Crowd::default(), swept: Mono::ZERO, is_closed: false };
        let books = Mutex::new(books);
        let rule = ArcSwap::from_pointee(rule);
        let (cap, next_tick) = (EjectionCap::new(max_percent), AtomicU64::new(0));
        let shared = Arc::new(Shared { rule, cluster, cap, watch, next_tick, books });
        shared.count_members(&shared.lock());
        Self { shared }
    }

    /// Puts another rule in force, for all clones, so that it judges requests in flight as well. An ejection ends no
    /// later than one by the new rule that began now; what was counted under the old rule is forgotten. The same rule again changes nothing.
    pub fn set_rule(&self, rule: PassiveRule, now: Mono) {
        let mut books = self.shared.lock();
        if **self.shared.rule.load() == rule {
            return;
        }
        books.records.retain(|_, record| record.outlier.is_ejected() || record.has_caution());
        books.records.values().for_each(|record| record.outlier.shorten(&rule.ejection, now));
        books.crowd.retain(|_| false);
        self.shared.end_probations(&books);
        self.shared.rule.store(Arc::new(rule));
    }

    /// Changes how many of a hundred members may be ejected at once. Ejections in force stay.
    pub fn set_max_ejected(&self, max_percent: u8) {
        self.shared.cap.set_max_percent(max_percent);
    }

    /// Ends ejections whose time is over, and keeps the cluster's own house ([`Cluster::maintain`]). Also takes note of
    /// how many members are left to be ejected. Costs O(members); call it every 10 ms to 1 s.
    pub fn tick(&self, now: Mono) {
        let shared = &*self.shared;
        shared.next_tick.store(after(now), Ordering::Relaxed);
        shared.cluster.maintain(now);
        let mut changes = Vec::new();
        {
            let mut books = shared.lock();
            let Books { records, crowd, .. } = &mut *books;
            for (&uid, record) in records {
                if record.outlier.on_timer(now, &shared.cap) && shared.readmit(crowd, uid, true, now) {
                    changes.push((record.identity.clone(), Transition::Readmitted));
                }
            }
            shared.sweep(&mut books, now);
            books.crowd.read(&shared.cluster.endpoints(), now);
            shared.keep_serving();
            shared.end_caution(&mut books, now, &mut changes);
            shared.count_members(&books);
        }
        for (identity, transition) in changes {
            shared.watch.on_transition(&identity, transition);
        }
    }

    /// Ticks every 100 ms, until the last clone of this is gone. Spawn it, or poll it beside whatever uses the cluster. `clock` is the
    /// balances'.
    ///
    /// # Panics
    /// It panics when it is polled outside a tokio runtime with a timer.
    #[must_use = "nothing happens unless it is polled"]
    pub fn drive<C: Clock>(&self, clock: C) -> impl Future<Output = ()> + use<S, W, C> {
        let shared = Arc::downgrade(&self.shared);
        async move {
            let mut interval = tokio::time::interval(DRIVE_INTERVAL);
            interval.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
            loop {
                interval.tick().await;
                let Some(shared) = shared.upgrade() else { return };
                Self { shared }.tick(clock.now());
            }
        }
    }

    /// Ticks on behalf of a request, if it is time to.
    fn tick_if_due(&self, now: Mono) {
        let due = self.shared.next_tick.load(Ordering::Relaxed);
        if now.as_nanos() >= due {
            self.tick_once(due, now);
        }
    }

    /// Of the requests that find it due, one ticks.
    #[cold]
    fn tick_once(&self, due: u64, now: Mono) {
        let next_tick = &self.shared.next_tick;
        let is_first = due == 0;
        if next_tick.compare_exchange(due, after(now), Ordering::Relaxed, Ordering::Relaxed).is_ok() && !is_first {
            self.tick(now);
        }
    }

    /// Takes the result of an active check that began at `started`. One that passed and began after the ejection ends it:
    /// the endpoint is on probation then. Cheap while none is ejected.
    pub fn on_check(&self, uid: Uid, passed: bool, started: Mono, now: Mono) {
        if self.ejected() == 0 {
            return;
        }
        self.end_if(uid, true, now, |outlier, cap| {
            if !passed {
                outlier.on_check_failed();
            }
            passed && outlier.on_check_passed(started, now, cap)
        });
    }

    /// Ends an ejection before its time, because an operator ordered it; true if there was one. There is no probation.
    pub fn readmit(&self, uid: Uid, now: Mono) -> bool {
        self.end_if(uid, false, now, |outlier, cap| outlier.lift(now, cap))
    }

    fn end_if(&self, uid: Uid, probation: bool, now: Mono, end: impl Fn(&Outlier, &EjectionCap) -> bool) -> bool {
        let shared = &*self.shared;
        let ended = {
            let mut books = shared.lock();
            let Books { records, crowd, .. } = &mut *books;
            let record = records.get(&uid).filter(|record| end(&record.outlier, &shared.cap));
            record.filter(|_| shared.readmit(crowd, uid, probation, now)).map(|record| record.identity.clone())
        };
        ended.inspect(|identity| shared.watch.on_transition(identity, Transition::Readmitted)).is_some()
    }

    /// Switches outlier detection off, for all clones and for good: ends every ejection and makes no more. Requests in
    /// flight may hold clones long after; what they report must not eject an endpoint that nothing would readmit.
    pub fn close(&self, now: Mono) {
        let uids: Vec<Uid> = {
            let mut books = self.shared.lock();
            books.is_closed = true;
            self.shared.end_probations(&books);
            for (&uid, record) in books.records.iter_mut().filter(|(_, record)| record.has_caution()) {
                (record.is_suspected, record.is_cooling) = (false, false);
                self.shared.cluster.set(uid, Axis::CoolDown, false, now);
            }
            books.records.keys().copied().collect()
        };
        for uid in uids {
            self.readmit(uid, now);
        }
    }

    /// Until when an endpoint is ejected, or else until when it cools down; `None` if neither. Takes a lock: for status pages.
    #[must_use]
    pub fn out_until(&self, uid: Uid, now: Mono) -> Option<Mono> {
        let books = self.shared.lock();
        let record = books.records.get(&uid)?;
        record
            .outlier
            .next_deadline()
            .or_else(|| record.cool_down.until().filter(|_| record.cool_down.is_in_force(now)))
    }

    /// How many endpoints are ejected.
    #[must_use]
    pub fn ejected(&self) -> u32 {
        self.shared.cap.ejected()
    }

    fn on_failure(&self, endpoint: &Endpoint<S>, class: Class, elapsed: Duration, now: Mono) {
        // Told with no lock held: a log may be slow.
        if let Some(transition) = self.shared.judge(endpoint, class, now.saturating_sub(elapsed), now) {
            self.shared.watch.on_transition(endpoint.identity(), transition);
        }
    }
}

impl<S, W> Clone for Passive<S, W> {
    fn clone(&self) -> Self {
        Self { shared: Arc::clone(&self.shared) }
    }
}

impl<S, W> fmt::Debug for Passive<S, W> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Passive").field("rule", &self.shared.rule.load()).finish_non_exhaustive()
    }
}

impl<S: Send + Sync + 'static, W: Watch> Events<S> for Passive<S, W> {
    fn on_pick(&self, _endpoint: &Arc<Endpoint<S>>, now: Mono) {
        self.tick_if_due(now);
    }

    fn on_refused(&self, now: Mono) {
        self.tick_if_due(now);
    }

    fn on_head(&self, endpoint: &Arc<Endpoint<S>>, class: Class, elapsed: Duration, now: Mono) {
        let rule = self.shared.rule.load();
        let class = match class {
            Class::Busy(status) if rule.cool_down.is_some() => {
                drop(rule);
                return self.on_back_pressure(endpoint, status, None, now);
            }
            Class::Busy(status) => Class::Status(status),
            class => class,
        };
        if rule.failures.contains(class) {
            drop(rule);
            self.on_failure(endpoint, class, elapsed, now);
        } else if endpoint.state().is_throttled() && class != Class::Cancelled {
            drop(rule);
            if self.shared.on_success(endpoint, now.saturating_sub(elapsed)) {
                self.shared.watch.on_transition(endpoint.identity(), Transition::Cleared);
            }
        }
    }

    fn on_end(&self, endpoint: &Arc<Endpoint<S>>, class: Class, end: End, elapsed: Duration, now: Mono) {
        if end != End::UpstreamAborted || class.status().is_none() {
            return;
        }
        let failures = self.shared.rule.load().failures;
        // One failure an attempt: what has failed at its head has been counted.
        if !failures.contains(class) && failures.contains(Class::Reset) {
            self.on_failure(endpoint, Class::Reset, elapsed, now);
        }
    }
}

/// A request that comes so long after the last tick makes the next one. Above the interval of a driver, which spares requests that.
const LATE_TICK: Duration = Duration::from_millis(200);
const DRIVE_INTERVAL: Duration = Duration::from_millis(100);

/// When a request makes the tick that follows one at this time.
fn after(now: Mono) -> u64 {
    now.saturating_add(LATE_TICK).as_nanos()
}

/// Endpoints the cluster has forgotten are looked for this often; it forgets them after ten minutes.
const SWEEP: Duration = Duration::from_secs(10);

struct Shared<S, W> {
    /// The rule in force. Replaced while the books are held; read by every attempt without them.
    rule: ArcSwap<PassiveRule>,
    cluster: Cluster<S>,
    cap: EjectionCap,
    watch: W,
    /// When a request makes a tick, in nanoseconds of the callers' clock.
    next_tick: AtomicU64,
    /// Held while an axis follows a verdict, so that an ejection and its end cannot overtake one another.
    books: Mutex<Books>,
}

struct Books {
    /// Who has failed.
    records: BTreeMap<Uid, Record>,
    /// What all members did lately.
    crowd: Crowd,
    swept: Mono,
    /// Nothing is ejected any more.
    is_closed: bool,
}

struct Record {
    identity: Identity,
    rule: Ejection,
    outlier: Outlier,
    spared: Option<Mono>,
    is_suspected: bool,
    cool_down: CoolDown,
    is_cooling: bool,
}

impl<S: Send + Sync + 'static, W> Shared<S, W> {
    /// The books are consistent between statements that can panic, so a poisoned lock is taken as it is.
    fn lock(&self) -> MutexGuard<'_, Books> {
        self.books.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn judge(&self, endpoint: &Endpoint<S>, last: Class, started: Mono, now: Mono) -> Option<Transition> {
        // There is nothing to compare it with, and no other place for its requests.
        if self.cluster.len() < 2 {
            return None;
        }
        let mut books = self.lock();
        // It may have changed since the caller saw it.
        let in_force = self.rule.load();
        if books.is_closed || !in_force.failures.contains(last) {
            return None;
        }
        let rule = &in_force.ejection;
        let uid = endpoint.uid();
        let Books { records, crowd, .. } = &mut *books;
        let record = records.entry(uid).or_insert_with(|| Record::new(endpoint.identity(), rule));
        if record.rule != *rule && !record.outlier.is_ejected() {
            (record.rule, record.outlier, record.spared) = (*rule, Outlier::new(*rule), None);
        }
        let mut evidence = None;
        if let Some(comparison) = &in_force.comparison {
            let endpoints = self.cluster.endpoints();
            crowd.on_failure(endpoint, !record.outlier.is_current(started), &endpoints, now);
            if !record.outlier.record(started, now) {
                return None;
            }
            if let Some(judged) = crowd.judge(comparison, rule.window, endpoint, &endpoints, now) {
                // Like the others.
                evidence = Some(judged?);
            }
        } else if !record.outlier.record(started, now) {
            return None;
        }
        match record.outlier.eject(started, now, fastrand::u64(..), &self.cap) {
            OnFailure::Nothing => None,
            OnFailure::Capped => record.spare(last, now),
            OnFailure::Ejected { until } => match self.cluster.set_unless_last(uid, Axis::Ejected, now) {
                Ok(is_new) => {
                    record.is_suspected = false;
                    is_new.then(|| Transition::Ejected {
                        eject_for: readable(until.saturating_since(now)),
                        failures: rule.failures,
                        window: rule.window,
                        last,
                        evidence,
                    })
                }
                Err(LastEligible) => {
                    record.outlier.lift(now, &self.cap);
                    record.spare(last, now)
                }
            },
        }
    }

    /// A request that started then has succeeded at an endpoint that is throttled. True if it was suspected, which it is no longer.
    fn on_success(&self, endpoint: &Endpoint<S>, started: Mono) -> bool {
        let mut books = self.lock();
        let Some(record) = books.records.get_mut(&endpoint.uid()) else {
            endpoint.state().throttle(false);
            return false;
        };
        let was_suspected = std::mem::take(&mut record.is_suspected);
        if record.outlier.on_success(started) || (was_suspected && !record.outlier.is_on_probation()) {
            endpoint.state().throttle(false);
        }
        was_suspected
    }

    /// Lets an endpoint have requests again, on probation one at a time, whose ejection has ended. What it did before is
    /// forgotten.
    fn readmit(&self, crowd: &mut Crowd, uid: Uid, probation: bool, now: Mono) -> bool {
        crowd.retain(|other| other != uid);
        // Before it is eligible, so that no second request slips in.
        if let Some(endpoint) = self.cluster.endpoints().iter().find(|endpoint| endpoint.uid() == uid) {
            endpoint.state().throttle(probation);
        }
        self.cluster.set(uid, Axis::Ejected, false, now)
    }

    /// Endpoints that are not ejected get all their requests.
    fn end_probations(&self, books: &Books) {
        let is_ejected = |uid| books.records.get(&uid).is_some_and(|record| record.outlier.is_ejected());
        self.cluster
            .endpoints()
            .iter()
            .filter(|known| !is_ejected(known.uid()))
            .for_each(|known| known.state().throttle(false));
    }

    /// Where no eligible endpoint gets more than one request at a time, all of them get all: caution must not refuse
    /// what nobody else can take.
    fn keep_serving(&self) {
        let endpoints = self.cluster.endpoints();
        let eligible = || endpoints.iter().map(|known| known.state()).filter(|state| state.is_eligible());
        if eligible().all(|state| state.is_throttled()) {
            eligible().for_each(|state| state.throttle(false));
        }
    }

    /// Forgets whom the cluster has forgotten.
    fn sweep(&self, books: &mut Books, now: Mono) {
        if now.saturating_since(books.swept) < SWEEP {
            return;
        }
        books.swept = now;
        let members: BTreeSet<Uid> = self.cluster.endpoints().iter().map(|endpoint| endpoint.uid()).collect();
        books.crowd.retain(|uid| members.contains(&uid));
        books.records.retain(|&uid, record| {
            let known = self.cluster.uid_of(&record.identity) == Some(uid);
            if !known {
                record.outlier.lift(now, &self.cap);
            }
            known
        });
    }

    /// Tells the cap how many members there are, and how many would be eligible if nobody were ejected.
    ///
    /// It counts all ejections against these, so those of endpoints that have left or could not serve anyway are added on
    /// this side too.
    fn count_members(&self, books: &Books) {
        let endpoints = self.cluster.endpoints();
        // Where none is eligible, those serve that only fail a check.
        let serves_unchecked = self.cluster.eligible_count() == 0;
        let is_usable =
            |axis| matches!(axis, Axis::Ejected | Axis::CoolDown) || (axis == Axis::Check && serves_unchecked);
        let usable = endpoints.iter().filter(|endpoint| endpoint.state().reasons().all(is_usable));
        let is_ejected = |uid| books.records.get(&uid).is_some_and(|record| record.outlier.is_ejected());
        let (mut usable_count, mut usable_ejected) = (0, 0);
        for endpoint in usable {
            usable_count += 1;
            usable_ejected += usize::from(is_ejected(endpoint.uid()));
        }
        let elsewhere = (self.cap.ejected() as usize).saturating_sub(usable_ejected);
        let count = |number: usize| u32::try_from(number.saturating_add(elsewhere)).unwrap_or(u32::MAX);
        self.cap.set_members(count(endpoints.len()), count(usable_count));
    }
}

/// To tenths of a second: the digits of the jitter below that are noise in a log.
fn readable(length: Duration) -> Duration {
    let millis = u64::try_from(length.as_millis()).unwrap_or(u64::MAX);
    Duration::from_millis(if millis < 1_000 { millis } else { millis / 100 * 100 })
}

impl Record {
    fn new(identity: &Identity, rule: &Ejection) -> Self {
        Self {
            identity: identity.clone(),
            rule: *rule,
            outlier: Outlier::new(*rule),
            spared: None,
            is_suspected: false,
            cool_down: CoolDown::default(),
            is_cooling: false,
        }
    }

    /// It is told once a window, however often it fails.
    fn spare(&mut self, last: Class, now: Mono) -> Option<Transition> {
        let told = self.spared.is_some_and(|at| now.saturating_since(at) < self.rule.window);
        if told {
            return None;
        }
        self.spared = Some(now);
        Some(Transition::Spared { last })
    }
}

#[cfg(test)]
mod tests;
