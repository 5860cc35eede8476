//! The users of a file.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;

use lb_core::Mono;

use super::error::AuthFileError;
use super::hashed::Hashed;
use super::memo::{Mark, Memo};

/// Users with their hashed passwords, and the pairs that were right of late.
pub(crate) struct Users {
    by_name: HashMap<Arc<str>, usize, ahash::RandomState>,
    hashes: Vec<Hashed>,
    /// Marks pairs, and chooses whose hash is computed for a name that is unknown.
    key: [u8; 32],
    memo: Memo,
    /// What the file held.
    digest: blake3::Hash,
}

impl Users {
    /// Reads a file as `htpasswd` writes it: a line each of `name:hash`, perhaps with further fields; empty lines and those that
    /// begin with `#` are left out.
    ///
    /// # Errors
    /// The first line that is no user; a name that stands there twice; no user at all.
    pub(super) fn parse(file: &Path, text: &[u8], key: [u8; 32]) -> Result<Self, AuthFileError> {
        let wrong = |what: String| AuthFileError::new(file, what);
        let digest = blake3::hash(text);
        let text = std::str::from_utf8(text).map_err(|_| wrong("is not UTF-8".to_owned()))?;
        let (mut by_name, mut hashes) = (HashMap::default(), Vec::new());
        for (number, line) in (1..).zip(text.lines()) {
            let line = line.trim_end();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let Some((name, rest)) = line.split_once(':') else {
                return Err(wrong(format!("line {number} is no user: it has no colon")));
            };
            if name.is_empty() || name.chars().any(char::is_control) {
                return Err(wrong(format!("line {number} has no name that anybody could enter")));
            }
            let hash = rest.split(':').next().unwrap_or_default();
            let hash = Hashed::parse(hash)
                .map_err(|what| wrong(format!("line {number}: the user `{}` {what}", name.escape_debug())))?;
            if by_name.insert(Arc::from(name), hashes.len()).is_some() {
                return Err(wrong(format!("line {number}: the user `{}` is there twice", name.escape_debug())));
            }
            hashes.push(hash);
        }
        if hashes.is_empty() {
            return Err(wrong("has no user in it".to_owned()));
        }
        Ok(Self { by_name, hashes, key, memo: Memo::default(), digest })
    }

    /// Whether the file held the same.
    pub(super) fn is_of(&self, text: &[u8]) -> bool {
        self.digest == blake3::hash(text)
    }

    /// The user of this name, if the pair was right within the last minute. Costs a hash of some 100 ns.
    pub(crate) fn recall(&self, name: &str, password: &str, now: Mono) -> Option<Arc<str>> {
        let (known, _) = self.by_name.get_key_value(name)?;
        self.memo.knows(&self.mark(name, password), now).then(|| Arc::clone(known))
    }

    /// The user of this name, if the password is right: costs as much as the hash is made to, whether there is such a user or
    /// not. For a name that is unknown, the hash of a user who is always the same one for it is computed.
    pub(crate) fn find(&self, name: &str, password: &str) -> Option<Arc<str>> {
        let known = self.by_name.get_key_value(name);
        let position = known.map_or_else(|| self.stand_in(name), |(_, position)| *position);
        let is_right = self.hashes.get(position).is_some_and(|hash| hash.is(password));
        known.filter(|_| is_right).map(|(name, _)| Arc::clone(name))
    }

    /// The pair is right.
    pub(crate) fn remember(&self, name: &str, password: &str, now: Mono) {
        self.memo.remember(self.mark(name, password), now);
    }

    /// Whose hash is computed for a name that is unknown. By a key: nobody can choose a name for which it is cheap.
    fn stand_in(&self, name: &str) -> usize {
        let hash = blake3::keyed_hash(&self.key, name.as_bytes());
        let number = hash.as_bytes().first_chunk().map_or(0, |bytes| u64::from_le_bytes(*bytes));
        (number % self.hashes.len() as u64) as usize
    }

    fn mark(&self, name: &str, password: &str) -> Mark {
        let mut hasher = blake3::Hasher::new_keyed(&self.key);
        hasher.update(&(name.len() as u64).to_le_bytes()).update(name.as_bytes()).update(password.as_bytes());
        *hasher.finalize().as_bytes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ANN: &str = "ann:$2y$04$abcdefghijklmnopqrstuu2r9OfJnfCsdneAXAGHnS4UpFFP8WIrW";
    const BOB: &str = "b\u{f6}b:$apr1$r31.....$F82NbYp0z5OJAIBItkz3D1";

    fn users(text: &str) -> Result<Users, String> {
        Users::parse(Path::new("f"), text.as_bytes(), [7; 32]).map_err(|error| error.to_string())
    }

    #[test]
    fn a_file_has_users_comments_and_further_fields() {
        let users = users(&format!("# who\r\n\n{ANN}:Ann:extra\r\n{BOB}\n")).unwrap();
        assert_eq!(users.find("ann", "secret").as_deref(), Some("ann"));
        assert_eq!(users.find("b\u{f6}b", "open sesame").as_deref(), Some("b\u{f6}b"));
        for (name, password) in
            [("ann", "open sesame"), ("b\u{f6}b", "secret"), ("Ann", "secret"), ("", ""), ("eve", "secret")]
        {
            assert_eq!(users.find(name, password), None, "{name}");
        }
    }

    #[test]
    fn what_is_wrong_with_a_file_is_said_with_its_line_and_without_a_hash() {
        for (text, why) in [
            ("", "f: has no user in it"),
            ("# nobody\n", "f: has no user in it"),
            ("ann\n", "f: line 1 is no user: it has no colon"),
            (":x", "f: line 1 has no name that anybody could enter"),
            ("a\u{7}:x", "f: line 1 has no name that anybody could enter"),
            (
                "\nann:hunter2",
                "f: line 2: the user `ann` has a password in the clear, or in DES; write it with `htpasswd -B`",
            ),
            ("ann:", "f: line 1: the user `ann` has no password; write it with `htpasswd -B`"),
            (&format!("{ANN}\n{ANN}"), "f: line 2: the user `ann` is there twice"),
        ] {
            assert_eq!(users(text).map(drop), Err(why.to_owned()), "{text}");
        }
        assert!(Users::parse(Path::new("f"), b"\xff:x", [0; 32]).is_err());
    }

    #[test]
    fn a_pair_that_was_right_is_recalled_and_only_that_one() {
        let users = users(&format!("{ANN}\n{BOB}")).unwrap();
        let now = Mono::from_millis(5);
        assert_eq!(users.recall("ann", "secret", now), None);
        users.remember("ann", "secret", now);
        assert_eq!(users.recall("ann", "secret", now).as_deref(), Some("ann"));
        // Not where name and password are divided otherwise.
        for (name, password) in [("ann", "secrets"), ("an", "nsecret"), ("b\u{f6}b", "secret"), ("annsecret", "")] {
            assert_eq!(users.recall(name, password, now), None, "{name}");
        }
    }

    #[test]
    fn a_name_that_is_unknown_costs_the_hash_of_some_user_always_the_same_and_of_each_one_for_some() {
        let users = users(&format!("{ANN}\n{BOB}")).unwrap();
        let stand_ins: Vec<usize> = (0..64).map(|number| users.stand_in(&format!("user{number}"))).collect();
        assert_eq!(stand_ins, (0..64).map(|number| users.stand_in(&format!("user{number}"))).collect::<Vec<_>>());
        assert!(stand_ins.contains(&0) && stand_ins.contains(&1) && stand_ins.iter().all(|stand_in| *stand_in < 2));
    }
}
