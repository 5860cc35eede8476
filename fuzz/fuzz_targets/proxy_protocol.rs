//! Any bytes as a PROXY header. More bytes never change an answer, and what is read is written and reads back as the same.
#![no_main]

use bytes::BytesMut;
use lb_http::wire::proxy_protocol::{MAX_BYTES, Version, parse, write};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| {
    let answer = parse(input);
    for cut in 0..input.len().min(300) {
        let sooner = parse(&input[..cut]);
        assert!(sooner == Ok(None) || sooner == answer, "{sooner:?} became {answer:?}");
    }
    let Ok(Some((said, length))) = answer else { return };
    assert!(length <= input.len() && length <= MAX_BYTES);
    for version in [Version::V1, Version::V2] {
        let mut wire = BytesMut::new();
        write(&mut wire, version, said);
        assert_eq!(parse(&wire), Ok(Some((said, wire.len()))));
    }
});
