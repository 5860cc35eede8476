//! Who is let in: before anything that a route does, redirects and fixed responses included, and after what refuses at less cost.
//!
//! A route may ask in several ways. They are asked one after the other, and all must let the request pass.

mod basic;
mod forward;
mod jwt;

use std::sync::Arc;

use lb_config::Auth as Configured;

use self::basic::Basic;
use self::forward::Forward;
use self::jwt::Jwt;
use super::{Filter, Flow, Resume, Scope};
use crate::exchange::Exchange;
use crate::rules::headers::HeaderError;

pub(super) struct Auth {
    ways: Arc<[Way]>,
}

enum Way {
    Basic(Basic),
    Forward(Forward),
    Jwt(Jwt),
}

impl Filter for Auth {
    fn new(scope: &Scope<'_>) -> Result<Option<Self>, HeaderError> {
        let Some(route) = scope.route else { return Ok(None) };
        let ways: Arc<[Way]> = route.options.auth.iter().map(|auth| Way::new(auth, scope)).collect();
        Ok((!ways.is_empty()).then_some(Self { ways }))
    }

    fn on_request(&self, exchange: &mut Exchange) -> Flow {
        ask(&self.ways, 0, exchange)
    }
}

impl Way {
    fn new(auth: &Configured, scope: &Scope<'_>) -> Self {
        match auth {
            Configured::Basic(basic) => Self::Basic(Basic::new(basic, scope)),
            Configured::Forward(forward) => Self::Forward(Forward::new(forward)),
            Configured::Jwt(jwt) => Self::Jwt(Jwt::new(jwt, scope)),
        }
    }

    fn ask(&self, exchange: &mut Exchange) -> Flow {
        match self {
            Self::Basic(basic) => basic.ask(exchange),
            Self::Forward(forward) => forward.ask(exchange),
            Self::Jwt(jwt) => jwt.ask(exchange),
        }
    }
}

/// Asks in this way, and in those behind it.
fn ask(ways: &Arc<[Way]>, from: usize, exchange: &mut Exchange) -> Flow {
    match ways.get(from) {
        None => Flow::Go,
        Some(way) => {
            let said = way.ask(exchange);
            go_on(ways, from, said, exchange)
        }
    }
}

/// Goes on with what one of them said.
fn go_on(ways: &Arc<[Way]>, at: usize, said: Flow, exchange: &mut Exchange) -> Flow {
    match said {
        Flow::Go => ask(ways, at + 1, exchange),
        Flow::Answer(response) => Flow::Answer(response),
        Flow::Wait(wait) => {
            let ways = Arc::clone(ways);
            Flow::Wait(Box::pin(async move {
                let resume = wait.await;
                Box::new(move |exchange: &mut Exchange| {
                    let said = resume(exchange);
                    go_on(&ways, at, said, exchange)
                }) as Resume
            }))
        }
    }
}
