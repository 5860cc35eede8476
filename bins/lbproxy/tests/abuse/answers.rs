//! What the offenders got.

use std::collections::BTreeMap;
use std::io;
use std::sync::{Mutex, PoisonError};

/// How often each answer came.
#[derive(Debug, Default)]
pub(crate) struct Answers {
    by_kind: Mutex<BTreeMap<String, usize>>,
}

impl Answers {
    pub(crate) fn note(&self, answer: impl Into<String>) {
        *self.by_kind.lock().unwrap_or_else(PoisonError::into_inner).entry(answer.into()).or_default() += 1;
    }

    /// How often this one came.
    pub(crate) fn count(&self, answer: &str) -> usize {
        self.by_kind.lock().unwrap_or_else(PoisonError::into_inner).get(answer).copied().unwrap_or_default()
    }

    pub(crate) fn all(&self) -> BTreeMap<String, usize> {
        self.by_kind.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// The response on an HTTP/1 connection before it ended: a status, or none.
pub(crate) fn status(read: &[u8]) -> String {
    let text = String::from_utf8_lossy(read);
    text.split(' ').nth(1).filter(|_| text.starts_with("HTTP/1")).unwrap_or("closed").to_owned()
}

/// How a connection failed before anything could be sent on it.
pub(crate) fn failed(error: &io::Error) -> String {
    format!("failed: {:?}", error.kind())
}
