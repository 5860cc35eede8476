//! The page that lists a directory.

/// The most names that are listed.
pub(super) const MAX: usize = 10_000;

/// The page of a directory, directories first. `path` ends with a slash.
pub(super) fn page(path: &str, names: impl Iterator<Item = (String, bool, u64)>) -> String {
    let title = escaped(path);
    let mut page = format!(
        "<!DOCTYPE html>\n<html><head><meta charset=\"utf-8\"><meta name=\"viewport\" content=\"width=device-width\">\
         <title>{title}</title></head>\n<body><h1>{title}</h1>\n<table>\n"
    );
    if path != "/" {
        page.push_str("<tr><td><a href=\"../\">../</a></td><td></td></tr>\n");
    }
    for (name, is_directory, length) in names {
        let slash = if is_directory { "/" } else { "" };
        let length = if is_directory { String::new() } else { length.to_string() };
        let link = encoded(&name);
        // With `./` in front, a colon in a name begins no scheme.
        page.push_str(&format!(
            "<tr><td><a href=\"./{link}{slash}\">{}{slash}</a></td><td>{length}</td></tr>\n",
            escaped(&name)
        ));
    }
    page.push_str("</table></body></html>\n");
    page
}

fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for char in text.chars() {
        match char {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            _ => out.push(char),
        }
    }
    out
}

/// A name as a segment of a path.
fn encoded(name: &str) -> String {
    let mut out = String::with_capacity(name.len());
    for byte in name.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            out.push(char::from(byte));
        } else {
            out.push_str(&format!("%{byte:02X}"));
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_escaped_in_text_and_in_links() {
        let names = [("a&b\"c".to_owned(), true, 0), ("x:y".to_owned(), false, 12)];
        let page = page("/<i>/", names.into_iter());
        assert!(page.contains("<h1>/&lt;i&gt;/</h1>"), "{page}");
        assert!(page.contains("<a href=\"./a%26b%22c/\">a&amp;b&quot;c/</a>"), "{page}");
        assert!(page.contains("<a href=\"./x%3Ay\">x:y</a></td><td>12</td>"), "{page}");
        assert!(page.contains("\"../\""));
    }
}
