//! The body of a file, read off the worker's thread piece by piece.

use std::collections::VecDeque;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use tokio::task::JoinHandle;

use crate::downstream::Frame;
use crate::exchange::BodySource;
use crate::rules::cause::Cause;

/// What is read at once, and all that is in memory of a file.
const PIECE: u64 = 128 << 10;

/// A part of the body.
pub(super) enum Part {
    /// Text between ranges.
    Text(Bytes),
    /// Octets of the file, from here and so many.
    Octets(u64, u64),
}

/// The body of a file: parts of it, and text between them.
pub(super) struct FileBody {
    file: Arc<File>,
    parts: VecDeque<Part>,
    reading: Option<JoinHandle<io::Result<Bytes>>>,
    why: Option<String>,
}

impl FileBody {
    pub(super) fn new(file: File, parts: impl IntoIterator<Item = Part>) -> Self {
        Self { file: Arc::new(file), parts: parts.into_iter().collect(), reading: None, why: None }
    }
}

/// Reads a piece whole. A file that has become shorter is an error: its length has been announced.
fn read(file: &File, from: u64, mut piece: Vec<u8>) -> io::Result<Bytes> {
    file.read_exact_at(&mut piece, from)?;
    Ok(piece.into())
}

/// As [`read`], for a file that is small enough to be read at once.
pub(super) fn read_small(file: &File, from: u64, length: u64) -> Option<Bytes> {
    if length > PIECE / 2 {
        return None;
    }
    read(file, from, vec![0; usize::try_from(length).ok()?]).ok()
}

impl BodySource for FileBody {
    fn poll_frame(&mut self, cx: &mut Context<'_>, _: usize) -> Poll<Option<Result<Frame, Cause>>> {
        loop {
            if let Some(reading) = &mut self.reading {
                let read = ready!(Pin::new(reading).poll(cx));
                self.reading = None;
                let failed = match read {
                    Ok(Ok(piece)) => return Poll::Ready(Some(Ok(Frame::Data(piece)))),
                    Ok(Err(error)) => error.to_string(),
                    Err(error) => error.to_string(),
                };
                self.parts.clear();
                self.why = Some(format!("reading the file: {failed}"));
                return Poll::Ready(Some(Err(Cause::Internal)));
            }
            match self.parts.pop_front() {
                None => return Poll::Ready(None),
                Some(Part::Text(text)) => return Poll::Ready(Some(Ok(Frame::Data(text)))),
                Some(Part::Octets(_, 0)) => {}
                Some(Part::Octets(from, length)) => {
                    let piece = length.min(PIECE);
                    if length > piece {
                        self.parts.push_front(Part::Octets(from + piece, length - piece));
                    }
                    let file = Arc::clone(&self.file);
                    // Its memory comes from this thread, where it is given back: from one of many, each would keep some.
                    let memory = vec![0; usize::try_from(piece).unwrap_or(0)];
                    self.reading = Some(tokio::task::spawn_blocking(move || read(&file, from, memory)));
                }
            }
        }
    }

    fn unread(&self) -> usize {
        0
    }

    fn poll_upload(&mut self, _: &mut Context<'_>) -> Result<bool, Cause> {
        Ok(false)
    }

    fn broken(&self) -> Option<&str> {
        self.why.as_deref()
    }

    fn is_complete(&self) -> bool {
        self.reading.is_none() && self.why.is_none() && self.parts.is_empty()
    }
}
