//! From nodes to values. Each conversion reports what is wrong and returns `None` then.

use std::time::Duration;

use crate::language::diagnostic::Report;
use crate::language::foreign_variables;
use crate::language::suggest::{nearest, one_of};
use crate::language::template::TemplateError;
use crate::language::template::{Template, Variable};
use crate::language::tree::{Entry, Node, Value};
use crate::language::values::status::Condition;
use crate::language::values::status::{self, FAILURES};
use crate::language::values::{ValueError, quantity};

/// The value is of another kind altogether. A value already complained about is passed over.
pub(crate) fn mismatch(report: &mut Report, node: &Node, expected: impl Into<String>) {
    if !matches!(node.value, Value::Broken) {
        report.error(node.span, format!("{} does not fit here", node.kind())).expected(expected);
    }
}

/// The value is of the right kind but wrong. Help that would repeat the environment's value is left out.
pub(crate) fn wrong(report: &mut Report, node: &Node, wrong: ValueError) {
    let problem = report.error(node.span, format!("{} {}", node.shown(), wrong.what)).expected(wrong.expected);
    if let Some(help) = wrong.help.filter(|_| !node.is_from_env()) {
        problem.help(help);
    }
}

/// A string, read by `parse`.
pub(crate) fn read<T>(
    report: &mut Report,
    node: &Node,
    expected: &str,
    parse: impl FnOnce(&str) -> Result<T, ValueError>,
) -> Option<T> {
    let Some(text) = node.text() else {
        mismatch(report, node, expected);
        return None;
    };
    parse(text).map_err(|error| wrong(report, node, error)).ok()
}

/// A string that is not empty.
pub(crate) fn text(report: &mut Report, node: &Node) -> Option<String> {
    const EXPECTED: &str = "a text that is not empty";
    read(report, node, EXPECTED, |text| match text {
        "" => Err(ValueError::new("is empty", EXPECTED)),
        text => Ok(text.to_owned()),
    })
}

/// A name for logs and metrics.
pub(crate) fn name(report: &mut Report, node: &Node) -> Option<String> {
    read(report, node, "a name", |text| checked_name(text).map(str::to_owned))
}

pub(crate) fn checked_name(text: &str) -> Result<&str, ValueError> {
    const EXPECTED: &str = "a name of 1 to 200 characters without spaces or control characters";
    if text.is_empty()
        || text.chars().count() > 200
        || text.chars().any(|char| char.is_whitespace() || char.is_control())
    {
        return Err(ValueError::new("is not a name", EXPECTED));
    }
    Ok(text)
}

pub(crate) fn boolean(report: &mut Report, node: &Node) -> Option<bool> {
    match (&node.value, node.text()) {
        (Value::Bool(truth), _) => return Some(*truth),
        (_, Some("true")) if node.is_from_env() => return Some(true),
        (_, Some("false")) if node.is_from_env() => return Some(false),
        (_, Some(_)) if node.is_from_env() => {
            wrong(report, node, ValueError::new("is not a boolean", "`true` or `false`"));
        }
        _ => mismatch(report, node, "`true` or `false`"),
    }
    None
}

/// A whole number within bounds.
pub(crate) fn integer<T: TryFrom<i64>>(report: &mut Report, node: &Node, (min, max): (i64, i64)) -> Option<T> {
    let expected = match max {
        i64::MAX => format!("a whole number of at least {min}"),
        max => format!("a whole number from {min} to {max}"),
    };
    let number = match (&node.value, node.text()) {
        (Value::Integer(number), _) => *number,
        (_, Some(text)) if node.is_from_env() => match text.trim().parse() {
            Ok(number) => number,
            Err(_) => {
                wrong(report, node, ValueError::new("is not a whole number", expected));
                return None;
            }
        },
        (_, Some(text)) if text.parse::<i64>().is_ok() => {
            let help = format!("write {text} without quotes");
            report.error(node.span, "a string does not fit here").expected(expected).help(help);
            return None;
        }
        _ => {
            mismatch(report, node, expected);
            return None;
        }
    };
    let fits = (min..=max).contains(&number).then(|| T::try_from(number).ok()).flatten();
    if fits.is_none() {
        let what = if number < min { "is too small" } else { "is too large" };
        wrong(report, node, ValueError::new(what, expected));
    }
    fits
}

/// A duration; whether it may be zero.
pub(crate) fn duration(report: &mut Report, node: &Node, zero: bool) -> Option<Duration> {
    if let Value::Integer(number) = node.value {
        let help = format!("write \"{number}s\" or \"{number}ms\"");
        wrong(report, node, ValueError::new("has no unit", quantity::DURATION).help(help));
        return None;
    }
    read(report, node, quantity::DURATION, |text| match quantity::duration(text)? {
        Duration::ZERO if !zero => Err(ValueError::new("is no time at all", "a duration of at least \"1ms\"")),
        duration => Ok(duration),
    })
}

/// A size of at least so many bytes.
pub(crate) fn size(report: &mut Report, node: &Node, min: u64) -> Option<u64> {
    if let Value::Integer(number) = node.value {
        let help = format!("write \"{number}B\"");
        wrong(report, node, ValueError::new("has no unit", quantity::SIZE).help(help));
        return None;
    }
    read(report, node, quantity::SIZE, |text| match quantity::size(text)? {
        0 if min == 1 => {
            Err(ValueError::new("would refuse everything", "at least \"1B\"").help("write \"none\" for no limit"))
        }
        bytes if bytes < min => {
            Err(ValueError::new("is too small", format!("at least \"{}\"", quantity::show_size(min))))
        }
        bytes => Ok(bytes),
    })
}

pub(crate) fn share(report: &mut Report, node: &Node) -> Option<f64> {
    read(report, node, quantity::SHARE, quantity::share)
}

/// A conversion that also takes a word for "no value".
pub(crate) fn or_word<T>(
    word: &'static str,
    convert: impl FnOnce(&mut Report, &Node) -> Option<T>,
) -> impl FnOnce(&mut Report, &Node) -> Option<Option<T>> {
    move |report, node| {
        if node.text() == Some(word) {
            return Some(None);
        }
        let before = report.len();
        let value = convert(report, node).map(Some);
        report.also_expected(before, node.span, word);
        value
    }
}

/// One of some words.
pub(crate) fn word<T: Clone>(report: &mut Report, node: &Node, words: &[(&str, T)]) -> Option<T> {
    let list: Vec<String> = words.iter().map(|(word, _)| format!("\"{word}\"")).collect();
    let expected = one_of(&list);
    let Some(text) = node.text() else {
        mismatch(report, node, expected);
        return None;
    };
    let found = words.iter().find(|(word, _)| *word == text).map(|(_, value)| value.clone());
    if found.is_none() {
        let error = ValueError::new("is not known here", expected);
        let near = nearest(text, words.iter().map(|(word, _)| *word));
        wrong(
            report,
            node,
            near.into_iter().fold(error, |error, near| error.help(format!("did you mean \"{near}\"?"))),
        );
    }
    found
}

/// A list; every element is converted, so that every mistake is reported.
pub(crate) fn list<T>(
    mut convert: impl FnMut(&mut Report, &Node) -> Option<T>,
) -> impl FnMut(&mut Report, &Node) -> Option<Vec<T>> {
    move |report, node| {
        let Value::List(items) = &node.value else {
            if !matches!(node.value, Value::Broken) {
                let problem = report.error(node.span, format!("{} does not fit here", node.kind())).expected("a list");
                if let (Some(text), false) = (node.text(), node.is_from_env()) {
                    problem.help(format!("write [\"{text}\"]"));
                }
            }
            return None;
        };
        let converted: Vec<Option<T>> = items.iter().map(|item| convert(report, item)).collect();
        converted.into_iter().collect()
    }
}

/// A table whose keys are names.
pub(crate) fn map<T>(
    report: &mut Report,
    node: &Node,
    expected: &str,
    mut convert: impl FnMut(&mut Report, &Entry) -> Option<T>,
) -> Option<Vec<T>> {
    let Some(table) = node.table() else {
        mismatch(report, node, expected);
        return None;
    };
    let converted: Vec<Option<T>> = table.entries.iter().map(|entry| convert(report, entry)).collect();
    converted.into_iter().collect()
}

/// A status, a class or a range: `404`, `"5xx"`, `"500-504"`.
pub(crate) fn statuses(report: &mut Report, node: &Node) -> Option<(u16, u16)> {
    if let Value::Integer(number) = node.value {
        let range = status::range(&number.to_string());
        return range.map_err(|error| wrong(report, node, error)).ok();
    }
    read(report, node, status::STATUSES, status::range)
}

/// A failure by name, or statuses of at least `min`.
pub(crate) fn condition(min: u16) -> impl Fn(&mut Report, &Node) -> Option<Condition> {
    move |report, node| {
        let named = node.text().and_then(|text| FAILURES.iter().find(|(name, _)| *name == text));
        if let Some((_, condition)) = named {
            return Some(*condition);
        }
        let names: Vec<String> = FAILURES.iter().map(|(name, _)| format!("\"{name}\"")).collect();
        let expected = format!("{} or {}", names.join(", "), status::STATUSES);
        let range = match (&node.value, node.text()) {
            (Value::Integer(number), _) => status::range(&number.to_string()),
            (_, Some(text)) => {
                status::range(text).map_err(|error| match nearest(text, FAILURES.iter().map(|(name, _)| *name)) {
                    Some(near) => error.help(format!("did you mean \"{near}\"?")),
                    None => error,
                })
            }
            _ => {
                mismatch(report, node, expected);
                return None;
            }
        };
        match range {
            Ok((from, to)) if from >= min => Some(Condition::Status { from, to }),
            Ok(_) => {
                let what = format!("is no failure: statuses below {min} do not count here");
                wrong(report, node, ValueError::new(what, expected));
                None
            }
            Err(error) => {
                let unknown = error.what == "is not a status" && node.text().is_some();
                let what = if unknown { "is neither a failure nor a status".into() } else { error.what };
                wrong(report, node, ValueError { what, expected, help: error.help });
                None
            }
        }
    }
}

/// Where a template is filled in, which decides what can be known there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum FillPhase {
    /// After the endpoint was picked.
    Sent,
    /// Before: there is no endpoint yet.
    Routed,
    /// Before anybody is asked who they are.
    Limited,
    /// On a route that forwards nothing.
    Answered,
}

pub(crate) fn template(phase: FillPhase) -> impl Fn(&mut Report, &Node) -> Option<Template> {
    move |report, node| {
        let Some(text) = node.text() else {
            mismatch(report, node, "a text");
            return None;
        };
        let template = match Template::parse(text) {
            Ok(template) => template,
            Err(errors) => {
                errors.into_iter().for_each(|error| template_error(report, node, error));
                return None;
            }
        };
        let early = |variable: &&Variable| match phase {
            FillPhase::Sent => false,
            FillPhase::Limited => matches!(variable, Variable::Endpoint | Variable::User),
            FillPhase::Routed => **variable == Variable::Endpoint,
            FillPhase::Answered => matches!(variable, Variable::Endpoint | Variable::Cluster),
        };
        if let Some(variable) = template.variables().find(early) {
            let yet = if *variable == Variable::User {
                "nobody has been authenticated"
            } else {
                "no endpoint has been picked"
            };
            report.error(node.span, format!("`{{{variable}}}` is not known here: {yet}"));
            return None;
        }
        if !node.is_from_env() {
            warn_of_foreign_variables(report, node, text);
        }
        Some(template)
    }
}

/// `$host` is text here, and was hardly meant to be.
fn warn_of_foreign_variables(report: &mut Report, node: &Node, text: &str) {
    let found = foreign_variables::variables(text);
    if found.is_empty() {
        return;
    }
    let theirs: Vec<String> = found.iter().map(|(theirs, _)| format!("`{theirs}`")).collect();
    let ours: Vec<String> = found
        .iter()
        .filter(|(_, ours)| !ours.is_empty())
        .map(|(theirs, ours)| format!("`{ours}` for `{theirs}`"))
        .collect();
    let help = match ours.as_slice() {
        [] => "lbproxy has no variable for it".to_owned(),
        ours => format!("write {}", ours.join(", ")),
    };
    let stands = if theirs.len() == 1 { "is sent as it stands" } else { "are sent as they stand" };
    report
        .warning(node.span, format!("{} {stands}: a variable is written in braces here", theirs.join(", ")))
        .help(help);
}

fn template_error(report: &mut Report, node: &Node, error: TemplateError) {
    if node.is_from_env() {
        report.error(node.span, format!("{} has a `{{word}}` in it that is not a variable", node.shown()));
    } else {
        report.error(node.span, error.message).help(error.help);
    }
}
