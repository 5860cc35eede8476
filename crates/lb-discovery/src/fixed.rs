//! A list that never changes.

use std::sync::Arc;

use crate::found::Found;
use crate::sink::EndpointSink;
use crate::source::{Source, SourceFuture};

/// Endpoints that are listed once and for all. Known without waiting.
#[derive(Clone, Debug)]
pub struct StaticList {
    name: Arc<str>,
    all: Vec<Found>,
}

impl StaticList {
    /// This list, under a name of its own within the cluster.
    #[must_use]
    pub fn new(name: impl Into<Arc<str>>, all: impl IntoIterator<Item = Found>) -> Self {
        Self { name: name.into(), all: all.into_iter().collect() }
    }
}

impl Source for StaticList {
    fn name(&self) -> Arc<str> {
        Arc::clone(&self.name)
    }

    fn settings(&self) -> String {
        format!("{:?}", self.all)
    }

    fn known(&self) -> Option<Vec<Found>> {
        Some(self.all.clone())
    }

    fn run(self: Arc<Self>, _: EndpointSink) -> SourceFuture {
        Box::pin(std::future::pending())
    }
}
