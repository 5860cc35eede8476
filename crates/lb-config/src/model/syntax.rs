//! How text from clients is escaped in a body, by its content type.

/// The syntax of a body, as far as it decides what of a client's text must be escaped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Syntax {
    /// Text that nothing reads as anything else.
    Plain,
    /// HTML and XML.
    Markup,
    /// JSON.
    Json,
    /// JavaScript.
    Script,
}

impl Syntax {
    /// The syntax of a content type; `None` for one in which it is not known what must be escaped.
    #[must_use]
    pub fn of(content_type: &str) -> Option<Self> {
        let essence = content_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
        let (_, subtype) = essence.split_once('/')?;
        match subtype {
            "plain" if essence == "text/plain" => Some(Self::Plain),
            "html" | "xml" => Some(Self::Markup),
            "json" => Some(Self::Json),
            "javascript" | "x-javascript" | "ecmascript" => Some(Self::Script),
            _ if subtype.ends_with("+xml") => Some(Self::Markup),
            _ if subtype.ends_with("+json") => Some(Self::Json),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_type_has_a_syntax_or_is_not_known() {
        for (content_type, syntax) in [
            ("text/plain", Some(Syntax::Plain)),
            ("text/plain; charset=utf-8", Some(Syntax::Plain)),
            ("text/html; charset=utf-8", Some(Syntax::Markup)),
            ("Text/HTML", Some(Syntax::Markup)),
            ("text/xml", Some(Syntax::Markup)),
            ("application/xhtml+xml", Some(Syntax::Markup)),
            ("image/svg+xml", Some(Syntax::Markup)),
            ("application/json", Some(Syntax::Json)),
            ("application/problem+json;x", Some(Syntax::Json)),
            ("text/javascript", Some(Syntax::Script)),
            ("application/javascript; charset=utf-8", Some(Syntax::Script)),
            ("application/x-javascript", Some(Syntax::Script)),
            ("text/css", None),
            ("text/csv", None),
            ("application/octet-stream", None),
            ("plain", None),
            ("", None),
        ] {
            assert_eq!(Syntax::of(content_type), syntax, "{content_type}");
        }
    }
}
