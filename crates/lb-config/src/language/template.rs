//! Text with `{variables}`, filled in for each request.
//!
//! A fixed answer is often JSON, so a brace cannot be special everywhere. The rule: `{` begins a variable only where a
//! letter or `_` follows and the word runs on to `}` or to `:name}`; anywhere else a brace is a brace. That leaves
//! `{"ok":true}` and `{"a":{"b":1}}` alone. `{{` is a literal `{`, and the `}}` that answers it a literal `}`; a brace
//! after `$` is a brace as well, since `$${x}` in a file stands for the text `${x}`.
//! A word in braces that is no variable is an error, never text, since it is usually a mistake.

use std::fmt;
use std::sync::Arc;

use crate::language::foreign_variables;
use crate::language::suggest::nearest;
use crate::language::values::http::is_token;

/// Text with `{variables}`.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Template {
    /// The pieces in order; a plain text is one piece.
    pub parts: Vec<Part>,
}

/// A piece of a [`Template`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Part {
    /// Text as it stands.
    Text(Arc<str>),
    /// A variable of the request.
    Variable(Variable),
}

/// A variable of the request.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Variable {
    ClientIp,
    Host,
    Path,
    Query,
    Uri,
    Scheme,
    Method,
    ListenerPort,
    RequestId,
    Route,
    Cluster,
    Endpoint,
    /// Who authentication has let in; empty where nobody was asked.
    User,
    /// A request header, lower case.
    Header(Arc<str>),
    /// A request cookie.
    Cookie(Arc<str>),
}

/// The variables that take no name.
const PLAIN: [(&str, Variable); 13] = [
    ("client_ip", Variable::ClientIp),
    ("host", Variable::Host),
    ("path", Variable::Path),
    ("query", Variable::Query),
    ("uri", Variable::Uri),
    ("scheme", Variable::Scheme),
    ("method", Variable::Method),
    ("listener_port", Variable::ListenerPort),
    ("request_id", Variable::RequestId),
    ("route", Variable::Route),
    ("cluster", Variable::Cluster),
    ("endpoint", Variable::Endpoint),
    ("user", Variable::User),
];

/// The variables that take one.
const NAMED: [&str; 2] = ["header", "cookie"];

/// What is wrong with a piece of a template.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct TemplateError {
    /// The piece, braces included.
    pub(crate) piece: String,
    pub(crate) message: String,
    pub(crate) help: String,
}

impl Template {
    pub(crate) fn parse(text: &str) -> Result<Self, Vec<TemplateError>> {
        let mut parser = Parser { parts: Vec::new(), literal: String::new(), open: 0 };
        let mut errors = Vec::new();
        let mut rest = text;
        while let Some(at) = rest.find(['{', '}']) {
            parser.literal.push_str(&rest[..at]);
            rest = parser.brace(&rest[at..]).unwrap_or_else(|(error, after)| {
                errors.push(error);
                after
            });
        }
        parser.literal.push_str(rest);
        parser.flush();
        if errors.is_empty() { Ok(Self { parts: parser.parts }) } else { Err(errors) }
    }

    /// The template of a page: whatever is no variable is text as it stands, doubled braces too. A page may hold a script, a style, or
    /// the braces of another template language.
    #[must_use]
    pub fn of_page(text: &str) -> Self {
        let mut parser = Parser { parts: Vec::new(), literal: String::new(), open: 0 };
        let mut rest = text;
        while let Some(at) = rest.find('{') {
            parser.literal.push_str(&rest[..at]);
            rest = &rest[at..];
            let found = match reference(rest) {
                Some((word, name, after)) if !parser.literal.ends_with(['$', '{']) => {
                    variable(word, name).ok().map(|variable| (variable, after))
                }
                _ => None,
            };
            match found {
                Some((variable, after)) => {
                    parser.flush();
                    parser.parts.push(Part::Variable(variable));
                    rest = after;
                }
                None => {
                    parser.literal.push('{');
                    rest = &rest[1..];
                }
            }
        }
        parser.literal.push_str(rest);
        parser.flush();
        Self { parts: parser.parts }
    }

    /// A template of this very text, braces and all.
    #[must_use]
    pub fn literal(text: &str) -> Self {
        if text.is_empty() { Self::default() } else { Self { parts: vec![Part::Text(text.into())] } }
    }

    /// The variables in it, in order.
    pub fn variables(&self) -> impl Iterator<Item = &Variable> {
        self.parts.iter().filter_map(|part| match part {
            Part::Variable(variable) => Some(variable),
            Part::Text(_) => None,
        })
    }

    /// Whether nothing can come out of it.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.parts.is_empty()
    }
}

struct Parser {
    parts: Vec<Part>,
    literal: String,
    /// How many `{{` still wait for their `}}`.
    open: usize,
}

impl Parser {
    /// Takes what begins with the brace at the start of `rest`; returns what is left.
    fn brace<'a>(&mut self, rest: &'a str) -> Result<&'a str, (TemplateError, &'a str)> {
        if let Some(after) = rest.strip_prefix("{{") {
            self.literal.push('{');
            self.open += 1;
            return Ok(after);
        }
        if self.literal.ends_with('$') && rest.starts_with('{') {
            self.literal.push('{');
            return Ok(&rest[1..]);
        }
        if self.open > 0
            && let Some(after) = rest.strip_prefix("}}")
        {
            self.literal.push('}');
            self.open -= 1;
            return Ok(after);
        }
        let Some((word, name, after)) = reference(rest) else {
            self.literal.push_str(&rest[..1]);
            return Ok(&rest[1..]);
        };
        match variable(word, name) {
            Ok(variable) => {
                self.flush();
                self.parts.push(Part::Variable(variable));
                Ok(after)
            }
            Err((message, help)) => {
                let piece = rest[..rest.len() - after.len()].to_owned();
                Err((TemplateError { piece, message, help }, after))
            }
        }
    }

    fn flush(&mut self) {
        if !self.literal.is_empty() {
            self.parts.push(Part::Text(std::mem::take(&mut self.literal).into()));
        }
    }
}

/// Splits `{word}…` or `{word:name}…`; `None` if the brace is only a brace.
fn reference(rest: &str) -> Option<(&str, Option<&str>, &str)> {
    let inner = rest.strip_prefix('{')?;
    if !inner.starts_with(|char: char| char.is_ascii_alphabetic() || char == '_') {
        return None;
    }
    let end = inner.find(|char: char| !char.is_ascii_alphanumeric() && !"_-.".contains(char))?;
    let (word, tail) = inner.split_at(end);
    if let Some(after) = tail.strip_prefix('}') {
        return Some((word, None, after));
    }
    let (name, after) = tail.strip_prefix(':')?.split_once('}')?;
    (name.is_empty() || is_token(name)).then_some((word, Some(name), after))
}

fn variable(word: &str, name: Option<&str>) -> Result<Variable, (String, String)> {
    let literal = "write `{{` for a literal brace";
    match name {
        None => {
            if let Some((_, variable)) = PLAIN.iter().find(|(known, _)| *known == word) {
                return Ok(variable.clone());
            }
            if NAMED.contains(&word) {
                return Err((format!("`{{{word}}}` names no {word}"), format!("write `{{{word}:NAME}}`")));
            }
            if let Some(ours) = foreign_variables::placeholder(word) {
                return Err((format!("`{{{word}}}` is not a variable"), format!("write `{{{ours}}}`")));
            }
            let known = PLAIN.iter().map(|(known, _)| *known);
            let help = nearest(word, known).map_or_else(
                || format!("{literal}; the variables are {}", list()),
                |near| format!("did you mean `{{{near}}}`? {literal}"),
            );
            Err((format!("`{{{word}}}` is not a variable"), help))
        }
        Some("") => Err((format!("`{{{word}:}}` has no name"), format!("write `{{{word}:NAME}}`"))),
        Some(name) => match word {
            "header" => Ok(Variable::Header(name.to_ascii_lowercase().into())),
            "cookie" => Ok(Variable::Cookie(name.into())),
            _ => {
                let help = nearest(word, NAMED).map_or_else(
                    || format!("{literal}; only `{{header:NAME}}` and `{{cookie:NAME}}` take a name"),
                    |near| format!("did you mean `{{{near}:{name}}}`? {literal}"),
                );
                Err((format!("`{{{word}:{name}}}` is not a variable"), help))
            }
        },
    }
}

fn list() -> String {
    let mut all: Vec<String> = PLAIN.iter().map(|(name, _)| format!("`{{{name}}}`")).collect();
    all.push("`{header:NAME}`".into());
    all.push("`{cookie:NAME}`".into());
    all.join(", ")
}

impl Variable {
    /// Whether a client may write into it whatever it likes. The others hold what we know, or a name, an address or a
    /// word of few characters.
    #[must_use]
    pub const fn is_free_text(&self) -> bool {
        matches!(self, Self::Path | Self::Query | Self::Uri | Self::Header(_) | Self::Cookie(_))
    }
}

/// As it is written in the configuration, without braces.
impl fmt::Display for Variable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Header(name) => write!(f, "header:{name}"),
            Self::Cookie(name) => write!(f, "cookie:{name}"),
            plain => {
                let known = PLAIN.iter().find(|(_, known)| known == plain);
                f.write_str(known.map_or("", |(name, _)| name))
            }
        }
    }
}

/// Text that is read back as this very template; braces are doubled only where they would mean something.
impl fmt::Display for Template {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut open = 0_usize;
        for (at, part) in self.parts.iter().enumerate() {
            match part {
                Part::Variable(variable) => write!(f, "{{{variable}}}")?,
                Part::Text(text) => {
                    let joins = matches!(self.parts.get(at + 1), Some(Part::Variable(_) | Part::Text(_)));
                    write_literal(f, text, joins, &mut open)?;
                }
            }
        }
        Ok(())
    }
}

fn write_literal(f: &mut fmt::Formatter<'_>, text: &Arc<str>, joins: bool, open: &mut usize) -> fmt::Result {
    let mut chars = text.chars().peekable();
    let mut previous = None;
    while let Some(char) = chars.next() {
        let means_something = match chars.peek() {
            Some('{') => true,
            Some(next) => previous != Some('$') && (next.is_ascii_alphabetic() || *next == '_'),
            None => joins,
        };
        match char {
            '{' if means_something => {
                *open += 1;
                f.write_str("{{")?;
            }
            '}' if *open > 0 => {
                *open -= 1;
                f.write_str("}}")?;
            }
            other => write!(f, "{other}")?,
        }
        previous = Some(char);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(text: &str) -> Part {
        Part::Text(text.into())
    }

    #[test]
    fn json_needs_no_escapes() {
        for body in [
            r#"{"ok":true}"#,
            r#"{"a":{"b":1}}"#,
            "{}",
            "{ x }",
            "}",
            "}}",
            "{",
            "a{1}",
            "{\n}",
            "{ok",
            "{ok or}",
            "${host}",
            "$${x",
        ] {
            assert_eq!(Template::parse(body), Ok(Template { parts: vec![text(body)] }), "{body}");
        }
        assert_eq!(Template::parse(""), Ok(Template::default()));
    }

    #[test]
    fn variables_are_found_between_text() {
        let parsed = Template::parse(r#"{"ip":"{client_ip}","h":{"x":"{header:X-Env}"}} {cookie:Id}"#).unwrap();
        assert_eq!(
            parsed.parts,
            [
                text(r#"{"ip":""#),
                Part::Variable(Variable::ClientIp),
                text(r#"","h":{"x":""#),
                Part::Variable(Variable::Header("x-env".into())),
                text(r#""}} "#),
                Part::Variable(Variable::Cookie("Id".into())),
            ]
        );
    }

    #[test]
    fn doubled_braces_are_literal() {
        for (written, literal) in
            [("{{client_ip}}", "{client_ip}"), ("{{", "{"), ("{{}}}", "{}}"), ("{{a}} }}", "{a} }}")]
        {
            assert_eq!(Template::parse(written), Ok(Template { parts: vec![text(literal)] }), "{written}");
        }
        let around = Template::parse("{{{host}}}").unwrap();
        assert_eq!(around.parts, [text("{"), Part::Variable(Variable::Host), text("}")]);
    }

    #[test]
    fn slips_are_errors_with_the_nearest_variable() {
        let errors =
            Template::parse("{clientip} {client-ip} {nothing_like_it} {header} {header:} {heder:X} {a:b}").unwrap_err();
        let messages: Vec<_> = errors.iter().map(|error| error.message.as_str()).collect();
        assert_eq!(
            messages,
            [
                "`{clientip}` is not a variable",
                "`{client-ip}` is not a variable",
                "`{nothing_like_it}` is not a variable",
                "`{header}` names no header",
                "`{header:}` has no name",
                "`{heder:X}` is not a variable",
                "`{a:b}` is not a variable",
            ]
        );
        assert!(errors[0].help.starts_with("did you mean `{client_ip}`?"));
        assert!(errors[1].help.starts_with("did you mean `{client_ip}`?"));
        assert!(errors[5].help.starts_with("did you mean `{header:X}`?"));
    }

    #[test]
    fn every_variable_prints_as_it_is_read() {
        for (name, variable) in PLAIN {
            let written = format!("{{{name}}}");
            let template = Template::parse(&written).unwrap();
            assert_eq!(template.parts, [Part::Variable(variable)]);
            assert_eq!(template.to_string(), written);
        }
        for written in [
            "{header:x-env}",
            "{cookie:Id}",
            "{host}{path}",
            "{{{host}}}",
            "{{a}}",
            "{{{{x",
            "a{{{host}b}}}",
            "${host}",
            "${{{host}}}",
            "${{a}}",
        ] {
            let template = Template::parse(written).unwrap();
            assert_eq!(Template::parse(&template.to_string()), Ok(template), "{written}");
        }
    }

    #[test]
    fn a_page_keeps_every_brace_that_is_no_variable() {
        let page = Template::of_page("<b>{path}</b>{color: red}{{path}}${path}{nothing}{ path }{header:X-A}{");
        let text = |text: &str| Part::Text(text.into());
        assert_eq!(
            page.parts,
            [
                text("<b>"),
                Part::Variable(Variable::Path),
                text("</b>{color: red}{{path}}${path}{nothing}{ path }"),
                Part::Variable(Variable::Header("x-a".into())),
                text("{"),
            ]
        );
        assert_eq!(Template::of_page(""), Template::default());
    }
}
