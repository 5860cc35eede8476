//! Private keys that users other than their owner can read.
//!
//! A user with the key can impersonate the server. A file copied with the wrong umask is the usual reason; TLS works all the
//! same, so nothing else reports it.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;

/// A sentence about the file of a private key, after its name; `None` if only its owner can read and write it, or
/// nothing can be known.
pub(super) fn warning(key: &Path) -> Option<String> {
    let mode = std::fs::metadata(key).ok()?.permissions().mode() & 0o777;
    let by = match (mode & 0o060, mode & 0o006) {
        (_, others) if others != 0 => "by every user of this machine",
        (group, _) if group != 0 => "by its group",
        _ => return None,
    };
    let does = if mode & 0o022 != 0 { "written" } else { "read" };
    Some(format!("the private key can be {does} {by} (mode {mode:04o}); `chmod 600` it"))
}

#[cfg(test)]
mod tests {
    use std::fs::Permissions;

    use super::*;

    #[test]
    fn only_a_key_for_its_owner_has_no_warning() {
        let file = tempfile::NamedTempFile::new().unwrap();
        for (mode, expected) in [
            (0o600, None),
            (0o400, None),
            (0o700, None),
            (0o640, Some("the private key can be read by its group (mode 0640); `chmod 600` it")),
            (0o644, Some("the private key can be read by every user of this machine (mode 0644); `chmod 600` it")),
            (0o666, Some("the private key can be written by every user of this machine (mode 0666); `chmod 600` it")),
        ] {
            std::fs::set_permissions(file.path(), Permissions::from_mode(mode)).unwrap();
            assert_eq!(warning(file.path()).as_deref(), expected, "{mode:o}");
        }
        assert_eq!(warning(Path::new("/nonexistent/key.pem")), None);
    }
}
