//! What was read of users, and is kept: the last good of each file, and what outlives a reload.

use std::collections::HashMap;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use lb_config::{Auth, Config};
use lb_ratelimit::{Keyed, Quota};
use rand::Rng;

use super::error::AuthFileError;
use super::keys::KeySet;
use super::pool::Pool;
use super::users::Users;
use crate::events::{Event, Events};

/// Largest file that is read, bytes: some 100 000 users.
const LARGEST: u64 = 16 << 20;
/// Wrong passwords that one client (IPv6 by /64) may send at once, and in a minute from then on.
const GUESSES: u64 = 20;
const GUESSES_PER_MINUTE: u64 = 10;
/// Of 16 000 clients.
const GUESSES_MEMORY: usize = 256 * 1024;

/// What outlives a reload.
pub(crate) struct Store {
    users: HashMap<PathBuf, Arc<Users>>,
    keys: HashMap<PathBuf, Arc<KeySet>>,
    pool: Arc<Pool>,
    guesses: Arc<Keyed>,
    key: [u8; 32],
}

/// What was read for one configuration.
#[derive(Default)]
pub(crate) struct Loaded {
    users: HashMap<PathBuf, Arc<Users>>,
    keys: HashMap<PathBuf, Arc<KeySet>>,
    /// Computes hashes.
    pub(crate) pool: Arc<Pool>,
    /// Wrong passwords by client; `None` where there is nothing to be guessed.
    pub(crate) guesses: Option<Arc<Keyed>>,
}

/// Something about a file of users.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// Which route, which file, and what.
    pub message: String,
    /// The file.
    pub file: PathBuf,
}

impl Default for Store {
    fn default() -> Self {
        let mut key = [0; 32];
        rand::rng().fill_bytes(&mut key);
        let quota = Quota::per_minute(GUESSES_PER_MINUTE).with_burst(GUESSES - 1);
        let seed = [rand::rng().next_u64(), rand::rng().next_u64()];
        Self {
            users: HashMap::new(),
            keys: HashMap::new(),
            pool: Arc::default(),
            guesses: Arc::new(Keyed::new(quota, GUESSES_MEMORY, seed)),
            key,
        }
    }
}

impl Store {
    /// Reads the files that a configuration names. What has not changed stays as it is, with what it remembers.
    ///
    /// # Errors
    /// A file cannot be used and none read before can stand in. Nothing has changed then.
    pub(crate) fn load(&mut self, config: &Config, events: &Events) -> Result<Loaded, AuthFileError> {
        let mut next = HashMap::new();
        for (_, file) in files(config) {
            if next.contains_key(file) {
                continue;
            }
            let last = self.users.get(file);
            let users = match (read(file, self.key, last), last) {
                (Ok(users), _) => users,
                (Err(error), Some(last)) => {
                    let kept = "the users that were read before stay in force";
                    events.emit(Event::FileKept { why: error.to_string(), kept });
                    Arc::clone(last)
                }
                (Err(error), None) => return Err(error),
            };
            next.insert(file.to_owned(), users);
        }
        let mut keys = HashMap::new();
        for (_, file) in key_files(config) {
            let last = self.keys.get(file);
            let read = match (read_keys(file, last), last) {
                (Ok(keys), _) => keys,
                (Err(error), Some(last)) => {
                    let kept = "the keys that were read before stay in force";
                    events.emit(Event::FileKept { why: error.to_string(), kept });
                    Arc::clone(last)
                }
                (Err(error), None) => return Err(error),
            };
            keys.insert(file.to_owned(), read);
        }
        self.users.clone_from(&next);
        self.keys.clone_from(&keys);
        Ok(Loaded { keys, users: next, pool: Arc::clone(&self.pool), guesses: Some(Arc::clone(&self.guesses)) })
    }
}

impl Loaded {
    /// The keys of this file; `None` if it was not read.
    pub(crate) fn keys(&self, file: &Path) -> Option<Arc<KeySet>> {
        self.keys.get(file).cloned()
    }

    /// The users of this file; `None` if it was not read.
    pub(crate) fn users(&self, file: &Path) -> Option<Arc<Users>> {
        self.users.get(file).cloned()
    }
}

/// The files of keys that a configuration names, with the route.
fn key_files(config: &Config) -> impl Iterator<Item = (&str, &Path)> {
    config.routes.iter().flat_map(|route| {
        route.options.auth.iter().filter_map(|auth| match auth {
            Auth::Jwt(jwt) => Some((&*route.name, jwt.keys.as_deref()?)),
            _ => None,
        })
    })
}

/// The files of users that a configuration names, with the route.
fn files(config: &Config) -> impl Iterator<Item = (&str, &Path)> {
    config.routes.iter().flat_map(|route| {
        route.options.auth.iter().filter_map(|auth| match auth {
            Auth::Basic(basic) => Some((&*route.name, &*basic.users)),
            Auth::Forward(_) | Auth::Jwt(_) => None,
        })
    })
}

fn read(file: &Path, key: [u8; 32], last: Option<&Arc<Users>>) -> Result<Arc<Users>, AuthFileError> {
    let text = contents(file)?;
    match last {
        Some(last) if last.is_of(&text) => Ok(Arc::clone(last)),
        _ => Users::parse(file, &text, key).map(Arc::new),
    }
}

fn read_keys(file: &Path, last: Option<&Arc<KeySet>>) -> Result<Arc<KeySet>, AuthFileError> {
    let text = contents(file)?;
    match last {
        Some(last) if last.is_of(&text) => Ok(Arc::clone(last)),
        _ => KeySet::parse(file, &text).map(Arc::new),
    }
}

fn contents(file: &Path) -> Result<Vec<u8>, AuthFileError> {
    let cannot = |error: std::io::Error| AuthFileError::new(file, format!("cannot be read: {error}"));
    // A pipe would be waited for.
    if !std::fs::metadata(file).map_err(cannot)?.is_file() {
        return Err(AuthFileError::new(file, "is no file"));
    }
    let mut text = Vec::new();
    std::fs::File::open(file).map_err(cannot)?.take(LARGEST + 1).read_to_end(&mut text).map_err(cannot)?;
    if text.len() as u64 > LARGEST {
        return Err(AuthFileError::new(file, "is larger than 16MiB"));
    }
    Ok(text)
}

/// Reads every file of users that the configuration names; what is wrong with them, in the order of the routes. Reads files, and
/// nothing else.
#[must_use]
pub fn inspect(config: &Config) -> Vec<Finding> {
    let mut findings: Vec<Finding> = Vec::new();
    let users = files(config).map(|(route, file)| (route, file, read(file, [0; 32], None).err()));
    let keys = key_files(config).map(|(route, file)| (route, file, read_keys(file, None).err()));
    for (route, file, error) in users.chain(keys) {
        let Some(error) = error else { continue };
        if findings.iter().all(|finding| finding.file != file) {
            findings.push(Finding { message: format!("route {route}: {error}"), file: file.to_owned() });
        }
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::*;

    const ANN: &str = "ann:$2y$04$abcdefghijklmnopqrstuu2r9OfJnfCsdneAXAGHnS4UpFFP8WIrW\n";
    const BOB: &str = "bob:$apr1$r31.....$F82NbYp0z5OJAIBItkz3D1\n";

    #[test]
    fn a_file_is_read_again_and_the_last_good_one_stays() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("users");
        let text = format!(
            "[[listener]]\naddress = \"127.0.0.1:0\"\n[[route]]\nname = \"r\"\nrespond = {{}}\nauth = {{ basic = {{ users = \"{}\" }} }}\n",
            file.display()
        );
        let config = Config::parse(&text, &|_| None).unwrap_or_else(|wrong| panic!("{wrong}")).config;
        let mut store = Store::default();
        assert!(store.load(&config, &Events::default()).is_err(), "there is no file yet");
        assert!(inspect(&config)[0].message.starts_with(&format!("route r: {}: cannot be read", file.display())));
        let mut load = |text: &str| {
            std::fs::write(&file, text).unwrap();
            store.load(&config, &Events::default()).unwrap().users(&file).unwrap()
        };
        let first = load(ANN);
        assert!(first.find("ann", "secret").is_some());
        assert!(Arc::ptr_eq(&load(ANN), &first), "with what it remembers");
        let second = load(BOB);
        assert!(second.find("ann", "secret").is_none() && second.find("bob", "open sesame").is_some());
        assert!(Arc::ptr_eq(&load("bob:hunter2\n"), &second), "the last good one");
        let found = inspect(&config);
        assert!(found.len() == 1 && found[0].message.contains("in the clear") && !found[0].message.contains("hunter2"));
        std::fs::remove_file(&file).unwrap();
        std::fs::create_dir(&file).unwrap();
        assert!(inspect(&config)[0].message.ends_with("is no file"));
    }
}
