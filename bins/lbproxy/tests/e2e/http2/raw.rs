//! A client that speaks HTTP/2 frame by frame, and says what no library would.

use std::io;
use std::net::{SocketAddr, TcpStream};

use crate::support::Wire;

pub(crate) const DATA: u8 = 0;
pub(crate) const HEADERS: u8 = 1;
pub(crate) const PRIORITY: u8 = 2;
pub(crate) const RST_STREAM: u8 = 3;
pub(crate) const SETTINGS: u8 = 4;
pub(crate) const PING: u8 = 6;
pub(crate) const GO_AWAY: u8 = 7;
pub(crate) const WINDOW_UPDATE: u8 = 8;
pub(crate) const CONTINUATION: u8 = 9;

pub(crate) const END_STREAM: u8 = 1;
pub(crate) const END_HEADERS: u8 = 4;
const ACK: u8 = 1;

/// A frame as it came.
#[derive(Clone, Debug)]
pub(crate) struct Frame {
    pub(crate) kind: u8,
    #[allow(dead_code, reason = "not every test target asks for them")]
    pub(crate) flags: u8,
    pub(crate) stream: u32,
    pub(crate) payload: Vec<u8>,
}

impl Frame {
    /// The error code of an RST_STREAM or GOAWAY.
    pub(crate) fn reason(&self) -> u32 {
        let at = if self.kind == GO_AWAY { 4 } else { 0 };
        u32::from_be_bytes(self.payload[at..at + 4].try_into().unwrap())
    }
}

pub(crate) struct Raw {
    pub(crate) wire: Wire,
}

impl Raw {
    /// A connection whose settings were exchanged.
    pub(crate) fn connect(at: SocketAddr) -> Self {
        Self::with_settings(at, &[])
    }

    pub(crate) fn with_settings(at: SocketAddr, settings: &[(u16, u32)]) -> Self {
        Self::begun(Wire::new(TcpStream::connect(at).unwrap()), settings)
    }

    /// Over a connection that is to speak HTTP/2.
    pub(crate) fn over(wire: Wire) -> Self {
        Self::begun(wire, &[])
    }

    fn begun(wire: Wire, settings: &[(u16, u32)]) -> Self {
        let mut raw = Self { wire };
        raw.wire.write(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").unwrap();
        let payload: Vec<u8> =
            settings.iter().flat_map(|(id, value)| [&id.to_be_bytes()[..], &value.to_be_bytes()].concat()).collect();
        raw.send(SETTINGS, 0, 0, &payload);
        raw.send(SETTINGS, ACK, 0, &[]);
        raw
    }

    pub(crate) fn send(&mut self, kind: u8, flags: u8, stream: u32, payload: &[u8]) {
        self.try_send(kind, flags, stream, payload).unwrap();
    }

    pub(crate) fn try_send(&mut self, kind: u8, flags: u8, stream: u32, payload: &[u8]) -> io::Result<()> {
        self.wire.write(frame(kind, flags, stream, payload))
    }

    /// A request without a body, for a path of the host `a`.
    pub(crate) fn get(&mut self, stream: u32, path: &str) {
        self.send(HEADERS, END_STREAM | END_HEADERS, stream, &block(&get_fields(path)));
    }

    /// The next frame; `None` where the connection ends.
    pub(crate) fn frame(&mut self) -> Option<Frame> {
        let head = self.wire.read_exactly(9).ok()?;
        let length = u32::from_be_bytes([0, head[0], head[1], head[2]]);
        let stream = u32::from_be_bytes([head[5], head[6], head[7], head[8]]) & 0x7fff_ffff;
        let payload = self.wire.read_exactly(length as usize).ok()?;
        Some(Frame { kind: head[3], flags: head[4], stream, payload })
    }

    /// Reads on until a frame of this kind.
    #[track_caller]
    pub(crate) fn until(&mut self, kind: u8) -> Frame {
        let mut seen = Vec::new();
        while let Some(frame) = self.frame() {
            if frame.kind == kind {
                return frame;
            }
            seen.push(frame);
        }
        panic!("no frame of kind {kind}: {seen:?}");
    }

    /// Reads to the end of the connection; the frames that came.
    pub(crate) fn rest(&mut self) -> Vec<Frame> {
        std::iter::from_fn(|| self.frame()).collect()
    }
}

pub(crate) fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = (payload.len() as u32).to_be_bytes();
    [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

pub(crate) fn get_fields(path: &str) -> [(&str, &str); 4] {
    [(":method", "GET"), (":scheme", "http"), (":authority", "a"), (":path", path)]
}

/// A header block of literals that are not indexed (RFC 7541 §6.2.2), without Huffman.
pub(crate) fn block(fields: &[(&str, &str)]) -> Vec<u8> {
    let mut block = Vec::new();
    for (name, value) in fields {
        block.push(0);
        for text in [name, value] {
            length(&mut block, text.len());
            block.extend_from_slice(text.as_bytes());
        }
    }
    block
}

fn length(block: &mut Vec<u8>, mut n: usize) {
    if n < 127 {
        block.push(n as u8);
        return;
    }
    block.push(127);
    n -= 127;
    while n >= 128 {
        block.push((n % 128 + 128) as u8);
        n /= 128;
    }
    block.push(n as u8);
}
