//! Workers: what each of them holds, and what they share.

pub(crate) mod shared;
pub(crate) mod shutdown;
pub(crate) mod state;
