//! Following a stream of HTTP/2 frames without keeping any of them.
//!
//! The library below us does not tell how many pings and settings a client sends, nor which streams a GOAWAY leaves
//! out. Both stand in plain sight in the bytes, behind nine octets of head each, so they are read as they pass. A client's
//! field blocks are looked into as well: see [`Block`].
//!
//! This does not validate: what is no HTTP/2 is refused by the library, whatever is made of it here.

use super::block::{Block, Table};

/// Types of frames (RFC 9113 §6).
pub(super) mod kind {
    pub(crate) const DATA: u8 = 0;
    pub(crate) const HEADERS: u8 = 1;
    pub(crate) const GO_AWAY: u8 = 7;
    pub(crate) const CONTINUATION: u8 = 9;
}

const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;
const PADDED: u8 = 8;
const PRIORITY: u8 = 0x20;
/// Streams whose trailers were malformed and that were not asked about yet; as many heads again.
const MAX_MALFORMED: usize = 256;
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
    /// Whether the frame carries nothing that anybody asked for: no request, no answer, no body. Those are free;
    /// all others a peer could send without end, at more cost to us than to it.
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
    /// The highest stream that has begun, where field blocks are looked into.
    newest: Option<u32>,
    /// The field block that is being read.
    fields: Option<Fields>,
    table: Table,
    /// Streams whose trailers had a pseudo-header field.
    malformed: Vec<u32>,
    /// Streams whose head had a pseudo-header field that is refused, in the order in which they began.
    refused: Vec<u32>,
}

/// A head or trailers, whose field block may go over several frames.
#[derive(Debug)]
struct Fields {
    stream: u32,
    block: Block,
    /// Octets before the block in this frame: the length of the padding, a priority.
    skip: u8,
    /// The first octet of the frame says how much padding ends it.
    is_padded: bool,
    /// Octets of the block in this frame; what follows is padding.
    left: usize,
    is_last: bool,
}

impl Walker {
    /// Before the first frame, with this much before it.
    pub const fn new(skip: usize) -> Self {
        Self {
            skip,
            head: [0; HEAD],
            have: 0,
            left: 0,
            last_stream: None,
            go_away: None,
            newest: None,
            fields: None,
            table: Table::new(),
            malformed: Vec::new(),
            refused: Vec::new(),
        }
    }

    /// As [`new`](Self::new), of what a client sends, whose field blocks are looked into.
    pub fn of_client(skip: usize) -> Self {
        Self { newest: Some(0), ..Self::new(skip) }
    }

    /// Whether the trailers of this stream had a pseudo-header field. Says so once.
    pub fn take_malformed(&mut self, stream: u32) -> bool {
        let at = self.malformed.iter().position(|&malformed| malformed == stream);
        at.map(|at| self.malformed.swap_remove(at)).is_some()
    }

    /// Whether the head of this stream had a `:path` with a fragment, or another `:scheme` than http and https. To be asked in the
    /// order of the streams: those before it are not asked about any more.
    pub fn take_refused(&mut self, stream: u32) -> bool {
        if self.refused.is_empty() {
            return false;
        }
        let is_refused = self.refused.contains(&stream);
        self.refused.retain(|&refused| refused > stream);
        is_refused
    }

    /// The highest stream that the last GOAWAY says may have been acted upon; `None` before any.
    pub const fn go_away(&self) -> Option<u32> {
        self.go_away
    }

    /// Reads on, and tells of every frame whose head is complete. Cost: one step a frame, whatever its length.
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
                match kind {
                    kind::HEADERS => self.on_headers(u32::from_be_bytes(stream) & 0x7fff_ffff, flags),
                    kind::CONTINUATION if self.fields.is_some() => self.on_continuation(flags),
                    _ => {}
                }
                if length == 0 {
                    self.on_fields(&[], 0);
                }
                on_frame(FrameHead { length, kind, flags });
            }
        }
    }

    /// A client's streams begin in order, so that a block on one that has begun is its trailers, and any other a head.
    fn on_headers(&mut self, stream: u32, flags: u8) {
        let Some(newest) = self.newest else { return };
        let is_trailers = stream <= newest;
        self.newest = Some(newest.max(stream));
        let is_padded = flags & PADDED != 0;
        self.fields = Some(Fields {
            stream,
            block: Block::new(is_trailers),
            skip: u8::from(is_padded) + if flags & PRIORITY == 0 { 0 } else { 5 },
            is_padded,
            left: self.left,
            is_last: flags & END_HEADERS != 0,
        });
    }

    fn on_continuation(&mut self, flags: u8) {
        let left = self.left;
        if let Some(fields) = &mut self.fields {
            (fields.skip, fields.is_padded, fields.left) = (0, false, left);
            fields.is_last = flags & END_HEADERS != 0;
        }
    }

    /// The field block's part of a payload of which so much was to come.
    fn on_fields(&mut self, mut bytes: &[u8], to_come: usize) {
        let Some(fields) = &mut self.fields else { return };
        let ends = bytes.len() == to_come;
        while fields.skip > 0
            && let Some((&byte, rest)) = bytes.split_first()
        {
            fields.skip -= 1;
            fields.left = fields.left.saturating_sub(1);
            if std::mem::take(&mut fields.is_padded) {
                fields.left = fields.left.saturating_sub(usize::from(byte));
            }
            bytes = rest;
        }
        let (block, _padding) = bytes.split_at_checked(fields.left).unwrap_or((bytes, &[]));
        fields.left -= block.len();
        fields.block.read(block, &mut self.table);
        if !(ends && fields.is_last || fields.block.is_done(&self.table)) {
            return;
        }
        if fields.block.is_malformed() {
            let found = if fields.block.is_trailers() { &mut self.malformed } else { &mut self.refused };
            if found.len() == MAX_MALFORMED {
                // The library has refused it itself, or it would have been asked about.
                found.remove(0);
            }
            found.push(fields.stream);
        }
        self.fields = None;
    }

    fn payload(&mut self, bytes: &[u8]) {
        if self.fields.is_some() {
            self.on_fields(bytes, self.left);
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

    /// Whether stream 1's trailers are malformed, whatever pieces these frames come in.
    fn is_malformed(frames: &[Vec<u8>]) -> bool {
        let bytes = frames.concat();
        let read = |size: usize| {
            let mut walker = Walker::of_client(0);
            bytes.chunks(size).for_each(|piece| walker.walk(piece, |_| {}));
            let is = walker.take_malformed(1);
            assert!(!walker.take_malformed(1), "said once");
            is
        };
        let whole = read(bytes.len());
        assert_eq!((read(1), read(2), read(5)), (whole, whole, whole));
        whole
    }

    #[test]
    fn pseudo_header_fields_are_found_in_trailers_alone() {
        const PATH: &[u8] = &[0x84];
        const SUM: &[u8] = b"\x00\x05x-sum\x011";
        let all = END_STREAM | END_HEADERS;
        let head = || frame(kind::HEADERS, END_HEADERS, &[0x83, 0x84, 0x86]);
        assert!(!is_malformed(&[head()]), "a head has them");
        assert!(!is_malformed(&[head(), frame(kind::HEADERS, all, SUM)]));
        assert!(is_malformed(&[head(), frame(kind::DATA, 0, b"x"), frame(kind::HEADERS, all, PATH)]));
        assert!(is_malformed(&[head(), frame(kind::HEADERS, all, &[SUM, PATH].concat())]));
        // Padding and a priority are no part of the block.
        let padded = [&[3][..], SUM, &[0x84; 3]].concat();
        assert!(!is_malformed(&[head(), frame(kind::HEADERS, all | PADDED, &padded)]));
        let padded = [&[2, 0, 0, 0, 0, 0][..], PATH, &[0; 2]].concat();
        assert!(is_malformed(&[head(), frame(kind::HEADERS, all | PADDED | PRIORITY, &padded)]));
        // A field may go over two frames.
        let (begin, end) = SUM.split_at(3);
        let rest = [end, PATH].concat();
        let frames = [head(), frame(kind::HEADERS, END_STREAM, begin), frame(kind::CONTINUATION, END_HEADERS, &rest)];
        assert!(is_malformed(&frames));
        let frames = [head(), frame(kind::HEADERS, END_STREAM, begin), frame(kind::CONTINUATION, END_HEADERS, end)];
        assert!(!is_malformed(&frames));
        assert!(is_malformed(&[
            head(),
            frame(kind::HEADERS, END_STREAM, PATH),
            frame(kind::CONTINUATION, END_HEADERS, b"")
        ]));
        // More padding than frame is for the library to refuse.
        assert!(!is_malformed(&[head(), frame(kind::HEADERS, all | PADDED, &[200, 0x84])]));
    }

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
