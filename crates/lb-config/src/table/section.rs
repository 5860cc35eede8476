//! What a table of keys is made of: each key with its kind, its default and its meaning.

/// A table of the configuration and the keys it may have.
#[derive(Debug)]
pub(crate) struct Section {
    /// Its name, unique, for the schema's definitions.
    pub(crate) name: &'static str,
    /// How it is called in messages: `[[listener]]`, `timeout`.
    pub(crate) title: &'static str,
    pub(crate) doc: &'static str,
    pub(crate) keys: &'static [Key],
    /// Keys that depend on another one, such as the options of a policy; the decoder reads them by itself.
    pub(crate) more: fn() -> Vec<Key>,
    /// An example, shown where something else was written.
    pub(crate) example: Option<&'static str>,
}

/// A key.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Key {
    pub(crate) name: &'static str,
    pub(crate) kind: Kind,
    pub(crate) default: Default,
    pub(crate) doc: &'static str,
}

/// What happens when a key is left out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Default {
    /// It may not be left out.
    Required,
    /// This TOML literal stands for it.
    Value(&'static str),
    /// It then has no value, or one that depends on others; in words.
    Unset(&'static str),
    /// Described in the meaning.
    InDoc,
    /// The key is reserved, and refused with what to do until it is built.
    NotBuilt(&'static str),
}

/// What may be written.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Kind {
    Bool,
    /// A whole number within bounds, both included.
    Integer(i64, i64),
    Duration,
    Size,
    /// Any number within bounds, both included.
    Number(f64, f64),
    Rate,
    Share,
    /// A status, a class or a range of statuses.
    Status,
    /// A text of a form that only the decoder knows.
    Text,
    /// One of these words.
    Word(&'static [&'static str]),
    List(&'static Kind),
    /// A table whose keys are names.
    Map(&'static Kind),
    Table(&'static Section),
    /// Any of these.
    Any(&'static [Kind]),
    /// For reserved keys.
    Anything,
}

impl Section {
    /// A table without keys.
    pub(crate) const fn new(name: &'static str, title: &'static str, doc: &'static str) -> Self {
        Self { name, title, doc, keys: &[], more: Vec::new, example: None }
    }

    /// With an example of how it is written.
    pub(crate) const fn example(self, example: &'static str) -> Self {
        Self { example: Some(example), ..self }
    }

    pub(crate) fn find(&self, name: &str) -> Option<&'static Key> {
        self.keys.iter().find(|key| key.name == name)
    }

    /// The keys that work.
    pub(crate) fn built(&self) -> impl Iterator<Item = &'static Key> {
        self.keys.iter().filter(|key| key.is_built())
    }

    /// The keys that work, for a message.
    pub(crate) fn list(&self) -> String {
        let names: Vec<String> = self.built().map(|key| format!("`{}`", key.name)).collect();
        names.join(", ")
    }

    /// This section and every one below it, each once, in order of appearance.
    pub(crate) fn all(&'static self) -> Vec<&'static Self> {
        let mut all = vec![self];
        let mut at = 0;
        while let Some(section) = all.get(at) {
            let below: Vec<_> = section.keys.iter().flat_map(|key| key.kind.sections()).collect();
            for section in below {
                if !all.iter().any(|known| known.name == section.name) {
                    all.push(section);
                }
            }
            at += 1;
        }
        all
    }
}

impl Key {
    /// Whether it works.
    pub(crate) const fn is_built(&self) -> bool {
        !matches!(self.default, Default::NotBuilt(_))
    }
}

impl Kind {
    /// The sections that may stand below.
    pub(crate) fn sections(&self) -> Vec<&'static Section> {
        match self {
            Self::Table(section) => vec![section],
            Self::List(kind) | Self::Map(kind) => kind.sections(),
            Self::Any(kinds) => kinds.iter().flat_map(Kind::sections).collect(),
            _ => Vec::new(),
        }
    }
}

/// A key that works.
pub(crate) const fn key(name: &'static str, kind: Kind, default: Default, doc: &'static str) -> Key {
    Key { name, kind, default, doc }
}

/// A key that is reserved, and what to do until it is built.
pub(crate) const fn reserved(name: &'static str, doc: &'static str, until: &'static str) -> Key {
    Key { name, kind: Kind::Anything, default: Default::NotBuilt(until), doc }
}

/// The keys of several lists as one, of [`length`]; a key that an earlier one has is left out.
pub(crate) const fn joined<const N: usize>(parts: &[&[Key]]) -> [Key; N] {
    let mut keys = [reserved("", "", ""); N];
    let (mut next, mut part) = (0, 0);
    while part < parts.len() {
        let mut at = 0;
        while at < parts[part].len() {
            if !has(&keys, parts[part][at].name) {
                keys[next] = parts[part][at];
                next += 1;
            }
            at += 1;
        }
        part += 1;
    }
    keys
}

/// How many keys [`joined`] makes.
pub(crate) const fn length(parts: &[&[Key]]) -> usize {
    let (mut length, mut part) = (0, 0);
    while part < parts.len() {
        let mut at = 0;
        while at < parts[part].len() {
            let (mut earlier, mut known) = (0, false);
            while earlier < part {
                known |= has(parts[earlier], parts[part][at].name);
                earlier += 1;
            }
            length += !known as usize;
            at += 1;
        }
        part += 1;
    }
    length
}

const fn has(keys: &[Key], name: &str) -> bool {
    let mut at = 0;
    while at < keys.len() {
        if equal(keys[at].name.as_bytes(), name.as_bytes()) {
            return true;
        }
        at += 1;
    }
    false
}

/// `==` of slices, which constants cannot use.
const fn equal(a: &[u8], b: &[u8]) -> bool {
    let mut at = 0;
    while at < a.len() && at < b.len() && a[at] == b[at] {
        at += 1;
    }
    at == a.len() && at == b.len()
}
