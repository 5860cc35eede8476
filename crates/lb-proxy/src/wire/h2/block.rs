//! Looking for pseudo-header fields in trailers, where there are none (RFC 9113 §8.1).
//!
//! The library below drops them without a word, so that a request which is malformed would pass. Only names matter, and a
//! field block says where each of its fields begins and whether its name is a new one without being decoded (RFC 7541 §6):
//! lengths are plain, and a name that begins with a colon is told by its first octet, Huffman coded or not. A name out
//! of the dynamic table is not told, for want of that table: such a field is dropped, as before.
//!
//! Only trailers are read, so ordinary requests cost nothing.

/// The static table's pseudo-header fields have the indices up to this (RFC 7541, Appendix A).
const LAST_PSEUDO: u64 = 14;

/// A field block that is being read, in pieces as they come.
#[derive(Debug)]
pub(super) struct Block {
    at: At,
    has_pseudo: bool,
}

/// What comes next.
#[derive(Clone, Copy, Debug)]
enum At {
    /// A field's first octet.
    Field,
    /// More octets of an index, of which `shift` bits are known.
    Index { kind: Kind, index: u64, shift: u8 },
    /// The length of a name or a value.
    Length(Text),
    /// More octets of a length.
    LengthMore { text: Text, is_huffman: bool, length: u64, shift: u8 },
    /// The first octet of a name.
    NameBegins { is_huffman: bool, length: u64 },
    /// The rest of a name or a value.
    Skip { text: Text, left: u64 },
    /// No block that can be read; the library says so too.
    Lost,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Indexed,
    Literal,
    TableSize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Text {
    Name,
    Value,
}

impl Block {
    pub(super) const fn new() -> Self {
        Self { at: At::Field, has_pseudo: false }
    }

    /// Whether a pseudo-header field has come.
    pub(super) const fn has_pseudo(&self) -> bool {
        self.has_pseudo
    }

    /// Reads on.
    pub(super) fn read(&mut self, mut bytes: &[u8]) {
        while let Some((&byte, rest)) = bytes.split_first() {
            if let At::Skip { text, left } = self.at {
                let taken = usize::try_from(left).map_or(bytes.len(), |left| left.min(bytes.len()));
                self.at = match left - taken as u64 {
                    0 => after(text),
                    left => At::Skip { text, left },
                };
                bytes = bytes.get(taken..).unwrap_or_default();
                continue;
            }
            self.at = self.next(byte);
            bytes = rest;
        }
    }

    fn next(&mut self, byte: u8) -> At {
        match self.at {
            At::Field => {
                let (kind, bits) = match byte {
                    0x80.. => (Kind::Indexed, 7),
                    0x40.. => (Kind::Literal, 6),
                    0x20.. => (Kind::TableSize, 5),
                    _ => (Kind::Literal, 4),
                };
                let most = (1 << bits) - 1;
                let index = u64::from(byte & most);
                if index == u64::from(most) { At::Index { kind, index, shift: 0 } } else { self.indexed(kind, index) }
            }
            At::Index { kind, index, shift } => match more(index, shift, byte) {
                None => At::Lost,
                Some(index) if byte & 0x80 != 0 => At::Index { kind, index, shift: shift + 7 },
                Some(index) => self.indexed(kind, index),
            },
            At::Length(text) => {
                let (is_huffman, length) = (byte & 0x80 != 0, u64::from(byte & 0x7f));
                let more = length == 0x7f;
                if more {
                    At::LengthMore { text, is_huffman, length, shift: 0 }
                } else {
                    text_of(text, is_huffman, length)
                }
            }
            At::LengthMore { text, is_huffman, length, shift } => match more(length, shift, byte) {
                None => At::Lost,
                Some(length) if byte & 0x80 != 0 => At::LengthMore { text, is_huffman, length, shift: shift + 7 },
                Some(length) => text_of(text, is_huffman, length),
            },
            At::NameBegins { is_huffman, length } => {
                // A colon is 1011100 in Huffman's code, and the eighth bit is the next one's.
                self.has_pseudo |= if is_huffman { byte >> 1 == 0b101_1100 } else { byte == b':' };
                match length - 1 {
                    0 => after(Text::Name),
                    left => At::Skip { text: Text::Name, left },
                }
            }
            At::Skip { .. } | At::Lost => At::Lost,
        }
    }

    fn indexed(&mut self, kind: Kind, index: u64) -> At {
        self.has_pseudo |= kind != Kind::TableSize && (1..=LAST_PSEUDO).contains(&index);
        match kind {
            Kind::Literal if index == 0 => At::Length(Text::Name),
            Kind::Literal => At::Length(Text::Value),
            Kind::Indexed | Kind::TableSize => At::Field,
        }
    }
}

/// A number with seven more bits; `None` beyond what any index or length can be.
fn more(number: u64, shift: u8, byte: u8) -> Option<u64> {
    (shift <= 28).then(|| number + (u64::from(byte & 0x7f) << shift))
}

const fn text_of(text: Text, is_huffman: bool, length: u64) -> At {
    match (text, length) {
        (_, 0) => after(text),
        (Text::Name, _) => At::NameBegins { is_huffman, length },
        (Text::Value, _) => At::Skip { text, left: length },
    }
}

const fn after(text: Text) -> At {
    match text {
        Text::Name => At::Length(Text::Value),
        Text::Value => At::Field,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Whether a pseudo-header field is found, whatever pieces the block comes in.
    fn found(block: &[u8]) -> bool {
        let read = |size: usize| {
            let mut read = Block::new();
            block.chunks(size).for_each(|piece| read.read(piece));
            read.has_pseudo()
        };
        let whole = read(block.len().max(1));
        assert_eq!((read(1), read(2), read(3)), (whole, whole, whole), "{block:?}");
        whole
    }

    fn literal(first: u8, name: &[u8], value: &[u8]) -> Vec<u8> {
        [&[first, name.len() as u8], name, &[value.len() as u8], value].concat()
    }

    const SUM: &[u8] = b"x-sum";

    #[test]
    fn fields_of_trailers_are_none() {
        assert!(!found(b""));
        assert!(!found(&literal(0x00, SUM, b":path")));
        assert!(!found(&literal(0x40, SUM, b"")));
        assert!(!found(&literal(0x10, SUM, &[b':'; 100])));
        // A change of the table's size, which may come first; `accept-charset` indexed; one of the dynamic table.
        assert!(!found(&[0x20, 0x8f, 0xbe]));
        assert!(!found(&[0x3f, 0xe1, 0x1f]));
        // `x-sum` as RFC 7541 codes it, which does not begin with a colon.
        assert!(!found(&[0x00, 0x84, 0xf2, 0xb2, 0x2d, 0xaf, 0x01, b'1']));
        // A value of 300 octets, all colons.
        assert!(!found(&[&[0x0f, 0x01, 0x7f, 0xad, 0x01][..], &[b':'; 300]].concat()));
    }

    #[test]
    fn pseudo_header_fields_are_found_however_they_are_written() {
        for index in 1..=14 {
            assert!(found(&[0x80 | index]), "{index} indexed");
            assert!(found(&[0x40 | index, 1, b'x']), "{index} with its value indexed");
            assert!(found(&[index, 1, b'x']), "{index} not indexed");
            assert!(found(&[0x10 | index, 1, b'x']), "{index} never indexed");
        }
        assert!(found(&literal(0x00, b":path", b"/")));
        assert!(found(&literal(0x40, b":own", b"")));
        // `:path` as the library's own encoder would code it: a colon is 1011100.
        assert!(found(&[0x00, 0x84, 0xb9, 0x58, 0xd3, 0x3f, 0x01, b'/']));
        let after = [literal(0x00, SUM, &[0; 100]), literal(0x00, b":path", b"/")].concat();
        assert!(found(&after), "behind others");
    }

    #[test]
    fn what_is_no_block_ends_the_search() {
        assert!(!found(&[0xff; 40]));
        assert!(!found(&[&[0xff; 8][..], &[0x84]].concat()));
    }
}
