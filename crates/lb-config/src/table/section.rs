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
    /// The key is reserved: whoever writes it is told "not built yet".
    NotBuilt,
}

/// What may be written.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Kind {
    Bool,
    /// A whole number within bounds, both included.
    Integer(i64, i64),
    /// A duration; whether zero makes sense.
    Duration {
        zero: bool,
    },
    /// A size, at least this many bytes.
    Size {
        least: u64,
    },
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
    pub(crate) fn find(&self, name: &str) -> Option<&'static Key> {
        self.keys.iter().find(|key| key.name == name)
    }

    /// The keys that work.
    pub(crate) fn built(&self) -> impl Iterator<Item = &'static Key> {
        self.keys.iter().filter(|key| key.default != Default::NotBuilt)
    }

    /// The keys that work, for a message.
    pub(crate) fn list(&self) -> String {
        let names: Vec<String> = self.built().map(|key| format!("`{}`", key.name)).collect();
        names.join(", ")
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

    /// The bounds of the number that may be written.
    pub(crate) fn bounds(&self) -> Option<(i64, i64)> {
        match self {
            Self::Integer(least, most) => Some((*least, *most)),
            Self::Any(kinds) => kinds.iter().find_map(Kind::bounds),
            _ => None,
        }
    }

    /// Whether a duration may be zero.
    pub(crate) fn allows_zero(&self) -> bool {
        match self {
            Self::Duration { zero } => *zero,
            Self::Any(kinds) => kinds.iter().any(Kind::allows_zero),
            _ => false,
        }
    }

    /// The smallest size that may be written, bytes.
    pub(crate) fn least(&self) -> Option<u64> {
        match self {
            Self::Size { least } => Some(*least),
            Self::Any(kinds) => kinds.iter().find_map(Kind::least),
            _ => None,
        }
    }

    /// The words that may be written.
    pub(crate) fn words(&self) -> Vec<&'static str> {
        match self {
            Self::Word(words) => words.to_vec(),
            Self::List(kind) => kind.words(),
            Self::Any(kinds) => kinds.iter().flat_map(Kind::words).collect(),
            _ => Vec::new(),
        }
    }
}

/// A key that works.
pub(crate) const fn key(name: &'static str, kind: Kind, default: Default, doc: &'static str) -> Key {
    Key { name, kind, default, doc }
}

/// A key that is reserved.
pub(crate) const fn later(name: &'static str, doc: &'static str) -> Key {
    Key { name, kind: Kind::Anything, default: Default::NotBuilt, doc }
}
