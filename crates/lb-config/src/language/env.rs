//! `${NAME}` and `${NAME:-default}` inside a string.
//!
//! Substitution happens on strings that TOML has already delimited, and its result is never looked at again: whatever
//! a variable holds, it stays one string and cannot become a key, a table or another variable.

use crate::language::foreign_variables;

/// A string after substitution.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Expanded {
    pub(crate) text: String,
    /// Whether any variable took part.
    pub(crate) from_env: bool,
}

/// What is wrong with one `${…}`.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct EnvError {
    pub(crate) message: String,
    pub(crate) help: String,
    /// The offending piece of the text, to find it in the source.
    pub(crate) piece: String,
}

/// Replaces every `${…}`; `$${` stands for `${`, any other `$` for itself. An empty variable counts as unset where
/// there is a default, as in the shell.
pub(crate) fn expand(text: &str, env: &mut dyn FnMut(&str) -> Option<String>) -> Result<Expanded, Vec<EnvError>> {
    let mut out = Expanded { text: String::with_capacity(text.len()), from_env: false };
    let mut errors = Vec::new();
    let mut rest = text;
    while let Some(at) = rest.find('$') {
        out.text.push_str(&rest[..at]);
        rest = &rest[at..];
        if let Some(after) = rest.strip_prefix("$${") {
            out.text.push_str("${");
            rest = after;
        } else if let Some(after) = rest.strip_prefix("${") {
            let Some(end) = after.find('}') else {
                errors.push(EnvError {
                    message: "`${` without a closing `}`".into(),
                    help: "write `$${` for a literal `${`".into(),
                    piece: rest.into(),
                });
                return Err(errors);
            };
            let piece = &rest[..end + 3];
            match variable(&after[..end], piece, env) {
                Ok(value) => out.text.push_str(&value),
                Err(error) => errors.push(error),
            }
            out.from_env = true;
            rest = &after[end + 1..];
        } else {
            out.text.push('$');
            rest = &rest[1..];
        }
    }
    out.text.push_str(rest);
    if errors.is_empty() { Ok(out) } else { Err(errors) }
}

fn variable(inner: &str, piece: &str, env: &mut dyn FnMut(&str) -> Option<String>) -> Result<String, EnvError> {
    let (name, default) = inner.split_once(":-").map_or((inner, None), |(name, default)| (name, Some(default)));
    let is_name = name.chars().all(|char| char.is_ascii_alphanumeric() || char == '_')
        && name.chars().next().is_some_and(|char| !char.is_ascii_digit());
    if !is_name {
        let help = match foreign_variables::placeholder(name) {
            Some(ours) => format!("write `{{{ours}}}`: a variable of the request has no `$`"),
            None if name.chars().all(|char| char.is_ascii_digit()) && !name.is_empty() => {
                "there are no groups of a regular expression here; write `$${` for a literal `${`".to_owned()
            }
            None => "write `${NAME}` or `${NAME:-default}`, and `$${` for a literal `${`".to_owned(),
        };
        return Err(EnvError {
            message: format!("`{piece}` does not name an environment variable"),
            help,
            piece: piece.into(),
        });
    }
    match (env(name), default) {
        (Some(value), Some(default)) if value.is_empty() => Ok(default.into()),
        (Some(value), _) => Ok(value),
        (None, Some(default)) => Ok(default.into()),
        (None, None) => Err(EnvError {
            message: format!("the environment variable `{name}` is not set"),
            // nginx's `${host}`, or our own with a `$` too many.
            help: match foreign_variables::nginx(name).filter(|ours| !ours.is_empty()) {
                Some(ours) => format!("write `{ours}` for the request's, or set it in the environment"),
                None => format!("set it, or give a default: `${{{name}:-default}}`"),
            },
            piece: piece.into(),
        }),
    }
}

/// Every `${NAME}` in a text, as it stands there; one with a default, which may be a secret, is left out.
pub(crate) fn references(text: &str) -> Vec<String> {
    let inner = text.match_indices("${").filter_map(|(at, _)| text[at + 2..].split('}').next());
    inner.filter(|inner| !inner.contains(":-")).map(|inner| format!("${{{inner}}}")).collect()
}

/// The opposite: a string that [`expand`] leaves as it is.
pub(crate) fn escape(text: &str) -> String {
    text.replace("${", "$${")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(text: &str) -> Result<Expanded, Vec<EnvError>> {
        expand(text, &mut |name| match name {
            "A" => Some("a".into()),
            "EMPTY" => Some(String::new()),
            "TRICKY" => Some("${A}\"\n[admin]".into()),
            _ => None,
        })
    }

    #[test]
    fn variables_defaults_and_escapes() {
        for (text, expected, from_env) in [
            ("plain", "plain", false),
            ("", "", false),
            ("${A}b${A}", "aba", true),
            ("${NONE:-x}", "x", true),
            ("${NONE:-}", "", true),
            ("${EMPTY:-x}", "x", true),
            ("${EMPTY}", "", true),
            ("$${A}", "${A}", false),
            ("^/x$", "^/x$", false),
            ("$", "$", false),
            ("$$", "$$", false),
            ("ä$A ${A}", "ä$A a", true),
        ] {
            assert_eq!(run(text), Ok(Expanded { text: expected.into(), from_env }), "{text}");
        }
    }

    #[test]
    fn a_value_is_not_substituted_again() {
        assert_eq!(run("${TRICKY}").unwrap().text, "${A}\"\n[admin]");
    }

    #[test]
    fn every_wrong_one_is_named() {
        let errors = run("${NONE} ${1} ${} ${A").unwrap_err();
        let messages: Vec<_> = errors.iter().map(|error| error.message.as_str()).collect();
        assert_eq!(
            messages,
            [
                "the environment variable `NONE` is not set",
                "`${1}` does not name an environment variable",
                "`${}` does not name an environment variable",
                "`${` without a closing `}`",
            ]
        );
    }

    #[test]
    fn escaping_is_undone_by_expanding() {
        for text in ["", "${A}", "$${A}", "$$${", "a$b{c}"] {
            assert_eq!(run(&escape(text)).unwrap(), Expanded { text: text.into(), from_env: false }, "{text}");
        }
    }
}
