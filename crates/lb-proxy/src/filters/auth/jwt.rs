//! A signed token (RFC 7519).

use std::sync::Arc;

use lb_config::{JwtAuth, TokenFrom};

use crate::auth::{Claims, KeySet, TokenRules, claims};
use crate::exchange::Exchange;
use crate::filters::{Flow, Scope};
use crate::message::{RequestHead, name};
use crate::rules::answer::Answer;
use crate::rules::cause::Cause;
use crate::rules::look_alike;

pub(super) struct Jwt {
    /// `None` where a configuration is only checked: nobody is let in then.
    keys: Option<Arc<KeySet>>,
    rules: TokenRules,
    from: TokenFrom,
    required: Vec<(Arc<str>, Arc<str>)>,
    /// Headers, and the claims whose values they get.
    copied: Vec<(Arc<str>, Arc<str>)>,
}

impl Jwt {
    pub(super) fn new(jwt: &JwtAuth, scope: &Scope<'_>) -> Self {
        let keys = match (&jwt.keys, &jwt.secret) {
            (Some(file), _) => scope.parts.auth.keys(file),
            (None, Some(secret)) => KeySet::secret(secret.as_bytes()).map(Arc::new),
            (None, None) => None,
        };
        let (issuer, audience) = (jwt.issuer.clone(), jwt.audience.clone());
        Self {
            keys,
            rules: TokenRules { issuer, audience, must_expire: jwt.must_expire },
            from: jwt.from.clone(),
            required: jwt.require.clone(),
            copied: jwt.copy.clone(),
        }
    }

    pub(super) fn ask(&self, exchange: &mut Exchange) -> Flow {
        let copied = |name: &[u8]| self.copied.iter().any(|(header, _)| look_alike::is_alias(name, header.as_bytes()));
        exchange.head = exchange.head.clone().without(copied);
        let Some(keys) = &self.keys else { return refuse(exchange, Cause::AuthUnavailable, None) };
        let Some(token) = self.token(&exchange.head) else { return refuse(exchange, Cause::Unauthorized, None) };
        let claims = match keys.check(token, &self.rules) {
            Ok(claims) => claims,
            Err(why) => return refuse(exchange, Cause::Unauthorized, Some(why)),
        };
        for (claim, wanted) in &self.required {
            if !claims.get(&**claim).is_some_and(|has| claims::contains(has, wanted)) {
                return refuse(exchange, Cause::Forbidden, Some("a claim that is required"));
            }
        }
        match self.tell_endpoint(exchange, &claims) {
            Ok(()) => Flow::Go,
            Err(_) => refuse(exchange, Cause::Forbidden, Some("a claim that is no header")),
        }
    }

    /// The token, where the rules look for it and once only.
    fn token<'a>(&self, head: &'a RequestHead) -> Option<&'a str> {
        let token = match &self.from {
            TokenFrom::Cookie(cookie) => head.cookie(cookie.as_bytes())?,
            TokenFrom::Bearer => {
                let mut lines = head.headers(name::AUTHORIZATION);
                let line = lines.next().filter(|_| lines.next().is_none())?;
                let (scheme, token) = line.split_at_checked(7)?;
                scheme.eq_ignore_ascii_case(b"bearer ").then_some(token.trim_ascii())?
            }
        };
        std::str::from_utf8(token).ok()
    }

    fn tell_endpoint(&self, exchange: &mut Exchange, claims: &Claims) -> Result<(), crate::message::InvalidField> {
        for (header, claim) in &self.copied {
            exchange.edits.remove(&**header)?;
            if let Some(value) = claims.get(&**claim).and_then(claims::as_text) {
                exchange.edits.append(&**header, value)?;
            }
        }
        exchange.user = claims.get("sub").and_then(|sub| sub.as_str()).map(Arc::from);
        Ok(())
    }
}

fn refuse(exchange: &Exchange, cause: Cause, why: Option<&str>) -> Flow {
    let answer = Answer::new(cause);
    let answer = match (cause, why) {
        // RFC 6750 §3.1: without a token there is nothing wrong with it.
        (Cause::Unauthorized, None) => answer.challenge("Bearer"),
        (Cause::Unauthorized, Some(_)) => answer.challenge("Bearer error=\"invalid_token\""),
        (Cause::Forbidden, _) => answer.challenge("Bearer error=\"insufficient_scope\""),
        _ => answer,
    };
    Flow::Answer(exchange.answer(answer, cause, why.map(str::to_owned)))
}
