//! Where things are, and which of them this proxy uses.

use std::num::NonZeroUsize;
use std::sync::Arc;

use crate::keys::{SUBSET, ZONE};
use crate::language::diagnostic::Report;
use crate::language::tree::Node;
use crate::valid::{LocalZone, Subset, SubsetBy};

use crate::table::convert;
use crate::table::fields::Fields;

/// The zone of this proxy: a name, or a table.
pub(crate) fn local_zone(report: &mut Report, node: &Node) -> Option<Option<LocalZone>> {
    const PROXIES: &str = "a table of zones and how many proxies there are in each";
    if node.text().is_some() {
        let minimum = 6;
        let with = |name| LocalZone { name, proxies: Default::default(), minimum };
        return Some(zone(report, node)?.map(with));
    }
    let fields = Fields::open(report, node, &ZONE)?;
    let name = fields.get(report, "name", zone);
    let proxies = fields.get(report, "proxies", |report, node| {
        convert::map(report, node, PROXIES, |report, entry| {
            Some((entry.key.as_str().into(), convert::integer(report, &entry.node, (0, 1_000_000))?))
        })
    });
    let minimum = fields.integer(report, "minimum");
    fields.done();
    let (proxies, minimum) = (proxies?.into_iter().collect(), minimum?);
    Some(name?.map(|name| LocalZone { name, proxies, minimum }))
}

/// A zone, or none: the environment may leave it empty.
pub(crate) fn zone(report: &mut Report, node: &Node) -> Option<Option<Arc<str>>> {
    let Some(name) = node.text().map(str::trim) else {
        convert::mismatch(report, node, "the name of a zone");
        return None;
    };
    Some((!name.is_empty() && name != "none").then(|| name.into()))
}

/// A subset's size, and what it is chosen by.
pub(crate) fn subset(report: &mut Report, node: &Node) -> Option<Subset> {
    let fields = Fields::open(report, node, &SUBSET)?;
    let size = fields.integer::<usize>(report, "size");
    let client = fields.maybe(report, "client", convert::text);
    let number = fields.maybe_integer::<u64>(report, "number");
    let client_span = fields.entry("client").map_or(fields.span, |entry| entry.node.span);
    let span = fields.span;
    fields.done();
    let by = match (client?, number?) {
        (Some(name), None) if name.trim().is_empty() => {
            report
                .error(client_span, "an empty name tells no proxy from another")
                .expected("a name that no other proxy has");
            return None;
        }
        (Some(name), None) => SubsetBy::Name(name.trim().into()),
        (None, Some(number)) => SubsetBy::Number(number),
        _ => {
            report
                .error(span, "a subset is chosen by `client` or by `number`, one of them")
                .help("write client = \"${HOSTNAME}\"");
            return None;
        }
    };
    Some(Subset { size: NonZeroUsize::new(size?)?, by })
}
