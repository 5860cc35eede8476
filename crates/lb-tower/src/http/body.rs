//! A response body that keeps its attempt open until it ends.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Buf;
use http::Response;
use http_body::{Body, Frame, SizeHint};
use lb_core::{Class, End, grpc};
use lb_policy::Uid;
use pin_project_lite::pin_project;

use super::outcome;
use crate::balance::{Attempt, Classified, ClassifyError, Finish, Observe};
use crate::cause::ByCause;
use crate::concurrency::{Admission, Keep};

/// Which endpoint served a response.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Served {
    /// Its number within the cluster.
    pub uid: Uid,
    /// Its address as configured.
    pub name: Arc<str>,
    /// By which sticky requests find it.
    pub affinity: u64,
}

impl Served {
    fn by(attempt: &impl Attempt) -> Self {
        Self { uid: attempt.uid(), name: Arc::clone(attempt.name()), affinity: attempt.affinity() }
    }
}

/// Observes `http` responses: their status is their class, that of gRPC included, and the attempt ends with the response body.
///
/// It ends as completed when the body does, as aborted by the endpoint when the body fails or its trailers have a gRPC
/// code of failure, as left by the client
/// when a body that was being read is dropped, and as cancelled when nobody began to read it. Of the request body it sees
/// nothing; an endpoint that answers before it has read all of one counts as done with its answer.
///
/// The head of a gRPC response without a code says nothing yet: it counts as a success with its first message, and as what
/// its trailers say if they come before that. Latency is thus the time to the first message.
///
/// It is what [`ByResponse`](crate::ByResponse), the default, does, and can besides note [`Served`] in the response's extensions
/// ([`note_served`](Self::note_served)). Without that it allocates nothing. Above a [`Concurrency`](crate::Concurrency) it keeps
/// the permit just as long.
#[derive(Clone, Copy, Debug, Default)]
pub struct HttpBody<K = ByCause> {
    errors: K,
    notes_served: bool,
}

impl HttpBody {
    /// Classifies errors of an endpoint's service by their causes.
    #[must_use]
    pub const fn new() -> Self {
        Self { errors: ByCause, notes_served: false }
    }
}

impl<K> HttpBody<K> {
    /// Classifies errors like this.
    #[must_use]
    pub fn errors<L>(self, errors: L) -> HttpBody<L> {
        HttpBody { errors, notes_served: self.notes_served }
    }

    /// Notes [`Served`] in the extensions of responses, at three allocations each; default no. [`GuardedBody::served`] has it anyway.
    #[must_use]
    pub fn note_served(mut self) -> Self {
        self.notes_served = true;
        self
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
            Ok(response) => outcome::class_of(response),
            Err(error) => self.errors.class(error),
        }
    }

    fn is_decided(&self, response: &Response<B>) -> bool {
        !outcome::is_undecided_grpc(response)
    }

    fn attach(&self, mut response: Response<B>, guard: G) -> Self::Output {
        if self.notes_served {
            response.extensions_mut().insert(Served::by(&guard));
        }
        response.guard(guard)
    }
}

impl<B: Body, G: Attempt> Classified<G> for Response<B> {
    type Guarded = Response<GuardedBody<B, G>>;

    fn class(&self) -> Class {
        outcome::class_of(self)
    }

    fn is_decided(&self) -> bool {
        !outcome::is_undecided_grpc(self)
    }

    fn guard(self, guard: G) -> Self::Guarded {
        let result = match (outcome::is_undecided_grpc(&self), outcome::is_grpc(self.headers())) {
            (true, _) => GrpcResult::Undecided,
            (false, true) => GrpcResult::InTrailers,
            (false, false) => GrpcResult::None,
        };
        let served = Some(Served::by(&guard));
        self.map(|body| GuardedBody::new(body, guard, served, result))
    }
}

impl<K, B: Body> Keep<Response<B>> for HttpBody<K> {
    type Output = Response<GuardedBody<B, Admission>>;

    fn keep(&self, response: Response<B>, admission: Admission) -> Self::Output {
        response.map(|body| GuardedBody::new(body, admission, None, GrpcResult::None))
    }
}

/// Where a response has its gRPC code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum GrpcResult {
    /// It is no gRPC, or its head had the code.
    None,
    /// In the trailers, and no message has come.
    Undecided,
    /// In the trailers; it counts as a success so far.
    InTrailers,
}

pin_project! {
    /// A body that holds something, such as its attempt's slot, until it has ended.
    #[derive(Debug)]
    pub struct GuardedBody<B, G: Finish> {
        #[pin]
        inner: B,
        // None once the body has ended.
        guard: Option<G>,
        served: Option<Served>,
        result: GrpcResult,
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

impl<B, G: Finish> GuardedBody<B, G> {
    /// Which endpoint it comes from; `None` where it holds a permit and not an attempt.
    #[must_use]
    pub fn served(&self) -> Option<&Served> {
        self.served.as_ref()
    }

    /// The body inside.
    #[must_use]
    pub fn get_ref(&self) -> &B {
        &self.inner
    }
}

impl<B: Body, G: Finish> GuardedBody<B, G> {
    fn new(inner: B, guard: G, served: Option<Served>, mut result: GrpcResult) -> Self {
        let mut guard = Some(guard);
        // Nobody need ever poll an empty body.
        if inner.is_end_stream() {
            end(&mut guard, &mut result);
        }
        Self { inner, guard, served, result, is_read: false }
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
            None => end(this.guard, this.result),
            Some(Err(_)) => {
                decide(this.guard, this.result, Class::Reset);
                finish(this.guard, End::UpstreamAborted);
            }
            Some(Ok(frame)) => {
                if *this.result != GrpcResult::None {
                    on_frame(this.guard, this.result, frame);
                }
                // A reader that sees that this was the last frame does not ask for another.
                if this.inner.is_end_stream() {
                    end(this.guard, this.result);
                }
            }
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

/// A frame of a gRPC response: its first message makes it a success, its trailers have the result.
fn on_frame<D, G: Finish>(guard: &mut Option<G>, result: &mut GrpcResult, frame: &Frame<D>) {
    let Some(trailers) = frame.trailers_ref() else { return decide(guard, result, Class::Status(200)) };
    let Some(code) = outcome::grpc_code(trailers) else { return };
    let was_undecided = *result == GrpcResult::Undecided;
    decide(guard, result, Class::Status(grpc::http_status_of(code)));
    *result = GrpcResult::None;
    let has_failed = grpc::is_failure(code) && !was_undecided;
    finish(guard, if has_failed { End::UpstreamAborted } else { End::Completed });
}

/// The body has ended. A gRPC response that ends without a code is one whose code is unknown.
fn end<G: Finish>(guard: &mut Option<G>, result: &mut GrpcResult) {
    decide(guard, result, Class::Status(grpc::http_status_of(grpc::UNKNOWN)));
    finish(guard, End::Completed);
}

fn decide<G: Finish>(guard: &mut Option<G>, result: &mut GrpcResult, class: Class) {
    if *result == GrpcResult::Undecided {
        *result = GrpcResult::InTrailers;
        if let Some(guard) = guard {
            guard.on_head(class);
        }
    }
}

fn finish<G: Finish>(guard: &mut Option<G>, end: End) {
    if let Some(guard) = guard.take() {
        guard.finish(end);
    }
}

#[cfg(test)]
mod tests;
