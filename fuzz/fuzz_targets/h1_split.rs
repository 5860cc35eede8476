//! How the input is split into reads changes nothing: not the heads, not the data, not the error.
//!
//! The first byte chooses the codec and its limits, the next six how the rest is split.
#![no_main]

use lb_fuzz::{body, cut, requests, response_body, responses, seen_request, seen_response};
use lb_http::message::Framing;
use lb_http::wire::h1::{Answering, HeadLimits};
use libfuzzer_sys::fuzz_target;

const TIGHT: HeadLimits = HeadLimits { bytes: 100, headers: 3, uri: 16 };

fuzz_target!(|input: &[u8]| {
    let Some((choice, rest)) = input.split_first() else { return };
    let Some((pieces, bytes)) = cut(rest) else { return };
    let limits = if choice & 8 == 0 { HeadLimits::default() } else { TIGHT };
    match choice & 7 {
        0 | 1 => {
            let (whole, split) = (requests(&[bytes], &limits), requests(&pieces, &limits));
            assert!(whole.0.iter().map(seen_request).eq(split.0.iter().map(seen_request)));
            assert_eq!(whole.1, split.1);
        }
        kind @ 2..=4 => {
            let answering = [Answering::Other, Answering::Head, Answering::Upgrade][usize::from(kind) - 2];
            let (whole, split) = (responses(&[bytes], answering, &limits), responses(&pieces, answering, &limits));
            assert!(whole.0.iter().map(seen_response).eq(split.0.iter().map(seen_response)));
            assert_eq!(whole.1, split.1);
        }
        5 => assert_eq!(body(&[bytes], Framing::Length(9)), body(&pieces, Framing::Length(9))),
        6 => assert_eq!(body(&[bytes], Framing::Chunked), body(&pieces, Framing::Chunked)),
        _ => assert_eq!(response_body(&[bytes], Framing::Chunked), response_body(&pieces, Framing::Chunked)),
    }
});
