//! Workers: what each of them holds, what they share, and the loop that each of them runs.

pub(crate) mod run;
pub(crate) mod shared;
pub(crate) mod shutdown;
pub(crate) mod state;
