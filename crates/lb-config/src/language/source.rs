//! The texts a configuration came from, and places in them.

use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::language::secrecy;

/// The files a configuration was read from, and what the environment put into them.
///
/// It is what a reload watches, and what [`Config::print`](crate::Config::print) needs to write `${NAME}` where the environment's
/// value stood, so that a secret from the environment is never printed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sources {
    files: Vec<File>,
    pub(crate) substituted: Vec<Substituted>,
    pub(crate) variables: Vec<String>,
    /// Files of certificates and keys, and where they are named.
    pub(crate) named: Vec<(PathBuf, Span)>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct File {
    path: PathBuf,
    text: Arc<str>,
    /// Where each line begins.
    lines: Vec<usize>,
    /// Byte ranges of literal secrets, never shown.
    secrets: Vec<Range<usize>>,
    /// Whether no line of it is shown at all.
    is_hidden: bool,
}

/// A string that held `${…}`: as it was written, and what became of it.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Substituted {
    pub(crate) written: Arc<str>,
    pub(crate) value: Arc<str>,
}

/// Shows what was written, never the value.
impl std::fmt::Debug for Substituted {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.written.fmt(f)
    }
}

/// A range of bytes in one of the files.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Span {
    pub(crate) file: usize,
    pub(crate) start: usize,
    pub(crate) end: usize,
}

impl Span {
    /// For what stands in no file: defaults, and configurations made without a file.
    pub(crate) const NOWHERE: Self = Self { file: usize::MAX, start: 0, end: 0 };
}

/// A place in a file, complete in itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// The file, as it was named.
    pub file: PathBuf,
    /// The line, from 1.
    pub line: usize,
    /// The column in characters, from 1.
    pub column: usize,
    /// The bytes of the file that are meant.
    pub span: Range<usize>,
    /// The whole line, without its end; secrets are starred out. Empty where the file is not a configuration.
    pub text: String,
    /// The bytes of `text` that are meant; a span over several lines ends with the first.
    pub marked: Range<usize>,
}

impl Sources {
    /// The files, the main one first, in the order in which they were read.
    pub fn files(&self) -> impl Iterator<Item = &Path> {
        self.files.iter().map(|file| file.path.as_path())
    }

    /// Names of the environment variables that were asked for, each once, in order of appearance.
    pub fn variables(&self) -> impl Iterator<Item = &str> {
        self.variables.iter().map(String::as_str)
    }

    /// Where the configuration names this file of a certificate or key, first.
    #[must_use]
    pub fn place_of(&self, file: &Path) -> Option<Place> {
        let (_, span) = self.named.iter().find(|(named, _)| named == file)?;
        self.place(*span)
    }

    pub(crate) fn add(&mut self, path: PathBuf, text: String) -> usize {
        let lines = std::iter::once(0).chain(text.match_indices('\n').map(|(at, _)| at + 1)).collect();
        self.files.push(File { path, text: text.into(), lines, secrets: Vec::new(), is_hidden: false });
        self.files.len() - 1
    }

    pub(crate) fn text(&self, file: usize) -> Arc<str> {
        self.files.get(file).map_or_else(|| "".into(), |file| Arc::clone(&file.text))
    }

    /// The whole of a line, counted from 0.
    pub(crate) fn line_span(&self, file: usize, line: usize) -> Span {
        let start = self.files.get(file).and_then(|file| file.lines.get(line)).copied().unwrap_or(0);
        Span { file, start, end: start }
    }

    /// From now on these bytes are starred out wherever their line is shown.
    pub(crate) fn hide(&mut self, span: Span) {
        if let Some(file) = self.files.get_mut(span.file) {
            file.secrets.push(span.start..span.end);
        }
    }

    /// From now on no line of this file is shown.
    pub(crate) fn hide_file(&mut self, file: usize) {
        if let Some(file) = self.files.get_mut(file) {
            file.is_hidden = true;
        }
    }

    /// From now on every string on the lines of this span is starred out, but for those in `shown`.
    pub(crate) fn hide_strings(&mut self, span: Span, shown: Span) {
        let Some(file) = self.files.get_mut(span.file) else { return };
        let start = floor_char(&file.text, span.start);
        let end = ceil_char(&file.text, span.end.max(start));
        let from = file.text[..start].rfind('\n').map_or(0, |at| at + 1);
        let until = file.text[end..].find('\n').map_or(file.text.len(), |at| end + at);
        let found = secrecy::strings(&file.text[from..until]);
        let found = found.into_iter().map(|inside| from + inside.start..from + inside.end);
        file.secrets.extend(found.filter(|inside| !(shown.start..shown.end).contains(&inside.start)));
    }

    /// From now on the inside of this string is starred out, but for these pieces of it.
    pub(crate) fn hide_value(&mut self, span: Span, shown: &[String]) {
        let Some(file) = self.files.get_mut(span.file) else { return };
        let Some(written) = file.text.get(span.start..span.end) else { return };
        for inside in secrecy::strings(written) {
            let mut at = inside.start;
            let pieces = shown.iter().flat_map(|piece| written.match_indices(piece.as_str()));
            let mut visible: Vec<Range<usize>> = pieces.map(|(start, piece)| start..start + piece.len()).collect();
            visible.sort_by_key(|piece| piece.start);
            for piece in visible {
                file.secrets.push(span.start + at..span.start + piece.start.max(at));
                at = piece.end.max(at);
            }
            file.secrets.push(span.start + at..span.start + inside.end.max(at));
        }
    }

    /// Resolves a span; `None` for what stands in no file.
    pub(crate) fn place(&self, span: Span) -> Option<Place> {
        let file = self.files.get(span.file)?;
        let text = &*file.text;
        let start = floor_char(text, span.start);
        let line = file.lines.partition_point(|begin| *begin <= start);
        let from = line.checked_sub(1).and_then(|line| file.lines.get(line).copied())?;
        let line_end = file.lines.get(line).map_or(text.len(), |next| next - 1);
        let until = if text.get(from..line_end)?.ends_with('\r') { line_end - 1 } else { line_end };
        let start = start.min(until);
        let end = ceil_char(text, span.end).clamp(start, until);
        let column = 1 + text.get(from..start)?.chars().count();
        if file.is_hidden {
            let (file, span) = (file.path.clone(), span.start..span.end);
            return Some(Place { file, line, column, span, text: String::new(), marked: 0..0 });
        }
        Some(Place {
            file: file.path.clone(),
            line,
            column,
            span: span.start..span.end,
            text: file.line_without_secrets(from..until),
            marked: start - from..end - from,
        })
    }
}

impl File {
    /// The line with every literal secret starred out, byte for byte, so that columns stay.
    fn line_without_secrets(&self, line: Range<usize>) -> String {
        let text = self.text.get(line.clone()).unwrap_or_default();
        let hidden = |at: usize| self.secrets.iter().any(|secret| secret.contains(&(line.start + at)));
        let mut shown = String::with_capacity(text.len());
        for (at, char) in text.char_indices() {
            match char {
                _ if hidden(at) => shown.extend(std::iter::repeat_n('*', char.len_utf8())),
                '\t' => shown.push('\t'),
                // Control characters would reach the reader's terminal; one byte stays one byte.
                char if char.is_ascii_control() => shown.push('?'),
                char => shown.push(char),
            }
        }
        shown
    }
}

fn floor_char(text: &str, at: usize) -> usize {
    (0..=at.min(text.len())).rev().find(|&at| text.is_char_boundary(at)).unwrap_or(0)
}

fn ceil_char(text: &str, at: usize) -> usize {
    (at..text.len()).find(|&at| text.is_char_boundary(at)).unwrap_or(text.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_counts_lines_and_characters_from_one() {
        let mut sources = Sources::default();
        let file = sources.add("a.toml".into(), "x = 1\r\näö = 22\r\n".into());
        let place = sources.place(Span { file, start: 14, end: 16 }).unwrap();
        assert_eq!((place.line, place.column, place.text.as_str()), (2, 6, "äö = 22"));
        assert_eq!(&place.text[place.marked.clone()], "22");
    }

    #[test]
    fn a_span_outside_the_text_or_inside_a_character_is_clamped() {
        let mut sources = Sources::default();
        let file = sources.add("a.toml".into(), "ä".into());
        let place = sources.place(Span { file, start: 1, end: 99 }).unwrap();
        assert_eq!((place.line, place.column, place.marked), (1, 1, 0..2));
        let empty = sources.add("b.toml".into(), String::new());
        assert_eq!(sources.place(Span { file: empty, start: 0, end: 0 }).unwrap().line, 1);
        assert_eq!(sources.place(Span::NOWHERE), None);
    }

    #[test]
    fn a_hidden_range_is_starred_out_and_columns_stay() {
        let mut sources = Sources::default();
        let file = sources.add("a.toml".into(), "s = \"geheim\" x".into());
        sources.hide(Span { file, start: 5, end: 11 });
        assert_eq!(sources.place(Span { file, start: 13, end: 14 }).unwrap().text, "s = \"******\" x");
    }
}
