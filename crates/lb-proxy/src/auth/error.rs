//! What is wrong with a file of users or keys.

use std::path::{Path, PathBuf};

/// A file of users or keys that cannot be used. Nothing of a hash or key is in it.
#[derive(Debug, thiserror::Error)]
#[error("{}: {what}", file.display())]
pub struct AuthFileError {
    /// The file.
    pub file: PathBuf,
    /// What is wrong with it, with the line.
    pub what: String,
}

impl AuthFileError {
    pub(super) fn new(file: &Path, what: impl Into<String>) -> Self {
        Self { file: file.to_owned(), what: what.into() }
    }
}
