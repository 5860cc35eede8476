//! Ready-made parts for `http` requests and responses.

mod body;
mod hedge;
mod idempotent;
mod keys;
mod retry;

pub use body::{GuardedBody, HttpBody, Served};
pub use hedge::HedgeHttp;
pub use idempotent::is_idempotent;
pub use keys::{ByClient, ByCookie, ByHeader, ClientAddr, SkipTried, TriedEndpoints};
pub use retry::RetryHttp;
