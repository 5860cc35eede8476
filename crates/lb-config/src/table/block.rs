//! Blocks: tables whose keys are the fields of a type of the model.
//!
//! Each key of a block is written once, as a row of [`block!`]: field, type, form, default and meaning. The type, the key
//! table, the decoder and the printed form are made from the rows, so that none of them can lag behind another.

use std::marker::PhantomData;

use crate::language::diagnostic::Report;
use crate::language::tree::Node;
use crate::table::fields::Fields;
use crate::table::form::Form;
use crate::table::item::{Item, Items, Writer};
use crate::table::section::{Kind, Section};

/// What [`block!`] makes.
pub(crate) trait Keys: Sized {
    /// The keys.
    const SECTION: &'static Section;

    /// Reads every key, and goes on after a mistake.
    fn take(report: &mut Report, fields: &Fields<'_>) -> Option<Self>;

    /// Every key with its value.
    fn items(&self, writer: &Writer<'_>) -> Items;
}

/// A table of the configuration.
pub(crate) trait Block: Keys {
    /// What is wrong, or probably not meant, although each key for itself is right.
    fn check(self, _: &mut Report, _: &Fields<'_>) -> Option<Self> {
        Some(self)
    }

    /// Which keys need one another, or exclude one another; asked although the value of one may be wrong.
    fn check_keys(_: &mut Report, _: &Fields<'_>) -> Option<()> {
        Some(())
    }

    /// Reads the table.
    fn read(report: &mut Report, node: &Node) -> Option<Self> {
        let fields = Fields::open(report, node, Self::SECTION)?;
        let block = Self::take(report, &fields);
        let fit = Self::check_keys(report, &fields);
        let block = block.and_then(|block| block.check(report, &fields));
        fields.done();
        fit.and(block)
    }
}

/// The form of a block.
pub(crate) struct Table<B>(PhantomData<B>);

impl<B: Block> Form for Table<B> {
    type Value = B;
    const KIND: Kind = Kind::Table(B::SECTION);

    fn read(report: &mut Report, node: &Node) -> Option<B> {
        B::read(report, node)
    }

    fn show(value: &B, writer: &Writer<'_>) -> Option<Item> {
        Some(Item::Table(value.items(writer)))
    }
}

/// Declares a block: a type of the model, and for each field a row with the key that fills it.
///
/// ```text
/// block! {
///     /// Timeouts of a route.
///     #[derive(Clone, Debug)]
///     pub struct Timeouts = Section::new("timeout", "`timeout`", "What the table is for.");
///     connect: Duration => Time, Value("\"5s\""), "Connecting to an endpoint.";
///     within as "for": Option<Duration> => Or<Unlimited, Time>, Value("\"none\""), "No attempt begins later.";
///     [reserved] "delay", "What it will do.", "what to do until then";
///     [filled] name: Arc<str>, "What another part of the configuration decides.";
/// }
/// ```
///
/// A row is the field, its key if that has another name, the type, the [form](crate::table::form), what holds where the key is left
/// out ([`Default`](crate::table::section::Default)), and its meaning, which is the field's documentation as well. `with [KEY]` after it adds
/// keys to the table that the same form reads. A filled field has no key.
macro_rules! block {
    (
        $(#[$meta:meta])*
        $vis:vis struct $block:ident = $section:expr;
        $($(#[$note:meta])* $field:ident $(as $key:literal)?: $type:ty => $form:ty, $default:expr, $doc:literal
            $(, with [$($with:expr),+])?;)*
        $([reserved] $reserved:literal, $will:literal, $until:literal;)*
        $([filled] $filled:ident: $filled_type:ty, $filled_doc:literal;)*
    ) => {
        $(#[$meta])*
        // A meaning is a text of the manual too, in which `[::]` is an address.
        #[allow(rustdoc::broken_intra_doc_links)]
        $vis struct $block {
            $(#[doc = $doc] $(#[$note])* $vis $field: $type,)*
            $(#[doc = $filled_doc] $vis $filled: $filled_type,)*
        }

        impl $crate::table::block::Keys for $block {
            const SECTION: &'static $crate::table::section::Section = &$crate::table::section::Section {
                keys: &[
                    $($crate::table::section::key(
                        $crate::table::block::name!($field $($key)?),
                        <$form as $crate::table::form::Form>::KIND,
                        $default,
                        $doc,
                    ), $($($with,)+)?)*
                    $($crate::table::section::reserved($reserved, $will, $until),)*
                ],
                ..$section
            };

            fn take(
                report: &mut $crate::language::diagnostic::Report,
                fields: &$crate::table::fields::Fields<'_>,
            ) -> Option<Self> {
                $(let $field = <$form as $crate::table::form::Form>::field(
                    report,
                    fields,
                    $crate::table::block::name!($field $($key)?),
                );)*
                Some(Self { $($field: $field?,)* $($filled: ::std::default::Default::default(),)* })
            }

            fn items(&self, writer: &$crate::table::item::Writer<'_>) -> $crate::table::item::Items {
                let all = [$((
                    $crate::table::block::name!($field $($key)?),
                    <$form as $crate::table::form::Form>::show(&self.$field, writer),
                ),)*];
                all.into_iter().filter_map(|(key, item)| Some((key.to_owned(), item?))).collect()
            }
        }
    };
}
pub(crate) use block;

/// The name of a field's key.
macro_rules! name {
    ($field:ident) => {
        stringify!($field)
    };
    ($field:ident $key:literal) => {
        $key
    };
}
pub(crate) use name;
