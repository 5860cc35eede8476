//! tower's own balancer and ours, with the fewest things around them.

use std::convert::Infallible;
use std::future::{Ready, poll_fn, ready};
use std::hint::black_box;
use std::task::{Context, Poll};
use std::time::Instant;

use lb_core::Mono;
use lb_policy::{Cluster, Member, P2c, Update};
use tokio::runtime::Builder;
use tower::balance::p2c::Balance;
use tower::buffer::Buffer;
use tower::discover::ServiceList;
use tower::load::{CompleteOnResponse, PendingRequests};
use tower::{Service, ServiceExt};

use crate::rounds::Subject;

/// An endpoint that answers at once.
#[derive(Clone, Copy, Debug)]
struct Answers(usize);

impl Service<()> for Answers {
    type Response = usize;
    type Error = Infallible;
    type Future = Ready<Result<usize, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, (): ()) -> Self::Future {
        ready(Ok(self.0))
    }
}

type Endpoint = PendingRequests<Answers>;
type Balancer = Balance<ServiceList<Vec<Endpoint>>, ()>;

fn balance(endpoints: usize) -> Balancer {
    let services = (0..endpoints).map(|place| PendingRequests::new(Answers(place), CompleteOnResponse::default()));
    Balance::new(ServiceList::new(services.collect::<Vec<Endpoint>>()))
}

/// Our `Balance` with the same policy, as everybody uses it: shared, and called without waiting for it.
///
/// # Panics
/// The runtime cannot be made.
#[must_use]
pub fn lb_tower(endpoints: usize) -> Subject {
    let runtime = Builder::new_current_thread().build().expect("a runtime without drivers needs only memory");
    let cluster = Cluster::new("bench");
    let members = (0..endpoints).map(|place| Member::new(place.to_string(), Answers(place)));
    cluster.apply(Update::Reset(members.collect()), Mono::ZERO);
    let mut service = lb_tower::Balance::builder(cluster.selector(P2c)).observe(lb_tower::Immediate::new()).build();
    Subject::new("lb_tower Balance, p2c", endpoints, move |repeat| {
        runtime.block_on(async {
            let start = Instant::now();
            for _ in 0..repeat {
                black_box(service.call(()).await.ok());
            }
            start.elapsed()
        })
    })
}

/// `p2c::Balance` owned by one task: ready, call, response.
///
/// # Panics
/// The runtime cannot be made.
#[must_use]
pub fn tower_bare(endpoints: usize) -> Subject {
    let runtime = Builder::new_current_thread().build().expect("a runtime without drivers needs only memory");
    let mut service = balance(endpoints);
    Subject::new("tower p2c::Balance, bare", endpoints, move |repeat| {
        runtime.block_on(async {
            let start = Instant::now();
            for _ in 0..repeat {
                if poll_fn(|cx| service.poll_ready(cx)).await.is_ok() {
                    black_box(service.call(()).await.ok());
                }
            }
            start.elapsed()
        })
    })
}

/// The same in a `Buffer`, as it must be to serve more than one task.
///
/// # Panics
/// The runtime cannot be made.
#[must_use]
pub fn tower_in_buffer(endpoints: usize) -> Subject {
    let runtime = Builder::new_current_thread().build().expect("a runtime without drivers needs only memory");
    let mut service = runtime.block_on(async { Buffer::new(balance(endpoints), 64) });
    Subject::new("tower p2c::Balance, in Buffer", endpoints, move |repeat| {
        runtime.block_on(async {
            let start = Instant::now();
            for _ in 0..repeat {
                if let Ok(ready) = service.ready().await {
                    black_box(ready.call(()).await.ok());
                }
            }
            start.elapsed()
        })
    })
}
