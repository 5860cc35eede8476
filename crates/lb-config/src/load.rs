//! From a path or a text to a configuration: reading, including, decoding, linking.

use std::path::{Path, PathBuf};

use crate::language::diagnostic::{Diagnostics, Report, Texts};
use crate::language::files::{self, Disk, Files, NoFiles};
use crate::language::inherit::inherit;
use crate::language::source::{Sources, Span};
use crate::language::tree::{self, Entry, Node, Table, Value};
use crate::link::link;
use crate::model::cluster::{Cluster, clusters};
use crate::model::config::{Config, DEFAULTS, Global, INCLUDED, ROOT};
use crate::model::listener::{Listener, listeners};
use crate::model::networks;
use crate::model::route::{ROUTE, RouteNode, routes};
use crate::model::site::{SITE, sites};
use crate::model::{elsewhere, is_known};
use crate::table::block::Keys;
use crate::table::convert::mismatch;
use crate::table::fields::Fields;

/// A configuration that holds, and what came with it.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Loaded {
    /// The configuration.
    pub config: Config,
    /// Where it came from.
    pub sources: Sources,
    /// What works but is probably not meant.
    pub warnings: Diagnostics,
}

impl Loaded {
    /// A configuration that came from no file, as [`Config::for_proxy`] makes one.
    #[must_use]
    pub fn without_file(config: Config) -> Self {
        Self { config, sources: Sources::default(), warnings: Diagnostics::default() }
    }
}

impl Config {
    /// Reads a file and what it includes, with the process's environment.
    ///
    /// # Errors
    /// Everything that is wrong with it, and the warnings among it.
    pub fn load(path: impl AsRef<Path>) -> Result<Loaded, Diagnostics> {
        Self::load_with(path, &|name| std::env::var(name).ok(), &Disk)
    }

    /// As [`load`](Self::load), with an environment and files of the caller's choice.
    ///
    /// # Errors
    /// As [`load`](Self::load).
    pub fn load_with(
        path: impl AsRef<Path>,
        env: &dyn Fn(&str) -> Option<String>,
        files: &dyn Files,
    ) -> Result<Loaded, Diagnostics> {
        let path = path.as_ref();
        let mut reader = Reader::new(env, files);
        match files.read(path) {
            Ok(text) => reader.file(path.to_owned(), text, true),
            Err(error) => {
                reader.report.error(Span::NOWHERE, format!("cannot read {}: {error}", path.display()));
                reader.broken = true;
            }
        }
        reader.finish()
    }

    /// Reads a text, which can include nothing. Diagnostics call it `lbproxy.toml`.
    ///
    /// ```
    /// use lb_config::Config;
    ///
    /// let text = r#"
    ///     listener = [{ address = "127.0.0.1:8080" }]
    ///     route = [{ cluster = "app" }]
    ///     cluster.app.endpoints = ["${HOST:-app}:3000"]
    /// "#;
    /// let loaded = Config::parse(text, &|_| None).unwrap();
    /// assert_eq!(&*loaded.config.clusters[0].endpoints[0].name, "app:3000");
    ///
    /// let wrong = Config::parse("workerz = 2", &|_| None).unwrap_err();
    /// assert!(wrong.to_string().starts_with("lbproxy.toml:1:1: error: unknown key `workerz`"));
    /// ```
    ///
    /// # Errors
    /// As [`load`](Self::load).
    pub fn parse(text: &str, env: &dyn Fn(&str) -> Option<String>) -> Result<Loaded, Diagnostics> {
        let mut reader = Reader::new(env, &NoFiles);
        reader.file("lbproxy.toml".into(), text.to_owned(), true);
        reader.finish()
    }
}

/// Everything that was written, in the order of files.
#[derive(Default)]
pub(crate) struct Written {
    pub(crate) root: Table,
    pub(crate) defaults_route: Table,
    pub(crate) defaults_cluster: Table,
    pub(crate) listeners: Vec<Node>,
    pub(crate) routes: Vec<Node>,
    pub(crate) sites: Vec<Node>,
    pub(crate) clusters: Vec<Entry>,
    /// Where each file of the sources is, without links where that can be known: what paths in it are relative to.
    pub(crate) directories: Vec<PathBuf>,
}

struct Reader<'a> {
    env: &'a dyn Fn(&str) -> Option<String>,
    files: &'a dyn Files,
    sources: Sources,
    report: Report,
    written: Written,
    /// The files we are inside of, outermost first.
    open: Vec<PathBuf>,
    /// Every file read so far.
    read: Vec<PathBuf>,
    /// Some text was not TOML or could not be read: what is missing there would only be followed by more complaints.
    broken: bool,
}

impl<'a> Reader<'a> {
    fn new(env: &'a dyn Fn(&str) -> Option<String>, files: &'a dyn Files) -> Self {
        Self {
            env,
            files,
            sources: Sources::default(),
            report: Report::new(elsewhere),
            written: Written::default(),
            open: Vec::new(),
            read: Vec::new(),
            broken: false,
        }
    }

    fn file(&mut self, path: PathBuf, text: String, is_main: bool) {
        let identity = self.files.identity(&path);
        let directory = path.parent().map(Path::to_owned).unwrap_or_default();
        let file = self.sources.add(path, text);
        // Files are numbered in the order in which they are read.
        let base = if directory.as_os_str().is_empty() { Path::new(".") } else { &directory };
        self.written.directories.push(self.files.identity(base));
        let (env, start) = (self.env, Span { file, start: 0, end: 0 });
        let Some(mut table) = tree::parse(file, &mut |name| env(name), is_known, &mut self.sources, &mut self.report)
        else {
            self.broken = true;
            return;
        };
        let include = table.take("include");
        self.take_lists(&mut table);
        if is_main {
            self.take_defaults(&mut table);
            self.written.root = table;
        } else {
            // Reports what an included file may not have.
            Fields::of(&mut self.report, &table, start, &INCLUDED);
        }
        self.open.push(identity.clone());
        self.read.push(identity);
        if let Some(include) = include {
            self.include(&include.node, &directory);
        }
        self.open.pop();
    }

    fn take_lists(&mut self, table: &mut Table) {
        for (key, what) in [("listener", Listener::SECTION), ("route", &ROUTE), ("site", &SITE)] {
            let Some(entry) = table.take(key) else { continue };
            match entry.node.value {
                Value::List(nodes) => match key {
                    "listener" => self.written.listeners.extend(nodes),
                    "route" => self.written.routes.extend(nodes),
                    _ => self.written.sites.extend(nodes),
                },
                Value::Table(_) => {
                    self.broken = true;
                    self.report
                        .error(entry.node.span, format!("`{key}` is a list of tables"))
                        .help(format!("write {} with double brackets", what.title));
                }
                _ => {
                    self.broken = true;
                    mismatch(&mut self.report, &entry.node, format!("{} tables", what.title));
                }
            }
        }
        let Some(entry) = table.take("cluster") else { return };
        match entry.node.value {
            Value::Table(table) => self.written.clusters.extend(table.entries),
            Value::List(_) => {
                self.broken = true;
                self.report
                    .error(entry.key_span, "`cluster` is a table of named clusters")
                    .help("write [cluster.NAME] in place of [[cluster]]");
            }
            _ => {
                self.broken = true;
                mismatch(
                    &mut self.report,
                    &entry.node,
                    format!("[cluster.NAME] with the keys {}", Cluster::SECTION.list()),
                );
            }
        }
    }

    fn take_defaults(&mut self, table: &mut Table) {
        let Some(entry) = table.take("defaults") else { return };
        let Some(fields) = Fields::open(&mut self.report, &entry.node, &DEFAULTS) else { return };
        for (key, section) in [("route", &ROUTE), ("cluster", Cluster::SECTION)] {
            let Some(entry) = fields.entry(key) else { continue };
            // Unknown keys are reported here too: if no route inherits them, nothing else would.
            if Fields::open(&mut self.report, &entry.node, section).is_none() {
                continue;
            }
            let mut defaults = entry.node.table().cloned().unwrap_or_default();
            if let (true, Some(name)) = (key == "route", defaults.take("name")) {
                self.report.error(name.key_span, "a `name` belongs to one route and cannot be inherited");
            }
            match key {
                "route" => self.written.defaults_route = defaults,
                _ => self.written.defaults_cluster = defaults,
            }
        }
        fields.done();
    }

    fn include(&mut self, node: &Node, directory: &Path) {
        let Value::List(patterns) = &node.value else {
            mismatch(&mut self.report, node, "a list of globs such as [\"sites/*.toml\"]");
            return;
        };
        for pattern in patterns {
            let Some(text) = pattern.text().filter(|text| !text.is_empty()) else {
                mismatch(&mut self.report, pattern, "a glob such as \"sites/*.toml\"");
                continue;
            };
            if text.contains("**") {
                self.report
                    .error(pattern.span, format!("{} has a `**` in it", pattern.shown()))
                    .expected("`*`, `?` and `[…]`");
                continue;
            }
            let paths = files::glob(self.files, directory, text);
            if paths.is_empty() {
                self.report.warning(pattern.span, format!("{} matches no file", pattern.shown()));
            }
            for path in paths {
                self.included(path, pattern.span);
            }
        }
    }

    fn included(&mut self, path: PathBuf, span: Span) {
        let identity = self.files.identity(&path);
        if self.open.contains(&identity) {
            self.report.error(span, format!("{} includes itself", path.display()));
            return;
        }
        if self.read.contains(&identity) {
            self.report.warning(span, format!("{} is included more than once; it counts once", path.display()));
            return;
        }
        match self.files.read(&path) {
            Ok(text) => self.file(path, text, false),
            Err(error) => {
                self.broken = true;
                self.report.error(span, format!("cannot read {}: {error}", path.display()));
            }
        }
    }

    fn finish(mut self) -> Result<Loaded, Diagnostics> {
        let config = if self.broken { None } else { build(&mut self.report, self.written, self.files) };
        if config.is_none() && !self.report.has_errors() {
            // Unreachable while every failed conversion reports a reason. An odd message is better than a wrong configuration.
            self.report.error(Span::NOWHERE, "the configuration cannot be used, and lbproxy does not know why");
        }
        let refused = self.report.has_errors();
        self.report.hide_in(&mut self.sources);
        let diagnostics = Diagnostics::resolve(self.report.into_problems(), &self.sources);
        match config {
            Some(config) if !refused => Ok(Loaded { config, sources: self.sources, warnings: diagnostics }),
            _ => Err(diagnostics),
        }
    }
}

/// Fills in what is inherited, decodes every part, and joins the parts.
pub(crate) fn build(report: &mut Report, written: Written, files: &dyn Files) -> Option<Config> {
    let Written { root, defaults_route, defaults_cluster, directories, .. } = written;
    let (written_listeners, written_sites) = (written.listeners, written.sites);
    let (mut written_routes, mut written_clusters) = (written.routes, written.clusters);
    for node in &mut written_routes {
        if let Value::Table(table) = &mut node.value {
            inherit(table, &defaults_route);
        }
    }
    for entry in &mut written_clusters {
        if let Value::Table(table) = &mut entry.node.value {
            inherit(table, &defaults_cluster);
        }
    }
    report.set_directories(directories);
    let texts = {
        let of_clusters = written_clusters.iter().map(|entry| &entry.node);
        let nodes = written_listeners.iter().chain(&written_routes).chain(&written_sites).chain(of_clusters);
        let tables = nodes.filter_map(Node::table).chain([&root, &defaults_route]);
        read_files(report, tables, files)
    };
    report.set_texts(texts);
    let fields = Fields::of(report, &root, Span { file: 0, start: 0, end: 0 }, &ROOT);
    let global = Global::take(report, &fields);
    // These were taken out of the table before, file by file.
    for taken in ["include", "listener", "route", "site", "cluster", "defaults"] {
        fields.entry(taken);
    }
    fields.done();
    let names: Vec<String> = written_clusters.iter().map(|entry| entry.key.clone()).collect();
    let listeners = listeners(report, &written_listeners);
    let clusters = clusters(report, &written_clusters);
    let (sites, of_sites) = sites(report, &written_sites, &defaults_route);
    let all: Vec<RouteNode> = written_routes.into_iter().map(|node| (node, None)).chain(of_sites).collect();
    let routes = routes(report, &all);
    link(report, global, listeners, clusters, &names, sites, routes)
}

/// Reads the files that lists may stand in, each once.
fn read_files<'t>(report: &Report, tables: impl Iterator<Item = &'t Table>, files: &dyn Files) -> Texts {
    let mut texts = Texts::new();
    for (path, file) in tables.flat_map(networks::files) {
        let path = report.path_in(file, path);
        if !texts.iter().any(|(known, _)| *known == path) {
            let text = files.read(&path).map(Into::into).map_err(|error| error.to_string());
            texts.push((path, text));
        }
    }
    texts
}
