//! Opening files below a directory and nowhere else.
//!
//! A path that was cleaned may still lead out: by a symbolic link, or by one that is put there between the check and the opening. The kernel
//! alone can say, and does with `openat2(RESOLVE_BENEATH)` (Linux 5.6). Where it has no such call, or a sandbox forbids it, the path is walked one
//! name at a time, and no link is followed at all: links within the root are then not served either.
//!
//! Whether it is a file is asked before it is opened for reading, since to open a device may do something, and to open a pipe waits.

use std::fs::File;
use std::os::fd::OwnedFd;
use std::path::Path;

use rustix::fs::{AtFlags, CWD, FileType, Mode, OFlags, ResolveFlags, Stat, fstat, openat, openat2, statat};
use rustix::io::Errno;

/// A directory that files are served from, open for one request.
pub(super) struct Root(OwnedFd);

/// What is there.
pub(super) enum Entry {
    File(File, Stat),
    Directory(OwnedFd),
    /// Neither: a pipe, a socket, a device.
    Other,
}

impl Root {
    /// Opens it. It may be a link itself: what is served changes with where it leads.
    pub(super) fn open(path: &Path) -> Result<Self, Errno> {
        openat(CWD, path, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty()).map(Self)
    }

    /// Opens what a path below it leads to; `path` has names alone, none of them `.` or `..`, and no slash in front.
    pub(super) fn get(&self, path: &str) -> Result<Entry, Errno> {
        let found = self.resolve(path, OFlags::PATH)?;
        match FileType::from_raw_mode(fstat(&found)?.st_mode) {
            FileType::Directory => Ok(Entry::Directory(found)),
            FileType::RegularFile => {
                // What was put there in between is seen, and does not block.
                let file = self.resolve(path, OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY)?;
                let stat = fstat(&file)?;
                match FileType::from_raw_mode(stat.st_mode) {
                    FileType::RegularFile => Ok(Entry::File(File::from(file), stat)),
                    _ => Ok(Entry::Other),
                }
            }
            _ => Ok(Entry::Other),
        }
    }

    fn resolve(&self, path: &str, flags: OFlags) -> Result<OwnedFd, Errno> {
        let path = if path.is_empty() { "." } else { path };
        let flags = flags | OFlags::CLOEXEC;
        match openat2(&self.0, path, flags, Mode::empty(), ResolveFlags::BENEATH | ResolveFlags::NO_MAGICLINKS) {
            // A rename or a mount elsewhere came in between.
            Err(Errno::AGAIN) => {
                openat2(&self.0, path, flags, Mode::empty(), ResolveFlags::BENEATH | ResolveFlags::NO_MAGICLINKS)
            }
            Err(Errno::NOSYS | Errno::PERM) => walk(&self.0, path, flags),
            opened => opened,
        }
    }
}

/// Opens a path name by name, following no link.
fn walk(root: &OwnedFd, path: &str, flags: OFlags) -> Result<OwnedFd, Errno> {
    let mut at: Option<OwnedFd> = None;
    let mut names = path.split('/').filter(|name| !name.is_empty()).peekable();
    while let Some(name) = names.next() {
        if name == ".." {
            return Err(Errno::XDEV);
        }
        let directory = at.as_ref().unwrap_or(root);
        let is_last = names.peek().is_none();
        let how = if is_last { flags } else { OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC };
        let opened = openat(directory, name, how | OFlags::NOFOLLOW, Mode::empty())?;
        // With `O_PATH`, a link is opened itself.
        if FileType::from_raw_mode(fstat(&opened)?.st_mode) == FileType::Symlink {
            return Err(Errno::LOOP);
        }
        at = Some(opened);
    }
    at.ok_or(Errno::NOENT)
}

/// The names in a directory, each with whether it is one itself, and its length; at most so many.
pub(super) fn list(directory: &OwnedFd, most: usize) -> Result<Vec<(String, bool, u64)>, Errno> {
    let readable = openat(directory, ".", OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
    let mut names = Vec::new();
    for entry in rustix::fs::Dir::read_from(&readable)? {
        let Ok(name) = entry?.file_name().to_str().map(str::to_owned) else { continue };
        if name == "." || name == ".." || names.len() >= most {
            continue;
        }
        // Links are left out: they may lead elsewhere.
        let Ok(stat) = statat(&readable, name.as_str(), AtFlags::SYMLINK_NOFOLLOW) else { continue };
        match FileType::from_raw_mode(stat.st_mode) {
            FileType::Directory => names.push((name, true, 0)),
            FileType::RegularFile => names.push((name, false, u64::try_from(stat.st_size).unwrap_or(0))),
            _ => {}
        }
    }
    names.sort_by(|a, b| b.1.cmp(&a.1).then_with(|| a.0.cmp(&b.0)));
    Ok(names)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn nothing_outside_is_opened_with_the_call_and_without_it() {
        let directory = tempfile::tempdir().unwrap();
        let at = directory.path();
        std::fs::create_dir_all(at.join("root/sub")).unwrap();
        std::fs::write(at.join("secret"), "secret").unwrap();
        std::fs::write(at.join("root/sub/file"), "file").unwrap();
        symlink(at.join("secret"), at.join("root/absolute")).unwrap();
        symlink("../secret", at.join("root/relative")).unwrap();
        symlink("..", at.join("root/up")).unwrap();
        symlink("sub/file", at.join("root/inside")).unwrap();
        symlink("/proc/self/root", at.join("root/magic")).unwrap();
        let root = Root::open(&at.join("root")).unwrap();
        assert!(matches!(root.get("sub/file"), Ok(Entry::File(..))));
        assert!(matches!(root.get("sub"), Ok(Entry::Directory(_))));
        assert!(matches!(root.get(""), Ok(Entry::Directory(_))));
        assert!(matches!(root.get("inside"), Ok(Entry::File(..))), "a link that stays inside");
        for path in ["absolute", "relative", "up/secret", "../secret", "magic/etc/passwd", "none", "sub/file/x"] {
            assert!(root.get(path).is_err(), "{path}");
        }
        for path in ["absolute", "relative", "up/secret", "../secret", "magic/etc/passwd", "none", "inside"] {
            assert!(walk(&root.0, path, OFlags::RDONLY).is_err(), "{path}");
            assert!(walk(&root.0, path, OFlags::PATH).is_err(), "{path}");
        }
        assert!(walk(&root.0, "sub/file", OFlags::RDONLY).is_ok());
    }

    #[test]
    fn a_pipe_is_seen_and_not_opened() {
        let directory = tempfile::tempdir().unwrap();
        let made = std::process::Command::new("mkfifo").arg(directory.path().join("pipe")).status();
        if !made.is_ok_and(|status| status.success()) {
            eprintln!("SKIPPED: there is no mkfifo");
            return;
        }
        let root = Root::open(directory.path()).unwrap();
        assert!(matches!(root.get("pipe"), Ok(Entry::Other)));
        assert!(list(&root.0, 10).unwrap().is_empty());
    }
}
