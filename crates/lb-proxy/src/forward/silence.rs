//! What a request does while it waits for an endpoint that answers nothing.
//!
//! Each attempt looks by itself whether its endpoint has gone silent ([`lb_health::Silence`]): after the limit that is usual for the
//! endpoint, and again whenever the endpoint has answered something meanwhile. An endpoint that has is suspected, if another
//! one answers: where none does, what all of them wait for is elsewhere. The request then goes to another endpoint if it may;
//! one that may not waits for as long as the route says.
//!
//! Where others have nothing to answer, since all clients wait at the silent endpoint, it is as well the request that takes long. Then
//! it goes elsewhere once: a second endpoint that is silent as well is waited for.

use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use lb_core::{Class, Mono};
use lb_health::Wait;

use super::protocol::Attempt;
use super::retry;
use crate::net::clock;
use crate::rules::cause::Cause;
use crate::upstream::{AttemptError, Call, EndpointService};

type Member = lb_policy::Endpoint<EndpointService>;

/// The wait for a response head, in the pieces after which it is looked whether the endpoint is silent.
#[derive(Default)]
pub(super) struct HeadWait {
    /// Pieces that are over.
    waited: Duration,
    piece: Option<Duration>,
}

/// How a wait has ended.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Over {
    /// It took as long as it may.
    Time,
    /// The endpoint is silent, and the request may go elsewhere.
    Silent,
}

impl HeadWait {
    /// Something came, or was sent: the wait begins anew.
    pub(super) fn restart(&mut self) {
        *self = Self::default();
    }

    /// Ready after this long at the latest.
    pub(super) fn poll(
        &mut self,
        cx: &mut Context<'_>,
        call: &mut impl Call,
        attempt: Attempt<'_>,
        after: Duration,
    ) -> Poll<Over> {
        loop {
            let left = after.saturating_sub(self.waited);
            let piece = *self
                .piece
                .get_or_insert_with(|| attempt.endpoint.usual.silence.limit().map_or(left, |it| it.min(left)));
            ready!(call.poll_timer(cx, piece));
            if piece >= left {
                return Poll::Ready(Over::Time);
            }
            call.restart_timer();
            self.waited += piece;
            let now = clock::mono();
            self.piece = match look(attempt, now.saturating_sub(self.waited), now) {
                Look::Again(next) => Some(next.min(left - piece)),
                Look::Suspected(others) if may_leave(attempt, others, Class::Timeout) => {
                    return Poll::Ready(Over::Silent);
                }
                Look::Suspected(_) => Some(left - piece),
            };
        }
    }
}

/// The error of an attempt that is given up because its endpoint is silent.
pub(super) fn gave_up(class: Class, cause: Cause) -> AttemptError {
    let is_unsent = class == Class::ConnectError;
    AttemptError { is_silent: true, is_unsent, ..AttemptError::new(class, cause) }
}

/// Connects, unless the endpoint is found to be silent meanwhile and the request may go elsewhere.
pub(super) async fn connecting<T>(attempt: Attempt<'_>, connect: impl Future<Output = T>) -> Result<T, AttemptError> {
    let started = clock::mono();
    let mut connect = pin!(connect);
    let mut piece = attempt.endpoint.usual.silence.limit();
    while let Some(wait) = piece {
        if let Ok(connected) = tokio::time::timeout(wait, &mut connect).await {
            return Ok(connected);
        }
        piece = match look(attempt, started, clock::mono()) {
            Look::Again(next) => Some(next),
            Look::Suspected(others) if may_leave(attempt, others, Class::ConnectError) => {
                return Err(gave_up(Class::ConnectError, Cause::ConnectTimeout));
            }
            Look::Suspected(_) => None,
        };
    }
    Ok(connect.await)
}

enum Look {
    /// Not before so long.
    Again(Duration),
    Suspected(Others),
}

/// What other endpoints do while this one is silent.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Others {
    Answer,
    /// They have answered all that they were sent.
    Idle,
}

fn may_leave(attempt: Attempt<'_>, others: Others, class: Class) -> bool {
    (others == Others::Answer || attempt.request.tried.is_none()) && retry::may_go_elsewhere(attempt.request, class)
}

/// Looks whether the endpoint of a request that waits since `started` is silent, and has it suspected if it is.
#[cold]
fn look(attempt: Attempt<'_>, started: Mono, now: Mono) -> Look {
    let silence = &attempt.endpoint.usual.silence;
    let Some(limit) = silence.limit() else { return Look::Again(LONG) };
    match silence.judge(started, now) {
        None => return Look::Again(LONG),
        Some(Wait::Usual(left)) => return Look::Again(left.max(SHORT)),
        Some(Wait::Silent) => {}
    }
    let Some(cluster) = attempt.request.route().cluster() else { return Look::Again(LONG) };
    let endpoints = cluster.members.endpoints();
    let is_own = |known: &EndpointService| Arc::ptr_eq(&known.upstream, attempt.endpoint);
    let others = endpoints.iter().filter(|known| !is_own(known.value()) && known.state().is_eligible());
    let answers = |other: &Arc<Member>| other.value().upstream.usual.silence.has_answered_for(limit / 2, now);
    let is_idle = |other: &Arc<Member>| {
        other.state().in_flight() == 0 && other.value().upstream.usual.silence.answered_before(limit / 2, now)
    };
    let others = match others.clone().any(answers) {
        true => Some(Others::Answer),
        false => others.clone().any(is_idle).then_some(Others::Idle),
    };
    let Some(own) = endpoints.iter().find(|known| is_own(known.value())) else { return Look::Again(LONG) };
    let Some(others) = others else { return Look::Again((limit / 2).max(SHORT)) };
    if let Some(passive) = &cluster.passive {
        passive.suspect(own.uid(), now.saturating_since(started));
    }
    Look::Suspected(others)
}

/// Never sooner than this.
const SHORT: Duration = Duration::from_millis(10);
/// Where nothing can be known yet.
const LONG: Duration = Duration::from_secs(1);
