//! Redaction of text that was not decoded.
//!
//! A decoded secret is known by its key. Two kinds are not: the value of a misspelt key
//! (`secrte = "…"`), and the content of a file that is not TOML at all, such as one matched by a wide `include`.

use std::ops::Range;

/// The insides of all strings in a piece of TOML, quotes excluded; a string without an end reaches to its line's.
pub(crate) fn strings(text: &str) -> Vec<Range<usize>> {
    let mut found = Vec::new();
    let mut at = 0;
    while let Some(step) = text[at..].find(['"', '\'', '#']) {
        at += step;
        let rest = &text[at..];
        if rest.starts_with('#') {
            at += rest.find('\n').unwrap_or(rest.len());
            continue;
        }
        let quote = &rest[..1];
        let (mark, multi_line) = match rest.get(..3) {
            Some(three) if three == quote.repeat(3) => (three, true),
            _ => (quote, false),
        };
        let start = at + mark.len();
        let length = end_of_string(&text[start..], mark, multi_line);
        found.push(start..start + length);
        at = (start + length + mark.len()).min(text.len());
        // A string without an end: what follows is another line.
        while !text.is_char_boundary(at) {
            at -= 1;
        }
    }
    found
}

/// How long the string is that begins here and ends with `mark`.
fn end_of_string(text: &str, mark: &str, multi_line: bool) -> usize {
    let mut escaped = false;
    for (at, char) in text.char_indices() {
        match char {
            '\n' if !multi_line => return at,
            _ if escaped => escaped = false,
            '\\' if mark.starts_with('"') => escaped = true,
            _ if text[at..].starts_with(mark) => return at,
            _ => {}
        }
    }
    text.len()
}

/// What to hide of a text that no decoder will read: where a line has a key for which `is_known` is false, the strings
/// before it and everything behind it, since the file may be one of `PASSWORD=…` without quotes.
pub(crate) fn behind_unknown_keys(text: &str, is_known: impl Fn(&str) -> bool) -> Vec<Range<usize>> {
    let mut found = Vec::new();
    let mut start = 0;
    for line in text.split_inclusive('\n') {
        if let Some((_, at)) = keys(line).find(|(word, _)| !is_known(word)) {
            let before = strings(line).into_iter().filter(|inside| inside.end <= at);
            found.extend(before.map(|inside| start + inside.start..start + inside.end));
            let value = at + 1 + line[at + 1..].len() - line[at + 1..].trim_start().len();
            found.push(start + value.min(line.len())..start + line.trim_end().len().max(value));
        }
        start += line.len();
    }
    found
}

/// The last word of what stands before each `=`, and where that stands.
fn keys(line: &str) -> impl Iterator<Item = (&str, usize)> {
    line.match_indices('=').filter_map(move |(at, _)| {
        let before = line[..at].trim_end();
        let before = before.trim_end_matches(['"', '\'']);
        let word = before.rsplit(|char: char| !char.is_alphanumeric() && !"_-".contains(char)).next()?;
        (!word.is_empty()).then_some((word, at))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn insides(text: &str) -> Vec<&str> {
        strings(text).into_iter().map(|range| &text[range]).collect()
    }

    #[test]
    fn strings_are_found_whatever_their_quotes() {
        assert_eq!(insides("a = \"x\", b = 'y' # \"no\""), ["x", "y"]);
        assert_eq!(insides(r#"a = "x\"y" "#), [r#"x\"y"#]);
        assert_eq!(insides("a = \"x\nb = \"y\""), ["x", "y"], "one without an end");
        assert_eq!(insides("a = \"\"\"x\ny\"\"\"\nb = ''"), ["x\ny", ""]);
        assert_eq!(insides("a = \"ä"), ["ä"]);
        assert_eq!(insides("a = '"), [""]);
    }

    #[test]
    fn a_line_with_an_unknown_key_hides_its_values() {
        let known = |word: &str| word == "sticky" || word == "cookie";
        let text = "sticky = { cookie = \"a\" }\nsticky = { cookie = \"b\", secrte = \"c\" }\nsticky.secrte = 'd'\n\"pass\" = \"e\nPASSWORD=f g\nx =\n";
        let hidden: Vec<&str> = behind_unknown_keys(text, known).into_iter().map(|range| &text[range]).collect();
        assert_eq!(hidden, ["b", "\"c\" }", "'d'", "pass", "\"e", "f g", ""]);
    }
}
