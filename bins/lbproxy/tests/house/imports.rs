//! The directions in which the files of a crate may import one another, checked against their sources.
//!
//! Two files that import each other cannot be read, tested or replaced one by one, and a circle of twenty grows by one
//! convenient import at a time. So no circle of files may exist in any crate, and lb-proxy, which is large, lists for each of its
//! folders which others it may import.
//!
//! Read are `crate::` and `super::` paths outside of tests, followed through re-exports. What a file imports of the folder that it
//! is in itself, `mod.rs` of that folder, is left out: a folder's own file may name its parts and be named by them.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

/// A file, by the path of its module.
type Module = Vec<String>;

/// Folders of lb-proxy, or files that stand beside them, from below to above, and what each may import: only what stands before it in
/// this list, so that no two folders can point at each other.
const MAY_IMPORT: [(&str, &[&str]); 22] = [
    ("events", &[]),
    ("rules", &[]),
    ("tls", &["events", "rules"]),
    ("auth", &["events"]),
    ("error", &["auth", "rules", "tls"]),
    ("net", &["tls"]),
    ("observe", &["events", "rules"]),
    ("drivers", &["events", "net", "observe", "rules", "tls"]),
    ("downstream", &["net", "rules", "tls"]),
    ("upstream", &["downstream", "drivers", "events", "net", "observe", "rules", "tls"]),
    ("runtime", &["drivers", "error", "events", "net", "observe", "rules", "tls", "upstream"]),
    ("exchange", &["downstream", "net", "rules", "runtime", "upstream"]),
    ("route", &["exchange", "rules"]),
    ("forward", &["downstream", "exchange", "net", "rules", "runtime", "upstream"]),
    ("filters", &["auth", "downstream", "exchange", "forward", "net", "observe", "rules", "runtime", "upstream"]),
    ("worker", &["events", "filters", "forward", "net", "observe", "runtime", "upstream"]),
    ("outcome", &["exchange", "net", "observe", "rules", "runtime", "worker"]),
    ("respond", &["downstream", "exchange", "forward", "net", "outcome", "rules", "worker"]),
    (
        "serve",
        &[
            "downstream",
            "exchange",
            "filters",
            "forward",
            "net",
            "observe",
            "outcome",
            "respond",
            "route",
            "rules",
            "runtime",
            "worker",
        ],
    ),
    ("listen", &["downstream", "net", "observe", "runtime", "serve", "tls", "worker"]),
    ("control", &["drivers", "error", "events", "listen", "net", "observe", "runtime", "serve", "worker"]),
    (
        "engine",
        &[
            "auth", "control", "error", "events", "filters", "listen", "net", "observe", "runtime", "tls", "upstream",
            "worker",
        ],
    ),
];

/// The files of a crate, and what each imports of the others.
pub(super) struct Imports {
    sources: BTreeMap<Module, String>,
    /// Names that a file exports and another one defines.
    exports: BTreeMap<(Module, String), Module>,
    imports: BTreeMap<Module, BTreeSet<Module>>,
}

impl Imports {
    pub(super) fn of(source: &Path) -> Self {
        let mut sources = BTreeMap::new();
        for file in files(source) {
            let text = std::fs::read_to_string(&file).unwrap();
            sources.insert(module_of(file.strip_prefix(source).unwrap()), code_of(&text));
        }
        let mut all = Self { sources, exports: BTreeMap::new(), imports: BTreeMap::new() };
        for (module, text) in &all.sources {
            for path in uses(text) {
                let Some(mut full) = all.absolute(module, &path) else { continue };
                let (Some(name), Some(target)) = (full.pop(), all.file_of(&full)) else { continue };
                if target != *module && full.starts_with(&target) {
                    all.exports.insert((module.clone(), name), target);
                }
            }
        }
        for (module, text) in &all.sources {
            let targets = paths(text).into_iter().flat_map(|path| all.targets(module, &path));
            let targets = targets.filter(|target| !module.starts_with(target));
            all.imports.insert(module.clone(), targets.collect());
        }
        all
    }

    /// A path from the crate's root, if it begins with `crate`, `super` or a part of the module.
    fn absolute(&self, module: &Module, path: &[String]) -> Option<Module> {
        let ups = path.iter().take_while(|part| *part == "super").count();
        match path.first().map(String::as_str)? {
            "crate" => Some(path[1..].to_vec()),
            "super" => Some([&module[..module.len().checked_sub(ups)?], &path[ups..]].concat()),
            "self" => Some([module, &path[1..]].concat()),
            first => {
                let part = [&module[..], &[first.to_owned()]].concat();
                self.sources.contains_key(&part).then(|| [module, path].concat())
            }
        }
    }

    /// The file that a path from the root leads into.
    fn file_of(&self, path: &[String]) -> Option<Module> {
        (0..=path.len()).rev().map(|length| path[..length].to_vec()).find(|module| self.sources.contains_key(module))
    }

    /// The files that define what a path names: one, or, for a path to a whole module, that one and all that it exports.
    fn targets(&self, module: &Module, path: &[String]) -> Vec<Module> {
        let Some(path) = self.absolute(module, path) else { return Vec::new() };
        let Some(mut file) = self.file_of(&path) else { return Vec::new() };
        let Some(mut name) = path.get(file.len()) else {
            if module.starts_with(&file) {
                return vec![file];
            }
            let exported = self.exports.iter().filter(|((from, _), _)| *from == file).map(|(_, target)| target.clone());
            return exported.chain([file.clone()]).collect();
        };
        // An export of an export is followed as well, and a ring of them is not.
        for _ in 0..8 {
            let Some(next) = self.exports.get(&(file.clone(), name.clone())) else { break };
            file = next.clone();
            name = path.last().unwrap_or(name);
        }
        vec![file]
    }

    /// The folders of the crate, or files that stand beside them, and what each imports of the others.
    pub(super) fn folders(&self) -> BTreeMap<String, BTreeSet<String>> {
        let mut arrows: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
        for (module, targets) in &self.imports {
            let Some(from) = module.first() else { continue };
            let to = targets.iter().filter_map(|target| target.first()).filter(|to| *to != from);
            arrows.entry(from.clone()).or_default().extend(to.cloned());
        }
        arrows
    }

    /// Files that import one another in a ring, each such set once.
    pub(super) fn circles(&self) -> Vec<BTreeSet<String>> {
        let reached: BTreeMap<&Module, BTreeSet<&Module>> =
            self.imports.keys().map(|module| (module, self.reached_from(module))).collect();
        let ring = |module: &Module| -> BTreeSet<String> {
            let back = reached[module].iter().filter(|other| reached[*other].contains(module));
            back.map(|other| other.join("::")).collect()
        };
        let rings: BTreeSet<_> = self.imports.keys().map(ring).filter(|ring| !ring.is_empty()).collect();
        rings.into_iter().collect()
    }

    fn reached_from(&self, module: &Module) -> BTreeSet<&Module> {
        let mut reached = BTreeSet::new();
        let mut left: Vec<&Module> = self.imports[module].iter().collect();
        while let Some(next) = left.pop() {
            if reached.insert(next) {
                left.extend(&self.imports[next]);
            }
        }
        reached
    }
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_stem().unwrap().to_string_lossy().into_owned();
        if name == "tests" || name.ends_with("_tests") {
            continue;
        }
        if path.is_dir() {
            found.extend(files(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
    found
}

fn module_of(file: &Path) -> Module {
    let mut module: Module = file.with_extension("").iter().map(|part| part.to_string_lossy().into_owned()).collect();
    if module.last().is_some_and(|last| matches!(last.as_str(), "mod" | "lib" | "main")) {
        module.pop();
    }
    module
}

/// A source without comments and tests, which stand at its end.
fn code_of(text: &str) -> String {
    let code = text.split("#[cfg(test)]\nmod ").next().unwrap_or_default();
    let code = code.split("#[cfg(all(test").next().unwrap_or_default();
    code.lines().map(|line| line.split("//").next().unwrap_or_default()).collect::<Vec<_>>().join("\n")
}

/// All paths that begin with `crate` or `super`.
fn paths(code: &str) -> Vec<Module> {
    let mut found = Vec::new();
    for root in ["crate::", "super::"] {
        let is_root =
            |at: usize| !code[..at].ends_with(|before: char| before.is_alphanumeric() || "_:$".contains(before));
        for (at, _) in code.match_indices(root).filter(|(at, _)| is_root(*at)) {
            expand(&[], &code[at..], &mut found);
        }
    }
    found
}

/// The paths of all `pub use` items.
fn uses(code: &str) -> Vec<Module> {
    let mut found = Vec::new();
    for line in code.split(';') {
        let line = line.trim_start_matches(|c: char| c != 'p').trim_start();
        let at = ["pub use ", "pub(crate) use ", "pub(super) use "].iter().find_map(|start| code_after(line, start));
        if let Some(path) = at {
            expand(&[], path, &mut found);
        }
    }
    found
}

fn code_after<'a>(text: &'a str, start: &str) -> Option<&'a str> {
    Some(&text[text.find(start)? + start.len()..])
}

/// Adds the paths that `text` begins with, those of a group each.
fn expand(before: &[String], text: &str, found: &mut Vec<Module>) {
    let length = text.find(|c: char| !c.is_alphanumeric() && c != '_' && c != ':').unwrap_or(text.len());
    let parts = text[..length].split("::").filter(|part| !part.is_empty()).map(str::to_owned);
    let path: Vec<String> = before.iter().cloned().chain(parts).collect();
    let Some(group) = text[length..].strip_prefix('{') else {
        found.push(path.into_iter().filter(|part| part != "self").collect());
        return;
    };
    let (mut depth, mut start) = (0, 0);
    for (at, c) in group.char_indices() {
        match c {
            '{' => depth += 1,
            '}' | ',' if depth == 0 => {
                let item = group[start..at].trim();
                if !item.is_empty() {
                    expand(&path, item, found);
                }
                start = at + 1;
                if c == '}' {
                    return;
                }
            }
            '}' => depth -= 1,
            _ => {}
        }
    }
}

pub(super) fn crates() -> Vec<(String, PathBuf)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let mut found = vec![("lbproxy".to_owned(), root.join("bins/lbproxy/src"))];
    for entry in std::fs::read_dir(root.join("crates")).unwrap() {
        let path = entry.unwrap().path();
        if path.join("src").is_dir() {
            found.push((path.file_name().unwrap().to_string_lossy().into_owned(), path.join("src")));
        }
    }
    found
}

#[test]
fn no_files_of_a_crate_import_one_another_in_a_circle() {
    let mut circles = Vec::new();
    for (name, source) in crates() {
        circles.extend(Imports::of(&source).circles().into_iter().map(|circle| (name.clone(), circle)));
    }
    assert!(circles.is_empty(), "{circles:#?}");
}

#[test]
fn folders_of_lb_proxy_import_only_what_is_listed() {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../crates/lb-proxy/src");
    for (place, (folder, may)) in MAY_IMPORT.iter().enumerate() {
        let above = MAY_IMPORT[place..].iter().map(|(other, _)| other);
        let wrong: Vec<_> = above.filter(|other| may.contains(other)).collect();
        assert!(wrong.is_empty(), "{folder} stands below {wrong:?}");
    }
    for (from, to) in Imports::of(&source).folders() {
        let Some((_, may)) = MAY_IMPORT.iter().find(|(folder, _)| *folder == from) else {
            panic!("{from} is new: list what it may import, of {to:?}");
        };
        let new: Vec<_> = to.iter().filter(|to| !may.contains(&to.as_str())).collect();
        assert!(new.is_empty(), "{from} must not import {new:?}");
    }
}
