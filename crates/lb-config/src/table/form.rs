//! Forms of values: what may be written, how it is read, and how it is shown again, each in one place.
//!
//! A form is a type without values, named in the row of a key. Forms that take another one (`List<Text>`, `Or<Off, Time>`)
//! are put together from it, so that a key's kind in the schema, its decoder and its printed form cannot differ.

use std::marker::PhantomData;
use std::num::{NonZeroU32, NonZeroU64, NonZeroUsize};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use crate::language::diagnostic::Report;
use crate::language::tree::Node;
use crate::language::values::address::{self, ListenAddress};
use crate::language::values::http::{self, HostPattern};
use crate::language::values::status::Condition;
use crate::language::values::{quantity, status};
use crate::table::convert;
use crate::table::fields::Fields;
use crate::table::item::{Item, Leaf, Writer, bare, text};
use crate::table::section::Kind;

/// A form of values.
pub(crate) trait Form {
    /// What it is in the model.
    type Value;
    /// What may be written.
    const KIND: Kind;

    /// The value of a node; `None` was reported.
    fn read(report: &mut Report, node: &Node) -> Option<Self::Value>;

    /// The value as it is printed; `None` leaves the key out.
    fn show(value: &Self::Value, writer: &Writer<'_>) -> Option<Item>;

    /// The value of a key, or its default.
    fn field(report: &mut Report, fields: &Fields<'_>, key: &'static str) -> Option<Self::Value> {
        fields.get(report, key, Self::read)
    }
}

/// `true` or `false`.
pub(crate) struct Bool;

impl Form for Bool {
    type Value = bool;
    const KIND: Kind = Kind::Bool;

    fn read(report: &mut Report, node: &Node) -> Option<bool> {
        convert::boolean(report, node)
    }

    fn show(value: &bool, _: &Writer<'_>) -> Option<Item> {
        Some(bare(value))
    }
}

/// A whole number within bounds, both included.
pub(crate) struct Int<T, const MIN: i64, const MAX: i64>(PhantomData<T>);

impl<T: Number, const MIN: i64, const MAX: i64> Form for Int<T, MIN, MAX> {
    type Value = T;
    const KIND: Kind = Kind::Integer(MIN, MAX);

    fn read(report: &mut Report, node: &Node) -> Option<T> {
        T::of(convert::integer(report, node, (MIN, MAX))?)
    }

    fn show(value: &T, _: &Writer<'_>) -> Option<Item> {
        Some(bare(value))
    }
}

/// A type of whole numbers.
pub(crate) trait Number: std::fmt::Display + Sized {
    /// `None` if it does not fit.
    fn of(number: i64) -> Option<Self>;
}

macro_rules! numbers {
    ($($number:ty),*; $($nonzero:ty),*) => {
        $(impl Number for $number {
            fn of(number: i64) -> Option<Self> {
                number.try_into().ok()
            }
        })*
        $(impl Number for $nonzero {
            fn of(number: i64) -> Option<Self> {
                Self::new(number.try_into().ok()?)
            }
        })*
    };
}
numbers!(u8, u16, u64, usize; NonZeroU32, NonZeroU64, NonZeroUsize);

/// A duration of at least a millisecond.
pub(crate) struct Time;

impl Form for Time {
    type Value = Duration;
    const KIND: Kind = Kind::Duration;

    fn read(report: &mut Report, node: &Node) -> Option<Duration> {
        convert::duration(report, node, false)
    }

    fn show(value: &Duration, _: &Writer<'_>) -> Option<Item> {
        Some(text(&quantity::show_duration(*value)))
    }
}

/// A duration that may be zero.
pub(crate) struct TimeOrZero;

impl Form for TimeOrZero {
    type Value = Duration;
    const KIND: Kind = Kind::Duration;

    fn read(report: &mut Report, node: &Node) -> Option<Duration> {
        convert::duration(report, node, true)
    }

    fn show(value: &Duration, writer: &Writer<'_>) -> Option<Item> {
        Time::show(value, writer)
    }
}

/// A size of at least `MIN` bytes.
pub(crate) struct Size<T, const MIN: u64>(PhantomData<T>);

impl<T: TryFrom<u64> + TryInto<u64> + Copy, const MIN: u64> Form for Size<T, MIN> {
    type Value = T;
    const KIND: Kind = Kind::Size;

    fn read(report: &mut Report, node: &Node) -> Option<T> {
        convert::size(report, node, MIN)?.try_into().ok()
    }

    fn show(value: &T, _: &Writer<'_>) -> Option<Item> {
        Some(text(&quantity::show_size((*value).try_into().unwrap_or(u64::MAX))))
    }
}

/// A share, `"20%"`, from 0 to 1.
pub(crate) struct Share;

impl Form for Share {
    type Value = f64;
    const KIND: Kind = Kind::Share;

    fn read(report: &mut Report, node: &Node) -> Option<f64> {
        convert::share(report, node)
    }

    fn show(value: &f64, _: &Writer<'_>) -> Option<Item> {
        Some(text(&quantity::show_share(*value)))
    }
}

/// A name for logs and metrics.
pub(crate) struct Name;

impl Form for Name {
    type Value = Arc<str>;
    const KIND: Kind = Kind::Text;

    fn read(report: &mut Report, node: &Node) -> Option<Arc<str>> {
        convert::name(report, node).map(Into::into)
    }

    fn show(value: &Arc<str>, _: &Writer<'_>) -> Option<Item> {
        Some(text(value))
    }
}

/// An address to bind.
pub(crate) struct Listen;

impl Form for Listen {
    type Value = ListenAddress;
    const KIND: Kind = Kind::Text;

    fn read(report: &mut Report, node: &Node) -> Option<ListenAddress> {
        convert::read(report, node, address::LISTEN, address::listen)
    }

    fn show(value: &ListenAddress, _: &Writer<'_>) -> Option<Item> {
        Some(text(&value.to_string()))
    }
}

/// A host pattern.
pub(crate) struct Host;

impl Form for Host {
    type Value = HostPattern;
    const KIND: Kind = Kind::Text;

    fn read(report: &mut Report, node: &Node) -> Option<HostPattern> {
        convert::read(report, node, "a host", http::host_pattern)
    }

    fn show(value: &HostPattern, _: &Writer<'_>) -> Option<Item> {
        Some(text(&value.to_string()))
    }
}

/// A file, relative to the one that names it.
pub(crate) struct FilePath;

impl Form for FilePath {
    type Value = PathBuf;
    const KIND: Kind = Kind::Text;

    fn read(report: &mut Report, node: &Node) -> Option<PathBuf> {
        let text = convert::text(report, node)?;
        Some(report.names_file(Path::new(&text), node.span))
    }

    fn show(value: &PathBuf, _: &Writer<'_>) -> Option<Item> {
        Some(text(&value.display().to_string()))
    }
}

/// A failure by name, or statuses of at least `MIN`.
pub(crate) struct Failure<const MIN: u16>;

impl<const MIN: u16> Form for Failure<MIN> {
    type Value = Condition;
    const KIND: Kind =
        Kind::Any(&[Kind::Word(&["connect_error", "reset", "timeout", "invalid_response"]), Kind::Status]);

    fn read(report: &mut Report, node: &Node) -> Option<Condition> {
        convert::condition(MIN)(report, node)
    }

    fn show(value: &Condition, _: &Writer<'_>) -> Option<Item> {
        Some(text(&status::show_condition(*value)))
    }
}

/// A list of values that are no tables.
pub(crate) struct List<F>(PhantomData<F>);

impl<F: Form> Form for List<F> {
    type Value = Vec<F::Value>;
    const KIND: Kind = Kind::List(&F::KIND);

    fn read(report: &mut Report, node: &Node) -> Option<Vec<F::Value>> {
        convert::list(F::read)(report, node)
    }

    fn show(values: &Vec<F::Value>, writer: &Writer<'_>) -> Option<Item> {
        let leaves = values.iter().filter_map(|value| match F::show(value, writer)? {
            Item::Leaf(leaf) => Some(leaf),
            Item::Table(_) | Item::Endpoints(_) | Item::Tables(_) => None,
        });
        let leaves: Vec<Leaf> = leaves.collect();
        let joined = |of: fn(&Leaf) -> &str| format!("[{}]", leaves.iter().map(of).collect::<Vec<_>>().join(", "));
        let quiet = leaves.iter().any(|leaf| leaf.quiet);
        Some(Item::Leaf(Leaf { toml: joined(|leaf| &leaf.toml), value: joined(|leaf| &leaf.value), quiet }))
    }
}

/// Another form, or a word that stands for no value.
pub(crate) struct Or<W, F>(PhantomData<(W, F)>);

impl<W: Word, F: Form> Form for Or<W, F> {
    type Value = Option<F::Value>;
    const KIND: Kind = Kind::Any(&[Kind::Word(&[W::WORD]), F::KIND]);

    fn read(report: &mut Report, node: &Node) -> Option<Option<F::Value>> {
        convert::or_word(W::WORD, F::read)(report, node)
    }

    fn show(value: &Option<F::Value>, writer: &Writer<'_>) -> Option<Item> {
        match value {
            None => Some(text(W::WORD)),
            Some(value) => F::show(value, writer),
        }
    }
}

/// A word that stands for no value.
pub(crate) trait Word {
    const WORD: &'static str;
}

macro_rules! word {
    ($($(#[$doc:meta])* $name:ident = $word:literal;)*) => {
        $($(#[$doc])* pub(crate) struct $name;
        impl $crate::table::form::Word for $name {
            const WORD: &'static str = $word;
        })*
    };
}
word! {
    /// `"off"`.
    Off = "off";
    /// `"none"`.
    Unlimited = "none";
    /// `"auto"`.
    Auto = "auto";
}
pub(crate) use word;

/// A key that has no value where it is left out.
pub(crate) struct Maybe<F>(PhantomData<F>);

impl<F: Form> Form for Maybe<F> {
    type Value = Option<F::Value>;
    const KIND: Kind = F::KIND;

    fn read(report: &mut Report, node: &Node) -> Option<Option<F::Value>> {
        F::read(report, node).map(Some)
    }

    fn show(value: &Option<F::Value>, writer: &Writer<'_>) -> Option<Item> {
        F::show(value.as_ref()?, writer)
    }

    fn field(report: &mut Report, fields: &Fields<'_>, key: &'static str) -> Option<Option<F::Value>> {
        fields.maybe(report, key, F::read)
    }
}

/// A key whose value is empty where it is left out, until the parts are joined.
pub(crate) struct Later<F>(PhantomData<F>);

impl<F: Form<Value: Default>> Form for Later<F> {
    type Value = F::Value;
    const KIND: Kind = F::KIND;

    fn read(report: &mut Report, node: &Node) -> Option<F::Value> {
        F::read(report, node)
    }

    fn show(value: &F::Value, writer: &Writer<'_>) -> Option<Item> {
        F::show(value, writer)
    }

    fn field(report: &mut Report, fields: &Fields<'_>, key: &'static str) -> Option<F::Value> {
        Some(fields.maybe(report, key, F::read)?.unwrap_or_default())
    }
}

/// Makes a form of some words, each with what it means. Where the words are the variants of an enum, that is the form.
///
/// ```text
/// words! { LogFormat: LogFormat; "text" => LogFormat::Text, "json" => LogFormat::Json }
/// words! { struct Https: bool; "https" => true, "off" => false }
/// ```
macro_rules! words {
    ($(#[$doc:meta])* $vis:vis struct $form:ident: $value:ty; $($word:literal => $meaning:expr),* $(,)?) => {
        $(#[$doc])* $vis struct $form;
        $crate::table::form::words! { $form: $value; $($word => $meaning),* }
    };
    ($form:ty: $value:ty; $($word:literal => $meaning:expr),* $(,)?) => {
        impl $crate::table::form::Form for $form {
            type Value = $value;
            const KIND: $crate::table::section::Kind = $crate::table::section::Kind::Word(&[$($word),*]);

            fn read(
                report: &mut $crate::language::diagnostic::Report,
                node: &$crate::language::tree::Node,
            ) -> Option<$value> {
                $crate::table::convert::word(report, node, &[$(($word, $meaning)),*])
            }

            fn show(value: &$value, _: &$crate::table::item::Writer<'_>) -> Option<$crate::table::item::Item> {
                let known = [$(($word, $meaning)),*];
                let word = known.iter().find(|(_, known)| known == value).map(|(word, _)| *word);
                word.map($crate::table::item::text)
            }
        }
    };
}
pub(crate) use words;

/// Makes a form of a kind of text: how it is read, and how it is shown again.
///
/// ```text
/// form! {
///     /// A cookie's name.
///     CookieName: Arc<str> = Kind::Text;
///     read: |report, node| convert::read(report, node, "a cookie's name", http::cookie_name),
///     show: |value, _| text(value),
/// }
/// ```
macro_rules! form {
    ($(#[$doc:meta])* $form:ident: $value:ty = $kind:expr; read: $read:expr, show: $show:expr $(,)?) => {
        $(#[$doc])*
        pub(crate) struct $form;

        impl $crate::table::form::Form for $form {
            type Value = $value;
            const KIND: $crate::table::section::Kind = $kind;

            fn read(
                report: &mut $crate::language::diagnostic::Report,
                node: &$crate::language::tree::Node,
            ) -> Option<$value> {
                let read: fn(
                    &mut $crate::language::diagnostic::Report,
                    &$crate::language::tree::Node,
                ) -> Option<$value> = $read;
                read(report, node)
            }

            fn show(
                value: &$value,
                writer: &$crate::table::item::Writer<'_>,
            ) -> Option<$crate::table::item::Item> {
                let show: fn(&$value, &$crate::table::item::Writer<'_>) -> $crate::table::item::Item = $show;
                Some(show(value, writer))
            }
        }
    };
}
pub(crate) use form;
