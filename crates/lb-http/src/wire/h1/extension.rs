//! The grammar of chunk extensions, a byte at a time (RFC 9112 §7.1.1).
//!
//! ```text
//! chunk-ext = *( BWS ";" BWS chunk-ext-name [ BWS "=" BWS chunk-ext-val ] )     val = token / quoted-string
//!
//!            ;            =
//!  Name0 ─▶ Name ─▶ … ─▶ Value0 ─┬▶ Value ──────────────▶ the line may end, or the next extension begins
//!                                └▶ Quoted ⇄ Escaped ─▶ Ended
//! ```
//!
//! Extensions are hardly used, and they are not forwarded; but a parser that skips to the end of the line and one that reads
//! quotes do not agree where the line ends. So in a request nothing passes that is no extension.

use crate::message::chars::is_tchar;

/// Where in an extension the last byte was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Extension {
    /// After `;`: a name must come.
    Name0,
    Name,
    /// Whitespace after a name, which must lead to `=` or `;`.
    NameSpace,
    /// After `=`: a value must come.
    Value0,
    Value,
    Quoted,
    /// After a backslash in a quoted value.
    Escaped,
    /// After the closing quote.
    Ended,
    /// Whitespace after a value, which must lead to `;`.
    ValueSpace,
}

impl Extension {
    /// Takes the next byte; `None` where the grammar has no such byte. Bytes above 0x7E are not taken in quotes either.
    pub(crate) const fn step(self, byte: u8) -> Option<Self> {
        Some(match (self, byte) {
            (Self::Quoted, b'"') => Self::Ended,
            (Self::Quoted, b'\\') => Self::Escaped,
            (Self::Quoted | Self::Escaped, b'\t' | b' '..=b'~') => Self::Quoted,
            (Self::Name | Self::NameSpace | Self::Value | Self::Ended | Self::ValueSpace, b';') => Self::Name0,
            (Self::Name | Self::NameSpace, b'=') => Self::Value0,
            (Self::Name0 | Self::Value0, b' ' | b'\t') => self,
            (Self::Name | Self::NameSpace, b' ' | b'\t') => Self::NameSpace,
            (Self::Value | Self::Ended | Self::ValueSpace, b' ' | b'\t') => Self::ValueSpace,
            (Self::Value0, b'"') => Self::Quoted,
            (Self::Name0 | Self::Name, _) if is_tchar(byte) => Self::Name,
            (Self::Value0 | Self::Value, _) if is_tchar(byte) => Self::Value,
            _ => return None,
        })
    }

    /// Whether the line may end here.
    pub(crate) const fn may_end(self) -> bool {
        matches!(self, Self::Name | Self::Value | Self::Ended)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What follows the first `;`, up to the line's end.
    fn is_extension(text: &str) -> bool {
        let end = text.bytes().try_fold(Extension::Name0, Extension::step);
        end.is_some_and(Extension::may_end)
    }

    #[test]
    fn names_values_and_quoted_values_are_extensions() {
        for text in ["a", "a=b", "a;b=c;d", " a = b ; c", "a=\"\"", "a=\"b;c=\\\" d\\\\\";e", "a=\"\t\" ;b", "!#$=~"] {
            assert!(is_extension(text), "{text:?}");
        }
    }

    #[test]
    fn what_the_grammar_does_not_have_is_none() {
        for text in [
            "",
            " ",
            "=b",
            "a=",
            "a@=b",
            "a=b c",
            "a b",
            "a ",
            "a=b ",
            "a;",
            "a=\"b",
            "a=\"b\\",
            "a=\"b\"c",
            "a=\u{7f}",
            "a=\"\u{e9}\"",
            "a=b=c",
            "a==b",
            "\"a\"",
        ] {
            assert!(!is_extension(text), "{text:?}");
        }
    }
}
