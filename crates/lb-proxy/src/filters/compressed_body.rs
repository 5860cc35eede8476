//! A response's body on its way through an encoder.
//!
//! Nothing is kept back: when the endpoint has nothing more to say for the moment, what has been read is flushed, so that an event of a
//! stream is with its client at once, and a large response is not cut into small blocks all the same. One turn encodes a bounded amount
//! and then lets the worker's other connections have theirs; how long that takes tells how busy the worker is, which decides how the next responses
//! are compressed.

use std::cell::Cell;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use lb_config::{CompressionLevel, Encoding};
use tokio::time::Instant;

use crate::downstream::Frame;
use crate::exchange::{Body, BodySource};
use crate::message::Trailers;
use crate::rules::cause::Cause;
use crate::rules::encoder::Encoder;

/// What all encoders of the process may take. Beyond it responses are sent as they are.
const MAX_MEMORY: usize = 256 << 20;
/// What is fed to an encoder at once.
const PIECE: usize = 16 << 10;
/// What is passed on without waiting for more.
const ENOUGH: usize = 16 << 10;
/// A worker whose turns take so long compresses as cheaply as it can, and beyond the second not at all.
const BUSY: Duration = Duration::from_millis(20);
const TOO_BUSY: Duration = Duration::from_millis(100);
/// How long a measured turn counts.
const REMEMBERED: Duration = Duration::from_secs(1);
/// One of so many responses measures the turn before it begins, however short it is.
const SAMPLE: u8 = 16;

static MEMORY: AtomicUsize = AtomicUsize::new(0);

thread_local! {
    /// When a turn of this worker was measured, and how long the worker's other connections took.
    static TURN: Cell<Option<(Instant, Duration)>> = const { Cell::new(None) };
}

/// How a response may be compressed now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Effort {
    Full,
    /// The worker is busy.
    Cheaper,
    /// The worker is too busy.
    None,
}

/// How a worker whose turns take so long may compress.
fn effort_of(turn: Option<Duration>) -> Effort {
    match turn {
        Some(turn) if turn >= TOO_BUSY => Effort::None,
        Some(turn) if turn >= BUSY => Effort::Cheaper,
        _ => Effort::Full,
    }
}

/// How this worker may compress now.
pub(super) fn effort() -> Effort {
    effort_of(TURN.get().filter(|(at, _)| at.elapsed() < REMEMBERED).map(|(_, turn)| turn))
}

/// A share of the memory of encoders.
struct Memory(usize);

impl Memory {
    fn take(bytes: usize) -> Option<Self> {
        let fits = |used: usize| used.checked_add(bytes).filter(|used| *used <= MAX_MEMORY);
        MEMORY.fetch_update(Ordering::Relaxed, Ordering::Relaxed, fits).ok().map(|_| Self(bytes))
    }
}

impl Drop for Memory {
    fn drop(&mut self) {
        MEMORY.fetch_sub(self.0, Ordering::Relaxed);
    }
}

/// A body that is encoded as it is read.
pub(super) struct CompressedBody {
    body: Body,
    encoder: Encoder,
    /// Until the encoder has ended.
    memory: Option<Memory>,
    /// Read, and not encoded yet.
    waiting: Bytes,
    trailers: Option<Trailers>,
    /// The body's failure, to be told once what came before has been passed on.
    failed: Option<Cause>,
    has_ended: bool,
    /// Encoded in this turn, in octets.
    worked: usize,
    /// How much one turn encodes, in octets.
    turn: usize,
    /// When the worker's other connections were let in.
    yielded: Option<Instant>,
}

impl CompressedBody {
    /// `None` if encoders have as much memory as they may have; the body then goes as it is.
    pub(super) fn new(body: &mut Body, encoding: Encoding, level: CompressionLevel) -> Option<Self> {
        let memory = Memory::take(Encoder::memory(encoding, level))?;
        let encoder = Encoder::new(encoding, level).ok()?;
        // About a millisecond each.
        let turn = match level {
            CompressionLevel::Fastest => 128 << 10,
            CompressionLevel::Default => 64 << 10,
            CompressionLevel::Best => 16 << 10,
        };
        Some(Self {
            body: std::mem::replace(body, Body::Empty),
            encoder,
            memory: Some(memory),
            waiting: Bytes::new(),
            trailers: None,
            failed: None,
            has_ended: false,
            worked: if fastrand::u8(..SAMPLE) == 0 { turn } else { 0 },
            turn,
            yielded: None,
        })
    }

    /// Lets the worker's other connections have their turn, and measures it.
    fn poll_turn(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if let Some(yielded) = self.yielded.take() {
            let now = Instant::now();
            TURN.set(Some((now, now.saturating_duration_since(yielded))));
            return Poll::Ready(());
        }
        if self.worked < self.turn {
            return Poll::Ready(());
        }
        self.worked = 0;
        self.yielded = Some(Instant::now());
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    /// Encodes the next piece of what was read.
    fn encode(&mut self) {
        let piece = self.waiting.split_to(self.waiting.len().min(PIECE));
        self.worked += piece.len();
        self.check(|encoder| encoder.write(&piece));
    }

    /// Ends the stream.
    fn finish(&mut self) {
        self.has_ended = true;
        self.check(Encoder::finish);
        self.memory = None;
    }

    /// An encoder in memory does not fail. If one does all the same, the response is cut, and not sent wrong.
    fn check(&mut self, step: impl FnOnce(&mut Encoder) -> std::io::Result<()>) {
        if step(&mut self.encoder).is_err() && self.failed.is_none() {
            self.failed = Some(Cause::Internal);
        }
    }

    fn is_at_its_end(&self) -> bool {
        self.waiting.is_empty() && self.trailers.is_none() && self.body.is_complete()
    }
}

impl BodySource for CompressedBody {
    fn poll_frame(&mut self, cx: &mut Context<'_>, room: usize) -> Poll<Option<Result<Frame, Cause>>> {
        loop {
            if self.failed.is_none() && !self.has_ended {
                ready!(self.poll_turn(cx));
            }
            if self.has_ended || self.failed.is_some() || self.encoder.len() >= ENOUGH {
                if !self.encoder.is_empty() {
                    return Poll::Ready(Some(Ok(Frame::Data(self.encoder.take()))));
                }
                return Poll::Ready(match (self.failed, self.trailers.take()) {
                    (Some(cause), _) => Some(Err(cause)),
                    (None, Some(trailers)) => Some(Ok(Frame::Trailers(trailers))),
                    (None, None) => None,
                });
            }
            if !self.waiting.is_empty() {
                self.encode();
                if self.is_at_its_end() {
                    self.finish();
                }
                continue;
            }
            match self.body.poll_frame(cx, room) {
                Poll::Ready(Some(Ok(Frame::Data(data)))) => self.waiting = data,
                Poll::Ready(Some(Ok(Frame::Trailers(trailers)))) => {
                    self.trailers = Some(trailers);
                    self.finish();
                }
                Poll::Ready(Some(Err(cause))) => {
                    // The client gets what came before, and sees that the end is missing.
                    self.check(Encoder::flush);
                    self.failed = Some(cause);
                }
                Poll::Ready(None) => self.finish(),
                Poll::Pending => {
                    self.check(Encoder::flush);
                    if self.encoder.is_empty() {
                        return Poll::Pending;
                    }
                    return Poll::Ready(Some(Ok(Frame::Data(self.encoder.take()))));
                }
            }
        }
    }

    fn unread(&self) -> usize {
        self.body.unread() + self.waiting.len() + self.encoder.len()
    }

    fn poll_upload(&mut self, cx: &mut Context<'_>) -> Result<bool, Cause> {
        self.body.poll_upload(cx)
    }

    fn broken(&self) -> Option<&str> {
        self.body.broken()
    }

    fn is_complete(&self) -> bool {
        self.has_ended && self.failed.is_none() && self.trailers.is_none() && self.encoder.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;
    use std::io::Read;

    use futures_util::task::noop_waker;

    use super::*;

    /// Gives these parts one by one; `None` is a pause.
    struct Script(VecDeque<Option<Result<Frame, Cause>>>);

    impl BodySource for Script {
        fn poll_frame(&mut self, _: &mut Context<'_>, _: usize) -> Poll<Option<Result<Frame, Cause>>> {
            match self.0.pop_front() {
                Some(Some(part)) => Poll::Ready(Some(part)),
                Some(None) => Poll::Pending,
                None => Poll::Ready(None),
            }
        }

        fn unread(&self) -> usize {
            0
        }

        fn poll_upload(&mut self, _: &mut Context<'_>) -> Result<bool, Cause> {
            Ok(false)
        }

        fn broken(&self) -> Option<&str> {
            None
        }

        fn is_complete(&self) -> bool {
            self.0.is_empty()
        }
    }

    fn compressed(parts: Vec<Option<Result<Frame, Cause>>>) -> CompressedBody {
        let mut body = Body::Source(Box::new(Script(parts.into())));
        CompressedBody::new(&mut body, Encoding::Gzip, CompressionLevel::Default).unwrap()
    }

    fn data(text: &str) -> Option<Result<Frame, Cause>> {
        Some(Ok(Frame::Data(Bytes::copy_from_slice(text.as_bytes()))))
    }

    fn trailers() -> Trailers {
        let mut map = http::HeaderMap::new();
        map.insert("x-sum", "1".parse().unwrap());
        Trailers::from_headers(&map).unwrap().unwrap()
    }

    /// Polls until something comes, over turns.
    fn next(body: &mut CompressedBody) -> Poll<Option<Result<Frame, Cause>>> {
        let waker = noop_waker();
        let mut cx = Context::from_waker(&waker);
        loop {
            let polled = body.poll_frame(&mut cx, usize::MAX);
            if polled.is_pending() && body.yielded.is_some() {
                continue;
            }
            return polled;
        }
    }

    fn text(wire: &[u8]) -> String {
        let (mut text, mut buffer) = (Vec::new(), [0; 64]);
        let mut decoder = flate2::read::GzDecoder::new(wire);
        while let Ok(read @ 1..) = decoder.read(&mut buffer) {
            text.extend_from_slice(&buffer[..read]);
        }
        String::from_utf8(text).unwrap()
    }

    #[test]
    fn a_pause_of_the_endpoint_flushes_and_the_end_is_with_the_last_part() {
        let mut body = compressed(vec![data("one "), data("two "), None, None, data("three")]);
        let mut wire = Vec::new();
        let Poll::Ready(Some(Ok(Frame::Data(part)))) = next(&mut body) else { panic!("it was flushed") };
        wire.extend_from_slice(&part);
        assert_eq!(text(&wire), "one two ");
        assert!(next(&mut body).is_pending(), "nothing is new");
        let Poll::Ready(Some(Ok(Frame::Data(part)))) = next(&mut body) else { panic!("the rest") };
        wire.extend_from_slice(&part);
        assert_eq!(text(&wire), "one two three");
        assert!(body.is_complete());
        assert!(body.memory.is_none(), "an encoder that has ended takes none");
        assert!(matches!(next(&mut body), Poll::Ready(None)));
    }

    #[test]
    fn trailers_follow_the_last_part() {
        let mut body = compressed(vec![data("text"), Some(Ok(Frame::Trailers(trailers())))]);
        let Poll::Ready(Some(Ok(Frame::Data(part)))) = next(&mut body) else { panic!("data") };
        assert_eq!(text(&part), "text");
        assert!(!body.is_complete());
        let Poll::Ready(Some(Ok(Frame::Trailers(_)))) = next(&mut body) else { panic!("trailers") };
        assert!(body.is_complete());
        assert!(matches!(next(&mut body), Poll::Ready(None)));
    }

    #[test]
    fn what_came_before_a_failure_is_passed_on_and_has_no_end() {
        let mut body = compressed(vec![data("text"), Some(Err(Cause::UpstreamAborted))]);
        let Poll::Ready(Some(Ok(Frame::Data(part)))) = next(&mut body) else { panic!("data") };
        assert_eq!(text(&part), "text");
        let mut whole = Vec::new();
        assert!(flate2::read::GzDecoder::new(&*part).read_to_end(&mut whole).is_err(), "cut, and seen to be");
        assert!(matches!(next(&mut body), Poll::Ready(Some(Err(Cause::UpstreamAborted)))));
        assert!(!body.is_complete());
    }

    #[test]
    fn an_empty_body_is_a_valid_stream_and_a_large_one_takes_turns() {
        let mut body = compressed(vec![]);
        let Poll::Ready(Some(Ok(Frame::Data(part)))) = next(&mut body) else { panic!("a stream of nothing") };
        assert_eq!(text(&part), "");

        let mut body = compressed(vec![data(&"a".repeat(1 << 20))]);
        body.worked = 0;
        let waker = noop_waker();
        let mut cx = Context::from_waker(&waker);
        let (mut turns, mut wire) = (0, Vec::new());
        loop {
            match body.poll_frame(&mut cx, usize::MAX) {
                Poll::Pending => turns += 1,
                Poll::Ready(Some(Ok(Frame::Data(part)))) => wire.extend_from_slice(&part),
                Poll::Ready(_) => break,
            }
        }
        assert_eq!(text(&wire).len(), 1 << 20);
        // A turn is 64 KiB; the last one ends with the body.
        assert_eq!(turns, 15);
        assert!(TURN.get().is_some(), "turns were measured");
    }

    #[test]
    fn a_busy_worker_compresses_less() {
        let ms = |ms| Some(Duration::from_millis(ms));
        for (turn, expected) in [
            (None, Effort::Full),
            (ms(19), Effort::Full),
            (ms(20), Effort::Cheaper),
            (ms(99), Effort::Cheaper),
            (ms(100), Effort::None),
        ] {
            assert_eq!(effort_of(turn), expected, "{turn:?}");
        }
    }
}
