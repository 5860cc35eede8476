//! What a field block says that the library below does not pass on.
//!
//! It drops pseudo-header fields in trailers, where there are none (RFC 9113 §8.1), without a word; it cuts a fragment off a
//! `:path`; it drops a `:scheme` beside which there is no `:authority`. A request that is malformed would pass. A block says
//! where each of its fields begins and whether its name is a new one without being decoded (RFC 7541 §6): lengths are plain,
//! a name that begins with a colon is told by its first octet, and of a Huffman coded value no more than the ends of its symbols
//! matter.
//!
//! Trailers are read whole, a head only to its first field that is no pseudo-header field: those come first. A field out of the
//! dynamic table is known by its place there if it was refused when it came as a literal; from the first such literal on, [`Table`]
//! counts what is added, until that cannot be asked for any more. Not known is a literal whose name alone comes out of the
//! dynamic table, for want of that table: as before, the library drops or cuts it.

use super::huffman::{Huffman, known};

/// The static table's pseudo-header fields have the indices up to this, and its other fields those up to the next
/// (RFC 7541, Appendix A).
const LAST_PSEUDO: u64 = 14;
const LAST_STATIC: u64 = 61;

/// A field block that is being read, in pieces as they come.
#[derive(Debug)]
pub(super) struct Block {
    at: At,
    is_trailers: bool,
    has_pseudo: bool,
    is_refused: bool,
    /// All pseudo-header fields of a head have come.
    is_over: bool,
    /// The present field goes into the dynamic table.
    is_added: bool,
    name: Short,
    value: Value,
}

/// What is looked for in a value.
#[derive(Debug)]
enum Value {
    /// Nothing.
    Other,
    /// A fragment, and whether there is one.
    Path { has_fragment: bool, huffman: Huffman },
    /// `http` or `https`.
    Scheme { text: Short, huffman: Huffman },
}

impl Value {
    fn path() -> Self {
        Self::Path { has_fragment: false, huffman: Huffman::default() }
    }

    fn scheme() -> Self {
        Self::Scheme { text: Short::default(), huffman: Huffman::default() }
    }
}

/// A text, as far as it may be one of those looked for.
#[derive(Debug, Default)]
struct Short {
    text: [u8; 8],
    /// Its length; more than there is room for if it is longer.
    length: usize,
}

impl Short {
    fn push(&mut self, bytes: &[u8]) {
        if let Some(room) = self.text.get_mut(self.length..self.length + bytes.len()) {
            room.copy_from_slice(bytes);
            self.length += bytes.len();
        } else {
            self.length = usize::MAX / 2;
        }
    }

    /// Empty for one that is too long.
    fn get(&self) -> &[u8] {
        self.text.get(..self.length).unwrap_or_default()
    }
}

/// What of a connection's dynamic table must not be asked for.
#[derive(Debug)]
pub(super) struct Table {
    /// Fields added since the first that was refused.
    added: u64,
    /// Refused ones, by how many were added before.
    refused: Vec<u64>,
}

/// As many fields of 32 octets at least as fit into the 4096 that a client may use, since we allow no other number.
const MAX_FIELDS: u64 = 128;

impl Table {
    pub(super) const fn new() -> Self {
        Self { added: 0, refused: Vec::new() }
    }

    const fn is_idle(&self) -> bool {
        self.refused.is_empty()
    }

    fn add(&mut self, is_refused: bool) {
        if is_refused {
            self.refused.push(self.added);
        }
        if !self.is_idle() {
            self.added += 1;
            self.refused.retain(|number| number + MAX_FIELDS >= self.added);
        }
    }

    fn is_refused(&self, index: u64) -> bool {
        // The first index behind the static table is that of the field added last.
        let number = self.added.checked_sub(index.saturating_sub(LAST_STATIC));
        index > LAST_STATIC && number.is_some_and(|number| self.refused.contains(&number))
    }
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
    /// The rest of a name or a value.
    Text { text: Text, is_huffman: bool, left: u64 },
    /// No block that can be read; the library says so too.
    Lost,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Indexed,
    Literal { is_added: bool },
    TableSize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Text {
    Name,
    Value,
}

impl Block {
    pub(super) fn new(is_trailers: bool) -> Self {
        Self {
            at: At::Field,
            is_trailers,
            has_pseudo: false,
            is_refused: false,
            is_over: false,
            is_added: false,
            name: Short::default(),
            value: Value::Other,
        }
    }

    /// Whether it makes its request malformed: trailers by any pseudo-header field, a head by one that is refused.
    pub(super) const fn is_malformed(&self) -> bool {
        if self.is_trailers { self.has_pseudo } else { self.is_refused }
    }

    pub(super) const fn is_trailers(&self) -> bool {
        self.is_trailers
    }

    /// Whether the rest is of no interest.
    pub(super) const fn is_done(&self, table: &Table) -> bool {
        self.is_over && table.is_idle()
    }

    /// Reads on.
    pub(super) fn read(&mut self, mut bytes: &[u8], table: &mut Table) {
        while let Some((&byte, rest)) = bytes.split_first() {
            if self.is_done(table) {
                return;
            }
            if let At::Text { text, is_huffman, left } = self.at {
                let taken = usize::try_from(left).map_or(bytes.len(), |left| left.min(bytes.len()));
                let (piece, rest) = bytes.split_at_checked(taken).unwrap_or((bytes, &[]));
                self.on_text(text, is_huffman, piece);
                self.at = match left - taken as u64 {
                    0 => self.on_text_end(text, is_huffman, table),
                    left => At::Text { text, is_huffman, left },
                };
                bytes = rest;
                continue;
            }
            self.at = self.next(byte, table);
            bytes = rest;
        }
    }

    fn next(&mut self, byte: u8, table: &mut Table) -> At {
        match self.at {
            At::Field => {
                let (kind, bits) = match byte {
                    0x80.. => (Kind::Indexed, 7),
                    0x40.. => (Kind::Literal { is_added: true }, 6),
                    0x20.. => (Kind::TableSize, 5),
                    _ => (Kind::Literal { is_added: false }, 4),
                };
                let most = (1 << bits) - 1;
                let index = u64::from(byte & most);
                if index == u64::from(most) {
                    At::Index { kind, index, shift: 0 }
                } else {
                    self.on_field(kind, index, table)
                }
            }
            At::Index { kind, index, shift } => match more(index, shift, byte) {
                None => At::Lost,
                Some(index) if byte & 0x80 != 0 => At::Index { kind, index, shift: shift + 7 },
                Some(index) => self.on_field(kind, index, table),
            },
            At::Length(text) => {
                let (is_huffman, length) = (byte & 0x80 != 0, u64::from(byte & 0x7f));
                if length == 0x7f {
                    At::LengthMore { text, is_huffman, length, shift: 0 }
                } else {
                    self.on_length(text, is_huffman, length, table)
                }
            }
            At::LengthMore { text, is_huffman, length, shift } => match more(length, shift, byte) {
                None => At::Lost,
                Some(length) if byte & 0x80 != 0 => At::LengthMore { text, is_huffman, length, shift: shift + 7 },
                Some(length) => self.on_length(text, is_huffman, length, table),
            },
            At::Text { .. } | At::Lost => At::Lost,
        }
    }

    fn on_field(&mut self, kind: Kind, index: u64, table: &Table) -> At {
        let is_added = match kind {
            Kind::TableSize => return At::Field,
            Kind::Indexed => {
                let is_refused = table.is_refused(index);
                self.is_refused |= is_refused;
                // Those refused are pseudo-header fields.
                self.has_pseudo |= is_refused;
                false
            }
            Kind::Literal { is_added } => is_added,
        };
        self.has_pseudo |= (1..=LAST_PSEUDO).contains(&index);
        self.is_over |= !self.is_trailers && (LAST_PSEUDO + 1..=LAST_STATIC).contains(&index);
        if kind == Kind::Indexed {
            return At::Field;
        }
        self.is_added = is_added;
        self.value = match index {
            4 | 5 => Value::path(),
            6 | 7 => Value::scheme(),
            _ => Value::Other,
        };
        if index != 0 {
            return At::Length(Text::Value);
        }
        self.name = Short::default();
        At::Length(Text::Name)
    }

    fn on_length(&mut self, text: Text, is_huffman: bool, length: u64, table: &mut Table) -> At {
        match length {
            0 => self.on_text_end(text, is_huffman, table),
            left => At::Text { text, is_huffman, left },
        }
    }

    fn on_text(&mut self, text: Text, is_huffman: bool, piece: &[u8]) {
        match (text, &mut self.value) {
            (Text::Name, _) => {
                if self.name.length == 0 {
                    // A colon is 1011100 in Huffman's code, and the eighth bit is the next one's.
                    let is_colon = |&byte: &u8| if is_huffman { byte >> 1 == 0b101_1100 } else { byte == b':' };
                    let is_pseudo = piece.first().is_some_and(is_colon);
                    self.has_pseudo |= is_pseudo;
                    self.is_over |= !self.is_trailers && !is_pseudo;
                }
                self.name.push(piece);
            }
            (Text::Value, Value::Other) => {}
            (Text::Value, Value::Path { has_fragment, huffman }) if is_huffman => {
                huffman.read(piece, |length, code| *has_fragment |= known(length, code) == Some(b'#'));
            }
            (Text::Value, Value::Path { has_fragment, .. }) => {
                *has_fragment |= memchr::memchr(b'#', piece).is_some();
            }
            (Text::Value, Value::Scheme { text, huffman }) if is_huffman => {
                huffman.read(piece, |length, code| text.push(&[known(length, code).unwrap_or_default()]));
            }
            (Text::Value, Value::Scheme { text, .. }) => text.push(piece),
        }
    }

    fn on_text_end(&mut self, text: Text, is_huffman: bool, table: &mut Table) -> At {
        if text == Text::Name {
            self.value = match (is_huffman, self.name.get()) {
                (false, b":path") | (true, [0xb9, 0x58, 0xd3, 0x3f]) => Value::path(),
                (false, b":scheme") | (true, [0xb8, 0x82, 0x4e, 0x5a, 0x4b]) => Value::scheme(),
                _ => Value::Other,
            };
            return At::Length(Text::Value);
        }
        let is_refused = match &self.value {
            Value::Other => false,
            Value::Path { has_fragment, .. } => *has_fragment,
            Value::Scheme { text, .. } => {
                let text = text.get();
                !(text.eq_ignore_ascii_case(b"http") || text.eq_ignore_ascii_case(b"https"))
            }
        };
        self.is_refused |= is_refused;
        if self.is_added {
            table.add(is_refused);
        }
        At::Field
    }
}

/// A number with seven more bits; `None` beyond what any index or length can be.
fn more(number: u64, shift: u8, byte: u8) -> Option<u64> {
    (shift <= 28).then(|| number + (u64::from(byte & 0x7f) << shift))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Whether a pseudo-header field is found, whatever pieces the block comes in.
    fn found(block: &[u8]) -> bool {
        let read = |size: usize| {
            let (mut read, mut table) = (Block::new(true), Table::new());
            block.chunks(size).for_each(|piece| read.read(piece, &mut table));
            read.is_malformed()
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

    /// Which of these heads, one after the other on a connection, are refused, whatever pieces they come in.
    fn refused(heads: &[&[u8]]) -> Vec<bool> {
        let read = |size: usize| {
            let mut table = Table::new();
            let mut is_refused = |head: &&[u8]| {
                let mut read = Block::new(false);
                head.chunks(size).for_each(|piece| read.read(piece, &mut table));
                read.is_malformed()
            };
            heads.iter().map(&mut is_refused).collect::<Vec<_>>()
        };
        assert_eq!((read(1), read(2)), (read(1000), read(3)), "{heads:?}");
        read(1)
    }

    fn is_refused(head: &[u8]) -> bool {
        refused(&[head]) == [true]
    }

    /// `/a#b` and `/?q=!!>%23` in Huffman's code, the latter without a fragment.
    const FRAGMENT: &[u8] = &[0x60, 0x7f, 0xf5, 0x1f];
    const ESCAPED: &[u8] = &[0x60, 0xd5, 0x48, 0x5f, 0x3f, 0xe7, 0x68, 0x3f, 0x8f, 0xe3, 0xfe, 0xd5, 0x13, 0x3f];

    fn huffman(first: u8, value: &[u8]) -> Vec<u8> {
        [&[first, 0x80 | value.len() as u8], value].concat()
    }

    #[test]
    fn a_fragment_in_a_path_is_found_however_it_is_written() {
        for first in [0x04, 0x05, 0x14, 0x44, 0x45] {
            assert!(is_refused(&[first, 4, b'/', b'a', b'#', b'b']), "{first}");
            assert!(is_refused(&huffman(first, FRAGMENT)), "{first}");
            assert!(!is_refused(&[first, 4, b'/', b'a', b'/', b'b']), "{first}");
            assert!(!is_refused(&huffman(first, ESCAPED)), "{first}");
        }
        assert!(is_refused(&literal(0x00, b":path", b"/#")));
        assert!(is_refused(&[&[0x00, 0x84, 0xb9, 0x58, 0xd3, 0x3f][..], b"\x02/#"].concat()));
        // `:method: GET`, an authority of 200 octets, a path as long.
        let long = |first: u8, last: u8| [&[first, 0x7f, 73][..], &[b'/'; 199], &[last]].concat();
        assert!(is_refused(&[&[0x82][..], &long(0x41, b'a'), &long(0x04, b'#')].concat()));
        assert!(!is_refused(&[&[0x82][..], &long(0x41, b'#'), &long(0x04, b'/')].concat()));
    }

    #[test]
    fn heads_as_clients_send_them_pass() {
        assert!(!is_refused(b""));
        assert!(!is_refused(&[0x82, 0x84, 0x86, 0x41, 1, b'a']));
        assert!(!is_refused(&[0x3f, 0xe1, 0x1f, 0x82, 0x84, 0x87, 0xbe]));
        // Only paths have no `#`, and behind the first other field is nothing to be looked at.
        assert!(!is_refused(&[&[0x82, 0x84, 0x87][..], &literal(0x40, b"x-a", b"#"), &[0x04, 1, b'#']].concat()));
        assert!(!is_refused(&[0x82, 0x84, 0x87, 0x73, 2, b'/', b'#']), "referer");
        assert!(!is_refused(&literal(0x00, b":protocol", b"a#b")));
    }

    #[test]
    fn schemes_are_http_or_https() {
        let huffman_of = |code: &[u8]| is_refused(&huffman(0x06, code));
        for scheme in [&b"http"[..], b"https", b"HTTPS"] {
            assert!(!is_refused(&[&[0x06, scheme.len() as u8], scheme].concat()));
        }
        for scheme in [&b"ftp"[..], b"httpss", b"htt", b"", b"a-long-scheme", b"x"] {
            assert!(is_refused(&[&[0x46, scheme.len() as u8], scheme].concat()));
            assert!(is_refused(&literal(0x00, b":scheme", scheme)));
        }
        assert!(!huffman_of(&[0x9d, 0x29, 0xaf]) && !huffman_of(&[0x9d, 0x29, 0xad, 0x1f]), "http, https");
        assert!(!huffman_of(&[0xc7, 0xbf, 0x7e, 0xbf]), "HTTP");
        assert!(huffman_of(&[0x95, 0x35, 0xff]) && huffman_of(&[0x9f, 0xcf, 0x9a, 0xff]), "ftp, hxxp");
        assert!(is_refused(&[0x00, 0x85, 0xb8, 0x82, 0x4e, 0x5a, 0x4b, 1, b'x']));
    }

    #[test]
    fn what_was_refused_is_refused_by_its_place_in_the_table_too() {
        let path = &huffman(0x44, FRAGMENT)[..];
        let other = &[0x82, 0x84, 0x40, 1, b'a', 1, b'b', 0x40, 1, b'c', 0][..];
        // The first place is 62. Two more are added behind it, within another head and behind its pseudo-header fields.
        let heads = [&[0xbe][..], path, &[0xbe], &[0xbf], other, &[0xbe], &[0xbf], &[0xc0]];
        assert_eq!(refused(&heads), [false, true, true, false, false, false, false, true]);
        // Not added: nothing to remember.
        assert_eq!(refused(&[&huffman(0x04, FRAGMENT), &[0xbe]]), [true, false]);
        // Once it cannot be in the table any more nothing is remembered of it.
        let mut table = Table::new();
        table.add(true);
        (0..MAX_FIELDS).for_each(|_| table.add(false));
        assert!(table.is_idle());
    }

    #[test]
    fn what_trailers_added_is_refused_in_a_head() {
        let mut table = Table::new();
        Block::new(true).read(&huffman(0x44, FRAGMENT), &mut table);
        let mut head = Block::new(false);
        head.read(&[0x82, 0xbe], &mut table);
        assert!(head.is_malformed());
    }
}
