//! The last outcomes of an endpoint, for people who ask why it is in the state it is in.
//!
//! Counters say how many requests failed, and not which came last; a log of requests says that, and has to be searched.
//! Here each outcome is one letter, the last ones side by side: `22222r5t` is an endpoint that answered, broke off, and has
//! answered nothing since.
//!
//! | letter         | outcome                                                        |
//! |----------------|----------------------------------------------------------------|
//! | `1` to `5`     | a response with this first digit of its status; `5` above 599  |
//! | `b`            | it asked for less (429, 503 with `Retry-After`)                |
//! | `c`            | no connection                                                  |
//! | `r`            | the connection broke, before the response head or in the body  |
//! | `t`            | no response head in time                                       |
//! | `i`            | what came was not HTTP                                         |
//! | `-`            | given up: the client went away, or the machine lacked something |
//!
//! Recording is on the request path, so it is one store of one byte: no lock, no allocation, no read. The place is given by
//! the number of the outcome, which callers count anyway. Of two threads with the same number one outcome is lost.

use std::sync::atomic::{AtomicU8, Ordering};

use lb_core::Class;

/// The last outcomes of one endpoint. Shared by all threads; 32 bytes.
#[derive(Debug)]
pub struct Recent {
    letters: [AtomicU8; PLACES],
}

impl Recent {
    /// How many are shown.
    pub const SHOWN: usize = 20;

    /// Records the outcome with this number.
    #[inline]
    pub fn record(&self, number: u64, class: Class) {
        self.store(number, letter(class));
    }

    /// The response of the outcome with this number, as far as that is known, broke off after its head.
    pub fn on_cut(&self, number: u64) {
        self.store(number, b'r');
    }

    /// The outcomes up to the one with this number, oldest first.
    #[must_use]
    pub fn read(&self, last: u64) -> String {
        let first = last.saturating_sub(Self::SHOWN as u64 - 1);
        let letters = (first..=last).map(|number| self.letters[place(number)].load(Ordering::Relaxed));
        letters.filter(|letter| *letter != 0).map(char::from).collect()
    }

    fn store(&self, number: u64, letter: u8) {
        self.letters[place(number)].store(letter, Ordering::Relaxed);
    }
}

impl Default for Recent {
    fn default() -> Self {
        Self { letters: std::array::from_fn(|_| AtomicU8::new(0)) }
    }
}

const fn letter(class: Class) -> u8 {
    match class {
        Class::Status(..=199) => b'1',
        Class::Status(200..=299) => b'2',
        Class::Status(300..=399) => b'3',
        Class::Status(400..=499) => b'4',
        Class::Status(_) => b'5',
        Class::Busy(_) => b'b',
        Class::ConnectError => b'c',
        Class::Reset => b'r',
        Class::Timeout => b't',
        Class::InvalidResponse => b'i',
        Class::Cancelled => b'-',
    }
}

const fn place(number: u64) -> usize {
    (number % PLACES as u64) as usize
}

/// More than are shown, so that those that are just being written do not replace what is read.
const PLACES: usize = 32;

#[cfg(test)]
#[cfg(not(loom))]
mod tests {
    use super::*;

    #[test]
    fn the_last_twenty_are_shown_oldest_first() {
        let recent = Recent::default();
        assert_eq!(recent.read(0), "");
        let all = [
            (Class::Status(101), '1'),
            (Class::Status(200), '2'),
            (Class::Status(302), '3'),
            (Class::Status(404), '4'),
            (Class::Status(500), '5'),
            (Class::Status(999), '5'),
            (Class::Busy(429), 'b'),
            (Class::ConnectError, 'c'),
            (Class::Reset, 'r'),
            (Class::Timeout, 't'),
            (Class::InvalidResponse, 'i'),
            (Class::Cancelled, '-'),
        ];
        (1..).zip(&all).for_each(|(number, (class, _))| recent.record(number, *class));
        assert_eq!(recent.read(12), all.iter().map(|(_, letter)| *letter).collect::<String>());
        (13..=100).for_each(|number| recent.record(number, Class::Status(200)));
        recent.on_cut(100);
        assert_eq!(recent.read(100), format!("{}r", "2".repeat(19)));
    }
}
