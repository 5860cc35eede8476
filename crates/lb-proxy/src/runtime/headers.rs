//! The header edits of a configuration, compiled.

use std::sync::Arc;

use lb_config::Config;

use crate::rules::headers::{HeaderError, HeaderRules};

/// Those of each route and each listener, in the configuration's order.
pub(crate) struct Headers {
    pub(crate) routes: Vec<RouteHeaders>,
    /// Edits of responses to requests that no route takes.
    pub(crate) listeners: Vec<Arc<HeaderRules>>,
}

/// Those of a route.
pub(crate) struct RouteHeaders {
    pub(crate) request: Arc<HeaderRules>,
    pub(crate) response: Arc<HeaderRules>,
    /// Host or headers towards the endpoint depend on which endpoint it is.
    pub(crate) differ_by_endpoint: bool,
}

impl Headers {
    /// Compiles them.
    ///
    /// # Errors
    /// A header that cannot be written.
    pub(crate) fn new(config: &Config) -> Result<Self, HeaderError> {
        let listeners =
            config.listeners.iter().map(|listener| HeaderRules::new(&listener.response_headers).map(Arc::new));
        Ok(Self {
            listeners: listeners.collect::<Result<_, _>>()?,
            routes: config.routes.iter().map(RouteHeaders::new).collect::<Result<_, _>>()?,
        })
    }
}

impl RouteHeaders {
    fn new(route: &lb_config::Route) -> Result<Self, HeaderError> {
        let options = &route.options;
        let request = HeaderRules::new(&options.headers.request)?;
        Ok(Self {
            differ_by_endpoint: request.uses_endpoint() || !options.forwarded.preserve_host,
            request: Arc::new(request),
            response: Arc::new(HeaderRules::new(&options.headers.response)?),
        })
    }
}
