//! Following a stream of HTTP/2 frames without keeping any of them.
//!
//! The `h2` crate does not report how many pings and settings a client sends, nor which streams a GOAWAY leaves out. Both
//! are plain in the bytes, behind nine octets of head each, so they are read as they pass. A client's field blocks are
//! read as well: see [`Requests`].
//!
//! This does not validate: the library refuses what is no HTTP/2.

use super::requests::Requests;

/// Types of frames (RFC 9113 §6).
pub(super) mod kind {
    pub(crate) const DATA: u8 = 0;
    pub(crate) const HEADERS: u8 = 1;
    pub(crate) const GO_AWAY: u8 = 7;
    pub(crate) const CONTINUATION: u8 = 9;
}

const END_STREAM: u8 = 1;
const HEAD: usize = 9;

/// The head of a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FrameHead {
    /// Length of the payload, bytes.
    pub length: u32,
    /// Type of the frame (RFC 9113 §6).
    pub kind: u8,
    /// Flags, whose meaning the type decides.
    pub flags: u8,
}

impl FrameHead {
    /// Whether the frame is neither part of a request or response nor of a body. Those are free; a peer could send all
    /// others without end, at more cost to us than to it.
    pub fn is_overhead(self) -> bool {
        match self.kind {
            kind::DATA => self.length == 0 && self.flags & END_STREAM == 0,
            kind::HEADERS => false,
            _ => true,
        }
    }
}

/// One direction of a connection.
#[derive(Debug)]
pub struct Walker {
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
    /// A client's requests, where they are checked.
    requests: Option<Box<Requests>>,
}

impl Walker {
    /// Before the first frame, with this much before it.
    pub const fn new(skip: usize) -> Self {
        Self { skip, head: [0; HEAD], have: 0, left: 0, last_stream: None, go_away: None, requests: None }
    }

    /// As [`new`](Self::new), of what a client sends, whose requests are checked.
    #[must_use]
    pub fn of_client(skip: usize) -> Self {
        Self { requests: Some(Box::new(Requests::new())), ..Self::new(skip) }
    }

    /// Whether the trailers of this stream had a pseudo-header field. True once for each stream.
    pub fn take_malformed_trailers(&mut self, stream: u32) -> bool {
        self.requests.as_mut().is_some_and(|requests| requests.take_trailers(stream))
    }

    /// Whether the head of this stream had a `:path` with a fragment, another `:scheme` than http and https, or a
    /// pseudo-header field behind others. True once for each stream.
    pub fn take_malformed_head(&mut self, stream: u32) -> bool {
        self.requests.as_mut().is_some_and(|requests| requests.take_head(stream))
    }

    /// The highest stream that the last GOAWAY says may have been acted upon; `None` before any.
    pub const fn go_away(&self) -> Option<u32> {
        self.go_away
    }

    /// Reads on, and reports every frame whose head is complete. Cost: one step a frame and one a field of a client's
    /// request, whatever their lengths.
    pub fn walk(&mut self, mut bytes: &[u8], mut on_frame: impl FnMut(FrameHead)) {
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
                let [a, b, c, kind, flags, stream @ ..] = self.head;
                let length = u32::from_be_bytes([0, a, b, c]);
                (self.have, self.left) = (0, length as usize);
                self.last_stream = (kind == kind::GO_AWAY).then_some((0, 0));
                if let Some(requests) = &mut self.requests {
                    match kind {
                        kind::HEADERS => {
                            requests.on_headers(u32::from_be_bytes(stream) & 0x7fff_ffff, flags, self.left);
                        }
                        kind::CONTINUATION => requests.on_continuation(flags, self.left),
                        _ => {}
                    }
                    if length == 0 {
                        requests.on_payload(&[], true);
                    }
                }
                on_frame(FrameHead { length, kind, flags });
            }
        }
    }

    fn payload(&mut self, bytes: &[u8]) {
        if let Some(requests) = &mut self.requests {
            requests.on_payload(bytes, bytes.len() == self.left);
        }
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
        fn frames_are_found_in_pieces_of_any_size(
            frames in proptest::collection::vec((0u8..12, any::<u8>(), 0usize..40), 0..12),
            step in 1usize..30,
        ) {
            let bytes: Vec<u8> = frames.iter().fold(b"PRI".to_vec(), |mut all, &(kind, flags, length)| {
                all.extend(frame(kind, flags, &vec![0xff; length]));
                all
            });
            let mut walker = Walker::new(3);
            let mut seen = Vec::new();
            for piece in bytes.chunks(step) {
                walker.walk(piece, |head| seen.push((head.kind, head.flags, head.length as usize)));
            }
            prop_assert_eq!(seen, frames);
        }
    }

    #[test]
    fn the_last_goaway_has_the_last_stream() {
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
        assert_eq!(walker.go_away(), Some(0x105), "one that is too short is ignored");
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
