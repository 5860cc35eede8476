//! What operators see: access log, application log, metrics, status page.

pub mod access_log;
pub mod app_log;
pub(crate) mod cells;
mod escape;
pub mod event_log;
mod exposition;
pub(crate) mod failure_log;
pub mod metrics;
pub(crate) mod once_a_second;
pub(crate) mod rates;
mod sink;
pub mod status;
pub(crate) mod status_page;
mod timestamp;
mod transitions;
