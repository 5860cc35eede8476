//! A response body that keeps its attempt open until it ends.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Buf;
use http::Response;
use http_body::{Body, Frame, SizeHint};
use lb_core::{Class, End};
use lb_policy::Uid;
use pin_project_lite::pin_project;

use crate::balance::{AsReset, Attempt, ClassifyError, Finish, Observe};
use crate::concurrency::{Admission, Keep};

/// Which endpoint served a response, in its extensions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Served {
    /// Its number within the cluster.
    pub uid: Uid,
    /// Its address as configured.
    pub name: Arc<str>,
    /// By which sticky requests find it.
    pub affinity: u64,
}

/// Observes `http` responses: their status is their class, and the attempt ends with the response body.
///
/// It ends as completed when the body does, as aborted by the endpoint when the body fails, as left by the client
/// when a body that was being read is dropped, and as cancelled when nobody began to read it. Of the request body it sees
/// nothing; an endpoint that answers before it has read all of one counts as done with its answer.
///
/// It also notes [`Served`] in the response's extensions. Above a [`Concurrency`](crate::Concurrency) it keeps the
/// permit just as long.
#[derive(Clone, Copy, Debug)]
pub struct HttpBody<K = AsReset> {
    errors: K,
}

impl HttpBody {
    /// Takes every error of an endpoint's service for a connection that broke.
    #[must_use]
    pub const fn new() -> Self {
        Self { errors: AsReset }
    }
}

impl Default for HttpBody {
    fn default() -> Self {
        Self::new()
    }
}

impl<K> HttpBody<K> {
    /// Classifies errors like this.
    #[must_use]
    pub fn errors<L>(self, errors: L) -> HttpBody<L> {
        HttpBody { errors }
    }
}

impl<K, B, Err, G> Observe<Response<B>, Err, G> for HttpBody<K>
where
    K: ClassifyError<Err>,
    B: Body,
    G: Attempt,
{
    type Output = Response<GuardedBody<B, G>>;

    fn class(&self, result: &Result<Response<B>, Err>) -> Class {
        match result {
            Ok(response) => Class::Status(response.status().as_u16()),
            Err(error) => self.errors.class(error),
        }
    }

    fn attach(&self, mut response: Response<B>, guard: G) -> Self::Output {
        let served = Served { uid: guard.uid(), name: Arc::clone(guard.name()), affinity: guard.affinity() };
        response.extensions_mut().insert(served);
        response.map(|body| GuardedBody::new(body, guard))
    }
}

impl<B: Body> Keep<Response<B>> for HttpBody {
    type Output = Response<GuardedBody<B, Admission>>;

    fn keep(&self, response: Response<B>, admission: Admission) -> Self::Output {
        response.map(|body| GuardedBody::new(body, admission))
    }
}

pin_project! {
    /// A body that holds something, such as its attempt's slot, until it has ended.
    #[derive(Debug)]
    pub struct GuardedBody<B, G: Finish> {
        #[pin]
        inner: B,
        // None once the body has ended.
        guard: Option<G>,
        is_read: bool,
    }

    impl<B, G: Finish> PinnedDrop for GuardedBody<B, G> {
        fn drop(this: Pin<&mut Self>) {
            let this = this.project();
            let end = if *this.is_read { End::ClientGone } else { End::Cancelled };
            finish(this.guard, end);
        }
    }
}

impl<B: Body, G: Finish> GuardedBody<B, G> {
    fn new(inner: B, guard: G) -> Self {
        let mut guard = Some(guard);
        // Nobody need ever poll an empty body.
        if inner.is_end_stream() {
            finish(&mut guard, End::Completed);
        }
        Self { inner, guard, is_read: false }
    }
}

impl<B: Body, G: Finish> Body for GuardedBody<B, G>
where
    B::Data: Buf,
{
    type Data = B::Data;
    type Error = B::Error;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<B::Data>, B::Error>>> {
        let mut this = self.project();
        *this.is_read = true;
        let frame = ready!(this.inner.as_mut().poll_frame(cx));
        match &frame {
            None => finish(this.guard, End::Completed),
            Some(Err(_)) => finish(this.guard, End::UpstreamAborted),
            // Who sees that this was the last frame does not ask for another.
            Some(Ok(_)) if this.inner.is_end_stream() => finish(this.guard, End::Completed),
            Some(Ok(_)) => {}
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

fn finish<G: Finish>(guard: &mut Option<G>, end: End) {
    if let Some(guard) = guard.take() {
        guard.finish(end);
    }
}

#[cfg(test)]
mod tests;
