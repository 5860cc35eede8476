//! What the tests share: endpoints' services that do as they are told, a cluster of them, and a log of events.

use std::collections::VecDeque;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use lb_core::{Class, End, Mono};
use lb_policy::{Cluster, Endpoint, Identity, Member, PickCx, Tried, Uid, Update};
use tower_service::Service;

use crate::{Events, Inspect};

/// A cluster of these services, named `a`, `b`, …
pub(crate) fn cluster_of<S: Send + Sync + 'static>(services: impl IntoIterator<Item = S>) -> Cluster<S> {
    let names = ('a'..='z').map(String::from);
    let members = names.zip(services).map(|(name, service)| Member::new(Identity::literal(name), service));
    let cluster = Cluster::new("test");
    cluster.apply(Update::Reset(members.collect()), Mono::ZERO);
    cluster
}

pub(crate) fn uids<S: Send + Sync + 'static>(cluster: &Cluster<S>) -> Vec<Uid> {
    cluster.endpoints().iter().map(|endpoint| endpoint.uid()).collect()
}

/// Requests in flight, by endpoint.
pub(crate) fn in_flight<S: Send + Sync + 'static>(cluster: &Cluster<S>) -> Vec<u32> {
    cluster.endpoints().iter().map(|endpoint| endpoint.state().in_flight()).collect()
}

/// A request that can say what a pick wants to know.
#[derive(Clone, Debug, Default)]
pub(crate) struct Ask {
    pub(crate) tried: Tried,
    pub(crate) key: Option<Vec<u8>>,
}

/// Reads an [`Ask`].
#[derive(Clone, Copy, Debug)]
pub(crate) struct AsAsked;

impl Inspect<Ask> for AsAsked {
    fn inspect<'a>(&'a self, ask: &'a Ask, cx: &mut PickCx<'a>) {
        cx.tried = &ask.tried;
        cx.key = ask.key.as_deref();
    }
}

/// What a [`Mock`] answers.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Answer {
    Ok,
    Fail(Class),
    Never,
    After(Duration),
}

/// A service that answers with its name. Clones are the same service.
#[derive(Clone, Debug)]
pub(crate) struct Mock {
    name: char,
    state: Arc<Mutex<MockState>>,
}

#[derive(Debug)]
struct MockState {
    /// `None` is not ready; the error is for good.
    ready: Option<Result<(), Class>>,
    waiting: Vec<Waker>,
    /// The last one stays.
    answers: VecDeque<Answer>,
    calls: u32,
}

impl Mock {
    pub(crate) fn new(name: char) -> Self {
        let answers = VecDeque::from([Answer::Ok]);
        let state = MockState { ready: Some(Ok(())), waiting: Vec::new(), answers, calls: 0 };
        Self { name, state: Arc::new(Mutex::new(state)) }
    }

    /// The first so many of the alphabet.
    pub(crate) fn several(count: usize) -> Vec<Self> {
        ('a'..='z').take(count).map(Self::new).collect()
    }

    pub(crate) fn answers(&self, answers: &[Answer]) {
        self.lock().answers = answers.iter().copied().collect();
    }

    pub(crate) fn set_ready(&self, ready: Option<Result<(), Class>>) {
        let mut state = self.lock();
        state.ready = ready;
        state.waiting.drain(..).for_each(Waker::wake);
    }

    pub(crate) fn calls(&self) -> u32 {
        self.lock().calls
    }

    fn lock(&self) -> MutexGuard<'_, MockState> {
        self.state.lock().unwrap()
    }
}

impl<Req> Service<Req> for Mock {
    type Response = char;
    type Error = Class;
    type Future = Pin<Box<dyn Future<Output = Result<char, Class>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Class>> {
        let mut state = self.lock();
        if let Some(ready) = state.ready {
            return Poll::Ready(ready);
        }
        state.waiting.push(cx.waker().clone());
        Poll::Pending
    }

    fn call(&mut self, _request: Req) -> Self::Future {
        let name = self.name;
        let mut state = self.lock();
        assert_eq!(state.ready, Some(Ok(())), "called while not ready");
        state.calls += 1;
        let answer = if state.answers.len() > 1 { state.answers.pop_front() } else { state.answers.front().copied() };
        Box::pin(async move {
            match answer.expect("there is always a last answer") {
                Answer::Ok => Ok(name),
                Answer::Fail(class) => Err(class),
                Answer::Never => std::future::pending().await,
                Answer::After(delay) => {
                    tokio::time::sleep(delay).await;
                    Ok(name)
                }
            }
        })
    }
}

/// The class of a mock's error is the error.
pub(crate) fn itself(class: &Class) -> Class {
    *class
}

/// Writes down what it is told: `a+` a pick, `a:200` a head, `a.Completed` an end.
#[derive(Clone, Debug, Default)]
pub(crate) struct Log(Arc<Mutex<Vec<String>>>);

impl Log {
    /// What was written since this was last asked.
    pub(crate) fn take(&self) -> Vec<String> {
        std::mem::take(&mut self.0.lock().unwrap())
    }

    fn write(&self, line: String) {
        self.0.lock().unwrap().push(line);
    }
}

impl<S> Events<S> for Log {
    fn on_pick(&self, endpoint: &Arc<Endpoint<S>>, _now: Mono) {
        self.write(format!("{}+", endpoint.identity()));
    }

    fn on_head(&self, endpoint: &Arc<Endpoint<S>>, class: Class, elapsed: Duration, _now: Mono) {
        self.write(format!("{}:{} {}ms", endpoint.identity(), class.name(), elapsed.as_millis()));
    }

    fn on_end(&self, endpoint: &Arc<Endpoint<S>>, class: Class, end: End, _elapsed: Duration, _now: Mono) {
        self.write(format!("{}.{end:?} {}", endpoint.identity(), class.name()));
    }
}
