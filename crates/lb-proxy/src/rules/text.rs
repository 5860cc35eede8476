//! Short text on the stack, for addresses and ports that are written at every request.

use std::fmt;
use std::net::IpAddr;

/// At most `N` bytes of text; what does not fit is left out, so `N` is chosen to fit.
#[derive(Clone, Copy)]
pub struct Text<const N: usize> {
    bytes: [u8; N],
    len: usize,
}

/// Room for any IP address.
pub type AddressText = Text<46>;

impl<const N: usize> Text<N> {
    /// The text of something short.
    pub fn of(value: impl fmt::Display) -> Self {
        let mut text = Self { bytes: [0; N], len: 0 };
        // An error means that it did not fit; what did is kept.
        let _ = fmt::Write::write_fmt(&mut text, format_args!("{value}"));
        text
    }

    /// A number.
    pub fn of_number(number: u16) -> Self {
        let mut text = Self { bytes: [0; N], len: 0 };
        text.push_number(number);
        text
    }

    /// An IP address. IPv4, which is written once a connection, is not left to the formatter: its padding and dynamic calls
    /// take some eight hundred instructions.
    pub fn of_address(address: IpAddr) -> Self {
        let IpAddr::V4(address) = address else { return Self::of(address) };
        let mut text = Self { bytes: [0; N], len: 0 };
        for (at, octet) in address.octets().into_iter().enumerate() {
            if at > 0 {
                text.push(b'.');
            }
            text.push_number(u16::from(octet));
        }
        text
    }

    fn push(&mut self, byte: u8) {
        if let Some(place) = self.bytes.get_mut(self.len) {
            *place = byte;
            self.len += 1;
        }
    }

    fn push_number(&mut self, number: u16) {
        let mut unit = 10_000;
        while unit > 1 {
            if number >= unit {
                self.push(b'0' + (number / unit % 10) as u8);
            }
            unit /= 10;
        }
        self.push(b'0' + (number % 10) as u8);
    }

    /// The bytes of the text.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        self.bytes.get(..self.len).unwrap_or_default()
    }

    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(self.as_bytes()).unwrap_or_default()
    }
}

impl<const N: usize> fmt::Write for Text<N> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let end = self.len + text.len();
        self.bytes.get_mut(self.len..end).ok_or(fmt::Error)?.copy_from_slice(text.as_bytes());
        self.len = end;
        Ok(())
    }
}

impl<const N: usize> fmt::Debug for Text<N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self.as_str(), f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_and_numbers_read_as_the_formatter_writes_them() {
        for number in (0..=u16::MAX).step_by(7).chain([1, 9, 10, 99, 100, 999, 1_000, 9_999, 10_000, u16::MAX]) {
            assert_eq!(Text::<5>::of_number(number).as_str(), number.to_string());
        }
        for address in
            ["0.0.0.0", "127.0.0.1", "255.255.255.255", "10.20.30.4", "1.99.100.200", "::1", "::ffff:1.2.3.4"]
        {
            let address: IpAddr = address.parse().unwrap();
            assert_eq!(AddressText::of_address(address).as_str(), address.to_string());
        }
    }

    #[test]
    fn the_longest_address_fits() {
        let longest: IpAddr = "2001:db88:1111:2222:3333:4444:5555:6666".parse().unwrap();
        assert_eq!(AddressText::of(longest).as_str(), "2001:db88:1111:2222:3333:4444:5555:6666");
        assert_eq!(Text::<5>::of(65535).as_str(), "65535");
    }

    #[test]
    fn what_does_not_fit_is_left_out() {
        assert_eq!(Text::<2>::of(12345).as_str(), "");
        assert_eq!(Text::<0>::of("").as_str(), "");
    }
}
