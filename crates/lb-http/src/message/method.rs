//! Request methods.

/// A request's method. The ones of RFC 9110 and PATCH by name, all others as their bytes.
///
/// Methods are case-sensitive: `get` is not GET (and the codec refuses it).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Method<'a> {
    /// GET
    Get,
    /// HEAD: its response never has a body, not even if its headers announce one.
    Head,
    /// POST
    Post,
    /// PUT
    Put,
    /// DELETE
    Delete,
    /// CONNECT: asks for a tunnel; the target is an authority.
    Connect,
    /// OPTIONS
    Options,
    /// TRACE
    Trace,
    /// PATCH (RFC 5789)
    Patch,
    /// Any other, such as PROPFIND.
    Extension(&'a [u8]),
}

impl<'a> Method<'a> {
    /// Reads a method. Does not validate: the codec has, and other callers compare.
    #[must_use]
    pub fn from_bytes(bytes: &'a [u8]) -> Self {
        match bytes {
            b"GET" => Self::Get,
            b"HEAD" => Self::Head,
            b"POST" => Self::Post,
            b"PUT" => Self::Put,
            b"DELETE" => Self::Delete,
            b"CONNECT" => Self::Connect,
            b"OPTIONS" => Self::Options,
            b"TRACE" => Self::Trace,
            b"PATCH" => Self::Patch,
            other => Self::Extension(other),
        }
    }

    /// The same if it is one with a name of its own; `None` for an extension.
    pub(crate) const fn named(self) -> Option<Method<'static>> {
        Some(match self {
            Self::Get => Method::Get,
            Self::Head => Method::Head,
            Self::Post => Method::Post,
            Self::Put => Method::Put,
            Self::Delete => Method::Delete,
            Self::Connect => Method::Connect,
            Self::Options => Method::Options,
            Self::Trace => Method::Trace,
            Self::Patch => Method::Patch,
            Self::Extension(_) => return None,
        })
    }

    /// The method as it is written.
    #[must_use]
    pub const fn as_bytes(&self) -> &'a [u8] {
        match self {
            Self::Get => b"GET",
            Self::Head => b"HEAD",
            Self::Post => b"POST",
            Self::Put => b"PUT",
            Self::Delete => b"DELETE",
            Self::Connect => b"CONNECT",
            Self::Options => b"OPTIONS",
            Self::Trace => b"TRACE",
            Self::Patch => b"PATCH",
            Self::Extension(bytes) => bytes,
        }
    }

    /// The method as text. An extension that is no UTF-8 (the codec lets none through) reads as `?`.
    #[must_use]
    pub fn as_str(&self) -> &'a str {
        std::str::from_utf8(self.as_bytes()).unwrap_or("?")
    }

    /// Whether it only reads (RFC 9110 §9.2.1). Unknown methods are taken not to be safe.
    #[must_use]
    pub const fn is_safe(&self) -> bool {
        matches!(self, Self::Get | Self::Head | Self::Options | Self::Trace)
    }

    /// Whether sending it twice means the same as sending it once (RFC 9110 §9.2.2), which is what a retry may rely
    /// on. Unknown methods are taken not to be idempotent.
    #[must_use]
    pub const fn is_idempotent(&self) -> bool {
        self.is_safe() || matches!(self, Self::Put | Self::Delete)
    }
}

impl std::fmt::Display for Method<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_method_reads_back_as_itself() {
        for text in ["GET", "HEAD", "POST", "PUT", "DELETE", "CONNECT", "OPTIONS", "TRACE", "PATCH", "PROPFIND"] {
            assert_eq!(Method::from_bytes(text.as_bytes()).as_str(), text);
        }
        assert_eq!(Method::from_bytes(b"get"), Method::Extension(b"get"));
    }

    #[test]
    fn only_methods_known_to_be_idempotent_are() {
        assert!(Method::Put.is_idempotent() && Method::Delete.is_idempotent() && Method::Get.is_idempotent());
        assert!(!Method::Post.is_idempotent() && !Method::Patch.is_idempotent());
        assert!(!Method::Extension(b"LOCK").is_idempotent());
    }
}
