//! Ready-made parts for `http` requests and responses, gRPC among them.

mod body;
mod deadline;
mod grpc;
mod hedge;
mod idempotent;
mod keys;
mod limit;
mod origin;
pub(crate) mod outcome;
mod repeat;
mod replay;
mod retry;

pub use body::{GuardedBody, HttpBody, Served};
pub use deadline::{Deadline, DeadlineLayer, SendDeadline, SendDeadlineLayer};
pub use grpc::RetryGrpc;
pub use hedge::HedgeHttp;
pub use idempotent::is_idempotent;
pub use keys::{ByClient, ByCookie, ByHeader, ClientAddr};
pub use limit::{HttpRateLimit, HttpRateLimitFuture, HttpRateLimitLayer, NoKey};
pub use origin::Origin;
pub use outcome::ByStatus;
pub use repeat::Repeat;
pub use replay::{Replay, ReplayBody, ReplayError, ReplayLayer};
pub use retry::RetryHttp;
