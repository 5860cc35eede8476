//! Sockets: what is below HTTP.

pub(crate) mod account;
pub(crate) mod bind;
pub(crate) mod buffers;
pub(crate) mod clock;
pub(crate) mod cork;
pub(crate) mod descriptors;
mod keep_alive;
pub(crate) mod queue;
pub(crate) mod shortage;
pub(crate) mod side;
pub(crate) mod socket;
pub(crate) mod stream;
pub(crate) mod timer;

mod unsent;

pub(crate) use keep_alive::keep_alive;
pub(crate) use shortage::Shortage;
pub(crate) use stream::{PlainHttp, Stream, TlsStream};
pub(crate) use timer::Timer;
pub(crate) use unsent::limit_unsent;
