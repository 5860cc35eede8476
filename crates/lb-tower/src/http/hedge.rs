//! When a copy of an `http` request may be sent.

use http::{Request, Response};
use lb_core::Class;

use super::idempotent::is_idempotent;
use super::outcome;
use super::repeat::{Repeat, repeat};
use crate::hedge::HedgePolicy;
use crate::trail::LastAttempt;

/// Hedges idempotent requests over any service; above a [`Balance`](crate::Balance), copies go elsewhere than the original.
///
/// An answer is any response that is no failure: a status below 500, and in gRPC a code that says nothing against the endpoint.
/// Requests whose body cannot be sent twice are sent once; a [`ReplayLayer`](super::ReplayLayer) above makes any body such.
#[derive(Clone, Copy, Debug, Default)]
pub struct HedgeHttp {
    unsafe_methods: bool,
}

impl HedgeHttp {
    /// Hedges requests of idempotent methods.
    #[must_use]
    pub const fn new() -> Self {
        Self { unsafe_methods: false }
    }

    /// Whether requests of other methods may be sent twice at the same time, though they may take effect twice; default no. Every gRPC call is
    /// a POST: allow it for a client whose calls are idempotent.
    #[must_use]
    pub const fn unsafe_methods(mut self, allowed: bool) -> Self {
        self.unsafe_methods = allowed;
        self
    }
}

impl<B, D, E> HedgePolicy<Request<B>, Response<D>, E> for HedgeHttp
where
    B: Repeat,
{
    fn copy(&self, request: &mut Request<B>) -> Option<Request<B>> {
        if self.unsafe_methods || is_idempotent(request.method()) { repeat(request) } else { None }
    }

    fn is_answer(&self, result: &Result<Response<D>, E>) -> bool {
        let class = |response: &Response<D>| match LastAttempt::read().class() {
            Some(class) => class,
            None => outcome::class_of(response),
        };
        result.as_ref().is_ok_and(|response| !Class::is_failure(class(response)))
    }
}
