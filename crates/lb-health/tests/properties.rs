//! The health machines against naive versions of themselves that keep every event in a list.

#[path = "properties/breaker.rs"]
mod breaker;
#[path = "properties/check.rs"]
mod check;
#[path = "properties/events.rs"]
mod events;
#[path = "properties/outlier.rs"]
mod outlier;
#[path = "properties/window.rs"]
mod window;
