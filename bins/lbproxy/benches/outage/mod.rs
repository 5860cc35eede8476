//! Outages, and what they cost behind lbproxy, nginx and HAProxy: endpoints that fail in turn while requests come at a fixed rate.
//!
//! Each proxy has endpoints of its own, and all of them live through a scene at the same time, so that what disturbs the machine
//! disturbs them together. Everything of a scene but the proxies is on one thread: load and endpoints cost little at these rates.

pub(crate) mod client;
pub(crate) mod contenders;
pub(crate) mod endpoint;
pub(crate) mod figures;
pub(crate) mod scenes;
pub(crate) mod table;

use std::time::{Duration, SystemTime};

use tokio::runtime::Builder;
use tokio::task::{JoinSet, LocalSet};
use tokio::time::{Instant, sleep_until};

use crate::programs::Ports;
use client::{Answer, load};
use contenders::{Contender, Running};
use endpoint::Endpoint;
use figures::{Attempt, Figures};
use scenes::Scene;

/// What a scene cost each of the contenders, in their order, and how late requests were sent.
#[derive(Clone, Debug)]
pub(crate) struct Outcome {
    pub(crate) figures: Vec<Figures>,
    /// The lateness that 99 of 100 requests stayed below: what of the times is the machine's.
    pub(crate) late: Duration,
}

/// Lives through a scene with each of these, at so many requests a second. `stopped` ends it early, without an outcome; the proxies end
/// in any case.
pub(crate) fn run(
    scene: &Scene,
    contenders: &[Contender],
    rate: u32,
    stopped: impl Future<Output = ()>,
) -> Option<Outcome> {
    let runtime = Builder::new_current_thread().enable_all().build().expect("a runtime");
    let local = LocalSet::new();
    local.block_on(&runtime, async {
        tokio::select! {
            outcome = live_through(scene, contenders, rate) => Some(outcome),
            () = stopped => None,
        }
    })
}

/// A proxy and the endpoints behind it.
struct Side {
    proxy: Running,
    endpoints: Vec<Endpoint>,
    /// The endpoints' ports, for as long as anything may refer to them.
    _ports: Ports,
}

async fn live_through(scene: &Scene, contenders: &[Contender], rate: u32) -> Outcome {
    let sides = sides(scene, contenders);
    let (start, wall) = (Instant::now(), SystemTime::now());
    let mut loads = JoinSet::new();
    for (number, side) in sides.iter().enumerate() {
        // One after the other within the time of a request, so that they do not all want the processor at once.
        let first = start + Duration::from_secs(1) * number as u32 / (rate * sides.len() as u32);
        let (at, end) = (side.proxy.at, scene.end);
        loads.spawn_local(async move { (number, load(at, rate, first, end).await) });
    }
    let (counted, ()) = tokio::join!(count_attempts(scene, &sides, start), play(scene, &sides, start));
    let mut answers = loads.join_all().await;
    answers.sort_unstable_by_key(|&(number, _)| number);
    let answers: Vec<_> = answers.into_iter().map(|(_, answers)| answers).collect();
    let figures = sides.iter().zip(&answers).zip(counted).map(|((side, answers), counted)| {
        let attempts = side.attempts(scene, start, wall, counted);
        Figures::of(scene, rate, answers, &attempts)
    });
    Outcome { figures: figures.collect(), late: lateness(&answers) }
}

/// Starts everything; the proxies together, so that each has been there as long as the others.
fn sides(scene: &Scene, contenders: &[Contender]) -> Vec<Side> {
    let ports: Vec<_> = contenders.iter().map(|_| Ports::new(scene.endpoints)).collect();
    let endpoints: Vec<_> =
        ports.iter().map(|ports| Endpoint::start_all(ports, |number| scene.initial(number))).collect();
    let proxies: Vec<_> = std::thread::scope(|scope| {
        let starting = contenders.iter().zip(&ports).map(|(contender, ports)| scope.spawn(|| contender.start(ports)));
        let starting: Vec<_> = starting.collect();
        starting.into_iter().map(|proxy| proxy.join().expect("it starts")).collect()
    });
    let sides = proxies.into_iter().zip(endpoints).zip(ports);
    sides.map(|((proxy, endpoints), ports)| Side { proxy, endpoints, _ports: ports }).collect()
}

/// Turns the endpoints, in time.
async fn play(scene: &Scene, sides: &[Side], start: Instant) {
    for turn in &scene.script {
        sleep_until(start + turn.at).await;
        for side in sides {
            side.endpoints[turn.endpoint].turn(turn.to);
        }
    }
}

/// How often proxies are asked for their counts: as finely as times are found.
const COUNT_INTERVAL: Duration = Duration::from_millis(250);

/// The attempts of each proxy by its own count, until the endpoints are well again; `None` for a proxy that has no such count, and where
/// the endpoints see them all.
async fn count_attempts(scene: &Scene, sides: &[Side], start: Instant) -> Vec<Option<Vec<Attempt>>> {
    let mut attempts = vec![None; sides.len()];
    if !scene.is_unseen() {
        return attempts;
    }
    let mut before = vec![vec![0; scene.endpoints]; sides.len()];
    let mut at = Duration::ZERO;
    while at <= scene.recovery {
        sleep_until(start + at).await;
        for ((side, before), attempts) in sides.iter().zip(&mut before).zip(&mut attempts) {
            let Some(counts) = side.proxy.counts().await else { continue };
            let attempts = attempts.get_or_insert_with(Vec::new);
            // What happened in the step that has passed.
            let at = at.saturating_sub(COUNT_INTERVAL / 2);
            for (endpoint, (before, count)) in before.iter_mut().zip(counts).enumerate() {
                attempts.extend((*before..count).map(|_| Attempt { at, endpoint }));
                *before = count.max(*before);
            }
        }
        at += COUNT_INTERVAL;
    }
    attempts
}

impl Side {
    /// Every attempt there was, from whichever side sees them.
    fn attempts(&self, scene: &Scene, start: Instant, wall: SystemTime, counted: Option<Vec<Attempt>>) -> Vec<Attempt> {
        let seen = self.endpoints.iter().enumerate().flat_map(|(endpoint, it)| {
            let at = move |request: std::time::Instant| request.saturating_duration_since(start.into_std());
            it.requests().into_iter().map(move |request| Attempt { at: at(request), endpoint })
        });
        if !scene.is_unseen() {
            return seen.collect();
        }
        let unseen = self.proxy.logged(wall).or(counted).expect("each proxy has a log or a count");
        let unseen = unseen.into_iter().filter(|attempt| attempt.at < scene.recovery);
        unseen.chain(seen.filter(|attempt| attempt.at >= scene.recovery)).collect()
    }
}

fn lateness(answers: &[Vec<Answer>]) -> Duration {
    let mut late: Vec<_> = answers.iter().flatten().map(|answer| answer.late).collect();
    late.sort_unstable();
    late.get(late.len() * 99 / 100).copied().unwrap_or_default()
}
