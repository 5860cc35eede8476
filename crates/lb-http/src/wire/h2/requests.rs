//! Which of a client's requests are malformed in a way that the protocol library does not report.
//!
//! A client's field blocks are read as they pass, each a head or trailers, in one frame or several: see [`Block`].

use super::block::Block;
use super::table::Table;

const END_HEADERS: u8 = 4;
const PADDED: u8 = 8;
const PRIORITY: u8 = 0x20;

/// Streams with a malformed head that are remembered until they are asked about, and as many with malformed trailers.
const MAX_MALFORMED: usize = 256;

/// The requests of one connection.
#[derive(Debug)]
pub(super) struct Requests {
    /// The highest stream that has begun.
    newest: u32,
    /// The field block that is being read.
    fields: Option<Fields>,
    table: Table,
    heads: Malformed,
    trailers: Malformed,
}

/// Streams that are malformed. The library refuses some of them by itself, and those are never asked about.
#[derive(Debug, Default)]
struct Malformed {
    streams: Vec<u32>,
    /// All streams up to this one count as malformed, since there were too many to remember.
    through: u32,
}

impl Malformed {
    fn add(&mut self, stream: u32) {
        if self.streams.len() == MAX_MALFORMED {
            self.streams.clear();
            self.through = self.through.max(stream);
        }
        self.streams.push(stream);
    }

    fn take(&mut self, stream: u32) -> bool {
        let at = self.streams.iter().position(|&malformed| malformed == stream);
        at.map(|at| self.streams.swap_remove(at)).is_some() || stream <= self.through
    }
}

/// A head or trailers, whose field block may go over several frames.
#[derive(Debug)]
struct Fields {
    stream: u32,
    block: Block,
    before: Before,
    /// Octets of the block in this frame; what follows is padding.
    left: usize,
    is_last: bool,
}

/// What a HEADERS frame has before the block: the length of the padding, a priority.
#[derive(Debug, Default)]
struct Before {
    left: u8,
    is_padded: bool,
    /// The stream that this one depends on, as far as it has come.
    dependency: u32,
    has_priority: bool,
}

impl Before {
    fn new(flags: u8) -> Self {
        let (is_padded, has_priority) = (flags & PADDED != 0, flags & PRIORITY != 0);
        let left = u8::from(is_padded) + if has_priority { 5 } else { 0 };
        Self { left, is_padded, dependency: 0, has_priority }
    }
}

impl Requests {
    pub(super) fn new() -> Self {
        Self {
            newest: 0,
            fields: None,
            table: Table::new(),
            heads: Malformed::default(),
            trailers: Malformed::default(),
        }
    }

    pub(super) fn take_trailers(&mut self, stream: u32) -> bool {
        self.trailers.take(stream)
    }

    pub(super) fn take_head(&mut self, stream: u32) -> bool {
        self.heads.take(stream)
    }

    /// A HEADERS frame begins, with a payload of this length. A client's streams begin in order, so that a block on one
    /// that has begun is its trailers, and any other a head.
    pub(super) fn on_headers(&mut self, stream: u32, flags: u8, length: usize) {
        let is_trailers = stream <= self.newest;
        self.newest = self.newest.max(stream);
        self.fields = Some(Fields {
            stream,
            block: Block::new(is_trailers),
            before: Before::new(flags),
            left: length,
            is_last: flags & END_HEADERS != 0,
        });
    }

    pub(super) fn on_continuation(&mut self, flags: u8, length: usize) {
        if let Some(fields) = &mut self.fields {
            (fields.before, fields.left) = (Before::default(), length);
            fields.is_last = flags & END_HEADERS != 0;
        }
    }

    /// A piece of the payload of such a frame, and whether it is the last one.
    pub(super) fn on_payload(&mut self, bytes: &[u8], is_end: bool) {
        let Some(fields) = &mut self.fields else { return };
        let bytes = fields.after_priority(bytes);
        if fields.before.left == 0 && fields.depends_on_itself() {
            // The library resets the stream without reading the block, so that nothing of it goes into the table.
            self.fields = None;
            return;
        }
        let (block, _padding) = bytes.split_at_checked(fields.left).unwrap_or((bytes, &[]));
        fields.left -= block.len();
        fields.block.read(block, &mut self.table);
        if !(is_end && fields.is_last) {
            return;
        }
        if fields.block.is_malformed() {
            let malformed = if fields.block.is_trailers() { &mut self.trailers } else { &mut self.heads };
            malformed.add(fields.stream);
        }
        self.fields = None;
    }
}

impl Fields {
    /// The rest of a piece, behind what comes before the block.
    fn after_priority<'a>(&mut self, mut bytes: &'a [u8]) -> &'a [u8] {
        while self.before.left > 0
            && let Some((&byte, rest)) = bytes.split_first()
        {
            self.left = self.left.saturating_sub(1);
            if std::mem::take(&mut self.before.is_padded) {
                self.left = self.left.saturating_sub(usize::from(byte));
            } else if self.before.left > 1 {
                // The last octet is the weight.
                self.before.dependency = self.before.dependency << 8 | u32::from(byte);
            }
            self.before.left -= 1;
            bytes = rest;
        }
        bytes
    }

    fn depends_on_itself(&self) -> bool {
        self.before.has_priority && self.before.dependency & 0x7fff_ffff == self.stream
    }
}

#[cfg(test)]
mod tests {
    use super::super::walker::{Walker, kind};
    use super::*;

    const END_STREAM: u8 = 1;

    fn frame_of(stream: u8, kind: u8, flags: u8, payload: &[u8]) -> Vec<u8> {
        let length = (payload.len() as u32).to_be_bytes();
        [&length[1..], &[kind, flags, 0, 0, 0, stream], payload].concat()
    }

    fn frame(kind: u8, flags: u8, payload: &[u8]) -> Vec<u8> {
        frame_of(1, kind, flags, payload)
    }

    /// Whether stream 1's trailers are malformed, in pieces of several sizes.
    fn is_malformed(frames: &[Vec<u8>]) -> bool {
        let bytes = frames.concat();
        let read = |size: usize| {
            let mut walker = Walker::of_client(0);
            bytes.chunks(size).for_each(|piece| walker.walk(piece, |_| {}));
            let is = walker.take_malformed_trailers(1);
            assert!(!walker.take_malformed_trailers(1), "once");
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

    #[test]
    fn a_block_that_the_library_does_not_read_adds_nothing() {
        // `:path: /#`, then a field in the block of a stream that depends on itself, then the first place of the table.
        let path = frame_of(1, kind::HEADERS, END_HEADERS, &[0x44, 2, b'/', b'#']);
        let field = [0x40, 1, b'a', 0];
        let on = |dependency: u8, padding: &[u8], flags: u8| {
            let payload = [padding, &[0x80, 0, 0, dependency, 9], &field, &[0xbe][..padding.len()]].concat();
            let other = frame_of(3, kind::HEADERS, END_HEADERS | PRIORITY | flags, &payload);
            let last = frame_of(5, kind::HEADERS, END_HEADERS, &[0xbe]);
            let mut walker = Walker::of_client(0);
            for byte in [&path[..], &other, &last].concat() {
                walker.walk(&[byte], |_| {});
            }
            walker.take_malformed_head(5)
        };
        assert!(on(3, &[], 0) && on(3, &[1], PADDED), "on itself");
        assert!(!on(1, &[], 0) && !on(1, &[1], PADDED), "on another");
    }

    #[test]
    fn more_than_can_be_remembered_count_as_malformed_up_to_the_last() {
        let mut malformed = Malformed::default();
        (1..=MAX_MALFORMED as u32).for_each(|stream| malformed.add(2 * stream));
        assert!(malformed.take(2) && !malformed.take(2) && !malformed.take(3));
        [2, 1000, 1002].into_iter().for_each(|stream| malformed.add(stream));
        assert!((4..=1000).all(|stream| malformed.take(stream)) && !malformed.take(1001) && malformed.take(1002));
    }
}
