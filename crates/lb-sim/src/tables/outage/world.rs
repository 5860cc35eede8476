//! One run: requests, endpoints, checks, and a rule that hears of them.

use std::collections::BTreeMap;
use std::time::Duration;

use lb_core::{Class, End, Mono};
use lb_policy::{RoundRobin, Ticket, Tried};

use super::faults::{Fault, Scene};
use super::rules::{Cx, Ended, Rule, Waiting};
use crate::client::Client;
use crate::queue::EventQueue;
use crate::seed::{Seed, Stream, later};

/// Requests a second.
pub(super) const RATE: f64 = 100.0;
/// Service times in seconds: normal, with a deviation of a tenth.
const SERVICE: f64 = 0.06;
/// A request that was not answered within this has been given up by its client.
const PATIENCE: Duration = Duration::from_secs(10);
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
const ATTEMPTS: usize = 3;
/// The proxy's own tick: tables that were not rebuilt at once are rebuilt now.
const TICK: Duration = Duration::from_millis(100);
/// A refusal takes a round trip.
const ROUND_TRIP: Duration = Duration::from_micros(200);
/// Linux sends a SYN again after 1 s, then after twice as long each time; what is on a connection after 200 ms.
const SYN_AGAIN: f64 = 1.0;
const DATA_AGAIN: f64 = 0.2;

/// What a run found.
#[derive(Clone, Debug, Default)]
pub(super) struct Found {
    /// Requests that failed, or took longer than a second.
    pub(super) lost: u32,
    /// When each endpoint was picked.
    pub(super) picks: Vec<(Mono, usize)>,
    /// When each endpoint answered well.
    pub(super) answers: Vec<(Mono, usize)>,
    /// Endpoints that were taken out while they were well.
    pub(super) false_ejections: u32,
}

enum Event {
    Arrival,
    /// An attempt, by its number, has ended; or has waited for so long that its rule wants to look.
    Ended(u64),
    Waited(u64),
    CheckDue(usize),
    CheckEnded {
        endpoint: usize,
        started: Mono,
        passed: bool,
    },
    Timer(usize),
    Tick,
}

struct Request {
    arrived: Mono,
    tried: Tried,
}

/// An attempt under way, and how it will end.
struct Attempt {
    ticket: Ticket<usize>,
    class: Class,
    request: Request,
}

/// Makes one run.
pub(super) fn run(scene: &Scene, rule: Box<dyn Rule>, seed: Seed) -> Found {
    let client = Client::new(RoundRobin.into(), scene.endpoints, seed.child(0));
    client.cluster().set_panic_mode(rule.panic_mode(), Mono::ZERO);
    let mut world = World {
        scene,
        rule,
        client,
        arrivals: seed.child(1).stream(),
        services: (0..scene.endpoints as u64).map(|endpoint| seed.child(2).child(endpoint).stream()).collect(),
        random: seed.child(3).stream(),
        timers: Vec::new(),
        taken_out: Vec::new(),
        due: vec![Mono::MAX; scene.endpoints],
        sooner: Vec::new(),
        events: EventQueue::new(),
        attempts: BTreeMap::new(),
        next: 0,
        found: Found::default(),
    };
    world.start();
    while let Some((now, event)) = world.events.take() {
        // Checks and timers go on for ever.
        if now > scene.end.saturating_add(PATIENCE) {
            break;
        }
        world.on(&event, now);
    }
    world.found
}

struct World<'s> {
    scene: &'s Scene,
    rule: Box<dyn Rule>,
    client: Client,
    arrivals: Stream,
    services: Vec<Stream>,
    random: Stream,
    timers: Vec<(Mono, usize)>,
    taken_out: Vec<usize>,
    /// When each endpoint is checked next, and changes of that.
    due: Vec<Mono>,
    sooner: Vec<(Mono, usize)>,
    events: EventQueue<Event>,
    attempts: BTreeMap<u64, Attempt>,
    /// The number of the next attempt.
    next: u64,
    found: Found,
}

impl World<'_> {
    fn start(&mut self) {
        for endpoint in 0..self.scene.endpoints {
            let first = self.ask(Mono::ZERO, |rule, cx| rule.on_start(endpoint, cx));
            if self.rule.check_timeout().is_some() {
                self.check_at(first, endpoint);
            }
        }
        self.events.schedule(Mono::ZERO, Event::Tick);
        self.expect_arrival();
    }

    fn on(&mut self, event: &Event, now: Mono) {
        match *event {
            Event::Arrival => {
                self.expect_arrival();
                self.send(Request { arrived: now, tried: Tried::new() }, now);
            }
            // It may have been given up.
            Event::Ended(number) => {
                if let Some(Attempt { ticket, class, request }) = self.attempts.remove(&number) {
                    self.on_ended(ticket, class, request, now);
                }
            }
            Event::Waited(number) => self.on_waited(number, now),
            // Another time may have been set since.
            Event::CheckDue(endpoint) if self.due.get(endpoint) != Some(&now) => {}
            Event::CheckDue(endpoint) => self.check(endpoint, now),
            Event::CheckEnded { endpoint, started, passed } => {
                let next = self.judge(now, |rule, cx| rule.on_check(endpoint, started, passed, cx));
                self.check_at(next, endpoint);
            }
            Event::Timer(number) => self.judge(now, |rule, cx| rule.on_timer(number, cx)),
            Event::Tick => {
                self.client.cluster().maintain(now);
                self.events.schedule(now.saturating_add(TICK), Event::Tick);
            }
        }
    }

    fn check_at(&mut self, at: Mono, endpoint: usize) {
        if let Some(due) = self.due.get_mut(endpoint) {
            *due = at;
        }
        self.events.schedule(at, Event::CheckDue(endpoint));
    }

    fn expect_arrival(&mut self) {
        let at = later(self.events.now(), self.arrivals.exponential(1.0 / RATE));
        if at < self.scene.end {
            self.events.schedule(at, Event::Arrival);
        }
    }

    fn send(&mut self, mut request: Request, now: Mono) {
        let Some(ticket) = self.client.pick_untried(&request.tried, now) else {
            self.found.lost += 1;
            return;
        };
        request.tried.push(ticket.endpoint().uid());
        let endpoint = *ticket.endpoint().value();
        self.found.picks.push((now, endpoint));
        self.ask(now, |rule, cx| rule.on_pick(endpoint, cx));
        let (ends, class) = self.attempt(endpoint, now);
        let number = self.next;
        self.next += 1;
        self.events.schedule(ends, Event::Ended(number));
        if let Some(wait) = self.rule.first_look(endpoint) {
            self.events.schedule(now.saturating_add(wait), Event::Waited(number));
        }
        self.attempts.insert(number, Attempt { ticket, class, request });
    }

    fn on_waited(&mut self, number: u64, now: Mono) {
        let Some(attempt) = self.attempts.get(&number) else { return };
        let (endpoint, started) = (*attempt.ticket.endpoint().value(), attempt.ticket.started());
        let may_go_elsewhere = attempt.request.tried.len() < ATTEMPTS;
        match self.judge(now, |rule, cx| rule.on_wait(endpoint, started, cx)) {
            Waiting::LookAgain(after) => self.events.schedule(now.saturating_add(after), Event::Waited(number)),
            Waiting::GiveUp if may_go_elsewhere => {
                if let Some(Attempt { ticket, request, .. }) = self.attempts.remove(&number) {
                    self.on_ended(ticket, Class::Timeout, request, now);
                }
            }
            Waiting::GiveUp => {}
        }
    }

    /// When an attempt that begins now ends, and how.
    fn attempt(&mut self, endpoint: usize, now: Mono) -> (Mono, Class) {
        let Some(services) = self.services.get_mut(endpoint) else { return (now, Class::ConnectError) };
        // Both drawn in any case, so that every rule meets the same endpoints.
        let (service, chance) = (services.normal(SERVICE, SERVICE / 10.0).max(0.0), services.unit());
        let strike = self.scene.at(endpoint, now);
        let (begins, service, class) = match strike.map(|strike| strike.fault) {
            None => (now, service, Class::Status(200)),
            Some(Fault::Down) => return (now.saturating_add(ROUND_TRIP), Class::ConnectError),
            Some(Fault::Slow(times)) => (now, service * times, Class::Status(200)),
            Some(Fault::Fails(share)) => (now, service, Class::Status(if chance <= share { 500 } else { 200 })),
            Some(Fault::BlackHole) => {
                let arrives = sent_again(now, SYN_AGAIN, strike.map_or(now, |strike| strike.until));
                let times_out = now.saturating_add(CONNECT_TIMEOUT);
                if arrives >= times_out {
                    return (times_out, Class::ConnectError);
                }
                (arrives, service, Class::Status(200))
            }
        };
        let ends = later(begins, service);
        match self.scene.within(endpoint, begins, ends) {
            Some(next) if next.fault == Fault::Down => (next.from, Class::Reset),
            Some(next) if next.fault == Fault::BlackHole && ends < next.until => {
                (sent_again(ends, DATA_AGAIN, next.until), class)
            }
            _ => (ends, class),
        }
    }

    fn on_ended(&mut self, mut ticket: Ticket<usize>, class: Class, request: Request, now: Mono) {
        let ended = Ended { endpoint: *ticket.endpoint().value(), started: ticket.started(), class };
        ticket.on_head(class, now);
        ticket.on_end(End::Completed, now);
        self.judge(now, |rule, cx| rule.on_ended(&ended, cx));
        let took = now.saturating_since(request.arrived);
        if !class.is_failure() {
            self.found.answers.push((now, ended.endpoint));
            self.found.lost += u32::from(took > Duration::from_secs(1));
        } else if request.tried.len() < ATTEMPTS && took < PATIENCE {
            self.send(request, now);
        } else {
            self.found.lost += 1;
        }
    }

    fn check(&mut self, endpoint: usize, now: Mono) {
        let Some(timeout) = self.rule.check_timeout() else { return };
        let strike = self.scene.at(endpoint, now);
        let service = |times: f64| Duration::from_secs_f64(SERVICE * times);
        let (takes, passed) = match strike.map(|strike| strike.fault) {
            Some(Fault::Down) => (ROUND_TRIP, false),
            Some(Fault::Slow(times)) => (service(times), true),
            Some(Fault::BlackHole) => {
                let arrives = sent_again(now, SYN_AGAIN, strike.map_or(now, |strike| strike.until));
                (arrives.saturating_since(now) + service(1.0), true)
            }
            // Where requests fail, the page for checks is as it was.
            None | Some(Fault::Fails(_)) => (service(1.0), true),
        };
        let passed = passed && takes <= timeout;
        let ends = now.saturating_add(takes.min(timeout));
        self.events.schedule(ends, Event::CheckEnded { endpoint, started: now, passed });
    }

    /// Asks the rule, and counts which endpoints it thereby takes out although they are well.
    fn judge<R>(&mut self, now: Mono, ask: impl FnOnce(&mut dyn Rule, &mut Cx<'_>) -> R) -> R {
        self.taken_out.clear();
        let answer = self.ask(now, ask);
        let is_well = |&&endpoint: &&usize| self.scene.at(endpoint, now).is_none();
        self.found.false_ejections += self.taken_out.iter().filter(is_well).count() as u32;
        answer
    }

    fn ask<R>(&mut self, now: Mono, ask: impl FnOnce(&mut dyn Rule, &mut Cx<'_>) -> R) -> R {
        let World { client, random, timers, taken_out, sooner, .. } = self;
        let mut cx = Cx { now, client, random, timers, taken_out, sooner };
        let answer = ask(&mut *self.rule, &mut cx);
        for (at, number) in self.timers.drain(..) {
            self.events.schedule(at, Event::Timer(number));
        }
        while let Some((at, endpoint)) = self.sooner.pop() {
            self.check_at(at, endpoint);
        }
        answer
    }
}

/// When a packet that was sent first at `sent`, in vain, gets through a black hole that ends at `until`: it is sent again after `first`
/// seconds, and then each time after twice as long.
fn sent_again(sent: Mono, first: f64, until: Mono) -> Mono {
    let mut wait = first;
    let mut at = sent;
    while at < until {
        at = later(at, wait);
        wait *= 2.0;
    }
    at
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packets_are_sent_again_after_longer_and_longer() {
        let sent = |until| sent_again(Mono::from_millis(1_000), SYN_AGAIN, Mono::from_millis(until)).as_millis();
        assert_eq!([900, 1_001, 2_000, 2_001, 4_001, 8_001].map(sent), [1_000, 2_000, 2_000, 4_000, 8_000, 16_000]);
    }
}
