//! A route's edits of headers, in the order remove, set, add.
//!
//! Most edits are the same for every request (`X-Frame-Options: DENY`); those are checked and written once, when the
//! configuration is loaded. Only values with `{variables}` are filled per request, and what is filled in cannot end its
//! line ([`Place::Header`]).
//!
//! A value made of variables that turns out empty sets nothing: `set = { X-User = "{header:X-Auth-User}" }` removes
//! `X-User` when the request has no `X-Auth-User`, and never lets the client's own through. A value that is empty in
//! the file is set empty.
//!
//! The same edits of a response apply to the endpoint's and to our own answers.
//!
//! Cost: one copy of each line; one allocation in all if there are variables.

use lb_config::{HeaderEdits, Part, Template, Variable};

use super::template::{Facts, Place, fill, fixed};
use crate::message::{Edits, InvalidField, Line, Name};

/// Edits of headers, compiled.
#[derive(Clone, Debug, Default)]
pub struct HeaderRules {
    remove: Vec<Box<str>>,
    lines: Vec<(Mode, Source)>,
}

/// A header of the configuration that cannot be edited.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("header `{name}`: {reason}")]
pub struct HeaderError {
    /// The header, as in the configuration.
    pub name: String,
    /// What is wrong with it.
    pub reason: InvalidField,
}

#[derive(Clone, Copy, Debug)]
enum Mode {
    Set,
    Add,
}

#[derive(Clone, Debug)]
enum Source {
    Fixed(Line),
    Filled { name: Box<str>, value: Template },
}

impl HeaderRules {
    /// Compiles the edits.
    ///
    /// # Errors
    ///
    /// The first name or fixed value that no header can have, or that is the encoder's to write (`Connection`,
    /// `Content-Length`, …).
    pub fn new(edits: &HeaderEdits) -> Result<Self, HeaderError> {
        let mut probe = Edits::new();
        for name in &edits.remove {
            probe.remove(&**name).map_err(|reason| HeaderError { name: name.to_string(), reason })?;
        }
        let set = edits.set.iter().map(|(name, value)| compile(Mode::Set, name, value));
        let add = edits.add.iter().map(|(name, value)| compile(Mode::Add, name, value));
        Ok(Self {
            remove: edits.remove.iter().map(|name| Box::from(&**name)).collect(),
            lines: set.chain(add).collect::<Result<_, _>>()?,
        })
    }

    /// Whether nothing is edited.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.remove.is_empty() && self.lines.is_empty()
    }

    /// Whether a value names the endpoint, which is known only after the pick and changes with a retry.
    #[must_use]
    pub fn uses_endpoint(&self) -> bool {
        self.lines.iter().any(|(_, source)| match source {
            Source::Fixed(_) => false,
            Source::Filled { value, .. } => {
                value.parts.iter().any(|part| matches!(part, Part::Variable(Variable::Endpoint)))
            }
        })
    }

    /// Whether a received header of that name does not stay: it is removed, or set to something else. `_` counts as `-`.
    pub(crate) fn takes_out(&self, name: &[u8]) -> bool {
        let set = self.lines.iter().filter(|(mode, _)| matches!(mode, Mode::Set)).map(|(_, source)| match source {
            Source::Fixed(line) => line.name(),
            Source::Filled { name, .. } => Name::new(name),
        });
        self.remove.iter().map(|name| Name::new(name)).chain(set).any(|taken| taken.looks_like(name))
    }

    /// Adds the edits for the answer to what could not be read as a request: values with variables are left out, and
    /// what they would have replaced is removed, as for a request that lacks what they ask for.
    pub(crate) fn apply_unread(&self, edits: &mut Edits) {
        for name in &self.remove {
            remove(edits, name);
        }
        for (mode, source) in &self.lines {
            match (mode, source) {
                (Mode::Set, Source::Fixed(line)) => edits.set_line(line),
                (Mode::Add, Source::Fixed(line)) => edits.append_line(line),
                (Mode::Set, Source::Filled { name, .. }) => remove(edits, name),
                (Mode::Add, Source::Filled { .. }) => {}
            }
        }
    }

    /// Adds the edits for one message.
    pub fn apply(&self, facts: &Facts<'_>, edits: &mut Edits) {
        for name in &self.remove {
            remove(edits, name);
        }
        let mut filled = Vec::new();
        for (mode, source) in &self.lines {
            match (mode, source) {
                (Mode::Set, Source::Fixed(line)) => edits.set_line(line),
                (Mode::Add, Source::Fixed(line)) => edits.append_line(line),
                (_, Source::Filled { name, value }) => {
                    filled.clear();
                    fill(value, Place::Header, facts, &mut filled);
                    let value = filled.trim_ascii();
                    match mode {
                        Mode::Set if value.is_empty() || edits.set(&**name, value).is_err() => remove(edits, name),
                        Mode::Add if !value.is_empty() => {
                            // Fails for a value of absurd length only; then there is none, as with an empty one.
                            let _ = edits.append(&**name, value);
                        }
                        Mode::Set | Mode::Add => {}
                    }
                }
            }
        }
    }
}

fn compile(mode: Mode, name: &str, value: &Template) -> Result<(Mode, Source), HeaderError> {
    let error = |reason| HeaderError { name: name.to_owned(), reason };
    let source = match fixed(value) {
        Some(text) => Source::Fixed(Line::new(Name::new(name), text.trim_ascii()).map_err(error)?),
        None => {
            Line::new(Name::new(name), "").map_err(error)?;
            Source::Filled { name: name.into(), value: value.clone() }
        }
    };
    Ok((mode, source))
}

/// Removes a header whose name was checked when the edits were compiled.
fn remove(edits: &mut Edits, name: &str) {
    let outcome = edits.remove(name);
    debug_assert!(outcome.is_ok(), "the name was checked by `HeaderRules::new`");
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::RequestHead;
    use crate::rules::testing::{facts, head, origin, sent};

    fn fixed_value(text: &str) -> Template {
        Template { parts: vec![Part::Text(text.into())] }
    }

    fn variable(variable: Variable) -> Template {
        Template { parts: vec![Part::Variable(variable)] }
    }

    fn edited(edits: &HeaderEdits, head: &RequestHead) -> Vec<String> {
        let rules = HeaderRules::new(edits).unwrap();
        let origin = origin(head);
        let mut out = Edits::new();
        rules.apply(&facts(head, &origin), &mut out);
        sent(head, &out)
    }

    #[test]
    fn remove_then_set_then_add() {
        let edits = HeaderEdits {
            remove: vec!["x-debug".into(), "x-a".into()],
            set: vec![("x-env".into(), fixed_value("prod")), ("x-id".into(), variable(Variable::RequestId))],
            add: vec![("x-a".into(), fixed_value("1")), ("x-env".into(), variable(Variable::Route))],
        };
        let head =
            head("GET / HTTP/1.1\nHost: a\nX-Debug: 1\nX_Debug: 2\nX-Env: dev\nX-Env: test\nX-A: 0\nX-ID: forged");
        assert_eq!(edited(&edits, &head), ["Host: a", "x-a: 1", "x-env: prod", "x-env: r", "x-id: id1"]);
    }

    #[test]
    fn a_variable_that_is_empty_removes_what_the_client_sent() {
        let edits = HeaderEdits {
            set: vec![
                ("x-user".into(), variable(Variable::Header("x-auth".into()))),
                ("x-none".into(), fixed_value("")),
            ],
            add: vec![("x-more".into(), variable(Variable::Query))],
            ..HeaderEdits::default()
        };
        let head = head("GET / HTTP/1.1\nHost: a\nX-User: root\nX-None: 1");
        assert_eq!(edited(&edits, &head), ["Host: a", "x-none: "]);
    }

    #[test]
    fn host_may_be_set() {
        let edits = HeaderEdits { set: vec![("host".into(), fixed_value("b"))], ..HeaderEdits::default() };
        assert_eq!(edited(&edits, &head("GET / HTTP/1.1\nHost: a")), ["host: b"]);
    }

    #[test]
    fn headers_that_no_one_may_edit_are_refused_when_compiled() {
        let refused = |edits: HeaderEdits| HeaderRules::new(&edits).expect_err("refused").name;
        assert_eq!(refused(HeaderEdits { remove: vec!["connection".into()], ..HeaderEdits::default() }), "connection");
        let set = |name: &str, value| HeaderEdits { set: vec![(name.into(), value)], ..HeaderEdits::default() };
        assert_eq!(refused(set("content-length", fixed_value("1"))), "content-length");
        assert_eq!(refused(set("transfer-encoding", variable(Variable::Path))), "transfer-encoding");
        assert_eq!(refused(set("bad name", fixed_value("1"))), "bad name");
        assert_eq!(refused(set("x-a", fixed_value("a\nb"))), "x-a");
    }

    #[test]
    fn it_knows_whether_it_needs_the_endpoint() {
        let with = |value| {
            let edits = HeaderEdits { set: vec![("x-a".into(), value)], ..HeaderEdits::default() };
            HeaderRules::new(&edits).unwrap().uses_endpoint()
        };
        assert!(with(variable(Variable::Endpoint)));
        assert!(!with(variable(Variable::Cluster)) && !with(fixed_value("x")));
        assert!(!HeaderRules::default().uses_endpoint() && HeaderRules::default().is_empty());
    }
}
