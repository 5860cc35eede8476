//! A name and a password (RFC 7617).

use std::sync::Arc;

use lb_config::BasicAuth;
use lb_ratelimit::{ClientKey, Key, Keyed, Verdict};

use crate::auth::{Loaded, Pool, Users};
use crate::exchange::Exchange;
use crate::filters::{Flow, Resume, Scope};
use crate::message::name;
use crate::net::clock;
use crate::rules::answer::Answer;
use crate::rules::basic::Credentials;
use crate::rules::cause::Cause;

pub(super) struct Basic(Arc<Inner>);

struct Inner {
    /// `None` where a configuration is only checked: nobody is let in then.
    users: Option<Arc<Users>>,
    pool: Arc<Pool>,
    guesses: Option<Arc<Keyed>>,
    challenge: Box<str>,
    passes: bool,
}

impl Basic {
    pub(super) fn new(basic: &BasicAuth, scope: &Scope<'_>) -> Self {
        let loaded: &Loaded = scope.parts.auth;
        Self(Arc::new(Inner {
            users: loaded.users(&basic.users),
            pool: Arc::clone(&loaded.pool),
            guesses: loaded.guesses.clone(),
            challenge: format!("Basic realm=\"{}\", charset=\"UTF-8\"", basic.realm).into(),
            passes: basic.pass,
        }))
    }

    pub(super) fn ask(&self, exchange: &mut Exchange) -> Flow {
        let own = &self.0;
        let Some(users) = &own.users else { return own.refuse(exchange, Cause::AuthUnavailable) };
        let Some(credentials) = Credentials::of(&exchange.head) else {
            return own.refuse(exchange, Cause::Unauthorized);
        };
        let now = clock::mono();
        if let Some(user) = users.recall(credentials.name(), credentials.password(), now) {
            return own.admit(exchange, user);
        }
        // Charged before, since many may guess at a time, and given back to who was right.
        let client = ClientKey::new(exchange.origin.client);
        if let Some(guesses) = &own.guesses
            && let Verdict::Refuse { retry_after } =
                guesses.check_key(Key { key: client.as_bytes(), coarser: &[] }, now)
        {
            let answer = Answer::new(Cause::AuthLimited).retry_after(retry_after);
            return Flow::Answer(exchange.answer(answer, Cause::AuthLimited, None));
        }
        let sought = (Arc::clone(users), credentials.clone());
        let found = own.pool.submit(client, move || {
            let (users, credentials) = sought;
            users.find(credentials.name(), credentials.password()).is_some()
        });
        let Ok(found) = found else {
            own.give_back(&client);
            return own.refuse(exchange, Cause::AuthBusy);
        };
        let own = Arc::clone(own);
        Flow::Wait(Box::pin(async move {
            let found = found.await;
            Box::new(move |exchange: &mut Exchange| match found {
                Ok(true) => {
                    own.give_back(&client);
                    own.remember(exchange, &credentials)
                }
                Ok(false) => own.refuse(exchange, Cause::Unauthorized),
                Err(_) => own.refuse(exchange, Cause::AuthUnavailable),
            }) as Resume
        }))
    }
}

impl Inner {
    fn remember(&self, exchange: &mut Exchange, credentials: &Credentials) -> Flow {
        let now = clock::mono();
        if let Some(users) = &self.users {
            users.remember(credentials.name(), credentials.password(), now);
            if let Some(user) = users.recall(credentials.name(), credentials.password(), now) {
                return self.admit(exchange, user);
            }
        }
        // There was no room to remember it.
        self.admit(exchange, credentials.name().into())
    }

    fn admit(&self, exchange: &mut Exchange, user: Arc<str>) -> Flow {
        exchange.user = Some(user);
        if !self.passes && exchange.edits.remove(name::AUTHORIZATION).is_err() {
            return self.refuse(exchange, Cause::Internal);
        }
        Flow::Go
    }

    fn refuse(&self, exchange: &Exchange, cause: Cause) -> Flow {
        let mut answer = Answer::new(cause);
        if cause == Cause::Unauthorized {
            answer = answer.challenge(&self.challenge);
        }
        Flow::Answer(exchange.answer(answer, cause, None))
    }

    fn give_back(&self, client: &ClientKey) {
        if let Some(guesses) = &self.guesses {
            guesses.refund(client.as_bytes(), 1, clock::mono());
        }
    }
}
