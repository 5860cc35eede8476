//! Why an attempt at an endpoint gave no response.

use std::io;

use lb_core::Class;

use super::{Full, Upstream};
use crate::downstream::BodyFailure;
use crate::net::Shortage;
use crate::rules::cause::Cause;
use crate::tls;
use crate::wire::h1::HeadError;

/// Why an attempt gave no response.
#[derive(Debug)]
pub(crate) struct AttemptError {
    pub(crate) class: Class,
    pub(crate) cause: Cause,
    /// More on the cause, for the log.
    pub(crate) detail: Option<String>,
    /// Nothing of the request reached the endpoint, or the endpoint has not processed it.
    pub(crate) is_unsent: bool,
    /// The connection was closed, or about to be, before the request came.
    pub(crate) is_stale: bool,
    /// Another endpoint may do better, though this one has not failed.
    pub(crate) may_go_elsewhere: bool,
    /// It was given up before its time, since the endpoint is silent.
    pub(crate) is_silent: bool,
}

impl AttemptError {
    pub(crate) fn new(class: Class, cause: Cause) -> Self {
        Self {
            class,
            cause,
            detail: None,
            is_unsent: false,
            is_stale: false,
            may_go_elsewhere: false,
            is_silent: false,
        }
    }

    /// The endpoint sent what is no valid response.
    pub(crate) fn invalid(cause: Cause, name: &str) -> Self {
        Self { detail: Some(name.to_owned()), ..Self::new(Class::InvalidResponse, cause) }
    }

    /// Whether the request may be sent to the same endpoint on another connection, without being a retry.
    ///
    /// `is_repeatable`: it may be sent again even if the endpoint has acted on it. `is_replayable`: its body can be read from the
    /// start again.
    pub(crate) fn may_resend(&self, is_repeatable: bool, is_replayable: bool) -> bool {
        self.is_stale && (is_repeatable || (self.is_unsent && is_replayable))
    }

    /// Whether the endpoint itself refused the request without having acted on it. It may be asked again if no other endpoint is
    /// left.
    pub(crate) fn has_declined(&self) -> bool {
        self.cause == Cause::NotProcessed && !self.is_stale
    }

    /// This machine lacked something. The endpoint is not to blame, and another attempt would most likely fail too.
    pub(super) fn short(shortage: Shortage) -> Self {
        let detail = Some(shortage.to_string());
        let may_go_elsewhere = shortage.is_of_one_destination();
        let cause = if shortage == Shortage::Permission { Cause::LocalPermission } else { Cause::LocalResources };
        Self { detail, may_go_elsewhere, ..Self::new(Class::Cancelled, cause) }
    }

    /// The limit of connections to endpoints is reached. The endpoint is not to blame either.
    #[cold]
    pub(crate) fn full(full: Full, upstream: &Upstream) -> Self {
        upstream.share().room().on_refused();
        let detail = Some(full.to_string());
        Self { is_unsent: true, detail, ..Self::new(Class::Cancelled, Cause::EndpointConnections) }
    }

    /// Why no connection could be made.
    pub(crate) fn connecting(error: &io::Error, upstream: &Upstream) -> Self {
        if let Some(full) = Full::of(error) {
            return Self::full(full, upstream);
        }
        if let Some(shortage) = Shortage::of(error) {
            return Self { is_unsent: true, ..Self::short(shortage) };
        }
        if let Some((cause, why)) = tls::cause(error) {
            return Self { is_unsent: true, detail: Some(why), ..Self::new(Class::ConnectError, cause) };
        }
        let cause = match error.kind() {
            io::ErrorKind::ConnectionRefused | io::ErrorKind::NotFound => Cause::ConnectRefused,
            io::ErrorKind::TimedOut => Cause::ConnectTimeout,
            _ => Cause::ConnectFailed,
        };
        let detail = (cause == Cause::ConnectFailed).then(|| error.to_string());
        Self { is_unsent: true, detail, ..Self::new(Class::ConnectError, cause) }
    }
}

impl From<HeadError> for AttemptError {
    fn from(error: HeadError) -> Self {
        Self::invalid(Cause::of_response(error.cause()), error.name())
    }
}

impl From<BodyFailure> for AttemptError {
    fn from(failure: BodyFailure) -> Self {
        let (cause, detail) = match failure {
            BodyFailure::ClientGone => (Cause::ClientClosed, None),
            BodyFailure::Malformed(error) => (Cause::of_request(error.cause()), Some(error.name().to_owned())),
            BodyFailure::TooLarge => (Cause::BodyTooLarge, None),
            // A further attempt is made only if the body was kept.
            BodyFailure::NotKept => (Cause::Internal, None),
        };
        Self { detail, ..Self::new(Class::Cancelled, cause) }
    }
}
