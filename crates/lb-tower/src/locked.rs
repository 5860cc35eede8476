//! An endpoint's service that cannot be shared between threads.
//!
//! A cluster is shared by all threads, and so are the services that its endpoints carry, though each request works on a clone of its
//! own. Services that are `Clone` and `Send` but not `Sync`, such as tower's `BoxCloneService`, need a lock for the moment of being cloned.

use std::fmt;
use std::sync::{Mutex, PoisonError};
use std::task::{Context, Poll};

use tower_service::Service;

/// Makes a service [`Sync`]: it is cloned under a lock, which no request holds for longer.
///
/// ```
/// # use std::convert::Infallible;
/// use lb_policy::{Cluster, Member};
/// use lb_tower::Locked;
/// use tower::util::BoxCloneService;
/// use tower::service_fn;
///
/// let service = BoxCloneService::new(service_fn(|n: u32| async move { Ok::<_, Infallible>(n) }));
/// let cluster = Cluster::new("app");
/// let member = Member::new("app-1:3000", Locked::new(service));
/// # cluster.apply(lb_policy::Update::Reset(vec![member]), lb_core::Mono::ZERO);
/// ```
pub struct Locked<S>(Mutex<S>);

impl<S> Locked<S> {
    /// This service behind a lock.
    pub const fn new(inner: S) -> Self {
        Self(Mutex::new(inner))
    }

    /// The service inside.
    pub fn get_mut(&mut self) -> &mut S {
        self.0.get_mut().unwrap_or_else(PoisonError::into_inner)
    }

    /// The service inside.
    pub fn into_inner(self) -> S {
        self.0.into_inner().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<S: Clone> Clone for Locked<S> {
    fn clone(&self) -> Self {
        Self::new(self.0.lock().unwrap_or_else(PoisonError::into_inner).clone())
    }
}

impl<S> fmt::Debug for Locked<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Locked").finish_non_exhaustive()
    }
}

impl<S: Service<Req>, Req> Service<Req> for Locked<S> {
    type Response = S::Response;
    type Error = S::Error;
    type Future = S::Future;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.get_mut().poll_ready(cx)
    }

    fn call(&mut self, request: Req) -> S::Future {
        self.get_mut().call(request)
    }
}
