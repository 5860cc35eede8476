//! Messages that have been read in two ways, as data: what an attacker sends, what we say, and why it matters.
//!
//! The tests run every case whole, byte by byte and split at random; the fuzz targets start from the same bytes
//! (`fuzz/corpus/TARGET/NAME`).
#![allow(dead_code, unused_imports, reason = "each test binary uses a part")]

mod chunked;
mod requests;
mod responses;

pub(crate) use chunked::{CHUNKED, CHUNKED_RESPONSES};
pub(crate) use requests::REQUESTS;
pub(crate) use responses::RESPONSES;

use lb_http::message::Framing;

/// One message and its verdict.
#[derive(Clone, Debug)]
pub(crate) struct Case {
    /// Also the name of its file among the fuzz seeds.
    pub(crate) name: &'static str,
    pub(crate) story: &'static str,
    pub(crate) bytes: &'static [u8],
    pub(crate) verdict: Verdict,
}

/// What becomes of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// A head with this framing, and nothing left over.
    Head(Framing),
    /// A head with this framing, and this many bytes left for whatever comes next.
    HeadThen(Framing, usize),
    /// A body with this data, and this many bytes left.
    Body(&'static str, usize),
    /// More bytes are awaited.
    Waits,
    /// Refused with this status (requests) for this cause.
    Refused(u16, &'static str),
}

pub(crate) const fn case(name: &'static str, story: &'static str, bytes: &'static [u8], verdict: Verdict) -> Case {
    Case { name, story, bytes, verdict }
}
