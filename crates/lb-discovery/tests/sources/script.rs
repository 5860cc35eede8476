//! A scripted resolver, and an observer that notes what it was called with.

use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use lb_discovery::{Discovery, Failure, Found, Listing, Lookup, LookupFuture, Observer};
use tokio::sync::mpsc;
use tokio::time::Instant;

pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Answers from a script, the last answer for ever, and notes what was asked when. A name that is not in it never resolves.
#[derive(Clone, Default)]
pub(crate) struct Script(pub(crate) Arc<Mutex<State>>);

pub(crate) type Answer = Option<Vec<&'static str>>;

#[derive(Default)]
pub(crate) struct State {
    answers: BTreeMap<String, VecDeque<Answer>>,
    pub(crate) asked: Vec<(String, Instant)>,
}

impl Script {
    pub(crate) fn answer(&self, name: &str, answers: &[Option<&[&'static str]>]) {
        let answers = answers.iter().map(|answer| answer.map(<[_]>::to_vec)).collect();
        lock(&self.0).answers.insert(name.to_owned(), answers);
    }

    pub(crate) fn asked(&self, name: &str) -> Vec<Instant> {
        lock(&self.0).asked.iter().filter(|asked| asked.0 == name).map(|asked| asked.1).collect()
    }
}

impl Lookup for Script {
    fn lookup<'a>(&'a self, name: &'a str, port: u16) -> LookupFuture<'a> {
        let mut state = lock(&self.0);
        state.asked.push((name.to_owned(), Instant::now()));
        let answer = match state.answers.get_mut(name) {
            Some(answers) if answers.len() > 1 => answers.pop_front().flatten(),
            Some(answers) => answers.front().cloned().flatten(),
            None => return Box::pin(std::future::pending()),
        };
        Box::pin(std::future::ready(match answer {
            Some(ips) => Ok(ips.iter().map(|ip| SocketAddr::new(ip.parse().unwrap(), port)).collect()),
            None => Err(Failure::Unanswered("no such name".to_owned())),
        }))
    }
}

/// What an observer was called with: lists of clusters, and a line for each answer and failure.
pub(crate) struct Seen {
    pub(crate) lists: mpsc::UnboundedReceiver<Listing>,
    lines: mpsc::UnboundedReceiver<String>,
}

pub(crate) struct Tell(mpsc::UnboundedSender<Listing>, mpsc::UnboundedSender<String>);

impl Observer for Tell {
    fn on_listing(&self, listing: &Listing) {
        self.0.send(listing.clone()).ok();
    }

    fn on_answer(&self, cluster: &str, source: &str, found: &[Found]) {
        self.1.send(format!("{cluster} {source}={}", show(found))).ok();
    }

    fn on_failure(&self, cluster: &str, source: &str, why: &Failure, kept: &[Found]) {
        self.1.send(format!("{cluster} {source}: {why}, kept {}", show(kept))).ok();
    }
}

impl Seen {
    pub(crate) async fn next(&mut self) -> String {
        let listing = self.lists.recv().await.unwrap();
        format!("{}: {}", listing.cluster, show(listing.found()))
    }

    pub(crate) fn line(&mut self) -> Option<String> {
        self.lines.try_recv().ok()
    }
}

pub(crate) fn show<'a>(found: impl IntoIterator<Item = &'a Found>) -> String {
    found.into_iter().map(|found| format!("{}@{}", found.name, found.address)).collect::<Vec<_>>().join(" ")
}

/// Runs until the handle is dropped.
pub(crate) fn start() -> (Discovery, Seen) {
    let (list, lists) = mpsc::unbounded_channel();
    let (line, lines) = mpsc::unbounded_channel();
    let (discovery, driver) = Discovery::new(Tell(list, line));
    tokio::spawn(driver.run());
    (discovery, Seen { lists, lines })
}
