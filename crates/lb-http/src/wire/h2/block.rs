//! What a field block holds that the protocol library does not pass on.
//!
//! The library drops pseudo-header fields in trailers, where there may be none (RFC 9113 §8.1); it cuts a fragment off a
//! `:path`; it drops a `:scheme` without an `:authority`. Each would let a malformed request pass. A block shows where
//! each field begins and ends and where its name comes from without being decoded (RFC 7541 §6): lengths are plain, a name
//! that begins with a colon has it in its first octet, and of a Huffman coded value only the ends of its symbols matter.
//!
//! Every block is read whole, since any of its fields may go into the dynamic table and come back from there: see
//! [`Table`].

use super::huffman::{HASH, Huffman, scheme_letter};
use super::table::{Entry, Name, Table};

/// A field block that is being read, in pieces as they come.
#[derive(Debug)]
pub(super) struct Block {
    at: At,
    is_trailers: bool,
    has_regular: bool,
    is_malformed: bool,
    /// The current field's name, and whether the field goes into the dynamic table.
    name: Name,
    is_added: bool,
    /// Of the name or a scheme, as far as it is written out.
    text: Short,
    huffman: Huffman,
    has_fragment: bool,
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
        let room = self.text.get_mut(self.length..).unwrap_or_default();
        room.iter_mut().zip(bytes).for_each(|(place, byte)| *place = *byte);
        self.length = self.length.saturating_add(bytes.len());
    }

    /// Empty for one that is too long.
    fn get(&self) -> &[u8] {
        self.text.get(..self.length).unwrap_or_default()
    }

    /// The name that this is. A colon is 1011100 in Huffman's code, and the eighth bit is the next symbol's.
    fn as_name(&self, is_huffman: bool) -> Name {
        match (is_huffman, self.get()) {
            (false, b":path") | (true, [0xb9, 0x58, 0xd3, 0x3f]) => Name::Path,
            (false, b":scheme") | (true, [0xb8, 0x82, 0x4e, 0x5a, 0x4b]) => Name::Scheme,
            (false, _) if self.text[0] == b':' => Name::Pseudo,
            (true, _) if self.text[0] >> 1 == 0b101_1100 => Name::Pseudo,
            _ => Name::Regular,
        }
    }
}

/// What comes next.
#[derive(Clone, Copy, Debug)]
enum At {
    /// A field's first octet.
    Field,
    /// More octets of an index, of which `shift` bits are known.
    Index { kind: Kind, index: usize, shift: u8 },
    /// The length of a name or a value.
    Length(Text),
    /// More octets of a length.
    LengthMore { text: Text, is_huffman: bool, length: usize, shift: u8 },
    /// The rest of a name or a value.
    Text { text: Text, is_huffman: bool, left: usize },
    /// No block that can be read. The library closes the connection over it.
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
            has_regular: false,
            is_malformed: false,
            name: Name::Regular,
            is_added: false,
            text: Short::default(),
            huffman: Huffman::default(),
            has_fragment: false,
        }
    }

    /// Whether it makes its request malformed: trailers by any pseudo-header field, a head by one behind regular fields
    /// or by its value.
    pub(super) const fn is_malformed(&self) -> bool {
        self.is_malformed
    }

    pub(super) const fn is_trailers(&self) -> bool {
        self.is_trailers
    }

    /// Reads on.
    pub(super) fn read(&mut self, mut bytes: &[u8], table: &mut Table) {
        while let Some((&byte, rest)) = bytes.split_first() {
            if let At::Text { text, is_huffman, left } = self.at {
                let (piece, rest) = bytes.split_at_checked(left).unwrap_or((bytes, &[]));
                self.on_text(text, is_huffman, piece);
                self.at = match left - piece.len() {
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
                let max = (1 << bits) - 1;
                let index = usize::from(byte & max);
                if index == usize::from(max) {
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
                let (is_huffman, length) = (byte & 0x80 != 0, usize::from(byte & 0x7f));
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

    fn on_field(&mut self, kind: Kind, index: usize, table: &Table) -> At {
        match kind {
            Kind::TableSize => At::Field,
            Kind::Indexed => {
                let Entry { name, is_refused } = table.get(index);
                self.on_name(name);
                self.is_malformed |= is_refused;
                At::Field
            }
            Kind::Literal { is_added } => {
                self.is_added = is_added;
                if index == 0 {
                    self.text = Short::default();
                    return At::Length(Text::Name);
                }
                self.on_name(table.get(index).name);
                At::Length(Text::Value)
            }
        }
    }

    fn on_name(&mut self, name: Name) {
        self.name = name;
        if name == Name::Regular {
            self.has_regular = true;
        } else {
            self.is_malformed |= self.is_trailers || self.has_regular;
        }
    }

    fn on_length(&mut self, text: Text, is_huffman: bool, length: usize, table: &mut Table) -> At {
        if text == Text::Value && self.name != Name::Regular {
            (self.text, self.huffman, self.has_fragment) = Default::default();
        }
        match length {
            0 => self.on_text_end(text, is_huffman, table),
            left => At::Text { text, is_huffman, left },
        }
    }

    fn on_text(&mut self, text: Text, is_huffman: bool, piece: &[u8]) {
        match (text, self.name) {
            (Text::Name, _) => self.text.push(piece),
            (Text::Value, Name::Path) if is_huffman => {
                let mut has_fragment = false;
                self.huffman.read(piece, |length, code| has_fragment |= (length, code) == HASH);
                self.has_fragment |= has_fragment;
            }
            (Text::Value, Name::Path) => self.has_fragment |= memchr::memchr(b'#', piece).is_some(),
            (Text::Value, Name::Scheme) if is_huffman => {
                self.huffman
                    .read(piece, |length, code| self.text.push(&[scheme_letter(length, code).unwrap_or_default()]));
            }
            (Text::Value, Name::Scheme) => self.text.push(piece),
            (Text::Value, Name::Regular | Name::Pseudo) => {}
        }
    }

    fn on_text_end(&mut self, text: Text, is_huffman: bool, table: &mut Table) -> At {
        if text == Text::Name {
            self.on_name(self.text.as_name(is_huffman));
            return At::Length(Text::Value);
        }
        let is_refused = match self.name {
            Name::Path => self.has_fragment,
            Name::Scheme => !is_web(self.text.get()),
            Name::Regular | Name::Pseudo => false,
        };
        self.is_malformed |= is_refused;
        if self.is_added {
            table.add(Entry { name: self.name, is_refused });
        }
        At::Field
    }
}

/// A number with seven more bits; `None` beyond what any index or length can be.
fn more(number: usize, shift: u8, byte: u8) -> Option<usize> {
    (shift <= 21).then(|| number + (usize::from(byte & 0x7f) << shift))
}

/// Whether a scheme is `http` or `https`.
fn is_web(scheme: &[u8]) -> bool {
    scheme.eq_ignore_ascii_case(b"http") || scheme.eq_ignore_ascii_case(b"https")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Whether a pseudo-header field is found, in pieces of several sizes.
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

    /// Which of these heads, one after the other on a connection, are refused, in pieces of several sizes.
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
        // Only paths have no `#`.
        assert!(!is_refused(&[&[0x82, 0x84, 0x87][..], &literal(0x40, b"x-a", b"#")].concat()));
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
    fn pseudo_header_fields_stand_before_others() {
        let regular = literal(0x40, b"x-a", b"b");
        for path in [&[0x84][..], &[0x04, 1, b'/'], &literal(0x00, b":path", b"/"), &literal(0x00, b":own", b"")] {
            assert!(is_refused(&[&[0x82][..], &regular, path].concat()), "{path:?}");
            assert!(is_refused(&[&[0x82, 0x90][..], path].concat()), "{path:?}");
            assert!(!is_refused(&[&[0x82][..], path, &regular].concat()), "{path:?}");
        }
    }

    #[test]
    fn an_entry_of_the_dynamic_table_is_refused_as_it_was_written() {
        let path = &huffman(0x44, FRAGMENT)[..];
        let other = &[0x82, 0x84, 0x40, 1, b'a', 1, b'b', 0x40, 1, b'c', 0][..];
        // The first place is 62. Two more are added behind it, within another head and behind its pseudo-header fields.
        let heads = [&[0xbe][..], path, &[0xbe], &[0xbf], other, &[0xbe], &[0xbf], &[0xc0]];
        assert_eq!(refused(&heads), [false, true, true, false, false, false, false, true]);
        // Not added: nothing to remember.
        assert_eq!(refused(&[&huffman(0x04, FRAGMENT), &[0xbe]]), [true, false]);
        // Added where it stands behind a regular field.
        assert_eq!(refused(&[&[&[0x90][..], path].concat(), &[0xbe]]), [true, true]);
    }

    #[test]
    fn a_name_out_of_the_dynamic_table_is_known() {
        let named = |first: u8, value: &[u8]| [&[first, value.len() as u8], value].concat();
        for path in [named(0x44, b"/"), literal(0x40, b":path", b"/")] {
            // Not indexed, never indexed with an index of two octets, and added.
            for first in [&[0x0f, 47][..], &[0x1f, 47], &[0x7e]] {
                let field = |value: &[u8]| [&first[..first.len() - 1], &named(first[first.len() - 1], value)].concat();
                assert_eq!(refused(&[&path, &field(b"/a")]), [false, false], "{first:?}");
                assert_eq!(refused(&[&path, &field(b"/a#b")]), [false, true], "{first:?}");
            }
            // An entry whose own name came out of the table.
            assert_eq!(refused(&[&path, &named(0x7e, b"#"), &[0xbe], &[0xbf]]), [false, true, true, false]);
            assert_eq!(refused(&[&path, &named(0x7e, b"#"), &named(0x7e, b"/"), &[0xbf]]), [false, true, false, true]);
        }
        let scheme = literal(0x40, b":scheme", b"http");
        assert_eq!(refused(&[&scheme, &named(0x7e, b"https"), &named(0x7e, b"ftp")]), [false, false, true]);
        let other = literal(0x40, b"x-a", b"b");
        assert_eq!(refused(&[&other, &named(0x7e, b"/a#b")]), [false, false]);
    }

    #[test]
    fn trailers_and_heads_share_the_table() {
        let path = huffman(0x44, FRAGMENT);
        let mut table = Table::new();
        Block::new(true).read(&path, &mut table);
        let mut head = Block::new(false);
        head.read(&[0x82, 0xbe], &mut table);
        assert!(head.is_malformed());
        for field in [&[0xbe][..], &[0x0f, 47, 1, b'/'], &[0x7e, 1, b'/']] {
            let mut table = Table::new();
            Block::new(false).read(&literal(0x40, b":protocol", b"x"), &mut table);
            let mut trailers = Block::new(true);
            trailers.read(field, &mut table);
            assert!(trailers.is_malformed(), "{field:?}");
        }
    }
}
