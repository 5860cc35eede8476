//! The PROXY protocol: the specification's examples, what is refused, and promises for any input.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::net::{IpAddr, SocketAddr};

use bytes::BytesMut;
use lb_http::wire::proxy_protocol::{Error, MAX_BYTES, ProxyHeader, Version, parse, write};
use proptest::prelude::*;

fn client(from: &str, to: &str) -> ProxyHeader {
    ProxyHeader::Client { from: from.parse().unwrap(), to: to.parse().unwrap() }
}

/// A version 2 head.
fn v2(command: u8, family: u8, block: &[u8]) -> Vec<u8> {
    let mut bytes = b"\r\n\r\n\0\r\nQUIT\n".to_vec();
    bytes.extend([command, family]);
    bytes.extend(u16::try_from(block.len()).unwrap().to_be_bytes());
    bytes.extend(block);
    bytes
}

const V4: &[u8] = &[192, 0, 2, 1, 192, 0, 2, 2, 0x1f, 0x90, 0, 80];

fn v6_block() -> Vec<u8> {
    let address = |last: u16| std::net::Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, last).octets();
    [&address(1)[..], &address(2)[..], &[0, 1, 0, 2]].concat()
}

#[test]
fn v1_lines_have_the_client_address() {
    for (line, header) in [
        ("PROXY TCP4 192.0.2.1 192.0.2.2 56324 443\r\n", client("192.0.2.1:56324", "192.0.2.2:443")),
        (
            "PROXY TCP4 255.255.255.255 255.255.255.255 65535 65535\r\n",
            client("255.255.255.255:65535", "255.255.255.255:65535"),
        ),
        ("PROXY TCP4 0.0.0.0 0.0.0.0 0 0\r\n", client("0.0.0.0:0", "0.0.0.0:0")),
        ("PROXY TCP6 2001:db8::1 ::1 1 2\r\n", client("[2001:db8::1]:1", "[::1]:2")),
        ("PROXY UNKNOWN\r\n", ProxyHeader::Nothing),
        ("PROXY UNKNOWN ffff:f...f:ffff whatever 65535 65535\r\n", ProxyHeader::Nothing),
    ] {
        let expected =
            if line.contains("TCP6 ffff:f...") { Err(Error::Malformed) } else { Ok(Some((header, line.len()))) };
        assert_eq!(parse(line.as_bytes()), expected, "{line:?}");
        // What follows is not looked at.
        let longer = format!("{line}GET / HTTP/1.1\r\n");
        assert_eq!(parse(longer.as_bytes()), expected, "{longer:?}");
    }
}

#[test]
fn v2_headers_have_the_client_address() {
    let tlvs = [V4, &[0x04, 0, 3, 1, 2, 3]].concat();
    for (head, header) in [
        (v2(0x21, 0x11, V4), client("192.0.2.1:8080", "192.0.2.2:80")),
        (v2(0x21, 0x11, &tlvs), client("192.0.2.1:8080", "192.0.2.2:80")),
        (v2(0x21, 0x21, &v6_block()), client("[2001:db8::1]:1", "[2001:db8::2]:2")),
        (v2(0x20, 0x00, &[]), ProxyHeader::Nothing),
        (v2(0x20, 0x11, V4), ProxyHeader::Nothing),
        (v2(0x21, 0x00, &[1, 2, 3]), ProxyHeader::Nothing),
        (v2(0x21, 0x12, V4), ProxyHeader::Nothing),
        (v2(0x21, 0x31, &[0; 216]), ProxyHeader::Nothing),
        (v2(0x21, 0x11, &[V4, &[0; MAX_BYTES - 28]].concat()), client("192.0.2.1:8080", "192.0.2.2:80")),
    ] {
        assert_eq!(parse(&head), Ok(Some((header, head.len()))), "{head:x?}");
        let longer = [&head[..], b"GET /"].concat();
        assert_eq!(parse(&longer), Ok(Some((header, head.len()))), "{head:x?}");
    }
}

#[test]
fn what_is_no_header_is_refused_as_soon_as_it_is_known() {
    for bytes in [&b"GET / HTTP/1.1\r\n"[..], b"proxy TCP4 ", b"PROXZ", b"\x16\x03\x01", b"\r\n\r\nG", b"\0"] {
        assert_eq!(parse(bytes), Err(Error::Missing), "{bytes:?}");
    }
    for line in [
        "PROXY \r\n",
        "PROXY TCP4\r\n",
        "PROXY TCP5 1.2.3.4 1.2.3.4 1 2\r\n",
        "PROXY UNKNOWNX\r\n",
        "PROXY TCP4 1.2.3.4 1.2.3.4 1\r\n",
        "PROXY TCP4 1.2.3.4 1.2.3.4 1 2 3\r\n",
        "PROXY TCP4 1.2.3.4 1.2.3.4 1 2 \r\n",
        "PROXY TCP4  1.2.3.4 1.2.3.4 1 2\r\n",
        "PROXY  TCP4 1.2.3.4 1.2.3.4 1 2\r\n",
        "PROXY\tTCP4 1.2.3.4 1.2.3.4 1 2\r\n",
        "PROXY TCP4 1.2.3.04 1.2.3.4 1 2\r\n",
        "PROXY TCP4 1.2.3 1.2.3.4 1 2\r\n",
        "PROXY TCP4 ::1 ::1 1 2\r\n",
        "PROXY TCP6 1.2.3.4 1.2.3.4 1 2\r\n",
        "PROXY TCP6 fe80::1%eth0 ::1 1 2\r\n",
        "PROXY TCP4 1.2.3.4 1.2.3.4 01 2\r\n",
        "PROXY TCP4 1.2.3.4 1.2.3.4 +1 2\r\n",
        "PROXY TCP4 1.2.3.4 1.2.3.4 1 65536\r\n",
        "PROXY TCP4 1.2.3.4 1.2.3.4 1 2\n",
        "PROXY TCP4 1.2.3.4 1.2.3.4 1 2\rX",
        "PROXY UNKNOWN \u{e9}\n",
    ] {
        let refused = parse(line.as_bytes());
        assert!(matches!(refused, Err(Error::Malformed | Error::Missing)), "{line:?}: {refused:?}");
    }
    for head in [
        v2(0x11, 0x11, V4),
        v2(0x31, 0x11, V4),
        v2(0x22, 0x11, V4),
        v2(0x21, 0x41, V4),
        v2(0x21, 0x13, V4),
        v2(0x21, 0x11, &V4[..11]),
        v2(0x21, 0x21, V4),
    ] {
        assert_eq!(parse(&head), Err(Error::Malformed), "{head:x?}");
    }
    let long = v2(0x21, 0x11, &[0; MAX_BYTES - 15]);
    assert_eq!(parse(&long[..16]), Err(Error::TooLong(MAX_BYTES + 1)));
}

#[test]
fn a_line_ends_within_its_107_bytes() {
    let line = |filler: usize| format!("PROXY UNKNOWN {}\r\n", "x".repeat(filler));
    assert_eq!(line(91).len(), 107);
    assert_eq!(parse(line(91).as_bytes()), Ok(Some((ProxyHeader::Nothing, 107))));
    assert_eq!(parse(line(92).as_bytes()), Err(Error::Malformed));
    assert_eq!(parse(&line(200).as_bytes()[..107]), Err(Error::Malformed));
    assert_eq!(parse(&line(200).as_bytes()[..106]), Ok(None));
}

#[test]
fn what_is_written_is_what_the_specification_shows() {
    let mut out = BytesMut::new();
    write(&mut out, Version::V1, client("192.0.2.1:56324", "192.0.2.2:443"));
    assert_eq!(&out[..], b"PROXY TCP4 192.0.2.1 192.0.2.2 56324 443\r\n");
    out.clear();
    write(&mut out, Version::V1, client("192.0.2.1:1", "[::1]:2"));
    assert_eq!(&out[..], b"PROXY TCP6 ::ffff:192.0.2.1 ::1 1 2\r\n");
    out.clear();
    write(&mut out, Version::V1, ProxyHeader::Nothing);
    assert_eq!(&out[..], b"PROXY UNKNOWN\r\n");
    out.clear();
    write(&mut out, Version::V2, ProxyHeader::Nothing);
    assert_eq!(out[..], v2(0x20, 0, &[]));
    out.clear();
    write(&mut out, Version::V2, client("192.0.2.1:8080", "192.0.2.2:80"));
    assert_eq!(out[..], v2(0x21, 0x11, V4));
}

fn end() -> impl Strategy<Value = SocketAddr> {
    let ip = prop_oneof![any::<[u8; 4]>().prop_map(IpAddr::from), any::<[u8; 16]>().prop_map(IpAddr::from)];
    (ip, any::<u16>()).prop_map(|(ip, port)| SocketAddr::new(ip, port))
}

/// An end as it reads back beside the other one.
fn as_read(end: SocketAddr, other: SocketAddr) -> SocketAddr {
    match end.ip() {
        IpAddr::V4(ip) if other.is_ipv6() => SocketAddr::new(ip.to_ipv6_mapped().into(), end.port()),
        _ => end,
    }
}

/// How headers begin.
const STARTS: &[&[u8]] = &[b"", b"PROXY TCP4 1.2.3.4 ", b"\r\n\r\n\0\r\nQUIT\n", b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c"];

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn what_is_written_reads_back_whole_and_no_sooner(from in end(), to in end(), is_v1: bool, rest: Vec<u8>) {
        let version = if is_v1 { Version::V1 } else { Version::V2 };
        let mut wire = BytesMut::new();
        write(&mut wire, version, ProxyHeader::Client { from, to });
        let length = wire.len();
        for cut in 0..length {
            prop_assert_eq!(parse(&wire[..cut]), Ok(None), "cut at {}", cut);
        }
        wire.extend_from_slice(&rest);
        let header = ProxyHeader::Client { from: as_read(from, to), to: as_read(to, from) };
        prop_assert_eq!(parse(&wire), Ok(Some((header, length))));
    }

    #[test]
    fn an_answer_once_given_does_not_change_with_more_bytes(
        start in proptest::sample::select(STARTS),
        bytes in proptest::collection::vec(prop_oneof![any::<u8>(), Just(b'\r'), Just(b'\n'), Just(b' '), Just(b'1')], 0..140),
    ) {
        let whole = [start, &bytes[..]].concat();
        let mut answer = Ok(None);
        for cut in 0..=whole.len() {
            let now = parse(&whole[..cut]);
            if answer != Ok(None) {
                prop_assert_eq!(now, answer, "cut at {}", cut);
            }
            if let Ok(Some((_, length))) = now {
                prop_assert!(length <= cut && length <= MAX_BYTES);
            }
            answer = now;
        }
    }
}
