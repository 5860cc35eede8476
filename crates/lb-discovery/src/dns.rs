//! Names as sources: every A and AAAA record is an endpoint.
//!
//! A container that restarts comes back under its name with another address, and one that is not there yet has no address
//! at all. So a name is looked up at once and every interval, and after failures sooner: after 1 s, 2 s, 4 s, … up to the
//! interval. The system's resolver does not say how long an answer may be kept, hence the interval.
//!
//! Out of scope: SRV records, ports from records, TTLs.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Semaphore;

use crate::backoff::{Backoff, jittered};
use crate::failure::Failure;
use crate::found::Found;
use crate::lookup::Lookup;
use crate::sink::EndpointSink;
use crate::source::{Source, SourceFuture};

/// Lookups for many names, a bounded number at a time: each may hold a blocking thread. Clones share that bound.
#[derive(Clone)]
pub struct Resolver {
    lookup: Arc<dyn Lookup>,
    places: Arc<Semaphore>,
}

impl Resolver {
    /// Looks up by `lookup`.
    #[must_use]
    pub fn new(lookup: impl Lookup) -> Self {
        Self { lookup: Arc::new(lookup), places: Arc::new(Semaphore::new(MAX_LOOKUPS)) }
    }

    /// The addresses of a name, sorted, each once, one at least.
    async fn resolve(&self, host: &str, port: u16) -> Result<Vec<SocketAddr>, Failure> {
        // The semaphore is never closed; if it were, one lookup too many would be no harm.
        let _place = self.places.acquire().await;
        let mut addresses = match tokio::time::timeout(LOOKUP_TIMEOUT, self.lookup.lookup(host, port)).await {
            Ok(answer) => answer?,
            Err(_) => return Err(Failure::Unanswered(format!("no answer within {LOOKUP_TIMEOUT:?}"))),
        };
        addresses.sort_unstable();
        addresses.dedup();
        if addresses.is_empty() { Err(Failure::Unanswered("it has no address".to_owned())) } else { Ok(addresses) }
    }
}

/// One name, looked up again and again. Its endpoints have the name of the source.
#[derive(Clone)]
pub struct Dns {
    resolver: Resolver,
    name: Arc<str>,
    host: Arc<str>,
    port: u16,
    interval: Duration,
}

impl Dns {
    /// `host`, looked up every `interval` (100 ms at least), whose addresses are endpoints called `name`.
    #[must_use]
    pub fn new(
        resolver: &Resolver,
        name: impl Into<Arc<str>>,
        host: impl Into<Arc<str>>,
        port: u16,
        interval: Duration,
    ) -> Self {
        let (resolver, interval) = (resolver.clone(), interval.max(MIN_INTERVAL));
        Self { resolver, name: name.into(), host: host.into(), port, interval }
    }
}

impl Source for Dns {
    fn name(&self) -> Arc<str> {
        Arc::clone(&self.name)
    }

    fn settings(&self) -> String {
        format!("{}:{} every {:?}", self.host, self.port, self.interval)
    }

    fn run(self: Arc<Self>, sink: EndpointSink) -> SourceFuture {
        Box::pin(async move {
            let backoff = Backoff { first: FIRST_RETRY, max: self.interval };
            let mut failures = 0_u32;
            loop {
                let planned = match self.resolver.resolve(&self.host, self.port).await {
                    Ok(addresses) => {
                        failures = 0;
                        sink.set(addresses.into_iter().map(|at| Found::new(Arc::clone(&self.name), at)).collect());
                        self.interval
                    }
                    Err(why) => {
                        failures = failures.saturating_add(1);
                        sink.failed(why);
                        backoff.after(failures)
                    }
                };
                tokio::time::sleep(jittered(planned, fastrand::u64(..))).await;
            }
        })
    }
}

/// A lookup that takes longer has failed. Resolvers give up after 5 s to 30 s; their thread is lost until then.
const LOOKUP_TIMEOUT: Duration = Duration::from_secs(10);

/// Well below the 512 blocking threads that a runtime has by default, which the access to files shares.
const MAX_LOOKUPS: usize = 32;

const FIRST_RETRY: Duration = Duration::from_secs(1);

/// Against an interval that would do nothing but look up.
const MIN_INTERVAL: Duration = Duration::from_millis(100);
