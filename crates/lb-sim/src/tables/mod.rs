//! The tables: each a scenario whose outcome is known from theory or from a published measurement.

pub mod balls;
pub mod bounded;
pub mod buoyant;
pub mod disruption;
pub mod limits;
pub mod outage;
pub mod prequal;
pub mod supermarket;
