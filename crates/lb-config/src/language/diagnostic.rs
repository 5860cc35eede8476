//! What is wrong with a configuration, with what is needed to fix it.
//!
//! One mistake at a time costs a reader one reload each. Loading therefore collects: every [`Diagnostic`] names a
//! place, quotes the line, names what was expected and, where a near miss is known, what was probably meant.
//! Rendering is plain text in the manner of a compiler; colours are the binary's business.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::language::files::relative_to;
use crate::language::source::{Place, Sources, Span};
use crate::language::values::address::Network;

/// How bad it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Severity {
    /// It works, but probably not as meant.
    Warning,
    /// The configuration is refused.
    Error,
}

/// One problem of a configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Diagnostic {
    /// How bad it is.
    pub severity: Severity,
    /// What is wrong, one line.
    pub message: String,
    /// Where; `None` if it stands in no file (a file that cannot be read, a configuration made without a file).
    pub place: Option<Place>,
    /// What would have been right.
    pub expected: Option<String>,
    /// What was probably meant, or what to do.
    pub suggestion: Option<String>,
    /// Further places that belong to it, each with what is there.
    pub related: Vec<(String, Place)>,
}

impl Diagnostic {
    /// A problem of a file that a configuration names, placed where it names it.
    #[must_use]
    pub fn about_file(severity: Severity, message: String, file: &Path, sources: &Sources) -> Self {
        let place = sources.place_of(file);
        Self { severity, message, place, expected: None, suggestion: None, related: Vec::new() }
    }
}

/// All problems of a configuration, in the order of files and lines.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Diagnostics(Vec<Diagnostic>);

impl Diagnostics {
    /// Each of them, in order.
    pub fn iter(&self) -> std::slice::Iter<'_, Diagnostic> {
        self.0.iter()
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether the configuration is refused.
    #[must_use]
    pub fn has_errors(&self) -> bool {
        self.0.iter().any(|diagnostic| diagnostic.severity == Severity::Error)
    }

    pub(crate) fn resolve(problems: Vec<Problem>, sources: &Sources) -> Self {
        let mut problems = problems;
        problems.sort_by_key(|problem| (problem.span.file, problem.span.start));
        let mut all: Vec<Diagnostic> = problems.into_iter().map(|problem| problem.resolve(sources)).collect();
        all.dedup();
        Self(all)
    }
}

impl IntoIterator for Diagnostics {
    type Item = Diagnostic;
    type IntoIter = std::vec::IntoIter<Diagnostic>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.into_iter()
    }
}

impl<'a> IntoIterator for &'a Diagnostics {
    type Item = &'a Diagnostic;
    type IntoIter = std::slice::Iter<'a, Diagnostic>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.iter()
    }
}

impl std::error::Error for Diagnostics {}

impl fmt::Display for Diagnostics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, diagnostic) in self.0.iter().enumerate() {
            if at > 0 {
                writeln!(f)?;
            }
            diagnostic.fmt(f)?;
        }
        Ok(())
    }
}

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Warning => "warning",
            Self::Error => "error",
        })
    }
}

impl fmt::Display for Diagnostic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(place) = &self.place {
            write!(f, "{}:{}:{}: ", place.file.display(), place.line, place.column)?;
        }
        writeln!(f, "{}: {}", self.severity, self.message)?;
        let widest = self.place.iter().chain(self.related.iter().map(|(_, place)| place)).map(|place| place.line).max();
        let gutter = widest.map_or(0, |line| line.to_string().len());
        if let Some(place) = &self.place {
            excerpt(f, place, gutter)?;
        }
        let margin = " ".repeat(gutter);
        if let Some(expected) = &self.expected {
            writeln!(f, "{margin} = expected {expected}")?;
        }
        if let Some(suggestion) = &self.suggestion {
            writeln!(f, "{margin} = help: {suggestion}")?;
        }
        for (what, place) in &self.related {
            writeln!(f, "{margin} = {what}: {}:{}:{}", place.file.display(), place.line, place.column)?;
            excerpt(f, place, gutter)?;
        }
        Ok(())
    }
}

/// Longest part of a line that is shown, in characters.
const WINDOW: usize = 160;

/// The line with carets under what is meant.
fn excerpt(f: &mut fmt::Formatter<'_>, place: &Place, gutter: usize) -> fmt::Result {
    if place.text.is_empty() {
        return Ok(());
    }
    let margin = " ".repeat(gutter);
    let before = place.text.get(..place.marked.start).unwrap_or_default();
    let marked = place.text.get(place.marked.clone()).unwrap_or_default();
    let after = place.text.get(place.marked.end..).unwrap_or_default();
    // A line too long for any screen keeps what is meant and its surroundings.
    let long = place.text.chars().count() > WINDOW;
    let skip = if long { before.chars().count().saturating_sub(WINDOW / 2) } else { 0 };
    let ellipsis = if skip > 0 { "… " } else { "" };
    let before: String = ellipsis.chars().chain(before.chars().skip(skip)).collect();
    let marked: String = marked.chars().take(WINDOW / 2).collect();
    let left = WINDOW.saturating_sub(before.chars().count() + marked.chars().count());
    let after: String = after.chars().take(left).collect();
    let pad: String = before.chars().map(|char| if char == '\t' { '\t' } else { ' ' }).collect();
    let carets = "^".repeat(marked.chars().count().max(1));
    writeln!(f, "{margin} |")?;
    writeln!(f, "{:>gutter$} | {before}{marked}{after}", place.line)?;
    writeln!(f, "{margin} | {pad}{carets}")
}

/// A diagnostic whose places are still spans.
#[derive(Clone, Debug)]
pub(crate) struct Problem {
    pub(crate) severity: Severity,
    pub(crate) span: Span,
    pub(crate) message: String,
    pub(crate) expected: Option<String>,
    pub(crate) suggestion: Option<String>,
    pub(crate) related: Vec<(String, Span)>,
}

impl Problem {
    pub(crate) fn expected(&mut self, what: impl Into<String>) -> &mut Self {
        self.expected = Some(what.into());
        self
    }

    pub(crate) fn help(&mut self, what: impl Into<String>) -> &mut Self {
        self.suggestion = Some(what.into());
        self
    }

    pub(crate) fn related(&mut self, what: impl Into<String>, span: Span) -> &mut Self {
        self.related.push((what.into(), span));
        self
    }

    fn resolve(self, sources: &Sources) -> Diagnostic {
        let related = self.related.into_iter().filter_map(|(what, span)| Some((what, sources.place(span)?)));
        Diagnostic {
            severity: self.severity,
            place: sources.place(self.span),
            message: self.message,
            expected: self.expected,
            suggestion: self.suggestion,
            related: related.collect(),
        }
    }
}

/// Where problems are collected.
#[derive(Debug)]
pub(crate) struct Report {
    /// What to do about a key that stands in the wrong table.
    elsewhere: fn(&str) -> Option<String>,
    problems: Vec<Problem>,
    /// Where strings may be secrets that no decoder knows as such, and the key that may be shown all the same.
    hidden: Vec<(Span, Span)>,
    /// Values that may be secrets, and the pieces of them that may be shown.
    values: Vec<(Span, Vec<String>)>,
    /// Files that the configuration names, and where.
    files: Vec<(PathBuf, Span)>,
    /// Where each file of the sources is: what paths in it are relative to.
    directories: Vec<PathBuf>,
    /// The texts of the files that lists may stand in, or why one could not be read.
    texts: Texts,
    /// Networks by name; `None` could not be read.
    networks: Arc<[NamedNetworks]>,
}

/// A name of networks, and what it stands for; `None` could not be read.
pub(crate) type NamedNetworks = (Arc<str>, Option<Arc<[Network]>>);

/// The texts of files, or why one could not be read.
pub(crate) type Texts = Vec<(PathBuf, Result<Arc<str>, String>)>;

impl Report {
    pub(crate) fn new(elsewhere: fn(&str) -> Option<String>) -> Self {
        Self {
            elsewhere,
            problems: Vec::new(),
            hidden: Vec::new(),
            values: Vec::new(),
            files: Vec::new(),
            directories: Vec::new(),
            texts: Vec::new(),
            networks: Arc::default(),
        }
    }

    /// A report that is thrown away, of the same configuration.
    pub(crate) fn unread_beside(&self) -> Self {
        Self {
            directories: self.directories.clone(),
            texts: self.texts.clone(),
            networks: Arc::clone(&self.networks),
            ..Self::unread()
        }
    }

    /// A report that is thrown away.
    pub(crate) fn unread() -> Self {
        Self::new(|_| None)
    }

    /// What to do about a key that stands in the wrong table.
    pub(crate) fn elsewhere(&self, key: &str) -> Option<String> {
        (self.elsewhere)(key)
    }

    pub(crate) fn error(&mut self, span: Span, message: impl Into<String>) -> &mut Problem {
        self.push(Severity::Error, span, message.into())
    }

    pub(crate) fn warning(&mut self, span: Span, message: impl Into<String>) -> &mut Problem {
        self.push(Severity::Warning, span, message.into())
    }

    pub(crate) fn has_errors(&self) -> bool {
        self.problems.iter().any(|problem| problem.severity == Severity::Error)
    }

    pub(crate) fn len(&self) -> usize {
        self.problems.len()
    }

    /// What was reported about this value since then would also be valid as this word.
    pub(crate) fn also_expected(&mut self, since: usize, span: Span, word: &str) {
        // What stands in no file has no place to compare by.
        let here = |problem: &&mut Problem| span != Span::NOWHERE && problem.span == span;
        for problem in self.problems.iter_mut().skip(since).filter(here) {
            if let Some(expected) = &mut problem.expected {
                expected.push_str(&format!(", or \"{word}\""));
            }
        }
    }

    /// Adds help to what was reported last, if that was about this very value and has none.
    pub(crate) fn help_at(&mut self, span: Span, what: impl Into<String>) {
        if let Some(problem) = self.problems.last_mut().filter(|problem| problem.span == span) {
            problem.suggestion.get_or_insert_with(|| what.into());
        }
    }

    /// No string on the lines of this span is shown: its key is not known, so neither is whether it is a secret.
    pub(crate) fn hide_strings(&mut self, span: Span, key: Span) {
        self.hidden.push((span, key));
    }

    /// A value that may be a secret is wrong: only these pieces of it are shown.
    pub(crate) fn hide_value(&mut self, span: Span, shown: Vec<String>) {
        self.values.push((span, shown));
    }

    /// What paths are relative to, by the file that they stand in.
    pub(crate) fn set_directories(&mut self, directories: Vec<PathBuf>) {
        self.directories = directories;
    }

    /// The texts of files that the configuration names, which are read before it is.
    pub(crate) fn set_texts(&mut self, texts: Texts) {
        self.texts = texts;
    }

    /// The text of a file, or why it could not be read; `None` where none was.
    pub(crate) fn text_of(&self, path: &Path) -> Option<Result<Arc<str>, String>> {
        self.texts.iter().find(|(known, _)| known == path).map(|(_, text)| text.clone())
    }

    /// What the names of networks stand for; `None` where that could not be read.
    pub(crate) fn set_networks(&mut self, networks: Vec<NamedNetworks>) {
        self.networks = networks.into();
    }

    /// See [`set_networks`](Self::set_networks).
    pub(crate) fn networks(&self) -> Arc<[NamedNetworks]> {
        Arc::clone(&self.networks)
    }

    /// Where the file at this path is that the file of this number names.
    pub(crate) fn path_in(&self, file: usize, path: &Path) -> PathBuf {
        relative_to(self.directories.get(file).cloned().unwrap_or_default(), path)
    }

    /// A file of certificates or keys is named here; what is wrong with it is found later, by others. Returns where it is.
    pub(crate) fn names_file(&mut self, path: &Path, span: Span) -> PathBuf {
        let path = self.path_in(span.file, path);
        self.files.push((path.clone(), span));
        path
    }

    /// Marks in the sources what must not be shown, and which files they name.
    pub(crate) fn hide_in(&mut self, sources: &mut Sources) {
        sources.named.append(&mut self.files);
        for (span, key) in self.hidden.drain(..) {
            sources.hide_strings(span, key);
        }
        for (span, shown) in self.values.drain(..) {
            sources.hide_value(span, &shown);
        }
    }

    pub(crate) fn into_problems(self) -> Vec<Problem> {
        self.problems
    }

    fn push(&mut self, severity: Severity, span: Span, message: String) -> &mut Problem {
        let at = self.problems.len();
        self.problems.push(Problem { severity, span, message, expected: None, suggestion: None, related: Vec::new() });
        &mut self.problems[at]
    }
}
