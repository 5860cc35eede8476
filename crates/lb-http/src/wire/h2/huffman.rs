//! The Huffman code of RFC 7541, Appendix B: where symbols end, and a few of them.
//!
//! Only a few characters are ever looked for, so nothing is decoded into a buffer. The code is canonical: the codes of one length
//! follow each other, behind all shorter ones, so that comparing the first bits gives a symbol's length.

/// Below which first 32 bits a symbol has which length; beyond the last, 30.
const LENGTHS: [(u32, u8); 20] = [
    (0x5000_0000, 5),
    (0xb800_0000, 6),
    (0xf800_0000, 7),
    (0xfe00_0000, 8),
    (0xff40_0000, 10),
    (0xffa0_0000, 11),
    (0xffc0_0000, 12),
    (0xfff0_0000, 13),
    (0xfff8_0000, 14),
    (0xfffe_0000, 15),
    (0xfffe_6000, 19),
    (0xfffe_e000, 20),
    (0xffff_4800, 21),
    (0xffff_b000, 22),
    (0xffff_ea00, 23),
    (0xffff_f600, 24),
    (0xffff_f800, 25),
    (0xffff_fbc0, 26),
    (0xffff_fe20, 27),
    (0xffff_fff0, 28),
];
const LONGEST: u8 = 30;

/// A text that is being read, in pieces as they come.
#[derive(Debug, Default)]
pub(super) struct Huffman {
    /// Bits not read yet, from the left.
    bits: u64,
    have: u8,
}

impl Huffman {
    /// Reads on, and hands over the length and the code of every symbol that is whole. The padding at the end is none.
    pub(super) fn read(&mut self, bytes: &[u8], mut on_symbol: impl FnMut(u8, u32)) {
        let Self { mut bits, mut have } = *self;
        for &byte in bytes {
            // At most 29 bits are left over, so there is room.
            bits |= u64::from(byte) << (56 - have);
            have += 8;
            loop {
                // Bits to come count as zero: a symbol that seems to end within those that came does.
                let window = (bits >> 32) as u32;
                let length = LENGTHS.iter().find(|&&(below, _)| window < below).map_or(LONGEST, |&(_, length)| length);
                if length > have {
                    break;
                }
                on_symbol(length, window >> (32 - length));
                bits <<= length;
                have -= length;
            }
        }
        *self = Self { bits, have };
    }
}

/// The length and the code of `#`.
pub(super) const HASH: (u8, u32) = (12, 0xffa);

/// The letter, if it is one of `http` and `https`.
pub(super) const fn scheme_letter(length: u8, code: u32) -> Option<u8> {
    Some(match (length, code) {
        (6, 0x27) => b'h',
        (5, 0x09) => b't',
        (6, 0x2b) => b'p',
        (5, 0x08) => b's',
        (7, 0x63) => b'H',
        (7, 0x6f) => b'T',
        (7, 0x6b) => b'P',
        (7, 0x6e) => b'S',
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The lengths of the symbols, whatever pieces the text comes in.
    fn lengths(text: &[u8]) -> Vec<u8> {
        let read = |size: usize| {
            let (mut huffman, mut lengths) = (Huffman::default(), Vec::new());
            text.chunks(size).for_each(|piece| huffman.read(piece, |length, _| lengths.push(length)));
            lengths
        };
        assert_eq!(read(1), read(text.len().max(1)));
        read(1)
    }

    #[test]
    fn symbols_end_where_the_rfc_has_them_end() {
        // `www.example.com` and `custom-key` of RFC 7541, C.4.
        let www = [0xf1, 0xe3, 0xc2, 0xe5, 0xf2, 0x3a, 0x6b, 0xa0, 0xab, 0x90, 0xf4, 0xff];
        assert_eq!(lengths(&www), [7, 7, 7, 6, 5, 7, 5, 6, 6, 6, 5, 6, 5, 5, 6]);
        let custom = [0x25, 0xa8, 0x49, 0xe9, 0x5b, 0xa9, 0x7d, 0x7f];
        assert_eq!(lengths(&custom), [5, 6, 5, 5, 5, 6, 6, 7, 5, 7]);
        // NUL (1ff8), a backslash (7fff0), 0xff (3ffffee), LF (3ffffffc), `a` (3), and three bits of padding.
        let bits = "1111111111000".to_owned()
            + "1111111111111110000"
            + "11111111111111111111101110"
            + "111111111111111111111111111100"
            + "00011111";
        let octet = |bits: &[u8]| u8::from_str_radix(std::str::from_utf8(bits).unwrap(), 2).unwrap();
        assert_eq!(lengths(&bits.as_bytes().chunks(8).map(octet).collect::<Vec<_>>()), [13, 19, 26, 30, 5]);
    }

    #[test]
    fn the_lengths_leave_no_code_unused() {
        // As many symbols of each length as the appendix has, 257 with the end of the text.
        let mut from = 0_u64;
        let mut counts = Vec::new();
        for (below, length) in LENGTHS.iter().map(|&(below, length)| (u64::from(below), length)).chain([(1 << 32, 30)])
        {
            counts.push((below - from) >> (32 - length));
            from = below;
        }
        assert_eq!(counts, [10, 26, 32, 6, 5, 3, 2, 6, 2, 3, 3, 8, 13, 26, 29, 12, 4, 15, 19, 29, 4]);
        assert_eq!(counts.iter().sum::<u64>(), 257);
    }
}
