//! Filters: what the configuration has done to requests and responses between the router and the writer.
//!
//! A filter is one file with a type that implements [`Filter`], and one line in [`chain`], which says where it stands. Its request
//! half sees a request that has its route; its response half sees every response, an endpoint's and our own: a redirect, a fixed
//! response, a 429, a 502. A filter that is off is not in the chain.
//!
//! What repeats an attempt (timeout, retry, the pick of an endpoint) is no filter, but a layer of [`forward`](crate::forward).

mod access;
mod auth;
mod body_limit;
mod chain;
mod compress;
mod compressed_body;
mod concurrency;
mod errors;
mod files;
mod forwarded;
mod maintenance;
mod rate_limit;
mod redirect;
mod request_headers;
mod respond;
mod response_headers;
mod sticky;
#[cfg(test)]
mod sub_request_tests;
#[cfg(test)]
mod tests;
mod upgrade;

use std::pin::Pin;
use std::sync::Arc;

use lb_config::{Config, Route};

pub(crate) use chain::{Chains, Passed, Step};

use crate::auth::Loaded;
use crate::exchange::{Exchange, Response};
use crate::observe::app_log::LimitLog;
use crate::observe::metrics::Metrics;
use crate::rules::headers::{HeaderError, HeaderRules};
use crate::runtime::limiters::Limiters;
use crate::runtime::pages::Pages;

/// One thing done to requests, to responses, or to both.
pub(crate) trait Filter: Sized {
    /// The filter as the configuration has it for this scope; `None` where it is off.
    ///
    /// # Errors
    /// A header of the configuration that cannot be written.
    fn new(scope: &Scope<'_>) -> Result<Option<Self>, HeaderError>;

    /// A request passes on its way in. It has a route.
    fn on_request(&self, exchange: &mut Exchange) -> Flow {
        let _ = exchange;
        Flow::Go
    }

    /// A response passes on its way out. No endpoint gave it if [`Response::is_own`]; a response without a body, to HEAD for one,
    /// passes as well.
    fn on_response(&self, exchange: &Exchange, response: &mut Response) {
        let _ = (exchange, response);
    }
}

/// What becomes of a request.
pub(crate) enum Flow {
    /// The next filter has it, or after the last one an endpoint.
    Go,
    /// This is the response, and no further filter sees the request.
    Answer(Box<Response>),
    /// Nothing more happens until this future has ended, or the client is gone. It holds what it needs, since the exchange stays
    /// behind; what it returns then decides, with the exchange at hand.
    Wait(Wait),
}

/// What a filter waits for.
pub(crate) type Wait = Pin<Box<dyn Future<Output = Resume> + Send>>;

/// What a filter does after its wait.
pub(crate) type Resume = Box<dyn FnOnce(&mut Exchange) -> Flow + Send>;

/// Where a filter is to stand, and what it may be made of.
#[derive(Clone, Copy)]
pub(crate) struct Scope<'a> {
    pub(crate) config: &'a Config,
    /// `None` for a listener's responses to requests that no route takes.
    pub(crate) route: Option<&'a Route>,
    /// The listener, for its responses; `None` for a route, which several may have.
    pub(crate) listener: Option<usize>,
    /// The edits of requests that are the same for every endpoint; a listener has none.
    pub(crate) request_headers: Option<&'a Arc<HeaderRules>>,
    pub(crate) response_headers: &'a Arc<HeaderRules>,
    pub(crate) parts: Parts<'a>,
}

impl<'a> Scope<'a> {
    /// The route, if it forwards to a cluster.
    pub(crate) fn forwarding(&self) -> Option<&'a Route> {
        self.route.filter(|route| matches!(route.action, lb_config::Action::Cluster(_)))
    }
}

/// What outlives a configuration, as filters use it.
#[derive(Clone, Copy)]
pub(crate) struct Parts<'a> {
    pub(crate) limiters: &'a Limiters,
    pub(crate) limit_log: &'a Arc<LimitLog>,
    /// Who may come in.
    pub(crate) auth: &'a Loaded,
    /// Signs cookies of routes without a secret of their own.
    pub(crate) sticky_secret: &'a [u8; 32],
    pub(crate) pages: &'a Pages,
    pub(crate) metrics: &'a Arc<Metrics>,
}
