//! Why a request did not simply get the endpoint's answer.
//!
//! A "502" alone does not help an operator: it may be a refused connection, a broken one, or a response that was not
//! HTTP. So every way in which a request ends with a generated response, or is truncated, has one name here, for the
//! log's `cause` and for metrics, and one exhaustive table maps it to a status and to whether the connection continues.
//! Nothing else in the proxy maps failures to statuses.
//!
//! Not here: the details of one occurrence, such as how many endpoints were ejected; the log writes them after the name
//! (`no_endpoint: 3 ejected`).

use std::fmt;

use crate::wire::h1;

/// Why a request did not simply get the endpoint's answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Cause {
    /// What came was not a request that can be read in one way only.
    BadRequest,
    /// The path cannot be matched safely: a broken escape, a climb above the root, two readings.
    BadPath,
    /// It says not who sends it, or not truly.
    Unauthorized,
    /// Who sends it is known, and may not.
    Forbidden,
    /// Its client is of a network that the route does not serve.
    Denied,
    /// No route takes it.
    NoRoute,
    /// The directory that a route serves has no such file, or none that may be served.
    NoFile,
    /// Routes have the path, but for other methods.
    MethodNotAllowed,
    /// The request head did not arrive in time.
    HeadTimeout,
    /// The request body stalled.
    UploadTimeout,
    /// The request body is larger than the route allows.
    BodyTooLarge,
    /// The request target is too long.
    UriTooLong,
    /// `Expect` asked for something other than `100-continue`.
    ExpectationFailed,
    /// The connection is not one for this host: TLS names another.
    Misdirected,
    /// The request needs a protocol that it did not offer to upgrade to.
    UpgradeRequired,
    /// A rate limit refused it. The route may choose another status.
    RateLimited,
    /// Too many wrong passwords came from this client.
    AuthLimited,
    /// The request head has too many bytes.
    HeadTooLarge,
    /// The request head has too many headers.
    TooManyHeaders,
    /// A bug of ours.
    Internal,
    /// A method or transfer coding that we do not implement, such as CONNECT.
    NotImplemented,
    /// An HTTP version that we do not speak.
    UnsupportedVersion,
    /// The endpoint refused the connection.
    ConnectRefused,
    /// The connection to the endpoint failed in another way, such as an unreachable network.
    ConnectFailed,
    /// The TLS handshake with the endpoint failed.
    TlsHandshake,
    /// The endpoint's certificate has expired, or does not hold yet.
    CertificateExpired,
    /// The endpoint's certificate is for another name.
    CertificateName,
    /// The endpoint's certificate was not issued by a trusted authority.
    CertificateUntrusted,
    /// The endpoint's certificate does not hold for another reason.
    CertificateInvalid,
    /// The connection to the endpoint took too long.
    ConnectTimeout,
    /// The endpoint closed or reset the connection before its response head.
    Reset,
    /// What the endpoint sent was not a response.
    InvalidResponse,
    /// The endpoint's response head is larger than we read.
    ResponseTooLarge,
    /// The endpoint's response head came too late.
    ResponseTimeout,
    /// Neither side sent a byte for too long.
    IdleTimeout,
    /// The request took longer than the route allows in all.
    TotalTimeout,
    /// Nobody of the cluster may take it.
    NoEndpoint,
    /// As many requests run as may at once.
    ConcurrencyLimited,
    /// The queue is full: of the cluster's endpoints, or of `concurrency`.
    QueueFull,
    /// Its turn in the queue did not come in time.
    QueueTimeout,
    /// The endpoint reported for each attempt that it did not process the request: REFUSED_STREAM, or above the last stream of its GOAWAY.
    NotProcessed,
    /// This machine has no descriptor, port or memory left for another connection; no endpoint is to blame.
    LocalResources,
    /// This machine does not permit a connection there: a Unix socket's mode, a firewall; no endpoint is to blame.
    LocalPermission,
    /// There are as many connections to endpoints as there may be.
    EndpointConnections,
    /// The route or the cluster is out of service, as the configuration says.
    Maintenance,
    /// Too many passwords wait to be checked.
    AuthBusy,
    /// It could not be found out whether it may pass: the authentication service did not answer, or not as one does.
    AuthUnavailable,
    /// We are shutting down.
    ShuttingDown,
    /// The endpoint broke off after its response head: the client's response is cut short, visibly.
    UpstreamAborted,
    /// The client went away first.
    ClientClosed,
}

/// The table's row for one cause.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Row {
    name: &'static str,
    status: u16,
    closes: bool,
    text: &'static str,
}

impl Cause {
    /// Every cause, in the order of the type.
    pub const ALL: [Self; 50] = [
        Self::BadRequest,
        Self::BadPath,
        Self::Unauthorized,
        Self::Forbidden,
        Self::Denied,
        Self::NoRoute,
        Self::NoFile,
        Self::MethodNotAllowed,
        Self::HeadTimeout,
        Self::UploadTimeout,
        Self::BodyTooLarge,
        Self::UriTooLong,
        Self::ExpectationFailed,
        Self::Misdirected,
        Self::UpgradeRequired,
        Self::RateLimited,
        Self::AuthLimited,
        Self::HeadTooLarge,
        Self::TooManyHeaders,
        Self::Internal,
        Self::NotImplemented,
        Self::UnsupportedVersion,
        Self::ConnectRefused,
        Self::ConnectFailed,
        Self::TlsHandshake,
        Self::CertificateExpired,
        Self::CertificateName,
        Self::CertificateUntrusted,
        Self::CertificateInvalid,
        Self::ConnectTimeout,
        Self::Reset,
        Self::InvalidResponse,
        Self::ResponseTooLarge,
        Self::ResponseTimeout,
        Self::IdleTimeout,
        Self::TotalTimeout,
        Self::NoEndpoint,
        Self::ConcurrencyLimited,
        Self::QueueFull,
        Self::QueueTimeout,
        Self::NotProcessed,
        Self::LocalResources,
        Self::LocalPermission,
        Self::EndpointConnections,
        Self::Maintenance,
        Self::AuthBusy,
        Self::AuthUnavailable,
        Self::ShuttingDown,
        Self::UpstreamAborted,
        Self::ClientClosed,
    ];

    /// The cause of a request that the codec refused, in its head or its body. The codec's own name for it is the
    /// detail that the log writes after ours.
    #[must_use]
    pub const fn of_request(cause: h1::Cause) -> Self {
        match cause {
            h1::Cause::UriTooLong => Self::UriTooLong,
            h1::Cause::UnknownExpectation => Self::ExpectationFailed,
            h1::Cause::HeadTooLarge | h1::Cause::TrailersTooLarge => Self::HeadTooLarge,
            h1::Cause::TooManyHeaders => Self::TooManyHeaders,
            h1::Cause::MethodTooLong | h1::Cause::UnsupportedTransferCoding => Self::NotImplemented,
            h1::Cause::UnsupportedVersion => Self::UnsupportedVersion,
            _ => Self::BadRequest,
        }
    }

    /// The cause of a response whose head the codec refused. A connection that ends inside a head was broken off.
    #[must_use]
    pub const fn of_response(cause: h1::Cause) -> Self {
        match cause {
            h1::Cause::HeadTooLarge | h1::Cause::TooManyHeaders => Self::ResponseTooLarge,
            h1::Cause::Truncated => Self::Reset,
            _ => Self::InvalidResponse,
        }
    }

    /// Its name in logs and metrics; never changes between versions.
    #[must_use]
    pub const fn name(self) -> &'static str {
        self.row().name
    }

    /// The status of our answer, or the one the log shows when no answer can be sent any more: 499 for a client that
    /// went away, as nginx counts it, and 502 for an endpoint that broke off after its head.
    #[must_use]
    pub const fn status(self) -> u16 {
        self.row().status
    }

    /// Whether the client's HTTP/1 connection must end with our answer: where the next request begins is not known, or
    /// would have to be waited for. Otherwise it goes on once the rest of the body was read.
    #[must_use]
    pub const fn closes(self) -> bool {
        self.row().closes
    }

    /// Whether it is a client error, which an operator cannot fix. No warning is logged for these:
    /// any client can cause them, at any rate. A rate limit has log lines of its own, one a client.
    #[must_use]
    pub const fn is_of_the_client(self) -> bool {
        matches!(
            self,
            Self::BadRequest
                | Self::BadPath
                | Self::Unauthorized
                | Self::Forbidden
                | Self::Denied
                | Self::NoRoute
                | Self::NoFile
                | Self::MethodNotAllowed
                | Self::HeadTimeout
                | Self::UploadTimeout
                | Self::BodyTooLarge
                | Self::UriTooLong
                | Self::ExpectationFailed
                | Self::Misdirected
                | Self::UpgradeRequired
                | Self::RateLimited
                | Self::AuthLimited
                | Self::HeadTooLarge
                | Self::TooManyHeaders
                | Self::NotImplemented
                | Self::UnsupportedVersion
                | Self::ClientClosed
        )
    }

    /// The text for the client. It has what a client can know or fix, and nothing about the endpoints.
    #[must_use]
    pub const fn text(self) -> &'static str {
        self.row().text
    }

    /// The table. A refused or broken connection or an invalid response is 502; a timeout of the endpoint is 504; no
    /// available endpoint is 503.
    const fn row(self) -> Row {
        const KEEPS: bool = false;
        const CLOSES: bool = true;
        let (name, status, closes, text) = match self {
            Self::BadRequest => ("bad_request", 400, CLOSES, "bad request"),
            Self::BadPath => ("bad_path", 400, KEEPS, "invalid path"),
            Self::Unauthorized => ("unauthorized", 401, KEEPS, "authentication is required"),
            Self::Forbidden => ("forbidden", 403, KEEPS, "access is denied"),
            Self::NoFile => ("no_file", 404, KEEPS, "not found"),
            Self::Denied => ("denied", 403, KEEPS, "access denied"),
            Self::NoRoute => ("no_route", 404, KEEPS, "no route matches"),
            Self::MethodNotAllowed => ("method_not_allowed", 405, KEEPS, "method not allowed"),
            Self::HeadTimeout => ("head_timeout", 408, CLOSES, "the request took too long to arrive"),
            Self::UploadTimeout => ("upload_timeout", 408, CLOSES, "the request body took too long to arrive"),
            Self::BodyTooLarge => ("body_too_large", 413, CLOSES, "the request body is too large"),
            Self::UriTooLong => ("uri_too_long", 414, CLOSES, "the request target is too long"),
            Self::ExpectationFailed => ("expectation_failed", 417, KEEPS, "only 100-continue can be expected"),
            Self::Misdirected => ("misdirected", 421, KEEPS, "this connection is for another host"),
            Self::UpgradeRequired => ("upgrade_required", 426, KEEPS, "another protocol is required"),
            Self::RateLimited => ("rate_limited", 429, KEEPS, "too many requests"),
            Self::AuthLimited => ("auth_limited", 429, KEEPS, "too many wrong passwords"),
            Self::HeadTooLarge => ("head_too_large", 431, CLOSES, "the request headers are too large"),
            Self::TooManyHeaders => ("too_many_headers", 431, CLOSES, "too many request headers"),
            Self::Internal => ("internal", 500, CLOSES, "internal error"),
            Self::NotImplemented => ("not_implemented", 501, CLOSES, "not implemented"),
            Self::UnsupportedVersion => ("unsupported_version", 505, CLOSES, "HTTP version not supported"),
            Self::ConnectRefused => ("connect_refused", 502, KEEPS, "the service cannot be reached"),
            Self::ConnectFailed => ("connect_failed", 502, KEEPS, "the service cannot be reached"),
            Self::TlsHandshake => ("tls_handshake", 502, KEEPS, "the service cannot be reached"),
            Self::CertificateExpired => ("certificate_expired", 502, KEEPS, "the service cannot be reached"),
            Self::CertificateName => ("certificate_name", 502, KEEPS, "the service cannot be reached"),
            Self::CertificateUntrusted => ("certificate_untrusted", 502, KEEPS, "the service cannot be reached"),
            Self::CertificateInvalid => ("certificate_invalid", 502, KEEPS, "the service cannot be reached"),
            Self::ConnectTimeout => ("connect_timeout", 504, KEEPS, "the service cannot be reached in time"),
            Self::Reset => ("reset", 502, KEEPS, "the service closed the connection"),
            Self::InvalidResponse => ("invalid_response", 502, KEEPS, "the service sent no valid response"),
            Self::ResponseTooLarge => ("response_too_large", 502, KEEPS, "the service sent no valid response"),
            Self::ResponseTimeout => ("response_timeout", 504, KEEPS, "the service did not answer in time"),
            Self::IdleTimeout => ("idle_timeout", 504, CLOSES, "the service did not answer in time"),
            Self::TotalTimeout => ("total_timeout", 504, CLOSES, "the service did not answer in time"),
            Self::NoEndpoint => ("no_endpoint", 503, KEEPS, "the service is not available"),
            Self::ConcurrencyLimited => ("concurrency_limited", 503, KEEPS, "the service is busy"),
            Self::QueueFull => ("queue_full", 503, KEEPS, "the service is busy"),
            Self::QueueTimeout => ("queue_timeout", 503, KEEPS, "the service is busy"),
            Self::NotProcessed => ("not_processed", 503, KEEPS, "the service is busy"),
            Self::LocalResources => ("local_resources", 503, KEEPS, "the service is busy"),
            Self::LocalPermission => ("local_permission", 503, KEEPS, "the service is unavailable"),
            Self::EndpointConnections => ("endpoint_connections", 503, KEEPS, "the service is busy"),
            Self::Maintenance => ("maintenance", 503, KEEPS, "the service is under maintenance"),
            Self::AuthBusy => ("auth_busy", 503, KEEPS, "the service is busy"),
            Self::AuthUnavailable => ("auth_unavailable", 503, KEEPS, "authentication is not available"),
            Self::ShuttingDown => ("shutting_down", 503, CLOSES, "the service is restarting"),
            Self::UpstreamAborted => ("upstream_aborted", 502, CLOSES, "the service closed the connection"),
            Self::ClientClosed => ("client_closed", 499, CLOSES, "client closed the request"),
        };
        Row { name, status, closes, text }
    }
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn names_are_distinct_words_of_the_log() {
        let names: HashSet<_> = Cause::ALL.iter().map(|cause| cause.name()).collect();
        assert_eq!(names.len(), Cause::ALL.len(), "every cause once, every name once");
        assert!(names.iter().all(|name| name.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_')));
    }

    #[test]
    fn statuses_are_those_of_the_contract() {
        for (cause, status) in [
            (Cause::BadRequest, 400),
            (Cause::Unauthorized, 401),
            (Cause::Forbidden, 403),
            (Cause::AuthLimited, 429),
            (Cause::AuthBusy, 503),
            (Cause::AuthUnavailable, 503),
            (Cause::Denied, 403),
            (Cause::NoRoute, 404),
            (Cause::HeadTimeout, 408),
            (Cause::BodyTooLarge, 413),
            (Cause::UriTooLong, 414),
            (Cause::Misdirected, 421),
            (Cause::UpgradeRequired, 426),
            (Cause::RateLimited, 429),
            (Cause::HeadTooLarge, 431),
            (Cause::ConnectRefused, 502),
            (Cause::InvalidResponse, 502),
            (Cause::NoEndpoint, 503),
            (Cause::QueueFull, 503),
            (Cause::NotProcessed, 503),
            (Cause::LocalResources, 503),
            (Cause::LocalPermission, 503),
            (Cause::EndpointConnections, 503),
            (Cause::ResponseTimeout, 504),
            (Cause::ClientClosed, 499),
        ] {
            assert_eq!(cause.status(), status, "{cause}");
        }
    }

    #[test]
    fn what_an_operator_could_mend_is_not_of_the_client() {
        for cause in Cause::ALL {
            let is_4xx = cause.status() < 500;
            let is_exotic = matches!(cause, Cause::NotImplemented | Cause::UnsupportedVersion);
            assert_eq!(cause.is_of_the_client(), is_4xx || is_exotic, "{cause}");
        }
    }

    #[test]
    fn the_codec_and_the_table_agree() {
        use h1::Cause as Codec;
        for cause in [
            Codec::BadRequestLine,
            Codec::UriTooLong,
            Codec::UnknownExpectation,
            Codec::HeadTooLarge,
            Codec::TooManyHeaders,
            Codec::TrailersTooLarge,
            Codec::MethodTooLong,
            Codec::UnsupportedTransferCoding,
            Codec::UnsupportedVersion,
            Codec::LengthAndChunked,
            Codec::BadChunkSize,
            Codec::Truncated,
        ] {
            assert_eq!(Cause::of_request(cause).status(), cause.status(), "{cause}");
            assert_eq!(Cause::of_response(cause).status(), 502, "{cause}");
        }
        assert_eq!(Cause::of_response(Codec::Truncated), Cause::Reset);
    }

    #[test]
    fn the_text_tells_a_client_nothing_about_endpoints() {
        for cause in Cause::ALL {
            assert!(!cause.text().is_empty() && cause.text().is_ascii());
            assert!(!cause.text().contains("endpoint") && !cause.text().contains("upstream"), "{cause}");
        }
    }
}
