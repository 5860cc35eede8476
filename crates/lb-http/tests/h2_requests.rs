//! Which requests are malformed, against a dynamic table that is kept as RFC 7541 §4 says: with sizes and evictions.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::VecDeque;

use lb_http::wire::h2::Walker;
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::{Index, select};

/// A text, and how Huffman's code has it.
type Text = (&'static str, &'static [u8]);

const NAMES: [Text; 4] = [
    (":path", &[0xb9, 0x58, 0xd3, 0x3f]),
    (":scheme", &[0xb8, 0x82, 0x4e, 0x5a, 0x4b]),
    ("x-sum", &[0xf2, 0xb2, 0x2d, 0xaf]),
    (":protocol", &[]),
];
const VALUES: [Text; 5] = [
    ("/a#b", &[0x60, 0x7f, 0xf5, 0x1f]),
    ("http", &[0x9d, 0x29, 0xaf]),
    ("https", &[0x9d, 0x29, 0xad, 0x1f]),
    ("ftp", &[0x95, 0x35, 0xff]),
    ("/", &[0x63]),
];

/// One field of a block, as its encoder chooses to write it.
#[derive(Clone, Debug)]
struct Field {
    /// Indexed; a literal that is added, that is not, that never is.
    how: u8,
    name: Option<Text>,
    value: Text,
    is_huffman: bool,
    /// So many more octets of `x`, which no code makes shorter.
    padding: usize,
    /// Of the dynamic table if there is one, or of both.
    index: (bool, Index),
}

#[derive(Clone, Debug)]
struct Block {
    is_trailers: bool,
    sizes: Vec<usize>,
    fields: Vec<Field>,
    cut: Index,
}

/// The dynamic table of RFC 7541, §4.
struct Table {
    /// The newest first.
    entries: VecDeque<(String, String)>,
    max: usize,
}

impl Table {
    fn evict(&mut self, max: usize) {
        while self.entries.iter().map(|(name, value)| name.len() + value.len() + 32).sum::<usize>() > max {
            self.entries.pop_back();
        }
    }

    fn add(&mut self, name: &str, value: &str) {
        let size = name.len() + value.len() + 32;
        self.evict(self.max.saturating_sub(size));
        if size > self.max {
            self.entries.clear();
        } else {
            self.entries.push_front((name.to_owned(), value.to_owned()));
        }
    }

    fn get(&self, index: usize) -> (String, String) {
        let of = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        match index {
            4 => of(":path", "/"),
            5 => of(":path", "/index.html"),
            6 => of(":scheme", "http"),
            7 => of(":scheme", "https"),
            1..=14 => of(":other", ""),
            15..=61 => of("other", ""),
            _ => self.entries[index - 62].clone(),
        }
    }
}

fn integer(out: &mut Vec<u8>, first: u8, bits: u32, number: usize) {
    let max = (1 << bits) - 1;
    if number < max {
        out.push(first | number as u8);
        return;
    }
    out.push(first | max as u8);
    let mut rest = number - max;
    while rest >= 0x80 {
        out.push(rest as u8 | 0x80);
        rest >>= 7;
    }
    out.push(rest as u8);
}

fn text(out: &mut Vec<u8>, (plain, coded): Text, is_huffman: bool, padding: usize) -> String {
    if is_huffman && padding == 0 && !coded.is_empty() {
        integer(out, 0x80, 7, coded.len());
        out.extend_from_slice(coded);
    } else {
        integer(out, 0, 7, plain.len() + padding);
        out.extend_from_slice(plain.as_bytes());
        out.extend(std::iter::repeat_n(b'x', padding));
    }
    format!("{plain}{}", "x".repeat(padding))
}

/// Writes a block, and says whether it makes its request malformed.
fn write(block: &Block, table: &mut Table) -> (Vec<u8>, bool) {
    let mut out = Vec::new();
    for &size in &block.sizes {
        integer(&mut out, 0x20, 5, size);
        table.max = size;
        table.evict(size);
    }
    let (mut has_regular, mut is_malformed) = (false, false);
    for field in &block.fields {
        let index = match (field.index, table.entries.len()) {
            ((true, index), entries @ 1..) => 62 + index.index(entries),
            ((_, index), entries) => 1 + index.index(61 + entries),
        };
        let (name, value);
        if field.how == 0 {
            integer(&mut out, 0x80, 7, index);
            (name, value) = table.get(index);
        } else {
            let (first, bits) = [(0x40, 6), (0x00, 4), (0x10, 4)][usize::from(field.how) - 1];
            name = match field.name {
                None => {
                    integer(&mut out, first, bits, index);
                    table.get(index).0
                }
                Some(name) => {
                    out.push(first);
                    text(&mut out, name, field.is_huffman, 0)
                }
            };
            value = text(&mut out, field.value, field.is_huffman, field.padding);
            if field.how == 1 {
                table.add(&name, &value);
            }
        }
        let is_pseudo = name.starts_with(':');
        has_regular |= !is_pseudo;
        is_malformed |= match &*name {
            _ if block.is_trailers => is_pseudo,
            _ if is_pseudo && has_regular => true,
            ":path" => value.contains('#'),
            ":scheme" => value != "http" && value != "https",
            _ => false,
        };
    }
    (out, is_malformed)
}

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = (payload.len() as u32).to_be_bytes();
    [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

fn field() -> impl Strategy<Value = Field> {
    let name = prop_oneof![2 => Just(None), 1 => select(&NAMES[..]).prop_map(Some)];
    let padding = prop_oneof![8 => Just(0_usize), 1 => 0_usize..200, 1 => 1000_usize..5000];
    (0_u8..4, name, select(&VALUES[..]), any::<bool>(), padding, any::<(bool, Index)>()).prop_map(
        |(how, name, value, is_huffman, padding, index)| Field { how, name, value, is_huffman, padding, index },
    )
}

fn block() -> impl Strategy<Value = Block> {
    let sizes =
        prop_oneof![6 => Just(Vec::new()), 1 => vec(prop_oneof![Just(0_usize), 0_usize..=4096, Just(4096)], 1..3)];
    (prop::bool::weighted(0.2), sizes, vec(field(), 0..8), any::<Index>())
        .prop_map(|(is_trailers, sizes, fields, cut)| Block { is_trailers, sizes, fields, cut })
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn requests_are_malformed_whatever_their_encoder_does(blocks in vec(block(), 1..30), step in 1_usize..100) {
        let mut table = Table { entries: VecDeque::new(), max: 4096 };
        let mut walker = Walker::of_client(0);
        let mut stream = 1;
        for block in &blocks {
            let (bytes, is_malformed) = write(block, &mut table);
            let (head, rest) = bytes.split_at(block.cut.index(bytes.len() + 1));
            if block.is_trailers {
                walker.walk(&frame(1, 4, stream, &[]), |_| {});
            }
            let frames = [frame(1, 0, stream, head), frame(9, 4, stream, rest)].concat();
            frames.chunks(step).for_each(|piece| walker.walk(piece, |_| {}));
            let (of_head, of_trailers) = (walker.take_malformed_head(stream), walker.take_malformed_trailers(stream));
            let expected = (is_malformed && !block.is_trailers, is_malformed && block.is_trailers);
            prop_assert_eq!((of_head, of_trailers), expected, "{:?}", block);
            stream += 2;
        }
    }
}
