//! The time, read once a turn.
//!
//! A proxied request asks for the time at some fourteen places: when it started, when the pick was, when a wait began,
//! when the head came, when its connection was put back. Each reading costs as much as parsing a header line, and
//! between two of them, within one poll of one connection's task, hardly a microsecond passes. So a connection is served
//! in a [`Turn`], within which the clock is read at the first question and the answer given to all others. Outside of
//! one, every question is a reading.
//!
//! The wall clock is derived from the same reading: its value at the beginning of this second plus the time since.

use std::cell::Cell;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::{Duration, SystemTime};

use lb_core::{Clock, Mono};
use lb_tower::system_clock;
use pin_project_lite::pin_project;
use tokio::time::Instant;

/// How long a reading of the wall clock is used: it may be set.
const WALL_SERVES: Duration = Duration::from_secs(1);

#[derive(Clone, Copy)]
enum Reading {
    /// Outside a poll: every call reads the clock.
    Outside,
    /// A poll has begun, and the clock was not read yet.
    Due,
    At(Instant, Mono),
}

thread_local! {
    static READING: Cell<Reading> = const { Cell::new(Reading::Outside) };
    static WALL: Cell<Option<(Mono, SystemTime)>> = const { Cell::new(None) };
    static DATE: Cell<Option<(u64, [u8; DATE_LEN])>> = const { Cell::new(None) };
}

fn read() -> (Instant, Mono) {
    if let Reading::At(instant, mono) = READING.get() {
        return (instant, mono);
    }
    let instant = Instant::now();
    let mono = system_clock().at(instant.into_std());
    if let Reading::Due = READING.get() {
        READING.set(Reading::At(instant, mono));
    }
    (instant, mono)
}

/// The time of this turn.
pub(crate) fn now() -> Instant {
    read().0
}

/// The time of this turn on the scale of the [system clock](system_clock). Spans between two of these cost a subtraction,
/// where those between instants cost thirty instructions.
pub(crate) fn mono() -> Mono {
    read().1
}

/// The time of this turn on the wall clock.
pub(crate) fn wall() -> SystemTime {
    let now = mono();
    if let Some((at, wall)) = WALL.get() {
        let since = now.saturating_since(at);
        if since < WALL_SERVES {
            return wall + since;
        }
    }
    let wall = SystemTime::now();
    WALL.set(Some((now, wall)));
    wall
}

/// [`wall`] as HTTP writes it: `Sun, 06 Nov 1994 08:49:37 GMT`. Written once a second.
pub(crate) fn http_date() -> [u8; DATE_LEN] {
    let wall = wall();
    let second = wall.duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_secs());
    if let Some((at, text)) = DATE.get()
        && at == second
    {
        return text;
    }
    let mut text = [b' '; DATE_LEN];
    let written = httpdate::fmt_http_date(wall);
    for (to, from) in text.iter_mut().zip(written.bytes()) {
        *to = from;
    }
    DATE.set(Some((second, text)));
    text
}

/// Length of a date of RFC 9110 §5.6.7, which is always the same.
const DATE_LEN: usize = 29;

/// [`wall`] as milliseconds since 1970.
pub(crate) fn unix_ms() -> u64 {
    wall().duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_millis() as u64)
}

/// [`mono`] as a clock.
#[derive(Clone, Copy, Debug)]
pub(crate) struct TurnClock;

impl Clock for TurnClock {
    fn now(&self) -> Mono {
        mono()
    }
}

pin_project! {
    /// Polls a future, each poll in a turn of its own.
    pub(crate) struct Turn<F> {
        #[pin]
        future: F,
    }
}

impl<F> Turn<F> {
    pub(crate) fn new(future: F) -> Self {
        Self { future }
    }
}

impl<F: Future> Future for Turn<F> {
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        /// Also where the future panics.
        struct End;
        impl Drop for End {
            fn drop(&mut self) {
                READING.set(Reading::Outside);
            }
        }
        let _end = End;
        READING.set(Reading::Due);
        self.project().future.poll(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::future::poll_fn;

    fn wait_for_another_instant() {
        let start = Instant::now();
        while Instant::now() == start {}
    }

    #[tokio::test]
    async fn within_a_turn_time_stands_still_and_the_next_turn_reads_it_anew() {
        let mut first = None;
        Turn::new(poll_fn(|cx| {
            let at = now();
            wait_for_another_instant();
            assert_eq!(now(), at);
            if let Some(first) = first {
                assert!(at > first);
                return Poll::Ready(());
            }
            first = Some(at);
            cx.waker().wake_by_ref();
            Poll::Pending
        }))
        .await;
    }

    #[tokio::test]
    async fn outside_of_a_turn_every_question_is_a_reading() {
        Turn::new(poll_fn(|_| Poll::Ready(now()))).await;
        let at = now();
        wait_for_another_instant();
        assert!(now() > at);
    }

    #[tokio::test(start_paused = true)]
    async fn the_date_is_that_of_the_wall_clock_and_goes_on_with_it() {
        let text = || String::from_utf8(http_date().to_vec()).unwrap();
        for _ in 0..3 {
            assert_eq!(text(), httpdate::fmt_http_date(wall()));
            tokio::time::advance(Duration::from_millis(900)).await;
        }
    }

    #[tokio::test(start_paused = true)]
    async fn the_wall_clock_goes_on_between_its_readings() {
        let first = wall();
        tokio::time::advance(Duration::from_millis(700)).await;
        assert_eq!(wall().duration_since(first).unwrap(), Duration::from_millis(700));
    }
}
