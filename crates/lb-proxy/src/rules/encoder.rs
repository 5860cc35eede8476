//! Encoders that are fed piece by piece, and give what they have when they are flushed.
//!
//! | coding | level: fastest, default, best | window | memory, about |
//! |---|---|---|---|
//! | gzip | 1, 6, 9 | 32 KiB | 300 KiB |
//! | br | 2, 4, 8 | 256 KiB | 2.5 MiB, at `best` 5 MiB |
//! | zstd | 1, 3, 9 | 256 KiB | 1.5 MiB, at `best` 2 MiB |
//!
//! Windows are smaller than the libraries' own, since a proxy has many streams at once, and far below the 8 MiB that every decoder of
//! zstd on the web must have room for (RFC 9659).

use std::io::{self, Write};

use bytes::Bytes;
use flate2::write::GzEncoder;
use lb_config::{CompressionLevel, Encoding};
use zstd::zstd_safe::CParameter;

/// The window of br and zstd, as a power of two.
const WINDOW_LOG: u32 = 18;
/// What brotli collects before it writes.
const BROTLI_BUFFER: usize = 4096;

/// An encoder in the midst of a stream.
pub struct Encoder {
    kind: Kind,
    /// Something was written since the last flush.
    has_input: bool,
}

enum Kind {
    Gzip(GzEncoder<Vec<u8>>),
    Brotli(Box<brotli::CompressorWriter<Vec<u8>>>),
    Zstd(zstd::stream::write::Encoder<'static, Vec<u8>>),
    /// It has ended: what is left of it.
    Ended(Vec<u8>),
}

impl Encoder {
    /// Begins a stream.
    ///
    /// # Errors
    /// There is no memory for it.
    pub fn new(encoding: Encoding, level: CompressionLevel) -> io::Result<Self> {
        let [gzip, br, zstd] = match level {
            // Below 2, br forgets what it saw at every flush.
            CompressionLevel::Fastest => [1, 2, 1],
            CompressionLevel::Default => [6, 4, 3],
            CompressionLevel::Best => [9, 8, 9],
        };
        let kind = match encoding {
            Encoding::Gzip => Kind::Gzip(GzEncoder::new(Vec::new(), flate2::Compression::new(gzip))),
            Encoding::Brotli => {
                Kind::Brotli(Box::new(brotli::CompressorWriter::new(Vec::new(), BROTLI_BUFFER, br, WINDOW_LOG)))
            }
            Encoding::Zstd => {
                let mut encoder = zstd::stream::write::Encoder::new(Vec::new(), zstd as i32)?;
                encoder.set_parameter(CParameter::WindowLog(WINDOW_LOG))?;
                Kind::Zstd(encoder)
            }
        };
        Ok(Self { kind, has_input: false })
    }

    /// About the memory that an encoder takes, in octets; no less than it does.
    #[must_use]
    pub const fn memory(encoding: Encoding, level: CompressionLevel) -> usize {
        match (encoding, level) {
            (Encoding::Gzip, _) => 300 << 10,
            (Encoding::Brotli, CompressionLevel::Best) => 5 << 20,
            (Encoding::Brotli, _) => 2560 << 10,
            (Encoding::Zstd, CompressionLevel::Best) => 2 << 20,
            (Encoding::Zstd, _) => 1536 << 10,
        }
    }

    /// Takes a piece.
    ///
    /// # Errors
    /// The library has none to tell of for a stream in memory; one all the same ends the stream.
    pub fn write(&mut self, piece: &[u8]) -> io::Result<()> {
        self.has_input |= !piece.is_empty();
        match &mut self.kind {
            Kind::Gzip(encoder) => encoder.write_all(piece),
            Kind::Brotli(encoder) => encoder.write_all(piece),
            Kind::Zstd(encoder) => encoder.write_all(piece),
            Kind::Ended(_) => Err(io::ErrorKind::BrokenPipe.into()),
        }
    }

    /// Has everything written so far come out. Nothing if nothing was written since the last time.
    ///
    /// # Errors
    /// As [`write`](Self::write).
    pub fn flush(&mut self) -> io::Result<()> {
        if !std::mem::take(&mut self.has_input) {
            return Ok(());
        }
        match &mut self.kind {
            Kind::Gzip(encoder) => encoder.flush(),
            Kind::Brotli(encoder) => encoder.flush(),
            Kind::Zstd(encoder) => encoder.flush(),
            Kind::Ended(_) => Ok(()),
        }
    }

    /// Ends the stream. Its memory is free then, but for what is left to [`take`](Self::take).
    ///
    /// # Errors
    /// As [`write`](Self::write).
    pub fn finish(&mut self) -> io::Result<()> {
        self.has_input = false;
        let rest = match std::mem::replace(&mut self.kind, Kind::Ended(Vec::new())) {
            Kind::Gzip(encoder) => encoder.finish()?,
            Kind::Brotli(encoder) => encoder.into_inner(),
            Kind::Zstd(encoder) => encoder.finish()?,
            Kind::Ended(rest) => rest,
        };
        self.kind = Kind::Ended(rest);
        Ok(())
    }

    /// How much waits to be taken, in octets.
    #[must_use]
    pub fn len(&self) -> usize {
        match &self.kind {
            Kind::Gzip(encoder) => encoder.get_ref().len(),
            Kind::Brotli(encoder) => encoder.get_ref().len(),
            Kind::Zstd(encoder) => encoder.get_ref().len(),
            Kind::Ended(rest) => rest.len(),
        }
    }

    /// Whether nothing waits to be taken.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Takes what has come out so far.
    pub fn take(&mut self) -> Bytes {
        let out = match &mut self.kind {
            Kind::Gzip(encoder) => encoder.get_mut(),
            Kind::Brotli(encoder) => encoder.get_mut(),
            Kind::Zstd(encoder) => encoder.get_mut(),
            Kind::Ended(rest) => rest,
        };
        Bytes::from(std::mem::take(out))
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use proptest::prelude::*;

    use super::*;

    const ALL: [Encoding; 3] = [Encoding::Zstd, Encoding::Brotli, Encoding::Gzip];

    fn decoded(encoding: Encoding, bytes: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        match encoding {
            Encoding::Gzip => flate2::read::GzDecoder::new(bytes).read_to_end(&mut out).unwrap(),
            Encoding::Brotli => brotli::Decompressor::new(bytes, 4096).read_to_end(&mut out).unwrap(),
            Encoding::Zstd => zstd::stream::read::Decoder::new(bytes).unwrap().read_to_end(&mut out).unwrap(),
        };
        out
    }

    /// What can be decoded of a stream that is not at its end.
    fn decoded_so_far(encoding: Encoding, bytes: &[u8]) -> Vec<u8> {
        let mut reader: Box<dyn Read> = match encoding {
            Encoding::Gzip => Box::new(flate2::read::GzDecoder::new(bytes)),
            Encoding::Brotli => Box::new(brotli::Decompressor::new(bytes, 4096)),
            Encoding::Zstd => Box::new(zstd::stream::read::Decoder::new(bytes).unwrap()),
        };
        let (mut out, mut buffer) = (Vec::new(), [0; 512]);
        while let Ok(read @ 1..) = reader.read(&mut buffer) {
            out.extend_from_slice(&buffer[..read]);
        }
        out
    }

    #[test]
    fn what_was_flushed_can_be_read_and_a_second_flush_adds_nothing() {
        for encoding in ALL {
            for level in [CompressionLevel::Fastest, CompressionLevel::Default, CompressionLevel::Best] {
                let mut encoder = Encoder::new(encoding, level).unwrap();
                let (mut wire, mut sent) = (Vec::new(), Vec::new());
                for at in 0..50 {
                    let event = format!(
                        "data: {{\"number\":{at},\"kind\":\"message\",\"text\":\"an event of some length\"}}\n\n"
                    );
                    encoder.write(event.as_bytes()).unwrap();
                    sent.extend_from_slice(event.as_bytes());
                    encoder.flush().unwrap();
                    wire.extend_from_slice(&encoder.take());
                    assert_eq!(decoded_so_far(encoding, &wire), sent, "{encoding:?} {level:?}");
                    encoder.flush().unwrap();
                    assert!(encoder.is_empty(), "{encoding:?}");
                }
                encoder.finish().unwrap();
                wire.extend_from_slice(&encoder.take());
                assert_eq!(decoded(encoding, &wire), sent, "{encoding:?} {level:?}");
                assert!(
                    wire.len() < sent.len(),
                    "{encoding:?}: small pieces still compress: {} of {}",
                    wire.len(),
                    sent.len()
                );
            }
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(24))]
        #[test]
        fn any_split_is_the_same_after_decoding(
            pieces in prop::collection::vec((prop::collection::vec(prop_oneof![Just(b'a'), any::<u8>()], 0..3000), any::<bool>()), 0..20),
            which in 0..3usize,
            level in prop_oneof![Just(CompressionLevel::Fastest), Just(CompressionLevel::Default), Just(CompressionLevel::Best)],
        ) {
            let mut encoder = Encoder::new(ALL[which], level).unwrap();
            let (mut wire, mut sent) = (Vec::new(), Vec::new());
            for (piece, flush) in &pieces {
                encoder.write(piece).unwrap();
                sent.extend_from_slice(piece);
                if *flush {
                    encoder.flush().unwrap();
                    wire.extend_from_slice(&encoder.take());
                }
            }
            encoder.finish().unwrap();
            wire.extend_from_slice(&encoder.take());
            prop_assert_eq!(decoded(ALL[which], &wire), sent);
        }
    }
}
