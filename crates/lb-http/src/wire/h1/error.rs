//! Why a message was refused.

/// What was wrong with a message. The names are what logs and metrics show, and what the test corpus is written in.
///
/// Seen in a request, [`status`](Self::status) is the answer it deserves. Seen in a response, the answer is 502
/// whatever the cause.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Cause {
    /// The request line is not `method SP target SP version`.
    BadRequestLine,
    /// The method has characters other than `A`–`Z`, digits, `-` and `_`.
    BadMethod,
    /// The method is longer than any that exists.
    MethodTooLong,
    /// The target has no form that goes with its method, or characters no target may have.
    BadTarget,
    /// The target is longer than the limit.
    UriTooLong,
    /// What stands in the version's place is no version.
    BadVersion,
    /// A version that is neither 1.0 nor 1.1.
    UnsupportedVersion,
    /// The status line is not `HTTP/1.x SP 3DIGIT [SP reason]`.
    BadStatusLine,
    /// 101 to a request that offered no switch, or without saying to what.
    UnexpectedSwitch,
    /// A line ends in LF without CR: in a request, between chunks or in trailers.
    BareLf,
    /// CR without LF.
    BareCr,
    /// A header line begins with whitespace: a continuation as of old, or a header hidden from some.
    ObsFold,
    /// Whitespace between a header's name and its colon.
    SpaceBeforeColon,
    /// A header line without a name, without a colon, or with a name that is no token.
    BadHeaderName,
    /// A control character in a header's value.
    BadHeaderValue,
    /// More bytes of head than the limit.
    HeadTooLarge,
    /// More headers than the limit.
    TooManyHeaders,
    /// An HTTP/1.1 request without `Host`.
    MissingHost,
    /// More than one `Host`.
    DuplicateHost,
    /// `Host` is no name or address with an optional port.
    BadHost,
    /// `Content-Length` is not one decimal number below 2⁶³.
    BadLength,
    /// `Content-Length` more than once, or a list in it: in a request even of equal numbers.
    ConflictingLength,
    /// Both `Content-Length` and `Transfer-Encoding` in a request.
    LengthAndChunked,
    /// `Transfer-Encoding` whose last coding is not chunked, or that repeats it, or is malformed.
    BadTransferEncoding,
    /// `Transfer-Encoding` with a coding before chunked that we do not have.
    UnsupportedTransferCoding,
    /// `Transfer-Encoding` in HTTP/1.0, which has none.
    ChunkedInHttp10,
    /// `Content_Length` or `Transfer_Encoding`: the same to some programs, another header to others.
    FramingLookalike,
    /// `Connection` names a header that decides routing or framing, or more names than anyone has use for.
    BadConnection,
    /// `Expect` something other than `100-continue`.
    UnknownExpectation,
    /// A body on CONNECT.
    BodyOnConnect,
    /// A chunk's size is not 1 to 16 hexadecimal digits below 2⁶³.
    BadChunkSize,
    /// A chunk extension is not `;name` or `;name=value` as RFC 9112 §7.1.1 has it; of an endpoint: it has control
    /// characters.
    BadChunkExtension,
    /// Chunk extensions, or the framing of tiny chunks, outweigh the data.
    ChunkOverhead,
    /// A chunk's data is not followed by CRLF.
    BadChunkEnd,
    /// A trailer that would change framing or routing.
    ForbiddenTrailer,
    /// Trailers larger or more than the limit.
    TrailersTooLarge,
    /// The connection ended inside the message.
    Truncated,
}

impl Cause {
    /// The cause by name, as in logs.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::BadRequestLine => "bad_request_line",
            Self::BadMethod => "bad_method",
            Self::MethodTooLong => "method_too_long",
            Self::BadTarget => "bad_target",
            Self::UriTooLong => "uri_too_long",
            Self::BadVersion => "bad_version",
            Self::UnsupportedVersion => "unsupported_version",
            Self::BadStatusLine => "bad_status_line",
            Self::UnexpectedSwitch => "unexpected_switch",
            Self::BareLf => "bare_lf",
            Self::BareCr => "bare_cr",
            Self::ObsFold => "obs_fold",
            Self::SpaceBeforeColon => "space_before_colon",
            Self::BadHeaderName => "bad_header_name",
            Self::BadHeaderValue => "bad_header_value",
            Self::HeadTooLarge => "head_too_large",
            Self::TooManyHeaders => "too_many_headers",
            Self::MissingHost => "missing_host",
            Self::DuplicateHost => "duplicate_host",
            Self::BadHost => "bad_host",
            Self::BadLength => "bad_length",
            Self::ConflictingLength => "conflicting_length",
            Self::LengthAndChunked => "length_and_chunked",
            Self::BadTransferEncoding => "bad_transfer_encoding",
            Self::UnsupportedTransferCoding => "unsupported_transfer_coding",
            Self::ChunkedInHttp10 => "chunked_in_http10",
            Self::FramingLookalike => "framing_lookalike",
            Self::BadConnection => "bad_connection",
            Self::UnknownExpectation => "unknown_expectation",
            Self::BodyOnConnect => "body_on_connect",
            Self::BadChunkSize => "bad_chunk_size",
            Self::BadChunkExtension => "bad_chunk_extension",
            Self::ChunkOverhead => "chunk_overhead",
            Self::BadChunkEnd => "bad_chunk_end",
            Self::ForbiddenTrailer => "forbidden_trailer",
            Self::TrailersTooLarge => "trailers_too_large",
            Self::Truncated => "truncated",
        }
    }

    /// The status that answers a request with this fault.
    #[must_use]
    pub const fn status(self) -> u16 {
        match self {
            Self::UriTooLong => 414,
            Self::UnknownExpectation => 417,
            Self::HeadTooLarge | Self::TooManyHeaders | Self::TrailersTooLarge => 431,
            Self::MethodTooLong | Self::UnsupportedTransferCoding => 501,
            Self::UnsupportedVersion => 505,
            _ => 400,
        }
    }
}

impl std::fmt::Display for Cause {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}

/// A head was refused. Nothing after it on this connection can be trusted: answer, then close.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("head refused: {cause}")]
pub struct HeadError {
    cause: Cause,
}

impl HeadError {
    /// What was wrong.
    #[must_use]
    pub const fn cause(&self) -> Cause {
        self.cause
    }

    /// The cause by name, as in logs.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        self.cause.name()
    }

    /// The status to answer a request with.
    #[must_use]
    pub const fn status(&self) -> u16 {
        self.cause.status()
    }
}

impl From<Cause> for HeadError {
    fn from(cause: Cause) -> Self {
        Self { cause }
    }
}

/// A body broke off or was refused. Nothing after it on this connection can be trusted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("body refused: {cause}")]
pub struct BodyError {
    cause: Cause,
}

impl BodyError {
    /// What was wrong.
    #[must_use]
    pub const fn cause(&self) -> Cause {
        self.cause
    }

    /// The cause by name, as in logs.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        self.cause.name()
    }

    /// The status to answer a request with, if its response has not begun.
    #[must_use]
    pub const fn status(&self) -> u16 {
        self.cause.status()
    }
}

impl From<Cause> for BodyError {
    fn from(cause: Cause) -> Self {
        Self { cause }
    }
}
