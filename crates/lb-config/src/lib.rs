//! The configuration language of lbproxy: TOML text to a validated model, with diagnostics.
//!
//! A configuration is written by people, under time pressure, into files that grew. What such a language must do is
//! refuse: a key that is misspelt, a reference to nothing, a value that cannot be. Deserialising into structs stops at
//! the first of them, forgets where it stood, and lists its keys in places that drift apart. So the work goes in steps:
//!
//! ```text
//! text ── tree ── inheritance ── decoding ── linking ── Config
//!         (what was written,      (types,     (names to
//!          with places)            defaults)   positions)
//! ```
//!
//! and every step goes on after a mistake, so that one load reports them all as [`Diagnostics`]. Each table of the language is
//! one file in `model/`, and each key one row there: type, decoder, printed form, [`schema()`] and manual follow it. `table/` has
//! what all tables share, `language/` what needs no key.
//!
//! The crate reads files and nothing else: it opens no socket, resolves no name and logs nothing.
//!
//! | to do this | call |
//! |---|---|
//! | read a file | [`Config::load`] |
//! | read a text, as tests and fuzzers do | [`Config::parse`] |
//! | make one without a file | [`Config::for_proxy`] |
//! | show it whole, defaults included | [`Config::print`] |
//! | show what is not a default | [`Config::print_changed`] |
//! | list what a reload changes | [`Config::diff`] |
//! | serve an editor | [`schema()`] |
#![forbid(unsafe_code)]

mod language;
mod link;
mod load;
mod model;
mod proxy;
mod reach;
mod sites;
mod table;

pub use language::diagnostic::{Diagnostic, Diagnostics, Severity};
pub use language::files::{Disk, Files, read_text};
pub use language::source::{Place, Sources};
pub use language::template::{Part, Template, Variable};
pub use language::values::address::{EndpointAddress, ListenAddress, Network};
pub use language::values::http::{HostPattern, PathPattern, ValuePattern};
pub use language::values::status::Condition;
pub use lb_core::{is_never_upgraded_to, is_same_protocol};
pub use load::Loaded;
pub use model::admin::Admin;
pub use model::auth::{Auth, BasicAuth, ForwardAuth, JwtAuth, TokenFrom};
pub use model::certificate::CertificateFiles;
pub use model::cipher_suite::CipherSuite;
pub use model::cluster::Cluster;
pub use model::cluster_tls::ClusterTls;
pub use model::compress::{Compress, CompressionLevel, Encoding};
pub use model::concurrency::{Concurrency, WaitOrder, WaitQueue};
pub use model::config::{Config, OwnRequests};
pub use model::endpoint::Endpoint;
pub use model::errors::{ErrorPage, ErrorPages};
pub use model::files::ServeFiles;
pub use model::forwarded::Forwarded;
pub use model::headers::{HeaderEdits, Headers};
pub use model::health::{ActiveCheck, Health, PassiveHealth, Probe, TextPattern};
pub use model::keep_alive::KeepAlive;
pub use model::limits::Limits;
pub use model::listener::Listener;
pub use model::listener_tls::{Alpn, ClientAuth, ListenerTls};
pub use model::log::{AccessFormat, AccessLog, AccessTarget, Level, Log, LogFormat};
pub use model::maintenance::Maintenance;
pub use model::policy::{Policy, PolicyKind};
pub use model::proxy_protocol::ProxyProtocol;
pub use model::queue::Queue;
pub use model::rate_limit::{LimitAlgorithm, LimitHeaders, LimitKey, Plan, Quotas, Rate, RateLimit};
pub use model::redirect::{Redirect, RedirectTo};
pub use model::respond::Respond;
pub use model::retry::Retry;
pub use model::route::{Action, Match, Route, RouteOptions};
pub use model::schema;
pub use model::sticky::{SameSite, Sticky};
pub use model::subset::{Subset, SubsetBy};
pub use model::syntax::Syntax;
pub use model::timeout::Timeouts;
pub use model::tls_version::TlsVersion;
pub use model::upgrade::Upgrade;
pub use model::zone::LocalZone;
pub use table::diff::Changes;
