//! Reading files and expanding globs, with the file system behind a trait so that tests need none.

use std::io::{self, Read};
use std::path::{Component, Path, PathBuf};

/// Where configuration files come from.
pub trait Files {
    /// The text of a file.
    ///
    /// # Errors
    /// If it cannot be read, is not UTF-8, or is larger than any configuration should be.
    fn read(&self, path: &Path) -> io::Result<String>;

    /// The names in a directory, in any order; the empty path is the current one.
    ///
    /// # Errors
    /// If it cannot be listed.
    fn list(&self, directory: &Path) -> io::Result<Vec<String>>;

    /// One name for the same file, however it is reached; includes that come back to it are cycles.
    fn identity(&self, path: &Path) -> PathBuf {
        let mut plain = PathBuf::new();
        for part in path.components() {
            match part {
                Component::CurDir => {}
                Component::ParentDir if plain.file_name().is_some() => {
                    plain.pop();
                }
                part => plain.push(part),
            }
        }
        plain
    }
}

/// The file system.
#[derive(Clone, Copy, Debug, Default)]
pub struct Disk;

/// Largest file that is read, bytes: far beyond any configuration, far below what hurts.
const LARGEST: u64 = 16 << 20;

impl Files for Disk {
    fn read(&self, path: &Path) -> io::Result<String> {
        read_text(std::fs::File::open(path)?)
    }

    fn list(&self, directory: &Path) -> io::Result<Vec<String>> {
        let directory = if directory.as_os_str().is_empty() { Path::new(".") } else { directory };
        let mut names = Vec::new();
        for entry in std::fs::read_dir(directory)? {
            // A name that is not UTF-8 cannot be written in a glob either.
            names.extend(entry?.file_name().into_string());
        }
        Ok(names)
    }

    fn identity(&self, path: &Path) -> PathBuf {
        std::fs::canonicalize(path).unwrap_or_else(|_| path.to_owned())
    }
}

/// The text of a configuration, from a file or from standard input.
///
/// # Errors
/// It cannot be read, is not UTF-8 or is larger than 16 MiB.
pub fn read_text(from: impl Read) -> io::Result<String> {
    let mut bytes = Vec::new();
    from.take(LARGEST + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > LARGEST {
        return Err(io::Error::other("it is larger than 16MiB"));
    }
    String::from_utf8(bytes).map_err(|error| {
        let valid = error.utf8_error().valid_up_to();
        io::Error::new(io::ErrorKind::InvalidData, not_utf8(error.as_bytes(), valid))
    })
}

/// What a text is that is not UTF-8, and where it shows.
fn not_utf8(bytes: &[u8], valid: usize) -> String {
    if bytes.starts_with(&[0xff, 0xfe]) || bytes.starts_with(&[0xfe, 0xff]) {
        return "it is UTF-16; save it as UTF-8".to_owned();
    }
    let before = bytes.get(..valid).unwrap_or_default();
    let line = 1 + before.iter().filter(|byte| **byte == b'\n').count();
    let start = before.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
    let column = 1 + String::from_utf8_lossy(&before[start..]).chars().count();
    let byte = bytes.get(valid).copied().unwrap_or_default();
    let latin = match char::from(byte) {
        char if char.is_alphanumeric() => format!(", which is `{char}` in Latin-1"),
        _ => String::new(),
    };
    format!("line {line}, column {column} has the byte 0x{byte:02x}{latin}; save it as UTF-8")
}

/// No files at all, for a configuration that is only a text.
pub(crate) struct NoFiles;

impl Files for NoFiles {
    fn read(&self, _: &Path) -> io::Result<String> {
        Err(io::Error::other("a text has no directory to include from"))
    }

    fn list(&self, _: &Path) -> io::Result<Vec<String>> {
        Err(io::Error::other("a text has no directory to include from"))
    }
}

/// Whether a pattern can match several names.
pub(crate) fn is_glob(pattern: &str) -> bool {
    pattern.contains(['*', '?', '['])
}

/// The files that a pattern names, sorted by name; a directory that is not there holds nothing.
pub(crate) fn glob(files: &dyn Files, base: &Path, pattern: &str) -> Vec<PathBuf> {
    let mut found = vec![if pattern.starts_with('/') { PathBuf::from("/") } else { base.to_owned() }];
    let mut listed = false;
    for part in pattern.split('/').filter(|part| !part.is_empty() && *part != ".") {
        if !is_glob(part) && (!listed || part == "..") {
            found.iter_mut().for_each(|path| path.push(part));
            continue;
        }
        listed = true;
        found = found.iter().flat_map(|directory| matching(files, directory, part)).collect();
    }
    found
}

fn matching(files: &dyn Files, directory: &Path, pattern: &str) -> Vec<PathBuf> {
    let mut names = files.list(directory).unwrap_or_default();
    names.retain(|name| (!name.starts_with('.') || pattern.starts_with('.')) && matches(pattern, name));
    names.sort_unstable();
    names.into_iter().map(|name| directory.join(name)).collect()
}

/// `*` any run, `?` any one, `[a-z]` one of these, `[!a-z]` one of the others.
fn matches(pattern: &str, name: &str) -> bool {
    let pattern: Vec<char> = pattern.chars().collect();
    let name: Vec<char> = name.chars().collect();
    let (mut p, mut n) = (0, 0);
    // Where to go on if what follows the last star does not fit: the star takes one more.
    let mut star: Option<(usize, usize)> = None;
    while n < name.len() {
        if pattern.get(p) == Some(&'*') {
            p += 1;
            star = Some((p, n));
        } else if let Some(width) = one(&pattern[p..], name[n]) {
            p += width;
            n += 1;
        } else if let Some((after, taken)) = star {
            star = Some((after, taken + 1));
            (p, n) = (after, taken + 1);
        } else {
            return false;
        }
    }
    pattern[p..].iter().all(|char| *char == '*')
}

/// How much of the pattern this one character takes, if it fits.
fn one(pattern: &[char], char: char) -> Option<usize> {
    match pattern.first()? {
        '?' => Some(1),
        '[' => match pattern.iter().skip(2).position(|char| *char == ']') {
            Some(close) => {
                let set = &pattern[1..close + 2];
                let (negated, set) = match set.strip_prefix(&['!']) {
                    Some(set) => (true, set),
                    None => (false, set),
                };
                (in_set(set, char) != negated).then_some(close + 3)
            }
            None => (char == '[').then_some(1),
        },
        literal => (*literal == char).then_some(1),
    }
}

fn in_set(set: &[char], char: char) -> bool {
    match set {
        [from, '-', to, rest @ ..] => (*from..=*to).contains(&char) || in_set(rest, char),
        [one, rest @ ..] => *one == char || in_set(rest, char),
        [] => false,
    }
}

/// `/etc/certs/a.pem` for `../certs/a.pem` in `/etc/lbproxy`. Only what leads out of `base` is undone, since that has no
/// links in it; what comes after a link's name is the system's to follow.
pub(crate) fn relative_to(mut base: PathBuf, path: &Path) -> PathBuf {
    let mut parts = path.components().peekable();
    while let Some(part) = parts.peek() {
        match part {
            Component::CurDir => {}
            Component::ParentDir if base.is_absolute() => {
                base.pop();
            }
            _ => break,
        }
        parts.next();
    }
    parts.for_each(|part| base.push(part));
    base
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn globs_match_names() {
        for (pattern, name, fits) in [
            ("*.toml", "a.toml", true),
            ("*.toml", "a.toml.bak", false),
            ("*", "", true),
            ("a*b*c", "aXbXbc", true),
            ("a*b*c", "aXc", false),
            ("?.toml", "a.toml", true),
            ("?.toml", "ab.toml", false),
            ("[ab].toml", "b.toml", true),
            ("[a-c]x", "bx", true),
            ("[!a-c]x", "bx", false),
            ("[!a-c]x", "dx", true),
            ("[x", "[x", true),
            ("[]", "a", false),
            ("ä*", "äö", true),
        ] {
            assert_eq!(matches(pattern, name), fits, "{pattern} {name}");
        }
    }

    #[test]
    fn a_text_that_is_not_utf8_is_told_by_its_first_byte_that_is_not() {
        let why = |bytes: &[u8]| read_text(bytes).unwrap_err().to_string();
        assert_eq!(
            why(b"a = 1\nb = \"f\xfcr\""),
            "line 2, column 7 has the byte 0xfc, which is `\u{fc}` in Latin-1; save it as UTF-8"
        );
        assert_eq!(why(b"\xff\xfea\0"), "it is UTF-16; save it as UTF-8");
        assert_eq!(why(b"\x80"), "line 1, column 1 has the byte 0x80; save it as UTF-8");
        assert_eq!(read_text(&b"a = \"\xc3\xbc\""[..]).unwrap(), "a = \"\u{fc}\"");
    }

    #[test]
    fn identities_are_plain() {
        for (path, plain) in [("a/../b", "b"), ("./a", "a"), ("/a/./b/../c", "/a/c"), ("../a", "../a")] {
            assert_eq!(NoFiles.identity(Path::new(path)), PathBuf::from(plain), "{path}");
        }
    }

    #[test]
    fn a_path_is_relative_to_the_file_that_names_it() {
        for (base, path, expected) in [
            ("/etc/lbproxy", "a.pem", "/etc/lbproxy/a.pem"),
            ("/etc/lbproxy", "../certs/a.pem", "/etc/certs/a.pem"),
            ("/etc/lbproxy", "./../../a.pem", "/a.pem"),
            ("/etc/lbproxy", "live/../a.pem", "/etc/lbproxy/live/../a.pem"),
            ("/etc/lbproxy", "/a.pem", "/a.pem"),
            ("", "../a.pem", "../a.pem"),
        ] {
            assert_eq!(relative_to(base.into(), Path::new(path)), PathBuf::from(expected), "{path}");
        }
    }
}
