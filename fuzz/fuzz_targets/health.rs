//! Any sequence of events keeps the promises of the health machines.
#![no_main]

use libfuzzer_sys::fuzz_target;

#[path = "../../crates/lb-health/tests/properties/events.rs"]
mod events;

fuzz_target!(|input: &[u8]| events::run(input));
