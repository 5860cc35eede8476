//! Following a stream of HTTP/2 frames without keeping any of them.
//!
//! The library below us does not tell how many pings and settings a client sends, nor which streams a GOAWAY leaves
//! out. Both stand in plain sight in the bytes, behind nine octets of head each, so they are read as they pass.
//!
//! This does not validate: what is no HTTP/2 is refused by the library, whatever is made of it here.

/// Types of frames (RFC 9113 §6).
pub(crate) mod kind {
    pub(crate) const DATA: u8 = 0;
    pub(crate) const HEADERS: u8 = 1;
    pub(crate) const GO_AWAY: u8 = 7;
}

const END_STREAM: u8 = 1;
const HEAD: usize = 9;

/// The head of a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct FrameHead {
    pub(crate) length: u32,
    pub(crate) kind: u8,
    pub(crate) flags: u8,
}

impl FrameHead {
    /// Whether the frame carries nothing that anybody asked for: no request, no answer, no body. Those are free;
    /// all others a peer could send without end, at more cost to us than to it.
    pub(crate) fn is_overhead(self) -> bool {
        match self.kind {
            kind::DATA => self.length == 0 && self.flags & END_STREAM == 0,
            kind::HEADERS => false,
            _ => true,
        }
    }
}

/// One direction of a connection.
#[derive(Debug)]
pub(crate) struct Walker {
    /// Octets of something else before the first frame.
    skip: usize,
    head: [u8; HEAD],
    have: usize,
    /// Octets of the current frame's payload still to come.
    left: usize,
    /// Octets of a GOAWAY's first field, while it is read.
    last_stream: Option<(u32, u8)>,
    /// The last stream of the last GOAWAY.
    go_away: Option<u32>,
}

impl Walker {
    /// Before the first frame, with this much before it.
    pub(crate) const fn new(skip: usize) -> Self {
        Self { skip, head: [0; HEAD], have: 0, left: 0, last_stream: None, go_away: None }
    }

    /// The highest stream that the last GOAWAY says may have been acted upon; `None` before any.
    pub(crate) const fn go_away(&self) -> Option<u32> {
        self.go_away
    }

    /// Reads on, and tells of every frame whose head is complete. Cost: one step a frame, whatever its length.
    pub(crate) fn walk(&mut self, mut bytes: &[u8], mut on_frame: impl FnMut(FrameHead)) {
        let skipped = self.skip.min(bytes.len());
        self.skip -= skipped;
        bytes = bytes.get(skipped..).unwrap_or_default();
        while !bytes.is_empty() {
            if self.left > 0 {
                let taken = self.left.min(bytes.len());
                self.payload(bytes.get(..taken).unwrap_or_default());
                self.left -= taken;
                bytes = bytes.get(taken..).unwrap_or_default();
                continue;
            }
            let taken = (HEAD - self.have).min(bytes.len());
            let (part, rest) = bytes.split_at_checked(taken).unwrap_or((bytes, &[]));
            if let Some(room) = self.head.get_mut(self.have..self.have + part.len()) {
                room.copy_from_slice(part);
            }
            self.have += part.len();
            bytes = rest;
            if self.have == HEAD {
                let [a, b, c, kind, flags, ..] = self.head;
                let length = u32::from_be_bytes([0, a, b, c]);
                (self.have, self.left) = (0, length as usize);
                self.last_stream = (kind == kind::GO_AWAY).then_some((0, 0));
                on_frame(FrameHead { length, kind, flags });
            }
        }
    }

    fn payload(&mut self, bytes: &[u8]) {
        let Some((mut id, mut have)) = self.last_stream.take() else { return };
        for &byte in bytes.iter().take(4 - usize::from(have)) {
            id = id << 8 | u32::from(byte);
            have += 1;
        }
        if have == 4 {
            self.go_away = Some(id & 0x7fff_ffff);
        } else {
            self.last_stream = Some((id, have));
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn frame(kind: u8, flags: u8, payload: &[u8]) -> Vec<u8> {
        let length = (payload.len() as u32).to_be_bytes();
        [&length[1..], &[kind, flags, 0, 0, 0, 1], payload].concat()
    }

    proptest! {
        #[test]
        fn frames_are_told_whatever_pieces_they_come_in(
            frames in proptest::collection::vec((0u8..12, any::<u8>(), 0usize..40), 0..12),
            step in 1usize..30,
        ) {
            let bytes: Vec<u8> = frames.iter().fold(b"PRI".to_vec(), |mut all, &(kind, flags, length)| {
                all.extend(frame(kind, flags, &vec![0xff; length]));
                all
            });
            let mut walker = Walker::new(3);
            let mut told = Vec::new();
            for piece in bytes.chunks(step) {
                walker.walk(piece, |head| told.push((head.kind, head.flags, head.length as usize)));
            }
            prop_assert_eq!(told, frames);
        }
    }

    #[test]
    fn a_goaway_tells_the_last_stream_and_the_last_one_counts() {
        let mut walker = Walker::new(0);
        assert_eq!(walker.go_away(), None);
        let first = frame(kind::GO_AWAY, 0, &[0x7f, 0xff, 0xff, 0xff, 0, 0, 0, 0]);
        let second = frame(kind::GO_AWAY, 0, &[0x80, 0, 1, 5, 0, 0, 0, 2, b'x']);
        walker.walk(&first, |_| {});
        assert_eq!(walker.go_away(), Some(0x7fff_ffff));
        for byte in second {
            walker.walk(&[byte], |_| {});
        }
        assert_eq!(walker.go_away(), Some(0x105), "the reserved bit is no part of it");
        walker.walk(&frame(kind::GO_AWAY, 0, &[0, 0]), |_| {});
        walker.walk(&frame(6, 0, &[9; 8]), |_| {});
        assert_eq!(walker.go_away(), Some(0x105), "one that is too short tells nothing");
    }

    #[test]
    fn requests_bodies_and_ends_are_no_overhead() {
        let is = |kind, flags, length| FrameHead { length, kind, flags }.is_overhead();
        assert!(!is(kind::HEADERS, 0, 0) && !is(kind::DATA, 0, 1) && !is(kind::DATA, END_STREAM, 0));
        assert!(is(kind::DATA, 0, 0));
        for other in 2..=20 {
            assert!(is(other, END_STREAM, 8), "{other}");
        }
    }
}
