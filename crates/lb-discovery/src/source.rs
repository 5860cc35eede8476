//! What a source of endpoints is.

use std::pin::Pin;
use std::sync::Arc;

use crate::found::Found;
use crate::sink::EndpointSink;

/// The life of a source, from its start on. It is dropped once the source is no longer wanted.
pub type SourceFuture = Pin<Box<dyn Future<Output = ()> + Send>>;

/// Where endpoints come from.
///
/// A source watches one thing (a name, a list, a service of an orchestrator) and reports everything it knows about it
/// each time. It need not remember, compare, retry after a crash or keep a last good answer: its [`Supervisor`] does.
///
/// [`Supervisor`]: crate::Supervisor
pub trait Source: Send + Sync + 'static {
    /// What it watches, unique within its cluster (`app:80`): its last good list is kept across changes of configuration
    /// as long as a source of this name is wanted.
    fn name(&self) -> Arc<str>;

    /// How it watches. While this is the same, a source goes on undisturbed across changes of configuration; else it is
    /// replaced. Default: there is nothing to change.
    fn settings(&self) -> String {
        String::new()
    }

    /// What it knows without waiting; default nothing.
    fn known(&self) -> Option<Vec<Found>> {
        None
    }

    /// Watches for ever and reports to `sink`. If the future ends or panics, it is made and run again, after 1 s, 2 s, 4 s,
    /// … up to a minute.
    ///
    /// All sources share one task, so it must not block. A source with much to do runs a task of its own, and ends it
    /// when this future is dropped.
    fn run(self: Arc<Self>, sink: EndpointSink) -> SourceFuture;
}
