//! Start, reload, end: what runs goes on.

mod listeners;
mod logs;
mod refused;
mod reload;
mod start;
mod stop;
mod storm;
mod survival;
mod tunnels;
