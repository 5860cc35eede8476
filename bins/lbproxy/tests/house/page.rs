//! `docs/structure.md` shows the imports of crates and of lb-proxy's folders as they are.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::path::Path;

use super::imports::{Imports, crates};

const BEGIN: &str = "<!-- begin: written by `RENEW=1 cargo test -p lbproxy --test house` -->\n";
const END: &str = "<!-- end -->\n";

type Graph = BTreeMap<String, BTreeSet<String>>;

/// From below to above: each after all that it imports, as far as that is possible.
fn ordered(mut graph: Graph) -> Vec<(String, BTreeSet<String>)> {
    let mut ordered: Vec<(String, BTreeSet<String>)> = Vec::new();
    while !graph.is_empty() {
        let is_placed = |name: &String| ordered.iter().any(|(placed, _)| placed == name);
        let next = graph.iter().find(|(_, to)| to.iter().all(|to| is_placed(to) || !graph.contains_key(to)));
        let next = next.or(graph.iter().next()).map(|(name, _)| name.clone()).unwrap();
        let to = graph.remove(&next).unwrap();
        ordered.push((next, to));
    }
    ordered
}

fn table(what: &str, graph: Graph) -> String {
    let mut text = format!("| {what} | imports |\n|---|---|\n");
    for (name, to) in ordered(graph) {
        let to: Vec<_> = to.iter().map(|to| format!("`{to}`")).collect();
        let to = if to.is_empty() { "–".to_owned() } else { to.join(" ") };
        writeln!(text, "| `{name}` | {to} |").unwrap();
    }
    text
}

fn folders() -> Graph {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../crates/lb-proxy/src");
    Imports::of(&source).folders()
}

fn page() -> String {
    let ours: Graph = super::crates()
        .into_iter()
        .map(|(name, imports)| (name, imports.into_iter().filter(|import| import.starts_with("lb")).collect()))
        .collect();
    let circles: usize = crates().iter().map(|(_, source)| Imports::of(source).circles().len()).sum();
    format!(
        "{BEGIN}\n## Crates\n\n{}\n## Folders of lb-proxy\n\n{}\nFiles that import one another in a circle, in all crates: {circles}.\n\n{END}",
        table("crate", ours),
        table("folder", folders())
    )
}

#[test]
fn the_page_about_the_structure_is_true() {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/structure.md");
    let text = std::fs::read_to_string(&file).unwrap();
    let (before, rest) = text.split_once(BEGIN).expect("the page has a part that is written");
    let (_, after) = rest.split_once(END).expect("that part has an end");
    let now = format!("{before}{}{after}", page());
    if std::env::var_os("RENEW").is_some() {
        std::fs::write(&file, now).unwrap();
    } else {
        assert!(text == now, "docs/structure.md is not as the sources are: RENEW=1 cargo test -p lbproxy --test house");
    }
}
