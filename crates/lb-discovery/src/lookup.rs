//! Looking a name up, once.

use std::net::SocketAddr;
use std::pin::Pin;

use crate::failure::Failure;

/// Looks names up.
pub trait Lookup: Send + Sync + 'static {
    /// All addresses of `name`, each with `port`, in any order. None at all counts as a failure.
    fn lookup<'a>(&'a self, name: &'a str, port: u16) -> LookupFuture<'a>;
}

/// The answer to come.
pub type LookupFuture<'a> = Pin<Box<dyn Future<Output = Result<Vec<SocketAddr>, Failure>> + Send + 'a>>;

/// The system's resolver, on the tokio runtime's blocking threads: `/etc/hosts`, the search list and whatever else the
/// machine has.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemLookup;

impl Lookup for SystemLookup {
    fn lookup<'a>(&'a self, name: &'a str, port: u16) -> LookupFuture<'a> {
        Box::pin(async move {
            let found = tokio::net::lookup_host((name, port)).await;
            found.map(Iterator::collect).map_err(|error| Failure::Unanswered(error.to_string()))
        })
    }
}
