//! Any bytes as a chunked body, of a request and of a response. A body that ends, written again, reads back as the same
//! data and trailers; no byte that follows it is touched; and what passes in a request reads alike in a response.
#![no_main]

use bytes::BytesMut;
use lb_fuzz::{body, response_body};
use lb_http::message::Framing;
use lb_http::wire::h1::{encode_chunk, encode_last_chunk};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| {
    let strict = body(&[input], Framing::Chunked);
    let read = response_body(&[input], Framing::Chunked);
    assert!(strict.end.is_err() || strict == read);
    assert!(read.data.len() <= input.len());
    let Ok(Some(left)) = read.end else { return };
    assert!(input.ends_with(&left));
    assert_eq!(response_body(&[&input[..input.len() - left.len()]], Framing::Chunked).end, Ok(Some(Vec::new())));

    let mut wire = BytesMut::new();
    for piece in read.data.chunks(17) {
        encode_chunk(&mut wire, piece);
    }
    encode_last_chunk(&mut wire, None);
    let again = body(&[&wire], Framing::Chunked);
    assert_eq!((again.data, again.end), (read.data, Ok(Some(Vec::new()))));
});
