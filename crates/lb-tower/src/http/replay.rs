//! A body that can be sent again, as far as it was kept.
//!
//! The simple answer, to read the body into memory before the first attempt, delays every request and needs as much memory as clients
//! like to send; and to send it once only leaves a forwarding proxy and every gRPC client without retries, even of a refused
//! connection, to which no byte was sent. Here the original is read when an attempt reads it, by whichever copy is ahead.
//! What was read is kept, by reference, up to a limit; a later copy begins with it and goes on with the original. Past the
//! limit what was kept is let go, the copy that is ahead streams on, and no further copy can be made.
//!
//! ```text
//!  original ──▶ kept: frame 0 | 1 | 2 | 3 ──▶ copy 1, which is ahead
//!                          └──────────────▶ copy 2, which began later
//! ```
//!
//! A body that is empty from the start costs nothing at all.

use std::collections::VecDeque;
use std::error::Error as StdError;
use std::fmt;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker, ready};

use bytes::{Buf, Bytes};
use http::{HeaderMap, Request};
use http_body::{Body, Frame, SizeHint};
use tower_layer::Layer;
use tower_service::Service;

use crate::inner::inner_access;

use super::repeat::Repeat;

type BoxError = Box<dyn StdError + Send + Sync>;

/// How much of a body is kept by default: as in linkerd. Most requests of an API and nearly all unary gRPC calls are shorter.
const MAX_BYTES: usize = 64 << 10;

/// A body that can be sent again ([`Repeat`]) as long as no more of it was read than is kept.
///
/// Copies may be read one after the other (a retry) or at the same time (a hedge). A copy that fails with
/// [`ReplayError::TooLong`] began with what is no longer kept.
pub struct ReplayBody<B> {
    // None if the body is empty.
    shared: Option<Arc<Mutex<Shared<B>>>>,
    /// The next frame of those that were kept.
    position: usize,
    /// Bytes of this copy that are still to come.
    rest: SizeHint,
    is_ended: bool,
}

struct Shared<B> {
    // None once it has ended or failed. Boxed to be pinned, with the body's first attempt.
    original: Option<Pin<Box<B>>>,
    frames: VecDeque<Kept>,
    bytes: usize,
    max_bytes: usize,
    size: SizeHint,
    /// More was read than is kept: by the copy that is ahead.
    is_too_long: bool,
    /// The original has failed, for all copies.
    has_failed: bool,
    /// Copies that wait for the original.
    waiting: Vec<Waker>,
}

#[derive(Clone)]
enum Kept {
    Data(Bytes),
    Trailers(HeaderMap),
}

impl<B: Body> ReplayBody<B> {
    /// Keeps up to `max_bytes` of this body.
    ///
    /// A body that says that it is longer is never kept; it can still be sent again until it is first read.
    pub fn new(body: B, max_bytes: usize) -> Self {
        let size = body.size_hint();
        if body.is_end_stream() {
            return Self { shared: None, position: 0, rest: SizeHint::with_exact(0), is_ended: true };
        }
        let is_longer = size.lower() > u64::try_from(max_bytes).unwrap_or(u64::MAX);
        let shared = Shared {
            original: Some(Box::pin(body)),
            frames: VecDeque::new(),
            bytes: 0,
            max_bytes: if is_longer { 0 } else { max_bytes },
            size,
            is_too_long: false,
            has_failed: false,
            waiting: Vec::new(),
        };
        Self { shared: Some(Arc::new(Mutex::new(shared))), position: 0, rest: size, is_ended: false }
    }
}

impl<B> Repeat for ReplayBody<B> {
    fn repeat(&self) -> Option<Self> {
        let Some(shared) = &self.shared else {
            return Some(Self { shared: None, position: 0, rest: SizeHint::with_exact(0), is_ended: true });
        };
        let state = lock(shared);
        if state.is_too_long || state.has_failed {
            return None;
        }
        Some(Self { shared: Some(Arc::clone(shared)), position: 0, rest: state.size, is_ended: false })
    }
}

impl<B> Body for ReplayBody<B>
where
    B: Body,
    B::Error: Into<BoxError>,
{
    type Data = Bytes;
    type Error = ReplayError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, ReplayError>>> {
        let this = &mut *self;
        let Some(shared) = this.shared.as_ref().filter(|_| !this.is_ended) else { return Poll::Ready(None) };
        let frame = ready!(lock(shared).poll(&mut this.position, cx));
        match &frame {
            Some(Ok(frame)) => {
                let read = frame.data_ref().map_or(0, |data| data.len() as u64);
                this.rest = less(&this.rest, read);
            }
            Some(Err(_)) | None => this.is_ended = true,
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.is_ended || self.shared.as_ref().is_none_or(|shared| lock(shared).is_end(self.position))
    }

    fn size_hint(&self) -> SizeHint {
        self.rest
    }
}

impl<B> Drop for ReplayBody<B> {
    fn drop(&mut self) {
        // The original may have been going to wake this copy; now another one has to ask.
        if let Some(shared) = &self.shared {
            lock(shared).wake();
        }
    }
}

impl<B> fmt::Debug for ReplayBody<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ReplayBody").field("position", &self.position).finish_non_exhaustive()
    }
}

/// What was read is consistent between statements that can panic, so a poisoned lock is taken as it is.
fn lock<B>(shared: &Mutex<Shared<B>>) -> MutexGuard<'_, Shared<B>> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

impl<B> Shared<B> {
    fn wake(&mut self) {
        self.waiting.drain(..).for_each(Waker::wake);
    }
}

impl<B> Shared<B>
where
    B: Body,
{
    /// Whether a copy that has come so far has come to the end.
    fn is_end(&self, position: usize) -> bool {
        let is_read = self.original.as_ref().is_none_or(|original| B::is_end_stream(original));
        is_read && !self.has_failed && (position == STREAMS || position == self.frames.len())
    }

    /// The next frame of the copy that is at this position: `usize::MAX` for the one that streams what is no longer kept.
    fn poll(&mut self, position: &mut usize, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, ReplayError>>>
    where
        B::Error: Into<BoxError>,
    {
        if let Some(kept) = self.frames.get(*position) {
            *position += 1;
            return Poll::Ready(Some(Ok(kept.clone().into())));
        }
        if self.is_too_long && *position != STREAMS {
            return Poll::Ready(Some(Err(ReplayError::TooLong)));
        }
        if self.has_failed {
            return Poll::Ready(Some(Err(ReplayError::Failed)));
        }
        let Some(original) = &mut self.original else { return Poll::Ready(None) };
        let Poll::Ready(frame) = original.as_mut().poll_frame(cx) else {
            if !self.waiting.iter().any(|waker| waker.will_wake(cx.waker())) {
                self.waiting.push(cx.waker().clone());
            }
            return Poll::Pending;
        };
        self.wake();
        match frame {
            None => {
                self.original = None;
                Poll::Ready(None)
            }
            Some(Err(error)) => {
                (self.original, self.has_failed) = (None, true);
                Poll::Ready(Some(Err(ReplayError::Body(error.into()))))
            }
            Some(Ok(frame)) => {
                let kept = Kept::from(frame);
                self.keep(&kept, position);
                Poll::Ready(Some(Ok(kept.into())))
            }
        }
    }

    /// Keeps a frame that the copy at this position has read, if there is room for it.
    fn keep(&mut self, frame: &Kept, position: &mut usize) {
        if self.is_too_long {
            return;
        }
        self.bytes = self.bytes.saturating_add(frame.len());
        if self.bytes > self.max_bytes {
            self.is_too_long = true;
            self.frames = VecDeque::new();
            *position = STREAMS;
            return;
        }
        self.frames.push_back(frame.clone());
        *position += 1;
    }
}

/// The position of the copy that reads on, when frames are no longer kept.
const STREAMS: usize = usize::MAX;

impl Kept {
    fn from<D: Buf>(frame: Frame<D>) -> Self {
        match frame.into_data() {
            Ok(mut data) => Self::Data(data.copy_to_bytes(data.remaining())),
            Err(frame) => Self::Trailers(frame.into_trailers().unwrap_or_default()),
        }
    }

    fn len(&self) -> usize {
        match self {
            Self::Data(data) => data.len(),
            Self::Trailers(trailers) => trailers.iter().map(|(name, value)| name.as_str().len() + value.len()).sum(),
        }
    }
}

impl From<Kept> for Frame<Bytes> {
    fn from(kept: Kept) -> Self {
        match kept {
            Kept::Data(data) => Self::data(data),
            Kept::Trailers(trailers) => Self::trailers(trailers),
        }
    }
}

/// What is left of a size when so much of it was read.
fn less(size: &SizeHint, read: u64) -> SizeHint {
    let mut rest = SizeHint::new();
    if let Some(upper) = size.upper() {
        rest.set_upper(upper.saturating_sub(read));
    }
    rest.set_lower(size.lower().saturating_sub(read));
    rest
}

/// Why a [`ReplayBody`] broke off.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReplayError {
    /// The original failed.
    #[error(transparent)]
    Body(BoxError),
    /// The original failed while another copy was reading it.
    #[error("the request body failed in an earlier attempt")]
    Failed,
    /// The body is longer than what is kept for further attempts.
    #[error("the request body is too long to be sent again")]
    TooLong,
}

/// Turns the bodies of requests into [`ReplayBody`]s, for the retry or hedge below. See [`ReplayLayer`].
#[derive(Clone, Copy, Debug)]
pub struct Replay<S> {
    inner: S,
    max_bytes: usize,
}

inner_access!(Replay<S>);

/// Makes [`Replay`] services.
#[derive(Clone, Copy, Debug)]
pub struct ReplayLayer {
    max_bytes: usize,
}

impl ReplayLayer {
    /// Keeps up to 64 KiB of each body.
    #[must_use]
    pub const fn new() -> Self {
        Self { max_bytes: MAX_BYTES }
    }

    /// Keeps up to so many bytes of each body. Zero keeps none: a body can then be sent again only until it was first read.
    #[must_use]
    pub const fn max_bytes(max_bytes: usize) -> Self {
        Self { max_bytes }
    }
}

impl Default for ReplayLayer {
    fn default() -> Self {
        Self::new()
    }
}

impl<S> Layer<S> for ReplayLayer {
    type Service = Replay<S>;

    fn layer(&self, inner: S) -> Replay<S> {
        Replay { inner, max_bytes: self.max_bytes }
    }
}

impl<S, B> Service<Request<B>> for Replay<S>
where
    S: Service<Request<ReplayBody<B>>>,
    B: Body,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = S::Future;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<B>) -> S::Future {
        let max_bytes = self.max_bytes;
        self.inner.call(request.map(|body| ReplayBody::new(body, max_bytes)))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use futures_util::{FutureExt, StreamExt, stream};
    use http_body_util::{BodyExt, Empty, Full, StreamBody};

    use super::*;

    /// A body of these frames, and how often it was polled.
    fn polled(frames: &[&'static str]) -> (impl Body<Data = Bytes, Error = &'static str> + use<>, Arc<AtomicUsize>) {
        let polls = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&polls);
        let frames: Vec<_> = frames.iter().map(|&text| Bytes::from(text)).collect();
        let frames = stream::iter(frames).inspect(move |_| {
            count.fetch_add(1, Ordering::Relaxed);
        });
        (StreamBody::new(frames.map(|data| Ok(Frame::data(data)))), polls)
    }

    fn read<B>(body: ReplayBody<B>) -> Result<String, ReplayError>
    where
        B: Body,
        B::Error: Into<BoxError>,
    {
        let read = body.collect().now_or_never().expect("all of it is there")?;
        Ok(String::from_utf8(read.to_bytes().to_vec()).unwrap())
    }

    #[test]
    fn a_body_that_was_not_read_replays_for_nothing() {
        let (body, polls) = polled(&["a long ", "body"]);
        let first = ReplayBody::new(body, 0);
        let second = first.repeat().expect("none of it was read");
        drop(first);
        assert_eq!((polls.load(Ordering::Relaxed), read(second).unwrap()), (0, "a long body".into()));
    }

    #[test]
    fn what_was_read_is_kept_and_the_rest_is_read_once() {
        let (body, polls) = polled(&["one ", "two ", "three"]);
        let mut first = ReplayBody::new(body, 100);
        assert!(first.frame().now_or_never().unwrap().is_some());
        let saved = first.repeat().unwrap();
        drop(first);
        assert_eq!(read(saved.repeat().unwrap()).unwrap(), "one two three");
        assert_eq!(read(saved).unwrap(), "one two three");
        assert_eq!(polls.load(Ordering::Relaxed), 3);
    }

    #[test]
    fn beyond_the_limit_it_is_streamed_once() {
        let (body, _) = polled(&["12345678", "9", "0"]);
        let mut first = ReplayBody::new(body, 8);
        let saved = first.repeat().unwrap();
        assert!(first.frame().now_or_never().unwrap().is_some());
        assert!(first.repeat().is_some(), "as much as may be kept");
        assert!(first.frame().now_or_never().unwrap().is_some());
        assert!(saved.repeat().is_none(), "a byte more");
        assert!(matches!(read(saved), Err(ReplayError::TooLong)));
        assert_eq!(read(first).unwrap(), "0", "the one that is ahead reads on");
    }

    #[test]
    fn a_body_that_says_that_it_is_too_long_is_not_kept() {
        let mut first = ReplayBody::new(Full::<Bytes>::from("123456789"), 8);
        assert_eq!(first.size_hint().exact(), Some(9));
        let saved = first.repeat().unwrap();
        assert!(first.frame().now_or_never().unwrap().is_some());
        assert!(saved.repeat().is_none());
        assert!(first.is_end_stream());
    }

    #[test]
    fn every_copy_has_the_length_of_the_original() {
        let first = ReplayBody::new(Full::<Bytes>::from("hello"), 100);
        let mut second = first.repeat().unwrap();
        assert_eq!(read(first).unwrap(), "hello");
        assert_eq!((second.size_hint().exact(), second.is_end_stream()), (Some(5), false));
        assert!(second.frame().now_or_never().unwrap().is_some());
        assert_eq!((second.size_hint().exact(), second.is_end_stream()), (Some(0), true));
        let empty = ReplayBody::new(Empty::<Bytes>::new(), 100);
        assert!(empty.is_end_stream() && empty.repeat().unwrap().is_end_stream());
    }

    #[test]
    fn trailers_are_kept_like_data() {
        let trailers = HeaderMap::from_iter([("x-sum".parse().unwrap(), "7".parse().unwrap())]);
        let frames = [Ok::<_, &str>(Frame::data(Bytes::from("a"))), Ok(Frame::trailers(trailers))];
        let first = ReplayBody::new(StreamBody::new(stream::iter(frames)), 100);
        let second = first.repeat().unwrap();
        for copy in [first, second] {
            let read = copy.collect().now_or_never().unwrap().unwrap();
            assert_eq!(read.trailers().unwrap().get("x-sum").unwrap(), "7");
        }
    }

    #[test]
    fn a_body_that_fails_is_not_sent_again() {
        let frames = [Ok(Frame::data(Bytes::from("a"))), Err("client gone")];
        let first = ReplayBody::new(StreamBody::new(stream::iter(frames)), 100);
        let saved = first.repeat().unwrap();
        assert_eq!(read(first).unwrap_err().to_string(), "client gone");
        assert!(saved.repeat().is_none());
        assert!(matches!(read(saved), Err(ReplayError::Failed)));
    }

    #[tokio::test]
    async fn copies_read_at_the_same_time_and_the_one_that_stays_is_woken() {
        let (sender, receiver) = tokio::sync::mpsc::channel(1);
        let frames = stream::unfold(receiver, |mut receiver: tokio::sync::mpsc::Receiver<Bytes>| async {
            let data = receiver.recv().await?;
            Some((Ok::<_, std::io::Error>(Frame::data(data)), receiver))
        });
        let original = ReplayBody::new(StreamBody::new(Box::pin(frames)), 100);
        let mut copy = original.repeat().unwrap();
        let original = tokio::spawn(async move { original.collect().await.unwrap().to_bytes() });
        tokio::task::yield_now().await;
        // The copy is polled last, so that the channel would wake it; then it loses the race and is dropped.
        assert!(copy.frame().now_or_never().is_none());
        drop(copy);
        sender.send(Bytes::from("hello")).await.unwrap();
        drop(sender);
        assert_eq!(original.await.unwrap(), "hello");
    }
}
