//! What passes through, and how it looks on the other side.

mod bodies;
mod dates;
mod events;
mod expect;
mod forwarded;
mod headers;
mod http_1_0;
mod interim;
mod introductions;
mod large;
mod login;
mod proxy_protocol;
mod reuse;
mod trailers;
mod unix;
mod upgrade;
