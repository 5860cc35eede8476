//! Writing a body in the framing its receiver was promised.

use super::{Frame, WriteBuffer};
use crate::wire::h1;

/// Frames one body.
pub(crate) struct BodyWriter {
    chunked: bool,
    ended: bool,
}

impl BodyWriter {
    pub(crate) fn new(chunked: bool) -> Self {
        Self { chunked, ended: false }
    }

    /// Queues a part. Trailers go only where there are chunks to follow.
    pub(crate) fn push(&mut self, out: &mut WriteBuffer, frame: Frame) {
        match frame {
            Frame::Data(piece) if piece.is_empty() => {}
            Frame::Data(piece) if self.chunked => {
                if let Some(size) = h1::ChunkPrefix::new(piece.len()) {
                    out.front().extend_from_slice(size.as_bytes());
                    out.push(piece, h1::CHUNK_SUFFIX);
                }
            }
            Frame::Data(piece) => out.push(piece, b""),
            Frame::Trailers(trailers) if self.chunked => {
                h1::encode_last_chunk(out.front(), Some(&trailers));
                self.ended = true;
            }
            Frame::Trailers(_) => {}
        }
    }

    /// Queues the end.
    pub(crate) fn end(&mut self, out: &mut WriteBuffer) {
        if self.chunked && !self.ended {
            h1::encode_last_chunk(out.front(), None);
        }
        self.ended = true;
    }
}
