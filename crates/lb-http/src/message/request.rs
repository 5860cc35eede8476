//! The head of a request.

use std::fmt;

use super::chars::find;
use super::edits::Edits;
use super::fields::{Fields, Span, flag};
use super::head::{Head, Index};
use super::method::Method;
use super::name::{self, Name};
use super::target::TargetForm;
use super::{Authority, Framing, Version, split_authority};

/// A request's head: its bytes as received and an index into them. Cloning is one reference count.
///
/// Built by the HTTP/1 codec, or from another library's head by [`from_parts`](Self::from_parts). What it holds has
/// been checked by the codec's rules: names are tokens, values have no control characters, the authority is one that
/// can be read in one way only, and the framing is not in doubt.
pub type RequestHead = Head<RequestIndex>;

/// What parsing found, as places in the head's bytes.
#[derive(Clone, Debug)]
pub struct RequestIndex {
    pub(crate) fields: Fields,
    pub(crate) framing: Framing,
    pub(crate) method: Span,
    /// The method, if it is one with a name; else it is read from its place.
    pub(crate) named_method: Option<Method<'static>>,
    pub(crate) target: Span,
    /// Of the target; absent in origin and asterisk form.
    pub(crate) authority: Span,
    pub(crate) path: Span,
    pub(crate) query: Span,
    /// The effective authority: the target's, else the value of `Host`.
    pub(crate) host: Span,
    pub(crate) upgrade: Span,
    pub(crate) form: TargetForm,
    pub(crate) version: Version,
    pub(crate) is_https: bool,
    pub(crate) keep_alive: bool,
    pub(crate) expects_continue: bool,
    pub(crate) accepts_trailers: bool,
}

impl Default for RequestIndex {
    fn default() -> Self {
        Self {
            fields: Fields::default(),
            framing: Framing::None,
            method: Span::NONE,
            named_method: None,
            target: Span::NONE,
            authority: Span::NONE,
            path: Span::NONE,
            query: Span::NONE,
            host: Span::NONE,
            upgrade: Span::NONE,
            form: TargetForm::Origin,
            version: Version::Http11,
            is_https: false,
            keep_alive: true,
            expects_continue: false,
            accepts_trailers: false,
        }
    }
}

impl Index for RequestIndex {
    fn fields(&self) -> &Fields {
        &self.fields
    }

    fn fields_mut(&mut self) -> &mut Fields {
        &mut self.fields
    }

    fn version(&self) -> Version {
        self.version
    }
}

impl RequestHead {
    /// The same request without the offer to switch protocols.
    #[must_use]
    pub fn without_upgrade(&self) -> Self {
        self.clone().amended(|index| index.upgrade = Span::NONE)
    }

    /// The same request without the headers of these names. What was derived of the head when it was read (host, framing, upgrade)
    /// stays as it is. Cost: nothing but the look at each name where there is none of them, else a copy of the index.
    #[must_use]
    pub fn without(self, is_removed: impl Fn(&[u8]) -> bool) -> Self {
        if !self.iter().any(|(name, _)| is_removed(name)) {
            return self;
        }
        let bytes = self.as_bytes().clone();
        self.amended(|index| index.fields.retain(|field| !is_removed(field.name(&bytes))))
    }

    /// The headers that are meant for whoever answers: without those of the connection, of the framing, and `Host`.
    pub fn end_to_end(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        let bytes = self.as_bytes();
        let fields = self.index().fields.as_slice().iter();
        let of_connection = flag::HOP | flag::LENGTH | flag::HOST | flag::CONNECTION;
        fields.filter(move |field| !field.has(of_connection)).map(move |field| (field.name(bytes), field.value(bytes)))
    }

    /// The method.
    #[must_use]
    pub fn method(&self) -> Method<'_> {
        let index = self.index();
        index.named_method.unwrap_or_else(|| Method::Extension(self.text(index.method)))
    }

    /// The request target exactly as received.
    #[must_use]
    pub fn target(&self) -> &[u8] {
        self.text(self.index().target)
    }

    /// The form of the target.
    #[must_use]
    pub fn target_form(&self) -> TargetForm {
        self.index().form
    }

    /// `http` or `https` if the target was in absolute form. What the client wrote, which may differ from the scheme of its connection.
    #[must_use]
    pub fn scheme(&self) -> Option<&'static str> {
        let absolute = self.index().form == TargetForm::Absolute;
        absolute.then_some(if self.index().is_https { "https" } else { "http" })
    }

    /// The authority written in the target: absolute and authority form only.
    #[must_use]
    pub fn target_authority(&self) -> Option<&[u8]> {
        self.index().authority.optional(self.as_bytes())
    }

    /// The path as received, percent escapes and dot segments included. Starts with `/`; `*` for a request about the
    /// service as a whole (also `OPTIONS http://name`, RFC 9112 §3.2.4); empty for CONNECT.
    #[must_use]
    pub fn path(&self) -> &[u8] {
        let index = self.index();
        match index.form {
            TargetForm::Origin => self.text(index.path),
            TargetForm::Asterisk => b"*",
            TargetForm::Authority => b"",
            TargetForm::Absolute if index.path.len() > 0 => self.text(index.path),
            TargetForm::Absolute if index.query.is_none() && self.method() == Method::Options => b"*",
            TargetForm::Absolute => b"/",
        }
    }

    /// What follows the first `?` of the target, as received; `None` without one.
    #[must_use]
    pub fn query(&self) -> Option<&[u8]> {
        self.index().query.optional(self.as_bytes())
    }

    /// The effective authority: the target's if it has one, else the value of `Host` (RFC 9112 §3.2.2). With its port,
    /// in its received case. `None` when there is none, as HTTP/1.0 allows, or when `Host` is empty.
    #[must_use]
    pub fn host(&self) -> Option<&[u8]> {
        self.index().host.optional(self.as_bytes()).filter(|host| !host.is_empty())
    }

    /// [`host`](Self::host) split into name and port.
    #[must_use]
    pub fn authority(&self) -> Option<Authority<'_>> {
        split_authority(self.host()?)
    }

    /// [`host`](Self::host) without its port. An IPv6 address keeps its brackets.
    #[must_use]
    pub fn host_name(&self) -> Option<&[u8]> {
        // What `host` gives was checked: before the name ends there is neither a colon nor, within brackets, another one.
        let host = self.host()?;
        let (last, skip) = if host.first() == Some(&b'[') { (b']', 1) } else { (b':', 0) };
        find(last, host).map_or(Some(host), |at| host.get(..at + skip))
    }

    /// The protocol version the client spoke.
    #[must_use]
    pub fn version(&self) -> Version {
        self.index().version
    }

    /// How the body ends. Never [`Framing::Close`].
    #[must_use]
    pub fn framing(&self) -> Framing {
        self.index().framing
    }

    /// Whether the client lets the connection go on after this request.
    #[must_use]
    pub fn keep_alive(&self) -> bool {
        self.index().keep_alive
    }

    /// Whether the client waits for `100 Continue` before it sends the body. Never for HTTP/1.0 (RFC 9110 §10.1.1).
    #[must_use]
    pub fn expects_continue(&self) -> bool {
        self.index().expects_continue
    }

    /// The one protocol the client offers to switch to, such as `websocket`. `None` unless `Connection` nominates
    /// `upgrade` and the request is HTTP/1.1. With a body, the body comes first. Also `None` where several are offered,
    /// and for `h2c`, `TLS/…` and what else [`lb_core::is_never_upgraded_to`] names: a tunnel of those would carry
    /// requests past every rule of ours, and RFC 9110 §7.8 lets us ignore an offer.
    #[must_use]
    pub fn upgrade(&self) -> Option<&[u8]> {
        self.index().upgrade.optional(self.as_bytes())
    }

    /// Whether the client sent `TE: trailers`.
    #[must_use]
    pub fn accepts_trailers(&self) -> bool {
        self.index().accepts_trailers
    }

    /// Whether this is CONNECT, whose answer would turn the connection into a tunnel.
    #[must_use]
    pub fn is_connect(&self) -> bool {
        self.index().form == TargetForm::Authority
    }

    /// The value of the first cookie of that name (case-sensitive), over all `Cookie` headers. Quotes are part of it.
    #[must_use]
    pub fn cookie(&self, wanted: &[u8]) -> Option<&[u8]> {
        self.headers(name::COOKIE).flat_map(|line| line.split(|&b| b == b';')).find_map(|pair| {
            let pair = pair.trim_ascii();
            let end = memchr::memchr(b'=', pair)?;
            let (name, value) = pair.split_at_checked(end)?;
            (name.trim_ascii_end() == wanted).then(|| value.get(1..).unwrap_or_default().trim_ascii_start())
        })
    }

    fn text(&self, span: Span) -> &[u8] {
        span.of(self.as_bytes())
    }
}

/// Method, target and the names of the headers. Values may be secrets and are left out.
impl fmt::Debug for RequestHead {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RequestHead")
            .field("method", &self.method().as_str())
            .field("target", &String::from_utf8_lossy(self.target()))
            .field("version", &self.version())
            .field("framing", &self.framing())
            .field("headers", &self.names())
            .finish()
    }
}

impl Edits {
    /// The value that the request will have upstream: of the first header of that name, added ones after received
    /// ones. Does not know what the encoder drops or writes by itself.
    #[must_use]
    pub fn request_header<'a, 'n>(&'a self, head: &'a RequestHead, name: impl Into<Name<'n>>) -> Option<&'a [u8]> {
        let name = name.into();
        self.received(&head.index().fields, head.as_bytes(), &name).or_else(|| self.added_value(&name))
    }
}
