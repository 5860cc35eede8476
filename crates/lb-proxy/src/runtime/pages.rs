//! Error pages as they were read, the last good of each file.

use std::collections::{HashMap, HashSet};
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use lb_config::{Action, Config, ErrorPage, ErrorPages};

use crate::events::{Event, Events};
use crate::rules::page::{Chosen, Page, PageError, PageTable, choose};

/// The largest page: what is larger was hardly meant to be one, and each is kept in memory.
const MAX_BYTES: u64 = 1024 * 1024;

/// What outlives a reload.
#[derive(Default)]
pub(crate) struct PageStore {
    read: HashMap<PathBuf, Page>,
    /// Directories that files are served from.
    roots: HashSet<PathBuf>,
}

/// The tables of one configuration.
#[derive(Default)]
pub(crate) struct Pages {
    /// One a route; none where nothing was read.
    pub(crate) routes: Vec<PageTable>,
    pub(crate) shared: Arc<SharedPages>,
}

/// What routes do not have for themselves.
#[derive(Default)]
pub(crate) struct SharedPages {
    /// One a listener.
    pub(crate) listeners: Vec<PageTable>,
    pub(crate) global: PageTable,
}

impl SharedPages {
    /// The page for what could not be read as a request.
    pub(crate) fn of_unread(&self, listener: usize, status: u16) -> Option<&Page> {
        let tables = self.listeners.get(listener).into_iter().chain([&self.global]);
        match choose(&tables, status, false)? {
            Chosen::Page(page) => Some(page),
            Chosen::Json => None,
        }
    }
}

impl PageStore {
    /// Reads the pages of a configuration.
    ///
    /// # Errors
    /// One cannot be read and none read before can stand in. Nothing has changed then.
    pub(crate) fn load(&mut self, config: &Config, events: &Events) -> Result<Pages, PageError> {
        for root in roots(config) {
            // One that was there before may be on its way from one version to the next.
            match check_root(root) {
                Err(error) if !self.roots.contains(root) => return Err(error),
                Err(error) => events.emit(Event::RootGone { why: error.to_string() }),
                Ok(()) => {}
            }
        }
        let mut next = Self { roots: roots(config).map(Path::to_owned).collect(), ..Self::default() };
        let mut table = |pages: &ErrorPages| -> Result<PageTable, PageError> {
            let mut table = PageTable::new(pages.intercept);
            for page in &pages.pages {
                table.add(page.statuses, page.json, self.page(page, &mut next, events)?);
            }
            Ok(table)
        };
        let routes = config.routes.iter().map(|route| table(&route.options.errors)).collect::<Result<_, _>>()?;
        let listeners = config.listeners.iter().map(|listener| table(&listener.errors)).collect::<Result<_, _>>()?;
        let global = table(&config.errors)?;
        *self = next;
        Ok(Pages { routes, shared: Arc::new(SharedPages { listeners, global }) })
    }

    fn page(&self, page: &ErrorPage, next: &mut Self, events: &Events) -> Result<Page, PageError> {
        if let Some(read) = next.read.get(&page.file) {
            return Ok(read.clone());
        }
        let read = match (read(&page.file), self.read.get(&page.file)) {
            (Ok(text), _) => Page::new(page.content_type(), text),
            (Err(error), Some(last)) => {
                events.emit(Event::PageKept { why: error.to_string() });
                last.clone()
            }
            (Err(error), None) => return Err(error),
        };
        next.read.insert(page.file.clone(), read.clone());
        Ok(read)
    }
}

/// Every page and every root of a configuration that cannot be used, for `check`. Reads files, and nothing else.
#[must_use]
pub fn inspect(config: &Config) -> Vec<PageError> {
    let of_routes = config.routes.iter().map(|route| &route.options.errors);
    let of_listeners = config.listeners.iter().map(|listener| &listener.errors);
    let mut files: Vec<&Path> = of_routes
        .chain(of_listeners)
        .chain([&config.errors])
        .flat_map(|all| &all.pages)
        .map(|page| &*page.file)
        .collect();
    files.sort_unstable();
    files.dedup();
    let pages = files.into_iter().filter_map(|file| read(file).err());
    pages.chain(roots(config).filter_map(|root| check_root(root).err())).collect()
}

/// The directories that files are served from.
fn roots(config: &Config) -> impl Iterator<Item = &Path> {
    config.routes.iter().filter_map(|route| match &route.action {
        Action::Files(files) => Some(&*files.root),
        _ => None,
    })
}

fn check_root(root: &Path) -> Result<(), PageError> {
    let check = || match std::fs::metadata(root)?.is_dir() {
        true => Ok(()),
        false => Err(io::Error::other("it is no directory")),
    };
    check().map_err(|source| PageError { what: "the root of files", file: root.to_owned(), source })
}

fn read(file: &Path) -> Result<Vec<u8>, PageError> {
    let read = || {
        // Asked first: to open a pipe would wait for its other end.
        if !std::fs::metadata(file)?.is_file() {
            return Err(io::Error::other("it is no regular file"));
        }
        let mut text = Vec::new();
        File::open(file)?.take(MAX_BYTES + 1).read_to_end(&mut text)?;
        if text.len() as u64 > MAX_BYTES {
            return Err(io::Error::other("it is larger than 1 MiB"));
        }
        Ok(text)
    };
    read().map_err(|source| PageError { what: "the error page", file: file.to_owned(), source })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rules::testing::{facts, head, origin};

    fn body(pages: &Pages) -> Option<String> {
        let head = head("GET / HTTP/1.1\nHost: a");
        let origin = origin(&head);
        match choose(&[&pages.shared.global].into_iter(), 500, false)? {
            Chosen::Page(page) => Some(String::from_utf8_lossy(&page.body(&facts(&head, &origin))).into_owned()),
            Chosen::Json => None,
        }
    }

    #[test]
    fn the_last_good_page_stays_in_force_and_one_that_never_was_good_is_refused() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("500.html");
        let text = format!(
            "listener = [{{ address = \"127.0.0.1:0\" }}]\nerrors.\"5xx\" = \"{}\"\nroute = [{{ respond = {{}} }}]",
            file.display()
        );
        let config = Config::parse(&text, &|_| None).unwrap_or_else(|errors| panic!("{errors}")).config;
        let (mut store, events) = (PageStore::default(), Events::default());
        assert!(store.load(&config, &events).is_err());
        assert_eq!(inspect(&config).len(), 1);
        for (text, expected) in [("one", "one"), ("two", "two"), (&"x".repeat(1024 * 1024 + 1), "two")] {
            std::fs::write(&file, text).unwrap();
            assert_eq!(body(&store.load(&config, &events).unwrap()).as_deref(), Some(expected));
        }
        std::fs::remove_file(&file).unwrap();
        assert_eq!(body(&store.load(&config, &events).unwrap()).as_deref(), Some("two"));
        std::fs::create_dir(&file).unwrap();
        assert_eq!(body(&store.load(&config, &events).unwrap()).as_deref(), Some("two"));
        assert!(PageStore::default().load(&config, &events).is_err());
    }
}
