//! Diagnostics on a terminal: the same text, with colours where they help the eye.

use std::fmt::Write as _;
use std::io::{self, IsTerminal};

use lb_config::{Diagnostic, Diagnostics, Severity};

use crate::complain;

/// Writes them to standard error, each followed by an empty line.
pub(crate) fn show(diagnostics: &Diagnostics) {
    diagnostics.iter().for_each(show_one);
}

/// Writes one to standard error, followed by an empty line.
pub(crate) fn show_one(diagnostic: &Diagnostic) {
    let text = diagnostic.to_string();
    complain(&format!("{}\n", if wants_colours(&io::stderr()) { painted(diagnostic, &text) } else { text }));
}

/// Whether it is a terminal and colour was not turned off (no-color.org).
pub(crate) fn wants_colours(out: &impl IsTerminal) -> bool {
    out.is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
}

/// Colours of eight, as every terminal has them.
pub(crate) mod colour {
    pub(crate) const BOLD: &str = "1";
    pub(crate) const DIM: &str = "2";
    pub(crate) const RED: &str = "31";
    pub(crate) const GREEN: &str = "32";
    pub(crate) const YELLOW: &str = "33";
    pub(crate) const CYAN: &str = "36";
}

/// The text in a colour.
pub(crate) fn in_colour(colour: &str, text: &str) -> String {
    format!("\x1b[{colour}m{text}\x1b[0m")
}

fn painted(diagnostic: &Diagnostic, text: &str) -> String {
    let loud = match diagnostic.severity {
        Severity::Error => colour::RED,
        Severity::Warning => colour::YELLOW,
    };
    let heading = format!("{}: {}", diagnostic.severity, diagnostic.message);
    let mut out = String::with_capacity(text.len() + 64);
    for (at, line) in text.lines().enumerate() {
        // Writing to a String cannot fail.
        let _ = match (at, line.strip_suffix(heading.as_str()), line.split_once(['|', '='])) {
            (0, Some(place), _) => {
                let severity = format!("{}:", diagnostic.severity);
                let message = in_colour(colour::BOLD, &diagnostic.message);
                writeln!(out, "{place}{} {message}", in_colour(loud, &severity))
            }
            // The line of carets.
            (_, _, Some((margin, marks))) if !marks.is_empty() && marks.chars().all(|mark| " \t^".contains(mark)) => {
                writeln!(out, "{}{}", in_colour(colour::DIM, &format!("{margin}|")), in_colour(loud, marks))
            }
            (_, _, Some((margin, words))) if margin.trim().is_empty() && line.contains("= ") && !line.contains('|') => {
                let (word, rest) = words.trim_start().split_once(' ').unwrap_or((words, ""));
                writeln!(out, "{margin}= {} {rest}", in_colour(colour::CYAN, word))
            }
            _ => writeln!(out, "{line}"),
        };
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plain(text: &str) -> String {
        let mut out = String::new();
        let mut rest = text;
        while let Some((before, after)) = rest.split_once("\x1b[") {
            out += before;
            rest = after.split_once('m').map_or("", |(_, rest)| rest);
        }
        out + rest
    }

    #[test]
    fn colours_change_nothing_but_the_colours() {
        let wrong =
            "workerz = 2\n\n[[listener]]\naddress = \"x|y = 1\"\n[[route]]\ncluster = \"a = b | c\"\n\tpath = 3";
        let diagnostics = lb_config::Config::parse(wrong, &|_| None).unwrap_err();
        assert!(diagnostics.len() >= 3, "{diagnostics}");
        for diagnostic in &diagnostics {
            let text = diagnostic.to_string();
            let painted = painted(diagnostic, &text);
            assert_eq!(plain(&painted), text);
            assert!(
                painted.contains("\x1b[31merror:\x1b[0m") || painted.contains("\x1b[33mwarning:\x1b[0m"),
                "{painted}"
            );
        }
    }

    #[test]
    fn what_is_marked_is_marked_in_red() {
        let diagnostics = lb_config::Config::parse("workerz = 2", &|_| None).unwrap_err();
        let first = diagnostics.iter().next().unwrap();
        assert!(painted(first, &first.to_string()).contains("\x1b[31m ^^^^^^^\x1b[0m"));
    }
}
