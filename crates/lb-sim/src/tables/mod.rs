//! The tables: each a scenario whose outcome is known from theory or from somebody else's measurement.

pub mod supermarket;
