//! Any bytes as `Accept-Encoding`: what is chosen was offered and not refused by name, and more spaces change nothing.
#![no_main]

use lb_config::Encoding;
use libfuzzer_sys::fuzz_target;

#[path = "../../crates/lb-proxy/src/rules/encoding.rs"]
#[allow(dead_code, reason = "the target needs one function of it")]
mod encoding;

const ALL: [Encoding; 3] = [Encoding::Zstd, Encoding::Brotli, Encoding::Gzip];

fuzz_target!(|input: &[u8]| {
    let lines = || input.split(|&byte| byte == b'\n');
    let chosen = encoding::choose(lines(), &ALL);
    for offered in [&ALL[..1], &ALL[1..], &[]] {
        let of_fewer = encoding::choose(lines(), offered);
        assert!(of_fewer.is_none_or(|encoding| offered.contains(&encoding)));
        assert!(chosen.is_some() || of_fewer.is_none(), "fewer are no more acceptable");
    }
    let spaced: Vec<u8> = input.iter().flat_map(|&byte| if byte == b',' { vec![b' ', byte, b'\t'] } else { vec![byte] }).collect();
    assert_eq!(encoding::choose(spaced.split(|&byte| byte == b'\n'), &ALL), chosen);
    if let Some(chosen) = chosen {
        let named = encoding::name(chosen).as_bytes();
        let names = |item: &[u8]| item.split(|&byte| byte == b';').next().is_some_and(|it| it.trim_ascii().eq_ignore_ascii_case(named));
        let items: Vec<&[u8]> = lines().flat_map(|line| line.split(|&byte| byte == b',')).filter(|item| names(item)).collect();
        let weight = |item: &&[u8]| item.split(|&byte| byte == b';').skip(1).find_map(encoding::quality).unwrap_or(1000);
        assert!(items.is_empty() || chosen == Encoding::Gzip || items.iter().any(|item| weight(item) > 0));
    }
});
