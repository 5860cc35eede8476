//! Who is to blame when time runs out.
//!
//! A limit above several attempts (a [`Timeout`](crate::Timeout) over a [`Retry`](crate::Retry)) ends by dropping what it bounds. A dropped
//! attempt says nothing about its endpoint, since most are dropped because the client has gone; so an endpoint that never answers
//! would look like one whose clients are impatient, and outlier detection would not see it. Hence: an attempt that has waited
//! for its response head when the time is over ends as [`Class::Timeout`](lb_core::Class::Timeout).
//!
//! A drop takes no arguments, and a limit knows nothing about the attempts below it. So the limit opens a scope on its thread for the
//! length of the drop, and the [`Guard`](crate::Guard) that is dropped within it looks there.
//!
//! Not to blame is an attempt that had less than half of the time, because a queue or other attempts had the rest; nor one that waits for its
//! client. The latter only the attempt itself knows: as it is dropped, it says so with [`pardon`](Expiry::pardon).

use std::cell::Cell;
use std::time::Duration;

thread_local! {
    static OVER: Cell<Option<Duration>> = const { Cell::new(None) };
}

/// While it lives, what is dropped on this thread is dropped because its time is over.
///
/// [`Timeout`](crate::Timeout) opens it by itself; another limit on the time of a request does it in its place.
///
/// ```
/// use std::time::Duration;
///
/// let (limit, call) = (Duration::from_secs(1), std::future::pending::<()>());
/// // The second is over:
/// let over = lb_tower::Expiry::begin(limit);
/// drop(call);
/// drop(over);
/// ```
#[derive(Debug)]
#[must_use = "it ends when it is dropped"]
pub struct Expiry {
    outer: Option<Duration>,
}

impl Expiry {
    /// The time is over, and it was this long.
    pub fn begin(limit: Duration) -> Self {
        Self { outer: OVER.replace(Some(limit)) }
    }

    /// The attempt that is being dropped was waiting for its client, not for its endpoint. Without effect where no time is over.
    pub fn pardon() {
        OVER.set(None);
    }

    /// Whether what is dropped now is dropped because its time is over.
    pub(crate) fn is_over() -> bool {
        OVER.get().is_some()
    }

    /// Whether an attempt that is dropped now, so long after its pick, is a timeout of its endpoint.
    pub(crate) fn blames(elapsed: impl FnOnce() -> Duration) -> bool {
        OVER.get().is_some_and(|limit| elapsed() >= limit / 2)
    }
}

impl Drop for Expiry {
    fn drop(&mut self) {
        OVER.set(self.outer);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_blames_who_had_half_of_the_time_and_only_within_its_scope() {
        let second = Duration::from_secs(1);
        assert!(!Expiry::blames(|| second));
        let over = Expiry::begin(second);
        assert!(Expiry::blames(|| second) && Expiry::blames(|| second / 2) && !Expiry::blames(|| second / 3));
        let inner = Expiry::begin(second / 10);
        assert!(Expiry::blames(|| second / 3));
        Expiry::pardon();
        assert!(!Expiry::blames(|| second));
        drop(inner);
        assert!(Expiry::blames(|| second));
        drop(over);
        assert!(!Expiry::blames(|| second));
    }
}
