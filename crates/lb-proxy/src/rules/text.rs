//! Short text on the stack, for addresses and ports that are written at every request.

use std::fmt;

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
    use std::net::IpAddr;

    use super::*;

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
