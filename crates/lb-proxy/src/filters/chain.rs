//! The order of filters, and the chains of a configuration.
//!
//! A chain is an onion: requests pass its filters from the first to the last, responses from the last to the first. So what stands
//! above another filter sees the request before it, and the response after it has changed it.

use std::sync::Arc;

use lb_config::Config;

use super::{Filter, Flow, Parts, Scope, Wait};
use crate::exchange::{Exchange, Response};
use crate::rules::headers::HeaderError;
use crate::rules::page::Page;
use crate::runtime::headers::Headers;
use crate::runtime::pages::SharedPages;

/// Declares a chain of filters. Filters are fields, so that one that is off costs a test and none costs a call through a pointer.
macro_rules! chain {
    ($(#[$doc:meta])* $chain:ident { $($name:ident: $filter:ty,)* }) => {
        $(#[$doc])*
        pub(super) struct $chain {
            $($name: Option<$filter>,)*
        }

        impl $chain {
            /// The filters' names, in order.
            #[cfg(test)]
            #[allow(dead_code, reason = "tests have chains of their own")]
            pub(super) const NAMES: &[&str] = &[$(stringify!($name)),*];

            /// Those of the filters that exist.
            #[cfg(test)]
            #[allow(dead_code, reason = "tests have chains of their own")]
            pub(super) fn names(&self) -> Vec<&'static str> {
                let all = [$(self.$name.as_ref().map(|_| stringify!($name))),*];
                all.into_iter().flatten().collect()
            }

            pub(super) fn new(scope: &Scope<'_>) -> Result<Self, HeaderError> {
                Ok(Self { $($name: <$filter as Filter>::new(scope)?,)* })
            }

            /// Has a request pass the filters behind the first `passed` ones.
            #[inline(always)] // From the start no filter is left out, and nothing is compared.
            pub(super) fn on_request(&self, exchange: &mut Exchange, passed: usize) -> Passed {
                let mut step = 0;
                $(
                    step += 1;
                    if step > passed && let Some(filter) = &self.$name {
                        match filter.on_request(exchange) {
                            Flow::Go => {}
                            Flow::Answer(response) => return Passed::Answer(response),
                            Flow::Wait(wait) => return Passed::Wait(wait, Step(step)),
                        }
                    }
                )*
                let _ = step;
                Passed::All
            }

            /// Has a response pass all filters.
            pub(super) fn on_response(&self, exchange: &Exchange, response: &mut Response) {
                chain!(@backwards self, exchange, response: $($name)*);
            }
        }
    };
    (@backwards $chain:ident, $exchange:ident, $response:ident:) => {};
    (@backwards $chain:ident, $exchange:ident, $response:ident: $first:ident $($rest:ident)*) => {
        chain!(@backwards $chain, $exchange, $response: $($rest)*);
        if let Some(filter) = &$chain.$first {
            filter.on_response($exchange, $response);
        }
    };
}
#[cfg(test)]
pub(super) use chain;

chain! {
    /// The filters of a route, or of a listener for requests that no route takes. `docs/life-of-a-request.md` gives the reasons
    /// for their order, and a test compares it.
    Chain {
        response_headers: super::response_headers::ResponseHeaders,
        compress: super::compress::Compress,
        errors: super::errors::Errors,
        access: super::access::AccessFilter,
        rate_limit: super::rate_limit::RateLimit,
        maintenance: super::maintenance::Maintenance,
        auth: super::auth::Auth,
        redirect: super::redirect::Redirect,
        respond: super::respond::Respond,
        files: super::files::Files,
        upgrade: super::upgrade::UpgradeGuard,
        body_limit: super::body_limit::BodyLimit,
        concurrency: super::concurrency::Concurrency,
        sticky: super::sticky::Sticky,
        forwarded: super::forwarded::Forwarded,
        request_headers: super::request_headers::RequestHeaders,
    }
}

/// How far a request came.
pub(crate) enum Passed {
    /// Through all filters: an endpoint is to answer.
    All,
    Answer(Box<Response>),
    /// As far as this step, where a filter waits.
    Wait(Wait, Step),
}

/// A filter's place in its chain: the number of filters that a request has passed with it.
#[derive(Clone, Copy)]
pub(crate) struct Step(pub(super) usize);

/// The chains of a configuration. Workers share them.
pub(crate) struct Chains {
    routes: Vec<Chain>,
    listeners: Vec<Chain>,
    pages: Arc<SharedPages>,
}

impl Chains {
    /// Builds them, with the compiled edits of the same configuration.
    ///
    /// # Errors
    /// A header of the configuration that cannot be written.
    pub(crate) fn new(config: &Config, headers: &Headers, parts: Parts<'_>) -> Result<Self, HeaderError> {
        let routes = config.routes.iter().zip(&headers.routes).map(|(route, headers)| {
            Chain::new(&Scope {
                config,
                route: Some(route),
                listener: None,
                request_headers: (!headers.differ_by_endpoint).then_some(&headers.request),
                response_headers: &headers.response,
                parts,
            })
        });
        let listeners = headers.listeners.iter().enumerate().map(|(listener, response_headers)| {
            let listener = Some(listener);
            Chain::new(&Scope { config, route: None, listener, request_headers: None, response_headers, parts })
        });
        Ok(Self {
            routes: routes.collect::<Result<_, _>>()?,
            listeners: listeners.collect::<Result<_, _>>()?,
            pages: Arc::clone(&parts.pages.shared),
        })
    }

    /// The error page of a listener for what could not be read as a request.
    pub(crate) fn page_of_unread(&self, listener: usize, status: u16) -> Option<&Page> {
        self.pages.of_unread(listener, status)
    }

    fn of(&self, exchange: &Exchange) -> &Chain {
        match exchange.route {
            Some(route) => &self.routes[route],
            None => &self.listeners[exchange.listener],
        }
    }

    /// Has a request that has its route pass the filters.
    pub(crate) fn on_request(&self, exchange: &mut Exchange) -> Passed {
        self.of(exchange).on_request(exchange, 0)
    }

    /// Has a request that no route takes pass the limits of its listener; the answer, if they refuse it.
    pub(crate) fn on_unrouted(&self, exchange: &mut Exchange) -> Option<Box<Response>> {
        match self.listeners[exchange.listener].rate_limit.as_ref()?.on_request(exchange) {
            Flow::Answer(response) => Some(response),
            Flow::Go | Flow::Wait(_) => None,
        }
    }

    /// Goes on after a filter has waited: with what it decides, and then with those behind it.
    pub(crate) fn resume(&self, exchange: &mut Exchange, decided: Flow, step: Step) -> Passed {
        match decided {
            Flow::Go => self.of(exchange).on_request(exchange, step.0),
            Flow::Answer(response) => Passed::Answer(response),
            Flow::Wait(wait) => Passed::Wait(wait, step),
        }
    }

    /// Has a response pass the filters.
    pub(crate) fn on_response(&self, exchange: &Exchange, response: &mut Response) {
        self.of(exchange).on_response(exchange, response);
    }
}
