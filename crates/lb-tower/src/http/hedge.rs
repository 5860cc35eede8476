//! When a copy of an `http` request may be sent.

use std::sync::Arc;
use std::sync::OnceLock;

use http::{Request, Response};
use lb_policy::Tried;

use super::idempotent::is_idempotent;
use crate::balance::Error;
use crate::hedge::HedgePolicy;

/// Hedges idempotent requests, above a [`Balance`](crate::Balance) that inspects with [`SkipTried`](super::SkipTried):
/// the copy goes elsewhere than the original.
///
/// An answer is any response with a status below 500. Requests are cloned before they are sent, so their bodies must be
/// cheap to clone.
#[derive(Clone, Copy, Debug, Default)]
pub struct HedgeHttp;

impl<B, D, E> HedgePolicy<Request<B>, Response<D>, Error<E>> for HedgeHttp
where
    B: Clone,
{
    fn copy(&self, request: &mut Request<B>) -> Option<Request<B>> {
        if !is_idempotent(request.method()) {
            return None;
        }
        request.extensions_mut().insert(WentTo::default());
        Some(request.clone())
    }

    fn is_answer(&self, result: &Result<Response<D>, Error<E>>) -> bool {
        result.as_ref().is_ok_and(|response| !response.status().is_server_error())
    }

    fn is_exhausted(&self, error: &Error<E>) -> bool {
        error.is_no_endpoint()
    }
}

/// Shared by a request and its copy: what was tried before, and where the first of them went.
#[derive(Clone, Debug, Default)]
pub(super) struct WentTo(pub(super) Arc<OnceLock<Tried>>);
